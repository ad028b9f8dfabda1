//! Semaphore: one permit as a lock, several as a limit, permits taken many at a time and given up by timeout.
//!
//! # Safety
//!
//! `PLAIN` is touched with `ONE`'s only permit, or with all of `SOME`'s.

#![expect(unsafe_code, reason = "plain shared memory is what a race detector looks at")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crewkit::sync::Semaphore;
use crewkit_stress::{Plain, crew, report};

const THREADS: u64 = 4;
const ROUNDS: u64 = 10_000;
const LIMIT: usize = 3;

static ONE: Semaphore = Semaphore::new(1);
static SOME: Semaphore = Semaphore::new(LIMIT);
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static PLAIN: [Plain; 2] = [Plain::new(), Plain::new()];

fn main() {
    crew(THREADS, |_| {
        for _ in 0..ROUNDS {
            let permit = ONE.acquire();
            // SAFETY: there is one permit, and it is here.
            unsafe { PLAIN[0].add(1) };
            drop(permit);
        }
    });
    // SAFETY: all threads have ended.
    assert_eq!(unsafe { PLAIN[0].get() }, THREADS * ROUNDS);

    crew(THREADS, |number| {
        for round in 0..ROUNDS {
            if (number + round) % 16 == 0 {
                let all = SOME.acquire_many(LIMIT);
                assert_eq!(INSIDE.load(Ordering::Relaxed), 0, "somebody is inside without a permit");
                // SAFETY: all permits are here.
                unsafe { PLAIN[1].add(1) };
                drop(all);
            } else if let Some(permit) = SOME.acquire_timeout(Duration::from_micros(20)) {
                assert!(INSIDE.fetch_add(1, Ordering::Relaxed) < LIMIT, "more inside than permits");
                INSIDE.fetch_sub(1, Ordering::Relaxed);
                drop(permit);
            }
        }
    });
    assert_eq!(SOME.available(), LIMIT);
    // SAFETY: all threads have ended.
    assert_eq!(unsafe { PLAIN[1].get() }, THREADS * ROUNDS / 16);
    report("semaphore");
}
