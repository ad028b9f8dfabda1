//! Plain bytes that several processes share: memory files of any length, their seals, and their mappings.
//!
//! Called by `ipc`. Objects with a header and words of their own are [`super::memory`]'s; the seals tell the two apart:
//! an object's seals are sealed, those of plain bytes are not until nobody may write them any more.
//!
//! # Safety
//!
//! The invariants that the `SAFETY` comments cite:
//!
//! 1. A [`View`] covers `len` bytes from `base`, up to the end of the last page, from its making to its drop. `base` is
//!    a page's beginning.
//! 2. The file behind it cannot become shorter (F_SEAL_SHRINK is checked before it is mapped), and its pages exist since
//!    [`create`], as long as nobody who was handed the descriptor punches holes into it. So no access faults.
//! 3. What may be written is given out as `&[AtomicU64]` only: any bits are a `u64`, and another process may write an
//!    atomic at any time.
//! 4. Given out as `&[u8]` is only what bears F_SEAL_WRITE: the kernel has refused that seal while anybody could write,
//!    and refuses to let anybody write since.

#![expect(unsafe_code, reason = "maps files into memory")]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::fstat;

use super::error::{during, retry};
use super::memory;

/// What all plain bytes bear.
const SIZED: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);
/// What those bear besides that nobody writes any more.
const FINAL: SealFlag = SealFlag::F_SEAL_WRITE.union(SealFlag::F_SEAL_SEAL);

/// Makes a nameless file of `len` zero bytes in memory, all of them allocated now, and seals its size.
pub(crate) fn create(len: usize) -> io::Result<OwnedFd> {
    let fd = during("creating shared memory", memory::open())?;
    let length = memory::affordable(len).ok_or(nix::Error::ENOMEM);
    let length = during("allocating shared memory", length)?;
    if len > 0 {
        during("allocating shared memory", retry(|| fallocate(&fd, FallocateFlags::empty(), 0, length)))?;
    }
    during("sealing shared memory", retry(|| fcntl(&fd, FcntlArg::F_ADD_SEALS(SIZED))))?;
    Ok(fd)
}

/// Has the kernel refuse all writing from now on; `ResourceBusy` while anybody has it mapped for writing.
pub(crate) fn seal(fd: BorrowedFd<'_>) -> io::Result<()> {
    during("sealing shared memory", retry(|| fcntl(fd, FcntlArg::F_ADD_SEALS(FINAL)))).map(drop)
}

/// The length of a file from elsewhere, if it has the `wanted` seals and none of the `unwanted`.
fn length(fd: BorrowedFd<'_>, wanted: SealFlag, unwanted: SealFlag, otherwise: &'static str) -> io::Result<usize> {
    // A file that cannot be sealed at all answers EINVAL.
    let seals = during("reading the seals of shared memory", fcntl(fd, FcntlArg::F_GET_SEALS))?;
    let seals = SealFlag::from_bits_retain(seals);
    let size = during("reading the size of shared memory", fstat(fd))?.st_size;
    match usize::try_from(size) {
        Ok(len) if seals.contains(wanted) && !seals.intersects(unwanted) => Ok(len),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, otherwise)),
    }
}

/// A mapped file, shared with everybody else who maps it.
#[derive(Debug)]
struct View {
    base: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread, and all that it gives out is Sync (invariants 3 and 4).
unsafe impl Send for View {}
// SAFETY: as above; no method needs `&mut`.
unsafe impl Sync for View {}

impl View {
    /// Maps the whole file; nothing of one that is empty. The caller has checked its length and its seals.
    fn new(fd: BorrowedFd<'_>, len: usize, access: ProtFlags) -> io::Result<Self> {
        let Some(bytes) = NonZeroUsize::new(len) else { return Ok(Self { base: NonNull::dangling(), len }) };
        // SAFETY: the kernel chooses an address that nobody uses.
        let base = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, fd, 0) };
        Ok(Self { base: during("mapping shared memory", base)?.cast(), len })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: invariant 1; the slices given out borrow `self`, so none is left.
            let result = unsafe { munmap(self.base.cast(), self.len) };
            debug_assert!(result.is_ok(), "unmapping a whole mapping of one's own cannot fail: {result:?}");
        }
    }
}

/// Bytes that everybody may write who has them.
#[derive(Debug)]
pub(crate) struct Writable(View);

