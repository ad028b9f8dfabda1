//! Sleeping at one side of a ring, and waking who sleeps there.
//!
//! ```text
//!   who sleeps                                   who wakes
//!   set the bell                                 store an index
//!   --- fence of all processes ---               --- half of a fence: the compiler's ---
//!   look at the index: sleep if nothing is new   look at the bell: if it is set, take it back and wake
//! ```
//!
//! Of the two looks at least one sees what the other side has stored before its fence. Both may: then a wake-up comes
//! that nobody needed. Taking the bell back makes it one for each sleep. How to sleep is the caller's affair.

use super::{Side, Words};
use crate::primitive::{AtomicU32, fence_all_processes, half_fence};
use std::sync::atomic::Ordering;

/// Set while a side sleeps, or is about to.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Bell {
    is_set: AtomicU32,
}

/// How a side that has set its bell may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a sleep for which nobody rings would not end"]
pub(crate) enum Alarm {
    /// Until it is woken.
    Sure,
    /// In slices: a waker may have passed the bell before it was seen to be set.
    Slices,
}

impl Words {
    #[inline]
    pub(crate) fn bell(&self, side: Side) -> &Bell {
        match side {
            Side::Producer => &self.bells.0.room,
            Side::Consumer => &self.bells.0.record,
        }
    }

    /// Before `side` sleeps: asks the other one to wake it. It must look at the ring once more after this.
    pub(crate) fn arm(&self, side: Side) -> Alarm {
        let (bell, other) = match side {
            Side::Producer => (&self.bells.0.room, Side::Consumer),
            Side::Consumer => (&self.bells.0.record, Side::Producer),
        };
        bell.is_set.store(1, Ordering::Relaxed);
        // Fenced only counts what was said before the bell was set, or else it is seen next time.
        if fence_all_processes() && self.is_fenced(other) { Alarm::Sure } else { Alarm::Slices }
    }

    /// After a change of its own index: whether the other side of `side` sleeps and is to be woken. It is told so once.
    #[inline]
    pub(crate) fn must_wake(&self, sleeper: Side) -> bool {
        half_fence();
        let bell = self.bell(sleeper);
        if bell.is_set.load(Ordering::Relaxed) == 0 {
            return false;
        }
        bell.is_set.store(0, Ordering::Relaxed);
        true
    }
}

impl Bell {
    /// Whoever was to be woken could not be: the next one to [look](Words::must_wake) tries again.
    pub(crate) fn rearm(&self) {
        self.is_set.store(1, Ordering::Relaxed);
    }

    /// Whoever slept is awake.
    pub(crate) fn disarm(&self) {
        self.is_set.store(0, Ordering::Relaxed);
    }
}
