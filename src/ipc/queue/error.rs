//! What goes wrong at a queue between processes. Who could not put gets the value back.

use std::error::Error;
use std::fmt;

use super::super::LockError;
use super::Lease;

/// Why a value was not put; it is inside. Nothing of it was written, and no handle in it has changed.
#[non_exhaustive]
pub enum PutError<T> {
    /// The queue was full, for as long as the caller would wait: Python's `queue.Full`.
    Full(T),
    /// The queue was shut down: Python's `queue.ShutDown`.
    ShutDown(T),
    /// The value is longer than all the queue's room. Make the queue larger ([`Queue::with_bytes`](super::Queue::with_bytes)),
    /// or send [`SharedBytes`](crate::ipc::SharedBytes) through a [`Connection`](crate::ipc::Connection).
    TooLarge {
        /// What was to be put.
        value: T,
        /// How many bytes it has, serialised.
        len: usize,
        /// How many an item of this queue may have.
        limit: usize,
    },
    /// The value cannot be serialised, or holds a descriptor or a handle, which an item of a queue cannot: nobody is known to
    /// take it, so nobody could be given it.
    NotSerializable {
        /// What was to be put.
        value: T,
        /// Why it was not.
        why: String,
    },
    /// The queue cannot be used here.
    Unusable {
        /// What was to be put.
        value: T,
        /// Why it was not.
        error: LockError,
    },
}

impl<T> PutError<T> {
    /// The value that was not put.
    pub fn into_inner(self) -> T {
        let (Self::Full(value)
        | Self::ShutDown(value)
        | Self::TooLarge { value, .. }
        | Self::NotSerializable { value, .. }
        | Self::Unusable { value, .. }) = self;
        value
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
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::ShutDown(_) => f.write_str("ShutDown(..)"),
            Self::TooLarge { len, limit, .. } => write!(f, "TooLarge {{ len: {len}, limit: {limit}, .. }}"),
            Self::NotSerializable { why, .. } => write!(f, "NotSerializable {{ why: {why:?}, .. }}"),
            Self::Unusable { error, .. } => write!(f, "Unusable {{ error: {error:?}, .. }}"),
        }
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("put into a queue that is full"),
            Self::ShutDown(_) => f.write_str("put into a queue that was shut down"),
            Self::TooLarge { len, limit, .. } => {
                write!(
                    f,
                    "an item of {len} bytes, where the queue has room for {limit} in all: make it with more \
                     (Queue::with_bytes), or send SharedBytes through a Connection"
                )
            }
            Self::NotSerializable { why, .. } => write!(f, "the item cannot be put: {why}"),
            Self::Unusable { error, .. } => error.fmt(f),
        }
    }
}

impl<T> Error for PutError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unusable { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Why nothing was put, before the value is put back beside it.
pub(super) enum Why {
    Full,
    ShutDown,
    TooLarge { len: usize, limit: usize },
    NotSerializable(String),
    Unusable(LockError),
}

impl Why {
    pub(super) fn with<T>(self, value: T) -> PutError<T> {
        match self {
            Self::Full => PutError::Full(value),
            Self::ShutDown => PutError::ShutDown(value),
            Self::TooLarge { len, limit } => PutError::TooLarge { value, len, limit },
            Self::NotSerializable(why) => PutError::NotSerializable { value, why },
            Self::Unusable(error) => PutError::Unusable { value, error },
        }
    }
}

/// Why there was nothing to get. Of a batch ([`Queue::get_many`](super::Queue::get_many)) `T` is what could be got.
#[non_exhaustive]
pub enum GetError<T = ()> {
    /// The queue was empty, for as long as the caller would wait: Python's `queue.Empty`.
    Empty,
    /// The queue was shut down and is empty: Python's `queue.ShutDown`.
    ShutDown,
    /// What was there is no item of this type. It was taken out, and counts as done.
    Decode {
        /// Why it is none; of several, the first.
        why: String,
        /// The items of the batch that could be read. They were taken out, and are not done.
        others: T,
    },
    /// The queue cannot be used here.
    Unusable(LockError),
}

impl<T> GetError<T> {
    /// Whether the queue was empty, but may yet be filled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether the queue was shut down, so that nothing will come any more.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        matches!(self, Self::ShutDown)
    }
}

impl<T> fmt::Debug for GetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::ShutDown => f.write_str("ShutDown"),
            Self::Decode { why, .. } => write!(f, "Decode {{ why: {why:?}, .. }}"),
            Self::Unusable(error) => f.debug_tuple("Unusable").field(error).finish(),
        }
    }
}

impl<T> fmt::Display for GetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("get from a queue that is empty"),
            Self::ShutDown => f.write_str("get from a queue that was shut down and is empty"),
            Self::Decode { why, .. } => f.write_str(why),
            Self::Unusable(error) => error.fmt(f),
        }
    }
}

impl<T> Error for GetError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unusable(error) => Some(error),
            _ => None,
        }
    }
}

impl<T> From<LockError> for GetError<T> {
    fn from(error: LockError) -> Self {
        Self::Unusable(error)
    }
}

/// A [`Lease`] that could not be brought to its end, in time or at all; it is inside.
pub struct LeaseError<T> {
    pub(super) lease: Lease<T>,
    pub(super) error: LockError,
}

impl<T> LeaseError<T> {
    /// The lease. If it was taken away, or is another process's, dropping it does nothing.
    pub fn into_inner(self) -> Lease<T> {
        self.lease
    }

    /// Why it was not ended.
    pub fn error(&self) -> &LockError {
        &self.error
    }

    /// Whether there was not time enough, so that it may be tried again.
    pub fn is_timeout(&self) -> bool {
        matches!(self.error, LockError::Timeout)
    }
}

impl<T> fmt::Debug for LeaseError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for LeaseError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> Error for LeaseError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}
