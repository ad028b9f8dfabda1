//! A barrier between processes that breaks when a party dies.
//!
//! # State
//!
//! The phases are those of `sync::Barrier`:
//!
//! ```text
//!             last one is here          action done            last one has left
//!   Filling -------------------> Acting ------------> Draining ------------------> Filling
//!      |                           |                     |
//!      | reset, while some wait    | reset               | (a reset changes nothing: the trip is made)
//!      +---------------------------+--> Resetting ---------------------------------^
//!      |                           |         ^  reset, while some are inside       last one has left
//!      +- abort, timeout, panic ---+--> Broken (also from Draining and Resetting, by abort) -- reset, nobody inside --> Filling
//!      +- death of a party --------+
//! ```
//!
//! Each process that waits or enrols has a seat (`shm::roster`), whose word is how many of its threads are **inside**: have
//! come in and not left. So how many are inside is a sum over the living. All of it is under one robust mutex, but:
//!
//! * `doomed` may be set by anybody at any time, and means: break as soon as nobody is promised a trip any more. It is looked at by
//!   whoever gets the mutex ([`tidy`](Inside::tidy)): a barrier that fills or acts is broken then, one that drains is broken
//!   when the last one has left.
//! * a seat's word may be lowered by its owner at any time.
//!
//! # What others see when a party dies
//!
//! A party is known from the moment at which it has a seat, until it gives back its handle or has died. Whoever waits looks for
//! dead parties after each slice of at most 50 ms, and so does whoever comes.
//!
//! | It dies | Others find |
//! |---|---|
//! | not inside, or inside while the barrier fills or acts | broken, when its seat is cleared |
//! | inside, while the barrier drains | their trip made, and the next one broken |
//! | under the mutex, anywhere | the mutex says so: doomed. Each step is one store, so there is nothing else to be put in order, but that the last one may have left and not said so: `tidy` looks |
//! | between its last store and ringing | what it has stored, after a slice at most |
//!
//! A process that is stopped under the mutex holds up nobody beyond the deadline: who cannot get the mutex back dooms the barrier,
//! lowers its seat's word, and goes.

use super::roster::seat_among;
use super::{Bell, Held, Roster, State};
use crate::primitive::{AtomicU32, Life, Refused, has_passed};
use crate::sys::clock::Deadline;
use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// For the mutex, when the time is over: others have it for some instructions, or are stopped.
const A_MOMENT: Duration = Duration::from_millis(10);

const FILLING: u32 = 0;
const ACTING: u32 = 1;
const DRAINING: u32 = 2;
const RESETTING: u32 = 3;
const BROKEN: u32 = 4;

/// What lies behind the mutex.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Trip {
    parties: AtomicU32,
    phase: AtomicU32,
    doomed: AtomicU32,
    pub(super) bell: Bell,
    pub(crate) roster: Roster,
}

/// Why there was no trip.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Not all came, or will.
    Broken,
    /// The mutex was tampered with.
    Refused(Refused),
}

/// A trip that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) index: u32,
    pub(crate) is_leader: bool,
}

impl Trip {
    /// So many parties. Before anybody else has the object.
    pub(crate) fn begin(&self, parties: u32) {
        self.parties.store(parties, Ordering::Relaxed);
    }

    #[cfg(crewkit_loom)]
    pub(crate) fn new() -> Self {
        let [parties, phase, doomed] = [0; 3].map(AtomicU32::new);
        Self { parties, phase, doomed, bell: Bell::new(), roster: Roster::new() }
    }

    pub(crate) fn parties(&self) -> u32 {
        self.parties.load(Ordering::Relaxed)
    }

    fn phase(&self) -> u32 {
        self.phase.load(Ordering::Relaxed)
    }

    /// Whether it is broken, or will be.
    pub(crate) fn is_broken(&self) -> bool {
        self.phase() == BROKEN || self.doomed.load(Ordering::Relaxed) != 0
    }

