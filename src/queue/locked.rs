//! A queue of any order, under one latch.
//!
//! # Algorithm
//!
//! That of CPython: one lock around the items, the count of unfinished tasks, the shut-down flag and the lines of
//! waiters. An operation takes the lock, does its work or finds that it cannot, and settles as [`waiting`](super::waiting)
//! says; only after that it drops what it took out. So neither `Drop` nor a parker ever runs under the lock. What does, of
//! a user's code, is the items' `Ord` in a [`PriorityQueue`](super::PriorityQueue), and `Clone` in `peek`: these may panic,
//! which leaves everything as it was, and are told by a panic that they cannot use the [same queue](super::inside).
//!
//! They may also take as long as they like, or block: then whoever comes meanwhile sleeps. The lock is a [`Latch`] because
//! that one costs a single locked operation, and because one can sleep on it like on a mutex: a lock that is polled
//! would be no place for other people's code.
//!
//! # Speed, and what was tried
//!
//! A put and a get with 64 items standing, no other thread, on two cores of a Xeon at 2 GHz. The peer is std's `BinaryHeap`,
//! which does not keep the order of equal items, under parking_lot's mutex with a `Condvar` for each side; it took 41 to 60 ns,
//! of which its four locked operations are 17 to 25.
//!
//! | Design | peer ÷ it | Why |
//! |---|---|---|
//! | parking_lot's mutex; the heap compares first, then swaps along the path | 0.38 | 63 ns for the heap alone |
//! | a latch that is polled; one swap a level with what is carried; nothing is built where nobody waits | 0.70 to 0.80 | 44 ns for the heap |
//! | a latch; the heap moves a hole | 0.80 to 1.03 | each way out looks a second time at what it has left |
//! | this: the usual way out ends in line | 1.02 to 1.15 | a put and a get are one locked operation each, and no system call |
//! | the same with parking_lot's mutex | 0.70 | two locked operations each |
//!
//! The last row was measured while the machine was slow (57 ns for the peer), when this was 0.91 to 0.93: instructions weigh
//! more then, and of these it has more than the peer, as it counts tasks, tells who is inside, and shows its length.
//!
//! With four producers on one core and four consumers on the other, the peer takes three to seven times as long, std's mutex and
//! conditions three to five times: those sleep and are woken for single items.
//!
//! Invariants, whenever the lock is free, besides that of `waiting`:
//!
//! 1. `len` and `capacity` are what the state says. They are written under the lock only, and read without it, by
//!    those who only want to know or to guess: hence Relaxed.
//! 2. Each item was put by exactly one `put` that succeeded, and is in the queue, or was got by one `get`, or was dropped
//!    by one shut-down or `clear` (or with the queue).

use super::error::{GetError, PutError};
use super::inside::Inside;
use super::store::Store;
use super::waiting::{Entered, Lines, Side, Supply, Waited, wait_in_line};
use crate::primitive::{AtomicUsize, Calls, Latch, LatchGuard, Spin, has_passed};
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;

/// How many times a putter or getter yields before it lines up.
const YIELDS: u32 = 16;

/// A queue without its public face; `surface` lists what is expected of one.
pub(super) struct Locked<S> {
    state: Latch<State<S>>,
    inside: Inside,
    len: AtomicUsize,
    capacity: AtomicUsize,
}

pub(super) struct State<S> {
    items: S,
    /// `usize::MAX` is unbounded. May be less than there are items, since it can be lowered.
    capacity: usize,
    unfinished: usize,
    is_shut_down: bool,
    lines: Lines,
}

impl<S> AsMut<Lines> for State<S> {
    fn as_mut(&mut self) -> &mut Lines {
        &mut self.lines
    }
}

impl<S: Store> State<S> {
    /// Puts the value in if there is room; leaves it where it is if the queue is shut down; `None` if it is full.
    #[inline]
    fn push(&mut self, value: &mut Option<S::Item>) -> Option<()> {
        if !self.is_shut_down {
            if self.items.len() >= self.capacity {
                return None;
            }
            self.items.push(value);
            self.unfinished += 1;
        }
        Some(())
    }

    /// The same for many; `None` if some had no room. `next` is the one that is being put.
    fn push_all(&mut self, next: &mut Option<S::Item>, rest: &mut impl Iterator<Item = S::Item>) -> Option<()> {
        while next.is_some() && !self.is_shut_down {
            self.push(next)?;
            *next = rest.next();
        }
        Some(())
    }

