//! Models of `sync::Lock`.

use crewkit::model::Arc;
use crewkit::sync::{Lock, LockGuard, NotHeld};
use crewkit_loom_tests::{Plain, SOON, exhaust, explore, spawn};

/// Locks, adds one where a race would be seen, unlocks.
fn add_one(lock: &Lock<Plain>) {
    lock.lock().add(1);
}

#[test]
fn two_exclude_each_other() {
    exhaust("lock: lock × lock", || {
        let lock = Arc::new(Lock::new(Plain::new(0)));
        let other = spawn(&lock, add_one);
        add_one(&lock);
        other.join().unwrap();
        assert_eq!(lock.try_lock().unwrap().get(), 2);
    });
}

#[test]
fn two_waiters_get_through_one_by_one() {
    explore("lock: held × lock × lock", || {
        let lock = Arc::new(Lock::new(Plain::new(0)));
        let guard = lock.lock();
        let waiters = [(); 2].map(|()| spawn(&lock, add_one));
        guard.add(1);
        drop(guard);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(lock.try_lock().unwrap().get(), 3);
    });
}

#[test]
fn an_overtaken_waiter_is_handed_the_lock() {
    explore("lock: (lock, lock) × lock × lock", || {
        let lock = Arc::new(Lock::new(Plain::new(0)));
        let waiters = [(); 2].map(|()| spawn(&lock, add_one));
        add_one(&lock);
        add_one(&lock);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(lock.try_lock().unwrap().get(), 4);
    });
}

#[test]
fn a_fair_release_serves_who_waits_and_its_thread_comes_back() {
    explore("lock: held × lock × (release_fair, lock)", || {
        let lock = Arc::new(Lock::new(Plain::new(0)));
        let guard = lock.lock();
        let waiter = spawn(&lock, add_one);
        guard.add(1);
        LockGuard::release_fair(guard);
        add_one(&lock);
        waiter.join().unwrap();
        assert_eq!(lock.try_lock().unwrap().get(), 3);
    });
}

/// Two wait for a lock, and one of them gives up. A fair release is not kept for it.
#[test]
fn a_timeout_takes_no_wake_up_with_it() {
    for (release, is_fair) in [("release", false), ("release_fair", true)] {
        explore(&format!("lock: held × lock_timeout × lock × {release}"), move || {
            let lock = Arc::new(Lock::new(Plain::new(0)));
            let guard = lock.lock();
            let timed = spawn(&lock, |lock| usize::from(lock.lock_timeout(SOON).map(|guard| guard.add(1)).is_some()));
            let patient = spawn(&lock, add_one);
            if is_fair {
                LockGuard::release_fair(guard);
            } else {
                drop(guard);
            }
            let added = timed.join().unwrap();
            patient.join().unwrap();
            assert_eq!(lock.try_lock().unwrap().get(), 1 + added);
        });
    }
}

#[test]
fn a_baton_passed_by_release_brings_what_was_done_before() {
    exhaust("lock: acquire, release × acquire, release", || {
        let shared = Arc::new((Lock::default(), Plain::new(0)));
        let other = spawn(&shared, |shared| {
            shared.0.acquire();
            shared.1.add(1);
            shared.0.release().unwrap();
        });
        shared.0.acquire();
        shared.1.add(1);
        shared.0.release().unwrap();
        other.join().unwrap();
        assert!(shared.0.try_acquire());
        assert_eq!(shared.1.get(), 2);
    });
}

/// Whoever overtakes the line has not seen its mutex.
#[test]
fn a_baton_passed_beside_the_line_brings_what_was_done_before() {
    explore("lock: held × (acquire, release) × (acquire, release)", || {
        let shared = Arc::new((Lock::default(), Plain::new(0)));
        shared.0.acquire();
        let others = [(); 2].map(|()| {
            spawn(&shared, |shared| {
                shared.0.acquire();
                shared.1.add(1);
                shared.0.release().unwrap();
            })
        });
        shared.1.add(1);
        shared.0.release().unwrap();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(shared.0.try_acquire());
        assert_eq!(shared.1.get(), 3);
    });
}

#[test]
fn two_timeouts_leave_the_lock_as_it_was() {
    explore("lock: held × acquire_timeout × acquire_timeout", || {
        let lock = Arc::new(Lock::default());
        lock.acquire();
        let timed = [(); 2].map(|()| {
            spawn(&lock, |lock| {
                if lock.acquire_timeout(SOON) {
                    lock.release().unwrap();
                }
            })
        });
        lock.release().unwrap();
        timed.into_iter().for_each(|timed| timed.join().unwrap());
        assert!(!lock.is_locked());
        assert!(lock.try_acquire());
        lock.release().unwrap();
        assert_eq!(lock.release(), Err(NotHeld));
    });
}

#[test]
fn of_two_releases_one_is_an_error() {
    explore("lock: release × release × acquire", || {
        let lock = Arc::new(Lock::default());
        lock.acquire();
        let waiter = spawn(&lock, Lock::acquire);
        let releaser = spawn(&lock, Lock::release);
        let mine = lock.release();
        waiter.join().unwrap();
        let other = releaser.join().unwrap();
        // Both succeed if the waiter took the lock in between.
        assert_eq!(mine.is_ok() && other.is_ok(), !lock.is_locked());
        assert!(mine.is_ok() || other.is_ok());
    });
}

#[test]
fn a_try_succeeds_or_somebody_holds_the_lock() {
    exhaust("lock: try_lock × try_lock", || {
        let lock = Arc::new(Lock::new(Plain::new(0)));
        let other = spawn(&lock, |lock| lock.try_lock().map(|guard| guard.add(1)).is_some());
        let mine = lock.try_lock().map(|guard| guard.add(1)).is_some();
        let other = other.join().unwrap();
        assert!(mine || other);
        assert_eq!(lock.try_lock().unwrap().get(), usize::from(mine) + usize::from(other));
    });
}
