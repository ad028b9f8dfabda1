//! One end of a pipe.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::direction::{Incoming, Outgoing};
use super::endpoint::Endpoint;
use super::half::{RecvHalf, SendHalf};
use super::lane::{Inlet, Outlet, Track};
use super::parcel::{EncodeError, attach, claim};
use super::wire::DEFAULT_LIMIT;
use super::{RecvError, SendError};
use crate::framing::Kind;
use crate::sys::clock::Deadline;
use crate::sys::socket::{duplicate, is_seqpacket, seqpacket_pair};
use crate::sys::stream::{is_stream, is_tcp};

/// Two connected ends of a new pipe (Python's `multiprocessing.Pipe(duplex=True)`): what one sends, the other receives.
///
/// # Errors
///
/// When this process may open no more descriptors.
///
/// ```
/// let (near, far) = crewkit::ipc::pipe::<String, u32>()?;
/// near.send(&"how long?".to_owned())?;
/// far.send(&(far.recv()?.len() as u32))?;
/// assert_eq!(near.recv()?, 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pipe<S, R>() -> io::Result<(Connection<S, R>, Connection<R, S>)> {
    let (one, other) = seqpacket_pair()?;
    let (one, other) = (Connection::from(one), Connection::from(other));
    Endpoint::pair(one.endpoint(), other.endpoint());
    Ok((one, other))
}

/// One end of a [`pipe`]: sends values of type `S`, receives values of type `R` (Python's
/// `multiprocessing.connection.Connection`).
///
/// Values are serde's; files, sockets ([`Fd`](super::Fd)) and other connections may stand anywhere in them. A message
/// arrives whole or not at all, in the order of sending, whatever happens to its sender. When the other end's process
/// ends, however it ends, what it had sent is still received, then [`RecvError::Closed`] comes at once.
///
/// An end has one owner. Serialising it **moves** it: once the message was sent, this copy answers
/// [`SendError::Moved`] and [`RecvError::Moved`]; if sending failed it is unchanged. It may be given to another thread
/// but not shared by two; [`split`](Self::split) it for that.
///
/// The closure of [`Process::fork`](crate::process::Process::fork) owns the ends that it captures, and the forking
/// process should have let go of them: capture by `move`. Of two ends of one connection it owns the one that it uses
/// first; the other is the forking process's. In a process forked in any other way inherited ends answer
/// [`SendError::ForeignProcess`] and [`RecvError::ForeignProcess`]. A forked process also inherits the ends that it has
/// no use for, and for as long as it lives, their other sides do not see the end of the stream.
///
/// A [`Listener`](super::Listener) gives connections to strangers, over TCP to other hosts: what is different then is said at
/// [`Address::Tcp`](super::Address::Tcp).
///
/// Values go through postcard: types that need a self-describing format (`#[serde(untagged)]`, `flatten`,
/// `skip_serializing_if`) cannot be received. A long `Vec<u8>` in a value is handled byte by byte; use
/// [`send_bytes`](Self::send_bytes), or the `serde_bytes` crate. A type may contain itself, as a tree does; a value that is
/// so deep that it takes more than a mebibyte of stack to receive is refused ([`RecvError::Decode`]), as whoever sent it
/// might otherwise end this process. So receive such types where a mebibyte is left: not on a small stack of a generator's.
pub struct Connection<S, R> {
    outgoing: Outgoing<S>,
    incoming: Incoming<R>,
}

impl<S, R> Connection<S, R> {
    fn on(endpoint: Arc<Endpoint>, (outlet, inlet): (Outlet, Inlet)) -> Self {
        Self { outgoing: Outgoing::on(Arc::clone(&endpoint), outlet), incoming: Incoming::on(endpoint, inlet) }
    }

    fn new_outlet(is_stream: bool) -> Outlet {
        if is_stream { Outlet::on_stream(DEFAULT_LIMIT) } else { Outlet::new(DEFAULT_LIMIT) }
    }

