//! Items of odd sizes, in great numbers, dropped anywhere: over many segments of the list under `Queue`.

use crate::item::counted;
use crewkit::queue::{Queue, Shutdown, SimpleQueue};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More than a segment holds, and not a multiple of that.
const SOME: usize = 1_000;

#[test]
fn items_without_size_are_counted() {
    let queue = Queue::unbounded();
    queue.put_many([(); SOME]).unwrap();
    assert_eq!(queue.len(), SOME);
    assert_eq!(queue.get_many(SOME - 1).unwrap().len(), SOME - 1);
    assert_eq!((queue.try_get(), queue.len()), (Ok(()), 0));

    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Empty;
    impl Drop for Empty {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }
    let queue = Queue::unbounded();
    (0..SOME).for_each(|_| assert!(queue.put(Empty).is_ok()));
    drop(queue.get());
    assert_eq!(DROPS.load(Ordering::Relaxed), 1);
    drop(queue);
    assert_eq!(DROPS.load(Ordering::Relaxed), SOME);
}

#[test]
fn huge_items_come_out_as_they_went_in() {
    fn huge(seed: u8) -> Box<[u8; 1 << 20]> {
        vec![seed; 1 << 20].into_boxed_slice().try_into().unwrap()
    }
    // In its own memory, or a debug build would need megabytes of stack for each move.
    let queue = Queue::bounded(7);
    for round in 0..21 {
        queue.put(huge(round)).unwrap();
        if round >= 6 {
            assert_eq!(*queue.get().unwrap(), *huge(round - 6));
        }
    }
    let queue = Queue::unbounded();
    for seed in 0..100 {
        queue.put([seed; 5_000]).unwrap();
    }
    for seed in 0..100 {
        assert_eq!(queue.get(), Ok([seed; 5_000]));
    }
}

#[test]
fn millions_of_items_are_held_and_handed_out_in_order() {
    const MANY: u64 = 3_000_000;
    let queue = SimpleQueue::unbounded();
    thread::scope(|scope| {
        scope.spawn(|| (0..MANY).for_each(|item| queue.put(item).unwrap()));
        scope.spawn(|| assert!(queue.iter().take(1_000).eq(0..1_000)));
    });
    assert_eq!(queue.len() as u64, MANY - 1_000);
    assert!(queue.try_iter().eq(1_000..MANY));
}

#[test]
fn every_item_is_dropped_once_wherever_the_ends_are() {
    for (before, after) in [(0, 0), (1, 0), (127, 1), (128, 128), (129, 127), (256, 500), (300, 3)] {
        let drops = AtomicUsize::new(0);
        let queue = Queue::unbounded();
        let put = |items: usize| (0..items).for_each(|_| queue.put(counted(&drops)).unwrap());
        put(before);
        drop(queue.get_many(before).unwrap());
        put(after);
        queue.clear();
        assert_eq!((drops.load(Ordering::SeqCst), queue.len(), queue.unfinished()), (before + after, 0, before));
        put(after);
        queue.shutdown(Shutdown::Immediate);
        assert_eq!((drops.load(Ordering::SeqCst), queue.unfinished()), (before + 2 * after, before));
        drop(queue);
        let queue = Queue::unbounded();
        (0..after).for_each(|_| queue.put(counted(&drops)).unwrap());
        drop(queue);
        assert_eq!(drops.load(Ordering::SeqCst), before + 3 * after);
    }
}

#[test]
fn items_whose_drop_panics_leave_none_behind() {
    let drops = AtomicUsize::new(0);
    let bad = |at: usize| (0..SOME).map(move |number| number == at);
    for ending in [Queue::clear, |queue: &Queue<_>| queue.shutdown(Shutdown::Immediate)] {
        let queue = Queue::unbounded();
        for panics in bad(100) {
            let mut item = counted(&drops);
            item.panics = panics;
            queue.put(item).unwrap();
        }
        assert!(catch_unwind(AssertUnwindSafe(|| ending(&queue))).is_err());
        assert_eq!((drops.swap(0, Ordering::SeqCst), queue.len(), queue.unfinished()), (SOME, 0, 0));
        queue.join();
    }
}

#[test]
fn an_item_that_got_out_outlives_its_queue() {
    let drops = AtomicUsize::new(0);
    let queue = Queue::unbounded();
    (0..SOME).for_each(|_| queue.put(counted(&drops)).unwrap());
    let first = queue.get().unwrap();
    drop(queue);
    assert_eq!(drops.load(Ordering::SeqCst), SOME - 1);
    drop(first);
    assert_eq!(drops.into_inner(), SOME);
}

#[test]
fn a_queue_whose_length_swings_loses_nothing() {
    let queue = Queue::bounded(300);
    let (numbers, puts, gets) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for batch in 0..400 {
                    let many = batch % 97 + 1;
                    queue.put_many((0..many).map(|_| numbers.fetch_add(1, Ordering::Relaxed) + 1)).unwrap();
                    puts.fetch_add(many, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for max in (1..80).cycle() {
                    let Ok(got) = queue.get_many(max) else { break };
                    gets.fetch_add(got.iter().sum::<usize>(), Ordering::Relaxed);
                    got.iter().for_each(|_| queue.task_done().unwrap());
                }
            });
        }
        scope.spawn(|| {
            for capacity in (1..600).chain([7]) {
                queue.set_capacity(capacity);
                thread::yield_now();
            }
            let all = 2 * (0..400).map(|batch| batch % 97 + 1).sum::<usize>();
            while puts.load(Ordering::Relaxed) < all || queue.unfinished() > 0 {
                queue.join();
                thread::yield_now();
            }
            queue.shutdown(Shutdown::Drain);
        });
    });
    let puts = puts.into_inner();
    assert_eq!(gets.into_inner(), (1..=puts).sum());
}
