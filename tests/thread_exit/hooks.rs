//! What is printed of panics, and by whom.

use crate::{Case, Seen, case};
use crewkit::pool::ThreadPool;
use crewkit::thread::{self, Builder, Timer};
use std::sync::{Arc, Barrier};
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    case!(th13_without_a_hook_std_prints, |seen| printed_by_std(seen, "loud")),
    case!(th13_a_hook_is_told_instead, |seen| { seen.is(0, "loud: no luck at 42, tests/thread_exit/hooks.rs\n") }),
    case!(th13_the_first_hook_can_be_restored, |seen| {
        assert_eq!(seen.out, "told\n");
        printed_by_std(seen, "second");
        assert!(!seen.err.contains("first"), "{}", seen.err);
    }),
    case!(th13_a_hook_that_panics_falls_back, |seen| {
        assert_eq!(seen.code, Some(0), "{}", seen.err);
        assert!(seen.err.contains("the hook fails") && seen.err.contains("no luck"), "{}", seen.err);
    }),
    case!(th13_panics_of_other_threads_are_stds, |seen| printed_by_std(seen, "foreign")),
    case!(th13_a_silent_panic_is_silent, |seen| seen.is(0, "the thread panicked: quiet\n")),
    case!(th13_a_panic_that_is_caught_is_not_told, |seen| seen.is(0, "1\n")),
    case!(th13_a_closed_stream_does_no_harm, |seen| seen.is(0, "no luck\n")),
    case!(th13_a_timers_panic_is_told_too, |seen| seen.is(0, "Timer-1 no luck\n")),
    case!(th13_the_programs_hook_stays_whoever_comes_first, |seen| seen.is(0, "program's\nprogram's\n")),
];

fn printed_by_std(seen: &Seen, name: &str) {
    assert_eq!(seen.code, Some(0), "{}", seen.err);
    let line = seen.err.lines().find(|line| line.starts_with(&format!("thread '{name}'")));
    assert!(line.is_some_and(|line| line.contains("panicked at tests/thread_exit/hooks.rs:")), "{}", seen.err);
    assert!(seen.err.contains("no luck"), "{}", seen.err);
}

fn panic_in(name: &str) {
    let thread = Builder::new().name(name).spawn(|| panic!("no luck")).expect("a thread");
    assert_eq!(thread.join().map(|(): ()| ()).expect_err("it panics").message(), "no luck");
}

fn th13_without_a_hook_std_prints() {
    panic_in("loud");
}

fn th13_a_hook_is_told_instead() {
    thread::set_panic_hook(|thread, panicked| {
        assert_eq!(*thread, thread::current());
        assert!(thread.is_alive());
        let place = panicked.location().expect("a place");
        let (file, _) = place.split_once(':').expect("a line");
        println!("{}: {} at 42, {file}", thread.name(), panicked.message());
    });
    panic_in("loud");
}

fn th13_the_first_hook_can_be_restored() {
    thread::set_panic_hook(|_, _| println!("told"));
    panic_in("first");
    thread::reset_panic_hook();
    panic_in("second");
}

fn th13_a_hook_that_panics_falls_back() {
    thread::set_panic_hook(|_, _| panic!("the hook fails"));
    panic_in("loud");
}

fn th13_panics_of_other_threads_are_stds() {
    thread::set_panic_hook(|_, _| println!("told"));
    thread::spawn(|| ()).join().expect("no panic");
    let foreign = std::thread::Builder::new().name("foreign".to_owned()).spawn(|| panic!("no luck"));
    assert!(foreign.expect("a thread").join().map(|(): ()| ()).is_err());
}

fn th13_a_silent_panic_is_silent() {
    let thread = thread::spawn(|| std::panic::resume_unwind(Box::new("quiet")));
    println!("{}", thread.join().map(|(): ()| ()).expect_err("it panics"));
}

fn th13_a_panic_that_is_caught_is_not_told() {
    thread::set_panic_hook(|_, _| println!("told"));
    let thread = thread::spawn(|| std::panic::catch_unwind(|| panic!("no luck")).map(|(): ()| ()).is_err());
    println!("{}", u32::from(thread.join().expect("no panic")));
}

fn th13_a_closed_stream_does_no_harm() {
    nix::unistd::close(2).expect("close");
    panic_in("loud");
    thread::set_panic_hook(|_, _| panic!("the hook fails"));
    let thread = thread::spawn(|| panic!("no luck"));
    println!("{}", thread.join().map(|(): ()| ()).expect_err("it panics").message());
}

fn th13_a_timers_panic_is_told_too() {
    thread::set_panic_hook(|thread, panicked| println!("{} {}", thread.name(), panicked.message()));
    let timer = Timer::start(Duration::ZERO, || panic!("no luck"));
    assert_eq!(timer.join().expect_err("it panics").message(), "no luck");
}

fn th13_the_programs_hook_stays_whoever_comes_first() {
    std::panic::set_hook(Box::new(|_| println!("program's")));
    // A thread and a pool, both the first: each wants to stand before that hook.
    let start = Arc::new(Barrier::new(2));
    let at_once = Arc::clone(&start);
    let pool = std::thread::spawn(move || {
        at_once.wait();
        ThreadPool::new(1).expect("a pool").apply(|()| panic!("to the caller"), ()).map(|(): ()| ())
    });
    start.wait();
    let thread = thread::spawn(|| panic!("no luck")).join().map(|(): ()| ()).expect_err("it panics");
    assert!(thread.location().is_some());
    let task = pool.join().expect("no panic").expect_err("it panics");
    assert!(task.to_string().contains("hooks.rs:"), "{task}");
    assert!(std::thread::spawn(|| panic!("no luck")).join().map(|(): ()| ()).is_err());
}
