//! Greenlets: what is theirs alone. The cases of greenlet's own suites are in `ported`.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crewkit::coroutine::{
    Builder, Event, Generator, Greenlet, Interrupt, LightGenerator, ParentError, StackSize, State, SwitchError,
};

use super::{Tell, log, switch_error};

#[test]
fn values_travel_both_ways() {
    let main = Greenlet::<u32>::main();
    let doubler = Greenlet::new(move |mut n| {
        while let Some(next) = main.switch(2 * n)? {
            n = next;
        }
        Ok(0)
    });
    assert_eq!(doubler.state(), State::Created);
    assert_eq!((1..5).map(|n| doubler.switch(n).unwrap().unwrap()).collect::<Vec<_>>(), [2, 4, 6, 8]);
    assert_eq!(doubler.state(), State::Suspended);
    assert_eq!(Greenlet::<u32>::current(), Greenlet::<u32>::main());
}

#[test]
fn siblings_switch_to_each_other_without_main() {
    const ROUNDS: u32 = 1000;
    let seen = Rc::new(Cell::new(0));
    let ping = {
        let seen = Rc::clone(&seen);
        Greenlet::new(move |mut n: u32| {
            let me = Greenlet::current();
            let pong = Greenlet::new(move |mut n| {
                while let Some(next) = me.switch(n + 1)? {
                    n = next;
                }
                Ok(0)
            });
            while n < ROUNDS {
                n = pong.switch(n + 1)?.unwrap();
                seen.set(seen.get() + 1);
            }
            Ok(n)
        })
    };
    assert_eq!(ping.switch(0).unwrap(), Some(ROUNDS));
    assert_eq!(seen.get(), ROUNDS / 2);
    assert!(ping.is_dead());
}

#[test]
fn values_are_moved_not_copied_or_lost() {
    let log = log();
    let main = Greenlet::<Tell>::main();
    let echo = Greenlet::new(move |mut value| {
        while let Some(next) = main.switch(value)? {
            value = next;
        }
        Ok(Tell("never", Rc::default()))
    });
    let first = echo.switch(Tell("first", Rc::clone(&log))).unwrap().unwrap();
    assert!(log.borrow().is_empty());
    drop(first);
    let second = echo.switch(Tell("second", Rc::clone(&log))).unwrap();
    drop(echo);
    assert_eq!(*log.borrow(), ["first"]);
    drop(second);
    assert_eq!(*log.borrow(), ["first", "second"]);
}

#[test]
fn families_of_different_types_nest() {
    let outer = Greenlet::<u32>::new(|n| {
        let inner = Greenlet::<String>::new(|text| {
            // The outer family's main is below this stack, and its current greenlet too.
            assert_eq!(switch_error(Greenlet::<u32>::main().switch(1)), SwitchError::ForeignStack);
            Ok(Greenlet::<String>::main().switch(text + "!")?.unwrap() + "?")
        });
        assert_eq!(inner.switch("one".to_owned())?.as_deref(), Some("one!"));
        assert_eq!(Greenlet::<u32>::main().switch(n + 1)?, Some(7));
        assert_eq!(inner.switch("two".to_owned())?.as_deref(), Some("two?"));
        Ok(n + 2)
    });
    assert_eq!(outer.switch(1).unwrap(), Some(2));
    assert_eq!(outer.switch(7).unwrap(), Some(3));
}

