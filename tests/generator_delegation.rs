//! `yield_from`: what goes inward, what comes out, and who closes whom. Cases of CPython's `test_yield_from`;
//! `tests/ported/test_yield_from.md` lists them all.

#![cfg(feature = "coroutines")]

use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::rc::Rc;

use crewkit::coroutine::{Coroutine, GenError, Generator, Interrupt, State, Step};

/// What happened, in order.
type Trace = Rc<RefCell<Vec<String>>>;

fn trace() -> (Trace, impl Fn(&str) + Clone + 'static) {
    let trace = Trace::default();
    let inside = trace.clone();
    (trace, move |what: &str| inside.borrow_mut().push(what.to_owned()))
}

#[derive(Debug)]
struct Spam;

impl fmt::Display for Spam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("spam")
    }
}

impl std::error::Error for Spam {}

#[track_caller]
fn is_spam<T: Debug>(result: Result<T, GenError>) -> bool {
    match result {
        Err(GenError::Thrown(error)) => error.is::<Spam>(),
        other => panic!("{other:?}"),
    }
}

/// Yields "inner 1" and "inner 2", returns 7, and says how it ends.
fn inner(say: impl Fn(&str) + 'static) -> Generator<String, u32, u32> {
    Generator::new(move |y, first| {
        let mut got = first;
        for n in 1..=2 {
            got = match y.yield_(format!("inner {n} after {got}")) {
                Ok(got) => got,
                Err(Interrupt::Close) => {
                    say("inner closed");
                    return Err(Interrupt::Close);
                }
                Err(Interrupt::Error(error)) => {
                    say(&format!("inner met {error}"));
                    return Err(Interrupt::Error(error));
                }
            };
        }
        Ok(7)
    })
}

fn outer(say: impl Fn(&str) + Clone + 'static) -> Generator<String, u32, String> {
    Generator::new(move |y, first| {
        let got = y.yield_(format!("outer after {first}"))?;
        let result = y.yield_from_with(&mut inner(say.clone()), got);
        match &result {
            Ok(value) => say(&format!("outer got {value}")),
            Err(Interrupt::Close) => say("outer closed"),
            Err(Interrupt::Error(error)) => say(&format!("outer met {error}")),
        }
        Ok(format!("{}", result?))
    })
}

#[test]
fn values_pass_inward_and_outward_and_the_result_comes_up() {
    let (trace, say) = trace();
    let generator = outer(say);
    let yields = |value: &str| Step::Yield(value.to_owned());
    assert_eq!(generator.send(1).unwrap(), yields("outer after 1"));
    assert_eq!(generator.send(2).unwrap(), yields("inner 1 after 2"));
    assert_eq!(generator.send(3).unwrap(), yields("inner 2 after 3"));
    assert_eq!(generator.send(4).unwrap(), Step::Return("7".to_owned()));
    assert_eq!(trace.take(), ["outer got 7"]);
}

#[test]
fn what_is_thrown_in_goes_to_the_innermost() {
    let (trace, say) = trace();
    let generator = outer(say);
    generator.send(1).unwrap();
    generator.send(2).unwrap();
    assert!(is_spam(generator.throw(Spam)));
    assert_eq!(trace.take(), ["inner met spam", "outer met spam"]);
    assert_eq!(generator.state(), State::Finished);
}

#[test]
fn what_is_thrown_between_delegations_stays_outside() {
    let (trace, say) = trace();
    let generator = outer(say);
    generator.send(1).unwrap();
    assert!(is_spam(generator.throw(Spam)));
    assert_eq!(trace.take(), [""; 0]);
}

#[test]
fn a_close_reaches_the_inner_one_first() {
    let (trace, say) = trace();
    let generator = outer(say);
    generator.send(1).unwrap();
    generator.send(2).unwrap();
    assert_eq!(generator.close().unwrap(), None);
    assert_eq!(trace.take(), ["inner closed", "outer closed"]);
}

