//! Sending: by the socket, and by a ring once that is worth it and the receiver has agreed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::outflow::Outflow;
use super::{Track, tell};
use crate::framing::Kind;
use crate::ipc::wire::{Control, Sender};
use crate::shm::ring::Side;
use crate::sys::clock::Deadline;
use crate::sys::poll::{Readiness, wait};

/// The sending side of one direction.
#[derive(Debug)]
pub(in crate::ipc) struct Outlet {
    socket: Sender,
    lane: Lane,
    /// What went by the socket: messages, and bytes.
    sent: (u32, u64),
}

#[derive(Debug)]
enum Lane {
    Socket,
    /// A ring was made. The receiver was told, or what it gets is still here.
    Offered(Track, Option<OwnedFd>),
    Ring(Box<Outflow>),
    /// There is no memory for a ring, the receiver wants none, or the socket is a stream.
    SocketForGood,
}

/// A ring is worth its making after so many messages, and a look at what became of an offer after as many more each time,
const MESSAGES: u32 = 32;
/// or after so many bytes.
const BYTES: u64 = 256 << 10;

impl Outlet {
    pub(in crate::ipc) fn new(limit: u64) -> Self {
        Self { socket: Sender::new(limit), lane: Lane::Socket, sent: (0, 0) }
    }

    /// On a stream there are no rings.
    pub(in crate::ipc) fn on_stream(limit: u64) -> Self {
        Self { socket: Sender::on_stream(limit), lane: Lane::SocketForGood, sent: (0, 0) }
    }

    /// Goes on with a ring whose sender was somebody else.
    pub(in crate::ipc) fn resume(limit: u64, track: Track) -> Self {
        track.ring.attach(Side::Producer);
        Self { lane: Lane::Ring(Box::new(Outflow::new(track))), ..Self::new(limit) }
    }

    /// The ring, if messages go by one: what another process needs to go on.
    pub(in crate::ipc) fn track(&self) -> Option<&Track> {
        match &self.lane {
            Lane::Ring(flow) => Some(flow.track()),
            _ => None,
        }
    }

    /// Whether anything of a message is held here that another process could not send.
    pub(in crate::ipc) fn holds_something(&self) -> bool {
        self.socket.holds_something()
    }

    /// Whether descriptors can be sent.
    pub(in crate::ipc) fn takes_descriptors(&self) -> bool {
        self.socket.takes_descriptors()
    }

    pub(in crate::ipc) fn limit(&self) -> u64 {
        self.socket.limit()
    }

    pub(in crate::ipc) fn set_limit(&mut self, limit: u64) {
        self.socket.set_limit(limit);
    }

