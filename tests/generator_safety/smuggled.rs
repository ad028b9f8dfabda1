//! A yielder that is used where it does not belong: on another stack than its own.

#![expect(unsafe_code, reason = "what crates for scoped thread-locals do")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use crewkit::coroutine::{Generator, State, Step, Yielder};

thread_local! {
    static SMUGGLED: Cell<*const Yielder<i32>> = const { Cell::new(ptr::null()) };
}

/// Calls `call` with `yielder` in the thread-local, as crates for scoped thread-locals do.
fn with<T>(yielder: &Yielder<i32>, call: impl FnOnce() -> T) -> T {
    let before = SMUGGLED.replace(yielder);
    let result = call();
    SMUGGLED.set(before);
    result
}

fn smuggled() -> &'static Yielder<i32> {
    // SAFETY: set for as long as the yielder is borrowed, and used meanwhile only.
    unsafe { &*SMUGGLED.get() }
}

/// What a call panics with.
fn panics(call: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(call)).expect_err("it panics");
    payload.downcast_ref::<&str>().map_or_else(|| format!("{payload:?}"), ToString::to_string)
}

#[test]
fn a_yielder_does_not_work_on_the_stack_of_the_thread() {
    let generator = Generator::new(|y, ()| with(y, || y.yield_(1)));
    generator.send(()).unwrap();
    assert_eq!(panics(|| drop(smuggled().yield_(2))), "a coroutine can be suspended from inside only");
    assert_eq!(generator.state(), State::Suspended);
    assert_eq!(generator.send(()).unwrap(), Step::Return(()), "nothing happened to it");
}

#[test]
fn a_yielder_does_not_work_in_another_generator() {
    let outer = Generator::new(|y, ()| {
        with(y, || {
            let inner = Generator::new(|y, ()| {
                y.yield_(10)?;
                assert_eq!(panics(|| drop(smuggled().yield_(2))), "a coroutine can be suspended from inside only");
                y.yield_(11)
            });
            assert_eq!(inner.send(()).unwrap(), Step::Yield(10));
            assert_eq!(inner.send(()).unwrap(), Step::Yield(11));
        });
        y.yield_(1)
    });
    assert_eq!(outer.send(()).unwrap(), Step::Yield(1));
}

#[test]
fn a_yielder_works_at_any_depth_of_its_own() {
    let generator = Generator::new(|y, ()| with(y, || [1, 2, 3].iter().try_for_each(|n| smuggled().yield_(*n))));
    assert_eq!(generator.collect::<Vec<_>>(), [1, 2, 3]);
}
