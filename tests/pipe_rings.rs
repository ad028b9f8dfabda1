//! Connections that have changed over from their socket to a ring: the same promises, where no system call keeps them.

#![cfg(feature = "processes")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use crewkit::ipc::{Connection, Fd, RecvError, SendError, pipe, wait};
use serde::Serialize;
use serde::de::DeserializeOwned;

const KIB: usize = 1 << 10;
/// Long enough for anything that should happen, short enough for a test that fails.
const SOON: Duration = Duration::from_secs(20);
/// For what must not happen.
const BRIEFLY: Duration = Duration::from_millis(20);

fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// Sends so much one way that both ends use a ring, whatever the values are.
fn change_over<S, R>(near: &Connection<S, R>, far: &Connection<R, S>) {
    for _ in 0..40 {
        near.send_bytes(b"warm").unwrap();
        assert_eq!(far.recv_bytes_timeout(SOON).unwrap(), b"warm");
    }
}

fn ringed<S: Serialize + DeserializeOwned, R: Serialize + DeserializeOwned>() -> (Connection<S, R>, Connection<R, S>) {
    let (near, far) = pipe().unwrap();
    change_over(&near, &far);
    change_over(&far, &near);
    (near, far)
}

#[test]
fn a_connection_that_is_used_gets_rings_and_one_that_is_lent_out_does_not() {
    let (near, far) = ringed::<u8, u8>();
    for end in [format!("{near:?}"), format!("{far:?}")] {
        assert!(end.contains("sends by a ring, receives by a ring"), "{end}");
    }
    let (near, far) = pipe::<u8, u8>().unwrap();
    let _lent = (near.as_fd(), far.as_fd());
    change_over(&near, &far);
    near.send(&1).unwrap();
    assert!(format!("{near:?}{far:?}").matches("sends by the socket, receives by the socket").count() == 2);
    let again: Connection<u8, u8> = Connection::from(far.as_fd().try_clone_to_owned().unwrap());
    assert_eq!(again.recv().unwrap(), 1, "whoever makes another end of the descriptor finds what was sent");
}

#[test]
fn values_and_bytes_of_all_sizes_arrive_in_order() {
    let (near, far) = ringed::<(u32, String), ()>();
    let sizes = [0, 1, 7, 8, 9, 63, 64, 65, 1000, 32 * KIB - 9, 32 * KIB, 32 * KIB + 1, 64 * KIB, 300 * KIB, 1 << 20];
    thread::scope(|scope| {
        scope.spawn(|| {
            let near = near;
            for (index, size) in (0..).zip(sizes) {
                near.send_bytes(&pattern(size)).unwrap();
                near.send(&(index, "x".repeat(size))).unwrap();
            }
        });
        for (index, size) in (0..).zip(sizes) {
            if index % 2 == 0 {
                assert!(far.recv_bytes().unwrap() == pattern(size), "{size} bytes");
            } else {
                let mut buffer = vec![0; size];
                assert_eq!(far.recv_bytes_into(&mut buffer).unwrap(), size);
                assert!(buffer == pattern(size), "{size} bytes");
            }
            assert!(far.recv().unwrap() == (index, "x".repeat(size)), "{size} bytes");
        }
        assert!(far.recv().unwrap_err().is_closed());
    });
}

#[test]
fn a_million_tiny_messages_and_their_answers_arrive() {
    let (near, far) = ringed::<u64, u64>();
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..500_000 {
                assert_eq!(far.recv().unwrap(), number);
            }
            for number in 0..20_000 {
                far.send(&number).unwrap();
                assert_eq!(far.recv().unwrap(), number + 1);
            }
        });
        (0..500_000).for_each(|number| near.send(&number).unwrap());
        for number in 0..20_000 {
            assert_eq!(near.recv().unwrap(), number);
            near.send(&(number + 1)).unwrap();
        }
        assert!(near.recv().unwrap_err().is_closed());
    });
}

#[test]
fn a_receiver_that_sleeps_is_woken_by_each_message() {
    let (near, far) = ringed::<u8, u8>();
    let echo = thread::spawn(move || {
        while let Ok(number) = far.recv() {
            far.send(&number).unwrap();
        }
    });
    for number in 0..20 {
        // Longer than anybody looks at a ring without sleeping.
        thread::sleep(Duration::from_millis(2));
        near.send(&number).unwrap();
        assert_eq!(near.recv_timeout(SOON).unwrap(), number);
    }
    drop(near);
    echo.join().unwrap();
}

