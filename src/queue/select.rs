//! Waiting for several queues at once.
//!
//! # Algorithm
//!
//! An observer lines up with the getters of each queue, all places with the same parker, and looks at each queue in turn
//! before it sleeps and whenever it wakes. It takes nothing, so it keeps nobody from anything: when it leaves a line in
//! which it had been called, the queue [settles](super::waiting) and calls the next getter for the same item. While it
//! stays, whatever comes to a queue calls it in its turn, and after it found nothing it stands where it stood.

use super::waiting::Observe;
use crate::primitive::{Parker, Place, current, has_passed};
use crate::sys::clock::Deadline;
use std::time::Duration;

/// A queue that [`select`] can wait for: every queue of this module.
pub trait Selectable: Core {}

impl<Q: Core> Selectable for Q {}

/// Keeps [`Selectable`] to this module.
pub trait Core {
    #[doc(hidden)]
    fn observed(&self) -> Observed<'_>;
}

/// What [`select`] sees of a queue.
#[expect(missing_debug_implementations, reason = "nobody outside gets one")]
pub struct Observed<'a>(pub(super) &'a dyn Observe);

/// Waits until something can be got from one of `queues`, and answers which: the first of them in the order given that
/// has an item or is shut down. `None` if none has within `timeout`, or if there are no queues.
///
/// `timeout` is a [`Duration`], or `None` to wait for as long as it takes; with [`Duration::ZERO`] this only looks.
///
/// The item is still in the queue: get it by `try_get`, and select again if another thread was quicker. A queue that is
/// shut down is always ready, as a get from it need not wait: leave it out once it says so. Since the first comes first,
/// the order is a priority; for equal treatment rotate the slice between calls (`queues.rotate_left(1)`).
///
/// ```
/// use crewkit::queue::{GetError, PriorityQueue, Queue, Shutdown, select};
///
/// let (urgent, usual) = (PriorityQueue::unbounded(), Queue::unbounded());
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         usual.put_many(["sweep", "dust"]).unwrap();
///         urgent.put((1, "extinguish")).unwrap();
///         usual.shutdown(Shutdown::Drain);
///     });
///     let mut done = Vec::new();
///     loop {
///         let job = match select(&[&urgent, &usual], None) {
///             Some(0) => urgent.try_get().map(|(_, job)| job),
///             _ => usual.try_get(),
///         };
///         match job {
///             Ok(job) => done.push(job),
///             Err(GetError::Empty) => {} // another thread was quicker
///             Err(GetError::ShutDown) => break,
///         }
///     }
///     done.sort();
///     assert_eq!(done, ["dust", "extinguish", "sweep"]);
/// });
/// ```
///
/// # Blocking
///
/// While no queue is ready, at most for `timeout`.
pub fn select(queues: &[&dyn Selectable], timeout: impl Into<Option<Duration>>) -> Option<usize> {
    let timeout = timeout.into();
    let first = queues.iter().position(|queue| queue.observed().0.is_ready());
    if first.is_some() || queues.is_empty() || timeout == Some(Duration::ZERO) {
        return first;
    }
    let deadline = timeout.map_or(Deadline::NEVER, Deadline::after);
    let parker = current();
    let mut observer = Observer { places: Vec::with_capacity(queues.len()) };
    for queue in queues {
        let observed = queue.observed().0;
        observer.places.push((observed, Some(observed.enlist(parker.clone()))));
    }
    let mut is_over = false;
    loop {
        let first = observer.look(&parker);
        if first.is_some() || is_over {
            return first;
        }
        parker.park(deadline);
        is_over = has_passed(deadline);
    }
}

/// Places in several lines, given up on every way out.
struct Observer<'a> {
    places: Vec<(&'a dyn Observe, Option<Place>)>,
}

impl Observer<'_> {
    fn look(&self, parker: &Parker) -> Option<usize> {
        let is_ready = |(queue, place): &(&dyn Observe, Option<Place>)| match place {
            Some(place) => queue.look(place, parker),
            None => unreachable!("places are only given up in drop"),
        };
        self.places.iter().position(is_ready)
    }
}

impl Drop for Observer<'_> {
    fn drop(&mut self) {
        for (queue, place) in &mut self.places {
            if let Some(place) = place.take() {
                queue.leave(place);
            }
        }
    }
}
