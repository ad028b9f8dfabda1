//! Spans: where the stacks of the calling thread lie, for the handler of SIGSEGV, which asks whose guard was hit.
//!
//! They form a list that begins in a thread-local without a destructor, so it can be read at any time, in a signal handler
//! and while the thread ends. A span joins and leaves by one store to a word that the handler reads, so the handler
//! finds the list whole wherever it interrupts the thread.
//!
//! # Safety
//!
//! A span is in the list of the thread that made it from its making to its drop, in that thread, and stays where it is
//! meanwhile. The memory that it tells of can be read but for the guards.

#![expect(unsafe_code, reason = "a list by pointers, read in a signal handler")]

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{Ordering, compiler_fence};

use super::Spec;
use super::slab::header;
use crate::sys::fault::{Fault, Overflow};

/// The addresses of a slab.
#[derive(Debug)]
pub(super) struct Span {
    low: usize,
    spec: &'static Spec,
    next: Cell<*const Span>,
    before: Cell<*const Span>,
}

thread_local! {
    static FIRST: Cell<*const Span> = const { Cell::new(ptr::null()) };
}

impl Span {
    /// Adds the slab that begins at `low`.
    pub(super) fn new(low: usize, spec: &'static Spec) -> Box<Self> {
        let next = FIRST.get();
        let span = Box::new(Self { low, spec, next: Cell::new(next), before: Cell::new(ptr::null()) });
        // SAFETY: a span of the list is there.
        if let Some(next) = unsafe { next.as_ref() } {
            next.before.set(&raw const *span);
        }
        compiler_fence(Ordering::Release);
        FIRST.set(&raw const *span);
        span
    }

    fn end(&self) -> usize {
        self.low + self.spec.count * self.spec.stride()
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // SAFETY: a span of the list is there.
        match unsafe { self.before.get().as_ref() } {
            Some(before) => before.next.set(self.next.get()),
            None => FIRST.set(self.next.get()),
        }
        // SAFETY: as above.
        if let Some(next) = unsafe { self.next.get().as_ref() } {
            next.before.set(self.before.get());
        }
        compiler_fence(Ordering::Release);
    }
}

/// Whether a fault is an overflow: whether it hit the guard of the stack that runs. Runs in a signal handler.
pub(super) fn judge(fault: Fault) -> Option<Overflow> {
    let mut span = FIRST.get();
    // SAFETY: a span of the list is there.
    while let Some(here) = unsafe { span.as_ref() } {
        if (here.low..here.end()).contains(&fault.address) {
            return here.judge(fault);
        }
        span = here.next.get();
    }
    None
}

impl Span {
    fn judge(&self, fault: Fault) -> Option<Overflow> {
        let number = (fault.address - self.low) / self.spec.stride();
        let low = self.low + number * self.spec.stride();
        let runs = fault.stack_pointer.is_none_or(|at| (low..low + self.spec.stride()).contains(&at));
        if !runs || fault.address >= low + self.spec.guard {
            return None;
        }
        let header = header(NonNull::new(ptr::with_exposed_provenance_mut(low))?, number, self.spec)?;
        // SAFETY: in the slab, above the guard. It is in use, as it runs; where that is not known, it is made or zero.
        let name = unsafe { header.as_ref() }.name.get();
        (!name.is_null()).then_some(Overflow { name, bytes: self.spec.usable })
    }
}
