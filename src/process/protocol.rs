//! What owner, fork server and child say to each other; `README.md` beside this file says when.
//!
//! Requests and statuses are one record each, so that they are sent and received whole or not at all, from any thread
//! and without a lock. What the owner and the child say on the life socket are messages of [`ipc::wire`](crate::ipc).

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::exit::{Exit, ResourceUsage};
use super::function::Function;
use crate::panics::PanicReport;
use crate::sys::socket;

/// The variable that tells an executed process what it is.
pub(super) const BOOT: &str = "CREWKIT_BOOT";

/// What an executed process is; the value of [`BOOT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A fork server: descriptor 0 handed over is the control socket, 1 the read end of the owner's pulse.
    Server,
    /// A child by exec: descriptor 0 handed over is the life socket, 1 the read end of the owner's pulse.
    Child,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Child => "child",
        }
    }

    pub(super) fn from_name(name: &OsStr) -> Option<Self> {
        [Self::Server, Self::Child].into_iter().find(|role| name == role.name())
    }
}

/// Owner to fork server, on the control socket.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Call this, before any fork; the first request or none.
    Preload(Function),
    /// Fork a child. With this travel the child's end of the life socket and the server's end of the status socket.
    Fork {
        /// The child leads a process group of its own, and the group ends with it.
        own_group: bool,
    },
}

/// Fork server to owner, on a child's status socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Status {
    /// The child exists; its pidfd travels with this.
    Started { pid: u32 },
    /// There is no child.
    Refused(Refusal),
    /// The child has ended and was reaped. The last status.
    Ended { exit: Exit, usage: ResourceUsage },
}

/// Why a fork server did not fork.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// It has threads, so it must not.
    Multithreaded { threads: usize },
    /// The kernel refused.
    Kernel(Failure),
    /// What it was to call first did not return: why.
    Preload(String),
}

/// An error of the kernel, as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    what: String,
    errno: Option<i32>,
}

impl Failure {
    pub(super) fn into_error(self) -> io::Error {
        let kind = self.errno.map_or(io::ErrorKind::Other, |errno| io::Error::from_raw_os_error(errno).kind());
        io::Error::new(kind, self.what)
    }
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        Self { what: error.to_string(), errno: crate::sys::error::errno(error) }
    }
}

/// Owner to child, the first message on the life socket: what to become, and what to call. Descriptors travel with it
/// in this order: the directory, then each of `stdio` that is [`Redirect::Handed`]. The second message is the
/// argument.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) spec: Spec,
    pub(super) function: Function,
}

/// What a child is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) owner_name: String,
    pub(super) owner_pid: u32,
    /// `KEY=value`, each followed by a NUL.
    pub(super) environment: Bytes,
    pub(super) umask: u32,
    pub(super) stdio: [Redirect; 3],
    pub(super) own_group: bool,
    pub(super) nice: Option<i32>,
    /// The processors that it may use.
    pub(super) affinity: Option<Vec<usize>>,
    pub(super) limits: Limits,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    /// What to call first, where no fork server has.
    pub(super) preload: Option<Function>,
}

/// Limits of a child; `None` leaves the owner's.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Limits {
    /// Bytes of address space.
    pub(super) memory: Option<u64>,
    /// Seconds of processor time.
    pub(super) cpu: Option<u64>,
    pub(super) open_files: Option<u64>,
}

/// Where one of the child's standard streams goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Redirect {
    /// `/dev/null`.
    Null,
    /// A descriptor that travels with the message.
    Handed,
}

/// Child to owner, before the call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Readiness {
    /// It became what it was to be, has its argument, and calls now.
    Ready,
    /// It could not, and ends.
    Failed(Failure),
}

/// Child to owner, after the call: the head of the message, followed by the bytes of the result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The result is what follows, and the descriptors of the message are its own.
    Returned,
    /// The result has this length and is in the memory file that is the message's first descriptor.
    ReturnedInMemory { len: u64 },
    /// See [`Outcome`](super::function::Outcome).
    Panicked(PanicReport),
    /// See [`Outcome`](super::function::Outcome).
    BadArgument(String),
    /// See [`Outcome`](super::function::Outcome).
    BadResult(String),
}

/// Bytes that serde copies at once; it would take a `Vec<u8>` one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsBytes;
        impl Visitor<'_> for AsBytes {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_byte_buf(AsBytes)
    }
}

