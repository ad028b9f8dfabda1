//! A queue of records between any number of processes: bounded, with leases, and whole whenever somebody dies.
//!
//! ```text
//!        head                      cursor                          tail
//!          |                          |                              |
//!   - - - -+--------+------+---------+--------+--------+------------+- - - -
//!    free  | LEASED | DONE | READY,  | READY  | READY  | READY      | free
//!          | by 3   |      | again   |        |        |            |
//!   - - - -+--------+------+---------+--------+--------+------------+- - - -
//!           handed out before         never handed out
//! ```
//!
//! The bytes are a ring's (`shm::ring`: positions count for ever, an [`Index`] is records and position in one word, a
//! record is a word of header and its bytes). One robust mutex serialises those who put, one those who take.
//!
//! # Who writes what
//!
//! | Word | Written by | Means |
//! |---|---|---|
//! | `tail` | who has the mutex of putting, after the bytes are in place | the records before it are there |
//! | a header | who put the record; then who has the mutex of taking | what state it is in: [`Header`](record::Header) |
//! | `head` | who has the mutex of taking | the room before it is free |
//! | `cursor`, `done`, `returned` | the same | what a walk from `head` to `tail` would find; see below |
//! | a seat's `word`, `more` | its owner, under the mutex of taking; who reports done, without | records that it took; of these, those done |
//! | `closed` | who has the mutex of putting | nothing is put any more |
//!
//! # States of a record
//!
//! ```text
//!   (put) --> READY --- get ------------------------> taken: DONE, or head has passed it
//!               ^ \
//!               |  +--- lease --> LEASED by a seat --- ack ------> DONE
//!               |                     |
//!               +--- requeue, or its owner has died
//! ```
//!
//! `head` passes DONE records only, so a lease keeps its room, and the room of what was taken behind it. In a queue that
//! has no leases out, `cursor` is `head`, and taking is one store of `head`: no header is written.
//!
//! # Invariants
//!
//! 1. A record between `head` and `tail` is whole, and its header says what may be done with it.
//! 2. Nobody has the mutex of taking, or: `cursor` is behind the last record that was ever handed out, `done` is how many
//!    are DONE and `returned` how many are READY between `head` and `cursor`.
//! 3. Unfinished = records not DONE + Σ (taken − done) of all seats. A record is counted for its taker before it is
//!    taken, and looked for by `join` under the mutex: it is never in neither.
//!
//! # What others see when a process dies
//!
//! | It dies | Others find |
//! |---|---|
//! | putting, before `tail` is stored | nothing of the record: its bytes lie in what is free |
//! | putting, after that | the record; sleepers look after a slice at most, if nobody has rung |
//! | taking, before `head` or the header is stored | the record, still READY |
//! | taking, after that | it was taken; it counts as done with its owner's death |
//! | in between two words of invariant 2 | the mutex says so, and the next one that takes, or finds no room, walks from `head` to `tail` ([`repair`](taking::Inside)) |
//! | with leases | records LEASED by its seat: who waits for a record, or finds none, looks for dead owners, and makes them READY again; so does who takes, or waits for many things, while there are leases and nobody has looked for 50 ms |
//! | while it does that | the rest are LEASED by a dead owner still: its seat is left last |
//! | having taken records that it has not reported done | a seat to be cleared: they count as done; who joins looks for such. (Who goes and lives on keeps such a seat, and sits down there again. So it does if another is stopped as it goes: what it has on leases is taken back then, or by whoever looks for dead owners) |
//! | shutting down at once, with records half dropped | `closed` says so: whoever takes next drops the rest |
//!
//! Who is *stopped* under a mutex holds up those who want the same one, until their deadlines.
//!
//! # Orderings
//!
//! `tail` is released by who puts and acquired by who takes: the bytes are there. `head` is released by who takes and
//! acquired by who puts: the bytes were copied out. A seat's `more` is released by who reports done and acquired by who
//! joins: what was put before that is there. All else is under a mutex, or is looked at to find out whether to take one. Sleeping is [`Bell`]'s: an unlock is a read-modify-write, which is the half of the fence that it asks for.
//!
//! # Speed, and what was tried
//!
//! Items of 64 bytes, producers on one core, consumers on the other; nanoseconds for each, the median and the best of 31 short
//! rounds that took turns with the other designs'. A cache line that one core has written takes the other 200 ns.
//!
//! | Design | 1 to 1 | 4 to 4 | Why |
//! |---|--:|--:|---|
//! | who finds nothing, or no room, looks after 0.2 µs | 266–307 (172) | 251–293 (155) | by then there is one record, or room for one: each costs the lines of `tail` and `head`, there and back |
//! | the lines of the next records prefetched by who takes | 229–234 (173) | 240–255 (162) | the indices' lines cost as much as before |
//! | those of the next room prefetched by who puts | 280 (171) | 313 (165) | near a full queue they are taken away from who reads them |
//! | looks after 0.6 µs | 199 (169) | 184 (156) | |
//! | **looks after 1.3 µs** | 179 (156) | 175 (155) | some eight records for each look |
//! | looks after 2.5 to 5 µs | 168–182 (157) | 174–190 (160) | no more is gained, and who gets one item in a while would pay for it |
//!
//! Not built: claiming several records for the next calls of one process. What it has not asked for yet would wait while it
//! works on the first, though others are idle; and handing it out again when it dies needs a header written for each.
//!
//! A put is two locked operations of a mutex that it shares with other puts only, a get as many: some 105 and 115 ns where
//! nobody disturbs. A quarter of that are the mutexes, more than a quarter is serialising, the rest the thread's buffer, looks at
//! who sleeps, and checks of what others wrote. Between two cores a third of a put is waiting, in the unlock, for the record's
//! lines to come from the other core. There are 0.002 futex calls and 0.001 yields to an item. The limit of this design is the sum:
//! 50 times as fast as CPython is met when CPython takes 10 µs, as it did in some runs, not when it takes 6.5, as in others.
//!
//! A process's first use takes some 50 µs: it sits down, asks /proc who it is, and touches the pages. Short repetitions of few items
//! show something else: eight processes are woken and answer in 83 µs when there is nothing to put at all.

