//! Who is waited for when the process ends, however it does.

use crate::{Case, Seen, case, never, until_main_ends};
use crewkit::sync::Event;
use crewkit::thread::{self, Builder, Timer};
use std::process;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    case!(th9_th10_the_end_of_main_waits_for_threads, |seen| { seen.is(0, "end of main\nend of thread\n") }),
    case!(th10_exit_waits_for_threads, |seen| seen.is(7, "end of main\nend of thread\n")),
    case!(th10_a_panic_of_main_waits_for_threads, |seen| {
        assert_eq!((seen.code, seen.out.as_str()), (Some(101), "end of thread\n"), "{}", seen.err);
        assert!(seen.err.contains("main is through"), "{}", seen.err);
    }),
    case!(th10_daemons_are_not_waited_for, |seen| seen.is(0, "true\n")),
    case!(th10_what_threads_start_meanwhile_is_waited_for, |seen| seen.is(0, "second\n")),
    case!(th10_thread_local_values_are_dropped_before_the_end, |seen| seen.is(0, "dropped\n")),
    case!(th10_exit_from_a_thread_does_not_wait_for_itself, |seen| seen.is(5, "other\n")),
    case!(th10_exit_from_a_daemon_waits_for_the_others, |seen| seen.is(6, "end of thread\n")),
    case!(th10_who_joins_a_thread_that_calls_exit_goes_on, |seen| seen.is(5, "Exit\n")),
    case!(th10_of_two_threads_that_call_exit_the_first_does, |seen| seen.is(3, "Exit\n")),
    case!(th10_main_may_return_while_a_thread_exits, |seen| seen.is(3, "end of thread\n")),
    case!(th10_a_timer_is_waited_for, |seen| seen.is(0, "end of main\nfired\n")),
    case!(th10_a_daemon_timer_is_not_waited_for, |seen| seen.is(0, "")),
    case!(th10_forty_busy_daemons_do_not_disturb_the_end, |seen| seen.is(0, "")),
    case!(th10_abort_waits_for_nobody, |seen: &Seen| assert_eq!(seen.signal, Some(6))),
];

fn end_of_thread() {
    until_main_ends();
    println!("end of thread");
}

fn th9_th10_the_end_of_main_waits_for_threads() {
    drop(thread::spawn(end_of_thread));
    println!("end of main");
}

fn th10_exit_waits_for_threads() {
    drop(thread::spawn(end_of_thread));
    println!("end of main");
    process::exit(7);
}

fn th10_a_panic_of_main_waits_for_threads() {
    drop(thread::spawn(end_of_thread));
    panic!("main is through");
}

fn th10_daemons_are_not_waited_for() {
    let started = Arc::new(Event::new());
    let report = Arc::clone(&started);
    let daemon = Builder::new().daemon(true).spawn(move || {
        // It inherits being one.
        let inner = thread::spawn(|| never());
        println!("{}", inner.is_daemon());
        report.set();
        never();
    });
    drop(daemon.expect("a thread"));
    started.wait();
}

fn th10_what_threads_start_meanwhile_is_waited_for() {
    drop(thread::spawn(|| {
        until_main_ends();
        drop(thread::spawn(|| println!("second")));
    }));
}

fn th10_thread_local_values_are_dropped_before_the_end() {
    struct Loud;
    impl Drop for Loud {
        fn drop(&mut self) {
            println!("dropped");
        }
    }
    thread_local!(static LOUD: Loud = const { Loud });
    drop(thread::spawn(|| {
        LOUD.with(|_| ());
        until_main_ends();
    }));
}

fn th10_exit_from_a_thread_does_not_wait_for_itself() {
    drop(thread::spawn(|| {
        until_main_ends();
        println!("other");
    }));
    drop(thread::spawn(|| process::exit(5)));
    never();
}

fn th10_exit_from_a_daemon_waits_for_the_others() {
    drop(thread::spawn(end_of_thread));
    drop(Builder::new().daemon(true).spawn(|| process::exit(6)).expect("a thread"));
    never();
}

fn th10_who_joins_a_thread_that_calls_exit_goes_on() {
    let go = Arc::new(Event::new());
    let gone = Arc::clone(&go);
    let exiting = thread::spawn(move || -> () {
        gone.wait();
        process::exit(5)
    });
    drop(thread::spawn(move || println!("{:?}", exiting.join().expect_err("no result").cause())));
    go.set();
    never();
}

fn th10_of_two_threads_that_call_exit_the_first_does() {
    let ending = Arc::new(Event::new());
    let ended = Arc::clone(&ending);
    thread::at_exit(move || ended.set()).expect("the process is not ending");
    let second = thread::spawn(move || -> () {
        ending.wait();
        process::exit(4)
    });
    // Waits for a thread that std holds in its exit for ever.
    drop(thread::spawn(move || println!("{:?}", second.join().expect_err("no result").cause())));
    drop(thread::spawn(|| process::exit(3)));
    never();
}

fn th10_main_may_return_while_a_thread_exits() {
    let ending = Arc::new(Event::new());
    let ended = Arc::clone(&ending);
    thread::at_exit(move || ended.set()).expect("the process is not ending");
    drop(thread::spawn(end_of_thread));
    drop(thread::spawn(|| process::exit(3)));
    ending.wait();
}

fn th10_a_timer_is_waited_for() {
    drop(Timer::start(Duration::from_millis(20), || {
        until_main_ends();
        println!("fired");
    }));
    println!("end of main");
}

fn th10_a_daemon_timer_is_not_waited_for() {
    drop(Builder::new().daemon(true).start_timer(Duration::from_secs(3600), || println!("fired")).expect("a timer"));
}

fn th10_forty_busy_daemons_do_not_disturb_the_end() {
    let have_run = Arc::new(crewkit::sync::Semaphore::new(0));
    for _ in 0..40 {
        let have_run = Arc::clone(&have_run);
        let busy = Builder::new().daemon(true).spawn(move || {
            loop {
                let _ = (thread::current(), thread::enumerate());
                // Refused at the end.
                let _ = Builder::new().spawn(|| ());
                let _ = have_run.release(1);
            }
        });
        drop(busy.expect("a thread"));
    }
    have_run.acquire_many(200).forget();
}

fn th10_abort_waits_for_nobody() {
    drop(thread::spawn(|| never()));
    process::abort();
}
