//! Stacks: what one is, and how big they come.
//!
//! `pool.rs` keeps them, per thread; `slab.rs` reserves them, many at a time; `span.rs` finds the one that has overflowed;
//! `stats.rs` counts.
//!
//! # Safety
//!
//! The invariants that the `SAFETY` comments of this folder cite:
//!
//! 1. A [`Stack`] owns the memory from `limit` to its [`Header`], and the header, from its making to its drop, which gives
//!    it back to the pool that it came from. Nobody reads or writes there meanwhile but who runs on it, and who holds a
//!    pointer to the header.
//! 2. The header's fields are set before the `Stack` exists, and the header stays readable for as long as the `Stack`.
//! 3. A stack that is forgotten is never given back: its memory stays as it is until the process ends, as whoever
//!    borrows from it relies on.
//! 4. A pool lives for as long as one of its stacks is not at home, forgotten ones included.

#![expect(unsafe_code, reason = "a stack is raw memory")]

mod pool;
mod slab;
mod span;
mod stats;

use std::cell::Cell;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};

use corosensei::stack::{Stack as Memory, StackPointer};

use super::phase::Phase;
use pool::Class;
pub(super) use pool::count_leak;
pub use stats::{StackStats, stack_stats, trim_stacks};

/// How much stack a coroutine gets.
///
/// That is address space. Memory is taken page by page as the stack grows, 4 KiB for a shallow body, and kept for the
/// next coroutine of the thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StackSize {
    /// 64 KiB: enough for generators, for formatting, sorting, reading files, and a backtrace of a panic.
    #[default]
    Small,
    /// 256 KiB, with a guard of 64 KiB, for C code, which may have larger frames than its compiler probes.
    Large,
    /// 1 MiB, with a guard of 64 KiB, for deep recursion.
    Huge,
}

/// The sizes of a class, in bytes.
#[derive(Debug)]
struct Spec {
    usable: usize,
    guard: usize,
    /// Stacks to a slab.
    count: usize,
    /// Idle stacks whose memory is kept.
    warm: usize,
}

/// The distance of two stacks is an odd number of pages, so that the tops of many do not share a few sets of the TLB. But on
/// aarch64 a kernel's pages may have 64 KiB, and all sizes are whole numbers of these.
const GUARDS: [usize; 2] = if cfg!(target_arch = "aarch64") { [64 << 10, 64 << 10] } else { [4 << 10, 68 << 10] };
const SPECS: [Spec; 3] = [
    Spec { usable: 64 << 10, guard: GUARDS[0], count: 64, warm: 1024 },
    Spec { usable: 256 << 10, guard: GUARDS[1], count: 16, warm: 128 },
    Spec { usable: 1 << 20, guard: GUARDS[1], count: 4, warm: 16 },
];

impl StackSize {
    /// The number of bytes.
    pub const fn bytes(self) -> usize {
        SPECS[self as usize].usable
    }
}

/// What is known of a stack, at its top; corosensei's part begins below it.
#[repr(C, align(64))]
pub(super) struct Header {
    /// The lowest address, that of the guard.
    limit: usize,
    /// The lowest address that may be touched.
    floor: usize,
    class: NonNull<Class>,
    /// The next one in the pool's list.
    next: Cell<Option<NonNull<Header>>>,
    /// Whose stack it is, for the report of an overflow.
    name: Cell<*const str>,
    /// How often the body was refused to yield because the thread panicked.
    pub(super) refusals: Cell<u32>,
    /// The body was told to end while the thread panics.
    pub(super) closing_in_panic: Cell<bool>,
    /// The body waits for good: it must not be resumed.
    pub(super) stuck: Cell<bool>,
    /// What the body does.
    pub(super) phase: Cell<Phase>,
    /// What is on its way to the body, or where it is: see [`Phase`].
    pub(super) word: Word,
}

const _: () = assert!(size_of::<Header>() == 64, "a line of the cache");

/// A word, read as what was written.
pub(super) struct Word(Cell<MaybeUninit<usize>>);

impl Word {
    /// Whether a value is passed as the word, not by its address.
    const fn holds<V>() -> bool {
        size_of::<V>() <= size_of::<usize>() && align_of::<V>() <= align_of::<usize>()
    }

    /// Leaves a value, which must stay where it is until it is taken.
    #[inline(always)]
    pub(super) fn put<V>(&self, value: &ManuallyDrop<V>) {
        if Self::holds::<V>() {
            // SAFETY: it is there. The copy is the one to be used: the original is in a `ManuallyDrop`.
            let value = unsafe { ptr::from_ref(value).read() };
            // SAFETY: it fits, says `holds`.
            unsafe { self.0.as_ptr().cast::<ManuallyDrop<V>>().write(value) };
        } else {
            self.point(value);
        }
    }

