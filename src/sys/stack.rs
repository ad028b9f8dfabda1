//! Memory for the stacks of coroutines: reserved in large regions, guarded stack by stack.
//!
//! Called by `coroutine` only. A guard is a range of a region whose touching is SIGSEGV. `MADV_GUARD_INSTALL` (Linux 6.13)
//! marks it in the page tables, so a region stays one mapping however many stacks it has. Older kernels need
//! `mprotect`, which cuts the region in two for each guard: then `vm.max_map_count` bounds the number of stacks.
//!
//! # Safety
//!
//! The invariants that the `SAFETY` comments cite:
//!
//! 1. A [`Region`] covers `bytes` bytes from `base`, mapped readable and writable, from its making to its drop; nobody
//!    else maps, unmaps or protects anything in there.
//! 2. Offsets are checked against the region before the kernel is called on them.

#![expect(unsafe_code, reason = "maps memory and changes its protection")]

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::during;

/// How guards are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guards {
    /// By a mark in the page tables.
    Marked,
    /// By a mapping of its own for each.
    Mapped,
}

/// What the kernel has said of `MADV_GUARD_INSTALL` so far. Set once and for good.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// How guards are made from now on.
pub(crate) fn guards() -> Guards {
    if REFUSED.load(Ordering::Relaxed) { Guards::Mapped } else { Guards::Marked }
}

/// Whether the kernel has refused to be told of many ranges at once. Set once and for good.
static ONE_BY_ONE: AtomicBool = AtomicBool::new(false);

const MADV_GUARD_INSTALL: libc::c_int = 102;
/// The calling process, where a pidfd is asked for (Linux 6.14). One that was opened would name the parent in a forked process.
const PIDFD_SELF_THREAD: libc::c_int = -10_000;
const PR_SET_VMA: libc::c_int = 0x5356_4d41;
const PR_SET_VMA_ANON_NAME: libc::c_ulong = 0;

const MAPPING: &str = "reserving memory for stacks";
const MAPPING_WITHOUT_MARKS: &str = "reserving memory for stacks (this kernel has no MADV_GUARD_INSTALL, so each stack \
                                     needs two mappings, and vm.max_map_count bounds their number)";
const GUARDING: &str = "guarding a stack";
const PROTECTING: &str = "guarding a stack by a mapping of its own, for want of MADV_GUARD_INSTALL (vm.max_map_count \
                          bounds the number of mappings)";

/// Ranges of a region: `count` of `bytes` bytes each, the first at `offset`, `stride` from one to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
    pub(crate) stride: usize,
    pub(crate) count: usize,
}

impl Row {
    /// So many ranges the kernel is told of at once.
    pub(crate) const MOST: usize = 32;
}

/// Private memory that has no pages until it is written to.
#[derive(Debug)]
pub(crate) struct Region {
    base: NonNull<u8>,
    bytes: usize,
}

impl Region {
    /// Reserves `bytes` bytes, a number of whole pages.
    pub(crate) fn map(bytes: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
        // SAFETY: the kernel chooses an address that nobody uses.
        let base = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, -1, 0) };
        let mapped = if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(base.cast()) };
        let base = during(if guards() == Guards::Marked { MAPPING } else { MAPPING_WITHOUT_MARKS }, mapped)?;
        let base = NonNull::new(base).ok_or_else(|| io::Error::other("a mapping at address zero"))?;
        let region = Self { base, bytes };
        // With huge pages, which a system may be set to use everywhere, a stack would take 2 MiB. Where the kernel has
        // none, the advice is an error and not needed.
        let _ = region.advise(0, bytes, libc::MADV_NOHUGEPAGE);
        let name = c"crewkit stacks".as_ptr();
        // SAFETY: invariant 1; the name is a C string; a kernel without names for mappings answers EINVAL.
        unsafe { libc::prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, base.as_ptr(), bytes, name) };
        Ok(region)
    }

    /// The lowest address.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The address at an offset, which is less than the number of bytes.
    pub(crate) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.bytes, "offset {offset} of {}", self.bytes);
        // SAFETY: invariant 1: inside the region.
        unsafe { self.base.add(offset) }
    }

    /// The number of bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes any touch of `bytes` bytes at `offset` a SIGSEGV, for as long as the region lives.
    pub(crate) fn guard(&self, offset: usize, bytes: usize) -> io::Result<()> {
        if guards() == Guards::Marked {
            match self.advise(offset, bytes, MADV_GUARD_INSTALL) {
                Ok(()) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => REFUSED.store(true, Ordering::Relaxed),
                Err(error) => return during(GUARDING, Err(error)),
            }
        }
        let start = self.range(offset, bytes);
        // SAFETY: invariants 1 and 2.
        let done = unsafe { libc::mprotect(start.cast(), bytes, libc::PROT_NONE) };
        during(PROTECTING, answer(done))
    }

    /// [`guard`](Self::guard) for the first ranges of a row, by one call. Returns how many: none where the kernel cannot do
    /// that.
    pub(crate) fn guard_many(&self, row: Row) -> usize {
        if guards() == Guards::Marked { self.advise_many(row, MADV_GUARD_INSTALL) } else { 0 }
    }

    /// Makes the pages of a row by one call, as the first touch of each would. Where that cannot be done, the touch will.
    pub(crate) fn populate_many(&self, row: Row) {
        self.advise_many(row, libc::MADV_POPULATE_WRITE);
    }

    /// Advises the first ranges of a row, and returns how many.
    fn advise_many(&self, row: Row, advice: libc::c_int) -> usize {
        if ONE_BY_ONE.load(Ordering::Relaxed) {
            return 0;
        }
        let count = row.count.min(Row::MOST);
        let mut ranges = [libc::iovec { iov_base: ptr::null_mut(), iov_len: row.bytes }; Row::MOST];
        for (number, range) in ranges[..count].iter_mut().enumerate() {
            range.iov_base = self.range(row.offset + number * row.stride, row.bytes).cast();
        }
        let (call, who, flags) = (libc::SYS_process_madvise, PIDFD_SELF_THREAD, 0_u32);
        // SAFETY: invariants 1 and 2, of this process, whoever has forked it; the kernel reads `count` of the ranges.
        let advised = unsafe { libc::syscall(call, who, ranges.as_ptr(), count, advice, flags) };
        usize::try_from(advised).map_or_else(
            |_| {
                let refusals = [libc::EBADF, libc::EINVAL, libc::ENOSYS, libc::EPERM];
                let error = io::Error::last_os_error().raw_os_error();
                if error.is_some_and(|error| refusals.contains(&error)) {
                    ONE_BY_ONE.store(true, Ordering::Relaxed);
                }
                0
            },
            |bytes| bytes / row.bytes,
        )
    }

    /// Gives the memory of `bytes` bytes at `offset` back: they read as zero, or, if `lazily`, as they do now until the
    /// kernel is short of memory, and as zero from then on. Guards stay.
    pub(crate) fn discard(&self, offset: usize, bytes: usize, lazily: bool) {
        let advice = if lazily { libc::MADV_FREE } else { libc::MADV_DONTNEED };
        // Where it is refused (locked memory), the memory is kept, and nothing else is lost.
        let _ = self.advise(offset, bytes, advice);
    }

    fn advise(&self, offset: usize, bytes: usize, advice: libc::c_int) -> io::Result<()> {
        let start = self.range(offset, bytes);
        // SAFETY: invariants 1 and 2; whoever asks to have the contents discarded has no use for them.
        answer(unsafe { libc::madvise(start.cast(), bytes, advice) })
    }

    fn range(&self, offset: usize, bytes: usize) -> *mut u8 {
        assert!(offset <= self.bytes && bytes <= self.bytes - offset, "{bytes} bytes at {offset} of {}", self.bytes);
        self.base.as_ptr().wrapping_add(offset)
    }
}

