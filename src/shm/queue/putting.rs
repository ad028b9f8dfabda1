//! Putting records in, and putting an end to that.

use super::super::ring::{Bytes, Corrupt, Index, footprint};
use super::record::Header;
use super::{Failed, IMMEDIATE, OPEN, Queue};
use crate::primitive::Refused;
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;

/// The mutex of those who put, taken. Whatever its last holder died at, nothing is half done: a record is there by one
/// store, and what the holders keep beside the mutex is only ever behind the times.
struct Inside<'a>(&'a Queue);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let was_mine = self.0.putting.0.unlock();
        debug_assert!(was_mine, "taken by this thread");
    }
}

impl Queue {
    #[inline]
    fn enter_putting(&self, deadline: Deadline) -> Result<Inside<'_>, Refused> {
        if self.putting.0.lock(deadline)? == super::super::State::Dirty {
            self.putting.0.recover();
        }
        Ok(Inside(self))
    }

    /// Puts records of these bytes, none longer than [`longest`](Self::longest), each whole, as many as have room; how
    /// many, at least one. `deadline` is for the mutex.
    #[inline]
    pub(crate) fn try_put(&self, bytes: &impl Bytes, records: &[&[u8]], deadline: Deadline) -> Result<u32, Failed> {
        let mut count = self.enter_putting(deadline)?.put(bytes, records)?;
        if count == 0 && self.taking.0.is_left_dirty() {
            // Who died in there may have left room that it had not made known yet.
            drop(self.enter(bytes, deadline)?);
            count = self.enter_putting(deadline)?.put(bytes, records)?;
        }
        if count == 0 {
            return Err(Failed::NotNow);
        }
        self.tell_takers(count);
        Ok(count)
    }

    /// Nothing is put any more from now on; who waits is told. What is to be dropped is dropped by who
    /// [takes](Self::tidy) next.
    pub(crate) fn close(&self, way: u32, deadline: Deadline) -> Result<(), Refused> {
        let inside = self.enter_putting(deadline)?;
        let before = self.rules.0.closed.load(Ordering::Relaxed);
        self.rules.0.closed.store(before.max(way).min(IMMEDIATE), Ordering::Release);
        drop(inside);
        self.rules.0.has_room.ring_all();
        self.tell_takers(u32::MAX);
        Ok(())
    }

    /// Changes how many records there may be. Who waits for room is told.
    pub(crate) fn set_most(&self, most: u64) {
        self.rules.0.most.swap(most, Ordering::Relaxed);
        self.rules.0.has_room.ring_all();
    }
}

impl Inside<'_> {
    #[inline]
    fn put(&self, bytes: &impl Bytes, records: &[&[u8]]) -> Result<u32, Failed> {
        let queue = self.0;
        if queue.rules.0.closed.load(Ordering::Relaxed) != OPEN {
            return Err(Failed::ShutDown);
        }
        let (room, most) = (queue.room(bytes), queue.most());
        let before = Index::from_word(queue.tail.0.load(Ordering::Relaxed));
        if !before.position().is_multiple_of(footprint(0)) {
            return Err(Failed::Corrupt("an index between two words"));
        }
        let known = &queue.putting.0.guarded;
        let mut head = Index::from_word(known.head.load(Ordering::Relaxed));
        let mut done = known.done.load(Ordering::Relaxed);
        let has_room = |tail: Index, head: Index, done: u32, needed: u32| {
            let free = room.checked_sub(tail.bytes_since(head));
            let used = tail.records_since(head).saturating_sub(done);
            free.is_some_and(|free| needed <= free) && u64::from(used) < most
        };
        let mut tail = before;
        for record in records {
            let needed = u32::try_from(record.len()).map_or(u32::MAX, footprint);
            if !has_room(tail, head, done, needed) {
                (head, done) = queue.look_at_head(bytes, tail)?;
                known.head.store(head.to_word(), Ordering::Relaxed);
                known.done.store(done, Ordering::Relaxed);
                if !has_room(tail, head, done, needed) {
                    break;
                }
            }
            let at = tail.position();
            bytes.write(at.wrapping_add(footprint(0)), record);
            #[expect(clippy::cast_possible_truncation, reason = "it has room, which is less")]
            bytes.write_word(at, Header::of(record.len() as u32).to_word());
            tail = tail.after_record(needed);
        }
        let count = tail.records_since(before);
        if count > 0 {
            queue.tail.0.store(tail.to_word(), Ordering::Release);
        }
        Ok(count)
    }
}

impl Queue {
    /// How far those who take have come, and how many records behind that are DONE: never more than there are, as `head` is
    /// looked at first, and who moves it takes from `done` first.
    fn look_at_head(&self, bytes: &impl Bytes, tail: Index) -> Result<(Index, u32), Corrupt> {
        let head = Index::from_word(self.head.0.head.load(Ordering::Acquire));
        let done = self.head.0.done.load(Ordering::Relaxed);
        let there = tail.bytes_since(head);
        let is_some = there <= bytes.length() && there.is_multiple_of(footprint(0));
        if !is_some || tail.records_since(head) > there / footprint(0) {
            return Err(Corrupt("the takers' index is none"));
        }
        Ok((head, done))
    }

    /// Whether a record of so many bytes has room now; without the mutex.
    pub(crate) fn has_room(&self, bytes: &impl Bytes, length: usize) -> bool {
        // In this order: a head that is newer than the tail has more room, not less. One that is further away than there are
        // bytes is newer, or wrong, which whoever puts complains of.
        let tail = Index::from_word(self.tail.0.load(Ordering::Acquire));
        let head = Index::from_word(self.head.0.head.load(Ordering::Acquire));
        let used = tail.records_since(head).saturating_sub(self.head.0.done.load(Ordering::Relaxed));
        let needed = u32::try_from(length).map_or(u32::MAX, footprint);
        let there = tail.bytes_since(head);
        let free = self.room(bytes).saturating_sub(there);
        there > bytes.length() || needed <= free && u64::from(used) < self.most()
    }
}