    /// Sends as much of a message as there is room for; `true` when all of it was sent. After `false`,
    /// [`wait`](Self::wait) and call again with the same message, or [`abandon`](Self::abandon) it. `lent` says that
    /// others use the socket too: then no ring is offered.
    ///
    /// Errors are those of [`Sender::try_send`]; `InvalidData` for a receiver that has damaged the ring.
    #[inline]
    pub(in crate::ipc) fn try_send(
        &mut self,
        fd: BorrowedFd<'_>,
        lent: bool,
        kind: Kind,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<bool> {
        match &mut self.lane {
            Lane::Ring(flow) => flow.try_send(fd, kind, bytes, fds),
            _ => self.send_by_socket(fd, lent, kind, bytes, fds),
        }
    }

    #[cold]
    fn send_by_socket(
        &mut self,
        fd: BorrowedFd<'_>,
        lent: bool,
        kind: Kind,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<bool> {
        if self.socket.is_idle() {
            self.step(fd, lent);
            if let Lane::Ring(flow) = &mut self.lane {
                return flow.try_send(fd, kind, bytes, fds);
            }
        }
        let sent = self.socket.try_send_kind(fd, kind, bytes, fds)?;
        if sent {
            self.sent.0 = self.sent.0.saturating_add(1);
            self.sent.1 = self.sent.1.saturating_add(bytes.len() as u64);
        }
        Ok(sent)
    }

    /// Between two messages: goes one step towards a ring, if it can. What the socket refuses, for want of room or for
    /// good, the message behind it will be told.
    fn step(&mut self, fd: BorrowedFd<'_>, lent: bool) {
        let told = |control, fds: &[BorrowedFd<'_>]| tell(fd, control, fds).is_ok_and(|told| told);
        self.lane = match std::mem::replace(&mut self.lane, Lane::SocketForGood) {
            Lane::Socket if !lent && (self.sent.0 >= MESSAGES || self.sent.1 >= BYTES) => match Track::create() {
                Ok((track, bell)) => {
                    track.ring.attach(Side::Producer);
                    Lane::Offered(track, Some(bell))
                }
                // It is only for speed.
                Err(_) => Lane::SocketForGood,
            },
            // The receiver may not go back any more, but before it is told it goes on with the socket.
            Lane::Offered(track, None) if track.ring.words().take_up() && told(Control::Switch, &[]) => {
                Lane::Ring(Box::new(Outflow::new(track)))
            }
            // The receiver has let go of the ring, or its process has: it will not agree to it any more.
            Lane::Offered(track, None) if self.sent.0.is_multiple_of(MESSAGES) && track.was_refused() => {
                Lane::SocketForGood
            }
            as_it_was => as_it_was,
        };
        if let Lane::Offered(track, bell) = &mut self.lane {
            *bell = bell.take().filter(|bell| !told(Control::Ring, &[track.ring.as_fd(), bell.as_fd()]));
        }
    }

    /// Gives up the message begun.
    pub(in crate::ipc) fn abandon(&mut self) {
        self.socket.abandon();
        if let Lane::Ring(flow) = &mut self.lane {
            flow.abandon();
        }
    }

    /// The other side's end was seen: the next message is not sent without a look at whether anybody is there.
    pub(in crate::ipc) fn doubt(&mut self) {
        if let Lane::Ring(flow) = &mut self.lane {
            flow.doubt();
        }
    }

    /// After [`try_send`](Self::try_send) has said `false`: waits until it is worth trying again.
    pub(in crate::ipc) fn wait(&mut self, fd: BorrowedFd<'_>, deadline: Deadline) -> io::Result<()> {
        match &mut self.lane {
            Lane::Ring(flow) => flow.wait(fd, deadline),
            _ => wait(fd, Readiness::WRITE, deadline).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Inlet;
    use super::*;
    use crate::ipc::wire::Target;
    use crate::sys::socket::{await_hang_up, seqpacket_pair};

    fn talk(outlet: &mut Outlet, inlet: &mut Inlet, ends: (&OwnedFd, &OwnedFd), lent: bool, messages: u32) {
        for _ in 0..messages {
            assert!(outlet.try_send(ends.0.as_fd(), false, Kind::Bytes, b"short", &[]).unwrap());
            assert!(inlet.advance(&mut Target::none(), ends.1.as_fd(), lent).unwrap().is_some());
            let bytes = inlet.take().bytes;
            inlet.recycle(bytes);
        }
    }

    #[test]
    fn a_ring_that_the_receiver_refuses_is_given_up_and_one_that_it_has_not_seen_yet_is_not() {
        // It is told that its socket is in others' hands before the offer comes, or after it.
        for lent_before in [true, false] {
            let (near, far) = seqpacket_pair().unwrap();
            let (mut outlet, mut inlet) = (Outlet::new(1 << 20), Inlet::new(1 << 20));
            talk(&mut outlet, &mut inlet, (&near, &far), false, MESSAGES);
            for _ in 0..3 * MESSAGES {
                assert!(outlet.try_send(near.as_fd(), false, Kind::Bytes, b"unread", &[]).unwrap());
            }
            let Lane::Offered(Track { bell, .. }, None) = &outlet.lane else { panic!("{:?}", outlet.lane) };
            let bell = bell.try_clone().unwrap();
            for _ in 0..3 * MESSAGES {
                assert!(inlet.advance(&mut Target::none(), far.as_fd(), lent_before).unwrap().is_some());
                let bytes = inlet.take().bytes;
                inlet.recycle(bytes);
            }
            assert!(inlet.stay_with_socket());
            await_hang_up(bell.as_fd());
            talk(&mut outlet, &mut inlet, (&near, &far), true, MESSAGES + 1);
            assert!(matches!(outlet.lane, Lane::SocketForGood), "{:?}", outlet.lane);
            talk(&mut outlet, &mut inlet, (&near, &far), true, 10);
        }
    }
}