    fn new_inlet(is_stream: bool) -> Inlet {
        if is_stream { Inlet::on_stream(DEFAULT_LIMIT) } else { Inlet::new(DEFAULT_LIMIT) }
    }

    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.outgoing.endpoint
    }

    /// Sends a value (Python: `send`).
    ///
    /// The receiver gets it whole or not at all. Handles in the value that can have one owner (ends of connections) are
    /// the receiver's once this has returned `Ok`.
    ///
    /// # Blocking
    ///
    /// Until there was room for the whole message: a receiver that does not receive lets some 200 KiB wait for it, which is
    /// a few hundred short messages while they go by the socket, and some 16,000 when they go by a ring.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. `Closed` once the other end is closed or its process has ended; messages sent in the 20 µs
    /// after that may be accepted, as those may that the other end has not taken when it is closed.
    pub fn send(&self, value: &S) -> Result<(), SendError>
    where
        S: Serialize,
    {
        self.outgoing.send(value, Deadline::NEVER)
    }

    /// [`send`](Self::send) within `timeout`, also when the receiver is stopped in the middle of a long message.
    ///
    /// # Blocking
    ///
    /// For at most `timeout`. With a timeout of zero it sends only what needs no waiting.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. After `Timeout` the receiver discards what was sent of the message, and the next message can
    /// be sent.
    pub fn send_timeout(&self, value: &S, timeout: Duration) -> Result<(), SendError>
    where
        S: Serialize,
    {
        self.outgoing.send(value, Deadline::after(timeout))
    }

    /// Receives a value (Python: `recv`).
    ///
    /// # Blocking
    ///
    /// Until a whole message is there, or the other end is closed.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    pub fn recv(&self) -> Result<R, RecvError>
    where
        R: DeserializeOwned,
    {
        self.incoming.recv(Deadline::NEVER)
    }

    /// [`recv`](Self::recv) if a whole message is there. Does not block.
    ///
    /// # Errors
    ///
    /// See [`RecvError`]. `Timeout` when there is none.
    pub fn try_recv(&self) -> Result<R, RecvError>
    where
        R: DeserializeOwned,
    {
        self.incoming.recv(Deadline::after(Duration::ZERO))
    }

    /// [`recv`](Self::recv) within `timeout`, also when the sender is stopped in the middle of a long message.
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`RecvError`]. After `Timeout`, what arrived of a message is kept, and the next call goes on with it.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R, RecvError>
    where
        R: DeserializeOwned,
    {
        self.incoming.recv(Deadline::after(timeout))
    }

    /// Waits until [`recv`](Self::recv) would not block (Python: `poll`): `true` when a whole message is there, and
    /// also when `recv` would answer an error at once; `false` when the time is over.
    ///
    /// # Blocking
    ///
    /// For at most `timeout`. A timeout of zero only looks.
    pub fn poll(&self, timeout: Duration) -> bool {
        self.incoming.poll(Deadline::after(timeout))
    }

    /// Sends bytes as they are, copied once (Python: `send_bytes`). They are received by
    /// [`recv_bytes`](Self::recv_bytes), never by [`recv`](Self::recv).
    ///
    /// # Blocking
    ///
    /// Until there was room for the whole message.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.outgoing.transmit(Kind::Bytes, bytes, &[], Deadline::NEVER)
    }

    /// [`send_bytes`](Self::send_bytes) within `timeout`.
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_bytes_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<(), SendError> {
        self.outgoing.transmit(Kind::Bytes, bytes, &[], Deadline::after(timeout))
    }

    /// Receives bytes that were sent by [`send_bytes`](Self::send_bytes) (Python: `recv_bytes`).
    ///
    /// # Blocking
    ///
    /// Until a whole message is there, or the other end is closed.
    ///
    /// # Errors
    ///
    /// See [`RecvError`]. `WrongKind` when the next message is a value: it is kept for `recv`.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.incoming.recv_bytes(Deadline::NEVER)
    }

    /// [`recv_bytes`](Self::recv_bytes) within `timeout`.
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.incoming.recv_bytes(Deadline::after(timeout))
    }

    /// [`recv_bytes`](Self::recv_bytes) into a buffer of the caller's; returns the message's length (Python:
    /// `recv_bytes_into`).
    ///
    /// # Blocking
    ///
    /// Until a whole message is there, or the other end is closed.
    ///
    /// # Errors
    ///
    /// See [`RecvError`]. `BufferTooShort` says how long it must be; the message is kept. After an error, and behind the
    /// length, nothing in the buffer means anything.
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.incoming.recv_bytes_into(buffer, Deadline::NEVER)
    }

    /// [`recv_bytes_into`](Self::recv_bytes_into) within `timeout`.
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`RecvError`] and [`recv_bytes_into`](Self::recv_bytes_into). After `Timeout` what arrived of a message is kept.
    pub fn recv_bytes_into_timeout(&self, buffer: &mut [u8], timeout: Duration) -> Result<usize, RecvError> {
        self.incoming.recv_bytes_into(buffer, Deadline::after(timeout))
    }

    /// The longest message, in bytes, that this end sends or receives. 1 GiB unless it was set.
    pub fn message_limit(&self) -> u64 {
        self.outgoing.limit()
    }

    /// Sets the longest message, in bytes, that this end sends or receives. It bounds the memory that the other side
    /// can make this process use. It is this end's own: an end that is moved begins with the default again.
    pub fn set_message_limit(&self, bytes: u64) {
        self.outgoing.set_limit(bytes);
        self.incoming.set_limit(bytes);
    }

    /// The two directions, for two threads. An end itself is not shared by threads:
    ///
    /// ```compile_fail,E0277
    /// fn share(_: impl Sync) {}
    /// share(crewkit::ipc::pipe::<u8, u8>().unwrap().0);
    /// ```
    #[must_use]
    pub fn split(self) -> (SendHalf<S>, RecvHalf<R>) {
        (SendHalf(self.outgoing), RecvHalf(self.incoming))
    }

    /// Closes this end, as dropping it does. The other side receives what was sent, then [`RecvError::Closed`].
    pub fn close(self) {
        drop(self);
    }
}

