//! Frames of the handshake out of a socket, never more bytes than one has.

use std::io;
use std::os::fd::BorrowedFd;

use crate::auth::{FRAME_LEN, Frame};
use crate::sys::rendezvous::take;
use crate::sys::stream::is_stream;

/// What has arrived of a frame.
#[derive(Debug)]
pub(super) struct Inbox {
    /// A byte more than a frame shows that a record is too long.
    bytes: [u8; FRAME_LEN + 1],
    /// On a stream, where a frame may come in pieces: how much of it is here. What is behind it is not taken.
    held: Option<usize>,
}

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
    pub(super) fn new(socket: BorrowedFd<'_>) -> Self {
        Self { bytes: [0; FRAME_LEN + 1], held: is_stream(socket).then_some(0) }
    }

    /// Takes the next frame, if it is there.
    pub(super) fn next(&mut self, socket: BorrowedFd<'_>) -> Found<'_> {
        loop {
            let room = self.held.map_or(0..FRAME_LEN + 1, |held| held..FRAME_LEN);
            match take(socket, &mut self.bytes[room]) {
                Ok(0) => return Found::End,
                Ok(len) => {
                    let len = self.held.unwrap_or(0) + len;
                    // What cannot become a frame is not waited for.
                    if self.held.is_none() || len == FRAME_LEN || !Frame::may_begin_with(&self.bytes[..len]) {
                        self.held = self.held.map(|_| 0);
                        return Found::Frame(&self.bytes[..len]);
                    }
                    self.held = Some(len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Found::Nothing,
                // Said once, when the other side closed with something of ours unread; what it had sent comes after it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(_) => return Found::End,
            }
        }
    }
}
