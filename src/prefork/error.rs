//! Why a master could not start, or had to give up.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why [`Builder::run`](super::Builder::run) failed. No worker is left when it is returned.
#[derive(Debug)]
#[non_exhaustive]
pub enum MasterError {
    /// A setting makes no sense.
    Invalid {
        /// What is wrong with which setting.
        what: &'static str,
    },
    /// The address to bind to cannot be resolved.
    Resolve(io::Error),
    /// The address cannot be listened on; [`io::ErrorKind::AddrInUse`] if somebody else does.
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// This process has more than one thread. A fork copies one of them, and the locks that the others hold would stay
    /// locked in the workers for ever; so the master is started before any thread.
    Multithreaded {
        /// How many threads there are.
        threads: usize,
    },
    /// No worker ever got ready.
    NeverReady {
        /// How often one seat was tried.
        attempts: u32,
        /// What became of the last one.
        cause: String,
    },
    /// The kernel refused something that the master cannot do without.
    Io(io::Error),
}

impl fmt::Display for MasterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { what } => f.write_str(what),
            Self::Resolve(error) => write!(f, "cannot resolve the address to listen on: {error}"),
            Self::Bind { addr, source } if source.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {addr}: another socket listens there already ({source})")
            }
            Self::Bind { addr, source } => write!(f, "cannot listen on {addr}: {source}"),
            Self::Multithreaded { threads } => write!(
                f,
                "cannot fork workers: this process has {threads} threads; start the master before any other thread"
            ),
            Self::NeverReady { attempts, cause } => {
                write!(f, "no worker got ready in {attempts} attempts; the last one: {cause}")
            }
            Self::Io(error) => write!(f, "the master cannot go on: {error}"),
        }
    }
}

impl Error for MasterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Resolve(error) | Self::Io(error) | Self::Bind { source: error, .. } => Some(error),
            Self::Invalid { .. } | Self::Multithreaded { .. } | Self::NeverReady { .. } => None,
        }
    }
}

impl From<io::Error> for MasterError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
