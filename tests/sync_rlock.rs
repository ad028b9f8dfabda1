//! `sync::RLock` behaves as CPython's `threading.RLock` (`lock_tests.py`, cases RL1 to RL9).
#![cfg(not(crewkit_loom))]

mod asleep;

use asleep::PATIENCE;
use crewkit::sync::{NotOwner, RLock, RLockGuard};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);

/// Runs `body` in another thread to its end.
fn elsewhere<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(body).join().expect("the thread does not panic"))
}

#[test]
fn rl1_the_same_thread_takes_it_again_and_releases_it_as_often() {
    let lock = RLock::default();
    for depth in 1..=3 {
        lock.acquire();
        assert_eq!(lock.depth(), depth);
    }
    for depth in (0..3).rev() {
        assert!(!elsewhere(|| lock.try_acquire()));
        lock.release().unwrap();
        assert_eq!(lock.depth(), depth);
    }
    assert!(!lock.is_locked());
    assert!(elsewhere(|| lock.try_acquire()));
}

#[test]
fn rl1_guards_nest() {
    let lock = RLock::new(Cell::new(0));
    let outer = lock.lock();
    let inner = lock.lock();
    inner.set(inner.get() + 1);
    drop(outer);
    assert!(elsewhere(|| lock.try_lock().is_none()), "the inner guard still holds it");
    assert_eq!(inner.get(), 1);
    drop(inner);
    assert!(elsewhere(|| lock.try_lock().is_some()));
}

#[test]
fn rl2_release_without_owning_is_an_error() {
    let lock = RLock::default();
    assert_eq!(lock.release(), Err(NotOwner));
    for _ in 0..3 {
        lock.acquire();
    }
    for _ in 0..3 {
        lock.release().unwrap();
    }
    assert_eq!(lock.release(), Err(NotOwner));
    assert!(elsewhere(|| lock.try_acquire()), "the error changed nothing");
    assert!(NotOwner.to_string().contains("does not hold"));
}

#[test]
fn rl3_release_by_another_thread_is_an_error() {
    let lock = RLock::default();
    lock.acquire();
    assert_eq!(elsewhere(|| lock.release()), Err(NotOwner));
    assert_eq!(lock.depth(), 1);
    lock.release().unwrap();
}

#[test]
fn rl5_a_thread_knows_whether_it_is_the_owner() {
    let lock = RLock::default();
    assert!(!lock.is_owned());
    lock.acquire();
    assert!(lock.is_owned());
    assert!(!elsewhere(|| lock.is_owned()));
    lock.acquire();
    lock.release().unwrap();
    assert!(lock.is_owned());
    lock.release().unwrap();
    assert!(!lock.is_owned());
}

#[test]
fn rl6_the_depth_is_zero_for_all_but_the_owner() {
    let lock = RLock::new(());
    assert_eq!(lock.depth(), 0);
    let guards = [lock.lock(), lock.lock()];
    assert_eq!(lock.depth(), 2);
    assert_eq!(elsewhere(|| lock.depth()), 0);
    drop(guards);
    assert_eq!(lock.depth(), 0);
}

#[test]
fn rl7_the_owner_needs_no_time_and_others_wait_at_most_for_theirs() {
    let lock = RLock::default();
    lock.acquire();
    assert!(lock.try_acquire());
    assert!(lock.acquire_timeout(Duration::ZERO));
    assert!(lock.acquire_timeout(Duration::MAX));
    assert_eq!(lock.depth(), 4);
    let begin = Instant::now();
    assert!(!elsewhere(|| lock.acquire_timeout(SHORT)));
    assert!(begin.elapsed() >= SHORT);
    assert!(elsewhere(|| lock.lock_timeout(Duration::ZERO).is_none()));
    thread::scope(|scope| {
        let timed = asleep::spawn(scope, || lock.acquire_timeout(PATIENCE));
        timed.until_asleep();
        (0..4).for_each(|_| lock.release().unwrap());
        assert!(timed.join());
    });
}

#[test]
fn rl7_all_that_wait_get_through_one_by_one() {
    let lock = RLock::new(Cell::new(0));
    let inside = AtomicUsize::new(0);
    let guard = lock.lock();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..6)
            .map(|_| {
                asleep::spawn(scope, || {
                    let outer = lock.lock();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
                    let inner = lock.lock();
                    inner.set(inner.get() + 1);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop((inner, outer));
                })
            })
            .collect();
        waiters.iter().for_each(asleep::Watched::until_asleep);
        assert_eq!(guard.get(), 0);
        drop(guard);
    });
    assert_eq!(lock.into_inner().get(), 6);
}

#[test]
fn rl8_locked_tells_of_any_thread() {
    let lock = RLock::new(());
    assert!(!lock.is_locked());
    let guard = lock.lock();
    assert!(lock.is_locked());
    assert!(elsewhere(|| lock.is_locked()));
    drop(guard);
    assert!(!lock.is_locked());
}

