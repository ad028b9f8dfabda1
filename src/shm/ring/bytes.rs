//! The bytes of a ring on the machine: raw copies, bounded by a mask.
//!
//! # Safety
//!
//! 1. A [`Raw`] borrows the words of a mapping, of which it uses the first `mask + 1` bytes, a power of two; the words
//!    are there for as long as the borrow (`sys::memory`).
//! 2. Each access is at a position's low bits, `position & mask`, and ends at the ring's end or before: a copy that is
//!    longer goes on at its beginning, and none is longer than the ring.
//! 3. Other processes may write while this one reads. The bytes go through raw pointers into memory that is this
//!    process's alone, and no reference to the ring's bytes is ever made, so nothing is assumed of what is read.

#![expect(unsafe_code, reason = "copies to and from memory that others write")]

use super::Bytes;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of words in shared memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    base: *mut u8,
    mask: u32,
    _words: PhantomData<&'a [AtomicU64]>,
}

impl<'a> Raw<'a> {
    /// `None` unless they are a power of two, and at most 2^31 bytes.
    #[inline]
    pub(crate) fn new(words: &'a [AtomicU64]) -> Option<Self> {
        let bytes = u32::try_from(size_of_val(words)).ok().filter(|bytes| bytes.is_power_of_two())?;
        Some(Self { base: words.as_ptr().cast_mut().cast(), mask: bytes - 1, _words: PhantomData })
    }

    /// The place of a position, and how many bytes are left from there to the end.
    #[inline]
    fn place(self, position: u32) -> (*mut u8, usize) {
        let offset = (position & self.mask) as usize;
        // SAFETY: invariants 1 and 2.
        (unsafe { self.base.add(offset) }, self.mask as usize + 1 - offset)
    }

    /// Copies `length` bytes, at most the ring's, from a position.
    ///
    /// # Safety
    ///
    /// As many can be written at `target`, by nobody else meanwhile.
    #[inline]
    unsafe fn copy_out(self, position: u32, length: usize, target: *mut u8) {
        let (place, left) = self.place(position);
        if length > left {
            // SAFETY: invariants 2 and 3, and the caller's promise.
            unsafe { copy(place, target, left) };
            // SAFETY: more than `left` bytes can be written there.
            let target = unsafe { target.add(left) };
            // SAFETY: as the first; all of it is no longer than the ring.
            unsafe { copy(self.base, target, length - left) };
        } else {
            // SAFETY: as the first of the two.
            unsafe { copy(place, target, length) };
        }
    }

    #[inline]
    fn word(self, position: u32) -> &'a AtomicU64 {
        let (place, _) = self.place(position & !7);
        // SAFETY: a whole word is left from any multiple of 8, which the words' alignment makes aligned; it is an atomic
        // (invariant 1).
        unsafe { &*place.cast() }
    }
}

impl Bytes for Raw<'_> {
    #[inline]
    fn length(&self) -> u32 {
        self.mask + 1
    }

    #[inline]
    fn write(&self, position: u32, bytes: &[u8]) {
        let bytes = bytes.get(..self.mask as usize + 1).unwrap_or(bytes);
        let (place, left) = self.place(position);
        if bytes.len() > left {
            let (here, round) = bytes.split_at(left);
            // SAFETY: invariants 2 and 3.
            unsafe { copy(here.as_ptr(), place, left) };
            // SAFETY: as above; all of it is no longer than the ring.
            unsafe { copy(round.as_ptr(), self.base, round.len()) };
        } else {
            // SAFETY: invariants 2 and 3.
            unsafe { copy(bytes.as_ptr(), place, bytes.len()) };
        }
    }

    #[inline]
    fn write_word(&self, position: u32, word: u64) {
        self.word(position).store(word, Ordering::Relaxed);
    }

    #[inline]
    fn read_word(&self, position: u32) -> u64 {
        self.word(position).load(Ordering::Relaxed)
    }

    #[inline]
    fn read(&self, position: u32, length: usize, onto: &mut Vec<u8>) {
        let length = length.min(self.mask as usize + 1);
        onto.reserve(length);
        // SAFETY: as many were reserved.
        unsafe { self.copy_out(position, length, onto.spare_capacity_mut().as_mut_ptr().cast()) };
        let old = onto.len();
        // SAFETY: as many were written.
        unsafe { onto.set_len(old + length) };
    }

    #[inline]
    fn read_into(&self, position: u32, onto: &mut [u8]) {
        let length = onto.len().min(self.mask as usize + 1);
        // SAFETY: it is a slice of at least that length.
        unsafe { self.copy_out(position, length, onto.as_mut_ptr()) };
    }
}

/// memcpy, without a call for what is as short as most messages: the first and the last few bytes, which may overlap.
///
/// # Safety
///
/// As of [`ptr::copy_nonoverlapping`], but that somebody may write to either meanwhile.
#[inline]
unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    match length {
        // SAFETY: the caller's promise; so in all arms, and they are as long as the piece that is copied.
        8..=16 => unsafe { copy_ends::<8>(from, to, length) },
        // SAFETY: as above.
        17..=32 => unsafe { copy_ends::<16>(from, to, length) },
        // SAFETY: as above.
        33..=64 => unsafe { copy_ends::<32>(from, to, length) },
        // SAFETY: as above.
        65..=128 => unsafe { copy_ends::<64>(from, to, length) },
        // SAFETY: as above.
        4..=7 => unsafe { copy_ends::<4>(from, to, length) },
        // SAFETY: as above.
        _ => unsafe { ptr::copy_nonoverlapping(from, to, length) },
    }
}

/// Copies the first `N` bytes and the last `N`.
///
/// # Safety
///
/// As of [`copy`], and `N <= length`.
#[inline(always)]
unsafe fn copy_ends<const N: usize>(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: there are `N` bytes or more; so below.
    let last = unsafe { from.add(length - N) };
    // SAFETY: as above.
    let to_last = unsafe { to.add(length - N) };
    // SAFETY: bytes need no alignment.
    let one: [u8; N] = unsafe { from.cast::<[u8; N]>().read() };
    // SAFETY: as above.
    let other: [u8; N] = unsafe { last.cast::<[u8; N]>().read() };
    // SAFETY: as above.
    unsafe { to.cast::<[u8; N]>().write(one) };
    // SAFETY: as above.
    unsafe { to_last.cast::<[u8; N]>().write(other) };
}
