//! A piece of work as the owner keeps it: the message that a worker will get, and where its results go.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::inbox::Inbox;
use super::protocol::{self, Offer};
use super::scheduler::{Seq, Work};
use crate::process::function::Function;

/// One call, or several of one function. It owns its bytes and descriptors until its results are there, so that
/// another worker can have it when the first one dies.
pub(super) struct Job {
    function: Function,
    /// The body; while it is offered, with its trailer.
    message: Vec<u8>,
    body: usize,
    items: u32,
    retries: u32,
    fds: Vec<OwnedFd>,
    /// The number of the first item among all that go to the inbox.
    pub(super) first: usize,
    pub(super) inbox: Arc<Inbox>,
}

impl Job {
    /// A call with one argument.
    pub(super) fn single(
        function: Function,
        argument: Vec<u8>,
        fds: Vec<OwnedFd>,
        retries: u32,
        first: usize,
        inbox: Arc<Inbox>,
    ) -> Self {
        Self::new(function, argument, 1, fds, retries, first, inbox)
    }

    /// Calls with each argument of a body of several ([`protocol::push_argument`]).
    pub(super) fn several(
        function: Function,
        body: Vec<u8>,
        items: u32,
        retries: u32,
        first: usize,
        inbox: Arc<Inbox>,
    ) -> Self {
        debug_assert!(items > 1);
        Self::new(function, body, items, Vec::new(), retries, first, inbox)
    }

    fn new(
        function: Function,
        message: Vec<u8>,
        items: u32,
        fds: Vec<OwnedFd>,
        retries: u32,
        first: usize,
        inbox: Arc<Inbox>,
    ) -> Self {
        inbox.charge(message.len());
        Self { function, body: message.len(), message, items, retries, fds, first, inbox }
    }

    /// Makes the message that offers this work.
    pub(super) fn seal(&mut self, seq: Seq, lane: usize, attempt: u32) -> Result<(), String> {
        self.message.truncate(self.body);
        let lane = u8::try_from(lane).unwrap_or(u8::MAX);
        let offer = Offer { function: self.function, seq, lane, items: self.items, attempt };
        protocol::seal(&mut self.message, &offer).map_err(|error| error.to_string())
    }

    /// The message and the descriptors that go with it.
    pub(super) fn message(&self) -> (&[u8], Vec<BorrowedFd<'_>>) {
        (&self.message, self.fds.iter().map(AsFd::as_fd).collect())
    }
}

impl Work for Job {
    fn items(&self) -> u32 {
        self.items
    }

    fn retries(&self) -> u32 {
        self.retries
    }

    fn cut(&self, items: Range<u32>) -> Self {
        debug_assert!(self.items > 1 && items.start < items.end && items.end <= self.items);
        let body = &self.message[..self.body];
        let (skip, count) = (items.start as usize, items.len());
        let mut parts = protocol::arguments(body).skip(skip).take(count);
        let (function, retries, first) = (self.function, self.retries, self.first + skip);
        let inbox = Arc::clone(&self.inbox);
        if count == 1 {
            let argument = parts.next().map(|part| body[part].to_vec()).unwrap_or_default();
            return Self::single(function, argument, Vec::new(), retries, first, inbox);
        }
        // As they stand, with their lengths before them.
        let (start, end) = parts.fold((usize::MAX, 0), |(start, _), part| (start.min(part.start - 4), part.end));
        let several = body.get(start..end).unwrap_or_default().to_vec();
        Self::several(function, several, items.end - items.start, retries, first, inbox)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.inbox.discharge(self.body);
    }
}
