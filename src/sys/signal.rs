//! Signal masks and dispositions.
//!
//! Called by `process` (children start with default dispositions and an empty mask). What masters need that read their
//! signals from a descriptor is in [`served`].
//!
//! # Safety
//!
//! The unsafe call here is `sigaction`. The only handler ever installed is empty, so no code runs in signal context; the
//! structures passed are fully initialised.
#![expect(unsafe_code, reason = "sigaction has no safe form for arbitrary signal numbers")]

#[cfg(feature = "server")]
pub(crate) mod served;

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use super::error::during;

/// Ends a process at once.
pub(crate) const KILL: i32 = libc::SIGKILL;
/// What `abort` raises.
pub(crate) const ABORT: i32 = libc::SIGABRT;
/// A file grew beyond the limit of its size.
pub(crate) const FILE_SIZE: i32 = libc::SIGXFSZ;
/// Asks a process to end.
pub(crate) const TERM: i32 = libc::SIGTERM;

/// Restores the calling thread's signal mask when it is dropped.
#[derive(Debug)]
#[must_use = "the signals are unblocked as soon as this is dropped"]
pub(crate) struct Mask {
    before: SigSet,
    /// A mask belongs to the thread that set it.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for Mask {
    fn drop(&mut self) {
        // Setting a mask that the kernel gave us cannot fail.
        let _ = self.before.thread_set_mask();
    }
}

/// Blocks every signal in the calling thread until the guard is dropped.
pub(crate) fn block_all() -> io::Result<Mask> {
    swap_mask(&SigSet::all(), SigmaskHow::SIG_BLOCK)
}

/// Blocks every signal in the calling thread, for the rest of its life.
pub(crate) fn block_all_for_good() -> io::Result<()> {
    during("block all signals", SigSet::all().thread_set_mask())
}

/// Lets every signal through in the calling thread.
pub(crate) fn unblock_all() -> io::Result<()> {
    during("clear the signal mask", SigSet::empty().thread_set_mask())
}

/// Gives every signal its default disposition and empties the mask, as a new process should have them: an ignored
/// signal survives exec, and an ignored SIGCHLD makes waiting for children impossible.
///
/// Two exceptions. SIGPIPE is ignored, as in every Rust program. Handlers of SIGSEGV and SIGBUS stay: these signals
/// are faults of the code that runs, and std's handler for them is what reports a stack overflow.
pub(crate) fn reset_all() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        let disposition = match signal {
            libc::SIGKILL | libc::SIGSTOP | libc::SIGSEGV | libc::SIGBUS => continue,
            libc::SIGPIPE => libc::SIG_IGN,
            _ => libc::SIG_DFL,
        };
        match set_disposition(signal, disposition) {
            // glibc keeps two real-time signals for itself and refuses to name them.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            result => result?,
        }
    }
    unblock_all()
}

/// Ignores `signal` in the whole process.
pub(crate) fn ignore(signal: i32) -> io::Result<()> {
    during("ignore a signal", set_disposition(signal, libc::SIG_IGN))
}

/// The name of a signal that has one, such as `SIGTERM`.
pub(crate) fn name(signal: i32) -> Option<&'static str> {
    Signal::try_from(signal).ok().map(Signal::as_str)
}

fn swap_mask(set: &SigSet, how: SigmaskHow) -> io::Result<Mask> {
    let before = during("change the signal mask", set.thread_swap_mask(how))?;
    Ok(Mask { before, _not_send: std::marker::PhantomData })
}

fn set_disposition(signal: i32, handler: libc::sighandler_t) -> io::Result<()> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeroes is a valid sigaction: an empty mask, no flags, no restorer.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = handler;
    // SAFETY: `action` is valid for the call; the handler is SIG_DFL, SIG_IGN or a function that does nothing.
    let result = unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_restores_the_mask() {
        let before = SigSet::thread_get_mask().unwrap();
        {
            let _all = block_all().unwrap();
            assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGHUP));
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }

    #[test]
    fn what_cannot_be_ignored_is_an_error() {
        assert!(ignore(libc::SIGKILL).is_err());
    }
}