#[test]
fn a_drop_reaches_the_inner_one_first() {
    let (trace, say) = trace();
    let generator = outer(say);
    generator.send(1).unwrap();
    generator.send(2).unwrap();
    drop(generator);
    assert_eq!(trace.take(), ["inner closed", "outer closed"]);
}

#[test]
fn a_thrown_close_closes_the_inner_one_and_ends_the_outer() {
    let (trace, say) = trace();
    let generator = outer(say);
    generator.send(1).unwrap();
    generator.send(2).unwrap();
    assert!(matches!(generator.throw(Interrupt::Close), Err(GenError::Finished)));
    assert_eq!(trace.take(), ["inner closed", "outer closed"]);
}

#[test]
fn an_inner_one_that_deals_with_what_is_thrown_goes_on() {
    let generator = Generator::new(|y, ()| {
        let mut inner = Generator::new(|y, ()| {
            let _ = y.yield_("first");
            y.yield_("dealt with")?;
            Ok("result")
        });
        let result = y.yield_from(&mut inner)?;
        y.yield_(result)
    });
    assert_eq!(generator.send(()).unwrap(), Step::Yield("first"));
    assert_eq!(generator.throw(Spam).unwrap(), Step::Yield("dealt with"));
    assert_eq!(generator.send(()).unwrap(), Step::Yield("result"));
}

#[test]
fn an_inner_one_that_returns_when_something_is_thrown_hands_its_value_up() {
    let generator = Generator::new(|y, ()| {
        let mut inner = Generator::new(|y, ()| Ok(if y.yield_(0).is_err() { 42 } else { 1 }));
        let value = y.yield_from(&mut inner)?;
        y.yield_(value)
    });
    generator.send(()).unwrap();
    assert_eq!(generator.throw(Spam).unwrap(), Step::Yield(42));
}

#[test]
fn an_inner_one_that_ignores_a_close_is_an_error_of_the_outer() {
    let generator = Generator::new(|y, ()| {
        let mut inner = Generator::new(|y, ()| {
            let _ = y.yield_(1);
            y.yield_(2)
        });
        y.yield_from(&mut inner)
    });
    generator.send(()).unwrap();
    let Err(GenError::Thrown(error)) = generator.close() else { panic!("an error") };
    assert!(matches!(error.downcast_ref(), Some(GenError::IgnoredClose)), "{error:?}");
    assert_eq!(generator.state(), State::Finished);
}

#[test]
fn an_error_while_the_inner_one_closes_replaces_the_close() {
    let generator: Generator<i32> = Generator::new(|y, ()| {
        let mut inner: Generator<i32> = Generator::new(|y, ()| y.yield_(1).map_err(|_| Spam.into()));
        y.yield_from(&mut inner)
    });
    generator.send(()).unwrap();
    assert!(is_spam(generator.close()));
}

#[test]
fn an_error_of_the_inner_one_can_be_dealt_with_outside() {
    let generator = Generator::new(|y, ()| {
        let mut failing: Generator<i32> = Generator::new(|y, ()| {
            y.yield_(1)?;
            Err(Spam.into())
        });
        match y.yield_from(&mut failing) {
            Err(Interrupt::Error(error)) if error.is::<Spam>() => y.yield_(2),
            other => other,
        }
    });
    assert_eq!(generator.collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_panic_of_the_inner_one_goes_through_the_outer() {
    let generator = Generator::new(|y, ()| {
        let mut inner: Generator<i32> = Generator::new(|_, ()| std::panic::resume_unwind(Box::new("inner")));
        y.yield_from(&mut inner)
    });
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| generator.send(()))).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"inner"));
    assert_eq!(generator.state(), State::Finished);
}

