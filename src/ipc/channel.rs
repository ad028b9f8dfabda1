//! Endpoints of the [ipc-channel](ipc_channel) crate inside crewkit's messages (feature `ipc-channel`).
//!
//! [`IpcSender`], [`IpcReceiver`] and [`IpcSharedMemory`] serialise themselves only into ipc-channel's own messages, whose
//! descriptors stand in tables that nobody else can reach. So an endpoint is turned into its descriptor here, which travels
//! as any other does, and back where it has arrived, each by one message of ipc-channel's that never leaves the process:
//!
//! ```text
//!   Passed::new(endpoint)        arguments, results, messages         into_inner()
//!   endpoint -- ipc-channel --> descriptor -- SCM_RIGHTS --> descriptor -- ipc-channel --> endpoint
//!               to ourselves                                               from ourselves
//! ```
//!
//! The second is received by an [`IpcOneShotServer`], the only way into ipc-channel from outside. It has a socket with a
//! path in the temporary directory, in a directory of its own, for the microseconds of the call: of all that crewkit does,
//! the one thing that has a name. A process killed just then leaves an empty socket there.

use std::fmt;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory, OpaqueIpcReceiver,
    OpaqueIpcSender,
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parcel::{EncodeError, Moving, attach, claim};
use crate::sys::socket::{connect_seqpacket, duplicate, is_seqpacket, recv_record, send_record, seqpacket_pair};

/// A message of ipc-channel that holds one endpoint and nothing else: in little-endian words the length of the record and
/// of what follows, and in postcard the endpoint's place among the descriptors, which is the first.
const RECORD: [u8; 17] = [17, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];

/// An endpoint of ipc-channel on its way to another process: in the arguments or the result of a process, or in a message.
///
/// Sending it moves it, as it moves the end of a [`Connection`](super::Connection): clone an [`IpcSender`] before, if this
/// process goes on with it. Nothing changes for this one if the message cannot be sent.
///
/// ipc-channel has no defence against processes of ill will, nor against the death of one of several senders in the middle
/// of a long message. crewkit's own [`Connection`](super::Connection) has.
///
/// ```
/// use crewkit::ipc::channel::Passed;
/// use crewkit::process::Process;
/// use ipc_channel::ipc::{self, IpcSender};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let (sender, receiver) = ipc::channel::<String>()?;
///     let child = Process::spawn(
///         |sender: Passed<IpcSender<String>>| sender.into_inner().unwrap().send("from the child".to_owned()).unwrap(),
///         Passed::new(sender)?,
///     )?;
///     assert_eq!(receiver.recv()?, "from the child");
///     Ok(child.join()?)
/// }
/// ```
pub struct Passed<E> {
    state: Arc<Mutex<State>>,
    endpoint: PhantomData<fn() -> E>,
}

enum State {
    /// Where the endpoint lies.
    Here(OwnedFd),
    /// Shared memory without a byte, which lies nowhere.
    Empty,
    /// Somewhere else.
    Moved,
}

impl<E: Endpoint> Passed<E> {
    /// Takes an endpoint out of this process's hands.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, or the temporary directory cannot be written. The endpoint is dropped.
    pub fn new(endpoint: E) -> io::Result<Self> {
        let (near, far) = seqpacket_pair()?;
        let carrier: IpcSender<E> = open(&near)?;
        carrier.send(endpoint).map_err(io::Error::other)?;
        let mut record = Vec::new();
        let received = recv_record(far.as_fd(), &mut [], &mut record, 2 * RECORD.len())?;
        let (mut fds, is_whole) = (received.fds, !received.truncated && !received.fds_truncated);
        let state = match (fds.pop(), fds.is_empty()) {
            (Some(fd), true) if is_whole && record == RECORD => State::Here(fd),
            (None, true) if is_whole && E::empty().is_some() => State::Empty,
            _ => {
                // A message whose serialisation fails leaves its endpoints in ipc-channel's table, for the thread's next.
                let what = "ipc-channel has sent something else with the endpoint: was an earlier message of this thread refused?";
                return Err(io::Error::other(what));
            }
        };
        Ok(Self::of(state))
    }

