//! Data without any protection of its own.
//!
//! # Safety
//!
//! In a model a race on the number is found and reported by loom before it happens. On the machine the number is an
//! atomic, so that a race is no undefined behaviour but a wrong sum.

#![cfg_attr(crewkit_loom, expect(unsafe_code, reason = "shares a cell whose races loom reports"))]

/// A number to be protected by what is being modelled: where that fails, loom reports a race.
#[derive(Debug)]
pub struct Plain(Cell);

#[cfg(crewkit_loom)]
type Cell = loom::cell::Cell<usize>;
#[cfg(not(crewkit_loom))]
type Cell = std::sync::atomic::AtomicUsize;

// SAFETY: see above.
#[cfg(crewkit_loom)]
unsafe impl Sync for Plain {}

impl Plain {
    /// A number to begin with.
    pub fn new(value: usize) -> Self {
        Self(Cell::new(value))
    }

    /// Reads.
    pub fn get(&self) -> usize {
        #[cfg(crewkit_loom)]
        return self.0.get();
        #[cfg(not(crewkit_loom))]
        return self.0.load(std::sync::atomic::Ordering::Relaxed);
    }

    /// Reads, and writes the sum.
    pub fn add(&self, more: usize) {
        let sum = self.get() + more;
        #[cfg(crewkit_loom)]
        self.0.set(sum);
        #[cfg(not(crewkit_loom))]
        self.0.store(sum, std::sync::atomic::Ordering::Relaxed);
    }
}
