//! [`Builder`]: how a process is to be started, and what it is to be.
//!
//! # Safety
//!
//! `fork_unchecked` hands its obligation to its caller; `fork` counts the threads first.
#![expect(unsafe_code, reason = "forking")]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::current::current;
use super::error::{ForkError, SpawnError};
use super::function::{self, Function, Outcome};
use super::handle::Process;
use super::owner::Owner;
use super::protocol::{self, Bytes, Limits, Spec, Start};
use super::start::{Orders, Starting};
use super::stdio::{Stdio, Stream};
use super::{boot, child, fork, start};
use crate::ipc::parcel::{self, Parcel};
use crate::sys::attributes;
use crate::sys::clock::Deadline;
use crate::sys::generation;

/// How a new process comes to be (Python's start methods).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// A small server process with one thread, which is started at first use, forks: fast whatever this process's size,
    /// and safe with threads. If the server dies, the processes it forked die with it.
    #[default]
    ForkServer,
    /// The program is executed anew for each process: slower (about a millisecond), and independent of a server.
    Spawn,
    /// This process forks. Only while it has one thread; the new process starts with a copy of its memory and shares its
    /// open files.
    Fork,
}

/// How to start a process, and what to make of it; the settings of Python's `Process` and of `subprocess`.
///
/// A new process has this process's environment, directory, umask, standard output and error as they are when it is
/// started. Its standard input is `/dev/null`. Signals have their default dispositions (SIGPIPE is ignored, as in every
/// Rust program), and no descriptor is open but what was handed over.
///
/// ```
/// use crewkit::process::Builder;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let process = Builder::new()
///         .name("greeter")
///         .env("GREETING", "hello")
///         .spawn(|who: String| format!("{} {who}", std::env::var("GREETING").unwrap()), "you".to_owned())?;
///     assert_eq!(process.join()?, "hello you");
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing until spawn is called"]
pub struct Builder {
    name: Option<String>,
    method: StartMethod,
    environment: Vec<Change>,
    directory: Option<PathBuf>,
    stdio: [Stdio; 3],
    nice: Option<i32>,
    limits: Limits,
    kill_on_drop: bool,
    own_group: bool,
    start_timeout: Duration,
}

/// A change to the environment, in the order of the calls.
#[derive(Clone, Debug)]
enum Change {
    Clear,
    Set(OsString, OsString),
    Remove(OsString),
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// The settings of [`Process::spawn`].
    pub fn new() -> Self {
        Self {
            name: None,
            method: StartMethod::default(),
            environment: Vec::new(),
            directory: None,
            stdio: [Stdio::null(), Stdio::inherit(), Stdio::inherit()],
            nice: None,
            limits: Limits::default(),
            kill_on_drop: false,
            own_group: false,
            start_timeout: Duration::from_secs(30),
        }
    }

