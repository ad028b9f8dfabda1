//! Queue and SimpleQueue: items on the heap through a full and an empty queue and over many segments, in every way in and
//! out; what is left is dropped once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crewkit::queue::{GetError, Queue, Shutdown, SimpleQueue};
use crewkit_stress::{crew, report};

const PRODUCERS: u64 = 2;
const CONSUMERS: u64 = 2;
const ROUNDS: u64 = 10_000;
const A_MOMENT: Duration = Duration::from_micros(20);

/// An item: two boxes that must agree, so that an item taken twice or torn shows.
type Item = (Box<u64>, Box<u64>);

static SUM: AtomicU64 = AtomicU64::new(0);

fn main() {
    hand_over();
    swing();
    leave_behind();
    report("queue");
}

/// Everything that is put comes out once, and `join` sees it done.
fn hand_over() {
    let queue = Arc::new(Queue::<Item>::bounded(4));
    let shared = Arc::clone(&queue);
    crew(PRODUCERS + CONSUMERS, move |number| {
        if number < PRODUCERS {
            (0..ROUNDS).for_each(|round| put(&shared, round));
        } else {
            take(&shared);
        }
        if number == 0 {
            // The other producer may still put, so one join is not the end.
            while SUM.load(Ordering::Acquire) < PRODUCERS * (0..ROUNDS).sum::<u64>() {
                shared.join();
            }
            shared.shutdown(Shutdown::Drain);
        }
    });
    assert_eq!(SUM.load(Ordering::Relaxed), PRODUCERS * (0..ROUNDS).sum::<u64>());
    assert!(queue.is_empty());
}

/// A queue whose length and bound swing, so that segments come and go, and are cleared away meanwhile.
fn swing() {
    let queue = Arc::new(Queue::<Item>::bounded(500));
    let simple = Arc::new(SimpleQueue::<Item>::unbounded());
    let shared = (Arc::clone(&queue), Arc::clone(&simple));
    crew(PRODUCERS + CONSUMERS, move |number| {
        let (queue, simple) = &shared;
        for round in 0..ROUNDS / 50 {
            let items = (0..round % 150).map(|_| (Box::new(round), Box::new(round)));
            if number < PRODUCERS {
                drop(queue.put_many_timeout(items.clone(), A_MOMENT));
                assert!(simple.put_many(items).is_ok());
            } else {
                let got = queue.get_many_timeout(100, A_MOMENT).unwrap_or_default();
                got.iter().for_each(|(first, second)| assert_eq!(first, second));
                simple.try_iter().take(70).for_each(|(first, second)| assert_eq!(first, second));
            }
            if number == 0 && round % 16 == 0 {
                queue.set_capacity(1 + usize::try_from(round).unwrap_or(0) % 400);
                queue.clear();
            }
        }
    });
    assert!(queue.len() <= 500);
    assert!(simple.try_iter().all(|(first, second)| first == second));
}

fn put(queue: &Queue<Item>, round: u64) {
    let item = (Box::new(round), Box::new(round));
    let put = match round % 3 {
        0 => queue.put(item),
        1 => queue.try_put(item).or_else(|full| queue.put(full.into_inner())),
        _ => queue.put_timeout(item, A_MOMENT).or_else(|full| queue.put(full.into_inner())),
    };
    assert!(put.is_ok(), "the queue is open");
}

fn take(queue: &Queue<Item>) {
    for turn in 0_u64.. {
        let got = match turn % 3 {
            0 => queue.get(),
            1 => queue.try_get(),
            _ => queue.get_timeout(A_MOMENT),
        };
        match got {
            Ok((first, second)) => {
                assert_eq!(first, second);
                SUM.fetch_add(*first, Ordering::AcqRel);
                queue.task_done().expect("it was put once");
            }
            Err(GetError::Empty) => {}
            Err(GetError::ShutDown) => return,
        }
    }
}

/// A queue that is shut down at once, and one that is dropped, drop their items; AddressSanitizer counts.
fn leave_behind() {
    let (ended, dropped) = (Arc::new(Queue::<Item>::unbounded()), Arc::new(Queue::<Item>::bounded(1 << 12)));
    let shared = (Arc::clone(&ended), Arc::clone(&dropped));
    crew(PRODUCERS, move |number| {
        for round in 0..1_000 {
            // Both outcomes are right for the first queue: the other thread may have ended it.
            drop(shared.0.put((Box::new(round), Box::new(number))));
            assert!(shared.1.put((Box::new(round), Box::new(number))).is_ok(), "the queue is open");
        }
        shared.0.shutdown(Shutdown::Immediate);
    });
    assert!(ended.is_empty());
    assert_eq!(dropped.len() as u64, PRODUCERS * 1_000);
}
