//! What a [`MapTask`](crate::pool::MapTask) of a [`Pool`](super::Pool) waits for: the deliveries of all its items. Who
//! looks or waits puts those that have come into their places.

use std::sync::{Arc, Weak};
use std::task::Waker;

use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::engine::Shared;
use super::feed::Sent;
use super::inbox::{Delivery, Inbox};
use crate::pool::error::{MapError, TaskError};
use crate::pool::task::Pending;
use crate::sys::clock::Deadline;

/// A map that is on its way.
pub(super) struct Gathering<R> {
    inbox: Arc<Inbox>,
    sent: Sent,
    shared: Weak<Shared>,
    /// Held while somebody waits for deliveries.
    outcome: Mutex<Outcome<R>>,
}

/// What has come of it.
pub(super) struct Outcome<R> {
    missing: usize,
    results: Vec<Option<R>>,
    errors: Vec<(usize, TaskError)>,
}

impl<R> Outcome<R> {
    /// Of so many items, nothing yet.
    pub(super) fn of(items: usize) -> Self {
        Self { missing: items, results: Vec::new(), errors: Vec::new() }
    }

    pub(super) fn add(&mut self, index: usize, result: Result<R, TaskError>) {
        if self.results.len() <= index {
            self.results.resize_with(index + 1, || None);
        }
        match result {
            Ok(result) => self.results[index] = Some(result),
            Err(error) => self.errors.push((index, error)),
        }
    }

    /// The results by index, and apart from them the errors with theirs.
    pub(super) fn into_parts(self) -> (Vec<Option<R>>, Vec<(usize, TaskError)>) {
        (self.results, self.errors)
    }

    /// All results, or the first error.
    pub(super) fn into_result(self) -> Result<Vec<R>, MapError<R>> {
        let Self { results, errors, .. } = self;
        match errors.into_iter().min_by_key(|(index, _)| *index) {
            None => Ok(results.into_iter().flatten().collect()),
            Some((index, error)) => Err(MapError { index, error, results }),
        }
    }
}

impl<R: DeserializeOwned> Outcome<R> {
    fn open(&mut self, delivery: Delivery) {
        self.missing = self.missing.saturating_sub(delivery.count());
        delivery.open(|index, result| self.add(index, result));
    }
}

impl<R: DeserializeOwned> Gathering<R> {
    pub(super) fn new(inbox: Arc<Inbox>, sent: Sent, shared: &Arc<Shared>) -> Self {
        let outcome = Mutex::new(Outcome::of(sent.items));
        Self { inbox, sent, shared: Arc::downgrade(shared), outcome }
    }

    /// Whether everything has come; puts what has come into its place.
    fn gather(&self) -> bool {
        // Whoever has the lock waits for what is missing.
        let Some(mut outcome) = self.outcome.try_lock() else { return false };
        while let Some(delivery) = self.inbox.try_take() {
            outcome.open(delivery);
        }
        outcome.missing == 0
    }
}

impl<R: DeserializeOwned + Send> Pending<Result<Vec<R>, MapError<R>>> for Gathering<R> {
    fn is_ready(&self) -> bool {
        self.gather()
    }

    fn is_successful(&self) -> bool {
        self.gather() && self.outcome.lock().errors.is_empty()
    }

    fn wait(&self, deadline: Deadline) -> bool {
        let outcome = match deadline.instant() {
            Some(at) => self.outcome.try_lock_until(at),
            None => Some(self.outcome.lock()),
        };
        let Some(mut outcome) = outcome else { return false };
        while outcome.missing > 0 {
            let Some(delivery) = self.inbox.take(deadline) else { return false };
            outcome.open(delivery);
        }
        true
    }

    fn take(&self) -> Option<Result<Result<Vec<R>, MapError<R>>, TaskError>> {
        let outcome = std::mem::replace(&mut *self.outcome.lock(), Outcome::of(0));
        Some(Ok(outcome.into_result()))
    }

    fn cancel(&self) -> bool {
        let Some(shared) = self.shared.upgrade() else { return false };
        self.sent.tickets.iter().filter(|&&ticket| shared.cancel(ticket)).count() > 0
    }

    fn watch(&self, waker: &Waker) -> bool {
        while !self.gather() {
            if self.inbox.watch(waker) {
                return true;
            }
        }
        false
    }
}
