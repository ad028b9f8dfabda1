//! What an acquire of a semaphore gives: permits that go back by themselves.

use super::permits::Permits;
use super::semaphore::{BoundedSemaphore, Semaphore};
use std::fmt;
use std::sync::Arc;

/// Permits of a borrowed [`Semaphore`] or [`BoundedSemaphore`], given back when dropped.
#[must_use = "the permits are given back when this is dropped"]
pub struct Permit<'a> {
    permits: &'a Permits,
    count: usize,
    /// Known where the permit was acquired, so that its drop, once inlined there, need not ask.
    is_bounded: bool,
}

impl<'a> Permit<'a> {
    #[inline]
    pub(super) fn new(permits: &'a Permits, count: usize, is_bounded: bool) -> Self {
        Self { permits, count, is_bounded }
    }

    /// How many permits these are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Keeps the permits for good: the semaphore has as many fewer from now on, until somebody releases some.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        give_back(self.permits, self.count, self.is_bounded);
    }
}

/// Gives back what an acquire took.
#[inline]
fn give_back(permits: &Permits, count: usize, is_bounded: bool) {
    match count {
        0 => {}
        1 if !is_bounded => permits.give_back_one(),
        _ => permits.give_back_many(count),
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Permits of a shared [`Semaphore`] or [`BoundedSemaphore`], given back when dropped.
#[must_use = "the permits are given back when this is dropped"]
pub struct OwnedPermit<S: GivesPermits = Semaphore> {
    semaphore: Arc<S>,
    count: usize,
}

impl<S: GivesPermits> OwnedPermit<S> {
    pub(super) fn new(semaphore: &Arc<S>, count: usize) -> Self {
        Self { semaphore: Arc::clone(semaphore), count }
    }

    /// How many permits these are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The semaphore that the permits belong to.
    pub fn semaphore(&self) -> &Arc<S> {
        &self.semaphore
    }

    /// Keeps the permits for good: the semaphore has as many fewer from now on, until somebody releases some.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl<S: GivesPermits> Drop for OwnedPermit<S> {
    fn drop(&mut self) {
        self.semaphore.take_back(self.count);
    }
}

impl<S: GivesPermits> fmt::Debug for OwnedPermit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPermit").field("count", &self.count).finish_non_exhaustive()
    }
}

/// The two semaphores. Public in name only: nobody else can be one.
pub trait GivesPermits {
    fn take_back(&self, count: usize);
}

impl GivesPermits for Semaphore {
    #[inline]
    fn take_back(&self, count: usize) {
        give_back(&self.permits, count, false);
    }
}

impl GivesPermits for BoundedSemaphore {
    fn take_back(&self, count: usize) {
        give_back(&self.permits, count, true);
    }
}
