//! Fact 7: an overflow tells the coroutine's name and aborts; other faults still reach whoever dealt with them before.

#![expect(unsafe_code, reason = "faults, and a thread of C")]

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use crewkit::coroutine::{Builder, Generator, StackSize};

use crate::again::{alone, printed};

/// Calls itself until there is no stack left.
pub(crate) fn deep(n: u64) -> u64 {
    let frame = black_box([n; 64]);
    if black_box(true) { deep(n + 1) + frame[63] } else { 0 }
}

/// A generator, so that the handler is there.
fn prepare() {
    assert_eq!(Generator::new(|y, ()| y.yield_(1)).next(), Some(1));
}

#[track_caller]
fn ended(output: &Output, signal: i32, says: &str) {
    let printed = printed(output);
    assert_eq!(output.status.signal(), Some(signal), "{printed}");
    assert!(printed.contains(says), "{printed}");
}

#[test]
fn fact_7_an_overflow_tells_the_name_of_the_coroutine() {
    let name = "overflow::fact_7_an_overflow_tells_the_name_of_the_coroutine";
    let output = alone(name, || {
        let parser = Builder::new().name("parser").stack(StackSize::Large).generator(|y, ()| y.yield_(deep(0)));
        let _ = parser.unwrap().send(());
    });
    ended(&output, libc::SIGABRT, "\ncoroutine 'parser' has overflowed its stack of 256 KiB, aborting\n");
}

#[test]
fn fact_7_a_stack_that_was_made_ready_among_many_is_guarded() {
    let name = "overflow::fact_7_a_stack_that_was_made_ready_among_many_is_guarded";
    let output = alone(name, || {
        let all: Vec<_> = (0..300).map(|_| Generator::new(|y, ()| y.yield_(1))).collect();
        assert!(all.iter().all(|generator| generator.send(()).is_ok()));
        let late = Builder::new().name("late").generator(|y, ()| y.yield_(deep(0)));
        let _ = late.unwrap().send(());
    });
    ended(&output, libc::SIGABRT, "\ncoroutine 'late' has overflowed its stack of 64 KiB, aborting\n");
}

#[test]
fn fact_7_an_unnamed_coroutine_is_told_by_its_body() {
    let name = "overflow::fact_7_an_unnamed_coroutine_is_told_by_its_body";
    let output = alone(name, || {
        let outer = Generator::new(|y, ()| {
            let inner = Generator::new(|y, ()| y.yield_(deep(0)));
            y.yield_from(&mut { inner })
        });
        let _ = outer.send(());
    });
    ended(&output, libc::SIGABRT, "an_unnamed_coroutine_is_told_by_its_body::{{closure}}::{{closure}}::{{closure}}'");
}

#[test]
fn fact_7_an_overflow_of_main_is_told_by_std() {
    let name = "overflow::fact_7_an_overflow_of_main_is_told_by_std";
    let output = alone(name, || {
        prepare();
        // libtest runs this on a thread of its own: main's stack cannot be reached from a test, another thread's can.
        std::thread::Builder::new().name("diver".into()).spawn(|| deep(0)).unwrap().join().unwrap();
    });
    ended(&output, libc::SIGABRT, "thread 'diver'");
}

#[test]
fn fact_7_an_overflow_in_a_thread_that_c_started_is_told_too() {
    extern "C" fn thread(_: *mut libc::c_void) -> *mut libc::c_void {
        let _ = Builder::new().name("guest").generator(|y, ()| y.yield_(deep(0))).unwrap().send(());
        std::ptr::null_mut()
    }
    let name = "overflow::fact_7_an_overflow_in_a_thread_that_c_started_is_told_too";
    let output = alone(name, || {
        let mut id = 0;
        // SAFETY: the function keeps to C's signature, and has no argument.
        let started = unsafe { libc::pthread_create(&raw mut id, std::ptr::null(), thread, std::ptr::null_mut()) };
        assert_eq!(started, 0);
        // SAFETY: just started, joined once.
        unsafe { libc::pthread_join(id, std::ptr::null_mut()) };
    });
    ended(&output, libc::SIGABRT, "coroutine 'guest' has overflowed");
}

#[test]
fn fact_7_a_wild_pointer_in_a_generator_is_no_overflow() {
    let name = "overflow::fact_7_a_wild_pointer_in_a_generator_is_no_overflow";
    let output = alone(name, || {
        let wild = Generator::new(|y, ()| {
            let nowhere: *const u8 = black_box(std::ptr::without_provenance(64));
            // SAFETY: none: this is to fault.
            y.yield_(unsafe { nowhere.read_volatile() })
        });
        let _ = wild.send(());
    });
    ended(&output, libc::SIGSEGV, "");
    assert!(!printed(&output).contains("overflowed"));
}

#[test]
fn fact_7_a_handler_that_was_there_before_gets_the_other_faults() {
    extern "C" fn theirs(_: libc::c_int) {
        // SAFETY: may be called in a handler.
        unsafe { libc::_exit(77) };
    }
    let name = "overflow::fact_7_a_handler_that_was_there_before_gets_the_other_faults";
    let output = alone(name, || {
        let handler: extern "C" fn(libc::c_int) = theirs;
        // SAFETY: the handler calls what may be called in one.
        unsafe { libc::signal(libc::SIGSEGV, handler as libc::sighandler_t) };
        prepare();
        let nowhere: *const u8 = black_box(std::ptr::without_provenance(64));
        // SAFETY: none: this is to fault.
        unsafe { nowhere.read_volatile() };
    });
    assert_eq!(output.status.code(), Some(77), "{}", printed(&output));
}
