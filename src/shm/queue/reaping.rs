//! Taking back what somebody has who goes or has died.

use super::super::ring::{Bytes, Corrupt};
use super::super::roster::SEATS;
use super::record::State;
use super::taking::{Inside, Span};
use super::{Caller, Failed, Queue};
use crate::sys::clock::{Deadline, milliseconds};
use std::sync::atomic::Ordering;

/// Seats in a word of a set of them.
const WORD: usize = u64::BITS as usize;

/// A set of seats, a bit for each.
type Seats = [u64; SEATS.div_ceil(WORD)];

fn is_in(seats: &Seats, seat: usize) -> bool {
    seats[seat / WORD] >> (seat % WORD) & 1 != 0
}

impl Queue {
    /// Takes back what processes had that have died; whether there were any. `caller` has not.
    pub(crate) fn reap(&self, bytes: &impl Bytes, caller: Caller, deadline: Deadline) -> Result<bool, Failed> {
        self.bury(bytes, |_| true, caller, deadline)
    }

    /// The same of those who have leases, or have gone and left some behind: only about them the kernel is asked.
    pub(crate) fn reap_leases(&self, bytes: &impl Bytes, caller: Caller, deadline: Deadline) -> Result<bool, Failed> {
        self.rules.0.looked.store(milliseconds(), Ordering::Relaxed);
        let (lessees, count) = self.enter(bytes, deadline)?.take_back_left_behind()?;
        if count > 0 {
            self.tell_takers(count);
        }
        let has_died = self.bury(bytes, |seat| is_in(&lessees, seat), caller, deadline)?;
        Ok(has_died || count > 0)
    }

    fn bury(
        &self,
        bytes: &impl Bytes,
        is_meant: impl Fn(usize) -> bool,
        caller: Caller,
        deadline: Deadline,
    ) -> Result<bool, Failed> {
        let enter = || self.enter(bytes, deadline);
        let found = self.roster.reap_among(is_meant, caller.life, enter, |inside, seat| Ok(inside.leave(seat)?))?;
        if found {
            self.tell_takers(u32::MAX);
            self.rules.0.finished.ring_all();
        }
        Ok(found)
    }
}

impl<B: Bytes> Inside<'_, B> {
    /// Takes back what is leased to seats whose owners have gone; the seats that had leases, and how many came back.
    fn take_back_left_behind(&self) -> Result<(Seats, u32), Corrupt> {
        let lessees = self.lessees()?;
        let roster = &self.queue.roster;
        let mut count = 0;
        for seat in (0..SEATS).filter(|&seat| is_in(&lessees, seat) && roster.is_vacated(seat)) {
            count += self.give_up(seat)?;
        }
        Ok((lessees, count))
    }

    /// The seats that have leases.
    fn lessees(&self) -> Result<Seats, Corrupt> {
        let Span { head, cursor, .. } = self.span()?;
        let mut lessees = [0; SEATS.div_ceil(WORD)];
        for found in Queue::records(self.bytes, head, cursor) {
            if let (_, State::Leased(seat)) = found.map(|(at, header)| (at, header.state()))? {
                lessees[seat / WORD] |= 1 << (seat % WORD);
            }
        }
        Ok(lessees)
    }

    /// Takes back what is leased to a seat; how many records.
    pub(super) fn take_back_all(&self, seat: usize) -> Result<u32, Corrupt> {
        let Span { head, cursor, .. } = self.span()?;
        let mut count = 0;
        for found in Queue::records(self.bytes, head, cursor) {
            let (at, header) = found?;
            if header.state() == State::Leased(seat) {
                self.take_back(at, header);
                count += 1;
            }
        }
        Ok(count)
    }

    /// The seat is free, and what was leased there may be taken again. What was taken there counts as done.
    pub(super) fn leave(&self, seat: usize) -> Result<(), Corrupt> {
        self.take_back_all(seat)?;
        let owner = self.queue.roster.seat(seat);
        owner.word.store(owner.more.load(Ordering::Relaxed), Ordering::Relaxed);
        self.queue.roster.leave(seat);
        Ok(())
    }

    /// Takes back what a process that goes has on leases, and its seat if it has taken nothing that is not done. Otherwise
    /// that is found when it sits down again.
    pub(super) fn give_up(&self, seat: usize) -> Result<u32, Corrupt> {
        let count = self.take_back_all(seat)?;
        let owner = self.queue.roster.seat(seat);
        if super::tasks::unfinished_in(owner) == 0 {
            self.queue.roster.leave(seat);
        } else {
            self.queue.roster.vacate(seat);
        }
        Ok(count)
    }
}
