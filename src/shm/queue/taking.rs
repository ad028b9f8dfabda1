//! Taking records out, for good or on a lease, and bringing leases to their end.

use super::super::ring::{Bytes, Corrupt, Index, footprint};
use super::record::{Header, State};
use super::{Caller, Failed, IMMEDIATE, Queue};
use crate::primitive::fence;
use crate::sys::clock::{Deadline, milliseconds};
use std::sync::atomic::Ordering;

/// For so many milliseconds one look for dead owners of leases is enough.
const LOOK_EVERY: u64 = 50;

/// How a record is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// For good.
    Plainly,
    /// Until it is acknowledged.
    OnALease,
}

/// A record that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Where it is, as long as it is leased.
    pub(crate) at: u64,
    /// How many times it was handed out on a lease, this time included.
    pub(crate) attempt: u32,
    /// Its bytes.
    pub(crate) length: usize,
}

/// The mutex of those who take, with the invariants in force.
pub(super) struct Inside<'a, B> {
    pub(super) queue: &'a Queue,
    pub(super) bytes: &'a B,
}

impl<B> Drop for Inside<'_, B> {
    fn drop(&mut self) {
        let was_mine = self.queue.taking.0.unlock();
        debug_assert!(was_mine, "taken by this thread");
    }
}

/// Where the records are that there are.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) head: Index,
    pub(super) cursor: Index,
    tail: Index,
}

impl Queue {
    #[inline]
    pub(super) fn enter<'a, B: Bytes>(&'a self, bytes: &'a B, deadline: Deadline) -> Result<Inside<'a, B>, Failed> {
        let state = self.taking.0.lock(deadline)?;
        let inside = Inside { queue: self, bytes };
        if state == super::super::State::Dirty {
            inside.repair()?;
        }
        if self.rules.0.closed.load(Ordering::Acquire) >= IMMEDIATE {
            inside.discard()?;
        }
        Ok(inside)
    }

    /// Takes the next records, at most `most` and those that were there before; how many. Their bytes go to the end of `onto`,
    /// and each is told of to `each`.
    #[inline]
    pub(crate) fn try_take(
        &self,
        bytes: &impl Bytes,
        caller: Caller,
        (way, most): (Way, usize),
        onto: &mut Vec<u8>,
        mut each: impl FnMut(Taken),
        deadline: Deadline,
    ) -> Result<usize, Failed> {
        if self.is_time_to_look() {
            self.reap_leases(bytes, caller, deadline)?;
        }
        let inside = self.enter(bytes, deadline)?;
        let mut count = 0;
        while count < most {
            match inside.take(caller.seat, way, onto)? {
                Some(taken) => each(taken),
                None => break,
            }
            count += 1;
        }
        if count == 0 && most > 0 {
            return Err(if inside.is_over(caller.seat)? { Failed::ShutDown } else { Failed::NotNow });
        }
        drop(inside);
        if way == Way::Plainly {
            self.rules.0.has_room.ring(u32::try_from(count).unwrap_or(u32::MAX));
        }
        Ok(count)
    }

    /// Whether there are leases, and nobody has looked for a while whether their owners live. Who always finds a record would
    /// never look.
    #[inline]
    pub(crate) fn is_time_to_look(&self) -> bool {
        self.has_leases() && milliseconds().abs_diff(self.rules.0.looked.load(Ordering::Relaxed)) >= LOOK_EVERY
    }

    /// The leased record at `at` is done, or may be taken again; false if it is not leased to this seat.
    pub(crate) fn end_lease(
        &self,
        bytes: &impl Bytes,
        seat: usize,
        at: u64,
        is_done: bool,
        deadline: Deadline,
    ) -> Result<bool, Failed> {
        let inside = self.enter(bytes, deadline)?;
        let was_leased = inside.end_lease(seat, Index::from_word(at), is_done)?;
        drop(inside);
        if is_done {
            self.rules.0.has_room.ring(u32::MAX);
            self.tell_joiners();
        }
        // Who waits for this one to come back looks again too, in a queue that is shut down.
        if !is_done || self.closed().is_some() {
            self.tell_takers(if is_done { u32::MAX } else { 1 });
        }
        Ok(was_leased)
    }

    /// Whether nothing will come any more for who sits there.
    #[cfg(not(crewkit_loom))]
    pub(crate) fn is_over(&self, bytes: &impl Bytes, seat: usize, deadline: Deadline) -> Result<bool, Failed> {
        Ok(self.enter(bytes, deadline)?.is_over(seat)?)
    }

    /// Drops what may be taken: it counts as done.
    pub(crate) fn clear(&self, bytes: &impl Bytes, deadline: Deadline) -> Result<(), Failed> {
        self.enter(bytes, deadline)?.discard()?;
        self.tell_of_room();
        Ok(())
    }

