//! Chains of delegates: what is sent passes them without waking them, and everything else is as if it had woken each.

#![cfg(feature = "coroutines")]

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crewkit::coroutine::{Coroutine, GenError, Generator, Interrupt, State, Step};

/// A generator that delegates `depth` times, to one that yields what it is sent, twice, and returns 7. Each one on the way
/// adds one to what the inner one returns.
fn chain<R: Clone + 'static>(depth: u64) -> Generator<R, R, u64> {
    Generator::new(move |y, first| {
        if depth > 0 {
            return Ok(y.yield_from_with(&mut chain(depth - 1), first)? + 1);
        }
        let second = y.yield_(first)?;
        y.yield_(second)?;
        Ok(7)
    })
}

#[test]
fn values_pass_a_chain_of_any_length() {
    for depth in [1, 2, 31, 32, 33, 64, 65, 500] {
        let all = chain(depth);
        assert_eq!(all.send(1_u8).unwrap(), Step::Yield(1), "{depth}");
        assert_eq!(all.send(2).unwrap(), Step::Yield(2), "{depth}");
        assert_eq!(all.state(), State::Suspended);
        assert_eq!(all.send(3).unwrap(), Step::Return(depth + 7), "{depth}");
        assert_eq!(all.state(), State::Finished);
        assert!(matches!(all.send(4), Err(GenError::Finished)));
    }
}

#[test]
fn a_long_chain_takes_little_of_the_stack_that_it_is_resumed_from() {
    let outside = Generator::new(|y, ()| {
        let long = chain(1_000);
        for n in 1..=2_u64 {
            y.yield_(long.send(n)?.yielded())?;
        }
        Ok(long.send(0)?.returned())
    });
    assert_eq!(outside.send(()).unwrap(), Step::Yield(Some(1)));
    assert_eq!(outside.send(()).unwrap(), Step::Yield(Some(2)));
    assert_eq!(outside.send(()).unwrap(), Step::Return(Some(1_007)));
}

#[test]
fn values_larger_than_a_word_pass_too() {
    let big: Vec<[u64; 20]> = (0..3).map(|n| [n; 20]).collect();
    let all = chain(40);
    assert_eq!(all.send(big[0]).unwrap(), Step::Yield(big[0]));
    assert_eq!(all.send(big[1]).unwrap(), Step::Yield(big[1]));
    assert_eq!(all.send(big[2]).unwrap(), Step::Return(47));
}

#[test]
fn each_value_is_dropped_once() {
    let value = Rc::new(());
    let all = chain(40);
    for _ in 0..2 {
        let back = all.send((value.clone(), [0_u64; 4])).unwrap().yielded().unwrap();
        assert_eq!(Rc::strong_count(&value), 2, "the yielded one is the sent one");
        drop(back);
    }
    assert_eq!(all.send((value.clone(), [0; 4])).unwrap(), Step::Return(47));
    assert!(matches!(all.send((value.clone(), [0; 4])), Err(GenError::Finished)));
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn what_is_not_a_value_sent_goes_through_every_body() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let says = |log: &Rc<RefCell<Vec<String>>>, name: &'static str| {
        let log = log.clone();
        move |what: &str| log.borrow_mut().push(format!("{name} {what}"))
    };
    let (outer, middle) = (says(&log, "outer"), says(&log, "middle"));
    let all: Generator<u64, u64, u64> = Generator::new(move |y, first| {
        let mut inner = Generator::new(move |y, first| {
            let mut inner = Generator::new(|y, first: u64| {
                loop {
                    match y.yield_(first) {
                        Ok(0) => return Ok(1),
                        Ok(_) => {}
                        Err(Interrupt::Error(error)) => drop(y.yield_(error.to_string().len() as u64)),
                        Err(close) => return Err(close),
                    }
                }
            });
            let result = y.yield_from_with(&mut inner, first);
            middle(&format!("{result:?}"));
            result
        });
        let result = y.yield_from_with(&mut inner, first);
        outer(&format!("{result:?}"));
        result
    });
    assert_eq!(all.send(5).unwrap(), Step::Yield(5));
    assert_eq!(all.send(6).unwrap(), Step::Yield(5));
    assert_eq!(all.throw(std::fmt::Error).unwrap(), Step::Yield(45));
    assert_eq!(all.send(6).unwrap(), Step::Yield(5), "values pass again after a throw");
    assert_eq!(all.send(6).unwrap(), Step::Yield(5));
    assert_eq!(*log.borrow(), [""; 0], "nobody on the way has gone on");
    assert_eq!(all.close().unwrap(), None);
    assert_eq!(*log.borrow(), ["middle Err(Close)", "outer Err(Close)"]);
}

/// A generator and a place to reach it from, and what its innermost finds there.
type Shared<T> = Rc<RefCell<Option<Rc<T>>>>;

#[test]
fn all_of_a_chain_run_while_its_innermost_does() {
    let (outer, middle) = (Shared::<Generator<State>>::default(), Shared::<Generator<State>>::default());
    let (see_outer, see_middle, take_middle) = (outer.clone(), middle.clone(), middle.clone());
    *middle.borrow_mut() = Some(Rc::new(Generator::new(move |y, ()| {
        let (see_outer, see_middle) = (see_outer.clone(), see_middle.clone());
        let mut inner = Generator::new(move |y, ()| {
            loop {
                for seen in [&see_outer, &see_middle] {
                    let seen = seen.borrow().clone().expect("put there before");
                    assert!(matches!(seen.send(()), Err(GenError::AlreadyExecuting)));
                    y.yield_(seen.state())?;
                }
            }
        });
        y.yield_from(&mut inner)
    })));
    *outer.borrow_mut() = Some(Rc::new(Generator::new(move |y, ()| {
        let middle = take_middle.borrow().clone().expect("put there before");
        y.yield_from(&mut &*middle)
    })));
    let (outermost, middlemost) = (outer.take().unwrap(), middle.borrow().clone().unwrap());
    *outer.borrow_mut() = Some(outermost.clone());
    for _ in 0..3 {
        assert_eq!(outermost.send(()).unwrap(), Step::Yield(State::Running));
        assert_eq!((outermost.state(), middlemost.state()), (State::Suspended, State::Suspended));
    }
    drop((outer.take(), middle.take()));
    outermost.close().unwrap();
}

