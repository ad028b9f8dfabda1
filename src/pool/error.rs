//! What goes wrong with a pool, with a task, and with a map: each error says what became of the work.

use std::error::Error;
use std::fmt;
use std::io;

use crate::panics::PanicReport;
#[cfg(feature = "processes")]
use crate::process::{Exit, SpawnError};

/// Why a pool could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool of no workers would never do anything.
    NoWorkers,
    /// The first workers could not be started.
    #[cfg(feature = "processes")]
    Spawn(SpawnError),
    /// The kernel refused what the pool needs itself: descriptors, memory, a thread.
    Io(io::Error),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorkers => f.write_str("a pool needs at least one worker"),
            #[cfg(feature = "processes")]
            Self::Spawn(error) => write!(f, "a worker could not be started: {error}"),
            Self::Io(error) => write!(f, "the pool could not be set up: {error}"),
        }
    }
}

impl Error for PoolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoWorkers => None,
            #[cfg(feature = "processes")]
            Self::Spawn(error) => Some(error),
            Self::Io(error) => Some(error),
        }
    }
}

impl From<io::Error> for PoolError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(feature = "processes")]
impl From<SpawnError> for PoolError {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

/// Why a task has no result. Each variant says whether the function may have run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. It ran up to there; its worker lives on.
    #[non_exhaustive]
    Panicked {
        /// What was said.
        message: String,
        /// File, line and column.
        location: String,
        /// The backtrace in the worker, if there is one. A process makes one unless `RUST_LIB_BACKTRACE` or
        /// `RUST_BACKTRACE` is `0`; a thread, as std, only if one of them is set otherwise.
        backtrace: String,
    },
    /// The worker died: killed, aborted, out of memory, or the function left the process. Not of a thread, which dies
    /// with its process only.
    #[cfg(feature = "processes")]
    #[non_exhaustive]
    WorkerDied {
        /// The worker's process.
        pid: u32,
        /// How it ended.
        cause: Exit,
        /// Whether the function had begun, and so may have had effects. Always true for a [`Pool`](super::Pool): what
        /// had not begun goes to another worker instead of failing.
        started: bool,
        /// How often it was begun: one more than the retries that were made.
        attempts: u32,
    },
    /// The task was cancelled before it began.
    Cancelled,
    /// The task's own deadline passed before it began.
    TimedOut,
    /// The pool was closed when the task was submitted, or terminated before the task began.
    PoolClosed,
    /// No worker could be started any more, or none could be initialised; the task never began.
    PoolBroken {
        /// What the last attempt died of.
        reason: String,
    },
    /// The argument cannot be serialised or deserialised, or the function cannot be named. The function did not run.
    BadArgument(String),
    /// The function ran, and its result cannot be serialised or deserialised.
    BadResult(String),
    /// The pool was inherited by a fork: its workers belong to the parent. In this process the task never begins or ends.
    ForeignProcess,
    /// The result was given out by an earlier call.
    Taken,
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { message, location, .. } => write!(f, "panicked at {location}: {message}"),
            #[cfg(feature = "processes")]
            Self::WorkerDied { pid, cause, started, attempts } => {
                write!(f, "worker {pid} died of {cause} ")?;
                f.write_str(if *started { "in the middle of the task" } else { "before it began the task" })?;
                if *attempts > 1 { write!(f, ", after {attempts} attempts") } else { Ok(()) }
            }
            Self::Cancelled => f.write_str("cancelled before it began"),
            Self::TimedOut => f.write_str("its deadline passed before it began"),
            Self::PoolClosed => f.write_str("the pool is closed; the task never began"),
            Self::PoolBroken { reason } => {
                write!(f, "the pool has no workers any more ({reason}); the task never began")
            }
            Self::BadArgument(why) => write!(f, "the argument cannot travel: {why}"),
            Self::BadResult(why) => write!(f, "the result cannot travel: {why}"),
            Self::ForeignProcess => f.write_str("the pool belongs to the process that made it"),
            Self::Taken => f.write_str("the result was taken already"),
        }
    }
}

impl Error for TaskError {}

/// A map in which some items failed: the first failure by index, and the results of all the others.
#[derive(Debug)]
pub struct MapError<R> {
    /// The index of the first item without a result.
    pub index: usize,
    /// Why it has none.
    pub error: TaskError,
    /// What the other items returned; `None` for each one that failed.
    pub results: Vec<Option<R>>,
}

impl<R> fmt::Display for MapError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.results.iter().filter(|result| result.is_none()).count();
        write!(f, "item {}: {}", self.index, self.error)?;
        if failed > 1 { write!(f, " (and {} more of {})", failed - 1, self.results.len()) } else { Ok(()) }
    }
}

impl<R: fmt::Debug> Error for MapError<R> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl From<PanicReport> for TaskError {
    fn from(PanicReport { message, location, backtrace }: PanicReport) -> Self {
        Self::Panicked { message, location, backtrace }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_became_of_the_work() {
        #[cfg(feature = "processes")]
        deaths_say_what_became_of_the_work();
        let map = MapError { index: 2, error: TaskError::Cancelled, results: vec![Some(1), None, None, Some(4)] };
        assert_eq!(map.to_string(), "item 2: cancelled before it began (and 1 more of 4)");
    }

    #[cfg(feature = "processes")]
    fn deaths_say_what_became_of_the_work() {
        let killed = Exit::Signal { signal: 9, core: false };
        let died = TaskError::WorkerDied { pid: 7, cause: killed, started: true, attempts: 1 };
        assert_eq!(died.to_string(), "worker 7 died of signal 9 (SIGKILL) in the middle of the task");
        let tried = TaskError::WorkerDied { pid: 7, cause: Exit::Code(3), started: true, attempts: 3 };
        assert_eq!(tried.to_string(), "worker 7 died of exit code 3 in the middle of the task, after 3 attempts");
    }
}
