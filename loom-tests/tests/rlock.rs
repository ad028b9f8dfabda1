//! Models of `sync::RLock`.

use crewkit::model::Arc;
use crewkit::sync::{NotOwner, RLock};
use crewkit_loom_tests::{Plain, SOON, exhaust, explore, explore_large, prepare, spawn, until_it_says};

/// Locks twice, adds one where a race would be seen, unlocks twice.
fn add_one(lock: &RLock<Plain>) {
    let _outer = lock.lock();
    lock.lock().add(1);
}

#[test]
fn two_exclude_each_other_at_any_depth() {
    explore("rlock: (lock, lock), lock × (lock, lock)", || {
        let lock = Arc::new(RLock::new(Plain::new(0)));
        let other = spawn(&lock, add_one);
        add_one(&lock);
        // A thread that still took itself for the owner would come in beside the other.
        lock.lock().add(1);
        other.join().unwrap();
        assert_eq!(lock.try_lock().unwrap().get(), 3);
    });
}

#[test]
fn two_waiters_get_through_one_by_one() {
    explore_large("rlock: held twice × lock × lock", || {
        let lock = Arc::new(RLock::new(Plain::new(0)));
        let (outer, inner) = (lock.lock(), lock.lock());
        let waiters = [(); 2].map(|()| spawn(&lock, |lock| lock.lock().add(1)));
        drop(outer);
        inner.add(1);
        drop(inner);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(lock.try_lock().unwrap().get(), 3);
    });
}

#[test]
fn two_in_line_get_through_one_by_one() {
    explore("rlock: (held twice, lock twice) × (lock × lock) in line", || {
        let lock = Arc::new(RLock::new(Plain::new(0)));
        let (outer, inner) = (lock.lock(), lock.lock());
        let waiters = prepare(|| {
            let waiters = [(); 2].map(|()| spawn(&lock, |lock| lock.lock().add(1)));
            until_it_says(&lock, "waiters: 2");
            waiters
        });
        drop(outer);
        inner.add(1);
        drop(inner);
        add_one(&lock);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(lock.try_lock().unwrap().get(), 4);
    });
}

#[test]
fn a_timeout_takes_no_wake_up_with_it_and_no_ownership() {
    explore_large("rlock: held × lock_timeout × lock", || {
        let lock = Arc::new(RLock::new(Plain::new(0)));
        let guard = lock.lock();
        let timed = spawn(&lock, |lock| {
            let added = lock.lock_timeout(SOON).map(|guard| guard.add(1)).is_some();
            assert_eq!(lock.depth(), 0);
            usize::from(added)
        });
        let patient = spawn(&lock, |lock| lock.lock().add(1));
        drop(guard);
        let added = timed.join().unwrap();
        patient.join().unwrap();
        assert_eq!(lock.try_lock().unwrap().get(), 1 + added);
    });
}

#[test]
fn only_the_owner_releases_whenever_another_tries() {
    exhaust("rlock: (acquire, acquire, release, release) × (try_acquire, release)", || {
        let lock = Arc::new(RLock::default());
        let other = spawn(&lock, |lock| {
            let taken = lock.try_acquire();
            assert_eq!((lock.is_owned(), lock.depth()), (taken, usize::from(taken)));
            assert_eq!(lock.release(), if taken { Ok(()) } else { Err(NotOwner) });
        });
        lock.acquire();
        assert!(lock.acquire_timeout(SOON));
        assert_eq!(lock.depth(), 2);
        lock.release().unwrap();
        assert!(lock.is_owned());
        lock.release().unwrap();
        assert_eq!(lock.release(), Err(NotOwner));
        other.join().unwrap();
        assert!(!lock.is_locked());
    });
}
