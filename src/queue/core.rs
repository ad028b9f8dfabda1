//! What is inside a queue: items, counts and waiters under one mutex.
//!
//! # Algorithm
//!
//! That of CPython, with the waiters spelled out: one mutex around the items, the count of unfinished tasks, the
//! shut-down flag, and three lines of waiters (for an item, for room, for the last task). An operation takes the mutex,
//! does its work or finds that it cannot, [settles](Core::settle), leaves the mutex, and only then wakes whom settling
//! called and drops what it took out. So no user code ever runs under the mutex: neither `Drop` nor a parker.
//!
//! Invariants, whenever the mutex is free:
//!
//! 1. As many getters are coming as there are items, or no getter is in line; the same for putters and free room, and
//!    for joiners when nothing is unfinished. After a shut-down nobody is in line for items or room.
//! 2. `len` is the number of items. It is written under the mutex only, and read without it.
//! 3. Each item was put by exactly one `put` that succeeded, and is in the queue, or was got by one `get`, or was dropped
//!    by one shut-down (or with the queue).
//!
//! Settling is what restores 1 after any change, so no operation needs an argument of its own why nobody sleeps on.
//! A waiter takes what it came for itself, under the mutex; a newcomer may be quicker (barging), and then the waiter
//! goes back to its old place in line. A waiter whose time is over looks once more before it leaves, so a wake-up that
//! reaches it late is not lost: there is something, and it takes it, or there is nothing to come for.

use super::error::{GetError, PutError};
use super::line::Line;
use crate::primitive::{AtomicUsize, Calls, Mutex, MutexGuard, Place, Spin, current, has_passed};
use crate::sys::clock::Deadline;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many times a putter or getter yields before it lines up.
const YIELDS: u32 = 16;

/// A queue without its public face.
pub(super) struct Core<T> {
    state: Mutex<State<T>>,
    len: AtomicUsize,
    /// `usize::MAX` is unbounded.
    capacity: usize,
}

struct State<T> {
    items: VecDeque<T>,
    unfinished: usize,
    is_shut_down: bool,
    getters: Line,
    putters: Line,
    joiners: Line,
}

impl<T> State<T> {
    /// Calls whoever can go now (invariant 1).
    #[inline]
    fn settle(&mut self, capacity: usize, calls: &mut Calls) {
        let all_of = |things| if self.is_shut_down { usize::MAX } else { things };
        self.getters.call(all_of(self.items.len()), calls);
        self.putters.call(all_of(capacity - self.items.len()), calls);
        if self.unfinished == 0 {
            self.joiners.call(usize::MAX, calls);
        }
    }

    /// Puts the value in if there is room; leaves it where it is if the queue is shut down; `None` if it is full.
    #[inline]
    fn push(&mut self, capacity: usize, value: &mut Option<T>) -> Option<()> {
        if !self.is_shut_down {
            if self.items.len() >= capacity {
                return None;
            }
            if let Some(value) = value.take() {
                self.items.push_back(value);
                self.unfinished += 1;
            }
        }
        Some(())
    }

    /// Takes an item out; `None` if there is none yet.
    #[inline]
    fn pop(&mut self) -> Option<Result<T, GetError>> {
        match self.items.pop_front() {
            Some(item) => Some(Ok(item)),
            None if self.is_shut_down => Some(Err(GetError::ShutDown)),
            None => None,
        }
    }

    fn getters(&mut self) -> &mut Line {
        &mut self.getters
    }

    fn putters(&mut self) -> &mut Line {
        &mut self.putters
    }

    fn joiners(&mut self) -> &mut Line {
        &mut self.joiners
    }
}

