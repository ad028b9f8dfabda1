//! Listening Unix sockets, connecting to them, and who is at the other end.
//!
//! Called by `ipc`. They keep record boundaries (SEQPACKET). Accepting and what goes through an accepted socket never block.
//!
//! # Safety
//!
//! accept4(2) gives a plain number, which gets its owner at once.

#![expect(unsafe_code, reason = "giving the descriptor of accept4 its owner")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, connect, getsockopt, listen, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::time::{TimeVal, TimeValLike};

use super::clock::Deadline;
use super::error::{during, errno, retry};
use super::stream::is_passing;

/// What a Unix socket is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name<'a> {
    /// A file.
    Path(&'a Path),
    /// A name that goes with its last socket, and that no file stands for.
    Abstract(&'a [u8]),
}

impl Name<'_> {
    fn address(self) -> io::Result<UnixAddr> {
        let address = match self {
            Self::Path(path) => UnixAddr::new(path),
            Self::Abstract(name) => UnixAddr::new_abstract(name),
        };
        during("a Unix socket's name has 107 bytes at most", address)
    }
}

/// Binds and listens; `private` keeps other users than this one from connecting, where the name is a path. The socket
/// itself does not block.
pub(crate) fn listen_at(name: Name<'_>, private: bool) -> io::Result<OwnedFd> {
    let address = name.address()?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = during("making a socket", socket(AddressFamily::Unix, SockType::SeqPacket, flags, None))?;
    if private {
        // Linux gives the file the socket's own mode, less the umask.
        during("setting a socket's mode", fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR))?;
    }
    during("binding", bind(socket.as_raw_fd(), &address))?;
    during("listening", listen(&socket, Backlog::MAXCONN))?;
    Ok(socket)
}

/// Connects; waits, until `deadline`, while the listener's queue is full (`TimedOut`).
pub(crate) fn connect_to(name: Name<'_>, deadline: Deadline) -> io::Result<OwnedFd> {
    let address = name.address()?;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
    let socket = during("making a socket", socket)?;
    let connected = loop {
        // There is nothing to poll for, so the kernel keeps the time; of a timeout of zero it would make none.
        let left = deadline.remaining().map_or(Duration::ZERO, |left| left.max(Duration::from_micros(1)));
        set_patience(&socket, left)?;
        match connect(socket.as_raw_fd(), &address) {
            Err(Errno::EAGAIN) if deadline.is_expired() => break Err(io::ErrorKind::TimedOut.into()),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            other => break other.map_err(io::Error::from),
        }
    };
    during("connecting", connected)?;
    set_patience(&socket, Duration::ZERO)?;
    Ok(socket)
}

/// What the kernel is told of a longer time, which not every type on the way to it can say.
const LONGEST_PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long connecting waits, up to [`LONGEST_PATIENCE`]; zero is for ever.
fn set_patience(socket: &OwnedFd, patience: Duration) -> io::Result<()> {
    let microseconds = i64::try_from(patience.min(LONGEST_PATIENCE).as_micros()).unwrap_or(i64::MAX);
    during("setting SO_SNDTIMEO", setsockopt(socket, sockopt::SendTimeout, &TimeVal::microseconds(microseconds)))
}

/// Why [`accept`] gave no connection.
#[derive(Debug)]
pub(crate) enum NotAccepted {
    /// There is none, or it ended while it stood in the queue, or the network has a passing fault.
    None,
    /// No descriptor or no memory is left. The connection stays in the queue.
    OutOfResources(io::Error),
    /// The listener itself is no good, or this process may not accept (EPERM, of a security module or a filter of system
    /// calls). The connection stays in the queue here, too.
    Listener(io::Error),
}

/// Takes one connection from the queue of a listening socket.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, NotAccepted> {
    match retry(|| accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)) {
        // SAFETY: the kernel opened this descriptor for this call, and nobody else has seen its number.
        Ok(accepted) => Ok(unsafe { OwnedFd::from_raw_fd(accepted) }),
        Err(error) => Err(not_accepted(error)),
    }
}

/// What an error of accept means.
pub(crate) fn not_accepted(error: io::Error) -> NotAccepted {
    match error {
        _ if error.kind() == io::ErrorKind::WouldBlock || is_passing(&error) => NotAccepted::None,
        _ if is_shortage(&error) => NotAccepted::OutOfResources(error),
        _ => NotAccepted::Listener(error),
    }
}

/// Whether an error of accept means that no descriptor or no memory is left, in this process or on this machine.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let errno = errno(error).map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

/// Who made the other end of a Unix socket, as the kernel noted it when they connected or began to listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credentials {
    /// Zero if it is not to be seen from this PID namespace.
    pub(crate) pid: u32,
    pub(crate) uid: u32,
}

