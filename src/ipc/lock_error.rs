//! Why a lock between processes was not taken, or was taken from somebody who died.

use std::fmt;
use std::io;

use super::handle::Foreign;
use crate::primitive::Refused;

/// Why taking a lock is not plainly `Ok`. In one case, [`OwnerDied`](Self::OwnerDied), the lock **is** taken.
///
/// ```
/// use crewkit::ipc::{Lock, LockError};
///
/// let lock = Lock::new()?;
/// // A thread that ends with a lock is a holder that died, just as a killed process is.
/// let taken_away = lock.clone();
/// std::thread::spawn(move || taken_away.acquire().is_ok()).join().unwrap();
///
/// let guard = match lock.lock() {
///     Err(LockError::OwnerDied(guard)) => {
///         // … put what the lock guards in order, then say so:
///         guard.recover();
///         guard
///     }
///     other => other.map_err(LockError::detach)?,
/// };
/// drop(guard);
/// assert!(lock.lock().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError<G = ()> {
    /// The lock is taken, and here is its guard; but whoever held it before, a process or a thread, ended without
    /// releasing it, so that what it guards may be half done. Everybody gets this until somebody calls the guard's
    /// `recover`.
    OwnerDied(G),
    /// Somebody else holds it, or too many permits of it: for a timed call during all of its time, for a `try_` call now.
    Timeout,
    /// This thread holds it already, and would wait for itself.
    WouldDeadlock,
    /// This process inherited the object by fork; it belongs to the process that made or received it.
    ForeignProcess,
    /// An [`RLock`](super::RLock) was taken 2³² times by its holder.
    TooDeep,
    /// The C library refused, which it does for a lock that somebody has tampered with; or too many processes use the
    /// object, or /proc cannot be read, which tells who is alive.
    Io(io::Error),
}

impl<G> LockError<G> {
    /// Whether the time was too short.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// The guard, if the lock was taken although its last holder died. What the lock guards is marked until somebody
    /// calls the guard's `recover`.
    #[must_use = "dropping the guard releases the lock"]
    pub fn into_guard(self) -> Option<G> {
        match self {
            Self::OwnerDied(guard) => Some(guard),
            _ => None,
        }
    }

    /// The same without the guard, which releases the lock: an error that may outlive it, for `?`.
    ///
    /// ```
    /// # use crewkit::ipc::{Lock, LockError};
    /// fn under(lock: &Lock) -> Result<(), Box<dyn std::error::Error>> {
    ///     let _guard = lock.lock().map_err(LockError::detach)?;
    ///     Ok(())
    /// }
    /// # under(&Lock::new()?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn detach(self) -> LockError {
        self.map(drop)
    }

    /// The same with another guard.
    pub(super) fn map<H>(self, f: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            Self::OwnerDied(guard) => LockError::OwnerDied(f(guard)),
            Self::Timeout => LockError::Timeout,
            Self::WouldDeadlock => LockError::WouldDeadlock,
            Self::ForeignProcess => LockError::ForeignProcess,
            Self::TooDeep => LockError::TooDeep,
            Self::Io(error) => LockError::Io(error),
        }
    }
}

impl<G> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(_) => f.write_str(
                "whoever held the lock ended without releasing it; put what it guards in order, then call `recover`",
            ),
            Self::Timeout => f.write_str("the time was over: somebody else holds it"),
            Self::WouldDeadlock => f.write_str("this thread holds the lock already, and would wait for itself"),
            Self::ForeignProcess => f.write_str(
                "this process inherited the object by fork; pass it as an argument, or in a message, to share it",
            ),
            Self::TooDeep => f.write_str("the lock was taken too many times by its holder"),
            Self::Io(error) => write!(f, "the lock cannot be used: {error}"),
        }
    }
}

impl<G: fmt::Debug> std::error::Error for LockError<G> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl<G> From<Foreign> for LockError<G> {
    fn from(Foreign: Foreign) -> Self {
        Self::ForeignProcess
    }
}

impl<G> From<Refused> for LockError<G> {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy => Self::Timeout,
            Refused::Own => Self::WouldDeadlock,
            Refused::Broken(error) => Self::Io(error),
        }
    }
}

/// The lock to be released is not this thread's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwner;

impl fmt::Display for NotOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("release of a lock that this thread does not hold")
    }
}

impl std::error::Error for NotOwner {}
