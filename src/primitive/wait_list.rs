//! Who waits, in the order of arrival: plain data that its owner keeps inside a mutex.
//!
//! ```text
//!   oldest                         youngest
//!   +------+    +------+    +------+             +------+   +------+
//!   | w, 4 |<-->| w, 7 |<-->| w, 9 |             | c, 5 |   | free |--> next free slot
//!   +------+    +------+    +------+             +------+   +------+
//!   w: waiting, in line, with its ticket         c: called, out of the line, still owned by its waiter
//! ```
//!
//! A waiter [`enlist`]s and gets a [`Place`], which it must give back with [`leave`], whatever happened. In between
//! somebody may call it, which takes it out of the line and yields its parker, to be rung **after** the mutex is left.
//! A called waiter that comes too late (another was quicker) may [`go_back`] to where its ticket belongs. Where waiters
//! never do, they are [dismissed](WaitList::dismiss_front) instead: their slots are free at once, and their places void.
//!
//! Invariants, each held whenever the mutex is free:
//!
//! 1. a slot is in line exactly if its state is waiting, and tickets grow along the line;
//! 2. a waiting slot has its parker; a called slot's parker was given to the caller;
//! 3. each slot that is not free has exactly one `Place`, the only one with its ticket, so no slot is freed twice or used
//!    after it was freed.
//!
//! Every operation takes constant time but [`go_back`], which passes those waiters that are older. Slots are reused, so
//! that a list allocates only when it becomes longer than ever before, and not at all before its first waiter.
//!
//! [`enlist`]: WaitList::enlist
//! [`go_back`]: WaitList::go_back
//! [`leave`]: WaitList::leave

use super::{Calls, Dismissed, Parker};
use std::num::NonZeroU32;
use std::ops;

/// The line of waiters; `N` is what each of them wants.
#[derive(Debug)]
pub(crate) struct WaitList<N = ()>(Option<Box<Line<N>>>);

#[derive(Debug)]
struct Line<N> {
    slots: Slots<N>,
    head: Link,
    tail: Link,
    free: Link,
    next_ticket: u64,
}

#[derive(Debug)]
struct Slots<N>(Vec<Slot<N>>);

impl<N> Slots<N> {
    #[expect(clippy::expect_used, reason = "so many threads do not fit into memory")]
    fn push(&mut self, slot: Slot<N>) -> Index {
        self.0.push(slot);
        let count = u32::try_from(self.0.len()).ok().and_then(NonZeroU32::new);
        Index(count.expect("fewer than 2^32 wait"))
    }
}

impl<N> ops::Index<Index> for Slots<N> {
    type Output = Slot<N>;

    #[inline]
    fn index(&self, Index(number): Index) -> &Slot<N> {
        &self.0[number.get() as usize - 1]
    }
}

impl<N> ops::IndexMut<Index> for Slots<N> {
    #[inline]
    fn index_mut(&mut self, Index(number): Index) -> &mut Slot<N> {
        &mut self.0[number.get() as usize - 1]
    }
}

/// A waiter's right to its slot: not `Clone`, and given up in [`WaitList::leave`].
#[derive(Debug)]
#[must_use = "a place that is not left stays in line for ever"]
pub(crate) struct Place {
    index: Index,
    ticket: u64,
}

type Link = Option<Index>;

/// A slot's index and one: a link takes four bytes, so that a list of one waiter lies in two cache lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Index(NonZeroU32);

#[derive(Debug)]
struct Slot<N> {
    state: State<N>,
    ticket: u64,
    previous: Link,
    next: Link,
}

#[derive(Debug)]
enum State<N> {
    Free,
    Waiting(Parker, N),
    Called(N),
}

