//! Records on a socket, and on a stream.

use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::Input;
use crate::framing::{Header, Kind, MAX_CHUNK};
use crate::ipc::wire::{ROUND, Receiver, Sender, WireError};
use crate::sys::socket::{send_record, seqpacket_pair};
use crate::sys::stream::send_some;

const LIMIT: u64 = 100_000;

/// The input as records that keep their boundaries, and as a stream.
pub fn wire(data: &[u8]) {
    records(data);
    stream(data);
}

/// Sends the input's records to a receiver: raw ones, and chunks of which each number may be a lie. Then the receiver must
/// still take a message, see the end, and have closed every descriptor.
fn records(data: &[u8]) {
    let mut input = Input(data);
    let (near, far) = seqpacket_pair().expect("sockets");
    let (mut alive, held) = io::pipe().expect("a pipe");
    let mut receiver = Receiver::new(LIMIT);
    while !input.is_empty() {
        let how = input.byte();
        let fds = vec![held.as_fd(); usize::from(how >> 5)];
        let record = if how & 1 == 0 { raw(&mut input) } else { chunk(how, &mut input) };
        // An empty record looks like the end: the kernel's own limitation, and only the sender's loss.
        if !record.is_empty() {
            send(near.as_fd(), &record, &fds);
        }
        if how & 2 != 0 {
            let _ = receiver.is_ready(&mut { ROUND }, far.as_fd());
        }
        drain(&mut receiver, far.as_fd());
    }
    let sent = Sender::new(LIMIT).try_send(near.as_fd(), b"after", &[]);
    assert!(sent.expect("the receiver reads"), "there is room");
    let last = receiver.try_recv(far.as_fd());
    assert!(matches!(&last, Ok(Some(message)) if message.bytes == b"after"), "{last:?}");
    drop(near);
    assert!(matches!(receiver.try_recv(far.as_fd()), Err(WireError::Closed)));
    drop(held);
    assert_eq!(alive.read(&mut [0]).expect("a pipe"), 0, "a descriptor was kept");
}

fn raw<'a>(input: &mut Input<'a>) -> Vec<u8> {
    let length = usize::from(input.byte());
    input.take(length).to_vec()
}

fn chunk(how: u8, input: &mut Input<'_>) -> Vec<u8> {
    let flags = input.byte();
    let length = match flags >> 6 {
        0..=2 => usize::from(input.byte()),
        _ => input.below(MAX_CHUNK),
    };
    let total = match flags >> 4 & 3 {
        0 => length as u64,
        1 => input.word(3),
        2 => input.word(8),
        _ => length as u64 + u64::from(input.byte()),
    };
    let kind = if flags & 4 == 0 { Kind::Value } else { Kind::Bytes };
    let fds = if flags & 8 == 0 { how >> 5 } else { input.byte() };
    let header = Header { len: length, first: flags & 1 != 0, last: flags & 2 != 0, kind, fds, total };
    let payload = if how & 4 == 0 { length } else { usize::from(input.byte()) };
    [&header.encode()[..], &vec![0xA5; payload]].concat()
}

/// A socket takes a record whole or not at all; the reader keeps it nearly empty.
fn send(socket: BorrowedFd<'_>, record: &[u8], fds: &[BorrowedFd<'_>]) {
    send_record(socket, &[IoSlice::new(record)], fds).expect("room for a record");
}

fn drain(receiver: &mut Receiver, socket: BorrowedFd<'_>) {
    loop {
        match receiver.try_recv(socket) {
            Ok(None) => return,
            Ok(Some(message)) => assert!(message.bytes.len() as u64 <= LIMIT && message.fds.len() < 8),
            Err(WireError::Closed | WireError::Io(_)) => panic!("the socket is open"),
            Err(_) => {}
        }
    }
}

/// What is received of a stream depends on its bytes, not on how they are cut, or on who looks.
fn stream(data: &[u8]) {
    /// As much as is worth its time.
    const MOST: usize = 1 << 16;
    let mut input = Input(data);
    let cut = 1 + usize::from(input.byte());
    let mut bytes = Vec::new();
    while !input.is_empty() && bytes.len() < MOST {
        let how = input.byte();
        if how & 1 == 0 {
            bytes.extend(raw(&mut input));
        } else {
            // No descriptors, but for a lie; and a verdict that counts, as a rule.
            bytes.extend(chunk(how & 7, &mut input));
            bytes.push(if how >> 5 == 0 { input.byte() } else { 1 });
        }
    }
    let at_once = received(&bytes, MOST, false);
    let in_pieces = received(&bytes, cut.max(bytes.len() / 512), true);
    assert_eq!(at_once, in_pieces, "{cut} bytes at a time");
}

/// What a receiver says of a stream up to its end, or up to what is no record.
fn received(bytes: &[u8], cut: usize, looks: bool) -> Vec<Result<Vec<u8>, String>> {
    let (near, far) = UnixStream::pair().expect("sockets");
    let mut receiver = Receiver::on_stream(LIMIT);
    let mut said = Vec::new();
    for piece in bytes.chunks(cut) {
        let mut left = piece;
        while !left.is_empty() {
            match send_some(near.as_fd(), &[IoSlice::new(left)]) {
                Ok(sent) => left = &left[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // It reads no more.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => left = &[],
                Err(error) => panic!("{error}"),
            }
            if looks {
                let _ = receiver.is_ready(&mut { ROUND }, far.as_fd());
            }
            while let Some(news) = next(&mut receiver, far.as_fd()) {
                match news {
                    Err(WireError::Closed) => return said,
                    news => said.push(news.map_err(|error| error.to_string())),
                }
            }
        }
    }
    drop(near);
    loop {
        match next(&mut receiver, far.as_fd()) {
            Some(Err(WireError::Closed)) => return said,
            Some(news) => said.push(news.map_err(|error| error.to_string())),
            None => {}
        }
    }
}

fn next(receiver: &mut Receiver, socket: BorrowedFd<'_>) -> Option<Result<Vec<u8>, WireError>> {
    let news = receiver.try_recv(socket).transpose()?;
    assert!(!matches!(news, Err(WireError::Io(_))), "{news:?}");
    Some(news.map(|message| {
        assert!(message.bytes.len() as u64 <= LIMIT && message.fds.is_empty());
        message.bytes
    }))
}
