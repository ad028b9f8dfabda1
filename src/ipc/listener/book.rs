//! Who came to a listener, and who was turned away.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::auth::AuthError;

/// Who is, or was, at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// A process on this machine, as the kernel noted it when it connected.
    Process {
        /// Its number; 0 if it is not to be seen from here.
        pid: u32,
        /// Its effective user.
        uid: u32,
    },
    /// Somebody who came over TCP, by its host's address and the port that it used.
    Host(SocketAddr),
}

/// Somebody whom a [`Listener`](super::Listener) turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Who it was.
    pub peer: Peer,
    /// Why it was not trusted.
    pub why: AuthError,
}

/// Whom a [`Listener`](super::Listener) has turned away.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Refusals {
    /// How many.
    pub total: u64,
    /// The latest of them, 32 at most, the last one last.
    pub latest: Vec<Refusal>,
}

/// How many refusals are remembered one by one.
const REMEMBERED: usize = 32;

/// What a listener remembers.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) last: Option<Peer>,
    total: u64,
    latest: VecDeque<Refusal>,
}

impl Book {
    pub(super) fn refused(&mut self, peer: Peer, why: AuthError) {
        self.total += 1;
        if self.latest.len() == REMEMBERED {
            self.latest.pop_front();
        }
        self.latest.push_back(Refusal { peer, why });
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn refusals(&self) -> Refusals {
        Refusals { total: self.total, latest: self.latest.iter().copied().collect() }
    }
}
