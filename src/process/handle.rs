//! [`Process`]: a function running in another process, as its owner sees it.
//!
//! # Safety
//!
//! `fork_unchecked` hands its obligation to its caller.
#![expect(unsafe_code, reason = "an unsafe function for those who can vouch for their threads")]

use std::fmt;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::Builder;
use super::error::{ForkError, ProcessError, SpawnError};
use super::exit::{Exit, ResourceUsage};
use super::owner::Owner;
use super::protocol::{self, Reply};
use super::start::Life;
use super::vigil::{End, Vigil};
use crate::ipc::parcel;
use crate::ipc::wire::{Message, WireError};
use crate::panics::PanicReport;
use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Readiness};
use crate::sys::signal;

/// How long [`Process::exit`] waits for the fork server to tell of an end that it has seen itself.
const TELLING: Duration = Duration::from_secs(1);

/// A function running in another process (Python's `multiprocessing.Process`).
///
/// Dropping it lets the process run on, unless it was built with [`kill_on_drop`](Builder::kill_on_drop). It is reaped in
/// any case: by the fork server, or, for the other start methods, by the next start or join after its end. When the
/// process that started it dies, it is killed; its own children are killed in turn. When that ends in peace, it waits for this
/// one first, unless it is a [`daemon`](Builder::daemon).
///
/// ```
/// use crewkit::process::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let process = Process::spawn(|(a, b): (u64, u64)| a * b, (6, 7))?;
///     assert_eq!(process.join()?, 42);
///     Ok(())
/// }
/// ```
pub struct Process<R> {
    vigil: Vigil,
    life: Life,
    answer: Answer,
    result: PhantomData<fn() -> R>,
}

/// What the process said of its call.
enum Answer {
    /// Nothing yet.
    Awaited,
    Came(Message),
    /// It was lost on the way, for this reason.
    Lost(String),
    /// Some join has given it out.
    Taken,
}

impl<R> Process<R> {
    pub(super) fn new(life: Life, vigil: Vigil) -> Self {
        Self { vigil, life, answer: Answer::Awaited, result: PhantomData }
    }

    /// The pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.vigil.subject().pidfd().pid()
    }

    /// The name given to the builder, or `Process-1` and so on.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.vigil.subject().terms.name
    }

    /// Whether the process has not ended yet (Python's `is_alive`). A stopped process is alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.vigil.subject().is_alive()
    }

    /// How the process ended; `None` while it runs (Python's `exitcode`).
    ///
    /// # Blocking
    ///
    /// Not while the process runs. When it has just ended, waits some microseconds for the fork server to say how; if
    /// that is stopped, a second, after which this is `None` still.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.end().map(|end| end.exit)
    }

    /// What the process used; `None` while it runs, and where nobody can tell ([`Exit::Unknown`]).
    ///
    /// # Blocking
    ///
    /// As [`exit`](Self::exit).
    #[must_use]
    pub fn resource_usage(&self) -> Option<ResourceUsage> {
        self.end().and_then(|end| end.usage)
    }

    /// Asks the process to end: SIGTERM. It may refuse. Nothing happens if it has ended.
    ///
    /// # Errors
    ///
    /// What the kernel says, for example EPERM for a process that changed its user. `PermissionDenied` in a process that
    /// was forked from the one that started it.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(signal::TERM)
    }

    /// Ends the process now: SIGKILL. Nothing happens if it has ended.
    ///
    /// # Errors
    ///
    /// As [`terminate`](Self::terminate).
    pub fn kill(&self) -> io::Result<()> {
        self.signal(signal::KILL)
    }

    /// Sends a signal by number, never to another process that took the pid. Nothing happens if it has ended.
    ///
    /// # Errors
    ///
    /// As [`terminate`](Self::terminate), and EINVAL for a number that is no signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.vigil.subject().signal(signal)
    }

    /// The descriptor that is readable when [`poll_end`](Self::poll_end) has news; for event loops.
    pub(crate) fn news(&self) -> BorrowedFd<'_> {
        self.vigil.news()
    }

    /// How the process ended, as far as it is known without waiting at all.
    pub(crate) fn poll_end(&self) -> io::Result<Option<Exit>> {
        Ok(self.vigil.check()?.map(|end| end.exit))
    }

    fn end(&self) -> Option<End> {
        // Its news are the owner's to take; there is nothing to wait for.
        if self.vigil.subject().is_foreign() {
            return None;
        }
        if let Ok(Some(end)) = self.vigil.check() {
            return Some(end);
        }
        if self.is_alive() {
            return None;
        }
        let _ = poll::wait(self.vigil.news(), Readiness::READ, Deadline::after(TELLING));
        self.vigil.check().ok().flatten()
    }
}

