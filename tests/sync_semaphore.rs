//! `sync::Semaphore` behaves as CPython's `threading.Semaphore` (`lock_tests.py`, cases SM1 to SM10).
#![cfg(not(crewkit_loom))]

mod asleep;

use asleep::PATIENCE;
use crewkit::sync::{BoundedSemaphore, OverReleased, Overflow, OwnedPermit, Permit, Semaphore};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);

#[test]
fn sm1_the_default_is_one_permit() {
    let semaphore = Semaphore::default();
    assert_eq!(semaphore.available(), 1);
    let _permit = semaphore.acquire();
    assert!(semaphore.try_acquire().is_none());
}

#[test]
#[should_panic(expected = "more permits")]
fn sm1_too_many_permits_panic() {
    let _ = Semaphore::new(Semaphore::MAX_PERMITS + 1);
}

#[test]
fn sm2_exactly_the_available_number_pass() {
    let semaphore = Semaphore::new(7);
    let passed = AtomicUsize::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..10)
            .map(|_| {
                asleep::spawn(scope, || {
                    for _ in 0..2 {
                        semaphore.acquire().forget();
                        passed.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let begin = Instant::now();
        for (released, expected) in [(0, 7), (6, 13), (7, 20)] {
            semaphore.release(released).unwrap();
            while passed.load(Ordering::SeqCst) < expected {
                assert!(begin.elapsed() < PATIENCE);
                thread::yield_now();
            }
            if expected < 20 {
                for thread in threads.iter().filter(|thread| !thread.handle.is_finished()) {
                    if expected == 7 {
                        thread.until_asleep();
                    }
                }
                assert_eq!(passed.load(Ordering::SeqCst), expected);
            }
        }
    });
    assert_eq!(semaphore.available(), 0);
}

#[test]
fn sm3_release_of_many_wakes_as_many() {
    let semaphore = Semaphore::new(0);
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..5).map(|_| asleep::spawn(scope, || semaphore.acquire().forget())).collect();
        waiters.iter().for_each(asleep::Watched::until_asleep);
        semaphore.release(3).unwrap();
        let begin = Instant::now();
        while waiters.iter().filter(|waiter| waiter.handle.is_finished()).count() < 3 {
            assert!(begin.elapsed() < PATIENCE);
            thread::yield_now();
        }
        assert_eq!(semaphore.available(), 0);
        assert_eq!(waiters.iter().filter(|waiter| waiter.handle.is_finished()).count(), 3);
        semaphore.release(2).unwrap();
    });
    semaphore.release(0).unwrap();
    assert_eq!(semaphore.available(), 0);
}

#[test]
fn sm4_timed_acquires_fail_after_the_time_and_succeed_before_it() {
    let semaphore = Semaphore::new(0);
    let begin = Instant::now();
    assert!(semaphore.acquire_timeout(SHORT).is_none());
    assert!(begin.elapsed() >= SHORT);
    assert!(semaphore.acquire_timeout(Duration::ZERO).is_none());
    thread::scope(|scope| {
        let timed = asleep::spawn(scope, || semaphore.acquire_timeout(PATIENCE).map(Permit::forget).is_some());
        timed.until_asleep();
        semaphore.release(1).unwrap();
        assert!(timed.join());
        let patient = asleep::spawn(scope, || semaphore.acquire_timeout(Duration::MAX).is_some());
        patient.until_asleep();
        semaphore.release(1).unwrap();
        assert!(patient.join());
    });
}

#[test]
fn sm5_no_try_fails_while_permits_remain() {
    let semaphore = Semaphore::new(3);
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for _ in 0..2 {
                    if let Some(permit) = semaphore.try_acquire() {
                        permit.forget();
                        taken.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 3);
}

#[test]
fn sm6_release_may_raise_the_value_above_the_initial_one() {
    let semaphore = Semaphore::new(1);
    semaphore.release(4).unwrap();
    assert_eq!(semaphore.available(), 5);
    let _all = semaphore.acquire_many(5);
    assert!(semaphore.try_acquire().is_none());
}

#[test]
fn sm10_waiters_go_in_the_order_of_arrival() {
    let semaphore = Semaphore::new(0);
    let order = crewkit::sync::Lock::new(Vec::new());
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..3)
            .map(|number| {
                let (semaphore, order) = (&semaphore, &order);
                let waiter = asleep::spawn(scope, move || {
                    semaphore.acquire_many(2).forget();
                    order.lock().push(number);
                });
                waiter.until_asleep();
                waiter
            })
            .collect();
        for waiter in waiters {
            // One is too little for the first in line, and so for all.
            semaphore.release(1).unwrap();
            semaphore.release(1).unwrap();
            waiter.join();
        }
    });
    assert_eq!(order.into_inner(), [0, 1, 2]);
}

