//! What is to be done when, and who has it: the shared words of all timers, apart from clocks and threads, so that
//! `loom-tests/tests/agenda.rs` runs these lines in every interleaving.
//!
//! **Fire or cancel.** Whoever takes an entry out of the map, under its mutex, has it: a canceller, or the server. There
//! is no third state, so what was cancelled is never done. Which of the two it was is noted and read under the same mutex,
//! so all cancellers are told the same.
//!
//! **No wake-up is lost.** The server clears `wake` before it looks at the map, and who adds an entry sets it after the
//! entry is there: either the look finds the entry, or the wait ends at once. Whether somebody serves is decided under the
//! mutex, by who adds and by the server that leaves, so there is always exactly one while the map has entries.

use crate::primitive::Mutex;
use crate::sync::Event;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Entries in the order in which they are due.
pub(super) struct Agenda<K, V> {
    state: Mutex<State<K, V>>,
    /// Set when an entry became the first.
    pub(super) wake: Event,
}

/// What the mutex of an [`Agenda`] guards.
pub(super) struct State<K, V> {
    waiting: BTreeMap<K, V>,
    is_served: bool,
}

/// What the server finds.
pub(super) enum Look<K, V> {
    /// It is due, and the server's now.
    Due(V),
    /// This is the first, and not due: the server waits for `wake`, and for no longer than until it is.
    Later(K),
    /// There is nothing.
    Nothing,
}

impl<K, V> State<K, V> {
    /// Nothing, served by nobody.
    pub(super) const fn new() -> Self {
        Self { waiting: BTreeMap::new(), is_served: false }
    }
}

impl<K: Ord + Copy, V> Agenda<K, V> {
    /// An agenda of new parts, which cannot be made in a constant everywhere.
    pub(super) const fn of(state: Mutex<State<K, V>>, wake: Event) -> Self {
        Self { state, wake }
    }

    /// Adds an entry. If nobody serves, `serve` starts somebody who does; if it fails, nothing is added.
    pub(super) fn add<E>(&self, key: K, value: V, serve: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let mut state = self.state.lock();
        if !state.is_served {
            // Under the mutex: until it is known to serve, nobody may rely on it.
            serve()?;
            state.is_served = true;
        }
        let is_first = state.waiting.first_key_value().is_none_or(|(first, _)| key < *first);
        state.waiting.insert(key, value);
        drop(state);
        if is_first {
            self.wake.set();
        }
        Ok(())
    }

    /// Takes an entry out, and notes in `cancelled` that it has been; whether it has, now or before.
    pub(super) fn cancel(&self, key: &K, cancelled: &AtomicBool) -> (Option<V>, bool) {
        let mut state = self.state.lock();
        let taken = state.waiting.remove(key);
        // Relaxed: the mutex orders it.
        let before = cancelled.fetch_or(taken.is_some(), Ordering::Relaxed);
        let is_cancelled = before || taken.is_some();
        (taken, is_cancelled)
    }

    /// The server takes the first entry, if it is due.
    pub(super) fn look(&self, is_due: impl FnOnce(&K) -> bool) -> Look<K, V> {
        self.wake.clear();
        let mut state = self.state.lock();
        let Some(first) = state.waiting.first_entry() else { return Look::Nothing };
        if is_due(first.key()) { Look::Due(first.remove()) } else { Look::Later(*first.key()) }
    }

    /// The server leaves, unless there are entries; whether it does.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.state.lock();
        state.is_served = !state.waiting.is_empty();
        !state.is_served
    }
}