/// The same operations on a lock and on a depth counted by hand, as CPython runs its tests on two implementations.
#[test]
fn rl9_it_behaves_as_a_plain_counter_of_depth() {
    let lock = RLock::default();
    let mut depth = 0_usize;
    let mut random = 1_u32;
    for _ in 0..20_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match random >> 29 {
            0 | 1 => {
                lock.acquire();
                depth += 1;
            }
            2 => {
                assert!(lock.try_acquire());
                depth += 1;
            }
            3 => {
                assert!(lock.acquire_timeout(Duration::ZERO));
                depth += 1;
            }
            _ => {
                assert_eq!(lock.release().is_ok(), depth > 0);
                depth = depth.saturating_sub(1);
            }
        }
        assert_eq!((lock.depth(), lock.is_owned(), lock.is_locked()), (depth, depth > 0, depth > 0));
    }
}

/// With `deadlock-detection` it also tells the place: `sync_deadlock.rs`.
#[cfg(not(feature = "deadlock-detection"))]
#[test]
fn debug_tells_owner_depth_and_waiters() {
    let lock = RLock::new(7);
    assert_eq!(format!("{lock:?}"), "RLock { locked: false, waiters: 0, value: 7 }");
    let guards = (lock.lock(), lock.lock());
    let task = std::fs::read_link("/proc/thread-self").unwrap();
    let me = task.file_name().unwrap().to_str().unwrap();
    assert_eq!(format!("{lock:?}"), format!("RLock {{ owner: thread {me}, depth: 2, waiters: 0, value: 7 }}"));
    assert_eq!(format!("{:?} {}", guards.0, guards.1), "7 7");
    thread::scope(|scope| {
        let waiter = asleep::spawn(scope, || drop(lock.lock()));
        waiter.until_asleep();
        let text = elsewhere(|| format!("{lock:?}"));
        assert_eq!(text, format!("RLock {{ owner: thread {me}, depth: 2, waiters: 1, .. }}"));
        drop(guards);
    });
}

#[test]
fn a_panic_releases_every_depth_and_does_not_poison() {
    let lock = RLock::new(RefCell::new(1));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let outer = lock.lock();
        let _inner = lock.lock();
        *outer.borrow_mut() = 2;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(elsewhere(|| *lock.try_lock().unwrap().borrow()), 2);
}

#[test]
fn a_lock_left_behind_has_no_new_owner() {
    let lock = RLock::default();
    for _ in 0..3 {
        // Threads that follow each other are given the same memory, and often the same kernel id.
        assert!(!elsewhere(|| lock.is_owned()));
        elsewhere(|| lock.try_acquire());
    }
    assert!(lock.is_locked());
    assert_eq!(lock.release(), Err(NotOwner));
}

#[test]
fn a_guard_does_nothing_for_a_lock_released_under_it() {
    let lock = RLock::default();
    let guard = lock.lock();
    lock.release().unwrap();
    drop(guard);
    assert!(elsewhere(|| lock.try_acquire()));
}

#[test]
fn a_held_lock_may_be_dropped() {
    let lock = RLock::default();
    lock.acquire();
    drop(lock);
}

#[test]
fn the_value_is_reached_without_locking_where_nobody_shares_it() {
    let mut lock = RLock::from(vec![1]);
    lock.get_mut().push(2);
    let unsized_lock: &RLock<[i32]> = &RLock::new([1, 2]);
    assert_eq!(*unsized_lock.lock(), lock.into_inner()[..]);
}

#[test]
fn no_increment_is_lost_between_many_threads() {
    let lock = RLock::new(Cell::new(0_u64));
    let add_one = |guard: RLockGuard<'_, Cell<u64>>| {
        let again = lock.lock();
        again.set(guard.get() + 1);
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..10_000).for_each(|_| add_one(lock.lock())));
            scope.spawn(|| {
                for _ in 0..2_000 {
                    while lock.lock_timeout(Duration::from_micros(20)).map(add_one).is_none() {}
                }
            });
        }
    });
    assert_eq!(lock.into_inner().get(), 3 * 12_000);
}

#[test]
fn guards_stay_in_their_thread_and_are_shared_as_their_value_is() {
    struct IsSend;
    struct IsSync;
    trait NotSend<A> {
        fn check() {}
    }
    impl<T: ?Sized> NotSend<()> for T {}
    impl<T: ?Sized + Send> NotSend<IsSend> for T {}
    // Does not compile if a guard is Send: the implementation would be ambiguous.
    <RLockGuard<'_, u8> as NotSend<_>>::check();

    trait NotSync<A> {
        fn check() {}
    }
    impl<T: ?Sized> NotSync<()> for T {}
    impl<T: ?Sized + Sync> NotSync<IsSync> for T {}
    <RLockGuard<'_, Cell<u8>> as NotSync<_>>::check();
    <RLock<std::rc::Rc<u8>> as NotSync<_>>::check();

    fn is_sync<T: Sync>() {}
    is_sync::<RLockGuard<'_, u8>>();
    is_sync::<RLock<Cell<u8>>>();
}
