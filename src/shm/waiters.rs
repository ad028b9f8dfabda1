//! Who waits for a condition between processes: notifications that belong to one waiter each, and go on to another when
//! theirs dies.
//!
//! Everything here happens under the condition's lock (`shm::held`), which its users hold, except sleeping and
//! [`has_orphan`](Waiters::has_orphan). A thread that waits has a seat (`shm::roster`) for as long as it does:
//!
//! ```text
//!   word  its ticket: who came first has the smallest
//!   call  WAITING ---- notify ----> NOTIFIED       (it sleeps on this word)
//!            |                         |
//!            +-- abandon --> GONE      +-- abandon --> ORPHAN
//! ```
//!
//! A waiter whose time is over, and which cannot get the lock (its holder is stopped), abandons its seat without the lock.
//! Whoever has the lock next clears it.
//!
//! `notify` marks the oldest and wakes it. The notification is **in the seat**, not in the wake-up; it is used up when its
//! owner, holding the lock again, leaves the seat.
//!
//! # What others see when a process dies
//!
//! | It dies | Others find |
//! |---|---|
//! | waiting, not notified | a seat that may still be notified: see the next line |
//! | notified, before it has the lock again | its seat, NOTIFIED and of a dead process: who sleeps looks for such after each slice of at most 50 ms, takes the lock, and passes the notification on to the oldest ([`pass_on`](Waiters::pass_on)) |
//! | holding the lock again | the lock's word: owner died |
//! | while it notifies | some marked, the others not, and the lock's word. Who was marked and not woken sees it after a slice |
//! | while it passes on | the heir is marked first, so nothing is lost: at worst one more is notified than was asked for |
//! | while it sits down or leaves | a free seat, or one of a dead process that waits |
//!
//! Hence: a notification is never lost. One that is too many comes only with somebody's death, and a waiter looks at what it
//! waits for again anyhow.
//!
//! Orderings: all is under the lock, but `call`, which is only compared.

use super::roster::NOBODYS;
use super::{Roster, Seat};
use crate::primitive::{AtomicU64, Life};
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;

const WAITING: u32 = 0;
const NOTIFIED: u32 = 1;
/// Added to either: nobody sits here any more.
const ABANDONED: u32 = 2;
const GONE: u32 = WAITING + ABANDONED;
const ORPHAN: u32 = NOTIFIED + ABANDONED;

/// The waiters of one condition.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Waiters {
    tickets: AtomicU64,
    pub(crate) roster: Roster,
}

impl Seat {
    fn state(&self) -> u32 {
        self.call.word.load(Ordering::Relaxed)
    }

    /// Notifies whoever sits here, unless it has just abandoned its seat.
    fn notify(&self) -> bool {
        let is_there = self.call.word.compare_exchange(WAITING, NOTIFIED, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_there {
            self.call.wake(1);
        }
        is_there
    }
}

impl Waiters {
    /// Nobody waits. In shared memory zeroes say the same.
    #[cfg(crewkit_loom)]
    pub(crate) fn new() -> Self {
        Self { tickets: AtomicU64::new(0), roster: Roster::new() }
    }

    /// Those who wait: seats that were not notified.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Seat> {
        self.roster.seats()[NOBODYS + 1..].iter().filter(|seat| seat.owner().is_some() && seat.state() == WAITING)
    }

    /// Under the lock: a seat, behind all others; `None` when all are taken by the living.
    pub(crate) fn sit_down(&self, life: Life) -> Option<usize> {
        let ticket = self.tickets.load(Ordering::Relaxed).wrapping_add(1);
        self.tickets.store(ticket, Ordering::Relaxed);
        let seat = self.roster.sit_down(life, ticket);
        if seat.is_some() || !self.clear(life) { seat } else { self.roster.sit_down(life, ticket) }
    }

    /// Under the lock: clears the seats of the dead and the gone; whether there were any.
    fn clear(&self, own: Life) -> bool {
        self.pass_on(own);
        let mut found = false;
        for (index, seat) in self.roster.seats().iter().enumerate().skip(NOBODYS + 1) {
            let is_over = |life: Life| seat.state() == GONE || life != own && life.is_over();
            if seat.owner().is_some_and(is_over) {
                self.roster.leave(index);
                self.roster.note_recovery();
                found = true;
            }
        }
        found
    }

    /// Sleeps until the seat is notified, the deadline, or for a slice of time at most.
    pub(crate) fn sleep(&self, seat: usize, deadline: Deadline) {
        self.roster.seat(seat).call.wait(WAITING, deadline);
    }

    /// Whether the seat is notified.
    pub(crate) fn is_notified(&self, seat: usize) -> bool {
        self.roster.seat(seat).state() == NOTIFIED
    }

    /// Under the lock: leaves the seat, and uses up its notification.
    pub(crate) fn leave(&self, seat: usize) {
        self.roster.leave(seat);
    }

    /// Under the lock: notifies those who have waited longest, `count` of them if there are as many.
    pub(crate) fn notify(&self, count: usize) {
        let mut left = count;
        while left > 0 {
            let ticket = |seat: &&Seat| seat.word.load(Ordering::Relaxed);
            let Some(seat) = self.waiting().min_by_key(ticket) else { return };
            left -= usize::from(seat.notify());
        }
    }

    /// Under the lock: notifies all.
    pub(crate) fn notify_all(&self) {
        for seat in self.waiting() {
            seat.notify();
        }
    }

    /// A notification whose owner has died, or is gone.
    fn orphan(&self, own: Life) -> Option<usize> {
        let is_over = |seat: &Seat| seat.owner().is_some_and(|life| life != own && life.is_over());
        let seats = self.roster.seats().iter().enumerate().skip(NOBODYS + 1);
        let mut orphans = seats.filter(|(_, seat)| match seat.state() {
            _ if seat.owner().is_none() => false,
            NOTIFIED => is_over(seat),
            state => state == ORPHAN,
        });
        orphans.next().map(|(index, _)| index)
    }

    /// Whether there is a notification to be passed on: then take the lock, and do it.
    pub(crate) fn has_orphan(&self, own: Life) -> bool {
        self.orphan(own).is_some()
    }

    /// Under the lock: passes on the notifications of those who have died with them.
    pub(crate) fn pass_on(&self, own: Life) {
        while let Some(seat) = self.orphan(own) {
            // The heir first: whoever dies between the two leaves one too many, not one too few.
            self.notify(1);
            self.roster.leave(seat);
            self.roster.note_recovery();
        }
    }

    /// Without the lock: leaves the seat to whoever has it next.
    pub(crate) fn abandon(&self, seat: usize) {
        self.roster.seat(seat).call.word.fetch_add(ABANDONED, Ordering::Relaxed);
    }
}