    /// Takes an item out; `None` if there is none yet.
    #[inline]
    fn pop(&mut self) -> Option<Result<S::Item, GetError>> {
        match self.items.pop() {
            Some(item) => Some(Ok(item)),
            None if self.is_shut_down => Some(Err(GetError::ShutDown)),
            None => None,
        }
    }

    /// Takes items out until there are `max` in `got` or none is left; `None` if there is none yet.
    fn pop_many(&mut self, max: usize, got: &mut Vec<S::Item>) -> Option<Result<(), GetError>> {
        self.items.pop_many(max, got);
        match got.is_empty() && max > 0 {
            false => Some(Ok(())),
            true if self.is_shut_down => Some(Err(GetError::ShutDown)),
            true => None,
        }
    }

    /// Takes everything out that is there, and counts it done. More can have been reported done than were got.
    fn clear(&mut self) -> S {
        let items = std::mem::take(&mut self.items);
        self.unfinished = self.unfinished.saturating_sub(items.len());
        items
    }
}

impl<S: Store> Waited for Locked<S> {
    type State = State<S>;
    type Guard<'a>
        = LatchGuard<'a, State<S>>
    where
        Self: 'a;

    #[inline]
    fn lock(&self) -> LatchGuard<'_, State<S>> {
        self.inside.lock(&self.state)
    }

    #[inline]
    fn is_settled(&self, state: &mut State<S>) -> bool {
        self.len.store(state.items.len(), Ordering::Relaxed);
        self.inside.leave();
        state.lines.are_all_called()
    }

    fn settle(&self, state: &mut State<S>, calls: &mut Calls) {
        let items = state.items.len();
        let supply = Supply {
            items,
            room: state.capacity.saturating_sub(items),
            all_done: state.unfinished == 0,
            is_shut_down: state.is_shut_down,
        };
        state.lines.call(&supply, calls);
    }

    fn is_ready(&self, state: &mut State<S>) -> bool {
        state.items.len() > 0 || state.is_shut_down
    }
}

/// What can be known without knowing the order.
impl<S> Locked<S> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self) -> bool {
        self.look(|state| self.len() >= state.capacity)
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.look(|state| state.is_shut_down)
    }

    pub(super) fn unfinished(&self) -> usize {
        self.look(|state| state.unfinished)
    }

    /// How many threads wait to get, to put and to join.
    pub(super) fn waiters(&self) -> [usize; 3] {
        self.look(|state| state.lines.lengths())
    }

    /// Changes nothing, so there is nothing to settle.
    fn look<R>(&self, look: impl FnOnce(&State<S>) -> R) -> R {
        let state = self.inside.lock(&self.state);
        let seen = look(&state);
        self.inside.leave();
        seen
    }
}

