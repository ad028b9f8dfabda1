//! `sync::Lock` behaves as CPython's `threading.Lock` (`lock_tests.py`, cases LK1 to LK15).
#![cfg(not(crewkit_loom))]

mod asleep;

use asleep::PATIENCE;
use crewkit::sync::{Lock, LockGuard, NotHeld};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);

#[test]
fn lk1_a_second_acquire_waits_for_the_release() {
    let lock = Lock::default();
    assert!(!lock.is_locked());
    lock.acquire();
    thread::scope(|scope| {
        let second = asleep::spawn(scope, || lock.acquire());
        second.until_asleep();
        assert!(!second.handle.is_finished());
        lock.release().unwrap();
        second.join();
    });
    assert!(lock.is_locked());
}

#[test]
fn lk1_a_thread_waits_for_its_own_lock_until_another_releases_it() {
    let lock = Lock::default();
    thread::scope(|scope| {
        let twice = asleep::spawn(scope, || {
            lock.acquire();
            lock.acquire();
        });
        twice.until_asleep();
        assert!(lock.is_locked());
        lock.release().unwrap();
        twice.join();
    });
    assert!(lock.is_locked());
}

#[test]
fn lk1_it_is_not_reentrant() {
    let lock = Lock::new(0);
    let _guard = lock.lock();
    assert!(lock.try_lock().is_none());
    assert!(lock.lock_timeout(SHORT).is_none());
}

#[test]
fn lk2_try_acquire_never_waits() {
    let lock = Lock::default();
    assert!(lock.try_acquire());
    assert!(!lock.try_acquire());
    thread::scope(|scope| assert!(!scope.spawn(|| lock.try_acquire()).join().unwrap()));
    lock.release().unwrap();
    thread::scope(|scope| assert!(scope.spawn(|| lock.try_acquire()).join().unwrap()));
}

#[test]
fn lk3_all_that_wait_get_through_one_by_one() {
    let lock = Lock::default();
    let inside = AtomicUsize::new(0);
    let through = AtomicUsize::new(0);
    lock.acquire();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                asleep::spawn(scope, || {
                    lock.acquire();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    through.fetch_add(1, Ordering::SeqCst);
                    lock.release().unwrap();
                })
            })
            .collect();
        waiters.iter().for_each(asleep::Watched::until_asleep);
        assert_eq!(through.load(Ordering::SeqCst), 0);
        lock.release().unwrap();
    });
    assert_eq!(through.load(Ordering::SeqCst), 8);
    assert!(!lock.is_locked());
}

#[test]
fn lk4_another_thread_may_release() {
    let lock = Lock::default();
    lock.acquire();
    thread::scope(|scope| {
        scope.spawn(|| lock.release()).join().unwrap().unwrap();
    });
    assert!(lock.try_acquire());
}

#[test]
fn lk5_release_of_a_free_lock_is_an_error() {
    let lock = Lock::default();
    assert_eq!(lock.release(), Err(NotHeld));
    lock.acquire();
    lock.release().unwrap();
    assert_eq!(lock.release(), Err(NotHeld));
    assert!(lock.try_acquire(), "the error changed nothing");
}

#[test]
fn lk6_a_timed_acquire_does_not_sleep_the_whole_time_for_a_lock_that_becomes_free() {
    let lock = Lock::default();
    lock.acquire();
    thread::scope(|scope| {
        let timed = asleep::spawn(scope, || lock.acquire_timeout(PATIENCE));
        timed.until_asleep();
        lock.release().unwrap();
        assert!(timed.join());
    });
}

#[test]
fn lk6_a_timed_acquire_of_a_held_lock_fails_and_not_too_early() {
    let lock = Lock::default();
    lock.acquire();
    let begin = Instant::now();
    assert!(!lock.acquire_timeout(SHORT));
    assert!(begin.elapsed() >= SHORT);
}

#[test]
fn lk7_no_timeout_is_too_long_and_zero_only_looks() {
    let lock = Lock::default();
    assert!(lock.acquire_timeout(Duration::MAX));
    assert!(!lock.acquire_timeout(Duration::ZERO));
    thread::scope(|scope| {
        let patient = asleep::spawn(scope, || lock.acquire_timeout(Duration::MAX));
        patient.until_asleep();
        lock.release().unwrap();
        assert!(patient.join());
    });
}

#[test]
fn lk8_a_timeout_leaves_the_lock_as_it_was() {
    let lock = Lock::default();
    lock.acquire();
    assert!(!lock.acquire_timeout(SHORT));
    lock.release().unwrap();
    assert!(!lock.is_locked());
    assert!(lock.try_acquire());
    lock.release().unwrap();
}

#[test]
fn lk8_a_timeout_among_other_waiters_loses_no_wake_up() {
    let lock = Lock::default();
    lock.acquire();
    thread::scope(|scope| {
        let impatient = asleep::spawn(scope, || lock.acquire_timeout(SHORT));
        impatient.until_asleep();
        let patient = asleep::spawn(scope, || lock.acquire());
        patient.until_asleep();
        assert!(!impatient.join());
        lock.release().unwrap();
        patient.join();
    });
}

