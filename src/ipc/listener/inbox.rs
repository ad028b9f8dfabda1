//! Frames of the handshake out of a socket, never more bytes than one has.

use std::io;
use std::os::fd::BorrowedFd;

use crate::auth::FRAME_LEN;
use crate::sys::rendezvous::take;

/// What has arrived of a frame. A byte more than a frame shows that a record is too long.
#[derive(Debug)]
pub(super) struct Inbox([u8; FRAME_LEN + 1]);

/// What [`Inbox::next`] found.
pub(super) enum Found<'a> {
    /// Bytes that may be a frame.
    Frame(&'a [u8]),
    /// Nothing, for now.
    Nothing,
    /// The other side is gone.
    End,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self([0; FRAME_LEN + 1])
    }

    /// Takes the next frame, if it is there.
    pub(super) fn next(&mut self, socket: BorrowedFd<'_>) -> Found<'_> {
        loop {
            match take(socket, &mut self.0) {
                Ok(0) => return Found::End,
                Ok(len) => return Found::Frame(&self.0[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Found::Nothing,
                // Said once, when the other side closed with something of ours unread; what it had sent comes after it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(_) => return Found::End,
            }
        }
    }
}