    /// The process's name: for [`Process::name`], [`current`](super::current()), and its first 15 bytes for `ps`. The
    /// default is `Process-1` and so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How the process comes to be. The default is [`StartMethod::ForkServer`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// Sets a variable of the process's environment.
    ///
    /// # Panics
    ///
    /// If the name is empty or contains `=` or NUL, or the value contains NUL: no environment can hold that.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (key, value) = (key.as_ref(), value.as_ref());
        let (name, content) = (key.as_encoded_bytes(), value.as_encoded_bytes());
        let possible = !name.is_empty() && !name.contains(&b'=') && !name.contains(&0) && !content.contains(&0);
        assert!(possible, "not a variable of an environment: {key:?}={value:?}");
        self.environment.push(Change::Set(key.to_owned(), value.to_owned()));
        self
    }

    /// Removes a variable from the process's environment.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.environment.push(Change::Remove(key.as_ref().to_owned()));
        self
    }

    /// Begins with an empty environment; later [`env`](Self::env) calls add to it.
    pub fn env_clear(mut self) -> Self {
        self.environment.push(Change::Clear);
        self
    }

    /// The process's current directory. The default is this process's, when the new one starts.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Standard input. The default is [`Stdio::null`]: a process that reads it sees its end.
    pub fn stdin(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdio[0] = stream.into();
        self
    }

    /// Standard output. The default is [`Stdio::inherit`].
    pub fn stdout(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdio[1] = stream.into();
        self
    }

    /// Standard error. The default is [`Stdio::inherit`].
    pub fn stderr(mut self, stream: impl Into<Stdio>) -> Self {
        self.stdio[2] = stream.into();
        self
    }

    /// The nice value, from -20 (favoured; needs a privilege) to 19. The default is this process's.
    pub fn nice(mut self, nice: i32) -> Self {
        self.nice = Some(nice);
        self
    }

    /// A limit for the address space, in bytes (RLIMIT_AS). An allocation beyond it fails, which in Rust code mostly
    /// means an abort: [`ProcessError::Killed`](super::ProcessError::Killed) with SIGABRT.
    pub fn limit_memory(mut self, bytes: u64) -> Self {
        self.limits.memory = Some(bytes);
        self
    }

    /// A limit for processor time, rounded up to seconds (RLIMIT_CPU): SIGXCPU (24) ends the process there, or SIGKILL a
    /// second later if it resists.
    pub fn limit_cpu(mut self, time: Duration) -> Self {
        self.limits.cpu = Some(time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)));
        self
    }

    /// A limit for open descriptors (RLIMIT_NOFILE).
    pub fn limit_open_files(mut self, descriptors: u64) -> Self {
        self.limits.open_files = Some(descriptors);
        self
    }

    /// Whether dropping the [`Process`] kills the process. The default is that it runs on.
    pub fn kill_on_drop(mut self, kill: bool) -> Self {
        self.kill_on_drop = kill;
        self
    }

    /// How long a start may take, from the call to the moment at which the process runs the function. The default is
    /// 30 s, long enough for a busy machine. What takes longer is killed: [`SpawnError::TimedOut`].
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Whether the process leads a process group of its own, which ends when the process does: a terminal's Ctrl-C does
    /// not reach it, and its own children end with it (unless they leave the group).
    pub(crate) fn own_group(mut self, own: bool) -> Self {
        self.own_group = own;
        self
    }

    /// Runs `f(args)` in a new process; see [`Process::spawn`].
    ///
    /// # Errors
    ///
    /// See [`SpawnError`].
    ///
    /// # Blocking
    ///
    /// Until the process runs the function, at most for [`start_timeout`](Self::start_timeout).
    pub fn spawn<F, A, R>(&self, f: F, args: A) -> Result<Process<R>, SpawnError>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let deadline = Deadline::after(self.start_timeout);
        if self.method != StartMethod::Fork && !boot::is_initialized() {
            return Err(SpawnError::NotInitialized);
        }
        let argument = parcel::encode(&args).map_err(|error| SpawnError::BadArgument(error.to_string()))?;
        let owner = Owner::of_this_process()?;
        owner.reap_orphans();
        if self.method == StartMethod::Fork {
            return self.fork_for(deadline, f, argument);
        }
        let function = Function::of(f)?;
        let Plan { spec, directory, streams } = self.plan()?;
        let name = spec.name.clone();
        let start = protocol::encode(&Start { spec, function })?;
        let orders = Orders { start, directory, streams, argument };
        let starting = match self.method {
            StartMethod::ForkServer => Starting::by_server(owner, name, self.own_group, orders)?,
            StartMethod::Spawn | StartMethod::Fork => Starting::by_exec(owner, name, self.own_group, orders)?,
        };
        starting.killed_on_drop(self.kill_on_drop).wait(deadline)
    }

    fn fork_for<F, A, R>(&self, deadline: Deadline, f: F, mut argument: Parcel) -> Result<Process<R>, SpawnError>
    where
        F: Fn(A) -> R,
        A: DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        fork::check_threads()?;
        let (bytes, fds) = (std::mem::take(&mut argument.bytes), std::mem::take(&mut argument.fds));
        let call = move || function::call_here_with(f, &bytes, fds);
        // SAFETY: there is one thread, counted above.
        let process = unsafe { self.fork_by(deadline, || argument.sever(), call) }?;
        argument.commit();
        Ok(process)
    }

    /// Forks this process, with these settings; see [`Process::fork`]. The start method is not asked.
    ///
    /// # Errors
    ///
    /// [`ForkError::Multithreaded`] unless this process has one thread; what the kernel says otherwise.
    ///
    /// # Blocking
    ///
    /// As [`spawn`](Self::spawn).
    pub fn fork<R>(&self, f: impl FnOnce() -> R) -> Result<Process<R>, ForkError>
    where
        R: Serialize + DeserializeOwned,
    {
        fork::check_threads()?;
        // SAFETY: there is one thread, counted above.
        unsafe { self.fork_unchecked(f) }
    }

    /// [`fork`](Self::fork) of a process that may have more than one thread.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    ///
    /// # Safety
    ///
    /// See [`Process::fork_unchecked`].
    pub unsafe fn fork_unchecked<R>(&self, f: impl FnOnce() -> R) -> Result<Process<R>, ForkError>
    where
        R: Serialize + DeserializeOwned,
    {
        let deadline = Deadline::after(self.start_timeout);
        // SAFETY: the caller's promise.
        unsafe { self.fork_by(deadline, || (), || function::call_here(f)) }.map_err(|error| match error {
            SpawnError::Fork(error) => error,
            SpawnError::Io(error) | SpawnError::Setup(error) => ForkError::Io(error),
            error => ForkError::Io(io::Error::other(error)),
        })
    }

    /// The child first gives up, by `sever`, what it inherited and is not to have.
    ///
    /// # Safety
    ///
    /// The process has one thread, or `sever` and `call` need no lock that another may hold.
    unsafe fn fork_by<R>(
        &self,
        deadline: Deadline,
        sever: impl FnOnce(),
        call: impl FnOnce() -> Outcome,
    ) -> Result<Process<R>, SpawnError> {
        let owner = Owner::of_this_process()?;
        owner.reap_orphans();
        let Plan { spec, directory, streams } = self.plan()?;
        let name = spec.name.clone();
        let (life, child_end) = start::Life::pair()?;
        let body = move || {
            let arm = || {
                attributes::arm_life_line(owner.pulse())?;
                child::become_spec(&spec, &directory, streams.iter(), None)?;
                child::set_limits(&spec.limits)
            };
            generation::adopt_inherited();
            // Before the limits are set: they forbid to replace descriptors with high numbers.
            sever();
            child::run_forked(child_end, arm, call)
        };
        // SAFETY: the caller's promise.
        let pidfd = unsafe { fork::fork_unchecked(body) }?;
        Starting::forked(name, life, pidfd, self.own_group).killed_on_drop(self.kill_on_drop).wait(deadline)
    }

    /// What the child is told to be.
    fn plan(&self) -> io::Result<Plan> {
        static COUNTER: AtomicUsize = AtomicUsize::new(1);
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| format!("Process-{}", COUNTER.fetch_add(1, Ordering::Relaxed)));
        let directory = attributes::open_directory(self.directory.as_deref().unwrap_or(Path::new(".")))?;
        let mut streams = Vec::with_capacity(3);
        let mut resolve = |number: u8, stdio: &Stdio| {
            let (redirect, stream) = stdio.resolve(number);
            streams.extend(stream);
            redirect
        };
        let [stdin, stdout, stderr] = &self.stdio;
        let stdio = [resolve(0, stdin), resolve(1, stdout), resolve(2, stderr)];
        let spec = Spec {
            name,
            owner_name: current().name().to_owned(),
            owner_pid: std::process::id(),
            environment: self.packed_environment(),
            umask: attributes::current_umask()?,
            stdio,
            own_group: self.own_group,
            nice: self.nice,
            limits: self.limits,
        };
        Ok(Plan { spec, directory, streams })
    }

    fn packed_environment(&self) -> Bytes {
        let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        for change in &self.environment {
            match change {
                Change::Clear => variables.clear(),
                Change::Remove(key) => variables.retain(|(name, _)| name != key),
                Change::Set(key, value) => match variables.iter_mut().find(|(name, _)| name == key) {
                    Some((_, present)) => present.clone_from(value),
                    None => variables.push((key.clone(), value.clone())),
                },
            }
        }
        Bytes::pack(variables.iter().map(|(key, value)| (key.as_os_str(), value.as_os_str())))
    }
}

/// What a child is to be, and the descriptors that go with it.
struct Plan {
    spec: Spec,
    directory: OwnedFd,
    streams: Vec<Stream>,
}
