//! `ipc::Lock` and `ipc::RLock`, between the threads of one process and as messages to itself. What needs other
//! processes is in `ipc_processes.rs`, and a kill at each instruction in `kill_points`.

#![cfg(feature = "processes")]
#![expect(clippy::mem_forget, reason = "forgotten guards are what one test is about")]

mod asleep;

use crewkit::ipc::{Connection, Detail, Lock, LockError, NotOwner, RLock, RecvError, pipe};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const BRIEFLY: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

/// The same tests for both kinds of locks.
macro_rules! for_both {
    ($($name:ident: $lock:ident),*) => { $(mod $name {
        use super::*;

        fn elsewhere<T: Send>(body: impl FnOnce() -> T + Send) -> T {
            thread::scope(|scope| scope.spawn(body).join().unwrap())
        }

        fn died(lock: &$lock) {
            elsewhere(|| lock.acquire().unwrap());
        }

        #[test]
        fn one_thread_at_a_time() {
            let lock = $lock::new().unwrap();
            let sum = AtomicU32::new(0);
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..1_000 {
                            let _guard = lock.lock().unwrap();
                            // Two steps, between which nobody else may come.
                            sum.store(sum.load(Relaxed) + 1, Relaxed);
                        }
                    });
                }
            });
            assert_eq!(sum.into_inner(), 4_000);
        }

        #[test]
        fn who_comes_while_it_is_held_is_told_so_in_time() {
            let lock = $lock::new().unwrap();
            let guard = lock.lock().unwrap();
            assert!(lock.is_locked());
            elsewhere(|| {
                assert!(matches!(lock.try_lock(), Err(LockError::Timeout)));
                assert!(matches!(lock.try_acquire(), Err(LockError::Timeout)));
                let begun = Instant::now();
                assert!(lock.lock_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
                assert!(lock.acquire_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
                assert!(begun.elapsed() >= 2 * BRIEFLY);
                assert!(matches!(lock.lock_timeout(Duration::ZERO), Err(LockError::Timeout)));
            });
            drop(guard);
            assert!(!lock.is_locked());
            elsewhere(|| drop(lock.lock_timeout(Duration::MAX).unwrap()));
        }

        #[test]
        fn only_its_holder_releases_it() {
            let lock = $lock::new().unwrap();
            assert_eq!(lock.release(), Err(NotOwner));
            lock.acquire().unwrap();
            elsewhere(|| assert_eq!(lock.release(), Err(NotOwner)));
            assert!(lock.is_locked());
            lock.release().unwrap();
            assert_eq!(lock.release(), Err(NotOwner));
            assert!(!lock.is_locked());
        }

        #[test]
        fn a_dead_holder_is_told_of_until_somebody_recovers() {
            let lock = $lock::new().unwrap();
            died(&lock);
            assert!(!lock.is_locked(), "the dead hold nothing");
            for _ in 0..2 {
                let Err(LockError::OwnerDied(guard)) = lock.lock() else { panic!("not told") };
                assert!(guard.owner_died());
                drop(guard);
                assert!(matches!(lock.try_lock(), Err(LockError::OwnerDied(_))));
                assert!(matches!(lock.lock_timeout(LONG), Err(LockError::OwnerDied(_))));
                elsewhere(|| assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_)))));
            }
            let guard = lock.lock().unwrap_err().into_guard().unwrap();
            guard.recover();
            assert!(!guard.owner_died());
            drop(guard);
            assert!(!lock.lock().unwrap().owner_died());
        }

        #[test]
        fn a_second_death_is_told_of_too() {
            let lock = $lock::new().unwrap();
            died(&lock);
            // This one dies before it has recovered, and the next after.
            elsewhere(|| lock.acquire().unwrap_err().into_guard().unwrap().leak());
            elsewhere(|| {
                let guard = lock.lock().unwrap_err().into_guard().unwrap();
                guard.recover();
                guard.leak();
            });
            assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))));
        }

        #[test]
        fn a_waiter_is_told_of_a_death_while_it_waits() {
            let lock = $lock::new().unwrap();
            let (taken, is_taken) = std::sync::mpsc::channel();
            thread::scope(|scope| {
                let (end, ends) = std::sync::mpsc::channel::<()>();
                let (lock, taken) = (&lock, taken);
                let holder = scope.spawn(move || {
                    lock.acquire().unwrap();
                    taken.send(()).unwrap();
                    ends.recv().unwrap_err();
                });
                is_taken.recv().unwrap();
                let waiter = asleep::spawn(scope, || matches!(lock.lock_timeout(LONG), Err(LockError::OwnerDied(_))));
                waiter.until_asleep();
                drop(end);
                holder.join().unwrap();
                assert!(waiter.join());
            });
        }

        #[test]
        fn it_travels_and_stays_the_same_lock() {
            let lock = $lock::new().unwrap();
            let (near, far) = pipe::<$lock, ()>().unwrap();
            near.send(&lock).unwrap();
            let again = far.recv().unwrap();
            assert_eq!(lock, again);
            assert_ne!(lock, $lock::new().unwrap());
            let guard = lock.lock().unwrap();
            elsewhere(|| assert!(again.try_lock().is_err_and(|error| error.is_timeout())));
            drop(guard);
            drop(lock);
            assert!(again.lock().is_ok(), "its memory goes with the last handle");
        }

        #[test]
        fn a_handle_dropped_under_a_held_lock_harms_nobody() {
            let other = $lock::new().unwrap();
            for forget in [true, false] {
                let lock = $lock::new().unwrap();
                if forget {
                    std::mem::forget(lock.lock().unwrap());
                } else {
                    lock.acquire().unwrap();
                }
                drop(lock);
                // glibc's list of this thread's locks leads through the one that was dropped.
                drop(other.lock().unwrap());
            }
            // Taken through one handle, dropped, and released through another.
            let lock = $lock::new().unwrap();
            let (near, far) = pipe::<$lock, ()>().unwrap();
            near.send(&lock).unwrap();
            let again = far.recv().unwrap();
            lock.acquire().unwrap();
            drop(lock);
            drop(other.lock().unwrap());
            again.release().unwrap();
            assert!(!again.is_locked());
            elsewhere(|| drop(again.lock().unwrap()));
        }

        #[test]
        fn it_says_who_holds_it_for_how_long_others_wait_and_how_often_it_was_recovered() {
            let lock = $lock::new().unwrap();
            let stats = lock.stats();
            assert_eq!((stats.holder, stats.waiters, stats.recoveries), (None, 0, 0));
            assert_eq!((stats.detail, stats.owner_died), (Detail::Lock { depth: 0 }, false));
            lock.acquire().unwrap();
            let holder = lock.stats().holder.unwrap();
            assert_eq!((holder.pid, holder.waited_for), (Some(std::process::id()), None), "nobody waits");
            thread::scope(|scope| {
                let waiters = [(); 2].map(|()| asleep::spawn(scope, || drop(lock.lock().unwrap())));
                let begin = Instant::now();
                // Longer than a slice: who waits does not begin anew with each.
                let long = || lock.stats().holder.unwrap().waited_for.is_some_and(|time| time >= 4 * BRIEFLY);
                while lock.stats().waiters != 2 || !long() {
                    assert!(begin.elapsed() < LONG, "{lock:?}");
                    thread::yield_now();
                }
                assert!(lock.stats().holder.unwrap().waited_for.unwrap() <= begin.elapsed() + BRIEFLY);
                lock.release().unwrap();
                waiters.into_iter().for_each(asleep::Watched::join);
            });
            lock.acquire().unwrap();
            let stats = lock.stats();
            assert_eq!((stats.holder.unwrap().waited_for, stats.waiters), (None, 0), "nobody waits for it this time");
            lock.release().unwrap();
            for deaths in 1..=2 {
                died(&lock);
                let Err(LockError::OwnerDied(guard)) = lock.lock() else { panic!("not told") };
                let stats = lock.stats();
                assert_eq!((stats.recoveries, stats.owner_died), (deaths, true));
                guard.recover();
                assert!(!lock.stats().owner_died);
            }
        }

        #[test]
        fn debug_tells_whether_it_is_held() {
            let lock = $lock::new().unwrap();
            assert!(format!("{lock:?}").contains("locked: false"));
            let guard = lock.lock().unwrap();
            assert!(format!("{lock:?}").contains("locked: true"));
            assert!(format!("{guard:?}").contains("owner_died: false"));
        }
    })* };
}

