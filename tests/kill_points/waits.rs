//! What processes wait for in shared memory: a process that takes it, waits for it, or brings it about is killed.

use crewkit::ipc::{Barrier, BarrierError, Condition, Counter, Event, Lock, LockError, LockGuard, RLock, Semaphore};

use crate::alone::{Child, Code};
use crate::points::{AFTER, BEFORE, HANG, Outcome, Stage, When, given, traced};
use crate::sleeping::until_asleep;

/// What a victim says when it has lived through all of it.
pub(crate) fn seen(counter: &Counter) -> Outcome {
    match counter.get().unwrap() {
        0 => Outcome::Before,
        1 => Outcome::After,
        _ => panic!("done twice"),
    }
}

/// Three permits are there, for this process and then for one that knows nothing of the death.
pub(crate) fn all_three_are_there(semaphore: &Semaphore) {
    drop(semaphore.acquire_many_timeout(3, HANG).expect("permits are lost"));
    let code = given(semaphore, |semaphore: Semaphore| {
        drop(semaphore.acquire_many_timeout(3, HANG).expect("permits are lost"));
        assert!(semaphore.try_acquire_many(4).is_err(), "permits out of nowhere");
        i32::from(semaphore.available() != 3)
    });
    assert_eq!(code.exit_code(), 0);
}

