//! Sending by a ring, and descriptors by the socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::{PIECE, Patience, Track, tell, until};
use crate::framing::{Chunks, Header, Kind};
use crate::ipc::wire::{Control, ROUND};
use crate::shm::ring::{Corrupt, Producer, Put, Side};
use crate::sys::clock::Deadline;
use crate::sys::poll::{Readiness, wait, wait_many};
use crate::sys::ticks::LastLook;

#[derive(Debug)]
pub(super) struct Outflow {
    track: Track,
    producer: Producer,
    /// The message begun and not yet finished.
    begun: Option<Chunks>,
    /// What the last message that found no room waits for.
    lack: Lack,
    patience: Patience,
    /// At whether the receiver lives: no system call tells each message.
    last_look: LastLook,
}

#[derive(Clone, Copy, Debug)]
enum Lack {
    /// Room in the ring for so many bytes.
    Ring(usize),
    Socket,
}

/// The bytes of a message's total, in front of each piece that is not a whole message.
const TOTAL: usize = size_of::<u64>();

impl Outflow {
    pub(super) fn new(track: Track) -> Self {
        let producer = Producer::resume(track.ring.words());
        let (patience, last_look) = (Patience::new(), LastLook::default());
        Self { track, producer, begun: None, lack: Lack::Socket, patience, last_look }
    }

    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    pub(super) fn abandon(&mut self) {
        self.begun = None;
    }

    pub(super) fn doubt(&mut self) {
        self.last_look = LastLook::default();
    }

    #[inline]
    pub(super) fn try_send(
        &mut self,
        fd: BorrowedFd<'_>,
        kind: Kind,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<bool> {
        let mut chunks = match self.begun.take() {
            Some(begun) => begun,
            None => {
                self.check_receiver(fd)?;
                let count = u8::try_from(fds.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
                Chunks::of_at_most(PIECE, bytes.len(), kind, count)
            }
        };
        for round in 0.. {
            let Some((header, part)) = chunks.next() else { break };
            let payload = bytes.get(part).unwrap_or_default();
            if round == ROUND || !self.put(fd, &header, payload, fds)? {
                self.begun = Some(chunks);
                return Ok(false);
            }
            chunks.advance();
            if self.track.ring.words().must_wake(Side::Consumer)
                && let Err(error) = self.wake_receiver(fd)
                && !header.last
            {
                return Err(error);
            }
        }
        Ok(true)
    }

    /// Says that there is something in the ring. Whatever comes of it, what is there is there: a message whose last piece
    /// is in the ring was sent, and what it holds is the receiver's.
    #[cold]
    fn wake_receiver(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // A socket without room has something in it for who sleeps there.
        tell(fd, Control::Bell, &[]).map(drop).inspect_err(|_| {
            // Not told, if it is there at all: the next message tells it.
            self.track.ring.words().bell(Side::Consumer).rearm();
        })
    }

    #[inline]
    fn put(&mut self, fd: BorrowedFd<'_>, header: &Header, piece: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
        self.lack = Lack::Ring(piece.len() + TOTAL);
        if header.fds > 0 && !self.send_fds(fd, piece.len() + TOTAL, fds)? {
            return Ok(false);
        }
        let total = header.total.to_ne_bytes();
        let total = if header.first && header.last { &[][..] } else { &total };
        let put = self.producer.put(self.track.ring.words(), &self.track.ring.bytes(), header.tag(), [total, piece]);
        Ok(put.map_err(corrupt)? == Put::Done)
    }

    /// A message's descriptors go before its first record, once there is room for that: nothing comes between the two.
    #[cold]
    fn send_fds(&mut self, fd: BorrowedFd<'_>, needed: usize, fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
        if !self.has_room_for(needed).map_err(corrupt)? {
            return Ok(false);
        }
        self.lack = Lack::Socket;
        tell(fd, Control::Descriptors(self.producer.index()), fds)
    }

    fn has_room_for(&mut self, length: usize) -> Result<bool, Corrupt> {
        self.producer.could_put(self.track.ring.words(), &self.track.ring.bytes(), length)
    }

    /// `BrokenPipe` if the receiver is gone: as of now where it has said so, as of some microseconds ago otherwise.
    #[inline]
    fn check_receiver(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        if self.track.ring.words().is_deaf() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.last_look.is_long_ago() { is_there(fd) } else { Ok(()) }
    }

    pub(super) fn wait(&mut self, fd: BorrowedFd<'_>, deadline: Deadline) -> io::Result<()> {
        let Lack::Ring(length) = self.lack else {
            return wait(fd, Readiness::WRITE, deadline).map(drop);
        };
        let (ring, producer) = (&self.track.ring, &mut self.producer);
        // A damaged ring is seen by whoever tries again.
        let mut has_room = || producer.could_put(ring.words(), &ring.bytes(), length) != Ok(false);
        if self.patience.comes_true(&mut has_room) {
            return Ok(());
        }
        let alarm = ring.words().arm(Side::Producer);
        if has_room() {
            ring.words().bell(Side::Producer).disarm();
            return Ok(());
        }
        let both = [(self.track.bell.as_fd(), Readiness::READ), (fd, Readiness::default())];
        let answers = wait_many(&both, until(alarm, deadline))?;
        self.track.hear_bell();
        match ring.words().is_deaf() || answers.iter().any(|answer| answer.hung_up) {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(()),
        }
    }
}

/// `BrokenPipe` if the other end is closed.
#[cold]
fn is_there(fd: BorrowedFd<'_>) -> io::Result<()> {
    match wait(fd, Readiness::default(), Deadline::after(Duration::ZERO))?.hung_up {
        true => Err(io::ErrorKind::BrokenPipe.into()),
        false => Ok(()),
    }
}

fn corrupt(Corrupt(what): Corrupt) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::sys::socket::{seqpacket_pair, shut_down_sending};

    /// A socket by which nothing can be said, though nobody has hung up.
    #[test]
    fn what_is_in_the_ring_was_sent_though_the_receiver_cannot_be_told() {
        let (near, _far) = seqpacket_pair().unwrap();
        shut_down_sending(near.as_fd()).unwrap();
        let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        for mute in [near, null] {
            let (track, _bell) = Track::create().unwrap();
            let mut flow = Outflow::new(track);
            for _ in 0..3 {
                let _alarm = flow.track.ring.words().arm(Side::Consumer);
                assert!(flow.try_send(mute.as_fd(), Kind::Bytes, b"whole", &[]).unwrap());
                assert!(flow.track.ring.words().must_wake(Side::Consumer), "the next message tells it");
            }
            let _alarm = flow.track.ring.words().arm(Side::Consumer);
            assert!(
                flow.try_send(mute.as_fd(), Kind::Bytes, &[0; 2 * PIECE], &[]).is_err(),
                "of that only a part is there"
            );
            assert!(flow.begun.is_none());
        }
    }
}
