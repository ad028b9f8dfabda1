//! Why a message could not be sent or received.

use std::fmt;
use std::io;

use super::endpoint::Gone;
use super::parcel::{DecodeError, EncodeError};
use super::wire::WireError;
use crate::sys::socket::MAX_FDS_PER_RECORD;

/// Why [`send`](super::Connection::send) failed. The message was not received, and never will be; handles in it are
/// unchanged, and the connection can be used on where the table says so.
///
/// | Variant | Can send again? |
/// |---|---|
/// | `Timeout`, `NotSerializable`, `TooManyFds`, `TooLarge` | yes |
/// | `Io` | depends on the error |
/// | `Closed`, `Moved`, `ForeignProcess` | no |
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The other end is closed, or its process has ended.
    Closed,
    /// There was no room for the whole message in the time given. What was sent of it is discarded by the receiver.
    Timeout,
    /// This end was sent to another process.
    Moved,
    /// This process inherited the end by fork; it belongs to the process that made it.
    ForeignProcess,
    /// The value cannot travel; why.
    NotSerializable(String),
    /// The value holds more descriptors than one message can carry.
    TooManyFds {
        /// How many it can carry.
        limit: usize,
    },
    /// The message is longer than this end's limit, see [`set_message_limit`](super::Connection::set_message_limit).
    TooLarge {
        /// Length of the message in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The kernel refused, for example because too many descriptors are on their way already (ETOOMANYREFS).
    Io(io::Error),
}

impl SendError {
    /// Whether the time was too short, so that sending again may succeed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Whether the other end is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other end of the connection is closed, or its process has ended"),
            Self::Timeout => f.write_str("the receiver made no room in time; the message was not delivered"),
            Self::Moved => f.write_str("this end of the connection was sent to another process; use it there"),
            Self::ForeignProcess => f.write_str(FOREIGN),
            Self::NotSerializable(why) => write!(f, "the message cannot be sent: {why}"),
            Self::TooManyFds { limit } => {
                write!(f, "the message holds more than {limit} descriptors; send them in several messages")
            }
            Self::TooLarge { size, limit } => {
                write!(
                    f,
                    "the message has {size} bytes, the limit is {limit}; raise it with set_message_limit, or split it"
                )
            }
            Self::Io(error) => write!(f, "the message could not be sent: {error}"),
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<EncodeError> for SendError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Io(error) => Self::Io(error),
            EncodeError::TooManyFds => Self::TooManyFds { limit: MAX_FDS_PER_RECORD },
            other => Self::NotSerializable(other.to_string()),
        }
    }
}

impl From<Gone> for SendError {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Moved => Self::Moved,
            Gone::Foreign => Self::ForeignProcess,
        }
    }
}

/// Why [`recv`](super::Connection::recv) gave no message.
///
/// | Variant | What became of the message |
/// |---|---|
/// | `Timeout` | none was complete; what arrived of one is kept, and received on |
/// | `WrongKind`, `BufferTooShort` | it is kept for the right call |
/// | `Decode`, `Truncated`, `TooLarge`, `Corrupt` | it is dropped, its descriptors are closed; later ones are not affected |
/// | `Closed` | everything that was sent whole was received |
/// | `Moved`, `ForeignProcess`, `Io` | nothing was taken |
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// The other end is closed, or its process has ended.
    Closed,
    /// No message was complete in the time given; for `try_` calls, none is there.
    Timeout,
    /// This end was sent to another process.
    Moved,
    /// This process inherited the end by fork; it belongs to the process that made it.
    ForeignProcess,
    /// The message is not a value of the type asked for; why.
    Decode(String),
    /// Descriptors of the message were lost, because this process may open no more (RLIMIT_NOFILE).
    Truncated,
    /// The message is longer than this end's limit, see [`set_message_limit`](super::Connection::set_message_limit).
    TooLarge {
        /// Length of the message in bytes, as announced.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The message was sent by `send_bytes` and is to be received by `recv_bytes`, or neither.
    WrongKind {
        /// Whether the message holds bytes as they are, rather than a value.
        is_bytes: bool,
    },
    /// The buffer given is shorter than the message.
    BufferTooShort {
        /// Length of the message in bytes.
        needed: usize,
    },
    /// Something arrived that no crewkit process sends; what is wrong with it.
    Corrupt(&'static str),
    /// The kernel refused.
    Io(io::Error),
}

impl RecvError {
    /// Whether no message was there in time, so that receiving again may succeed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Whether the other end is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other end of the connection is closed, or its process has ended"),
            Self::Timeout => f.write_str("no message arrived in time"),
            Self::Moved => f.write_str("this end of the connection was sent to another process; use it there"),
            Self::ForeignProcess => f.write_str(FOREIGN),
            Self::Decode(why) => f.write_str(why),
            Self::Truncated => f.write_str(
                "descriptors of the message were lost: this process may open no more; raise RLIMIT_NOFILE or close some",
            ),
            Self::TooLarge { size, limit } => {
                write!(f, "the message has {size} bytes, the limit is {limit}; raise it with set_message_limit")
            }
            Self::WrongKind { is_bytes: true } => f.write_str("the next message holds bytes; take it with recv_bytes"),
            Self::WrongKind { is_bytes: false } => f.write_str("the next message holds a value; take it with recv"),
            Self::BufferTooShort { needed } => write!(f, "the next message needs a buffer of {needed} bytes"),
            Self::Corrupt(what) => write!(f, "something arrived that is no message of crewkit: {what}"),
            Self::Io(error) => write!(f, "receiving failed: {error}"),
        }
    }
}

impl std::error::Error for RecvError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<WireError> for RecvError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Closed => Self::Closed,
            WireError::Truncated => Self::Truncated,
            WireError::TooLarge { size, limit } => Self::TooLarge { size, limit },
            WireError::Corrupt(what) => Self::Corrupt(what),
            WireError::Io(error) => Self::Io(error),
        }
    }
}

impl From<DecodeError> for RecvError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error.to_string())
    }
}

impl From<Gone> for RecvError {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::Moved => Self::Moved,
            Gone::Foreign => Self::ForeignProcess,
        }
    }
}

const FOREIGN: &str =
    "this process inherited the end of the connection by fork; it belongs to the process that made it";
