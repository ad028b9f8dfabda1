//! Connections between two ends in one process: what is promised of messages, errors, halves and moved ends.
//! Handles inside messages are in
//! `pipe_handles.rs`; what needs a second process, or this one alone, in `pipe_processes.rs`.

#![cfg(feature = "processes")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use crewkit::ipc::{Connection, RecvError, SendError, pipe, wait};
use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;
/// Long enough for anything that should happen, short enough for a test that fails.
const SOON: Duration = Duration::from_secs(20);
/// For what must not happen.
const BRIEFLY: Duration = Duration::from_millis(20);

fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// Sends a record past the codec, as a hostile peer would.
fn inject<S, R>(end: &Connection<S, R>, record: &[u8]) {
    let socket = UnixDatagram::from(end.as_fd().try_clone_to_owned().unwrap());
    assert_eq!(socket.send(record).unwrap(), record.len());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Number(i64),
    Named { name: String, parts: Vec<Option<u8>> },
}

#[test]
fn values_arrive_as_they_were_in_the_order_of_sending() {
    let (near, far) = pipe::<Shape, ()>().unwrap();
    let sent = || {
        let named = Shape::Named { name: "ø".repeat(1000), parts: vec![None, Some(7)] };
        [Shape::Nothing, Shape::Number(i64::MIN), named, Shape::Nothing]
    };
    for value in &sent() {
        near.send(value).unwrap();
    }
    for value in sent() {
        assert_eq!(far.recv().unwrap(), value);
    }
    assert!(matches!(far.try_recv(), Err(RecvError::Timeout)));
}

#[test]
fn a_message_of_100_mib_arrives() {
    let (near, far) = pipe::<String, ()>().unwrap();
    let bytes = pattern(100 * MIB);
    thread::scope(|scope| {
        scope.spawn(|| {
            let near = near;
            near.send_bytes(&bytes).unwrap();
            near.send(&"x".repeat(20 * MIB)).unwrap();
        });
        assert!(far.recv_bytes().unwrap() == bytes);
        assert!(far.recv().unwrap() == "x".repeat(20 * MIB));
    });
}

#[test]
fn a_million_tiny_messages_arrive_in_order() {
    const COUNT: u32 = 1_000_000;
    let (near, far) = pipe::<u32, ()>().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || (0..COUNT).for_each(|number| near.send(&number).unwrap()));
        for number in 0..COUNT {
            assert_eq!(far.recv().unwrap(), number);
        }
    });
    assert!(matches!(far.recv(), Err(RecvError::Closed)));
}

#[test]
fn bytes_and_values_are_not_confused_and_none_is_lost() {
    let (near, far) = pipe::<u8, ()>().unwrap();
    near.send_bytes(b"").unwrap();
    near.send(&7).unwrap();
    near.send_bytes(b"long enough").unwrap();
    for _ in 0..2 {
        assert!(matches!(far.recv(), Err(RecvError::WrongKind { is_bytes: true })));
        assert!(far.poll(Duration::ZERO));
    }
    assert_eq!(far.recv_bytes().unwrap(), b"");
    assert!(matches!(far.recv_bytes(), Err(RecvError::WrongKind { is_bytes: false })));
    assert!(matches!(far.recv_bytes_into(&mut [0; 9]), Err(RecvError::WrongKind { is_bytes: false })));
    assert_eq!(far.recv().unwrap(), 7);
    let mut buffer = [0; 20];
    assert!(matches!(far.recv_bytes_into(&mut buffer[..10]), Err(RecvError::BufferTooShort { needed: 11 })));
    assert_eq!(far.recv_bytes_into(&mut buffer).unwrap(), 11);
    assert_eq!(&buffer[..11], b"long enough");
    assert!(!far.poll(Duration::ZERO));
}

#[test]
fn a_receiver_waits_as_long_as_it_was_told() {
    let (near, far) = pipe::<u8, u8>().unwrap();
    let begin = Instant::now();
    assert!(far.recv_timeout(BRIEFLY).unwrap_err().is_timeout());
    assert!(far.recv_bytes_timeout(BRIEFLY).unwrap_err().is_timeout());
    assert!(!far.poll(BRIEFLY));
    assert!(begin.elapsed() >= 3 * BRIEFLY);
    near.send(&1).unwrap();
    assert!(far.poll(SOON));
    assert_eq!(far.recv_timeout(Duration::MAX).unwrap(), 1);
}

