//! How a process ended, and what it used.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sys::process::{Status, Usage};

/// How a process ended (Python's `Process.exitcode`, with the signal kept apart from the code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Exit {
    /// It left with this exit code: its function returned (0), or somebody called exit or `_exit`.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number, for example 9 for SIGKILL and 6 for the SIGABRT of [`std::process::abort`].
        signal: i32,
        /// Whether the kernel dumped a core.
        core: bool,
    },
    /// It has ended, and nobody could say how: whoever could wait for it died first, or reaped it elsewhere (a SIGCHLD
    /// that is ignored does that).
    Unknown,
}

impl Exit {
    /// Whether the process ended with exit code 0.
    ///
    /// ```
    /// assert!(crewkit::process::Exit::Code(0).success());
    /// assert!(!crewkit::process::Exit::Signal { signal: 9, core: false }.success());
    /// ```
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal { signal, core } => {
                write!(f, "signal {signal}")?;
                if let Some(name) = crate::sys::signal::name(*signal) {
                    write!(f, " ({name})")?;
                }
                f.write_str(if *core { ", core dumped" } else { "" })
            }
            Self::Unknown => f.write_str("an unknown cause"),
        }
    }
}

impl From<Status> for Exit {
    fn from(status: Status) -> Self {
        match status {
            Status::Code(code) => Self::Code(code),
            Status::Signal { signal, core } => Self::Signal { signal, core },
        }
    }
}

/// What a process used in its life, the children that it waited for included (Python's `resource.getrusage`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResourceUsage {
    /// Processor time in user code.
    pub user_time: Duration,
    /// Processor time in the kernel on its behalf.
    pub system_time: Duration,
    /// The largest resident set, in bytes.
    pub max_rss: u64,
}

impl From<Usage> for ResourceUsage {
    fn from(usage: Usage) -> Self {
        Self { user_time: usage.user, system_time: usage.system, max_rss: usage.max_rss }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_read_well() {
        assert_eq!(Exit::Code(3).to_string(), "exit code 3");
        assert_eq!(Exit::Signal { signal: 9, core: false }.to_string(), "signal 9 (SIGKILL)");
        assert_eq!(Exit::Signal { signal: 6, core: true }.to_string(), "signal 6 (SIGABRT), core dumped");
        assert_eq!(Exit::Signal { signal: 40, core: false }.to_string(), "signal 40");
    }
}
