//! `ipc::Condition`, between the threads of one process and as messages to itself. What needs other processes is in
//! `ipc_sync_processes`, and a kill at each instruction in `kill_points`.

#![cfg(feature = "processes")]

mod asleep;

use crewkit::ipc::{Condition, Lock, LockError, RLock, pipe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const BRIEFLY: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

fn condition() -> Condition {
    Condition::new(&Lock::new().expect("a lock")).expect("a condition")
}

/// Until so many wait.
fn until_waiting(condition: &Condition, count: usize) {
    let begin = Instant::now();
    let text = match count {
        0 => "waiters: {}".to_owned(),
        count => format!("waiters: {{{}: {count}}}", std::process::id()),
    };
    while !format!("{condition:?}").contains(&text) {
        assert!(begin.elapsed() < LONG, "{condition:?}");
        thread::yield_now();
    }
}

#[test]
fn those_who_have_waited_longest_are_notified_first_and_no_others() {
    let condition = condition();
    let woken = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (condition, woken) = (&condition, &woken);
        let waiters: Vec<_> = (0..4)
            .map(|number| {
                let waiter = scope.spawn(move || {
                    let guard = condition.lock().lock().unwrap();
                    let (guard, notified) = condition.wait_timeout(guard, LONG).unwrap();
                    assert!(notified);
                    let order = woken.fetch_add(1, SeqCst);
                    drop(guard);
                    (number, order)
                });
                until_waiting(condition, number + 1);
                waiter
            })
            .collect();
        let guard = condition.lock().lock().unwrap();
        condition.notify_one(&guard).unwrap();
        drop(guard);
        let begin = Instant::now();
        while woken.load(SeqCst) == 0 {
            assert!(begin.elapsed() < LONG);
        }
        let guard = condition.lock().lock().unwrap();
        condition.notify(&guard, 2).unwrap();
        drop(guard);
        while woken.load(SeqCst) < 3 {
            assert!(begin.elapsed() < LONG);
        }
        until_waiting(condition, 1);
        // Longer than a slice: nobody else looks around and finds itself woken.
        let guard = condition.lock().lock().unwrap();
        let (guard, notified) = condition.wait_timeout(guard, 4 * BRIEFLY).unwrap();
        assert!(!notified);
        assert_eq!(woken.load(SeqCst), 3);
        condition.notify_all(&guard).unwrap();
        condition.notify_all(&guard).unwrap();
        drop(guard);
        let orders: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
        assert_eq!((orders[0], orders[3]), ((0, 0), (3, 3)));
    });
    until_waiting(&condition, 0);
}

#[test]
fn a_notification_for_nobody_is_lost_and_a_wait_is_over_in_time() {
    let condition = condition();
    let guard = condition.lock().lock().unwrap();
    condition.notify_one(&guard).unwrap();
    condition.notify(&guard, 0).unwrap();
    let begin = Instant::now();
    let (guard, notified) = condition.wait_timeout(guard, BRIEFLY).unwrap();
    assert!(!notified && begin.elapsed() >= BRIEFLY);
    let (_guard, notified) = condition.wait_timeout(guard, Duration::ZERO).unwrap();
    assert!(!notified && condition.lock().is_locked());
}

#[test]
fn waits_for_what_holds_are_over_when_it_does_not() {
    let condition = condition();
    let (near, far) = pipe::<Condition, ()>().unwrap();
    near.send(&condition).unwrap();
    let again = far.recv().unwrap();
    assert_eq!(condition, again);
    let number = AtomicUsize::new(0);
    thread::scope(|scope| {
        let one = scope.spawn(|| {
            let guard = again.lock().lock().unwrap();
            again.wait_while(guard, || number.load(SeqCst) < 3).is_ok()
        });
        let two = scope.spawn(|| {
            let guard = condition.lock().lock().unwrap();
            condition.wait_while_timeout(guard, LONG, || number.load(SeqCst) < 2).unwrap().1
        });
        for _ in 0..3 {
            let guard = condition.lock().lock().unwrap();
            number.fetch_add(1, SeqCst);
            again.notify_all(&guard).unwrap();
        }
        assert!(one.join().unwrap() && two.join().unwrap());
    });
    let guard = condition.lock().lock().unwrap();
    let (guard, came_true) = condition.wait_while_timeout(guard, BRIEFLY, || true).unwrap();
    assert!(!came_true);
    assert!(condition.wait_while_timeout(guard, Duration::ZERO, || false).unwrap().1);
}

