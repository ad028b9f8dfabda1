//! A lock between processes whose holder dies at any step: the shipped lines of `shm/held.rs`, on a model of the kernel's
//! robust mutex.
#![cfg(crewkit_loom)]

#[path = "../../src/shm/held.rs"]
mod held;

mod primitive {
    pub(crate) use crewkit_loom_tests::mortal::{AtomicU32, Got, Refused, Robust};
}

mod sys {
    pub(crate) mod clock {
        pub(crate) struct Deadline;
    }
}

use crewkit::model::{Arc, thread};
use crewkit_loom_tests::explore;
use crewkit_loom_tests::mortal::{dies_before, i_am};
use held::{Held, State};
use sys::clock::Deadline;

/// Takes the lock, and recovers if need be; whether a holder had died. `depth` is what an `RLock` would note.
fn take(lock: &Held) -> bool {
    let state = lock.lock(Deadline).unwrap();
    assert_eq!(lock.depth(), 0, "a depth that a dead holder left");
    lock.set_depth(1);
    if state == State::Dirty {
        lock.recover();
    }
    state == State::Dirty
}

fn release(lock: &Held) {
    lock.set_depth(0);
    assert!(lock.unlock());
}

/// The steps of a life with the lock: lock, read `dirty`, read and note the depth, note it again, unlock.
const STEPS: usize = 6;

#[test]
fn whoever_dies_at_any_step_two_others_get_the_lock_and_one_at_most_is_told() {
    for last in 0..=STEPS {
        explore(&format!("held: (take, release) until step {last} × take × take"), move || {
            let lock = Arc::new(Held::new(()));
            let others: Vec<_> = (2..4)
                .map(|me| {
                    let lock = Arc::clone(&lock);
                    thread::spawn(move || {
                        i_am(me);
                        let told = take(&lock);
                        release(&lock);
                        told
                    })
                })
                .collect();
            i_am(1);
            let died = dies_before(last, || {
                take(&lock);
                release(&lock);
            });
            assert_eq!(died, last < STEPS);
            let held = lock.mutex.is_mine();
            lock.mutex.bury_me();
            let told = others.into_iter().map(|other| other.join().unwrap()).filter(|&told| told).count();
            let seen = told + usize::from(take(&lock));
            assert_eq!(seen, usize::from(held), "told of a death with the lock, once");
            release(&lock);
        });
    }
}

/// The steps of the same life after a death: lock, note `dirty` and the depth, make the mutex consistent, read `dirty`,
/// read and note the depth, recover, note the depth, unlock.
const STEPS_OF_AN_HEIR: usize = 10;

#[test]
fn an_heir_that_dies_at_any_step_leaves_a_lock_that_can_be_had() {
    for last in 0..=STEPS_OF_AN_HEIR {
        explore(&format!("held: (death, heir until step {last}) × take"), move || {
            let lock = Arc::new(Held::new(()));
            i_am(1);
            assert_eq!(lock.lock(Deadline).unwrap(), State::Clean);
            lock.mutex.bury_me();
            let other = thread::spawn({
                let lock = Arc::clone(&lock);
                move || {
                    i_am(3);
                    let told = take(&lock);
                    release(&lock);
                    told
                }
            });
            i_am(2);
            let died = dies_before(last, || {
                take(&lock);
                release(&lock);
            });
            let held = lock.mutex.is_mine();
            lock.mutex.bury_me();
            let other_was_told = other.join().unwrap();
            let told = take(&lock);
            release(&lock);
            if !died {
                assert!(!told, "one of the two has recovered");
            } else if !held {
                assert!(other_was_told || told, "a death that nobody was told of");
            }
        });
    }
}
