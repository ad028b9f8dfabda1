//! Messages one way, from a process on one processor to one on another.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Instant;

use crewkit::ipc::{self, Connection};
use crewkit::process::Process;
use ipc_channel::ipc::{IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::python::Python;
use crate::contest::{Contest, Contestant, Outcome, Repetition, Size, Target, check};
use crate::place::Placement;
use crate::role::{self, PeerProcess};

const TYPED: &str = "crewkit, typed";
const BYTES: &str = "crewkit, bytes into a buffer";
const IPC: &str = "ipc-channel";
const SOCKET: &str = "Unix socket";
const PYTHON: &str = "CPython Pipe";
const MEMCPY: &str = "memcpy alone";

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![
        typed::<u64>("8 B", role::COUNT_IPC_8),
        typed::<[u64; 8]>("64 B", role::COUNT_IPC_64),
        bytes("1 KiB", 1 << 10).target(Target::speed(BYTES, 10.0, &[IPC])),
        bytes("16 KiB", 16 << 10).target(Target::speed(BYTES, 6.0, &[IPC])),
        bytes("64 KiB", 64 << 10).target(Target::speed(BYTES, 3.0, &[IPC])).target(Target::speed(
            BYTES,
            2.0,
            &[SOCKET],
        )),
        bytes("1 MiB", 1 << 20)
            .with(Contestant::peer(MEMCPY, || Ok(memcpy(1 << 20))))
            .target(Target::speed(BYTES, 3.0, &[IPC]))
            .target(Target::speed(BYTES, 2.0, &[SOCKET]))
            .target(Target::speed(BYTES, 0.6, &[MEMCPY]))
            .remark(
                "The receiver counts, checks the number in each message, and answers after the last; the time runs \
                 from the first send to that answer. ipc-channel has nothing that receives into a buffer. The one memcpy \
                 has both its buffers written and in use before, as the others have.",
            ),
    ]
}

/// A message that has a number in it.
pub(crate) trait Numbered: Serialize + DeserializeOwned + Send + 'static {
    fn of(number: u64) -> Self;
    fn number(&self) -> u64;
}

impl Numbered for u64 {
    fn of(number: u64) -> Self {
        number
    }

    fn number(&self) -> u64 {
        *self
    }
}

impl Numbered for [u64; 8] {
    fn of(number: u64) -> Self {
        [number; 8]
    }

    fn number(&self) -> u64 {
        self[7]
    }
}

/// In the number of the last message of a repetition.
const LAST: u64 = 1 << 63;

/// What the receiver has seen of a repetition.
#[derive(Default)]
pub(crate) struct Tally(u64);

impl Tally {
    /// Notes a message; the number of all after the last one.
    pub(crate) fn note(&mut self, number: u64) -> Option<u64> {
        assert_eq!(number & !LAST, self.0, "messages in the order of sending");
        self.0 += 1;
        (number & LAST != 0).then(|| std::mem::take(&mut self.0))
    }
}

/// Sends with the one, waits for the receiver's count with the other.
struct Ends<S, C> {
    send: S,
    count: C,
}

fn one_way<S, C>(mut ends: Ends<S, C>) -> Repetition
where
    S: FnMut(u64) -> Outcome<()> + 'static,
    C: FnMut() -> Outcome<u64> + 'static,
{
    Box::new(move |operations| {
        Placement::Apart.pin(0)?;
        let start = Instant::now();
        for number in 0..operations {
            (ends.send)(if number + 1 == operations { number | LAST } else { number })?;
        }
        let counted = (ends.count)()?;
        let taken = start.elapsed();
        check("number of messages", counted, operations)?;
        Ok(taken.into())
    })
}

fn typed<T: Numbered>(name: &'static str, role: &'static str) -> Contest {
    Contest::new("Messages", format!("{name} one way"), "message", Size::MultipleOf(1))
        .with(Contestant::crewkit(TYPED, crewkit_typed::<T>))
        .with(Contestant::peer(IPC, move || ipc_typed::<T>(role)))
        .with(Contestant::peer(PYTHON, move || python(name)))
        .target(Target::speed(TYPED, 30.0, &[IPC]))
        .target(Target::speed(TYPED, 100.0, &[PYTHON]))
}

fn bytes(name: &'static str, size: usize) -> Contest {
    Contest::new("Messages", format!("{name} one way"), "message", Size::MultipleOf(1))
        .with(Contestant::crewkit(BYTES, move || crewkit_bytes(size)))
        .with(Contestant::peer(IPC, move || ipc_bytes(size)))
        .with(Contestant::peer(SOCKET, move || socket(size)))
        .with(Contestant::peer(PYTHON, move || python(name)))
}