#[test]
fn whoever_delegates_runs() {
    let outer: Rc<RefCell<Option<Rc<Generator<i32>>>>> = Rc::default();
    let inside = outer.clone();
    let generator = Rc::new(Generator::new(move |y, ()| {
        let outer = inside.take().expect("set below");
        let mut inner = Generator::new(move |y, ()| {
            assert_eq!(outer.state(), State::Running);
            assert!(matches!(outer.send(()), Err(GenError::AlreadyExecuting)));
            assert!(matches!(outer.throw(Spam), Err(GenError::AlreadyExecuting)));
            assert!(matches!(outer.close(), Err(GenError::AlreadyExecuting)));
            y.yield_(1)
        });
        y.yield_from(&mut inner)
    }));
    outer.replace(Some(generator.clone()));
    assert_eq!(generator.send(()).unwrap(), Step::Yield(1));
    assert_eq!(generator.send(()).unwrap(), Step::Return(()), "and holds itself no longer");
}

#[test]
fn delegating_to_oneself_is_an_error() {
    let own: Rc<RefCell<Option<Rc<Generator<i32>>>>> = Rc::default();
    let inside = own.clone();
    let generator = Rc::new(Generator::new(move |y, ()| {
        y.yield_(1)?;
        let own = inside.take().expect("set below");
        y.yield_from(&mut &*own)
    }));
    own.replace(Some(generator.clone()));
    assert_eq!(generator.send(()).unwrap(), Step::Yield(1));
    let Err(GenError::Thrown(error)) = generator.send(()) else { panic!("an error") };
    assert!(matches!(error.downcast_ref(), Some(GenError::AlreadyExecuting)), "{error:?}");
}

#[test]
fn a_shared_inner_one_goes_on_for_the_next() {
    let shared = Rc::new(Generator::new(|y, ()| (1..=4).try_for_each(|n| y.yield_(n))));
    let taker = |count: usize| {
        let shared = shared.clone();
        Generator::new(move |y, ()| y.yield_from_iter((&*shared).take(count)))
    };
    assert_eq!(taker(1).chain(taker(3)).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn delegating_to_one_that_has_finished_is_an_error() {
    let generator = Generator::new(|y, ()| {
        let mut finished: Generator<i32> = Generator::new(|_, ()| Ok(()));
        finished.send(())?;
        y.yield_from(&mut finished)
    });
    let Err(GenError::Thrown(error)) = generator.send(()) else { panic!("an error") };
    assert!(matches!(error.downcast_ref(), Some(GenError::Finished)), "{error:?}");
}

#[test]
fn delegating_to_nothing_yields_nothing() {
    let empty = Generator::new(|y, ()| {
        y.yield_from_iter(std::iter::empty::<i32>())?;
        let mut at_once = Generator::new(|_, ()| Ok(3));
        y.yield_from(&mut at_once)
    });
    assert_eq!(empty.send(()).unwrap(), Step::Return(3));
}

#[test]
fn delegation_works_at_any_depth() {
    fn nest(depth: u32) -> Generator<u32, u32, u32> {
        Generator::new(move |y, first| match depth {
            0 => y.yield_(first + 1).map(|second| second + 1),
            _ => y.yield_from_with(&mut nest(depth - 1), first).map(|value| value + 1),
        })
    }
    let generator = nest(200);
    assert_eq!(generator.send(1).unwrap(), Step::Yield(2));
    assert_eq!(generator.send(2).unwrap(), Step::Return(203));
}

#[test]
fn any_coroutine_can_be_delegated_to() {
    fn boxed() -> Box<dyn Coroutine<i32, Return = &'static str>> {
        Box::new(Generator::new(|y, ()| y.yield_(1).map(|()| "boxed")))
    }
    let generator = Generator::new(|y, ()| {
        let mut inner = boxed();
        assert_eq!(inner.state(), State::Created);
        y.yield_from(&mut inner)
    });
    assert_eq!(generator.send(()).unwrap(), Step::Yield(1));
    assert_eq!(generator.send(()).unwrap(), Step::Return("boxed"));
    assert_eq!(boxed().close().unwrap(), None);
    assert!(matches!(boxed().throw(Interrupt::Close), Err(GenError::Finished)));
}
