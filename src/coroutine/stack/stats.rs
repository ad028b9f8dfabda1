//! What the calling thread's stacks take, and giving back what is idle.

use super::pool;
use crate::sys::stack::{Guards, guards};

/// The stacks of the calling thread's coroutines: see [`stack_stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackStats {
    /// Stacks of coroutines that are not finished, those that were leaked among them.
    pub in_use: usize,
    /// Idle stacks whose memory is kept for the next coroutine.
    pub warm: usize,
    /// Idle stacks whose memory the kernel has, or may take.
    pub cold: usize,
    /// Coroutines that refused to end when they were dropped; their stacks are never used again.
    pub leaked: usize,
    /// Bytes of address space.
    pub reserved_bytes: usize,
    /// Whether each stack takes two of the process's mappings, of which `vm.max_map_count` allows only so many: on
    /// kernels before 6.13, which lack `MADV_GUARD_INSTALL`.
    pub mappings_per_stack: bool,
}

/// Counts the stacks of the calling thread's coroutines.
///
/// ```
/// use crewkit::coroutine::{Generator, stack_stats};
///
/// let numbers = Generator::new(|y, ()| y.yield_(1));
/// assert_eq!(stack_stats().in_use, 1);
/// drop(numbers);
/// assert_eq!((stack_stats().in_use, stack_stats().warm), (0, 1));
/// ```
pub fn stack_stats() -> StackStats {
    let mut stats = StackStats { mappings_per_stack: guards() == Guards::Mapped, ..StackStats::default() };
    pool::with(|pool| {
        stats.leaked = pool.leaked();
        for class in pool.classes() {
            stats.in_use += class.in_use();
            stats.warm += class.warm();
            stats.cold += class.cold();
            stats.reserved_bytes += class.reserved_bytes();
        }
    });
    stats
}

/// Gives the memory of the calling thread's idle stacks back to the kernel, and address space that only they used.
///
/// Not needed in general: of the smallest size, 1024 idle stacks are kept warm at most, and what is idle beyond that may
/// be taken by the kernel when it is short of memory.
pub fn trim_stacks() {
    pool::with(|pool| pool.classes().iter().for_each(super::Class::trim));
}
