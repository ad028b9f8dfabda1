//! Files, sockets and ends of connections inside messages, within one process.

#![cfg(feature = "processes")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crewkit::ipc::{Connection, Fd, RecvError, SendError, pipe, wait};
use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(20);
const BRIEFLY: Duration = Duration::from_millis(20);

#[test]
fn descriptors_of_every_kind_work_at_the_other_end() {
    #[derive(Serialize, Deserialize)]
    struct Kit {
        listener: Fd<TcpListener>,
        #[serde(with = "crewkit::ipc::fd")]
        client: TcpStream,
        stream: Option<Fd<UnixStream>>,
        raw: Vec<Fd<OwnedFd>>,
    }
    let (near, far) = pipe::<Kit, ()>().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, mut other) = UnixStream::pair().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let raw = vec![Fd(reader.into()), Fd(writer.into())];
    near.send(&Kit { listener: Fd(listener), client, stream: Some(Fd(stream)), raw }).unwrap();
    drop(near);

    let mut kit = far.recv().unwrap();
    let (mut accepted, _) = kit.listener.accept().unwrap();
    accepted.write_all(b"tcp").unwrap();
    drop(accepted);
    assert_eq!(std::io::read_to_string(kit.client).unwrap(), "tcp");
    kit.stream.take().unwrap().write_all(b"unix").unwrap();
    let mut heard = [0; 4];
    other.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"unix");
    std::fs::File::from(kit.raw.pop().unwrap().0).write_all(b"pipe").unwrap();
    assert_eq!(std::io::read_to_string(std::fs::File::from(kit.raw.pop().unwrap().0)).unwrap(), "pipe");
}

#[test]
fn a_message_carries_253_descriptors_and_refuses_254() {
    let (near, far) = pipe::<Vec<Fd<std::io::PipeWriter>>, ()>().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let writers = |count| (0..count).map(|_| Fd(writer.try_clone().unwrap())).collect::<Vec<_>>();
    assert!(matches!(near.send(&writers(254)), Err(SendError::TooManyFds { limit: 253 })));
    assert!(matches!(far.try_recv(), Err(RecvError::Timeout)));
    near.send(&writers(253)).unwrap();
    drop(writer);
    let received = far.recv().unwrap();
    assert_eq!(received.len(), 253);
    for mut writer in received {
        writer.write_all(b"x").unwrap();
    }
    let mut heard = Vec::new();
    reader.read_to_end(&mut heard).unwrap();
    assert_eq!(heard.len(), 253);
}

type Inner = Connection<u32, u32>;

#[test]
fn an_end_that_was_sent_works_there_and_answers_moved_here() {
    let (near, far) = pipe::<Inner, ()>().unwrap();
    let (mine, other) = pipe::<u32, u32>().unwrap();
    mine.send(&1).unwrap();
    let number = mine.as_fd().as_raw_fd();
    near.send(&mine).unwrap();

    assert!(matches!(mine.send(&2), Err(SendError::Moved)));
    assert!(matches!(mine.recv(), Err(RecvError::Moved)));
    assert!(matches!(mine.recv_bytes(), Err(RecvError::Moved)));
    assert!(matches!(near.send(&mine), Err(SendError::NotSerializable(why)) if why.contains("already sent")));
    assert!(mine.poll(SOON) && wait(&[&mine], SOON).unwrap() == [0], "a moved end keeps nobody waiting");
    assert_eq!(mine.as_fd().as_raw_fd(), number, "what AsFd lent must stay valid");

    let theirs = far.recv().unwrap();
    theirs.send(&3).unwrap();
    assert_eq!(other.recv_timeout(SOON).unwrap(), 1);
    assert_eq!(other.recv_timeout(SOON).unwrap(), 3);
    other.send(&4).unwrap();
    assert_eq!(theirs.recv_timeout(SOON).unwrap(), 4);
    drop(theirs);
    assert!(other.recv_timeout(SOON).unwrap_err().is_closed(), "the copy that moved must not hold the end open");
    drop(mine);
}

