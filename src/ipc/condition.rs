//! `Condition` between processes, as Python's `multiprocessing.Condition`. The algorithm, and what a death does at each of
//! its steps: `shm::waiters`.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::guards::{Guards, Until};
use super::handle::Handle;
use super::{Lock, LockError, Stats};
use crate::primitive::Life;
use crate::shm::{Plain, Type, Waiters};
use crate::sys::clock::Deadline;

pub(super) const KIND: u32 = 9;

pub(super) type Words = Plain<KIND, Waiters>;

/// What a wait within a time answers: the guard, and whether there was a notification or `condition` came true.
type Waited<'a, L> = (<L as Guards>::Guard<'a>, bool);

/// Where threads of all processes wait, under one lock, for something to change: Python's `multiprocessing.Condition`.
///
/// The lock is a [`Lock`] or an [`RLock`](super::RLock): `Condition<RLock>`. Waiting lets go of an `RLock` from whatever depth,
/// and gives it back to its thread at the same depth; until then its thread's other guards of it guard nothing.
///
/// It lies in shared memory without a name, and travels as a [`Lock`] does, together with its lock: whoever is handed the
/// condition has the lock too ([`lock`](Self::lock)). Making one costs a descriptor in each process, and 64 KiB of memory;
/// 1,023 threads can wait at a time.
///
/// Waiting takes the lock's guard and gives one back; notifying needs the guard as well. Those who have waited longest are
/// notified first. **When a process dies** with a notification that it has not acted upon, killed at any instruction, the
/// notification goes on to another waiter within 50 ms. When somebody dies holding the lock, a waiter gets
/// [`LockError::OwnerDied`] with the guard when it next has the lock, notified or not. Otherwise nobody is woken without a
/// notification; one that is too many comes only with somebody's death.
///
/// ```
/// use crewkit::ipc::{Condition, Counter, Lock, LockError};
/// use crewkit::process::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let (changed, jobs) = (Condition::new(&Lock::new()?)?, Counter::new(0)?);
///     let put = |(changed, jobs): (Condition, Counter)| {
///         let Ok(guard) = changed.lock().lock() else { return false };
///         jobs.add(1).is_ok() && changed.notify_one(&guard).is_ok()
///     };
///     let child = Process::spawn(put, (changed.clone(), jobs.clone()))?;
///     let guard = changed.lock().lock().map_err(LockError::detach)?;
///     let guard = changed.wait_while(guard, || jobs.get().is_ok_and(|jobs| jobs == 0)).map_err(LockError::detach)?;
///     jobs.add(-1)?;
///     drop(guard);
///     assert!(child.join()?);
///     Ok(())
/// }
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition<L = Lock> {
    waiters: Handle<Words>,
    lock: L,
}

/// A waiter whose time is over waits for its lock as long again, but not shorter than this.
const FOR_THE_LOCK: Duration = Duration::from_secs(1);

impl<L: Guards> Condition<L> {
    /// A condition under this lock, for which nobody waits. Python's makes an `RLock` of its own where none is given.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, there is no memory, or /proc cannot be read, without which nobody
    /// can tell who is alive.
    pub fn new(lock: &L) -> io::Result<Self> {
        Life::current()?;
        let waiters = Handle::<Words>::create(Type::NONE, 0)?;
        waiters.peek().roster.namespace.store(Life::namespace()?, Ordering::Relaxed);
        Ok(Self { waiters, lock: lock.clone() })
    }

    /// The lock.
    pub fn lock(&self) -> &L {
        &self.lock
    }