impl<N> WaitList<N> {
    /// An empty line, without memory of its own yet.
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Whether nobody is in line.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|line| line.head.is_none())
    }

    /// How many are in line: counted one by one, for people to read.
    pub(crate) fn len(&self) -> usize {
        let Some(line) = &self.0 else { return 0 };
        std::iter::successors(line.head, |&index| line.slots[index].next).count()
    }

    /// Goes to the end of the line.
    pub(crate) fn enlist(&mut self, parker: Parker, need: N) -> Place {
        let line = self.0.get_or_insert_with(|| {
            Box::new(Line { slots: Slots(Vec::new()), head: None, tail: None, free: None, next_ticket: 0 })
        });
        line.enlist(parker, need)
    }

    /// Puts a called waiter back into line, before all that came after it.
    pub(crate) fn go_back(&mut self, place: &Place, parker: Parker) {
        self.line_mut().go_back(place, parker);
    }

    /// What the first in line wants.
    pub(crate) fn front_mut(&mut self) -> Option<&mut N> {
        let line = self.0.as_mut()?;
        let index = line.head?;
        Some(line.need_mut(index))
    }

    /// Calls the first in line, if there is one, out of it, and adds its parker to `calls`.
    pub(crate) fn call_front(&mut self, calls: &mut Calls) -> bool {
        self.0.as_mut().is_some_and(|line| line.call_front(calls))
    }

    /// Takes the first out of line for good, if there is one. The place is void, and stays with the waiter.
    pub(crate) fn dismiss_front(&mut self, dismissed: &mut Dismissed) -> bool {
        self.0.as_mut().is_some_and(|line| line.dismiss_front(dismissed))
    }

    /// Gives a place up that may be void; whether it was in line.
    pub(crate) fn withdraw(&mut self, place: Place) -> bool {
        let line = self.line_mut();
        line.is_of(&place) && !line.leave(place).was_called
    }

    /// Whether the owner of `place` was called.
    pub(crate) fn is_called(&mut self, place: &Place) -> bool {
        matches!(self.line_mut().slots[place.index].state, State::Called(_))
    }

    /// What the owner of `place` wants, called or not.
    pub(crate) fn need_mut(&mut self, place: &Place) -> &mut N {
        self.line_mut().need_mut(place.index)
    }

    /// Gives the place up, from wherever it is, and answers what was wanted there.
    pub(crate) fn leave(&mut self, place: Place) -> Left<N> {
        self.line_mut().leave(place)
    }

    fn line_mut(&mut self) -> &mut Line<N> {
        match &mut self.0 {
            Some(line) => line,
            None => unreachable!("a place is only given out by a list that has its line"),
        }
    }
}

impl<N> Line<N> {
    fn enlist(&mut self, parker: Parker, need: N) -> Place {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let slot = Slot { state: State::Waiting(parker, need), ticket, previous: None, next: None };
        let index = match self.free {
            Some(index) => {
                self.free = self.slots[index].next;
                self.slots[index] = slot;
                index
            }
            None => self.slots.push(slot),
        };
        self.link_after(self.tail, index);
        Place { index, ticket }
    }

    fn go_back(&mut self, place: &Place, parker: Parker) {
        let Place { index, ticket } = *place;
        let mut before = None;
        let mut after = self.head;
        while let Some(older) = after.filter(|&after| self.slots[after].ticket < ticket) {
            before = Some(older);
            after = self.slots[older].next;
        }
        let slot = &mut self.slots[index];
        slot.state = match std::mem::replace(&mut slot.state, State::Free) {
            State::Called(need) => State::Waiting(parker, need),
            State::Waiting(..) | State::Free => unreachable!("only a called waiter goes back"),
        };
        self.link_after(before, index);
    }

    fn need_mut(&mut self, index: Index) -> &mut N {
        match &mut self.slots[index].state {
            State::Waiting(_, need) | State::Called(need) => need,
            State::Free => unreachable!("invariant 3: a place has its slot"),
        }
    }

    fn call_front(&mut self, calls: &mut Calls) -> bool {
        let Some(index) = self.head else { return false };
        self.unlink(index);
        let slot = &mut self.slots[index];
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Waiting(parker, need) => {
                slot.state = State::Called(need);
                parker.call();
                calls.add(parker);
            }
            State::Called(_) | State::Free => unreachable!("invariant 1: who is in line waits"),
        }
        true
    }

    fn dismiss_front(&mut self, dismissed: &mut Dismissed) -> bool {
        let Some(index) = self.head else { return false };
        self.unlink(index);
        match self.free(index) {
            State::Waiting(parker, _) => dismissed.add(parker),
            State::Called(_) | State::Free => unreachable!("invariant 1: who is in line waits"),
        }
        true
    }

    fn leave(&mut self, Place { index, .. }: Place) -> Left<N> {
        if matches!(self.slots[index].state, State::Waiting(..)) {
            self.unlink(index);
        }
        match self.free(index) {
            State::Waiting(parker, need) => Left { was_called: false, need, _parker: Some(parker) },
            State::Called(need) => Left { was_called: true, need, _parker: None },
            State::Free => unreachable!("invariant 3: a place has its slot"),
        }
    }

    /// Whether this slot is still that of the `place`, which may be void.
    fn is_of(&self, place: &Place) -> bool {
        let slot = &self.slots[place.index];
        slot.ticket == place.ticket && !matches!(slot.state, State::Free)
    }

    /// Frees a slot that is out of line.
    fn free(&mut self, index: Index) -> State<N> {
        let slot = &mut self.slots[index];
        slot.next = self.free.replace(index);
        std::mem::replace(&mut slot.state, State::Free)
    }

    fn link_after(&mut self, before: Link, index: Index) {
        let after = match before {
            Some(before) => self.slots[before].next.replace(index),
            None => self.head.replace(index),
        };
        match after {
            Some(after) => self.slots[after].previous = Some(index),
            None => self.tail = Some(index),
        }
        let slot = &mut self.slots[index];
        slot.previous = before;
        slot.next = after;
    }

    fn unlink(&mut self, index: Index) {
        let slot = &mut self.slots[index];
        let (previous, next) = (slot.previous.take(), slot.next.take());
        match previous {
            Some(previous) => self.slots[previous].next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => self.slots[next].previous = previous,
            None => self.tail = previous,
        }
    }
}

