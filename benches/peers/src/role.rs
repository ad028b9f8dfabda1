//! What this program does when it is started as a peer process: the far end of an echo, or nothing at all.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcReceiver, IpcSender};

use crate::contest::Outcome;
use crate::groups::alive;
use crate::groups::messages::{Numbered, Tally, stamp};
use crate::place::Placement;

/// The first argument of a peer process; its role and the role's argument follow.
pub(crate) const FLAG: &str = "--role";

/// The role that ends at once.
pub(crate) const NOTHING: &str = "nothing";
/// The role that echoes messages of a fixed size on the stream that is its standard input.
pub(crate) const ECHO_STREAM: &str = "echo-stream";
/// The role that echoes typed messages of ipc-channel.
pub(crate) const ECHO_IPC_TYPED: &str = "echo-ipc-typed";
/// The role that echoes byte messages of ipc-channel.
pub(crate) const ECHO_IPC_BYTES: &str = "echo-ipc-bytes";

/// The role that counts messages of a fixed size on the stream that is its standard input.
pub(crate) const COUNT_STREAM: &str = "count-stream";
/// The role that counts numbers that come by ipc-channel.
pub(crate) const COUNT_IPC_8: &str = "count-ipc-8";
/// The role that counts arrays of numbers that come by ipc-channel.
pub(crate) const COUNT_IPC_64: &str = "count-ipc-64";
/// The role that counts byte messages that come by ipc-channel.
pub(crate) const COUNT_IPC_BYTES: &str = "count-ipc-bytes";

/// The role that makes generators and says what they take.
pub(crate) const ALIVE: &str = "alive";

/// The two ends of ipc-channel that the echo of typed messages hands to its owner.
pub(crate) type TypedEnds = (IpcSender<Vec<u8>>, IpcReceiver<Vec<u8>>);
/// The two ends of ipc-channel that the echo of byte messages hands to its owner.
pub(crate) type BytesEnds = (IpcBytesSender, IpcBytesReceiver);

/// Plays the role that the arguments name. A role ends when its owner's end of the connection does.
pub(crate) fn play(arguments: &[String]) -> Outcome<()> {
    let argument = || arguments.get(1).cloned().ok_or("a role's argument is missing");
    match arguments.first().map(String::as_str) {
        Some(NOTHING) => Ok(()),
        Some(ECHO_STREAM) => echo_stream(argument()?.parse()?),
        Some(ECHO_IPC_TYPED) => echo_ipc_typed(argument()?),
        Some(ECHO_IPC_BYTES) => echo_ipc_bytes(argument()?),
        Some(COUNT_STREAM) => count_stream(argument()?.parse()?),
        Some(COUNT_IPC_8) => count_ipc_typed::<u64>(argument()?),
        Some(COUNT_IPC_64) => count_ipc_typed::<[u64; 8]>(argument()?),
        Some(COUNT_IPC_BYTES) => count_ipc_bytes(argument()?),
        Some(ALIVE) => alive::play(&argument()?),
        other => Err(format!("no such role: {other:?}").into()),
    }
}

/// Echoes whole messages of `size` bytes until the stream ends.
fn echo_stream(size: usize) -> Outcome<()> {
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut message = vec![0; size];
    while stream.read_exact(&mut message).is_ok() {
        stream.write_all(&message)?;
    }
    Ok(())
}

/// Hands channels to the owner behind `server` and echoes what comes until the owner drops its end.
fn echo_ipc_typed(server: String) -> Outcome<()> {
    let (to_us, requests) = ipc::channel::<Vec<u8>>()?;
    let (answers, from_us) = ipc::channel::<Vec<u8>>()?;
    IpcSender::<TypedEnds>::connect(server)?.send((to_us, from_us))?;
    while let Ok(message) = requests.recv() {
        answers.send(message)?;
    }
    Ok(())
}

/// As `echo_ipc_typed`, with messages that are bytes.
fn echo_ipc_bytes(server: String) -> Outcome<()> {
    let (to_us, requests) = ipc::bytes_channel()?;
    let (answers, from_us) = ipc::bytes_channel()?;
    IpcSender::<BytesEnds>::connect(server)?.send((to_us, from_us))?;
    while let Ok(message) = requests.recv() {
        answers.send(&message)?;
    }
    Ok(())
}

/// Reads whole messages of `size` bytes until the stream ends, and answers the last of each series with their number.
fn count_stream(size: usize) -> Outcome<()> {
    Placement::Apart.pin(1)?;
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (mut message, mut tally) = (vec![0; size], Tally::default());
    while stream.read_exact(&mut message).is_ok() {
        if let Some(count) = tally.note(stamp(&message)) {
            stream.write_all(&count.to_le_bytes())?;
        }
    }
    Ok(())
}

/// Hands channels to the owner behind `server` and counts what comes until the owner drops its end.
fn count_ipc_typed<T: Numbered>(server: String) -> Outcome<()> {
    Placement::Apart.pin(1)?;
    let (to_us, messages) = ipc::channel::<T>()?;
    let (counts, from_us) = ipc::channel::<u64>()?;
    IpcSender::connect(server)?.send((to_us, from_us))?;
    let mut tally = Tally::default();
    while let Ok(message) = messages.recv() {
        if let Some(count) = tally.note(message.number()) {
            counts.send(count)?;
        }
    }
    Ok(())
}

/// As `count_ipc_typed`, with messages that are bytes.
fn count_ipc_bytes(server: String) -> Outcome<()> {
    Placement::Apart.pin(1)?;
    let (to_us, messages) = ipc::bytes_channel()?;
    let (counts, from_us) = ipc::channel::<u64>()?;
    IpcSender::connect(server)?.send((to_us, from_us))?;
    let mut tally = Tally::default();
    while let Ok(message) = messages.recv() {
        if let Some(count) = tally.note(stamp(&message)) {
            counts.send(count)?;
        }
    }
    Ok(())
}

/// A command that starts this program in a role.
pub(crate) fn command(role: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([FLAG, role]).stdin(Stdio::null());
    Ok(command)
}

/// A peer process. Dropping it waits until the process has ended, which it does when its connection is closed; so a
/// struct that holds both has the connection in front.
pub(crate) struct PeerProcess(pub(crate) Child);

impl Drop for PeerProcess {
    fn drop(&mut self) {
        let limit = Instant::now() + Duration::from_secs(1);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < limit {
            thread::sleep(Duration::from_millis(1));
        }
        // Fails if it has ended, which is what was wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
