//! A ring of records in shared memory: one process puts them in, another takes them out, and neither waits for the other
//! as long as the ring is neither full nor empty.
//!
//! ```text
//!              head: records taken | position           tail: records put | position
//!                    |                                        |
//!                    v                                        v
//!   - - - -----------+----------+---------------+-------------+----------- - - -
//!     free           | len, tag | len bytes     | len, tag .. | free
//!   - - - -----------+----------+---------------+-------------+----------- - - -
//!                     8 bytes    padded to 8: a record begins on a word and may go round the end inside
//! ```
//!
//! Positions count bytes for ever, modulo 2^32; the ring's length is a power of two, so a position's low bits are the
//! place. An index is one word, the number of records in its upper half and the position in its lower one: what is put
//! or taken is so in one store, and the two cannot part.
//!
//! # Who writes what
//!
//! | Word | Written by | Means |
//! |---|---|---|
//! | `tail` | the producer, after a record's bytes are in place | the records before it are there |
//! | `head` | the consumer, after it has copied a record out | the room before it is free |
//! | a [`Bell`] | the side that sleeps sets it, the side that wakes takes it back | somebody sleeps |
//! | an [`attachment`](Words::attach) | the side that it is of; one bit of the consumer's by the producer | it uses the ring, and is fenced |
//!
//! Each side keeps its own index and a **copy of the other's** in memory of its own ([`Producer`], [`Consumer`]), and
//! looks at the shared one only when the copy says that there is no room or no record. So two sides at work do not take
//! each other's cache lines away at each record. Both states can be made anew from the shared words at any time: a side
//! that moves to another process takes nothing with it.
//!
//! # Who dies, or stops, where
//!
//! | At | The other side sees |
//! |---|---|
//! | the producer, before it stores `tail` | nothing of the record; its bytes lie in what is free |
//! | the producer, after that | the record |
//! | the consumer, before it stores `head` | its record is still there, for whoever goes on in its place |
//! | the consumer, after that | it was taken |
//! | either, between changing its index and ringing | a bell that is still set; the sleeper's socket tells of the end, or its sleep is a slice |
//!
//! # Whom nobody trusts
//!
//! Anything may be written into the memory at any time. So an index is believed only if it lies between the last one seen
//! and the own one, a record's header is copied once and then judged ([`Corrupt`]), and bytes are copied by
//! [`Bytes`] alone, which masks every position and never lends a reference into the ring. What a liar gets is an error at
//! the other side, or bytes of its own making. The segment is sealed, so no access is beyond its end. Its maker has allocated
//! it; one who made it otherwise, or punches holes into it, makes the other side allocate as many bytes as it has mapped, so
//! whoever maps a ring looks at its length.
//!
//! # Orderings
//!
//! Storing an index is Release and loading the other's is Acquire: who sees `tail` sees the bytes of the record; who sees
//! `head` has had them copied out, and may overwrite them. One's own index is loaded Relaxed: nobody else writes it.
//!
//! Sleeping is Dekker's pattern: the sleeper sets its bell and then looks at the index; the waker stores the index and
//! then looks at the bell; a full fence between the two, on both sides, and one of them sees the other. The waker's would
//! cost more than all the rest of a small record, so the sleeper executes both halves: membarrier(2) makes all
//! processors that run a registered process execute one. Where the kernel refuses that, a ring is neither made nor opened:
//! an event loop of somebody else's cannot be made to sleep in slices. On a waker that has not said that its process is
//! registered the sleeper does not rely, and sleeps in slices. In a model both halves are SeqCst fences.

mod bell;
#[cfg(not(crewkit_loom))]
mod bytes;
mod consumer;
mod index;
mod producer;
#[cfg(not(crewkit_loom))]
mod shared;

#[cfg(not(crewkit_loom))]
pub(crate) use bell::Alarm;
#[cfg(crewkit_loom)]
pub(crate) use bell::{Alarm, Bell};
#[cfg(not(crewkit_loom))]
pub(crate) use bytes::Raw;
pub(crate) use consumer::{Consumer, Record};
pub(crate) use index::Index;
pub(crate) use producer::{Producer, Put};
#[cfg(not(crewkit_loom))]
pub(crate) use shared::Ring;

use crate::primitive::{AtomicU32, AtomicU64};
use std::sync::atomic::Ordering;

#[cfg(not(crewkit_loom))]
use bell::Bell;

