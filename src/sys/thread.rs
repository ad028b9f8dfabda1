//! What the kernel knows a thread by.
//!
//! # Safety
//!
//! The one call here takes nothing, and only answers a number.

#![expect(unsafe_code, reason = "libc declares every function unsafe")]

/// The kernel's id of the calling thread, as `ps -L` and /proc show it.
pub(crate) fn native_id() -> u32 {
    // SAFETY: gettid(2) touches no memory and always succeeds.
    let id = unsafe { libc::gettid() };
    // Thread ids are positive.
    id.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_number_in_proc() {
        let task = std::fs::read_link("/proc/thread-self").unwrap();
        assert_eq!(task.file_name().unwrap().to_str().unwrap(), native_id().to_string());
    }
}
