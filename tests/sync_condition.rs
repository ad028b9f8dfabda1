//! `sync::Condition` behaves as CPython's `threading.Condition` (`lock_tests.py`, cases CV1 to CV10).
#![cfg(not(crewkit_loom))]

mod asleep;

use asleep::{PATIENCE, Watched};
use crewkit::sync::{CannotWait, Condition, Lock, LockGuard, RLock, WaitGuard};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);

/// Spawns `count` threads that wait once and then add one to `back`, one after the other, each asleep before the next.
fn waiters<'scope>(
    scope: &'scope Scope<'scope, '_>,
    count: usize,
    lock: &'scope Lock<usize>,
    changed: &'scope Condition,
) -> Vec<Watched<'scope, ()>> {
    let spawn = |_| {
        let waiter = asleep::spawn(scope, || {
            let mut back = lock.lock();
            changed.wait(&mut back);
            *back += 1;
        });
        waiter.until_asleep();
        waiter
    };
    (0..count).map(spawn).collect()
}

fn until(done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE);
        thread::yield_now();
    }
}

#[test]
fn cv1_several_conditions_share_one_lock() {
    let items = Lock::new(0_u32);
    let (filled, emptied) = (Condition::new(), Condition::default());
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..100 {
                let mut items = items.lock();
                emptied.wait_while(&mut items, |items| *items > 0);
                *items += 1;
                filled.notify_one();
            }
        });
        for _ in 0..100 {
            let mut items = items.lock();
            filled.wait_while(&mut items, |items| *items == 0);
            *items -= 1;
            emptied.notify_one();
        }
    });
    assert_eq!(items.into_inner(), 0);
}

#[test]
fn cv2_to_wait_without_the_lock_is_an_error() {
    let changed = Condition::new();
    let (lock, rlock) = (Lock::default(), RLock::default());
    assert_eq!(changed.wait_holding(&lock), Err(CannotWait::NotHeld));
    assert_eq!(changed.wait_holding(&rlock), Err(CannotWait::NotHeld));
    assert_eq!(changed.wait_holding_timeout(&lock, SHORT), Err(CannotWait::NotHeld));
    thread::scope(|scope| {
        rlock.acquire();
        // Held, but not by that thread.
        let other = scope.spawn(|| changed.wait_holding_timeout(&rlock, SHORT));
        assert_eq!(other.join().unwrap(), Err(CannotWait::NotHeld));
    });
    assert_eq!(rlock.depth(), 1);
    assert_eq!(format!("{changed:?}"), "Condition { waiters: 0 }");
    assert!(CannotWait::NotHeld.to_string().contains("without holding its lock"));
}

#[test]
fn cv2_to_wait_where_others_wait_with_another_lock_is_an_error() {
    let changed = Condition::new();
    let (lock, other) = (Lock::new(0), Lock::default());
    thread::scope(|scope| {
        let waiting = waiters(scope, 1, &lock, &changed);
        other.acquire();
        assert_eq!(changed.wait_holding(&other), Err(CannotWait::OtherLock));
        other.release().unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| changed.wait(&mut other.lock())));
        assert!(panicked.unwrap_err().downcast_ref::<String>().unwrap().contains("another lock"));
        assert!(!other.is_locked());
        assert!(changed.notify_one());
        waiting.into_iter().for_each(Watched::join);
    });
    // Now that nobody waits, any lock will do.
    assert!(!changed.wait_timeout(&mut other.lock(), SHORT));
}

#[test]
fn cv3_a_wait_lets_the_lock_go_and_has_it_again_in_any_case() {
    let changed = Condition::new();
    let lock = Lock::new(0);
    let mut guard = lock.lock();
    assert!(!changed.wait_timeout(&mut guard, SHORT));
    assert!(lock.try_lock().is_none(), "after a timeout");
    thread::scope(|scope| {
        // This thread gets the lock only because the wait below lets it go.
        scope.spawn(|| {
            *lock.lock() = 1;
            changed.notify_one()
        });
        changed.wait_while(&mut guard, |value| *value == 0);
        assert!(lock.try_lock().is_none(), "after a notification");
    });
    *guard += 1;
    drop(guard);
    assert_eq!(*lock.try_lock().unwrap(), 2);
}

#[test]
fn cv3_an_rlock_is_let_go_from_any_depth_and_taken_back_to_it() {
    let changed = Condition::new();
    let lock = RLock::new(AtomicUsize::new(0));
    let outer = lock.lock();
    let middle = lock.lock();
    let mut inner = lock.lock();
    thread::scope(|scope| {
        scope.spawn(|| {
            let guard = lock.lock();
            assert_eq!(lock.depth(), 1);
            guard.store(1, Ordering::Relaxed);
            changed.notify_one()
        });
        changed.wait_while(&mut inner, |value| value.load(Ordering::Relaxed) == 0);
    });
    assert_eq!(lock.depth(), 3);
    assert!(!changed.wait_timeout(&mut inner, SHORT));
    assert_eq!(lock.depth(), 3);
    drop((outer, middle, inner));
    assert!(!lock.is_locked());
}