/// For a millisecond, that is: then free permits are kept for the first in line. So it may take several tries until the
/// first has waited for less when the permit comes.
#[test]
fn sm10_who_comes_to_a_free_permit_does_not_wait_behind_those_in_line() {
    const TRIES: usize = 10_000;
    let overtook = (0..TRIES).any(|_| {
        let semaphore = Semaphore::new(0);
        thread::scope(|scope| {
            let waiter = asleep::spawn(scope, || semaphore.acquire_many(2).forget());
            waiter.until_asleep();
            semaphore.release(1).unwrap();
            let overtook = semaphore.try_acquire().is_some();
            semaphore.release(1).unwrap();
            waiter.join();
            overtook
        })
    });
    assert!(overtook, "nobody overtakes, in {TRIES} tries");
}

#[test]
fn more_permits_than_there_can_be_are_refused_and_change_nothing() {
    let semaphore = Semaphore::new(Semaphore::MAX_PERMITS - 1);
    assert_eq!(semaphore.release(2), Err(Overflow));
    assert_eq!(semaphore.release(usize::MAX), Err(Overflow));
    assert_eq!(semaphore.available(), Semaphore::MAX_PERMITS - 1);
    semaphore.release(1).unwrap();
    assert_eq!(semaphore.release(1), Err(Overflow));
    assert!(semaphore.try_acquire_many(usize::MAX).is_none());
}

#[test]
fn sm7_a_bounded_one_refuses_more_than_at_the_beginning_and_changes_nothing() {
    for bound in 1..9 {
        let semaphore = BoundedSemaphore::new(bound);
        assert_eq!(semaphore.release(1), Err(OverReleased));
        semaphore.acquire_many(bound).forget();
        assert_eq!(semaphore.release(bound + 1), Err(OverReleased));
        assert_eq!(semaphore.available(), 0);
        semaphore.release(bound).unwrap();
        assert_eq!(semaphore.release(1), Err(OverReleased));
        assert_eq!(semaphore.release(usize::MAX), Err(OverReleased));
        assert_eq!(semaphore.available(), bound);
    }
    assert!(OverReleased.to_string().contains("more permits than were taken"));
    assert_eq!(BoundedSemaphore::new(0).release(1), Err(OverReleased));
}

#[test]
fn sm7_of_as_many_releases_as_threads_exactly_those_that_fit_succeed() {
    for bound in 1..9 {
        let semaphore = BoundedSemaphore::new(bound);
        semaphore.acquire_many(bound).forget();
        let refused = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 * bound {
                scope.spawn(|| refused.fetch_add(usize::from(semaphore.release(1).is_err()), Ordering::SeqCst));
            }
        });
        assert_eq!((refused.into_inner(), semaphore.available()), (bound, bound));
    }
}

#[test]
fn sm7_with_waiters_in_line_too() {
    let semaphore = BoundedSemaphore::new(2);
    let (first, second) = (semaphore.acquire(), semaphore.acquire());
    thread::scope(|scope| {
        let both = asleep::spawn(scope, || semaphore.acquire_many(2).forget());
        both.until_asleep();
        drop(first);
        assert_eq!(semaphore.release(2), Err(OverReleased));
        // None is free any more, if the one that came back is kept for who waits.
        assert!(semaphore.available() <= 1 && !both.handle.is_finished());
        drop(second);
        both.join();
    });
    semaphore.release(2).unwrap();
    assert_eq!(semaphore.release(1), Err(OverReleased));
}

#[test]
fn a_permit_gives_back_as_much_as_there_is_room_for() {
    let semaphore = BoundedSemaphore::new(5);
    let all = semaphore.acquire_many(5);
    semaphore.release(2).unwrap();
    drop(all);
    assert_eq!(semaphore.available(), 5);
    let semaphore = Semaphore::new(1);
    let one = semaphore.acquire();
    semaphore.release(Semaphore::MAX_PERMITS).unwrap();
    drop(one);
    assert_eq!(semaphore.available(), Semaphore::MAX_PERMITS);
    assert_eq!(semaphore.release(1), Err(Overflow));
}

