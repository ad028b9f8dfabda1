//! The desk, where only it can be seen: places that are void, and how many.

use std::sync::mpsc::channel;

use super::*;
use crate::pool::{Task, ThreadPool};

/// A part that was closed a moment ago, before its owner has told the desk of the place that is void.
struct Closed;

impl Job for Closed {
    fn claim(&self) -> bool {
        false
    }

    fn is_waiting(&self) -> bool {
        false
    }

    fn run(&self) {
        unreachable!("nobody could claim it");
    }

    fn refuse(&self, _: TaskError) {
        unreachable!("nobody could claim it");
    }
}

#[test]
fn a_place_that_is_given_back_after_the_end_is_counted_once() {
    let pool = ThreadPool::new(1).unwrap();
    let shared = pool.shared();
    shared.submit(Arc::new(Closed), 1).unwrap();
    shared.end(TaskError::PoolClosed);
    assert!(!shared.over.is_set());
    shared.withdrawn(1).tell();
    assert!(shared.over.is_set());
    assert_eq!(pool.stats().queued, 0);
    pool.join();
}

#[test]
fn jobs_that_are_cancelled_in_any_order_do_not_pile_up() {
    let pool = ThreadPool::new(1).unwrap();
    let (go, wait) = channel::<()>();
    let held = pool.submit(move |()| wait.recv().is_err(), ());
    // The youngest one always waits.
    let mut before: Option<Task<()>> = None;
    for _ in 0..10_000 {
        let task = pool.submit(|()| (), ());
        assert!(before.replace(task).is_none_or(|task| task.cancel()));
    }
    let desk = pool.shared().desk.lock();
    assert_eq!(desk.waiting, 1 + usize::from(desk.running == 0));
    assert!(desk.queue.len() <= 2 * desk.waiting + SPARE_PLACES, "{}", desk.queue.len());
    drop(desk);
    drop(go);
    assert_eq!((held.get(), before.map(Task::get)), (Ok(true), Some(Ok(()))));
}