fn answer(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: invariant 1; the owner has no stack of it in use any more.
        let done = unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert_eq!(done, 0, "unmapping a whole mapping of one's own cannot fail");
    }
}

/// The size of a page.
pub(crate) fn page() -> usize {
    // SAFETY: sysconf reads nothing of ours.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
impl Region {
    /// How many of its pages the kernel has made.
    pub(crate) fn pages_made(&self) -> usize {
        let mut pages = vec![0_u8; self.bytes.div_ceil(page())];
        // SAFETY: reads the page tables of the region, and writes a byte for each page of it.
        let told = unsafe { libc::mincore(self.base.as_ptr().cast(), self.bytes, pages.as_mut_ptr()) };
        assert_eq!(told, 0);
        pages.iter().filter(|&&state| state & 1 != 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Maps of this process that begin in a region.
    fn mappings(region: &Region) -> usize {
        let start = region.base().as_ptr() as usize;
        let begins = |line: &str| usize::from_str_radix(line.split('-').next()?, 16).ok();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter_map(begins).filter(|at| (start..start + region.bytes()).contains(at)).count()
    }

    #[test]
    fn guards_cost_no_mapping_where_the_kernel_can_mark_pages() {
        let region = Region::map(64 * page()).unwrap();
        let before = mappings(&region);
        for stack in 0..8 {
            region.guard(8 * stack * page(), page()).unwrap();
        }
        match guards() {
            Guards::Marked => assert_eq!(mappings(&region), before),
            Guards::Mapped => assert!(mappings(&region) >= before + 15),
        }
    }

    #[test]
    fn a_row_is_made_at_once_or_left_to_the_touch() {
        let region = Region::map(64 * page()).unwrap();
        let row = |offset, count| Row { offset, bytes: page(), stride: 4 * page(), count };
        let guarded = region.guard_many(row(0, 8));
        region.populate_many(row(3 * page(), 8));
        if ONE_BY_ONE.load(Ordering::Relaxed) || guards() == Guards::Mapped {
            assert_eq!((guarded, region.pages_made()), (0, 0), "this kernel cannot");
        } else {
            assert_eq!((guarded, region.pages_made()), (8, 8));
        }
    }

    #[test]
    #[should_panic(expected = "bytes at")]
    fn a_row_that_ends_outside_is_refused() {
        let region = Region::map(4 * page()).unwrap();
        region.populate_many(Row { offset: 0, bytes: page(), stride: 4 * page(), count: 2 });
    }

    #[test]
    fn what_is_discarded_reads_as_zero() {
        let region = Region::map(2 * page()).unwrap();
        // SAFETY: in the region, which is writable.
        unsafe { region.base().write(7) };
        region.discard(0, page(), false);
        // SAFETY: as above.
        assert_eq!(unsafe { region.base().read() }, 0);
    }

    #[test]
    #[should_panic(expected = "bytes at")]
    fn a_range_outside_is_refused() {
        let region = Region::map(page()).unwrap();
        region.discard(page(), page(), false);
    }
}
