//! Why one side of a handshake does not trust the other.

use std::fmt;

/// Why somebody at the other end of a socket was not trusted (Python: `AuthenticationError`, and what its messages say).
///
/// As a [server's refusal](crate::ipc::Refusal) it speaks of the client; in [`ConnectError::Untrusted`](crate::ipc::ConnectError) of the
/// server; in [`ConnectError::Refused`](crate::ipc::ConnectError) of this process, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthError {
    /// It runs as another user.
    WrongUser,
    /// Its proof is not what the key gives for this challenge: it has another key, or repeats what it overheard.
    WrongKey,
    /// It sent back what it was sent.
    Reflected,
    /// It has no key, and is asked for one.
    NoKey,
    /// It wants proof of a key, and there is none.
    UnexpectedKey,
    /// What it sent is no handshake; in what respect.
    Garbage(&'static str),
    /// It speaks another version of the handshake; which.
    Version(u8),
    /// It left, or its process ended, in the middle.
    Closed,
    /// It did not answer in time.
    TooSlow,
    /// It had not said anything yet, or not enough, when too many others came.
    Crowded,
}

impl AuthError {
    /// The word in [`Frame::Refused`](super::Frame::Refused). What makes a peer's garbage garbage is not told.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Garbage(_) => 0,
            Self::WrongUser => 1,
            Self::WrongKey => 2,
            Self::Reflected => 3,
            Self::NoKey => 4,
            Self::UnexpectedKey => 5,
            Self::Version(_) => 6,
            Self::Closed => 7,
            Self::TooSlow => 8,
            Self::Crowded => 9,
        }
    }

    pub(super) fn from_code(code: u8) -> Self {
        match code {
            1 => Self::WrongUser,
            2 => Self::WrongKey,
            3 => Self::Reflected,
            4 => Self::NoKey,
            5 => Self::UnexpectedKey,
            6 => Self::Version(0),
            7 => Self::Closed,
            8 => Self::TooSlow,
            9 => Self::Crowded,
            _ => Self::Garbage("for a reason that this version does not know"),
        }
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongUser => "it runs as another user",
            Self::WrongKey => "its key is another one, or it repeats an old answer",
            Self::Reflected => "it sends back what it is sent",
            Self::NoKey => "it has no key, and one is asked for",
            Self::UnexpectedKey => "it wants proof of a key where there is none",
            Self::Garbage(what) => return write!(f, "what it sends is no handshake of crewkit: {what}"),
            Self::Version(_) => "it speaks another version of the handshake",
            Self::Closed => "it left in the middle of the handshake",
            Self::TooSlow => "it did not answer in time",
            Self::Crowded => "too many others came before it had said enough",
        })
    }
}

impl std::error::Error for AuthError {}
