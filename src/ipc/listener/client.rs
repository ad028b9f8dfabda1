//! The side that comes to a listener.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::inbox::{Found, Inbox};
use super::{Address, Auth, ConnectError};
use crate::auth::{self, AuthError, Fault, Step};
use crate::ipc::Connection;
use crate::sys::clock::Deadline;
use crate::sys::poll::{Readiness, wait};
use crate::sys::random;
use crate::sys::rendezvous::{Name, connect_to, give, peer_of, user};
use crate::sys::stream;

/// Connects to a [`Listener`](super::Listener) (Python's `multiprocessing.connection.Client`). There is no value of this type.
#[derive(Debug)]
pub enum Client {}

impl Client {
    /// A connection to whoever listens at an address, after each has shown the other what `auth` asks for.
    ///
    /// ```
    /// use crewkit::ipc::{Auth, Client, ConnectError, Connection, Key};
    ///
    /// let nobody = Client::connect::<String, String>("/run/nobody-listens-here", Auth::Key(Key::random()?));
    /// assert!(matches!(nobody, Err(ConnectError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Blocking
    ///
    /// Until the other side [accepts](super::Listener::accept).
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub fn connect<S, R>(address: impl Into<Address>, auth: Auth) -> Result<Connection<S, R>, ConnectError> {
        connect(&address.into(), &auth, Deadline::NEVER).map(Connection::from)
    }

    /// [`connect`](Self::connect) within `timeout`.
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub fn connect_timeout<S, R>(
        address: impl Into<Address>,
        auth: Auth,
        timeout: Duration,
    ) -> Result<Connection<S, R>, ConnectError> {
        connect(&address.into(), &auth, Deadline::after(timeout)).map(Connection::from)
    }
}

fn connect(address: &Address, auth: &Auth, deadline: Deadline) -> Result<OwnedFd, ConnectError> {
    auth.check(address)?;
    let socket = match address {
        Address::Path(path) => connect_to(Name::Path(path), deadline)?,
        Address::Abstract(name) => connect_to(Name::Abstract(name.as_bytes()), deadline)?,
        Address::Tcp(address) => stream::connect(*address, deadline)?,
    };
    if auth.is_same_user() && peer_of(socket.as_fd())?.uid != user() {
        return Err(ConnectError::Untrusted(AuthError::WrongUser));
    }
    let (mut machine, hello) = auth::Client::new(auth.key(), random::bytes()?);
    let mut inbox = Inbox::new(socket.as_fd());
    let mut next = hello;
    loop {
        // If it has no reader any more, what the other side said before it left tells why.
        let _sent = give(socket.as_fd(), &next);
        let heard = loop {
            match inbox.next(socket.as_fd()) {
                Found::Frame(frame) => break machine.receive(auth.key(), frame),
                Found::End => return Err(ConnectError::Closed),
                Found::Nothing if deadline.is_expired() => return Err(ConnectError::Timeout),
                Found::Nothing => wait(socket.as_fd(), Readiness::READ, deadline)?,
            };
        };
        next = match heard {
            Ok(Step::Send(frame)) => frame,
            Ok(Step::Done(_)) => return Ok(socket),
            Err(Fault::Ours(why)) => return Err(ConnectError::Untrusted(why)),
            Err(Fault::Theirs(why)) => return Err(ConnectError::Refused(why)),
        };
    }
}
