//! Models of `sync::Condition`. In most of them tokens lie under a lock, and each notification announces one.

use crewkit::model::Arc;
use crewkit::sync::{CannotWait, Condition, Lock, RLock};
use crewkit_loom_tests::{Plain, SOON, explore, explore_large, prepare, spawn, until_it_says};

/// What the threads of a model share.
#[derive(Default)]
struct Shared {
    tokens: Lock<usize>,
    changed: Condition,
}

impl Shared {
    /// Notifies under the lock, so that who is called is left to the release.
    fn put(&self, count: usize) {
        let mut tokens = self.tokens.lock();
        *tokens += count;
        self.changed.notify(count);
    }

    fn take(&self) {
        let mut tokens = self.tokens.lock();
        self.changed.wait_while(&mut tokens, |tokens| *tokens == 0);
        *tokens -= 1;
    }

    fn take_soon(&self) -> bool {
        let mut tokens = self.tokens.lock();
        let is_there = self.changed.wait_while_timeout(&mut tokens, |tokens| *tokens == 0, SOON);
        if is_there {
            *tokens -= 1;
        }
        is_there
    }
}

#[test]
fn a_change_under_the_lock_is_not_missed() {
    explore("condition: wait × notify", || {
        let shared = Arc::new(Shared::default());
        let taker = spawn(&shared, Shared::take);
        shared.put(1);
        taker.join().unwrap();
        assert_eq!(*shared.tokens.try_lock().unwrap(), 0);
    });
}

#[test]
fn a_notification_after_the_lock_was_left_is_not_missed() {
    explore("condition: wait × wait × (change, unlock, notify_all)", || {
        let shared = Arc::new(Shared::default());
        let takers = [(); 2].map(|()| spawn(&shared, Shared::take));
        *shared.tokens.lock() += 2;
        shared.changed.notify_all();
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(*shared.tokens.try_lock().unwrap(), 0);
    });
}

#[test]
fn notify_wakes_exactly_as_many_as_it_says() {
    explore_large("condition: wait × wait × notify(1), notify(1)", || {
        let shared = Arc::new(Shared::default());
        let takers = [(); 2].map(|()| spawn(&shared, Shared::take));
        shared.put(1);
        shared.put(1);
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(*shared.tokens.try_lock().unwrap(), 0);
        assert!(!shared.changed.notify_one());
    });
}

#[test]
fn two_in_line_are_woken_one_by_one() {
    explore("condition: (wait × wait) in line × notify(1), notify(1)", || {
        let shared = Arc::new(Shared::default());
        let takers = prepare(|| {
            let takers = [(); 2].map(|()| spawn(&shared, Shared::take));
            until_it_says(&shared.changed, "waiters: 2 ");
            takers
        });
        shared.put(1);
        shared.put(1);
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(*shared.tokens.try_lock().unwrap(), 0);
    });
}

#[test]
fn two_in_line_are_woken_at_once() {
    explore("condition: (wait × wait) in line × (change, unlock, notify_all)", || {
        let shared = Arc::new(Shared::default());
        let takers = prepare(|| {
            let takers = [(); 2].map(|()| spawn(&shared, Shared::take));
            until_it_says(&shared.changed, "waiters: 2 ");
            takers
        });
        *shared.tokens.lock() += 2;
        assert_eq!(shared.changed.notify_all(), 2);
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(*shared.tokens.try_lock().unwrap(), 0);
    });
}

/// The race of CV8: a waiter is notified just when its time is over.
#[test]
fn a_timeout_takes_no_notification_with_it() {
    explore_large("condition: wait_timeout × wait × notify(1), notify(1)", || {
        let shared = Arc::new(Shared::default());
        let timed = spawn(&shared, Shared::take_soon);
        let patient = spawn(&shared, Shared::take);
        shared.put(1);
        shared.put(1);
        let left = usize::from(!timed.join().unwrap());
        patient.join().unwrap();
        assert_eq!(*shared.tokens.try_lock().unwrap(), left);
    });
}

/// A single notification, and no question asked: whoever is notified says so, so it is not lost and not doubled.
#[test]
fn one_notification_is_for_one_of_two_even_if_one_gives_up() {
    explore_large("condition: wait_timeout × wait_timeout × (lock, notify_one)", || {
        let shared = Arc::new(Shared::default());
        let timed = [(); 2].map(|()| {
            spawn(&shared, |shared| {
                let mut tokens = shared.tokens.lock();
                usize::from(shared.changed.wait_timeout(&mut tokens, SOON))
            })
        });
        let tokens = shared.tokens.lock();
        let called = usize::from(shared.changed.notify_one());
        drop(tokens);
        assert_eq!(timed.into_iter().map(|timed| timed.join().unwrap()).sum::<usize>(), called);
    });
}

/// Nobody holds the lock, so that who is called is rung at once, and may go on before the notifier has left the line.
#[test]
fn a_notification_without_the_lock_is_told_and_heard_alike() {
    explore("condition: wait_timeout × notify_one without the lock", || {
        let shared = Arc::new(Shared::default());
        let mut tokens = shared.tokens.lock();
        let notifier = spawn(&shared, |shared| shared.changed.notify_one());
        let was_heard = shared.changed.wait_timeout(&mut tokens, SOON);
        drop(tokens);
        assert_eq!(notifier.join().unwrap(), was_heard);
        assert!(!shared.changed.notify_one() && shared.tokens.try_lock().is_some());
    });
}

#[test]
fn an_rlock_is_let_go_from_any_depth_and_had_again_alone() {
    explore_large("condition: rlock twice, wait × rlock, wait × change, notify_all", || {
        let shared = Arc::new((RLock::new(Plain::new(0)), Condition::new()));
        let nested = spawn(&shared, |(lock, changed)| {
            let _outer = lock.lock();
            let mut inner = lock.lock();
            changed.wait_while(&mut inner, |plain| plain.get() == 0);
            assert_eq!(lock.depth(), 2);
            inner.add(1);
        });
        let plain = spawn(&shared, |(lock, changed)| {
            let mut guard = lock.lock();
            changed.wait_while(&mut guard, |plain| plain.get() == 0);
            guard.add(1);
        });
        let (lock, changed) = &*shared;
        lock.lock().add(1);
        changed.notify_all();
        nested.join().unwrap();
        plain.join().unwrap();
        assert_eq!(lock.try_lock().unwrap().get(), 3);
    });
}

#[test]
fn a_lock_released_by_another_at_the_last_moment_is_an_error_and_leaves_nobody_in_line() {
    explore("condition: wait_holding × release, notify × acquire", || {
        let shared = Arc::new((Lock::default(), Condition::new()));
        shared.0.acquire();
        let waiter = spawn(&shared, |(lock, changed)| changed.wait_holding_timeout(lock, SOON));
        let other = spawn(&shared, |(lock, changed)| {
            let released = lock.release().is_ok();
            changed.notify_one();
            released
        });
        let waited = waiter.join().unwrap();
        let released = other.join().unwrap();
        match waited {
            // The waiter let it go before the other tried, or after: then it found nothing.
            Err(error) => assert_eq!((error, released, shared.0.is_locked()), (CannotWait::NotHeld, true, false)),
            // Either the waiter let it go and has it, or the other released what the waiter had taken back.
            Ok(_) => assert_eq!(shared.0.is_locked(), !released),
        }
        assert!(!shared.1.notify_one());
    });
}
