//! Sockets without crewkit, for those who do not keep to its rules.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crewkit::ipc::{Address, Connection};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, listen, recv,
    sendmsg, socket,
};

use crate::LONG;

pub(crate) const FRAME: usize = 40;
pub(crate) const HELLO: u8 = 1;
pub(crate) const CHALLENGE: u8 = 2;
pub(crate) const WELCOME: u8 = 4;
pub(crate) const REFUSED: u8 = 5;

/// A frame of the handshake, as `src/auth/frame.rs` draws it.
pub(crate) fn frame(kind: u8, word: u8, body: [u8; 32]) -> Vec<u8> {
    [&b"crew"[..], &[1, kind, word, 0], &body].concat()
}

fn named(address: &Address) -> UnixAddr {
    match address {
        Address::Abstract(name) => UnixAddr::new_abstract(name.as_bytes()).unwrap(),
        other => panic!("{other}"),
    }
}

fn seqpacket() -> OwnedFd {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap()
}

/// Somebody who has connected and said nothing.
pub(crate) fn stranger(address: &Address) -> OwnedFd {
    come(address).unwrap()
}

/// The same, where perhaps nobody listens any more.
pub(crate) fn come(address: &Address) -> nix::Result<OwnedFd> {
    let socket = seqpacket();
    connect(socket.as_raw_fd(), &named(address)).map(|()| socket)
}

/// A socket that listens, and where.
pub(crate) fn server() -> (OwnedFd, Address) {
    let (socket, address) = (seqpacket(), Address::unique().unwrap());
    bind(socket.as_raw_fd(), &named(&address)).unwrap();
    listen(&socket, Backlog::new(8).unwrap()).unwrap();
    (socket, address)
}

/// Who connects to it, by a descriptor of a safe kind.
pub(crate) fn accepted(server: &OwnedFd) -> OwnedFd {
    // Of a listener of the library's kind the standard library's would be one, too: all that it does is accept4.
    let listener = std::os::unix::net::UnixListener::from(server.try_clone().unwrap());
    listener.accept().unwrap().0.into()
}

pub(crate) fn say(socket: &OwnedFd, bytes: &[u8]) {
    say_with(socket, bytes, &[]);
}

pub(crate) fn say_with(socket: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let fds: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights };
    let sent = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None);
    assert_eq!(sent, Ok(bytes.len()));
}

/// The next record; empty at the end.
pub(crate) fn hear(socket: &OwnedFd) -> Vec<u8> {
    let mut bytes = [0; 100];
    loop {
        assert_eq!(crewkit::ipc::wait(&[socket], LONG).unwrap(), [0], "nothing is said");
        match recv(socket.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
            Ok(len) => return bytes[..len].to_vec(),
            // Said once, when something of ours was not read.
            Err(Errno::ECONNRESET) => {}
            Err(errno) => panic!("{errno}"),
        }
    }
}

/// Whether the listener has told somebody that it is turned away, and closed.
pub(crate) fn is_turned_away(socket: &OwnedFd) -> bool {
    let told = hear(socket);
    told.len() == FRAME && told[5] == REFUSED && hear(socket).is_empty()
}

/// An end that lends its descriptor only for as long as it lives.
pub(crate) fn is_closed(end: &Connection<u32, u32>) -> bool {
    let _readable = end.as_fd();
    end.recv_timeout(LONG).is_err_and(|error| error.is_closed())
}
