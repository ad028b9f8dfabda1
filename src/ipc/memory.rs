//! `SharedMemory` and `SharedBytes`: plain bytes that several processes have, as Python's `multiprocessing.shared_memory`.
//!
//! # Safety
//!
//! The two functions that lend slices of memory which others may write are unsafe, and hand the promise that nobody does
//! to their caller. All else goes through atomics of one width, the word: `sys::bytes`.

#![expect(unsafe_code, reason = "slices of memory that others may write, for callers who know that nobody does")]

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parcel::{EncodeError, attach, claim};
use crate::sys::bytes::{self, ReadOnly, Writable};
use crate::sys::socket::duplicate;

/// Memory that several processes read and write, without a lock: Python's `shared_memory.SharedMemory`.
///
/// It has no name, so nothing of it is left behind, and there is nothing to unlink: it goes with the last process that has
/// it, whatever ends that. Clone it for other threads, and send it to other processes, in arguments, results or messages;
/// a process that inherited it by fork has it, too. Its length is fixed, and all of it is reserved when it is made: too
/// little memory is an error then, and never a signal later.
///
/// [`read_at`](Self::read_at) and [`write_at`](Self::write_at) copy, and are safe whatever others do meanwhile: each
/// aligned word of eight bytes is read and written at once, also when a process is killed in the middle; of more than a
/// word a reader may see a part. Where that matters, put a [`Lock`](super::Lock) beside it, or send a message when it is
/// written. Atomics of one's own are [`words`](Self::words).
///
/// ```
/// use crewkit::ipc::SharedMemory;
/// use crewkit::process::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let memory = SharedMemory::create(1 << 20)?;
///     let child = Process::spawn(|memory: SharedMemory| memory.write_at(1000, b"hello").is_ok(), memory.clone())?;
///     assert!(child.join()?);
///     let mut word = [0; 5];
///     memory.read_at(1000, &mut word)?;
///     assert_eq!(&word, b"hello");
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct SharedMemory(Arc<Shared>);

struct Shared {
    mapping: Writable,
    fd: OwnedFd,
}

impl SharedMemory {
    /// `len` bytes of zeroes: Python's `SharedMemory(create=True, size=len)`.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, or there is not as much memory.
    #[doc(alias = "shared_memory")]
    pub fn create(len: usize) -> io::Result<Self> {
        Self::map(bytes::create(len)?)
    }

    fn map(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(Arc::new(Shared { mapping: Writable::new(fd.as_fd())?, fd })))
    }

    /// How many bytes it has: Python's `size`.
    #[doc(alias = "size")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.mapping.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes out: Python's `bytes(memory.buf[offset:offset + n])`.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`], and nothing is copied.
    #[doc(alias = "buf")]
    pub fn read_at(&self, offset: usize, target: &mut [u8]) -> Result<(), OutOfRange> {
        let (words, skip) = self.words_of(offset, target.len())?;
        let (head, body) = target.split_at_mut(if skip == 0 { 0 } else { target.len().min(WORD - skip) });
        let mut words = words.iter();
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed).to_ne_bytes();
        if !head.is_empty()
            && let Some(word) = words.next()
        {
            head.copy_from_slice(&load(word)[skip..skip + head.len()]);
        }
        let mut whole = body.chunks_exact_mut(WORD);
        for (part, word) in whole.by_ref().zip(&mut words) {
            part.copy_from_slice(&load(word));
        }
        let tail = whole.into_remainder();
        if let Some(word) = words.next() {
            tail.copy_from_slice(&load(word)[..tail.len()]);
        }
        Ok(())
    }

    /// Copies bytes in: Python's `memory.buf[offset:offset + n] = source`.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`], and nothing is copied.
    #[doc(alias = "buf")]
    pub fn write_at(&self, offset: usize, source: &[u8]) -> Result<(), OutOfRange> {
        let (words, skip) = self.words_of(offset, source.len())?;
        let (head, body) = source.split_at(if skip == 0 { 0 } else { source.len().min(WORD - skip) });
        let mut words = words.iter();
        if !head.is_empty()
            && let Some(word) = words.next()
        {
            merge(word, skip, head);
        }
        let (whole, tail) = body.as_chunks::<WORD>();
        for (part, word) in whole.iter().zip(&mut words) {
            word.store(u64::from_ne_bytes(*part), Ordering::Relaxed);
        }
        if let Some(word) = words.next() {
            merge(word, 0, tail);
        }
        Ok(())
    }

    /// All bytes as atomics, for an algorithm of one's own: as many words as there are bytes begun. Of a length that is no
    /// multiple of eight, the last bytes of the last word belong to nobody.
    #[doc(alias = "buf")]
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        self.0.mapping.words()
    }

    /// All bytes as a slice.
    ///
    /// # Safety
    ///
    /// For as long as the slice lives, nobody writes the memory, neither in this process nor in another.
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: as many bytes are mapped for as long as `self` lives, and the caller promises that they are not written.
        unsafe { std::slice::from_raw_parts(self.words().as_ptr().cast(), self.len()) }
    }

    /// All bytes as a slice to be written: Python's `memory.buf`.
    ///
    /// # Safety
    ///
    /// For as long as the slice lives, nobody else reads or writes the memory, neither through this handle or a clone, nor
    /// in another process.
    #[must_use]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        let base = self.words().as_ptr().cast_mut().cast();
        // SAFETY: as many bytes are mapped for as long as `self` lives, atomics are cells, and the caller promises that
        // nobody else uses them.
        unsafe { std::slice::from_raw_parts_mut(base, self.len()) }
    }

    /// Gives up writing, for everybody and for good: from then on it is bytes like any others, without copies.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// [`SealError::Busy`] with the memory itself, while it is open elsewhere: as a clone in this process, or in another.
    pub fn seal_read_only(self) -> Result<SharedBytes, SealError> {
        let Shared { mapping, fd } = Arc::try_unwrap(self.0).map_err(|shared| SealError::Busy(Self(shared)))?;
        drop(mapping);
        match bytes::seal(fd.as_fd()) {
            Ok(()) => SharedBytes::map(fd).map_err(SealError::Io),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                Err(Self::map(fd).map_or_else(SealError::Io, SealError::Busy))
            }
            Err(error) => Err(SealError::Io(error)),
        }
    }

    /// The words in which a range lies, and how many bytes of the first come before it.
    fn words_of(&self, offset: usize, len: usize) -> Result<(&[AtomicU64], usize), OutOfRange> {
        let size = self.len();
        let end = offset.checked_add(len).filter(|&end| end <= size).ok_or(OutOfRange { offset, len, size })?;
        // A range of nothing at the very end has no word.
        let words = if len == 0 { &[] } else { &self.words()[offset / WORD..end.div_ceil(WORD)] };
        Ok((words, offset % WORD))
    }
}

