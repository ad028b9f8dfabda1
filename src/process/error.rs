//! What goes wrong when processes are started and joined: what failed, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;

use super::exit::Exit;

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

/// Why a process was not started. No process is left behind. Where it was killed
/// ([`TimedOut`](SpawnError::TimedOut)) it may have begun to run the function.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// [`crewkit::init`](crate::init) was not called, so that the new process would run `main` again.
    NotInitialized,
    /// The function is not in the program's own executable (it is in a shared library), so that the new process cannot
    /// find it.
    NotInExecutable,
    /// The argument cannot be sent: what serde said, a handle in it that was sent before, too many descriptors.
    BadArgument(String),
    /// The process could not become what the builder asked for: the directory, a limit, the nice value, the processors, the
    /// user; or it had threads before `init`, or the function to be called first failed in it.
    Setup(io::Error),
    /// The process died before it ran the function, in code that runs before [`init`](crate::init) for example.
    Died(Exit),
    /// The process did not run the function in time (see [`Builder::start_timeout`](super::Builder::start_timeout)),
    /// and was killed.
    TimedOut,
    /// The function that was to be called first ([`Builder::preload`](super::Builder::preload)) did not return in the fork
    /// server: what its panic said. Each start with it is refused so.
    Preload(String),
    /// The fork server died while it was asked. The next start begins a new one.
    ForkServerDied,
    /// The fork failed, or was refused.
    Fork(ForkError),
    /// The kernel refused something that this process needs for the start (no descriptors, no memory).
    Io(io::Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot start a process: ")?;
        match self {
            Self::NotInitialized => f.write_str(
                "crewkit::init() was not called; make it the first line of main (in tests: \
                 crewkit::enable_test_support!() at the root of the test crate)",
            ),
            Self::NotInExecutable => f.write_str(
                "the function is in a shared library; only functions of the program's own executable can be called \
                 in another process",
            ),
            Self::BadArgument(why) => write!(f, "the argument cannot be sent: {why}"),
            Self::Setup(error) => write!(f, "it could not be set up: {error}"),
            Self::Died(exit) => {
                write!(f, "it died before it ran the function ({exit}); does main get to crewkit::init()?")
            }
            Self::TimedOut => f.write_str("it did not run the function in time, and was killed"),
            Self::Preload(why) => write!(f, "the function to be called first failed in the fork server: {why}"),
            Self::ForkServerDied => f.write_str("the fork server died; try again, and a new one is started"),
            Self::Fork(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Setup(error) | Self::Io(error) => Some(error),
            Self::Fork(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for SpawnError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ForkError> for SpawnError {
    fn from(error: ForkError) -> Self {
        Self::Fork(error)
    }
}

/// Why a process gave no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProcessError {
    /// The function panicked.
    Panicked {
        /// What was said.
        message: String,
        /// File, line and column; empty if the panic was resumed from elsewhere.
        location: String,
        /// The backtrace; empty if `RUST_LIB_BACKTRACE` or `RUST_BACKTRACE` is `0` in the process.
        backtrace: String,
    },
    /// A signal ended the process.
    Killed {
        /// The signal's number: 9 for SIGKILL, 6 for the SIGABRT of `abort`, 24 for SIGXCPU at a limit of processor time.
        signal: i32,
        /// Whether the kernel dumped a core.
        core: bool,
        /// Whether it looks as if there was no memory for it: SIGKILL that this process did not send, and since the last
        /// such end (or since this process first started one) the kernel's out-of-memory killer has killed somebody in this
        /// process's memory cgroup, or, where no such group is to be seen, on this machine; or SIGABRT under
        /// [`limit_memory`](super::Builder::limit_memory). A hint: neither names its victim.
        oom: bool,
    },
    /// The process left by `exit` or `_exit` before its function returned.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// The fork server died, and its children ended with it.
    ForkServerDied {
        /// How this process ended, if somebody could tell.
        exit: Exit,
    },
    /// The process ended without a result, and nobody can say how, see [`Exit::Unknown`].
    Lost,
    /// The argument could not be decoded in the process: what serde said. The function was not called.
    BadArgument(String),
    /// The function returned, but the result could not be sent or decoded: what serde said.
    BadResult(String),
    /// The result was taken by an earlier join.
    AlreadyJoined,
    /// The handle was copied by a fork; the process belongs to the one that started it.
    ForeignProcess,
    /// The kernel refused something that this process needs for the join.
    Io(io::Error),
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { message, location, .. } if location.is_empty() => {
                write!(f, "the process panicked: {message}")
            }
            Self::Panicked { message, location, .. } => write!(f, "the process panicked at {location}: {message}"),
            Self::Killed { signal, core, oom } => {
                write!(f, "the process was killed by {}", Exit::Signal { signal: *signal, core: *core })?;
                f.write_str(if *oom { ", it seems for want of memory" } else { "" })
            }
            Self::Exited { code } => write!(f, "the process left with exit code {code} before its function returned"),
            Self::ForkServerDied { .. } => f.write_str("the fork server died, and the process with it"),
            Self::Lost => f.write_str("the process ended without a result, from an unknown cause"),
            Self::BadArgument(why) => write!(f, "the process could not decode its argument: {why}"),
            Self::BadResult(why) => write!(f, "the result of the process is lost: {why}"),
            Self::AlreadyJoined => f.write_str("the result of the process was taken by an earlier join"),
            Self::ForeignProcess => f.write_str("the handle was copied by a fork: join where the process was started"),
            Self::Io(error) => write!(f, "cannot join the process: {error}"),
        }
    }
}

impl Error for ProcessError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ProcessError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
