//! Lock: guards, tries and timeouts on plain memory; acquire and release in the style of Python.
//!
//! # Safety
//!
//! `BATON` is held wherever `PLAIN` is touched.

#![expect(unsafe_code, reason = "plain shared memory is what a race detector looks at")]

use std::time::Duration;

use crewkit::sync::Lock;
use crewkit_stress::{Plain, crew, report};

const THREADS: u64 = 4;
const ROUNDS: u64 = 20_000;

static PAIR: Lock<[u64; 2]> = Lock::new([0; 2]);
static BATON: Lock = Lock::new(());
static PLAIN: Plain = Plain::new();

fn main() {
    crew(THREADS, |number| {
        for round in 0..ROUNDS {
            let mut pair = match (number + round) % 3 {
                0 => PAIR.lock(),
                1 => PAIR.try_lock().unwrap_or_else(|| PAIR.lock()),
                _ => PAIR.lock_timeout(Duration::from_micros(50)).unwrap_or_else(|| PAIR.lock()),
            };
            pair[0] += 1;
            pair[1] += number;
        }
    });
    assert_eq!(*PAIR.lock(), [THREADS * ROUNDS, ROUNDS * (0..THREADS).sum::<u64>()]);

    crew(THREADS, |_| {
        for _ in 0..ROUNDS {
            BATON.acquire();
            // SAFETY: the baton is here.
            unsafe { PLAIN.add(1) };
            BATON.release().expect("it is held");
        }
    });
    // SAFETY: all threads have ended.
    assert_eq!(unsafe { PLAIN.get() }, THREADS * ROUNDS);
    report("lock");
}
