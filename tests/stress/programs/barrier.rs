//! Barrier: plain memory written by one party before a trip, and by the action in it, read by all after it; then trips
//! that time out, are reset and aborted.
//!
//! # Safety
//!
//! `CELLS[n]` is written by party `n` before a trip and read by the others between that trip and the next one; `ACTED` is
//! written by the action only, and read between the trips.

#![expect(unsafe_code, reason = "plain shared memory is what a race detector looks at")]

use std::sync::LazyLock;
use std::time::Duration;

use crewkit::sync::Barrier;
use crewkit_stress::{Plain, crew, report};

const PARTIES: u64 = 3;
const ROUNDS: u64 = 3_000;

static CELLS: [Plain; 3] = [const { Plain::new() }; 3];
static ACTED: Plain = Plain::new();
// SAFETY: the action runs in one thread while the others wait.
static MEETING: LazyLock<Barrier> = LazyLock::new(|| Barrier::with_action(CELLS.len(), || unsafe { ACTED.add(1) }));
static ROUGH: Barrier = Barrier::new(2);

fn main() {
    LazyLock::force(&MEETING);
    crew(PARTIES, |number| {
        for round in 1..=ROUNDS {
            let index = usize::try_from(number).expect("a small number");
            // SAFETY: nobody reads before the trip.
            unsafe { CELLS[index].add(1) };
            MEETING.wait().expect("all come");
            for cell in &CELLS {
                // SAFETY: nobody writes before the next trip.
                assert_eq!(unsafe { cell.get() }, round);
            }
            // SAFETY: the action of the next trip needs this thread, too.
            assert_eq!(unsafe { ACTED.get() }, 2 * round - 1);
            MEETING.wait().expect("all come");
        }
    });

    crew(4, |number| {
        for round in 0..ROUNDS {
            let _ = ROUGH.wait_timeout(Duration::from_micros(10 * (1 + (number + round) % 7)));
            match (number + round) % 5 {
                0 => ROUGH.abort(),
                1..3 => ROUGH.reset(),
                _ => {}
            }
        }
    });
    ROUGH.reset();
    assert!(!ROUGH.is_broken());
    report("barrier");
}
