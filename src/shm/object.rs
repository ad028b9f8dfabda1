//! A segment that says what is in it: a header, one value that all its processes use, and words behind it.
//!
//! ```text
//!   0                            64                      64 + T, rounded up to 64
//!   +----------------------------+-----------------------+----------------------+
//!   | Header: what, of which     | T: a lock, a counter, | as many words as its |
//!   | build, how long, its name  | a value's two halves  | maker asked for      |
//!   +----------------------------+-----------------------+----------------------+
//! ```
//!
//! The maker fills in all of it before anybody else has the descriptor. Whoever is handed a descriptor looks at the
//! header before it believes in the rest, so a handle of another build or of another kind, and a file that is no object,
//! are errors. That guards against mistakes: processes that share an object also trust each other, because the kernel
//! and the C library follow pointers that lie in locks.
//!
//! # Safety
//!
//! 1. The memory is mapped, page-aligned and of the length in the header from the making of an [`Object`] to its drop
//!    (`sys::memory`). Only [`Object::open`] and [`Object::create`] make one, and both have checked that the length has
//!    room for a header and a `T`.
//! 2. A [`Layout`] is valid whatever its bytes are, and is only ever shared, never borrowed mutably.

#![expect(unsafe_code, reason = "a value in memory that others may write")]

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Held, Segment, Twofold};
use crate::sys::elf::Image;
use crate::sys::random;

/// What may lie in an object.
///
/// # Safety
///
/// Every pattern of bits is a valid value, also one that another process writes at any time: atomics, cells, and what is
/// made of them, `repr(C)`, aligned to at most 64 bytes, and without anything to drop.
pub(crate) unsafe trait Layout: Sync + 'static {
    /// Tells kinds of objects apart.
    const KIND: u32;

    /// Makes a value of zeroes.
    ///
    /// # Safety
    ///
    /// Nobody else may have the object yet.
    unsafe fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether a thread of this process holds something in the object, so that the memory must stay when it is dropped.
    fn is_held_here(&self) -> bool {
        false
    }
}

/// What may lie beside something else in an object.
///
/// # Safety
///
/// As [`Layout`].
pub(crate) unsafe trait Words: Sync + 'static {}

// SAFETY: nothing at all.
unsafe impl Words for () {}
// SAFETY: an atomic.
unsafe impl Words for AtomicU64 {}
// SAFETY: an atomic.
unsafe impl Words for Twofold {}
// SAFETY: atomics, on lines of their own.
unsafe impl Words for super::ring::Words {}
// SAFETY: two atomics, in C's order.
unsafe impl Words for super::Journal {}
// SAFETY: an atomic.
unsafe impl Words for super::Flag {}
// SAFETY: atomics, and arrays of them; so below.
unsafe impl Words for super::Permits {}
// SAFETY: as above.
unsafe impl Words for super::Trip {}
// SAFETY: as above.
unsafe impl Words for super::Waiters {}

// SAFETY: two mutexes, as in `Locked`; all else are atomics, and arrays of them, in C's order.
unsafe impl Layout for super::queue::Queue {
    const KIND: u32 = 17;

    unsafe fn prepare(&self) -> io::Result<()> {
        for mutex in self.mutexes() {
            // SAFETY: the caller's promise is the one asked for.
            unsafe { mutex.initialise() }?;
        }
        Ok(())
    }

    fn is_held_here(&self) -> bool {
        self.mutexes().into_iter().any(crate::primitive::Robust::is_held_here)
    }
}

/// Words that need no lock in front of them, as objects of a kind.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Plain<const KIND: u32, T>(T);

// SAFETY: what it is made of may lie in an object.
unsafe impl<const KIND: u32, T: Words> Layout for Plain<KIND, T> {
    const KIND: u32 = KIND;
}

/// A lock, and perhaps words behind it, as objects of a kind.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Locked<const KIND: u32, T = ()>(Held<T>);

// SAFETY: a mutex, which processes that share memory promise each other to leave to glibc (invariant 1 of `sys::robust`),
// two atomic numbers, and words; in C's order. While a thread of this process holds the mutex, the memory stays.
unsafe impl<const KIND: u32, T: Words> Layout for Locked<KIND, T> {
    const KIND: u32 = KIND;

    unsafe fn prepare(&self) -> io::Result<()> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { self.0.mutex.initialise() }
    }

    fn is_held_here(&self) -> bool {
        self.0.mutex.is_held_here()
    }
}

