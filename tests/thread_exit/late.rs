//! What runs at exit, and what can still be done there.

use crate::{Case, case, never, until_main_ends};
use crewkit::sync::Event;
use crewkit::thread::{self, Builder, Local, ShuttingDown, Timer};
use std::cell::Cell;
use std::io;
use std::process;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    case!(th11_callbacks_run_in_reverse_before_the_joins, |seen| seen.is(0, "second\nfirst\nthread\n")),
    case!(th11_no_callback_is_taken_while_the_process_ends, |seen| seen.is(0, "refused\n")),
    case!(th11_a_callback_that_panics_ends_only_itself, |seen| {
        assert_eq!((seen.code, seen.out.as_str()), (Some(0), "first\nthread\n"), "{}", seen.err);
        assert!(seen.err.contains("second panics"), "{}", seen.err);
    }),
    case!(th11_a_callback_with_a_payload_that_panics_too, |seen| {
        assert_eq!((seen.code, seen.out.as_str()), (Some(0), "first\nthread\n"), "{}", seen.err);
    }),
    case!(lo2_a_destructor_with_a_payload_that_panics_too, |seen| {
        assert_eq!((seen.code, seen.out.as_str()), (Some(0), "other value\n"), "{}", seen.err);
    }),
    case!(th11_exit_in_a_callback_is_stds_abort_and_no_hang, |seen| {
        assert_eq!(seen.signal, Some(6), "{}", seen.err);
        assert!(seen.err.contains("re-entrant"), "{}", seen.err);
    }),
    case!(th11_nothing_is_started_after_the_last_join, |seen| {
        seen.is(0, "thread: refused\ntimer: refused\ncallback: refused\nmain: stopped, listed\n");
    }),
    case!(th11_the_exiting_thread_knows_itself_in_callbacks, |seen| { seen.is(3, "ends it\nfalse\n") }),
    case!(lo2_exit_within_a_borrow_leaves_the_value_alone, |seen| seen.is(0, "still 7\n")),
    case!(lo2_exit_drops_the_values_of_the_exiting_thread, |seen| seen.is(0, "dropped 7\n")),
    case!(lo5_locals_are_readable_at_exit, |seen| seen.is(0, "destructor 7\ncallback 7\natexit 7\n")),
];

fn is_refused<T>(result: io::Result<T>) -> &'static str {
    match result {
        Ok(_) => "taken",
        Err(error) if error.get_ref().is_some_and(|inner| inner.is::<ShuttingDown>()) => "refused",
        Err(_) => "failed otherwise",
    }
}

fn th11_callbacks_run_in_reverse_before_the_joins() {
    drop(thread::spawn(|| {
        until_main_ends();
        println!("thread");
    }));
    thread::at_exit(|| println!("first")).expect("the process is not ending");
    thread::at_exit(|| println!("second")).expect("the process is not ending");
}

fn th11_no_callback_is_taken_while_the_process_ends() {
    let late = || println!("{}", is_refused(thread::at_exit(|| println!("called"))));
    thread::at_exit(late).expect("the process is not ending");
}

fn th11_a_callback_that_panics_ends_only_itself() {
    drop(thread::spawn(|| {
        until_main_ends();
        println!("thread");
    }));
    thread::at_exit(|| println!("first")).expect("the process is not ending");
    thread::at_exit(|| panic!("second panics")).expect("the process is not ending");
}

/// Panics when it is dropped, with one of its like as the payload if there is one left.
struct Nasty(u32);

impl Drop for Nasty {
    fn drop(&mut self) {
        if let Some(left) = self.0.checked_sub(1) {
            std::panic::panic_any(Nasty(left));
        }
    }
}

fn th11_a_callback_with_a_payload_that_panics_too() {
    drop(thread::spawn(|| {
        until_main_ends();
        println!("thread");
    }));
    thread::at_exit(|| println!("first")).expect("the process is not ending");
    thread::at_exit(|| drop(Nasty(2))).expect("the process is not ending");
}