    /// Takes the value that was left.
    ///
    /// # Safety
    ///
    /// A `V` was left by [`put`](Self::put), stayed where it was, and was not taken.
    #[inline(always)]
    pub(super) unsafe fn take<V>(&self) -> V {
        let at = if Self::holds::<V>() {
            self.0.as_ptr().cast::<V>()
        } else {
            // SAFETY: says the caller.
            unsafe { self.target::<V>() }.as_ptr()
        };
        // SAFETY: says the caller.
        unsafe { at.read() }
    }

    /// Leaves an address.
    #[inline]
    pub(super) fn point<V>(&self, target: &V) {
        // SAFETY: an address is a word.
        unsafe { self.0.as_ptr().cast::<*const V>().write(target) };
    }

    /// The address that was left.
    ///
    /// # Safety
    ///
    /// That of a `V` was left by [`point`](Self::point).
    #[inline]
    pub(super) unsafe fn target<V>(&self) -> NonNull<V> {
        // SAFETY: says the caller; a reference is not null.
        unsafe { self.0.as_ptr().cast::<NonNull<V>>().read() }
    }
}

/// What generators that have ended have instead of a stack's header: it says so, and nothing else of it is used.
struct Ended(Header);

// SAFETY: nobody writes to it, as what has ended is not resumed.
unsafe impl Sync for Ended {}

static ENDED: Ended = Ended(Header {
    limit: 0,
    floor: 0,
    class: NonNull::dangling(),
    next: Cell::new(None),
    name: Cell::new(ptr::slice_from_raw_parts(ptr::null::<u8>(), 0) as *const str),
    refusals: Cell::new(0),
    closing_in_panic: Cell::new(false),
    stuck: Cell::new(false),
    phase: Cell::new(Phase::Finished),
    word: Word(Cell::new(MaybeUninit::uninit())),
});

impl Header {
    /// That of what has ended.
    pub(super) fn ended() -> NonNull<Self> {
        NonNull::from(&ENDED.0)
    }

    /// The addresses that frames may lie at: the lowest, and how many.
    #[inline]
    pub(super) fn extent(&self) -> (usize, usize) {
        (self.floor, ptr::from_ref(self) as usize - self.floor)
    }
}

/// A stack in use.
pub(super) struct Stack(NonNull<Header>);

impl Stack {
    /// Takes one from the pool of the calling thread.
    #[inline]
    pub(super) fn take(size: StackSize) -> io::Result<Self> {
        pool::take(size)
    }

    #[inline]
    pub(super) fn header(&self) -> NonNull<Header> {
        self.0
    }

    #[inline]
    pub(super) fn get(&self) -> &Header {
        // SAFETY: invariants 1 and 2.
        unsafe { self.0.as_ref() }
    }

    /// Makes the header as a new user needs it, who is named so in the report of an overflow. The name outlives the use.
    #[inline]
    pub(super) fn begin(&self, name: *const str) {
        let header = self.get();
        header.name.set(name);
        header.refusals.set(0);
        header.closing_in_panic.set(false);
        header.stuck.set(false);
        header.phase.set(Phase::Created);
    }

    /// Fills it with a pattern, all of it.
    pub(super) fn paint(&self) {
        let floor = self.get().floor;
        let bytes = self.0.as_ptr() as usize - floor;
        // SAFETY: invariant 1; nobody runs on it yet, says the caller by owning it, unstarted.
        unsafe { ptr::write_bytes(floor as *mut u8, PAINT, bytes) };
    }
}

const PAINT: u8 = 0xc5;

/// How many bytes below the header have been used since it was painted, at most.
///
/// # Safety
///
/// The stack is in use, painted, and does not run.
pub(super) unsafe fn used(header: NonNull<Header>) -> usize {
    // SAFETY: invariant 2.
    let floor = unsafe { header.as_ref() }.floor;
    let top = header.as_ptr() as usize;
    // SAFETY: readable, and nobody writes: it does not run.
    let untouched = (floor..top).take_while(|&at| unsafe { (at as *const u8).read_volatile() } == PAINT).count();
    top - floor - untouched
}

impl Drop for Stack {
    #[inline]
    fn drop(&mut self) {
        pool::put_back(self.0);
    }
}

// SAFETY: invariant 1; the guard of at least a page is below, and there is more than `MIN_STACK_SIZE` above it.
unsafe impl Memory for Stack {
    #[inline]
    fn base(&self) -> StackPointer {
        self.0.addr()
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        NonZeroUsize::new(self.get().limit).unwrap_or(NonZeroUsize::MIN)
    }
}
