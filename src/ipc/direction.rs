//! What each direction of a connection does: its lane, with waiting and a deadline around it.
//!
//! [`Connection`](super::Connection) has one of each; [`SendHalf`](super::SendHalf) and [`RecvHalf`](super::RecvHalf)
//! have one. No code of the user's runs while a `RefCell` is borrowed: values are serialised before, and deserialised
//! after.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::endpoint::Endpoint;
use super::lane::{Inlet, News, Outlet};
use super::wire::{KEPT_BUFFER, Message, Target, WireError};
use super::{RecvError, SendError, parcel, wait};
use crate::framing::Kind;
use crate::sys::clock::Deadline;

/// The direction in which values of type `S` leave.
#[derive(Debug)]
pub(super) struct Outgoing<S> {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) lane: RefCell<Outlet>,
    /// What values are serialised into. Not here while one is: its own code may send another.
    buffer: RefCell<Vec<u8>>,
    /// Values are only looked at: an end may be given to another thread whatever they are.
    values: PhantomData<fn(&S)>,
}

impl<S> Outgoing<S> {
    pub(super) fn on(endpoint: Arc<Endpoint>, lane: Outlet) -> Self {
        Self { endpoint, lane: RefCell::new(lane), buffer: RefCell::default(), values: PhantomData }
    }

    pub(super) fn limit(&self) -> u64 {
        self.lane.borrow().limit()
    }

    pub(super) fn set_limit(&self, limit: u64) {
        self.lane.borrow_mut().set_limit(limit);
    }

    pub(super) fn send(&self, value: &S, deadline: Deadline) -> Result<(), SendError>
    where
        S: Serialize,
    {
        self.endpoint.usable()?;
        let mut bytes = self.buffer.take();
        bytes.clear();
        let mut parcel = parcel::encode_onto(value, &mut bytes)?;
        let sent = self.transmit(Kind::Value, &bytes, &parcel.borrowed_fds(), deadline);
        if bytes.capacity() <= KEPT_BUFFER {
            self.buffer.replace(bytes);
        }
        sent?;
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
        let mut lane = self.lane.borrow_mut();
        let (size, limit) = (bytes.len() as u64, lane.limit());
        if size > limit {
            return Err(SendError::TooLarge { size, limit });
        }
        if !fds.is_empty() && !lane.takes_descriptors() {
            return Err(SendError::NotSerializable(NO_DESCRIPTORS.to_owned()));
        }
        if self.endpoint.was_end_seen() {
            lane.doubt();
        }
        let sent = loop {
            match lane.try_send(fd, self.endpoint.is_lent(), kind, bytes, fds) {
                Ok(true) => return Ok(()),
                Ok(false) if deadline.is_expired() => break Err(SendError::Timeout),
                Ok(false) => {}
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break Err(SendError::Closed),
                Err(error) => break Err(SendError::Io(error)),
            }
            match lane.wait(fd, deadline) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break Err(SendError::Closed),
                Err(error) => break Err(SendError::Io(error)),
            }
        };
        lane.abandon();
        sent
    }

    /// The descriptor, for whoever waits for it.
    pub(super) fn lend(&self) -> BorrowedFd<'_> {
        match self.endpoint.usable() {
            Ok(fd) if wait::is_asking() => fd,
            Ok(_) => self.endpoint.lend(),
            Err(_) => self.endpoint.dead(),
        }
    }
}

/// The direction from which values of type `R` come.
#[derive(Debug)]
pub(super) struct Incoming<R> {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) lane: RefCell<Inlet>,
    values: PhantomData<fn() -> R>,
}

impl<R> Incoming<R> {
    pub(super) fn on(endpoint: Arc<Endpoint>, lane: Inlet) -> Self {
        Self { endpoint, lane: RefCell::new(lane), values: PhantomData }
    }

    pub(super) fn set_limit(&self, limit: u64) {
        self.lane.borrow_mut().set_limit(limit);
    }

    pub(super) fn recv(&self, deadline: Deadline) -> Result<R, RecvError>
    where
        R: DeserializeOwned,
    {
        let Message { bytes, fds } = self.receive(Kind::Value, deadline, |lane| Ok(lane.take()))?;
        let value = parcel::decode(&bytes, fds);
        self.lane.borrow_mut().recycle(bytes);
        Ok(value?)
    }

    pub(super) fn recv_bytes(&self, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        self.receive(Kind::Bytes, deadline, |lane| {
            let mut message = lane.take();
            lane.fit(&mut message);
            Ok(message.bytes)
        })
    }

