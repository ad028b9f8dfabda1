//! The interest list of a poller, shared with other threads: a worker thread re-arms a parked connection, and the
//! owner, which may be asleep in its poll, learns of it through the kernel, without a wake-up.

use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::sys::epoll::Epoll;
use crate::sys::poll::Readiness;

/// The user's name for a registration or a timer; it comes back in the event. The poller does not ask that it be
/// unique. `usize::MAX` is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token(pub(crate) usize);

/// The waker's own token.
pub(super) const WAKER: Token = Token(usize::MAX);

/// What a descriptor is watched for. An error or a hang-up is always watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interest(Readiness);

impl Interest {
    /// Something to read, or end of file.
    pub(crate) const READ: Self = Self(Readiness::READ);
    /// Room to write.
    pub(crate) const WRITE: Self = Self(Readiness::WRITE);
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        Self(Readiness { readable: a.readable || b.readable, writable: a.writable || b.writable, hung_up: false })
    }
}

/// How often a registration answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each poll, for as long as the condition holds.
    Level,
    /// Once; then it stays in the list, silent, until [`Registrar::reregister`] arms it again. Exactly one event per
    /// arming, so that whoever got it owns the descriptor until then.
    OneShot,
}

/// Changes a poller's interest list from any thread. It keeps the epoll instance open, but not the poller.
///
/// A descriptor leaves the list when it is deregistered, or when the last descriptor **of its open file** is closed:
/// after `try_clone`, SCM_RIGHTS or a fork, closing one of several leaves a registration that nobody can remove any
/// more. So: deregister, then close.
#[derive(Clone, Debug)]
pub(crate) struct Registrar(Arc<Epoll>);

impl Registrar {
    pub(super) fn new(epoll: Arc<Epoll>) -> Self {
        Self(epoll)
    }

    /// Watches `fd`.
    ///
    /// # Errors
    ///
    /// EEXIST: it is in the list. EPERM: it cannot be polled (a regular file). ENOSPC: `fs.epoll.max_user_watches`.
    /// `InvalidInput`: the waker's token.
    pub(crate) fn register(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest, mode: Mode) -> io::Result<()> {
        self.0.add(fd, interest.0, word(token)?, mode == Mode::OneShot)
    }

    /// Changes a registration, and arms it again if it is one-shot. A condition that holds already is answered.
    ///
    /// # Errors
    ///
    /// ENOENT: it is not in the list. `InvalidInput`: the waker's token.
    pub(crate) fn reregister(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        self.0.modify(fd, interest.0, word(token)?, mode == Mode::OneShot)
    }

    /// Stops watching `fd`. An event of it may still stand in the batch that the owner is working through: see
    /// [`Poller::poll`](super::Poller::poll).
    ///
    /// # Errors
    ///
    /// ENOENT: it is not in the list.
    pub(crate) fn deregister(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.0.delete(fd)
    }
}

/// Readable while the poller has an event of a descriptor, or a wake-up; timers do not show.
impl AsFd for Registrar {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A user's token as the kernel keeps it.
fn word(token: Token) -> io::Result<u64> {
    if token == WAKER {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the token usize::MAX belongs to the poller"));
    }
    Ok(token.0 as u64)
}
