//! Why nobody was accepted, or a client got no connection.

use std::fmt;
use std::io;

use crate::auth::AuthError;

/// Why [`accept`](super::Listener::accept) gave no connection. Nothing is lost: who has come is accepted by a later call.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// Nobody came in the time given who showed what was asked for.
    Timeout,
    /// This process inherited the listener by fork; it belongs to the process that made it.
    ForeignProcess,
    /// The kernel refused: most often because this process may open no more descriptors (EMFILE).
    Io(io::Error),
}

impl AcceptError {
    /// Whether the time was too short, so that accepting again may succeed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("nobody came in time who showed what was asked for"),
            Self::ForeignProcess => {
                f.write_str("this process inherited the listener by fork; it belongs to the process that made it")
            }
            Self::Io(error) => write!(f, "a connection could not be accepted: {error}"),
        }
    }
}

impl std::error::Error for AcceptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for AcceptError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Why [`Client::connect`](super::Client::connect) gave no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The listener did not accept in the time given. Over TCP also: its host has not answered in the kernel's own time, some two
    /// minutes.
    Timeout,
    /// The listener was closed, or its process ended, before it had accepted.
    Closed,
    /// The listener turned this process away; how it sees this process.
    Refused(AuthError),
    /// Whoever listens there is not trusted; why.
    Untrusted(AuthError),
    /// The kernel refused: `NotFound` and `ConnectionRefused` mean that nobody listens there.
    Io(io::Error),
}

impl ConnectError {
    /// Whether the time was too short, so that connecting again may succeed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("the listener did not accept in time"),
            Self::Closed => f.write_str("the listener was closed, or its process ended, before it had accepted"),
            Self::Refused(why) => write!(f, "the listener turned this process away: {why}"),
            Self::Untrusted(why) => write!(f, "whoever listens there is not trusted: {why}"),
            Self::Io(error) => write!(f, "no connection: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Refused(why) | Self::Untrusted(why) => Some(why),
            _ => None,
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Io(error),
        }
    }
}