impl<S: Store> Locked<S> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State { items: S::default(), capacity, unfinished: 0, is_shut_down: false, lines: Lines::new() };
        Self {
            state: Latch::new(state),
            inside: Inside::new(),
            len: AtomicUsize::new(0),
            capacity: AtomicUsize::new(capacity),
        }
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        let mut state = Entered::new(self);
        state.capacity = capacity;
        self.capacity.store(capacity, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn try_put(&self, value: S::Item) -> Result<(), PutError<S::Item>> {
        let mut value = Some(value);
        let outcome = self.within(|state| state.push(&mut value));
        put_outcome(outcome, value)
    }

    #[inline]
    pub(super) fn put(&self, value: S::Item, deadline: Deadline) -> Result<(), PutError<S::Item>> {
        let mut value = Some(value);
        let mut outcome = self.within(|state| state.push(&mut value));
        if outcome.is_none() {
            outcome = self.wait_for_room(deadline, |state| state.push(&mut value));
        }
        put_outcome(outcome, value)
    }

    pub(super) fn try_put_many(&self, values: Vec<S::Item>) -> Result<(), PutError<Vec<S::Item>>> {
        let mut rest = values.into_iter();
        let mut next = rest.next();
        let outcome = Entered::new(self).push_all(&mut next, &mut rest);
        put_outcome(outcome, next).map_err(|error| error.with_rest(rest))
    }

    pub(super) fn put_many(&self, values: Vec<S::Item>, deadline: Deadline) -> Result<(), PutError<Vec<S::Item>>> {
        let mut rest = values.into_iter();
        let mut next = rest.next();
        let mut outcome = Entered::new(self).push_all(&mut next, &mut rest);
        if outcome.is_none() {
            outcome = self.wait_for_room(deadline, |state| state.push_all(&mut next, &mut rest));
        }
        put_outcome(outcome, next).map_err(|error| error.with_rest(rest))
    }

    #[inline]
    pub(super) fn try_get(&self) -> Result<S::Item, GetError> {
        self.within(State::pop).unwrap_or(Err(GetError::Empty))
    }

    #[inline]
    pub(super) fn get(&self, deadline: Deadline) -> Result<S::Item, GetError> {
        let first = self.within(State::pop);
        first.unwrap_or_else(|| self.wait_for_items(deadline, State::pop).unwrap_or(Err(GetError::Empty)))
    }

    pub(super) fn try_get_many(&self, max: usize) -> Result<Vec<S::Item>, GetError> {
        let mut got = Vec::new();
        let outcome = Entered::new(self).pop_many(max, &mut got);
        outcome.unwrap_or(Err(GetError::Empty)).map(|()| got)
    }

    pub(super) fn get_many(&self, max: usize, deadline: Deadline) -> Result<Vec<S::Item>, GetError> {
        let mut got = Vec::new();
        let mut outcome = Entered::new(self).pop_many(max, &mut got);
        if outcome.is_none() {
            outcome = self.wait_for_items(deadline, |state| state.pop_many(max, &mut got));
        }
        outcome.unwrap_or(Err(GetError::Empty)).map(|()| got)
    }

    /// Counts one task done, if one is unfinished.
    #[inline]
    pub(super) fn task_done(&self) -> Option<()> {
        self.within(|state| {
            state.unfinished = state.unfinished.checked_sub(1)?;
            Some(())
        })
    }

    pub(super) fn join(&self, deadline: Deadline) -> bool {
        // A joiner that was called saw the count at zero, whatever was put since.
        let is_done = |state: &mut State<S>, was_called| (was_called || state.unfinished == 0).then_some(());
        self.unfinished() == 0 || wait_in_line(self, Lines::joiners, deadline, is_done).is_some()
    }

    /// What would be got next.
    pub(super) fn peek(&self) -> Option<S::Item>
    where
        S::Item: Clone,
    {
        Entered::new(self).items.peek().cloned()
    }

    /// Hands out what is in the queue, to be dropped, and counts it done.
    pub(super) fn clear(&self) -> S {
        Entered::new(self).clear()
    }

    /// Takes no more items in; hands out those that are to be dropped, which count as done.
    pub(super) fn shut_down(&self, drops: bool) -> S {
        let mut state = Entered::new(self);
        state.is_shut_down = true;
        if drops { state.clear() } else { S::default() }
    }

    /// Does its work inside.
    #[inline]
    fn within<R>(&self, work: impl FnOnce(&mut State<S>) -> R) -> R {
        let mut state = Entered::new(self);
        let outcome = work(&mut state);
        state.leave();
        outcome
    }

    #[cold]
    fn wait_for_room<R>(&self, deadline: Deadline, attempt: impl FnMut(&mut State<S>) -> Option<R>) -> Option<R> {
        self.wait(Lines::putters, deadline, || self.len() < self.capacity(), attempt)
    }

    #[cold]
    fn wait_for_items<R>(&self, deadline: Deadline, attempt: impl FnMut(&mut State<S>) -> Option<R>) -> Option<R> {
        self.wait(Lines::getters, deadline, || self.len() > 0, attempt)
    }

    /// Does `attempt` as soon as it can be done, which `is_hopeful` guesses from outside; `None` if that is not
    /// before `deadline`. The first attempt was in vain.
    fn wait<R>(
        &self,
        side: Side,
        deadline: Deadline,
        is_hopeful: impl Fn() -> bool,
        mut attempt: impl FnMut(&mut State<S>) -> Option<R>,
    ) -> Option<R> {
        let mut spin = Spin::then_yield(YIELDS);
        while spin.again() && !has_passed(deadline) {
            if is_hopeful() {
                let outcome = attempt(&mut Entered::new(self));
                if outcome.is_some() {
                    return outcome;
                }
            }
        }
        wait_in_line(self, side, deadline, |state, _| attempt(state))
    }
}

/// A value that is no longer with the putter is in the queue.
#[inline]
fn put_outcome<T>(outcome: Option<()>, value: Option<T>) -> Result<(), PutError<T>> {
    match (value, outcome) {
        (None, _) => Ok(()),
        (Some(value), Some(())) => Err(PutError::ShutDown(value)),
        (Some(value), None) => Err(PutError::Full(value)),
    }
}
