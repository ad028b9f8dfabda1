//! A semaphore between processes whose users die at any step: the shipped lines of `shm/permits.rs`, `roster.rs`, `bell.rs`
//! and `held.rs`, on a model of the kernel's part.
#![cfg(crewkit_loom)]

#[path = "../../src/shm/bell.rs"]
mod bell;
#[path = "../../src/shm/held.rs"]
mod held;
#[path = "../../src/shm/permits.rs"]
mod permits;
#[path = "../../src/shm/roster.rs"]
mod roster;

mod primitive {
    pub(crate) use crewkit_loom_tests::mortal::{
        AtomicU32, AtomicU64, Got, Life, Refused, Robust, SharedFutex, fence, fence_after_exchange, has_passed,
    };
}

mod sys {
    pub(crate) mod clock {
        #[derive(Clone, Copy)]
        pub(crate) struct Deadline;
    }
}

use bell::Bell;
use crewkit::model::{Arc, thread};
use crewkit_loom_tests::mortal::{Life, at_each_step, bury_me, dies_before, i_am};
use held::{Held, State};
use permits::Permits;
use roster::{Roster, Seat};
use sys::clock::Deadline;

struct Semaphore(Held<Permits>);

/// All permits are nobody's; processes 1, 2 and 3 sit in the seats of these numbers as far as they are there.
fn semaphore(total: u32, processes: usize) -> Arc<Semaphore> {
    let semaphore = Semaphore(Held::new(Permits::new()));
    semaphore.0.guarded.begin(total, 9);
    (1..=processes).for_each(|number| semaphore.comes(number));
    Arc::new(semaphore)
}

impl Semaphore {
    fn comes(&self, number: usize) {
        i_am(number);
        assert_eq!(self.0.sit_down(Life::of(number), Deadline).unwrap(), Some(number));
    }

    fn take(&self, number: usize, count: u32) {
        let is_taken =
            self.0.guarded.take_own(number, count) || self.0.take(number, Life::of(number), count, Deadline).unwrap();
        assert!(is_taken);
    }

    /// What dies before step `last` of `body`, as process 1, and is buried.
    fn dies(&self, last: usize, body: impl FnOnce()) -> bool {
        i_am(1);
        let died = dies_before(last, body);
        if died {
            bury_me(&[&self.0.mutex], &[&self.0.guarded.bell.0]);
        }
        died
    }

    /// Process `number`, alone by now, finds so many permits and takes them all.
    fn has(&self, number: usize, total: u32) {
        i_am(number);
        self.0.reap(Life::of(number), Deadline).unwrap();
        let is_taken = self.0.try_take(number, Life::of(number), total, Deadline);
        assert_eq!(is_taken.unwrap(), true, "permits are lost");
        assert_eq!(self.0.guarded.count(), (0, total.into()), "permits out of nowhere");
    }
}

/// A process that takes `count` permits, and gives them back.
fn user(semaphore: &Arc<Semaphore>, number: usize, count: u32) -> thread::JoinHandle<()> {
    let semaphore = Arc::clone(semaphore);
    thread::spawn(move || {
        i_am(number);
        semaphore.take(number, count);
        semaphore.0.guarded.give_back(number, count);
    })
}

/// A process that takes a permit.
fn taker(semaphore: &Arc<Semaphore>, number: usize) -> thread::JoinHandle<()> {
    let semaphore = Arc::clone(semaphore);
    thread::spawn(move || {
        i_am(number);
        semaphore.take(number, 1);
    })
}

#[test]
fn who_waits_gets_what_somebody_gives_back_who_dies() {
    at_each_step("permits: give back × take", |last| {
        let semaphore = semaphore(1, 2);
        i_am(1);
        semaphore.take(1, 1);
        let waiter = user(&semaphore, 2, 1);
        let died = semaphore.dies(last, || semaphore.0.guarded.give_back(1, 1));
        waiter.join().unwrap();
        semaphore.has(2, 1);
        died
    });
}

