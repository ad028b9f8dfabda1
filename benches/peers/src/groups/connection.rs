//! Connections: a message to another process and back.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Instant;

use crewkit::ipc::{self, Connection};
use crewkit::process::Process;
use ipc_channel::ipc::IpcOneShotServer;

use crate::contest::{Contest, Contestant, Outcome, Repetition, Size, check};
use crate::role::{self, BytesEnds, PeerProcess, TypedEnds};

/// crewkit's row with messages through serde.
const TYPED: &str = "crewkit, typed";
/// crewkit's row with messages that are bytes.
const BYTES: &str = "crewkit, bytes";
/// crewkit's row with messages that are bytes, received into a buffer that is used again.
const BUFFER: &str = "crewkit, bytes into a buffer";

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![contest("8 B", 8), contest("4 KiB", 4 << 10), contest("1 MiB", 1 << 20).remark(
        "Typed messages are a `Vec<u8>` that serde takes apart and puts together byte by byte, here and in ipc-channel \
         (both use postcard); bytes go as they are, into a new `Vec` for each message, or with crewkit into a buffer \
         that is used again. The raw stream does that too, knows the size beforehand and has no framing: it is a bound. Each echo is checked by length, sequence number and last byte, and one per repetition as a whole, \
         off the clock.",
    )]
}

/// The contest with messages of this size.
fn contest(name: &str, size: usize) -> Contest {
    let work = format!("{name} there and back");
    Contest::new("Connection", work, "round trip", Size::MultipleOf(1))
        .with(Contestant::crewkit(TYPED, move || crewkit_typed(size)))
        .with(Contestant::crewkit(BYTES, move || crewkit_bytes(size)))
        .with(Contestant::crewkit(BUFFER, move || crewkit_buffer(size)))
        .with(Contestant::peer_of(TYPED, "ipc-channel, typed", move || ipc_typed(size)))
        .with(Contestant::peer_of(BYTES, "ipc-channel, bytes", move || ipc_bytes(size)))
        .with(Contestant::peer_of(BUFFER, "raw UnixStream", move || raw_stream(size)))
}

/// A message whose every byte depends on its place, so that a shifted or cut echo shows.
fn pattern(size: usize) -> Vec<u8> {
    (0_u8..=250).cycle().take(size).collect()
}

/// Sends a message to and fro; `trip` takes what is to be sent and returns what came back.
fn round_trips(size: usize, mut trip: impl FnMut(Vec<u8>) -> Outcome<Vec<u8>> + 'static) -> Repetition {
    let expected = pattern(size);
    Box::new(move |operations| {
        let mut message = expected.clone();
        let start = Instant::now();
        for number in 0..operations {
            let stamp = number.to_le_bytes();
            stamp_onto(&mut message, stamp)?;
            message = trip(message)?;
            check("echo's length", message.len(), size)?;
            check("echo's number", message.first_chunk(), Some(&stamp))?;
            if size > stamp.len() {
                check("echo's last byte", message.last(), expected.last())?;
            }
        }
        let taken = start.elapsed();
        check("echo's bytes", message.get(8..) == expected.get(8..), true)?;
        Ok(taken.into())
    })
}

/// Writes the sequence number into the first eight bytes.
fn stamp_onto(message: &mut [u8], stamp: [u8; 8]) -> Outcome<()> {
    *message.first_chunk_mut().ok_or("a message has at least eight bytes")? = stamp;
    Ok(())
}

/// A connection that carries the messages of these contests.
type Wire = Connection<Vec<u8>, Vec<u8>>;

/// crewkit with messages through serde.
fn crewkit_typed(size: usize) -> Outcome<Repetition> {
    let (near, far) = ipc::pipe()?;
    let echo = Echo { ends: near, _peer: Process::spawn(echo_typed, far)? };
    Ok(round_trips(size, move |message| {
        let Echo { ends: near, .. } = &echo;
        near.send(&message)?;
        Ok(near.recv()?)
    }))
}

