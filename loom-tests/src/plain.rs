//! Data without any protection of its own.
//!
//! # Safety
//!
//! [`Plain`] claims to be shareable and is not: that nobody races for it is what the models show. loom finds a race and
//! reports it before it happens; as a plain test, a model has only the interleaving that the machine chose.

#![expect(unsafe_code, reason = "shares a cell, for loom to report its races")]

#[cfg(crewkit_loom)]
use loom::cell::Cell;
#[cfg(not(crewkit_loom))]
use std::cell::Cell;

/// A number to be protected by what is being modelled: where that fails, loom reports a race.
#[derive(Debug)]
pub struct Plain(Cell<usize>);

// SAFETY: see above.
unsafe impl Sync for Plain {}

impl Plain {
    /// A number to begin with.
    pub fn new(value: usize) -> Self {
        Self(Cell::new(value))
    }

    /// Reads.
    pub fn get(&self) -> usize {
        self.0.get()
    }

    /// Reads, and writes the sum.
    pub fn add(&self, more: usize) {
        self.0.set(self.get() + more);
    }
}
