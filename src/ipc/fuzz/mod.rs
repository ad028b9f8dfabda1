//! What a hostile or broken peer may send, as functions of any bytes: they return, whatever the bytes are.
//!
//! | Target | The bytes are |
//! |---|---|
//! | [`wire`] | records of a connection's socket, with descriptors |
//! | [`value`] | a message's contents and its descriptors, decoded as each kind of value and handle |
//! | [`handshake`] | what a stranger says to a listener, or to who comes to it |
//! | [`object`] | what somebody writes into the memory of an object, before and after others open it |
//! | [`ring`] | what somebody writes into a ring, for either side of it |
//! | [`queue`] | what somebody writes into a queue, its records and all that is said of them, for who has it and who opens it |
//!
//! `fuzz/` runs them under libFuzzer and AddressSanitizer (`ci/fuzz.sh`). The crate's own tests run them on the inputs in
//! `fuzz/corpus`, and on a fixed number of variations of each.

mod handshakes;
mod objects;
mod queues;
mod rings;
#[cfg(test)]
mod search;
mod values;
mod wires;

pub use handshakes::handshake;
pub use objects::object;
pub use queues::queue;
pub use rings::ring;
pub use values::value;
pub use wires::wire;

/// Takes numbers and pieces off the front of an input; zeroes when it has ended.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }

    fn word(&mut self, bytes: usize) -> u64 {
        let mut word = [0; 8];
        let piece = self.take(bytes);
        word[..piece.len()].copy_from_slice(piece);
        u64::from_le_bytes(word)
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// A number below `limit`, and below 2^16.
    fn below(&mut self, limit: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % limit
    }
}

/// Writes words into shared memory as an input says, but for those that `is_spared`: an index and what it becomes, near
/// the beginning or anywhere; by itself, or a bit at a time.
fn scribble(words: &[crate::primitive::AtomicU64], input: &mut Input<'_>, is_spared: impl Fn(usize) -> bool) {
    use std::sync::atomic::Ordering;
    // As much as anybody needs to reach every state, and little enough for many tries in a second.
    for _ in 0..64 {
        if input.is_empty() {
            return;
        }
        let how = input.byte();
        let range = if how & 1 == 0 { words.len().min(64) } else { words.len() };
        let index = input.below(range.min(1 << 16));
        let word = if how & 2 == 0 { u64::from(input.byte()) } else { input.word(8) };
        if is_spared(index) {
            continue;
        }
        match how >> 2 & 3 {
            0 => words[index].store(word, Ordering::Relaxed),
            1 => words[index].store(!word, Ordering::Relaxed),
            2 => drop(words[index].fetch_xor(1 << (word % 64), Ordering::Relaxed)),
            _ => drop(words[index].fetch_add(word, Ordering::Relaxed)),
        }
    }
}
