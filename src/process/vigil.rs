//! Learning how a process ended, from whoever can tell.
//!
//! A child of the fork server is waited for by the server, which tells over the status socket; a child of this process
//! is waited for here. Either way the news comes through one descriptor that can be polled.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::exit::{Exit, ResourceUsage};
use super::owner::{Owner, Server, reap};
use super::protocol::{self, Record, Status};
use super::subject::{Subject, Terms};
use crate::sys::clock::Deadline;
use crate::sys::process::PidFd;
use crate::sys::signal;

/// Who can wait for the process.
#[derive(Debug)]
pub(super) enum Waiter {
    /// The fork server, which tells over this socket.
    Server { status: OwnedFd, server: Arc<Server> },
    /// This process.
    Here,
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) exit: Exit,
    /// `None` where nobody could tell.
    pub(super) usage: Option<ResourceUsage>,
    /// The fork server died first, and the process with it.
    pub(super) server_died: bool,
    /// It looks as if there was no memory for it.
    pub(super) oom: bool,
}

/// A process that is watched until its end.
#[derive(Debug)]
pub(super) struct Vigil {
    subject: Arc<Subject>,
    waiter: Waiter,
    /// It is being started: dropping this ends it, whatever its terms.
    starting: bool,
    known: Mutex<Known>,
}

/// What was learnt so far.
#[derive(Debug, Default)]
struct Known {
    /// The status socket is closed without news: the pidfd is all that is left to watch.
    server_died: bool,
    end: Option<End>,
}

impl Vigil {
    pub(super) fn new(pidfd: PidFd, waiter: Waiter, terms: Terms) -> Self {
        Self { subject: Arc::new(Subject::new(terms, pidfd)), waiter, starting: true, known: Mutex::default() }
    }

    /// The process.
    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// It runs its function: from now on it is one of the children of this process.
    pub(super) fn has_started(&mut self) {
        self.starting = false;
        if let Some(owner) = Owner::if_any() {
            owner.list(&self.subject);
        }
    }

    /// Readable when [`check`](Self::check) may have news.
    pub(super) fn news(&self) -> BorrowedFd<'_> {
        match &self.waiter {
            Waiter::Server { status, .. } if !self.known.lock().server_died => status.as_fd(),
            Waiter::Server { .. } | Waiter::Here => self.subject.as_fd(),
        }
    }

    /// The end, as far as it is known by now. Never waits. Once it is known the answer stays.
    pub(super) fn check(&self) -> io::Result<Option<End>> {
        if self.subject.is_foreign() {
            return Ok(None);
        }
        let mut known = self.known.lock();
        if known.end.is_none() {
            known.end = self.look(&mut known.server_died)?.map(|end| End { oom: self.lacked_memory(end.exit), ..end });
        }
        Ok(known.end)
    }

    fn look(&self, server_died: &mut bool) -> io::Result<Option<End>> {
        if let Waiter::Server { status, server } = &self.waiter
            && !*server_died
        {
            match protocol::receive::<Status>(status.as_fd())? {
                Record::Whole(Status::Ended { exit, usage }, _) => {
                    let usage = (exit != Exit::Unknown).then_some(usage);
                    return Ok(Some(End { exit, usage, server_died: false, oom: false }));
                }
                Record::Whole(Status::Started { .. } | Status::Refused(_), _) | Record::Nothing => return Ok(None),
                Record::Closed | Record::Truncated(_) => {
                    // Nothing waits for the dead server, unless it is reaped here.
                    let _ = server.end_of_dying();
                    *server_died = true;
                }
            }
        }
        let pidfd = self.subject.pidfd();
        if !pidfd.has_ended()? {
            return Ok(None);
        }
        // After its fork server's death a child may have become ours (a subreaper's), or the kernel may tell.
        let ended = reap(pidfd, self.subject.terms.own_group && matches!(self.waiter, Waiter::Here));
        let status = ended.map(|ended| ended.status).or_else(|| pidfd.status_of_stranger());
        Ok(Some(End {
            exit: status.map_or(Exit::Unknown, Exit::from),
            usage: ended.map(|ended| ended.usage.into()),
            server_died: *server_died,
            oom: false,
        }))
    }

    /// Whether a process that ended so probably did for want of memory: the kernel's out-of-memory killer has been at work,
    /// or an allocation failed under a limit.
    fn lacked_memory(&self, exit: Exit) -> bool {
        match exit {
            Exit::Signal { signal: signal::KILL, .. } if !self.subject.was_killed_here() => {
                Owner::if_any().is_some_and(Owner::has_oom_killed)
            }
            Exit::Signal { signal: signal::ABORT, .. } => self.subject.terms.limits_memory,
            _ => false,
        }
    }

    /// Ends the process now.
    pub(super) fn kill(&self) {
        // It may have ended by itself.
        let _ = self.subject.signal(signal::KILL);
    }
}

impl Drop for Vigil {
    /// Sees to it that the process is reaped: the fork server does that for its children; one of ours that still runs is
    /// left to [`Owner::reap_orphans`].
    fn drop(&mut self) {
        if self.subject.is_foreign() || self.known.get_mut().end.is_some() {
            return;
        }
        let is_ours = matches!(self.waiter, Waiter::Here);
        if self.starting || self.subject.terms.kill_on_drop {
            self.kill();
            if !is_ours {
                return;
            }
            // A killed process is gone at once, unless the kernel is in the middle of something for it.
            let _ = self.subject.pidfd().wait(Deadline::after(Duration::from_secs(1)));
        }
        // The fork server reaps what has ended.
        if matches!(self.check(), Ok(None))
            && (is_ours || self.subject.is_alive())
            && let Some(owner) = Owner::if_any()
        {
            owner.adopt(Arc::clone(&self.subject), is_ours);
        }
    }
}