#[test]
fn cv3_without_guards_too() {
    let changed = Condition::new();
    let lock = RLock::default();
    lock.acquire();
    lock.acquire();
    thread::scope(|scope| {
        scope.spawn(|| {
            lock.acquire();
            changed.notify_all();
            lock.release()
        });
        assert_eq!(changed.wait_holding_timeout(&lock, PATIENCE), Ok(true));
    });
    assert_eq!(lock.depth(), 2);
    assert_eq!(changed.wait_holding_timeout(&lock, SHORT), Ok(false));
    assert_eq!(lock.depth(), 2);
}

#[test]
fn cv3_a_guard_whose_lock_was_released_under_it_has_it_after_the_wait() {
    let changed = Condition::new();
    let (lock, rlock) = (Lock::default(), RLock::default());
    let mut guard = lock.lock();
    lock.release().unwrap();
    assert!(!changed.wait_timeout(&mut guard, SHORT));
    assert!(lock.is_locked());
    let mut guard = rlock.lock();
    rlock.release().unwrap();
    assert!(!changed.wait_timeout(&mut guard, SHORT));
    assert_eq!(rlock.depth(), 1);
}

#[test]
fn cv4_notify_wakes_exactly_as_many_in_the_order_of_arrival() {
    let (lock, changed) = (Lock::new(Vec::new()), Condition::new());
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..5)
            .map(|number| {
                let (lock, changed) = (&lock, &changed);
                let waiter = asleep::spawn(scope, move || {
                    let mut back = lock.lock();
                    changed.wait(&mut back);
                    back.push(number);
                });
                waiter.until_asleep();
                waiter
            })
            .collect();
        assert_eq!(format!("{changed:?}"), "Condition { waiters: 5 }");
        assert_eq!(changed.notify(0), 0);
        for number in 0..3 {
            assert!(changed.notify_one());
            until(|| lock.lock().len() == number + 1);
        }
        assert_eq!(*lock.lock(), [0, 1, 2]);
        waiting[3..].iter().for_each(Watched::until_asleep);
        assert_eq!(changed.notify(7), 2);
    });
    lock.lock().sort_unstable();
    assert_eq!(lock.into_inner(), [0, 1, 2, 3, 4]);
}

#[test]
fn cv4_a_notification_without_waiters_is_not_kept() {
    let (lock, changed) = (Lock::new(0), Condition::new());
    assert!(!changed.notify_one());
    assert_eq!((changed.notify(3), changed.notify_all()), (0, 0));
    assert!(!changed.wait_timeout(&mut lock.lock(), SHORT));
}

#[test]
fn cv5_the_woken_do_not_return_before_the_notifier_lets_go() {
    let (lock, changed) = (Lock::new(0), Condition::new());
    thread::scope(|scope| {
        let waiting = waiters(scope, 3, &lock, &changed);
        let guard = lock.lock();
        assert_eq!(changed.notify_all(), 3);
        waiting.iter().for_each(Watched::until_asleep);
        assert_eq!(*guard, 0);
        drop(guard);
        waiting.into_iter().for_each(Watched::join);
    });
    assert_eq!(lock.into_inner(), 3);
}

/// CPython's `test_notify`: three of five, then five over two generations, then all; each thread waits twice.
fn generations(lock: &Lock<[usize; 2]>, changed: &Condition) {
    *lock.lock() = [0; 2];
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let waiter = asleep::spawn(scope, || {
                    let mut done = lock.lock();
                    changed.wait(&mut done);
                    done[0] += 1;
                    changed.wait(&mut done);
                    done[1] += 1;
                });
                waiter.until_asleep();
                waiter
            })
            .collect();
        assert_eq!(changed.notify(3), 3);
        // The three come back once and wait anew; they do not take what is left of the first notification.
        until(|| lock.lock()[0] == 3);
        waiting.iter().for_each(Watched::until_asleep);
        assert_eq!(*lock.lock(), [3, 0]);
        assert_eq!(changed.notify(5), 5);
        until(|| lock.lock()[0] == 5);
        until(|| lock.lock()[1] == 3);
        waiting.iter().filter(|waiter| !waiter.handle.is_finished()).for_each(Watched::until_asleep);
        assert_eq!(*lock.lock(), [5, 3]);
        assert_eq!(changed.notify_all(), 2);
        waiting.into_iter().for_each(Watched::join);
    });
    assert_eq!(*lock.lock(), [5, 5]);
    assert!(!changed.notify_one());
}

#[test]
fn cv6_who_waits_again_is_a_new_waiter() {
    generations(&Lock::default(), &Condition::new());
}

