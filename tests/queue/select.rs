//! Waiting for several queues at once.

use crate::SHORT;
use crate::asleep::{self, PATIENCE};
use crewkit::queue::{GetError, LifoQueue, PriorityQueue, Queue, Selectable, Shutdown, select};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn the_first_that_has_something_is_answered_and_nothing_is_taken() {
    let (fifo, lifo, priority) = (Queue::unbounded(), LifoQueue::bounded(2), PriorityQueue::unbounded());
    let all: [&dyn Selectable; 3] = [&fifo, &lifo, &priority];
    assert_eq!(select(&all, Duration::ZERO), None);
    priority.put("c").unwrap();
    assert_eq!(select(&all, Duration::ZERO), Some(2));
    lifo.put(2).unwrap();
    assert_eq!(select(&all, None), Some(1));
    fifo.put(1_u64).unwrap();
    assert_eq!(select(&all, Duration::MAX), Some(0));
    assert_eq!(select(&[&priority, &lifo, &fifo], None), Some(0));
    assert_eq!((fifo.len(), lifo.len(), priority.len()), (1, 1, 1));
}

#[test]
fn nothing_within_the_time_is_none() {
    let (one, other) = (Queue::<u8>::unbounded(), LifoQueue::<u8>::unbounded());
    let begin = Instant::now();
    assert_eq!(select(&[&one, &other], SHORT), None);
    assert!(begin.elapsed() >= SHORT);
    assert_eq!(select(&[], None), None);
}

#[test]
fn each_queue_wakes_a_sleeping_select() {
    let (fifo, lifo, priority) = (Queue::unbounded(), LifoQueue::unbounded(), PriorityQueue::unbounded());
    let puts: [&dyn Fn(); 3] = [&|| fifo.put(1).unwrap(), &|| lifo.put(1).unwrap(), &|| priority.put(1).unwrap()];
    thread::scope(|scope| {
        for (index, put) in puts.iter().enumerate() {
            let selector = asleep::spawn(scope, || select(&[&fifo, &lifo, &priority], PATIENCE));
            selector.until_asleep();
            put();
            assert_eq!(selector.join(), Some(index));
            let got = [fifo.try_get(), lifo.try_get(), priority.try_get()];
            assert_eq!(got.iter().position(Result::is_ok), Some(index));
        }
    });
}

#[test]
fn a_queue_that_is_shut_down_is_ready() {
    for mode in [Shutdown::Drain, Shutdown::Immediate] {
        let (one, other) = (Queue::<u8>::unbounded(), PriorityQueue::<u8>::unbounded());
        thread::scope(|scope| {
            let selector = asleep::spawn(scope, || select(&[&one, &other], None));
            selector.until_asleep();
            other.shutdown(mode);
            assert_eq!(selector.join(), Some(1));
        });
        assert_eq!(other.try_get(), Err(GetError::ShutDown));
        assert_eq!(select(&[&one, &other], None), Some(1));
    }
}

#[test]
fn a_queue_given_twice_counts_twice() {
    let queue = Queue::unbounded();
    thread::scope(|scope| {
        let selector = asleep::spawn(scope, || select(&[&queue, &queue], None));
        selector.until_asleep();
        queue.put(1).unwrap();
        assert_eq!(selector.join(), Some(0));
    });
}

#[test]
fn an_observer_in_front_keeps_no_item_from_a_getter() {
    let (queue, other) = (Queue::unbounded(), Queue::<u8>::unbounded());
    thread::scope(|scope| {
        for item in 0..20 {
            // It is called for the item, being first in line, and takes it not.
            let selector = asleep::spawn(scope, || select(&[&other, &queue], None));
            selector.until_asleep();
            let getter = asleep::spawn(scope, || queue.get());
            getter.until_asleep();
            queue.put(item).unwrap();
            assert_eq!(getter.join(), Ok(item));
            // It saw the item, or that the getter was quicker and sleeps on.
            if !selector.handle.is_finished() {
                other.put(1).unwrap();
            }
            assert!(selector.join().is_some());
            other.clear();
        }
    });
}

#[test]
fn an_observer_that_leaves_leaves_nobody_in_its_stead() {
    let (one, other) = (Queue::<u8>::unbounded(), LifoQueue::<u8>::unbounded());
    assert_eq!(select(&[&one, &other], SHORT), None);
    for waiting in [format!("{one:?}"), format!("{other:?}")] {
        assert!(waiting.contains("getting: 0"), "{waiting}");
    }
}

#[test]
fn selectors_and_getters_share_the_work_and_nothing_is_lost() {
    const ITEMS: usize = 3_000;
    let (fifo, lifo, priority) = (Queue::bounded(4), LifoQueue::bounded(4), PriorityQueue::bounded(4));
    let got = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let item = match select(&[&fifo, &lifo, &priority], PATIENCE).expect("woken in time") {
                        0 => fifo.try_get(),
                        1 => lifo.try_get(),
                        _ => priority.try_get(),
                    };
                    match item {
                        Ok(1) => _ = got.fetch_add(1, Ordering::Relaxed),
                        Ok(_) | Err(GetError::ShutDown) => break,
                        Err(GetError::Empty) => {}
                    }
                }
            });
        }
        scope.spawn(|| fifo.iter().filter(|&item| item == 1).for_each(|_| _ = got.fetch_add(1, Ordering::Relaxed)));
        for _ in 0..ITEMS {
            fifo.put(1).unwrap();
            lifo.put(1).unwrap();
            priority.put(1).unwrap();
        }
        let begin = Instant::now();
        while got.load(Ordering::Relaxed) < 3 * ITEMS {
            assert!(begin.elapsed() < PATIENCE);
            thread::yield_now();
        }
        fifo.shutdown(Shutdown::Drain);
    });
}
