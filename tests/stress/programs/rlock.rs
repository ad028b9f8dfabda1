//! RLock: nested guards, tries and timeouts on plain memory; acquire and release in the style of Python.
//!
//! # Safety
//!
//! `OWN` is held wherever `PLAIN` is touched.

#![expect(unsafe_code, reason = "plain shared memory is what a race detector looks at")]

use std::cell::Cell;
use std::time::Duration;

use crewkit::sync::RLock;
use crewkit_stress::{Plain, crew, report};

const THREADS: u64 = 4;
const ROUNDS: u64 = 10_000;

static SUM: RLock<Cell<u64>> = RLock::new(Cell::new(0));
static OWN: RLock = RLock::new(());
static PLAIN: Plain = Plain::new();

fn main() {
    crew(THREADS, |number| {
        for round in 0..ROUNDS {
            let outer = match (number + round) % 3 {
                0 => SUM.lock(),
                1 => SUM.try_lock().unwrap_or_else(|| SUM.lock()),
                _ => SUM.lock_timeout(Duration::from_micros(50)).unwrap_or_else(|| SUM.lock()),
            };
            let inner = SUM.try_lock().expect("it is this thread's own");
            inner.set(outer.get() + 1);
        }
    });
    assert_eq!(SUM.lock().get(), THREADS * ROUNDS);

    crew(THREADS, |_| {
        for _ in 0..ROUNDS {
            OWN.acquire();
            OWN.acquire();
            OWN.release().expect("it is held twice");
            // SAFETY: the lock is held still.
            unsafe { PLAIN.add(1) };
            OWN.release().expect("it is held");
        }
    });
    assert!(OWN.release().is_err(), "nobody holds it");
    // SAFETY: all threads have ended.
    assert_eq!(unsafe { PLAIN.get() }, THREADS * ROUNDS);
    report("rlock");
}