    /// Drops what may be taken if the queue was closed so, and repairs what somebody has left.
    pub(crate) fn tidy(&self, bytes: &impl Bytes, deadline: Deadline) -> Result<(), Failed> {
        drop(self.enter(bytes, deadline)?);
        self.tell_of_room();
        Ok(())
    }

    fn tell_of_room(&self) {
        self.rules.0.has_room.ring_all();
        self.tell_joiners();
    }
}

impl<B: Bytes> Inside<'_, B> {
    /// What lies between the indices, as far as they are some.
    #[inline]
    pub(super) fn span(&self) -> Result<Span, Corrupt> {
        let index = Index::from_word;
        let head = index(self.queue.head.0.head.load(Ordering::Relaxed));
        let cursor = index(self.queue.head.0.cursor.load(Ordering::Relaxed));
        let known = &self.queue.taking.0.guarded.tail;
        let mut tail = index(known.load(Ordering::Relaxed));
        if tail == cursor {
            tail = index(self.queue.tail.0.load(Ordering::Acquire));
            known.store(tail.to_word(), Ordering::Relaxed);
        }
        self.checked(Span { head, cursor, tail })
    }

    #[inline]
    fn checked(&self, span: Span) -> Result<Span, Corrupt> {
        let (there, behind) = (span.tail.bytes_since(span.head), span.cursor.bytes_since(span.head));
        let is_some = there <= self.bytes.length() && behind <= there && (there | behind).is_multiple_of(footprint(0));
        if is_some && span.head.position().is_multiple_of(footprint(0)) {
            Ok(span)
        } else {
            Err(Corrupt("the indices are none"))
        }
    }

    fn set(&self, at: Index, header: Header) {
        self.bytes.write_word(at.position(), header.to_word());
    }

    fn set_cursor(&self, cursor: Index) {
        self.queue.head.0.cursor.store(cursor.to_word(), Ordering::Relaxed);
    }

    /// Somebody died in here: makes the words beside `head` and `tail` what the records between them say. It changes no
    /// record, so whoever dies at it leaves it to the next.
    #[cold]
    fn repair(&self) -> Result<(), Corrupt> {
        let index = |word: &crate::primitive::AtomicU64| Index::from_word(word.load(Ordering::Acquire));
        let (head, tail) = (index(&self.queue.head.0.head), index(&self.queue.tail.0));
        let mut cursor = head;
        let (mut done, mut returned) = (0, 0);
        self.checked(Span { head, cursor, tail })?;
        for found in Queue::records(self.bytes, head, tail) {
            let (at, header) = found?;
            match header.state() {
                State::Done => done += 1,
                State::Ready if header.is_fresh() => continue,
                State::Ready => returned += 1,
                State::Leased(_) => {}
            }
            cursor = at.after_record(footprint(header.length()));
        }
        let words = &self.queue.head.0;
        words.done.store(done, Ordering::Relaxed);
        words.returned.store(returned, Ordering::Relaxed);
        self.queue.taking.0.guarded.tail.store(tail.to_word(), Ordering::Relaxed);
        self.set_cursor(cursor);
        self.advance()?;
        self.queue.taking.0.recover();
        // It may have died before it told anybody. No read-modify-write lies between what is new and who may sleep for it.
        fence(Ordering::SeqCst);
        self.queue.tell_takers(u32::MAX);
        self.queue.rules.0.has_room.ring_all();
        self.queue.rules.0.finished.ring_all();
        Ok(())
    }

    /// The next record, if there is one.
    #[inline]
    fn take(&self, seat: usize, way: Way, onto: &mut Vec<u8>) -> Result<Option<Taken>, Corrupt> {
        let span = self.span()?;
        let words = &self.queue.head.0;
        let returned = words.returned.load(Ordering::Relaxed);
        let (at, header, next) = if returned > 0 {
            let mut records = Queue::records(self.bytes, span.head, span.cursor);
            match records.find(|found| found.is_err() || found.is_ok_and(|(_, header)| header.state() == State::Ready))
            {
                Some(found) => found.map(|(at, header)| (at, header, None))?,
                None => return Err(Corrupt("a record that should be back is not")),
            }
        } else if span.cursor == span.tail {
            return Ok(None);
        } else {
            let (header, next) = Queue::record(self.bytes, span.cursor, span.tail)?;
            (span.cursor, header, Some(next))
        };
        let length = header.length() as usize;
        self.bytes.read(at.position().wrapping_add(footprint(0)), length, onto);
        let attempt = header.attempts() + 1;
        let taken = Taken { at: at.to_word(), attempt, length };
        if way == Way::OnALease {
            self.set(at, header.leased(seat));
            self.hand_out(returned, next);
            return Ok(Some(taken));
        }
        let account = &self.queue.roster.seat(seat).word;
        account.store(account.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        match next {
            Some(next) if span.cursor == span.head => {
                words.head.store(next.to_word(), Ordering::Release);
                self.set_cursor(next);
            }
            next => {
                self.set(at, header.done());
                self.hand_out(returned, next);
                self.finish_one(span.head, at)?;
            }
        }
        Ok(Some(taken))
    }

    /// One more was handed out: a new one, or one that had come back.
    fn hand_out(&self, returned: u32, next: Option<Index>) {
        match next {
            Some(next) => self.set_cursor(next),
            None => self.queue.head.0.returned.store(returned - 1, Ordering::Relaxed),
        }
    }

    /// One more is DONE: its place is free, and its room if nothing before it is in use.
    fn finish_one(&self, head: Index, at: Index) -> Result<(), Corrupt> {
        let words = &self.queue.head.0;
        words.done.store(words.done.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        if at == head { self.advance() } else { Ok(()) }
    }

    /// Moves `head` over what is DONE.
    fn advance(&self) -> Result<(), Corrupt> {
        let Span { mut head, cursor, .. } = self.span()?;
        let mut count = 0;
        for found in Queue::records(self.bytes, head, cursor) {
            let (at, header) = found?;
            if header.state() != State::Done {
                break;
            }
            head = at.after_record(footprint(header.length()));
            count += 1;
        }
        let words = &self.queue.head.0;
        // In this order: see `look_at_head`.
        words.done.store(words.done.load(Ordering::Relaxed).saturating_sub(count), Ordering::Relaxed);
        words.head.store(head.to_word(), Ordering::Release);
        Ok(())
    }

    fn end_lease(&self, seat: usize, at: Index, is_done: bool) -> Result<bool, Corrupt> {
        let Span { head, cursor, .. } = self.span()?;
        let is_there = at.bytes_since(head) < cursor.bytes_since(head);
        if !is_there {
            return Ok(false);
        }
        let (header, _) = Queue::record(self.bytes, at, cursor)?;
        if header.state() != State::Leased(seat) {
            return Ok(false);
        }
        if is_done {
            self.set(at, header.done());
            self.finish_one(head, at)?;
        } else {
            self.take_back(at, header);
        }
        Ok(true)
    }

    pub(super) fn take_back(&self, at: Index, header: Header) {
        self.set(at, header.ready());
        let returned = &self.queue.head.0.returned;
        returned.store(returned.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }

    /// Drops all that may be taken, from the oldest on: whoever dies at it leaves the newest.
    fn discard(&self) -> Result<(), Corrupt> {
        let queue = self.queue;
        let tail = Index::from_word(queue.tail.0.load(Ordering::Acquire));
        let Span { head, cursor, .. } = self.span()?;
        let words = &queue.head.0;
        if cursor == tail && words.returned.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        self.checked(Span { head, cursor, tail })?;
        for found in Queue::records(self.bytes, head, tail) {
            let (at, header) = found?;
            if header.state() == State::Ready {
                self.set(at, header.done());
                words.done.store(words.done.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
            }
        }
        words.returned.store(0, Ordering::Relaxed);
        queue.taking.0.guarded.tail.store(tail.to_word(), Ordering::Relaxed);
        self.set_cursor(tail);
        self.advance()
    }

    /// Whether nothing will come any more for somebody who sits there: what others have on a lease may come back.
    fn is_over(&self, seat: usize) -> Result<bool, Corrupt> {
        if self.queue.closed().is_none() {
            return Ok(false);
        }
        // Once more, as it may have been closed after a last record.
        let Span { head, cursor, tail } = self.span()?;
        if cursor != tail || self.queue.head.0.returned.load(Ordering::Relaxed) > 0 {
            return Ok(false);
        }
        for found in Queue::records(self.bytes, head, cursor) {
            let (_, header) = found?;
            if matches!(header.state(), State::Leased(other) if other != seat) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many records are not done.
    pub(super) fn unfinished(&self) -> Result<u64, Corrupt> {
        // The seats first: under the mutex they only become fewer, so what is none stays none.
        let taken = self.queue.roster.seats().iter().map(super::tasks::unfinished_in).fold(0, u64::saturating_add);
        let words = &self.queue.head.0;
        let head = Index::from_word(words.head.load(Ordering::Relaxed));
        let tail = Index::from_word(self.queue.tail.0.load(Ordering::Acquire));
        let there = tail.records_since(head).saturating_sub(words.done.load(Ordering::Relaxed));
        Ok(taken.saturating_add(there.into()))
    }
}
