//! The two directions of a connection, each on a socket first and then, if it is used, on a ring.
//!
//! | Part | What it does |
//! |---|---|
//! | [`Outlet`] | sends, and changes over to a ring |
//! | [`Inlet`] | receives, and follows |
//! | [`Patience`] | how long to look at a ring before sleeping |
//!
//! [`direction`](super::direction) puts a deadline around both. The protocol is in the [README](../README.md): "From the
//! socket to the ring".

mod inlet;
mod intake;
mod outflow;
mod outlet;
mod patience;

pub(super) use inlet::{Inlet, News};
pub(super) use outlet::Outlet;
use patience::Patience;

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::wire::Control;
use crate::shm::ring::{Alarm, Bytes, Ring, Side};
use crate::sys::clock::Deadline;
use crate::sys::poll::{Readiness, wait};
use crate::sys::socket::{recv_record, send_record, seqpacket_pair};

/// A ring's bytes. Larger ones are no faster, smaller ones let the two sides get in each other's way.
const RING: u32 = 256 << 10;

/// The longest piece of a message in a ring: several are on their way at a time, so that both sides copy.
const PIECE: usize = 32 << 10;

/// More than anybody rings while the other side sleeps once.
const RINGS: usize = 16;

/// A ring, and a socket by which its receiver wakes its sender: the connection's own may be read by another thread.
#[derive(Debug)]
pub(super) struct Track {
    ring: Ring,
    bell: OwnedFd,
}

impl Track {
    /// A new ring, and the receiver's end of the bell.
    fn create() -> io::Result<(Self, OwnedFd)> {
        let ring = Ring::create(RING)?;
        let (bell, other) = seqpacket_pair()?;
        Ok((Self { ring, bell }, other))
    }

    /// What another process made, by [`create`](Self::create): any other length would be its choice of how much memory is
    /// used here, or of what finds no room. A bell that is no socket is one that nobody hears.
    pub(super) fn open(ring: OwnedFd, bell: OwnedFd) -> io::Result<Self> {
        let ring = Ring::open(ring)?;
        match ring.bytes().length() {
            RING => Ok(Self { ring, bell }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the ring is not as long as those of connections")),
        }
    }

    /// Whether the receiver, to whom its end of the bell was sent, has closed that.
    fn was_refused(&self) -> bool {
        let state = wait(self.bell.as_fd(), Readiness::default(), Deadline::after(Duration::ZERO));
        state.is_ok_and(|state| state.hung_up)
    }

    /// What another process needs to go on.
    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.ring.as_fd(), self.bell.as_fd()]
    }

    fn ring_bell(&self) {
        match send_record(self.bell.as_fd(), &[IoSlice::new(&[0])], &[]) {
            // Without room in it there is a ring that was not heard yet; without an end there is nobody.
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::BrokenPipe) => {
                self.ring.words().bell(Side::Producer).rearm();
            }
            _ => {}
        }
    }

    /// Takes back what was rung; of one that rings without end, a part.
    fn hear_bell(&self) {
        let heard = || recv_record(self.bell.as_fd(), &mut [0], &mut Vec::new(), 0).is_ok_and(|rung| rung.len > 0);
        for _ in (0..RINGS).take_while(|_| heard()) {}
    }
}

/// How long to sleep at most.
pub(super) fn until(alarm: Alarm, deadline: Deadline) -> Deadline {
    match alarm {
        Alarm::Sure => deadline,
        Alarm::Slices => deadline.earlier(Deadline::after(Duration::from_millis(50))),
    }
}

/// Sends a control record; `false` where there is no room for it.
fn tell(fd: BorrowedFd<'_>, control: Control, fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
    match send_record(fd, &[IoSlice::new(&control.encode())], fds) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_of_another_length_is_refused() {
        let open = |length| {
            let ring = Ring::create(length).unwrap().as_fd().try_clone_to_owned().unwrap();
            Track::open(ring, seqpacket_pair().unwrap().0).map_err(|error| error.kind())
        };
        assert!(open(RING).is_ok());
        for length in [64, 128, RING / 2, 2 * RING, 16 << 20] {
            assert_eq!(open(length).err(), Some(io::ErrorKind::InvalidData), "{length} bytes");
        }
    }

    #[test]
    fn a_bell_that_rings_without_end_is_not_listened_to_without_end() {
        let (track, bell) = Track::create().unwrap();
        let ring = || send_record(bell.as_fd(), &[IoSlice::new(&[0])], &[]);
        (0..=RINGS).for_each(|_| ring().unwrap());
        let hears = || recv_record(track.bell.as_fd(), &mut [0], &mut Vec::new(), 0).is_ok();
        track.hear_bell();
        assert!(hears() && !hears());
        ring().unwrap();
        track.hear_bell();
        assert!(!hears());
    }

    #[test]
    fn a_bell_that_could_not_be_rung_is_rung_the_next_time() {
        let (mut track, _bell) = Track::create().unwrap();
        track.bell = std::fs::File::open("/dev/null").unwrap().into();
        let must_wake = || track.ring.words().must_wake(Side::Producer);
        track.ring_bell();
        assert!(must_wake() && !must_wake());
    }
}
