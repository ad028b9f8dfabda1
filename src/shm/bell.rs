//! Sleeping until somebody in any process has done something, and telling who sleeps.
//!
//! ```text
//!   word:  | number of the latest listener or ring, 30 bits | ALL | ASLEEP |
//! ```
//!
//! A waiter looks for what it waits for, [`listen`](Bell::listen)s, looks **again**, and [`sleep`](Bell::sleep)s. Whoever
//! has brought it about [`ring`](Bell::ring)s. Either the ringer sees `ASLEEP`, or the waiter's second look sees what the
//! ringer did: both have a fence between their store and their look.
//!
//! | Bit | Set by | Cleared by |
//! |---|---|---|
//! | `ASLEEP` | who listens | who rings for all; who rings for some and found fewer asleep, if nobody has listened since |
//! | `ALL` | who listens and may have no use for a single thing | who rings for all |
//!
//! The number makes the word differ from what a waiter has heard once there was a ring, or a later listener: so a waiter that
//! was overtaken between its second look and its sleep does not sleep.
//!
//! **Deaths.** A ringer that dies between what it did and its ring, and a waiter that dies (or is stopped) having been woken
//! for all of us, lose a wake-up. So nobody sleeps longer than a slice (`primitive::SharedFutex`), and who wakes looks
//! again. A dead waiter leaves `ASLEEP` behind: that costs the next ringer one system call.

use crate::primitive::{SharedFutex, fence, fence_after_exchange};
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;

const ASLEEP: u32 = 1;
const ALL: u32 = 2;
const NUMBER: u32 = 4;

/// What is slept on.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Bell(pub(super) SharedFutex);

/// A listener's word.
#[derive(Clone, Copy)]
#[must_use = "look again, then sleep"]
pub(crate) struct Listening(u32);

impl Bell {
    /// Nobody sleeps. In shared memory zeroes say the same.
    #[cfg(crewkit_loom)]
    pub(crate) fn new() -> Self {
        Self(SharedFutex::new(0))
    }

    /// Announces a sleep, before the last look at what is waited for.
    pub(crate) fn listen(&self, to_all: bool) -> Listening {
        let all = if to_all { ALL } else { 0 };
        let mut word = self.0.word.load(Ordering::Relaxed);
        loop {
            let next = word.wrapping_add(NUMBER) | ASLEEP | all;
            match self.0.word.compare_exchange(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    fence(Ordering::SeqCst);
                    return Listening(next);
                }
                Err(now) => word = now,
            }
        }
    }

    /// Sleeps until a ring, another listener, the deadline, or for a slice of time. The caller looks again.
    pub(crate) fn sleep(&self, Listening(word): Listening, deadline: Deadline) {
        self.0.wait(word, deadline);
    }

    /// What who waits sleeps on.
    #[cfg(not(crewkit_loom))]
    pub(crate) fn word(&self) -> &std::sync::atomic::AtomicU32 {
        &self.0.word
    }

    /// Wakes `count` sleepers. What they wait for was done before, by a read-modify-write.
    #[inline]
    pub(crate) fn ring(&self, count: u32) {
        fence_after_exchange();
        let word = self.0.word.load(Ordering::Relaxed);
        if word & ASLEEP != 0 {
            self.wake(word, count);
        }
    }

    /// Wakes all sleepers.
    pub(crate) fn ring_all(&self) {
        self.ring(u32::MAX);
    }

    #[cold]
    fn wake(&self, word: u32, count: u32) {
        if count == u32::MAX || word & ALL != 0 {
            self.0.word.fetch_and(!(ASLEEP | ALL), Ordering::Relaxed);
            self.0.wake(u32::MAX);
            return;
        }
        // First the word, for who is about to sleep on it, then the wake.
        let word = self.0.word.fetch_add(NUMBER, Ordering::Relaxed).wrapping_add(NUMBER);
        if self.0.wake(count) < count {
            // All that slept are awake. Whoever has listened since has changed the word.
            let _ = self.0.word.compare_exchange(word, word & !ASLEEP, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
