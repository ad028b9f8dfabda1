//! Peers that have shown the key, and then write whatever they like.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use crewkit::ipc::{Connection, RecvError, SendError, pipe, wait};
use nix::sys::socket::{setsockopt, sockopt};

use crate::{
    BRIEFLY, BYTES, COUNTS, FIRST, HEADER, LAST, LONG, VOID, WHOLE, asleep, message, pattern, raw_pair, record,
};

/// Closes by a reset, as who dies with something unread.
pub(crate) fn reset(socket: TcpStream) {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&socket, sockopt::Linger, &at_once).unwrap();
}

type End = Connection<u32, u32>;

/// What the end says first of what a peer has written, which then waits.
fn first_of(bytes: &[u8]) -> (Result<Vec<u8>, RecvError>, End, TcpStream) {
    let (end, mut peer) = raw_pair();
    peer.write_all(bytes).unwrap();
    (end.recv_bytes_timeout(LONG), end, peer)
}

#[test]
fn what_is_no_record_ends_the_direction_and_that_shows() {
    let sound = message(b"sound");
    let damaged = |at: usize, byte: u8| {
        let mut damaged = sound.clone();
        damaged[at] = byte;
        damaged
    };
    let cases = [
        ("noise", vec![0xA5; 100]),
        ("zeros", vec![0; 100]),
        ("an answer of another protocol", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("another magic number", damaged(6, 0xE4)),
        ("a flag that there is not", damaged(4, WHOLE | 8)),
        ("a chunk of 16 MiB", damaged(2, 0xFF)),
        ("a descriptor", damaged(5, 1)),
        ("a verdict that there is not", record(WHOLE, b"sound", 5, 2)),
        ("a record of a socket's", [&[0, 0, 0, 0, 4, 0, 0xE4, 0xC7][..], &[0; 30]].concat()),
    ];
    for (what, bytes) in cases {
        let (first, end, mut peer) = first_of(&bytes);
        assert!(matches!(first, Err(RecvError::Corrupt(_))), "{what}: {first:?}");
        // Whatever it says now.
        peer.write_all(&message(b"after")).unwrap();
        for _ in 0..2 {
            assert_eq!(wait(&[&end], LONG).unwrap(), [0], "{what}");
            assert!(end.poll(LONG));
            assert!(matches!(end.recv_timeout(LONG), Err(RecvError::Closed)), "{what}");
        }
        // Where it is known, and nowhere else.
        let refused = pipe::<End, ()>().unwrap().0.send(&end);
        assert!(matches!(refused, Err(SendError::NotSerializable(_))), "{what}: {refused:?}");
        // The other direction is sound.
        end.send_bytes(b"still").unwrap();
        let mut heard = vec![0; message(b"still").len()];
        peer.read_exact(&mut heard).unwrap();
        assert_eq!(heard, message(b"still"));
    }
}

/// A look is not the error itself: that is for who receives.
#[test]
fn who_only_looks_loses_no_error() {
    let (end, mut peer) = raw_pair::<(), ()>();
    peer.write_all(&[7; 16]).unwrap();
    for _ in 0..2 {
        assert_eq!(wait(&[&end], LONG).unwrap(), [0]);
        assert!(end.poll(LONG));
    }
    assert!(matches!(end.recv_timeout(LONG), Err(RecvError::Corrupt(_))));
    assert!(matches!(end.recv_timeout(LONG), Err(RecvError::Closed)));
}

#[test]
fn what_breaks_the_rules_of_a_message_spoils_that_message_only() {
    let cases = [
        ("a continuation without a beginning", record(LAST | BYTES, b"x", 1, COUNTS)),
        ("less than announced", record(WHOLE, b"x", 2, COUNTS)),
        ("more than announced", record(WHOLE, b"xyz", 2, COUNTS)),
        ("more than the limit", record(FIRST | BYTES, b"x", u64::MAX, COUNTS)),
        ("of two kinds", [record(FIRST | BYTES, b"x", 2, COUNTS), record(LAST, b"x", 2, COUNTS)].concat()),
    ];
    for (what, bytes) in cases {
        let (first, end, mut peer) = first_of(&bytes);
        assert!(matches!(first, Err(RecvError::Corrupt(_) | RecvError::TooLarge { .. })), "{what}: {first:?}");
        peer.write_all(&message(b"after")).unwrap();
        assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), b"after", "{what}");
    }
}

