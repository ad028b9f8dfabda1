//! What the dead have left: a process that takes it over is killed, too.

use std::time::Duration;

use crewkit::ipc::{Barrier, BarrierError, Condition, Connection, Counter, Event, Lock, LockError, Semaphore};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::alone::{self, Child};
use crate::objects::{Exclusive, round};
use crate::points::{AFTER, BEFORE, HANG, Outcome, Stage, When, given, traced};
use crate::sleeping::until_asleep;
use crate::waits::{all_three_are_there, consumes, hands_over, seen, taken};

/// How the first holder ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Killed,
    /// Killed, and nobody has waited for it: a zombie until the survivors are done.
    Unreaped,
    /// By itself, with a guard that it forgot.
    Forgetful,
    /// Its thread has ended; the process goes on.
    Thread,
}

impl End {
    /// A process is handed an object, does something with it, and ends like this. Kept is what must not go before the case does.
    fn of<T>(self, object: &T, body: impl Fn(&T) + Sync) -> Option<(Child, Connection<T, ()>)>
    where
        T: Serialize + DeserializeOwned + Sync,
    {
        let (end, holder) = alone::peer(|end: Connection<(), T>| {
            let object = end.recv().unwrap();
            match self {
                Self::Thread => std::thread::scope(|scope| scope.spawn(|| body(&object)).join().unwrap()),
                Self::Killed | Self::Unreaped | Self::Forgetful => body(&object),
            }
            end.send(&()).unwrap();
            let _ = (!matches!(self, Self::Forgetful)).then(|| end.recv());
        });
        end.send(object).unwrap();
        end.recv_timeout(HANG).unwrap();
        match self {
            Self::Forgetful => assert_eq!(holder.exit_code(), 0),
            Self::Killed => holder.kill(),
            Self::Thread => return Some((holder, end)),
            Self::Unreaped => {
                kill(holder.pid(), Signal::SIGKILL).unwrap();
                waitid(Id::Pid(holder.pid()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
                return Some((holder, end));
            }
        }
        None
    }
}

/// The victim gets a lock whose holder has died, says that all is in order, and releases it. Killed before it has said so,
/// it leaves the lock to one that is told again; after it, to one that is told of the second death, or of none.
pub(crate) fn taking_over_a_lock<L: Exclusive + Sync>(end: End) -> Stage {
    let (lock, counter) = (L::new(), Counter::new(0).unwrap());
    let first = end.of(&lock, |lock: &L| {
        lock.take_as_victim();
    });
    let victim = traced(&(lock.clone(), counter.clone()), |(lock, counter): (L, Counter)| {
        move || {
            assert!(lock.take_as_victim(), "not told of the first death");
            counter.add(1).unwrap();
            lock.release();
        }
    });
    let judge = move || {
        let told = lock.take();
        lock.release();
        round(&lock);
        let outcome = seen(&counter);
        assert!(told || outcome == Outcome::After, "nobody was told of the first death");
        drop(first);
        outcome
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim waits for a lock in vain. Its holder goes on, and so does who comes next.
pub(crate) fn waiting_for_a_lock<L: Exclusive>(_: When) -> Stage {
    let (lock, counter) = (L::new(), Counter::new(0).unwrap());
    lock.take();
    let victim = traced(&(lock.clone(), counter.clone()), |(lock, counter): (L, Counter)| {
        move || {
            lock.wait_in_vain();
            counter.add(1).unwrap();
        }
    });
    let judge = move || {
        lock.release();
        assert!(!lock.take(), "told of the death of one that never had the lock");
        lock.release();
        round(&lock);
        seen(&counter)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim needs permits that a dead process has.
pub(crate) fn taking_permits_of_the_dead(end: End) -> Stage {
    let (semaphore, counter) = (Semaphore::new(3).unwrap(), Counter::new(0).unwrap());
    // One held, one given back and left in its seat.
    let first = end.of(&semaphore, |semaphore: &Semaphore| {
        std::mem::forget(semaphore.acquire().unwrap());
        drop(semaphore.acquire().unwrap());
    });
    let victim = traced(&(semaphore.clone(), counter.clone()), |(semaphore, counter): (Semaphore, Counter)| {
        move || {
            drop(semaphore.acquire_many(3).unwrap());
            counter.add(1).unwrap();
        }
    });
    let judge = move || {
        all_three_are_there(&semaphore);
        drop(first);
        seen(&counter)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim leaves its seat, where it has permits idle.
pub(crate) fn giving_up_a_semaphore(_: When) -> Stage {
    let (semaphore, counter) = (Semaphore::new(3).unwrap(), Counter::new(0).unwrap());
    let victim = traced(&(semaphore.clone(), counter.clone()), |(semaphore, counter): (Semaphore, Counter)| {
        drop(semaphore.acquire_many(2).unwrap());
        move || {
            drop(semaphore);
            counter.add(1).unwrap();
        }
    });
    let judge = move || {
        all_three_are_there(&semaphore);
        seen(&counter)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim clears an event that is set, and for which nobody waits.
pub(crate) fn clearing_an_event(_: When) -> Stage {
    let (event, counter) = (Event::new().unwrap(), Counter::new(0).unwrap());
    event.set().unwrap();
    let victim = traced(&(event.clone(), counter.clone()), |(event, counter): (Event, Counter)| {
        move || {
            event.clear().unwrap();
            counter.add(1).unwrap();
        }
    });
    let judge = move || {
        let is_set = event.is_set();
        event.clear().unwrap();
        let sleeper = given(&event, |event: Event| assert!(event.wait_timeout(HANG).unwrap(), "a wake-up is lost"));
        until_asleep(&sleeper);
        event.set().unwrap();
        assert_eq!(sleeper.exit_code(), 0);
        let outcome = seen(&counter);
        assert!(!is_set || outcome == Outcome::Before, "cleared, and set");
        outcome
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim waits for an event that is not set; others do after it.
pub(crate) fn waiting_for_an_event(_: When) -> Stage {
    let (event, counter) = (Event::new().unwrap(), Counter::new(0).unwrap());
    let victim = traced(&(event.clone(), counter.clone()), |(event, counter): (Event, Counter)| {
        move || {
            assert!(!event.wait_timeout(Duration::from_millis(1)).unwrap());
            counter.add(1).unwrap();
        }
    });
    let judge = move || {
        let sleeper = given(&event, |event: Event| assert!(event.wait_timeout(HANG).unwrap(), "a wake-up is lost"));
        until_asleep(&sleeper);
        event.set().unwrap();
        assert_eq!(sleeper.exit_code(), 0);
        seen(&counter)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// The victim comes first to a barrier, and its time is over before others come.
pub(crate) fn coming_first_to_a_barrier(_: When) -> Stage {
    let (barrier, counter) = (Barrier::new(2).unwrap(), Counter::new(0).unwrap());
    let victim = traced(&(barrier.clone(), counter.clone()), |(barrier, counter): (Barrier, Counter)| {
        move || {
            let answer = barrier.wait_timeout(Duration::from_millis(1));
            assert!(matches!(answer, Err(BarrierError::Broken)));
            counter.add(1).unwrap();
        }
    });
    Stage { victim, judge: Box::new(move || makes_a_trip(&barrier, &counter)) }
}

/// The victim mends a barrier that a death has broken.
pub(crate) fn resetting_a_barrier(end: End) -> Stage {
    let (barrier, counter) = (Barrier::new(2).unwrap(), Counter::new(0).unwrap());
    let first = end.of(&barrier, |barrier: &Barrier| barrier.enroll().unwrap());
    let victim = traced(&(barrier.clone(), counter.clone()), |(barrier, counter): (Barrier, Counter)| {
        move || {
            barrier.reset().unwrap();
            counter.add(1).unwrap();
        }
    });
    let judge = move || {
        let outcome = makes_a_trip(&barrier, &counter);
        drop(first);
        outcome
    };
    Stage { victim, judge: Box::new(judge) }
}

/// This process and a fresh one make a trip.
fn makes_a_trip(barrier: &Barrier, counter: &Counter) -> Outcome {
    barrier.reset().unwrap();
    let other = given(barrier, |barrier: Barrier| i32::from(barrier.wait_timeout(HANG).is_err()));
    barrier.wait_timeout(HANG).unwrap();
    assert_eq!(other.exit_code(), 0);
    seen(counter)
}

/// A notified process has died; the victim, which comes to wait, passes its notification on. A second has waited behind the dead
/// one, and gets it if the victim does not.
pub(crate) fn passing_on_a_notification(_: When) -> Stage {
    let (condition, counter) = (Condition::new(&Lock::new().unwrap()).unwrap(), Counter::new(0).unwrap());
    let done = Counter::new(0).unwrap();
    let waiters = [(); 2].map(|()| {
        let waiter = given(&(condition.clone(), counter.clone()), consumes);
        until_asleep(&waiter);
        waiter
    });
    let [notified, second] = waiters;
    // It stands still, so that it cannot act on it.
    kill(notified.pid(), Signal::SIGSTOP).unwrap();
    waitid(Id::Pid(notified.pid()), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT).unwrap();
    let victim = traced(&(condition.clone(), done.clone()), |(condition, done): (Condition, Counter)| {
        move || {
            let guard = condition.lock().lock().unwrap();
            drop(condition.wait_timeout(guard, Duration::ZERO).map_err(LockError::detach).unwrap());
            done.add(1).unwrap();
        }
    });
    let guard = taken(&condition);
    counter.add(1).unwrap();
    condition.notify_one(&guard).unwrap();
    drop(guard);
    notified.kill();
    let judge = move || {
        assert_eq!(second.exit_code(), 0);
        assert_eq!(counter.get().unwrap(), 0);
        hands_over(&condition, &counter);
        seen(&done)
    };
    Stage { victim, judge: Box::new(judge) }
}

/// Two processes wait for a lock that the victim takes over from one that died.
pub(crate) fn taking_over_a_lock_for_which_two_wait<L: Exclusive + Sync>(_: When) -> Stage {
    let (lock, counter) = (L::new(), Counter::new(0).unwrap());
    let _ = End::Killed.of(&lock, |lock: &L| {
        lock.take_as_victim();
    });
    let victim = traced(&lock, |lock: L| Box::leak(Box::new(lock)).inherit());
    let sleepers = [(); 2].map(|()| {
        let sleeper = given(&(lock.clone(), counter.clone()), |(lock, counter): (L, Counter)| {
            let told = lock.take();
            counter.add(1).unwrap();
            lock.release();
            if told { BEFORE } else { AFTER }
        });
        until_asleep(&sleeper);
        sleeper
    });
    let judge = move || {
        let told = sleepers.into_iter().map(Child::exit_code).filter(|&code| code == BEFORE).count();
        assert_eq!(counter.get().unwrap(), 2, "both got the lock");
        round(&lock);
        match told {
            0 => Outcome::After,
            1 => Outcome::Before,
            _ => panic!("both were told, although the first has recovered"),
        }
    };
    Stage { victim, judge: Box::new(judge) }
}