#[test]
fn one_on_the_way_may_be_resumed_and_ended_by_others() {
    let counter = Rc::new(Generator::new(|y, ()| {
        let mut inner = Generator::new(|y, ()| (1..=3).try_for_each(|n| y.yield_(n)));
        y.yield_from(&mut inner)
    }));
    let shared = counter.clone();
    let outer = Generator::new(move |y, ()| match y.yield_from(&mut &*shared) {
        Err(Interrupt::Error(error)) => y.yield_(if error.is::<GenError>() { 100 } else { 200 }),
        other => other,
    });
    assert_eq!(outer.send(()).unwrap(), Step::Yield(1));
    assert_eq!(counter.send(()).unwrap(), Step::Yield(2), "entered in the middle");
    assert_eq!(outer.send(()).unwrap(), Step::Yield(3));
    assert_eq!(counter.send(()).unwrap(), Step::Return(()), "ended in the middle");
    assert_eq!(outer.send(()).unwrap(), Step::Yield(100), "the outer one is told that it has finished");
}

#[test]
fn one_on_the_way_that_runs_is_told_to_the_one_before_it() {
    let place = Shared::<Generator<u32>>::default();
    let inside = place.clone();
    let middle = Rc::new(Generator::new(move |y, ()| {
        y.yield_(1)?;
        // The outer one waits in `yield_from` this one, which runs by another way in.
        let outer = inside.borrow().clone().expect("put there before");
        let told = outer.send(())?.yielded().unwrap_or(0);
        drop(outer); // or each would keep the other
        y.yield_(told)
    }));
    let shared = middle.clone();
    let outer = Rc::new(Generator::new(move |y, ()| match y.yield_from(&mut &*shared) {
        Err(Interrupt::Error(error)) => {
            y.yield_(u32::from(matches!(error.downcast_ref(), Some(GenError::AlreadyExecuting))))
        }
        other => other,
    }));
    *place.borrow_mut() = Some(outer.clone());
    assert_eq!(outer.send(()).unwrap(), Step::Yield(1));
    assert_eq!(middle.send(()).unwrap(), Step::Yield(1), "already executing");
    place.take();
}

#[test]
fn a_panic_of_the_innermost_goes_through_every_body() {
    let unwound = Rc::new(Cell::new(0));
    struct Count(Rc<Cell<u32>>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.set(self.0.get() + u32::from(std::thread::panicking()));
        }
    }
    fn fragile(depth: u32, unwound: &Rc<Cell<u32>>) -> Generator<u32> {
        let unwound = unwound.clone();
        Generator::new(move |y, ()| {
            let _count = Count(unwound.clone());
            if depth > 0 {
                return y.yield_from(&mut fragile(depth - 1, &unwound));
            }
            y.yield_(1)?;
            y.yield_(2)?;
            std::panic::resume_unwind(Box::new("broken"))
        })
    }
    let all = fragile(50, &unwound);
    assert_eq!((all.send(()).unwrap(), all.send(()).unwrap()), (Step::Yield(1), Step::Yield(2)));
    let payload = catch_unwind(AssertUnwindSafe(|| drop(all.send(())))).expect_err("it panics");
    assert_eq!(payload.downcast_ref(), Some(&"broken"));
    assert_eq!((unwound.get(), all.state()), (51, State::Finished));
}

#[test]
fn each_on_the_way_goes_on_with_what_its_own_returned() {
    let mut all = Generator::new(|y, ()| {
        for round in 0..3 {
            let mut inner: Box<dyn Coroutine<u32, (), Return = u32>> = Box::new(Generator::new(move |y, ()| {
                let mut pair = Generator::new(move |y, ()| {
                    y.yield_(10 * round)?;
                    y.yield_(10 * round + 1)?;
                    Ok(round)
                });
                let returned = y.yield_from(&mut pair)?;
                y.yield_(10 * returned + 5)?;
                Ok(returned + 100)
            }));
            let returned = y.yield_from(&mut inner)?;
            y.yield_(returned)?;
        }
        Ok("end")
    });
    let values: Vec<u32> = all.by_ref().collect();
    assert_eq!(values, [0, 1, 5, 100, 10, 11, 15, 101, 20, 21, 25, 102]);
    assert_eq!(all.return_value(), Some("end"));
}

#[test]
fn a_chain_that_is_dropped_ends_from_the_inside() {
    let log = Rc::new(RefCell::new(Vec::new()));
    struct Say(u32, Rc<RefCell<Vec<u32>>>);
    impl Drop for Say {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
        }
    }
    fn told(depth: u32, log: &Rc<RefCell<Vec<u32>>>) -> Generator<u32> {
        let log = log.clone();
        Generator::new(move |y, ()| {
            let _say = Say(depth, log.clone());
            if depth > 0 {
                return y.yield_from(&mut told(depth - 1, &log));
            }
            (0..).try_for_each(|n| y.yield_(n))
        })
    }
    let mut all = told(3, &log);
    assert_eq!((all.next(), all.next(), all.next()), (Some(0), Some(1), Some(2)));
    drop(all);
    assert_eq!(*log.borrow(), [0, 1, 2, 3]);
}
