//! The queues behave as CPython 3.13's (`queue`, `test_queue.py`), and so do crewkit's additions as they say.
//!
//! What holds for every queue is written once, in `semantics`, `batches` and `ported`, and runs for each type: the
//! modules `fifo`, `lifo` and `priority` say which that is, and hold what concerns it alone.
#![cfg(not(crewkit_loom))]

#[path = "../asleep/mod.rs"]
mod asleep;

mod fifo;
mod item;
mod lifo;
mod memory;
mod priority;
mod select;
mod simple;

use crewkit::queue::{GetError, PutError};
use std::time::Duration;

/// For waits that are to time out.
const SHORT: Duration = Duration::from_millis(30);

#[test]
fn errors_hand_the_value_back_and_say_what_was_wrong() {
    struct NoDebug;
    let full = PutError::Full(NoDebug);
    let shut_down = PutError::ShutDown(NoDebug);
    assert!(full.is_full() && !full.is_shut_down() && shut_down.is_shut_down());
    assert_eq!(format!("{full:?}, {full}"), "Full(..), put into a queue that is full");
    let NoDebug = shut_down.into_inner();
    assert!(GetError::Empty.is_empty() && GetError::ShutDown.is_shut_down());
    let error: Box<dyn std::error::Error + Send + Sync> = Box::new(PutError::Full(1));
    assert_eq!(error.to_string(), "put into a queue that is full");
}
