//! What a process that starts others keeps, once: the pulse by which its children notice its death, its fork servers,
//! which children it has, and those of them whose handles were dropped while they ran.
//!
//! All of it belongs to one process. A forked one finds the state of the process it was forked from, whose locks may be
//! held by threads that were not copied; it makes its own instead of touching that.
//!
//! # Safety
//!
//! The state is behind one atomic pointer to a box that is never freed. A handler that glibc runs in every forked child
//! marks the state as left behind: nothing in it is used or dropped there any more, but its copy of the pulse is closed,
//! once.
#![expect(unsafe_code, reason = "a pointer to state that is never freed, and closing what a fork copied")]

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Once, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::children::at_process_exit;
use super::exit::Exit;
use super::function::Function;
use super::protocol::{self, BOOT, Request, Role};
use super::subject::Subject;
use crate::sys::clock::Deadline;
use crate::sys::process::{PidFd, close_copy, on_fork_in_child};
use crate::sys::{attributes, exit, oom, signal, socket, spawn};

/// The state of this process as an owner of others.
#[derive(Debug)]
pub(super) struct Owner {
    /// Set in a process that was forked from the one that this belongs to.
    left_behind: AtomicBool,
    /// Children hold the read end. Nobody but this process holds the write end, which is never written to: it closes
    /// when the process dies.
    pulse: (PipeReader, PipeWriter),
    /// The fork servers: one for each function that was to be called in one, and one without.
    servers: Mutex<Vec<Arc<Server>>>,
    /// Children that were started, in order; some have ended.
    children: Mutex<Vec<Weak<Subject>>>,
    /// Children whose handles are gone; looked at when something is started or joined.
    orphans: Mutex<Vec<Orphan>>,
    oom_kills: Mutex<OomKills>,
}

/// What is known of the out-of-memory killer.
#[derive(Debug, Default)]
struct OomKills {
    /// How many it had killed, those apart that nobody was found for yet.
    seen: Option<u64>,
    /// When those were noticed.
    noticed: Option<Instant>,
}

/// Victims of the out-of-memory killer that nobody was found for in this time were others' processes.
const SAME_MOMENT: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Orphan {
    subject: Arc<Subject>,
    /// It is a child of this very process, which has to reap it.
    is_ours: bool,
}

/// The list of children is gone through when it has grown to this, and to twice what was left then.
const LISTED: usize = 32;

/// A fork server, as its owner sees it.
#[derive(Debug)]
pub(super) struct Server {
    control: OwnedFd,
    pidfd: PidFd,
    /// It has answered a request, so it got through `main` to `init`.
    proven: AtomicBool,
    /// What it was to call before all else.
    preload: Option<Function>,
    /// Whose it is.
    user: (u32, u32),
    /// How it ended, once it was reaped.
    exit: Mutex<Option<Exit>>,
}

/// The newest owner of this address space. Never freed: threads use it without a lock, and there is one per fork.
static NEWEST: AtomicPtr<Owner> = AtomicPtr::new(ptr::null_mut());

