//! A semaphore between processes whose permits come back when their holder dies.
//!
//! # State
//!
//! ```text
//!   total   how many permits there are, held or not
//!   limit   how many there may be
//!   a seat's word, for each process (and one for nobody):  | held, 32 bits | idle, 32 bits |
//! ```
//!
//! **There is no count of free permits.** Each permit lies in one seat: *held* by the process that sits there, or *idle*,
//! where it was given back, for anybody to take. A semaphore begins with all of them idle in nobody's seat.
//!
//! | Step | Changes | Under the mutex |
//! |---|---|---|
//! | take what is idle in one's own seat | one word: idle to held | no |
//! | give back | one word: held to idle, in one's own seat | no |
//! | gather what is idle in others' seats | their words, then one's own | yes |
//! | forget; release what nobody has taken | a word and `total` | yes |
//! | reap a dead process, leave | its word, then nobody's | yes |
//!
//! So who uses a semaphore alone, or where permits are not scarce, changes a word of its own on a cache line of its own,
//! by one instruction each way, and what it has held is in that word at every instant.
//!
//! # Invariant
//!
//! **total = Σ (held + idle)** over all seats, whenever nobody is between two steps under the mutex. Steps without it keep
//! the sum of their seat. Under it, permits are taken out of one seat before they are put into another: whoever dies in
//! between has made some disappear. Its successor is told by the mutex ([`State::Dirty`]), adds up, and puts what is missing
//! into nobody's seat. (`release` adds to `total` first, `forget` takes from its word first: the same rule.)
//!
//! # What others see when a process dies
//!
//! | It dies | Others find |
//! |---|---|
//! | holding permits, anywhere outside the mutex | them in its seat; who finds too few idle permits reaps it |
//! | between taking from others and having them | them missing, and put back |
//! | while it is reaped by somebody who dies too | the same |
//! | between giving back and ringing; woken, and not yet looking | idle permits, after a slice at most |
//! | while it takes a seat | a free seat, or one to be reaped |
//!
//! A process that is *stopped* under the mutex holds up who has nothing idle in its own seat, until its deadline.
//!
//! # Orderings
//!
//! Whoever takes a permit sees what was done before it was given back: held to idle releases, idle to held acquires; what
//! passes through the hands of somebody under the mutex goes by read-modify-writes and the mutex. A giver's store and its look
//! for sleepers, a sleeper's announcement and its last look: `shm::bell`.

use super::roster::{NOBODYS, seat_among};
use super::{Bell, Held, Roster, Seat, State};
use crate::primitive::{AtomicU64, Life, Refused, has_passed};
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;

/// What lies behind the mutex.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Permits {
    total: AtomicU64,
    limit: AtomicU64,
    pub(super) bell: Bell,
    pub(crate) roster: Roster,
}

/// More permits than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The most permits that there can be.
pub(crate) const MOST: u32 = u32::MAX >> 1;

const HELD: u32 = 32;

fn held(word: u64) -> u64 {
    word >> HELD
}

fn idle(word: u64) -> u64 {
    word & u64::from(u32::MAX)
}

/// What a word becomes by if so many idle permits are held.
fn from_idle_to_held(count: u64) -> u64 {
    (count << HELD) - count
}

impl Seat {
    fn sum(&self) -> u64 {
        let word = self.word.load(Ordering::Relaxed);
        held(word) + idle(word)
    }

    /// Makes `count` idle permits held, if there are as many.
    #[inline]
    fn hold(&self, count: u64) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while idle(word) >= count {
            let next = word.wrapping_add(from_idle_to_held(count));
            match self.word.compare_exchange(word, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Takes `most` idle permits out of the seat, or as many as there are.
    fn take_out(&self, most: u64) -> u64 {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let count = idle(word).min(most);
            if count == 0 {
                return 0;
            }
            match self.word.compare_exchange(word, word - count, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return count,
                Err(now) => word = now,
            }
        }
    }
}

impl Permits {
    /// How many there are and may be. Before anybody else has the object.
    pub(crate) fn begin(&self, total: u32, limit: u32) {
        self.total.store(total.into(), Ordering::Relaxed);
        self.limit.store(limit.into(), Ordering::Relaxed);
        self.roster.seat(NOBODYS).word.store(total.into(), Ordering::Relaxed);
    }

    #[cfg(crewkit_loom)]
    pub(crate) fn new() -> Self {
        Self { total: AtomicU64::new(0), limit: AtomicU64::new(0), bell: Bell::new(), roster: Roster::new() }
    }

    /// How many are idle, and how many there are.
    pub(crate) fn count(&self) -> (u64, u64) {
        let idle = self.roster.seats().iter().map(|seat| idle(seat.word.load(Ordering::Relaxed))).sum();
        (idle, self.total.load(Ordering::Relaxed))
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// What who waits sleeps on.
    #[cfg(not(crewkit_loom))]
    pub(crate) fn word(&self) -> &std::sync::atomic::AtomicU32 {
        self.bell.word()
    }

    /// How many a seat's owner holds.
    pub(crate) fn held_in(seat: &Seat) -> u64 {
        held(seat.word.load(Ordering::Relaxed))
    }

    /// Takes `count` permits that this process gave back itself.
    #[inline]
    pub(crate) fn take_own(&self, seat: usize, count: u32) -> bool {
        self.roster.seat(seat).hold(count.into())
    }

    /// Gives back `count` permits that this process holds.
    #[inline]
    pub(crate) fn give_back(&self, seat: usize, count: u32) {
        self.roster.seat(seat).word.fetch_sub(from_idle_to_held(count.into()), Ordering::Release);
        self.bell.ring(count);
    }
}

/// The mutex, taken, with the invariant in force.
struct Inside<'a>(&'a Held<Permits>);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let was_mine = self.0.unlock();
        debug_assert!(was_mine, "taken by this thread");
    }
}