#[test]
fn who_dies_while_it_takes_or_holds_leaves_all_permits() {
    at_each_step("permits: take × (take, give back)", |last| {
        let semaphore = semaphore(1, 2);
        let other = user(&semaphore, 2, 1);
        // In the seat of another, so that it has to be fetched.
        let died = semaphore.dies(last, || semaphore.take(1, 1));
        if !died {
            semaphore.0.guarded.give_back(1, 1);
        }
        other.join().unwrap();
        semaphore.has(2, 1);
        died
    });
}

#[test]
fn two_who_wait_both_get_what_somebody_gives_back_who_dies() {
    at_each_step("permits: give back 2 × take × take", |last| {
        let semaphore = semaphore(2, 3);
        i_am(1);
        semaphore.take(1, 2);
        let waiters = [taker(&semaphore, 2), taker(&semaphore, 3)];
        let died = semaphore.dies(last, || semaphore.0.guarded.give_back(1, 2));
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        semaphore.0.guarded.give_back(2, 1);
        semaphore.0.guarded.give_back(3, 1);
        semaphore.has(2, 2);
        died
    });
}

#[test]
fn who_dies_while_it_buries_another_leaves_all_permits() {
    at_each_step("permits: reap × take", |last| {
        let semaphore = semaphore(2, 3);
        i_am(3);
        semaphore.take(3, 2);
        bury_me(&[], &[]);
        let waiter = user(&semaphore, 2, 2);
        let died = semaphore.dies(last, || assert!(semaphore.0.reap(Life::of(1), Deadline).is_ok()));
        waiter.join().unwrap();
        semaphore.has(2, 2);
        died
    });
}

#[test]
fn who_dies_while_it_makes_or_forgets_permits_has_made_or_forgotten_all_or_none() {
    at_each_step("permits: release × take", |last| {
        let semaphore = semaphore(0, 2);
        let waiter = user(&semaphore, 2, 1);
        let died = semaphore.dies(last, || semaphore.0.release(1, Deadline).unwrap().unwrap());
        if died && semaphore.0.guarded.count().1 == 0 {
            i_am(3);
            semaphore.0.release(1, Deadline).unwrap().unwrap();
        }
        waiter.join().unwrap();
        semaphore.has(2, 1);
        died
    });
    at_each_step("permits: forget × (take, give back)", |last| {
        let semaphore = semaphore(2, 2);
        i_am(1);
        semaphore.take(1, 1);
        let other = user(&semaphore, 2, 1);
        let died = semaphore.dies(last, || semaphore.0.forget(1, 1, Deadline).unwrap());
        other.join().unwrap();
        let total = semaphore.0.guarded.count().1;
        assert!(total == 1 || (died && total == 2));
        semaphore.has(2, u32::try_from(total).unwrap());
        died
    });
}

#[test]
fn who_dies_while_it_comes_or_goes_leaves_its_seat_and_all_permits() {
    at_each_step("permits: (sit down, take, give back, leave) × (take, give back)", |last| {
        let semaphore = semaphore(1, 0);
        // So that the other's seat is the second.
        semaphore.comes(1);
        semaphore.comes(2);
        i_am(1);
        semaphore.0.leave(1, Deadline).unwrap();
        let other = user(&semaphore, 2, 1);
        let died = semaphore.dies(last, || {
            semaphore.comes(1);
            semaphore.take(1, 1);
            semaphore.0.guarded.give_back(1, 1);
            semaphore.0.leave(1, Deadline).unwrap();
        });
        other.join().unwrap();
        semaphore.has(2, 1);
        semaphore.0.reap(Life::of(2), Deadline).unwrap();
        i_am(3);
        assert_eq!(semaphore.0.sit_down(Life::of(3), Deadline).unwrap(), Some(1), "the seat is free");
        died
    });
}