#[test]
fn a_send_that_times_out_is_not_received_and_the_next_one_is() {
    let (near, far) = pipe::<String, ()>().unwrap();
    near.send(&"before".into()).unwrap();
    let long = "x".repeat(8 * MIB);
    assert!(near.send_timeout(&long, BRIEFLY).unwrap_err().is_timeout());
    assert!(near.send_bytes_timeout(long.as_bytes(), BRIEFLY).unwrap_err().is_timeout());
    assert_eq!(far.recv().unwrap(), "before");
    assert!(far.recv_timeout(BRIEFLY).unwrap_err().is_timeout());
    near.send_timeout(&"after".into(), SOON).unwrap();
    assert_eq!(far.recv().unwrap(), "after");
}

#[test]
fn a_receive_that_times_out_keeps_what_arrived() {
    let (near, far) = pipe::<(), ()>().unwrap();
    // A call takes 256 pieces of 64 KiB at most before it looks at the clock.
    let bytes = pattern(24 * MIB);
    thread::scope(|scope| {
        scope.spawn(|| {
            let near = near;
            near.send_bytes(&bytes).unwrap();
        });
        let mut timeouts = 0;
        let received = loop {
            match far.recv_bytes_timeout(Duration::ZERO) {
                Err(RecvError::Timeout) => timeouts += 1,
                other => break other.unwrap(),
            }
            // Between the tries, the other ways of looking must not lose anything either.
            far.poll(Duration::ZERO);
            assert!(!wait(&[&far], SOON).unwrap().is_empty());
        };
        assert!(received == bytes);
        assert!(timeouts > 0, "24 MiB cannot have been received at once");
    });
}

#[test]
fn the_end_comes_after_what_was_sent() {
    for order in [[0, 1], [1, 0]] {
        let (near, far) = pipe::<u8, u8>().unwrap();
        near.send(&1).unwrap();
        far.send(&2).unwrap();
        let mut ends = [Some(near), Some(far)];
        let [first, second] = order;
        ends[first].take().unwrap().close();
        let survivor = ends[second].take().unwrap();
        assert_eq!(survivor.recv_timeout(SOON).unwrap(), u8::try_from(first).unwrap() + 1);
        assert!(survivor.recv_timeout(SOON).unwrap_err().is_closed());
        assert!(survivor.poll(Duration::ZERO));
        assert!(survivor.send(&3).unwrap_err().is_closed());
        assert!(survivor.send_timeout(&3, BRIEFLY).unwrap_err().is_closed());
    }
}

#[test]
fn a_blocked_sender_and_a_blocked_receiver_see_the_end() {
    let (near, far) = pipe::<String, ()>().unwrap();
    let (other_near, other_far) = pipe::<(), ()>().unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(move || near.send(&"x".repeat(8 * MIB)));
        let receiver = scope.spawn(move || other_far.recv());
        // The sender is inside its message once a part of it is here.
        assert!(!wait(&[&far], SOON).unwrap().is_empty());
        drop((far, other_near));
        assert!(sender.join().unwrap().unwrap_err().is_closed());
        assert!(receiver.join().unwrap().unwrap_err().is_closed());
    });
}

#[test]
fn limits_hold_on_both_sides() {
    let (near, far) = pipe::<(), ()>().unwrap();
    near.set_message_limit(1000);
    assert!(matches!(near.send_bytes(&pattern(1001)), Err(SendError::TooLarge { size: 1001, limit: 1000 })));
    near.send_bytes(&pattern(1000)).unwrap();
    assert_eq!(far.recv_bytes().unwrap().len(), 1000);

    near.set_message_limit(u64::MAX);
    far.set_message_limit(2 * MIB as u64);
    thread::scope(|scope| {
        scope.spawn(|| {
            let near = near;
            near.send_bytes(&pattern(3 * MIB)).unwrap();
            near.send_bytes(b"small").unwrap();
        });
        assert!(matches!(far.recv_bytes(), Err(RecvError::TooLarge { size: 3145728, limit: 2097152 })));
        assert_eq!(far.recv_bytes().unwrap(), b"small");
    });
}

#[test]
fn what_cannot_be_decoded_is_an_error_and_loses_no_other_message() {
    let (near, far) = pipe::<(u8, bool), ()>().unwrap();
    let far: Connection<(), String> = Connection::from(far.as_fd().try_clone_to_owned().unwrap());
    let liar: Connection<String, ()> = Connection::from(near.as_fd().try_clone_to_owned().unwrap());
    liar.send(&"before".into()).unwrap();
    near.send(&(200, true)).unwrap();
    near.send(&(1, true)).unwrap();
    inject(&near, b"garbage");
    inject(&near, &[0xFF; 5000]);
    liar.send(&"after".into()).unwrap();
    assert_eq!(far.recv().unwrap(), "before");
    let error = far.recv().unwrap_err();
    assert!(matches!(error, RecvError::Decode(_)) && error.to_string().contains("String"), "{error}");
    assert_eq!(far.recv().unwrap(), "\u{1}");
    assert!(far.poll(Duration::ZERO), "an error is news");
    assert!(matches!(far.recv(), Err(RecvError::Corrupt(_))));
    assert!(matches!(far.recv(), Err(RecvError::Corrupt(_))));
    assert_eq!(far.recv().unwrap(), "after");
}