#[test]
fn a_death_with_the_lock_is_told_to_who_waits() {
    let condition = condition();
    thread::scope(|scope| {
        let waiter = asleep::spawn(scope, || {
            let guard = condition.lock().lock().unwrap();
            let Err(LockError::OwnerDied((guard, notified))) = condition.wait_timeout(guard, LONG) else {
                panic!("not told")
            };
            guard.recover();
            notified
        });
        until_waiting(&condition, 1);
        waiter.until_asleep();
        scope.spawn(|| {
            let guard = condition.lock().lock().unwrap();
            condition.notify_one(&guard).unwrap();
            guard.leak();
        });
        assert!(waiter.join());
    });
    drop(condition.lock().lock().unwrap());
    until_waiting(&condition, 0);
}

#[test]
fn an_rlock_is_let_go_from_any_depth_and_taken_back_to_it() {
    let condition = Condition::new(&RLock::new().unwrap()).unwrap();
    let (near, far) = pipe::<Condition<RLock>, ()>().unwrap();
    near.send(&condition).unwrap();
    let again = far.recv().unwrap();
    assert!(condition == again && condition.lock() == again.lock());
    let is_there = AtomicUsize::new(0);
    thread::scope(|scope| {
        let waiter = asleep::spawn(scope, || {
            let lock = condition.lock();
            let (_one, _two, three) = (lock.lock().unwrap(), lock.lock().unwrap(), lock.lock().unwrap());
            is_there.store(1, SeqCst);
            let (three, notified) = condition.wait_timeout(three, LONG).unwrap();
            assert!(notified && lock.depth() == 3);
            drop(three);
            let (last, notified) = condition.wait_timeout(lock.lock().unwrap(), BRIEFLY).unwrap();
            assert!(!notified && lock.depth() == 3);
            // It is released as often as it was taken.
            drop(last);
            assert_eq!(lock.depth(), 2);
        });
        let begin = Instant::now();
        while condition.stats().waiters == 0 || is_there.load(SeqCst) == 0 {
            assert!(begin.elapsed() < LONG, "{condition:?}");
            thread::yield_now();
        }
        // It is free of all three, and there is nothing left of its depth.
        let guard = again.lock().lock_timeout(LONG).unwrap();
        assert_eq!(again.lock().depth(), 1);
        again.notify_one(&guard).unwrap();
        drop(guard);
        waiter.join();
    });
    assert!(!condition.lock().is_locked());
    drop(condition.lock().try_lock().unwrap());
}

#[test]
fn a_death_with_an_rlock_is_told_to_who_waits_at_its_depth() {
    let condition = Condition::new(&RLock::new().unwrap()).unwrap();
    thread::scope(|scope| {
        let waiter = asleep::spawn(scope, || {
            let lock = condition.lock();
            let (_outer, inner) = (lock.lock().unwrap(), lock.lock().unwrap());
            let Err(LockError::OwnerDied((guard, notified))) = condition.wait_timeout(inner, LONG) else {
                panic!("not told")
            };
            assert!(notified && lock.depth() == 2);
            guard.recover();
        });
        let begin = Instant::now();
        while condition.stats().waiters == 0 {
            assert!(begin.elapsed() < LONG, "{condition:?}");
            thread::yield_now();
        }
        scope.spawn(|| {
            // Of a depth of its own, which nobody inherits.
            (0..5).for_each(|_| condition.lock().acquire().unwrap());
            condition.notify_one(&condition.lock().lock().unwrap()).unwrap();
        });
        waiter.join();
    });
    drop(condition.lock().lock().unwrap());
    assert!(!condition.lock().is_locked());
}

#[test]
#[should_panic(expected = "a guard of another lock")]
fn a_guard_of_another_lock_is_a_mistake() {
    let (condition, other) = (condition(), Lock::new().unwrap());
    let _never = condition.notify_one(&other.lock().unwrap());
}
