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
use crate::sys::clock::Deadline;
use crate::sys::process::PidFd;
use crate::sys::{generation, signal};

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
}

/// A process that is watched until its end.
#[derive(Debug)]
pub(super) struct Vigil {
    pidfd: Arc<PidFd>,
    waiter: Waiter,
    own_group: bool,
    /// The process is ended when this is dropped; so while it is being started.
    pub(super) kill_on_drop: bool,
    /// The process that began this, see [`generation`]. In one forked from it the copy is inert.
    watcher: u32,
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
    pub(super) fn new(pidfd: PidFd, waiter: Waiter, own_group: bool) -> Self {
        let (watcher, known, pidfd) = (generation::current(), Mutex::default(), Arc::new(pidfd));
        Self { pidfd, waiter, own_group, kill_on_drop: true, watcher, known }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pidfd.pid()
    }

    /// Readable when the process has ended, reaped or not.
    pub(super) fn pidfd(&self) -> &PidFd {
        &self.pidfd
    }

    /// Whether this is a copy in a process that was forked.
    pub(super) fn is_foreign(&self) -> bool {
        self.watcher != generation::current()
    }

    /// Readable when [`check`](Self::check) may have news.
    pub(super) fn news(&self) -> BorrowedFd<'_> {
        match &self.waiter {
            Waiter::Server { status, .. } if !self.known.lock().server_died => status.as_fd(),
            Waiter::Server { .. } | Waiter::Here => self.pidfd.as_fd(),
        }
    }

    /// The end, as far as it is known by now. Never waits. Once it is known the answer stays.
    pub(super) fn check(&self) -> io::Result<Option<End>> {
        if self.is_foreign() {
            return Ok(None);
        }
        let mut known = self.known.lock();
        if known.end.is_none() {
            known.end = self.look(&mut known.server_died)?;
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
                    return Ok(Some(End { exit, usage, server_died: false }));
                }
                Record::Whole(Status::Started { .. } | Status::Refused(_), _) | Record::Nothing => return Ok(None),
                Record::Closed | Record::Truncated(_) => {
                    // Nothing waits for the dead server, unless it is reaped here.
                    let _ = server.end_of_dying();
                    *server_died = true;
                }
            }
        }
        if !self.pidfd.has_ended()? {
            return Ok(None);
        }
        // After its fork server's death a child may have become ours (a subreaper's), or the kernel may tell.
        let ended = reap(&self.pidfd, self.own_group && matches!(self.waiter, Waiter::Here));
        let status = ended.map(|ended| ended.status).or_else(|| self.pidfd.status_of_stranger());
        Ok(Some(End {
            exit: status.map_or(Exit::Unknown, Exit::from),
            usage: ended.map(|ended| ended.usage.into()),
            server_died: *server_died,
        }))
    }

    /// Sends a signal; nothing happens if the process has ended. Only its owner may: a copy of the handle in a forked
    /// process is refused.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        if self.is_foreign() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the process that started it owns it"));
        }
        // Between its end and its reaping a process takes signals without effect; after that the kernel says ESRCH.
        match self.pidfd.send_signal(signal) {
            Err(_) if self.pidfd.has_ended()? => Ok(()),
            result => result,
        }
    }

    /// Ends the process now.
    pub(super) fn kill(&self) {
        // It may have ended by itself.
        let _ = self.signal(signal::KILL);
    }
}

impl Drop for Vigil {
    /// Sees to it that the process is reaped: the fork server does that for its children; one of ours that still runs is
    /// left to [`Owner::reap_orphans`].
    fn drop(&mut self) {
        if self.is_foreign() || self.known.get_mut().end.is_some() {
            return;
        }
        if self.kill_on_drop {
            self.kill();
        }
        if matches!(self.waiter, Waiter::Server { .. }) {
            return;
        }
        if self.kill_on_drop {
            // A killed process is gone at once, unless the kernel is in the middle of something for it.
            let _ = self.pidfd.wait(Deadline::after(Duration::from_secs(1)));
        }
        if matches!(self.check(), Ok(None))
            && let Ok(owner) = Owner::of_this_process()
        {
            owner.adopt(Arc::clone(&self.pidfd), self.own_group);
        }
    }
}
