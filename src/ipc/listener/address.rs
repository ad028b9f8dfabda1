//! Where a listener is, and whom it takes.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::auth::Key;
use crate::sys::random;

/// Where a [`Listener`](super::Listener) is to be found.
///
/// A string or a path is a [`Path`](Self::Path).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Address {
    /// A Unix socket in the file system, of 107 bytes at most. For [`Auth::SameUser`] the file lets no other user connect.
    Path(PathBuf),
    /// A Unix socket of a name that is in no file system (Linux's abstract names). It is free again as soon as its listener is gone,
    /// however that went, and so are the children that were forked meanwhile: they keep the socket open until they end, or run
    /// another program. It has no permissions: any process of this network namespace can take the name before its listener
    /// does, or connect to it; [`Auth`] is all that tells them apart.
    Abstract(String),
}

impl Address {
    /// An abstract name that nobody has, and that nobody guesses (Python: `Listener()` without an address).
    ///
    /// # Errors
    ///
    /// When the kernel has no random numbers.
    pub fn unique() -> io::Result<Self> {
        let [one, two] = random::words()?;
        Ok(Self::Abstract(format!("crewkit-{one:016x}{two:016x}")))
    }
}

/// An abstract name begins with `@`, as other tools show it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&str> for Address {
    fn from(path: &str) -> Self {
        Self::Path(path.into())
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

/// What both sides of a connection ask of each other before they trust what the other sends (Python: `authkey`).
///
/// Both sides name the same. Each asks the other: a client does not talk to just any listener that has taken the name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Auth {
    /// That it runs as the same user, as the kernel says (SO_PEERCRED). The user counts that was in force when the other side
    /// began to connect or to listen. Users that this process's user namespace does not know all look like one, 65534 as a rule:
    /// do not rely on this as that user, in a namespace of which not everybody is known.
    SameUser,
    /// That it proves to have this key, without showing it (HMAC-SHA256 over random numbers of both sides). It does not
    /// encrypt, and does not protect what follows from somebody who can change it on its way.
    Key(Key),
    /// Both.
    SameUserAndKey(Key),
}

impl Auth {
    pub(super) fn key(&self) -> Option<&Key> {
        match self {
            Self::SameUser => None,
            Self::Key(key) | Self::SameUserAndKey(key) => Some(key),
        }
    }

    pub(super) fn is_same_user(&self) -> bool {
        matches!(self, Self::SameUser | Self::SameUserAndKey(_))
    }
}
