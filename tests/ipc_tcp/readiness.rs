//! When there is something to receive, and who shows it.

use std::io::Write;
use std::os::fd::AsFd;
use std::thread;

use crewkit::ipc::{Auth, Client, Connection, Listener, pipe, wait};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::{BRIEFLY, COUNTS, LONG, VOID, WHOLE, asleep, message, pair, pattern, raw_pair, record};

#[test]
fn poll_says_when_a_message_is_whole_and_not_before() {
    let (end, mut peer) = raw_pair::<(), ()>();
    let bytes = pattern(3000);
    let record = message(&bytes);
    assert!(!end.poll(BRIEFLY / 20));
    for piece in record[..record.len() - 1].chunks(500) {
        peer.write_all(piece).unwrap();
        assert!(!end.poll(BRIEFLY / 20));
        assert!(end.recv_bytes_timeout(BRIEFLY / 20).is_err_and(|error| error.is_timeout()));
    }
    peer.write_all(&record[record.len() - 1..]).unwrap();
    for _ in 0..3 {
        assert!(end.poll(LONG), "it stays so");
    }
    assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), bytes);
    assert!(!end.poll(BRIEFLY / 20));
    drop(peer);
}

#[test]
fn poll_passes_over_what_does_not_count() {
    let (end, mut peer) = raw_pair::<(), ()>();
    peer.write_all(&record(WHOLE, b"given up", 8, VOID)).unwrap();
    assert!(!end.poll(BRIEFLY));
    peer.write_all(&record(WHOLE, b"given up", 8, VOID)).unwrap();
    peer.write_all(&message(b"meant")).unwrap();
    assert!(end.poll(LONG));
    assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), b"meant");
}

/// A loop of the user's own, over a descriptor that the crate knows nothing more of.
struct Loop(Epoll);

impl Loop {
    fn over(end: &Connection<(), ()>) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        epoll.add(end.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 0)).unwrap();
        Self(epoll)
    }

    fn is_ready_within(&self, milliseconds: u16) -> bool {
        self.0.wait(&mut [EpollEvent::empty()], EpollTimeout::from(milliseconds)).unwrap() == 1
    }
}

/// Once it knows how long a record is, the descriptor is silent until all of it has come; and a short record after a long one
/// shows as well.
#[test]
fn the_descriptor_is_readable_when_a_record_is_whole() {
    let (end, mut peer) = raw_pair::<(), ()>();
    let watch = Loop::over(&end);
    assert!(!watch.is_ready_within(1));
    for length in [60_000, 1, 0, 5, 40_000, 0] {
        let bytes = pattern(length);
        let record = message(&bytes);
        let (begin, rest) = record.split_at(16);
        peer.write_all(begin).unwrap();
        assert!(watch.is_ready_within(50_000), "of one that has just begun nobody knows");
        assert!(end.recv_bytes_timeout(BRIEFLY / 20).is_err_and(|error| error.is_timeout()));
        for piece in rest[..length].chunks(20_000) {
            assert!(!watch.is_ready_within(1), "{length} bytes");
            peer.write_all(piece).unwrap();
        }
        assert!(!watch.is_ready_within(1));
        peer.write_all(&[COUNTS]).unwrap();
        assert!(watch.is_ready_within(50_000), "{length} bytes");
        assert_eq!(end.recv_bytes_timeout(BRIEFLY / 20).unwrap(), bytes);
        assert!(!watch.is_ready_within(1));
        // At once, and with nobody having looked.
        peer.write_all(&message(b"short")).unwrap();
        assert!(watch.is_ready_within(50_000));
        assert_eq!(end.recv_bytes_timeout(BRIEFLY / 20).unwrap(), b"short");
    }
    // The end shows, also in the middle of a record.
    peer.write_all(&message(&pattern(100))[..50]).unwrap();
    assert!(watch.is_ready_within(50_000));
    assert!(end.recv_bytes_timeout(BRIEFLY / 20).is_err_and(|error| error.is_timeout()));
    assert!(!watch.is_ready_within(1));
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(watch.is_ready_within(50_000));
    assert!(end.recv_bytes_timeout(LONG).is_err_and(|error| error.is_closed()));
}

#[test]
fn connections_of_all_kinds_are_waited_for_together() {
    let (tcp, tcp_other) = pair::<u8, u8>();
    let listener = Listener::bind(crewkit::ipc::Address::unique().unwrap(), Auth::SameUser).unwrap();
    let (unix, unix_other) = thread::scope(|scope| {
        let client = asleep::spawn(scope, || Client::connect(listener.address(), Auth::SameUser).unwrap());
        let served: Connection<u8, u8> = listener.accept_timeout(LONG).unwrap();
        let client: Connection<u8, u8> = client.join();
        (served, client)
    });
    let (ring, ring_other) = pipe::<u8, u8>().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let all = || wait(&[&tcp, &unix, &ring, &reader], BRIEFLY).unwrap();
    for round in 0..100 {
        assert!(round > 2 || all().is_empty());
        let ends = [(&tcp, &tcp_other), (&unix, &unix_other), (&ring, &ring_other)];
        for (index, (end, other)) in ends.into_iter().enumerate() {
            other.send(&round).unwrap();
            assert_eq!(wait(&[&tcp, &unix, &ring, &reader], LONG).unwrap(), [index]);
            assert_eq!(end.recv_timeout(LONG).unwrap(), round);
        }
    }
    writer.write_all(b"x").unwrap();
    drop(ring_other);
    assert_eq!(all(), [2, 3]);
    let (quiet, _other) = pair::<u8, u8>();
    thread::scope(|scope| {
        let waiting = asleep::spawn(scope, move || {
            assert_eq!(wait(&[&quiet, &tcp], LONG).unwrap(), [1]);
            tcp
        });
        waiting.until_asleep();
        tcp_other.send(&1).unwrap();
        let tcp = waiting.join();
        assert_eq!(tcp.recv_timeout(LONG).unwrap(), 1);
        drop(tcp_other);
        assert_eq!(wait(&[&tcp], LONG).unwrap(), [0]);
    });
}

#[test]
fn who_waits_for_a_message_that_comes_in_pieces_sleeps_until_it_is_whole() {
    let (end, mut peer) = raw_pair::<(), ()>();
    thread::scope(|scope| {
        let waiting = asleep::spawn(scope, move || end.recv_bytes_timeout(LONG).unwrap());
        let bytes = pattern(50_000);
        for piece in message(&bytes).chunks(10_007) {
            waiting.until_asleep();
            peer.write_all(piece).unwrap();
        }
        assert_eq!(waiting.join(), bytes);
    });
}