impl Inside<'_> {
    fn permits(&self) -> &Permits {
        &self.0.guarded
    }

    fn put_into_nobodys(&self, count: u64) {
        self.permits().roster.seat(NOBODYS).word.fetch_add(count, Ordering::Release);
    }

    /// What somebody had in hand when it died.
    fn settle(&self) {
        let permits = self.permits();
        let sum: u64 = permits.roster.seats().iter().map(Seat::sum).sum();
        let missing = permits.total.load(Ordering::Relaxed).saturating_sub(sum);
        self.put_into_nobodys(missing);
        self.0.recover();
        permits.bell.ring_all();
    }

    /// Takes `count` permits from wherever they are idle, all or none.
    fn gather(&self, own: usize, count: u64) -> bool {
        let roster = &self.permits().roster;
        let mut missing = count;
        for seat in roster.seats() {
            missing -= seat.take_out(missing);
            if missing == 0 {
                roster.seat(own).word.fetch_add(count << HELD, Ordering::Relaxed);
                return true;
            }
        }
        if missing < count {
            self.put_into_nobodys(count - missing);
        }
        false
    }
}

impl Held<Permits> {
    fn inside(&self, deadline: Deadline) -> Result<Inside<'_>, Refused> {
        let state = self.lock(deadline)?;
        let inside = Inside(self);
        if state == State::Dirty {
            inside.settle();
        }
        Ok(inside)
    }

    /// A seat for a process; `Ok(None)` when there is none left.
    pub(crate) fn sit_down(&self, life: Life, deadline: Deadline) -> Result<Option<usize>, Refused> {
        let sit = || Ok(self.inside(deadline)?.permits().roster.sit_down(life, 0));
        seat_among(sit, || self.reap(life, deadline))
    }

    /// Leaves the seat, unless permits are held there: they stay its process's until it ends.
    pub(crate) fn leave(&self, seat: usize, deadline: Deadline) -> Result<(), Refused> {
        let inside = self.inside(deadline)?;
        let roster = &inside.permits().roster;
        let idle = roster.seat(seat).take_out(u64::MAX);
        if idle > 0 {
            inside.put_into_nobodys(idle);
        }
        if Permits::held_in(roster.seat(seat)) == 0 {
            roster.leave(seat);
        }
        Ok(())
    }

    /// Takes `count` permits if there are as many, those of processes that have died included.
    pub(crate) fn try_take(&self, seat: usize, own: Life, count: u32, deadline: Deadline) -> Result<bool, Refused> {
        loop {
            if self.guarded.take_own(seat, count) || self.inside(deadline)?.gather(seat, count.into()) {
                return Ok(true);
            }
            if !self.reap(own, deadline)? {
                return Ok(false);
            }
        }
    }

    /// Takes `count` permits, waiting for them until `deadline`.
    #[cold]
    pub(crate) fn take(&self, seat: usize, own: Life, count: u32, deadline: Deadline) -> Result<bool, Refused> {
        loop {
            if self.try_take(seat, own, count, deadline)? {
                return Ok(true);
            }
            let listening = self.guarded.bell.listen(count > 1);
            if self.guarded.take_own(seat, count) || self.inside(deadline)?.gather(seat, count.into()) {
                return Ok(true);
            }
            if has_passed(deadline) {
                return Ok(false);
            }
            self.guarded.bell.sleep(listening, deadline);
        }
    }

    /// Adds `count` permits that nobody had taken.
    pub(crate) fn release(&self, count: u32, deadline: Deadline) -> Result<Result<(), TooMany>, Refused> {
        let inside = self.inside(deadline)?;
        let permits = inside.permits();
        let total = permits.total.load(Ordering::Relaxed).checked_add(count.into());
        let Some(total) = total.filter(|&total| total <= permits.limit()) else { return Ok(Err(TooMany)) };
        permits.total.store(total, Ordering::Relaxed);
        inside.put_into_nobodys(count.into());
        drop(inside);
        self.guarded.bell.ring(count);
        Ok(Ok(()))
    }

    /// Makes `count` permits that this process holds disappear.
    pub(crate) fn forget(&self, seat: usize, count: u32, deadline: Deadline) -> Result<(), Refused> {
        let inside = self.inside(deadline)?;
        let permits = inside.permits();
        permits.roster.seat(seat).word.fetch_sub(u64::from(count) << HELD, Ordering::Relaxed);
        let total = permits.total.load(Ordering::Relaxed);
        permits.total.store(total.saturating_sub(count.into()), Ordering::Relaxed);
        Ok(())
    }

    /// Takes what processes had that have died; whether there were any. `own` is the calling process, which lives.
    pub(crate) fn reap(&self, own: Life, deadline: Deadline) -> Result<bool, Refused> {
        let roster = &self.guarded.roster;
        let found = roster.reap(
            own,
            || self.inside(deadline),
            |inside, index| {
                let word = roster.seat(index).word.swap(0, Ordering::Acquire);
                inside.put_into_nobodys(held(word) + idle(word));
                roster.leave(index);
                Ok(())
            },
        )?;
        if found {
            self.guarded.bell.ring_all();
        }
        Ok(found)
    }
}
