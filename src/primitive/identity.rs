//! Who it is that waits or holds: a number for each thread, and for each green task while it runs.
//!
//! ```text
//!   number:  | serial, 42 bits | kernel's thread id, 22 bits (0: a green task, or a model's thread) |
//! ```
//!
//! The serial number is what makes it unique: unlike an address or a thread id it is not used again when its thread has
//! ended, so nobody is taken for the owner of a lock that somebody else left behind. (Not before 2^42 others came
//! between, and then only in a thread of the same id.) The thread id is there for people to read; Linux has at most
//! 2^22 threads. A forked child keeps the number of the thread that forked.

use super::platform::{WAITER, native_id};
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

const THREAD_BITS: u32 = 22;

/// A thread's or a green task's number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(NonZeroU64);

impl Identity {
    /// Who waits on a thread that was not asked yet: nobody's number.
    pub(super) const UNKNOWN: Self = Self(NonZeroU64::MAX);

    /// Whoever calls: the green task that runs on this thread, else the thread. One thread-local load.
    #[inline]
    pub(crate) fn current() -> Self {
        let known = WAITER.with(std::cell::Cell::get);
        if known == Self::UNKNOWN { Self::of_this_thread() } else { known }
    }

    /// Whether `word` names whoever calls. One comparison: no word names the unknown.
    #[inline]
    pub(crate) fn is_current(word: u64) -> bool {
        WAITER.with(std::cell::Cell::get).to_word() == word
    }

    /// A number for a green task, for as long as it lives.
    #[cfg_attr(not(test), expect(dead_code, reason = "green tasks will call it; until then the tests do"))]
    pub(crate) fn new() -> Self {
        Self::draw(0)
    }

    #[cold]
    fn of_this_thread() -> Self {
        let identity = Self::draw(native_id());
        WAITER.with(|waiter| waiter.set(identity));
        identity
    }

    fn draw(thread: u32) -> Self {
        // Not part of a model: numbers are only compared for equality.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_shl(THREAD_BITS);
        // Serial numbers begin with one, so that the number is none but after 2^42 of them.
        let number = serial.wrapping_add(1 << THREAD_BITS) | u64::from(thread);
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }

    /// Whom `word` names; zero is nobody.
    pub(crate) fn from_word(word: u64) -> Option<Self> {
        NonZeroU64::new(word).map(Self)
    }

    /// The number, which is not zero.
    #[inline]
    pub(crate) fn to_word(self) -> u64 {
        self.0.get()
    }

    /// Makes this the one who waits on this thread; answers who it was before, which may be unknown.
    pub(super) fn replace(self) -> Self {
        WAITER.with(|waiter| waiter.replace(self))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (serial, thread) = (self.0.get() >> THREAD_BITS, self.0.get() & ((1 << THREAD_BITS) - 1));
        if thread == 0 { write!(f, "task {serial}") } else { write!(f, "thread {thread}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_thread_keeps_its_number_and_no_other_has_it() {
        let mine = Identity::current();
        assert_eq!(mine, Identity::current());
        assert!(Identity::is_current(mine.to_word()) && !Identity::is_current(0));
        let unasked = || Identity::is_current(0) || Identity::is_current(mine.to_word());
        assert!(!thread::scope(|scope| scope.spawn(unasked).join()).unwrap());
        let others: Vec<_> = (0..3).map(|_| thread::spawn(Identity::current).join().unwrap()).collect();
        assert!(!others.contains(&mine));
        assert!(others[0] != others[1] && others[1] != others[2] && others[0] != others[2]);
        assert_eq!(Identity::from_word(mine.to_word()), Some(mine));
        assert_eq!(Identity::from_word(0), None);
    }

    #[test]
    fn debug_tells_the_thread_as_the_kernel_does() {
        assert_eq!(format!("{:?}", Identity::current()), format!("thread {}", native_id()));
        assert!(format!("{:?}", Identity::new()).starts_with("task "));
    }
}
