//! Models of `sync::Event`.

use crewkit::model::Arc;
use crewkit::sync::Event;
use crewkit_loom_tests::{Plain, SOON, exhaust, explore, spawn};

#[test]
fn what_was_done_before_the_set_is_seen_after_the_wait() {
    exhaust("event: wait × set", || {
        let shared = Arc::new((Event::new(), Plain::new(0)));
        let waiter = spawn(&shared, |shared| {
            shared.0.wait();
            assert_eq!(shared.1.get(), 1);
        });
        shared.1.add(1);
        shared.0.set();
        waiter.join().unwrap();
    });
}

#[test]
fn what_was_done_before_a_second_set_is_seen_by_who_comes_after_it() {
    exhaust("event: set × set, is_set", || {
        let shared = Arc::new((Event::new(), Plain::new(0)));
        let other = spawn(&shared, |shared| shared.0.set());
        shared.1.add(1);
        shared.0.set();
        assert!(shared.0.is_set());
        other.join().unwrap();
        assert_eq!(shared.1.get(), 1);
    });
}

#[test]
fn one_set_wakes_both_waiters() {
    explore("event: wait × wait × set", || {
        let shared = Arc::new((Event::new(), Plain::new(0)));
        let waiters = [(); 2].map(|()| {
            spawn(&shared, |shared| {
                shared.0.wait();
                assert_eq!(shared.1.get(), 1);
            })
        });
        shared.1.add(1);
        shared.0.set();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert!(shared.0.is_set());
    });
}

#[test]
fn two_sets_at_once_wake_the_waiter() {
    explore("event: wait × set × set", || {
        let event = Arc::new(Event::new());
        let waiter = spawn(&event, Event::wait);
        let setter = spawn(&event, Event::set);
        event.set();
        setter.join().unwrap();
        waiter.join().unwrap();
    });
}

#[test]
fn a_timeout_takes_no_wake_up_with_it() {
    explore("event: wait_timeout × wait × set", || {
        let event = Arc::new(Event::new());
        let timed = spawn(&event, |event| event.wait_timeout(SOON));
        let patient = spawn(&event, Event::wait);
        event.set();
        patient.join().unwrap();
        // Either answer is right: the deadline may fall anywhere.
        let _ = timed.join().unwrap();
        assert!(event.wait_timeout(SOON));
    });
}

/// EV4 (CPython's gh-57711): a wait that has begun is ended by a set that is cleared at once.
#[test]
fn set_and_clear_at_once_wake_who_waited() {
    explore("event: wait × (set, clear)", || {
        let event = Arc::new(Event::new());
        let waiter = spawn(&event, Event::wait);
        #[cfg(crewkit_loom)]
        let has_begun = event.has_waiters();
        #[cfg(not(crewkit_loom))]
        let has_begun = false;
        event.set();
        event.clear();
        if !has_begun {
            event.set();
        }
        // Would hang if the clear had taken the set back for who has waited since before it.
        waiter.join().unwrap();
        assert_eq!(event.is_set(), !has_begun);
    });
}

#[test]
fn a_cleared_event_is_waited_for_again() {
    explore("event: (wait, clear, set) × wait × set", || {
        let event = Arc::new(Event::new());
        let both = spawn(&event, |event| {
            event.wait();
            event.clear();
            event.set();
        });
        let waiter = spawn(&event, Event::wait);
        event.set();
        both.join().unwrap();
        waiter.join().unwrap();
        assert!(event.is_set());
    });
}
