//! The words that a worker shares with its owner: which offers it has begun, and results that are not sent yet. Read
//! when the worker is dead; written by the worker before it begins anything, and by the owner to take an offer back.
//!
//! ```text
//!   word 0, 1   lanes      seq << 32 | state     state: 0 offered, k + 1 item k begun, !0 taken back
//!   word 2      journal    seq << 32 | words     how many words of the journal count, for results of that offer
//!   word 3                 (spare)
//!   word 4 …    entries    item << 32 | ending << 24 | length, then the bytes in whole words
//! ```
//!
//! A lane is offered by the owner, before the message goes out. Beginning and taking back are one compare-and-swap
//! each on the same word from the same value, so exactly one of them wins: an offer that was taken back has not begun
//! and never will. From the first item on only the worker writes the word.
//!
//! An entry counts once the journal's word says so. A worker that is killed between two stores therefore leaves an
//! item begun or finished, never half of it. The memory is the worker's to ruin: the owner believes no length and no
//! index in it without checking.
//!
//! Ordering: the words carry no other memory with them but the entries, which the journal's release store publishes.
//! A dead worker's stores are all visible, because the kernel said that it is dead.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::protocol::Ending;
use super::scheduler::{Begun, Seq};

/// The size of the segment. A batch of results that outgrows its journal is sent at once.
pub(super) const BYTES: usize = 64 << 10;

const JOURNAL: usize = 2;
const ENTRIES: usize = 4;
const OFFERED: u32 = 0;
const TAKEN_BACK: u32 = u32::MAX;

/// A view of the words, from either side.
#[derive(Clone, Copy)]
pub(super) struct Ledger<'a>(&'a [AtomicU64]);

/// A result that a dead worker had finished and not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) item: u32,
    pub(super) ending: Ending,
    pub(super) bytes: Vec<u8>,
}

impl<'a> Ledger<'a> {
    /// The words of a segment of [`BYTES`] bytes.
    pub(super) fn new(words: &'a [AtomicU64]) -> Self {
        debug_assert_eq!(words.len() * 8, BYTES);
        Self(words)
    }

    /// Owner: this lane holds an offer now.
    pub(super) fn offer(self, lane: usize, seq: Seq) {
        self.0[lane].store(pack(seq, OFFERED), Release);
    }

    /// Owner: takes an offer back; false if it has begun.
    pub(super) fn take_back(self, lane: usize, seq: Seq) -> bool {
        self.0[lane].compare_exchange(pack(seq, OFFERED), pack(seq, TAKEN_BACK), AcqRel, Acquire).is_ok()
    }

    /// Owner: how far a dead worker got with an offer.
    pub(super) fn begun(self, lane: usize, seq: Seq) -> Begun {
        match unpack(self.0[lane].load(Acquire)) {
            (of, state) if of == seq && state != OFFERED && state != TAKEN_BACK => Begun::Item(state - 1),
            _ => Begun::Nothing,
        }
    }

    /// Owner: the results of an offer that a dead worker had finished and perhaps not sent.
    pub(super) fn journal(self, seq: Seq) -> Vec<Entry> {
        let (of, used) = unpack(self.0[JOURNAL].load(Acquire));
        let mut words = self.0[ENTRIES..].iter().take(if of == seq { used as usize } else { 0 });
        let mut entries = Vec::new();
        while let Some(head) = words.next() {
            let (item, rest) = unpack(head.load(Relaxed));
            let length = (rest & 0xff_ffff) as usize;
            let Some(ending) = Ending::from_code(rest >> 24) else { break };
            let mut bytes = Vec::with_capacity(length.min(BYTES) + 8);
            for word in words.by_ref().take(length.div_ceil(8)) {
                bytes.extend_from_slice(&word.load(Relaxed).to_le_bytes());
            }
            if bytes.len() < length {
                break;
            }
            bytes.truncate(length);
            entries.push(Entry { item, ending, bytes });
        }
        entries
    }

    /// Worker: begins an offer's first item, before it does anything else about it. False: the offer was taken back.
    #[must_use]
    pub(super) fn begin(self, lane: usize, seq: Seq) -> bool {
        self.0[lane].compare_exchange(pack(seq, OFFERED), pack(seq, 1), AcqRel, Acquire).is_ok()
    }

    /// Worker: begins a later item of an offer that it has begun.
    pub(super) fn go_on(self, lane: usize, seq: Seq, item: u32) {
        self.0[lane].store(pack(seq, item + 1), Release);
    }

    /// Worker: empties the journal, for results of this offer.
    pub(super) fn open_journal(self, seq: Seq) {
        self.0[JOURNAL].store(pack(seq, 0), Release);
    }

