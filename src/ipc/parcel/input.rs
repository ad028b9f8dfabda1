//! The bytes that are decoded, and how deep what is in them may lie.
//!
//! A type that contains itself (`Option<Box<Self>>`, a tree) is as deep as its bytes say, and each level takes stack: a
//! megabyte of ones would end this process. Neither postcard nor serde counts levels. But a level takes a byte at least, so it
//! is enough to look at the stack now and then while bytes are taken: every [`STEP`] of them, where a slice's end is looked
//! for anyway, and each of them once much of the stack is taken, or where the type itself is large, and so its levels are.

use std::cell::Cell;

use postcard::de_flavors::Flavor;
use postcard::{Error, Result};

/// How much stack decoding may take: half of what a thread has where nobody says otherwise.
const DEEPEST: usize = 1 << 20;
/// What is taken of it by most.
const SHALLOW: usize = DEEPEST / 4;
/// So many levels at most may come between two looks: 100 KiB for each are there.
const STEP: usize = 16;
/// A type of so many bytes is large.
const LARGE: usize = 1 << 10;

/// postcard's input.
pub(super) struct Input<'a> {
    all: &'a [u8],
    /// The first of them, up to where the next look is due.
    window: &'a [u8],
    taken: usize,
    /// The address below which every byte is worth a look.
    shallow: usize,
    /// The address below which the stack may not grow.
    floor: usize,
    is_too_deep: &'a Cell<bool>,
}

impl<'a> Input<'a> {
    /// The bytes of a `T`; `is_too_deep` will say whether that was why decoding failed.
    #[inline]
    pub(super) fn new<T>(all: &'a [u8], is_too_deep: &'a Cell<bool>) -> Self {
        let here = depth();
        let (shallow, step) = match size_of::<T>() < LARGE {
            true => (here.saturating_sub(SHALLOW), STEP),
            false => (usize::MAX, 1),
        };
        let window = &all[..all.len().min(step)];
        Self { all, window, taken: 0, shallow, floor: here.saturating_sub(DEEPEST), is_too_deep }
    }

    #[cold]
    fn look(&mut self) -> Result<()> {
        let here = depth();
        if here < self.floor {
            self.is_too_deep.set(true);
            return Err(Error::DeserializeUnexpectedEnd);
        }
        let step = if here < self.shallow { 1 } else { STEP };
        self.window = &self.all[..self.all.len().min(self.taken + step)];
        Ok(())
    }
}

/// About where the stack ends now.
#[inline]
fn depth() -> usize {
    let here = 0_u8;
    std::hint::black_box(&raw const here).addr()
}

impl<'a> Flavor<'a> for Input<'a> {
    type Remainder = &'a [u8];
    type Source = &'a [u8];

    #[inline]
    fn pop(&mut self) -> Result<u8> {
        if self.taken >= self.window.len() {
            self.look()?;
        }
        let byte = *self.window.get(self.taken).ok_or(Error::DeserializeUnexpectedEnd)?;
        self.taken += 1;
        Ok(byte)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.all.len() - self.taken)
    }

    #[inline]
    fn try_take_n(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = &self.all[self.taken..];
        let piece = rest.get(..count).ok_or(Error::DeserializeUnexpectedEnd)?;
        self.taken += count;
        if self.taken > self.window.len() {
            self.look()?;
        }
        Ok(piece)
    }

    fn finalize(self) -> Result<&'a [u8]> {
        Ok(&self.all[self.taken..])
    }
}
