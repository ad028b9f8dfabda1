//! What an acquire of a semaphore between processes gives: permits that go back by themselves.

use std::error::Error;
use std::fmt;

use super::LockError;
use super::semaphore::Semaphore;
use crate::shm::{Held, Permits};
use crate::sys::clock::Deadline;
use crate::sys::generation;

/// What an acquire took.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) seat: usize,
    pub(super) count: u32,
    pub(super) generation: u32,
}

impl Taken {
    /// Whether there is something to be given back by this process: a forked child has a copy of what its parent took.
    #[inline]
    fn is_own(&self) -> bool {
        self.count > 0 && self.generation == generation::current()
    }

    #[inline]
    fn give_back(&self, semaphore: &impl Gives) {
        if self.is_own() {
            semaphore.give_back(self.seat, self.count);
        }
    }

    fn forget(&mut self, semaphore: &impl Gives) {
        if self.is_own() && semaphore.forget(self.seat, self.count) {
            self.count = 0;
        }
    }
}

/// Permits of a borrowed [`Semaphore`] or [`BoundedSemaphore`](super::BoundedSemaphore), given back when dropped.
#[must_use = "the permits are given back when this is dropped"]
pub struct Permit<'a> {
    pub(super) words: &'a Held<Permits>,
    pub(super) taken: Taken,
}

impl Permit<'_> {
    /// How many permits these are.
    pub fn count(&self) -> usize {
        self.taken.count as usize
    }

    /// Makes the permits nobody's: the semaphore has as many fewer from now on, whoever dies, until somebody releases some.
    pub fn forget(mut self) {
        self.taken.forget(self.words);
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.taken.give_back(self.words);
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ipc::Permit").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// Permits with a handle of their own, given back when dropped.
#[must_use = "the permits are given back when this is dropped"]
pub struct OwnedPermit<S: Gives = Semaphore> {
    pub(super) semaphore: S,
    pub(super) taken: Taken,
}

impl<S: Gives> OwnedPermit<S> {
    /// How many permits these are.
    pub fn count(&self) -> usize {
        self.taken.count as usize
    }

    /// The semaphore that the permits belong to.
    pub fn semaphore(&self) -> &S {
        &self.semaphore
    }

    /// Makes the permits nobody's, as [`Permit::forget`].
    pub fn forget(mut self) {
        self.taken.forget(&self.semaphore);
    }
}

impl<S: Gives> Drop for OwnedPermit<S> {
    fn drop(&mut self) {
        self.taken.give_back(&self.semaphore);
    }
}

impl<S: Gives> fmt::Debug for OwnedPermit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ipc::OwnedPermit").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// The two semaphores. Public in name only: nobody else can be one.
pub trait Gives {
    fn give_back(&self, seat: usize, count: u32);
    fn forget(&self, seat: usize, count: u32) -> bool;
}

impl Gives for Held<Permits> {
    #[inline]
    fn give_back(&self, seat: usize, count: u32) {
        self.guarded.give_back(seat, count);
    }

    /// False, and the permits stay this process's, where somebody has tampered with the words.
    fn forget(&self, seat: usize, count: u32) -> bool {
        Self::forget(self, seat, count, Deadline::NEVER).is_ok()
    }
}

/// Permits were not released.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReleaseError {
    /// A [`Semaphore`] would have had more than [`Semaphore::MAX_PERMITS`].
    Overflow,
    /// A [`BoundedSemaphore`](super::BoundedSemaphore) would have had more than at the beginning.
    OverReleased,
    /// The semaphore cannot be used here.
    Unusable(LockError),
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overflow => f.write_str("release of more permits than a semaphore can have"),
            Self::OverReleased => f.write_str("release of more permits than were taken from a bounded semaphore"),
            Self::Unusable(error) => error.fmt(f),
        }
    }
}

impl Error for ReleaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unusable(error) => Some(error),
            _ => None,
        }
    }
}

impl From<LockError> for ReleaseError {
    fn from(error: LockError) -> Self {
        Self::Unusable(error)
    }
}
