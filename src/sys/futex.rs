//! Sleeping until a word changes, within one process. The only caller is `primitive`, whose thread parker sleeps here.
//!
//! # Safety
//!
//! The kernel is given the address of a live `AtomicU32` and, for the time of the call, of a timespec on our stack. It
//! reads both and writes neither.

#![expect(unsafe_code, reason = "glibc has no wrapper for futex(2)")]

use super::clock::{Deadline, timespec};
use std::ptr;
use std::sync::atomic::AtomicU32;

/// Sleeps while `word` is `expected`, at most until `deadline`.
///
/// Returns for a wake, a passed deadline, a word that differs, a signal, or for no reason: the caller looks again.
/// The comparison and the falling asleep are one step for [`wake_one`].
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) {
    let timeout = deadline.remaining().map(timespec);
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `word` and the timespec outlive the call, and FUTEX_WAIT only reads them.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, expected, timeout)
    };
}

/// Wakes one thread that sleeps in [`wait`] on `word`, if there is one.
pub(crate) fn wake_one(word: &AtomicU32) {
    // SAFETY: FUTEX_WAKE uses the address as a name only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_word_that_differs_does_not_sleep() {
        wait(&AtomicU32::new(1), 0, Deadline::NEVER);
    }

    #[test]
    fn a_deadline_ends_the_sleep_and_not_before() {
        let word = AtomicU32::new(0);
        let begin = Instant::now();
        let deadline = Deadline::after(Duration::from_millis(20));
        while !deadline.is_expired() {
            wait(&word, 0, deadline);
        }
        assert!(begin.elapsed() >= Duration::from_millis(20));
    }
}