#[test]
fn halves_work_on_two_threads_and_close_alone() {
    let (near, far) = pipe::<u32, u32>().unwrap();
    let (sending, receiving) = near.split();
    thread::scope(|scope| {
        scope.spawn(move || {
            (0..1000).for_each(|number| sending.send(&number).unwrap());
        });
        scope.spawn(move || {
            for _ in 0..1000 {
                let number = far.recv().unwrap();
                far.send(&(number * 2)).unwrap();
            }
            assert!(far.recv().unwrap_err().is_closed(), "the sending half is gone");
            far.send(&u32::MAX).unwrap();
        });
        for number in 0..1000 {
            assert_eq!(receiving.recv().unwrap(), number * 2);
        }
        assert_eq!(receiving.recv().unwrap(), u32::MAX);
    });
}

#[test]
fn a_sender_learns_that_the_receiving_half_is_gone_even_while_it_waits() {
    let (near, far) = pipe::<(), ()>().unwrap();
    let (sending, receiving) = far.split();
    thread::scope(|scope| {
        let blocked = scope.spawn(move || (near.send_bytes(&pattern(8 * MIB)), near));
        assert!(!wait(&[&receiving], SOON).unwrap().is_empty());
        drop(receiving);
        let (result, near) = blocked.join().unwrap();
        assert!(result.unwrap_err().is_closed());
        sending.send(&()).unwrap();
        near.recv_timeout(SOON).unwrap();
        drop(sending);
        assert!(near.recv_timeout(SOON).unwrap_err().is_closed());
    });
}

#[test]
fn wait_names_those_that_are_ready() {
    let (near, far) = pipe::<u8, u8>().unwrap();
    let (closed, other) = pipe::<u8, u8>().unwrap();
    let (quiet, _open) = pipe::<u8, u8>().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(wait(&[&near, &closed, &quiet, &listener], BRIEFLY).unwrap().is_empty());
    drop(other);
    far.send(&1).unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(wait(&[&listener], SOON).unwrap(), [0]);
    assert_eq!(wait(&[&quiet, &near, &closed, &listener], None).unwrap(), [1, 2, 3]);
    assert!(wait(&[], Duration::ZERO).unwrap().is_empty());
}

/// Does something to a connection while it is being sent.
struct During<F>(F);

impl<F: Fn()> Serialize for During<F> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0)();
        serializer.serialize_u8(9)
    }
}

#[test]
fn code_of_values_may_use_connections_and_may_panic() {
    let (near, far) = pipe::<u8, ()>().unwrap();
    let raw = || near.as_fd().try_clone_to_owned().unwrap();
    let nested: Connection<During<_>, ()> = Connection::from(raw());
    nested.send(&During(|| near.send(&1).unwrap())).unwrap();
    assert_eq!((far.recv().unwrap(), far.recv().unwrap()), (1, 9));

    let panics: Connection<During<_>, ()> = Connection::from(raw());
    let outcome = catch_unwind(AssertUnwindSafe(|| panics.send(&During(|| panic!("on purpose")))));
    assert!(outcome.is_err());
    near.send(&2).unwrap();
    assert_eq!(far.recv().unwrap(), 2);
}

#[test]
fn ends_and_halves_may_change_threads_whatever_they_carry() {
    fn assert_send<T: Send>() {}
    type Confined = std::rc::Rc<u8>;
    assert_send::<Connection<Confined, Confined>>();
    assert_send::<crewkit::ipc::SendHalf<Confined>>();
    assert_send::<crewkit::ipc::RecvHalf<Confined>>();
}

#[test]
fn errors_say_what_to_do() {
    let (near, far) = pipe::<(), u8>().unwrap();
    far.send(&1).unwrap();
    let error: Box<dyn std::error::Error + Send + Sync> = near.recv_bytes().unwrap_err().into();
    assert_eq!(error.to_string(), "the next message holds a value; take it with recv");
    assert!(format!("{near:?}").starts_with("Connection("));
}
