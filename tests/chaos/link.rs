//! Messages from one worker to another: numbered, so that each is received once, in order, or one of the two has died.

use std::sync::atomic::Ordering::SeqCst;

use crewkit::ipc::{Connection, Lock, RecvError, SendError};

use crate::worker::{LONG, Worker};

/// A message: its number, and now and then an object, which is a descriptor.
type Numbered = (u64, Option<Lock>);
pub(crate) type Sending = Connection<Numbered, ()>;
pub(crate) type Receiving = Connection<(), Numbered>;

/// An end, and the number of its link.
pub(crate) enum Link {
    Sending(usize, Sending),
    Receiving(usize, Receiving),
}

/// How a message travels: as a value, or as so many bytes.
fn bytes(number: u64) -> Option<usize> {
    match number % 8 {
        3 => Some(8 + number as usize % 1024),
        // Several pieces.
        7 => Some(70_000 + number as usize % 100_000),
        _ => None,
    }
}

/// The bytes of a message.
fn filled(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; length];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

impl Worker {
    /// Sends a few messages.
    pub(crate) fn send(&mut self) {
        let link = self.link.take().or_else(|| self.next_link());
        let Some(Link::Sending(link, end)) = link else {
            assert!(self.is_over(), "the end of a receiver");
            return;
        };
        let journal = self.world.journal.clone();
        let [begun, sent, _] = journal.link(link);
        for _ in 0..self.random.below(6) {
            let number = begun.fetch_add(1, SeqCst);
            let result = match bytes(number) {
                Some(length) => end.send_bytes_timeout(&filled(number, length), LONG),
                None => {
                    let object = (number % 16 == 0).then(|| self.world.pair.lock.clone());
                    end.send_timeout(&(number, object), LONG)
                }
            };
            match result {
                Ok(()) => sent.fetch_add(1, SeqCst),
                // The receiver has died.
                Err(SendError::Closed) => return,
                Err(error) => panic!("message {number} of link {link}: {error}"),
            };
        }
        self.link = Some(Link::Sending(link, end));
    }

    /// Receives a few messages.
    pub(crate) fn receive(&mut self) {
        let link = self.link.take().or_else(|| self.next_link());
        let Some(Link::Receiving(link, end)) = link else {
            assert!(self.is_over(), "the end of a sender");
            return;
        };
        let journal = self.world.journal.clone();
        let [begun, sent, got] = journal.link(link);
        for _ in 0..self.random.below(6) {
            let number = got.load(SeqCst);
            let result = match bytes(number) {
                Some(length) => end.recv_bytes_timeout(LONG).map(|bytes| {
                    assert!(bytes == filled(number, length), "message {number} of link {link} is torn");
                }),
                None => end.recv_timeout(LONG).map(|(found, object)| {
                    assert_eq!(found, number, "a message of link {link} is lost, or came twice");
                    assert!(object.is_none_or(|object| object == self.world.pair.lock), "another lock");
                }),
            };
            match result {
                Ok(()) => got.store(number + 1, SeqCst),
                Err(RecvError::Closed) => {
                    // The sender has died, or there is nothing more.
                    let (begun, sent) = (begun.load(SeqCst), sent.load(SeqCst));
                    assert!(sent <= number && number <= begun, "{number} messages of {sent} to {begun} on link {link}");
                    return;
                }
                Err(error) => panic!("message {number} of link {link}: {error}"),
            }
        }
        self.link = Some(Link::Receiving(link, end));
    }
}