for_both!(lock: Lock, rlock: RLock);

#[test]
fn a_lock_is_not_taken_twice_by_one_thread() {
    let lock = Lock::new().unwrap();
    let _guard = lock.lock().unwrap();
    assert!(matches!(lock.lock(), Err(LockError::WouldDeadlock)));
    assert!(matches!(lock.lock_timeout(LONG), Err(LockError::WouldDeadlock)));
    assert!(matches!(lock.try_lock(), Err(LockError::WouldDeadlock)));
}

#[test]
fn an_rlock_is_free_when_it_was_released_as_often_as_it_was_taken() {
    let lock = RLock::new().unwrap();
    assert_eq!((lock.depth(), lock.is_owned()), (0, false));
    let one = lock.lock().unwrap();
    let two = lock.try_lock().unwrap();
    lock.acquire().unwrap();
    assert_eq!((lock.depth(), lock.is_owned()), (3, true));
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!((lock.depth(), lock.is_owned()), (0, false));
            assert!(lock.try_lock().is_err_and(|error| error.is_timeout()));
        });
    });
    drop(one);
    lock.release().unwrap();
    assert_eq!(lock.depth(), 1);
    drop(two);
    assert!(!lock.is_locked());
    assert_eq!(lock.release(), Err(NotOwner));
}

#[test]
fn who_inherits_an_rlock_from_a_dead_holder_has_it_once() {
    let lock = RLock::new().unwrap();
    let deep = || (0..3).for_each(|_| lock.acquire().unwrap());
    thread::scope(|scope| scope.spawn(deep).join().unwrap());
    let guard = lock.lock().unwrap_err().into_guard().unwrap();
    assert_eq!(lock.depth(), 1);
    assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))), "the mark is there for nested takes too");
    guard.recover();
    drop(guard);
    assert!(!lock.is_locked());
}

#[test]
fn what_is_no_such_lock_is_refused() {
    fn as_lock(message: impl FnOnce(Connection<Lock, ()>)) -> RecvError {
        let (near, far) = pipe::<Lock, ()>().unwrap();
        message(near);
        far.recv().map(|_| ()).unwrap_err()
    }
    let cast = |near: Connection<Lock, ()>| {
        use std::os::fd::AsFd;
        near.as_fd().try_clone_to_owned().unwrap()
    };
    let other = as_lock(|near| Connection::<RLock, ()>::from(cast(near)).send(&RLock::new().unwrap()).unwrap());
    assert!(other.to_string().contains("another kind"), "{other}");
    let file = as_lock(|near| {
        let file = OwnedFd::from(std::fs::File::open("/proc/self/exe").unwrap());
        Connection::<crewkit::ipc::Fd<OwnedFd>, ()>::from(cast(near)).send(&file.into()).unwrap();
    });
    assert!(matches!(file, RecvError::Decode(_)), "{file}");
    let nothing = as_lock(|near| Connection::<u32, ()>::from(cast(near)).send(&0).unwrap());
    assert!(matches!(nothing, RecvError::Decode(_)), "{nothing}");
}