    /// The endpoint, for use in this process.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// When it was already sent to another process, when this process may open no more descriptors, or the temporary
    /// directory cannot be written.
    pub fn into_inner(self) -> io::Result<E> {
        match std::mem::replace(&mut *self.state.lock(), State::Moved) {
            State::Here(fd) => open(&fd),
            State::Empty => E::empty().ok_or_else(|| io::ErrorKind::InvalidData.into()),
            State::Moved => Err(io::Error::other("the endpoint was already sent to another process")),
        }
    }
}

impl<E> Passed<E> {
    fn of(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), endpoint: PhantomData }
    }
}

/// Has ipc-channel receive the descriptor as an endpoint.
fn open<T: Serialize + DeserializeOwned>(fd: &OwnedFd) -> io::Result<T> {
    let (server, path) = IpcOneShotServer::<T>::new()?;
    let socket = connect_seqpacket(path.as_ref())?;
    // It is there before it is asked for, so neither call waits.
    send_record(socket.as_fd(), &[IoSlice::new(&RECORD)], &[fd.as_fd()])?;
    let (_, endpoint) = server.accept().map_err(io::Error::other)?;
    Ok(endpoint)
}

impl<E> Serialize for Passed<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if matches!(*self.state.lock(), State::Empty) {
            return serializer.serialize_none();
        }
        let index = attach(|| match &*self.state.lock() {
            State::Here(fd) => {
                let transit = Transit(Arc::clone(&self.state));
                Ok((duplicate(fd.as_fd()).map_err(EncodeError::Io)?, Some(Box::new(transit))))
            }
            State::Empty | State::Moved => Err(EncodeError::Moved),
        })?;
        serializer.serialize_some(&index)
    }
}

impl<'de, E: Endpoint> Deserialize<'de> for Passed<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let state = match Option::<u32>::deserialize(deserializer)? {
            None if E::empty().is_some() => State::Empty,
            // Without an index, the descriptor is one that no message has.
            index => claim(index.unwrap_or(u32::MAX), |fd| match E::lies_in(&fd) {
                true => Ok(State::Here(fd)),
                false => Err("the descriptor is no such endpoint of ipc-channel".to_owned()),
            })?,
        };
        Ok(Self::of(state))
    }
}

impl<E> fmt::Debug for Passed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.state.lock() {
            State::Here(_) => "here",
            State::Empty => "empty",
            State::Moved => "moved",
        };
        f.debug_struct("Passed").field("endpoint", &std::any::type_name::<E>()).field("state", &state).finish()
    }
}

/// An endpoint that is part of a message.
struct Transit(Arc<Mutex<State>>);

impl Moving for Transit {
    fn spend(self: Box<Self>) {
        *self.0.lock() = State::Moved;
    }

    fn sever(self: Box<Self>) {
        *self.0.lock() = State::Moved;
    }
}

/// What can be [`Passed`]: the endpoints of ipc-channel, and its shared memory.
pub trait Endpoint: sealed::Sealed + Serialize + DeserializeOwned {}

mod sealed {
    use super::{OwnedFd, is_seqpacket};
    use std::os::fd::AsFd;

    pub trait Sealed: Sized {
        /// Whether the descriptor is of the kind that ipc-channel takes for one of these.
        fn lies_in(fd: &OwnedFd) -> bool {
            is_seqpacket(fd.as_fd())
        }

        /// One that has no descriptor.
        fn empty() -> Option<Self> {
            None
        }
    }
}

macro_rules! endpoints {
    ($($endpoint:ident $(<$item:ident>)?),*) => {
        $(
            impl $(<$item>)? sealed::Sealed for $endpoint $(<$item>)? {}
            impl $(<$item>)? Endpoint for $endpoint $(<$item>)? {}
        )*
    };
}

endpoints!(IpcSender<T>, IpcReceiver<T>, IpcBytesSender, IpcBytesReceiver, OpaqueIpcSender, OpaqueIpcReceiver);

impl Endpoint for IpcSharedMemory {}

impl sealed::Sealed for IpcSharedMemory {
    fn lies_in(fd: &OwnedFd) -> bool {
        let file = fd.try_clone().map(std::fs::File::from);
        file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
    }

    fn empty() -> Option<Self> {
        Some(Self::from_bytes(&[]))
    }
}
