//! The pool's state behind one lock, and what may be done to it from any thread: submit, cancel, close, terminate.
//!
//! Whoever causes an action performs it, so a submitting thread sends its task to an idle worker itself and the loop's
//! thread need not wake up for that. Nothing under the lock waits: sends and receives do not block, processes are
//! started elsewhere, and inboxes are filled after the lock is released.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::inbox::Inbox;
use super::job::Job;
use super::recipe::Recipe;
use super::scheduler::{Policy, Ticket};
use super::state::State;
use crate::pool::error::TaskError;
use crate::reactor::{Registrar, Waker};
use crate::sync::Event;
use crate::sys::generation;

/// What the pool's handle, its tasks and its loop share.
pub(super) struct Shared {
    state: Mutex<State>,
    waker: Waker,
    /// The generation of processes whose pool this is.
    owner: u32,
    /// Set when the loop has ended.
    pub(super) over: Event,
    pub(super) recipe: Recipe,
}

impl Shared {
    pub(super) fn new(policy: Policy, recipe: Recipe, registrar: Registrar, waker: Waker) -> Self {
        let state = State::new(policy, registrar);
        Self { state: Mutex::new(state), waker, owner: generation::current(), over: Event::new(), recipe }
    }

    /// Whether this process made the pool; a forked copy of it has no loop, and its lock may be held for ever.
    pub(super) fn is_ours(&self) -> bool {
        self.owner == generation::current()
    }

    /// Does something to the state, and delivers what came of it after the lock is released.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock();
        let result = act(&mut state, Instant::now());
        let outbox = state.take_outbox();
        drop(state);
        for (inbox, delivery) in outbox {
            inbox.put(delivery);
        }
        result
    }

    /// Makes the loop look at its deadlines again.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Hands work over.
    pub(super) fn submit(&self, job: Job) -> Result<Ticket, TaskError> {
        if !self.is_ours() {
            return Err(TaskError::ForeignProcess);
        }
        self.act(|state, now| state.submit(job, now))
    }

    /// Cancels a task that has not begun.
    pub(super) fn cancel(&self, ticket: Ticket) -> bool {
        let cancelled = self.is_ours() && self.act(|state, now| state.cancel(ticket, now));
        if cancelled {
            // It may have been the last work of a closing pool, whose workers have a deadline now.
            self.wake();
        }
        cancelled
    }

    /// Withdraws work whose results go to this inbox, as far as it has not begun.
    pub(super) fn forget(&self, inbox: &Arc<Inbox>) {
        if self.is_ours() {
            self.act(|state, now| state.forget(|job| Arc::ptr_eq(&job.inbox, inbox), now));
            // As after `cancel`.
            self.wake();
        }
    }
}
