//! What only the crate itself can see: that every wait here goes through the current parker, and that a wait which
//! unwinds gives up its place.

use super::{BoundedSemaphore, Condition, Event, Lock, NotOwner, OverReleased, RLock, Semaphore};
use crate::primitive::Identity;
use crate::primitive::foreign::{Foreign, blocks_here, install, is_cancelled};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

#[test]
fn an_rlock_waits_through_the_current_parker_and_belongs_to_who_waited() {
    let lock = RLock::default();
    lock.acquire();
    let depth = blocks_here(
        || {
            lock.acquire();
            let depth = lock.depth();
            lock.release().unwrap();
            depth
        },
        || lock.release().unwrap(),
    );
    assert_eq!((depth, lock.is_locked()), (1, false));
}

#[test]
fn two_tasks_of_one_thread_are_two_owners() {
    let lock = RLock::default();
    lock.acquire();
    let task = Identity::new();
    {
        let _running = install(Arc::new(Foreign::default()), task);
        assert!(!lock.try_acquire());
        assert_eq!(lock.release(), Err(NotOwner));
    }
    lock.release().unwrap();
}

#[test]
fn a_condition_waits_through_the_current_parker() {
    let (lock, changed) = (Lock::new(()), Condition::new());
    blocks_here(|| changed.wait(&mut lock.lock()), || assert!(changed.notify_one()));
}

#[test]
fn a_cancelled_wait_on_a_condition_takes_its_lock_back() {
    struct InUnwinding<'a>(&'a RLock, &'a AtomicUsize);
    impl Drop for InUnwinding<'_> {
        fn drop(&mut self) {
            self.1.store(self.0.depth(), Ordering::SeqCst);
        }
    }
    let (lock, changed, depth) = (RLock::default(), Condition::new(), AtomicUsize::new(0));
    is_cancelled(|| {
        let _outer = lock.lock();
        let mut guard = lock.lock();
        let _before_the_guards = InUnwinding(&lock, &depth);
        changed.wait(&mut guard);
    });
    assert_eq!(depth.into_inner(), 2, "the guards would let go what others hold");
    assert!(!lock.is_locked());
    assert!(!changed.notify_one());
}

#[test]
fn a_cancelled_waiter_hands_its_notification_to_the_next() {
    let (lock, changed) = (Lock::new(()), Condition::new());
    let foreign = Arc::new(Foreign::default());
    thread::scope(|scope| {
        let parker = Arc::clone(&foreign);
        let cancelled = scope.spawn(|| {
            let _installed = install(parker, Identity::new());
            changed.wait(&mut lock.lock());
        });
        foreign.until_parked(1);
        let next = scope.spawn(|| changed.wait(&mut lock.lock()));
        while format!("{changed:?}") != "Condition { waiters: 2 }" {
            thread::yield_now();
        }
        // It will unwind when it wakes, which it does because it was notified.
        foreign.cancelled.store(true, Ordering::SeqCst);
        assert!(changed.notify_one());
        assert!(cancelled.join().is_err());
        next.join().unwrap();
    });
    assert!(!lock.is_locked());
}

#[test]
fn a_bounded_semaphore_knows_its_permits_also_while_some_are_kept_for_one_who_left() {
    let semaphore = BoundedSemaphore::new(5);
    semaphore.acquire_many(5).forget();
    let [small, large] = [(); 2].map(|()| Arc::new(Foreign::default()));
    thread::scope(|scope| {
        let semaphore = &semaphore;
        let in_line = |parker: &Arc<Foreign>, count| {
            let own = Arc::clone(parker);
            let waiter = scope.spawn(move || {
                let _installed = install(own, Identity::new());
                semaphore.acquire_many(count).forget();
            });
            parker.until_parked(1);
            waiter
        };
        let (first, second) = (in_line(&small, 1), in_line(&large, 5));
        // The first is called, and does not come yet.
        let nap = small.nap();
        semaphore.release(1).unwrap();
        // The second has waited for so long that all is kept for it from now on; but it leaves.
        thread::sleep(Duration::from_millis(5));
        semaphore.release(1).unwrap();
        large.cancel();
        assert!(second.join().is_err());
        // Three are out, or four, should the first have come.
        assert_eq!(semaphore.release(5), Err(OverReleased));
        drop(nap);
        first.join().unwrap();
    });
    assert_eq!(semaphore.available(), 1);
    semaphore.release(4).unwrap();
    assert_eq!((semaphore.available(), semaphore.release(1)), (5, Err(OverReleased)));
}
