//! Connections between processes that were handed nothing: one listens at an address, others come.
//!
//! | Part | What it does |
//! |---|---|
//! | [`Address`], [`Auth`] | where, and who may come |
//! | [`Lobby`] | those who have come and have not proved yet who they are |
//! | [`Door`] | the socket at which it listens |
//! | [`Claim`] | the name of a Unix socket in the file system |
//! | [`Client`] | the side that comes |
//!
//! The handshake itself is [`crate::auth`]'s.

mod address;
mod book;
mod claim;
mod client;
mod door;
mod error;
mod inbox;
mod lobby;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use parking_lot::Mutex;

use super::Connection;
use crate::reactor::{Poller, Registrar};
use crate::sync::Lock;
use crate::sys::clock::Deadline;
use crate::sys::generation;

pub use address::{Address, Auth};
use book::Book;
pub use book::{Peer, Refusal, Refusals};
use claim::Claim;
pub use client::Client;
use door::Door;
pub use error::{AcceptError, ConnectError};
use lobby::Lobby;

/// Takes connections from processes that have nothing of this one's but an address (Python's
/// `multiprocessing.connection.Listener`); they come by [`Client`].
///
/// Whoever connects is asked for what [`Auth`] says before anything that it sends is looked at: until then it can make this
/// process read two frames of 40 bytes, over TCP in as many pieces as it likes, and hold one descriptor.
/// [`accept`](Self::accept) gives out those who have answered. Those who are silent, slow, or send anything else hold up
/// nobody: up to 64 are attended to at a time, each for as long as [`handshake_timeout`](Self::handshake_timeout) says, and
/// when more come, one goes of the user (over TCP the host, in IPv6 its network of 64 bits), and of the process, that has most
/// of these places: the one that has been silent longest.
/// They are turned away without a word to `accept`'s caller; [`refusals`](Self::refusals) tells. (Python's `accept` raises
/// `AuthenticationError`, and one silent client blocks it for ever.)
///
/// Handshakes go on while somebody is in `accept`, at no other time: a client waits until then.
///
/// Any number of threads may accept. A listener belongs to the process that made it: in one that inherited it by fork it answers
/// [`AcceptError::ForeignProcess`]. Dropping it closes it, and takes its file away, if it still is its own. If its process is
/// killed, the file stays, and the next listener of this user at the same path takes its place.
///
/// ```
/// use crewkit::ipc::{Address, Auth, Client, Connection, Listener};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind(Address::unique()?, Auth::SameUser)?;
/// let address = listener.address().clone();
/// let client = std::thread::spawn(move || {
///     let near: Connection<String, usize> = Client::connect(address, Auth::SameUser).expect("somebody listens");
///     near.send(&"how long?".to_owned()).expect("somebody receives");
///     near.recv().expect("an answer")
/// });
/// let far: Connection<usize, String> = listener.accept()?;
/// far.send(&far.recv()?.len())?;
/// assert_eq!(client.join().unwrap(), 9);
/// # Ok(())
/// # }
/// ```
pub struct Listener {
    /// Dropped first: the name goes while somebody still listens.
    claim: Option<Claim>,
    address: Address,
    auth: Auth,
    lobby: Lock<Lobby>,
    book: Mutex<Book>,
    registrar: Registrar,
    maker: u32,
}

/// How long a client may take for each of its two frames, unless it was set.
const HANDSHAKE: Duration = Duration::from_secs(10);

