//! Who waits at a queue, and how: the part that its cores share, whatever else they are made of.
//!
//! A core has a mutex, or a latch, with three [`Lines`] under it: for an item, for room, for the last task. Whoever comes
//! [in](Entered) may change anything, and on every way out the core [settles](Waited::settle): it calls whoever can go
//! now, leaves the mutex, and only then wakes them. So no parker ever runs under the mutex, and this holds whenever it
//! is free:
//!
//! > As many getters are coming as there are items, or no getter is in line; the same for putters and free room, and for
//! > joiners when nothing is unfinished. After a shut-down nobody is in line for items or room.
//!
//! Settling is what restores it after any change, so no operation needs an argument of its own why nobody sleeps on.
//! A waiter takes what it came for itself; a newcomer may be quicker (barging), and then the waiter goes back to its
//! old place in line. A waiter whose time is over looks once more before it leaves, so a wake-up that reaches it late is
//! not lost: there is something, and it takes it, or there is nothing to come for. One that leaves without taking
//! anything, because it was cancelled or only [observes](super::select()), settles too: its call goes to the next.
//!
//! A core whose items are not under this mutex changes them without settling, so the sentence above is its own affair:
//! it must come in and settle after each change that somebody in line may wait for. That somebody is, it learns in
//! [`Waited::settle`], which every waiter passes between lining up and parking.

use super::line::Line;
use crate::primitive::{Calls, Parker, Place, current, has_passed};
use crate::sys::clock::Deadline;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

/// The lines of one queue.
#[derive(Debug)]
pub(super) struct Lines {
    getters: Line,
    putters: Line,
    joiners: Line,
}

/// One of the three: [`Lines::getters`], [`Lines::putters`] or [`Lines::joiners`].
pub(super) type Side = fn(&mut Lines) -> &mut Line;

/// What waiters can come for.
pub(super) struct Supply {
    pub(super) items: usize,
    pub(super) room: usize,
    /// Whether no task is unfinished.
    pub(super) all_done: bool,
    /// Then everybody can go who waits for items or room.
    pub(super) is_shut_down: bool,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self { getters: Line::new(), putters: Line::new(), joiners: Line::new() }
    }

    pub(super) fn getters(&mut self) -> &mut Line {
        &mut self.getters
    }

    pub(super) fn putters(&mut self) -> &mut Line {
        &mut self.putters
    }

    pub(super) fn joiners(&mut self) -> &mut Line {
        &mut self.joiners
    }

    /// Calls whoever can go now.
    #[inline]
    pub(super) fn call(&mut self, supply: &Supply, calls: &mut Calls) {
        let all_of = |things| if supply.is_shut_down { usize::MAX } else { things };
        self.getters.call(all_of(supply.items), calls);
        self.putters.call(all_of(supply.room), calls);
        if supply.all_done {
            self.joiners.call(usize::MAX, calls);
        }
    }

    /// Whether somebody is to be told of items, of room, and that all is done. Who was called for an item or for room
    /// looks what is there now. A joiner that was called may have begun to wait after the moment for which it was, and the
    /// next such moment may be over before it looks: so it is told of all of them until it leaves.
    pub(super) fn to_be_told(&self) -> [bool; 3] {
        [self.getters.is_waiting(), self.putters.is_waiting(), self.joiners.len() > 0]
    }

    /// Whether everybody in line was called.
    #[inline]
    pub(super) fn are_all_called(&self) -> bool {
        !(self.getters.is_waiting() | self.putters.is_waiting() | self.joiners.is_waiting())
    }

    /// How many threads wait to get, to put and to join, called or not.
    pub(super) fn lengths(&self) -> [usize; 3] {
        [&self.getters, &self.putters, &self.joiners].map(Line::len)
    }
}

/// A core, as those see it that wait at it.
pub(super) trait Waited {
    /// What the mutex guards.
    type State: AsMut<Lines>;
    /// Who has one is inside the mutex, or the latch that stands for it.
    type Guard<'a>: DerefMut<Target = Self::State>
    where
        Self: 'a;

    /// Called by [`Entered::new`], which settles.
    fn lock(&self) -> Self::Guard<'_>;

    /// Does what is done on every way out. If it answers that nobody is to be called, this is all.
    fn is_settled(&self, state: &mut Self::State) -> bool;

    /// Calls whoever can go now; the mutex is left next.
    fn settle(&self, state: &mut Self::State, calls: &mut Calls);

    /// Whether a getter would not have to wait: there is an item, or there will be none.
    fn is_ready(&self, state: &mut Self::State) -> bool;
}