/// crewkit with messages that are bytes.
fn crewkit_bytes(size: usize) -> Outcome<Repetition> {
    let (near, far) = ipc::pipe()?;
    let echo = Echo { ends: near, _peer: Process::spawn(echo_bytes, far)? };
    Ok(round_trips(size, move |message| {
        let Echo { ends: near, .. } = &echo;
        near.send_bytes(&message)?;
        Ok(near.recv_bytes()?)
    }))
}

/// crewkit with messages that are bytes, received where the last one was. ipc-channel has nothing like it; the raw
/// stream works in this way.
fn crewkit_buffer(size: usize) -> Outcome<Repetition> {
    let (near, far) = ipc::pipe()?;
    let echo = Echo { ends: near, _peer: Process::spawn(echo_buffer, (far, size))? };
    Ok(round_trips(size, move |mut message| {
        let Echo { ends: near, .. } = &echo;
        near.send_bytes(&message)?;
        let received = near.recv_bytes_into(&mut message)?;
        message.truncate(received);
        Ok(message)
    }))
}

/// The far end of `crewkit_typed`: echoes until the near end is closed.
fn echo_typed(far: Wire) {
    while let Ok(message) = far.recv() {
        if far.send(&message).is_err() {
            return;
        }
    }
}

/// The far end of `crewkit_bytes`.
fn echo_bytes(far: Wire) {
    while let Ok(message) = far.recv_bytes() {
        if far.send_bytes(&message).is_err() {
            return;
        }
    }
}

/// The far end of `crewkit_buffer`.
fn echo_buffer((far, size): (Wire, usize)) {
    let mut message = vec![0; size];
    while let Ok(received) = far.recv_bytes_into(&mut message) {
        if far.send_bytes(&message[..received]).is_err() {
            return;
        }
    }
}

/// The near end of an echo in another process. It has a name of its own so that a closure takes it whole: the peer
/// process must live as long as the ends.
struct Echo<E, P = PeerProcess> {
    ends: E,
    /// Behind the ends, because the process ends when they are closed.
    _peer: P,
}

/// ipc-channel with messages through serde. The echo received is what is sent next, so nothing is cloned for it.
fn ipc_typed(size: usize) -> Outcome<Repetition> {
    let (server, name) = IpcOneShotServer::<TypedEnds>::new()?;
    let peer = PeerProcess(role::command(role::ECHO_IPC_TYPED)?.arg(name).spawn()?);
    let echo = Echo { ends: server.accept()?.1, _peer: peer };
    Ok(round_trips(size, move |message| {
        let Echo { ends: (sender, receiver), .. } = &echo;
        sender.send(message)?;
        Ok(receiver.recv()?)
    }))
}

/// ipc-channel with messages that are bytes.
fn ipc_bytes(size: usize) -> Outcome<Repetition> {
    let (server, name) = IpcOneShotServer::<BytesEnds>::new()?;
    let peer = PeerProcess(role::command(role::ECHO_IPC_BYTES)?.arg(name).spawn()?);
    let echo = Echo { ends: server.accept()?.1, _peer: peer };
    Ok(round_trips(size, move |message| {
        let Echo { ends: (sender, receiver), .. } = &echo;
        sender.send(&message)?;
        Ok(receiver.recv()?)
    }))
}

/// A stream socket pair without framing; the message's buffer is used again.
fn raw_stream(size: usize) -> Outcome<Repetition> {
    let (mine, theirs) = UnixStream::pair()?;
    let mut command = role::command(role::ECHO_STREAM)?;
    let peer = PeerProcess(command.arg(size.to_string()).stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?);
    // The command keeps the far end open as long as it lives.
    drop(command);
    let mut echo = Echo { ends: mine, _peer: peer };
    Ok(round_trips(size, move |mut message| {
        let Echo { ends: stream, .. } = &mut echo;
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        Ok(message)
    }))
}
