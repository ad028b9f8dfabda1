//! A condition between processes whose users die at any step: the shipped lines of `shm/waiters.rs`, `roster.rs` and
//! `held.rs`, on a model of the kernel's part.
#![cfg(crewkit_loom)]

#[path = "../../src/shm/held.rs"]
mod held;
#[path = "../../src/shm/roster.rs"]
mod roster;
#[path = "../../src/shm/waiters.rs"]
mod waiters;

mod primitive {
    pub(crate) use crewkit_loom_tests::mortal::{AtomicU32, AtomicU64, Got, Life, Refused, Robust, SharedFutex};
}

mod sys {
    pub(crate) mod clock {
        #[derive(Clone, Copy)]
        pub(crate) struct Deadline;
    }
}

use crewkit::model::{Arc, thread};
use crewkit_loom_tests::explore_deaths;
use crewkit_loom_tests::mortal::{Life, at_each_step, bury_me, dies_before, i_am};
use held::{Held, State};
use roster::{Roster, SEATS, Seat};
use sys::clock::Deadline;
use waiters::Waiters;

struct Condition {
    lock: Held,
    waiters: Waiters,
}

impl Condition {
    fn new() -> Arc<Self> {
        Arc::new(Self { lock: Held::new(()), waiters: Waiters::new() })
    }

    /// Takes the lock; whether a holder had died.
    fn lock(&self) -> bool {
        let is_dirty = self.lock.lock(Deadline).unwrap() == State::Dirty;
        if is_dirty {
            self.lock.recover();
        }
        is_dirty
    }

    fn unlock(&self) {
        assert!(self.lock.unlock());
    }

    /// As `ipc::Condition` does it, under the lock: whether it was notified, rather than told of a death.
    fn wait(&self, number: usize, seat: usize) -> bool {
        let life = Life::of(number);
        loop {
            self.unlock();
            while !self.waiters.is_notified(seat) && !self.waiters.has_orphan(life) {
                self.waiters.sleep(seat, Deadline);
            }
            let has_died = self.lock();
            self.waiters.pass_on(life);
            let is_notified = self.waiters.is_notified(seat);
            if is_notified || has_died {
                self.waiters.leave(seat);
                return is_notified;
            }
        }
    }

    /// Sits down before the others begin; processes sit in the order in which they wait.
    fn sits(&self, number: usize) -> usize {
        i_am(number);
        self.lock();
        let seat = self.waiters.sit_down(Life::of(number)).unwrap();
        self.unlock();
        seat
    }

    fn bury(&self) {
        let calls: Vec<_> = (1..SEATS).map(|seat| &self.waiters.roster.seat(seat).call).collect();
        bury_me(&[&self.lock.mutex], &calls);
    }
}

/// A process that has sat down already, and waits.
fn waiter(condition: &Arc<Condition>, number: usize, seat: usize) -> thread::JoinHandle<bool> {
    let condition = Arc::clone(condition);
    thread::spawn(move || {
        i_am(number);
        // Who is told of a death looks again at what it waits for.
        let is_notified = !condition.lock() && condition.wait(number, seat);
        condition.unlock();
        is_notified
    })
}

#[test]
fn the_notification_of_who_dies_goes_on_to_the_next() {
    at_each_step("waiters: wait × (wait, notify 1)", |last| {
        let condition = Condition::new();
        let (first, second) = (condition.sits(1), condition.sits(2));
        let other = waiter(&condition, 2, second);
        i_am(3);
        condition.lock();
        condition.waiters.notify(1);
        condition.unlock();
        // The first was notified: it has waited longer.
        i_am(1);
        let died = dies_before(last, || {
            condition.lock();
            assert!(condition.wait(1, first));
            condition.unlock();
        });
        if died {
            condition.bury();
        }
        // Whoever has the lock next: after a death with it, all are to look again.
        i_am(4);
        if condition.lock() || !died {
            condition.waiters.notify_all();
        }
        condition.unlock();
        other.join().unwrap();
        died
    });
}

#[test]
fn all_are_woken_by_a_notifier_that_dies_or_told_of_its_death() {
    at_each_step("waiters: notify all × wait × wait", |last| {
        let condition = Condition::new();
        let seats = [condition.sits(2), condition.sits(3)];
        let others = [waiter(&condition, 2, seats[0]), waiter(&condition, 3, seats[1])];
        i_am(1);
        let died = dies_before(last, || {
            condition.lock();
            condition.waiters.notify_all();
            condition.unlock();
        });
        if died {
            condition.bury();
            // What it had not said, somebody says who comes after it.
            i_am(4);
            condition.lock();
            condition.waiters.notify_all();
            condition.unlock();
        }
        for other in others {
            other.join().unwrap();
        }
        died
    });
}

#[test]
fn who_dies_passing_a_notification_on_loses_none() {
    at_each_step("waiters: pass on × wait", |last| {
        let condition = Condition::new();
        let (dead, alive) = (condition.sits(3), condition.sits(2));
        // It may sleep before there is a notification, and look next when that was passed on, or lost.
        let other = waiter(&condition, 2, alive);
        i_am(4);
        condition.lock();
        condition.waiters.notify(1);
        condition.unlock();
        assert!(condition.waiters.is_notified(dead));
        i_am(3);
        condition.bury();
        i_am(1);
        let died = dies_before(last, || {
            condition.lock();
            condition.waiters.pass_on(Life::of(1));
            condition.unlock();
        });
        if died {
            condition.bury();
        }
        other.join().unwrap();
        died
    });
}

#[test]
fn a_seat_that_was_abandoned_takes_no_notification_with_it() {
    explore_deaths("waiters: abandon × notify × wait", || {
        let condition = Condition::new();
        let (gone, waits) = (condition.sits(1), condition.sits(2));
        let other = waiter(&condition, 2, waits);
        let notifier = {
            let condition = Arc::clone(&condition);
            thread::spawn(move || {
                i_am(3);
                condition.lock();
                condition.waiters.notify(1);
                condition.unlock();
            })
        };
        i_am(1);
        condition.waiters.abandon(gone);
        notifier.join().unwrap();
        // Whoever comes next, a sleeper's slice being over.
        condition.lock();
        condition.waiters.pass_on(Life::of(1));
        condition.unlock();
        assert!(other.join().unwrap());
    });
}
