//! The side that sends.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use super::ROUND;
use super::stream::Rest;
use crate::framing::{Chunks, Header, Kind};
use crate::sys::socket::{MAX_FDS_PER_RECORD, send_record};

/// The sending side: at most one message is begun and not yet finished.
#[derive(Debug)]
pub(crate) struct Sender {
    limit: u64,
    begun: Option<Chunks>,
    /// On a stream: what it has not taken yet.
    rest: Option<Rest>,
}

impl Sender {
    /// A sender of messages of at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, begun: None, rest: None }
    }

    /// The same, on a stream. No descriptors go by it.
    pub(crate) fn on_stream(limit: u64) -> Self {
        Self { rest: Some(Rest::default()), ..Self::new(limit) }
    }

    /// Whether descriptors can be sent.
    pub(crate) fn takes_descriptors(&self) -> bool {
        self.rest.is_none()
    }

    /// Whether a record was begun that only this sender can finish.
    pub(crate) fn holds_something(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| !rest.is_empty())
    }

    /// The longest message that may be sent.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Changes the limit.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Sends as much of a value's message as there is room for; `true` when all of it was sent. After `false`, call
    /// again with the same message when the socket is writable, or [`abandon`](Self::abandon) it.
    ///
    /// After an error nothing is begun. `InvalidInput` for a message over the limit or with more than 253 descriptors,
    /// `BrokenPipe` when the other side is closed; what the kernel says otherwise.
    pub(crate) fn try_send(&mut self, fd: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
        self.try_send_kind(fd, Kind::Value, bytes, fds)
    }

    /// [`try_send`](Self::try_send) for either kind of message.
    pub(crate) fn try_send_kind(
        &mut self,
        fd: BorrowedFd<'_>,
        kind: Kind,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<bool> {
        let mut chunks = match self.begun.take() {
            Some(begun) => begun,
            None => self.begin(kind, bytes, fds)?,
        };
        match self.send_chunks(fd, &mut chunks, bytes, fds) {
            Ok(true) => return Ok(true),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => self.begun = Some(chunks),
        }
        Ok(false)
    }

    /// `WouldBlock` when there is no room for the next chunk, or for all of the last; `false` after [`ROUND`] of them.
    fn send_chunks(
        &mut self,
        fd: BorrowedFd<'_>,
        chunks: &mut Chunks,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<bool> {
        for round in 0.. {
            let Some((header, part)) = chunks.next() else { break };
            if round == ROUND {
                return Ok(false);
            }
            let payload = bytes.get(part).ok_or_else(|| invalid("a message that changed while it was being sent"))?;
            self.send_chunk(fd, &header, payload, if header.first { fds } else { &[] })?;
            chunks.advance();
        }
        self.rest.as_mut().map_or(Ok(()), |rest| rest.flush(fd))?;
        Ok(true)
    }

    fn send_chunk(
        &mut self,
        fd: BorrowedFd<'_>,
        header: &Header,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let header = header.encode();
        match &mut self.rest {
            None => send_record(fd, &[IoSlice::new(&header), IoSlice::new(payload)], fds),
            Some(rest) => rest.send(fd, &header, payload),
        }
    }

    /// Whether nothing is begun.
    pub(crate) fn is_idle(&self) -> bool {
        self.begun.is_none()
    }

    /// Gives up the message begun. The receiver drops what it holds of it when the next message begins.
    pub(crate) fn abandon(&mut self) {
        self.begun = None;
        self.rest.iter_mut().for_each(Rest::void);
    }

    fn begin(&self, kind: Kind, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<Chunks> {
        if bytes.len() as u64 > self.limit {
            return Err(invalid("a message longer than the limit"));
        }
        let count = u8::try_from(fds.len()).ok().filter(|&count| usize::from(count) <= MAX_FDS_PER_RECORD);
        let count = count.ok_or_else(|| invalid("more than 253 descriptors in one message"))?;
        Ok(Chunks::new(bytes.len(), kind, count))
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
