//! Sleeping until a word changes: within one process, for `primitive`, whose thread parker sleeps here; and between
//! processes, for whoever waits on a word in shared memory.
//!
//! # Safety
//!
//! The kernel is given the address of a live `AtomicU32` and, for the time of the call, of a timespec on our stack. It
//! reads both and writes neither.

#![expect(unsafe_code, reason = "glibc has no wrapper for futex(2)")]

use super::clock::{Deadline, timespec};
use std::ptr;
use std::sync::atomic::AtomicU32;
#[cfg(feature = "processes")]
use std::time::Duration;

/// No sleep in memory of several processes is longer. A waker may die between its store and its wake, and whoever is waited
/// for without a word: so who sleeps looks around from time to time.
#[cfg(feature = "processes")]
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// What is left until `deadline`, but a slice at most.
#[cfg(feature = "processes")]
pub(crate) fn slice_until(deadline: Deadline) -> Duration {
    deadline.remaining().map_or(SLICE, |left| left.min(SLICE))
}

/// Sleeps while `word` is `expected`, at most until `deadline`.
///
/// Returns for a wake, a passed deadline, a word that differs, a signal, or for no reason: the caller looks again.
/// The comparison and the falling asleep are one step for [`wake_one`].
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) {
    sleep(word, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, expected, deadline);
}

/// [`wait`], for a word that other processes change.
#[cfg(feature = "processes")]
pub(crate) fn wait_shared(word: &AtomicU32, expected: u32, deadline: Deadline) {
    sleep(word, libc::FUTEX_WAIT, expected, deadline);
}

fn sleep(word: &AtomicU32, operation: libc::c_int, expected: u32, deadline: Deadline) {
    let timeout = deadline.remaining().map(timespec);
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `word` and the timespec outlive the call, and FUTEX_WAIT only reads them.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, expected, timeout) };
}

/// Wakes `count` threads at most that sleep in [`wait_shared`] on `word`; how many there were.
#[cfg(feature = "processes")]
pub(crate) fn wake_shared(word: &AtomicU32, count: u32) -> u32 {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: FUTEX_WAKE uses the address as a name only.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    u32::try_from(woken).unwrap_or(0)
}

/// How many threads sleep on `word` in all processes, in [`wait_shared`] or in glibc's mutexes; the kernel's answer, so the
/// dead do not count. None of them notices.
#[cfg(feature = "processes")]
pub(crate) fn sleepers_shared(word: &AtomicU32) -> usize {
    sleepers_at(word.as_ptr())
}

/// [`sleepers_shared`], by address alone: nothing is read there.
#[cfg(feature = "processes")]
pub(crate) fn sleepers_at(word: *const u32) -> usize {
    let (wake_none, move_all) = (0, libc::c_long::from(i32::MAX));
    // SAFETY: FUTEX_REQUEUE uses both addresses as names only. It answers how many it has moved, here to where they are.
    let moved = unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_REQUEUE, wake_none, move_all, word) };
    usize::try_from(moved).unwrap_or(0)
}

/// Wakes one thread that sleeps in [`wait`] on `word`, if there is one.
pub(crate) fn wake_one(word: &AtomicU32) {
    wake(word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG);
}

fn wake(word: &AtomicU32, operation: libc::c_int) {
    // SAFETY: FUTEX_WAKE uses the address as a name only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 1) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[cfg(feature = "processes")]
    #[test]
    fn sleepers_are_counted_and_sleep_on_until_they_are_woken() {
        let word = AtomicU32::new(0);
        let until = |count| {
            let begin = Instant::now();
            while sleepers_shared(&word) != count {
                assert!(begin.elapsed() < Duration::from_secs(60), "{} sleep", sleepers_shared(&word));
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            let wait = || wait_shared(&word, 0, Deadline::after(Duration::from_secs(60)));
            let sleepers = [scope.spawn(wait), scope.spawn(wait)];
            until(2);
            until(2);
            assert_eq!(wake_shared(&word, 1), 1);
            until(1);
            assert_eq!(wake_shared(&word, u32::MAX), 1);
            assert_eq!((sleepers_shared(&word), wake_shared(&word, 1)), (0, 0));
            sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        });
    }

    #[test]
    fn a_word_that_differs_does_not_sleep() {
        wait(&AtomicU32::new(1), 0, Deadline::NEVER);
    }

    #[cfg(feature = "processes")]
    #[test]
    fn a_sleeper_on_a_shared_word_is_woken() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while word.load(std::sync::atomic::Ordering::Acquire) == 0 {
                    wait_shared(&word, 0, Deadline::after(Duration::from_secs(60)));
                }
            });
            word.store(1, std::sync::atomic::Ordering::Release);
            wake(&word, libc::FUTEX_WAKE);
        });
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
