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

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::parcel::{EncodeError, Moving};
use crate::sys::generation;
use crate::sys::socket::{dead_socket, duplicate, replace};

const OWN: u8 = 0;
const SENDING: u8 = 1;
const MOVED: u8 = 2;

/// Shared by the halves of a connection, and by the message in which it is being sent.
#[derive(Debug)]
pub(super) struct Endpoint {
    fd: OwnedFd,
    /// See the module. An atomic, because a message may be sent by another thread than serialised it.
    state: AtomicU8,
    /// The fork generation in which it was made.
    made: u32,
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
        Arc::new(Self { fd, state: AtomicU8::new(OWN), made: generation::current() })
    }

    /// The descriptor, if this process may use it.
    pub(super) fn usable(&self) -> Result<BorrowedFd<'_>, Gone> {
        if self.state.load(Ordering::Acquire) == MOVED {
            return Err(Gone::Moved);
        }
        if !generation::owns(self.made) {
            return Err(Gone::Foreign);
        }
        Ok(self.fd.as_fd())
    }

    /// A duplicate to send, and the handle that spends this end once it was sent.
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

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
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
        self.endpoint.state.store(MOVED, Ordering::Release);
        if let Some(dead) = self.dead.take() {
            let replaced = replace(self.endpoint.as_fd(), dead.as_fd());
            debug_assert!(replaced.is_ok(), "dup3 over an open descriptor: {replaced:?}");
        }
    }
}

impl Drop for Transit {
    fn drop(&mut self) {
        // Not if it was spent: then the state is MOVED.
        let _unless_spent = self.endpoint.state.compare_exchange(SENDING, OWN, Ordering::AcqRel, Ordering::Acquire);
    }
}
