//! A barrier between processes whose parties die at any step: the shipped lines of `shm/trip.rs`, `roster.rs`, `bell.rs` and
//! `held.rs`, on a model of the kernel's part.
#![cfg(crewkit_loom)]

#[path = "../../src/shm/bell.rs"]
mod bell;
#[path = "../../src/shm/held.rs"]
mod held;
#[path = "../../src/shm/roster.rs"]
mod roster;
#[path = "../../src/shm/trip.rs"]
mod trip;

mod primitive {
    pub(crate) use crewkit_loom_tests::mortal::{
        AtomicU32, AtomicU64, Got, Life, Refused, Robust, SharedFutex, fence, fence_after_exchange, has_passed,
    };
}

mod sys {
    pub(crate) mod clock {
        #[derive(Clone, Copy)]
        pub(crate) struct Deadline;

        impl Deadline {
            pub(crate) fn at_least(self, _: std::time::Duration) -> Self {
                self
            }
        }
    }
}

use bell::Bell;
use crewkit::model::{Arc, thread};
use crewkit_loom_tests::explore_large;
use crewkit_loom_tests::mortal::{Life, at_each_step, bury_me, dies_before, i_am};
use held::{Held, State};
use roster::Roster;
use sys::clock::Deadline;
use trip::{Failed, Trip};

type Barrier = Held<Trip>;

/// Processes 1, 2 … are known as parties, and sit in the seats of these numbers.
fn barrier(parties: u32, processes: usize) -> Arc<Barrier> {
    let barrier = Held::new(Trip::new());
    barrier.guarded.begin(parties);
    for number in 1..=processes {
        i_am(number);
        assert_eq!(barrier.sit_down(Life::of(number), Deadline).unwrap(), Some(number));
    }
    Arc::new(barrier)
}

/// Whether the trip was made, rather than that the barrier is broken.
fn goes(barrier: &Barrier, number: usize) -> bool {
    match barrier.make(number, Life::of(number), Deadline, || ()) {
        Ok(_) => true,
        Err(Failed::Broken) => false,
        Err(Failed::Refused(refused)) => panic!("{refused:?}"),
    }
}

fn party(barrier: &Arc<Barrier>, number: usize) -> thread::JoinHandle<bool> {
    let barrier = Arc::clone(barrier);
    thread::spawn(move || {
        i_am(number);
        goes(&barrier, number)
    })
}

fn bury(barrier: &Barrier) {
    bury_me(&[&barrier.mutex], &[&barrier.guarded.bell.0]);
}

#[test]
fn parties_go_together_twice() {
    explore_large("trip: (wait, wait) × (wait, wait)", || {
        let barrier = barrier(2, 2);
        let other = {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                i_am(2);
                goes(&barrier, 2) && goes(&barrier, 2)
            })
        };
        i_am(1);
        assert!(goes(&barrier, 1) && goes(&barrier, 1));
        assert!(other.join().unwrap());
    });
}

#[test]
fn who_dies_on_a_trip_breaks_the_barrier_and_holds_up_nobody() {
    at_each_step("trip: wait × (wait, wait)", |last| {
        let barrier = barrier(2, 2);
        let other = {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                i_am(2);
                let first = goes(&barrier, 2);
                // Without the first there is no second one.
                (first, first && goes(&barrier, 2))
            })
        };
        i_am(1);
        let died = dies_before(last, || assert!(goes(&barrier, 1)));
        if died {
            bury(&barrier);
        } else {
            assert!(goes(&barrier, 1));
        }
        let (first, second) = other.join().unwrap();
        assert!(died || first, "who lives makes the trip");
        assert_eq!(second, !died, "the second trip is made by two or by nobody");
        i_am(3);
        barrier.reap(Life::of(3), Deadline).unwrap();
        assert_eq!(barrier.guarded.is_broken(), died);
        died
    });
}

#[test]
fn two_who_wait_for_one_who_dies_are_both_told() {
    at_each_step("trip: wait × wait × wait", |last| {
        let barrier = barrier(3, 3);
        let others = [party(&barrier, 2), party(&barrier, 3)];
        i_am(1);
        let died = dies_before(last, || assert!(goes(&barrier, 1)));
        if died {
            bury(&barrier);
        }
        let [two, three] = others.map(|other| other.join().unwrap());
        assert_eq!(two, three, "a trip for some");
        assert!(died || two);
        died
    });
}

#[test]
fn a_party_that_dies_without_waiting_breaks_it_and_a_reset_begins_anew() {
    at_each_step("trip: (death, reset that dies) × wait", |last| {
        let barrier = barrier(2, 3);
        i_am(3);
        bury(&barrier);
        let other = party(&barrier, 2);
        i_am(1);
        let died = dies_before(last, || barrier.reset(Life::of(1), Deadline).unwrap());
        if died {
            bury(&barrier);
        } else {
            // For the other, if it came after the reset.
            barrier.abort(Deadline).unwrap();
        }
        assert!(!other.join().unwrap());
        i_am(4);
        barrier.reset(Life::of(4), Deadline).unwrap();
        assert!(!barrier.guarded.is_broken() && barrier.guarded.waiting() == 0);
        died
    });
}