    /// How many wait for the others.
    pub(crate) fn waiting(&self) -> u32 {
        if matches!(self.phase(), FILLING | ACTING) { self.inside() } else { 0 }
    }

    /// What who waits sleeps on.
    #[cfg(not(crewkit_loom))]
    pub(crate) fn word(&self) -> &AtomicU32 {
        self.bell.word()
    }

    fn inside(&self) -> u32 {
        let words = self.roster.seats().iter().map(|seat| seat.word.load(Ordering::Relaxed));
        let inside = words.fold(0, u64::wrapping_add);
        u32::try_from(inside).unwrap_or(u32::MAX)
    }
}

/// The mutex, taken, in a tidy barrier.
struct Inside<'a>(&'a Held<Trip>);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let was_mine = self.0.unlock();
        debug_assert!(was_mine, "taken by this thread");
    }
}

impl Inside<'_> {
    fn trip(&self) -> &Trip {
        &self.0.guarded
    }

    fn decide(&self, phase: u32) {
        self.trip().phase.swap(phase, Ordering::Relaxed);
        self.trip().bell.ring_all();
    }

    /// Does what others would have done who could not.
    fn tidy(&self) {
        let trip = self.trip();
        let is_doomed = trip.doomed.load(Ordering::Relaxed) != 0;
        match trip.phase() {
            FILLING | ACTING | BROKEN if is_doomed => self.decide(BROKEN),
            DRAINING | RESETTING if trip.inside() == 0 => self.decide(if is_doomed { BROKEN } else { FILLING }),
            _ => return,
        }
        // Last: who dies before it leaves a barrier that is broken, and will be broken again.
        if is_doomed {
            trip.doomed.store(0, Ordering::Relaxed);
        }
    }

    fn leave(&self, seat: usize) {
        self.trip().roster.seat(seat).word.fetch_sub(1, Ordering::Relaxed);
        self.tidy();
    }
}

