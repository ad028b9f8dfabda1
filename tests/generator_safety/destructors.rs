//! Destructors that panic, or use the crate, where a coroutine's end runs them.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use crewkit::coroutine::{Generator, Interrupt, State, Step, scope, stack_stats};

use crate::again::{alone, well};

/// Panics when it is dropped, without a word.
struct Nasty(&'static str);

impl Drop for Nasty {
    fn drop(&mut self) {
        resume_unwind(Box::new(self.0));
    }
}

/// What a call panics with.
fn panics<T>(call: impl FnOnce() -> T) -> &'static str {
    let payload = catch_unwind(AssertUnwindSafe(|| drop(call()))).expect_err("it panics");
    payload.downcast_ref::<&str>().copied().expect("a word")
}

/// Notes that it was dropped.
struct Note<'n>(&'n Cell<bool>);

impl Drop for Note<'_> {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[test]
fn a_scoped_body_has_ended_although_what_it_yields_meanwhile_panics_in_its_drop() {
    // A body whose frames were still there could have threads that use what it borrows.
    let ended = Cell::new(false);
    let panic = panics(|| {
        scope(
            |y, ()| {
                let _frame = Note(&ended);
                let _ = y.yield_(Nasty("first"));
                y.yield_(Nasty("while it is closed"))
            },
            |generator| match generator.send(()) {
                Ok(Step::Yield(first)) => {
                    let _ = ManuallyDrop::new(first);
                }
                other => panic!("{}", other.is_ok()),
            },
        );
    });
    assert_eq!((panic, ended.get()), ("while it is closed", true));
    assert_eq!((stack_stats().in_use, stack_stats().leaked), (0, 0));
}

#[test]
fn a_generator_is_dropped_to_its_end_although_what_it_yields_meanwhile_panics_in_its_drop() {
    let generator: Generator<Nasty> = Generator::new(|y, ()| {
        loop {
            let _ = y.yield_(Nasty("while it is closed"));
        }
    });
    match generator.send(()) {
        Ok(Step::Yield(first)) => {
            let _ = ManuallyDrop::new(first);
        }
        other => panic!("{}", other.is_ok()),
    }
    assert_eq!(panics(|| drop(generator)), "while it is closed");
    assert_eq!((stack_stats().in_use, stack_stats().leaked), (0, 0), "it was unwound");
}

#[test]
fn a_result_that_panics_in_its_drop_ends_its_generator_first() {
    let generator: Generator<(), (), Nasty> = Generator::new(|y, ()| {
        let _ = y.yield_(());
        Ok(Nasty("result"))
    });
    assert!(matches!(generator.send(()), Ok(Step::Yield(()))));
    assert_eq!(panics(|| drop(generator)), "result");
    assert_eq!(stack_stats().in_use, 0);
}

#[test]
fn a_payload_that_panics_in_its_drop_does_no_harm_while_the_thread_panics() {
    let name = "destructors::a_payload_that_panics_in_its_drop_does_no_harm_while_the_thread_panics";
    well(&alone(name, || {
        let panicking = || {
            let generator: Generator<i32> = Generator::new(|y, ()| {
                let _ = y.yield_(1);
                resume_unwind(Box::new(Nasty("payload")))
            });
            generator.send(()).unwrap();
            generator
        };
        let (dropped, closed) = (panicking(), panicking());
        let outer = panics(|| {
            struct Close(Generator<i32>);
            impl Drop for Close {
                fn drop(&mut self) {
                    assert!(self.0.close().is_err());
                }
            }
            let _both = (dropped, Close(closed));
            resume_unwind(Box::new("outer"))
        });
        assert_eq!(outer, "outer");
        assert!(!std::thread::panicking());
    }));
}

#[test]
fn a_body_that_has_not_begun_may_resume_others_while_it_is_dropped() {
    struct Resume(Generator<i32>, Rc<Cell<i32>>);
    impl Drop for Resume {
        fn drop(&mut self) {
            self.1.set(self.0.next().unwrap_or(-1));
        }
    }
    let seen = Rc::new(Cell::new(0));
    let held = Resume(Generator::new(|y, ()| y.yield_(7)), Rc::clone(&seen));
    let generator: Generator<()> = Generator::new(move |y, ()| {
        let _held = &held;
        y.yield_(())
    });
    assert!(generator.throw(Interrupt::Close).is_err());
    assert_eq!((generator.state(), seen.get()), (State::Finished, 7));
}

#[test]
fn a_million_are_made_and_ended_on_the_stacks_of_a_few() {
    let before = stack_stats().reserved_bytes;
    for n in 0..1_000_000_u64 {
        let generator = Generator::<u64, u64>::new(|y, n| y.yield_(n + 1).map(drop));
        assert!(matches!(generator.send(n), Ok(Step::Yield(next)) if next == n + 1));
    }
    let after = stack_stats();
    assert_eq!((after.in_use, after.leaked), (0, 0));
    assert!(after.reserved_bytes <= before.max(8 << 20), "{after:?}");
}
