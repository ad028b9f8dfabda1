//! The core of `Queue` and `SimpleQueue`: a [list](super::list) of items, and the lines of those who wait.
//!
//! Words, steps, what must not happen and why it cannot: `README.md` beside this file.

use super::discarded::Discarded;
use super::ends::{Look, Refusal};
use super::error::{GetError, PutError};
use super::list::List;
use super::waiting::{Entered, Lines, Side, Supply, Waited, wait_in_line};
use crate::primitive::{AtomicU32, Calls, Mutex, MutexGuard, Spin, has_passed};
use crate::sys::clock::Deadline;
use crossbeam_utils::CachePadded;
use std::sync::atomic::Ordering;
use std::vec::IntoIter;

/// How many times a putter or getter yields before it lines up; and how many times, when that was in vain lately.
const YIELDS: u32 = 16;
const YIELDS_IN_VAIN: u32 = 4;
/// How often it pauses before, at least and at most: the latter is about a microsecond.
const PAUSES: std::ops::RangeInclusive<u32> = 2..=48;

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

/// How long the next wait at an end puts off sleeping: guessed from how the last one there ended.
struct Hope {
    pauses: AtomicU32,
    yields: AtomicU32,
}

impl Hope {
    fn new() -> Self {
        Self { pauses: AtomicU32::new(*PAUSES.end()), yields: AtomicU32::new(YIELDS) }
    }

    fn spin(&self) -> Spin {
        Spin::for_a_batch(self.pauses.load(Ordering::Relaxed), self.yields.load(Ordering::Relaxed))
    }

    /// The pauses were enough, or the yields were, or neither: the other end is on another processor, on this one, or at
    /// rest.
    fn came_true(&self, after_pauses: bool, after_yields: bool) {
        let pauses = self.pauses.load(Ordering::Relaxed);
        let pauses = if after_pauses { 2 * pauses } else { pauses / 2 };
        self.pauses.store(pauses.clamp(*PAUSES.start(), *PAUSES.end()), Ordering::Relaxed);
        let yields = if after_pauses || after_yields { YIELDS } else { YIELDS_IN_VAIN };
        self.yields.store(yields, Ordering::Relaxed);
    }
}

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
        self.len() >= self.capacity()
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
            self.list.putting().wakes_getters = getters;
        }
        if wakes[1..] != state.wakes[1..] {
            let mut end = self.list.getting();
            end.wakes_putters = putters;
            end.wakes_joiners = joiners;
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
        match self.list.put(value, Look::Exactly) {
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
        match self.list.put(value, Look::Lightly) {
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
        let attempt = |wakes: &mut bool| match self.list.put(value.take()?, Look::Exactly) {
            Ok(woken) => {
                *wakes |= woken;
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
        let outcome = self.now(&mut |wakes| self.put_all(&mut items, wakes));
        put_many_outcome(outcome, items)
    }

    pub(super) fn put_many(&self, values: Vec<T>, deadline: Deadline) -> Result<(), PutError<Vec<T>>> {
        let mut items = values.into_iter();
        let attempt = |wakes: &mut bool| self.put_all(&mut items, wakes);
        let outcome = self.wait(Lines::putters, &self.waiting.putters, deadline, attempt);
        put_many_outcome(outcome, items)
    }

    /// Puts all items in that have room; `None` if that were not all, and room may come.
    fn put_all(&self, items: &mut IntoIter<T>, wakes: &mut bool) -> Option<()> {
        while items.len() > 0 {
            match self.list.put_many(items) {
                Ok(woken) => *wakes |= woken,
                Err(Refusal::NotNow) => return None,
                Err(Refusal::Ended) => break,
            }
        }
        Some(())
    }

    #[inline]
    pub(super) fn try_get(&self) -> Result<T, GetError> {
        let (item, wakes) = self.list.get(Look::Exactly)?;
        self.tell(wakes);
        Ok(item)
    }

    #[inline]
    pub(super) fn get(&self, deadline: Deadline) -> Result<T, GetError> {
        match self.list.get(Look::Lightly) {
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
        let attempt = |wakes: &mut bool| match self.list.get(Look::Exactly) {
            Ok((item, woken)) => {
                *wakes |= woken;
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
        let outcome = self.now(&mut |wakes| self.get_all(max, &mut got, wakes));
        outcome.unwrap_or(Err(GetError::Empty)).map(|()| got)
    }

    pub(super) fn get_many(&self, max: usize, deadline: Deadline) -> Result<Vec<T>, GetError> {
        let mut got = Vec::new();
        let attempt = |wakes: &mut bool| self.get_all(max, &mut got, wakes);
        let outcome = self.wait(Lines::getters, &self.waiting.getters, deadline, attempt);
        outcome.unwrap_or(Err(GetError::Empty)).map(|()| got)
    }

    /// Takes items out until there are `max` in `got`, or as many as are there now, or none is left; `None` if there is
    /// none yet.
    fn get_all(&self, max: usize, got: &mut Vec<T>, wakes: &mut bool) -> Option<Result<(), GetError>> {
        // Else it would go on for as long as putters keep up.
        let max = max.min(self.list.about().0.max(1));
        while got.len() < max {
            match self.list.get_many(max - got.len(), got) {
                Ok(woken) => *wakes |= woken,
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
        if let Some(puts) = self.list.task_done()? {
            self.tell_joiners(puts);
        }
        Some(())
    }

    #[cold]
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

    /// Does `attempt`, and wakes others if it says so.
    #[inline]
    fn now<R>(&self, attempt: &mut impl FnMut(&mut bool) -> Option<R>) -> Option<R> {
        let mut wakes = false;
        let outcome = attempt(&mut wakes);
        self.tell(wakes);
        outcome
    }

    /// Does `attempt` as soon as it can be done, which is when it answers something; `None` if that is not before
    /// `deadline`. It says whether others are to be woken.
    #[cold]
    fn wait<R>(
        &self,
        side: Side,
        hope: &Hope,
        deadline: Deadline,
        mut attempt: impl FnMut(&mut bool) -> Option<R>,
    ) -> Option<R> {
        let mut spin = hope.spin();
        let mut after_pauses = true;
        while spin.again() {
            let outcome = self.now(&mut attempt);
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
        wait_in_line(self, side, deadline, |_, _| attempt(&mut false))
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
