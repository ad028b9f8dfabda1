//! The child's side: become what the owner asked for, make the call, answer, leave.
//!
//! Runs in a process of its own with one thread, whose life line is armed before anything is waited for: when the owner
//! dies, the process is killed wherever it is. `README.md` beside this file has the protocol.
//!
//! # Safety
//!
//! The environment is changed while the process has one thread: nothing was started before the call.
#![expect(unsafe_code, reason = "the environment is set")]

use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::current;
use super::fork::{self, PANICKED};
use super::function::{Function, Outcome};
use super::protocol::{self, Bytes, Failure, Readiness, Redirect, Reply, Spec, Start};
use crate::ipc::wire::{self, Message, WireError};
use crate::panics;
use crate::sys::attributes::{self, LifeLine, Limit};
use crate::sys::clock::Deadline;
use crate::sys::{memory, poll, signal};

/// A result up to this length travels in the reply. A longer one waits in a memory file, so that the child can end
/// although nobody has asked for the result yet.
const INLINE: usize = 32 << 10;

/// The exit code of a child that could not become what it was to be, or could not take its argument or give its result.
const FAILED: i32 = 1;

/// The life socket, with waiting.
struct Life {
    socket: OwnedFd,
    sender: wire::Sender,
    receiver: wire::Receiver,
}

impl Life {
    fn new(socket: OwnedFd) -> Self {
        let (sender, receiver) = (wire::Sender::new(wire::DEFAULT_LIMIT), wire::Receiver::new(wire::DEFAULT_LIMIT));
        Self { socket, sender, receiver }
    }

    /// Waits for the next message. No deadline: an owner that gives up closes the socket, and one that dies kills us.
    fn receive(&mut self) -> Result<Message, WireError> {
        loop {
            if let Some(message) = self.receiver.try_recv(self.socket.as_fd())? {
                return Ok(message);
            }
            poll::wait(self.socket.as_fd(), poll::Readiness::READ, Deadline::NEVER).map_err(WireError::Io)?;
        }
    }

    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        while !self.sender.try_send(self.socket.as_fd(), bytes, fds)? {
            poll::wait(self.socket.as_fd(), poll::Readiness::WRITE, Deadline::NEVER)?;
        }
        Ok(())
    }
}

/// The life of a child that was forked by the fork server or executed. `arm` closes what was not handed over, arms the
/// life line and sees to the signals; it is given the life socket. `environment` is this process's, where that is known.
/// `server` is the pid of the fork server, if that is whose child this is.
pub(super) fn run(
    life: OwnedFd,
    environment: Option<&Bytes>,
    server: Option<u32>,
    arm: impl FnOnce(BorrowedFd<'_>) -> io::Result<LifeLine>,
) -> ! {
    fork::leave(move || {
        let armed = arm(life.as_fd());
        let mut life = Life::new(life);
        match armed.map_err(NotReady::Failed).and_then(|line| prepare(&mut life, environment, line, server)) {
            Ok((function, argument)) => call(&mut life, || function.call(&argument.bytes, argument.fds)),
            Err(NotReady::Abandoned) => FAILED,
            Err(NotReady::Failed(error)) => fail(&mut life, &error),
        }
    })
}

/// The life of a child that its owner forked, with its owner's memory: there is nothing to receive. Returns the code to
/// leave with.
pub(super) fn run_forked(life: OwnedFd, arm: impl FnOnce() -> io::Result<()>, f: impl FnOnce() -> Outcome) -> i32 {
    let mut life = Life::new(life);
    match arm() {
        Ok(()) => call(&mut life, f),
        Err(error) => fail(&mut life, &error),
    }
}

fn call(life: &mut Life, f: impl FnOnce() -> Outcome) -> i32 {
    if say(life, &Readiness::Ready).is_err() {
        return FAILED;
    }
    panics::announce();
    let outcome = f();
    answer(life, outcome)
}

enum NotReady {
    /// The owner closed the socket: it does not want the child any more.
    Abandoned,
    Failed(io::Error),
}

impl From<io::Error> for NotReady {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<WireError> for NotReady {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Closed => Self::Abandoned,
            error => Self::Failed(io::Error::other(error)),
        }
    }
}

/// Receives what to become and becomes it; receives the argument.
fn prepare(
    life: &mut Life,
    environment: Option<&Bytes>,
    line: LifeLine,
    server: Option<u32>,
) -> Result<(Function, Message), NotReady> {
    let message = life.receive()?;
    let (Start { spec, function }, _) = protocol::decode(&message.bytes).map_err(io::Error::other)?;
    function.check().map_err(io::Error::other)?;
    let mut fds = message.fds.into_iter();
    let directory = fds.next().ok_or_else(|| io::Error::other("the directory did not come along"))?;
    become_spec(&spec, &directory, fds, environment)?;
    let argument = life.receive()?;
    give_up_privileges(&spec, line, server)?;
    Ok((function, argument))
}

