//! SIGSEGV in the guard of a coroutine's stack: one line on standard error, then abort.
//!
//! std reports the overflow of a thread's stack from a handler that knows the guard of that thread only; an overflow in a
//! coroutine would be a bare SIGSEGV. The handler installed here asks its owner ([`watch`]) whether a fault is an
//! overflow; any other fault goes to the handler that was there before, so threads keep std's message. Nothing is
//! resumed after an overflow: destructors of the frames above would never run.
//!
//! A handler needs a stack of its own. std gives one to main and to the threads that it starts; [`AlternateStack`] gives
//! one to threads that C started.
//!
//! # Safety
//!
//! The handler runs in signal context. It reads a `OnceLock` and what `judge` reads, formats into an array, and calls
//! `write` and `abort`, all of them async-signal-safe. `judge` must keep to that too.

#![expect(unsafe_code, reason = "sigaction and sigaltstack, and what happens in a handler")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use super::error::during;
use super::stack::{Region, page};

/// An overflow, as the report tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overflow {
    /// Whose stack it was. Valid while the handler runs.
    pub(crate) name: *const str,
    /// How much of it could be used.
    pub(crate) bytes: usize,
}

/// A fault of the calling thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// What was touched.
    pub(crate) address: usize,
    /// The stack pointer then, where it is known how to find that.
    pub(crate) stack_pointer: Option<usize>,
}

/// Tells whether a fault of the calling thread is an overflow, without anything that a signal handler must not do.
pub(crate) type Judge = fn(Fault) -> Option<Overflow>;

struct Installed {
    judge: Judge,
    before: libc::sigaction,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Reports overflows that `judge` recognises from now on. The first call counts, later ones do nothing.
pub(crate) fn watch(judge: Judge) -> io::Result<()> {
    let mut first = false;
    INSTALLED.get_or_init(|| {
        first = true;
        let mut before = MaybeUninit::zeroed();
        // SAFETY: asks only; writes the structure that it is given. SIGSEGV is a signal, so it cannot fail.
        unsafe { libc::sigaction(libc::SIGSEGV, ptr::null(), before.as_mut_ptr()) };
        // SAFETY: zeroes are a valid `sigaction` whether or not it was written.
        Installed { judge, before: unsafe { before.assume_init() } }
    });
    if !first {
        return Ok(());
    }
    // SAFETY: zeroes are a valid `sigaction`.
    let mut ours: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
    ours.sa_sigaction = handler as libc::sighandler_t;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler keeps to what is safe in a signal handler; see the module.
    let done = unsafe { libc::sigaction(libc::SIGSEGV, &raw const ours, ptr::null_mut()) };
    during("watching for stack overflows", if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) })
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(installed) = INSTALLED.get() else { return };
    // SAFETY: the kernel passes valid information.
    let info_ref = unsafe { &*info };
    // A positive code: the fault was met by the processor, not sent by somebody.
    if info_ref.si_code > 0 {
        // SAFETY: SIGSEGV by the processor has an address.
        let address = unsafe { info_ref.si_addr() } as usize;
        // SAFETY: what the kernel passed.
        let stack_pointer = unsafe { stack_pointer(context.cast()) };
        if let Some(overflow) = (installed.judge)(Fault { address, stack_pointer }) {
            report(overflow);
            // SAFETY: may be called from a signal handler.
            unsafe { libc::abort() };
        }
    }
    pass_on(&installed.before, signal, info, context);
}

/// # Safety
///
/// `context` is what the kernel passes to a handler.
unsafe fn stack_pointer(context: *const libc::ucontext_t) -> Option<usize> {
    // SAFETY: says the caller.
    let context = unsafe { context.as_ref() }?;
    #[cfg(target_arch = "x86_64")]
    return usize::try_from(context.uc_mcontext.gregs[libc::REG_RSP as usize]).ok();
    #[cfg(target_arch = "aarch64")]
    return usize::try_from(context.uc_mcontext.sp).ok();
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = context;
        None
    }
}

