//! A memory fence in every thread of the process at once, so that those who are seldom waited for need none of their own.
//! Or in every process that has agreed to it. The only caller is `primitive`, for latches that are left by a plain store,
//! and for rings whose sleepers are looked for without a fence.
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

/// Each thread of each process that has [agreed](agree_to_fences) has executed a full fence between the beginning of this
/// call and its end, if it ran then. False where the kernel cannot do that: before Linux 4.16, or in a sandbox.
#[cfg(feature = "processes")]
#[cold]
#[must_use = "where it is false, nobody executed anything"]
pub(crate) fn fence_all_processes() -> bool {
    membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

/// Lets other processes' [`fence_all_processes`] fence this one, and its forks; whether the kernel will.
#[cfg(feature = "processes")]
pub(crate) fn agree_to_fences() -> bool {
    static AGREED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *AGREED.get_or_init(|| membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED))
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

    #[cfg(feature = "processes")]
    #[test]
    fn processes_agree_once_and_are_fenced_again_and_again() {
        assert!(agree_to_fences() && agree_to_fences());
        assert!(fence_all_processes() && fence_all_processes());
    }
}
