//! Sending by a ring, and descriptors by the socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::{PIECE, Patience, Track, tell, until};
use crate::framing::{Chunks, Header, Kind};
use crate::ipc::wire::{Control, ROUND};
use crate::shm::ring::{Alarm, Corrupt, Producer, Put, Side};
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
    /// There is no receiver any more.
    is_alone: bool,
    /// The receiver sleeps, and could not be told.
    is_unheard: bool,
}

#[derive(Clone, Copy, Debug)]
enum Lack {
    /// Room in the ring for so many bytes.
    Ring(usize),
    Socket,
}

/// The bytes of a message's total, in front of each piece that is not a whole message.
const TOTAL: usize = size_of::<u64>();

/// How often the receiver is told once more, where the kernel has no memory for so few bytes.
const TRIES: usize = 16;

impl Outflow {
    pub(super) fn new(track: Track) -> Self {
        let producer = Producer::resume(track.ring.words());
        let (patience, last_look) = (Patience::new(), LastLook::default());
        let (is_alone, is_unheard) = (false, false);
        Self { track, producer, begun: None, lack: Lack::Socket, patience, last_look, is_alone, is_unheard }
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
        if self.begun.is_none() && bytes.len() <= PIECE && fds.is_empty() {
            self.check_receiver()?;
            let header = Header { len: bytes.len(), first: true, last: true, kind, fds: 0, total: bytes.len() as u64 };
            return Ok(self.put(fd, &header, bytes, fds)? && self.was_sent(fd)?);
        }
        self.try_send_pieces(fd, kind, bytes, fds)
    }

