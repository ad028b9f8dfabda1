//! The words between the master and one worker: a pair of SEQPACKET sockets, one record per word.
//!
//! End of file is a word too: the other side has died. No send blocks: a worker gets three commands in its life, and a
//! report that finds the socket full (the master is stopped) is dropped by the caller.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::sys::socket;

/// The longest record, and the longest text in one.
const LONGEST: usize = 2048;
const LONGEST_TEXT: usize = 1024;

/// From the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Accept connections.
    Serve,
    /// Stop accepting, finish, end. `last`: first take what stands in the queue, because nobody will come after.
    Drain { last: bool },
}

/// From a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// It has booted and waits for [`Order::Serve`].
    Ready,
    /// It cannot boot, and ends.
    BootFailed { why: String },
    /// It accepts nothing any more: as ordered, or because a signal or a fault made it.
    Drains,
    /// The service panicked; the worker goes on.
    Panicked { message: String },
    /// It could not accept for want of descriptors or memory; it goes on.
    Starved,
    /// The listening socket failed.
    ListenerFailed { why: String },
}

/// Sends one word; `WouldBlock` if the other side does not read.
pub(super) fn send(fd: BorrowedFd<'_>, word: &impl Serialize) -> io::Result<()> {
    let mut buffer = [0; LONGEST];
    let record = postcard::to_slice(word, &mut buffer).map_err(io::Error::other)?;
    socket::send_record(fd, &[IoSlice::new(record)], &[])
}

/// What [`receive`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<T> {
    /// A word.
    Word(T),
    /// Nothing more for now.
    Nothing,
    /// The other side has ended.
    End,
}

/// Takes the next word, without waiting for it. A record that is no word is an error.
pub(super) fn receive<T: DeserializeOwned>(fd: BorrowedFd<'_>) -> io::Result<Heard<T>> {
    let mut buffer = [0; LONGEST];
    match socket::recv_record(fd, &mut buffer, &mut Vec::new(), 0) {
        Ok(received) if received.len == 0 => Ok(Heard::End),
        Ok(received) => Ok(Heard::Word(postcard::from_bytes(&buffer[..received.len]).map_err(io::Error::other)?)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Heard::Nothing),
        Err(error) => Err(error),
    }
}

/// Cuts a text to what fits into a record.
pub(super) fn short(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        let end = (0..=LONGEST_TEXT).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn words_arrive_whole_and_in_order_and_then_the_end() {
        let (master, worker) = socket::seqpacket_pair().unwrap();
        assert_eq!(receive::<Order>(worker.as_fd()).unwrap(), Heard::Nothing);
        send(master.as_fd(), &Order::Serve).unwrap();
        send(master.as_fd(), &Order::Drain { last: true }).unwrap();
        drop(master);
        assert_eq!(receive(worker.as_fd()).unwrap(), Heard::Word(Order::Serve));
        assert_eq!(receive(worker.as_fd()).unwrap(), Heard::Word(Order::Drain { last: true }));
        assert_eq!(receive::<Order>(worker.as_fd()).unwrap(), Heard::End);
        assert!(send(worker.as_fd(), &Report::Ready).is_err());
    }

    #[test]
    fn the_longest_text_fits() {
        let (master, worker) = socket::seqpacket_pair().unwrap();
        let report = Report::Panicked { message: short("ä".repeat(5000)) };
        send(worker.as_fd(), &report).unwrap();
        assert_eq!(receive(master.as_fd()).unwrap(), Heard::Word(report));
    }

    #[test]
    fn a_side_that_does_not_read_never_blocks_the_other() {
        let (_master, worker) = socket::seqpacket_pair().unwrap();
        let report = Report::Panicked { message: short("x".repeat(1000)) };
        let error = (0..100_000).find_map(|_| send(worker.as_fd(), &report).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
