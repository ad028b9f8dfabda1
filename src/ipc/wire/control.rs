//! Records that are no part of a message: what the two ends of a connection say to each other about its rings.
//!
//! ```text
//!  0       4      5      6       8                16
//!  +-------+------+------+-------+----------------+
//!  | 0     | what | 0    | magic | number         |
//!  +-------+------+------+-------+----------------+
//!           1 RING  2 SWITCH  3 DESCRIPTORS  4 BELL
//! ```
//!
//! As long as a chunk's header, and told from one by the magic number.

use crate::framing::HEADER_LEN;

const MAGIC: u16 = 0xC7E4;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// The descriptors beside it are a ring, which the sender would rather use than the socket, and its bell.
    Ring,
    /// What the sender sends from here on is in the ring.
    Switch,
    /// Those beside it belong to the message that begins with the ring's record of this index.
    Descriptors(u64),
    /// Somebody slept, and has something to look at.
    Bell,
}

impl Control {
    pub(crate) fn encode(self) -> [u8; HEADER_LEN] {
        let (what, number) = match self {
            Self::Ring => (1, 0),
            Self::Switch => (2, 0),
            Self::Descriptors(number) => (3, number),
            Self::Bell => (4, 0),
        };
        let mut raw = [0; HEADER_LEN];
        raw[4] = what;
        raw[6..8].copy_from_slice(&MAGIC.to_le_bytes());
        raw[8..16].copy_from_slice(&number.to_le_bytes());
        raw
    }

    /// `None` for anything else, a chunk's header among it.
    pub(crate) fn decode(raw: &[u8; HEADER_LEN]) -> Option<Self> {
        let [0, 0, 0, 0, what, 0, m0, m1, n0, n1, n2, n3, n4, n5, n6, n7] = *raw else { return None };
        let number = u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
        match (u16::from_le_bytes([m0, m1]), what, number) {
            (MAGIC, 1, 0) => Some(Self::Ring),
            (MAGIC, 2, 0) => Some(Self::Switch),
            (MAGIC, 3, number) => Some(Self::Descriptors(number)),
            (MAGIC, 4, 0) => Some(Self::Bell),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{Header, Kind};

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else_is() {
        for control in [Control::Ring, Control::Switch, Control::Descriptors(u64::MAX), Control::Bell] {
            let raw = control.encode();
            assert_eq!(Control::decode(&raw), Some(control));
            assert!(Header::decode(&raw).is_err(), "it is no chunk either");
            for bit in 0..8 * 8 {
                let mut damaged = raw;
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(Control::decode(&damaged), Some(control));
            }
        }
        let chunk = Header { len: 0, first: true, last: true, kind: Kind::Bytes, fds: 0, total: 0 };
        assert_eq!(Control::decode(&chunk.encode()), None);
    }
}