#[test]
fn cv7_a_timed_wait_tells_whether_it_was_notified() {
    let (lock, changed) = (Lock::new(0), Condition::new());
    let begin = Instant::now();
    assert!(!changed.wait_timeout(&mut lock.lock(), SHORT));
    assert!(begin.elapsed() >= SHORT);
    assert!(!changed.wait_timeout(&mut lock.lock(), Duration::ZERO));
    thread::scope(|scope| {
        let timed = asleep::spawn(scope, || changed.wait_timeout(&mut lock.lock(), Duration::MAX));
        timed.until_asleep();
        assert!(changed.notify_one());
        assert!(timed.join());
    });
}

#[test]
fn cv8_a_waiter_whose_time_is_over_takes_no_notification_with_it() {
    let (lock, changed) = (Lock::new(0), Condition::new());
    thread::scope(|scope| {
        let impatient = asleep::spawn(scope, || changed.wait_timeout(&mut lock.lock(), SHORT));
        impatient.until_asleep();
        let waiting = waiters(scope, 1, &lock, &changed);
        assert!(!impatient.join());
        assert!(changed.notify_one());
        waiting.into_iter().for_each(Watched::join);
    });
    assert!(!changed.notify_one());
}

#[test]
fn cv9_a_condition_that_holds_needs_no_wait() {
    let (lock, changed) = (Lock::new(0), Condition::new());
    let mut guard = lock.lock();
    let mut looks = 0;
    let is_so = |value: &i32| {
        looks += 1;
        *value != 0
    };
    assert!(changed.wait_while_timeout(&mut guard, is_so, Duration::ZERO));
    assert_eq!(looks, 1);
}

#[test]
fn cv9_the_timeout_is_the_total_over_all_wake_ups() {
    let (lock, changed) = (Lock::new(()), Condition::new());
    let over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                changed.notify_one();
                thread::yield_now();
            }
        });
        let mut guard = lock.lock();
        let begin = Instant::now();
        let mut looks = 0;
        let is_so = |_: &()| {
            looks += 1;
            true
        };
        assert!(!changed.wait_while_timeout(&mut guard, is_so, SHORT));
        assert!(looks >= 2, "looked at first and at last");
        assert!(begin.elapsed() >= SHORT);
        assert!(begin.elapsed() < PATIENCE, "each notification began the time anew");
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn cv9_a_condition_that_comes_to_hold_ends_the_wait() {
    let (lock, changed) = (RLock::new(AtomicUsize::new(0)), Condition::new());
    thread::scope(|scope| {
        let waiter = asleep::spawn(scope, || {
            let mut guard = lock.lock();
            changed.wait_while_timeout(&mut guard, |value| value.load(Ordering::Relaxed) < 4, PATIENCE)
        });
        for _ in 0..4 {
            lock.lock().fetch_add(1, Ordering::Relaxed);
            changed.notify_all();
        }
        assert!(waiter.join());
    });
}

#[test]
fn cv10_the_whole_works_twice_on_one_object() {
    let (lock, changed) = (Lock::default(), Condition::new());
    generations(&lock, &changed);
    generations(&lock, &changed);
}

#[test]
fn a_panic_in_the_question_leaves_the_lock_free() {
    let (lock, changed) = (Lock::new(0), Condition::new());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        changed.wait_while(&mut lock.lock(), |_| panic!("on purpose"));
    }));
    assert!(panicked.is_err());
    assert!(lock.try_lock().is_some());
    assert!(!changed.notify_one());
}

#[test]
fn no_notification_is_lost_between_many_threads() {
    // Tokens go round: each thread that waits takes one that another put there with one notification.
    let (tokens, changed) = (Lock::new(0_usize), Condition::new());
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..4 {
            let (tokens, changed, taken) = (&tokens, &changed, &taken);
            scope.spawn(move || {
                for round in 0..3_000 {
                    let mut left = tokens.lock();
                    if (number + round) % 2 == 0 {
                        changed.wait_while(&mut left, |left| *left == 0);
                    } else {
                        let brief = Duration::from_micros(20);
                        while !changed.wait_while_timeout(&mut left, |left| *left == 0, brief) {}
                    }
                    *left -= 1;
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..6_000 {
                    *tokens.lock() += 1;
                    changed.notify_one();
                }
            });
        }
    });
    assert_eq!((taken.into_inner(), tokens.into_inner()), (12_000, 0));
}

#[test]
fn any_guard_of_the_two_will_do() {
    fn poll<G: WaitGuard>(changed: &Condition, mut guard: G) -> bool {
        changed.wait_timeout(&mut guard, Duration::ZERO)
    }
    let changed = Condition::new();
    assert!(!poll(&changed, Lock::new(String::new()).lock()));
    assert!(!poll(&changed, RLock::new(5).lock()));
    let lock = Lock::new(vec![1]);
    let mut guard: LockGuard<'_, Vec<i32>> = lock.lock();
    changed.wait_while(&mut guard, |items| items.is_empty());
}