#[test]
fn timeouts_hold_and_what_arrived_is_kept() {
    let (near, far) = ringed::<(), ()>();
    let begin = Instant::now();
    assert!(far.recv_bytes_timeout(BRIEFLY).unwrap_err().is_timeout());
    assert!(!far.poll(BRIEFLY) && far.try_recv().unwrap_err().is_timeout());
    assert!(begin.elapsed() >= 2 * BRIEFLY);
    let long = pattern(8 << 20);
    for _ in 0..2 {
        let begin = Instant::now();
        assert!(near.send_bytes_timeout(&long, BRIEFLY).unwrap_err().is_timeout());
        assert!(begin.elapsed() >= BRIEFLY);
        assert!(far.recv_bytes_timeout(BRIEFLY).unwrap_err().is_timeout(), "nothing of a message that was given up");
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            let near = near;
            near.send_bytes(&long).unwrap();
        });
        let received = loop {
            match far.recv_bytes_timeout(Duration::ZERO) {
                Err(RecvError::Timeout) => {}
                other => break other.unwrap(),
            }
            far.poll(Duration::ZERO);
            assert!(!wait(&[&far], SOON).unwrap().is_empty());
        };
        assert!(received == long);
        assert!(far.recv_bytes_timeout(SOON).unwrap_err().is_closed());
    });
}

#[test]
fn a_receive_into_a_buffer_that_times_out_keeps_what_arrived() {
    let long = pattern(2 << 20);
    for (near, far) in [ringed::<(), ()>(), pipe().unwrap()] {
        let (_sending, far) = far.split();
        let mut buffer = vec![0; long.len()];
        let begin = Instant::now();
        assert!(far.recv_bytes_into_timeout(&mut buffer, BRIEFLY).unwrap_err().is_timeout());
        assert!(begin.elapsed() >= BRIEFLY);
        thread::scope(|scope| {
            scope.spawn(|| {
                let near = near;
                near.send_bytes(&long).unwrap();
            });
            let received = loop {
                match far.recv_bytes_into_timeout(&mut buffer, Duration::ZERO) {
                    Err(RecvError::Timeout) => buffer.fill(0xFF),
                    other => break other.unwrap(),
                }
                assert!(!wait(&[&far], SOON).unwrap().is_empty());
            };
            assert!(received == long.len() && buffer == long);
            assert!(far.recv_bytes_into_timeout(&mut buffer, SOON).unwrap_err().is_closed());
        });
    }
}

#[test]
fn a_half_that_is_dropped_before_it_saw_its_ring_is_missed() {
    // The sender looks at the socket now and then only: in some rounds it has just done so.
    for _ in 0..100 {
        let (near, far) = pipe::<u32, u32>().unwrap();
        for number in 0..33 {
            near.send(&number).unwrap();
            assert_eq!(far.recv().unwrap(), number);
        }
        let (sending, receiving) = far.split();
        near.send(&33).unwrap();
        drop(receiving);
        assert!(near.send_timeout(&34, SOON).unwrap_err().is_closed());
        sending.send(&1).unwrap();
        assert_eq!(near.recv_timeout(SOON).unwrap(), 1);
    }
}

#[test]
fn a_wrong_call_keeps_the_message_and_the_ring_goes_on() {
    let (near, far) = ringed::<u8, ()>();
    near.send_bytes(b"long enough").unwrap();
    near.send(&7).unwrap();
    for _ in 0..2 {
        assert!(matches!(far.recv(), Err(RecvError::WrongKind { is_bytes: true })));
        assert!(matches!(far.recv_bytes_into(&mut [0; 10]), Err(RecvError::BufferTooShort { needed: 11 })));
        assert!(far.poll(Duration::ZERO) && wait(&[&far], Duration::ZERO).unwrap() == [0]);
    }
    assert_eq!(far.recv_bytes().unwrap(), b"long enough");
    assert_eq!(far.recv().unwrap(), 7);
    assert!(!far.poll(Duration::ZERO));
}

