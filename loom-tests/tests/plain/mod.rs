//! The bytes of a ring as plain memory, so that loom reports a copy that is not ordered with the others.

use crate::ring::Bytes;
use crewkit_loom_tests::mortal::Memory;

/// Four records of a word each.
pub(crate) const LENGTH: u32 = 64;

pub(crate) struct Plain(Vec<Memory>);

// SAFETY: loom reports every access that is not ordered with the others.
#[expect(unsafe_code, reason = "shares cells, for loom to report their races")]
unsafe impl Sync for Plain {}

impl Plain {
    pub(crate) fn new() -> Self {
        Self((0..LENGTH / 8).map(|_| Memory::default()).collect())
    }

    fn word(&self, position: u32) -> &Memory {
        &self.0[(position % LENGTH / 8) as usize]
    }
}

impl Bytes for Plain {
    fn length(&self) -> u32 {
        LENGTH
    }

    fn write(&self, position: u32, bytes: &[u8]) {
        for (at, word) in (position..).step_by(8).zip(bytes.chunks(8)) {
            self.write_word(at, u64::from_ne_bytes(word.try_into().unwrap()));
        }
    }

    fn write_word(&self, position: u32, word: u64) {
        self.word(position).write(word);
    }

    fn read_word(&self, position: u32) -> u64 {
        self.word(position).read()
    }

    fn read(&self, position: u32, length: usize, onto: &mut Vec<u8>) {
        for at in (position..).step_by(8).take(length / 8) {
            onto.extend(self.read_word(at).to_ne_bytes());
        }
    }

    fn read_into(&self, position: u32, onto: &mut [u8]) {
        for (at, bytes) in (position..).step_by(8).zip(onto.chunks_mut(8)) {
            bytes.copy_from_slice(&self.read_word(at).to_ne_bytes());
        }
    }
}