impl<R: DeserializeOwned> Process<R> {
    /// Waits until the process has ended, and returns what its function returned (Python's `join`, and the result with
    /// it).
    ///
    /// # Errors
    ///
    /// How it ended without a result; see [`ProcessError`]. A process that ended after it had sent its result gives the
    /// result, whatever the end was; [`exit`](Self::exit) tells that.
    ///
    /// # Blocking
    ///
    /// Until the process ends.
    pub fn join(mut self) -> Result<R, ProcessError> {
        match self.join_until(Deadline::NEVER)? {
            Some(result) => Ok(result),
            None => Err(ProcessError::Lost),
        }
    }

    /// [`join`](Self::join) for at most `timeout`; `None` if the process runs then. The result is given out once.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join), and [`ProcessError::AlreadyJoined`] after the result was given out.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when the process is stopped in the middle of its answer.
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<Option<R>, ProcessError> {
        self.join_until(Deadline::after(timeout))
    }

    /// [`join`](Self::join) if the process has ended; `None` if it runs.
    ///
    /// # Errors
    ///
    /// As [`join_timeout`](Self::join_timeout).
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn try_join(&mut self) -> Result<Option<R>, ProcessError> {
        self.join_until(Deadline::after(Duration::ZERO))
    }

    fn join_until(&mut self, deadline: Deadline) -> Result<Option<R>, ProcessError> {
        if self.vigil.subject().is_foreign() {
            return Err(ProcessError::ForeignProcess);
        }
        if let Ok(owner) = Owner::of_this_process() {
            owner.reap_orphans();
        }
        loop {
            // In this order: what the process sent before its end is in the socket when the end is known.
            let end = self.vigil.check()?;
            self.listen();
            if let Some(end) = end {
                return self.conclude(end).map(Some);
            }
            if deadline.is_expired() {
                return Ok(None);
            }
            let mut watched = vec![(self.vigil.news(), Readiness::READ)];
            if matches!(self.answer, Answer::Awaited) && !self.life.closed {
                watched.push((self.life.socket.as_fd(), Readiness::READ));
            }
            poll::wait_many(&watched, deadline)?;
        }
    }

    /// Takes in what has come of the answer.
    fn listen(&mut self) {
        if !matches!(self.answer, Answer::Awaited) || self.life.closed {
            return;
        }
        match self.life.receiver.try_recv(self.life.socket.as_fd()) {
            Ok(None) => {}
            Ok(Some(message)) => self.answer = Answer::Came(message),
            Err(WireError::Closed) => self.life.closed = true,
            Err(error) => self.answer = Answer::Lost(error.to_string()),
        }
    }

    /// What a process that has ended leaves.
    fn conclude(&mut self, end: End) -> Result<R, ProcessError> {
        match &self.answer {
            Answer::Came(_) => {}
            Answer::Lost(why) => return Err(ProcessError::BadResult(why.clone())),
            Answer::Taken => return Err(ProcessError::AlreadyJoined),
            Answer::Awaited if end.server_died => return Err(ProcessError::ForkServerDied { exit: end.exit }),
            Answer::Awaited => {
                return Err(match end.exit {
                    Exit::Code(code) => ProcessError::Exited { code },
                    Exit::Signal { signal, core } => ProcessError::Killed { signal, core, oom: end.oom },
                    Exit::Unknown => ProcessError::Lost,
                });
            }
        }
        match std::mem::replace(&mut self.answer, Answer::Taken) {
            Answer::Came(message) => result_in(message),
            _ => Err(ProcessError::AlreadyJoined),
        }
    }
}

