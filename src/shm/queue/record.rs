//! A record's header: one word, so that a record changes its state in one store.
//!
//! ```text
//!   | handed out so often, 20 bits | state, 2 bits | seat, 10 bits | length, 32 bits |
//! ```
//!
//! | State | Set by | Seat |
//! |---|---|---|
//! | READY | who puts it, handed out 0 times; who takes it back, with what it was | 0 |
//! | LEASED | who hands it out | who has it |
//! | DONE | who takes it for good, or drops it | 0 |

use super::super::ring::{Bytes, Corrupt, Index, footprint};
use super::Queue;
use std::fmt;

const SEAT: u32 = 32;
const STATE: u32 = 42;
const ATTEMPTS: u32 = 44;
const MOST_ATTEMPTS: u32 = (1 << 20) - 1;

/// What a record is, and what may be done with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header(u64);

/// What may be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It may be taken.
    Ready,
    /// It is with whoever sits there.
    Leased(usize),
    /// It is not needed any more.
    Done,
}

impl Header {
    /// Of a record that nobody has had.
    #[inline]
    pub(super) fn of(length: u32) -> Self {
        Self(length.into())
    }

    #[inline]
    pub(super) fn to_word(self) -> u64 {
        self.0
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub(crate) fn length(self) -> u32 {
        self.0 as u32
    }

    /// How many times it was handed out on a lease.
    #[inline]
    pub(crate) fn attempts(self) -> u32 {
        (self.0 >> ATTEMPTS) as u32
    }

    #[inline]
    pub(crate) fn state(self) -> State {
        match self.0 >> STATE & 3 {
            0 => State::Ready,
            1 => State::Leased((self.0 >> SEAT) as usize & 0x3FF),
            _ => State::Done,
        }
    }

    /// Whether it was never handed out.
    #[inline]
    pub(super) fn is_fresh(self) -> bool {
        self.state() == State::Ready && self.attempts() == 0
    }

    fn with(self, state: u64, seat: usize, attempts: u32) -> Self {
        Self(u64::from(attempts) << ATTEMPTS | state << STATE | (seat as u64) << SEAT | u64::from(self.length()))
    }

    /// Handed out, once more.
    pub(super) fn leased(self, seat: usize) -> Self {
        self.with(1, seat, (self.attempts() + 1).min(MOST_ATTEMPTS))
    }

    /// Back again.
    pub(super) fn ready(self) -> Self {
        self.with(0, 0, self.attempts())
    }

    /// Not needed any more.
    pub(super) fn done(self) -> Self {
        self.with(2, 0, self.attempts())
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} bytes, handed out {} times", self.state(), self.length(), self.attempts())
    }
}

impl Queue {
    /// The header of the record at `at`, and where the next one begins. What lies before `tail` is judged by it.
    #[inline]
    pub(super) fn record(bytes: &impl Bytes, at: Index, tail: Index) -> Result<(Header, Index), Corrupt> {
        let header = Header(bytes.read_word(at.position()));
        let there = tail.bytes_since(at);
        // A length that would go round is longer than there is.
        if header.length() >= there || footprint(header.length()) > there {
            return Err(Corrupt("a record longer than what is there"));
        }
        let next = at.after_record(footprint(header.length()));
        if (next.position() == tail.position()) != (next.count() == tail.count()) {
            return Err(Corrupt("records that are not as many as the index says"));
        }
        Ok((header, next))
    }

    /// The records from `from` to `to`, with where they begin; after an error none.
    pub(super) fn records(
        bytes: &impl Bytes,
        from: Index,
        to: Index,
    ) -> impl Iterator<Item = Result<(Index, Header), Corrupt>> {
        let mut at = from;
        std::iter::from_fn(move || {
            if at == to {
                return None;
            }
            let found = Self::record(bytes, at, to).map(|(header, next)| (std::mem::replace(&mut at, next), header));
            if found.is_err() {
                at = to;
            }
            Some(found)
        })
    }
}

#[cfg(all(test, not(crewkit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_header_keeps_its_parts_apart() {
        let put = Header::of(u32::MAX);
        assert_eq!((put.state(), put.attempts(), put.length(), put.is_fresh()), (State::Ready, 0, u32::MAX, true));
        let leased = put.leased(1023);
        assert_eq!((leased.state(), leased.attempts(), leased.length()), (State::Leased(1023), 1, u32::MAX));
        let back = leased.ready();
        assert_eq!((back.state(), back.attempts(), back.is_fresh()), (State::Ready, 1, false));
        let again = back.leased(1);
        assert_eq!((again.state(), again.attempts()), (State::Leased(1), 2));
        assert_eq!((again.done().state(), again.done().length()), (State::Done, u32::MAX));
        let tired = Header(u64::MAX).leased(7);
        assert_eq!((tired.state(), tired.attempts()), (State::Leased(7), MOST_ATTEMPTS));
    }
}