impl<T> Core<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            unfinished: 0,
            is_shut_down: false,
            getters: Line::new(),
            putters: Line::new(),
            joiners: Line::new(),
        };
        Self { state: Mutex::new(state), len: AtomicUsize::new(0), capacity }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.state.lock().is_shut_down
    }

    #[inline]
    pub(super) fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        let mut value = Some(value);
        let outcome = self.attempt(|state| state.push(self.capacity, &mut value));
        Self::put_outcome(outcome, value)
    }

    #[inline]
    pub(super) fn put(&self, value: T, deadline: Deadline) -> Result<(), PutError<T>> {
        let mut value = Some(value);
        let has_room = || self.len() < self.capacity;
        let attempt = |state: &mut State<T>, _| state.push(self.capacity, &mut value);
        let outcome = self.wait(State::putters, deadline, has_room, attempt);
        Self::put_outcome(outcome, value)
    }

    /// A value that is no longer with the putter is in the queue.
    #[inline]
    fn put_outcome(outcome: Option<()>, value: Option<T>) -> Result<(), PutError<T>> {
        match (value, outcome) {
            (None, _) => Ok(()),
            (Some(value), Some(())) => Err(PutError::ShutDown(value)),
            (Some(value), None) => Err(PutError::Full(value)),
        }
    }

    #[inline]
    pub(super) fn try_get(&self) -> Result<T, GetError> {
        self.attempt(State::pop).unwrap_or(Err(GetError::Empty))
    }

    #[inline]
    pub(super) fn get(&self, deadline: Deadline) -> Result<T, GetError> {
        let has_items = || self.len() > 0;
        self.wait(State::getters, deadline, has_items, |state, _| state.pop()).unwrap_or(Err(GetError::Empty))
    }

    /// Counts one task done, if one is unfinished.
    #[inline]
    pub(super) fn task_done(&self) -> Option<()> {
        self.attempt(|state| {
            state.unfinished = state.unfinished.checked_sub(1)?;
            Some(())
        })
    }

    pub(super) fn join(&self, deadline: Deadline) -> bool {
        // A joiner that was called saw the count at zero, whatever was put since.
        let is_done = |state: &mut State<T>, was_called| (was_called || state.unfinished == 0).then_some(());
        self.wait(State::joiners, deadline, || false, is_done).is_some()
    }

    /// Takes no more items in; hands out those that are to be dropped, which count as done.
    pub(super) fn shut_down(&self, drops: bool) -> VecDeque<T> {
        let mut state = self.state.lock();
        state.is_shut_down = true;
        let dropped = if drops { std::mem::take(&mut state.items) } else { VecDeque::new() };
        // More can have been reported done than were got.
        state.unfinished = state.unfinished.saturating_sub(dropped.len());
        self.settle(state);
        dropped
    }

    /// Does `attempt` once, which answers `None` if it cannot be done and changed nothing.
    #[inline]
    fn attempt<R>(&self, attempt: impl FnOnce(&mut State<T>) -> Option<R>) -> Option<R> {
        let mut state = self.state.lock();
        let outcome = attempt(&mut state);
        self.settle(state);
        outcome
    }

    /// Calls whoever can go now, leaves the mutex, and wakes them.
    #[inline]
    fn settle(&self, mut state: MutexGuard<'_, State<T>>) {
        self.len.store(state.items.len(), Ordering::Relaxed);
        // Filled in place: moved out of `settle` they would be copied while the mutex is held, which costs a third of a put.
        let mut calls = Calls::default();
        state.settle(self.capacity, &mut calls);
        drop(state);
        if !calls.is_empty() {
            calls.ring();
        }
    }

    /// Does `attempt` as soon as it can be done, which `is_hopeful` guesses without the mutex; `None` if that is not
    /// before `deadline`. The attempt is told whether its waiter was called.
    #[inline]
    fn wait<R>(
        &self,
        line: fn(&mut State<T>) -> &mut Line,
        deadline: Deadline,
        is_hopeful: impl Fn() -> bool,
        mut attempt: impl FnMut(&mut State<T>, bool) -> Option<R>,
    ) -> Option<R> {
        if let Some(outcome) = self.attempt(|state| attempt(state, false)) {
            return Some(outcome);
        }
        let mut spin = Spin::then_yield(YIELDS);
        while spin.again() {
            if is_hopeful()
                && let Some(outcome) = self.attempt(|state| attempt(state, false))
            {
                return Some(outcome);
            }
        }
        self.wait_in_line(line, deadline, attempt)
    }

    #[cold]
    fn wait_in_line<R>(
        &self,
        line: fn(&mut State<T>) -> &mut Line,
        deadline: Deadline,
        mut attempt: impl FnMut(&mut State<T>, bool) -> Option<R>,
    ) -> Option<R> {
        let parker = current();
        // Declared before the guard, so that in an unwinding the mutex is left first.
        let mut waiting = Waiting { queue: self, line, place: None };
        let mut state = self.state.lock();
        if let Some(outcome) = attempt(&mut state, false) {
            self.settle(state);
            return Some(outcome);
        }
        let place = waiting.place.insert(line(&mut state).enlist(Arc::clone(&parker)));
        loop {
            drop(state);
            parker.park(deadline);
            state = self.state.lock();
            let was_called = line(&mut state).is_called(place);
            let is_over = has_passed(deadline);
            if !was_called && !is_over {
                continue;
            }
            let outcome = attempt(&mut state, was_called);
            if outcome.is_none() && !is_over {
                line(&mut state).go_back(place, Arc::clone(&parker));
                continue;
            }
            waiting.leave(state);
            return outcome;
        }
    }
}

/// A waiter's place in line, given up if parking unwinds.
struct Waiting<'a, T> {
    queue: &'a Core<T>,
    line: fn(&mut State<T>) -> &mut Line,
    place: Option<Place>,
}

impl<T> Waiting<'_, T> {
    fn leave(&mut self, mut state: MutexGuard<'_, State<T>>) {
        if let Some(place) = self.place.take() {
            (self.line)(&mut state).leave(place);
        }
        self.queue.settle(state);
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.leave(self.queue.state.lock());
        }
    }
}