impl<const KIND: u32, T> Deref for Plain<KIND, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<const KIND: u32, T> Deref for Locked<KIND, T> {
    type Target = Held<T>;

    fn deref(&self) -> &Held<T> {
        &self.0
    }
}

/// The type of what is in an object, where objects of one kind may hold different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Type(u32);

impl Type {
    /// Of objects that hold nothing but themselves.
    pub(crate) const NONE: Self = Self(0);

    /// Told apart by name and size, which are the same in all processes of one build.
    pub(crate) fn of<V>() -> Self {
        let mut hasher = DefaultHasher::new();
        (std::any::type_name::<V>(), size_of::<V>()).hash(&mut hasher);
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is one too")]
        Self(hasher.finish() as u32)
    }
}

/// A value of type `T` that several processes use. [See the module](self).
pub(crate) struct Object<T: Layout> {
    segment: Segment,
    _value: PhantomData<T>,
}

/// Eight words, written once.
pub(super) struct Header;

impl Header {
    /// The last byte says how objects are laid out, whatever their kind: who looks at them from another build
    /// (`shm::Snapshot`) has nothing else to go by. It changes when any of them does.
    pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"crewkit\x01");
    const WORDS: usize = 8;
    pub(super) const BYTES: usize = Self::WORDS * size_of::<u64>();

    /// Magic, kind with the type of what it holds, length, and the build's identity in three words; the name is behind.
    fn of<T: Layout>(holds: Type, bytes: usize) -> [u64; 6] {
        let [one, two, three] = Image::main().identity().words();
        [Self::MAGIC, u64::from(holds.0) << 32 | u64::from(T::KIND), bytes as u64, one, two, three]
    }
}

/// Objects begin, and so do their parts, where no cache line is shared.
const LINE: usize = 64;

impl<T: Layout> Object<T> {
    const VALUE: usize = {
        assert!(align_of::<T>() <= LINE, "a page is aligned to more, the header is not");
        Header::BYTES
    };
    const REST: usize = Self::VALUE + size_of::<T>().next_multiple_of(LINE);

    /// Makes an object with a prepared `T` and `words` words of zeroes behind it.
    ///
    /// Too little memory is an error now, not a signal later.
    pub(crate) fn create(holds: Type, words: usize) -> io::Result<Self> {
        let too_long = || io::Error::new(io::ErrorKind::OutOfMemory, "no shared object can be as long");
        let rest = words.checked_mul(size_of::<u64>()).ok_or_else(too_long)?;
        let bytes = Self::REST.checked_add(rest).ok_or_else(too_long)?;
        let object = Self { segment: Segment::create(bytes)?, _value: PhantomData };
        // SAFETY: its descriptor has not left this function.
        unsafe { object.prepare() }?;
        let name: [u64; 2] = random::words()?;
        let header = Header::of::<T>(holds, bytes).into_iter().chain(name);
        // Relaxed: whoever gets the descriptor gets it through the kernel.
        object.segment.words().iter().zip(header).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
        Ok(object)
    }

    /// Maps an object that another process made.
    ///
    /// What is none, or one of another kind, type or build, is [`io::ErrorKind::InvalidData`].
    pub(crate) fn open(holds: Type, fd: OwnedFd) -> io::Result<Self> {
        let segment = Segment::from_any_fd(fd)?;
        let words = segment.words();
        let bytes = size_of_val(words);
        let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        if bytes < Self::REST {
            return refused("the shared object is shorter than one of its kind");
        }
        let is = words.iter().map(|word| word.load(Ordering::Relaxed));
        match is.zip(Header::of::<T>(holds, bytes)).position(|(is, should)| is != should) {
            None => Ok(Self { segment, _value: PhantomData }),
            Some(0) => refused("the descriptor is no shared object of crewkit's"),
            Some(1) => refused("the shared object is of another kind, or holds values of another type"),
            Some(2) => refused("the shared object has another length than it says"),
            Some(_) => refused("the shared object was made by another build of this program"),
        }
    }

    /// A name that no other object has, the same in all processes.
    pub(crate) fn name(&self) -> [u64; 2] {
        let word = |index: usize| self.segment.words()[index].load(Ordering::Relaxed);
        [word(Header::WORDS - 2), word(Header::WORDS - 1)]
    }

    /// Its descriptor, for somebody who keeps it longer than the object.
    pub(crate) fn descriptor(&self) -> Arc<OwnedFd> {
        self.segment.descriptor()
    }