/// The result, or the reason for its absence, in a process's answer.
fn result_in<R: DeserializeOwned>(message: Message) -> Result<R, ProcessError> {
    let (reply, payload) =
        protocol::decode::<Reply>(&message.bytes).map_err(|error| ProcessError::BadResult(error.to_string()))?;
    let decoded = match reply {
        Reply::Returned => parcel::decode(payload, message.fds),
        Reply::ReturnedInMemory { len } => {
            let mut fds = message.fds.into_iter();
            let Some(file) = fds.next() else {
                return Err(ProcessError::BadResult("its memory file did not come along".to_owned()));
            };
            let bytes = read_memory(file, len).map_err(|error| ProcessError::BadResult(error.to_string()))?;
            parcel::decode(&bytes, fds.collect())
        }
        Reply::Panicked(report) => {
            let PanicReport { message, location, backtrace } = report;
            return Err(ProcessError::Panicked { message, location, backtrace });
        }
        Reply::BadArgument(why) => return Err(ProcessError::BadArgument(why)),
        Reply::BadResult(why) => return Err(ProcessError::BadResult(why)),
    };
    decoded.map_err(|error| ProcessError::BadResult(error.to_string()))
}

fn read_memory(file: OwnedFd, len: u64) -> io::Result<Vec<u8>> {
    let file = File::from(file);
    // The announced length is checked before memory is taken for it.
    if file.metadata()?.len() != len {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its memory file has another length than announced"));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

impl<R> AsFd for Process<R> {
    /// A pidfd: readable when the process has ended. For [`wait_any`](super::wait_any), poll and event loops.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.vigil.subject().as_fd()
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name()).field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl<R: Serialize + DeserializeOwned> Process<R> {
    /// Runs `f(args)` in a new process (Python's `Process(target=f, args=args).start()`), with the settings of
    /// [`Builder::new`].
    ///
    /// `f` is a `fn` item or a closure without captures; a capture does not compile, pass it as an argument. (A capture
    /// of size zero compiles, and the child gets one made out of nothing: a token that proves something about this
    /// process proves nothing there. That is not supported.) Arguments and results are serde values in which handles of
    /// this crate may stand anywhere; attributes of serde that need a self-describing format (`untagged`, `flatten`,
    /// `skip_serializing_if`) cannot be decoded.
    ///
    /// # Errors
    ///
    /// See [`SpawnError`]. No later than the builder's [`start_timeout`](Builder::start_timeout).
    ///
    /// # Blocking
    ///
    /// Until the process runs the function: some 100 µs, the first time a millisecond more.
    pub fn spawn<F, A>(f: F, args: A) -> Result<Self, SpawnError>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
    {
        Builder::new().spawn(f, args)
    }

    /// Forks this process; the child runs `f`, a closure with any captures, in a copy of all that this process has in
    /// memory (Python's start method `fork`). It keeps this process's open files, too.
    ///
    /// Ends of connections that `f` captures are the child's from then on. Processes that this one has started stay its
    /// own: their handles are inert in the child. The child leaves by `_exit`, without destructors of what `f` did not
    /// capture.
    ///
    /// # Errors
    ///
    /// [`ForkError::Multithreaded`] unless this process has one thread; what the kernel says otherwise.
    ///
    /// # Blocking
    ///
    /// Until the child exists: the time depends on this process's size.
    ///
    /// ```
    /// use crewkit::process::Process;
    ///
    /// let table = vec![1, 2, 3];
    /// let process = Process::fork(|| table.iter().sum::<u32>())?;
    /// assert_eq!(process.join()?, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fork(f: impl FnOnce() -> R) -> Result<Self, ForkError> {
        Builder::new().fork(f)
    }

    /// [`fork`](Self::fork) of a process that may have more than one thread.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    ///
    /// # Safety
    ///
    /// The child has one thread, and every lock that another thread held in the parent is held for ever there: the
    /// allocator's is not, but those of std's standard output, of the environment, and of any library may be. Whatever
    /// `f` and the serialisation of its result call must get by without them.
    pub unsafe fn fork_unchecked(f: impl FnOnce() -> R) -> Result<Self, ForkError> {
        // SAFETY: the caller's promise.
        unsafe { Builder::new().fork_unchecked(f) }
    }
}