impl Held<Trip> {
    fn inside(&self, deadline: Deadline) -> Result<Inside<'_>, Refused> {
        let state = self.lock(deadline)?;
        let inside = Inside(self);
        if state == State::Dirty {
            self.guarded.doomed.store(1, Ordering::Relaxed);
            self.recover();
        }
        inside.tidy();
        Ok(inside)
    }

    /// Makes a process known as a party; `Ok(None)` when there is no seat left.
    pub(crate) fn sit_down(&self, life: Life, deadline: Deadline) -> Result<Option<usize>, Refused> {
        let sit = || Ok(self.inside(deadline)?.trip().roster.sit_down(life, 0));
        seat_among(sit, || self.reap(life, deadline))
    }

    /// Makes a party unknown, which has no thread inside.
    pub(crate) fn withdraw(&self, seat: usize, deadline: Deadline) -> Result<(), Refused> {
        self.inside(deadline)?.trip().roster.leave(seat);
        Ok(())
    }

    /// Clears the seats of the dead, and breaks the barrier if there were any; whether there were.
    pub(crate) fn reap(&self, own: Life, deadline: Deadline) -> Result<bool, Refused> {
        let roster = &self.guarded.roster;
        roster.reap(
            own,
            || self.inside(deadline),
            |inside, index| {
                self.guarded.doomed.store(1, Ordering::Relaxed);
                roster.seat(index).word.store(0, Ordering::Relaxed);
                roster.leave(index);
                inside.tidy();
                Ok(())
            },
        )
    }

    /// Waits for the other parties. The last one that comes runs `action` before they go on.
    pub(crate) fn make(
        &self,
        seat: usize,
        own: Life,
        deadline: Deadline,
        action: impl FnOnce(),
    ) -> Result<Made, Failed> {
        self.reap(own, deadline).map_err(|refused| self.give_up(refused))?;
        let mut inside = self.inside(deadline).map_err(|refused| self.give_up(refused))?;
        while matches!(self.guarded.phase(), DRAINING | RESETTING) {
            if has_passed(deadline) {
                return Err(Failed::Broken);
            }
            inside = self.sleep(inside, own, deadline).map_err(|refused| self.give_up(refused))?;
        }
        if self.guarded.phase() != FILLING {
            return Err(Failed::Broken);
        }
        let index = self.guarded.inside();
        self.guarded.roster.seat(seat).word.fetch_add(1, Ordering::Relaxed);
        let party = Party { barrier: self, seat };
        let is_leader = index.saturating_add(1) >= self.guarded.parties();
        let end =
            if is_leader { self.act(inside, deadline, action) } else { self.await_the_last(inside, own, deadline) };
        // It lives, and leaves below.
        let _ = ManuallyDrop::new(party);
        match end {
            Ok(inside) => {
                let is_made = self.guarded.phase() == DRAINING;
                inside.leave(seat);
                if is_made { Ok(Made { index, is_leader }) } else { Err(Failed::Broken) }
            }
            Err(refused) => {
                let failed = self.give_up(refused);
                self.guarded.roster.seat(seat).word.fetch_sub(1, Ordering::Relaxed);
                Err(failed)
            }
        }
    }

    fn act<'a>(&'a self, inside: Inside<'a>, deadline: Deadline, action: impl FnOnce()) -> Result<Inside<'a>, Refused> {
        inside.trip().phase.store(ACTING, Ordering::Relaxed);
        drop(inside);
        action();
        let inside = self.inside(deadline.at_least(A_MOMENT))?;
        if self.guarded.phase() == ACTING {
            inside.decide(DRAINING);
        }
        Ok(inside)
    }

    fn await_the_last<'a>(
        &'a self,
        mut inside: Inside<'a>,
        own: Life,
        deadline: Deadline,
    ) -> Result<Inside<'a>, Refused> {
        while matches!(self.guarded.phase(), FILLING | ACTING) {
            if has_passed(deadline) {
                inside.decide(BROKEN);
            } else {
                inside = self.sleep(inside, own, deadline)?;
            }
        }
        Ok(inside)
    }

    /// Sleeps without the mutex until something is decided, a party has died, or a slice of time is over.
    fn sleep<'a>(&'a self, inside: Inside<'a>, own: Life, deadline: Deadline) -> Result<Inside<'a>, Refused> {
        let listening = self.guarded.bell.listen(true);
        drop(inside);
        self.guarded.bell.sleep(listening, deadline);
        self.reap(own, deadline.at_least(A_MOMENT))?;
        self.inside(deadline.at_least(A_MOMENT))
    }

    /// Breaks it without the mutex, as soon as nobody is promised a trip.
    pub(crate) fn doom(&self) {
        self.guarded.doomed.swap(1, Ordering::Relaxed);
        self.guarded.bell.ring_all();
    }

    /// The mutex is not to be had: nobody may count on us.
    fn give_up(&self, refused: Refused) -> Failed {
        self.doom();
        if matches!(refused, Refused::Busy) { Failed::Broken } else { Failed::Refused(refused) }
    }

    /// Sends all away who wait, and begins anew without those who have died.
    pub(crate) fn reset(&self, own: Life, deadline: Deadline) -> Result<(), Refused> {
        self.reap(own, deadline)?;
        let inside = self.inside(deadline)?;
        self.guarded.doomed.store(0, Ordering::Relaxed);
        match self.guarded.phase() {
            _ if self.guarded.inside() == 0 => inside.decide(FILLING),
            FILLING | ACTING | BROKEN => inside.decide(RESETTING),
            _ => {}
        }
        Ok(())
    }

    /// Breaks it.
    pub(crate) fn abort(&self, deadline: Deadline) -> Result<(), Refused> {
        self.inside(deadline)?.decide(BROKEN);
        Ok(())
    }
}

/// A party whose action panics does not stay inside, and the trip will not be made.
struct Party<'a> {
    barrier: &'a Held<Trip>,
    seat: usize,
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        self.barrier.give_up(Refused::Busy);
        self.barrier.guarded.roster.seat(self.seat).word.fetch_sub(1, Ordering::Relaxed);
    }
}
