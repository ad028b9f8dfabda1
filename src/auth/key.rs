//! The secret that both sides have, and what they do with it.

use std::fmt;
use std::io;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::frame::{FRAME_LEN, Mac};
use crate::sys::random;

/// SHA-256 works on blocks of this many bytes, and HMAC's key is one of them.
const BLOCK: usize = 64;

/// A secret that both sides of a connection have (Python's `authkey`).
///
/// It must not be guessable: who listens to the network, or takes a server's place, can try keys on what was said. Its
/// memory is overwritten when the last clone is dropped, and [`Debug`](fmt::Debug) does not show it.
///
/// ```
/// use crewkit::ipc::Key;
///
/// let shared = Key::new("32 bytes from /dev/urandom, kept in a file");
/// assert_eq!(format!("{shared:?}"), "Key");
/// ```
#[derive(Clone)]
pub struct Key(Arc<Secret>);

/// The key as HMAC wants it, in one place however many clones there are.
struct Secret([u8; BLOCK]);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Whose proof it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Client,
    Server,
}

/// What was said before anything was proved: hello and challenge.
pub(super) type Transcript = [[u8; FRAME_LEN]; 2];

impl Key {
    /// The key of these bytes, at best 32 random ones.
    ///
    /// # Panics
    ///
    /// If there are none: nothing would be proved. (CPython takes an empty key.)
    #[must_use]
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        assert!(!bytes.is_empty(), "an empty key proves nothing");
        // As HMAC prepares every key (RFC 2104, 2).
        let mut block = [0; BLOCK];
        match block.get_mut(..bytes.len()) {
            Some(start) => start.copy_from_slice(bytes),
            None => {
                let mut digest: [u8; 32] = Sha256::digest(bytes).into();
                block[..32].copy_from_slice(&digest);
                digest.zeroize();
            }
        }
        let key = Self(Arc::new(Secret(block)));
        block.zeroize();
        key
    }

    /// A key that nobody else has, 32 bytes long; [`Clone`] it for both sides, as when a child inherits it.
    ///
    /// # Errors
    ///
    /// When the kernel has no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut bytes = random::bytes::<32>()?;
        let key = Self::new(bytes);
        bytes.zeroize();
        Ok(key)
    }

    /// The proof that this side has the key.
    pub(super) fn sign(&self, role: Role, transcript: &Transcript) -> Mac {
        self.over(role, transcript).finalize().into_bytes().into()
    }

    /// Whether this is the proof of somebody who has it, in a time that does not depend on the answer.
    pub(super) fn verifies(&self, role: Role, transcript: &Transcript, mac: &Mac) -> bool {
        self.over(role, transcript).verify_slice(mac).is_ok()
    }

    fn over(&self, role: Role, [hello, challenge]: &Transcript) -> Hmac<Sha256> {
        let label: &[u8; 16] = match role {
            Role::Client => b"crewkit 1 client",
            Role::Server => b"crewkit 1 server",
        };
        let mut mac = Hmac::<Sha256>::new((&self.0.0).into());
        mac.update(label);
        mac.update(hello);
        mac.update(challenge);
        mac
    }
}

/// Says that there is one.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}
