//! One wait in line, from lining up to leaving, whichever way it ends.
//!
//! ```text
//!   let mut waiting = Waiting::new(self);           // before the guard: in an unwinding the mutex is left first
//!   let mut state = self.state.lock();
//!   … look; if there is nothing to wait for, return …
//!   waiting.enlist(&mut state, need);
//!   let (mut state, was_called) = waiting.sleep(state, deadline);
//!   … look again; perhaps `go_back` and `sleep` once more …
//!   let left = waiting.leave(&mut state);
//! ```
//!
//! A parker may unwind (a cancelled green task). Then the place is given up in `drop`, and what depends on the line is
//! put right by the owner's [`Lined::forsake`], so that a call which the waiter was given is not lost.

use super::platform::{Mutex, MutexGuard, has_passed};
use super::wait_list::{Left, Place, WaitList};
use super::{Park, current};
use crate::sys::clock::Deadline;
use std::sync::Arc;

/// Somebody who keeps waiters in a line, inside a mutex.
pub(crate) trait Lined {
    /// What the mutex guards.
    type State;
    /// What a waiter wants.
    type Need;

    /// The mutex around the line.
    fn mutex(&self) -> &Mutex<Self::State>;

    /// The line itself.
    fn line(state: &mut Self::State) -> &mut WaitList<Self::Need>;

    /// A waiter unwound; it has left the line, and takes nothing with it: a call that it was given goes to the next.
    fn forsake(&self, state: MutexGuard<'_, Self::State>, left: Left<Self::Need>);
}

/// A waiter and its place in line.
pub(crate) struct Waiting<'a, O: Lined> {
    owner: &'a O,
    parker: Arc<dyn Park>,
    place: Option<Place>,
}

impl<'a, O: Lined> Waiting<'a, O> {
    /// A waiter that is not in line yet.
    pub(crate) fn new(owner: &'a O) -> Self {
        Self { owner, parker: current(), place: None }
    }

    /// Goes to the end of the line.
    pub(crate) fn enlist(&mut self, state: &mut O::State, need: O::Need) {
        debug_assert!(self.place.is_none(), "a waiter has one place");
        self.place = Some(O::line(state).enlist(Arc::clone(&self.parker), need));
    }

    /// Leaves the mutex and [`park`](Self::park)s.
    pub(crate) fn sleep(
        &self,
        state: MutexGuard<'a, O::State>,
        deadline: Deadline,
    ) -> (MutexGuard<'a, O::State>, bool) {
        drop(state);
        self.park(deadline)
    }

    /// Sleeps until this waiter is called (true) or `deadline` has passed (false), whatever wakes it in between.
    pub(crate) fn park(&self, deadline: Deadline) -> (MutexGuard<'a, O::State>, bool) {
        loop {
            self.parker.park(deadline);
            let mut state = self.owner.mutex().lock();
            let was_called = O::line(&mut state).is_called(self.place());
            if was_called || has_passed(deadline) {
                return (state, was_called);
            }
        }
    }

    /// What this waiter wants.
    pub(crate) fn need_mut<'s>(&self, state: &'s mut O::State) -> &'s mut O::Need {
        O::line(state).need_mut(self.place())
    }

    /// Takes its old place in line again, after it was called and came too late.
    pub(crate) fn go_back(&self, state: &mut O::State) {
        O::line(state).go_back(self.place(), Arc::clone(&self.parker));
    }

    /// Gives its place up.
    pub(crate) fn leave(&mut self, state: &mut O::State) -> Left<O::Need> {
        match self.place.take() {
            Some(place) => O::line(state).leave(place),
            None => unreachable!("left twice, or never enlisted"),
        }
    }

    fn place(&self) -> &Place {
        match &self.place {
            Some(place) => place,
            None => unreachable!("not in line"),
        }
    }
}

impl<O: Lined> Drop for Waiting<'_, O> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            let mut state = self.owner.mutex().lock();
            let left = O::line(&mut state).leave(place);
            self.owner.forsake(state, left);
        }
    }
}
