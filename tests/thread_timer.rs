//! Timers: when they fire, and when they do not.

#![cfg(feature = "threads")]

use crewkit::sync::Event;
use crewkit::thread::{self, Builder, Timer};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(10);
const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn ti1_a_timer_fires_once_on_a_thread_of_its_own_not_before_its_time() {
    let begin = Instant::now();
    let (tell, told) = mpsc::channel();
    let timer = Timer::start(SOON, move || tell.send((begin.elapsed(), thread::current())).unwrap());
    let (after, on) = told.recv().unwrap();
    assert!(after >= SOON, "{after:?}");
    assert_eq!(on, timer.thread());
    assert_ne!(on, thread::current());
    assert!(on.native_id() != 0 && on.name() == timer.thread().name());
    timer.join().unwrap();
    assert!(told.recv().is_err(), "it ran once, and is dropped");
}

#[test]
fn ti1_a_timer_is_a_thread_before_it_fires() {
    let timer = Builder::new().name("alarm").daemon(true).start_timer(NEVER, || ()).unwrap();
    let seen = timer.thread();
    assert_eq!((seen.name().as_str(), seen.is_daemon(), seen.is_alive(), seen.native_id()), ("alarm", true, true, 0));
    assert!(thread::enumerate().contains(&seen));
    assert!(format!("{timer:?}").contains("initial"), "{timer:?}");
    seen.set_name("renamed");
    assert_eq!(timer.thread().name(), "renamed");
    assert!(timer.cancel());
    assert!(!thread::enumerate().contains(&seen) && !seen.is_alive());
    assert!(Timer::start(Duration::ZERO, || ()).thread().name().starts_with("Timer-"));
}

#[test]
fn ti1_each_of_several_timers_fires_once_and_none_before_its_time() {
    let (tell, told) = mpsc::channel();
    let timers = [40, 0, 20].map(|millis| {
        let (tell, delay, begin) = (tell.clone(), Duration::from_millis(millis), Instant::now());
        Timer::start(delay, move || tell.send((millis, begin.elapsed() >= delay)).unwrap())
    });
    timers.into_iter().for_each(|timer| timer.join().unwrap());
    // Each is told by a thread of its own, so it may be in any order.
    let mut fired: Vec<_> = told.try_iter().collect();
    fired.sort_unstable();
    assert_eq!(fired, [0, 20, 40].map(|millis| (millis, true)));
}

#[test]
fn ti1_a_renamed_timer_runs_under_its_new_name() {
    let (tell, told) = mpsc::channel();
    let timer = Builder::new().name("before").start_timer(SOON, move || tell.send(thread::current().name()).unwrap());
    timer.as_ref().unwrap().thread().set_name("after");
    assert_eq!(told.recv().unwrap(), "after");
    timer.unwrap().join().unwrap();
}

#[test]
fn ti2_a_cancelled_timer_never_fires_and_ends_at_once() {
    let captured = Arc::new(AtomicUsize::new(0));
    let fired = Arc::clone(&captured);
    let timer = Timer::start(NEVER, move || {
        captured.fetch_add(1, Ordering::Relaxed);
    });
    assert!(timer.is_alive());
    assert!(timer.cancel());
    assert!(!timer.is_alive());
    assert_eq!(Arc::strong_count(&fired), 1, "the function is dropped");
    assert!(timer.cancel(), "it will not run, still");
    timer.wait().unwrap();
    timer.join().unwrap();
    assert_eq!(fired.load(Ordering::Relaxed), 0);
}

#[test]
fn ti2_cancelling_wakes_who_waits_for_the_timer() {
    let timer = Timer::start(NEVER, || ());
    let seen = timer.thread();
    let waiter = thread::spawn(move || seen.wait());
    assert!(timer.cancel());
    assert_eq!(waiter.join().unwrap(), Ok(()));
}

#[test]
fn ti2_the_function_is_dropped_before_anybody_goes_on() {
    struct Seen(mpsc::Receiver<thread::ThreadRef>, mpsc::Sender<bool>);
    impl Drop for Seen {
        fn drop(&mut self) {
            self.1.send(self.0.recv().unwrap().is_alive()).unwrap();
            panic!("as expected");
        }
    }
    let ((tell, told), (answer, answers)) = (mpsc::channel(), mpsc::channel());
    let seen = Seen(told, answer);
    let timer = Timer::start(NEVER, move || drop(seen));
    tell.send(timer.thread()).unwrap();
    assert!(timer.cancel());
    assert_eq!((answers.recv(), timer.is_alive()), (Ok(true), false));
}

