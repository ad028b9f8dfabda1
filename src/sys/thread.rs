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

/// [`native_id`], asked for once in each thread: a system call less.
#[cfg(all(feature = "processes", not(crewkit_loom)))]
#[inline]
pub(crate) fn cached_id() -> u32 {
    use std::cell::Cell;

    thread_local! {
        /// The thread's id, and the fork generation in which it was asked for: a forked child's thread is a new one.
        static ID: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
    }
    let (id, generation) = ID.get();
    let now = super::generation::current();
    if id != 0 && generation == now {
        return id;
    }
    let id = native_id();
    ID.set((id, now));
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(feature = "processes", not(crewkit_loom)))]
    #[test]
    fn the_remembered_id_is_each_threads_own() {
        assert_eq!(cached_id(), native_id());
        assert_eq!(cached_id(), native_id());
        std::thread::spawn(|| assert_eq!(cached_id(), native_id())).join().unwrap();
    }

    #[test]
    fn it_is_the_number_in_proc() {
        let task = std::fs::read_link("/proc/thread-self").unwrap();
        assert_eq!(task.file_name().unwrap().to_str().unwrap(), native_id().to_string());
    }
}