#[test]
fn a_generator_can_be_main() {
    let main = Greenlet::<u32>::main();
    let counter = Greenlet::new(move |mut n| {
        while let Some(step) = main.switch(n)? {
            n += step;
        }
        Ok(n)
    });
    let counts = Generator::new(move |y, ()| {
        for _ in 0..3 {
            y.yield_(counter.switch(1)?.unwrap())?;
        }
        // Ends here, on this generator's stack.
        drop(counter);
        Ok(())
    });
    assert_eq!(counts.collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn no_switch_from_a_stack_above_the_current_greenlet() {
    let greenlet = Greenlet::<u32>::new(|n| {
        let sneaky = Generator::<SwitchError>::new(|y, ()| {
            y.yield_(switch_error(Greenlet::<u32>::main().switch(1)))?;
            // To itself neither: this is not its stack.
            y.yield_(switch_error(Greenlet::<u32>::current().switch(1)))
        });
        assert_eq!(sneaky.collect::<Vec<_>>(), [SwitchError::ForeignStack; 2]);
        Ok(n)
    });
    assert_eq!(greenlet.switch(3).unwrap(), Some(3));
}

#[test]
fn no_switch_while_the_thread_panics() {
    struct Switches(Greenlet<u32>, Rc<Cell<Option<SwitchError>>>);
    impl Drop for Switches {
        fn drop(&mut self) {
            self.1.set(Some(switch_error(self.0.switch(1))));
        }
    }
    let met = Rc::new(Cell::new(None));
    let target = Greenlet::<u32>::new(Ok);
    let switches = Switches(target.clone(), Rc::clone(&met));
    let panic = catch_unwind(AssertUnwindSafe(move || {
        let _switches = switches;
        panic!("meant");
    }));
    assert!(panic.is_err());
    assert_eq!(met.take(), Some(SwitchError::Panicking));
    assert_eq!(target.state(), State::Created);

    // Inside a greenlet, too; its panic goes on in its parent.
    let switches = Switches(target.clone(), Rc::clone(&met));
    let panics = Greenlet::<u32>::new(move |_| {
        let _switches = switches;
        panic!("meant");
    });
    let panic = catch_unwind(AssertUnwindSafe(|| panics.switch(0)));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"meant"));
    assert_eq!(met.take(), Some(SwitchError::Panicking));
    assert!(panics.is_dead());
    assert_eq!(target.switch(5).unwrap(), Some(5));
}

#[test]
fn a_panic_goes_to_the_parent_not_to_who_switched() {
    let log = log();
    let told = Rc::clone(&log);
    let parent = Greenlet::<u32>::new(move |_| {
        let caught = catch_unwind(AssertUnwindSafe(|| Greenlet::<u32>::main().switch(1)));
        told.borrow_mut().push(caught.unwrap_err().downcast_ref::<&str>().unwrap().to_string());
        Ok(2)
    });
    assert_eq!(parent.switch(0).unwrap(), Some(1));
    let child = Greenlet::with_parent(&parent, |_| panic!("meant"));
    // Main switched to the child, whose end resumes the parent, whose end resumes main.
    assert_eq!(child.switch(0).unwrap(), Some(2));
    assert_eq!(*log.borrow(), ["meant"]);

    // A parent that has not begun does not take a panic: it ends, and the panic goes on to main.
    let unstarted = Greenlet::<u32>::new(Ok);
    let child = Greenlet::with_parent(&unstarted, |_| panic!("again"));
    let panic = catch_unwind(AssertUnwindSafe(|| child.switch(0)));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"again"));
    assert!(unstarted.is_dead());
}

#[test]
fn a_requested_end_passes_by_who_has_not_begun() {
    let unstarted = Greenlet::<u32>::new(Ok);
    let child = Greenlet::with_parent(&unstarted, |_| Err(Interrupt::Close));
    assert_eq!(child.switch(0).unwrap(), None);
    assert!(child.is_dead());
    assert_eq!(unstarted.state(), State::Created);
    assert_eq!(unstarted.switch(1).unwrap(), Some(1));
}

#[test]
fn the_builder_names_sizes_and_measures() {
    let greenlet = Builder::new().name("digger").stack(StackSize::Large).measure_stack().greenlet(|n: u32| {
        fn dig(n: u32) -> u32 {
            let hole = std::hint::black_box([n; 1024]);
            if n == 0 { hole[0] } else { dig(n - 1) + hole[1023] }
        }
        Greenlet::<u32>::main().switch(dig(n)).map(|_| 0)
    });
    assert_eq!(greenlet.name(), "digger");
    assert_eq!(greenlet.stack_used(), Some(0));
    assert_eq!(greenlet.switch(20).unwrap(), Some((1..=20).sum()));
    // Twenty-one frames of 4 KiB: more than the default stack has.
    let used = greenlet.stack_used().unwrap();
    assert!((21 * 4096..256 << 10).contains(&used), "{used}");
    assert_eq!(Greenlet::<u32>::new(Ok).stack_used(), None);
}

