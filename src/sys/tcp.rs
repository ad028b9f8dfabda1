//! Listening TCP sockets, and the one accept that a signal may interrupt.
//!
//! Called by `prefork`. Everything else that is done to a connection is in `std::net`.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use super::error::{during, errno};
use super::rendezvous::is_shortage;
use super::stream;

/// Binds and listens. Answers are sent without Nagle's delay on every connection accepted from the socket, because
/// Linux hands TCP_NODELAY down. `backlog` is cut to `net.core.somaxconn` by the kernel.
pub(crate) fn listen(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = during("making a socket", Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP)))?;
    during("setting SO_REUSEADDR", socket.set_reuse_address(true))?;
    during("setting TCP_NODELAY", socket.set_tcp_nodelay(true))?;
    during("binding", socket.bind(&addr.into()))?;
    during("listening", socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX)))?;
    Ok(socket.into())
}

/// What one [`accept`] came to, when it is not a connection.
#[derive(Debug)]
pub(crate) enum AcceptError {
    /// A signal came in: look whether there is something else to do.
    Interrupted,
    /// No descriptor or no memory is left, in this process or on this machine. The connection, if there is one, stays
    /// in the queue; asking again at once would spin.
    OutOfResources,
    /// The connection ended while it stood in the queue, or its network has a passing fault: take the next one.
    Passing,
    /// The listener itself is no good.
    Listener(io::Error),
}

/// Takes one connection, non-blocking and close-on-exec. Blocks until there is one, or until a signal whose handler was
/// set without SA_RESTART interrupts it: this is the one call that does not retry EINTR.
pub(crate) fn accept(listener: &TcpListener) -> Result<(TcpStream, SocketAddr), AcceptError> {
    let (socket, peer) = SockRef::from(listener).accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK).map_err(classify)?;
    // Only a family other than IPv4 and IPv6 has no such form, and those are not listened on.
    let peer = peer.as_socket().ok_or(AcceptError::Passing)?;
    Ok((socket.into(), peer))
}

fn classify(error: io::Error) -> AcceptError {
    match error {
        _ if error.kind() == io::ErrorKind::Interrupted => AcceptError::Interrupted,
        _ if is_shortage(&error) => AcceptError::OutOfResources,
        _ if is_passing(&error) => AcceptError::Passing,
        _ => AcceptError::Listener(error),
    }
}

/// Whether an error of accept concerns one connection, or a network for a while; of a listener that is known to be sound, also
/// what accept(2) has for "not this one" and for a firewall's no.
fn is_passing(error: &io::Error) -> bool {
    let errno = errno(error).map(Errno::from_raw);
    stream::is_passing(error) || matches!(errno, Some(Errno::EOPNOTSUPP | Errno::EPERM))
}

/// Has the kernel drop whatever arrives at a listening socket: no connection is added to its queue any more, while those
/// that stand in it can still be accepted. Who connects meanwhile is refused as soon as the socket is closed.
pub(crate) fn deafen(listener: &TcpListener) -> io::Result<()> {
    // A classic BPF program of one instruction: return 0, the number of bytes to keep.
    let drop_all = [SockFilter::new(0x06, 0, 0, 0)];
    during("filtering a listening socket", SockRef::from(listener).attach_filter(&drop_all))
}

/// How many descriptors this process may open.
pub(crate) fn most_descriptors() -> usize {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    limit.map_or(256, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Ipv6Addr};

    const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn an_accepted_connection_does_not_block_and_does_not_delay() {
        let listener = listen(ANYWHERE, 16).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut served, peer) = accept(&listener).unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(served.nodelay().unwrap());
        assert_eq!(served.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        served.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }

    #[test]
    fn an_address_in_use_is_said_to_be_so() {
        let listener = listen(ANYWHERE, 16).unwrap();
        let error = listen(listener.local_addr().unwrap(), 16).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(errno(&error), Some(Errno::EADDRINUSE as i32));
    }

    #[test]
    fn the_sixth_version_of_ip_is_listened_on_too() {
        match listen(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)), 16) {
            Ok(listener) => assert!(listener.local_addr().unwrap().is_ipv6()),
            Err(error) => {
                assert_eq!(errno(&error), Some(Errno::EADDRNOTAVAIL as i32), "this machine has IPv6: {error}")
            }
        }
    }

    #[test]
    fn a_deaf_listener_gives_out_its_queue_and_takes_nobody_in() {
        let listener = listen(ANYWHERE, 16).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut queued = TcpStream::connect(addr).unwrap();
        deafen(&listener).unwrap();
        let short = std::time::Duration::from_millis(50);
        assert_eq!(TcpStream::connect_timeout(&addr, short).unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (mut served, _) = accept(&listener).unwrap();
        // The connections that came out of it hear well.
        queued.write_all(b"?").unwrap();
        served.set_nonblocking(false).unwrap();
        served.read_exact(&mut [0]).unwrap();
        served.write_all(b"!").unwrap();
        queued.read_exact(&mut [0]).unwrap();
        drop(listener);
        assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn errors_of_accept_are_told_apart() {
        let class = |errno: Errno| classify(errno.into());
        assert!(matches!(class(Errno::EINTR), AcceptError::Interrupted));
        assert!(matches!(class(Errno::EMFILE), AcceptError::OutOfResources));
        assert!(matches!(class(Errno::ECONNABORTED), AcceptError::Passing));
        assert!(matches!(class(Errno::EBADF), AcceptError::Listener(_)));
    }
}
