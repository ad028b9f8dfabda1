//! What only the crate itself can see: that every wait here goes through the current parker, and that a wait which
//! unwinds loses nothing.

use super::{GetError, Queue, Shutdown};
use crate::primitive::foreign::{blocks_here, is_cancelled};
use std::thread;
use std::time::Duration;

#[test]
fn a_queue_waits_through_the_current_parker() {
    let queue = Queue::bounded(1);
    assert_eq!(blocks_here(|| queue.get(), || queue.put(1).unwrap()), Ok(1));
    assert_eq!(blocks_here(|| queue.get_timeout(Duration::MAX), || queue.put(2).unwrap()), Ok(2));
    queue.put(3).unwrap();
    blocks_here(|| queue.put(4), || assert_eq!(queue.get(), Ok(3))).unwrap();
    blocks_here(|| queue.join(), || (0..4).for_each(|_| queue.task_done().unwrap()));
    assert_eq!(queue.get(), Ok(4));
    assert_eq!(blocks_here(|| queue.get(), || queue.shutdown(Shutdown::Drain)), Err(GetError::ShutDown));
}

#[test]
fn a_cancelled_get_takes_nothing_and_passes_its_call_on() {
    for _ in 0..200 {
        let queue = Queue::unbounded();
        thread::scope(|scope| {
            let second = scope.spawn(|| queue.get());
            is_cancelled(|| {
                // The call for this item may reach the one that is being cancelled.
                scope.spawn(|| queue.put(1).unwrap());
                loop {
                    let _ = queue.get().map(|item| queue.put(item).unwrap());
                }
            });
            assert_eq!(second.join().unwrap(), Ok(1));
        });
        assert!(queue.is_empty());
    }
}

#[test]
fn a_cancelled_put_leaves_the_queue_as_it_was() {
    let queue = Queue::bounded(1);
    queue.put("first").unwrap();
    is_cancelled(|| queue.put("cancelled").unwrap());
    assert_eq!(queue.get(), Ok("first"));
    assert_eq!(queue.try_get(), Err(GetError::Empty));
    queue.task_done().unwrap();
    queue.join();
}
