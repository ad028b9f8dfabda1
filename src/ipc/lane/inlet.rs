//! Receiving: from the socket, and from a ring once the sender has changed over.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::Track;
use super::intake::Intake;
use crate::framing::Kind;
use crate::ipc::wire::{Control, Message, Next, ROUND, Receiver, Target, WireError};
use crate::shm::ring::{Alarm, Side};
use crate::sys::clock::Deadline;
use crate::sys::poll::{Readiness, wait};

/// The receiving side of one direction.
#[derive(Debug)]
pub(in crate::ipc) struct Inlet {
    /// What arrived of a message, whichever way it came.
    messages: Receiver,
    lane: Lane,
}

#[derive(Debug)]
enum Lane {
    /// And a ring, if the sender has offered one and not changed over to it yet.
    Socket(Option<Track>),
    Ring(Box<Intake>),
}

/// Whether there is something to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ipc) enum News {
    /// There is if, and only if, the socket is readable.
    AsSocket,
    Here,
    /// Not now; the socket will be readable when there is. Where that is not sure it is worth a look from time to time.
    NotYet(Alarm),
}

impl Inlet {
    pub(in crate::ipc) fn new(limit: u64) -> Self {
        Self { messages: Receiver::with_control(limit), lane: Lane::Socket(None) }
    }

    /// On a stream there are no rings.
    pub(in crate::ipc) fn on_stream(limit: u64) -> Self {
        Self { messages: Receiver::on_stream(limit), lane: Lane::Socket(None) }
    }

    /// Goes on with a ring whose receiver was somebody else; whether its sender had changed over to it.
    pub(in crate::ipc) fn resume(limit: u64, track: Track, is_in_use: bool) -> Self {
        track.ring.attach(Side::Consumer);
        let lane = if is_in_use { Lane::Ring(Box::new(Intake::new(track))) } else { Lane::Socket(Some(track)) };
        Self { lane, ..Self::new(limit) }
    }

    /// The ring and whether the sender has changed over to it: what another process needs to go on.
    pub(in crate::ipc) fn track(&self) -> Option<(&Track, bool)> {
        match &self.lane {
            Lane::Socket(offered) => offered.as_ref().map(|track| (track, false)),
            Lane::Ring(intake) => Some((intake.track(), true)),
        }
    }

    /// The memory of the ring, if there is one.
    pub(in crate::ipc) fn memory(&self) -> Option<Arc<OwnedFd>> {
        self.track().map(|(track, _)| track.ring.descriptor())
    }

    pub(in crate::ipc) fn set_limit(&mut self, limit: u64) {
        self.messages.set_limit(limit);
    }

    /// Whether anything of a message is held here that another process would not find.
    pub(in crate::ipc) fn holds_something(&self) -> bool {
        let holds_descriptors = matches!(&self.lane, Lane::Ring(intake) if intake.holds_descriptors());
        self.messages.holds_something() || holds_descriptors
    }

    /// Receives what is there until a message is whole; says its kind and holds it until [`take`](Self::take), or in `target`
    /// until [`take_from`](Self::take_from). `None` when no more has come, or after many pieces. `lent` says that others use
    /// the socket too: then a ring that is offered is not taken up.
    #[inline]
    pub(in crate::ipc) fn advance(
        &mut self,
        target: &mut Target<'_>,
        fd: BorrowedFd<'_>,
        lent: bool,
    ) -> Result<Option<Kind>, WireError> {
        match &mut self.lane {
            Lane::Ring(intake) => intake.advance(&mut self.messages, target, fd),
            Lane::Socket(_) => self.advance_by_socket(target, fd, lent),
        }
    }

    #[cold]
    fn advance_by_socket(
        &mut self,
        target: &mut Target<'_>,
        fd: BorrowedFd<'_>,
        lent: bool,
    ) -> Result<Option<Kind>, WireError> {
        let mut records = ROUND;
        while records > 0 {
            if let Lane::Ring(intake) = &mut self.lane {
                return intake.advance(&mut self.messages, target, fd);
            }
            let whole = self.messages.advance_within(&mut records, fd)?;
            let Some((control, fds)) = self.messages.take_control() else { return Ok(whole) };
            self.obey(control, fds, lent)?;
        }
        Ok(None)
    }

