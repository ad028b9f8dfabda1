//! The side that comes.

use super::frame::{Mac, NO_PROOF};
use super::key::{Role, Transcript};
use super::{AuthError, FRAME_LEN, Fault, Frame, Key, Nonce, Step};

/// A client's part in one handshake.
#[derive(Debug)]
pub(crate) struct Client {
    nonce: Nonce,
    hello: [u8; FRAME_LEN],
    awaits: Awaits,
}

#[derive(Debug)]
enum Awaits {
    /// The server's word on whether there is a key.
    First,
    /// Its proof, after ours.
    Welcome {
        transcript: Transcript,
        ours: Mac,
    },
    Nothing,
}

impl Client {
    /// The client, and what it sends first. `nonce` is used once.
    pub(crate) fn new(key: Option<&Key>, nonce: Nonce) -> (Self, [u8; FRAME_LEN]) {
        let hello = Frame::Hello { keyed: key.is_some(), nonce }.encode();
        (Self { nonce, hello, awaits: Awaits::First }, hello)
    }

    /// Takes what the server sent: one record, or as many bytes as a frame has. `key` is the same each time.
    pub(crate) fn receive(&mut self, key: Option<&Key>, bytes: &[u8]) -> Result<Step, Fault> {
        let frame = Frame::decode(bytes).map_err(Fault::Ours)?;
        match (std::mem::replace(&mut self.awaits, Awaits::Nothing), frame, key) {
            (_, Frame::Refused { why }, _) => Err(Fault::Theirs(why)),
            (Awaits::First, Frame::Hello { nonce, .. } | Frame::Challenge { nonce }, _) if nonce == self.nonce => {
                Err(Fault::Ours(AuthError::Reflected))
            }
            (Awaits::First, Frame::Welcome { mac: NO_PROOF }, None) => Ok(Step::Done(None)),
            // Without a challenge it proves nothing.
            (Awaits::First, Frame::Welcome { .. }, Some(_)) => Err(Fault::Ours(AuthError::NoKey)),
            (Awaits::First, Frame::Challenge { .. }, None) => Err(Fault::Ours(AuthError::UnexpectedKey)),
            (Awaits::First, challenge @ Frame::Challenge { .. }, Some(key)) => {
                let transcript = [self.hello, challenge.encode()];
                let ours = key.sign(Role::Client, &transcript);
                self.awaits = Awaits::Welcome { transcript, ours };
                Ok(Step::Send(Frame::Answer { mac: ours }.encode()))
            }
            (Awaits::Welcome { ours, .. }, Frame::Welcome { mac } | Frame::Answer { mac }, _) if mac == ours => {
                Err(Fault::Ours(AuthError::Reflected))
            }
            (Awaits::Welcome { transcript, .. }, Frame::Welcome { mac }, Some(key)) => {
                match key.verifies(Role::Server, &transcript, &mac) {
                    true => Ok(Step::Done(None)),
                    false => Err(Fault::Ours(AuthError::WrongKey)),
                }
            }
            _ => Err(Fault::Ours(AuthError::Garbage("not what comes at this point of a handshake"))),
        }
    }
}
