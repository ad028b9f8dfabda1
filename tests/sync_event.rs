//! `sync::Event` behaves as CPython's `threading.Event` (`lock_tests.py`, cases EV1 to EV5).
#![cfg(not(crewkit_loom))]

mod asleep;

use asleep::PATIENCE;
use crewkit::sync::Event;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);

#[test]
fn ev1_set_and_clear_are_idempotent() {
    let event = Event::default();
    assert!(!event.is_set());
    event.set();
    event.set();
    assert!(event.is_set());
    event.clear();
    event.clear();
    assert!(!event.is_set());
}

#[test]
fn ev2_set_wakes_all_and_later_waits_return_at_once() {
    let event = Event::new();
    thread::scope(|scope| {
        for _ in 0..2 {
            let waiters: Vec<_> = (0..5).map(|_| asleep::spawn(scope, || event.wait())).collect();
            waiters.iter().for_each(asleep::Watched::until_asleep);
            assert!(waiters.iter().all(|waiter| !waiter.handle.is_finished()));
            event.set();
            waiters.into_iter().for_each(asleep::Watched::join);
            event.wait();
            event.clear();
        }
    });
}

#[test]
fn ev3_a_timed_wait_tells_whether_the_event_was_set() {
    let event = Event::new();
    let begin = Instant::now();
    assert!(!event.wait_timeout(SHORT));
    assert!(begin.elapsed() >= SHORT);
    assert!(!event.wait_timeout(Duration::ZERO));
    thread::scope(|scope| {
        let timed = asleep::spawn(scope, || event.wait_timeout(Duration::MAX));
        timed.until_asleep();
        event.set();
        assert!(timed.join());
    });
    assert!(event.wait_timeout(Duration::ZERO));
    assert!(event.wait_timeout(SHORT));
}

#[test]
fn ev4_set_then_clear_at_once_wakes_everyone_that_waited() {
    let event = Event::new();
    for _ in 0..20 {
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..5).map(|_| asleep::spawn(scope, || event.wait_timeout(PATIENCE))).collect();
            waiters.iter().for_each(asleep::Watched::until_asleep);
            event.set();
            event.clear();
            assert!(waiters.into_iter().all(asleep::Watched::join));
        });
        assert!(!event.is_set());
    }
}

#[test]
fn ev5_it_can_be_used_again_after_timeouts_among_waiters() {
    let event = Event::new();
    thread::scope(|scope| {
        let impatient = asleep::spawn(scope, || event.wait_timeout(SHORT));
        impatient.until_asleep();
        let patient = asleep::spawn(scope, || event.wait());
        patient.until_asleep();
        assert!(!impatient.join());
        event.set();
        patient.join();
    });
}

#[test]
fn ev5_debug_tells_the_state() {
    let event = Event::new();
    thread::scope(|scope| {
        assert_eq!(format!("{event:?}"), "Event { is_set: false, waiters: 0 }");
        let waiter = asleep::spawn(scope, || event.wait());
        waiter.until_asleep();
        assert_eq!(format!("{event:?}"), "Event { is_set: false, waiters: 1 }");
        event.set();
    });
    assert_eq!(format!("{event:?}"), "Event { is_set: true, waiters: 0 }");
}
