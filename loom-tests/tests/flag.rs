//! A flag between processes, whose users die at any step: the shipped lines of `shm/flag.rs`, on a model of the kernel's
//! part.
#![cfg(crewkit_loom)]

#[path = "../../src/shm/flag.rs"]
mod flag;

mod primitive {
    pub(crate) use crewkit_loom_tests::mortal::{SharedFutex, has_passed};
}

mod sys {
    pub(crate) mod clock {
        #[derive(Clone, Copy)]
        pub(crate) struct Deadline;
    }
}

use crewkit::model::{Arc, thread};
use crewkit_loom_tests::mortal::{bury_me, dies_before, i_am};
use crewkit_loom_tests::{Plain, explore, explore_deaths};
use flag::Flag;
use sys::clock::Deadline;

struct Shared {
    flag: Flag,
    news: Plain,
}

fn shared() -> Arc<Shared> {
    Arc::new(Shared { flag: Flag::new(), news: Plain::new(0) })
}

/// Waits, and sees what was written before the flag was set.
fn waiter(shared: &Arc<Shared>, number: usize) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        i_am(number);
        assert!(shared.flag.wait(Deadline));
        assert_eq!(shared.news.get(), 1);
    })
}

#[test]
fn all_who_wait_are_released_by_one_who_dies_after_setting() {
    for last in 0..=4 {
        explore_deaths(&format!("flag: wait × wait × (set that dies before step {last}, set)"), move || {
            let shared = shared();
            let waiters = [waiter(&shared, 2), waiter(&shared, 3)];
            i_am(1);
            shared.news.add(1);
            if dies_before(last, || assert!(shared.flag.set())) {
                bury_me(&[], &[&shared.flag.0]);
            }
            // Whoever comes after one that died before it had set it.
            shared.flag.set();
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        });
    }
}

#[test]
fn a_waiter_is_released_by_a_set_that_is_cleared_at_once() {
    explore("flag: wait × (set, clear) of what it waits for", || {
        let shared = shared();
        let waiter = waiter(&shared, 2);
        i_am(1);
        shared.news.add(1);
        // Until it sleeps, nobody can say that it has begun to wait.
        while shared.flag.0.word.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        assert!(shared.flag.set());
        shared.flag.clear();
        waiter.join().unwrap();
    });
}

#[test]
fn who_dies_waiting_keeps_nothing_from_another() {
    for last in 0..=4 {
        explore_deaths(&format!("flag: set × wait that dies before step {last} × wait"), move || {
            let shared = shared();
            let waiter = waiter(&shared, 2);
            let setter = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    i_am(3);
                    shared.news.add(1);
                    shared.flag.set();
                })
            };
            i_am(1);
            if dies_before(last, || assert!(shared.flag.wait(Deadline))) {
                bury_me(&[], &[&shared.flag.0]);
            }
            setter.join().unwrap();
            waiter.join().unwrap();
        });
    }
}