/// The words of a ring, in shared memory; zeroes are an empty ring.
///
/// The two indices are written all the time, each by one side, and lie two cache lines apart (processors fetch lines in
/// pairs); the bells are written seldom and read all the time.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Words {
    tail: Line<AtomicU64>,
    bells: Line<Bells>,
    _apart: Line<AtomicU64>,
    head: Line<AtomicU64>,
    _apart_from_the_bytes: Line<AtomicU64>,
}

/// A cache line of its own.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Line<T>(T);

#[derive(Debug, Default)]
#[repr(C)]
struct Bells {
    /// The consumer sleeps until there is a record.
    record: Bell,
    /// The producer sleeps until there is room.
    room: Bell,
    producer: AtomicU32,
    consumer: AtomicU32,
}

/// One of the two that use a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Producer,
    Consumer,
}

/// A side that uses the ring, or would, and one that processes fence when they ask all to.
const ATTACHED: u32 = 1;
const FENCED: u32 = 2;
/// In the consumer's word, by the consumer: it will take nothing any more.
const DEAF: u32 = 4;
/// In the consumer's word, by the producer: it uses the ring.
const TAKEN_UP: u32 = 8;

impl Words {
    fn attachment(&self, side: Side) -> &AtomicU32 {
        match side {
            Side::Producer => &self.bells.0.producer,
            Side::Consumer => &self.bells.0.consumer,
        }
    }

    /// Says that this process is `side` from now on, and whether it is fenced by others' barriers.
    pub(crate) fn attach(&self, side: Side, is_fenced: bool) {
        let now = ATTACHED | if is_fenced { FENCED } else { 0 };
        // What was agreed on before stands, if this side was another process's.
        self.change(side, |word| Some(word & (TAKEN_UP | DEAF) | now));
    }

    /// The producer's decision to use the ring from now on, if the consumer agrees to: it has attached, and has not
    /// [withdrawn](Self::withdraw).
    pub(crate) fn take_up(&self) -> bool {
        self.change(Side::Consumer, |word| (word & (ATTACHED | DEAF) == ATTACHED).then_some(word | TAKEN_UP))
    }

    /// The consumer would rather not; false when the producer has [taken the ring up](Self::take_up) before.
    pub(crate) fn withdraw(&self) -> bool {
        self.change(Side::Consumer, |word| (word & TAKEN_UP == 0).then_some(0))
    }

    /// The consumer's last word: it takes nothing any more.
    pub(crate) fn turn_deaf(&self) {
        self.change(Side::Consumer, |word| Some(word | DEAF));
    }

    /// Whether the consumer has [said](Self::turn_deaf) that it takes nothing any more.
    #[inline]
    pub(crate) fn is_deaf(&self) -> bool {
        self.bells.0.consumer.load(Ordering::Relaxed) & DEAF != 0
    }

    /// Both sides may change the consumer's word at once.
    fn change(&self, side: Side, change: impl FnMut(u32) -> Option<u32>) -> bool {
        self.attachment(side).fetch_update(Ordering::AcqRel, Ordering::Acquire, change).is_ok()
    }

    fn is_fenced(&self, side: Side) -> bool {
        self.attachment(side).load(Ordering::Relaxed) & FENCED != 0
    }
}

/// What the other side did is not what a side of a ring does. Nothing in the ring is to be believed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt(pub(crate) &'static str);

/// The bytes of a ring: the only way to them, in a model too.
pub(crate) trait Bytes {
    /// How many; a power of two, at least a word and at most 2^31.
    fn length(&self) -> u32;

    /// Copies `bytes` to a position that is a multiple of 8, and round the end.
    fn write(&self, position: u32, bytes: &[u8]);

    /// Writes a word there.
    fn write_word(&self, position: u32, word: u64);

    /// Reads a word there.
    fn read_word(&self, position: u32) -> u64;

    /// Copies `length` bytes from a position that is a multiple of 8, and round the end, to the end of `onto`.
    fn read(&self, position: u32, length: usize, onto: &mut Vec<u8>);

    /// Copies as many bytes as `onto` has from such a position.
    fn read_into(&self, position: u32, onto: &mut [u8]);
}

/// The bytes of a header and of the alignment of records.
const WORD: u32 = 8;

/// How much of a ring a record with so many bytes takes.
#[inline]
pub(crate) const fn footprint(length: u32) -> u32 {
    WORD + length.next_multiple_of(WORD)
}

/// The longest record, in bytes, of a ring of that length: there is room for four of them, so that the two sides work at
/// the same time.
#[inline]
pub(crate) const fn longest(length: u32) -> usize {
    (length / 4 - WORD) as usize
}

#[cfg(all(test, not(crewkit_loom)))]
mod tests;
