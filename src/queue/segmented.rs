//! The core of `Queue` and `SimpleQueue`: a [list](super::list) of items, and the lines of those who wait.
//!
//! Words, steps, what must not happen and why it cannot: `README.md` beside this file.

use super::discarded::Discarded;
use super::ends::{Look, Refusal};
use super::error::{GetError, PutError};
use super::hope::Hope;
use super::list::{Getting, List, Putting};
use super::waiting::{Entered, Lines, Side, Supply, Waited, wait_in_line};
use crate::primitive::{Calls, Mutex, MutexGuard, has_passed};
use crate::sys::clock::Deadline;
use crossbeam_utils::CachePadded;
use std::vec::IntoIter;

/// A queue without its public face; `surface` lists what is expected of one.
pub(super) struct Segmented<T> {
    list: List<T>,
    waiting: CachePadded<WaitingRoom>,
}

struct WaitingRoom {
    state: Mutex<State>,
    getters: Hope,
    putters: Hope,
}

/// What to do about those who wait for what was just done, if somebody does.
type Tell<'a> = &'a dyn Fn(bool);

pub(super) struct State {
    lines: Lines,
    /// The list's limit.
    capacity: usize,
    /// Whether getters, putters, joiners are to be woken, as the ends of the list know it.
    wakes: [bool; 3],
    /// How many items had been put when nothing was unfinished, the last time that this was noted.
    all_done_at: usize,
    /// Whether joiners are still to be told.
    is_news: bool,
}

impl State {
    /// Nothing was unfinished when `puts` items had been put: joiners are told on the way out.
    fn note_all_done(&mut self, puts: usize) {
        self.all_done_at = self.all_done_at.max(puts);
        self.is_news = true;
    }
}

impl AsMut<Lines> for State {
    fn as_mut(&mut self) -> &mut Lines {
        &mut self.lines
    }
}

impl<T> Waited for Segmented<T> {
    type State = State;
    type Guard<'a>
        = MutexGuard<'a, State>
    where
        Self: 'a;

    fn lock(&self) -> MutexGuard<'_, State> {
        self.waiting.state.lock()
    }

    /// Whoever comes in has something to tell.
    fn is_settled(&self, _state: &mut State) -> bool {
        false
    }

    /// Announces who waits before it looks what there is, so that whoever adds to that from then on comes in here.
    fn settle(&self, state: &mut State, calls: &mut Calls) {
        self.announce(state);
        let all_done = std::mem::take(&mut state.is_news);
        let [getters, putters, _] = state.wakes;
        if getters || putters || all_done {
            let (items, is_shut_down) = self.list.about();
            let room = state.capacity.saturating_sub(items);
            state.lines.call(&Supply { items, room, all_done, is_shut_down }, calls);
            self.announce(state);
        }
    }

    fn is_ready(&self, _state: &mut State) -> bool {
        let (items, is_shut_down) = self.list.about();
        items > 0 || is_shut_down
    }
}

/// What is so at one moment.
impl<T> Segmented<T> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.list.limit()
    }

    pub(super) fn is_full(&self) -> bool {
        self.list.is_full()
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.list.is_ended()
    }

    pub(super) fn unfinished(&self) -> usize {
        self.list.unfinished().0
    }

    /// How many threads wait to get, to put and to join.
    pub(super) fn waiters(&self) -> [usize; 3] {
        self.lock().lines.lengths()
    }
}

