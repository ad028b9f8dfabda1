//! Receiving from a ring, and descriptors from the socket.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::inlet::News;
use super::{Patience, Track, until};
use crate::framing::{HEADER_LEN, Header, Kind};
use crate::ipc::wire::{Control, Next, Onto, ROUND, Receiver, Target, WireError};
use crate::shm::ring::{Bytes, Consumer, Corrupt, Record, Side};
use crate::sys::clock::Deadline;
use crate::sys::poll::{Readiness, wait};
use crate::sys::socket::{Received, await_record, recv_record};

/// The receiving side of a ring. What arrived of a message is held by the [`Receiver`] that is passed in.
#[derive(Debug)]
pub(super) struct Intake {
    track: Track,
    consumer: Consumer,
    /// Those of the message whose first record comes next, if they were seen before that.
    descriptors: Option<Descriptors>,
    /// The socket has said that the other side is gone. What is in the ring is still received.
    ended: bool,
    /// Nothing that comes is believed any more.
    broken: bool,
    patience: Patience,
    /// Records taken since the ring was last empty.
    batch: u32,
}

/// What came beside a [`Control::Descriptors`].
#[derive(Debug)]
struct Descriptors {
    index: u64,
    fds: Vec<OwnedFd>,
    truncated: bool,
}

/// The bytes of a message's total, in front of each piece that is not a whole message.
const TOTAL: usize = size_of::<u64>();

impl Intake {
    pub(super) fn new(track: Track) -> Self {
        let consumer = Consumer::resume(track.ring.words());
        let patience = Patience::new();
        Self { track, consumer, descriptors: None, ended: false, broken: false, patience, batch: 0 }
    }

    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    pub(super) fn holds_descriptors(&self) -> bool {
        self.descriptors.is_some()
    }

    #[inline]
    pub(super) fn advance(
        &mut self,
        messages: &mut Receiver,
        target: &mut Target<'_>,
        fd: BorrowedFd<'_>,
    ) -> Result<Option<Kind>, WireError> {
        messages.check()?;
        for _ in 0..ROUND {
            if let Some(kind) = messages.whole() {
                return Ok(Some(kind));
            }
            match self.peek()? {
                Some(record) => self.take_piece(messages, target, fd, record)?,
                None if self.ended => return Err(WireError::Closed),
                None => {
                    self.patience.expect_batches(self.batch > 1);
                    self.batch = 0;
                    return Ok(None);
                }
            }
            self.batch = self.batch.saturating_add(1);
        }
        Ok(messages.whole())
    }

    #[inline]
    fn peek(&mut self) -> Result<Option<Record>, WireError> {
        if self.broken {
            return Err(WireError::Closed);
        }
        self.consumer
            .peek(self.track.ring.words(), &self.track.ring.bytes())
            .map_err(|Corrupt(what)| self.give_up(what))
    }

    /// Whoever breaks the rules of a ring is not listened to any more.
    #[cold]
    fn give_up(&mut self, what: &'static str) -> WireError {
        self.broken = true;
        WireError::Corrupt(what)
    }

    #[inline]
    fn header(&self, record: Record) -> Result<Header, WireError> {
        let header = if Header::is_whole(record.tag) {
            Header::from_tag(record.tag, record.length, record.length as u64)
        } else if let Some(length) = record.length.checked_sub(TOTAL) {
            Header::from_tag(record.tag, length, self.consumer.first_word(&self.track.ring.bytes()))
        } else {
            return Err(WireError::Corrupt("a piece without its total"));
        };
        header.map_err(WireError::from)
    }

    #[inline]
    fn take_piece(
        &mut self,
        messages: &mut Receiver,
        target: &mut Target<'_>,
        fd: BorrowedFd<'_>,
        record: Record,
    ) -> Result<(), WireError> {
        let header = self.header(record).map_err(|_| self.give_up("a record that is no piece of a message"))?;
        let (fds, truncated) = match header.fds {
            0 => (Vec::new(), false),
            _ => self.take_descriptors(messages, fd)?,
        };
        let (ring, consumer) = (&self.track.ring, &mut self.consumer);
        let (words, bytes, total) = (ring.words(), ring.bytes(), record.length - header.len);
        let accepted = messages.accept_piece(&header, fds, truncated, target, |onto| match onto {
            Onto::Held(held) => consumer.take(words, &bytes, record, total, held),
            Onto::Caller(slice) => consumer.take_into(words, &bytes, record, total, slice),
            Onto::Nowhere => consumer.take_into(words, &bytes, record, total, &mut []),
        });
        // A sender that sleeps is woken once half of the ring is free: not for each record.
        if consumer.known_bytes() <= bytes.length() / 2 && words.must_wake(Side::Producer) {
            self.track.ring_bell();
        }
        accepted
    }