impl Bytes {
    /// Packs an environment.
    pub(super) fn pack<'a>(variables: impl Iterator<Item = (&'a OsStr, &'a OsStr)>) -> Self {
        let mut packed = Vec::with_capacity(4096);
        for (key, value) in variables {
            packed.extend_from_slice(key.as_bytes());
            packed.push(b'=');
            packed.extend_from_slice(value.as_bytes());
            packed.push(0);
        }
        Self(packed)
    }

    /// The variables of a packed environment. A name may begin with `=`, so the separator is looked for behind that.
    pub(super) fn unpack(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.split(|&byte| byte == 0).filter_map(|entry| {
            let separator = 1 + entry.get(1..)?.iter().position(|&byte| byte == b'=')?;
            Some((OsStr::from_bytes(entry.get(..separator)?), OsStr::from_bytes(entry.get(separator + 1..)?)))
        })
    }
}

/// Encodes one of the types here. They contain nothing that postcard refuses, so an error is one of memory.
pub(super) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(io::Error::other)
}

/// Decodes one of the types here from the beginning of `bytes`; the rest is returned.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), postcard::Error> {
    postcard::take_from_bytes(bytes)
}

/// The longest request or status, with room to spare for the text of a refusal.
const MAX_RECORD: usize = 4096;

/// Sends a request or a status as one record. `WouldBlock` when the socket is full.
pub(super) fn send<T: Serialize>(socket: BorrowedFd<'_>, value: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    socket::send_record(socket, &[IoSlice::new(&encode(value)?)], fds)
}

/// What [`receive`] found.
#[derive(Debug)]
pub(super) enum Record<T> {
    /// A record, and how many descriptors should have come with it is for the caller to know.
    Whole(T, Vec<OwnedFd>),
    /// There is none now.
    Nothing,
    /// The other side is closed, and there will be none.
    Closed,
    /// A record whose descriptors were lost, because this process may open no more; those that came are closed again.
    Truncated(T),
}

/// Receives a request or a status, without waiting.
pub(super) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Record<T>> {
    let mut bytes = Vec::new();
    let received = match socket::recv_record(socket, &mut [], &mut bytes, MAX_RECORD) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Record::Nothing),
        received => received?,
    };
    if received.len == 0 {
        return Ok(Record::Closed);
    }
    let (value, _) = decode(&bytes).map_err(io::Error::other)?;
    if received.fds_truncated {
        return Ok(Record::Truncated(value));
    }
    Ok(Record::Whole(value, received.fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_survives_packing() {
        let variables: [(&OsStr, &OsStr); 4] = [
            (OsStr::new("A"), OsStr::new("b=c")),
            (OsStr::from_bytes(b"\xff"), OsStr::from_bytes(b"\xfe\x80")),
            (OsStr::new("=C:"), OsStr::new("")),
            (OsStr::new("EMPTY"), OsStr::new("")),
        ];
        let packed = Bytes::pack(variables.into_iter());
        let (unpacked, rest): (Bytes, _) = decode(&encode(&packed).unwrap()).map(|(b, r)| (b, r.len())).unwrap();
        assert_eq!(rest, 0);
        assert_eq!(unpacked.unpack().collect::<Vec<_>>(), variables);
    }

    #[test]
    fn roles_have_names() {
        for role in [Role::Server, Role::Child] {
            assert_eq!(Role::from_name(OsStr::new(role.name())), Some(role));
        }
        assert_eq!(Role::from_name(OsStr::new("other")), None);
    }

    #[test]
    fn what_follows_a_reply_is_left() {
        let mut bytes = encode(&Reply::Returned).unwrap();
        bytes.extend(b"rest");
        let (reply, rest) = decode::<Reply>(&bytes).unwrap();
        assert!(matches!(reply, Reply::Returned));
        assert_eq!(rest, b"rest");
    }

    #[test]
    fn records_travel_whole_and_the_end_is_seen() {
        use std::os::fd::AsFd;
        let (near, far) = socket::seqpacket_pair().unwrap();
        assert!(matches!(receive::<Request>(far.as_fd()).unwrap(), Record::Nothing));
        send(near.as_fd(), &Request::Fork { own_group: true }, &[near.as_fd()]).unwrap();
        drop(near);
        let Record::Whole(request, fds) = receive::<Request>(far.as_fd()).unwrap() else { panic!("no request") };
        assert!(matches!(request, Request::Fork { own_group: true }));
        assert_eq!(fds.len(), 1);
        drop(fds);
        assert!(matches!(receive::<Request>(far.as_fd()).unwrap(), Record::Closed));
    }
}
