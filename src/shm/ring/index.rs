//! An index of a ring: how many records, and up to where, in one word.

use std::fmt;

/// A number of records (upper half) and a position (lower half), both modulo 2^32.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Index(u64);

impl Index {
    #[inline]
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[inline]
    pub(crate) const fn to_word(self) -> u64 {
        self.0
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "half of the word")]
    pub(crate) const fn position(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    pub(crate) const fn count(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// One record of `bytes` bytes further.
    #[inline]
    pub(crate) const fn after_record(self, bytes: u32) -> Self {
        let count = self.count().wrapping_add(1) as u64;
        Self(count << 32 | self.position().wrapping_add(bytes) as u64)
    }

    /// Bytes from `earlier` to here.
    #[inline]
    pub(crate) const fn bytes_since(self, earlier: Self) -> u32 {
        self.position().wrapping_sub(earlier.position())
    }

    /// Records from `earlier` to here.
    #[inline]
    pub(crate) const fn records_since(self, earlier: Self) -> u32 {
        self.count().wrapping_sub(earlier.count())
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records, {}", self.count(), self.position())
    }
}
