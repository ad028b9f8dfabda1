//! What goes wrong at a queue. Who could not put gets the value back.

use std::error::Error;
use std::fmt;
use std::iter;

/// Why a value was not put; it is inside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PutError<T> {
    /// The queue was full, for as long as the caller would wait: Python's `queue.Full`.
    Full(T),
    /// The queue was shut down: Python's `queue.ShutDown`.
    ShutDown(T),
}

impl<T> PutError<T> {
    /// The value that was not put.
    pub fn into_inner(self) -> T {
        let (Self::Full(value) | Self::ShutDown(value)) = self;
        value
    }

    /// What could not be put of a batch: this value and those after it.
    pub(super) fn with_rest(self, rest: impl Iterator<Item = T>) -> PutError<Vec<T>> {
        let with_rest = |value| iter::once(value).chain(rest).collect();
        match self {
            Self::Full(value) => PutError::Full(with_rest(value)),
            Self::ShutDown(value) => PutError::ShutDown(with_rest(value)),
        }
    }

    /// Whether the queue was full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the queue was shut down.
    pub fn is_shut_down(&self) -> bool {
        matches!(self, Self::ShutDown(_))
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::ShutDown(_) => "ShutDown(..)",
        })
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "put into a queue that is full",
            Self::ShutDown(_) => "put into a queue that was shut down",
        })
    }
}

impl<T> Error for PutError<T> {}

/// Why there was nothing to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetError {
    /// The queue was empty, for as long as the caller would wait: Python's `queue.Empty`.
    Empty,
    /// The queue was shut down and is empty: Python's `queue.ShutDown`.
    ShutDown,
}

impl GetError {
    /// Whether the queue was empty, but may yet be filled.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether the queue was shut down, so that nothing will come any more.
    pub fn is_shut_down(&self) -> bool {
        matches!(self, Self::ShutDown)
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "get from a queue that is empty",
            Self::ShutDown => "get from a queue that was shut down and is empty",
        })
    }
}

impl Error for GetError {}

/// More tasks were reported done than were put: Python's `ValueError` from `task_done`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTaskDone;

impl fmt::Display for TooManyTaskDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("task_done called more often than there were items")
    }
}

impl Error for TooManyTaskDone {}