/// See [`Credentials`].
pub(crate) fn peer_of(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let peer = during("asking who is at the other end of a socket", getsockopt(&socket, sockopt::PeerCredentials))?;
    Ok(Credentials { pid: u32::try_from(peer.pid()).unwrap_or(0), uid: peer.uid() })
}

/// The user that this process acts as.
pub(crate) fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Takes up to as many bytes as `buffer` has: of a record the first ones, and the rest is gone. Descriptors that came with
/// them are dropped by the kernel. `WouldBlock` when there is nothing; zero at the end.
pub(crate) fn take(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    retry(|| recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT))
}

/// Sends all of a few bytes, or nothing of use: to a socket on which little was sent before, so that it has room.
/// `WouldBlock` if it has none; `BrokenPipe` when the other side is closed.
pub(crate) fn give(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match retry(|| send(socket.as_raw_fd(), bytes, flags))? {
        sent if sent == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Keeps other processes that ask, too, from changing names in a directory, until it is dropped.
pub(crate) struct DirectoryLock(#[expect(dead_code, reason = "its drop is what matters")] Flock<File>);

/// Locks a directory; `None` if somebody else has it until `deadline`, or if this process may not read it.
pub(crate) fn lock_directory(path: &Path, deadline: Deadline) -> Option<DirectoryLock> {
    let mut directory = File::open(path).ok()?;
    loop {
        directory = match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(DirectoryLock(lock)),
            Err((directory, Errno::EWOULDBLOCK | Errno::EINTR)) if !deadline.is_expired() => directory,
            Err(_) => return None,
        };
        // flock has no timed form, and waiting without one would let anybody who may read the directory stop this process.
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn name() -> Vec<u8> {
        let [one, two] = super::super::random::words().unwrap();
        format!("crewkit-{one:016x}{two:016x}").into_bytes()
    }

    #[test]
    fn who_connects_is_accepted_and_known() {
        let name = name();
        let listener = listen_at(Name::Abstract(&name), false).unwrap();
        assert!(matches!(accept(listener.as_fd()), Err(NotAccepted::None)));
        let client = connect_to(Name::Abstract(&name), Deadline::NEVER).unwrap();
        let served = accept(listener.as_fd()).unwrap();
        for end in [&client, &served] {
            let Credentials { pid, uid } = peer_of(end.as_fd()).unwrap();
            assert_eq!((pid, uid), (std::process::id(), user()));
        }
        give(client.as_fd(), b"four").unwrap();
        let mut start = [0; 3];
        assert_eq!(take(served.as_fd(), &mut start).unwrap(), 3);
        let next = take(served.as_fd(), &mut start).unwrap_err();
        assert_eq!(next.kind(), io::ErrorKind::WouldBlock, "the rest of a record is gone");
    }

    #[test]
    fn a_full_queue_lets_nobody_wait_for_ever() {
        let name = name();
        let listener = listen_at(Name::Abstract(&name), false).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let _first = connect_to(Name::Abstract(&name), Deadline::NEVER).unwrap();
        for timeout in [Duration::ZERO, Duration::from_millis(5)] {
            let begin = std::time::Instant::now();
            let error = connect_to(Name::Abstract(&name), Deadline::after(timeout)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(begin.elapsed() >= timeout);
        }
    }

    #[test]
    fn no_time_is_too_long_to_connect_in() {
        let name = name();
        let _listener = listen_at(Name::Abstract(&name), false).unwrap();
        for seconds in (0..u64::BITS).map(|shift| 1 << shift) {
            let _client = connect_to(Name::Abstract(&name), Deadline::after(Duration::from_secs(seconds))).unwrap();
        }
    }

    /// The kernel says EOPNOTSUPP of a socket that cannot listen, now and ever.
    #[test]
    fn what_lasts_is_not_taken_for_an_empty_queue() {
        let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let Err(NotAccepted::Listener(error)) = accept(socket.as_fd()) else { panic!("asking again would spin") };
        assert_eq!(error.raw_os_error(), Some(Errno::EOPNOTSUPP as i32));
    }

    #[test]
    fn a_directory_is_locked_by_one_at_a_time() {
        let directory = std::env::temp_dir().join(String::from_utf8(name()).unwrap());
        std::fs::create_dir(&directory).unwrap();
        let lock = lock_directory(&directory, Deadline::NEVER).unwrap();
        assert!(lock_directory(&directory, Deadline::after(Duration::from_millis(3))).is_none());
        drop(lock);
        assert!(lock_directory(&directory, Deadline::after(Duration::ZERO)).is_some());
        std::fs::remove_dir(&directory).unwrap();
    }

    #[test]
    fn errors_of_accept_are_told_apart() {
        let error = |errno: Errno| io::Error::from(errno);
        assert!(is_shortage(&error(Errno::EMFILE)));
        assert!(!is_shortage(&error(Errno::ECONNABORTED)));
        assert!(!is_shortage(&error(Errno::EBADF)));
    }
}
