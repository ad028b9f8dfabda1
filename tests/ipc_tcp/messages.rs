//! What arrives, and what does not.

use std::thread;

use crewkit::ipc::{Connection, Fd, RecvError, SendError, pipe, wait};

use crate::{BRIEFLY, LONG, MIB, asleep, pair, pattern};

#[test]
fn values_go_there_and_back() {
    let (near, far) = pair::<(u32, String), Vec<u8>>();
    for number in 0..100 {
        near.send(&(number, "x".repeat(number as usize))).unwrap();
    }
    for number in 0..100 {
        assert_eq!(far.recv_timeout(LONG).unwrap(), (number, "x".repeat(number as usize)));
    }
    far.send(&vec![7; 3]).unwrap();
    assert_eq!(near.recv_timeout(LONG).unwrap(), [7; 3]);
    assert!(matches!(near.try_recv(), Err(RecvError::Timeout)));
    drop(far);
    assert!(matches!(near.recv_timeout(LONG), Err(RecvError::Closed)));
}

#[test]
fn bytes_of_every_length_arrive_as_they_were() {
    const CHUNK: usize = 64 << 10;
    let (near, far) = pair::<(), ()>();
    let lengths = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, MIB, 300 * CHUNK];
    thread::scope(|scope| {
        let sender = asleep::spawn(scope, move || {
            lengths.iter().for_each(|&length| near.send_bytes_timeout(&pattern(length), LONG).unwrap());
            near
        });
        for length in lengths {
            assert!(far.recv_bytes_timeout(LONG).unwrap() == pattern(length), "{length} bytes");
        }
        let near = sender.join();
        assert!(!near.poll(BRIEFLY) && !far.poll(BRIEFLY));
    });
}

#[test]
fn both_directions_are_used_at_once_by_two_threads_each() {
    let (near, far) = pair::<Vec<u32>, Vec<u32>>();
    let message = |number: u32| vec![number; 20_000 + number as usize];
    thread::scope(|scope| {
        for end in [near, far] {
            let (sender, receiver) = end.split();
            asleep::spawn(scope, move || (0..60).for_each(|number| sender.send(&message(number)).unwrap()));
            asleep::spawn(scope, move || {
                for number in 0..60 {
                    assert!(receiver.recv_timeout(LONG).unwrap() == message(number));
                }
                assert!(matches!(receiver.recv_timeout(LONG), Err(RecvError::Closed)));
            });
        }
    });
}

/// More than the two kernels keep for each other, whatever they are set to.
fn too_much() -> Vec<u8> {
    vec![0xBB; 64 * MIB]
}

#[test]
fn a_message_that_timed_out_never_arrives_and_the_next_does() {
    for given_up in 1..4 {
        let (near, far) = pair::<(), ()>();
        near.send_bytes(b"before").unwrap();
        for _ in 0..given_up {
            assert!(matches!(near.send_bytes_timeout(&too_much(), BRIEFLY), Err(SendError::Timeout)));
        }
        thread::scope(|scope| {
            let sender = asleep::spawn(scope, move || {
                near.send_bytes_timeout(b"after", LONG).unwrap();
                near
            });
            assert_eq!(far.recv_bytes_timeout(LONG).unwrap(), b"before");
            assert_eq!(far.recv_bytes_timeout(LONG).unwrap(), b"after");
            let near = sender.join();
            assert!(!far.poll(BRIEFLY));
            far.send_bytes(b"back").unwrap();
            assert_eq!(near.recv_bytes_timeout(LONG).unwrap(), b"back");
        });
    }
}

