//! `Semaphore` and `BoundedSemaphore` between processes, as Python's `multiprocessing` has them. The algorithm, and what
//! a death does at each of its steps: `shm::permits`.
//!
//! # Speed, and what was tried
//!
//! A pair of acquire and give-back is two locked instructions on a cache line that no other process writes, and no
//! system call. Figures of a quiet machine, one process, medians:
//!
//! | Design | Locked instructions for a pair | Measured | Kept? |
//! |---|---|---|---|
//! | count and owner table under the robust mutex | four | 58 ns for the mutex alone | no: and whoever is stopped in between holds up all |
//! | one count for all, and what each has in its seat | four, as a count and a seat cannot change in one step | | no: a death between the two needs helping |
//! | no count: each permit lies in a seat, held or idle | two, on a line of one's own | 25 ns; the two instructions alone 25 | yes |
//! | CPython's bound `acquire(); release()` | the two of glibc's `sem_t` | 63 ns | 2.5 times ours |
//!
//! Twenty times as fast as CPython would be 3 ns, which no locked instruction is, let alone two: the target is missed against
//! bound methods of a semaphore that nobody else uses, by what the processor takes. (A `with` block takes CPython five times
//! as long as they do.)
//!
//! Without locked instructions the loads and stores are 2 ns; but a seat's owner would have to be kept from its own seat
//! while another fetches idle permits there: a fence in all processes (membarrier, some microseconds) for each fetch, and
//! nobody could fetch from a process that is stopped between its load and its store.

use std::fmt;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::member::{AN_INSTANT, Member, Seats};
use super::permit::{Gives, OwnedPermit, Permit, ReleaseError, Taken};
use super::{Detail, LockError, Stats};
use crate::primitive::{Life, Refused};
use crate::shm::{Held, Locked, MOST_PERMITS, Object, Permits, Roster, TooMany};
use crate::sys::clock::Deadline;
use crate::sys::generation;

pub(super) type Words<const KIND: u32> = Locked<KIND, Permits>;

pub(super) const PLAIN: u32 = 5;
pub(super) const BOUNDED: u32 = 6;

impl<const KIND: u32> Seats for Words<KIND> {
    fn sit_down(object: &Object<Self>, life: Life, deadline: Deadline) -> Result<Option<usize>, Refused> {
        Held::<Permits>::sit_down(object, life, deadline)
    }

    fn leave(object: &Object<Self>, seat: usize, deadline: Deadline) -> Result<(), Refused> {
        Held::<Permits>::leave(object, seat, deadline)
    }

    fn roster(&self) -> &Roster {
        &self.guarded.roster
    }
}

/// A number of permits, of which threads of all processes take some and give them back: Python's
/// `multiprocessing.Semaphore`.
///
/// It lies in shared memory without a name. Clone it for other threads, and send it to other processes, in arguments,
/// results or messages: all of them use the same semaphore, and it goes with the last. Making one costs a descriptor in
/// each process that uses it, and 64 KiB of memory; 1,023 processes can use it at a time.
///
/// A [`Permit`] gives back when dropped, and may be sent to another thread. **When a process dies**, killed at any
/// instruction, the permits that it held come back: to who asks next, and within 50 ms to who waits already. The end of a
/// thread is no death. [`Permit::forget`] makes permits nobody's, as they are in Python: they disappear, and whoever
/// [`release`](Self::release)s them, in whatever process, makes them anew.
///
/// It is unfair: who comes when there are permits overtakes who waits. Processes that share it trust each other.
///
/// ```
/// use crewkit::ipc::Semaphore;
/// use crewkit::process::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let seats = Semaphore::new(2)?;
///     let mine = seats.acquire()?;
///     let guest = |seats: Semaphore| {
///         seats.acquire().map(|permit| std::mem::forget(permit)).is_ok() && seats.try_acquire().is_err()
///     };
///     assert!(Process::spawn(guest, seats.clone())?.join()?);
///     assert_eq!(seats.available(), 1, "the guest has ended with its permit, which has come back");
///     # drop(mine);
///     Ok(())
/// }
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Semaphore(Member<Words<PLAIN>>);

/// A semaphore that never has more permits than at the beginning: Python's `multiprocessing.BoundedSemaphore`.
///
/// The same as [`Semaphore`] in all else. Use it where each release answers an acquire, so that a release too many, which is
/// a mistake then, does not pass unseen. (In CPython on macOS it is not bounded.)
///
/// ```
/// use crewkit::ipc::{BoundedSemaphore, ReleaseError};
///
/// let seats = BoundedSemaphore::new(2)?;
/// seats.acquire()?.forget();
/// seats.release(1)?;
/// assert!(matches!(seats.release(1), Err(ReleaseError::OverReleased)));
/// assert_eq!(seats.available(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct BoundedSemaphore(Member<Words<BOUNDED>>);

impl Semaphore {
    /// The most permits that a semaphore can have.
    pub const MAX_PERMITS: usize = MOST_PERMITS as usize;

