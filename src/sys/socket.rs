//! SEQPACKET pairs, and records with descriptors in them: the carrier of every message between processes.
//!
//! Called by `ipc`, and by whoever owns a socket of its own (the fork server, the pre-fork master). A record is
//! atomic in the kernel: it arrives whole or not at all, whatever happens to its sender. Nothing here blocks but
//! [`await_record`]: every other operation passes MSG_DONTWAIT, and waiting is [`super::poll`]'s part.
//!
//! # Safety
//!
//! recvmsg(2) is called by hand because the received descriptors must have an owner before anything can fail: the
//! wrapper at hand refuses to show the control data of a record whose descriptors were cut, and so leaks those that
//! did arrive. Two promises make the unsafe blocks sound: the iovecs point into exclusively borrowed memory that
//! outlives the call, and each descriptor found in SCM_RIGHTS is wrapped exactly once.

#![expect(unsafe_code, reason = "recvmsg into spare capacity, and descriptors out of control messages")]

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, getsockopt, recv, sendmsg, shutdown, socket,
    socketpair, sockopt,
};

use super::error::{during, retry};

/// How many descriptors the kernel carries in one record (SCM_MAX_FD).
pub(crate) const MAX_FDS_PER_RECORD: usize = 253;

/// Room for the control message that carries [`MAX_FDS_PER_RECORD`] descriptors, and for those that say who sent it.
const CONTROL_SPACE: usize = {
    let payload = MAX_FDS_PER_RECORD * size_of::<RawFd>();
    #[expect(clippy::cast_possible_truncation, reason = "1,012 bytes")]
    // SAFETY: CMSG_SPACE only computes; it is declared unsafe because libc declares all its functions so.
    let space = unsafe { libc::CMSG_SPACE(payload as u32) };
    space as usize + 128
};

/// What one call of [`recv_record`] took from the socket.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes received, over all buffers. Zero means that the other side is closed and everything was read; an empty
    /// record, which this crate never sends, looks the same.
    pub(crate) len: usize,
    /// The record was longer than the buffers; the rest of it is gone.
    pub(crate) truncated: bool,
    /// The descriptors that came with the record, all CLOEXEC.
    pub(crate) fds: Vec<OwnedFd>,
    /// Descriptors were lost, because this process may open no more of them.
    pub(crate) fds_truncated: bool,
}

/// Two connected sockets that keep record boundaries, both CLOEXEC.
pub(crate) fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    during("making a pair of sockets", pair)
}

/// A socket that was never connected: what stands in the place of a descriptor that was handed to another process.
/// It polls as hung up, and nothing can be sent or received by it.
pub(crate) fn dead_socket() -> io::Result<OwnedFd> {
    let dead = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
    during("making the socket that replaces one handed over", dead)
}

/// A SEQPACKET socket that is connected to whoever listens at a path.
#[cfg(feature = "ipc-channel")]
pub(crate) fn connect_seqpacket(path: &std::path::Path) -> io::Result<OwnedFd> {
    use nix::sys::socket::{UnixAddr, connect};
    let connected = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
        .and_then(|socket| connect(socket.as_raw_fd(), &UnixAddr::new(path)?).map(|()| socket));
    during("connecting to a socket in the temporary directory", connected)
}

/// Whether a descriptor is a SEQPACKET socket.
pub(crate) fn is_seqpacket(fd: BorrowedFd<'_>) -> bool {
    matches!(getsockopt(&fd, sockopt::SockType), Ok(SockType::SeqPacket))
}

/// Makes descriptor number `over` refer to what `source` refers to. Who borrowed `over` keeps a valid descriptor.
pub(crate) fn replace(over: BorrowedFd<'_>, source: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        // SAFETY: both numbers are open descriptors, by their types; `over` stays open, CLOEXEC, and its owner's.
        let replaced = unsafe { libc::dup3(source.as_raw_fd(), over.as_raw_fd(), libc::O_CLOEXEC) };
        match Errno::result(replaced) {
            Ok(_) => return Ok(()),
            // EBUSY: the kernel's answer to a race with an open() in another thread.
            Err(Errno::EINTR | Errno::EBUSY) => {}
            Err(errno) => return during("replacing a descriptor that was handed over", Err(errno)),
        }
    }
}

/// A second descriptor for the same open file, CLOEXEC.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    during("duplicating a descriptor to send it", fd.try_clone_to_owned())
}

