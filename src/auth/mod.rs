//! Floor 3: a handshake in which both sides prove that they have the same key, without any I/O.
//!
//! | Part | What it does |
//! |---|---|
//! | [`Key`] | a secret that both sides have |
//! | [`Server`], [`Client`] | the two sides, each a machine: a frame in, a frame out |
//! | [`Frame`] | what goes to and fro, and which bytes are none |
//! | [`AuthError`] | why one side does not trust the other |
//!
//! Whoever owns a socket carries frames to and fro, within a time of its own, until both are [done](Step::Done) or one
//! has a [`Fault`]. A frame is always 40 bytes, so no peer makes anybody read or keep more than that before it is trusted.
//!
//! ```text
//!          client                                                    server
//!  Hello { keyed, nonce }   ------------------------------------->   has a key?   no: Welcome, if the client has none
//!                           <-------------------------------------   yes: Challenge { nonce }
//!  Answer { mac }           ------------------------------------->   right?
//!                           <-------------------------------------   Welcome { mac }, or Refused { why }
//!  right?
//!
//!  mac = HMAC-SHA256(key, role, Hello, Challenge)       role = "crewkit 1 client" or "crewkit 1 server"
//! ```
//!
//! 1. **Both nonces are under each MAC**, 32 random bytes of each side: an answer that was right once is right never again.
//! 2. **The role is under it**: what one side says is no answer of the other, so nobody is convinced by a mirror. (CPython's
//!    first protocol had no role, and each side would answer the other's challenge.)
//! 3. **So are both frames, whole**: nobody between the two changes the version, or whether there is a key at all.
//! 4. **The client proves itself first.** A stranger who connects gets nothing to try keys on. Who takes the server's place
//!    does get it, so a key must not be guessable: 16 random bytes or more.
//! 5. MACs are compared in a time that does not depend on where they differ.
//!
//! What it does not do: what follows the handshake is neither encrypted nor authenticated, and somebody who relays the frames
//! of two honest sides sits between them afterwards.

mod client;
mod error;
mod frame;
mod key;
mod server;

pub(crate) use client::Client;
pub use error::AuthError;
pub(crate) use frame::{FRAME_LEN, Frame, Nonce};
pub use key::Key;
pub(crate) use server::Server;

/// What a side does after a frame that it accepted.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Step {
    /// Sends this and receives another.
    Send([u8; FRAME_LEN]),
    /// Sends this, if there is anything, and trusts the other side.
    Done(Option<[u8; FRAME_LEN]>),
}

/// Why a handshake ended without trust.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This side does not trust the other. A server says so by [`Frame::Refused`]; a client leaves.
    Ours(AuthError),
    /// The other side has said that it does not trust this one.
    Theirs(AuthError),
}

#[cfg(test)]
mod tests;