#[test]
fn ti2_cancelling_while_the_function_runs_or_after_it_changes_nothing() {
    let (started, go_on) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (start, go) = (Arc::clone(&started), Arc::clone(&go_on));
    let timer = Timer::start(Duration::ZERO, move || {
        start.set();
        go.wait();
    });
    started.wait();
    assert!(!timer.cancel() && timer.is_alive());
    go_on.set();
    timer.wait().unwrap();
    assert!(!timer.cancel());
    timer.join().unwrap();
}

#[test]
fn ti2_what_cancel_says_is_what_happens() {
    // Cancelled just when they are due: every one either fires or is cancelled.
    for _ in 0..300 {
        let fired = Arc::new(AtomicUsize::new(0));
        let fire = Arc::clone(&fired);
        let start = Barrier::new(3);
        let timer = Timer::start(Duration::from_micros(50), move || {
            fire.fetch_add(1, Ordering::Relaxed);
        });
        let cancelled = std::thread::scope(|scope| {
            let cancel = || {
                start.wait();
                timer.cancel()
            };
            let threads = [scope.spawn(cancel), scope.spawn(cancel)];
            start.wait();
            threads.map(|thread| thread.join().unwrap())
        });
        timer.join().unwrap();
        assert_eq!(fired.load(Ordering::Relaxed), usize::from(cancelled == [false, false]), "{cancelled:?}");
        assert_eq!(cancelled[0], cancelled[1], "both are told what became of it");
    }
}

#[test]
fn ti3_timers_share_nothing() {
    let run = |argument: Vec<u8>| {
        let (tell, told) = mpsc::channel();
        let timer = Timer::start(Duration::ZERO, move || {
            let mut argument = argument;
            argument.push(0);
            tell.send(argument).unwrap();
        });
        timer.join().unwrap();
        told.recv().unwrap()
    };
    let argument = vec![7];
    assert_eq!((run(argument.clone()), run(argument)), (vec![7, 0], vec![7, 0]));
}

#[test]
fn a_slow_or_panicking_function_delays_no_other_timer() {
    let go_on = Arc::new(Event::new());
    let go = Arc::clone(&go_on);
    let slow = Timer::start(Duration::ZERO, move || go.wait());
    let panicking = Timer::start(Duration::ZERO, || panic!("as expected"));
    let other = Timer::start(SOON, || ());
    assert_eq!(panicking.join().unwrap_err().message(), "as expected");
    other.join().unwrap();
    assert!(slow.is_alive());
    go_on.set();
    slow.join().unwrap();
}

#[test]
fn an_earlier_timer_overtakes_one_that_is_waited_for() {
    let late = Timer::start(NEVER, || ());
    for _ in 0..20 {
        Timer::start(Duration::from_millis(1), || ()).join().unwrap();
    }
    assert!(late.cancel());
}

#[test]
fn a_timer_may_start_and_cancel_timers() {
    let (tell, told) = mpsc::channel();
    let chain = Timer::start(Duration::ZERO, move || {
        let never = Timer::start(NEVER, || ());
        tell.send(never.cancel()).unwrap();
        Timer::start(Duration::ZERO, move || tell.send(true).unwrap()).join().unwrap();
    });
    chain.join().unwrap();
    assert_eq!(told.iter().collect::<Vec<_>>(), [true, true]);
}

#[test]
fn a_delay_beyond_the_clock_is_a_long_one() {
    let timer = Timer::start(Duration::MAX, || ());
    assert!(timer.is_alive() && timer.cancel());
}

#[test]
fn a_timer_that_finds_no_thread_says_so() {
    let timer = Builder::new().stack_size(usize::MAX >> 2).start_timer(Duration::ZERO, || ()).unwrap();
    let error = timer.join().unwrap_err();
    assert_eq!(error.cause(), thread::Cause::NoThread, "{error}");

    struct Nasty;
    impl Drop for Nasty {
        fn drop(&mut self) {
            panic!("as expected");
        }
    }
    let nasty = Nasty;
    let timer = Builder::new().stack_size(usize::MAX >> 2).start_timer(Duration::ZERO, move || drop(nasty)).unwrap();
    assert_eq!(timer.join().unwrap_err().cause(), thread::Cause::NoThread);
    Timer::start(Duration::ZERO, || ()).join().unwrap();

    // A payload that panics when it is dropped must not end the thread that serves.
    struct Nastier;
    impl Drop for Nastier {
        fn drop(&mut self) {
            std::panic::panic_any(Nasty);
        }
    }
    let nastier = Nastier;
    let timer = Builder::new().stack_size(usize::MAX >> 2).start_timer(Duration::ZERO, move || drop(nastier)).unwrap();
    assert_eq!(timer.join().unwrap_err().cause(), thread::Cause::NoThread);
    Timer::start(Duration::ZERO, || ()).join().unwrap();
}