/// Sends `parts` as one record with `fds` attached: all of it, or nothing and an error.
///
/// `WouldBlock` when the socket is full, `BrokenPipe` when the other side is closed, `InvalidInput` for more than
/// [`MAX_FDS_PER_RECORD`] descriptors.
pub(crate) fn send_record(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > MAX_FDS_PER_RECORD {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "more than 253 descriptors in one record"));
    }
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match retry(|| sendmsg::<()>(fd.as_raw_fd(), parts, control, flags, None)) {
        Ok(_) => Ok(()),
        // The other side closed with records of ours unread. The kernel says so once, then EPIPE.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Errno::EPIPE.into()),
        Err(error) => Err(error),
    }
}

/// Receives one record: its first bytes into `head`, up to `room` more appended to `tail`.
///
/// `WouldBlock` when there is none. Memory of `tail` is reserved but not written before the kernel writes it.
pub(crate) fn recv_record(
    fd: BorrowedFd<'_>,
    head: &mut [u8],
    tail: &mut Vec<u8>,
    room: usize,
) -> io::Result<Received> {
    tail.reserve(room);
    let spare = tail.spare_capacity_mut();
    let mut parts = [
        libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() },
        libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: room.min(spare.len()) },
    ];
    let received = receive(fd, &mut parts, libc::MSG_DONTWAIT)?;
    let appended = received.len.saturating_sub(head.len());
    // SAFETY: the kernel filled `head` first and then wrote `appended` bytes, at most `room`, behind the old length.
    unsafe { tail.set_len(tail.len() + appended) };
    Ok(received)
}

/// Receives the first bytes of one record, and waits for it: one system call where poll and [`recv_record`] are two.
/// `WouldBlock` from a socket that somebody has made so that it never does.
pub(crate) fn await_record(fd: BorrowedFd<'_>, head: &mut [u8]) -> io::Result<Received> {
    receive(fd, &mut [libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() }], 0)
}

/// Copies the first bytes of the next record without taking it. Zero at the end of the stream.
pub(crate) fn peek_record(fd: BorrowedFd<'_>, head: &mut [u8]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
    reset_tolerant(|| retry(|| recv(fd.as_raw_fd(), head, flags)))
}

/// Tells the other side that no more records will come; it reads those on the way, then the end.
pub(crate) fn shut_down_sending(fd: BorrowedFd<'_>) -> io::Result<()> {
    during("closing the sending half", shutdown(fd.as_raw_fd(), Shutdown::Write))
}

/// Tells the other side that nothing more will be read. Takes what is queued, because a sender that waits for room
/// would otherwise not wake. By a stream nobody is told.
pub(crate) fn shut_down_receiving(fd: BorrowedFd<'_>) -> io::Result<()> {
    if !is_seqpacket(fd) {
        return Ok(());
    }
    during("closing the receiving half", shutdown(fd.as_raw_fd(), Shutdown::Read))?;
    let mut head = [0];
    while recv_record(fd, &mut head, &mut Vec::new(), 0)?.len > 0 {}
    Ok(())
}

/// Runs a receive again if it failed only because the other side closed with records of ours unread: the kernel says
/// that once, and what was sent before is still queued.
fn reset_tolerant<T>(mut op: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match op() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => op(),
        other => other,
    }
}

