//! Timers: who has one, and that the thread that serves them is there and awake. The shipped lines of
//! `thread/agenda.rs`, on the modelled `Lock` and `Event`; threads and the clock are the model's.
#![cfg(crewkit_loom)]

#[path = "../../src/thread/agenda.rs"]
mod agenda;

mod primitive {
    pub(crate) use crewkit::sync::Lock as Mutex;
}

mod sync {
    pub(crate) use crewkit::sync::Event;
}

use agenda::{Agenda, Look, State};
use crewkit::model::atomic::{AtomicUsize, Ordering};
use crewkit::model::{Arc, thread};
use crewkit_loom_tests::explore;
use std::convert::Infallible;
use std::sync::atomic::AtomicBool;

/// Entries up to this one are due.
const NOW: u32 = 5;

struct Timers {
    agenda: Agenda<u32, ()>,
    fired: AtomicUsize,
}

impl Timers {
    fn new() -> Arc<Self> {
        let agenda = Agenda::of(primitive::Mutex::new(State::new()), sync::Event::new());
        Arc::new(Self { agenda, fired: AtomicUsize::new(0) })
    }

    /// Adds an entry that somebody serves already, or will.
    fn add(&self, key: u32) {
        self.agenda.add(key, (), || Ok::<(), Infallible>(())).unwrap();
    }

    /// Adds an entry, and serves until there is nothing if nobody does.
    fn add_and_see_to_it(timers: &Arc<Self>, key: u32) -> Option<thread::JoinHandle<()>> {
        let mut server = None;
        let serve = || {
            let timers = Arc::clone(timers);
            server = Some(thread::spawn(move || timers.serve()));
            Ok::<(), Infallible>(())
        };
        timers.agenda.add(key, (), serve).unwrap();
        server
    }

    fn serve(&self) {
        loop {
            match self.agenda.look(|key| *key <= NOW) {
                Look::Due(()) => drop(self.fired.fetch_add(1, Ordering::Relaxed)),
                Look::Later(_) => unreachable!("all are due"),
                Look::Nothing if self.agenda.leave() => return,
                Look::Nothing => {}
            }
        }
    }

    fn fired(&self) -> usize {
        self.fired.load(Ordering::Relaxed)
    }
}

#[test]
fn one_of_fire_and_cancel_and_all_who_cancel_are_told_the_same() {
    explore("agenda: fire × cancel × cancel", || {
        let timers = Timers::new();
        timers.add(1);
        let server = thread::spawn({
            let timers = Arc::clone(&timers);
            move || timers.serve()
        });
        let cancelled = Arc::new(AtomicBool::new(false));
        let other = thread::spawn({
            let (timers, cancelled) = (Arc::clone(&timers), Arc::clone(&cancelled));
            move || timers.agenda.cancel(&1, &cancelled)
        });
        let (taken, is_cancelled) = timers.agenda.cancel(&1, &cancelled);
        let (taken_there, is_cancelled_there) = other.join().unwrap();
        server.join().unwrap();
        let taken = usize::from(taken.is_some()) + usize::from(taken_there.is_some());
        assert_eq!((taken + timers.fired(), taken == 1), (1, is_cancelled));
        assert_eq!(is_cancelled, is_cancelled_there);
    });
}

#[test]
fn what_is_added_while_the_server_leaves_is_served() {
    explore("agenda: add × add × leave", || {
        let timers = Timers::new();
        let first = Timers::add_and_see_to_it(&timers, 1);
        let other = thread::spawn({
            let timers = Arc::clone(&timers);
            move || Timers::add_and_see_to_it(&timers, 2)
        });
        let second = other.join().unwrap();
        first.into_iter().chain(second).for_each(|server| server.join().unwrap());
        assert_eq!(timers.fired(), 2);
    });
}

#[test]
fn a_server_that_waits_for_a_later_entry_is_woken_for_an_earlier_one() {
    explore("agenda: add × wait", || {
        let timers = Timers::new();
        timers.add(9);
        let server = thread::spawn({
            let timers = Arc::clone(&timers);
            move || {
                while timers.fired() < 1 {
                    match timers.agenda.look(|key| *key <= NOW) {
                        Look::Due(()) => drop(timers.fired.fetch_add(1, Ordering::Relaxed)),
                        // For ever: the model has no clock, so nobody but who adds can wake it.
                        Look::Later(_) => timers.agenda.wake.wait(),
                        Look::Nothing => unreachable!("one is never due"),
                    }
                }
            }
        });
        timers.add(1);
        server.join().unwrap();
        assert_eq!(timers.fired(), 1);
    });
}