fn crewkit_typed<T: Numbered>() -> Outcome<Repetition> {
    let (near, far) = ipc::pipe::<T, u64>()?;
    let peer = Process::spawn(count_typed::<T>, far)?;
    let near = std::rc::Rc::new(near);
    let counted = std::rc::Rc::clone(&near);
    Ok(one_way(Ends {
        send: move |number| Ok(near.send(&T::of(number))?),
        count: move || {
            let _alive = &peer;
            Ok(counted.recv()?)
        },
    }))
}

fn count_typed<T: Numbered>(far: Connection<u64, T>) {
    let mut tally = Tally::default();
    let _anywhere_else = Placement::Apart.pin(1);
    while let Ok(message) = far.recv() {
        if tally.note(message.number()).is_some_and(|count| far.send(&count).is_err()) {
            return;
        }
    }
}

/// A number in front of bytes.
fn stamped(message: &mut [u8], number: u64) -> Outcome<&[u8]> {
    *message.first_chunk_mut().ok_or("a message has at least eight bytes")? = number.to_le_bytes();
    Ok(message)
}

/// The number in front of bytes that were received.
pub(crate) fn stamp(message: &[u8]) -> u64 {
    message.first_chunk().map_or(LAST, |stamp| u64::from_le_bytes(*stamp))
}

fn crewkit_bytes(size: usize) -> Outcome<Repetition> {
    let (near, far) = ipc::pipe::<(), u64>()?;
    let peer = Process::spawn(count_bytes, (far, size))?;
    let near = std::rc::Rc::new(near);
    let counted = std::rc::Rc::clone(&near);
    let mut message = vec![7; size];
    Ok(one_way(Ends {
        send: move |number| Ok(near.send_bytes(stamped(&mut message, number)?)?),
        count: move || {
            let _alive = &peer;
            Ok(counted.recv()?)
        },
    }))
}

fn count_bytes((far, size): (Connection<u64, ()>, usize)) {
    let (mut tally, mut message) = (Tally::default(), vec![0; size]);
    let _anywhere_else = Placement::Apart.pin(1);
    while let Ok(received) = far.recv_bytes_into(&mut message) {
        let number = if received == size { stamp(&message) } else { LAST };
        if tally.note(number).is_some_and(|count| far.send(&count).is_err()) {
            return;
        }
    }
}

fn ipc_typed<T: Numbered>(role: &'static str) -> Outcome<Repetition> {
    let (server, name) = IpcOneShotServer::<(IpcSender<T>, IpcReceiver<u64>)>::new()?;
    let peer = PeerProcess(role::command(role)?.arg(name).spawn()?);
    let (sender, counts) = server.accept()?.1;
    Ok(one_way(Ends {
        send: move |number| Ok(sender.send(T::of(number))?),
        count: move || {
            let _alive = &peer;
            Ok(counts.recv()?)
        },
    }))
}

fn ipc_bytes(size: usize) -> Outcome<Repetition> {
    let (server, name) = IpcOneShotServer::<(IpcBytesSender, IpcReceiver<u64>)>::new()?;
    let peer = PeerProcess(role::command(role::COUNT_IPC_BYTES)?.arg(name).spawn()?);
    let (sender, counts) = server.accept()?.1;
    let mut message = vec![7; size];
    Ok(one_way(Ends {
        send: move |number| Ok(sender.send(stamped(&mut message, number)?)?),
        count: move || {
            let _alive = &peer;
            Ok(counts.recv()?)
        },
    }))
}

fn socket(size: usize) -> Outcome<Repetition> {
    let (mine, theirs) = UnixStream::pair()?;
    let mut command = role::command(role::COUNT_STREAM)?;
    let peer = PeerProcess(command.arg(size.to_string()).stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?);
    // The command keeps the far end open as long as it lives.
    drop(command);
    let (mut sender, mut counts) = (mine.try_clone()?, mine);
    let mut message = vec![7; size];
    Ok(one_way(Ends {
        send: move |number| Ok(sender.write_all(stamped(&mut message, number)?)?),
        count: move || {
            let (_alive, mut count) = (&peer, [0; 8]);
            counts.read_exact(&mut count)?;
            Ok(u64::from_le_bytes(count))
        },
    }))
}

fn python(size: &'static str) -> Outcome<Repetition> {
    let mut python = Python::start("multiprocessing_pipe.py", size)?;
    Ok(Box::new(move |operations| {
        let (cost, counted) = python.measure("send", operations)?;
        check("number of messages", counted, operations)?;
        Ok(cost)
    }))
}

fn memcpy(size: usize) -> Repetition {
    // Zeroes would be no memory before they are written.
    let (message, mut copy) = (vec![7_u8; size], vec![1_u8; size]);
    Box::new(move |operations| {
        Placement::Apart.pin(0)?;
        black_box(&mut copy).copy_from_slice(black_box(&message));
        let start = Instant::now();
        for _ in 0..operations {
            black_box(&mut copy).copy_from_slice(black_box(&message));
        }
        Ok(start.elapsed().into())
    })
}
