//! A value in two copies of which one counts, so that no reader sees half a write and none waits for a writer.
//!
//! ```text
//!   version 6: even, the first copy counts          version 7: odd, the second copy counts
//!   +---------------+---------------+               +---------------+---------------+
//!   | counts        | may be torn   |   --write-->  | may be torn   | counts        |
//!   +---------------+---------------+               +---------------+---------------+
//! ```
//!
//! A writer, of whom there is one at a time (its owner keeps others out), fills the copy that does not count, and then
//! adds one to the version: that store is the write. Killed before it, the writer has changed nothing that anybody
//! looks at; stopped before it, it holds up no reader.
//!
//! A reader notes the version, copies what counts, and looks at the version again. The copy that it read is written only
//! after the version has changed, so if it has not, the copy is whole. It reads anew for as long as writes come between,
//! of which each is progress of somebody else's.
//!
//! # Orderings
//!
//! The version is stored with Release and loaded with Acquire: who sees it sees the copy. A reader that has seen a word
//! of a later write must not still see the version of before: the writer has a Release fence between the version that it
//! found and the words that it writes, the reader an Acquire fence between the words that it read and its second look.

use crate::primitive::{AtomicU64, fence};
use std::sync::atomic::Ordering;

/// Which copy counts.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Twofold {
    version: AtomicU64,
}

impl Twofold {
    /// The first copy counts. In shared memory zeroes say the same.
    #[cfg(crewkit_loom)]
    pub(crate) fn new() -> Self {
        Self { version: AtomicU64::new(0) }
    }

    /// Words that the two copies of `bytes` bytes take.
    pub(crate) const fn words(bytes: usize) -> usize {
        2 * bytes.div_ceil(WORD)
    }

    /// Copies the value out. `copies` are [`words`](Self::words) for as many bytes as `value` has.
    #[inline]
    pub(crate) fn read(&self, copies: &[AtomicU64], value: &mut [u8]) {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let copy = copy_of(version, copies).iter();
            for (bytes, word) in value.chunks_mut(WORD).zip(copy) {
                bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()[..bytes.len()]);
            }
            fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed) == version {
                return;
            }
        }
    }

    /// Replaces the value. Nobody else may be writing.
    #[inline]
    pub(crate) fn write(&self, copies: &[AtomicU64], value: &[u8]) {
        let next = self.version.load(Ordering::Relaxed).wrapping_add(1);
        fence(Ordering::Release);
        for (bytes, word) in value.chunks(WORD).zip(copy_of(next, copies)) {
            let mut whole = [0; WORD];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        }
        self.version.store(next, Ordering::Release);
    }
}

const WORD: usize = size_of::<u64>();

/// The copy that counts in a version.
fn copy_of(version: u64, copies: &[AtomicU64]) -> &[AtomicU64] {
    let (first, second) = copies.split_at(copies.len() / 2);
    if version.is_multiple_of(2) { first } else { second }
}
