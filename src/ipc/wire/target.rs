//! Pieces that come by a ring, and the caller's buffer in which they may be put together.

use std::os::fd::OwnedFd;

use super::{Receiver, WireError};
use crate::framing::{Header, Kind, Place};

/// Where the bytes of a piece go.
#[derive(Debug)]
pub(crate) enum Onto<'a> {
    /// To the end of it.
    Held(&'a mut Vec<u8>),
    /// All over it.
    Caller(&'a mut [u8]),
    Nowhere,
}

/// A caller's buffer. A message of bytes that fits goes there as it arrives, and is copied once; all others are held by the
/// [`Receiver`].
#[derive(Debug)]
pub(crate) struct Target<'a> {
    buffer: &'a mut [u8],
    /// How much of a message is there.
    filled: Option<usize>,
    takes_bytes: bool,
}

impl<'a> Target<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, filled: None, takes_bytes: true }
    }

    /// Of a caller who has none.
    #[inline]
    pub(crate) fn none() -> Self {
        Self { buffer: &mut [], filled: None, takes_bytes: false }
    }

    pub(crate) fn into_buffer(self) -> &'a mut [u8] {
        self.buffer
    }

    #[inline]
    fn begin(&mut self, header: &Header) {
        let fits = self.takes_bytes && header.kind == Kind::Bytes && header.fds == 0;
        self.filled = (fits && header.total <= self.buffer.len() as u64).then_some(0);
    }

    /// Room for a piece of the message that was begun, of whose length it is said that it fits.
    #[inline]
    fn next<'b>(&'b mut self, length: usize, held: &'b mut Vec<u8>) -> Onto<'b> {
        let Some(filled) = &mut self.filled else { return Onto::Held(held) };
        let begin = *filled;
        *filled += length;
        self.buffer.get_mut(begin..begin + length).map_or(Onto::Nowhere, Onto::Caller)
    }
}

impl Receiver {
    /// Takes a piece that came by other means than a socket, with its descriptors, of which some may be lost; `copy` puts its
    /// bytes where it is told. Those of a message of bytes that fits into `target` go there.
    #[inline]
    pub(crate) fn accept_piece(
        &mut self,
        header: &Header,
        fds: Vec<OwnedFd>,
        fds_truncated: bool,
        target: &mut Target<'_>,
        copy: impl FnOnce(Onto<'_>),
    ) -> Result<(), WireError> {
        let accepted = self.assembly.accept(header);
        match accepted {
            Ok((Place::Start, complete)) if fds_truncated || fds.len() != usize::from(header.fds) => {
                copy(Onto::Nowhere);
                return Err(self.lose(complete, fds_truncated || fds.len() < usize::from(header.fds)));
            }
            Ok((Place::Start, _)) => {
                self.bytes.clear();
                self.fds = fds;
                target.begin(header);
                copy(target.next(header.len, &mut self.bytes));
            }
            Ok((Place::End, _)) => copy(target.next(header.len, &mut self.bytes)),
            Ok((Place::Nowhere, _)) | Err(_) => {
                copy(Onto::Nowhere);
                self.discard();
            }
        }
        self.whole = accepted?.1.then_some(header.kind);
        Ok(())
    }

    /// The length of the whole message that is held in `target`, which is taken by this.
    #[inline]
    pub(crate) fn take_from(&mut self, target: &Target<'_>) -> Option<usize> {
        target.filled.inspect(|_| self.whole = None)
    }

    /// Nobody waits for the rest of the message any more that is held in `target`: what arrived of it is kept here.
    pub(crate) fn keep(&mut self, target: Target<'_>) {
        if let Some(arrived) = target.filled.and_then(|filled| target.buffer.get(..filled))
            && self.assembly.is_inside()
        {
            self.bytes.extend_from_slice(arrived);
        }
    }
}