#[test]
fn a_tracer_that_switches_is_told_of_the_arrivals_after_that() {
    let told = Rc::new(Cell::new(0));
    let helper = Greenlet::<u32>::new(|mut n| {
        let main = Greenlet::main();
        while let Some(next) = main.switch(n)? {
            n = next;
        }
        Ok(0)
    });
    helper.switch(0).unwrap();
    let traced = Rc::clone(&told);
    Greenlet::<u32>::set_trace(Some(Box::new(move |_, _, to| {
        if *to == Greenlet::main() {
            assert_eq!(helper.switch(7).unwrap(), Some(7));
        }
        traced.set(traced.get() + 1);
    })));
    let echo = Greenlet::<u32>::new(|mut n| {
        let main = Greenlet::main();
        while let Some(next) = main.switch(n)? {
            n = next;
        }
        Ok(0)
    });
    for round in 1..=3 {
        assert_eq!(echo.switch(round).unwrap(), Some(round));
        assert_eq!(told.get(), 2 * round, "there and back, in each round");
    }
    Greenlet::<u32>::set_trace(None);
}

#[test]
fn a_tracer_may_switch_and_may_be_replaced_by_itself() {
    let log = log();
    let told = Rc::clone(&log);
    let other = Greenlet::<u32>::new(|n| Ok(n + 100));
    let inner = other.clone();
    let old = Greenlet::<u32>::set_trace(Some(Box::new(move |event, from, to| {
        told.borrow_mut().push(format!(
            "{event:?} {} {}",
            *from == Greenlet::<u32>::main(),
            *to == Greenlet::<u32>::main()
        ));
        if *to != Greenlet::<u32>::main() {
            // Not traced, and its value comes here.
            assert_eq!(inner.switch(1).unwrap(), Some(101));
            Greenlet::<u32>::set_trace(None);
        }
    })));
    assert!(old.is_none());
    other.set_parent(&Greenlet::new(Ok)).unwrap();
    other.set_parent(&Greenlet::<u32>::main()).unwrap();
    let traced = Greenlet::<u32>::new(Ok);
    other.set_parent(&traced).unwrap();
    assert_eq!(traced.switch(7).unwrap(), Some(7));
    assert_eq!(*log.borrow(), ["Switch true false"]);
    assert!(Greenlet::<u32>::set_trace(None).is_none());
}

#[test]
fn a_light_generator_can_be_driven_by_greenlets() {
    let greenlet = Greenlet::<u32>::new(|n| {
        let mut sum = 0;
        for item in LightGenerator::new(async move |y, ()| {
            for item in 0..n {
                y.yield_(Greenlet::<u32>::main().switch(item)?.unwrap()).await?;
            }
            Ok(())
        }) {
            sum += item;
        }
        Ok(sum)
    });
    let mut item = greenlet.switch(4).unwrap().unwrap();
    while !greenlet.is_dead() {
        item = greenlet.switch(item + 10).unwrap().unwrap();
    }
    assert_eq!(item, 10 + 11 + 12 + 13);
}

#[test]
fn errors_say_what_is_wrong() {
    let texts: [(&dyn fmt::Display, _); 5] = [
        (&SwitchError::Panicking, "cannot switch to another greenlet while the thread panics"),
        (&SwitchError::ForeignStack, "cannot switch here: this stack is not the current greenlet's own"),
        (&ParentError::Cycle, "cyclic parent chain"),
        (&ParentError::Main, "cannot set the parent of a main greenlet"),
        (&ParentError::Family, "the parent is a greenlet of another family"),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
    }
    assert_ne!(Event::Switch, Event::Throw);
}
