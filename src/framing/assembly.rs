//! Where an arriving chunk belongs, and when its message is whole: the receiver's half of the codec.
//!
//! The memory of a message is the caller's, so that it can have the kernel write there directly.

use std::fmt;

use super::{Header, Kind};

/// Why a chunk was refused. The rest of its message is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// The message is announced as longer than the receiver takes.
    TooLarge { total: u64, limit: u64 },
    /// The chunk breaks a rule of the codec; which one.
    Corrupt(&'static str),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { total, limit } => write!(f, "a message of {total} bytes; the limit here is {limit}"),
            Self::Corrupt(what) => write!(f, "not a message of crewkit: {what}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Where the payload of an accepted chunk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It begins a message; what was held is to be dropped.
    Start,
    /// It follows what is held.
    End,
    /// It belongs to a message that was given up: drop it.
    Nowhere,
}

/// The message being put together.
#[derive(Debug)]
pub(crate) struct Assembly {
    limit: u64,
    state: State,
}

/// ```text
///              FIRST              any other chunk, rules kept
///     Idle -----------> Held ----------------------------------+
///      ^ ^               | ^                                   |
///      | +---- LAST -----+ +-----------------------------------+
///      |                 |
///      |                 | rule broken, or the receiver gives up
///      |                 v
///      +---- LAST --- Skipping <--- rule broken --- Idle
/// ```
/// FIRST leads from every state to Held. A chunk with LAST always ends in Idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of a message is held.
    Idle,
    /// Some of a message is held: `received` bytes of `total`.
    Held { received: u64, total: u64, kind: Kind },
    /// The rest of a message that was refused is to be dropped.
    Skipping,
}

