//! Condition: a bounded buffer of boxes between two conditions on one lock, with timeouts; the same on a nested RLock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crewkit::sync::{Condition, Lock, RLock};
use crewkit_stress::{crew, report};

const PAIRS: u64 = 2;
const ROUNDS: u64 = 5_000;
const ROOM: usize = 3;
const A_MOMENT: Duration = Duration::from_micros(20);

/// An item is two boxes that must agree.
static BUFFER: Lock<Vec<(Box<u64>, Box<u64>)>> = Lock::new(Vec::new());
static FILLED: Condition = Condition::new();
static EMPTIED: Condition = Condition::new();
static SUM: AtomicU64 = AtomicU64::new(0);

/// Whose turn it is.
static TURN: RLock<AtomicU64> = RLock::new(AtomicU64::new(0));
static CHANGED: Condition = Condition::new();

fn main() {
    crew(2 * PAIRS, |number| {
        for round in 0..ROUNDS {
            let mut buffer = BUFFER.lock();
            if number < PAIRS {
                if round % 2 == 0 {
                    EMPTIED.wait_while(&mut buffer, |buffer| buffer.len() == ROOM);
                } else {
                    while !EMPTIED.wait_while_timeout(&mut buffer, |buffer| buffer.len() == ROOM, A_MOMENT) {}
                }
                buffer.push((Box::new(round), Box::new(round)));
                if round % 3 == 0 {
                    drop(buffer);
                }
                FILLED.notify_one();
            } else {
                if round % 2 == 0 {
                    FILLED.wait_while(&mut buffer, |buffer| buffer.is_empty());
                } else {
                    while !FILLED.wait_while_timeout(&mut buffer, |buffer| buffer.is_empty(), A_MOMENT) {}
                }
                let (item, same) = buffer.pop().expect("it is not empty");
                EMPTIED.notify_one();
                assert_eq!(item, same);
                SUM.fetch_add(*item, Ordering::Relaxed);
            }
        }
    });
    assert_eq!(SUM.load(Ordering::Relaxed), PAIRS * (0..ROUNDS).sum::<u64>());

    crew(3, |number| {
        for _ in 0..ROUNDS {
            let _outer = TURN.lock();
            let mut turn = TURN.lock();
            CHANGED.wait_while(&mut turn, |turn| turn.load(Ordering::Relaxed) % 3 != number);
            assert_eq!(TURN.depth(), 2);
            turn.fetch_add(1, Ordering::Relaxed);
            CHANGED.notify_all();
        }
    });
    assert_eq!(TURN.lock().load(Ordering::Relaxed), 3 * ROUNDS);
    report("condition");
}
