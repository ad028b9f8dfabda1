//! The wire against itself, and against a peer that writes whatever it likes.

use super::*;
use crate::framing::Chunks;
use crate::sys::socket::{MAX_FDS_PER_RECORD, await_news, send_record, seqpacket_pair};
use std::io::IoSlice;
use std::os::fd::AsFd;

const LIMIT: usize = 1 << 20;

struct Pair {
    a: OwnedFd,
    b: OwnedFd,
    sender: Sender,
    receiver: Receiver,
}

impl Pair {
    fn new() -> Self {
        let (a, b) = seqpacket_pair().unwrap();
        Self { a, b, sender: Sender::new(LIMIT as u64), receiver: Receiver::new(LIMIT as u64) }
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        self.sender.try_send(self.a.as_fd(), bytes, &[]).unwrap()
    }

    fn recv(&mut self) -> Result<Option<Message>, WireError> {
        self.receiver.try_recv(self.b.as_fd())
    }

    fn recv_bytes(&mut self) -> Option<Vec<u8>> {
        self.recv().unwrap().map(|message| message.bytes)
    }

    /// A record written past the codec.
    fn raw(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        send_record(self.a.as_fd(), &[IoSlice::new(bytes)], fds).unwrap();
    }

    /// The connection must still carry a message.
    fn assert_usable(&mut self) {
        assert!(self.send(b"after"));
        assert_eq!(self.recv_bytes().as_deref(), Some(&b"after"[..]));
        assert!(matches!(self.recv(), Ok(None)));
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

fn chunk(header: Header, payload: &[u8]) -> Vec<u8> {
    [&header.encode()[..], payload].concat()
}

fn header(len: usize, first: bool, last: bool, total: u64) -> Header {
    Header { len, first, last, kind: Kind::Value, fds: 0, total }
}

#[test]
fn messages_of_every_size_arrive_whole_and_in_order() {
    let mut pair = Pair::new();
    for size in [0, 1, 100, MAX_CHUNK - 1, MAX_CHUNK, MAX_CHUNK + 1, 3 * MAX_CHUNK + 5, LIMIT] {
        let message = pattern(size);
        let mut received = None;
        while !pair.send(&message) {
            assert!(received.is_none());
            received = pair.recv_bytes();
        }
        let received = received.or_else(|| pair.recv_bytes()).unwrap();
        assert!(received == message, "{size}");
    }
    assert!(pair.send(b"one") && pair.send(b"two"));
    assert_eq!(pair.recv_bytes().unwrap(), b"one");
    assert_eq!(pair.recv_bytes().unwrap(), b"two");
    assert!(pair.recv_bytes().is_none());
}

#[test]
fn a_short_message_does_not_keep_a_long_buffer() {
    let mut pair = Pair::new();
    assert!(pair.send(b"short"));
    assert!(pair.recv_bytes().unwrap().capacity() < 64);
}

#[test]
fn an_unfinished_message_stays_and_is_finished_later() {
    let mut pair = Pair::new();
    let message = pattern(LIMIT);
    assert!(!pair.send(&message), "the socket cannot hold it");
    assert!(pair.recv_bytes().is_none());
    assert!(pair.receiver.holds_something());
    let mut rounds = 0;
    while !pair.send(&message) {
        assert!(pair.recv_bytes().is_none());
        rounds += 1;
    }
    assert!(rounds > 1);
    assert!(pair.recv_bytes().unwrap() == message);
    assert!(!pair.receiver.holds_something());
}

#[test]
fn an_abandoned_message_is_not_seen() {
    let mut pair = Pair::new();
    let (reader, writer) = io::pipe().unwrap();
    let message = pattern(LIMIT);
    assert!(!pair.sender.try_send(pair.a.as_fd(), &message, &[writer.as_fd()]).unwrap());
    drop(writer);
    assert!(pair.recv_bytes().is_none());
    pair.sender.abandon();
    pair.assert_usable();
    assert_eq!(io::read_to_string(reader).unwrap(), "", "the descriptor of the abandoned message must be closed");
}

#[test]
fn an_abandoned_message_that_never_began_is_not_missed() {
    let mut pair = Pair::new();
    while pair.send(&pattern(MAX_CHUNK)) {}
    pair.sender.abandon();
    while pair.recv_bytes().is_some() {}
    pair.assert_usable();
}

#[test]
fn the_end_inside_a_message_discards_it() {
    let mut pair = Pair::new();
    assert!(pair.send(b"whole"));
    assert!(!pair.send(&pattern(LIMIT)));
    let Pair { a, b, sender: _, mut receiver } = pair;
    drop(a);
    assert_eq!(receiver.try_recv(b.as_fd()).unwrap().unwrap().bytes, b"whole");
    while !matches!(receiver.try_recv(b.as_fd()), Err(WireError::Closed)) {
        await_news(b.as_fd());
    }
    for _ in 0..3 {
        assert!(matches!(receiver.try_recv(b.as_fd()), Err(WireError::Closed)));
    }
    assert!(receiver.bytes.is_empty());
}

#[test]
fn sending_to_a_closed_end_is_an_error() {
    let mut pair = Pair::new();
    let Pair { a, b, sender, .. } = &mut pair;
    drop(std::mem::replace(b, a.try_clone().unwrap()));
    await_news(a.as_fd());
    let error = sender.try_send(a.as_fd(), b"x", &[]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn limits_are_checked_before_anything_is_sent() {
    let mut pair = Pair::new();
    let long = pattern(LIMIT + 1);
    let many = vec![pair.a.as_fd(); MAX_FDS_PER_RECORD + 1];
    for error in [
        pair.sender.try_send(pair.a.as_fd(), &long, &[]).unwrap_err(),
        pair.sender.try_send(pair.a.as_fd(), b"x", &many).unwrap_err(),
    ] {
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    pair.assert_usable();
}

#[test]
fn garbage_is_an_error_that_loses_no_other_message() {
    let good = header(3, true, true, 3);
    let huge = Header { total: u64::MAX, ..header(1, true, false, 0) };
    let garbage: [(&str, Vec<u8>); 10] = [
        ("one byte", vec![7]),
        ("half a header", good.encode()[..8].to_vec()),
        ("noise", pattern(300)),
        ("no magic", vec![0; 16]),
        ("record too short", chunk(good, b"ab")),
        ("record too long", chunk(good, b"abcd")),
        ("longer than any chunk", chunk(good, &pattern(MAX_CHUNK + 1))),
        ("continuation without a beginning", chunk(header(3, false, true, 9), b"abc")),
        ("announces too much", chunk(huge, b"a")),
        ("announces nothing", chunk(header(3, true, true, 0), b"abc")),
    ];
    for (what, record) in &garbage {
        let mut pair = Pair::new();
        assert!(pair.send(b"before"));
        pair.raw(record, &[]);
        assert_eq!(pair.recv_bytes().unwrap(), b"before");
        let error = pair.recv().unwrap_err();
        assert!(matches!(error, WireError::Corrupt(_) | WireError::TooLarge { .. }), "{what}: {error}");
        assert!(pair.receiver.bytes.capacity() <= 3 * MAX_CHUNK, "{what}: memory by announcement");
        assert!(matches!(pair.recv(), Ok(None)), "{what}");
        pair.assert_usable();
    }
}

#[test]
fn garbage_inside_a_message_is_said_once() {
    let mut pair = Pair::new();
    pair.raw(&chunk(header(3, true, false, 9), b"abc"), &[]);
    pair.raw(&pattern(40), &[]);
    pair.raw(&chunk(header(3, false, false, 9), b"def"), &[]);
    pair.raw(&chunk(header(3, false, true, 9), b"ghi"), &[]);
    assert!(matches!(pair.recv(), Err(WireError::Corrupt(_))));
    assert!(matches!(pair.recv(), Ok(None)), "the rest of the damaged message is skipped");
    pair.assert_usable();
}

#[test]
fn descriptors_that_were_not_announced_are_refused_and_closed() {
    for (what, record, late) in [
        ("beside a single chunk", chunk(header(1, true, true, 1), b"x"), false),
        ("beside a first chunk", chunk(header(1, true, false, 2), b"x"), false),
        ("beside a later chunk", chunk(header(1, false, true, 2), b"y"), true),
    ] {
        let mut pair = Pair::new();
        let (reader, writer) = io::pipe().unwrap();
        if late {
            pair.raw(&chunk(header(1, true, false, 2), b"x"), &[]);
        }
        pair.raw(&record, &[writer.as_fd()]);
        drop(writer);
        assert!(matches!(pair.recv(), Err(WireError::Corrupt(_))), "{what}");
        assert_eq!(io::read_to_string(reader).unwrap(), "", "{what}");
        pair.assert_usable();
    }
}

#[test]
fn descriptors_that_were_announced_but_are_missing_cost_only_their_message() {
    let mut pair = Pair::new();
    pair.raw(&chunk(Header { fds: 2, ..header(1, true, false, 2) }, b"x"), &[pair.a.as_fd()]);
    pair.raw(&chunk(header(1, false, true, 2), b"y"), &[]);
    assert!(matches!(pair.recv(), Err(WireError::Truncated)));
    assert!(matches!(pair.recv(), Ok(None)));
    pair.assert_usable();
}

#[test]
fn readiness_leaves_the_last_chunk_in_the_socket() {
    let mut pair = Pair::new();
    assert!(!pair.receiver.is_ready(&mut { ROUND }, pair.b.as_fd()));
    let message = pattern(2 * MAX_CHUNK);
    assert!(pair.send(&message));
    for _ in 0..2 {
        assert!(pair.receiver.is_ready(&mut { ROUND }, pair.b.as_fd()));
        assert_eq!(pair.receiver.bytes.len(), MAX_CHUNK);
    }
    assert!(pair.recv_bytes().unwrap() == message);
    assert!(!pair.receiver.is_ready(&mut { ROUND }, pair.b.as_fd()));
    pair.raw(b"garbage", &[]);
    assert!(pair.receiver.is_ready(&mut { ROUND }, pair.b.as_fd()), "an error is news, too");
}

#[test]
fn readiness_is_not_the_end_of_a_message_that_was_given_up() {
    let mut pair = Pair::new();
    pair.receiver.set_limit(MAX_CHUNK as u64);
    assert!(pair.send(&pattern(2 * MAX_CHUNK)));
    assert!(pair.receiver.is_ready(&mut { ROUND }, pair.b.as_fd()), "the error is news");
    assert!(matches!(pair.recv(), Err(WireError::TooLarge { .. })));
    assert!(!pair.receiver.is_ready(&mut { ROUND }, pair.b.as_fd()), "nothing is left but what will be skipped");
    assert!(pair.send(b"next"));
    assert!(pair.receiver.is_ready(&mut { ROUND }, pair.b.as_fd()));
    assert_eq!(pair.recv_bytes().unwrap(), b"next");
}

#[test]
fn the_kinds_of_messages_are_told_apart() {
    let mut pair = Pair::new();
    pair.sender.try_send_kind(pair.a.as_fd(), Kind::Bytes, b"raw", &[]).unwrap();
    pair.send(b"value");
    for (kind, bytes) in [(Kind::Bytes, &b"raw"[..]), (Kind::Value, b"value")] {
        assert_eq!(pair.receiver.advance(pair.b.as_fd()).unwrap(), Some(kind));
        assert_eq!(pair.recv_bytes().unwrap(), bytes);
    }
}

/// The pieces of a message, as they come by a ring, into the buffers of two callers one after the other.
#[test]
fn a_message_begun_in_a_callers_buffer_is_kept_when_that_one_leaves() {
    let message: Vec<u8> = (0..10).collect();
    for (kind, room, taken_by_first) in [Kind::Bytes, Kind::Value]
        .into_iter()
        .flat_map(|kind| [9, 10, 11].map(|room| (kind, room)))
        .flat_map(|(kind, room)| (0..=4).map(move |pieces| (kind, room, pieces)))
    {
        let mut receiver = Receiver::new(1 << 20);
        let mut chunks = Chunks::of_at_most(3, message.len(), kind, 0);
        let mut receive = |receiver: &mut Receiver, target: &mut Target<'_>, pieces| {
            for _ in 0..pieces {
                let Some((header, part)) = chunks.next() else { break };
                let copy = |onto: Onto<'_>| match onto {
                    Onto::Held(held) => held.extend_from_slice(&message[part]),
                    Onto::Caller(slice) => slice.copy_from_slice(&message[part]),
                    Onto::Nowhere => panic!("nothing is wrong with it"),
                };
                receiver.accept_piece(&header, Vec::new(), false, target, copy).unwrap();
                chunks.advance();
            }
        };
        let (mut first, mut second) = (vec![0; room], vec![0; room]);
        let mut target = Target::new(&mut first);
        receive(&mut receiver, &mut target, taken_by_first);
        let goes_there = kind == Kind::Bytes && room >= message.len();
        if taken_by_first == 4 {
            assert_eq!(receiver.whole(), Some(kind));
            assert_eq!(receiver.take_from(&target), goes_there.then_some(message.len()));
            if goes_there {
                assert!(!receiver.holds_something());
                assert_eq!(first[..message.len()], message);
                continue;
            }
        } else {
            receiver.keep(target);
        }
        let mut target = Target::new(&mut second);
        receive(&mut receiver, &mut target, 4);
        let is_there = receiver.take_from(&target).is_some();
        assert_eq!(is_there, goes_there && taken_by_first == 0, "{kind:?}, {room}, {taken_by_first}");
        let received = if is_there { second[..message.len()].to_vec() } else { receiver.take().bytes };
        assert_eq!(received, message, "{kind:?}, {room}, {taken_by_first}");
    }
}
