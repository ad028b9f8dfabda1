//! Waiting for room and for records.

use super::super::ring::{Bytes, Index};
use super::{Caller, Failed, Queue, Taken, Way};
use crate::primitive::{Spin, fence, fence_after_exchange, has_passed};
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;

/// Before it sleeps, whoever waits pauses for about 0.2 µs, then yields so often.
const PAUSES: u32 = 16;
const YIELDS: u32 = 4;

/// Looks for a little while.
fn hope(spin: &mut Spin, is_time: impl Fn() -> bool) -> bool {
    while spin.again() {
        if is_time() {
            return true;
        }
    }
    false
}

impl Queue {
    /// Puts records, each as soon as it has room; how many before it failed, if so.
    pub(crate) fn put(&self, bytes: &impl Bytes, records: &[&[u8]], deadline: Deadline) -> Result<(), (usize, Failed)> {
        let mut count = 0;
        let mut spin = Spin::for_a_batch(PAUSES, YIELDS);
        while let Some(next) = records.get(count) {
            match self.try_put(bytes, &records[count..], deadline) {
                Ok(more) => {
                    count += more as usize;
                    spin = Spin::for_a_batch(PAUSES, YIELDS);
                    continue;
                }
                Err(Failed::NotNow) => {}
                Err(failed) => return Err((count, failed)),
            }
            if has_passed(deadline) {
                return Err((count, Failed::NotNow));
            }
            let is_time = || self.has_room(bytes, next.len()) || self.closed().is_some();
            if hope(&mut spin, is_time) {
                continue;
            }
            // One item less may not be room enough.
            let listening = self.rules.0.has_room.listen(true);
            if is_time() {
                continue;
            }
            self.rules.0.has_room.sleep(listening, deadline);
        }
        Ok(())
    }

    /// [`try_take`](Self::try_take), as soon as there is a record.
    pub(crate) fn take(
        &self,
        bytes: &impl Bytes,
        caller: Caller,
        (way, most): (Way, usize),
        onto: &mut Vec<u8>,
        mut each: impl FnMut(Taken),
        deadline: Deadline,
    ) -> Result<usize, Failed> {
        let mut spin = Spin::for_a_batch(PAUSES, YIELDS);
        loop {
            let closed = self.closed();
            match self.try_take(bytes, caller, (way, most), onto, &mut each, deadline) {
                Err(Failed::NotNow) => {}
                answer => return answer,
            }
            if has_passed(deadline) {
                return Err(Failed::NotNow);
            }
            let is_time = || self.is_ready() || self.closed() != closed;
            if hope(&mut spin, is_time) {
                continue;
            }
            let listening = self.rules.0.items.listen(false);
            if is_time() {
                continue;
            }
            self.rules.0.items.sleep(listening, deadline);
            if self.has_leases() {
                self.reap(bytes, caller, deadline)?;
            }
        }
    }

    /// Whether there is a record to be taken; without the mutex.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        // In this order: a cursor that is newer than the tail differs from it too.
        let tail = Index::from_word(self.tail.0.load(Ordering::Acquire));
        let cursor = Index::from_word(self.head.0.cursor.load(Ordering::Acquire));
        tail != cursor || self.head.0.returned.load(Ordering::Relaxed) > 0
    }

    /// Whether there are records that were handed out; without the mutex.
    pub(crate) fn has_leases(&self) -> bool {
        self.head.0.cursor.load(Ordering::Relaxed) != self.head.0.head.load(Ordering::Relaxed)
    }

    /// After so many records came, or came back: wakes who waits for them.
    #[inline]
    pub(super) fn tell_takers(&self, count: u32) {
        self.rules.0.items.ring(count);
    }

    /// Before a last look at [`is_ready`](Self::is_ready): whoever brings a record next is to ring the descriptor too.
    pub(crate) fn watch(&self) {
        let watched = &self.rules.0.watched;
        let mut word = watched.load(Ordering::Relaxed);
        while let Err(now) =
            watched.compare_exchange(word, word.wrapping_add(2) | 1, Ordering::Relaxed, Ordering::Relaxed)
        {
            word = now;
        }
        fence(Ordering::SeqCst);
    }

    /// After a change that may have brought a record: rings the descriptor, by `ring`, if somebody watches.
    #[inline]
    pub(crate) fn tell_watchers(&self, ring: impl FnOnce()) {
        fence_after_exchange();
        let watched = self.rules.0.watched.load(Ordering::Relaxed);
        if watched & 1 != 0 {
            ring();
            // Unless somebody has asked anew: whoever dies in between leaves it to the next.
            let _ = self.rules.0.watched.compare_exchange(watched, watched & !1, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
