//! The side that takes records out.

use super::{Bytes, Corrupt, Index, WORD, Words, footprint, longest};
use std::sync::atomic::Ordering;

/// Where the consumer is, and how far it has seen the producer come.
#[derive(Debug)]
pub(crate) struct Consumer {
    head: Index,
    tail: Index,
}

/// What the next record's header says, checked: so many bytes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The producer's word with it.
    pub(crate) tag: u32,
    /// Its bytes.
    pub(crate) length: usize,
}

impl Consumer {
    /// Goes on where the last consumer of the ring was.
    pub(crate) fn resume(words: &Words) -> Self {
        let head = Index::from_word(words.head.0.load(Ordering::Relaxed));
        Self { head, tail: head }
    }

    /// The next record, which stays in the ring until it is [taken](Self::take); `None` when there is none.
    #[inline]
    pub(crate) fn peek(&mut self, words: &Words, bytes: &impl Bytes) -> Result<Option<Record>, Corrupt> {
        if self.tail == self.head && !self.look(words, bytes)? {
            return Ok(None);
        }
        let header = bytes.read_word(self.head.position());
        #[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
        let (tag, length) = ((header >> 32) as u32, header as u32);
        let there = self.tail.bytes_since(self.head);
        if length as usize > longest(bytes.length()) || footprint(length) > there {
            return Err(Corrupt("a record longer than what is there"));
        }
        let rest = there - footprint(length);
        if (rest == 0) != (self.tail.records_since(self.head) == 1) {
            return Err(Corrupt("records that are not as many as the index says"));
        }
        Ok(Some(Record { tag, length: length as usize }))
    }

    /// Takes the record that [`peek`](Self::peek) gave: its bytes go to the end of `onto`, but for the first `skipped`, a
    /// whole number of words.
    #[inline]
    pub(crate) fn take(
        &mut self,
        words: &Words,
        bytes: &impl Bytes,
        record: Record,
        skipped: usize,
        onto: &mut Vec<u8>,
    ) {
        let skipped = skipped.min(record.length);
        bytes.read(self.position_of(skipped), record.length - skipped, onto);
        self.pass(words, record);
    }

    /// The same, but for where they go: to the beginning of `onto`, as many as it has room for.
    #[inline]
    pub(crate) fn take_into(
        &mut self,
        words: &Words,
        bytes: &impl Bytes,
        record: Record,
        skipped: usize,
        onto: &mut [u8],
    ) {
        let skipped = skipped.min(record.length);
        let length = onto.len().min(record.length - skipped);
        if let Some(onto) = onto.get_mut(..length) {
            bytes.read_into(self.position_of(skipped), onto);
        }
        self.pass(words, record);
    }

    /// Of the byte of the next record that comes behind so many.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "`peek` saw that it is at most a quarter of the ring")]
    fn position_of(&self, skipped: usize) -> u32 {
        self.head.position().wrapping_add(WORD + skipped as u32)
    }

    /// Gives the room of the next record back.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "as above")]
    fn pass(&mut self, words: &Words, record: Record) {
        self.head = self.head.after_record(footprint(record.length as u32));
        words.head.0.store(self.head.to_word(), Ordering::Release);
    }

    /// The first word of the record that [`peek`](Self::peek) gave, which has one.
    #[inline]
    pub(crate) fn first_word(&self, bytes: &impl Bytes) -> u64 {
        bytes.read_word(self.head.position().wrapping_add(WORD))
    }

    /// The index of the next record, as its producer knew it.
    pub(crate) fn index(&self) -> u64 {
        self.head.to_word()
    }

    /// Sees how far the producer has come; whether that is further than before.
    #[inline]
    fn look(&mut self, words: &Words, bytes: &impl Bytes) -> Result<bool, Corrupt> {
        let tail = Index::from_word(words.tail.0.load(Ordering::Acquire));
        if tail == self.tail {
            return Ok(false);
        }
        let there = tail.bytes_since(self.head);
        if there == 0
            || there > bytes.length()
            || !there.is_multiple_of(WORD)
            || tail.records_since(self.head) > there / WORD
        {
            return Err(Corrupt("the sender's index is none"));
        }
        self.tail = tail;
        Ok(true)
    }

    /// Whether there is a record, or something to complain about; a look at the shared index even if one is known.
    pub(crate) fn has_news(&mut self, words: &Words, bytes: &impl Bytes) -> bool {
        self.tail != self.head || self.look(words, bytes) != Ok(false)
    }

    /// Bytes that the producer has put and that were not taken, as far as known here.
    #[inline]
    pub(crate) fn known_bytes(&self) -> u32 {
        self.tail.bytes_since(self.head)
    }
}