/// An end that reached this process past crewkit, by exec or by fork: the descriptor must be what [`AsFd`] gives of an
/// end that nobody else uses any more, and that was asked for it before many messages had gone through (while `Debug`
/// says that it uses the socket); or a socket of TCP, connected to another such end. Every message is checked on receipt; of any other descriptor there is no message.
impl<S, R> From<OwnedFd> for Connection<S, R> {
    fn from(socket: OwnedFd) -> Self {
        let is_stream = is_stream(socket.as_fd());
        let lanes = (Self::new_outlet(is_stream), Self::new_inlet(is_stream));
        Self::on(Endpoint::new(socket), lanes)
    }
}

/// For [`wait`](super::wait()) and other people's event loops: readable when [`recv`](Connection::recv) will find something.
/// Now and then it is so a moment before, or for nothing: receive with a timeout. Of an end that nobody has asked for it
/// while few messages had come it is no longer the socket. While it is, one case is silent: a message that a call refused
/// and kept (`WrongKind`, `BufferTooShort`).
///
/// An end whose descriptor was asked for by others than `wait` before that keeps to its socket for good, which is slower.
///
/// Take the descriptor out of your event loop before you send the end away. What is watched of an end that has moved is
/// readable, and receiving says [`RecvError::Moved`]. Where this process may open no more descriptors, an end that is no
/// longer the socket gives one that is readable at any time, and that epoll refuses (`EPERM`).
impl<S, R> AsFd for Connection<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.incoming.lend()
    }
}

