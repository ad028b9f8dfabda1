//! Waiting for room and for records.

use super::super::ring::{Bytes, Index};
use super::{Caller, Failed, Queue, Taken, Way};
use crate::primitive::{Spin, fence, fence_after_exchange, has_passed};
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;

/// Before it sleeps, whoever waits pauses for 1.3 to 1.7 µs (13 to 17 ns each), then yields so often. It does not look in between: each look takes
/// the other side's line away, and what comes meanwhile is taken or put without another one.
const PAUSES: u32 = 100;
const YIELDS: u32 = 4;

fn hope() -> Spin {
    Spin::for_a_batch(PAUSES, YIELDS)
}

/// Looks for a little while.
fn comes_true(spin: &mut Spin, is_time: impl Fn() -> bool) -> bool {
    while spin.again() {
        if is_time() {
            return true;
        }
    }
    false
}

impl Queue {
    /// Puts records, each as soon as it has room; how many before it failed, if so.
    #[inline]
    pub(crate) fn put(&self, bytes: &impl Bytes, records: &[&[u8]], deadline: Deadline) -> Result<(), (usize, Failed)> {
        match self.try_put(bytes, records, deadline) {
            Ok(count) if count as usize == records.len() => Ok(()),
            Ok(count) => self.put_rest(bytes, records, count as usize, deadline),
            Err(Failed::NotNow) => self.put_rest(bytes, records, 0, deadline),
            Err(failed) => Err((0, failed)),
        }
    }

    /// The same from record `count` on, for which there is no room yet.
    #[cold]
    fn put_rest(
        &self,
        bytes: &impl Bytes,
        records: &[&[u8]],
        mut count: usize,
        deadline: Deadline,
    ) -> Result<(), (usize, Failed)> {
        let mut spin = hope();
        while let Some(next) = records.get(count) {
            if has_passed(deadline) {
                return Err((count, Failed::NotNow));
            }
            let is_time = || self.has_room(bytes, next.len()) || self.closed().is_some();
            if !comes_true(&mut spin, is_time) {
                // One item less may not be room enough.
                let listening = self.rules.0.has_room.listen(true);
                if !is_time() {
                    self.rules.0.has_room.sleep(listening, deadline);
                }
            }
            match self.try_put(bytes, &records[count..], deadline) {
                Ok(more) => {
                    count += more as usize;
                    spin = hope();
                }
                Err(Failed::NotNow) => {}
                Err(failed) => return Err((count, failed)),
            }
        }
        Ok(())
    }

    /// [`try_take`](Self::try_take), as soon as there is a record.
    #[inline]
    pub(crate) fn take(
        &self,
        bytes: &impl Bytes,
        caller: Caller,
        what: (Way, usize),
        onto: &mut Vec<u8>,
        mut each: impl FnMut(Taken),
        deadline: Deadline,
    ) -> Result<usize, Failed> {
        let closed = self.closed();
        match self.try_take(bytes, caller, what, onto, &mut each, deadline) {
            Err(Failed::NotNow) => self.take_later(bytes, caller, what, onto, (&mut each, closed), deadline),
            answer => answer,
        }
    }

    /// The same where there was none yet, and the queue was `closed` so.
    #[cold]
    fn take_later(
        &self,
        bytes: &impl Bytes,
        caller: Caller,
        what: (Way, usize),
        onto: &mut Vec<u8>,
        (each, mut closed): (&mut dyn FnMut(Taken), Option<u32>),
        deadline: Deadline,
    ) -> Result<usize, Failed> {
        let mut spin = hope();
        loop {
            if has_passed(deadline) {
                return Err(Failed::NotNow);
            }
            let is_time = || self.is_ready() || self.closed() != closed;
            if !comes_true(&mut spin, is_time) {
                let listening = self.rules.0.items.listen(false);
                if !is_time() {
                    self.rules.0.items.sleep(listening, deadline);
                    if self.has_leases() {
                        self.reap_leases(bytes, caller, deadline)?;
                    }
                }
            }
            closed = self.closed();
            match self.try_take(bytes, caller, what, onto, &mut *each, deadline) {
                Err(Failed::NotNow) => {}
                answer => return answer,
            }
        }
    }

    /// Whether there is a record to be taken; without the mutex.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        // In this order: a cursor that is newer than the tail differs from it too.
        let tail = Index::from_word(self.tail.0.load(Ordering::Acquire));
        let cursor = Index::from_word(self.head.0.cursor.load(Ordering::Acquire));
        tail != cursor || self.has_returned()
    }

    /// Whether there are records that came back; without the mutex.
    #[inline]
    pub(crate) fn has_returned(&self) -> bool {
        self.head.0.returned.load(Ordering::Relaxed) > 0
    }

    /// Whether there are records that were handed out; without the mutex.
    #[inline]
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
