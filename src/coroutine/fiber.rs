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
//!    scoped thread-local, safe code can use such a loan while another stack runs, or none. So [`Link::suspend`] compares
//!    the running stack with its own and panics if they differ.
//! 2. While a fiber runs, its `Fiber` is borrowed mutably by whoever resumed it. Once suspended, its frames stay as they
//!    are until it is resumed or, if it is dropped, for ever.

#![expect(unsafe_code, reason = "switches stacks")]

use std::any::Any;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use corosensei::{Coroutine, CoroutineResult};

use super::stack::{Current, Header, Stack, count_leak, current};

/// How a body ended: with its result, or with the payload of a panic.
pub(super) type End<E> = Result<E, Box<dyn Any + Send>>;

/// What came back from a fiber.
pub(super) enum Turn<O, E> {
    Suspended(O),
    Ended(End<E>),
}

/// A suspended fiber: takes `I` at each turn, gives `O` when it suspends and `E` at its end.
pub(super) struct Fiber<I, O, E> {
    switch: ManuallyDrop<Coroutine<I, O, End<E>, Stack>>,
    header: NonNull<Header>,
}

/// The fiber's own end of the switch.
pub(super) struct Link<I, O> {
    switch: NonNull<corosensei::Yielder<I, O>>,
    header: NonNull<Header>,
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

impl<I, O, E> Fiber<I, O, E> {
    /// A fiber that runs `body` on `stack` when it is resumed for the first time, with what it is resumed with.
    ///
    /// A panic that leaves `body` ends the process, so it catches its own. It lies on the stack, and must be small.
    ///
    /// # Safety
    ///
    /// `body` drops its link before it returns. What `body`, `I`, `O` and `E` borrow outlives the fiber's end, or the
    /// process if the fiber is dropped before its end or forgotten.
    #[inline]
    pub(super) unsafe fn new<F>(stack: Stack, body: F) -> Self
    where
        F: FnOnce(Link<I, O>, I) -> End<E>,
    {
        let header = stack.header();
        let root = move |switch: &corosensei::Yielder<I, O>, first| {
            body(Link { switch: NonNull::from(switch), header }, first)
        };
        // SAFETY: says the caller. A fiber that was begun and is dropped keeps its stack for ever, one that was not
        // keeps its body there.
        let switch = unsafe { Coroutine::with_stack_unchecked(stack, root) };
        Self { switch: ManuallyDrop::new(switch), header }
    }

    /// Switches to the fiber, and comes back when it suspends or ends. Once it has ended it must not be resumed.
    #[inline(always)]
    pub(super) fn resume(&mut self, input: I) -> Turn<O, E> {
        let _current = Current::enter(self.header);
        match self.switch.resume(input) {
            CoroutineResult::Yield(output) => Turn::Suspended(output),
            CoroutineResult::Return(end) => Turn::Ended(end),
        }
    }

    pub(super) fn header(&self) -> NonNull<Header> {
        self.header
    }
}

impl<I, O, E> Drop for Fiber<I, O, E> {
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

impl<I, O> Link<I, O> {
    /// Whether the calling code runs on this fiber's stack.
    #[inline]
    pub(super) fn runs(&self) -> bool {
        std::ptr::eq(current(), self.header.as_ptr())
    }

    /// Switches to whoever resumed the fiber, and comes back with what it is resumed with.
    ///
    /// # Panics
    ///
    /// On another stack than the fiber's.
    #[inline(always)]
    pub(super) fn suspend(&self, output: O) -> I {
        assert!(self.runs(), "a coroutine can be suspended from inside only");
        // SAFETY: invariant 1: the fiber's stack runs, so its root frame is there, and corosensei's yielder above it.
        unsafe { self.switch.as_ref() }.suspend(output)
    }

    /// The header of the fiber's stack.
    #[inline]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: the stack is in use for as long as its root frame.
        unsafe { self.header.as_ref() }
    }
}