mod putting;
mod reaping;
mod record;
mod taking;
mod tasks;
#[cfg(all(test, not(crewkit_loom)))]
mod tests;
mod waiting;

pub(crate) use taking::{Taken, Way};
#[cfg(not(crewkit_loom))]
pub(crate) use tasks::unfinished_in;

use super::ring::{Bytes, Corrupt, Index, footprint};
use super::{Bell, Held, Roster};
use crate::primitive::{AtomicU32, AtomicU64, Life, Refused};
use std::sync::atomic::{AtomicU64 as LongNote, Ordering};

/// What lies in shared memory, in front of the ring's bytes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Queue {
    putting: Line<Held<Putting>>,
    tail: Line<AtomicU64>,
    _apart: Line<AtomicU64>,
    taking: Line<Held<Taking>>,
    head: Line<Head>,
    rules: Line<Rules>,
    pub(crate) roster: Roster,
}

/// Where the mutexes are.
#[cfg(any(fuzzing, test))]
pub(crate) const MUTEXES: [usize; 2] = [std::mem::offset_of!(Queue, putting), std::mem::offset_of!(Queue, taking)];

/// A cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
struct Line<T>(T);

/// Beside the mutex of those who put, and theirs alone.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Putting {
    /// `head` as it was when somebody last looked.
    head: AtomicU64,
    /// `done` then.
    done: AtomicU32,
}

/// Beside the mutex of those who take, and theirs alone.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Taking {
    /// `tail` as it was when somebody last looked.
    tail: AtomicU64,
}

#[derive(Debug)]
#[repr(C)]
struct Head {
    head: AtomicU64,
    cursor: AtomicU64,
    done: AtomicU32,
    returned: AtomicU32,
}

/// What is seldom written.
#[derive(Debug)]
#[repr(C)]
struct Rules {
    /// How many records there may be.
    most: AtomicU64,
    /// How many bytes they may take, headers included; at most the ring's length.
    room: AtomicU64,
    /// [`OPEN`], or in which way nothing is put any more.
    closed: AtomicU32,
    /// For who waits for records.
    items: Bell,
    /// For who waits for room.
    has_room: Bell,
    /// For who waits until everything is done.
    finished: Bell,
    /// Rung, by a descriptor, for who waits for many things at once: see [`Queue::watch`].
    watched: AtomicU32,
    /// When somebody last looked for dead owners of leases, in milliseconds: whoever finds it wrong looks too soon or, once, too
    /// late, so a model does not.
    looked: LongNote,
}

/// The most bytes that a ring has. Two indices that are further apart were not read at one moment.
const LONGEST: u32 = 1 << 31;

