//! A memory fence in every thread of the process at once, so that those who are seldom waited for need none of their own.
//! The only caller is `primitive`, whose latches are left by a plain store.
//!
//! # Safety
//!
//! membarrier(2) takes two numbers and touches no memory of ours.

#![expect(unsafe_code, reason = "glibc has no wrapper for membarrier(2)")]

/// Each other thread of this process has executed a full fence between the beginning of this call and its end. False where the
/// kernel cannot do that: before Linux 4.14, or in a sandbox that forbids it.
///
/// It interrupts those processors that run threads of the process, and takes some microseconds.
#[cold]
#[must_use = "where it is false, no thread executed anything"]
pub(crate) fn fence_all_threads() -> bool {
    // A process has to say once that it will; the first call, and that alone, finds that it has not.
    membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
        || membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
            && membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
}

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: see above.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_fences_again_and_again() {
        assert!(fence_all_threads());
        assert!(fence_all_threads());
    }
}
