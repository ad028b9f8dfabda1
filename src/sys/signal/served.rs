//! Signals that are read and not handled: a signalfd, the mask that it needs, and a signal to one thread.
//!
//! Called by `prefork`. No handler of crewkit does anything.
//!
//! # Safety
//!
//! The unsafe call here is `tgkill`, which touches no memory.
#![expect(unsafe_code, reason = "tgkill has no safe form for arbitrary signal numbers")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{self, SfdFlags};

use super::{Mask, set_disposition, swap_mask};
use crate::sys::error::{during, retry};

/// Blocks `signals` in the calling thread (threads it starts inherit that) until the guard is dropped.
pub(crate) fn block(signals: &[i32]) -> io::Result<Mask> {
    swap_mask(&set_of(signals)?, SigmaskHow::SIG_BLOCK)
}

/// Blocks `signals` in the calling thread and in those that it starts, for the rest of their lives.
pub(crate) fn block_for_good(signals: &[i32]) -> io::Result<()> {
    during("change the signal mask", set_of(signals)?.thread_block())
}

/// Gives `signal` a handler that does nothing and that does not restart what it interrupts: a blocked call returns
/// EINTR.
pub(crate) fn no_op_handler(signal: i32) -> io::Result<()> {
    extern "C" fn nothing(_signal: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    during("install a signal handler", set_disposition(signal, handler as libc::sighandler_t))
}

/// Sends `signal` to one thread of this process, by its kernel thread id.
pub(crate) fn send_to_thread(thread: u32, signal: i32) -> io::Result<()> {
    let result = retry(|| {
        // SAFETY: tgkill takes three integers and touches no memory of ours.
        let done = unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, signal) };
        Errno::result(done)
    });
    during("signal a thread", result.map(drop))
}

/// Signals read from a descriptor instead of handled. They must be blocked in every thread of the process, see
/// [`block`].
#[derive(Debug)]
pub(crate) struct SignalFd(signalfd::SignalFd);

impl SignalFd {
    /// A non-blocking descriptor that becomes readable when one of `signals` is pending.
    pub(crate) fn new(signals: &[i32]) -> io::Result<Self> {
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = signalfd::SignalFd::with_flags(&set_of(signals)?, flags);
        Ok(Self(during("make a signalfd", fd)?))
    }

    /// The next pending signal, if there is one.
    pub(crate) fn read(&self) -> io::Result<Option<i32>> {
        let info = during("read a signalfd", retry(|| self.0.read_signal()))?;
        Ok(info.and_then(|info| i32::try_from(info.ssi_signo).ok()))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn set_of(signals: &[i32]) -> io::Result<SigSet> {
    let mut set = SigSet::empty();
    for &signal in signals {
        set.add(during("name a signal", Signal::try_from(signal))?);
    }
    Ok(set)
}

/// Signals by name, for the floors above.
pub(crate) mod number {
    pub(crate) use libc::{
        SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGURG, SIGUSR1, SIGUSR2,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::Deadline;
    use crate::sys::poll::{self, Readiness};
    use crate::sys::thread::native_id;
    #[test]
    fn a_blocked_signal_is_read_from_the_descriptor() {
        let _mask = block(&[libc::SIGUSR1]).unwrap();
        let signals = SignalFd::new(&[libc::SIGUSR1]).unwrap();
        assert_eq!(signals.read().unwrap(), None);
        send_to_thread(native_id(), libc::SIGUSR1).unwrap();
        assert!(poll::wait(signals.as_fd(), Readiness::READ, Deadline::NEVER).unwrap().readable);
        assert_eq!(signals.read().unwrap(), Some(libc::SIGUSR1));
        assert_eq!(signals.read().unwrap(), None);
    }

    #[test]
    fn the_guard_of_some_signals_restores_the_mask() {
        let before = SigSet::thread_get_mask().unwrap();
        {
            let _mask = block(&[libc::SIGUSR2]).unwrap();
            assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR2));
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }

    #[test]
    fn a_no_op_handler_interrupts_a_blocked_call() {
        use std::io::Read;
        use std::sync::atomic::{AtomicBool, Ordering};
        use std::sync::{Arc, mpsc};
        no_op_handler(libc::SIGURG).unwrap();
        let (mut reader, _writer) = io::pipe().unwrap();
        let (tell, thread) = mpsc::channel();
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let blocked = std::thread::spawn(move || {
            tell.send(native_id()).unwrap();
            let error = reader.read(&mut [0]).unwrap_err();
            seen.store(true, Ordering::Release);
            error.kind()
        });
        let thread = thread.recv().unwrap();
        // The thread may not be blocked yet, so the signal is sent until it has done its work.
        while !done.load(Ordering::Acquire) {
            // The thread may end between the check and the signal.
            let _ = send_to_thread(thread, libc::SIGURG);
            std::thread::yield_now();
        }
        assert_eq!(blocked.join().unwrap(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn an_unknown_signal_is_an_error() {
        assert!(block(&[0]).is_err());
    }
}