/// Does what would have happened without this module.
fn pass_on(before: &libc::sigaction, signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let code = before.sa_sigaction as *const ();
    if matches!(before.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
        // The instruction runs again, faults again, and then ends the process. (A fault cannot be ignored.)
        // SAFETY: zeroes are the default action.
        let default: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: may be called from a signal handler.
        unsafe { libc::sigaction(signal, &raw const default, ptr::null_mut()) };
        // SAFETY: as above. A signal that somebody sent comes from nowhere again unless it is raised.
        unsafe { libc::raise(signal) };
    } else if before.sa_flags & libc::SA_SIGINFO != 0 {
        type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: with SA_SIGINFO, this is a function of three arguments.
        let handler = unsafe { std::mem::transmute::<*const (), Handler>(code) };
        handler(signal, info, context);
    } else {
        // SAFETY: without SA_SIGINFO, this is a function of one argument.
        let handler = unsafe { std::mem::transmute::<*const (), extern "C" fn(libc::c_int)>(code) };
        handler(signal);
    }
}

/// Writes the report in one call, so that lines of several processes do not mix.
fn report(overflow: Overflow) {
    let mut line = Line { text: [0; 512], length: 0 };
    // SAFETY: valid while the handler runs, says `Overflow`.
    let name = unsafe { &*overflow.name };
    line.push(b"\ncoroutine '");
    line.push(&name.as_bytes()[..name.len().min(400)]);
    line.push(b"' has overflowed its stack of ");
    line.push_number(overflow.bytes / 1024);
    line.push(b" KiB, aborting\n");
    // SAFETY: the bytes are there; may be called from a signal handler.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, line.text.as_ptr().cast(), line.length) };
}

/// Text without allocation. What does not fit is left out.
struct Line {
    text: [u8; 512],
    length: usize,
}

impl Line {
    fn push(&mut self, text: &[u8]) {
        let room = &mut self.text[self.length..];
        let length = text.len().min(room.len());
        room[..length].copy_from_slice(&text[..length]);
        self.length += length;
    }

    fn push_number(&mut self, number: usize) {
        if number >= 10 {
            self.push_number(number / 10);
        }
        let digit = u8::try_from(number % 10).unwrap_or(0);
        self.push(&[b'0' + digit]);
    }
}

/// A stack for the signal handlers of the calling thread, taken away again when this is dropped there.
#[derive(Debug)]
pub(crate) struct AlternateStack {
    _memory: Region,
}

/// More than the registers of any processor take, and a handler's frames.
const ALTERNATE_BYTES: usize = 64 << 10;

impl AlternateStack {
    /// Gives the calling thread such a stack, unless it has one.
    pub(crate) fn ensure() -> io::Result<Option<Self>> {
        // SAFETY: zeroes are a valid `stack_t`.
        let mut present: libc::stack_t = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: asks only; writes the structure that it is given.
        unsafe { libc::sigaltstack(ptr::null(), &raw mut present) };
        if present.ss_flags & libc::SS_DISABLE == 0 {
            return Ok(None);
        }
        let memory = Region::map(page() + ALTERNATE_BYTES)?;
        memory.guard(0, page())?;
        let start = memory.base().as_ptr().wrapping_add(page());
        let ours = libc::stack_t { ss_sp: start.cast(), ss_flags: 0, ss_size: ALTERNATE_BYTES };
        // SAFETY: the memory is kept until it is no longer the alternate stack.
        let done = unsafe { libc::sigaltstack(&raw const ours, ptr::null_mut()) };
        during(
            "setting up a stack for signal handlers",
            if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) },
        )?;
        Ok(Some(Self { _memory: memory }))
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: ALTERNATE_BYTES };
        // SAFETY: takes away what `ensure` gave this thread; it is not `Send`, and no handler runs.
        unsafe { libc::sigaltstack(&raw const none, ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_what_fits() {
        let mut line = Line { text: [0; 512], length: 0 };
        line.push(b"x");
        line.push_number(0);
        line.push_number(1_024);
        assert_eq!(&line.text[..line.length], b"x01024");
        line.push(&[b'y'; 600]);
        assert_eq!(line.length, 512);
    }

    #[test]
    fn a_thread_of_std_has_an_alternate_stack_already() {
        assert!(AlternateStack::ensure().unwrap().is_none());
    }
}
