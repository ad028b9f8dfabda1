//! What each direction of a connection does: the wire, with waiting and a deadline around it.
//!
//! [`Connection`](super::Connection) has one of each; [`SendHalf`](super::SendHalf) and [`RecvHalf`](super::RecvHalf)
//! have one. No code of the user's runs while a `RefCell` is borrowed: values are serialised before, and deserialised
//! after.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::endpoint::Endpoint;
use super::wire::{self, DEFAULT_LIMIT, Message};
use super::{RecvError, SendError, parcel};
use crate::framing::Kind;
use crate::sys::clock::Deadline;
use crate::sys::poll::{Readiness, wait};

/// The direction in which values of type `S` leave.
#[derive(Debug)]
pub(super) struct Outgoing<S> {
    pub(super) endpoint: Arc<Endpoint>,
    wire: RefCell<wire::Sender>,
    /// Values are only looked at: an end may be given to another thread whatever they are.
    values: PhantomData<fn(&S)>,
}

impl<S> Outgoing<S> {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, wire: RefCell::new(wire::Sender::new(DEFAULT_LIMIT)), values: PhantomData }
    }

    pub(super) fn limit(&self) -> u64 {
        self.wire.borrow().limit()
    }

    pub(super) fn set_limit(&self, limit: u64) {
        self.wire.borrow_mut().set_limit(limit);
    }

    pub(super) fn send(&self, value: &S, deadline: Deadline) -> Result<(), SendError>
    where
        S: Serialize,
    {
        self.endpoint.usable()?;
        let mut parcel = parcel::encode(value)?;
        self.transmit(Kind::Value, &parcel.bytes, &parcel.borrowed_fds(), deadline)?;
        parcel.commit();
        Ok(())
    }

    /// Sends one message, or abandons it.
    pub(super) fn transmit(
        &self,
        kind: Kind,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let fd = self.endpoint.usable()?;
        let mut wire = self.wire.borrow_mut();
        let (size, limit) = (bytes.len() as u64, wire.limit());
        if size > limit {
            return Err(SendError::TooLarge { size, limit });
        }
        let sent = loop {
            match wire.try_send_kind(fd, kind, bytes, fds) {
                Ok(true) => return Ok(()),
                Ok(false) if deadline.is_expired() => break Err(SendError::Timeout),
                Ok(false) => {}
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break Err(SendError::Closed),
                Err(error) => break Err(SendError::Io(error)),
            }
            if let Err(error) = wait(fd, Readiness::WRITE, deadline) {
                break Err(SendError::Io(error));
            }
        };
        wire.abandon();
        sent
    }
}

/// The direction from which values of type `R` come.
#[derive(Debug)]
pub(super) struct Incoming<R> {
    pub(super) endpoint: Arc<Endpoint>,
    wire: RefCell<wire::Receiver>,
    values: PhantomData<fn() -> R>,
}

impl<R> Incoming<R> {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, wire: RefCell::new(wire::Receiver::new(DEFAULT_LIMIT)), values: PhantomData }
    }

    pub(super) fn set_limit(&self, limit: u64) {
        self.wire.borrow_mut().set_limit(limit);
    }

    /// Whether giving this end away would lose something that was received.
    pub(super) fn holds_something(&self) -> bool {
        self.wire.borrow().holds_something()
    }

    pub(super) fn recv(&self, deadline: Deadline) -> Result<R, RecvError>
    where
        R: DeserializeOwned,
    {
        self.receive(Kind::Value, deadline)?;
        let Message { bytes, fds } = self.wire.borrow_mut().take();
        let value = parcel::decode(&bytes, fds);
        self.wire.borrow_mut().recycle(bytes);
        Ok(value?)
    }

    pub(super) fn recv_bytes(&self, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        self.receive(Kind::Bytes, deadline)?;
        let mut wire = self.wire.borrow_mut();
        let mut message = wire.take();
        wire.fit(&mut message);
        Ok(message.bytes)
    }

    pub(super) fn recv_bytes_into(&self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, RecvError> {
        self.receive(Kind::Bytes, deadline)?;
        let mut wire = self.wire.borrow_mut();
        let needed = wire.held_len();
        let target = buffer.get_mut(..needed).ok_or(RecvError::BufferTooShort { needed })?;
        let message = wire.take();
        target.copy_from_slice(&message.bytes);
        wire.recycle(message.bytes);
        Ok(needed)
    }

    /// Waits until receiving would not block.
    pub(super) fn poll(&self, deadline: Deadline) -> bool {
        let Ok(fd) = self.endpoint.usable() else { return true };
        let mut wire = self.wire.borrow_mut();
        loop {
            if wire.is_ready(fd) {
                return true;
            }
            if deadline.is_expired() {
                return false;
            }
            // An error of poll itself is shown by the next receive.
            if wait(fd, Readiness::READ, deadline).is_err() {
                return true;
            }
        }
    }

    /// Waits until a message of this kind is held whole.
    fn receive(&self, wanted: Kind, deadline: Deadline) -> Result<(), RecvError> {
        let fd = self.endpoint.usable()?;
        let mut wire = self.wire.borrow_mut();
        loop {
            match wire.advance(fd)? {
                Some(kind) if kind == wanted => return Ok(()),
                Some(kind) => return Err(RecvError::WrongKind { is_bytes: kind == Kind::Bytes }),
                None if deadline.is_expired() => return Err(RecvError::Timeout),
                None => wait(fd, Readiness::READ, deadline).map_err(RecvError::Io)?,
            };
        }
    }
}
