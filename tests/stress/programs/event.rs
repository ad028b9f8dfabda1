//! Event: what was written before `set` is there after `wait`, for waiters that came early, late and with a timeout.
//!
//! # Safety
//!
//! Each number is written once, before its event is set, and read only after a wait for that event.

#![expect(unsafe_code, reason = "plain shared memory is what a race detector looks at")]

use std::thread;
use std::time::Duration;

use crewkit::sync::{Event, Semaphore};
use crewkit_stress::{Plain, crew, report};

const READERS: usize = 3;
const ROUNDS: usize = 3_000;

static SET: [Event; ROUNDS] = [const { Event::new() }; ROUNDS];
/// One permit per reader that has read; the writer collects them, so that readers do come early and sleep.
static READ: Semaphore = Semaphore::new(0);
static PLAIN: [Plain; ROUNDS] = [const { Plain::new() }; ROUNDS];

fn main() {
    crew(4, |number| {
        for (event, plain) in SET.iter().zip(&PLAIN) {
            match number {
                0 => {
                    // SAFETY: the event is not set yet, so nobody reads.
                    unsafe { plain.add(7) };
                    event.set();
                    READ.acquire_many(READERS).forget();
                }
                1 => while !event.wait_timeout(Duration::from_micros(10)) {},
                2 => {
                    while !event.is_set() {
                        thread::yield_now();
                    }
                }
                _ => event.wait(),
            }
            // SAFETY: the event is set, and nobody writes after that.
            assert_eq!(unsafe { plain.get() }, 7);
            if number > 0 {
                READ.release(1).expect("room for a permit");
            }
        }
    });
    report("event");
}