    /// Who waits, and how often a notification went on from the dead; of its lock, ask [`lock`](Self::lock)'s.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn stats(&self) -> Stats {
        Stats::here(self.waiters.peek())
    }

    /// Releases the lock, waits until notified, and takes the lock again: Python's `wait()`.
    ///
    /// # Blocking
    ///
    /// Until notified, and then for the lock.
    ///
    /// # Errors
    ///
    /// See [`LockError`]: with `OwnerDied` comes the guard, also of one who was not notified. With any other error the lock
    /// is not held.
    ///
    /// # Panics
    ///
    /// If the guard is of another lock; so for all that takes one.
    pub fn wait<'a>(&'a self, guard: L::Guard<'a>) -> Result<L::Guard<'a>, LockError<L::Guard<'a>>> {
        self.wait_until(guard, Deadline::NEVER, Deadline::NEVER).map(|(guard, _)| guard).map_err(without_answer)
    }

    /// [`wait`](Self::wait) within `timeout`; false when the time was over before somebody notified: Python's
    /// `wait(timeout)`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, and then for the lock: as long again at most, but a second where that is longer.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait). [`LockError::Timeout`] when the lock could not be had again: its holder is stopped.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<'a>(
        &'a self,
        guard: L::Guard<'a>,
        timeout: Duration,
    ) -> Result<Waited<'a, L>, LockError<Waited<'a, L>>> {
        self.wait_until(guard, Deadline::after(timeout), for_the_lock(timeout))
    }

    /// Waits for as long as `condition` holds, which is looked at under the lock: Python's `wait_for`, the other way round.
    ///
    /// # Blocking
    ///
    /// Until it does not, at a notification.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[doc(alias = "wait_for")]
    pub fn wait_while<'a>(
        &'a self,
        mut guard: L::Guard<'a>,
        mut condition: impl FnMut() -> bool,
    ) -> Result<L::Guard<'a>, LockError<L::Guard<'a>>> {
        while condition() {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// [`wait_while`](Self::wait_while) within `timeout`; false when the time was over and `condition` still holds.
    ///
    /// # Blocking
    ///
    /// As [`wait_timeout`](Self::wait_timeout), over all.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[doc(alias = "wait_for")]
    pub fn wait_while_timeout<'a>(
        &'a self,
        mut guard: L::Guard<'a>,
        timeout: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<Waited<'a, L>, LockError<Waited<'a, L>>> {
        let (deadline, last) = (Deadline::after(timeout), for_the_lock(timeout));
        let mut in_time = true;
        while condition() {
            if !in_time {
                return Ok((guard, false));
            }
            (guard, in_time) = self.wait_until(guard, deadline, last)?;
        }
        Ok((guard, true))
    }

    /// Wakes the one who has waited longest: Python's `notify()`.
    ///
    /// # Blocking
    ///
    /// Never; so for the two below.
    ///
    /// # Errors
    ///
    /// [`LockError::ForeignProcess`], in a process that inherited the condition by fork; so for the two below.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn notify_one(&self, guard: &L::Guard<'_>) -> Result<(), LockError> {
        self.notify(guard, 1)
    }

    /// Wakes the `count` who have waited longest, or all, if there are fewer: Python's `notify(n)`.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// As [`notify_one`](Self::notify_one).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn notify(&self, guard: &L::Guard<'_>, count: usize) -> Result<(), LockError> {
        self.expect_own(guard);
        self.waiters.usable()?.notify(count);
        Ok(())
    }

    /// Wakes all who wait: Python's `notify_all()`.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// As [`notify_one`](Self::notify_one).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[doc(alias = "notifyAll")]
    pub fn notify_all(&self, guard: &L::Guard<'_>) -> Result<(), LockError> {
        self.expect_own(guard);
        self.waiters.usable()?.notify_all();
        Ok(())
    }

    fn expect_own(&self, guard: &L::Guard<'_>) {
        assert!(self.lock.is_of(guard), "a guard of another lock than the condition's");
    }

    fn wait_until<'a>(
        &'a self,
        guard: L::Guard<'a>,
        deadline: Deadline,
        last: Deadline,
    ) -> Result<Waited<'a, L>, LockError<Waited<'a, L>>> {
        self.expect_own(&guard);
        let waiters = self.waiters.usable()?;
        let life = Life::current().map_err(LockError::Io)?;
        let refused = |kind, what: &str| LockError::Io(io::Error::new(kind, what));
        if waiters.roster.namespace.load(Ordering::Relaxed) != Life::namespace().map_err(LockError::Io)? {
            return Err(refused(io::ErrorKind::Unsupported, "the condition is of another PID namespace"));
        }
        let full = || refused(io::ErrorKind::QuotaExceeded, "too many threads wait for the condition");
        let seat = waiters.sit_down(life).ok_or_else(full)?;
        let depth = L::leave(guard);
        loop {
            while !waiters.is_notified(seat) && !deadline.is_expired() && !waiters.has_orphan(life) {
                waiters.sleep(seat, deadline);
            }
            let (taken, has_died) = match self.lock.enter_again(Until(last), depth) {
                Ok(guard) => (guard, false),
                Err(LockError::OwnerDied(guard)) => (guard, true),
                Err(error) => {
                    waiters.abandon(seat);
                    return Err(error.map(|guard| (guard, false)));
                }
            };
            waiters.pass_on(life);
            let is_notified = waiters.is_notified(seat);
            if is_notified || has_died || deadline.is_expired() {
                waiters.leave(seat);
                let answer = (taken, is_notified);
                return if has_died { Err(LockError::OwnerDied(answer)) } else { Ok(answer) };
            }
            let _as_before = L::leave(taken);
        }
    }
}

fn for_the_lock(timeout: Duration) -> Deadline {
    Deadline::after(timeout.saturating_add(timeout.max(FOR_THE_LOCK)))
}

fn without_answer<G>(error: LockError<(G, bool)>) -> LockError<G> {
    error.map(|(guard, _)| guard)
}

impl<L: Eq> Eq for Condition<L> {}

impl<L: Guards + fmt::Debug> fmt::Debug for Condition<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        let mut text = f.debug_struct("ipc::Condition");
        text.field("lock", &self.lock).field("waiters", &stats.users_by_pid());
        text.field("recoveries", &stats.recoveries).finish()
    }
}
