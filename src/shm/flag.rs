//! A flag that processes wait for, whoever dies.
//!
//! ```text
//!   word:  | how many times it was set, 30 bits | ASLEEP | SET |
//! ```
//!
//! | Part | Changed by |
//! |---|---|
//! | `SET`, on | `set`, in one step with the two below |
//! | times | `set`, when the flag was off |
//! | `ASLEEP`, off | `set`, which then wakes all |
//! | `SET`, off | `clear` |
//! | `ASLEEP`, on | who waits, in the step that finds `SET` off |
//!
//! A waiter is over when it finds `SET`, or another number than at its beginning: so a `set` that is followed by a `clear` at
//! once releases all who waited. As everything is one word, each step is whole or has not happened, and there is nothing to be
//! put in order after a death:
//!
//! | It dies | Others find |
//! |---|---|
//! | before the step of `set` or `clear` | nothing |
//! | after the step of `set`, before it has woken all | the flag set; who sleeps finds it after a slice of at most 50 ms |
//! | waiting | `ASLEEP`, which costs the next `set` a system call |
//!
//! Orderings: `set` releases, also where the flag is set already, and the end of a wait acquires.

use crate::primitive::{SharedFutex, has_passed};
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;

const SET: u32 = 1;
const ASLEEP: u32 = 2;
const ONCE: u32 = 4;

fn times(word: u32) -> u32 {
    word / ONCE
}

/// The flag.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Flag(pub(super) SharedFutex);

impl Flag {
    /// Off. In shared memory zeroes say the same.
    #[cfg(crewkit_loom)]
    pub(crate) fn new() -> Self {
        Self(SharedFutex::new(0))
    }

    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.word.load(Ordering::Acquire) & SET != 0
    }

    /// Sets it; whether it was off.
    pub(crate) fn set(&self) -> bool {
        let mut word = self.0.word.load(Ordering::Relaxed);
        loop {
            let is_off = word & SET == 0;
            let next = if is_off { word.wrapping_add(ONCE) & !ASLEEP | SET } else { word };
            match self.0.word.compare_exchange(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    if word & ASLEEP != 0 {
                        self.0.wake(u32::MAX);
                    }
                    return is_off;
                }
                Err(now) => word = now,
            }
        }
    }

    pub(crate) fn clear(&self) {
        self.0.word.fetch_and(!SET, Ordering::AcqRel);
    }

    /// Waits until it is set; false when the deadline has passed before.
    #[inline]
    pub(crate) fn wait(&self, deadline: Deadline) -> bool {
        self.is_set() || self.sleep(deadline)
    }

    #[cold]
    fn sleep(&self, deadline: Deadline) -> bool {
        let mut word = self.0.word.load(Ordering::Acquire);
        let begin = times(word);
        loop {
            if word & SET != 0 || times(word) != begin {
                return true;
            }
            if has_passed(deadline) {
                return false;
            }
            let asleep = word | ASLEEP;
            word = match self.0.word.compare_exchange(word, asleep, Ordering::Relaxed, Ordering::Acquire) {
                Err(now) => now,
                Ok(_) => {
                    self.0.wait(asleep, deadline);
                    self.0.word.load(Ordering::Acquire)
                }
            };
        }
    }

    /// What who waits sleeps on.
    #[cfg(not(crewkit_loom))]
    pub(crate) fn word(&self) -> &std::sync::atomic::AtomicU32 {
        &self.0.word
    }
}
