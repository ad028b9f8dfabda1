//! Memory that several processes share: sealed memfds, and their mappings as words.
//!
//! Called by `shm` only. A segment has no name, so nothing of it can be left behind in /dev/shm; it goes with the last
//! descriptor and the last mapping.
//!
//! # Safety
//!
//! The invariants that the `SAFETY` comments cite:
//!
//! 1. A [`Mapping`] covers `bytes` bytes from `base`, readable and writable, from its making to its drop.
//! 2. The file behind it cannot become shorter (F_SEAL_SHRINK is checked before it is mapped), so no access to it
//!    faults for want of a page of the file. The pages exist since [`create`], so none faults for want of memory
//!    either, as long as nobody who was handed the descriptor punches holes into it.
//! 3. Its bytes are given out as `&[AtomicU64]` only. Every bit pattern is a valid `u64`, and an atomic may be written
//!    by another process at any time.

#![expect(unsafe_code, reason = "maps files into memory")]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::fstat;

use super::error::{during, retry};

const SEALS: SealFlag =
    SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// Makes a nameless file of `bytes` zero bytes in memory, all of them allocated now (too little memory is an error
/// here, never SIGBUS later), and seals its size.
///
/// The kernel puts no limit on such files: asked for more than there is, it takes all memory and lets the OOM killer
/// loose on everybody before it says ENOMEM. So what exceeds the machine's memory is refused without asking.
pub(crate) fn create(bytes: usize) -> io::Result<OwnedFd> {
    let length = file_length(bytes)?;
    if !fits(bytes, physical_memory()) {
        return during("allocating a shared segment", Err(Errno::ENOMEM));
    }
    let fd = during("creating a shared segment", open())?;
    during("allocating a shared segment", retry(|| fallocate(&fd, FallocateFlags::empty(), 0, length)))?;
    during("sealing a shared segment", retry(|| fcntl(&fd, FcntlArg::F_ADD_SEALS(SEALS))))?;
    Ok(fd)
}

fn fits(bytes: usize, physical: u64) -> bool {
    bytes as u64 <= physical
}

fn physical_memory() -> u64 {
    // SAFETY: sysconf reads nothing of ours.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    // SAFETY: as above.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(pages).unwrap_or(0).saturating_mul(u64::try_from(page).unwrap_or(0))
}

/// `bytes` as the kernel wants a length, if the machine has as many.
pub(super) fn affordable(bytes: usize) -> Option<i64> {
    i64::try_from(bytes).ok().filter(|_| fits(bytes, physical_memory()))
}

/// An empty file without a name, which can be sealed.
pub(super) fn open() -> nix::Result<OwnedFd> {
    let sealable = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let unexecutable = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    match memfd_create(c"crewkit", sealable | unexecutable) {
        // Kernels before 6.3 do not know the flag; later ones may be set up to insist on it.
        Err(Errno::EINVAL) => memfd_create(c"crewkit", sealable),
        result => result,
    }
}

