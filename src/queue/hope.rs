//! How long who waits at an end of a [list](super::list) hopes before it lines up. Relaxed accesses: these are guesses, and
//! of two made at once either will do.

use crate::primitive::{AtomicU32, Spin};
use std::sync::atomic::Ordering;

/// How many times a putter or getter yields before it lines up; and how many times, when that was in vain lately.
const YIELDS: u32 = 16;
const YIELDS_IN_VAIN: u32 = 4;
/// How often it pauses before, at least and at most: the latter is about half a microsecond.
const PAUSES: std::ops::RangeInclusive<u32> = 2..=24;

/// How long the next wait at an end puts off sleeping: guessed from how the last one there ended.
pub(super) struct Hope {
    pauses: AtomicU32,
    yields: AtomicU32,
}

impl Hope {
    pub(super) fn new() -> Self {
        Self { pauses: AtomicU32::new(*PAUSES.end()), yields: AtomicU32::new(YIELDS) }
    }

    pub(super) fn spin(&self) -> Spin {
        Spin::for_a_batch(self.pauses.load(Ordering::Relaxed), self.yields.load(Ordering::Relaxed))
    }

    /// The pauses were enough, or the yields were, or neither: the other end is on another processor, on this one, or at
    /// rest.
    pub(super) fn came_true(&self, after_pauses: bool, after_yields: bool) {
        let pauses = self.pauses.load(Ordering::Relaxed);
        let pauses = if after_pauses { 2 * pauses } else { pauses / 2 };
        self.pauses.store(pauses.clamp(*PAUSES.start(), *PAUSES.end()), Ordering::Relaxed);
        let yields = if after_pauses || after_yields { YIELDS } else { YIELDS_IN_VAIN };
        self.yields.store(yields, Ordering::Relaxed);
    }
}
