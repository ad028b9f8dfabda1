//! `Barrier` between processes, as Python's `multiprocessing.Barrier`. The algorithm, and what a death does at each of its
//! steps: `shm::trip`.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::member::{AN_INSTANT, Member, Seats};
use super::{LockError, Stats};
use crate::primitive::{Life, Refused};
use crate::shm::{Failed, Held, Locked, Object, Roster, Trip};
use crate::sync::BarrierWait;
use crate::sys::clock::Deadline;

pub(super) const KIND: u32 = 8;

pub(super) type Words = Locked<KIND, Trip>;

impl Seats for Words {
    fn sit_down(object: &Object<Self>, life: Life, deadline: Deadline) -> Result<Option<usize>, Refused> {
        Held::<Trip>::sit_down(object, life, deadline)
    }

    fn leave(object: &Object<Self>, seat: usize, deadline: Deadline) -> Result<(), Refused> {
        object.withdraw(seat, deadline)
    }

    fn roster(&self) -> &Roster {
        &self.guarded.roster
    }
}

/// Where a number of threads of any processes wait for each other, trip after trip: Python's `multiprocessing.Barrier`.
///
/// It lies in shared memory without a name, and travels as a [`Lock`](super::Lock) does. Making one costs a descriptor in
/// each process, and 64 KiB of memory.
///
/// [`wait`](Self::wait) returns in all parties when the last one has come. If somebody will not come (its time is over, its
/// action panicked, or somebody called [`abort`](Self::abort)), the barrier is broken: everybody gets
/// [`BarrierError::Broken`], until somebody [`reset`](Self::reset)s it. **When a party dies**, killed at any instruction, the
/// barrier breaks for the others within 50 ms, whether the party was waiting or not. A process is known as a party from its
/// first `wait` or [`enroll`](Self::enroll), until it drops its last handle. A trip that all have come to is made for all who
/// live, also when one of them dies before it has left.
///
/// A function cannot lie in shared memory, so unlike Python's a barrier has no action: each party brings one along
/// ([`wait_with`](Self::wait_with)), and that of the last one runs.
///
/// ```
/// use crewkit::ipc::Barrier;
/// use crewkit::process::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let barrier = Barrier::new(2)?;
///     let child = Process::spawn(|barrier: Barrier| barrier.wait().is_ok(), barrier.clone())?;
///     barrier.wait()?; // until the child has come
///     assert!(child.join()?);
///     Ok(())
/// }
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Barrier(Member<Words>);

impl Barrier {
    /// A barrier for `parties` threads.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, there is no memory, or /proc cannot be read, without which nobody
    /// can tell who is alive.
    ///
    /// # Panics
    ///
    /// If there are no parties, or more than 2³² - 1.
    pub fn new(parties: usize) -> io::Result<Self> {
        let parties = u32::try_from(parties).ok().filter(|&parties| parties > 0);
        let parties = parties.expect("a barrier has at least one party");
        Member::create(|words: &Words| words.guarded.begin(parties)).map(Self)
    }

    /// Waits for the other parties: Python's `wait()`.
    ///
    /// # Blocking
    ///
    /// Until all have come, or the barrier is broken.
    ///
    /// # Errors
    ///
    /// See [`BarrierError`].
    pub fn wait(&self) -> Result<BarrierWait, BarrierError> {
        self.make(Deadline::NEVER, || ())
    }