    fn try_send_pieces(
        &mut self,
        fd: BorrowedFd<'_>,
        kind: Kind,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<bool> {
        let mut chunks = match self.begun.take() {
            Some(begun) => begun,
            None => {
                self.check_receiver()?;
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
            if header.last {
                return self.was_sent(fd);
            }
            chunks.advance();
            if self.track.ring.words().must_wake(Side::Consumer) {
                self.wake_receiver(fd)?;
            }
        }
        Ok(true)
    }

    /// After the last piece of a message is in the ring. `BrokenPipe` if there is no receiver, and it has not taken this
    /// message: then nobody will.
    #[inline]
    fn was_sent(&mut self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        // Whatever else came of telling it, what is there is there, and what it holds is the receiver's.
        if self.has_receiver(fd) { Ok(true) } else { self.was_taken() }
    }

    /// Has the receiver woken, if it sleeps, and otherwise looks now and then at whether there is one.
    #[inline]
    fn has_receiver(&mut self, fd: BorrowedFd<'_>) -> bool {
        let told = if self.track.ring.words().must_wake(Side::Consumer) {
            self.last_look.is_now();
            self.wake_receiver(fd)
        } else if self.last_look.is_long_ago() {
            is_there(fd)
        } else {
            return true;
        };
        self.is_alone = told.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        !self.is_alone
    }

    /// The receiver is gone, and has taken this message before, or it is as if that had not been sent.
    #[cold]
    fn was_taken(&mut self) -> io::Result<bool> {
        match self.producer.is_all_taken(self.track.ring.words()).map_err(corrupt)? {
            true => Ok(true),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Nothing was put. Who is gone, or does not know that there is something to take, will never make room.
    #[cold]
    fn has_no_room(&mut self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        if self.has_receiver(fd) { Ok(false) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// Says that there is something in the ring.
    #[cold]
    fn wake_receiver(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut tries = TRIES;
        let told = loop {
            match tell(fd, Control::Bell, &[]) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe && tries > 0 => {
                    tries -= 1;
                    std::thread::yield_now();
                }
                // A socket without room has something in it for who sleeps there.
                told => break told.map(drop),
            }
        };
        self.is_unheard = told.is_err();
        if self.is_unheard {
            // The next message tells it, or who waits for room.
            self.track.ring.words().bell(Side::Consumer).rearm();
        }
        told
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
        if put.map_err(corrupt)? == Put::Done { Ok(true) } else { self.has_no_room(fd) }
    }

    /// A message's descriptors go before its first record, once there is room for that: nothing comes between the two.
    #[cold]
    fn send_fds(&mut self, fd: BorrowedFd<'_>, needed: usize, fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
        if !self.has_room_for(needed).map_err(corrupt)? {
            return self.has_no_room(fd);
        }
        self.lack = Lack::Socket;
        tell(fd, Control::Descriptors(self.producer.index()), fds)
    }

    fn has_room_for(&mut self, length: usize) -> Result<bool, Corrupt> {
        self.producer.could_put(self.track.ring.words(), &self.track.ring.bytes(), length)
    }

    /// `BrokenPipe` if the receiver has said that it is gone, or was [seen](Self::was_sent) to be.
    #[inline]
    fn check_receiver(&mut self) -> io::Result<()> {
        if self.is_alone || self.track.ring.words().is_deaf() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
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
        let alarm = if self.is_unheard { Alarm::Slices } else { alarm };
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
    use crate::ipc::wire::Next;
    use crate::shm::ring::Consumer;
    use crate::sys::socket::{await_hang_up, seqpacket_pair};

    /// A descriptor by which nothing can be said, though nobody has hung up.
    #[test]
    fn what_is_in_the_ring_was_sent_though_the_receiver_cannot_be_told() {
        let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let (track, _bell) = Track::create().unwrap();
        let mut flow = Outflow::new(track);
        for _ in 0..3 {
            let _alarm = flow.track.ring.words().arm(Side::Consumer);
            assert!(flow.try_send(null.as_fd(), Kind::Bytes, b"whole", &[]).unwrap());
            assert!(flow.track.ring.words().must_wake(Side::Consumer), "the next message tells it");
        }
        let _alarm = flow.track.ring.words().arm(Side::Consumer);
        assert!(
            flow.try_send(null.as_fd(), Kind::Bytes, &[0; 2 * PIECE], &[]).is_err(),
            "of that only a part is there"
        );
        assert!(flow.begun.is_none());
    }

    /// Two sides that died: while the receiver slept, and while it looked.
    #[test]
    fn what_a_receiver_that_is_gone_has_not_taken_was_not_sent() {
        for sleeps in [true, false] {
            let (track, _bell) = Track::create().unwrap();
            let mut flow = Outflow::new(track);
            let (near, far) = seqpacket_pair().unwrap();
            let mut consumer = Consumer::resume(flow.track.ring.words());
            let send = |flow: &mut Outflow| {
                if sleeps {
                    let _alarm = flow.track.ring.words().arm(Side::Consumer);
                }
                flow.doubt();
                flow.try_send(near.as_fd(), Kind::Bytes, b"whole", &[]).map_err(|error| error.kind())
            };
            assert_eq!(send(&mut flow), Ok(true));
            drop(far);
            await_hang_up(near.as_fd());
            let (ring, gone) = (&flow.track.ring, Err(io::ErrorKind::BrokenPipe));
            let record = consumer.peek(ring.words(), &ring.bytes()).unwrap().unwrap();
            consumer.take_into(ring.words(), &ring.bytes(), record, 0, &mut [0; 5]);
            assert_eq!((send(&mut flow), send(&mut flow)), (gone, gone));
            assert_eq!(flow.producer.is_all_taken(flow.track.ring.words()), Ok(false), "one was put, and no second");
        }
    }

    /// A receiver that sleeps, and whom nothing tells before the ring is full.
    #[test]
    fn who_finds_no_room_tells_a_receiver_that_was_not_told() {
        let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let (track, _bell) = Track::create().unwrap();
        let mut flow = Outflow::new(track);
        let (near, far) = seqpacket_pair().unwrap();
        let _alarm = flow.track.ring.words().arm(Side::Consumer);
        while flow.try_send(null.as_fd(), Kind::Bytes, &[0; PIECE], &[]).unwrap() {}
        assert!(flow.is_unheard);
        flow.wait(near.as_fd(), Deadline::NEVER).unwrap();
        for _ in 0..2 {
            assert!(!flow.try_send(near.as_fd(), Kind::Bytes, &[0; PIECE], &[]).unwrap());
            assert!(!flow.is_unheard);
        }
        assert_eq!(Next::peek(far.as_fd()).unwrap(), Next::Control(Control::Bell));
    }
}