const OPEN: u32 = 0;
/// What is there can be taken.
pub(crate) const DRAIN: u32 = 1;
/// What is there is dropped.
pub(crate) const IMMEDIATE: u32 = 2;

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Failed {
    /// No record, no room; for a wait, until its deadline.
    NotNow,
    /// Nothing is put any more, and nothing is there.
    ShutDown,
    /// Somebody has written what no user of a queue writes.
    Corrupt(&'static str),
    /// The mutex was not to be had.
    Refused(Refused),
}

impl From<Corrupt> for Failed {
    fn from(Corrupt(what): Corrupt) -> Self {
        Self::Corrupt(what)
    }
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy => Self::NotNow,
            other => Self::Refused(other),
        }
    }
}

/// Who calls, and where it sits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) seat: usize,
    pub(crate) life: Life,
}

/// What there is, at about one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// To be taken.
    pub(crate) ready: u32,
    /// Handed out, to come back or to be done.
    pub(crate) leased: u32,
    /// Bytes that are not free.
    pub(crate) bytes: u32,
    /// Places that are not free.
    pub(crate) used: u32,
}

impl Queue {
    #[cfg(crewkit_loom)]
    pub(crate) fn new() -> Self {
        let word = || AtomicU64::new(0);
        let number = || AtomicU32::new(0);
        Self {
            putting: Line(Held::new(Putting { head: word(), done: number() })),
            tail: Line(word()),
            _apart: Line(word()),
            taking: Line(Held::new(Taking { tail: word() })),
            head: Line(Head { head: word(), cursor: word(), done: number(), returned: number() }),
            rules: Line(Rules {
                most: word(),
                room: word(),
                closed: number(),
                items: Bell::new(),
                has_room: Bell::new(),
                finished: Bell::new(),
                watched: number(),
                looked: LongNote::default(),
            }),
            roster: Roster::new(),
        }
    }

    /// The two mutexes, putting's first.
    pub(super) fn mutexes(&self) -> [&crate::primitive::Robust; 2] {
        [&self.putting.0.mutex, &self.taking.0.mutex]
    }

    /// What can be seen of the mutexes, putting's first.
    #[cfg(not(crewkit_loom))]
    pub(crate) fn traces(&self) -> [super::held::Traces<'_>; 2] {
        [self.putting.0.traces(), self.taking.0.traces()]
    }

    /// How many records there may be, and bytes. Before anybody else has the object.
    pub(crate) fn begin(&self, most: u64, room: u32) {
        self.rules.0.most.store(most, Ordering::Relaxed);
        self.rules.0.room.store(room.into(), Ordering::Relaxed);
    }

    /// The longest record, in bytes.
    #[inline]
    pub(crate) fn longest(&self, bytes: &impl Bytes) -> usize {
        (self.room(bytes) as usize).saturating_sub(footprint(0) as usize)
    }

    /// How many bytes may be in use.
    #[inline]
    fn room(&self, bytes: &impl Bytes) -> u32 {
        let room = self.rules.0.room.load(Ordering::Relaxed);
        u32::try_from(room).unwrap_or(u32::MAX).min(bytes.length())
    }

    /// How many records there may be.
    #[inline]
    pub(crate) fn most(&self) -> u64 {
        self.rules.0.most.load(Ordering::Relaxed)
    }

    /// In which way nothing is put any more, if so.
    #[inline]
    pub(crate) fn closed(&self) -> Option<u32> {
        Some(self.rules.0.closed.load(Ordering::Acquire)).filter(|&closed| closed != OPEN)
    }

    /// What there is.
    pub(crate) fn counts(&self) -> Counts {
        // In this order, so that none is less than nothing but for a moment.
        let returned = self.head.0.returned.load(Ordering::Relaxed);
        let done = self.head.0.done.load(Ordering::Relaxed);
        let head = Index::from_word(self.head.0.head.load(Ordering::Acquire));
        let cursor = Index::from_word(self.head.0.cursor.load(Ordering::Acquire));
        let tail = Index::from_word(self.tail.0.load(Ordering::Acquire));
        let between = |from: Index, to: Index| u32::try_from(to.records_since(from).cast_signed()).unwrap_or(0);
        let handed_out = between(head, cursor);
        Counts {
            ready: between(cursor, tail).saturating_add(returned),
            leased: handed_out.saturating_sub(done).saturating_sub(returned),
            bytes: Some(tail.bytes_since(head)).filter(|&bytes| bytes <= LONGEST).unwrap_or(0),
            used: between(head, tail).saturating_sub(done),
        }
    }

    /// What is slept on: for records, for room, and until all is done.
    pub(crate) fn bells(&self) -> [&Bell; 3] {
        let rules = &self.rules.0;
        [&rules.items, &rules.has_room, &rules.finished]
    }
}