/// They fit into the kernel's buffer as a whole or in part, so that the first unsent byte is now here and now there in a record.
#[test]
fn short_messages_time_out_as_whole_as_long_ones() {
    let (near, far) = pair::<(), ()>();
    let (mut sent, mut given_up) = (Vec::new(), 0);
    for number in 0_u32.. {
        let bytes = [&number.to_le_bytes()[..], &vec![1; number as usize * 97 % 10_000]].concat();
        match near.send_bytes_timeout(&bytes, BRIEFLY / 20) {
            Ok(()) => sent.push(number),
            Err(SendError::Timeout) => given_up += 1,
            Err(error) => panic!("{error}"),
        }
        if given_up == 100 {
            break;
        }
    }
    thread::scope(|scope| {
        let sender = asleep::spawn(scope, move || near.send_bytes_timeout(b"last", LONG).unwrap());
        for number in sent {
            assert_eq!(far.recv_bytes_timeout(LONG).unwrap()[..4], number.to_le_bytes());
        }
        assert_eq!(far.recv_bytes_timeout(LONG).unwrap(), b"last");
        assert!(matches!(far.recv_bytes_timeout(LONG), Err(RecvError::Closed)));
        sender.join();
    });
}

#[test]
fn a_sender_that_gives_up_and_closes_leaves_nothing_of_its_message() {
    let (near, far) = pair::<(), ()>();
    near.send_bytes(b"before").unwrap();
    assert!(matches!(near.send_bytes_timeout(&too_much(), BRIEFLY), Err(SendError::Timeout)));
    drop(near);
    assert_eq!(far.recv_bytes_timeout(LONG).unwrap(), b"before");
    assert!(matches!(far.recv_bytes_timeout(LONG), Err(RecvError::Closed)));
}

#[test]
fn descriptors_are_refused_before_anything_is_sent() {
    type Handle = Option<Fd<std::io::PipeWriter>>;
    let (near, far) = pair::<Handle, ()>();
    let (reader, writer) = std::io::pipe().unwrap();
    let refused = near.send(&Some(Fd(writer)));
    assert!(matches!(&refused, Err(SendError::NotSerializable(why)) if why.contains("over TCP")), "{refused:?}");
    near.send(&None).unwrap();
    assert!(far.recv_timeout(LONG).unwrap().is_none());
    assert_eq!(std::io::read_to_string(reader).unwrap(), "", "it is closed here, and nowhere else open");

    let (near, _far) = pair::<Connection<u8, u8>, ()>();
    let (one, other) = pipe::<u8, u8>().unwrap();
    assert!(near.send(&one).is_err());
    one.send(&3).unwrap();
    assert_eq!(other.recv_timeout(LONG).unwrap(), 3, "it is as it was");
    let (of_tcp, _its_other) = pair::<u8, u8>();
    assert!(near.send(&of_tcp).is_err());
}

#[test]
fn an_end_can_be_moved_to_another_owner() {
    let (near, far) = pair::<u32, Vec<u8>>();
    let (road, end_of_road) = pipe::<Connection<u32, Vec<u8>>, ()>().unwrap();
    far.send(&vec![1; 3]).unwrap();
    road.send(&near).unwrap();
    assert!(matches!(near.send(&1), Err(SendError::Moved)));
    assert!(matches!(near.try_recv(), Err(RecvError::Moved)));
    let moved = end_of_road.recv_timeout(LONG).unwrap();
    assert_eq!(moved.recv_timeout(LONG).unwrap(), [1; 3], "what was on its way");
    moved.send(&5).unwrap();
    assert_eq!(far.recv_timeout(LONG).unwrap(), 5);
    assert!(moved.send_bytes(&[9; 100_000]).is_ok() && far.recv_bytes_timeout(LONG).unwrap() == [9; 100_000]);
    drop(moved);
    assert!(matches!(far.recv_timeout(LONG), Err(RecvError::Closed)), "no copy is left here");
}

