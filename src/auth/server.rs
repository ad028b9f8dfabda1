//! The side that others come to.

use super::frame::NO_PROOF;
use super::key::{Role, Transcript};
use super::{AuthError, FRAME_LEN, Fault, Frame, Key, Nonce, Step};

/// A server's part in one handshake.
#[derive(Debug)]
pub(crate) struct Server {
    nonce: Nonce,
    awaits: Awaits,
}

#[derive(Debug)]
enum Awaits {
    Hello,
    Answer(Transcript),
    Nothing,
}

impl Server {
    /// `nonce` is used once.
    pub(crate) fn new(nonce: Nonce) -> Self {
        Self { nonce, awaits: Awaits::Hello }
    }

    /// Whether the client has said something yet, and nothing wrong.
    pub(crate) fn has_heard(&self) -> bool {
        !matches!(self.awaits, Awaits::Hello)
    }

    /// Takes what the client sent: one record, or as many bytes as a frame has. `key` is the same each time.
    pub(crate) fn receive(&mut self, key: Option<&Key>, bytes: &[u8]) -> Result<Step, Fault> {
        let frame = Frame::decode(bytes).map_err(Fault::Ours)?;
        match (std::mem::replace(&mut self.awaits, Awaits::Nothing), frame, key) {
            (Awaits::Hello, Frame::Hello { keyed: false, .. }, None) => {
                Ok(Step::Done(Some(Frame::Welcome { mac: NO_PROOF }.encode())))
            }
            (Awaits::Hello, Frame::Hello { keyed: true, .. }, None) => Err(Fault::Ours(AuthError::UnexpectedKey)),
            (Awaits::Hello, Frame::Hello { keyed: false, .. }, Some(_)) => Err(Fault::Ours(AuthError::NoKey)),
            (Awaits::Hello, hello @ Frame::Hello { keyed: true, .. }, Some(_)) => {
                let challenge = Frame::Challenge { nonce: self.nonce }.encode();
                self.awaits = Awaits::Answer([hello.encode(), challenge]);
                Ok(Step::Send(challenge))
            }
            (Awaits::Answer(transcript), Frame::Answer { mac }, Some(key)) => {
                if !key.verifies(Role::Client, &transcript, &mac) {
                    return Err(Fault::Ours(AuthError::WrongKey));
                }
                let mac = key.sign(Role::Server, &transcript);
                Ok(Step::Done(Some(Frame::Welcome { mac }.encode())))
            }
            (Awaits::Answer(_), Frame::Challenge { nonce }, _) if nonce == self.nonce => {
                Err(Fault::Ours(AuthError::Reflected))
            }
            _ => Err(Fault::Ours(AuthError::Garbage("not what comes at this point of a handshake"))),
        }
    }

    /// What a client is told that is not trusted.
    pub(crate) fn farewell(why: AuthError) -> [u8; FRAME_LEN] {
        Frame::Refused { why }.encode()
    }
}
