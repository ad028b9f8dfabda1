//! What a [`Builder`] does at last: it starts a process.
//!
//! # Safety
//!
//! `fork_unchecked` hands its obligation to its caller; `fork` counts the threads first.
#![expect(unsafe_code, reason = "forking")]

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Builder, Change, StartMethod};
use crate::ipc::parcel::{self, Parcel};
use crate::process::current::current;
use crate::process::error::{ForkError, SpawnError};
use crate::process::function::{self, Function, Outcome};
use crate::process::handle::Process;
use crate::process::owner::Owner;
use crate::process::protocol::{self, Bytes, Spec, Start};
use crate::process::start::{self, Orders, Starting};
use crate::process::stdio::{Stdio, Stream};
use crate::process::subject::Terms;
use crate::process::{boot, child, fork};
use crate::sys::attributes;
use crate::sys::clock::Deadline;
use crate::sys::generation;

impl Builder {
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
        let Plan { mut spec, directory, streams } = self.plan()?;
        let terms = self.terms(&spec.name);
        let by_server = self.method == StartMethod::ForkServer;
        let preload = spec.preload.take_if(|_| by_server);
        let orders = Orders { start: protocol::encode(&Start { spec, function })?, directory, streams, argument };
        let starting = match by_server {
            true => Starting::by_server(owner, preload, terms, orders)?,
            false => Starting::by_exec(owner, terms, orders)?,
        };
        starting.wait(deadline)
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
        let terms = self.terms(&spec.name);
        let (life, child_end) = start::Life::pair()?;
        let body = move || {
            let arm = || {
                let line = attributes::arm_life_line(owner.pulse())?;
                child::become_spec(&spec, &directory, streams.iter(), None)?;
                child::give_up_privileges(&spec, line, None)
            };
            generation::adopt_inherited();
            // Before the limits are set: they forbid to replace descriptors with high numbers.
            sever();
            child::run_forked(child_end, arm, call)
        };
        // SAFETY: the caller's promise.
        let pidfd = unsafe { fork::fork_unchecked(body) }?;
        Starting::forked(terms, life, pidfd).wait(deadline)
    }

    fn terms(&self, name: &str) -> Terms {
        Terms {
            name: name.into(),
            own_group: self.own_group,
            daemon: self.daemon,
            kill_on_drop: self.kill_on_drop,
            limits_memory: self.limits.memory.is_some(),
        }
    }

    /// What the child is told to be.
    fn plan(&self) -> Result<Plan, SpawnError> {
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
            affinity: self.affinity.clone(),
            limits: self.limits,
            user: self.user,
            group: self.group,
            preload: self.preload.map(|named| named.ok_or(SpawnError::NotInExecutable)).transpose()?,
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
