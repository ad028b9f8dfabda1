//! What goes wrong when processes are started and joined: what failed, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a fork was refused or failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ForkError {
    /// The process has more than one thread: a fork would copy one of them, and the locks that the others hold would
    /// stay locked in the child for ever.
    Multithreaded {
        /// How many threads there are.
        threads: usize,
    },
    /// The kernel refused (too many processes, no memory, no descriptors).
    Io(io::Error),
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multithreaded { threads } => write!(
                f,
                "cannot fork: this process has {threads} threads; fork before any is started, or use \
                 StartMethod::ForkServer, which works with threads"
            ),
            Self::Io(error) => write!(f, "cannot fork: {error}"),
        }
    }
}

impl Error for ForkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Multithreaded { .. } => None,
            Self::Io(error) => Some(error),
        }
    }
}

impl From<io::Error> for ForkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