    /// How long it is.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.segment.words())
    }

    /// The words behind the value.
    #[inline]
    pub(crate) fn rest(&self) -> &[AtomicU64] {
        &self.segment.words()[Self::REST / size_of::<u64>()..]
    }
}

/// A word behind an object's value, as the version of something that lies there in two copies.
pub(crate) fn version(word: &AtomicU64) -> &Twofold {
    const { assert!(size_of::<Twofold>() == size_of::<AtomicU64>(), "a version is one word") };
    // SAFETY: a `Twofold` is one such word and nothing else, in C's order.
    unsafe { &*std::ptr::from_ref(word).cast::<Twofold>() }
}

impl<T: Layout> Deref for Object<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        let base = self.segment.words().as_ptr();
        // SAFETY: invariant 1: there is room for the header and a `T`.
        let value = unsafe { base.byte_add(Self::VALUE) };
        // SAFETY: invariants 1 and 2; `VALUE` is a multiple of a line, and `T` is aligned to no more (checked above).
        unsafe { &*value.cast::<T>() }
    }
}

impl<T: Layout> AsFd for Object<T> {
    /// What another process needs for [`Object::open`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.segment.as_fd()
    }
}

impl<T: Layout> Drop for Object<T> {
    fn drop(&mut self) {
        if self.is_held_here() {
            self.segment.keep_mapped();
        }
    }
}

impl<T: Layout + fmt::Debug> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    struct Pair(AtomicU64, AtomicU64);

    // SAFETY: atomics, in C's order, with nothing to drop.
    unsafe impl Layout for Pair {
        const KIND: u32 = 1_000;

        unsafe fn prepare(&self) -> io::Result<()> {
            self.0.store(7, Ordering::Relaxed);
            Ok(())
        }
    }

    struct Other;

    // SAFETY: nothing at all.
    unsafe impl Layout for Other {
        const KIND: u32 = 1_001;
    }

    fn again(object: &impl AsFd) -> OwnedFd {
        object.as_fd().try_clone_to_owned().unwrap()
    }

    #[test]
    fn an_object_opened_elsewhere_is_the_same_object() {
        let made = Object::<Pair>::create(Type::NONE, 3).unwrap();
        let opened = Object::<Pair>::open(Type::NONE, again(&made)).unwrap();
        made.1.store(9, Ordering::Relaxed);
        made.rest()[2].store(11, Ordering::Relaxed);
        assert_eq!((opened.0.load(Ordering::Relaxed), opened.1.load(Ordering::Relaxed)), (7, 9));
        assert_eq!((opened.rest().len(), opened.rest()[2].load(Ordering::Relaxed)), (3, 11));
        assert_eq!(opened.name(), made.name());
        assert_ne!(Object::<Pair>::create(Type::NONE, 3).unwrap().name(), made.name());
    }

    fn refused(fd: OwnedFd) -> String {
        let error = Object::<Pair>::open(Type::NONE, fd).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        error.to_string()
    }

    #[test]
    fn what_is_no_such_object_is_refused() {
        let other = Object::<Other>::create(Type::NONE, 64).unwrap();
        assert_eq!(refused(again(&other)), "the shared object is of another kind, or holds values of another type");
        let typed = Object::<Pair>::create(Type::of::<u8>(), 0).unwrap();
        assert_eq!(refused(again(&typed)), "the shared object is of another kind, or holds values of another type");
        assert_ne!(Type::of::<u8>(), Type::of::<i8>());
        let short = Segment::create(64).unwrap();
        assert_eq!(refused(again(&short)), "the shared object is shorter than one of its kind");
        let random = Segment::create(4096).unwrap();
        assert_eq!(refused(again(&random)), "the descriptor is no shared object of crewkit's");
        let changed = |index: usize| {
            let object = Object::<Pair>::create(Type::NONE, 0).unwrap();
            object.segment.words()[index].fetch_add(8, Ordering::Relaxed);
            refused(again(&object))
        };
        assert_eq!(changed(2), "the shared object has another length than it says");
        for word in 3..6 {
            assert_eq!(changed(word), "the shared object was made by another build of this program");
        }
        let (reader, _writer) = io::pipe().unwrap();
        assert!(Object::<Pair>::open(Type::NONE, reader.into()).is_err());
    }

    #[test]
    fn more_than_the_machine_has_is_an_error() {
        for words in [usize::MAX, usize::MAX / 8, 1 << 57] {
            let error = Object::<Other>::create(Type::NONE, words).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
        }
    }
}