impl Writable {
    /// Maps what [`create`] made, here or elsewhere. Anything else is [`io::ErrorKind::InvalidData`], or the kernel's own
    /// error, where the descriptor is no memory at all.
    pub(crate) fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let otherwise = "the descriptor is no shared memory that may be written";
        let len = length(fd, SIZED, FINAL, otherwise)?;
        View::new(fd, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).map(Self)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len
    }

    /// All bytes, as words; those of the last word that are beyond the end mean nothing.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let words = self.0.len.div_ceil(size_of::<AtomicU64>());
        // SAFETY: invariants 1 to 3; pages are a multiple of a word; the borrow of `self` keeps the mapping. A slice of
        // nothing may begin anywhere that is aligned.
        unsafe { std::slice::from_raw_parts(self.0.base.as_ptr(), words) }
    }
}

/// Bytes that nobody may write.
#[derive(Debug)]
pub(crate) struct ReadOnly(View);

impl ReadOnly {
    /// Maps what was [sealed](seal), here or elsewhere. Errors as those of [`Writable::new`].
    pub(crate) fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let wanted = SIZED.union(SealFlag::F_SEAL_WRITE);
        let len = length(fd, wanted, SealFlag::empty(), "the descriptor is no shared memory that nobody may write")?;
        View::new(fd, len, ProtFlags::PROT_READ).map(Self)
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: invariants 1, 2 and 4; as above.
        unsafe { std::slice::from_raw_parts(self.0.base.as_ptr().cast(), self.0.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::error::errno;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::Ordering;

    #[test]
    fn any_length_is_mapped_to_its_end() {
        for len in [1, 7, 8, 4095, 4096, 4097] {
            let fd = create(len).unwrap();
            let (one, other) = (Writable::new(fd.as_fd()).unwrap(), Writable::new(fd.as_fd()).unwrap());
            assert_eq!((one.len(), one.words().len()), (len, len.div_ceil(8)));
            one.words()[(len - 1) / 8].store(u64::MAX, Ordering::Relaxed);
            assert_eq!(other.words()[(len - 1) / 8].load(Ordering::Relaxed), u64::MAX);
            drop((one, other));
            seal(fd.as_fd()).unwrap();
            assert_eq!(ReadOnly::new(fd.as_fd()).unwrap().bytes()[len - 1], 255);
        }
    }

    #[test]
    fn nothing_is_memory_too() {
        let fd = create(0).unwrap();
        assert!(Writable::new(fd.as_fd()).unwrap().words().is_empty());
        seal(fd.as_fd()).unwrap();
        assert!(ReadOnly::new(fd.as_fd()).unwrap().bytes().is_empty());
    }

    #[test]
    fn nobody_writes_what_is_sealed_and_nobody_seals_what_is_mapped_for_writing() {
        let file = File::from(create(10).unwrap());
        let mapped = Writable::new(file.as_fd()).unwrap();
        assert_eq!(seal(file.as_fd()).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        file.write_all_at(b"0123456789", 0).unwrap();
        drop(mapped);
        seal(file.as_fd()).unwrap();
        let sealed = ReadOnly::new(file.as_fd()).unwrap();
        assert_eq!(errno(&file.write_all_at(b"x", 0).unwrap_err()), Some(libc::EPERM));
        assert_eq!(fallocate(&file, FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, 4096), Err(nix::Error::EPERM));
        assert_eq!(errno(&file.set_len(0).unwrap_err()), Some(libc::EPERM));
        assert_eq!(sealed.bytes(), b"0123456789");
    }

    #[test]
    fn what_is_something_else_is_refused() {
        let sealed = create(8).unwrap();
        seal(sealed.as_fd()).unwrap();
        let object = memory::create(4096).unwrap();
        let unsealed = memory::open().unwrap();
        let refused = |result: io::Result<()>| assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidData);
        for fd in [&sealed, &object, &unsealed] {
            refused(Writable::new(fd.as_fd()).map(drop));
        }
        for fd in [&create(8).unwrap(), &object, &unsealed] {
            refused(ReadOnly::new(fd.as_fd()).map(drop));
        }
        let null = File::open("/dev/null").unwrap();
        assert!(Writable::new(null.as_fd()).is_err() && ReadOnly::new(null.as_fd()).is_err());
    }
}
