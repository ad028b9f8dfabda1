//! The algorithm behind `RLock`: a lock of one permit, who has it, and how many times.
//!
//! # State
//!
//! | Word | Who writes it |
//! |---|---|
//! | `permit` | see `permits`: one while nobody has the lock |
//! | `owner` | who has the permit, with the permit in hand: itself after taking it, nobody before giving it back |
//! | `depth` | who has the permit; means something only to the one whose number is in `owner`, so no model need look at it |
//!
//! # Orderings
//!
//! `permit` acquires and releases. `owner` and `depth` are relaxed: somebody reads its own number in `owner` only if
//! its own last write there was that number, since nobody else writes it, and that is so only while it has the permit.
//! Any other value, however old, says "not mine", which is the truth. Others read both words for people only.
//!
//! # Depth
//!
//! At `usize::MAX` the depth stays where it is: such a lock is never free again. To count up to that takes centuries, but a
//! lock that came round to zero would let two threads in.
//!
//! # Speed
//!
//! To take it again is a comparison of `owner` with a thread-local word, which may be that of a thread that has no number
//! yet, and a plain addition; to release it from there, for a guard, is a subtraction, as a guard proves who owns it. The
//! permit's word comes last in its struct and the three words and the value lie in one cache line (`RLock` is aligned for
//! that): two threads that take turns pass one line to and fro, not two.
//!
//! That is 2.5 ns for a lock and its release, of which most is that the depth goes through memory twice, against 4.0 ns of
//! parking_lot's `ReentrantMutex`, which calls a function for the thread's number. But a function of some ten lines around
//! it is at the edge of what the compiler inlines: called, with the registers that its slow paths need saved and restored,
//! it takes 4.2 to 5 ns. Which of the two happened to either lock was all that a row of the benches had measured (0.75 to
//! 1.0 of parking_lot's speed; 1.4 with both inlined).

use super::watch::{Place, Watched};
use crate::primitive::{AtomicU64, Identity, const_on_the_machine};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const NOBODY: u64 = 0;

/// An `RLock` without its value. [See the module](self).
#[repr(C)]
pub(super) struct Reentrant {
    permit: Watched,
    owner: AtomicU64,
    depth: AtomicUsize,
}

impl Reentrant {
    const_on_the_machine! {
        pub(super) fn new() -> Self {
            Self { permit: Watched::new(1, 1), owner: AtomicU64::new(NOBODY), depth: AtomicUsize::new(0) }
        }
    }

    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[inline]
    pub(super) fn acquire(&self) {
        if !self.deepen_if_mine() {
            self.permit.acquire_only();
            self.own(1);
        }
    }

    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[inline]
    pub(super) fn try_acquire(&self) -> bool {
        self.deepen_if_mine() || self.own_if(self.permit.try_acquire(1))
    }

    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    pub(super) fn acquire_within(&self, timeout: Duration) -> bool {
        self.deepen_if_mine() || self.own_if(self.permit.acquire_within(1, timeout))
    }

    /// Goes one up, and gives the permit back from depth one. False, with nothing changed, if the caller does not have it.
    #[inline]
    pub(super) fn release(&self) -> bool {
        let is_mine = self.is_mine();
        if is_mine {
            self.release_mine();
        }
        is_mine
    }

    /// The same for a caller that has it.
    #[inline]
    pub(super) fn release_mine(&self) {
        match self.depth.load(Ordering::Relaxed) {
            depth @ 2..usize::MAX => self.depth.store(depth - 1, Ordering::Relaxed),
            usize::MAX => {}
            _ => self.give_back(),
        }
    }

    /// Gives the permit back from any depth, and answers that depth. `None`, with nothing changed, if the caller does not
    /// have it.
    pub(super) fn release_all(&self) -> Option<usize> {
        let depth = self.is_mine().then(|| self.depth.load(Ordering::Relaxed))?;
        self.give_back();
        Some(depth)
    }

    /// Takes the permit again, at `depth`. The caller does not have it.
    pub(super) fn take_back(&self, depth: usize, place: Place) {
        place.acquire(&self.permit);
        self.own(depth);
    }

    pub(super) fn is_free(&self) -> bool {
        self.permit.available() > 0
    }

    #[inline]
    pub(super) fn is_mine(&self) -> bool {
        Identity::is_current(self.owner.load(Ordering::Relaxed))
    }

    /// How many times the caller has it.
    pub(super) fn depth(&self) -> usize {
        if self.is_mine() { self.depth.load(Ordering::Relaxed) } else { 0 }
    }

    /// Who has it, and how many times: for people, as both may have changed when they are read.
    pub(super) fn owner(&self) -> Option<(Identity, usize)> {
        let owner = Identity::from_word(self.owner.load(Ordering::Relaxed))?;
        Some((owner, self.depth.load(Ordering::Relaxed)))
    }

    pub(super) fn permit(&self) -> &Watched {
        &self.permit
    }

    #[inline]
    fn own(&self, depth: usize) {
        self.owner.store(Identity::current().to_word(), Ordering::Relaxed);
        self.depth.store(depth, Ordering::Relaxed);
    }

    /// Whether the permit was `taken`, which is then the caller's.
    #[inline]
    fn own_if(&self, taken: bool) -> bool {
        if taken {
            self.own(1);
        }
        taken
    }

    #[inline]
    fn deepen_if_mine(&self) -> bool {
        let is_mine = self.is_mine();
        if is_mine {
            let depth = self.depth.load(Ordering::Relaxed);
            self.depth.store(depth.saturating_add(1), Ordering::Relaxed);
        }
        is_mine
    }

    #[inline]
    fn give_back(&self) {
        self.owner.store(NOBODY, Ordering::Relaxed);
        // Cannot fail: the permit is here.
        let _ = self.permit.release_only();
    }
}

#[cfg(all(test, not(crewkit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_lock_is_never_free_again() {
        let lock = Reentrant::new();
        lock.acquire();
        lock.depth.store(usize::MAX - 1, Ordering::Relaxed);
        lock.acquire();
        lock.acquire();
        assert_eq!(lock.depth(), usize::MAX);
        assert!(lock.release() && lock.release() && lock.release());
        assert_eq!(lock.depth(), usize::MAX);
        std::thread::scope(|scope| assert!(!scope.spawn(|| lock.try_acquire()).join().unwrap()));
    }
}
