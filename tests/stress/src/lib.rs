//! What the stress programs share: threads by plain spawn and join, and memory that nothing but the primitive under
//! test protects.
//!
//! std is not instrumented, so its `Mutex`, `Condvar`, `mpsc` and `scope` would be reported as races. The programs keep to
//! statics, spawn and join.
//!
//! # Safety
//!
//! [`Plain`] is unsynchronised on purpose. Its methods are unsafe: the caller vouches that the primitive under test keeps
//! the accesses apart, and ThreadSanitizer holds it to that.

#![expect(unsafe_code, reason = "plain shared memory is what a race detector looks at")]

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// A number in plain memory.
#[derive(Debug, Default)]
pub struct Plain(UnsafeCell<u64>);

// SAFETY: every access goes through an unsafe method whose caller keeps the accesses apart.
unsafe impl Sync for Plain {}

impl Plain {
    /// Zero.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    /// The number.
    ///
    /// # Safety
    ///
    /// Nobody writes meanwhile.
    pub unsafe fn get(&self) -> u64 {
        // SAFETY: nobody writes, says the caller.
        unsafe { *self.0.get() }
    }

    /// Adds to the number.
    ///
    /// # Safety
    ///
    /// Nobody else reads or writes meanwhile.
    pub unsafe fn add(&self, more: u64) {
        // SAFETY: nobody else is here, says the caller.
        unsafe { *self.0.get() += more };
    }
}

/// Threads of the crew that have done their work.
static ARRIVED: AtomicU64 = AtomicU64::new(0);

/// Runs `body` on `threads` threads, giving each its number, and waits for them. One crew at a time.
///
/// No thread ends before all have done their work: the last drop of an `Arc` that a thread keeps for itself, such as
/// its parker, acquires by a fence, which ThreadSanitizer does not follow; through `ARRIVED` it sees the order.
pub fn crew(threads: u64, body: impl Fn(u64) + Clone + Send + 'static) {
    ARRIVED.store(0, Ordering::SeqCst);
    let member = |number| {
        let body = body.clone();
        thread::spawn(move || {
            let _arrival = Arrival { threads };
            body(number);
        })
    };
    let crew: Vec<_> = (0..threads).map(member).collect();
    for member in crew {
        member.join().expect("a thread panicked");
    }
}

/// Arrives and waits for the others when dropped, also by a panic.
struct Arrival {
    threads: u64,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        ARRIVED.fetch_add(1, Ordering::AcqRel);
        while ARRIVED.load(Ordering::Acquire) < self.threads {
            thread::yield_now();
        }
    }
}

/// Tells `ci/sanitizers.sh` that the program came to its end.
pub fn report(program: &str) {
    println!("stress: {program} ok");
}
