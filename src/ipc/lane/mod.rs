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
use crate::shm::ring::{Alarm, Ring};
use crate::sys::clock::Deadline;
use crate::sys::socket::{recv_record, send_record, seqpacket_pair};

/// A ring's bytes. Larger ones are no faster, smaller ones let the two sides get in each other's way.
const RING: u32 = 256 << 10;

/// The longest piece of a message in a ring: several are on their way at a time, so that both sides copy.
const PIECE: usize = 32 << 10;

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

    /// What another process made. A bell that is no socket is one that nobody hears.
    pub(super) fn open(ring: OwnedFd, bell: OwnedFd) -> io::Result<Self> {
        Ok(Self { ring: Ring::open(ring)?, bell })
    }

    /// What another process needs to go on.
    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.ring.as_fd(), self.bell.as_fd()]
    }

    fn ring_bell(&self) {
        // Without room in it there is a ring that was not heard yet; without an end there is nobody.
        let _heard = send_record(self.bell.as_fd(), &[IoSlice::new(&[0])], &[]);
    }

    /// Takes back what was rung.
    fn hear_bell(&self) {
        while recv_record(self.bell.as_fd(), &mut [0], &mut Vec::new(), 0).is_ok_and(|rung| rung.len > 0) {}
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