#[test]
fn an_end_in_a_message_that_failed_is_unchanged() {
    #[derive(Serialize)]
    struct Job<'a> {
        end: &'a Inner,
        padding: String,
    }
    let (mine, other) = pipe::<u32, u32>().unwrap();
    let assert_mine = || {
        mine.send(&5).unwrap();
        assert_eq!(other.recv_timeout(SOON).unwrap(), 5);
    };

    let (near, far) = pipe::<Job<'_>, ()>().unwrap();
    let job = |padding| Job { end: &mine, padding: "x".repeat(padding) };
    assert!(near.send_timeout(&job(8 * MIB), BRIEFLY).unwrap_err().is_timeout());
    assert_mine();
    near.set_message_limit(10);
    assert!(matches!(near.send(&job(100)), Err(SendError::TooLarge { .. })));
    assert_mine();
    drop(far);
    assert!(near.send(&job(0)).unwrap_err().is_closed());
    assert_mine();

    let (twice, _far) = pipe::<(&Inner, &Inner), ()>().unwrap();
    assert!(matches!(twice.send(&(&mine, &mine)), Err(SendError::NotSerializable(_))));
    assert_mine();
}

#[test]
fn an_end_that_holds_a_part_of_a_message_stays() {
    let (near, far) = pipe::<Connection<(), String>, ()>().unwrap();
    let (sender, mine) = pipe::<String, ()>().unwrap();
    let long = "x".repeat(8 * MIB);
    assert!(sender.send_timeout(&long, BRIEFLY).is_err());
    assert!(mine.try_recv().unwrap_err().is_timeout());
    assert!(matches!(near.send(&mine), Err(SendError::NotSerializable(why)) if why.contains("part of a message")));
    sender.send(&"whole".into()).unwrap();
    assert_eq!(mine.recv().unwrap(), "whole");
    near.send(&mine).unwrap();
    sender.send(&"there".into()).unwrap();
    assert_eq!(far.recv().unwrap().recv().unwrap(), "there");
}

#[test]
fn a_descriptor_that_is_no_connection_is_refused() {
    let (near, far) = pipe::<Fd<UnixStream>, ()>().unwrap();
    let far: Connection<(), Inner> = Connection::from(far.as_fd().try_clone_to_owned().unwrap());
    near.send(&Fd(UnixStream::pair().unwrap().0)).unwrap();
    let error = far.recv().unwrap_err();
    assert!(error.to_string().contains("not the end of a connection"), "{error}");
}

#[test]
fn an_end_of_which_something_unknown_is_said_is_refused() {
    type Said = (u32, Fd<OwnedFd>);
    for (said, is_end) in [(0, true), (1 << 11, false), (1 << 31, false)] {
        let (near, far) = pipe::<Said, ()>().unwrap();
        let far: Connection<(), (Inner, u32)> = Connection::from(far.as_fd().try_clone_to_owned().unwrap());
        let (end, _other) = pipe::<u8, u8>().unwrap();
        near.send(&(said, Fd(end.as_fd().try_clone_to_owned().unwrap()))).unwrap();
        assert_eq!(far.recv().is_ok(), is_end, "{said:#x}");
    }
}

#[test]
fn an_end_may_be_sent_over_its_own_connection() {
    #[derive(Serialize, Deserialize)]
    enum Message {
        End(Box<Connection<Message, Message>>),
        Text(String),
    }
    let (near, far) = pipe::<Message, Message>().unwrap();
    let message = Message::End(Box::new(near));
    let Message::End(near) = &message else { unreachable!() };
    near.send(&message).unwrap();
    assert!(matches!(near.recv(), Err(RecvError::Moved)));
    let Message::End(near) = far.recv().unwrap() else { panic!("no end") };
    near.send(&Message::Text("to myself".into())).unwrap();
    let Message::Text(text) = far.recv().unwrap() else { panic!("no text") };
    assert_eq!(text, "to myself");
}
