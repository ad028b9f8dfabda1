//! What a [`Task`](crate::pool::Task) of a [`Pool`](super::Pool) waits for: one delivery, still as bytes, of one job.

use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::task::Waker;

use serde::de::DeserializeOwned;

use super::engine::Shared;
use super::inbox::{Delivery, Inbox};
use super::scheduler::Ticket;
use crate::pool::error::TaskError;
use crate::pool::task::Pending;
use crate::sys::clock::Deadline;

/// One call: its inbox, and what it is called in the scheduler.
pub(super) struct Awaited<R> {
    inbox: Arc<Inbox>,
    /// `None` if it never got there.
    ticket: Option<Ticket>,
    /// Weak: a task that is kept keeps nothing of a pool that is gone.
    shared: Weak<Shared>,
    result: PhantomData<fn() -> R>,
}

impl<R> Awaited<R> {
    pub(super) fn new(inbox: Arc<Inbox>, ticket: Result<Ticket, TaskError>, shared: &Arc<Shared>) -> Self {
        let ticket = match ticket {
            Ok(ticket) => Some(ticket),
            Err(error) => {
                inbox.put(Delivery::Undone { first: 0, count: 1, error });
                None
            }
        };
        Self { inbox, ticket, shared: Arc::downgrade(shared), result: PhantomData }
    }
}

impl<R: DeserializeOwned> Pending<R> for Awaited<R> {
    fn is_ready(&self) -> bool {
        self.inbox.peek(|_| ()).is_some()
    }

    fn is_successful(&self) -> bool {
        self.inbox.peek(Delivery::is_success).unwrap_or(false)
    }

    fn wait(&self, deadline: Deadline) -> bool {
        self.inbox.wait(deadline)
    }

    fn take(&self) -> Option<Result<R, TaskError>> {
        let mut result = None;
        self.inbox.try_take()?.open(|_, outcome| result = Some(outcome));
        result
    }

    fn cancel(&self) -> bool {
        self.ticket.zip(self.shared.upgrade()).is_some_and(|(ticket, shared)| shared.cancel(ticket))
    }

    fn watch(&self, waker: &Waker) -> bool {
        self.inbox.watch(waker)
    }
}
