//! The latch at each end of a queue's list: its shipped lines, on loom's types. The models of queues have loom's mutex in
//! its place.
#![cfg(crewkit_loom)]

#[path = "../../src/primitive/latch.rs"]
mod latch;

mod platform {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::AtomicU32;
}

mod spin {
    pub(crate) fn wait_until(mut is_done: impl FnMut() -> bool) {
        while !is_done() {
            loom::thread::yield_now();
        }
    }
}

use crewkit::model::{Arc, thread};
use crewkit_loom_tests::explore;
use latch::Latch;

#[test]
fn one_at_a_time_and_in_order() {
    explore("latch: (+1, +1) × (+1, +1)", || {
        let latch = Arc::new(Latch::new(0));
        let other = thread::spawn({
            let latch = Arc::clone(&latch);
            move || (0..2).for_each(|_| *latch.lock() += 1)
        });
        (0..2).for_each(|_| *latch.lock() += 1);
        other.join().unwrap();
        assert_eq!(*latch.lock(), 4);
    });
}
