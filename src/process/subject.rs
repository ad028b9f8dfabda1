//! A process as its owner knows it: what a handle to it, the list of children and the watch over its end share.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::process::PidFd;
use crate::sys::{generation, signal};

/// What the owner decided about a process, for its own use.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) name: Arc<str>,
    /// It leads a process group, which ends with it.
    pub(super) own_group: bool,
    /// Its owner does not wait for it when that ends.
    pub(super) daemon: bool,
    /// Dropping its handle kills it.
    pub(super) kill_on_drop: bool,
    /// Its memory is limited, so running out of it is a likely cause of an abort.
    pub(super) limits_memory: bool,
}

#[derive(Debug)]
pub(super) struct Subject {
    pub(super) terms: Terms,
    pidfd: PidFd,
    /// The process that started it, see [`generation`]. In one forked from that, this copy is inert.
    owner: u32,
    /// SIGKILL was sent from here.
    killed: AtomicBool,
}

impl Subject {
    pub(super) fn new(terms: Terms, pidfd: PidFd) -> Self {
        Self { terms, pidfd, owner: generation::current(), killed: AtomicBool::new(false) }
    }

    pub(super) fn pidfd(&self) -> &PidFd {
        &self.pidfd
    }

    /// Whether it runs. A stopped process does.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.pidfd.has_ended(), Ok(false))
    }

    /// Whether this is a copy in a process that was forked.
    pub(super) fn is_foreign(&self) -> bool {
        self.owner != generation::current()
    }

    /// Whether this process has sent it SIGKILL.
    pub(super) fn was_killed_here(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// Sends a signal; nothing happens if the process has ended. Only its owner may: a copy of the handle in a forked
    /// process is refused.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        if self.is_foreign() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the process that started it owns it"));
        }
        let sent = self.pidfd.send_signal(signal);
        if signal == signal::KILL && sent.is_ok() {
            self.killed.store(true, Ordering::Relaxed);
        }
        // Between its end and its reaping a process takes signals without effect; after that the kernel says ESRCH.
        match sent {
            Err(_) if self.pidfd.has_ended()? => Ok(()),
            result => result,
        }
    }
}

impl AsFd for Subject {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
