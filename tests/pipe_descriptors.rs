//! What the descriptor of a connection shows that uses a ring, or may: to `wait`, and to anybody else.

#![cfg(feature = "processes")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use crewkit::ipc::{Connection, RecvError, pipe, wait};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Long enough for anything that should happen, short enough for a test that fails.
const SOON: Duration = Duration::from_secs(20);
/// For what must not happen.
const BRIEFLY: Duration = Duration::from_millis(20);

/// Two ends that use rings.
fn ringed() -> (Connection<u8, u8>, Connection<u8, u8>) {
    let (near, far) = pipe::<u8, u8>().unwrap();
    for (one, other) in [(&near, &far), (&far, &near)] {
        for _ in 0..40 {
            one.send(&0).unwrap();
            assert_eq!(other.recv_timeout(SOON).unwrap(), 0);
        }
    }
    (near, far)
}

/// Whether poll(2) says that it is readable.
fn shows(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::try_from(timeout).unwrap()).unwrap() > 0
}

#[test]
fn a_descriptor_that_is_asked_for_late_shows_exactly_what_there_is() {
    let (near, far) = ringed();
    near.send(&1).unwrap();
    let lent = far.as_fd();
    assert!(shows(lent, Duration::ZERO), "what came before");
    assert_eq!(far.recv().unwrap(), 1);
    assert!(!shows(lent, BRIEFLY) && !far.poll(Duration::ZERO) && wait(&[&far], Duration::ZERO).unwrap().is_empty());
    for round in 0..3 {
        (0..3).for_each(|number| near.send(&(number + round)).unwrap());
        for number in 0..3 {
            assert!(shows(lent, SOON) && wait(&[&far], Duration::ZERO).unwrap() == [0] && shows(lent, Duration::ZERO));
            assert_eq!(far.try_recv().unwrap(), number + round);
        }
        assert!(far.try_recv().is_err() && !shows(lent, BRIEFLY));
    }
    near.send_bytes(b"bytes").unwrap();
    assert!(matches!(far.recv(), Err(RecvError::WrongKind { .. })));
    assert!(shows(lent, Duration::ZERO), "it is still there");
    assert_eq!(far.recv_bytes().unwrap(), b"bytes");
    assert!(!shows(lent, BRIEFLY));
    // A loop that sleeps on it gets each message.
    thread::scope(|scope| {
        scope.spawn(move || {
            (0..=255).for_each(|number| near.send(&number).unwrap());
        });
        for number in 0..=255 {
            while far.try_recv().map(|got| assert_eq!(got, number)).is_err() {
                assert!(shows(lent, SOON), "a message was not told of");
            }
        }
        assert!(shows(lent, SOON), "the end is shown");
        assert!(far.try_recv().unwrap_err().is_closed() && shows(lent, SOON));
    });
    assert_eq!(lent.as_raw_fd(), far.as_fd().as_raw_fd());
    let stranger: Connection<u8, u8> = Connection::from(lent.try_clone_to_owned().unwrap());
    assert!(matches!(stranger.recv(), Err(RecvError::Io(_))), "it is no end of a connection");
}

#[test]
fn an_end_that_was_offered_a_ring_may_still_be_lent() {
    let (near, far) = pipe::<u32, u32>().unwrap();
    // The offer goes before the 33rd.
    for number in 0..33 {
        near.send(&number).unwrap();
        assert_eq!(far.recv().unwrap(), number);
    }
    let lent = far.as_fd();
    for number in 33..100 {
        assert!(!shows(lent, Duration::ZERO));
        near.send(&number).unwrap();
        assert!(shows(lent, Duration::ZERO));
        assert_eq!(far.recv().unwrap(), number);
    }
    assert!(format!("{near:?}").contains("sends by the socket"), "{near:?}");
    // Taken up by the sender, and not known to the receiver yet.
    let (near, far) = pipe::<u32, u32>().unwrap();
    for number in 0..33 {
        near.send(&number).unwrap();
        assert_eq!(far.recv().unwrap(), number);
    }
    near.send(&33).unwrap();
    let lent = far.as_fd();
    for number in 33..100 {
        assert!(shows(lent, Duration::ZERO));
        near.send(&(number + 1)).unwrap();
        assert_eq!(far.recv().unwrap(), number);
    }
}

#[test]
fn wait_sees_what_the_descriptor_does_not_show() {
    let (near, far) = ringed();
    let (quiet, _open) = ringed();
    assert!(wait(&[&far, &quiet], BRIEFLY).unwrap().is_empty());
    for number in 0..3 {
        near.send(&number).unwrap();
    }
    for number in 0..3 {
        assert_eq!(wait(&[&quiet, &far], None).unwrap(), [1]);
        assert_eq!(far.recv().unwrap(), number);
    }
    assert!(wait(&[&far, &quiet], Duration::ZERO).unwrap().is_empty(), "that somebody rang is no message");
    thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            assert_eq!(wait(&[&quiet, &far], SOON).unwrap(), [1]);
            assert_eq!(far.recv().unwrap(), 7);
            assert_eq!(wait(&[&quiet, &far], SOON).unwrap(), [1]);
            assert!(far.recv().unwrap_err().is_closed());
        });
        thread::sleep(BRIEFLY);
        near.send(&7).unwrap();
        thread::sleep(BRIEFLY);
        drop(near);
        waiter.join().unwrap();
    });
}
