//! The fork server: a process with one thread that forks children on request, tells their owner how they end, and
//! ends them when their owner has died. `README.md` beside this file has the protocol.
//!
//! It runs no user code but what was asked for by [`Builder::preload`](super::Builder::preload), so it stays as small as it was
//! at its start, and a fork of it costs the same whatever the owner's size.
//!
//! # Safety
//!
//! The one unsafe call is `fork`. The process has one thread: [`run`] is told how many there were when it began, refuses
//! every request if there were more, and starts none.
#![expect(unsafe_code, reason = "fork")]

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::child;
use super::exit::Exit;
use super::function::Function;
use super::owner::reap;
use super::protocol::{self, Bytes, Failure, Record, Refusal, Request, Status};
use crate::sys::clock::Deadline;
use crate::sys::elf::Image;
use crate::sys::poll::{self, Readiness};
use crate::sys::process::{self, Forked, PidFd};
use crate::sys::{attributes, signal};

/// Requests served before the ends of children are looked at again.
const REQUESTS_AT_ONCE: usize = 16;

/// Characters of why a function failed, at most: a refusal is one record.
const LONGEST_REASON: usize = 500;

/// What the server knows.
struct Server {
    /// Requests come here; the end of it is the end of the owner.
    control: OwnedFd,
    /// The read end of the owner's pulse, for the children's life lines.
    pulse: OwnedFd,
    /// The owner itself: a copy of the other end of `control` in a process that it forked must not keep this one alive.
    owner: PidFd,
    /// Threads at the start, and after the call. More than one: no fork.
    threads: usize,
    /// A function was called first; what it has left open is its children's, too.
    preloaded: bool,
    /// Why it did not return.
    preload_failed: Option<String>,
    /// The limit of descriptors that children get back.
    open_files: (u64, u64),
    /// The environment that children begin with; mostly it is what they are to have.
    environment: Bytes,
    children: Vec<Served>,
}

/// A child, as the server sees it.
struct Served {
    pidfd: PidFd,
    /// Where its end is told.
    status: OwnedFd,
    own_group: bool,
}

/// The life of a fork server, from the moment it knows that it is one.
pub(super) fn run(control: OwnedFd, pulse: OwnedFd, threads: usize) -> ! {
    let code = match Server::new(control, pulse, threads).and_then(Server::serve) {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "crewkit: the fork server ends: {error}");
            1
        }
    };
    // Also after an error: whoever the server leaves behind would have no parent that reports its end.
    process::exit_now(code)
}

impl Server {
    fn new(control: OwnedFd, pulse: OwnedFd, threads: usize) -> io::Result<Self> {
        signal::reset_all()?;
        // Ctrl-C and a stop of the terminal's process group are for the owner, which tells us what follows from them.
        // Nothing ever unblocks this; children begin with an empty mask.
        signal::block_all_for_good()?;
        attributes::set_title(c"crewkit-server");
        let null = attributes::null()?;
        // Children get their streams from the owner; a pipe to us must not stay open because of the server.
        attributes::set_stdio(0, null.as_fd())?;
        attributes::set_stdio(1, null.as_fd())?;
        let open_files = attributes::raise_open_files()?;
        let owner = process::parent_pid();
        let pidfd = PidFd::open(owner)?;
        if process::parent_pid() != owner {
            return Err(io::Error::other("the owner has died"));
        }
        // Children need it, and have it from here: it is read once.
        let _ = Image::main();
        let environment: Vec<_> = std::env::vars_os().collect();
        let environment = Bytes::pack(environment.iter().map(|(key, value)| (key.as_os_str(), value.as_os_str())));
        Ok(Self {
            control,
            pulse,
            owner: pidfd,
            threads,
            preloaded: false,
            preload_failed: None,
            open_files,
            environment,
            children: Vec::new(),
        })
    }

    fn serve(mut self) -> io::Result<()> {
        let result = loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.end_children();
        result
    }