impl Assembly {
    /// Nothing received yet; messages may be `limit` bytes long.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, state: State::Idle }
    }

    /// Changes the limit, from the next message on.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Whether a part of a message is held.
    pub(crate) fn is_inside(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// Whether the rest of a message that was refused is being dropped.
    pub(crate) fn is_skipping(&self) -> bool {
        self.state == State::Skipping
    }

    /// Judges the chunk whose header arrived: where its payload goes, and whether it completes the message.
    #[inline]
    pub(crate) fn accept(&mut self, header: &Header) -> Result<(Place, bool), FrameError> {
        let judged = self.judge(header);
        self.state = match judged {
            _ if header.last => State::Idle,
            Ok(state) => state,
            Err(_) => State::Skipping,
        };
        match judged? {
            State::Skipping => Ok((Place::Nowhere, false)),
            _ if header.first => Ok((Place::Start, header.last)),
            _ => Ok((Place::End, header.last)),
        }
    }

    /// Gives up the message being received: what still arrives of it is skipped.
    pub(crate) fn give_up(&mut self) {
        self.state = State::Skipping;
    }

    /// The state after this chunk, if it is not the last.
    #[inline]
    fn judge(&self, header: &Header) -> Result<State, FrameError> {
        let held = match self.state {
            _ if header.first => 0,
            State::Skipping => return Ok(State::Skipping),
            State::Idle => return Err(FrameError::Corrupt("a continuation without a beginning")),
            State::Held { total, kind, .. } if (total, kind) != (header.total, header.kind) => {
                return Err(FrameError::Corrupt("chunks of one message that disagree"));
            }
            State::Held { received, .. } => received,
        };
        if header.first && header.total > self.limit {
            return Err(FrameError::TooLarge { total: header.total, limit: self.limit });
        }
        let received = held + header.len as u64;
        if received > header.total || header.last != (received == header.total) {
            return Err(FrameError::Corrupt("a message whose length is not what it announced"));
        }
        Ok(State::Held { received, total: header.total, kind: header.kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{Chunks, MAX_CHUNK};

    const LIMIT: usize = 1 << 20;

    fn headers(total: usize) -> Vec<Header> {
        let mut chunks = Chunks::new(total, Kind::Value, 0);
        std::iter::from_fn(|| {
            let (header, _) = chunks.next()?;
            chunks.advance();
            Some(header)
        })
        .collect()
    }

    #[test]
    fn a_message_is_whole_at_its_last_chunk() {
        let mut assembly = Assembly::new(LIMIT as u64);
        for total in [0, 1, MAX_CHUNK, MAX_CHUNK + 1, 3 * MAX_CHUNK, LIMIT] {
            for header in headers(total) {
                let place = if header.first { Place::Start } else { Place::End };
                assert_eq!(assembly.accept(&header), Ok((place, header.last)));
                assert_eq!(assembly.is_inside(), !header.last);
            }
        }
    }

    #[test]
    fn a_first_chunk_discards_an_unfinished_message() {
        let chunks = headers(3 * MAX_CHUNK);
        for cut in 0..chunks.len() {
            let mut assembly = Assembly::new(LIMIT as u64);
            for header in &chunks[..cut] {
                assembly.accept(header).unwrap();
            }
            assert_eq!(assembly.accept(&headers(7)[0]), Ok((Place::Start, true)));
            assert!(!assembly.is_inside());
        }
    }

    #[test]
    fn too_large_is_said_once_and_the_rest_is_skipped() {
        let mut assembly = Assembly::new(LIMIT as u64);
        let chunks = headers(LIMIT + 1);
        let refused = Err(FrameError::TooLarge { total: LIMIT as u64 + 1, limit: LIMIT as u64 });
        assert_eq!(assembly.accept(&chunks[0]), refused);
        for header in &chunks[1..] {
            assert_eq!(assembly.accept(header), Ok((Place::Nowhere, false)));
            assert!(!assembly.is_inside());
        }
        assert_eq!(assembly.accept(&headers(0)[0]), Ok((Place::Start, true)));
    }

    #[test]
    fn a_lone_huge_announcement_changes_nothing() {
        let mut assembly = Assembly::new(LIMIT as u64);
        let lie = Header { len: 1, first: true, last: true, kind: Kind::Value, fds: 0, total: u64::MAX };
        assert!(matches!(assembly.accept(&lie), Err(FrameError::TooLarge { .. })));
        assert!(!assembly.is_inside());
    }

    #[test]
    fn every_damage_to_a_chunk_of_three_is_noticed_and_the_next_message_arrives() {
        type Damage = fn(&mut Header);
        let damages: [(&str, Damage); 6] = [
            ("longer", |h| h.len += 1),
            ("shorter", |h| h.len -= 1),
            ("other total", |h| h.total -= 1),
            ("other kind", |h| h.kind = Kind::Bytes),
            ("last flipped", |h| h.last = !h.last),
            ("huge total", |h| h.total = u64::MAX),
        ];
        for (what, damage) in damages {
            for victim in 0..3 {
                let mut chunks = headers(2 * MAX_CHUNK + 100);
                damage(&mut chunks[victim]);
                let mut assembly = Assembly::new(u64::MAX);
                let results: Vec<_> = chunks.iter().map(|header| assembly.accept(header)).collect();
                assert!(results.iter().any(Result::is_err), "{what} in chunk {victim}");
                assert!(!results.contains(&Ok((Place::End, true))), "{what} in chunk {victim} was taken for whole");
                assert_eq!(assembly.accept(&headers(1)[0]), Ok((Place::Start, true)), "{what} in chunk {victim}");
            }
        }
    }

    /// Whatever comes, a message is whole only if its chunks since FIRST are what it announced.
    #[test]
    fn no_sequence_of_chunks_makes_a_whole_of_parts() {
        const SMALL: u64 = 6;
        let mut random = 0x2545_F491_4F6C_DD1D_u64;
        let mut below = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let mut assembly = Assembly::new(SMALL);
        let mut since_first: Vec<Header> = Vec::new();
        let (mut whole, mut refused) = (0, 0);
        for _ in 0..300_000 {
            let (first, last) = (below(3) == 0, below(3) == 0);
            let kind = if below(8) == 0 { Kind::Bytes } else { Kind::Value };
            let header =
                Header { len: below(4).try_into().unwrap(), first, last, kind, fds: 0, total: below(SMALL + 2) };
            if first {
                since_first.clear();
            }
            since_first.push(header);
            match assembly.accept(&header) {
                Ok((Place::Start | Place::End, true)) => {
                    whole += 1;
                    assert!(since_first[0].first, "no beginning: {since_first:?}");
                    assert!(since_first.iter().all(|h| (h.total, h.kind) == (header.total, header.kind)));
                    assert!(since_first[..since_first.len() - 1].iter().all(|h| !h.last));
                    assert_eq!(since_first.iter().map(|h| h.len as u64).sum::<u64>(), header.total);
                    assert!(header.total <= SMALL);
                }
                Ok((Place::Nowhere, complete)) => assert!(!complete),
                Ok((_, false)) => assert!(!last && assembly.is_inside()),
                Err(_) => refused += 1,
            }
            assert!(!(last && assembly.is_inside()), "LAST must end what is held");
        }
        assert!(whole > 1000 && refused > 1000, "{whole} whole, {refused} refused");
    }

    #[test]
    fn a_message_given_up_by_the_receiver_is_skipped() {
        let mut assembly = Assembly::new(LIMIT as u64);
        let chunks = headers(3 * MAX_CHUNK);
        assembly.accept(&chunks[0]).unwrap();
        assembly.give_up();
        assert_eq!(assembly.accept(&chunks[1]), Ok((Place::Nowhere, false)));
        assert_eq!(assembly.accept(&chunks[2]), Ok((Place::Nowhere, false)));
        assert!(!assembly.is_inside());
    }
}
