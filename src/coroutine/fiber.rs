//! Fiber: a function on a stack of its own, and the switch to it and back. Generators and greenlets stand on it.
//!
//! It adds to corosensei's coroutine: a stack of the pool; the check that a fiber switches away from itself only; and that
//! dropping one which has not ended leaks its stack instead of running anything.
//!
//! # Safety
//!
//! The invariants that the `SAFETY` comments cite:
//!
//! 1. A [`Link`] does not outlive its fiber's body: that keeps it in a frame of its own and lends it out. By way of a
//!    scoped thread-local, safe code can use such a loan while another stack runs, or none. So [`Link::must_run`] panics
//!    unless the stack pointer is in the fiber's own stack.
//! 2. While a fiber runs, its `Fiber` is borrowed mutably by whoever resumed it. Once suspended, its frames stay as they
//!    are until it is resumed or, if it is dropped, for ever.

#![expect(unsafe_code, reason = "switches stacks")]

use std::any::Any;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use std::arch::asm;
use std::hint::assert_unchecked;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use corosensei::{Coroutine, CoroutineResult};

use super::phase::Phase;
use super::stack::{Header, Stack, count_leak};

/// How a body ended: with its result, or with the payload of a panic.
pub(super) type End<E> = Result<E, Box<dyn Any + Send>>;

/// What came back from a fiber.
pub(super) enum Turn<O, E> {
    Suspended(O),
    Ended(End<E>),
}

/// A suspended fiber: gives `O` when it suspends and `E` at its end. Nothing is passed into it but by the header's word.
pub(super) struct Fiber<O, E> {
    switch: ManuallyDrop<Coroutine<(), O, End<E>, Stack>>,
    header: NonNull<Header>,
}

/// The fiber's own end of the switch.
pub(super) struct Link<O> {
    switch: NonNull<corosensei::Yielder<(), O>>,
    header: NonNull<Header>,
    /// The lowest address of its frames, and for how many bytes they may go on.
    floor: usize,
    room: usize,
}

/// Drops what nobody gets. If its destructor panics, that is nobody's either, and goes no further: it must not leave the
/// root of a fiber, nor meet another panic.
#[cold]
pub(super) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // Its destructor may panic, too.
        let _ = ManuallyDrop::new(payload);
    }
}

impl<O, E> Fiber<O, E> {
    /// A fiber that runs `body` on `stack` when it is resumed for the first time.
    ///
    /// A panic that leaves `body` ends the process, so it catches its own. It lies on the stack, and must be small.
    ///
    /// # Safety
    ///
    /// `body` drops its link before it returns. What `body`, `O` and `E` borrow outlives the fiber's end, or the
    /// process if the fiber is dropped before its end or forgotten.
    #[inline]
    pub(super) unsafe fn new<F>(stack: Stack, body: F) -> Self
    where
        F: FnOnce(Link<O>) -> End<E>,
    {
        let header = stack.header();
        let (floor, room) = stack.get().extent();
        let root = move |switch: &corosensei::Yielder<(), O>, ()| {
            body(Link { switch: NonNull::from(switch), header, floor, room })
        };
        // SAFETY: says the caller. A fiber that was begun and is dropped keeps its stack for ever, one that was not
        // keeps its body there.
        let switch = unsafe { Coroutine::with_stack_unchecked(stack, root) };
        Self { switch: ManuallyDrop::new(switch), header }
    }

    /// Switches to the fiber, and comes back when it suspends or ends.
    ///
    /// # Safety
    ///
    /// It has not ended.
    #[inline(always)]
    pub(super) unsafe fn resume(&mut self) -> Turn<O, E> {
        // SAFETY: says the caller. corosensei looks once more, unless it is told.
        unsafe { assert_unchecked(!self.switch.done()) };
        match self.switch.resume(()) {
            CoroutineResult::Yield(output) => Turn::Suspended(output),
            CoroutineResult::Return(end) => Turn::Ended(end),
        }
    }

    pub(super) fn header(&self) -> NonNull<Header> {
        self.header
    }
}

impl<O, E> Drop for Fiber<O, E> {
    #[inline]
    fn drop(&mut self) {
        if self.switch.done() {
            // SAFETY: dropped here only. There are no frames, so this gives the stack back and nothing else.
            unsafe { ManuallyDrop::drop(&mut self.switch) };
        } else {
            count_leak(self.header);
        }
    }
}

impl<O> Link<O> {
    /// Whether the calling code runs on this fiber's stack.
    #[inline(always)]
    pub(super) fn runs(&self) -> bool {
        stack_pointer().wrapping_sub(self.floor) < self.room
    }

    /// # Panics
    ///
    /// On another stack than the fiber's.
    #[inline(always)]
    pub(super) fn must_run(&self) {
        assert!(self.runs(), "a coroutine can be suspended from inside only");
    }

    /// Switches to whoever resumed the fiber, and comes back when it is resumed. Says of the body what it does meanwhile.
    ///
    /// # Panics
    ///
    /// As `must_run`.
    #[inline(always)]
    pub(super) fn suspend(&self, phase: Phase, output: O) {
        self.must_run();
        self.header().phase.set(phase);
        // SAFETY: invariant 1: the fiber's stack runs, so its root frame is there, and corosensei's yielder above it.
        unsafe { self.switch.as_ref() }.suspend(output);
    }

    /// The header of the fiber's stack.
    #[inline(always)]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: the stack is in use for as long as its root frame.
        unsafe { self.header.as_ref() }
    }
}

/// Where the frame of the caller lies, or of one that it calls.
#[inline(always)]
fn stack_pointer() -> usize {
    let at: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {}, rsp", out(reg) at, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!("mov {}, sp", out(reg) at, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let local = std::hint::black_box(0_u8);
        at = &raw const local as usize;
    }
    at
}