/// The inside of a core's mutex, settled on the way out.
pub(super) struct Entered<'a, C: Waited> {
    core: &'a C,
    /// `None` when it was left.
    state: Option<C::Guard<'a>>,
}

impl<'a, C: Waited> Entered<'a, C> {
    #[inline]
    pub(super) fn new(core: &'a C) -> Self {
        Self { core, state: Some(core.lock()) }
    }

    /// The same as dropping it, in fewer instructions: what is left for `drop` is known to be nothing.
    #[inline]
    pub(super) fn leave(mut self) {
        self.settle();
        let _nothing_left = ManuallyDrop::new(self);
    }

    #[inline]
    fn settle(&mut self) {
        if let Some(mut state) = self.state.take()
            && !self.core.is_settled(&mut state)
        {
            call_and_leave(self.core, state);
        }
    }
}

impl<C: Waited> Deref for Entered<'_, C> {
    type Target = C::State;

    #[inline]
    fn deref(&self) -> &C::State {
        match &self.state {
            Some(state) => state,
            None => unreachable!("the guard is only given up at the end"),
        }
    }
}

impl<C: Waited> DerefMut for Entered<'_, C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut C::State {
        match &mut self.state {
            Some(state) => state,
            None => unreachable!("the guard is only given up at the end"),
        }
    }
}

impl<C: Waited> Drop for Entered<'_, C> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// Out of line: nothing is kept for those who are called where nobody waits.
#[cold]
fn call_and_leave<C: Waited>(core: &C, mut state: C::Guard<'_>) {
    let mut calls = Calls::default();
    core.settle(&mut state, &mut calls);
    drop(state);
    calls.ring();
}

/// Does `attempt` until it answers something; `None` if that is not before `deadline`. The attempt is told whether its
/// waiter was called.
#[cold]
pub(super) fn wait_in_line<C: Waited, R>(
    core: &C,
    side: Side,
    deadline: Deadline,
    mut attempt: impl FnMut(&mut C::State, bool) -> Option<R>,
) -> Option<R> {
    let parker = current();
    // Declared before the guard, so that in an unwinding the mutex is left first.
    let mut waiting = Waiting { core, side, place: None };
    let mut state = Entered::new(core);
    let place = waiting.place.insert(side(state.as_mut()).enlist(parker.clone()));
    let mut outcome = attempt(&mut state, false);
    let mut is_over = false;
    while outcome.is_none() && !is_over {
        drop(state);
        parker.park(deadline);
        is_over = has_passed(deadline);
        state = Entered::new(core);
        let was_called = side(state.as_mut()).is_called(place);
        if was_called || is_over {
            outcome = attempt(&mut state, was_called);
            if outcome.is_none() && was_called && !is_over {
                side(state.as_mut()).go_back(place, parker.clone());
            }
        }
    }
    waiting.leave(&mut state);
    outcome
}

/// A waiter's place in line, given up if parking or the attempt unwinds.
struct Waiting<'a, C: Waited> {
    core: &'a C,
    side: Side,
    place: Option<Place>,
}

impl<C: Waited> Waiting<'_, C> {
    fn leave(&mut self, state: &mut C::State) {
        if let Some(place) = self.place.take() {
            (self.side)(state.as_mut()).leave(place);
        }
    }
}

impl<C: Waited> Drop for Waiting<'_, C> {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.leave(&mut Entered::new(self.core));
        }
    }
}

/// A core, as one sees it who waits until there is an item without wanting one.
pub(super) trait Observe {
    fn is_ready(&self) -> bool;

    /// Lines up with the getters, to be called when there is an item.
    fn enlist(&self, parker: Parker) -> Place;

    /// Whether a getter would not have to wait; if it would, an observer that was called goes back into line.
    fn look(&self, place: &Place, parker: &Parker) -> bool;

    /// Gives the place up. If the observer was called, somebody else is called instead.
    fn leave(&self, place: Place);
}

impl<C: Waited> Observe for C {
    fn is_ready(&self) -> bool {
        Waited::is_ready(self, &mut Entered::new(self))
    }

    fn enlist(&self, parker: Parker) -> Place {
        Entered::new(self).as_mut().getters().enlist(parker)
    }

    fn look(&self, place: &Place, parker: &Parker) -> bool {
        let mut state = Entered::new(self);
        let is_ready = Waited::is_ready(self, &mut state);
        let getters = state.as_mut().getters();
        if !is_ready && getters.is_called(place) {
            getters.go_back(place, parker.clone());
        }
        is_ready
    }

    fn leave(&self, place: Place) {
        Entered::new(self).as_mut().getters().leave(place);
    }
}
