//! What only the crate itself can see: that every wait here goes through the current parker, and that a wait which
//! unwinds gives up its place.

use super::{Event, Lock, Semaphore};
use crate::primitive::foreign::{blocks_here, is_cancelled};
use std::thread;
use std::time::Duration;

#[test]
fn a_lock_waits_through_the_current_parker() {
    let lock = Lock::default();
    lock.acquire();
    blocks_here(|| lock.acquire(), || lock.release().unwrap());
    assert!(blocks_here(|| lock.acquire_timeout(Duration::MAX), || lock.release().unwrap()));
    assert_eq!(lock.release(), Ok(()));
}

#[test]
fn a_semaphore_waits_through_the_current_parker() {
    let semaphore = Semaphore::new(0);
    let permit = blocks_here(|| semaphore.acquire_many(2), || semaphore.release(2).unwrap());
    assert_eq!(permit.count(), 2);
}

#[test]
fn an_event_waits_through_the_current_parker() {
    let event = Event::new();
    blocks_here(|| event.wait(), || event.set());
}

#[test]
fn a_cancelled_acquire_leaves_the_line_and_lets_the_next_go() {
    let semaphore = Semaphore::new(0);
    thread::scope(|scope| {
        is_cancelled(|| {
            // The large request stands in front of the small one until it unwinds.
            scope.spawn(|| {
                semaphore.release(1).unwrap();
                semaphore.acquire().forget();
            });
            semaphore.acquire_many(2).forget();
        });
    });
    assert_eq!(semaphore.available(), 0);
    semaphore.release(1).unwrap();
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn a_cancelled_wait_leaves_the_event() {
    let event = Event::new();
    is_cancelled(|| event.wait());
    event.set();
    assert!(event.is_set());
}
