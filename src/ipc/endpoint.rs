//! The descriptor of a connection's end, and whose it is.
//!
//! ```text
//!             serialised                 the message was sent
//!    OWN ------------------> SENDING ---------------------------> MOVED
//!     ^                         |
//!     +-------------------------+
//!        the message was dropped
//! ```
//!
//! In MOVED the descriptor number is still open and still this process's, but refers to a socket that leads nowhere:
//! `AsFd` lends it out for as long as the end lives, and the other side must see the end of the stream as soon as the
//! new owner is gone. The dead socket is made before anything is sent, so that moving cannot fail half-way.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use super::parcel::{EncodeError, Moving};
use crate::sys::epoll::Sign;
use crate::sys::generation;
use crate::sys::socket::{dead_socket, duplicate, replace};

const OWN: u8 = 0;
const SENDING: u8 = 1;
const MOVED: u8 = 2;
/// Severed: the other process's end, after a fork.
const FOREIGN: u8 = 3;

/// Shared by the halves of a connection, and by the message in which it is being sent.
pub(super) struct Endpoint {
    fd: OwnedFd,
    /// See the module. An atomic, because a message may be sent by another thread than serialised it.
    state: AtomicU8,
    /// The fork generation whose end this is.
    owner: AtomicU32,
    /// The other end, if both were made here.
    other: OnceLock<Weak<Self>>,
    /// The descriptor was lent out: somebody may wait for it to become readable, or make another end of it.
    is_lent: AtomicBool,
    /// What is lent instead where a ring is received from.
    sign: OnceLock<Sign>,
    /// And what is lent where that cannot be made.
    always_ready: OnceLock<Arc<OwnedFd>>,
    /// The receiver has seen the end, and the sender was not told yet.
    end_seen: AtomicBool,
}

/// Why an end cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// It was sent to another process.
    Moved,
    /// It was inherited by fork.
    Foreign,
}

impl Endpoint {
    pub(super) fn new(fd: OwnedFd) -> Arc<Self> {
        let owner = AtomicU32::new(generation::current());
        let (state, is_lent, end_seen) = (AtomicU8::new(OWN), AtomicBool::new(false), AtomicBool::new(false));
        let (sign, always_ready) = (OnceLock::new(), OnceLock::new());
        Arc::new(Self { fd, state, owner, other: OnceLock::new(), is_lent, sign, always_ready, end_seen })
    }

    /// Says that these are the two ends of one connection.
    pub(super) fn pair(one: &Arc<Self>, other: &Arc<Self>) {
        for (end, opposite) in [(one, other), (other, one)] {
            let _first_time = end.other.set(Arc::downgrade(opposite));
        }
    }

