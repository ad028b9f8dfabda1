//! A copy of another program's object, to look at: taken from outside, with nothing of it believed.
//!
//! # Safety
//!
//! 1. A [`Snapshot`] has as many lines as a `T` takes, aligned as a `T` may be at most, from its making to its drop.
//! 2. Any bytes are a [`Layout`], whoever made them up, and it has nothing to drop.

#![expect(unsafe_code, reason = "a value in memory that was filled by others")]

use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::Layout;
use super::object::Header;
use crate::sys::strangers::MemoryFile;

/// A line, as objects have them.
#[repr(C, align(64))]
struct Line([AtomicU64; 8]);

const LINE: usize = size_of::<Line>();

/// The words of an object as they were, but not all at the same instant. What they say, whoever wrote them has chosen.
pub(crate) struct Snapshot<T: Layout> {
    lines: Vec<Line>,
    _value: PhantomData<T>,
}

/// The kind that an object's header tells, if it is one of this layout, and as long as it says.
pub(crate) fn kind_of(file: &MemoryFile) -> Option<u32> {
    let mut header = [0; Header::BYTES];
    file.read_at(0, &mut header).ok()?;
    let word = |index: usize| u64::from_ne_bytes(header.as_chunks().0[index]);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    (word(0) == Header::MAGIC && word(2) == file.length).then_some(word(1) as u32)
}

impl<T: Layout> Snapshot<T> {
    /// Of a file that says that it holds a `T`; one that is too short for it is an error.
    pub(crate) fn take(file: &MemoryFile) -> io::Result<Self> {
        const { assert!(align_of::<T>() <= align_of::<Line>(), "nothing in an object is aligned to more than a line") };
        let mut bytes = vec![0; size_of::<T>().next_multiple_of(LINE)];
        // Without what rounds it up, which need not be there.
        file.read_at(Header::BYTES as u64, &mut bytes[..size_of::<T>()])?;
        let word = |bytes: &[u8; 8]| AtomicU64::new(u64::from_ne_bytes(*bytes));
        let line = |bytes: &[u8; LINE]| Line(std::array::from_fn(|index| word(&bytes.as_chunks().0[index])));
        Ok(Self { lines: bytes.as_chunks().0.iter().map(line).collect(), _value: PhantomData })
    }

    /// Where in the file a word of the value lies.
    pub(crate) fn place_of(&self, word: &AtomicU32) -> u64 {
        let offset = ptr::from_ref(word).addr() - self.lines.as_ptr().addr();
        (Header::BYTES + offset) as u64
    }
}

impl<T: Layout> Deref for Snapshot<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: invariants 1 and 2.
        unsafe { &*self.lines.as_ptr().cast::<T>() }
    }
}