/// What was in a slot.
#[derive(Debug)]
pub(crate) struct Left<N> {
    /// Whether its waiter had been called.
    pub(crate) was_called: bool,
    /// What it wanted.
    pub(crate) need: N,
    _parker: Option<Parker>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitive::current;
    use crate::sys::clock::Deadline;

    fn line(list: &WaitList<u32>) -> Vec<u32> {
        let mut line = Vec::new();
        let Some(list) = &list.0 else { return line };
        let mut at = list.head;
        let mut previous = None;
        while let Some(index) = at {
            let slot = &list.slots[index];
            assert_eq!(slot.previous, previous);
            match &slot.state {
                State::Waiting(_, need) => line.push(*need),
                other => panic!("{other:?} in line"),
            }
            previous = at;
            at = slot.next;
        }
        assert_eq!(list.tail, previous);
        line
    }

    fn call(list: &mut WaitList<u32>) -> bool {
        let mut calls = Calls::default();
        let called = list.call_front(&mut calls);
        calls.ring();
        called
    }

    #[test]
    fn the_line_is_first_come_first_called() {
        let mut list = WaitList::new();
        let places: Vec<_> = (0..4).map(|need| list.enlist(current(), need)).collect();
        assert_eq!(line(&list), [0, 1, 2, 3]);
        assert_eq!(list.len(), 4);
        assert!(call(&mut list));
        assert_eq!(line(&list), [1, 2, 3]);
        assert_eq!(list.len(), 3);
        let left: Vec<_> = places.into_iter().map(|place| list.leave(place).was_called).collect();
        assert_eq!(left, [true, false, false, false]);
        assert!(list.is_empty());
        assert!(!call(&mut list));
    }

    #[test]
    fn leaving_the_middle_keeps_the_others_in_order() {
        let mut list = WaitList::new();
        let mut places: Vec<_> = (0..4).map(|need| list.enlist(current(), need)).collect();
        assert_eq!(list.leave(places.remove(1)).need, 1);
        assert_eq!(line(&list), [0, 2, 3]);
        assert_eq!(list.leave(places.remove(2)).need, 3);
        assert_eq!(line(&list), [0, 2]);
        places.push(list.enlist(current(), 9));
        assert_eq!(line(&list), [0, 2, 9]);
        assert_eq!(list.line_mut().slots.0.len(), 4, "the free slots are used again");
        places.into_iter().for_each(|place| drop(list.leave(place)));
        assert_eq!(line(&list), []);
    }

    #[test]
    fn a_place_is_void_when_its_waiter_was_dismissed_and_nobody_elses() {
        let (mut list, parker) = (WaitList::new(), current());
        let [first, second, third] = [(); 3].map(|()| list.enlist(parker.clone(), ()));
        let mut dismissed = Dismissed::default();
        assert!(list.dismiss_front(&mut dismissed));
        let fourth = list.enlist(parker.clone(), ());
        assert_eq!((fourth.index, list.line_mut().slots.0.len()), (first.index, 3), "the slot is used again");
        assert!(!list.withdraw(first), "and not by whom it was taken away from");
        assert!(list.withdraw(third));
        assert!(list.dismiss_front(&mut dismissed) && list.dismiss_front(&mut dismissed));
        assert!(!list.dismiss_front(&mut dismissed));
        assert!(!list.withdraw(second) && !list.withdraw(fourth));
        dismissed.call().ring();
        assert!(parker.park(Deadline::NEVER), "it was called, for all four");
    }

    #[test]
    fn who_goes_back_stands_where_its_ticket_belongs() {
        let mut list = WaitList::new();
        let places: Vec<_> = (0..3).map(|need| list.enlist(current(), need)).collect();
        assert!(call(&mut list) && call(&mut list));
        let late = list.enlist(current(), 3);
        list.go_back(&places[1], current());
        assert_eq!(line(&list), [1, 2, 3]);
        list.go_back(&places[0], current());
        assert_eq!(line(&list), [0, 1, 2, 3]);
        for place in places.into_iter().chain([late]) {
            drop(list.leave(place));
        }
    }
}
