//! The one permit of a lock, without `deadlock-detection`: [`Permits`] as they are, and nothing else. `watched.rs` is the
//! same with the feature.

pub(super) use super::permits::Permits as Watched;

use std::fmt::DebugStruct;

/// Where in the user's code a lock is acquired: nobody asks.
#[derive(Clone, Copy)]
pub struct Place;

impl Place {
    #[inline]
    pub(super) fn here() -> Self {
        Self
    }

    /// [`Watched::acquire_only`].
    #[inline]
    pub(super) fn acquire(self, lock: &Watched) {
        lock.acquire_only();
    }
}

/// Adds nothing to what a lock's `Debug` shows.
#[inline]
pub(super) fn show_holder(_: &Watched, _: &mut DebugStruct<'_, '_>) {}