/// Makes this process what `spec` says, but for its limits and user.
pub(super) fn become_spec(
    spec: &Spec,
    directory: &OwnedFd,
    mut streams: impl Iterator<Item = impl AsFd>,
    environment: Option<&Bytes>,
) -> io::Result<()> {
    if spec.own_group {
        attributes::lead_group(0)?;
    }
    for (number, redirect) in spec.stdio.into_iter().enumerate() {
        match redirect {
            Redirect::Null => attributes::set_stdio(number, attributes::null()?.as_fd())?,
            Redirect::Handed => {
                let stream = streams.next().ok_or_else(|| io::Error::other("a stream did not come along"))?;
                attributes::set_stdio(number, stream.as_fd())?;
            }
        }
    }
    attributes::change_directory(directory.as_fd())?;
    attributes::set_umask(spec.umask);
    if let Ok(title) = CString::new(spec.name.as_str()) {
        attributes::set_title(&title);
    }
    if environment != Some(&spec.environment) {
        let variables: Vec<_> = spec.environment.unpack().collect();
        // SAFETY: the process has one thread: it was counted before the fork or at the start, and none was started
        // since.
        unsafe { attributes::set_environment(&variables) };
    }
    if let Some(nice) = spec.nice {
        attributes::set_nice(nice)?;
    }
    if let Some(processors) = &spec.affinity {
        attributes::set_affinity(processors)?;
    }
    current::become_child(spec);
    Ok(())
}

/// The rest of what `spec` says. Last, because a limit of descriptors or memory would concern the argument, too, and another
/// user may not set all that this one may.
pub(super) fn give_up_privileges(spec: &Spec, line: LifeLine, server: Option<u32>) -> io::Result<()> {
    if let Some(function) = spec.preload {
        function.call_plain().map_err(|why| io::Error::other(format!("the function to be called first {why}")))?;
    }
    let limits = &spec.limits;
    let all = [(Limit::Cpu, limits.cpu), (Limit::OpenFiles, limits.open_files), (Limit::Memory, limits.memory)];
    for (limit, value) in all {
        if let Some(value) = value {
            attributes::set_limit(limit, value)?;
        }
    }
    if spec.user.is_some() || spec.group.is_some() {
        attributes::become_user(spec.user, spec.group, &line, server)?;
    }
    line.for_good();
    Ok(())
}

fn say(life: &mut Life, readiness: &Readiness) -> io::Result<()> {
    life.send(&protocol::encode(readiness)?, &[])
}

fn fail(life: &mut Life, error: &io::Error) -> i32 {
    // An owner that does not listen any more has given up already.
    let _ = say(life, &Readiness::Failed(Failure::from(error)));
    FAILED
}

/// Tells the owner what came of the call, and says with which code to leave. An owner that dropped its handle does not
/// want to know; what it should have known of a panic is on standard error.
fn answer(life: &mut Life, outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Returned(parcel) => {
            let fds = parcel.borrowed_fds();
            match in_memory(&parcel.bytes) {
                Some(file) => {
                    let mut all = vec![file.as_fd()];
                    all.extend(fds);
                    let len = parcel.bytes.len() as u64;
                    reply(life, &Reply::ReturnedInMemory { len }, &[], &all)
                }
                None => reply(life, &Reply::Returned, &parcel.bytes, &fds),
            }
        }
        Outcome::Panicked(report) => {
            let _ = reply(life, &Reply::Panicked(report), &[], &[]);
            PANICKED
        }
        Outcome::BadArgument(why) => {
            let _ = reply(life, &Reply::BadArgument(why), &[], &[]);
            FAILED
        }
        Outcome::BadResult(why) => {
            let _ = reply(life, &Reply::BadResult(why), &[], &[]);
            FAILED
        }
    }
}

/// Puts a long result into a memory file. `None` if it is short, or if there is no memory or descriptor for that: then
/// it goes through the socket, and the child waits until it is fetched.
fn in_memory(result: &[u8]) -> Option<std::fs::File> {
    if result.len() <= INLINE {
        return None;
    }
    // A limit of file sizes (RLIMIT_FSIZE) is then an error, and not the end. The user's code is through.
    signal::ignore(signal::FILE_SIZE).ok()?;
    let mut file = memory::file().ok()?;
    file.write_all(result).ok()?;
    Some(file)
}

fn reply(life: &mut Life, head: &Reply, payload: &[u8], fds: &[BorrowedFd<'_>]) -> i32 {
    let sent = protocol::encode(head).and_then(|mut bytes| {
        bytes.extend_from_slice(payload);
        life.send(&bytes, fds)
    });
    match sent {
        Ok(()) => 0,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            let why = format!("the result cannot be sent: {error}");
            let told = protocol::encode(&Reply::BadResult(why)).and_then(|bytes| life.send(&bytes, &[]));
            // Without an answer the owner sees the exit code.
            let _ = told;
            FAILED
        }
    }
}
