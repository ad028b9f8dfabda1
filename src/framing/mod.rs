//! Floor 3: the one codec of the crate: messages as capped, length-prefixed chunks, without any I/O.
//!
//! | Part | What it decides |
//! |---|---|
//! | [`Header`] | the 16 bytes before each chunk, and which of them are nonsense |
//! | [`Chunks`] | a message's cut into chunks, and which of them is next |
//! | [`Assembly`] | where an arriving chunk belongs, and when its message is whole |
//!
//! A message is one or more chunks of at most [`MAX_CHUNK`] bytes:
//!
//! ```text
//!  0        4       5     6       8                16
//!  +--------+-------+-----+-------+----------------+------- - - -
//!  | len    | flags | fds | magic | total          | len bytes
//!  +--------+-------+-----+-------+----------------+------- - - -
//!   of this  FIRST         0xC7E3   of the message
//!   chunk    LAST                                       all little-endian
//!            BYTES
//! ```
//!
//! Rules, each checked on receipt, because a peer is never trusted:
//!
//! 1. the first chunk has FIRST, the last has LAST, the only one has both; an empty message is one empty chunk;
//! 2. `total` and BYTES are the same in all chunks of a message, and `total` is at most the receiver's limit;
//! 3. only a last chunk may be empty, and the lengths of a message's chunks add up to `total` exactly at LAST;
//! 4. `fds`, the number of descriptors beside the chunk, is zero but on the first;
//! 5. FIRST discards what was held of an earlier message: that is how a sender gives one up;
//! 6. memory grows with what arrived, never by what was announced.
//!
//! After a chunk that breaks a rule, the rest of its message is skipped up to the next FIRST.

mod assembly;
mod chunks;
mod header;

pub(crate) use assembly::{Assembly, FrameError, Place};
pub(crate) use chunks::Chunks;
pub(crate) use header::{HEADER_LEN, Header, Kind, MAX_CHUNK};
