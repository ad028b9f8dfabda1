//! Messages over a SEQPACKET socket, or a stream, without waiting: one chunk of [`framing`](crate::framing) is one record.
//!
//! [`Connection`](super::Connection) adds the waiting with a deadline; event loops (pool, fork server) call this
//! directly when their poller says so. Neither side copies: a record is sent from the caller's slice and received into
//! the message's own buffer. Invariants 1 to 6 of the [README](README.md) are kept here and in `framing`.

mod control;
mod sender;
mod stream;
mod target;

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::framing::{Assembly, FrameError, HEADER_LEN, Header, Kind, MAX_CHUNK, Place};
use crate::sys::socket::{peek_record, recv_record};

pub(crate) use control::Control;
pub(crate) use sender::Sender;
use stream::{Partial, Taken};
pub(crate) use target::{Onto, Target};

/// The longest message taken or sent where nobody asked for another limit: 1 GiB.
pub(crate) const DEFAULT_LIMIT: u64 = 1 << 30;

/// How many chunks one call takes or sends at most, so that no peer, however fast, keeps a caller from looking at its
/// clock or at its other sockets: 16 MiB.
pub(crate) const ROUND: usize = 256;

/// A buffer that grew beyond this is given back rather than kept for the next message.
pub(super) const KEPT_BUFFER: usize = 1 << 20;

/// One message as it arrived.
#[derive(Debug)]
pub(crate) struct Message {
    /// The serialised value, or the bytes.
    pub(crate) bytes: Vec<u8>,
    /// The descriptors that came with it.
    pub(crate) fds: Vec<OwnedFd>,
}

/// Why no message came. All but `Closed` and `Io` concern one message: the next call goes on with the next.
#[derive(Debug)]
pub(crate) enum WireError {
    /// The other side is gone and everything it finished sending was received.
    Closed,
    /// Descriptors of a message were lost, because this process may open no more. The message is dropped.
    Truncated,
    /// A message longer than the limit was announced. It is skipped.
    TooLarge { size: u64, limit: u64 },
    /// A record that is no chunk of a message, or not where it belongs. Its message is skipped.
    Corrupt(&'static str),
    /// The kernel refused to receive.
    Io(io::Error),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other side is closed"),
            Self::Truncated => f.write_str("descriptors were lost: this process may open no more (RLIMIT_NOFILE)"),
            Self::TooLarge { size, limit } => write!(f, "a message of {size} bytes; the limit here is {limit}"),
            Self::Corrupt(what) => write!(f, "not a message of crewkit: {what}"),
            Self::Io(error) => write!(f, "receiving: {error}"),
        }
    }
}

impl std::error::Error for WireError {}

impl From<FrameError> for WireError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLarge { total, limit } => Self::TooLarge { size: total, limit },
            FrameError::Corrupt(what) => Self::Corrupt(what),
        }
    }
}

/// What comes next on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    /// The end of the stream.
    End,
    Control(Control),
    /// Anything else.
    Chunk,
}

impl Next {
    /// On a socket that keeps records whole.
    pub(crate) fn peek(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Self::judge(|head| peek_record(fd, head))
    }

    fn judge(peek: impl FnOnce(&mut [u8; HEADER_LEN]) -> io::Result<usize>) -> io::Result<Self> {
        let mut head = [0; HEADER_LEN];
        match peek(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Self::Nothing),
            Err(error) => Err(error),
            Ok(0) => Ok(Self::End),
            Ok(HEADER_LEN) => Ok(Control::decode(&head).map_or(Self::Chunk, Self::Control)),
            Ok(_) => Ok(Self::Chunk),
        }
    }
}

/// The receiving side: holds what arrived of a message until it is whole, and a whole one until it is taken.
#[derive(Debug)]
pub(crate) struct Receiver {
    assembly: Assembly,
    /// What arrived of the message being received.
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// The message held is whole.
    whole: Option<Kind>,
    /// What [`is_ready`](Self::is_ready) ran into, for the next call that receives.
    failed: Option<WireError>,
    /// A record that is no part of a message, where there may be such.
    control: Option<(Control, Vec<OwnedFd>)>,
    takes_control: bool,
    /// On a stream: what has arrived of a record. What is of its payload is at the end of `bytes`.
    partial: Option<Partial>,
}