    /// Waits for the other parties within `timeout`: Python's `wait(timeout)`. If the time is over, the barrier is broken.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when other parties are stopped.
    ///
    /// # Errors
    ///
    /// See [`BarrierError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWait, BarrierError> {
        self.make(Deadline::after(timeout), || ())
    }

    /// [`wait`](Self::wait), and runs `action` before all go on if this party is the last one: Python's
    /// `Barrier(…, action)`.
    ///
    /// # Blocking
    ///
    /// As `wait`, and for the action of the last one.
    ///
    /// # Errors
    ///
    /// See [`BarrierError`].
    ///
    /// # Panics
    ///
    /// If `action` does: the barrier is broken then.
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<BarrierWait, BarrierError> {
        self.make(Deadline::NEVER, action)
    }

    /// [`wait_with`](Self::wait_with) within `timeout`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, and for an action of one's own.
    ///
    /// # Errors
    ///
    /// See [`BarrierError`].
    ///
    /// # Panics
    ///
    /// If `action` does.
    pub fn wait_with_timeout(&self, timeout: Duration, action: impl FnOnce()) -> Result<BarrierWait, BarrierError> {
        self.make(Deadline::after(timeout), action)
    }

    fn make(&self, deadline: Deadline, action: impl FnOnce()) -> Result<BarrierWait, BarrierError> {
        let me = match self.0.seated(deadline) {
            // A party that others do not know of yet.
            Err(LockError::Timeout) => {
                self.0.peek().doom();
                return Err(BarrierError::Broken);
            }
            seated => seated?,
        };
        match me.object.make(me.seat, me.life, deadline, action) {
            Ok(made) => Ok(BarrierWait { index: made.index as usize, is_leader: made.is_leader }),
            Err(Failed::Broken) => Err(BarrierError::Broken),
            Err(Failed::Refused(refused)) => Err(LockError::from(refused).into()),
        }
    }

    /// Makes this process known as a party before its first wait: if it dies from now on, the barrier breaks.
    ///
    /// # Blocking
    ///
    /// While others are inside, which takes them some instructions.
    ///
    /// # Errors
    ///
    /// See [`BarrierError`]; never `Broken`.
    pub fn enroll(&self) -> Result<(), BarrierError> {
        self.0.seat(Deadline::NEVER)?;
        Ok(())
    }

    /// Sends all away who wait (they get [`BarrierError::Broken`]), and begins anew, without the parties that have died.
    ///
    /// # Blocking
    ///
    /// While others are inside, which takes them some instructions.
    ///
    /// # Errors
    ///
    /// See [`BarrierError`]; never `Broken`.
    pub fn reset(&self) -> Result<(), BarrierError> {
        let me = self.0.seated(Deadline::NEVER)?;
        Ok(me.object.reset(me.life, Deadline::NEVER).map_err(LockError::from)?)
    }

    /// Breaks the barrier: everybody gets [`BarrierError::Broken`], until a [`reset`](Self::reset).
    ///
    /// # Blocking
    ///
    /// While others are inside, which takes them some instructions.
    ///
    /// # Errors
    ///
    /// See [`BarrierError`]; never `Broken`.
    pub fn abort(&self) -> Result<(), BarrierError> {
        let me = self.0.seated(Deadline::NEVER)?;
        Ok(me.object.abort(Deadline::NEVER).map_err(LockError::from)?)
    }

    /// How many threads make a trip.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn parties(&self) -> usize {
        self.0.peek().guarded.parties() as usize
    }

    /// How many wait for the others: Python's `n_waiting`.
    ///
    /// # Blocking
    ///
    /// Never; for 10 ms at most if a process was stopped at the wrong instruction.
    #[doc(alias = "n_waiting")]
    pub fn waiting(&self) -> usize {
        self.look().guarded.waiting() as usize
    }

    /// Whether it is broken: Python's `broken`.
    ///
    /// # Blocking
    ///
    /// As [`waiting`](Self::waiting).
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> bool {
        self.look().guarded.is_broken()
    }

    /// Who holds it, who waits for it, how often it was recovered: for people who look.
    ///
    /// # Blocking
    ///
    /// Never, but for the kernel's list of its holder's mappings.
    pub fn stats(&self) -> Stats {
        Stats::here(self.0.peek())
    }

    /// The words, the dead looked after; who only looks does not become a party.
    fn look(&self) -> &Words {
        let words = self.0.peek();
        if let (Ok(_), Ok(life)) = (self.0.usable(), Life::current()) {
            // Who is stopped at the wrong instruction keeps others from looking after the dead.
            let _ = words.reap(life, Deadline::after(AN_INSTANT));
        }
        words
    }
}

impl Eq for Barrier {}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trip = &self.0.peek().guarded;
        let known = trip.roster.seats().iter().filter_map(|seat| Some(seat.owner()?.pid()));
        let mut text = f.debug_struct("ipc::Barrier");
        text.field("parties", &trip.parties()).field("waiting", &trip.waiting()).field("is_broken", &trip.is_broken());
        let stats = self.stats();
        text.field("processes", &known.collect::<Vec<_>>()).field("inside", &stats.users_by_pid());
        text.field("recoveries", &stats.recoveries).finish()
    }
}

/// Why a party did not go on.
#[doc(alias("BrokenBarrierError", "BrokenBarrier"))]
#[derive(Debug)]
#[non_exhaustive]
pub enum BarrierError {
    /// The barrier is broken, or was reset: not all came. Python's `BrokenBarrierError`.
    Broken,
    /// The barrier cannot be used here.
    Unusable(LockError),
}

impl BarrierError {
    /// Whether not all came.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken)
    }
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("the barrier is broken: not all parties came"),
            Self::Unusable(error) => error.fmt(f),
        }
    }
}

impl Error for BarrierError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Broken => None,
            Self::Unusable(error) => Some(error),
        }
    }
}

impl From<LockError> for BarrierError {
    fn from(error: LockError) -> Self {
        Self::Unusable(error)
    }
}
