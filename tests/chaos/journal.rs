//! What the workers write down as they go, so that what they did can be added up whoever dies: words in shared memory,
//! each written by one store.
//!
//! ```text
//!   head                     a worker, WORKERS times                      a link, LINKS times
//!   +------------------+     +--------+---------+-----------------+ …     +-------+------+-----+ …
//!   | phase, recovered,|     | rounds | permits | begun, ended of |       | begun | sent | got |
//!   | mended           |     |        | held    | each kind       |       |       |      |     |
//!   +------------------+     +--------+---------+-----------------+       +-------+------+-----+
//! ```
//!
//! `begun` is raised before the one step by which a thing takes effect, `ended` after it. A worker that is killed leaves
//! them at most one apart, so what took effect lies between their sums, however many have died.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crewkit::ipc::SharedMemory;
use serde::{Deserialize, Serialize};

/// How many processes there are.
pub(crate) const WORKERS: usize = 12;

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A pair of numbers under a lock.
    Pair,
    /// The same under a recursive lock.
    Nested,
    /// An update of a value.
    Value,
    /// A number added.
    Counter,
    /// A trip of a barrier.
    Trip,
    /// Put under a condition.
    Put,
    /// Taken under a condition.
    Taken,
    /// Got from a queue for good, or perhaps: as many as were asked for.
    Got,
    /// A lease of an item acknowledged.
    Acknowledged,
}

const KINDS: usize = Kind::Acknowledged as usize + 1;
const HEAD: usize = 3;
const OF_A_WORKER: usize = 2 + 2 * KINDS;
const OF_A_LINK: usize = 3;

/// What the workers are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Rounds without end; some of them end in their own death.
    Storm,
    /// Rounds without end.
    Calm,
    /// No further round.
    End,
}

/// The words.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Journal {
    words: SharedMemory,
    links: usize,
}

impl Journal {
    pub(crate) fn new(links: usize) -> Self {
        let words = HEAD + WORKERS * OF_A_WORKER + links * OF_A_LINK;
        Self { words: SharedMemory::create(words * size_of::<u64>()).unwrap(), links }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.words.words()[index]
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.word(0).load(SeqCst) {
            0 => Phase::Storm,
            1 => Phase::Calm,
            _ => Phase::End,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.word(0).store(phase as u64, SeqCst);
    }

    /// How often somebody was told of a holder's death.
    pub(crate) fn recovered(&self) -> &AtomicU64 {
        self.word(1)
    }

    /// How often a barrier was broken, and then mended.
    pub(crate) fn mended(&self) -> &AtomicU64 {
        self.word(2)
    }

    /// How many rounds a worker has made.
    pub(crate) fn rounds(&self, worker: usize) -> &AtomicU64 {
        self.word(HEAD + worker * OF_A_WORKER)
    }

    /// How many permits it has for certain.
    pub(crate) fn permits(&self, worker: usize) -> &AtomicU64 {
        self.word(HEAD + worker * OF_A_WORKER + 1)
    }

    pub(crate) fn begun(&self, worker: usize, kind: Kind) -> &AtomicU64 {
        self.word(HEAD + worker * OF_A_WORKER + 2 + 2 * kind as usize)
    }

    pub(crate) fn ended(&self, worker: usize, kind: Kind) -> &AtomicU64 {
        self.word(HEAD + worker * OF_A_WORKER + 3 + 2 * kind as usize)
    }

    /// Of how many links there can be accounts.
    pub(crate) fn links(&self) -> usize {
        self.links
    }

    /// A link's messages: how many were begun to be sent, how many were sent, how many received.
    pub(crate) fn link(&self, link: usize) -> [&AtomicU64; OF_A_LINK] {
        let at = HEAD + WORKERS * OF_A_WORKER + link * OF_A_LINK;
        [0, 1, 2].map(|index| self.word(at + index))
    }

    /// How many were begun, and how many ended.
    fn sums(&self, kind: Kind) -> (u64, u64) {
        let sum = |of: fn(&Self, usize, Kind) -> &AtomicU64| -> u64 {
            (0..WORKERS).map(|worker| of(self, worker, kind).load(SeqCst)).sum()
        };
        (sum(Self::begun), sum(Self::ended))
    }

    /// How many things somebody died at.
    pub(crate) fn open(&self, kind: Kind) -> u64 {
        let (begun, ended) = self.sums(kind);
        begun - ended
    }

    /// Holds what took effect against what was begun and ended. Each death may have left one thing open.
    pub(crate) fn account(&self, kind: Kind, took_effect: u64, deaths: u64) {
        let (begun, ended) = self.sums(kind);
        assert!(
            ended <= took_effect && took_effect <= begun && begun - ended <= deaths,
            "{kind:?}: {took_effect} took effect of {begun} begun and {ended} ended, with {deaths} deaths"
        );
    }
}