#[test]
fn limits_hold_for_pieces_too() {
    let (near, far) = ringed::<(), ()>();
    far.set_message_limit(100 * KIB as u64);
    thread::scope(|scope| {
        scope.spawn(|| {
            let near = near;
            for _ in 0..2 {
                near.send_bytes(&pattern(300 * KIB)).unwrap();
                near.send_bytes(b"small").unwrap();
            }
        });
        assert!(matches!(far.recv_bytes(), Err(RecvError::TooLarge { size: 307_200, limit: 102_400 })));
        assert_eq!(far.recv_bytes().unwrap(), b"small");
        assert!(far.poll(SOON), "an error is news");
        assert!(matches!(far.recv_bytes(), Err(RecvError::TooLarge { .. })));
        assert_eq!(far.recv_bytes().unwrap(), b"small");
    });
}

/// The reading end of a pipe with something in it.
fn file(content: &[u8]) -> Fd<File> {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(content).unwrap();
    Fd(File::from(OwnedFd::from(reader)))
}

fn content(mut file: Fd<File>) -> Vec<u8> {
    let mut content = Vec::new();
    file.0.read_to_end(&mut content).unwrap();
    content
}

#[test]
fn descriptors_keep_their_place_among_messages_without() {
    type Cargo = (u32, Option<Fd<File>>, String);
    let (near, far) = ringed::<Cargo, ()>();
    let send = |number: u32, size: usize| {
        near.send(&(number, None, String::new())).unwrap();
        near.send(&(number + 1, Some(file(&[7; 5])), "x".repeat(size))).unwrap();
    };
    let recv = |number: u32, size: usize| {
        let (got, none, _) = far.recv_timeout(SOON).unwrap();
        assert!(got == number && none.is_none());
        let (got, some, text) = far.recv_timeout(SOON).unwrap();
        assert_eq!((got, content(some.unwrap()), text.len()), (number + 1, vec![7; 5], size));
    };
    for number in 0..10 {
        send(number, 10);
    }
    (0..10).for_each(|number| recv(number, 10));
    // Longer than the socket holds: the receiver reads it while it has nothing else to do, and not before its turn.
    let given_up = (0, Some(file(b"gone")), "x".repeat(8 << 20));
    assert!(near.send_timeout(&given_up, BRIEFLY).unwrap_err().is_timeout());
    assert!(far.recv_timeout(BRIEFLY).unwrap_err().is_timeout());
    drop(given_up);
    send(20, 10);
    recv(20, 10);
    thread::scope(|scope| {
        let (near, far) = (near, far);
        scope.spawn(move || {
            for number in [30, 40] {
                near.send(&(number, None, String::new())).unwrap();
                near.send(&(number + 1, Some(file(&[7; 5])), "x".repeat(1 << 20))).unwrap();
            }
        });
        for number in [30, 40] {
            assert!(far.poll(SOON));
            assert_eq!(far.recv().unwrap().0, number);
            let (got, some, text) = far.recv().unwrap();
            assert_eq!((got, content(some.unwrap()), text.len()), (number + 1, vec![7; 5], 1 << 20));
        }
        assert!(far.recv_timeout(SOON).unwrap_err().is_closed());
    });
}

#[test]
fn an_end_moves_with_its_rings_in_the_middle_of_a_stream() {
    type End = Connection<u32, u32>;
    let (carrier, harbour) = ringed::<End, End>();
    let (near, mut far) = ringed::<u32, u32>();
    for round in 0..5 {
        for number in 0..100 {
            near.send(&number).unwrap();
        }
        for number in 0..30 {
            assert_eq!(far.recv().unwrap(), number);
        }
        assert!(far.poll(Duration::ZERO), "which holds nothing back");
        carrier.send(&far).unwrap();
        assert!(matches!(far.recv(), Err(RecvError::Moved)) && matches!(far.send(&1), Err(SendError::Moved)));
        far = harbour.recv().unwrap();
        for number in 30..100 {
            assert_eq!(far.recv().unwrap(), number);
        }
        assert!(far.try_recv().unwrap_err().is_timeout());
        far.send(&round).unwrap();
        assert_eq!(near.recv_timeout(SOON).unwrap(), round);
    }
    // One at which somebody has only looked, while descriptors for it were on the way.
    let (near, far) = ringed::<Option<Fd<File>>, u32>();
    let (porter, quay) = ringed::<Connection<u32, Option<Fd<File>>>, ()>();
    near.send(&Some(file(b"on the way"))).unwrap();
    assert_eq!(wait(&[&far], SOON).unwrap(), [0]);
    porter.send(&far).unwrap();
    assert_eq!(content(quay.recv().unwrap().recv_timeout(SOON).unwrap().unwrap()), b"on the way");
    // One that the other side has offered a ring, and that has not been used since.
    let (near, far) = pipe::<u32, u32>().unwrap();
    for number in 0..33 {
        near.send(&number).unwrap();
    }
    for number in 0..33 {
        assert_eq!(far.recv().unwrap(), number);
    }
    carrier.send(&far).unwrap();
    let far = harbour.recv().unwrap();
    for number in 0..100 {
        near.send(&number).unwrap();
        assert_eq!(far.recv_timeout(SOON).unwrap(), number);
    }
    drop(far);
    assert!(near.recv_timeout(SOON).unwrap_err().is_closed());
}