    /// A semaphore with `permits` permits.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, there is no memory, or /proc cannot be read, without which nobody
    /// can tell who is alive.
    ///
    /// # Panics
    ///
    /// If `permits` is more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    pub fn new(permits: usize) -> io::Result<Self> {
        make(permits, |_| MOST_PERMITS).map(Self)
    }
}

impl BoundedSemaphore {
    /// A semaphore with `permits` permits, and never more.
    ///
    /// # Errors
    ///
    /// As [`Semaphore::new`].
    ///
    /// # Panics
    ///
    /// If `permits` is more than [`Semaphore::MAX_PERMITS`].
    pub fn new(permits: usize) -> io::Result<Self> {
        make(permits, |permits| permits).map(Self)
    }

    /// How many permits there are when nobody has any.
    pub fn bound(&self) -> usize {
        whole(self.0.peek().guarded.limit())
    }
}

fn make<const KIND: u32>(permits: usize, limit: impl FnOnce(u32) -> u32) -> io::Result<Member<Words<KIND>>> {
    let permits = u32::try_from(permits).ok().filter(|&permits| permits <= MOST_PERMITS);
    let permits = permits.expect("more permits than a semaphore can have");
    Member::create(|words: &Words<KIND>| words.guarded.begin(permits, limit(permits)))
}

fn whole(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The ways to take permits, and what can be seen of a semaphore, for both kinds.
macro_rules! gives_permits {
    ($semaphore:ident) => {
        impl $semaphore {
            /// Waits for a permit and takes it: Python's `acquire()`, or `with semaphore:`.
            ///
            /// # Blocking
            ///
            /// Until there is a permit; at the latest soon after somebody who holds one has died.
            ///
            /// # Errors
            ///
            /// [`LockError::ForeignProcess`] in a process that inherited the semaphore by fork; [`LockError::Io`] when no
            /// more processes can use it, or /proc cannot be read.
            #[inline]
            pub fn acquire(&self) -> Result<Permit<'_>, LockError> {
                self.acquire_many(1)
            }

            /// Takes a permit if there is one: Python's `acquire(block=False)`.
            ///
            /// # Blocking
            ///
            /// Never; for 10 ms at most if a process was stopped at the wrong instruction.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire), and [`LockError::Timeout`] if there is none.
            #[inline]
            pub fn try_acquire(&self) -> Result<Permit<'_>, LockError> {
                self.try_acquire_many(1)
            }

            /// Takes a permit if there is one within `timeout`: Python's `acquire(timeout=…)`.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`, also when other processes are stopped.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire), and [`LockError::Timeout`].
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, LockError> {
                self.acquire_many_timeout(1, timeout)
            }

            /// Waits for `count` permits and takes them all at once; never only some of them.
            ///
            /// # Blocking
            ///
            /// Until there are as many; for ever, if there never are.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire).
            #[inline]
            pub fn acquire_many(&self, count: usize) -> Result<Permit<'_>, LockError> {
                take(&self.0, count, Deadline::NEVER).map(|taken| Permit { words: self.0.peek(), taken })
            }

            /// Takes `count` permits if there are as many.
            ///
            /// # Blocking
            ///
            /// As [`try_acquire`](Self::try_acquire).
            ///
            /// # Errors
            ///
            /// As [`try_acquire`](Self::try_acquire).
            #[inline]
            pub fn try_acquire_many(&self, count: usize) -> Result<Permit<'_>, LockError> {
                try_take(&self.0, count).map(|taken| Permit { words: self.0.peek(), taken })
            }

            /// Takes `count` permits if there are as many within `timeout`.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            ///
            /// # Errors
            ///
            /// As [`acquire_timeout`](Self::acquire_timeout).
            pub fn acquire_many_timeout(&self, count: usize, timeout: Duration) -> Result<Permit<'_>, LockError> {
                let taken = take(&self.0, count, Deadline::after(timeout))?;
                Ok(Permit { words: self.0.peek(), taken })
            }

            /// [`acquire_many`](Self::acquire_many), with a permit that has a handle of its own, for threads that outlive the
            /// caller.
            ///
            /// # Blocking
            ///
            /// As `acquire_many`.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire).
            pub fn acquire_owned(&self, count: usize) -> Result<OwnedPermit<Self>, LockError> {
                take(&self.0, count, Deadline::NEVER).map(|taken| OwnedPermit { semaphore: self.clone(), taken })
            }

            /// [`try_acquire_many`](Self::try_acquire_many), with a permit that has a handle of its own.
            ///
            /// # Blocking
            ///
            /// As [`try_acquire`](Self::try_acquire).
            ///
            /// # Errors
            ///
            /// As [`try_acquire`](Self::try_acquire).
            pub fn try_acquire_owned(&self, count: usize) -> Result<OwnedPermit<Self>, LockError> {
                try_take(&self.0, count).map(|taken| OwnedPermit { semaphore: self.clone(), taken })
            }

            /// [`acquire_many_timeout`](Self::acquire_many_timeout), with a permit that has a handle of its own.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            ///
            /// # Errors
            ///
            /// As [`acquire_timeout`](Self::acquire_timeout).
            pub fn acquire_owned_timeout(
                &self,
                count: usize,
                timeout: Duration,
            ) -> Result<OwnedPermit<Self>, LockError> {
                let taken = take(&self.0, count, Deadline::after(timeout))?;
                Ok(OwnedPermit { semaphore: self.clone(), taken })
            }

            /// How many permits could be taken now, those of processes that have died included: Python's `get_value()`.
            ///
            /// # Blocking
            ///
            /// As [`try_acquire`](Self::try_acquire).
            #[doc(alias = "get_value")]
            pub fn available(&self) -> usize {
                let soon = Deadline::after(AN_INSTANT);
                if let Ok(me) = self.0.seated(soon) {
                    // Who is stopped at the wrong instruction keeps others from looking after the dead.
                    let _ = me.object.reap(me.life, soon);
                }
                whole(self.0.peek().guarded.count().0)
            }

            /// Who holds it, who waits for it, how often it was recovered: for people who look.
            ///
            /// # Blocking
            ///
            /// Never, but for the kernel's list of its holder's mappings.
            pub fn stats(&self) -> Stats {
                Stats::here(self.0.peek())
            }
        }

        impl Eq for $semaphore {}

        impl Gives for $semaphore {
            #[inline]
            fn give_back(&self, seat: usize, count: u32) {
                Gives::give_back(&***self.0.peek(), seat, count);
            }

            fn forget(&self, seat: usize, count: u32) -> bool {
                Gives::forget(&***self.0.peek(), seat, count)
            }
        }

        impl fmt::Debug for $semaphore {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                show(concat!("ipc::", stringify!($semaphore)), &self.stats(), f)
            }
        }
    };
}

