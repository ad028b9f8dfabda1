//! The side that puts records in.

use super::{Bytes, Corrupt, Index, WORD, Words, footprint, longest};
use std::sync::atomic::Ordering;

/// Where the producer is, and how far it has seen the consumer come.
#[derive(Debug)]
pub(crate) struct Producer {
    tail: Index,
    head: Index,
}

/// Whether a record was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a full ring has not got the record"]
pub(crate) enum Put {
    Done,
    Full,
}

impl Producer {
    /// Goes on where the last producer of the ring was.
    pub(crate) fn resume(words: &Words) -> Self {
        let tail = Index::from_word(words.tail.0.load(Ordering::Relaxed));
        // Of the head nothing is believed yet: a full ring, which is looked at before anything is put.
        Self { tail, head: Index::from_word(words.head.0.load(Ordering::Acquire)) }
    }

    /// Puts a record of a tag and two pieces of bytes, if there is room for it. The pieces together may have
    /// [`longest`] bytes, and the first a whole number of words.
    #[inline]
    pub(crate) fn put(
        &mut self,
        words: &Words,
        bytes: &impl Bytes,
        tag: u32,
        [first, second]: [&[u8]; 2],
    ) -> Result<Put, Corrupt> {
        let length = first.len() + second.len();
        assert!(length <= longest(bytes.length()) && first.len().is_multiple_of(8), "no such record fits");
        #[expect(clippy::cast_possible_truncation, reason = "at most a quarter of the ring")]
        let (length, behind) = (length as u32, WORD + first.len() as u32);
        let needed = footprint(length);
        if !self.has_room(bytes, needed) {
            self.look(words)?;
            if !self.has_room(bytes, needed) {
                return Ok(Put::Full);
            }
        }
        let at = self.tail.position();
        if !first.is_empty() {
            bytes.write(at.wrapping_add(WORD), first);
        }
        bytes.write(at.wrapping_add(behind), second);
        bytes.write_word(at, u64::from(tag) << 32 | u64::from(length));
        self.tail = self.tail.after_record(needed);
        words.tail.0.store(self.tail.to_word(), Ordering::Release);
        Ok(Put::Done)
    }

    /// Whether all that was put was taken.
    pub(crate) fn is_all_taken(&mut self, words: &Words) -> Result<bool, Corrupt> {
        self.look(words)?;
        Ok(self.head == self.tail)
    }

    /// The index that the next record will have; no other had it.
    pub(crate) fn index(&self) -> u64 {
        self.tail.to_word()
    }

    #[inline]
    fn has_room(&self, bytes: &impl Bytes, needed: u32) -> bool {
        // What `look` and `resume` took may be anything: then there is no room.
        let used = self.tail.bytes_since(self.head);
        bytes.length().checked_sub(used).is_some_and(|free| needed <= free)
    }

    /// Sees how far the consumer has come.
    #[inline(never)]
    fn look(&mut self, words: &Words) -> Result<(), Corrupt> {
        let head = Index::from_word(words.head.0.load(Ordering::Acquire));
        let is_between = |seen: fn(Index, Index) -> u32| seen(self.tail, head) <= seen(self.tail, self.head);
        if !is_between(Index::bytes_since) || !is_between(Index::records_since) || !head.position().is_multiple_of(WORD)
        {
            return Err(Corrupt("the receiver's index is none"));
        }
        self.head = head;
        Ok(())
    }

    /// Whether there would be room for a record of so many bytes.
    pub(crate) fn could_put(&mut self, words: &Words, bytes: &impl Bytes, length: usize) -> Result<bool, Corrupt> {
        self.look(words)?;
        let needed = u32::try_from(length).map_or(u32::MAX, footprint);
        Ok(self.has_room(bytes, needed))
    }
}