/// The victim takes permits, which lie where others have left them, gives them back, and takes them from where it left
/// them.
pub(crate) fn taking_permits(_: When) -> Stage {
    let (semaphore, counter) = (Semaphore::new(3).unwrap(), Counter::new(0).unwrap());
    drop(semaphore.acquire().unwrap());
    let victim = traced(&(semaphore.clone(), counter.clone()), |(semaphore, counter): (Semaphore, Counter)| {
        move || {
            drop(semaphore.acquire_many(3).unwrap());
            let again = semaphore.acquire_many(2).unwrap();
            counter.add(1).unwrap();
            drop(again);
        }
    });
    let judge = move || {
        all_three_are_there(&semaphore);
        seen(&counter)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim gives back permits for which two processes sleep. Both get theirs.
pub(crate) fn giving_back_permits(_: When) -> Stage {
    let (semaphore, counter) = (Semaphore::new(3).unwrap(), Counter::new(0).unwrap());
    let victim = traced(&(semaphore.clone(), counter.clone()), |(semaphore, counter): (Semaphore, Counter)| {
        std::mem::forget(semaphore.acquire().unwrap());
        let permit = semaphore.acquire_owned(2).unwrap();
        move || {
            drop(permit);
            counter.add(1).unwrap();
        }
    });
    let sleepers = asleep(&semaphore, |semaphore: Semaphore| {
        drop(semaphore.acquire_timeout(HANG).expect("a wake-up is lost"));
    });
    let judge = move || {
        sleepers.into_iter().for_each(|sleeper| assert_eq!(sleeper.exit_code(), 0));
        all_three_are_there(&semaphore);
        seen(&counter)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim waits for permits in vain. They are there for others when they come.
pub(crate) fn waiting_for_permits(_: When) -> Stage {
    let (semaphore, counter) = (Semaphore::new(3).unwrap(), Counter::new(0).unwrap());
    let held = semaphore.acquire_owned(2).unwrap();
    let victim = traced(&(semaphore.clone(), counter.clone()), |(semaphore, counter): (Semaphore, Counter)| {
        move || {
            assert!(semaphore.acquire_many_timeout(2, std::time::Duration::from_millis(1)).is_err());
            counter.add(1).unwrap();
        }
    });
    let judge = move || {
        drop(held);
        all_three_are_there(&semaphore);
        seen(&counter)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim makes permits, and makes others disappear. They are whole or not at all.
pub(crate) fn making_and_forgetting_permits(_: When) -> Stage {
    let (semaphore, counter) = (Semaphore::new(3).unwrap(), Counter::new(0).unwrap());
    let victim = traced(&(semaphore.clone(), counter.clone()), |(semaphore, counter): (Semaphore, Counter)| {
        let permit = semaphore.acquire_owned(2).unwrap();
        move || {
            permit.forget();
            semaphore.release(2).unwrap();
            counter.add(1).unwrap();
        }
    });
    let judge = move || {
        let found = semaphore.available();
        assert!(found == 1 || found == 3, "{found} of three");
        semaphore.release(3 - found).unwrap();
        all_three_are_there(&semaphore);
        seen(&counter)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim sets an event for which two processes sleep. Both are released, or it was not set.
pub(crate) fn setting_an_event(_: When) -> Stage {
    let event = Event::new().unwrap();
    let victim = traced(&event, |event: Event| move || event.set().unwrap());
    let sleepers = asleep(&event, |event: Event| assert!(event.wait_timeout(HANG).unwrap(), "a wake-up is lost"));
    let judge = move || {
        let was_set = event.is_set();
        event.set().unwrap();
        sleepers.into_iter().for_each(|sleeper| assert_eq!(sleeper.exit_code(), 0));
        event.clear().unwrap();
        let fresh = asleep(&event, |event: Event| assert!(event.wait_timeout(HANG).unwrap()));
        event.set().unwrap();
        fresh.into_iter().for_each(|sleeper| assert_eq!(sleeper.exit_code(), 0));
        if was_set { Outcome::After } else { Outcome::Before }
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim is the last one on a trip for which two processes wait. Both make it, or both are told.
pub(crate) fn making_a_trip(_: When) -> Stage {
    let barrier = Barrier::new(3).unwrap();
    let victim = traced(&barrier, |barrier: Barrier| {
        barrier.enroll().unwrap();
        move || {
            barrier.wait().unwrap();
        }
    });
    let sleepers = asleep(&barrier, |barrier: Barrier| match barrier.wait_timeout(HANG) {
        Ok(_) => AFTER,
        Err(BarrierError::Broken) => BEFORE,
        Err(error) => panic!("{error}"),
    });
    let judge = move || {
        let codes: Vec<_> = sleepers.into_iter().map(Child::exit_code).collect();
        assert_eq!(codes[0], codes[1], "a trip for some");
        barrier.reset().unwrap();
        let others = asleep(&barrier, |barrier: Barrier| i32::from(barrier.wait_timeout(HANG).is_err()));
        barrier.wait_timeout(HANG).unwrap();
        others.into_iter().for_each(|other| assert_eq!(other.exit_code(), 0));
        if codes[0] == AFTER { Outcome::After } else { Outcome::Before }
    };
    Stage { victim, judge: Box::new(judge) }
}

pub(crate) fn taken(condition: &Condition) -> LockGuard<'_> {
    match condition.lock().lock_timeout(HANG) {
        Ok(guard) => guard,
        Err(LockError::OwnerDied(guard)) => {
            guard.recover();
            guard
        }
        Err(error) => panic!("the lock is not to be had: {error}"),
    }
}

/// Waits until the condition's counter is not 0, and takes one off.
pub(crate) fn consumes((condition, counter): (Condition, Counter)) {
    let begin = std::time::Instant::now();
    let mut guard = taken(&condition);
    while counter.get().unwrap() == 0 {
        assert!(begin.elapsed() < HANG, "a wake-up is lost");
        guard = match condition.wait_timeout(guard, HANG) {
            Ok((guard, _)) => guard,
            Err(LockError::OwnerDied((guard, _))) => {
                guard.recover();
                guard
            }
            Err(error) => panic!("the lock is not to be had again: {error}"),
        };
    }
    counter.add(-1).unwrap();
}

/// Fresh from beginning to end: one waits, and is notified.
pub(crate) fn hands_over(condition: &Condition, counter: &Counter) {
    counter.set(0).unwrap();
    let fresh = given(&(condition.clone(), counter.clone()), consumes);
    until_asleep(&fresh);
    let guard = taken(condition);
    counter.add(1).unwrap();
    condition.notify_one(&guard).unwrap();
    drop(guard);
    assert_eq!(fresh.exit_code(), 0);
}

/// The victim notifies two who wait, each of something of its own.
pub(crate) fn notifying(_: When) -> Stage {
    let (condition, counter) = (Condition::new(&Lock::new().unwrap()).unwrap(), Counter::new(0).unwrap());
    let done = Counter::new(0).unwrap();
    let victim = traced(&(condition.clone(), counter.clone(), done.clone()), |(condition, counter, done)| {
        let (condition, counter, done): (Condition, Counter, Counter) = (condition, counter, done);
        move || {
            let guard = condition.lock().lock().unwrap();
            counter.add(2).unwrap();
            condition.notify(&guard, 2).unwrap();
            drop(guard);
            done.add(1).unwrap();
        }
    });
    let sleepers = asleep(&(condition.clone(), counter.clone()), consumes);
    let judge = move || {
        let guard = taken(&condition);
        if counter.get().unwrap() == 0 && done.get().unwrap() == 0 {
            // Not put, or consumed already: then nobody is there any more.
            counter.add(2).unwrap();
        }
        // Whoever has the lock after a notifier that died says so again.
        condition.notify_all(&guard).unwrap();
        drop(guard);
        sleepers.into_iter().for_each(|sleeper| assert_eq!(sleeper.exit_code(), 0));
        hands_over(&condition, &counter);
        seen(&done)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim waits first, and is notified; a second waits behind it. What was the victim's goes on to the second.
pub(crate) fn being_notified(_: When) -> Stage {
    let (condition, counter) = (Condition::new(&Lock::new().unwrap()).unwrap(), Counter::new(1).unwrap());
    let done = Counter::new(0).unwrap();
    let victim = traced(&(condition.clone(), done.clone()), |(condition, done): (Condition, Counter)| {
        move || {
            let guard = condition.lock().lock().unwrap();
            drop(condition.wait_timeout(guard, std::time::Duration::from_millis(1)).unwrap());
            done.add(1).unwrap();
        }
    });
    let judge = move || {
        let guard = taken(&condition);
        condition.notify_one(&guard).unwrap();
        drop(guard);
        let code = given(&(condition.clone(), counter.clone()), consumes);
        assert_eq!(code.exit_code(), 0);
        assert_eq!(counter.get().unwrap(), 0);
        seen(&done)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim has an `RLock` three times, lets go of all to wait, and takes them back. Whoever comes then has it once, and one
/// release frees it.
pub(crate) fn waiting_from_a_depth(_: When) -> Stage {
    let (condition, done) = (Condition::new(&RLock::new().unwrap()).unwrap(), Counter::new(0).unwrap());
    let victim = traced(&(condition.clone(), done.clone()), |(condition, done): (Condition<RLock>, Counter)| {
        move || {
            let lock = condition.lock();
            let (one, two, three) = (lock.lock().unwrap(), lock.lock().unwrap(), lock.lock().unwrap());
            let (three, _) = condition.wait_timeout(three, std::time::Duration::from_millis(1)).unwrap();
            assert_eq!(lock.depth(), 3);
            drop((three, two, one));
            done.add(1).unwrap();
        }
    });
    let judge = move || {
        has_it_once(&condition);
        assert_eq!(given(&condition, |condition: Condition<RLock>| has_it_once(&condition)).exit_code(), 0);
        seen(&done)
    };
    Stage { victim, judge: Box::new(judge) }
}

fn has_it_once(condition: &Condition<RLock>) {
    let lock = condition.lock();
    let guard = match lock.lock_timeout(HANG) {
        Ok(guard) => guard,
        Err(LockError::OwnerDied(guard)) => {
            guard.recover();
            guard
        }
        Err(error) => panic!("the lock is not to be had: {error}"),
    };
    assert_eq!(lock.depth(), 1, "a depth that somebody dead has left");
    let (guard, _) = condition.wait_timeout(guard, std::time::Duration::from_millis(1)).unwrap();
    condition.notify_all(&guard).unwrap();
    drop(guard);
    assert!(!lock.is_owned());
}

/// Two processes that have been handed an object, and sleep on it.
pub(crate) fn asleep<T, C: Code>(object: &T, body: impl Fn(T) -> C) -> Vec<Child>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let sleepers: Vec<Child> = (0..2).map(|_| given(object, &body)).collect();
    sleepers.iter().for_each(until_asleep);
    sleepers
}
