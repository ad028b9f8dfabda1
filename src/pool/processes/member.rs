//! A worker as its owner holds it: the process, the socket, the shared words, and what is still to be sent.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::ledger::Ledger;
use super::recipe::Hired;
use super::scheduler::{Seq, WorkerId};
use super::worker::LIMIT;
use crate::ipc::wire::{Message, Receiver, Sender, WireError};
use crate::process::{Exit, Process};
use crate::reactor::{Interest, Mode, Registrar, Token};
use crate::shm::Segment;

/// What came of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// All of it.
    Whole,
    /// As much as there was room for.
    Part,
    /// Nothing: the worker is gone.
    Nowhere,
}

pub(super) struct Member {
    pub(super) id: WorkerId,
    process: Process<()>,
    /// `None` once the worker was dismissed, or closed it.
    socket: Option<OwnedFd>,
    segment: Segment,
    sender: Sender,
    receiver: Receiver,
    /// The lanes whose offers are to be sent; of the first, a part may be sent.
    outgoing: VecDeque<usize>,
    watching_for_room: bool,
    /// It has not said yet whether it is ready.
    pub(super) silent: bool,
}

impl Member {
    /// Takes a worker that was started into the loop's care.
    pub(super) fn enlist(id: WorkerId, hired: Hired, registrar: &Registrar) -> io::Result<Self> {
        let Hired { process, socket, segment } = hired;
        registrar.register(socket.as_fd(), socket_token(id), Interest::READ, Mode::Level)?;
        registrar.register(process.news(), death_token(id), Interest::READ, Mode::Level)?;
        Ok(Self {
            id,
            process,
            socket: Some(socket),
            segment,
            sender: Sender::new(LIMIT),
            receiver: Receiver::new(LIMIT),
            outgoing: VecDeque::new(),
            watching_for_room: false,
            silent: true,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How the process ended, when its descriptor says that there is news. What tells may be another one afterwards.
    pub(super) fn poll_end(&self, registrar: &Registrar) -> Option<Exit> {
        let _absent = registrar.deregister(self.process.news());
        match self.process.poll_end() {
            Ok(None) => {
                // Without this its end would be told by its socket alone, which also counts.
                let _watched =
                    registrar.register(self.process.news(), death_token(self.id), Interest::READ, Mode::Level);
                None
            }
            Ok(Some(exit)) => Some(exit),
            Err(_) => Some(Exit::Unknown),
        }
    }

    pub(super) fn ledger(&self) -> Ledger<'_> {
        Ledger::new(self.segment.words())
    }

    /// SIGTERM or SIGKILL. An error means that it has ended.
    pub(super) fn signal(&self, kill: bool) {
        let _ended = if kill { self.process.kill() } else { self.process.terminate() };
    }

    /// Closes the socket: the worker ends when it comes to read it.
    pub(super) fn dismiss(&mut self, registrar: &Registrar) {
        self.stop_listening(registrar);
        self.outgoing.clear();
    }

    /// Drops the socket, which has nothing more to say.
    pub(super) fn stop_listening(&mut self, registrar: &Registrar) {
        if let Some(socket) = self.socket.take() {
            // An error would mean that it is not in the list, which is what is wanted.
            let _absent = registrar.deregister(socket.as_fd());
        }
    }

    /// Takes a dead worker out of the loop's list.
    pub(super) fn deregister(&mut self, registrar: &Registrar) {
        self.stop_listening(registrar);
        let _absent = registrar.deregister(self.process.news());
    }

    /// Notes an offer in the shared words, and that its message is to be sent.
    pub(super) fn queue_offer(&mut self, lane: usize, seq: Seq) {
        self.ledger().offer(lane, seq);
        self.outgoing.push_back(lane);
    }

    /// The lane whose offer is to be sent next.
    pub(super) fn next_lane(&self) -> Option<usize> {
        self.outgoing.front().copied()
    }

    /// Sends the next offer's message, or the rest of it.
    pub(super) fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<Sent> {
        let Some(socket) = &self.socket else { return Ok(Sent::Nowhere) };
        match self.sender.try_send(socket.as_fd(), bytes, fds) {
            Ok(true) => {
                self.outgoing.pop_front();
                Ok(Sent::Whole)
            }
            Ok(false) => Ok(Sent::Part),
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                Ok(Sent::Nowhere)
            }
            Err(error) => {
                self.outgoing.pop_front();
                Err(error)
            }
        }
    }

    /// Gives up sending the next offer.
    pub(super) fn skip(&mut self) {
        self.sender.abandon();
        self.outgoing.pop_front();
    }

    /// Waits for room in the socket while something is to be sent, and only then.
    pub(super) fn watch(&mut self, registrar: &Registrar) {
        let wanted = !self.outgoing.is_empty();
        let Some(socket) = self.socket.as_ref().filter(|_| wanted != self.watching_for_room) else { return };
        let interest = if wanted { Interest::READ | Interest::WRITE } else { Interest::READ };
        if registrar.reregister(socket.as_fd(), socket_token(self.id), interest, Mode::Level).is_ok() {
            self.watching_for_room = wanted;
        }
    }

    /// Takes an offer back before it begins. `Some(true)`: its message was sent, and the worker will pass over it.
    pub(super) fn take_back(&mut self, lane: usize, seq: Seq) -> Option<bool> {
        if !self.ledger().take_back(lane, seq) {
            return None;
        }
        match self.outgoing.iter().position(|&waiting| waiting == lane) {
            Some(0) => self.sender.abandon(),
            Some(_) => {}
            None => return Some(true),
        }
        self.outgoing.retain(|&waiting| waiting != lane);
        Some(false)
    }

    /// The next message. An error means that there will be none: true if the socket is closed, false if what came is
    /// not to be trusted.
    pub(super) fn receive(&mut self) -> Result<Option<Message>, bool> {
        let Some(socket) = &self.socket else { return Ok(None) };
        match self.receiver.try_recv(socket.as_fd()) {
            Ok(message) => Ok(message),
            Err(WireError::Closed) => Err(true),
            Err(_) => Err(false),
        }
    }
}

/// Two tokens for each worker, never used again: an event that comes late names somebody who is gone.
pub(super) fn socket_token(id: WorkerId) -> Token {
    Token(id.0 * 2)
}

pub(super) fn death_token(id: WorkerId) -> Token {
    Token(id.0 * 2 + 1)
}

/// Whose token this is; true for the one of its death.
pub(super) fn whose(token: Token) -> (WorkerId, bool) {
    (WorkerId(token.0 / 2), token.0 % 2 == 1)
}