impl Owner {
    /// The owner that this process is; made at first use.
    pub(super) fn of_this_process() -> io::Result<&'static Self> {
        static AT_FORK: Once = Once::new();
        let newest = Self::newest();
        if let Some(owner) = newest.filter(|owner| owner.is_of_this_process()) {
            return Ok(owner);
        }
        AT_FORK.call_once(|| on_fork_in_child(leave_behind));
        let pulse = io::pipe()?;
        attributes::let_all_read(pulse.0.as_fd())?;
        let made = Box::into_raw(Box::new(Self {
            left_behind: AtomicBool::new(false),
            pulse,
            servers: Mutex::default(),
            children: Mutex::default(),
            orphans: Mutex::default(),
            oom_kills: Mutex::new(OomKills { seen: oom::kills(), noticed: None }),
        }));
        let expected = newest.map_or(ptr::null_mut(), |owner| ptr::from_ref(owner).cast_mut());
        match NEWEST.compare_exchange(expected, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {}
            Err(_) => {
                // Another thread of this process was faster.
                // SAFETY: `made` came from a box, and nobody else has seen it.
                drop(unsafe { Box::from_raw(made) });
            }
        }
        Self::newest().ok_or_else(|| io::Error::other("the state of the process vanished"))
    }

    /// The owner that this process is, if it has started anything.
    pub(super) fn if_any() -> Option<&'static Self> {
        Self::newest().filter(|owner| owner.is_of_this_process())
    }

    fn is_of_this_process(&self) -> bool {
        !self.left_behind.load(Ordering::Relaxed)
    }

    fn newest() -> Option<&'static Self> {
        // SAFETY: the pointer is null or came from a box that is never freed; Acquire sees what was in it.
        unsafe { NEWEST.load(Ordering::Acquire).as_ref() }
    }

    /// The end of the pulse that children hold.
    pub(super) fn pulse(&self) -> BorrowedFd<'_> {
        self.pulse.0.as_fd()
    }

    /// The fork server that calls `preload` first: the one that runs, or a new one if none was started, the last one has died,
    /// or this process has become another user since: what it starts has the rights that it has itself. (The old one goes on
    /// for those that it has forked.)
    pub(super) fn server(&self, preload: Option<Function>) -> io::Result<Arc<Server>> {
        let user = attributes::user();
        let mut servers = self.servers.lock();
        let known = servers.iter().position(|server| server.preload == preload && server.user == user);
        if let Some(server) = known.and_then(|index| servers.get(index))
            && server.end()?.is_none()
        {
            return Ok(Arc::clone(server));
        }
        let server = Arc::new(Server::start(self.pulse(), preload, user)?);
        if let Some(index) = known {
            servers.swap_remove(index);
        }
        servers.push(Arc::clone(&server));
        Ok(server)
    }

    /// The fork server after `gone`, whose socket is closed: it has died, or is dying.
    pub(super) fn server_after(&self, gone: &Server) -> io::Result<Arc<Server>> {
        gone.end_of_dying()?;
        self.server(gone.preload)
    }

    /// Takes over a child whose handle is dropped while it runs.
    pub(super) fn adopt(&self, subject: Arc<Subject>, is_ours: bool) {
        self.orphans.lock().push(Orphan { subject, is_ours });
    }

    /// Lets go of orphans that have ended.
    pub(super) fn reap_orphans(&self) {
        self.orphans.lock().retain(|Orphan { subject, is_ours }| {
            let running = subject.is_alive();
            if !running && *is_ours {
                reap(subject.pidfd(), subject.terms.own_group);
            }
            running
        });
    }

    /// Notes a child that was started.
    pub(super) fn list(&self, subject: &Arc<Subject>) {
        static AT_EXIT: Once = Once::new();
        if !subject.terms.daemon {
            // Without memory for that the end of this process is the child's.
            AT_EXIT.call_once(|| drop(exit::at_exit(at_process_exit)));
        }
        let mut children = self.children.lock();
        if children.len() == children.capacity() && children.len() >= LISTED {
            children.retain(|child| child.upgrade().is_some_and(|child| child.is_alive()));
            let left = children.len();
            children.reserve_exact(left.max(LISTED));
        }
        children.push(Arc::downgrade(subject));
    }

    /// The children that run.
    pub(super) fn running(&self) -> Vec<Arc<Subject>> {
        self.children.lock().iter().filter_map(Weak::upgrade).filter(|child| child.is_alive()).collect()
    }

    /// Whether the out-of-memory killer has killed something since this was last asked.
    pub(super) fn has_oom_killed(&self) -> bool {
        let mut known = self.oom_kills.lock();
        let now = oom::kills();
        let Some(seen) = known.seen.filter(|seen| now > Some(*seen)) else {
            *known = OomKills { seen: now, noticed: None };
            return false;
        };
        // One by one: two that were killed at once are asked about one after the other.
        let is_fresh = known.noticed.get_or_insert_with(Instant::now).elapsed() < SAME_MOMENT;
        known.seen = if is_fresh { Some(seen + 1) } else { now };
        if known.seen == now {
            known.noticed = None;
        }
        is_fresh
    }
}

/// Reaps a child that has ended, and ends what is left of the group that it led: while the child is not reaped, the
/// number of the group cannot be anybody else's.
pub(super) fn reap(pidfd: &PidFd, own_group: bool) -> Option<crate::sys::process::Ended> {
    if own_group {
        attributes::kill_group(pidfd.pid());
    }
    // An error means that it is not ours to reap any more (SIGCHLD ignored).
    pidfd.try_wait().ok().flatten()
}

/// Runs in every process that is forked from this one, also by code outside this crate: gives up the copy of the write
/// end, which would keep the pulse alive beyond this process's death. Only async-signal-safe calls.
extern "C" fn leave_behind() {
    if let Some(owner) = Owner::newest()
        && !owner.left_behind.swap(true, Ordering::Relaxed)
    {
        // SAFETY: what is left behind is never used again, nor dropped, and this is done once.
        unsafe { close_copy(owner.pulse.1.as_fd()) };
    }
}

impl Server {
    fn start(pulse: BorrowedFd<'_>, preload: Option<Function>, user: (u32, u32)) -> io::Result<Self> {
        let (control, theirs) = socket::seqpacket_pair()?;
        if let Some(function) = preload {
            protocol::send(control.as_fd(), &Request::Preload(function), &[])?;
        }
        let pidfd = spawn::spawn_self((BOOT, Role::Server.name()), &[theirs.as_fd(), pulse])?;
        Ok(Self { control, pidfd, proven: AtomicBool::new(false), preload, user, exit: Mutex::new(None) })
    }

    /// Where requests go.
    pub(super) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// The server's pid.
    pub(super) fn pid(&self) -> u32 {
        self.pidfd.pid()
    }

    /// It has answered a request.
    pub(super) fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Whether it ever answered a request.
    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Whether the server has ended, and how; reaps it then.
    pub(super) fn end(&self) -> io::Result<Option<Exit>> {
        let mut exit = self.exit.lock();
        if exit.is_none() && self.pidfd.has_ended()? {
            *exit = Some(reap(&self.pidfd, false).map_or(Exit::Unknown, |ended| ended.status.into()));
        }
        Ok(*exit)
    }

    /// The end of a server that has closed a socket and is therefore dying or dead; a dying process closes its sockets a
    /// little before its pidfd tells. `None` if it is neither: it had lost the descriptor, for want of room for it.
    pub(super) fn end_of_dying(&self) -> io::Result<Option<Exit>> {
        self.pidfd.wait(Deadline::after(Duration::from_secs(1)))?;
        self.end()
    }

    /// Ends it. Its children end with it.
    pub(super) fn kill(&self) {
        // It may have ended by itself.
        let _ = self.pidfd.send_signal(signal::KILL);
    }
}
