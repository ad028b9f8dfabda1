//! Objects in shared memory: a process that uses them is killed.

use std::time::Duration;

use crewkit::ipc::{Counter, Lock, LockError, RLock, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::alone::Child;
use crate::points::{AFTER, BEFORE, HANG, Outcome, Stage, When, given, traced};
use crate::sleeping::until_asleep;

/// The two kinds of locks, with what is done to them.
pub(crate) trait Exclusive: Serialize + DeserializeOwned + Clone + 'static {
    fn new() -> Self;
    /// Takes the lock, an `RLock` twice; whether its last holder had died. It is in order again after that.
    fn take(&self) -> bool;
    /// The same as the victim, which looks at no clock: how many instructions that takes depends on what it shows.
    fn take_as_victim(&self) -> bool;
    /// Releases it as often.
    fn release(&self);
    /// Waits for it, while somebody else has it.
    fn wait_in_vain(&self);
    /// Takes it from one who died; how it is mended and released then.
    fn inherit(&'static self) -> Box<dyn FnOnce()>;
}

macro_rules! taken {
    ($got:expr) => {
        match $got {
            Ok(guard) => {
                guard.leak();
                false
            }
            Err(LockError::OwnerDied(guard)) => {
                guard.recover();
                guard.leak();
                true
            }
            Err(error) => panic!("the lock is not to be had: {error}"),
        }
    };
}

macro_rules! in_vain_or_inherited {
    () => {
        fn wait_in_vain(&self) {
            assert!(self.lock_timeout(Duration::from_millis(1)).is_err_and(|error| error.is_timeout()));
        }

        fn inherit(&'static self) -> Box<dyn FnOnce()> {
            let guard = self.lock().unwrap_err().into_guard().expect("told of the first death");
            Box::new(move || {
                guard.recover();
                drop(guard);
            })
        }
    };
}

impl Exclusive for Lock {
    fn new() -> Self {
        Self::new().unwrap()
    }

    fn take(&self) -> bool {
        taken!(self.lock_timeout(HANG))
    }

    fn take_as_victim(&self) -> bool {
        taken!(self.lock())
    }

    fn release(&self) {
        self.release().unwrap();
    }

    in_vain_or_inherited!();
}

impl Exclusive for RLock {
    fn new() -> Self {
        Self::new().unwrap()
    }

    fn take(&self) -> bool {
        let had_died = taken!(self.lock_timeout(HANG));
        self.acquire().unwrap();
        assert_eq!(self.depth(), 2);
        had_died
    }

    fn take_as_victim(&self) -> bool {
        let had_died = taken!(self.lock());
        self.acquire().unwrap();
        had_died
    }

    fn release(&self) {
        self.release().unwrap();
        self.release().unwrap();
    }

    in_vain_or_inherited!();
}

/// The victim counts under a lock. A survivor that comes later gets the lock, and so does a fresh process after it.
pub(crate) fn taking_a_lock<L: Exclusive>(_: When) -> Stage {
    let (lock, counter) = (L::new(), Counter::new(0).unwrap());
    let victim = traced(&(lock.clone(), counter.clone()), |(lock, counter)| {
        move || {
            lock.take_as_victim();
            counter.add(1).unwrap();
            lock.release();
        }
    });
    let judge = move || {
        let had_died = lock.take();
        lock.release();
        round(&lock);
        match counter.get().unwrap() {
            0 => Outcome::Before,
            1 => Outcome::After,
            _ => panic!("counted twice; its holder died: {had_died}"),
        }
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim releases a lock for which two processes sleep. Both get it, and a fresh process after them; the first is
/// told that its holder died, or nobody is.
pub(crate) fn releasing_a_lock<L: Exclusive>(_: When) -> Stage {
    let (lock, counter) = (L::new(), Counter::new(0).unwrap());
    let victim = traced(&lock, |lock: L| {
        lock.take();
        move || lock.release()
    });
    let sleepers: Vec<Child> = (0..2)
        .map(|_| {
            let sleeper = given(&(lock.clone(), counter.clone()), |(lock, counter): (L, Counter)| {
                let told = lock.take();
                counter.add(1).unwrap();
                lock.release();
                if told { BEFORE } else { AFTER }
            });
            until_asleep(&sleeper);
            sleeper
        })
        .collect();
    let judge = move || {
        let told = sleepers.into_iter().map(Child::exit_code).filter(|&code| code == BEFORE).count();
        assert_eq!(counter.get().unwrap(), 2, "both got the lock");
        round(&lock);
        match told {
            0 => Outcome::After,
            1 => Outcome::Before,
            _ => panic!("both were told of one death, although the first has recovered"),
        }
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim replaces a value of many words. Survivors see all of it or nothing, and can replace it themselves.
pub(crate) fn updating_a_value(_: When) -> Stage {
    const OLD: [u32; 9] = [1; 9];
    const NEW: [u32; 9] = [2; 9];
    let value = Value::new(OLD).unwrap();
    let victim = traced(&value, |value: Value<[u32; 9]>| move || value.update(|value| *value = NEW).unwrap());
    let judge = move || {
        let seen = value.get().unwrap();
        for next in [[3; 9], [4; 9]] {
            let before = value.update_timeout(HANG, |value| std::mem::replace(value, next)).unwrap();
            assert!(before == seen || before == [3; 9], "what is updated is what was read");
        }
        let code = given(&value, |value: Value<[u32; 9]>| {
            let before = value.update_timeout(HANG, |value| std::mem::replace(value, [5; 9])).unwrap();
            i32::from(before != [4; 9])
        });
        assert_eq!(code.exit_code(), 0);
        assert_eq!(value.get().unwrap(), [5; 9]);
        match seen {
            OLD => Outcome::Before,
            NEW => Outcome::After,
            torn => panic!("half of a write: {torn:?}"),
        }
    };
    Stage { victim, judge: Box::new(judge) }
}

/// A fresh process takes the lock and releases it.
pub(crate) fn round<L: Exclusive>(lock: &L) {
    let code = given(lock, |lock: L| {
        let told = lock.take();
        lock.release();
        i32::from(told)
    });
    assert_eq!(code.exit_code(), 0, "a lock in order, for a process that knows nothing of the death");
}