#[test]
fn what_comes_byte_by_byte_is_received_as_well() {
    let (end, mut peer) = raw_pair::<(), ()>();
    peer.set_nodelay(true).unwrap();
    for byte in [message(b"slowly"), record(WHOLE, b"void", 4, VOID), message(b"")].concat() {
        peer.write_all(&[byte]).unwrap();
        let _half = end.poll(BRIEFLY / 100);
    }
    assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), b"slowly");
    assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), b"");
}

#[test]
fn of_what_was_given_up_in_the_middle_nothing_is_received() {
    let chunk = pattern(1000);
    let void_at = |verdicts: [u8; 3]| {
        let [first, next, last] = verdicts;
        [
            record(FIRST | BYTES, &chunk, 3000, first),
            record(BYTES, &chunk, 3000, next),
            record(LAST | BYTES, &chunk, 3000, last),
        ]
        .concat()
    };
    for verdicts in [[VOID, COUNTS, COUNTS], [COUNTS, VOID, COUNTS], [COUNTS, COUNTS, VOID], [VOID; 3]] {
        let (end, mut peer) = raw_pair::<(), ()>();
        peer.write_all(&void_at(verdicts)).unwrap();
        peer.write_all(&message(b"after")).unwrap();
        assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), b"after", "{verdicts:?}");
    }
    let (end, mut peer) = raw_pair::<(), ()>();
    peer.write_all(&void_at([COUNTS; 3])).unwrap();
    assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), [&chunk[..]; 3].concat());
}

#[test]
fn who_leaves_in_the_middle_leaves_nothing_at_any_byte() {
    let two = [record(FIRST | BYTES, b"abc", 6, COUNTS), record(LAST | BYTES, b"def", 6, COUNTS)].concat();
    for cut in 0..two.len() {
        let (end, mut peer) = raw_pair::<(), ()>();
        peer.write_all(&message(b"before")).unwrap();
        peer.write_all(&two[..cut]).unwrap();
        // Some have been seen by then, others not.
        let _seen = cut % 2 == 0 && end.poll(LONG);
        match cut % 3 {
            0 => peer.shutdown(Shutdown::Write).unwrap(),
            1 => reset(peer),
            _ => drop(peer),
        }
        assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), b"before", "{cut} bytes");
        for _ in 0..2 {
            let end = end.recv_bytes_timeout(LONG);
            assert!(matches!(end, Err(RecvError::Closed)), "{cut} bytes: {end:?}");
        }
    }
}

#[test]
fn a_flood_keeps_nobody_from_its_time() {
    for (what, piece) in [
        ("records that do not count", record(WHOLE, b"", 0, VOID)),
        ("pieces of a message without end", record(BYTES, b"x", 1 << 29, COUNTS)),
    ] {
        let (end, mut peer) = raw_pair::<(), ()>();
        let flood: Vec<u8> = piece.iter().copied().cycle().take(piece.len() * 10_000).collect();
        thread::scope(|scope| {
            let flooding = asleep::spawn(scope, move || {
                let _until_reset = peer.write_all(&record(FIRST | BYTES, b"x", 1 << 29, COUNTS));
                while peer.write_all(&flood).is_ok() {}
            });
            for _ in 0..5 {
                assert!(!end.poll(BRIEFLY), "{what}");
                assert!(end.recv_bytes_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()), "{what}");
            }
            drop(end);
            flooding.join();
        });
    }
}

/// What is announced is not what is reserved.
#[test]
fn an_announcement_costs_nothing() {
    let (end, mut peer) = raw_pair::<(), ()>();
    end.set_message_limit(u64::MAX);
    peer.write_all(&record(FIRST | BYTES, b"x", u64::MAX, COUNTS)).unwrap();
    assert!(end.recv_bytes_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
    peer.write_all(&message(b"after")).unwrap();
    assert_eq!(end.recv_bytes_timeout(LONG).unwrap(), b"after");
    assert_eq!(message(b"").len(), HEADER + 1);
}