impl<T> Segmented<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State { lines: Lines::new(), capacity, wakes: [false; 3], all_done_at: 0, is_news: false };
        let waiting = WaitingRoom { state: Mutex::new(state), getters: Hope::new(), putters: Hope::new() };
        Self { list: List::new(capacity), waiting: CachePadded::new(waiting) }
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        let mut state = Entered::new(self);
        state.capacity = capacity;
        self.list.set_limit(capacity);
    }

    /// Tells the ends of the list who waits.
    fn announce(&self, state: &mut State) {
        let wakes = state.lines.to_be_told();
        let [getters, putters, joiners] = wakes;
        if getters != state.wakes[0] {
            self.list.set_wakes_getters(getters);
        }
        if putters != state.wakes[1] {
            self.list.set_wakes_putters(putters);
        }
        if joiners != state.wakes[2] {
            self.list.set_wakes_joiners(joiners);
        }
        state.wakes = wakes;
    }

    /// Wakes who waits for what was just done.
    #[inline]
    fn tell(&self, wakes: bool) {
        if wakes {
            self.settle_now();
        }
    }

    #[cold]
    fn settle_now(&self) {
        drop(Entered::new(self));
    }

    #[inline]
    pub(super) fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        self.list.put_plainly(value).or_else(|(end, value)| self.try_put_at(end, value))
    }

    #[cold]
    #[inline(never)]
    fn try_put_at<'a>(&'a self, end: Putting<'a, T>, value: T) -> Result<(), PutError<T>> {
        match self.list.put_at(end, value, Look::Exactly) {
            Ok(wakes) => {
                self.tell(wakes);
                Ok(())
            }
            Err((Refusal::NotNow, value)) => Err(PutError::Full(value)),
            Err((Refusal::Ended, value)) => Err(PutError::ShutDown(value)),
        }
    }

    #[inline]
    pub(super) fn put(&self, value: T, deadline: Deadline) -> Result<(), PutError<T>> {
        self.list.put_plainly(value).or_else(|(end, value)| self.put_at(end, value, deadline))
    }

    #[cold]
    #[inline(never)]
    fn put_at<'a>(&'a self, end: Putting<'a, T>, value: T, deadline: Deadline) -> Result<(), PutError<T>> {
        match self.list.put_at(end, value, Look::Lightly) {
            Ok(wakes) => {
                self.tell(wakes);
                Ok(())
            }
            Err((Refusal::NotNow, value)) => self.wait_to_put(value, deadline),
            Err((Refusal::Ended, value)) => Err(PutError::ShutDown(value)),
        }
    }

    #[cold]
    fn wait_to_put(&self, value: T, deadline: Deadline) -> Result<(), PutError<T>> {
        let mut value = Some(value);
        let attempt = |tell: Tell<'_>| match self.list.put(value.take()?, Look::Exactly) {
            Ok(wakes) => {
                tell(wakes);
                Some(Ok(()))
            }
            Err((Refusal::NotNow, back)) => {
                value = Some(back);
                None
            }
            Err((Refusal::Ended, back)) => Some(Err(PutError::ShutDown(back))),
        };
        let outcome = self.wait(Lines::putters, &self.waiting.putters, deadline, attempt);
        match (outcome, value) {
            (Some(outcome), _) => outcome,
            (None, Some(value)) => Err(PutError::Full(value)),
            (None, None) => unreachable!("a put that is refused hands the value back"),
        }
    }

    pub(super) fn try_put_many(&self, values: Vec<T>) -> Result<(), PutError<Vec<T>>> {
        let mut items = values.into_iter();
        let outcome = self.put_all(&mut items, &|wakes| self.tell(wakes));
        put_many_outcome(outcome, items)
    }

    pub(super) fn put_many(&self, values: Vec<T>, deadline: Deadline) -> Result<(), PutError<Vec<T>>> {
        let mut items = values.into_iter();
        let outcome = self.put_all(&mut items, &|wakes| self.tell(wakes)).or_else(|| {
            let attempt = |tell: Tell<'_>| self.put_all(&mut items, tell);
            self.wait(Lines::putters, &self.waiting.putters, deadline, attempt)
        });
        put_many_outcome(outcome, items)
    }

    /// Puts all items in that have room; `None` if that were not all, and room may come.
    fn put_all(&self, items: &mut IntoIter<T>, tell: Tell<'_>) -> Option<()> {
        while items.len() > 0 {
            match self.list.put_many(items) {
                Ok(wakes) => tell(wakes),
                Err(Refusal::NotNow) => return None,
                Err(Refusal::Ended) => break,
            }
        }
        Some(())
    }

    #[inline]
    pub(super) fn try_get(&self) -> Result<T, GetError> {
        self.list.get_plainly().or_else(|end| self.try_get_at(end))
    }

    #[cold]
    #[inline(never)]
    fn try_get_at<'a>(&'a self, end: Getting<'a, T>) -> Result<T, GetError> {
        let (item, wakes) = self.list.get_at(end, Look::Exactly)?;
        self.tell(wakes);
        Ok(item)
    }

    #[inline]
    pub(super) fn get(&self, deadline: Deadline) -> Result<T, GetError> {
        self.list.get_plainly().or_else(|end| self.get_at(end, deadline))
    }

    #[cold]
    #[inline(never)]
    fn get_at<'a>(&'a self, end: Getting<'a, T>, deadline: Deadline) -> Result<T, GetError> {
        match self.list.get_at(end, Look::Lightly) {
            Ok((item, wakes)) => {
                self.tell(wakes);
                Ok(item)
            }
            Err(Refusal::NotNow) => self.wait_to_get(deadline),
            Err(Refusal::Ended) => Err(GetError::ShutDown),
        }
    }

    #[cold]
    fn wait_to_get(&self, deadline: Deadline) -> Result<T, GetError> {
        let attempt = |tell: Tell<'_>| match self.list.get(Look::Exactly) {
            Ok((item, wakes)) => {
                tell(wakes);
                Some(Ok(item))
            }
            Err(Refusal::NotNow) => None,
            Err(Refusal::Ended) => Some(Err(GetError::ShutDown)),
        };
        let outcome = self.wait(Lines::getters, &self.waiting.getters, deadline, attempt);
        outcome.unwrap_or(Err(GetError::Empty))
    }

    pub(super) fn try_get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        let mut got = Vec::new();
        let outcome = self.get_all(max, &mut got, &|wakes| self.tell(wakes));
        outcome.unwrap_or(Err(GetError::Empty)).map(|()| got)
    }

    pub(super) fn get_many(&self, max: usize, deadline: Deadline) -> Result<Vec<T>, GetError> {
        let mut got = Vec::new();
        let outcome = self.get_all(max, &mut got, &|wakes| self.tell(wakes)).or_else(|| {
            let attempt = |tell: Tell<'_>| self.get_all(max, &mut got, tell);
            self.wait(Lines::getters, &self.waiting.getters, deadline, attempt)
        });
        outcome.unwrap_or(Err(GetError::Empty)).map(|()| got)
    }

    /// Takes items out until there are `max` in `got`, or as many as are there now, or none is left; `None` if there is
    /// none yet.
    fn get_all(&self, max: usize, got: &mut Vec<T>, tell: Tell<'_>) -> Option<Result<(), GetError>> {
        // Else it would go on for as long as putters keep up.
        let max = max.min(self.list.about().0.max(1));
        while got.len() < max {
            match self.list.get_many(max - got.len(), got) {
                Ok(wakes) => tell(wakes),
                Err(_) if !got.is_empty() => break,
                Err(Refusal::NotNow) => return None,
                Err(Refusal::Ended) => return Some(Err(GetError::ShutDown)),
            }
        }
        Some(Ok(()))
    }

    /// Counts one task done, if one is unfinished.
    #[inline]
    pub(super) fn task_done(&self) -> Option<()> {
        if self.list.task_done_plainly() { Some(()) } else { self.last_task_done() }
    }

    #[cold]
    #[inline(never)]
    fn last_task_done(&self) -> Option<()> {
        if let Some(puts) = self.list.last_task_done()? {
            self.tell_joiners(puts);
        }
        Some(())
    }

    fn tell_joiners(&self, puts: usize) {
        Entered::new(self).note_all_done(puts);
    }

    /// More may be put before a joiner looks, or is told: it goes if all was done at a count of puts that is not less than
    /// that at its first look, at which not all was done.
    pub(super) fn join(&self, deadline: Deadline) -> bool {
        let mut puts_before = None;
        let is_done = |state: &mut State, _| {
            // Before the first look, so that whoever finishes the last task after it tells. That holds until this leaves.
            self.announce(state);
            let (unfinished, puts) = self.list.unfinished();
            let puts_before = *puts_before.get_or_insert(puts);
            (unfinished == 0 || state.all_done_at >= puts_before).then_some(())
        };
        wait_in_line(self, Lines::joiners, deadline, is_done).is_some()
    }

    /// Hands out what is in the queue, to be dropped, and counts it done.
    pub(super) fn clear(&self) -> Discarded<T> {
        self.clear_and(false)
    }

    /// Takes no more items in; hands out those that are to be dropped, which count as done.
    pub(super) fn shut_down(&self, drops: bool) -> Option<Discarded<T>> {
        if drops {
            return Some(self.clear_and(true));
        }
        let _state = Entered::new(self);
        self.list.end();
        None
    }

    fn clear_and(&self, ends: bool) -> Discarded<T> {
        let mut state = Entered::new(self);
        let (discarded, all_done_at) = self.list.clear(ends);
        if let Some(puts) = all_done_at {
            state.note_all_done(puts);
        }
        discarded
    }

    /// Does `attempt` as soon as it can be done, which is when it answers something; `None` if that is not before
    /// `deadline`. It was tried once, in vain.
    #[cold]
    fn wait<R>(
        &self,
        side: Side,
        hope: &Hope,
        deadline: Deadline,
        mut attempt: impl FnMut(Tell<'_>) -> Option<R>,
    ) -> Option<R> {
        let mut spin = hope.spin();
        let mut after_pauses = true;
        while spin.again() {
            let outcome = attempt(&|wakes| self.tell(wakes));
            if outcome.is_some() {
                hope.came_true(after_pauses, true);
                return outcome;
            }
            if has_passed(deadline) {
                break;
            }
            after_pauses = false;
        }
        hope.came_true(false, false);
        // Whoever is to be woken is, on every way out of the mutex.
        wait_in_line(self, side, deadline, |_, _| attempt(&|_| ()))
    }
}

impl From<Refusal> for GetError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotNow => Self::Empty,
            Refusal::Ended => Self::ShutDown,
        }
    }
}

/// What was not put is still among the items.
fn put_many_outcome<T>(outcome: Option<()>, items: IntoIter<T>) -> Result<(), PutError<Vec<T>>> {
    match outcome {
        Some(()) if items.len() == 0 => Ok(()),
        Some(()) => Err(PutError::ShutDown(items.collect())),
        None => Err(PutError::Full(items.collect())),
    }
}

#[cfg(all(test, not(crewkit_loom)))]
mod tests;