gives_permits!(Semaphore);
gives_permits!(BoundedSemaphore);

impl Semaphore {
    /// Adds `count` permits, which nobody need have taken before: Python's `release()`.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::Overflow`], with nothing changed, if there would be more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    ///
    /// # Blocking
    ///
    /// While others are inside, which takes them some instructions.
    pub fn release(&self, count: usize) -> Result<(), ReleaseError> {
        release(&self.0, count, ReleaseError::Overflow)
    }
}

impl BoundedSemaphore {
    /// Gives back `count` permits that were taken and [forgotten](Permit::forget): Python's `release()`.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::OverReleased`], with nothing changed, if there would be more than [`bound`](Self::bound) (Python's
    /// `ValueError`).
    ///
    /// # Blocking
    ///
    /// While others are inside, which takes them some instructions.
    pub fn release(&self, count: usize) -> Result<(), ReleaseError> {
        release(&self.0, count, ReleaseError::OverReleased)
    }
}

/// More than there can be are asked for in vain.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[inline]
fn take<const KIND: u32>(member: &Member<Words<KIND>>, count: usize, deadline: Deadline) -> Result<Taken, LockError> {
    let (object, seat) = member.seat(deadline)?;
    let taken = Taken { seat, count: number(count), generation: generation::current() };
    if object.guarded.take_own(seat, taken.count) { Ok(taken) } else { wait_for(member, taken, deadline) }
}

#[cold]
fn wait_for<const KIND: u32>(
    member: &Member<Words<KIND>>,
    taken: Taken,
    deadline: Deadline,
) -> Result<Taken, LockError> {
    let me = member.seated(deadline)?;
    if me.object.take(me.seat, me.life, taken.count, deadline)? { Ok(taken) } else { Err(LockError::Timeout) }
}

fn try_take<const KIND: u32>(member: &Member<Words<KIND>>, count: usize) -> Result<Taken, LockError> {
    let soon = Deadline::after(AN_INSTANT);
    let me = member.seated(soon)?;
    let taken = Taken { seat: me.seat, count: number(count), generation: generation::current() };
    let is_taken = me.object.try_take(me.seat, me.life, taken.count, soon)?;
    if is_taken { Ok(taken) } else { Err(LockError::Timeout) }
}

fn release<const KIND: u32>(
    member: &Member<Words<KIND>>,
    count: usize,
    too_many: ReleaseError,
) -> Result<(), ReleaseError> {
    let (object, _) = member.seat(Deadline::NEVER)?;
    object.release(number(count), Deadline::NEVER).map_err(LockError::from)?.map_err(|TooMany| too_many)
}

fn show(name: &str, stats: &Stats, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = f.debug_struct(name);
    if let Detail::Semaphore { available, total, .. } = stats.detail {
        text.field("available", &available).field("total", &total);
    }
    text.field("holders", &stats.users_by_pid()).field("waiters", &stats.waiters);
    text.field("recoveries", &stats.recoveries).finish()
}
