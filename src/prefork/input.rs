//! The input buffer of a connection: a run of bytes in a piece of memory that grows up to a limit.
//!
//! ```text
//! 0        start            end            memory.len()
//! | consumed | not consumed  | room          |
//! ```
//!
//! A connection that waits for its next request has an empty buffer, and gives the memory back to the thread that
//! served it ([`Input::take_memory`]); the thread that serves it next lends it its own. So ten thousand idle
//! connections have no buffers.

/// The buffer.
#[derive(Debug, Default)]
pub(super) struct Input {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// The most memory of one buffer.
    pub(super) const MAX: usize = 64 * 1024;

    /// Its first size.
    const FIRST: usize = 8 * 1024;

    /// What has arrived and was not consumed.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Memory to read into, never empty; `None` when the buffer is as full as it may get.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        if self.end == self.memory.len() {
            if self.start > 0 {
                self.memory.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else if self.memory.len() >= Self::MAX {
                return None;
            } else {
                self.memory.resize((self.memory.len() * 2).max(Self::FIRST), 0);
            }
        }
        Some(&mut self.memory[self.end..])
    }

    /// The first `count` bytes of [`Input::room`] have been filled.
    pub(super) fn filled(&mut self, count: usize) {
        debug_assert!(count <= self.memory.len() - self.end, "more than there is room for");
        self.end = (self.end + count).min(self.memory.len());
    }

    /// Takes `count` bytes, or all if there are fewer.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Gives an empty buffer memory to use, if it has none.
    pub(super) fn lend_memory(&mut self, memory: &mut Vec<u8>) {
        if self.memory.is_empty() {
            std::mem::swap(&mut self.memory, memory);
        }
    }

    /// Takes the memory back if nothing is in it. A buffer that has grown is let go instead.
    pub(super) fn take_memory(&mut self, memory: &mut Vec<u8>) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            let mine = std::mem::take(&mut self.memory);
            if mine.len() == Self::FIRST {
                *memory = mine;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(input: &mut Input, bytes: &[u8]) {
        for &byte in bytes {
            input.room().unwrap()[0] = byte;
            input.filled(1);
        }
    }

    #[test]
    fn bytes_come_out_as_they_went_in_across_growth_and_compaction() {
        let mut input = Input::default();
        let (mut written, mut read) = (0_u32, 0_u32);
        for round in 0..5000_usize {
            for _ in 0..round % 23 {
                push(&mut input, &[u8::try_from(written % 251).unwrap()]);
                written += 1;
            }
            let count = (round % 19).min(input.bytes().len());
            for &byte in &input.bytes()[..count] {
                assert_eq!(u32::from(byte), read % 251);
                read += 1;
            }
            input.consume(count);
        }
        assert_eq!(input.bytes().len(), usize::try_from(written - read).unwrap());
    }

    #[test]
    fn it_is_full_at_its_limit_and_not_before() {
        let mut input = Input::default();
        let mut all = 0;
        while let Some(room) = input.room() {
            let count = room.len();
            assert!(count > 0);
            all += count;
            input.filled(count);
        }
        assert_eq!(all, Input::MAX);
        input.consume(1);
        assert_eq!(input.room().unwrap().len(), 1);
    }

    #[test]
    fn consuming_too_much_is_consuming_everything() {
        let mut input = Input::default();
        push(&mut input, b"abc");
        input.consume(usize::MAX);
        assert_eq!(input.bytes(), b"");
    }

    #[test]
    fn memory_wanders_only_while_the_buffer_is_empty() {
        let (mut input, mut memory) = (Input::default(), vec![0; Input::FIRST]);
        input.lend_memory(&mut memory);
        assert!(memory.is_empty());
        push(&mut input, b"a");
        input.take_memory(&mut memory);
        assert!(memory.is_empty(), "it is in use");
        input.consume(1);
        input.take_memory(&mut memory);
        assert_eq!(memory.len(), Input::FIRST);
    }
}