    /// Waits for something to do, and does it; `false` when the owner is gone.
    fn turn(&mut self) -> io::Result<bool> {
        let answers = {
            let children = self.children.iter().map(|child| child.pidfd.as_fd());
            let watched = [self.control.as_fd(), self.owner.as_fd()].into_iter().chain(children);
            let watched: Vec<_> = watched.map(|fd| (fd, Readiness::READ)).collect();
            poll::wait_many(&watched, Deadline::NEVER)?
        };
        let (control, owner, children) = match answers.as_slice() {
            [control, owner, children @ ..] => (*control, *owner, children),
            _ => return Ok(false),
        };
        // Before children are reaped: their groups can be ended only while their pids are theirs.
        if control.hung_up || owner.any() {
            return Ok(false);
        }
        let mut ended = children.iter().map(|answer| answer.any());
        self.children.retain(|child| {
            let over = ended.next().unwrap_or(false);
            if over {
                child.report_end();
            }
            !over
        });
        if control.readable {
            for _ in 0..REQUESTS_AT_ONCE {
                match protocol::receive::<Request>(self.control.as_fd())? {
                    Record::Whole(Request::Fork { own_group }, fds) => self.start(own_group, fds),
                    Record::Whole(Request::Preload(function), _) => self.preload(function)?,
                    // The status socket was among the lost, and its closing tells the owner.
                    Record::Truncated(_) => {}
                    Record::Nothing => break,
                    Record::Closed => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Calls what all children are to have been called before them.
    fn preload(&mut self, function: Function) -> io::Result<()> {
        // Meanwhile nobody looks whether the owner lives, and there is nothing yet that must be put in order at its end.
        let line = attributes::arm_life_line(self.pulse.as_fd())?;
        let failed = function.call_plain().err();
        drop(line);
        self.preload_failed = failed.map(|why| why.chars().take(LONGEST_REASON).collect());
        self.preloaded = true;
        self.threads = process::thread_count()?;
        Ok(())
    }

    /// Forks a child, and tells the owner that it exists or why not. An owner that does not listen any more is no error
    /// of ours.
    fn start(&mut self, own_group: bool, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        let (Some(life), Some(status)) = (fds.next(), fds.next()) else { return };
        if self.threads > 1 {
            // A thread that was joined may have been listed still.
            self.threads = process::thread_count().unwrap_or(self.threads);
        }
        let refusal = match &self.preload_failed {
            Some(why) => Some(Refusal::Preload(why.clone())),
            None => (self.threads > 1).then_some(Refusal::Multithreaded { threads: self.threads }),
        };
        if let Some(refusal) = refusal {
            let _ = protocol::send(status.as_fd(), &Status::Refused(refusal), &[]);
            return;
        }
        match self.fork(own_group, life, status.as_fd()) {
            Ok(pidfd) => {
                let started = Status::Started { pid: pidfd.pid() };
                if let Err(error) = protocol::send(status.as_fd(), &started, &[pidfd.as_fd()]) {
                    // The owner is gone, or the kernel refused the descriptor: the start has failed, so nothing may
                    // come of it. The child is reaped like any other.
                    let _ = pidfd.send_signal(signal::KILL);
                    let refusal = Refusal::Kernel(Failure::from(&error));
                    let _ = protocol::send(status.as_fd(), &Status::Refused(refusal), &[]);
                }
                self.children.push(Served { pidfd, status, own_group });
            }
            Err(error) => {
                let refusal = Refusal::Kernel(Failure::from(&error));
                let _ = protocol::send(status.as_fd(), &Status::Refused(refusal), &[]);
            }
        }
    }

    fn fork(&self, own_group: bool, life: OwnedFd, status: BorrowedFd<'_>) -> io::Result<PidFd> {
        let server = std::process::id();
        // SAFETY: this process has one thread (see the module's Safety section). Whatever this frame and its callers
        // own is never dropped in the child, which leaves by `_exit`.
        match unsafe { process::fork() }? {
            Forked::Child => child::run(life, Some(&self.environment), Some(server), |life| {
                match self.preloaded {
                    true => process::close_each(&self.private(status))?,
                    false => process::close_all_except(&[life, self.pulse.as_fd()])?,
                }
                attributes::die_with(server)?;
                let line = attributes::arm_life_line(self.pulse.as_fd())?;
                attributes::restore_open_files(self.open_files)?;
                // The dispositions are the server's, which it has reset.
                signal::unblock_all().map(|()| line)
            }),
            Forked::Parent(pid) => {
                drop(life);
                if own_group {
                    // Whoever is first, the child or we, the group exists before either goes on. The child may have
                    // died.
                    let _ = attributes::lead_group(pid);
                }
                PidFd::open(pid).inspect_err(|_| process::kill_and_reap(pid))
            }
        }
    }

    /// The descriptors that are the server's own, with the one by which it tells of the next child.
    fn private<'a>(&'a self, status: BorrowedFd<'a>) -> Vec<BorrowedFd<'a>> {
        let children = self.children.iter().flat_map(|child| [child.pidfd.as_fd(), child.status.as_fd()]);
        [self.control.as_fd(), self.owner.as_fd(), status].into_iter().chain(children).collect()
    }

    /// Ends every child, its group included, and reaps them, so that nothing is left even where nobody reaps orphans.
    fn end_children(&self) {
        for child in &self.children {
            // ESRCH: it has just ended.
            let _ = child.pidfd.send_signal(signal::KILL);
        }
        let patience = Deadline::after(std::time::Duration::from_secs(1));
        for child in &self.children {
            // A group's leader must be unreaped when its group is ended.
            if child.own_group {
                attributes::kill_group(child.pidfd.pid());
            }
            if matches!(child.pidfd.wait(patience), Ok(true)) {
                child.report_end();
            }
        }
    }
}

impl Served {
    /// Reaps the child, which has ended, and tells its owner how.
    fn report_end(&self) {
        let ended = reap(&self.pidfd, self.own_group);
        let exit = ended.map_or(Exit::Unknown, |ended| ended.status.into());
        let usage = ended.map(|ended| ended.usage.into()).unwrap_or_default();
        // An owner that dropped the handle does not listen.
        let _ = protocol::send(self.status.as_fd(), &Status::Ended { exit, usage }, &[]);
    }
}
