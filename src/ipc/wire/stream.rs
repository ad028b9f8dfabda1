//! Records on a stream, which keeps no boundaries: "On a stream" in the [README](../README.md).
//!
//! ```text
//!  0                 16                  16 + len
//!  +-----------------+- - - - - - - - - -+---------+
//!  | chunk's header  | its payload       | verdict |     1 COUNTS, 0 VOID
//!  +-----------------+- - - - - - - - - -+---------+
//! ```
//!
//! A record that was begun is finished, whatever happens, so that the next begins where it is looked for. So whether it counts
//! stands at its end, where a sender that gives up meanwhile can still say no.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use super::WireError;
use crate::framing::{HEADER_LEN, Header};
use crate::sys::socket::{peek_record, recv_record};
use crate::sys::stream::{send_some, set_low_water, stop_reading};

const VOID: u8 = 0;
const COUNTS: u8 = 1;

/// What the stream did not take of the last record: at its end stands the verdict. Empty when it took all.
#[derive(Debug, Default)]
pub(super) struct Rest {
    bytes: Vec<u8>,
    sent: usize,
}

impl Rest {
    /// Sends a record; what there is no room for is kept. `WouldBlock` for as long as anything is left of the one before.
    pub(super) fn send(&mut self, fd: BorrowedFd<'_>, header: &[u8], payload: &[u8]) -> io::Result<()> {
        self.flush(fd)?;
        let parts = [header, payload, &[COUNTS]];
        let mut sent = send_some(fd, &parts.map(IoSlice::new))?;
        for part in parts {
            let of_it = sent.min(part.len());
            self.bytes.extend_from_slice(&part[of_it..]);
            sent -= of_it;
        }
        Ok(())
    }

    /// `WouldBlock` until nothing is left.
    pub(super) fn flush(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        while self.sent < self.bytes.len() {
            self.sent += send_some(fd, &[IoSlice::new(&self.bytes[self.sent..])])?;
        }
        self.sent = 0;
        self.bytes.clear();
        Ok(())
    }