/// Checks that a descriptor from elsewhere is a file of `bytes` bytes whose size is sealed.
fn check(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let size = sealed_length(fd)?;
    if size != bytes {
        let what = format!("the shared segment has {size} bytes instead of {bytes}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(())
}

/// How many bytes the file has, if that is sealed and a number that [`create`] could have made.
pub(crate) fn sealed_length(fd: BorrowedFd<'_>) -> io::Result<usize> {
    // A file that cannot be sealed at all answers EINVAL.
    let seals = during("reading the seals of a shared segment", fcntl(fd, FcntlArg::F_GET_SEALS))?;
    if !SealFlag::from_bits_retain(seals).contains(SEALS) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the size of the shared segment is not sealed"));
    }
    let size = during("reading the size of a shared segment", fstat(fd))?.st_size;
    let length = usize::try_from(size).ok().filter(|&length| file_length(length).is_ok());
    length.ok_or_else(|| {
        let what = format!("the shared segment has {size} bytes, which is no positive number of words");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

fn file_length(bytes: usize) -> io::Result<i64> {
    let whole_words = bytes > 0 && bytes.is_multiple_of(size_of::<AtomicU64>());
    let length = i64::try_from(bytes).ok().filter(|_| whole_words);
    length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a shared segment is a positive number of words"))
}

/// A whole segment, mapped for reading and writing and shared with everybody else who maps it.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<AtomicU64>,
    bytes: NonZeroUsize,
    is_kept: bool,
}

// SAFETY: a mapping belongs to the process, not to a thread, and all that it gives out is `&[AtomicU64]`, which is Sync.
unsafe impl Send for Mapping {}
// SAFETY: as above; no method needs `&mut`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a descriptor that [`create`] made for as many bytes. Another one is [`io::ErrorKind::InvalidData`].
    pub(crate) fn new(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        check(fd, bytes)?;
        let Some(bytes) = NonZeroUsize::new(bytes) else { return Err(io::ErrorKind::InvalidInput.into()) };
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses an address that nobody uses, and the file was checked to be sealed and of this size.
        let base = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, fd.as_fd(), 0) };
        Ok(Self { base: during("mapping a shared segment", base)?.cast(), bytes, is_kept: false })
    }

    /// Stays mapped when this is dropped: something that Rust does not see still points into it.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }

    /// The segment's words.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let words = self.bytes.get() / size_of::<AtomicU64>();
        // SAFETY: invariants 1 to 3; a page is aligned for a word; `check` saw whole words; the borrow of `self` keeps
        // the mapping for as long as the slice.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        // SAFETY: invariant 1; the slices given out borrow `self`, so none is left.
        let result = unsafe { munmap(self.base.cast(), self.bytes.get()) };
        debug_assert!(result.is_ok(), "unmapping a whole mapping of one's own cannot fail: {result:?}");
    }
}

/// A nameless file in memory, empty, for data that one process writes and another reads once.
pub(crate) fn file() -> io::Result<std::fs::File> {
    Ok(during("creating a memory file", open())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::error::errno;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::sync::atomic::Ordering;

    #[test]
    fn two_mappings_of_one_segment_show_the_same_words() {
        let fd = create(4096).unwrap();
        let (one, two) = (Mapping::new(fd.as_fd(), 4096).unwrap(), Mapping::new(fd.as_fd(), 4096).unwrap());
        assert_eq!(one.words().len(), 512);
        assert!(one.words().iter().all(|word| word.load(Ordering::Relaxed) == 0));
        one.words()[511].store(7, Ordering::Relaxed);
        drop(one);
        assert_eq!(two.words()[511].load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_segment_can_neither_shrink_nor_grow_nor_lose_its_seals() {
        let file = File::from(create(4096).unwrap());
        for length in [0, 8192] {
            let refused = file.set_len(length).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(Errno::EPERM as i32), "{length}");
        }
        let more = fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE));
        assert_eq!(more, Err(Errno::EPERM));
    }

    #[test]
    fn what_is_not_a_sealed_segment_of_that_size_is_refused() {
        let sealed = create(4096).unwrap();
        assert_eq!(Mapping::new(sealed.as_fd(), 8192).unwrap_err().kind(), io::ErrorKind::InvalidData);

        let open = File::from(memfd_create(c"open", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap());
        open.set_len(4096).unwrap();
        assert_eq!(Mapping::new(open.as_fd(), 4096).unwrap_err().kind(), io::ErrorKind::InvalidData);

        let null = File::open("/dev/null").unwrap();
        assert_eq!(errno(&Mapping::new(null.as_fd(), 4096).unwrap_err()), Some(Errno::EINVAL as i32));
    }

    #[test]
    fn a_size_that_is_not_a_number_of_words_is_refused() {
        for bytes in [0, 7, 4097, usize::MAX] {
            assert_eq!(create(bytes).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bytes}");
        }
    }

    // Not tried on the kernel: were the check ever lost, the test would end every process of the machine.
    #[test]
    fn more_than_the_whole_machine_has_is_refused_before_the_kernel_is_asked() {
        assert!(fits(4096, 4096));
        assert!(!fits(4097, 4096));
        assert!(!fits(1 << 62, physical_memory()));
        assert!(physical_memory() > 1 << 20);
    }

    #[test]
    fn segments_do_not_survive_exec() {
        let fd = create(4096).unwrap();
        let flags = fcntl(&fd, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC, "descriptor {}", fd.as_raw_fd());
    }
}
