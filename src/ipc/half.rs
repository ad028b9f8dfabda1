//! The two halves of a split connection, for two threads.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::direction::{Incoming, Outgoing};
use super::endpoint::Endpoint;
use super::{RecvError, SendError};
use crate::framing::Kind;
use crate::sys::clock::Deadline;
use crate::sys::generation;
use crate::sys::socket::{shut_down_receiving, shut_down_sending};

/// The sending half of a [`Connection`](super::Connection), from [`split`](super::Connection::split).
///
/// Dropping it tells the other side that no more messages will come; it receives those on the way, then
/// [`RecvError::Closed`]. The receiving half goes on.
pub struct SendHalf<S>(pub(super) Outgoing<S>);

impl<S> SendHalf<S> {
    /// See [`Connection::send`](super::Connection::send).
    ///
    /// # Blocking
    ///
    /// Until the receiver has made room for the whole message.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send(&self, value: &S) -> Result<(), SendError>
    where
        S: Serialize,
    {
        self.0.send(value, Deadline::NEVER)
    }

    /// See [`Connection::send_timeout`](super::Connection::send_timeout).
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_timeout(&self, value: &S, timeout: Duration) -> Result<(), SendError>
    where
        S: Serialize,
    {
        self.0.send(value, Deadline::after(timeout))
    }

    /// See [`Connection::send_bytes`](super::Connection::send_bytes).
    ///
    /// # Blocking
    ///
    /// Until the receiver has made room for the whole message.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.0.transmit(Kind::Bytes, bytes, &[], Deadline::NEVER)
    }

    /// See [`Connection::send_bytes_timeout`](super::Connection::send_bytes_timeout).
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_bytes_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<(), SendError> {
        self.0.transmit(Kind::Bytes, bytes, &[], Deadline::after(timeout))
    }
}

impl<S> Drop for SendHalf<S> {
    fn drop(&mut self) {
        let _or_both = close_direction(&self.0.endpoint, shut_down_sending);
    }
}

impl<S> AsFd for SendHalf<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.lend()
    }
}

impl<S> fmt::Debug for SendHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendHalf").field(&self.0.endpoint).finish()
    }
}

/// The receiving half of a [`Connection`](super::Connection), from [`split`](super::Connection::split).
///
/// Dropping it discards what is on the way, and the other side's next send answers [`SendError::Closed`]. The sending
/// half goes on.
pub struct RecvHalf<R>(pub(super) Incoming<R>);

impl<R> RecvHalf<R> {
    /// See [`Connection::recv`](super::Connection::recv).
    ///
    /// # Blocking
    ///
    /// Until a whole message is there, or the other end is closed.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    pub fn recv(&self) -> Result<R, RecvError>
    where
        R: DeserializeOwned,
    {
        self.0.recv(Deadline::NEVER)
    }

    /// See [`Connection::try_recv`](super::Connection::try_recv). Does not block.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    pub fn try_recv(&self) -> Result<R, RecvError>
    where
        R: DeserializeOwned,
    {
        self.0.recv(Deadline::after(Duration::ZERO))
    }

    /// See [`Connection::recv_timeout`](super::Connection::recv_timeout).
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R, RecvError>
    where
        R: DeserializeOwned,
    {
        self.0.recv(Deadline::after(timeout))
    }

    /// See [`Connection::recv_bytes`](super::Connection::recv_bytes).
    ///
    /// # Blocking
    ///
    /// Until a whole message is there, or the other end is closed.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.0.recv_bytes(Deadline::NEVER)
    }

    /// See [`Connection::recv_bytes_timeout`](super::Connection::recv_bytes_timeout).
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.0.recv_bytes(Deadline::after(timeout))
    }

    /// See [`Connection::recv_bytes_into`](super::Connection::recv_bytes_into).
    ///
    /// # Blocking
    ///
    /// Until a whole message is there, or the other end is closed.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
        self.0.recv_bytes_into(buffer, Deadline::NEVER)
    }

    /// See [`Connection::recv_bytes_into_timeout`](super::Connection::recv_bytes_into_timeout).
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    pub fn recv_bytes_into_timeout(&self, buffer: &mut [u8], timeout: Duration) -> Result<usize, RecvError> {
        self.0.recv_bytes_into(buffer, Deadline::after(timeout))
    }

    /// See [`Connection::poll`](super::Connection::poll).
    ///
    /// # Blocking
    ///
    /// For at most `timeout`.
    pub fn poll(&self, timeout: Duration) -> bool {
        self.0.poll(Deadline::after(timeout))
    }
}

impl<R> Drop for RecvHalf<R> {
    fn drop(&mut self) {
        if close_direction(&self.0.endpoint, shut_down_receiving) {
            self.0.lane.borrow().turn_deaf();
        }
    }
}

impl<R> AsFd for RecvHalf<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.lend()
    }
}

impl<R> fmt::Debug for RecvHalf<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecvHalf").field(&self.0.endpoint).finish()
    }
}

/// Closes one direction, unless the other half is gone already and dropping the descriptor closes both. An inherited
/// half is left alone, and one that a forked closure has captured: the connection is another process's. Whether it was one
/// direction that was closed.
fn close_direction(endpoint: &Arc<Endpoint>, shut_down: fn(BorrowedFd<'_>) -> std::io::Result<()>) -> bool {
    if Arc::strong_count(endpoint) > 1
        && !generation::is_handed_over()
        && let Ok(fd) = endpoint.usable()
    {
        // The other side may be closed already, and then it needs no telling.
        let _told = shut_down(fd);
        return true;
    }
    false
}
