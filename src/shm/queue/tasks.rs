//! Who sits at a queue, what each has taken and not reported done, and waiting until that is nothing.
//!
//! A seat's `word` counts what its owner has taken, and `more` what was reported done of it. A report is of what one's own
//! process took; or of what another took, if it has nothing left: items may be handed on.

use super::super::Seat;
use super::super::ring::{Bytes, Index};
use super::super::roster::seat_among;
use super::{Caller, Failed, Queue};
use crate::primitive::{Life, fence_after_exchange, has_passed};
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;

/// What was taken there, and not reported done. A hostile number is nothing.
pub(crate) fn unfinished_in(seat: &Seat) -> u64 {
    // Whoever sees that an item is done sees what was put before that: what it has led to.
    let done = seat.more.load(Ordering::Acquire);
    u64::try_from(seat.word.load(Ordering::Relaxed).wrapping_sub(done).cast_signed()).unwrap_or(0)
}

/// Counts one more done, if there is one.
fn report(seat: &Seat) -> bool {
    let mut done = seat.more.load(Ordering::Relaxed);
    while seat.word.load(Ordering::Relaxed).wrapping_sub(done).cast_signed() > 0 {
        // Whoever sees that all is done sees what was done before.
        match seat.more.compare_exchange(done, done.wrapping_add(1), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(now) => done = now,
        }
    }
    false
}

impl Queue {
    /// A seat for a process; `Ok(None)` when there is none left. What it has left behind there on leases may be taken again.
    pub(crate) fn sit_down(&self, bytes: &impl Bytes, life: Life, deadline: Deadline) -> Result<Option<usize>, Failed> {
        let caller = Caller { seat: super::super::roster::NOBODYS, life };
        let sit = || {
            let inside = self.enter(bytes, deadline)?;
            let Some(seat) = self.roster.sit_down(life, 0) else { return Ok(None) };
            let count = inside.take_back_all(seat).inspect_err(|_| self.roster.vacate(seat))?;
            drop(inside);
            if count > 0 {
                self.tell_takers(count);
            }
            Ok(Some(seat))
        };
        seat_among(sit, || self.reap(bytes, caller, deadline))
    }

    /// Leaves the seat; what is leased there may be taken again. What was taken and is not done stays its process's until it
    /// is, or its process ends: then the seat is left by others.
    pub(crate) fn leave(&self, bytes: &impl Bytes, seat: usize, deadline: Deadline) -> Result<(), Failed> {
        let count = self.enter(bytes, deadline)?.give_up(seat)?;
        if count > 0 {
            self.tell_takers(count);
        }
        Ok(())
    }

    /// One item is done that was taken before; false if there is none.
    #[inline]
    pub(crate) fn task_done(&self, bytes: &impl Bytes, seat: usize, deadline: Deadline) -> Result<bool, Failed> {
        if !report(self.roster.seat(seat)) && !self.report_for_another(bytes, deadline)? {
            return Ok(false);
        }
        self.tell_joiners();
        Ok(true)
    }

    /// Under the mutex, because seats change owners.
    #[cold]
    fn report_for_another(&self, bytes: &impl Bytes, deadline: Deadline) -> Result<bool, Failed> {
        let _inside = self.enter(bytes, deadline)?;
        Ok(self.roster.seats().iter().any(report))
    }

    /// Tells who joins, if this may have been the last: nothing is there to be taken. For who joins each telling is a walk.
    #[inline]
    pub(super) fn tell_joiners(&self) {
        fence_after_exchange();
        let tail = Index::from_word(self.tail.0.load(Ordering::Relaxed));
        let cursor = Index::from_word(self.head.0.cursor.load(Ordering::Relaxed));
        if tail == cursor {
            self.rules.0.finished.ring_all();
        }
    }

    /// How many records were put and are not done.
    pub(crate) fn unfinished(&self, bytes: &impl Bytes, deadline: Deadline) -> Result<u64, Failed> {
        Ok(self.enter(bytes, deadline)?.unfinished()?)
    }

    /// Waits until everything is done; whether it was. Meanwhile it says when it has taken something back.
    pub(crate) fn join(
        &self,
        bytes: &impl Bytes,
        caller: Caller,
        deadline: Deadline,
        taken_back: impl Fn(),
    ) -> Result<bool, Failed> {
        loop {
            let listening = self.rules.0.finished.listen(true);
            if self.unfinished(bytes, deadline)? == 0 {
                return Ok(true);
            }
            if has_passed(deadline) {
                return Ok(false);
            }
            self.rules.0.finished.sleep(listening, deadline);
            if self.reap(bytes, caller, deadline)? {
                taken_back();
            }
        }
    }
}
