//! One wait in line, from lining up to leaving, whichever way it ends.
//!
//! ```text
//!   let mut waiting = Waiting::new(self);           // before the guard: in an unwinding the mutex is left first
//!   let mut state = self.state.lock();
//!   … look; if there is nothing to wait for, return …
//!   waiting.enlist(&mut state, need);
//!   drop(state);
//!   let (mut state, was_called) = waiting.park(deadline);
//!   … look again; perhaps `go_back` and `park` once more …
//!   let left = waiting.leave(&mut state);
//! ```
//!
//! Where a waiter that is called never has to go back, as the call was all that it waited for, it [`Stand`]s in line instead:
//! whoever calls takes its place away, and it need not come back for that, nor to learn that it was called.
//!
//! A parker may unwind (a cancelled green task). Then the place is given up in `drop`, and what depends on the line is
//! put right by the owner's [`Lined::forsake`], so that a call which the waiter was given is not lost.

use super::platform::has_passed;
use super::wait_list::{Left, Place, WaitList};
use super::{Latch, LatchGuard, Parker, current};
use crate::sys::clock::Deadline;

/// Somebody who keeps waiters in a line, inside a mutex.
pub(crate) trait Lined {
    /// What the mutex guards.
    type State;
    /// What a waiter wants.
    type Need;

    /// The mutex around the line.
    fn mutex(&self) -> &Latch<Self::State>;

    /// The line itself.
    fn line(state: &mut Self::State) -> &mut WaitList<Self::Need>;

    /// A waiter unwound; it has left the line, and takes nothing with it: a call that it was given goes to the next.
    fn forsake(&self, state: LatchGuard<'_, Self::State>, left: Left<Self::Need>);
}

/// A waiter and its place in line.
pub(crate) struct Waiting<'a, O: Lined> {
    owner: &'a O,
    parker: Parker,
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
        self.place = Some(O::line(state).enlist(self.parker.clone(), need));
    }

    /// Sleeps until this waiter is called (true) or `deadline` has passed (false), whatever wakes it in between.
    pub(crate) fn park(&self, deadline: Deadline) -> (LatchGuard<'a, O::State>, bool) {
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
        O::line(state).go_back(self.place(), self.parker.clone());
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

/// Somebody who keeps waiters in a line, inside a latch, and dismisses them.
pub(crate) trait Dismissing {
    /// What the latch guards.
    type State;

    /// The latch around the line.
    fn latch(&self) -> &Latch<Self::State>;

    /// The line itself.
    fn line(state: &mut Self::State) -> &mut WaitList;

    /// A waiter unwound, and is not in line any more. If it was called, its call goes to the next.
    fn forsake(&self, state: LatchGuard<'_, Self::State>, was_called: bool);
}

/// A waiter that is dismissed when it is called.
pub(crate) struct Stand<'a, O: Dismissing> {
    owner: &'a O,
    parker: Parker,
    place: Option<Place>,
}

impl<'a, O: Dismissing> Stand<'a, O> {
    /// A waiter that is not in line yet. To be made before the latch is taken.
    pub(crate) fn new(owner: &'a O) -> Self {
        Self { owner, parker: current(), place: None }
    }

    /// Goes to the end of the line.
    pub(crate) fn enlist(&mut self, state: &mut O::State) {
        self.place = Some(O::line(state).enlist(self.parker.clone(), ()));
    }

    /// Sleeps until this waiter is called and whoever called it has left the latch, or `deadline` has passed: then it has
    /// left the line, and answers the latch.
    pub(crate) fn until_called(mut self, deadline: Deadline) -> Option<LatchGuard<'a, O::State>> {
        let was_called = self.parker.park(deadline);
        let place = self.place.take();
        if was_called {
            self.owner.latch().pass();
            return None;
        }
        let mut state = self.owner.latch().lock();
        let place = place?;
        O::line(&mut state).withdraw(place).then_some(state)
    }
}

impl<O: Dismissing> Drop for Stand<'_, O> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            let mut state = self.owner.latch().lock();
            let was_called = !O::line(&mut state).withdraw(place);
            self.owner.forsake(state, was_called);
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