    /// Whether [`advance`](Self::advance) would give a message or an error now. Leaves the last piece of a message where
    /// it is.
    pub(in crate::ipc) fn is_ready(&mut self, fd: BorrowedFd<'_>, lent: bool) -> bool {
        let mut records = ROUND;
        while records > 0 {
            if let Lane::Ring(intake) = &mut self.lane {
                return intake.is_ready(&mut self.messages, fd);
            }
            let is_ready = self.messages.is_ready(&mut records, fd);
            let Some((control, fds)) = self.messages.take_control() else { return is_ready };
            if let Err(error) = self.obey(control, fds, lent) {
                self.messages.fail(error);
            }
        }
        false
    }

    /// While messages come by the socket.
    #[cold]
    fn obey(&mut self, control: Control, fds: Vec<OwnedFd>, lent: bool) -> Result<(), WireError> {
        let Lane::Socket(offered) = &mut self.lane else { return Ok(()) };
        match control {
            // Not taken up, it does no harm: the sender stays with the socket. So does one that this process cannot map.
            Control::Ring if lent => {}
            Control::Ring => {
                let track = <[OwnedFd; 2]>::try_from(fds).ok().and_then(|[ring, bell]| Track::open(ring, bell).ok());
                track.iter().for_each(|track| track.ring.attach(Side::Consumer));
                *offered = track;
            }
            Control::Switch => {
                let track = offered.take().ok_or(WireError::Corrupt("a ring that this end does not have"))?;
                self.lane = Lane::Ring(Box::new(Intake::new(track)));
            }
            Control::Descriptors(_) | Control::Bell => return Err(WireError::Corrupt("a word about no ring")),
        }
        Ok(())
    }

    /// Waits until [`advance`](Self::advance) is worth a try.
    pub(in crate::ipc) fn wait(&mut self, fd: BorrowedFd<'_>, deadline: Deadline) -> io::Result<()> {
        match &mut self.lane {
            Lane::Ring(intake) => intake.wait(&mut self.messages, fd, deadline),
            Lane::Socket(_) => wait(fd, Readiness::READ, deadline).map(drop),
        }
    }

    /// After [`advance`](Self::advance) has found nothing, the time being over: takes what only the socket says, which is
    /// that the other side is gone; whether it said anything.
    pub(in crate::ipc) fn look_at_socket(&mut self, fd: BorrowedFd<'_>) -> bool {
        match &mut self.lane {
            Lane::Ring(intake) => intake.look_at_socket(&mut self.messages, fd),
            Lane::Socket(_) => false,
        }
    }

    /// Says that somebody else will use the socket, as it is, from now on; false where a ring is in use, or will be.
    pub(in crate::ipc) fn stay_with_socket(&mut self) -> bool {
        let Lane::Socket(offered) = &mut self.lane else { return false };
        if offered.as_ref().is_some_and(|track| !track.ring.words().withdraw()) {
            return false;
        }
        *offered = None;
        true
    }

    /// Before somebody sleeps on the socket.
    pub(in crate::ipc) fn arm(&mut self, fd: BorrowedFd<'_>, lent: bool) -> News {
        for _ in 0..ROUND {
            if self.messages.holds_news() {
                return News::Here;
            }
            if let Lane::Ring(intake) = &mut self.lane {
                return intake.arm(&mut self.messages, fd);
            }
            match self.messages.peek(fd) {
                Ok(Next::Control(_)) => {}
                Ok(_) => break,
                Err(error) => {
                    self.messages.fail(WireError::Io(error));
                    continue;
                }
            }
            if let Err(error) = self.messages.receive_record(fd) {
                self.messages.fail(error);
            }
            if let Some((control, fds)) = self.messages.take_control()
                && let Err(error) = self.obey(control, fds, lent)
            {
                self.messages.fail(error);
            }
        }
        News::AsSocket
    }

