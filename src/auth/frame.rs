//! The frames of the handshake: 40 bytes, whatever they say.
//!
//! ```text
//!  0           4         5      6      7      8                     40
//!  +-----------+---------+------+------+------+---------------------+
//!  | "crew"    | version | kind | word | zero | nonce, MAC or zeros |
//!  +-----------+---------+------+------+------+---------------------+
//! ```

use super::AuthError;

/// Bytes of a frame.
pub(crate) const FRAME_LEN: usize = 40;

const MAGIC: [u8; 4] = *b"crew";
const VERSION: u8 = 1;

/// Random bytes that a side has never used before.
pub(crate) type Nonce = [u8; 32];
/// The proof of a key.
pub(super) type Mac = [u8; 32];
/// Where there is no key.
pub(super) const NO_PROOF: Mac = [0; 32];

/// What one side says to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The client's first; whether it has a key.
    Hello { keyed: bool, nonce: Nonce },
    /// The server has a key, too.
    Challenge { nonce: Nonce },
    /// The client's proof.
    Answer { mac: Mac },
    /// The server's, or [`NO_PROOF`].
    Welcome { mac: Mac },
    /// The server does not trust the client.
    Refused { why: AuthError },
}

impl Frame {
    pub(crate) fn encode(self) -> [u8; FRAME_LEN] {
        let (kind, word, body) = match self {
            Self::Hello { keyed, nonce } => (1, u8::from(keyed), nonce),
            Self::Challenge { nonce } => (2, 0, nonce),
            Self::Answer { mac } => (3, 0, mac),
            Self::Welcome { mac } => (4, 0, mac),
            Self::Refused { why } => (5, why.code(), [0; 32]),
        };
        let mut out = [0; FRAME_LEN];
        out[..4].copy_from_slice(&MAGIC);
        out[4..7].copy_from_slice(&[VERSION, kind, word]);
        out[8..].copy_from_slice(&body);
        out
    }

    /// Whether more bytes could make a frame of these.
    pub(crate) fn may_begin_with(bytes: &[u8]) -> bool {
        MAGIC.iter().zip(bytes).all(|(magic, byte)| magic == byte)
    }

    /// The frame that these bytes are. Each frame has one form: what is decoded encodes to the same bytes,
    /// but for a refusal whose reason this version does not know.
    pub(crate) fn decode(raw: &[u8]) -> Result<Self, AuthError> {
        let garbage = |what| Err(AuthError::Garbage(what));
        let Some((&MAGIC, rest)) = raw.split_first_chunk() else {
            return garbage("it does not begin as a handshake does");
        };
        let Some((&[version, kind, word, zero], body)) = rest.split_first_chunk() else {
            return garbage("it is too short");
        };
        if version != VERSION {
            return Err(AuthError::Version(version));
        }
        let Ok(body) = <[u8; 32]>::try_from(body) else { return garbage("it is too short or too long") };
        match (kind, word, zero) {
            (1, 0 | 1, 0) => Ok(Self::Hello { keyed: word == 1, nonce: body }),
            (2, 0, 0) => Ok(Self::Challenge { nonce: body }),
            (3, 0, 0) => Ok(Self::Answer { mac: body }),
            (4, 0, 0) => Ok(Self::Welcome { mac: body }),
            (5, code, 0) if body == [0; 32] => Ok(Self::Refused { why: AuthError::from_code(code) }),
            _ => garbage("nothing that is said in a handshake"),
        }
    }
}
