//! Where a new process's standard streams go.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::protocol::Redirect;
use crate::sys::attributes;

/// Where a standard stream of a new process goes: to this process's own, to `/dev/null`, or to a file, pipe or socket.
///
/// ```
/// use crewkit::process::Stdio;
///
/// let (mut reader, writer) = std::io::pipe()?;
/// let stream: Stdio = writer.into();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stdio(Target);

#[derive(Clone, Debug)]
enum Target {
    Inherit,
    Null,
    Given(Arc<OwnedFd>),
}

impl Stdio {
    /// The same as this process's, as it is when the new process starts.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Target::Inherit)
    }

    /// `/dev/null`: end of file at once, and what is written is gone.
    #[must_use]
    pub fn null() -> Self {
        Self(Target::Null)
    }

    /// What the child is told of stream `number`, and the descriptor that travels.
    pub(super) fn resolve(&self, number: u8) -> (Redirect, Option<Stream>) {
        let stream = match &self.0 {
            Target::Null => None,
            Target::Given(fd) => Some(Stream::Given(Arc::clone(fd))),
            // One that is closed here cannot be handed over.
            Target::Inherit => attributes::own_stdio(number).map(Stream::Own),
        };
        (stream.as_ref().map_or(Redirect::Null, |_| Redirect::Handed), stream)
    }
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    /// A file, either end of a pipe, a socket. It stays open here for as long as the builder exists.
    fn from(stream: T) -> Self {
        Self(Target::Given(Arc::new(stream.into())))
    }
}

/// A descriptor on its way to a child.
#[derive(Clone, Debug)]
pub(super) enum Stream {
    Given(Arc<OwnedFd>),
    /// Standard output of this process, for example.
    Own(BorrowedFd<'static>),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Given(fd) => fd.as_fd(),
            Self::Own(fd) => *fd,
        }
    }
}