impl Receiver {
    /// A receiver of messages of at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        let assembly = Assembly::new(limit);
        let (bytes, fds) = (Vec::new(), Vec::new());
        Self { assembly, bytes, fds, whole: None, failed: None, control: None, takes_control: false, partial: None }
    }

    /// The same, on a stream.
    pub(crate) fn on_stream(limit: u64) -> Self {
        Self { partial: Some(Partial::new()), ..Self::new(limit) }
    }

    /// A receiver that knows of [`Control`] records: it stops at each, until it is [taken](Self::take_control).
    pub(crate) fn with_control(limit: u64) -> Self {
        Self { takes_control: true, ..Self::new(limit) }
    }

    /// The record that is no part of a message, at which [`advance`](Self::advance), [`is_ready`](Self::is_ready) or
    /// [`receive_record`](Self::receive_record) has stopped, with the descriptors beside it.
    pub(crate) fn take_control(&mut self) -> Option<(Control, Vec<OwnedFd>)> {
        self.control.take()
    }

    /// What the next record on the socket is; it stays there.
    pub(crate) fn peek(&mut self, fd: BorrowedFd<'_>) -> io::Result<Next> {
        Next::judge(|head| self.peek_header(fd, head))
    }

    fn peek_header(&mut self, fd: BorrowedFd<'_>, head: &mut [u8; HEADER_LEN]) -> io::Result<usize> {
        match &mut self.partial {
            None => peek_record(fd, head),
            Some(partial) => partial.peek(fd, head, &mut self.bytes),
        }
    }

    /// The kind of the message that is held whole.
    #[inline]
    pub(crate) fn whole(&self) -> Option<Kind> {
        self.whole
    }

    /// Whether a chunk of that header, if it came next, would be anything to anybody who waits for a message.
    pub(crate) fn would_be_news(&self, header: &Header) -> bool {
        !self.is_no_news(header)
    }

    /// Changes the limit, from the next message on.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.assembly.set_limit(limit);
    }

    /// Whether anything of a message was taken from the socket and not yet given out.
    pub(crate) fn holds_something(&self) -> bool {
        let is_partial = self.partial.as_ref().is_some_and(|partial| !partial.is_empty());
        self.whole.is_some() || self.assembly.is_inside() || is_partial
    }

    /// The next message, or `None` when the socket has no more for now; what arrived of an unfinished one stays here.
    pub(crate) fn try_recv(&mut self, fd: BorrowedFd<'_>) -> Result<Option<Message>, WireError> {
        if self.advance(fd)?.is_none() {
            return Ok(None);
        }
        let mut message = self.take();
        self.fit(&mut message);
        Ok(Some(message))
    }

    /// Receives until a message is whole; says its kind, and holds it until [`take`](Self::take). `None` when the
    /// socket has no more for now, or after [`ROUND`] chunks.
    pub(crate) fn advance(&mut self, fd: BorrowedFd<'_>) -> Result<Option<Kind>, WireError> {
        self.advance_within(&mut { ROUND }, fd)
    }

    /// [`advance`](Self::advance) for so many records, less those that it takes: what is left is for the next call.
    pub(crate) fn advance_within(
        &mut self,
        records: &mut usize,
        fd: BorrowedFd<'_>,
    ) -> Result<Option<Kind>, WireError> {
        self.check()?;
        while *records > 0 && self.whole.is_none() && self.control.is_none() {
            *records -= 1;
            if !self.receive_record(fd)? {
                break;
            }
        }
        Ok(self.whole)
    }

    /// Says what went wrong while nobody received.
    #[inline]
    pub(crate) fn check(&mut self) -> Result<(), WireError> {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Something went wrong while nobody received: the next call that does will [say](Self::check) so.
    pub(crate) fn fail(&mut self, error: WireError) {
        self.failed = Some(error);
    }

    /// Whether there is a message or an error to be given.
    pub(crate) fn holds_news(&self) -> bool {
        self.whole.is_some() || self.failed.is_some()
    }

    /// Whether [`advance`](Self::advance) would give a message or an error now. Receives all but the last chunk, so that
    /// the socket stays readable for as long as this is true; a message that was given up, to its end. `records` as for
    /// [`advance_within`](Self::advance_within).
    pub(crate) fn is_ready(&mut self, records: &mut usize, fd: BorrowedFd<'_>) -> bool {
        while *records > 0 && !self.holds_news() {
            *records -= 1;
            let mut head = [0; HEADER_LEN];
            match self.peek_header(fd, &mut head) {
                Ok(HEADER_LEN) if self.takes_control && Control::decode(&head).is_some() => {
                    self.failed = self.receive_record(fd).err();
                    return self.failed.is_some();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // A socket says it once.
                Err(error) => self.failed = Some(WireError::Io(error)),
                Ok(HEADER_LEN) if Header::decode(&head).is_ok_and(|header| self.is_no_news(&header)) => {
                    self.failed = self.receive_record(fd).err();
                }
                Ok(_) => return true,
            }
        }
        self.holds_news()
    }

    /// Whether a chunk ends nothing that anybody waits for: more of its message comes, or the message was given up.
    fn is_no_news(&self, header: &Header) -> bool {
        let is_void = self.partial.as_ref().is_some_and(Partial::is_void);
        !header.last || (!header.first && self.assembly.is_skipping()) || is_void
    }

    /// The message held, in the receiver's own buffer; give that back by [`recycle`](Self::recycle).
    #[inline]
    pub(crate) fn take(&mut self) -> Message {
        self.whole = None;
        Message { bytes: std::mem::take(&mut self.bytes), fds: std::mem::take(&mut self.fds) }
    }

    /// The length of the message held.
    pub(crate) fn held_len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back the buffer of a message that was taken, for the next one, unless it grew too large to keep.
    #[inline]
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_BUFFER && self.bytes.capacity() == 0 {
            buffer.clear();
            self.bytes = buffer;
        }
    }

    /// Makes a message that will be kept no larger than it need be: a short one leaves the receive buffer.
    pub(crate) fn fit(&mut self, message: &mut Message) {
        if message.bytes.capacity() / 4 > message.bytes.len() {
            let exact = message.bytes.as_slice().to_vec();
            self.recycle(std::mem::replace(&mut message.bytes, exact));
        }
    }

    /// Receives one record; `false` when there is none.
    pub(crate) fn receive_record(&mut self, fd: BorrowedFd<'_>) -> Result<bool, WireError> {
        if self.partial.is_some() {
            return self.receive_from_stream(fd);
        }
        let held = self.bytes.len();
        let mut head = [0; HEADER_LEN];
        let received = match recv_record(fd, &mut head, &mut self.bytes, MAX_CHUNK) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(WireError::Io(error)),
        };
        if received.len == 0 {
            self.discard();
            return Err(WireError::Closed);
        }
        if self.takes_control
            && (received.len, received.truncated) == (HEADER_LEN, false)
            && let Some(control) = Control::decode(&head)
        {
            self.control = Some((control, received.fds));
            return Ok(true);
        }
        let judged = if received.len < HEADER_LEN || received.truncated {
            Err(FrameError::Corrupt("a record that is no chunk"))
        } else {
            Header::decode(&head).and_then(|header| match self.bytes.len() - held == header.len {
                true => Ok(header),
                false => Err(FrameError::Corrupt("a record shorter or longer than its chunk")),
            })
        };
        let header = judged.inspect_err(|_| self.give_up())?;
        self.accept_chunk(&header, held, received.fds, received.fds_truncated)
    }

    fn receive_from_stream(&mut self, fd: BorrowedFd<'_>) -> Result<bool, WireError> {
        let Some(partial) = &mut self.partial else { return Ok(false) };
        let held = self.bytes.len() - partial.payload();
        match partial.take(fd, &mut self.bytes) {
            Ok(Taken::Nothing) => Ok(false),
            Ok(Taken::Record(header)) => self.accept_chunk(&header, held, Vec::new(), false),
            Ok(Taken::Void) => {
                self.give_up();
                Ok(true)
            }
            Ok(Taken::End) => {
                self.discard();
                Err(WireError::Closed)
            }
            Err(error) => {
                if matches!(error, WireError::Corrupt(_)) {
                    self.give_up();
                }
                Err(error)
            }
        }
    }

    /// A chunk has arrived, its payload behind what was `held`.
    fn accept_chunk(
        &mut self,
        header: &Header,
        held: usize,
        fds: Vec<OwnedFd>,
        fds_truncated: bool,
    ) -> Result<bool, WireError> {
        let (place, complete) = self.assembly.accept(header).inspect_err(|_| self.discard())?;
        match place {
            Place::Nowhere => self.discard(),
            Place::End if fds.is_empty() && !fds_truncated => {}
            Place::Start if fds.len() == usize::from(header.fds) && !fds_truncated => {
                self.bytes.drain(..held);
                self.fds = fds;
            }
            Place::Start | Place::End => {
                let is_too_few = fds_truncated || fds.len() < usize::from(header.fds);
                return Err(self.lose(complete, is_too_few));
            }
        }
        self.whole = complete.then_some(header.kind);
        Ok(true)
    }

    /// A chunk came with too few descriptors or too many: its message is given up, if there is more of it.
    #[cold]
    fn lose(&mut self, complete: bool, too_few: bool) -> WireError {
        match complete {
            true => self.discard(),
            false => self.give_up(),
        }
        if too_few { WireError::Truncated } else { WireError::Corrupt("more descriptors than announced") }
    }

    fn give_up(&mut self) {
        self.assembly.give_up();
        self.discard();
    }

    fn discard(&mut self) {
        self.fds.clear();
        let buffer = std::mem::take(&mut self.bytes);
        self.recycle(buffer);
    }
}

#[cfg(test)]
mod tests;
