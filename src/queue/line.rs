//! One side's waiters: plain data inside the queue's mutex.
//!
//! `coming` counts the waiters that were called and have not come yet. As many things as waiters are coming need no
//! further call, so a burst of puts wakes as many getters as it has items, and one slow waiter is not woken again
//! for every item that another thread snatches from it.

use crate::primitive::{Calls, Parker, Place, WaitList};

#[derive(Debug)]
pub(super) struct Line {
    /// In line; kept here so that the usual answer, nobody, costs no look at the list.
    waiting: usize,
    coming: usize,
    list: WaitList,
}

impl Line {
    pub(super) const fn new() -> Self {
        Self { waiting: 0, coming: 0, list: WaitList::new() }
    }

    /// How many wait, called or not.
    pub(super) fn len(&self) -> usize {
        self.waiting + self.coming
    }

    /// Whether somebody waits who was not called.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    pub(super) fn enlist(&mut self, parker: Parker) -> Place {
        self.waiting += 1;
        self.list.enlist(parker, ())
    }

    pub(super) fn is_called(&mut self, place: &Place) -> bool {
        self.list.is_called(place)
    }

    /// A called waiter that found nothing takes its old place in line again.
    pub(super) fn go_back(&mut self, place: &Place, parker: Parker) {
        self.coming -= 1;
        self.waiting += 1;
        self.list.go_back(place, parker);
    }

    pub(super) fn leave(&mut self, place: Place) {
        if self.list.leave(place).was_called {
            self.coming -= 1;
        } else {
            self.waiting -= 1;
        }
    }

    /// Calls waiters until as many are coming as there are things to come for, or nobody waits.
    #[inline]
    pub(super) fn call(&mut self, things: usize, calls: &mut Calls) {
        while self.coming < things && self.waiting > 0 {
            self.list.call_front(calls);
            self.waiting -= 1;
            self.coming += 1;
        }
    }
}