impl Listener {
    /// Listens at an address, for those who can show what `auth` asks for.
    ///
    /// A path may be that of a socket at which nobody listens any more, because its process was killed: then this listener takes
    /// its place, if it is this user's. A child that was forked while the listener was open still listens in this sense.
    ///
    /// Port 0 of TCP is any that is free: [`address`](Self::address) says which.
    ///
    /// # Blocking
    ///
    /// At a path for 100 ms at most, while others keep its directory locked.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when somebody listens there, or something else has this name; `InvalidInput` for an `auth` that cannot be had
    /// at this address ([`Auth::SameUser`] over TCP); when this process may open no more descriptors
    /// (it keeps three, and needs a fourth for a moment); what bind(2) says otherwise.
    pub fn bind(address: impl Into<Address>, auth: Auth) -> io::Result<Self> {
        // Before there is a name to take away again, as it may fail for want of descriptors.
        let poller = Poller::new()?;
        let (door, address, claim) = Door::open(address.into(), &auth)?;
        Lobby::watch(&poller, door.as_fd())?;
        let lobby = Lobby::new(poller, door, auth.clone(), HANDSHAKE);
        let (registrar, maker) = (lobby.registrar(), generation::current());
        Ok(Self { claim, address, auth, lobby: Lock::new(lobby), book: Mutex::default(), registrar, maker })
    }

    /// Sets how long a client may take for each of the two things that it has to say. Ten seconds unless it was set.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.lobby.get_mut().set_patience(timeout);
        self
    }

    /// Where this listener is to be found (Python: `address`): of TCP with the port that it has, also if it was bound to port 0.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next who has shown what was asked for (Python: `accept`). Of what they send and receive, the types are not part of
    /// what is asked: each message is checked when it is received.
    ///
    /// # Blocking
    ///
    /// Until there is one.
    ///
    /// # Errors
    ///
    /// See [`AcceptError`]. Never because of what a client does.
    pub fn accept<S, R>(&self) -> Result<Connection<S, R>, AcceptError> {
        self.next(Deadline::NEVER).map(Connection::from)
    }

    /// [`accept`](Self::accept) if one is there and has answered already. Does not block, unless another thread is in `accept`, and
    /// then it answers at once, too.
    ///
    /// # Errors
    ///
    /// See [`AcceptError`]. `Timeout` when there is none.
    pub fn try_accept<S, R>(&self) -> Result<Connection<S, R>, AcceptError> {
        self.next(Deadline::after(Duration::ZERO)).map(Connection::from)
    }

    /// [`accept`](Self::accept) within `timeout`.
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`AcceptError`].
    pub fn accept_timeout<S, R>(&self, timeout: Duration) -> Result<Connection<S, R>, AcceptError> {
        self.next(Deadline::after(timeout)).map(Connection::from)
    }

    /// Who was accepted last, by whichever thread (Python: `last_accepted`).
    #[must_use]
    pub fn last_accepted(&self) -> Option<Peer> {
        self.own().ok()?;
        self.book.lock().last
    }

    /// Who was turned away, and why.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.own().map_or_else(|_| Refusals::default(), |()| self.book.lock().refusals())
    }

    /// Closes this listener, as dropping it does (Python: `close`). Who waits to be accepted is told nothing, and finds the
    /// connection closed.
    pub fn close(self) {
        drop(self);
    }

    fn own(&self) -> Result<(), AcceptError> {
        if self.maker == generation::current() { Ok(()) } else { Err(AcceptError::ForeignProcess) }
    }

    fn next(&self, deadline: Deadline) -> Result<OwnedFd, AcceptError> {
        self.own()?;
        let mut lobby = match deadline.remaining() {
            None => self.lobby.lock(),
            Some(left) => self.lobby.lock_timeout(left).ok_or(AcceptError::Timeout)?,
        };
        lobby.accept(&self.book, deadline)
    }
}

/// For [`wait`](super::wait()) and other people's event loops: readable when [`try_accept`](Listener::try_accept) has something to
/// do, be it one step of a handshake. Those who stay silent do not show; they are turned away when next somebody accepts.
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registrar.as_fd()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Listener");
        shown.field("address", &format_args!("{}", self.address)).field("auth", &self.auth);
        if self.own().is_err() {
            return shown.field("owner", &"another process").finish();
        }
        if let Some(lobby) = self.lobby.try_lock() {
            shown.field("pending", &lobby.pending());
        }
        shown.field("refused", &self.book.lock().total()).field("keeps_a_file", &self.claim.is_some()).finish()
    }
}