#[test]
fn a_request_that_can_never_be_met_stands_in_nobodys_way() {
    let semaphore = BoundedSemaphore::new(2);
    thread::scope(|scope| {
        let in_vain = asleep::spawn(scope, || semaphore.acquire_many_timeout(3, Duration::from_millis(600)).is_some());
        in_vain.until_asleep();
        // It waits for longer than anybody is overtaken, and would be given all if it could ever have enough.
        let begin = Instant::now();
        while begin.elapsed() < SHORT {
            assert!(semaphore.acquire_many_timeout(2, Duration::from_millis(300)).is_some());
        }
        assert!(!in_vain.join());
    });
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn sm8_a_panic_gives_the_permits_back() {
    let semaphore = Semaphore::new(2);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _outer = semaphore.acquire();
        let _inner = semaphore.acquire();
        assert!(semaphore.try_acquire().is_none());
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn sm9_debug_tells_the_value() {
    let semaphore = Semaphore::new(2);
    assert_eq!(format!("{semaphore:?}"), "Semaphore { available: 2, waiters: 0 }");
    thread::scope(|scope| {
        let waiter = asleep::spawn(scope, || semaphore.acquire_many(3).forget());
        waiter.until_asleep();
        assert_eq!(format!("{semaphore:?}"), "Semaphore { available: 2, waiters: 1 }");
        semaphore.release(1).unwrap();
    });
    let bounded = BoundedSemaphore::new(3);
    let permit = bounded.acquire();
    assert_eq!(format!("{permit:?}"), "Permit { count: 1, .. }");
    assert_eq!(format!("{bounded:?}"), "BoundedSemaphore { available: 2, bound: 3, waiters: 0 }");
}

#[test]
fn many_permits_are_taken_all_or_none() {
    let semaphore = Semaphore::new(2);
    assert!(semaphore.try_acquire_many(3).is_none());
    assert!(semaphore.acquire_many_timeout(3, SHORT).is_none());
    assert_eq!(semaphore.available(), 2);
    let none = semaphore.acquire_many(0);
    assert_eq!((none.count(), semaphore.available()), (0, 2));
    let both = semaphore.try_acquire_many(2).unwrap();
    assert_eq!((both.count(), semaphore.available()), (2, 0));
}

#[test]
fn the_large_waiter_in_front_gives_up_and_the_small_one_behind_goes() {
    let semaphore = Semaphore::new(1);
    let first = semaphore.acquire();
    thread::scope(|scope| {
        let large = asleep::spawn(scope, || semaphore.acquire_many_timeout(2, SHORT).is_none());
        large.until_asleep();
        let small = asleep::spawn(scope, || semaphore.acquire().forget());
        small.until_asleep();
        drop(first);
        assert!(large.join());
        small.join();
    });
}

#[test]
fn a_large_request_is_not_starved_by_small_ones() {
    let semaphore = Semaphore::new(4);
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _permit = semaphore.acquire();
                    thread::yield_now();
                }
            });
        }
        for _ in 0..20 {
            assert!(semaphore.acquire_many_timeout(4, PATIENCE).is_some());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(semaphore.available(), 4);
}

#[test]
fn permits_travel_and_keep_what_they_belong_to() {
    fn is_send<T: Send>() {}
    is_send::<Permit<'_>>();
    is_send::<OwnedPermit>();
    let semaphore = Arc::new(Semaphore::new(2));
    let permit = semaphore.acquire_owned();
    assert!(Arc::ptr_eq(permit.semaphore(), &semaphore));
    thread::spawn(move || drop(permit)).join().unwrap();
    assert_eq!(semaphore.available(), 2);
    assert_eq!(semaphore.acquire_many_owned_timeout(2, SHORT).map(|permit| permit.count()), Some(2));
    semaphore.acquire_many_owned(2).forget();
    assert!(semaphore.try_acquire_owned().is_none());
    assert!(semaphore.try_acquire_many_owned(2).is_none());
    assert!(semaphore.acquire_owned_timeout(SHORT).is_none());
    let bounded = Arc::new(BoundedSemaphore::default());
    let permit: OwnedPermit<BoundedSemaphore> = bounded.acquire_owned();
    thread::spawn(move || drop(permit)).join().unwrap();
    assert_eq!((bounded.available(), bounded.bound()), (1, 1));
}

#[test]
fn permits_add_up_after_many_threads_took_gave_and_gave_up() {
    let semaphore = Semaphore::new(3);
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..6 {
            let (semaphore, inside) = (&semaphore, &inside);
            scope.spawn(move || {
                for round in 0..4_000 {
                    let count = 1 + (thread + round) % 3;
                    let permit = match round % 3 {
                        0 => Some(semaphore.acquire_many(count)),
                        1 => semaphore.try_acquire_many(count),
                        _ => semaphore.acquire_many_timeout(count, Duration::from_micros(30)),
                    };
                    if permit.is_some() {
                        assert!(inside.fetch_add(count, Ordering::SeqCst) + count <= 3);
                        inside.fetch_sub(count, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(semaphore.available(), 3);
}
