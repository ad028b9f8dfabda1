//! The one permit of a lock, with `deadlock-detection`: [`Permits`] that tell [`deadlock`] who has them,
//! and who waits. `unwatched.rs` is the same without the feature.

use super::deadlock::{self, GRAPH, Holder, Wait};
use super::permits::{Permits, TooMany};
use crate::primitive::{Calls, Identity};
use crate::sys::clock::Deadline;
use std::fmt::DebugStruct;
use std::ops::Deref;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A permit, and the number of its lock. `repr(C)` in here and in the locks: they begin with the permit, so that its
/// address is theirs.
#[repr(C)]
pub(super) struct Watched {
    permit: Permits,
    /// Zero until it is first needed: a constructor in a constant cannot draw one.
    number: AtomicU64,
}

/// Where in the user's code a lock is acquired.
#[derive(Clone, Copy)]
pub struct Place(&'static Location<'static>);

impl Place {
    #[track_caller]
    pub(super) fn here() -> Self {
        Self(Location::caller())
    }

    /// [`Watched::acquire_only`], said to be from here.
    pub(super) fn acquire(self, lock: &Watched) {
        lock.acquire_until(Deadline::NEVER, self);
    }
}

/// Adds the holder, if there is one, to what a lock's `Debug` shows.
pub(super) fn show_holder(lock: &Watched, text: &mut DebugStruct<'_, '_>) {
    let holder = GRAPH.lock().holder(lock.number());
    if let Some(holder) = holder {
        text.field("holder", &format_args!("{holder}"));
    }
}

/// The calls of [`Permits`] that take or give back.
impl Watched {
    pub(super) const fn new(permits: usize, limit: usize) -> Self {
        Self { permit: Permits::new(permits, limit), number: AtomicU64::new(0) }
    }

    #[track_caller]
    pub(super) fn try_acquire(&self, need: usize) -> bool {
        self.try_acquire_from(need, Place::here())
    }

    #[track_caller]
    pub(super) fn acquire_within(&self, need: usize, timeout: Duration) -> bool {
        debug_assert_eq!(need, 1, "a lock has one permit");
        let here = Place::here();
        if timeout.is_zero() {
            return self.try_acquire_from(need, here);
        }
        self.acquire_until(Deadline::after(timeout), here)
    }

    #[track_caller]
    pub(super) fn acquire_only(&self) {
        Place::here().acquire(self);
    }

    pub(super) fn give_back(&self) {
        // Cannot fail: the permit is out.
        let _ = self.release_only();
    }

    pub(super) fn release_only(&self) -> Result<(), TooMany> {
        self.release_by(Permits::begin_release)
    }

    pub(super) fn release_fair(&self) -> Result<(), TooMany> {
        self.release_by(Permits::begin_release_fair)
    }

    fn release_by(&self, begin: impl FnOnce(&Permits) -> Result<Calls, TooMany>) -> Result<(), TooMany> {
        let mut graph = GRAPH.lock();
        let calls = begin(&self.permit)?;
        graph.release(self.number());
        // A parker may be anybody's, and want a lock.
        drop(graph);
        calls.ring();
        Ok(())
    }

    fn try_acquire_from(&self, need: usize, place: Place) -> bool {
        let mut graph = GRAPH.lock();
        let has_taken = self.permit.try_acquire(need);
        if has_taken {
            graph.take(self.number(), Holder::me(place.0));
        }
        has_taken
    }

    fn acquire_until(&self, deadline: Deadline, place: Place) -> bool {
        if self.try_acquire_from(1, place) {
            return true;
        }
        let mut waiting = Waiting::begin(self, deadline, place);
        waiting.has_taken = self.permit.acquire_slow(1, deadline);
        waiting.has_taken
    }

    fn number(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: the number says nothing about anything else.
        match self.number.load(Ordering::Relaxed) {
            0 => {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let drawn = self.number.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
                drawn.map_or_else(|others| others, |_| number)
            }
            number => number,
        }
    }
}

/// The calls that only look.
impl Deref for Watched {
    type Target = Permits;

    fn deref(&self) -> &Permits {
        &self.permit
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let number = *self.number.get_mut();
        if number != 0 {
            GRAPH.lock().forget(number);
        }
    }
}

/// A wait that the graph shows until this is dropped, also by an unwinding.
struct Waiting {
    place: Place,
    is_shown: bool,
    has_taken: bool,
}

impl Waiting {
    /// Shows the wait, and reports the circle that it closes.
    fn begin(lock: &Watched, deadline: Deadline, place: Place) -> Self {
        let me = Identity::current();
        let wait = Wait::mine(lock.number(), ptr::from_ref(lock).addr(), place.0, deadline);
        let mut graph = GRAPH.lock();
        let waiting = Self { place, is_shown: graph.begin(me, wait), has_taken: false };
        let report = waiting.is_shown.then(|| graph.cycle(me)).flatten();
        drop(graph);
        report.iter().for_each(deadlock::tell);
        waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_shown {
            GRAPH.lock().end(Holder::me(self.place.0), self.has_taken);
        }
    }
}