    pub(super) fn recv_bytes_into(&self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, RecvError> {
        let fd = self.endpoint.usable()?;
        let mut lane = self.lane.borrow_mut();
        let mut target = Target::new(buffer);
        let arrived = self.await_message(&mut lane, &mut target, fd, Kind::Bytes, deadline);
        let received = match arrived {
            Ok(()) => lane.take_from(&target).map_or_else(|| take_held(&mut lane, target.into_buffer()), Ok),
            Err(error) => {
                lane.keep(target);
                Err(error)
            }
        };
        drop(lane);
        self.put_sign_right(fd);
        received
    }

    /// The descriptor, for whoever waits for it.
    pub(super) fn lend(&self) -> BorrowedFd<'_> {
        let Ok(fd) = self.endpoint.usable() else { return self.endpoint.dead() };
        if wait::answer(|| self.news(fd)) {
            return fd;
        }
        if self.endpoint.sign().is_none() && self.lane.borrow_mut().stay_with_socket() {
            return self.endpoint.lend();
        }
        match self.endpoint.make_sign() {
            Some(sign) => {
                self.news(fd);
                sign.as_fd()
            }
            None => self.endpoint.lend_always_ready(|| self.lane.borrow().memory()),
        }
    }

    /// Whether there is something to receive. If there is not, the descriptors that were lent will tell.
    fn news(&self, fd: BorrowedFd<'_>) -> News {
        let news = self.lane.borrow_mut().arm(fd, self.endpoint.is_lent());
        if let Some(sign) = self.endpoint.sign() {
            sign.show(news == News::Here);
        }
        news
    }

    /// Waits until receiving would not block.
    pub(super) fn poll(&self, deadline: Deadline) -> bool {
        let Ok(fd) = self.endpoint.usable() else { return true };
        let is_ready = self.await_news(fd, deadline);
        self.put_sign_right(fd);
        is_ready
    }

    fn await_news(&self, fd: BorrowedFd<'_>, deadline: Deadline) -> bool {
        let mut lane = self.lane.borrow_mut();
        loop {
            if lane.is_ready(fd, self.endpoint.is_lent()) {
                return true;
            }
            if deadline.is_expired() {
                return false;
            }
            // An error of poll itself is shown by the next receive.
            if lane.wait(fd, deadline).is_err() {
                return true;
            }
        }
    }

    /// After each look at what arrived.
    #[inline]
    fn put_sign_right(&self, fd: BorrowedFd<'_>) {
        if self.endpoint.sign().is_some() {
            self.news(fd);
        }
    }

    /// Waits until a message of this kind is held whole, and takes it.
    fn receive<T>(
        &self,
        wanted: Kind,
        deadline: Deadline,
        take: impl FnOnce(&mut Inlet) -> Result<T, RecvError>,
    ) -> Result<T, RecvError> {
        let fd = self.endpoint.usable()?;
        let mut lane = self.lane.borrow_mut();
        let arrived = self.await_message(&mut lane, &mut Target::none(), fd, wanted, deadline);
        let received = arrived.and_then(|()| take(&mut lane));
        drop(lane);
        self.put_sign_right(fd);
        received
    }

    fn await_message(
        &self,
        lane: &mut Inlet,
        target: &mut Target<'_>,
        fd: BorrowedFd<'_>,
        wanted: Kind,
        deadline: Deadline,
    ) -> Result<(), RecvError> {
        let mut is_over = false;
        loop {
            match lane.advance(target, fd, self.endpoint.is_lent()) {
                Ok(Some(kind)) if kind == wanted => return Ok(()),
                Ok(Some(kind)) => return Err(RecvError::WrongKind { is_bytes: kind == Kind::Bytes }),
                Ok(None) if is_over => return Err(RecvError::Timeout),
                Ok(None) if deadline.is_expired() => {
                    is_over = true;
                    if !lane.look_at_socket(fd) {
                        return Err(RecvError::Timeout);
                    }
                }
                Ok(None) => lane.wait(fd, deadline).map_err(RecvError::Io)?,
                Err(error) => {
                    if matches!(error, WireError::Closed) {
                        self.endpoint.see_end();
                    }
                    return Err(error.into());
                }
            }
        }
    }
}

/// Takes a message of bytes that came before anybody had a buffer for it, or that is too long for this one, and kept.
#[cold]
fn take_held(lane: &mut Inlet, buffer: &mut [u8]) -> Result<usize, RecvError> {
    let needed = lane.held_len();
    let target = buffer.get_mut(..needed).ok_or(RecvError::BufferTooShort { needed })?;
    let message = lane.take();
    target.copy_from_slice(&message.bytes);
    lane.recycle(message.bytes);
    Ok(needed)
}

const NO_DESCRIPTORS: &str =
    "it holds a descriptor, or a handle that is one, and over TCP there is no way for these to another process";