#[test]
fn what_was_lent_of_an_end_that_has_moved_is_readable_whatever_the_new_owner_has() {
    let (carrier, harbour) = ringed::<Connection<u8, u8>, ()>();
    let (near, far) = ringed::<u8, u8>();
    let lent = far.as_fd();
    assert!(wait(&[&lent], BRIEFLY).unwrap().is_empty());
    carrier.send(&far).unwrap();
    let new = harbour.recv().unwrap();
    for number in 0..3 {
        assert_eq!(wait(&[&lent, &far], Duration::ZERO).unwrap(), [0, 1], "it says why");
        assert!(matches!(far.try_recv(), Err(RecvError::Moved)));
        let lent = new.as_fd();
        assert!(wait(&[&lent], BRIEFLY).unwrap().is_empty());
        near.send(&number).unwrap();
        assert_eq!(wait(&[&lent], SOON).unwrap(), [0]);
        assert_eq!(new.recv().unwrap(), number);
    }
    drop(new);
    assert!(near.recv_timeout(SOON).unwrap_err().is_closed());
}

#[test]
fn the_end_comes_after_what_is_in_the_ring() {
    let (near, far) = ringed::<u8, u8>();
    for number in 0..10 {
        near.send(&number).unwrap();
    }
    drop(near);
    for number in 0..10 {
        assert_eq!(far.recv_timeout(SOON).unwrap(), number);
    }
    assert!(far.recv_timeout(SOON).unwrap_err().is_closed() && far.poll(Duration::ZERO));
    assert!(far.try_recv().unwrap_err().is_closed());
    assert!(far.send(&1).unwrap_err().is_closed());
}

/// Who does not wait, and so never asks the socket by that.
#[test]
fn whoever_finds_no_room_sees_the_end() {
    let (near, far) = ringed::<(), ()>();
    let full = || near.send_bytes_timeout(&[0; 1000], Duration::ZERO).err();
    while full().is_none() {}
    assert!(full().unwrap().is_timeout());
    drop(far);
    let begin = Instant::now();
    while !full().unwrap().is_closed() {
        assert!(begin.elapsed() < SOON, "it was never told");
    }
    assert!(full().unwrap().is_closed() && near.send_bytes(b"more").unwrap_err().is_closed());
}

#[test]
fn whoever_waits_for_room_sees_the_end() {
    let long = pattern(8 << 20);
    // The whole end is closed; then only the half that receives.
    for split in [false, true] {
        let (near, far) = ringed::<(), ()>();
        thread::scope(|scope| {
            let blocked = scope.spawn(|| {
                let near = near;
                let sent = near.send_bytes(&long);
                (sent, near)
            });
            assert_eq!(wait(&[&far], SOON).unwrap(), [0]);
            let sending = if split {
                let (sending, receiving) = far.split();
                drop(receiving);
                Some(sending)
            } else {
                drop(far);
                None
            };
            let (sent, near) = blocked.join().unwrap();
            assert!(sent.unwrap_err().is_closed());
            assert!(near.send_bytes(b"more").unwrap_err().is_closed());
            if let Some(sending) = sending {
                sending.send_bytes(b"still").unwrap();
                assert_eq!(near.recv_bytes_timeout(SOON).unwrap(), b"still");
                drop(sending);
            }
            assert!(near.recv_timeout(SOON).unwrap_err().is_closed());
        });
    }
}