    /// The descriptor, if this process may use it.
    #[inline]
    pub(super) fn usable(&self) -> Result<BorrowedFd<'_>, Gone> {
        if self.owner.load(Ordering::Relaxed) != generation::current() {
            self.inherit();
        }
        match self.state.load(Ordering::Acquire) {
            MOVED => Err(Gone::Moved),
            FOREIGN => Err(Gone::Foreign),
            _ if self.owner.load(Ordering::Relaxed) != generation::current() => Err(Gone::Foreign),
            _ => Ok(self.fd.as_fd()),
        }
    }

    /// Whether others may use the descriptor too, so that all news must come by it.
    #[inline]
    pub(super) fn is_lent(&self) -> bool {
        self.is_lent.load(Ordering::Relaxed)
    }

    /// The descriptor where this process may not use it: it leads nowhere, or is another's.
    pub(super) fn dead(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The socket, to whom it shows all that there is: from now on that stays so.
    pub(super) fn lend(&self) -> BorrowedFd<'_> {
        self.is_lent.store(true, Ordering::Relaxed);
        self.fd.as_fd()
    }

    /// The descriptor that is lent where the socket does not show all, made at the first call. Without a descriptor for it
    /// there is none.
    pub(super) fn make_sign(&self) -> Option<&Sign> {
        if self.sign.get().is_none() {
            let _first_time = self.sign.set(Sign::new(self.fd.as_fd()).ok()?);
        }
        self.sign.get()
    }

    /// What is lent where there is no descriptor left for a sign: memory, which is readable at any time for poll(2), and
    /// which epoll refuses. Whoever waits looks in vain, or is told; it does not wait for ever.
    #[cold]
    pub(super) fn lend_always_ready(&self, memory: impl FnOnce() -> Option<Arc<OwnedFd>>) -> BorrowedFd<'_> {
        if self.always_ready.get().is_none()
            && let Some(memory) = memory()
        {
            let _first_time = self.always_ready.set(memory);
        }
        self.always_ready.get().map_or(self.fd.as_fd(), AsFd::as_fd)
    }

    /// The sign, if there is one.
    #[inline]
    pub(super) fn sign(&self) -> Option<&Sign> {
        self.sign.get()
    }

    /// The receiver says that it has seen the end of the stream.
    #[cold]
    pub(super) fn see_end(&self) {
        self.end_seen.store(true, Ordering::Relaxed);
    }

    /// Whether the receiver has seen the end since this was last asked.
    #[inline]
    pub(super) fn was_end_seen(&self) -> bool {
        self.end_seen.load(Ordering::Relaxed) && self.end_seen.swap(false, Ordering::Relaxed)
    }

    /// The first use after a fork. There is one thread in a process that was just forked, and the race of two that were
    /// started since is harmless: both store the same.
    #[cold]
    fn inherit(&self) {
        // An end that was moved before the fork has an opposite that is alive and may be used here.
        if !generation::adopts() || self.state.load(Ordering::Acquire) != OWN {
            return;
        }
        let now = generation::current();
        self.owner.store(now, Ordering::Relaxed);
        let other = self.other.get().and_then(Weak::upgrade);
        if let Some(other) = other.filter(|other| other.owner.load(Ordering::Relaxed) != now)
            // Without a descriptor for the dead socket both ends stay open, and only the end of the stream is late.
            && let Ok(dead) = dead_socket()
        {
            other.spend(FOREIGN, &dead);
        }
    }

    /// Ends this process's part in the end: its descriptor leads nowhere from now on.
    fn spend(&self, state: u8, dead: &OwnedFd) {
        self.state.store(state, Ordering::Release);
        let replaced = replace(self.fd.as_fd(), dead.as_fd());
        debug_assert!(replaced.is_ok(), "dup3 over an open descriptor: {replaced:?}");
    }

    /// A duplicate to send, and the handle that spends this end once it was sent (invariants 7 and 8 of the README).
    pub(super) fn hand_over(self: &Arc<Self>) -> Result<(OwnedFd, Option<Box<dyn Moving>>), EncodeError> {
        self.usable().map_err(|gone| match gone {
            Gone::Moved => EncodeError::Moved,
            Gone::Foreign => EncodeError::ForeignProcess,
        })?;
        if self.state.compare_exchange(OWN, SENDING, Ordering::AcqRel, Ordering::Acquire).is_err() {
            let why = "an end of a connection has one owner, and this one is already part of a message";
            return Err(EncodeError::NotSerializable(why.to_owned()));
        }
        let mut transit = Transit { endpoint: Arc::clone(self), dead: None };
        transit.dead = Some(dead_socket().map_err(EncodeError::Io)?);
        let copy = duplicate(self.fd.as_fd()).map_err(EncodeError::Io)?;
        Ok((copy, Some(Box::new(transit))))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inherited = self.owner.load(Ordering::Relaxed) != generation::current();
        let state = match self.state.load(Ordering::Relaxed) {
            MOVED => "moved",
            FOREIGN => "another process's",
            _ if inherited => "inherited",
            SENDING => "being sent",
            _ => "own",
        };
        write!(f, "descriptor {}, {state}", self.fd.as_raw_fd())
    }
}

/// An end that is part of a message.
struct Transit {
    endpoint: Arc<Endpoint>,
    /// What will stand in its place.
    dead: Option<OwnedFd>,
}

impl Moving for Transit {
    fn spend(mut self: Box<Self>) {
        let Some(dead) = self.dead.take() else { return };
        // Not where a fork made the copy that is spent: there the sign is the forking process's too.
        if let Some(sign) = self.endpoint.sign() {
            sign.leave(self.endpoint.fd.as_fd());
        }
        self.endpoint.spend(MOVED, &dead);
    }

    fn sever(mut self: Box<Self>) {
        let Some(dead) = self.dead.take() else { return };
        let other = self.endpoint.other.get().and_then(Weak::upgrade);
        // One that was moved leads nowhere already.
        let live = |end: &Arc<Endpoint>| matches!(end.state.load(Ordering::Acquire), OWN | SENDING);
        for end in other.iter().chain([&self.endpoint]).filter(|end| live(end)) {
            end.spend(FOREIGN, &dead);
        }
    }
}

impl Drop for Transit {
    fn drop(&mut self) {
        // Not if it was spent: then the state is MOVED.
        let _unless_spent = self.endpoint.state.compare_exchange(SENDING, OWN, Ordering::AcqRel, Ordering::Acquire);
    }
}