impl<S, R> fmt::Debug for Connection<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |is_ring| if is_ring { "a ring" } else { "the socket" };
        let sends_by = name(self.outgoing.lane.borrow().track().is_some());
        let receives_by = name(matches!(self.incoming.lane.borrow().track(), Some((_, true))));
        let lanes = format_args!("sends by {sends_by}, receives by {receives_by}");
        f.debug_tuple("Connection").field(self.endpoint()).field(&lanes).finish()
    }
}

/// Moves the end into the message being sent, see [`Connection`]. An error outside of crewkit's transports, and while
/// a part of a message is held.
impl<S, R> Serialize for Connection<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let (outlet, inlet) = (self.outgoing.lane.borrow(), self.incoming.lane.borrow());
        // Invariant 9: what was received of a message would stay behind.
        let holds = |why: &str| Err(EncodeError::NotSerializable(why.to_owned()));
        let socket = attach(|| match (inlet.holds_something(), outlet.holds_something()) {
            (true, _) => holds(HOLDS_SOMETHING),
            (_, true) => holds(HOLDS_A_REST),
            _ => self.endpoint().hand_over(),
        })?;
        let tracks = [
            outlet.track().map(|track| (track, SENDS_BY_RING)),
            inlet.track().map(|(track, in_use)| (track, if in_use { RECEIVES_BY_RING } else { WAS_OFFERED_RING })),
        ];
        let mut travelling = socket;
        for (track, how) in tracks.into_iter().flatten() {
            for fd in track.fds() {
                attach(|| Ok((duplicate(fd).map_err(EncodeError::Io)?, None)))?;
            }
            travelling |= how;
        }
        serializer.serialize_u32(travelling)
    }
}

// An end in a message: the index of its socket, and these flags. The descriptors of its rings follow the socket's, a ring
// and its bell, that of sending first.
const INDEX: u32 = 0xFF;
const SENDS_BY_RING: u32 = 0x100;
const RECEIVES_BY_RING: u32 = 0x200;
const WAS_OFFERED_RING: u32 = 0x400;
const KNOWN: u32 = INDEX | SENDS_BY_RING | RECEIVES_BY_RING | WAS_OFFERED_RING;

impl<'de, S, R> Deserialize<'de> for Connection<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let travelling = u32::deserialize(deserializer)?;
        let receives_twice = RECEIVES_BY_RING | WAS_OFFERED_RING;
        if travelling & !KNOWN != 0 || travelling & receives_twice == receives_twice {
            return Err(D::Error::custom("what is said of the end of a connection is not so of any"));
        }
        let mut index = travelling & INDEX;
        let (endpoint, is_stream) = claim(index, |fd| match (is_seqpacket(fd.as_fd()), is_tcp(fd.as_fd())) {
            (false, false) => Err("a descriptor in it is not the end of a connection".to_owned()),
            (_, is_stream) => Ok((Endpoint::new(fd), is_stream)),
        })?;
        if is_stream && travelling != index {
            return Err(D::Error::custom("a stream that is said to have a ring"));
        }
        let mut track = |how: u32| -> Result<Option<Track>, D::Error> {
            if travelling & how == 0 {
                return Ok(None);
            }
            let ring = claim(index + 1, Ok)?;
            let track = claim(index + 2, |bell| Track::open(ring, bell).map_err(|error| error.to_string()))?;
            index += 2;
            Ok(Some(track))
        };
        let outlet = match track(SENDS_BY_RING)? {
            Some(track) => Outlet::resume(DEFAULT_LIMIT, track),
            None => Self::new_outlet(is_stream),
        };
        let inlet = match track(RECEIVES_BY_RING | WAS_OFFERED_RING)? {
            Some(track) => Inlet::resume(DEFAULT_LIMIT, track, travelling & RECEIVES_BY_RING != 0),
            None => Self::new_inlet(is_stream),
        };
        Ok(Self::on(endpoint, (outlet, inlet)))
    }
}

const HOLDS_SOMETHING: &str = "this end of the connection has received a part of a message, which would be lost (receive it first), or what is no message";
const HOLDS_A_REST: &str =
    "this end of the connection has not sent all of a message that was given up; send another one first";