    /// Those of the record that comes next. They were sent before it.
    #[cold]
    fn take_descriptors(
        &mut self,
        messages: &mut Receiver,
        fd: BorrowedFd<'_>,
    ) -> Result<(Vec<OwnedFd>, bool), WireError> {
        if self.descriptors.is_none() {
            self.look_at_socket(messages, fd);
            messages.check()?;
        }
        match self.descriptors.take() {
            Some(Descriptors { index, fds, truncated }) if index == self.consumer.index() => Ok((fds, truncated)),
            _ => Err(self.give_up("descriptors that were announced and not sent")),
        }
    }

    /// Takes what is on the socket; whether that may change what [`advance`](Self::advance) says.
    pub(super) fn look_at_socket(&mut self, messages: &mut Receiver, fd: BorrowedFd<'_>) -> bool {
        let mut news = false;
        for _ in 0..ROUND {
            match self.read_socket(fd) {
                Ok(true) => news = true,
                Ok(false) => break,
                Err(error) => {
                    messages.fail(error);
                    return true;
                }
            }
        }
        news || self.has_news()
    }

    /// Takes a record from the socket; `false` when there is none for now.
    fn read_socket(&mut self, fd: BorrowedFd<'_>) -> Result<bool, WireError> {
        if self.ended || self.broken {
            return Ok(false);
        }
        if self.descriptors.is_some()
            && let Next::Control(Control::Descriptors(_)) = Next::peek(fd).map_err(WireError::Io)?
        {
            // They wait there until those before them were taken, with the record that must be there by now.
            return if self.has_news() {
                Ok(false)
            } else {
                Err(self.give_up("descriptors that belong to no message"))
            };
        }
        self.receive_from_socket(|head| recv_record(fd, head, &mut Vec::new(), 0))
    }

    fn receive_from_socket(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> io::Result<Received>,
    ) -> Result<bool, WireError> {
        let mut head = [0; HEADER_LEN];
        let received = match receive(&mut head) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(WireError::Io(error)),
        };
        let is_control = received.len == HEADER_LEN && !received.truncated;
        match Control::decode(&head).filter(|_| is_control) {
            _ if received.len == 0 => self.ended = true,
            Some(Control::Bell) => {}
            Some(Control::Descriptors(index)) => {
                let (fds, truncated) = (received.fds, received.fds_truncated);
                self.descriptors = Some(Descriptors { index, fds, truncated });
            }
            Some(Control::Ring | Control::Switch) | None => return Err(self.give_up("a message beside the ring")),
        }
        Ok(true)
    }

    fn has_news(&mut self) -> bool {
        self.consumer.has_news(self.track.ring.words(), &self.track.ring.bytes())
    }

    pub(super) fn is_ready(&mut self, messages: &mut Receiver, fd: BorrowedFd<'_>) -> bool {
        for _ in 0..ROUND {
            if messages.holds_news() {
                return true;
            }
            let taken = match self.peek() {
                Ok(Some(record)) => {
                    let is_more = self.header(record).is_ok_and(|header| !messages.would_be_news(&header));
                    if !is_more {
                        return true;
                    }
                    self.take_piece(messages, &mut Target::none(), fd, record)
                }
                Ok(None) if self.ended => return true,
                Ok(None) if self.look_at_socket(messages, fd) => Ok(()),
                Ok(None) => return false,
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                messages.fail(error);
            }
        }
        false
    }

    pub(super) fn wait(&mut self, messages: &mut Receiver, fd: BorrowedFd<'_>, deadline: Deadline) -> io::Result<()> {
        let Self { track, consumer, patience, .. } = self;
        let words = track.ring.words();
        if self.ended || patience.comes_true(|| consumer.has_news(words, &track.ring.bytes())) {
            return Ok(());
        }
        let alarm = words.arm(Side::Consumer);
        if consumer.has_news(words, &track.ring.bytes()) {
            words.bell(Side::Consumer).disarm();
            return Ok(());
        }
        let until = until(alarm, deadline);
        let heard = if until.remaining().is_none() && self.descriptors.is_none() {
            self.receive_from_socket(|head| await_record(fd, head))
        } else {
            Ok(false)
        };
        let is_readable = match heard {
            Ok(false) => wait(fd, Readiness::READ, until).map(Readiness::any),
            Ok(true) | Err(_) => Ok(false),
        };
        self.track.ring.words().bell(Side::Consumer).disarm();
        // One record is enough: whatever else is there will end the next sleep.
        let heard = if is_readable? { self.read_socket(fd) } else { heard };
        if let Err(error) = heard {
            messages.fail(error);
        }
        Ok(())
    }

    pub(super) fn arm(&mut self, messages: &mut Receiver, fd: BorrowedFd<'_>) -> News {
        if !self.is_news_here(messages) {
            // What the socket has said is no news any more. Descriptors that it has, this end holds from then on.
            self.look_at_socket(messages, fd);
            let alarm = self.track.ring.words().arm(Side::Consumer);
            if !self.is_news_here(messages) {
                return News::NotYet(alarm);
            }
        }
        self.track.ring.words().bell(Side::Consumer).disarm();
        News::Here
    }

    fn is_news_here(&mut self, messages: &Receiver) -> bool {
        messages.holds_news() || self.ended || self.broken || self.has_news()
    }
}