/// recvmsg(2), with its descriptors owned. `parts` must point to writable memory that the caller has borrowed.
fn receive(fd: BorrowedFd<'_>, parts: &mut [libc::iovec], flags: libc::c_int) -> io::Result<Received> {
    #[repr(C)]
    union Control {
        bytes: [MaybeUninit<u8>; CONTROL_SPACE],
        _align: libc::cmsghdr,
    }
    let mut control = Control { bytes: [MaybeUninit::uninit(); CONTROL_SPACE] };
    // SAFETY: all-zero bytes are a msghdr without address, buffers and control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    let flags = flags | libc::MSG_CMSG_CLOEXEC;
    let len = reset_tolerant(|| {
        retry(|| {
            message.msg_iov = parts.as_mut_ptr();
            message.msg_iovlen = parts.len();
            message.msg_control = (&raw mut control).cast();
            message.msg_controllen = CONTROL_SPACE;
            // SAFETY: the message points to `parts`, whose memory the caller lent for writing, and to `control`, which
            // is as long as it says; both live until the call returns.
            Errno::result(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) })
        })
    })?;
    Ok(Received {
        len: usize::try_from(len).unwrap_or(0),
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        fds: take_descriptors(&message),
        fds_truncated: message.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// SCM_PIDFD, which libc does not name yet. Whoever made our socket may have asked (SO_PASSPIDFD) that each record bring a
/// descriptor of its sender; unowned, they would pile up until this process can open no more.
const SCM_PIDFD: i32 = 4;

/// Gives each descriptor in the control data of a message just received its owner, and returns those that were sent.
/// Called once per message.
fn take_descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel filled msg_control up to msg_controllen.
    let mut cursor = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !cursor.is_null() {
        // SAFETY: a non-null cursor points to a whole header inside the control data, which is aligned for one.
        let header = unsafe { cursor.read() };
        if header.cmsg_level == libc::SOL_SOCKET && matches!(header.cmsg_type, libc::SCM_RIGHTS | SCM_PIDFD) {
            let sent = fds.len();
            // SAFETY: CMSG_LEN only computes.
            let empty = unsafe { libc::CMSG_LEN(0) } as usize;
            let count = header.cmsg_len.saturating_sub(empty) / size_of::<RawFd>();
            // SAFETY: the data follow the header.
            let data = unsafe { libc::CMSG_DATA(cursor) }.cast::<RawFd>();
            fds.reserve_exact(count);
            for index in 0..count {
                // SAFETY: `index` is below the number of descriptors that cmsg_len says are there.
                let slot = unsafe { data.add(index) };
                // SAFETY: the slot is inside the control data; it need not be aligned.
                let raw = unsafe { slot.read_unaligned() };
                // SAFETY: the kernel opened this descriptor for this message, and nobody else has seen its number.
                fds.push(unsafe { OwnedFd::from_raw_fd(raw) });
            }
            if header.cmsg_type == SCM_PIDFD {
                fds.truncate(sent);
            }
        }
        // SAFETY: the cursor points into the control data of this message.
        cursor = unsafe { libc::CMSG_NXTHDR(message, cursor) };
    }
    fds
}

/// Waits until something can be read, the end included. A child that another test is starting holds a copy of every
/// descriptor until it execs, so an end that was dropped may be seen a moment later.
#[cfg(test)]
pub(crate) fn await_news(fd: BorrowedFd<'_>) {
    use super::{clock::Deadline, poll};
    let deadline = Deadline::after(std::time::Duration::from_secs(10));
    assert!(poll::wait(fd, poll::Readiness::READ, deadline).unwrap().any(), "nothing came");
}

/// Waits until the other end is closed, see [`await_news`].
#[cfg(test)]
pub(crate) fn await_hang_up(fd: BorrowedFd<'_>) {
    use super::{clock::Deadline, poll};
    let deadline = Deadline::after(std::time::Duration::from_secs(10));
    assert!(poll::wait(fd, poll::Readiness::default(), deadline).unwrap().hung_up, "the other end is still open");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::Deadline;
    use crate::sys::poll::{Readiness, wait};
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::time::Duration;

    const ROOM: usize = 1 << 16;

    fn send(fd: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        send_record(fd.as_fd(), &[IoSlice::new(bytes)], fds)
    }

    fn receive_all(fd: &OwnedFd) -> io::Result<(Vec<u8>, Received)> {
        let mut tail = Vec::new();
        let received = recv_record(fd.as_fd(), &mut [], &mut tail, ROOM)?;
        Ok((tail, received))
    }

    /// Closes one end for good.
    fn close(end: OwnedFd, other: &OwnedFd) {
        drop(end);
        await_hang_up(other.as_fd());
    }

    fn receive_end(fd: &OwnedFd) {
        await_news(fd.as_fd());
        assert_eq!(receive_all(fd).unwrap().1.len, 0, "the other side must see the end");
    }

    fn is_cloexec(fd: &OwnedFd) -> bool {
        FdFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFD).unwrap()).contains(FdFlag::FD_CLOEXEC)
    }

    #[test]
    fn records_keep_their_boundaries_and_their_parts() {
        let (a, b) = seqpacket_pair().unwrap();
        assert!(is_cloexec(&a) && is_cloexec(&b) && is_seqpacket(a.as_fd()));
        send_record(a.as_fd(), &[IoSlice::new(b"head"), IoSlice::new(b"tail")], &[]).unwrap();
        send(&a, b"second", &[]).unwrap();

        let mut peeked = [0; 2];
        assert_eq!(peek_record(b.as_fd(), &mut peeked).unwrap(), 2);
        assert_eq!(&peeked, b"he");
        let (mut head, mut tail) = ([0; 4], b"kept ".to_vec());
        let received = recv_record(b.as_fd(), &mut head, &mut tail, ROOM).unwrap();
        assert_eq!((received.len, &head, &tail[..]), (8, b"head", &b"kept tail"[..]));
        assert_eq!(receive_all(&b).unwrap().0, b"second");
        assert_eq!(receive_all(&b).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_record_longer_than_the_buffer_says_so() {
        let (a, b) = seqpacket_pair().unwrap();
        send(&a, &[1; 100], &[]).unwrap();
        let mut tail = Vec::with_capacity(1000);
        let received = recv_record(b.as_fd(), &mut [], &mut tail, 99).unwrap();
        assert!(received.truncated);
        assert_eq!(tail.len(), 99);
    }

    #[test]
    fn descriptors_arrive_usable_and_cloexec() {
        let (a, b) = seqpacket_pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        send(&a, b"x", &[writer.as_fd(), reader.as_fd()]).unwrap();
        drop(writer);
        let (_, received) = receive_all(&b).unwrap();
        assert!(!received.fds_truncated && received.fds.iter().all(is_cloexec));
        let [writer, _reader] = <[OwnedFd; 2]>::try_from(received.fds).unwrap();
        std::fs::File::from(writer).write_all(b"through").unwrap();
        assert_eq!(io::read_to_string(reader).unwrap(), "through");
    }

    #[test]
    fn the_limit_of_descriptors_is_checked_before_anything_is_sent() {
        let (a, b) = seqpacket_pair().unwrap();
        let fds = vec![a.as_fd(); MAX_FDS_PER_RECORD + 1];
        assert_eq!(send(&a, b"x", &fds).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(receive_all(&b).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        send(&a, b"x", &fds[1..]).unwrap();
        assert_eq!(receive_all(&b).unwrap().1.fds.len(), MAX_FDS_PER_RECORD);
    }

    #[test]
    fn descriptors_that_nobody_sent_are_closed() {
        const SO_PASSPIDFD: i32 = 76;
        let (a, b) = seqpacket_pair().unwrap();
        let (on, len): (i32, libc::socklen_t) = (1, 4);
        // SAFETY: the option's value is an int, which lives during the call.
        let set =
            unsafe { libc::setsockopt(b.as_raw_fd(), libc::SOL_SOCKET, SO_PASSPIDFD, (&raw const on).cast(), len) };
        if Errno::result(set) == Err(Errno::ENOPROTOOPT) {
            return; // Linux before 6.5 has no such descriptors.
        }
        let pidfds = || {
            let entries = std::fs::read_dir("/proc/self/fd").unwrap();
            let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
            links.filter(|link| link.to_string_lossy().contains("pidfd")).count()
        };
        let before = pidfds();
        for _ in 0..50 {
            send(&a, b"x", &[a.as_fd()]).unwrap();
            assert_eq!(receive_all(&b).unwrap().1.fds.len(), 1);
        }
        // Other tests of this program have a few of their own.
        assert!(pidfds() < before + 40);
    }

    #[test]
    fn what_was_sent_before_a_reset_is_still_read() {
        let (a, b) = seqpacket_pair().unwrap();
        send(&b, b"never read", &[]).unwrap();
        send(&a, b"last words", &[]).unwrap();
        close(a, &b);
        let mut peeked = [0; 4];
        assert_eq!(peek_record(b.as_fd(), &mut peeked).unwrap(), 4);
        assert_eq!(receive_all(&b).unwrap().0, b"last words");
        receive_end(&b);

        let (a, b) = seqpacket_pair().unwrap();
        send(&b, b"never read", &[]).unwrap();
        send(&a, b"last words", &[]).unwrap();
        close(a, &b);
        assert_eq!(receive_all(&b).unwrap().0, b"last words");
        receive_end(&b);

        let (a, b) = seqpacket_pair().unwrap();
        send(&b, b"never read", &[]).unwrap();
        close(a, &b);
        assert_eq!(send(&b, b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn each_half_closes_alone() {
        let (a, b) = seqpacket_pair().unwrap();
        send(&a, b"first", &[]).unwrap();
        shut_down_sending(a.as_fd()).unwrap();
        assert_eq!(receive_all(&b).unwrap().0, b"first");
        receive_end(&b);
        send(&b, b"still", &[]).unwrap();
        assert_eq!(receive_all(&a).unwrap().0, b"still");

        while send(&b, &[0; 4096], &[]).is_ok() {}
        shut_down_receiving(a.as_fd()).unwrap();
        let ready = wait(b.as_fd(), Readiness::WRITE, Deadline::after(Duration::from_secs(10)));
        assert!(ready.unwrap().any(), "a full sender must learn that nobody will read");
        assert_eq!(send(&b, b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_replaced_descriptor_keeps_its_number_and_lets_go_of_its_file() {
        let (a, b) = seqpacket_pair().unwrap();
        let dead = dead_socket().unwrap();
        replace(a.as_fd(), dead.as_fd()).unwrap();
        assert!(is_cloexec(&a));
        receive_end(&b);
        assert!(send(&a, b"x", &[]).is_err() && receive_all(&a).is_err());
        assert!(wait(a.as_fd(), Readiness::READ, Deadline::NEVER).unwrap().hung_up);
    }
}