fn lo2_a_destructor_with_a_payload_that_panics_too() {
    let nasty = Arc::new(Local::new(|| Nasty(2)));
    let other = Arc::new(Local::new(|| Told("other value")));
    let (nasty, other) = (&nasty, &other);
    let (its_nasty, its_other) = (Arc::clone(nasty), Arc::clone(other));
    let thread = thread::spawn(move || {
        its_nasty.with(|_| ());
        its_other.with(|_| ());
    });
    thread.join().expect("the panic is the destructor's");
}

struct Told(&'static str);

impl Drop for Told {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

fn th11_exit_in_a_callback_is_stds_abort_and_no_hang() {
    drop(thread::spawn(until_main_ends));
    thread::at_exit(|| process::exit(9)).expect("the process is not ending");
}

/// Has `callback` called after all that crewkit does at exit: what is registered first is called last.
fn after_all(callback: extern "C" fn()) {
    nix_atexit(callback);
}

#[expect(unsafe_code, reason = "atexit has no wrapper")]
fn nix_atexit(callback: extern "C" fn()) {
    // SAFETY: the callback is a function of the executable.
    assert_eq!(unsafe { libc::atexit(callback) }, 0);
}

fn th11_nothing_is_started_after_the_last_join() {
    extern "C" fn finalisation() {
        println!("thread: {}", is_refused(Builder::new().spawn(|| println!("runs"))));
        println!("timer: {}", is_refused(Builder::new().start_timer(Duration::ZERO, || println!("runs"))));
        println!("callback: {}", is_refused(thread::at_exit(|| println!("runs"))));
        let main = thread::main();
        let alive = if main.is_alive() { "alive" } else { "stopped" };
        let listed = if thread::enumerate() == [main.clone()] { "listed" } else { "not alone" };
        assert_eq!(thread::current(), main);
        println!("main: {alive}, {listed}");
    }
    after_all(finalisation);
    thread::spawn(|| ()).join().expect("no panic");
}

fn th11_the_exiting_thread_knows_itself_in_callbacks() {
    let callback = || {
        let me = thread::current();
        println!("{}\n{}", me.name(), me.is_alive());
    };
    thread::at_exit(callback).expect("the process is not ending");
    drop(Builder::new().name("ends it").spawn(|| process::exit(3)).expect("a thread"));
    never();
}

struct Loud(Cell<u32>);

impl Drop for Loud {
    fn drop(&mut self) {
        println!("dropped {}", self.0.replace(0));
    }
}

fn lo2_exit_within_a_borrow_leaves_the_value_alone() {
    static VALUE: LazyLock<Local<Loud>> = LazyLock::new(|| Local::new(|| Loud(Cell::new(7))));
    drop(thread::spawn(|| {
        VALUE.with(|value| {
            let address = std::ptr::from_ref(value) as usize;
            thread::at_exit(move || println!("still {}", look_at(address))).expect("the process is not ending");
            process::exit(0)
        })
    }));
    never();
}

#[expect(unsafe_code, reason = "looks whether the value is there still")]
fn look_at(address: usize) -> u32 {
    // SAFETY: the borrow of the value is on the stack of this very thread, which is in exit.
    unsafe { &*(address as *const Loud) }.0.get()
}

fn lo2_exit_drops_the_values_of_the_exiting_thread() {
    static VALUE: LazyLock<Local<Loud>> = LazyLock::new(|| Local::new(|| Loud(Cell::new(7))));
    drop(thread::spawn(|| {
        VALUE.with(|_| ());
        process::exit(0)
    }));
    never();
}

fn lo5_locals_are_readable_at_exit() {
    static VALUE: LazyLock<Local<Cell<u32>>> = LazyLock::new(|| Local::new(|| Cell::new(0)));
    struct Destructor;
    impl Drop for Destructor {
        fn drop(&mut self) {
            println!("destructor {}", VALUE.with(Cell::get));
        }
    }
    thread_local!(static DESTRUCTOR: Destructor = const { Destructor });
    extern "C" fn last() {
        println!("atexit {}", VALUE.with(Cell::get));
    }
    after_all(last);
    DESTRUCTOR.with(|_| ());
    VALUE.with(|value| value.set(7));
    thread::at_exit(|| println!("callback {}", VALUE.with(Cell::get))).expect("the process is not ending");
    let waited_for = Arc::new(Event::new());
    waited_for.set();
    drop(Timer::start(Duration::ZERO, move || waited_for.wait()));
}