const WORD: usize = size_of::<u64>();

/// Replaces some bytes of a word; what others write into the rest of it meanwhile stays.
fn merge(word: &AtomicU64, skip: usize, bytes: &[u8]) {
    let merged = |old: u64| {
        let mut whole = old.to_ne_bytes();
        whole[skip..skip + bytes.len()].copy_from_slice(bytes);
        Some(u64::from_ne_bytes(whole))
    };
    let _always = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, merged);
}

/// The descriptor of the memory, for system calls.
impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        send(self.as_fd(), serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        claim(u32::deserialize(deserializer)?, |fd| Self::map(fd).map_err(|error| error.to_string()))
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("len", &self.len()).finish()
    }
}

fn send<S: Serializer>(fd: BorrowedFd<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(attach(|| Ok((duplicate(fd).map_err(EncodeError::Io)?, None)))?)
}

/// Bytes that several processes have, and that nobody can change: read without a copy.
///
/// Made by [`SharedMemory::seal_read_only`], or of bytes that are at hand. The kernel keeps the promise: whoever receives
/// it from another process need not trust that one, and a file that can still be written is refused on receipt. It goes
/// with the last process that has it.
///
/// ```
/// use crewkit::ipc::SharedBytes;
/// use crewkit::pool::Pool;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let text = SharedBytes::new(b"to be or not to be")?;
///     let calls: Vec<_> = [(0, 5), (6, 18)].map(|range| (text.clone(), range)).into();
///     let count = |(text, (from, to)): (SharedBytes, (usize, usize))| text[from..to].split(|&b| b == b' ').count();
///     assert_eq!(Pool::new(2)?.map(count, calls)?, [2, 4]);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct SharedBytes(Arc<Sealed>);

struct Sealed {
    mapping: ReadOnly,
    fd: OwnedFd,
}

impl SharedBytes {
    /// A copy of bytes, for others to read.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, or there is not as much memory.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        let file = File::from(bytes::create(bytes.len())?);
        file.write_all_at(bytes, 0)?;
        bytes::seal(file.as_fd())?;
        Self::map(file.into())
    }

    fn map(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(Arc::new(Sealed { mapping: ReadOnly::new(fd.as_fd())?, fd })))
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.0.mapping.bytes()
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for SharedBytes {
    /// Whether they are the same bytes, wherever they lie.
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedBytes {}

/// The descriptor of the memory, for system calls.
impl AsFd for SharedBytes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl Serialize for SharedBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        send(self.as_fd(), serializer)
    }
}

impl<'de> Deserialize<'de> for SharedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        claim(u32::deserialize(deserializer)?, |fd| Self::map(fd).map_err(|error| error.to_string()))
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBytes").field("len", &self.len()).finish()
    }
}

/// A range that is not within the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    /// Where it begins.
    pub offset: usize,
    /// How many bytes it has.
    pub len: usize,
    /// How many bytes the memory has.
    pub size: usize,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, len, size } = self;
        write!(f, "{len} bytes from {offset} on, of shared memory that has {size}")
    }
}

impl std::error::Error for OutOfRange {}

/// Why memory can still be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum SealError {
    /// It is open elsewhere: as a clone in this process, or in another. Here it is, as it was.
    Busy(SharedMemory),
    /// The kernel refused for another reason. This process has let go of it.
    Io(io::Error),
}

impl SealError {
    /// The memory, if it was busy.
    #[must_use]
    pub fn into_inner(self) -> Option<SharedMemory> {
        match self {
            Self::Busy(memory) => Some(memory),
            Self::Io(_) => None,
        }
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(_) => f.write_str("the shared memory is open elsewhere, where it may still be written"),
            Self::Io(error) => write!(f, "the shared memory cannot be sealed: {error}"),
        }
    }
}

impl std::error::Error for SealError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Busy(_) => None,
            Self::Io(error) => Some(error),
        }
    }
}
