//! TCP between processes: listening, connecting, and what goes through a connection, in whatever pieces.
//!
//! Called by `ipc`. Listening sockets and what goes through a connection never block; waiting is [`super::poll`]'s part.
//!
//! # Safety
//!
//! Socket options are read and written by hand, because those of TCP have no wrapper at hand: all of them are one `int`.

#![expect(unsafe_code, reason = "options of a socket that have no wrapper")]

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use libc::{c_int, socklen_t};
use nix::errno::Errno;
use nix::sys::socket::{Backlog, MsgFlags, SockType, getsockopt, listen as listen_on, sendmsg, sockopt};

use super::clock::Deadline;
use super::error::{during, errno, retry};

/// Seconds of silence after which the other side's host is asked whether it is there, and between two such questions.
const KEEPALIVE: (c_int, c_int) = (15, 5);
/// How many of them may stay without an answer: after 30 s in all the connection ends.
///
/// TCP_USER_TIMEOUT would say the same of data that nobody confirms. But Linux counts a receiver that does not read as one
/// that is gone then, and ends its connection although its host answers.
const QUESTIONS: c_int = 3;

/// Binds and listens.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = during("listening at an address of TCP", TcpListener::bind(address))?;
    during("listening", listen_on(&listener, Backlog::MAXCONN))?;
    during("setting O_NONBLOCK", listener.set_nonblocking(true))?;
    Ok(listener)
}

/// Connects, until `deadline` (`TimedOut`).
pub(crate) fn connect(address: SocketAddr, deadline: Deadline) -> io::Result<OwnedFd> {
    let connected = match deadline.remaining() {
        None => TcpStream::connect(address),
        // There is no timeout of zero.
        Some(left) => TcpStream::connect_timeout(&address, left.max(Duration::from_micros(1))),
    };
    prepare(during("connecting", connected)?)
}

/// Sets a new connection to what both of its sides are set to: nothing waits to be sent, and a host that is gone is noticed.
pub(crate) fn prepare(stream: TcpStream) -> io::Result<OwnedFd> {
    during("setting TCP_NODELAY", stream.set_nodelay(true))?;
    for (level, option, value) in [
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, KEEPALIVE.0),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, KEEPALIVE.1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, QUESTIONS),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
    ] {
        during("setting what keeps a connection alive", set(stream.as_fd(), level, option, value))?;
    }
    Ok(stream.into())
}

/// Whether a descriptor is a stream socket, of any family.
pub(crate) fn is_stream(fd: BorrowedFd<'_>) -> bool {
    matches!(getsockopt(&fd, sockopt::SockType), Ok(SockType::Stream))
}

/// Whether a descriptor is a socket of TCP.
pub(crate) fn is_tcp(fd: BorrowedFd<'_>) -> bool {
    let mut protocol: c_int = 0;
    let mut length = LENGTH;
    let value = (&raw mut protocol).cast();
    // SAFETY: the value is an int, and both it and its length live during the call.
    let got = unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PROTOCOL, value, &raw mut length) };
    got == 0 && protocol == libc::IPPROTO_TCP && is_stream(fd)
}

/// Has a socket show nothing to be read before so many bytes have come, or the end.
pub(crate) fn set_low_water(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    during("setting SO_RCVLOWAT", set(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes))
}

#[expect(clippy::cast_possible_truncation, reason = "four")]
const LENGTH: socklen_t = size_of::<c_int>() as socklen_t;

fn set(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the value is an int, which lives during the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), LENGTH) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// Sends as much of `parts` as there is room for, and says how much that is: `WouldBlock` if none of it, `BrokenPipe` when
/// the other side is closed.
pub(crate) fn send_some(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match retry(|| sendmsg::<()>(fd.as_raw_fd(), parts, &[], flags, None)) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Errno::EPIPE.into()),
        other => other,
    }
}

/// From now on the socket is at its end for this process, and shows that.
pub(crate) fn stop_reading(fd: BorrowedFd<'_>) {
    let socket = fd.as_raw_fd();
    // A connection that is gone already is at its end.
    let _stopped = nix::sys::socket::shutdown(socket, nix::sys::socket::Shutdown::Read);
}

/// Closes a connection on which the last word was said, so that it arrives: closing with something unread would have the
/// kernel take it back. Of what comes without end a part is read.
pub(crate) fn close(stream: TcpStream) {
    const MOST: usize = 16;
    let _gone = stream.shutdown(Shutdown::Write);
    let mut unread = [0; 4096];
    let flags = MsgFlags::MSG_DONTWAIT;
    let mut read = || retry(|| nix::sys::socket::recv(stream.as_raw_fd(), &mut unread, flags)).is_ok_and(|len| len > 0);
    for _ in (0..MOST).take_while(|_| read()) {}
}

/// Whether an error of accept is one of the network's, or of one connection: accept(2) asks that these be treated like
/// EAGAIN.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    let errno = errno(error).map(Errno::from_raw);
    matches!(
        errno,
        Some(
            Errno::ECONNABORTED
                | Errno::EPROTO
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::ENONET
                | Errno::ETIMEDOUT
        )
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let client = connect(listener.local_addr().unwrap(), Deadline::after(Duration::from_secs(20))).unwrap();
        // Whoever has connected is in the queue.
        (client, prepare(listener.accept().unwrap().0).unwrap())
    }

    #[test]
    fn both_sides_send_at_once_and_ask_the_silent() {
        let (client, served) = pair();
        for end in [client, served] {
            assert!(is_tcp(end.as_fd()) && is_stream(end.as_fd()));
            assert!(getsockopt(&end, sockopt::KeepAlive).unwrap());
            assert!(TcpStream::from(end).nodelay().unwrap());
        }
        let (unix, _other) = UnixStream::pair().unwrap();
        assert!(!is_tcp(unix.as_fd()) && is_stream(unix.as_fd()));
        let (packets, _other) = super::super::socket::seqpacket_pair().unwrap();
        assert!(!is_tcp(packets.as_fd()) && !is_stream(packets.as_fd()));
        let (pipe, _writer) = io::pipe().unwrap();
        assert!(!is_tcp(pipe.as_fd()) && !is_stream(pipe.as_fd()));
    }

    #[test]
    fn no_time_is_too_short_or_too_long_to_connect_in() {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        for left in [Duration::from_secs(1 << 40), Duration::MAX / 4] {
            connect(listener.local_addr().unwrap(), Deadline::after(left)).unwrap();
        }
        // That may be enough here.
        let at_once = connect(listener.local_addr().unwrap(), Deadline::after(Duration::ZERO));
        assert!(at_once.err().is_none_or(|error| error.kind() == io::ErrorKind::TimedOut));
    }

    #[test]
    fn what_is_said_last_arrives_though_something_was_not_read() {
        let (client, served) = pair();
        assert_eq!(send_some(client.as_fd(), &[IoSlice::new(&[1; 50_000])]).unwrap(), 50_000);
        send_some(served.as_fd(), &[IoSlice::new(b"no")]).unwrap();
        super::super::socket::await_news(served.as_fd());
        close(TcpStream::from(served));
        let mut words = String::new();
        io::Read::read_to_string(&mut TcpStream::from(client), &mut words).unwrap();
        assert_eq!(words, "no");
    }
}
