//! Events: one thread sets, the other wakes and answers by another.
//!
//! # Safety
//!
//! The bare futex is two system calls on a word that the caller borrows for their duration.

#![expect(unsafe_code, reason = "the raw futex is a system call")]

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

use crate::contest::{Contest, Contestant, Repetition, Size, Target, check};
use crate::place::{Job, Placement, together};

const OURS: &str = "crewkit Event";
const FUTEX: &str = "raw futex";

/// A flag that one thread waits for.
trait Flag: Default + Send + Sync + 'static {
    /// Called by the thread that will wait, before anything else happens.
    fn enter(&self) {}
    /// Raises it, and wakes who waits.
    fn set(&self);
    /// Waits until it is raised, and lowers it.
    fn await_and_clear(&self);
}

impl Flag for crewkit::sync::Event {
    fn set(&self) {
        Self::set(self);
    }

    fn await_and_clear(&self) {
        self.wait();
        self.clear();
    }
}

/// std's way: the waiting thread is known, and parks.
#[derive(Default)]
struct Parked {
    set: AtomicBool,
    waiter: OnceLock<Thread>,
}

impl Flag for Parked {
    fn enter(&self) {
        self.waiter.get_or_init(thread::current);
    }

    fn set(&self) {
        self.set.store(true, Ordering::Release);
        self.waiter.wait().unpark();
    }

    fn await_and_clear(&self) {
        while !self.set.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

/// The kernel's: a word to sleep on.
#[derive(Default)]
struct Futex(AtomicU32);

impl Flag for Futex {
    fn set(&self) {
        self.0.store(1, Ordering::Release);
        // SAFETY: the word lives as long as the borrow; waking has no other requirement.
        unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
    }

    fn await_and_clear(&self) {
        while self.0.swap(0, Ordering::Acquire) == 0 {
            let (word, forever) = (self.0.as_ptr(), ptr::null::<libc::timespec>());
            // SAFETY: the word lives as long as the borrow, and without a timeout nothing else is read.
            unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 0, forever) };
        }
    }
}

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    [Placement::Apart, Placement::OneCore].map(contest).into()
}

fn contest(placement: Placement) -> Contest {
    let work = format!("set, wake, and back, {}", placement.label());
    Contest::new("Event", work, "round trip", Size::MultipleOf(1))
        .with(Contestant::crewkit(OURS, move || Ok(ping_pong::<crewkit::sync::Event>(placement))))
        .with(Contestant::peer("std park, unpark", move || Ok(ping_pong::<Parked>(placement))))
        .with(Contestant::peer(FUTEX, move || Ok(ping_pong::<Futex>(placement))))
        .target(Target::cost(OURS, 1.1, &[FUTEX]))
}

/// To and fro, so many times.
fn ping_pong<F: Flag>(placement: Placement) -> Repetition {
    Box::new(move |operations| {
        let flags = Arc::new([F::default(), F::default()]);
        let mut trips = 0;
        let [ping, pong] = &*flags;
        let here = Job::on(0, || {
            pong.enter();
            for _ in 0..operations {
                ping.set();
                pong.await_and_clear();
                trips += 1;
            }
        });
        let there = Job::on(1, || {
            ping.enter();
            for _ in 0..operations {
                ping.await_and_clear();
                pong.set();
            }
        });
        let taken = together(placement, [here, there])?;
        check("round trips", trips, operations)?;
        Ok(taken.into())
    })
}