    /// The record does not count, if anything of it is left.
    pub(super) fn void(&mut self) {
        if let Some(verdict) = self.bytes.last_mut() {
            *verdict = VOID;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A record of which some has arrived. Never is a byte taken that is behind its verdict; and that is taken only with the record,
/// so that the stream is readable for as long as the record is there.
#[derive(Debug)]
pub(super) struct Partial {
    head: [u8; HEADER_LEN],
    /// Bytes taken, of the header and then of the payload.
    taken: usize,
    /// The verdict, where the record is whole but for being taken.
    verdict: Option<u8>,
    /// So many bytes must have come before the stream shows any.
    low_water: usize,
    /// What comes is believed no more.
    broken: bool,
}

/// What [`Partial::take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// No whole record, for now.
    Nothing,
    /// The other side has closed, or died, be it in the middle of a record.
    End,
    /// A record that its sender gave up.
    Void,
    Record(Header),
}

enum Arrived {
    Nothing,
    End,
    Corrupt(&'static str),
    Whole(Header, u8),
}

impl Partial {
    pub(super) fn new() -> Self {
        Self { head: [0; HEADER_LEN], taken: 0, verdict: None, low_water: 1, broken: false }
    }

    /// Whether whoever goes on with the stream need know nothing of this.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0 && !self.broken
    }

    /// How much of a payload that is not whole stands at the end of what was passed in.
    pub(super) fn payload(&self) -> usize {
        self.taken.saturating_sub(HEADER_LEN)
    }

    /// Whether the record that comes next is whole and does not count, as of the last [`peek`](Self::peek).
    pub(super) fn is_void(&self) -> bool {
        self.verdict == Some(VOID)
    }

    /// The header of the next record, once it is whole; as for records that keep their boundaries, zero at the end, and one byte
    /// of what is no record. What has arrived of the payload is put at the end of `tail`.
    pub(super) fn peek(
        &mut self,
        fd: BorrowedFd<'_>,
        head: &mut [u8; HEADER_LEN],
        tail: &mut Vec<u8>,
    ) -> io::Result<usize> {
        self.verdict = None;
        match self.advance(fd, tail, 0)? {
            Arrived::Nothing => Err(io::ErrorKind::WouldBlock.into()),
            Arrived::End => Ok(0),
            Arrived::Corrupt(_) => Ok(1),
            Arrived::Whole(_, verdict) => {
                self.verdict = Some(verdict);
                *head = self.head;
                Ok(HEADER_LEN)
            }
        }
    }

    /// Takes the next record, once it is whole, its payload to the end of `tail`. After `Corrupt` comes nothing but the end: where
    /// the next record would begin, nobody knows.
    pub(super) fn take(&mut self, fd: BorrowedFd<'_>, tail: &mut Vec<u8>) -> Result<Taken, WireError> {
        let arrived = self.advance(fd, tail, 1).map_err(WireError::Io)?;
        if !matches!(arrived, Arrived::Nothing) {
            (self.taken, self.verdict) = (0, None);
        }
        match arrived {
            Arrived::Nothing => Ok(Taken::Nothing),
            Arrived::End => Ok(Taken::End),
            Arrived::Whole(header, COUNTS) => Ok(Taken::Record(header)),
            Arrived::Whole(_, VOID) => Ok(Taken::Void),
            Arrived::Whole(..) => Err(self.give_up(fd, "a record that neither counts nor is void")),
            Arrived::Corrupt(what) => Err(self.give_up(fd, what)),
        }
    }

    fn give_up(&mut self, fd: BorrowedFd<'_>, what: &'static str) -> WireError {
        self.broken = true;
        stop_reading(fd);
        WireError::Corrupt(what)
    }

    /// Takes what has arrived: with `beyond` 1 the verdict, too; with 0 that is looked at when all before it was taken.
    fn advance(&mut self, fd: BorrowedFd<'_>, tail: &mut Vec<u8>, beyond: usize) -> io::Result<Arrived> {
        if self.broken {
            return Ok(Arrived::End);
        }
        loop {
            let missing = match self.header() {
                None => HEADER_LEN - self.taken,
                Some(Ok(header)) => HEADER_LEN + header.len - self.taken + beyond,
                Some(Err(what)) => {
                    // The error is there from now on, and so that nobody sleeps on it, the socket is readable.
                    stop_reading(fd);
                    return Ok(Arrived::Corrupt(what));
                }
            };
            let mut verdict = [0];
            let arrived = match (self.taken < HEADER_LEN, missing) {
                (true, _) => recv_record(fd, &mut self.head[self.taken..], &mut Vec::new(), 0).map(|got| got.len),
                (false, 0) => peek_record(fd, &mut verdict),
                (false, _) => recv_record(fd, &mut [], tail, missing).map(|got| got.len),
            };
            let arrived = match arrived {
                Ok(0) => return Ok(Arrived::End),
                Ok(arrived) => arrived,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Of a record that has not begun nobody knows how much is to come.
                    let all =
                        if self.taken == 0 { 1 } else { missing + usize::from(beyond == 0 || self.header().is_none()) };
                    self.show_from(fd, all)?;
                    return Ok(Arrived::Nothing);
                }
                Err(error) => return Err(error),
            };
            match self.header() {
                Some(Ok(header)) if missing == 0 => {
                    self.show_from(fd, 1)?;
                    return Ok(Arrived::Whole(header, verdict[0]));
                }
                Some(Ok(header)) if beyond == 1 && arrived == missing => {
                    self.show_from(fd, 1)?;
                    return Ok(Arrived::Whole(header, tail.pop().unwrap_or(VOID)));
                }
                _ => self.taken += arrived,
            }
        }
    }

    /// The header, once all of it was taken.
    fn header(&self) -> Option<Result<Header, &'static str>> {
        (self.taken >= HEADER_LEN).then(|| match Header::decode(&self.head) {
            Ok(header) if header.fds > 0 => Err("descriptors on a stream"),
            Ok(header) => Ok(header),
            Err(_) => Err("what is on the stream is no record"),
        })
    }

    /// So that the stream is readable when a record is whole, or at the end, and not before.
    fn show_from(&mut self, fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
        if self.low_water != bytes {
            set_low_water(fd, bytes)?;
            self.low_water = bytes;
        }
        Ok(())
    }
}