    /// Worker: notes a result, so that it survives the worker. False: there is no room for it.
    #[must_use]
    pub(super) fn note(self, item: u32, ending: Ending, bytes: &[u8]) -> bool {
        let (seq, used) = unpack(self.0[JOURNAL].load(Relaxed));
        let needed = 1 + bytes.len().div_ceil(8);
        let free = self.0[ENTRIES..].get(used as usize..).and_then(|free| free.get(..needed));
        let (Some(free), Ok(length)) = (free, u32::try_from(bytes.len())) else { return false };
        free[0].store(pack(item, ending.code() << 24 | length), Relaxed);
        for (word, part) in free[1..].iter().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..part.len()].copy_from_slice(part);
            word.store(u64::from_le_bytes(whole), Relaxed);
        }
        let used = u32::try_from(used as usize + needed).unwrap_or(u32::MAX);
        self.0[JOURNAL].store(pack(seq, used), Release);
        true
    }
}

fn pack(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a word")]
fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..BYTES / 8).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn an_offer_is_begun_or_taken_back_never_both() {
        let words = words();
        let ledger = Ledger::new(&words);
        ledger.offer(0, 7);
        assert_eq!(ledger.begun(0, 7), Begun::Nothing);
        assert!(ledger.begin(0, 7));
        assert!(!ledger.take_back(0, 7));
        assert_eq!(ledger.begun(0, 7), Begun::Item(0));
        ledger.go_on(0, 7, 1);
        assert_eq!(ledger.begun(0, 7), Begun::Item(1));

        ledger.offer(1, 8);
        assert!(ledger.take_back(1, 8));
        assert!(!ledger.begin(1, 8));
        assert_eq!(ledger.begun(1, 8), Begun::Nothing);
        // The lane's next offer leaves the one that was taken back taken back.
        ledger.offer(1, 9);
        assert!(!ledger.begin(1, 8));
        assert_eq!(ledger.begun(1, 8), Begun::Nothing);
        assert!(ledger.begin(1, 9));
    }

    #[test]
    fn both_sides_race_for_an_offer_and_one_wins() {
        let words = words();
        let ledger = Ledger::new(&words);
        let gate = std::sync::Barrier::new(2);
        for seq in 1..2_000 {
            ledger.offer(0, seq);
            let (begun, taken) = std::thread::scope(|scope| {
                let worker = scope.spawn(|| {
                    gate.wait();
                    ledger.begin(0, seq)
                });
                gate.wait();
                let taken = ledger.take_back(0, seq);
                (worker.join().unwrap(), taken)
            });
            assert_ne!(begun, taken);
        }
    }

    #[test]
    fn noted_results_are_read_back_until_the_journal_is_opened_anew() {
        let words = words();
        let ledger = Ledger::new(&words);
        ledger.open_journal(3);
        assert_eq!(ledger.journal(3), []);
        let sizes = [0, 1, 7, 8, 9, 100];
        for (item, size) in (5..).zip(sizes) {
            assert!(ledger.note(item, Ending::Returned, &vec![9; size]));
        }
        assert!(ledger.note(11, Ending::Panicked, b"report"));
        let read = ledger.journal(3);
        assert_eq!(read.len(), 7);
        for ((item, size), entry) in (5..).zip(sizes).zip(&read) {
            assert_eq!(entry, &Entry { item, ending: Ending::Returned, bytes: vec![9; size] });
        }
        assert_eq!(read[6], Entry { item: 11, ending: Ending::Panicked, bytes: b"report".to_vec() });
        assert_eq!(ledger.journal(4), []);
        ledger.open_journal(4);
        assert_eq!((ledger.journal(3), ledger.journal(4)), (vec![], vec![]));
    }

    #[test]
    fn a_full_journal_refuses_and_keeps_what_it_has() {
        let words = words();
        let ledger = Ledger::new(&words);
        ledger.open_journal(1);
        let mut noted = 0;
        while ledger.note(noted, Ending::Returned, &[1; 1_000]) {
            noted += 1;
        }
        assert_eq!(noted, 64);
        assert_eq!(ledger.journal(1).len(), 64);
        assert!(!ledger.note(0, Ending::Returned, &vec![0; BYTES]));
    }

    #[test]
    fn a_scribbled_journal_is_survived() {
        for scribble in [u64::MAX, 1 << 32 | 0xff_ffff, 0x7fff_ffff_00ff_ffff, 0xff00_0000] {
            let words = words();
            let ledger = Ledger::new(&words);
            words.iter().for_each(|word| word.store(scribble, Relaxed));
            let (seq, _) = unpack(scribble);
            for entry in ledger.journal(seq) {
                assert!(entry.bytes.len() <= BYTES);
            }
            let _ = ledger.begun(0, seq);
        }
    }
}
