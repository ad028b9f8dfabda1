//! Where a listener is, and whom it takes.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::auth::Key;
use crate::sys::random;

/// Where a [`Listener`](super::Listener) is to be found.
///
/// A string or a path is a [`Path`](Self::Path), a [`SocketAddr`] one of [TCP](Self::Tcp).
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
    /// An address of TCP, for processes of several hosts. All else about a [`Connection`](crate::ipc::Connection) is as between
    /// processes of one host, but:
    ///
    /// * **Nothing is secret.** [`Auth::Key`] tells a listener and its clients who the others are when they meet, and nothing
    ///   after that: each message can be read and changed by whoever can on its way. For networks that are trusted, or inside of
    ///   an encrypted tunnel. (Python: the same.)
    /// * Values with descriptors, or with handles that are, are refused before anything is sent
    ///   ([`SendError::NotSerializable`](crate::ipc::SendError)).
    /// * A process that ends is noticed at once, a host that vanishes after 30 s by who receives. Who sends to it is told by the
    ///   kernel, after a quarter of an hour (`net.ipv4.tcp_retries2`): use the timed calls.
    /// * What the other side had not read when it closed may be lost, and a message that was sent just before that; so may the
    ///   last messages of a side that closes with messages for it unread.
    /// * A [`RecvHalf`](crate::ipc::RecvHalf) that is dropped is not noticed by who sends to it, before the other half is gone, too.
    ///
    /// ```
    /// use crewkit::ipc::{Address, Auth, Client, Connection, Key, Listener};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let auth = Auth::Key(Key::new("what both sides were told"));
    /// // Port 0: any that is free.
    /// let listener = Listener::bind(Address::tcp("127.0.0.1:0")?, auth.clone())?;
    /// let address = listener.address().clone();
    /// let client = std::thread::spawn(move || {
    ///     let near: Connection<String, usize> = Client::connect(address, auth).expect("somebody listens");
    ///     near.send(&"how long?".to_owned()).expect("somebody receives");
    ///     near.recv().expect("an answer")
    /// });
    /// let far: Connection<usize, String> = listener.accept()?;
    /// far.send(&far.recv()?.len())?;
    /// assert_eq!(client.join().unwrap(), 9);
    /// # Ok(())
    /// # }
    /// ```
    Tcp(SocketAddr),
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

    /// The address of TCP that a name stands for, as in `"localhost:8000"` or `("localhost", 8000)`; the first, if there are several.
    ///
    /// ```
    /// let address = crewkit::ipc::Address::tcp(("127.0.0.1", 8000))?;
    /// assert_eq!(address.to_string(), "127.0.0.1:8000");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Blocking
    ///
    /// While a name is looked up, for as long as the system's resolver takes.
    ///
    /// # Errors
    ///
    /// What the resolver says; `NotFound` when there is none.
    pub fn tcp(name: impl ToSocketAddrs) -> io::Result<Self> {
        name.to_socket_addrs()?.next().map(Self::Tcp).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// An abstract name begins with `@`, as other tools show it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{name}"),
            Self::Tcp(address) => address.fmt(f),
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

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
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
    /// do not rely on this as that user, in a namespace of which not everybody is known. Over TCP there is no telling, so that is an
    /// error (`InvalidInput`).
    SameUser,
    /// That it proves to have this key, without showing it (HMAC-SHA256 over random numbers of both sides). It does not
    /// encrypt, and does not protect what follows from somebody who can change it on its way.
    Key(Key),
    /// Both, and not over TCP.
    SameUserAndKey(Key),
}

impl Auth {
    pub(super) fn key(&self) -> Option<&Key> {
        match self {
            Self::SameUser => None,
            Self::Key(key) | Self::SameUserAndKey(key) => Some(key),
        }
    }

    /// An error if it cannot be had at an address.
    pub(super) fn check(&self, address: &Address) -> io::Result<()> {
        const WHY: &str = "over TCP nobody can tell which user is at the other end: use Auth::Key";
        match (self, address) {
            (Self::SameUser | Self::SameUserAndKey(_), Address::Tcp(_)) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, WHY))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn is_same_user(&self) -> bool {
        matches!(self, Self::SameUser | Self::SameUserAndKey(_))
    }
}