    /// Who receives here will receive no more.
    pub(in crate::ipc) fn turn_deaf(&self) {
        if let Some((track, _)) = self.track() {
            track.ring.words().turn_deaf();
            track.ring_bell();
        }
    }

    /// The message held; give its buffer back by [`recycle`](Self::recycle).
    #[inline]
    pub(in crate::ipc) fn take(&mut self) -> Message {
        self.messages.take()
    }

    /// The length of the message held in `target`, if that is where it is.
    #[inline]
    pub(in crate::ipc) fn take_from(&mut self, target: &Target<'_>) -> Option<usize> {
        self.messages.take_from(target)
    }

    /// Goes on without `target`: what it holds of a message that is not whole is kept here.
    pub(in crate::ipc) fn keep(&mut self, target: Target<'_>) {
        self.messages.keep(target);
    }

    pub(in crate::ipc) fn held_len(&self) -> usize {
        self.messages.held_len()
    }

    #[inline]
    pub(in crate::ipc) fn recycle(&mut self, buffer: Vec<u8>) {
        self.messages.recycle(buffer);
    }

    pub(in crate::ipc) fn fit(&mut self, message: &mut Message) {
        self.messages.fit(message);
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::os::fd::AsFd;

    use super::*;
    use crate::framing::{Chunks, HEADER_LEN};
    use crate::sys::socket::{recv_record, send_record, seqpacket_pair};

    /// What a socket says once, and would not say again.
    #[test]
    fn an_error_that_somebody_ran_into_who_only_looked_is_kept_for_who_receives() {
        let looks = [
            |inlet: &mut Inlet, fd: BorrowedFd<'_>| inlet.is_ready(fd, false),
            |inlet: &mut Inlet, fd: BorrowedFd<'_>| inlet.arm(fd, false) == News::Here,
        ];
        let (_near, far) = seqpacket_pair().unwrap();
        let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        for mut inlet in [Inlet::new(1 << 20), Inlet::on_stream(1 << 20)] {
            for look in looks {
                assert!(look(&mut inlet, null.as_fd()));
                let mut next = || inlet.advance(&mut Target::none(), far.as_fd(), false);
                assert!(matches!(next(), Err(WireError::Io(_))));
                assert!(matches!(next(), Ok(None)));
            }
        }
    }

    /// So that whoever calls looks at the clock as often whatever the peer sends.
    #[test]
    fn one_call_takes_a_bounded_number_of_records_whatever_they_are() {
        for looks in [false, true] {
            let (near, far) = seqpacket_pair().unwrap();
            let mut inlet = Inlet::new(1 << 20);
            // Offers of rings that are none, which is no error, between the pieces of a message that does not end.
            let mut chunks = Chunks::of_at_most(1, 1 << 20, Kind::Bytes, 0);
            let (offer, mut sent) = (Control::Ring.encode(), 0);
            while send_record(near.as_fd(), &[IoSlice::new(&offer)], &[]).is_ok() {
                let (header, _) = chunks.next().unwrap();
                let piece = [&header.encode()[..], &[0]].concat();
                sent += 1;
                if send_record(near.as_fd(), &[IoSlice::new(&piece)], &[]).is_err() {
                    break;
                }
                chunks.advance();
                sent += 1;
            }
            match looks {
                true => assert!(!inlet.is_ready(far.as_fd(), false)),
                false => assert!(inlet.advance(&mut Target::none(), far.as_fd(), false).unwrap().is_none()),
            }
            let is_left = || recv_record(far.as_fd(), &mut [0; HEADER_LEN], &mut Vec::new(), 0).is_ok();
            let left = (0..).take_while(|_| is_left()).count();
            assert_eq!(sent - left, sent.min(ROUND), "{sent} sent");
        }
    }
}
