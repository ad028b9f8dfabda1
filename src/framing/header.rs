//! The 16 bytes before each chunk.

use super::FrameError;

/// Length of an encoded header.
pub(crate) const HEADER_LEN: usize = 16;

/// The longest payload of a chunk. With its header it fits the default buffer of a socket three times.
pub(crate) const MAX_CHUNK: usize = 64 << 10;

const MAGIC: u16 = 0xC7E3;

const FIRST: u8 = 1;
const LAST: u8 = 2;
const BYTES: u8 = 4;

/// What a message holds; the receiver asks for one or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A serialised value, possibly with descriptors.
    Value,
    /// Bytes as they are.
    Bytes,
}

/// A chunk's header. See the [module](super) for the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of payload behind this header, at most [`MAX_CHUNK`].
    pub(crate) len: usize,
    /// Whether a message begins here.
    pub(crate) first: bool,
    /// Whether it ends here.
    pub(crate) last: bool,
    /// What the message holds.
    pub(crate) kind: Kind,
    /// How many descriptors came beside this chunk.
    pub(crate) fds: u8,
    /// Length of the whole message.
    pub(crate) total: u64,
}

impl Header {
    /// The header as it travels.
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        debug_assert!(self.len <= MAX_CHUNK);
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_CHUNK")]
        let len = self.len as u32;
        let first = if self.first { FIRST } else { 0 };
        let last = if self.last { LAST } else { 0 };
        let bytes = if self.kind == Kind::Bytes { BYTES } else { 0 };

        let mut out = [0; HEADER_LEN];
        out[0..4].copy_from_slice(&len.to_le_bytes());
        out[4] = first | last | bytes;
        out[5] = self.fds;
        out[6..8].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..16].copy_from_slice(&self.total.to_le_bytes());
        out
    }

    /// The header of a piece in a ring, where its length and the total stand elsewhere; what [`from_tag`](Self::from_tag)
    /// reads.
    #[inline]
    pub(crate) fn tag(&self) -> u32 {
        let flag = |is_set, flag| if is_set { u32::from(flag) } else { 0 };
        let flags = flag(self.first, FIRST) | flag(self.last, LAST) | flag(self.kind == Kind::Bytes, BYTES);
        flags | u32::from(self.fds) << 8
    }

    /// Whether a tag is that of a whole message, whose total is its length.
    #[inline]
    pub(crate) fn is_whole(tag: u32) -> bool {
        tag & u32::from(FIRST | LAST) == u32::from(FIRST | LAST)
    }

    /// The header of a piece of `len` bytes.
    #[inline]
    pub(crate) fn from_tag(tag: u32, len: usize, total: u64) -> Result<Self, FrameError> {
        let [flags, fds, 0, 0] = tag.to_le_bytes() else { return Err(FrameError::Corrupt("unknown flags")) };
        Self::judged(flags, fds, len, total)
    }

    /// Reads a header that arrived. What can be judged without knowing the chunks before it, is judged here.
    pub(crate) fn decode(raw: &[u8; HEADER_LEN]) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, flags, fds, m0, m1, t0, t1, t2, t3, t4, t5, t6, t7] = *raw;
        if u16::from_le_bytes([m0, m1]) != MAGIC {
            return Err(FrameError::Corrupt("the magic number is missing"));
        }
        let (len, total) = (u32::from_le_bytes([l0, l1, l2, l3]), u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]));
        Self::judged(flags, fds, len as usize, total)
    }

    #[inline]
    fn judged(flags: u8, fds: u8, len: usize, total: u64) -> Result<Self, FrameError> {
        if flags & !(FIRST | LAST | BYTES) != 0 {
            return Err(FrameError::Corrupt("unknown flags"));
        }
        let (first, last) = (flags & FIRST != 0, flags & LAST != 0);
        if len > MAX_CHUNK {
            return Err(FrameError::Corrupt("a chunk longer than 64 KiB"));
        }
        if len == 0 && !last {
            return Err(FrameError::Corrupt("an empty chunk inside a message"));
        }
        if fds != 0 && !first {
            return Err(FrameError::Corrupt("descriptors inside a message"));
        }
        let kind = if flags & BYTES != 0 { Kind::Bytes } else { Kind::Value };
        Ok(Self { len, first, last, kind, fds, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for (first, last) in [(true, true), (true, false), (false, true), (false, false)] {
            for kind in [Kind::Value, Kind::Bytes] {
                let fds = if first { 253 } else { 0 };
                let header = Header { len: MAX_CHUNK, first, last, kind, fds, total: u64::MAX };
                assert_eq!(Header::decode(&header.encode()), Ok(header));
                assert_eq!(Header::from_tag(header.tag(), MAX_CHUNK, u64::MAX), Ok(header));
                assert_eq!(Header::is_whole(header.tag()), first && last);
                for unknown in [8, 1 << 16, 1 << 31] {
                    assert!(Header::from_tag(header.tag() | unknown, MAX_CHUNK, u64::MAX).is_err());
                }
                assert_eq!(Header::from_tag(header.tag(), 0, u64::MAX).is_err(), !last);
            }
        }
    }

    #[test]
    fn whatever_is_decoded_is_what_was_encoded() {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut accepted = 0;
        for _ in 0..200_000 {
            let mut raw = [0; HEADER_LEN];
            for byte in &mut raw {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                *byte = random.to_le_bytes()[3];
            }
            // Noise alone would hardly ever get past the magic number and the length.
            raw[2..4].fill(0);
            raw[6..8].copy_from_slice(&MAGIC.to_le_bytes());
            if let Ok(header) = Header::decode(&raw) {
                assert_eq!(header.encode(), raw);
                accepted += 1;
            }
        }
        assert!(accepted > 1000);
    }

    #[test]
    fn every_rule_about_a_single_header_is_enforced() {
        type Damage = fn(&mut [u8; HEADER_LEN]);
        let broken: [(&str, Damage); 6] = [
            ("magic, low", |raw| raw[6] ^= 1),
            ("magic, high", |raw| raw[7] ^= 0x80),
            ("flags", |raw| raw[4] |= 8),
            ("length", |raw| raw[0..4].copy_from_slice(&0x0001_0001_u32.to_le_bytes())),
            ("empty chunk", |raw| raw[0] = 0),
            ("late descriptors", |raw| raw[4] &= !FIRST),
        ];
        let sound = Header { len: 5, first: true, last: false, kind: Kind::Bytes, fds: 3, total: 9 };
        for (rule, damage) in broken {
            let mut raw = sound.encode();
            assert_eq!(Header::decode(&raw), Ok(sound));
            damage(&mut raw);
            assert!(matches!(Header::decode(&raw), Err(FrameError::Corrupt(_))), "{rule}");
        }
    }
}