/// Invariant 9.
#[test]
fn an_end_with_a_part_of_a_message_stays_where_that_is() {
    let (near, far) = pair::<u32, ()>();
    let (road, end_of_road) = pipe::<Connection<u32, ()>, ()>().unwrap();
    let (back, end_of_back) = pipe::<Connection<(), u32>, ()>().unwrap();
    assert!(matches!(near.send_bytes_timeout(&too_much(), BRIEFLY), Err(SendError::Timeout)));
    let refused = road.send(&near);
    assert!(
        matches!(&refused, Err(SendError::NotSerializable(why)) if why.contains("has not sent all")),
        "{refused:?}"
    );
    assert!(far.recv_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
    let refused = back.send(&far);
    assert!(
        matches!(&refused, Err(SendError::NotSerializable(why)) if why.contains("has received a part")),
        "{refused:?}"
    );
    thread::scope(|scope| {
        let sender = asleep::spawn(scope, move || {
            near.send(&1).unwrap();
            near
        });
        assert_eq!(far.recv_timeout(LONG).unwrap(), 1);
        road.send(&sender.join()).unwrap();
        back.send(&far).unwrap();
    });
    let (near, far) = (end_of_road.recv_timeout(LONG).unwrap(), end_of_back.recv_timeout(LONG).unwrap());
    near.send(&2).unwrap();
    assert_eq!(far.recv_timeout(LONG).unwrap(), 2);
}

#[test]
fn the_longest_message_is_each_ends_choice() {
    let (near, far) = pair::<(), ()>();
    near.set_message_limit(100_000);
    assert!(matches!(near.send_bytes(&[0; 100_001]), Err(SendError::TooLarge { size: 100_001, limit: 100_000 })));
    far.set_message_limit(99_999);
    near.send_bytes(&[0; 100_000]).unwrap();
    near.send_bytes(&[1; 99_999]).unwrap();
    let refused = far.recv_bytes_timeout(LONG);
    assert!(matches!(refused, Err(RecvError::TooLarge { size: 100_000, limit: 99_999 })), "{refused:?}");
    assert_eq!(far.recv_bytes_timeout(LONG).unwrap(), [1; 99_999]);
}

#[test]
fn a_message_that_a_call_refused_is_kept_for_the_right_one() {
    let (near, far) = pair::<u32, u32>();
    near.send_bytes(b"bytes").unwrap();
    assert!(matches!(far.recv_timeout(LONG), Err(RecvError::WrongKind { is_bytes: true })));
    assert!(matches!(far.recv_bytes_into(&mut [0; 4]), Err(RecvError::BufferTooShort { needed: 5 })));
    assert_eq!(wait(&[&far], LONG).unwrap(), [0]);
    assert_eq!(far.recv_bytes_timeout(LONG).unwrap(), b"bytes");
}

#[test]
fn each_half_closes_alone_and_the_receiving_one_in_silence() {
    let (near, far) = pair::<u32, u32>();
    let (sender, receiver) = far.split();
    drop(receiver);
    let filled = near.send_bytes_timeout(&too_much(), BRIEFLY);
    assert!(matches!(filled, Err(SendError::Timeout)), "nobody tells it: {filled:?}");
    sender.send(&4).unwrap();
    assert_eq!(near.recv_timeout(LONG).unwrap(), 4);
    drop(sender);
    let closed = near.send_bytes_timeout(&too_much(), LONG);
    assert!(matches!(closed, Err(SendError::Closed)), "{closed:?}");

    let (near, far) = pair::<u32, u32>();
    let (sender, receiver) = far.split();
    sender.send(&5).unwrap();
    drop(sender);
    assert_eq!(near.recv_timeout(LONG).unwrap(), 5);
    assert!(matches!(near.recv_timeout(LONG), Err(RecvError::Closed)));
    near.send(&6).unwrap();
    assert_eq!(receiver.recv_timeout(LONG).unwrap(), 6);
}

#[test]
fn who_sends_to_a_closed_end_is_told() {
    let (near, far) = pair::<u32, u32>();
    far.send(&1).unwrap();
    near.send(&2).unwrap();
    assert!(far.poll(LONG));
    // With a message unread.
    drop(far);
    let closed = (0..).find_map(|_| near.send_bytes_timeout(&[0; 100_000], LONG).err());
    assert!(matches!(closed, Some(SendError::Closed)), "{closed:?}");
    assert!(matches!(near.send(&3), Err(SendError::Closed)));
    let mut last = near.recv_timeout(LONG);
    if last.is_ok() {
        last = near.recv_timeout(LONG);
    }
    assert!(matches!(last, Err(RecvError::Closed)), "{last:?}");
}
