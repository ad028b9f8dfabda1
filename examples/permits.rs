//! Twenty threads and five permits: a `Semaphore` lets five of them work at a time.
//!
//! ```text
//! cargo run --example permits
//! ```
//!
//! That never more than five work is counted by each of them as it begins. That five do work at once, and not one after
//! the other as under a lock, is shown by a barrier: whoever has a permit waits there for four others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crewkit::queue::Queue;
use crewkit::sync::{Barrier, Semaphore};

const THREADS: usize = 20;
const PERMITS: usize = 5;

fn main() {
    let permits = Semaphore::new(PERMITS);
    let (working, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let groups = Queue::unbounded();

    let together = Barrier::new(PERMITS);

    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let permit = permits.acquire();
                let now = working.fetch_add(1, Ordering::Relaxed) + 1;
                most.fetch_max(now, Ordering::Relaxed);
                let arrival = together.wait().expect("nobody breaks the barrier");
                // All five are here. One of them looks around, and until it has, nobody goes.
                if arrival.is_leader {
                    let refused = permits.try_acquire().is_none();
                    let look = (working.load(Ordering::Relaxed), refused);
                    groups.put(look).expect("nobody shuts this queue down");
                }
                together.wait().expect("nobody breaks the barrier");
                working.fetch_sub(1, Ordering::Relaxed);
                // The permit goes back here; so it would if the thread had panicked.
                drop(permit);
            });
        }
    });

    for (number, (working, refused)) in (1..).zip(groups.try_iter()) {
        let more = if refused { "none left" } else { "some left" };
        println!("group {number}: {working} of {THREADS} threads at work, permits: {more}");
    }
    println!("never more than {} at once; {} permits again", most.into_inner(), permits.available());
}