/// With `deadlock-detection` it also tells the holder: `sync_deadlock.rs`.
#[cfg(not(feature = "deadlock-detection"))]
#[test]
fn lk9_debug_tells_the_state() {
    let lock = Lock::new(7);
    assert_eq!(format!("{lock:?}"), "Lock { locked: false, waiters: 0, value: 7 }");
    let guard = lock.lock();
    assert!(lock.is_locked());
    assert_eq!(format!("{lock:?}"), "Lock { locked: true, waiters: 0, .. }");
    assert_eq!(format!("{guard:?} {guard}"), "7 7");
    thread::scope(|scope| {
        let waiter = asleep::spawn(scope, || drop(lock.lock()));
        waiter.until_asleep();
        assert_eq!(format!("{lock:?}"), "Lock { locked: true, waiters: 1, .. }");
        drop(guard);
    });
}

#[test]
fn lk10_a_panic_releases_and_does_not_poison() {
    let lock = Lock::new(1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = lock.lock();
        *guard = 2;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(*lock.try_lock().unwrap(), 2);
}

#[test]
fn lk11_a_held_lock_may_be_dropped() {
    let lock = Lock::default();
    lock.acquire();
    drop(lock);
}

#[test]
fn a_guard_does_nothing_for_a_lock_released_under_it() {
    let lock = Lock::default();
    let guard = lock.lock();
    lock.release().unwrap();
    drop(guard);
    assert!(lock.try_acquire());
}

#[test]
fn the_value_is_reached_without_locking_where_nobody_shares_it() {
    let mut lock = Lock::from(vec![1]);
    lock.get_mut().push(2);
    let unsized_lock: &Lock<[i32]> = &Lock::new([1, 2]);
    assert_eq!(*unsized_lock.lock(), lock.into_inner()[..]);
}

#[test]
fn no_increment_is_lost_between_many_threads() {
    let lock = Lock::new(0_u64);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..20_000).for_each(|_| *lock.lock() += 1));
            scope.spawn(|| {
                for _ in 0..2_000 {
                    while lock.lock_timeout(Duration::from_micros(20)).map(|mut value| *value += 1).is_none() {}
                }
            });
        }
    });
    assert_eq!(lock.into_inner(), 4 * 22_000);
}

#[test]
fn a_waiter_is_served_though_another_thread_hardly_lets_go() {
    let lock = Lock::new(());
    let served = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !served.load(Ordering::Relaxed) {
                let _guard = lock.lock();
                (0..100).for_each(|_| std::hint::spin_loop());
            }
        });
        for _ in 0..20 {
            assert!(lock.lock_timeout(PATIENCE).is_some());
        }
        served.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_fair_release_goes_to_the_first_in_line_though_its_thread_comes_back_at_once() {
    let lock = Lock::new(Vec::new());
    let mut guard = lock.lock();
    thread::scope(|scope| {
        let lock = &lock;
        let waiters: Vec<_> = (0..3)
            .map(|number| {
                let waiter = asleep::spawn(scope, move || {
                    let mut order = lock.lock();
                    order.push(number);
                    LockGuard::release_fair(order);
                });
                waiter.until_asleep();
                waiter
            })
            .collect();
        for number in 0..3 {
            LockGuard::release_fair(guard);
            guard = lock.lock();
            guard.push(10 + number);
        }
        LockGuard::release_fair(guard);
        waiters.into_iter().for_each(asleep::Watched::join);
    });
    // This thread stood behind all three the first time.
    assert_eq!(lock.into_inner(), [0, 1, 2, 10, 11, 12]);
}

#[test]
fn guards_stay_in_their_thread_and_are_shared_as_their_value_is() {
    trait Ambiguous<A> {
        fn check() {}
    }
    struct IsSend;
    struct IsSync;
    impl<T: ?Sized> Ambiguous<()> for T {}
    impl<T: ?Sized + Send> Ambiguous<IsSend> for T {}
    // Does not compile if a guard is Send: the implementation would be ambiguous.
    <LockGuard<'_, u8> as Ambiguous<_>>::check();

    trait NotSync<A> {
        fn check() {}
    }
    impl<T: ?Sized> NotSync<()> for T {}
    impl<T: ?Sized + Sync> NotSync<IsSync> for T {}
    <LockGuard<'_, std::cell::Cell<u8>> as NotSync<_>>::check();
    <Lock<std::rc::Rc<u8>> as NotSync<_>>::check();

    fn is_sync<T: Sync>() {}
    is_sync::<LockGuard<'_, u8>>();
    is_sync::<Lock<std::cell::Cell<u8>>>();
}

/// All other tests here use threads of std, too; this one looks at what crewkit knows of them.
#[cfg(feature = "threads")]
#[test]
fn lk12_threads_from_elsewhere_use_it_and_leave_nothing_behind() {
    let lock = Lock::new(0);
    let before = crewkit::thread::enumerate();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut count = lock.lock();
                *count += 1;
                assert_eq!(crewkit::thread::enumerate(), before);
            });
        }
    });
    assert_eq!((lock.into_inner(), crewkit::thread::enumerate()), (20, before));
}
