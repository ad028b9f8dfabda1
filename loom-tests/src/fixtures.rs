//! What most models begin with: threads on something shared, a short timeout, and items whose drops are counted.

use crewkit::model::{Arc, thread};
use std::fmt::Debug;
use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A timeout. In a model it may be over at any look.
pub const SOON: Duration = Duration::from_millis(1);

/// Runs `body` on what is shared, in a thread of its own.
pub fn spawn<S: Send + Sync + 'static, T: Send + 'static>(
    shared: &Arc<S>,
    body: impl FnOnce(&S) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let shared = Arc::clone(shared);
    thread::spawn(move || body(&shared))
}

/// Yields until `what` says so of itself, with threads that are on their way there: for what comes [before](crate::prepare).
pub fn until_it_says(what: &impl Debug, text: &str) {
    while !format!("{what:?}").contains(text) {
        thread::yield_now();
    }
}

/// How many of its items were dropped; std's counter, as it only counts.
#[derive(Clone, Debug, Default)]
pub struct Drops(StdArc<AtomicUsize>);

/// A number that counts its drop.
#[derive(Debug)]
pub struct Item(pub usize, Drops);

impl Drops {
    /// An item of that number.
    pub fn item(&self, number: usize) -> Item {
        Item(number, self.clone())
    }

    /// How many items were dropped.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.1.0.fetch_add(1, Ordering::Relaxed);
    }
}
