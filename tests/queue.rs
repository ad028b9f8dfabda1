//! `queue::Queue` behaves as CPython 3.13's `queue.Queue` (`test_queue.py`, cases QU1 to QU17 that concern it).
#![cfg(not(crewkit_loom))]

mod asleep;

use asleep::PATIENCE;
use crewkit::queue::{GetError, PutError, Queue, Shutdown, TooManyTaskDone};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);
const MODES: [Shutdown; 2] = [Shutdown::Drain, Shutdown::Immediate];

#[test]
fn qu1_first_in_first_out() {
    let queue = Queue::bounded(3);
    for item in [111, 333, 222] {
        queue.put(item).unwrap();
    }
    assert_eq!(queue.try_iter().collect::<Vec<_>>(), [111, 333, 222]);
}

#[test]
fn qu1_a_maxsize_of_zero_is_no_limit() {
    let queue = Queue::bounded(0);
    assert_eq!((queue.capacity(), Queue::<u8>::bounded(3).capacity()), (None, Some(3)));
    for item in 0..1_000 {
        queue.try_put(item).unwrap();
    }
    assert!(!queue.is_full());
    assert_eq!(queue.len(), 1_000);
}

#[test]
fn qu2_full_and_empty_are_answered_at_once_or_after_the_time() {
    let queue = Queue::bounded(1);
    assert_eq!(queue.try_get(), Err(GetError::Empty));
    assert_eq!(queue.get_timeout(Duration::ZERO), Err(GetError::Empty));
    let begin = Instant::now();
    assert_eq!(queue.get_timeout(SHORT), Err(GetError::Empty));
    assert!(begin.elapsed() >= SHORT);
    queue.try_put("a").unwrap();
    assert_eq!(queue.try_put("b"), Err(PutError::Full("b")));
    assert_eq!(queue.put_timeout("b", Duration::ZERO), Err(PutError::Full("b")));
    let begin = Instant::now();
    assert_eq!(queue.put_timeout("b", SHORT), Err(PutError::Full("b")));
    assert!(begin.elapsed() >= SHORT);
    assert_eq!(queue.get_timeout(Duration::MAX), Ok("a"));
    queue.put_timeout("c", Duration::MAX).unwrap();
    assert_eq!(queue.try_get(), Ok("c"));
}

#[test]
fn qu4_the_timeout_is_a_total_over_lost_races() {
    let queue = Queue::unbounded();
    let begin = Instant::now();
    thread::scope(|scope| {
        let loser = asleep::spawn(scope, || queue.get_timeout(SHORT * 3));
        loser.until_asleep();
        // Whether or not it is woken for one of these, this thread may be quicker.
        while !loser.handle.is_finished() {
            queue.put(1).unwrap();
            let _ = queue.try_get();
            assert!(begin.elapsed() < PATIENCE);
        }
        let _ = loser.join();
    });
}

#[test]
fn qu5_one_item_wakes_a_getter_and_one_slot_wakes_a_putter() {
    let queue = &Queue::bounded(1);
    thread::scope(|scope| {
        for round in 0..20 {
            let getter = asleep::spawn(scope, || queue.get());
            getter.until_asleep();
            queue.put(round).unwrap();
            assert_eq!(getter.join(), Ok(round));
            queue.put(round).unwrap();
            let putter = asleep::spawn(scope, move || queue.put_timeout(round + 1, PATIENCE));
            putter.until_asleep();
            assert_eq!(queue.get(), Ok(round));
            putter.join().unwrap();
            assert_eq!(queue.get(), Ok(round + 1));
        }
    });
}

#[test]
fn qu6_sizes_are_exact() {
    let queue = Queue::bounded(2);
    for (len, is_full) in [(0, false), (1, false), (2, true)] {
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (len, len == 0, is_full));
        let _ = queue.try_put(len);
    }
    assert_eq!(queue.try_iter().count(), 2);
    assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (0, true, false));
    assert_eq!(
        format!("{queue:?}"),
        "Queue { len: 0, capacity: Some(2), unfinished: 2, is_shut_down: false, getting: 0, putting: 0, joining: 0 }"
    );
}

#[test]
fn qu8_task_done_counts_every_put_and_no_more() {
    let queue = Queue::unbounded();
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    queue.put(1).unwrap();
    queue.try_put(2).unwrap();
    assert_eq!(queue.get(), Ok(1));
    queue.task_done().unwrap();
    queue.task_done().unwrap();
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    queue.join();
    assert_eq!(queue.len(), 1, "what is unfinished and what is there are counted apart");
}

#[test]
fn qu9_join_waits_for_the_last_task_again_and_again() {
    let queue = Queue::unbounded();
    queue.join();
    assert!(queue.join_timeout(Duration::ZERO));
    thread::scope(|scope| {
        for _ in 0..2 {
            queue.put(1).unwrap();
            queue.put(2).unwrap();
            assert!(!queue.join_timeout(SHORT));
            let joiners: Vec<_> = (0..3).map(|_| asleep::spawn(scope, || queue.join())).collect();
            joiners.iter().for_each(asleep::Watched::until_asleep);
            assert_eq!(queue.try_iter().count(), 2);
            queue.task_done().unwrap();
            assert!(joiners.iter().all(|joiner| !joiner.handle.is_finished()));
            queue.task_done().unwrap();
            joiners.into_iter().for_each(asleep::Watched::join);
        }
    });
}

#[test]
fn qu9_a_joiner_is_not_held_up_by_what_is_put_after_the_last_task_was_done() {
    let queue = Queue::unbounded();
    queue.put(1).unwrap();
    thread::scope(|scope| {
        let joiner = asleep::spawn(scope, || queue.join_timeout(PATIENCE));
        joiner.until_asleep();
        queue.task_done().unwrap();
        queue.put(2).unwrap();
        assert!(joiner.join());
    });
}

/// Counts its drops, and panics in one of them.
struct Item<'a> {
    drops: &'a AtomicUsize,
    panics: bool,
}

impl Drop for Item<'_> {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "on purpose");
    }
}

#[test]
fn qu10_a_panicking_drop_leaves_the_queue_whole() {
    let drops = AtomicUsize::new(0);
    let queue = Queue::unbounded();
    for panics in [false, true, false] {
        queue.put(Item { drops: &drops, panics }).unwrap();
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| queue.shutdown(Shutdown::Immediate)));
    assert!(panicked.is_err());
    assert_eq!(drops.load(Ordering::SeqCst), 3);
    assert!(queue.is_shut_down() && queue.is_empty());
    queue.join();
}

#[test]
fn an_item_may_use_the_queue_while_it_is_dropped() {
    struct Reentrant<'a>(&'a Queue<Self>);
    impl Drop for Reentrant<'_> {
        fn drop(&mut self) {
            assert!(self.0.is_shut_down());
            assert!(self.0.try_get().is_err());
            assert_eq!(self.0.task_done(), Err(TooManyTaskDone));
        }
    }
    let queue = Box::leak(Box::new(Queue::unbounded()));
    queue.put(Reentrant(queue)).unwrap();
    queue.put(Reentrant(queue)).unwrap();
    queue.shutdown(Shutdown::Immediate);
}

#[test]
fn every_item_is_dropped_once() {
    let drops = AtomicUsize::new(0);
    let item = || Item { drops: &drops, panics: false };
    let queue = Queue::bounded(3);
    queue.put(item()).unwrap();
    queue.put(item()).unwrap();
    drop(queue.get().unwrap());
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    queue.shutdown(Shutdown::Drain);
    drop(queue.put(item()).unwrap_err().into_inner());
    assert_eq!(drops.load(Ordering::SeqCst), 2);
    drop(queue);
    assert_eq!(drops.load(Ordering::SeqCst), 3);
}

#[test]
fn qu11_after_a_drain_nothing_is_put_and_the_rest_is_got() {
    let queue = Queue::bounded(2);
    queue.put(1).unwrap();
    assert!(!queue.is_shut_down());
    queue.shutdown(Shutdown::Drain);
    assert!(queue.is_shut_down());
    assert_eq!(queue.put(2), Err(PutError::ShutDown(2)));
    assert_eq!(queue.try_put(2), Err(PutError::ShutDown(2)));
    assert_eq!(queue.put_timeout(2, PATIENCE), Err(PutError::ShutDown(2)));
    assert_eq!(queue.get(), Ok(1));
    assert_eq!(queue.get(), Err(GetError::ShutDown));
    assert_eq!(queue.try_get(), Err(GetError::ShutDown));
    assert_eq!(queue.get_timeout(PATIENCE), Err(GetError::ShutDown));
    assert_eq!(queue.iter().next(), None);
}

#[test]
fn qu11_a_full_queue_that_is_shut_down_says_so() {
    let queue = Queue::bounded(1);
    queue.put(1).unwrap();
    queue.shutdown(Shutdown::Drain);
    assert_eq!(queue.try_put(2), Err(PutError::ShutDown(2)));
}

#[test]
fn qu12_an_immediate_shutdown_drops_what_is_left_and_counts_it_done() {
    let queue = Queue::unbounded();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    queue.shutdown(Shutdown::Immediate);
    assert_eq!(queue.len(), 0);
    assert_eq!(queue.get(), Err(GetError::ShutDown));
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    queue.join();
}

#[test]
fn qu12_join_goes_on_waiting_for_what_was_got_before_an_immediate_shutdown() {
    let queue = Queue::unbounded();
    (0..3).for_each(|item| queue.put(item).unwrap());
    assert_eq!(queue.get(), Ok(0));
    thread::scope(|scope| {
        let joiner = asleep::spawn(scope, || queue.join());
        joiner.until_asleep();
        queue.shutdown(Shutdown::Immediate);
        assert!(!queue.join_timeout(SHORT));
        queue.task_done().unwrap();
        joiner.join();
    });
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
}

#[test]
fn qu12_an_immediate_shutdown_ends_join_when_nothing_is_in_flight() {
    let queue = Queue::unbounded();
    queue.put(1).unwrap();
    thread::scope(|scope| {
        let joiners: Vec<_> = (0..2).map(|_| asleep::spawn(scope, || queue.join())).collect();
        joiners.iter().for_each(asleep::Watched::until_asleep);
        queue.shutdown(Shutdown::Immediate);
        joiners.into_iter().for_each(asleep::Watched::join);
    });
}

#[test]
fn qu13_every_transition_is_allowed() {
    let queue = Queue::unbounded();
    queue.put(1).unwrap();
    queue.shutdown(Shutdown::Drain);
    queue.shutdown(Shutdown::Drain);
    assert_eq!(queue.len(), 1);
    queue.shutdown(Shutdown::Immediate);
    assert_eq!(queue.len(), 0);
    queue.shutdown(Shutdown::Immediate);
    queue.shutdown(Shutdown::Drain);
    assert!(queue.is_shut_down());
}

#[test]
fn qu14_shutdown_releases_everybody_that_waits() {
    for mode in MODES {
        let empty = Queue::<u32>::unbounded();
        let full = Queue::bounded(1);
        full.put(1).unwrap();
        thread::scope(|scope| {
            let getters: Vec<_> = (0..3).map(|_| asleep::spawn(scope, || empty.get())).collect();
            let timed = asleep::spawn(scope, || empty.get_timeout(PATIENCE));
            let putters: Vec<_> = (0..3).map(|_| asleep::spawn(scope, || full.put(2))).collect();
            getters.iter().for_each(asleep::Watched::until_asleep);
            putters.iter().for_each(asleep::Watched::until_asleep);
            timed.until_asleep();
            empty.shutdown(mode);
            full.shutdown(mode);
            assert!(getters.into_iter().all(|getter| getter.join() == Err(GetError::ShutDown)));
            assert!(putters.into_iter().all(|putter| putter.join() == Err(PutError::ShutDown(2))));
            assert_eq!(timed.join(), Err(GetError::ShutDown));
        });
    }
}

#[test]
fn qu15_after_a_drain_tasks_are_done_and_joined_as_before() {
    let queue = Queue::unbounded();
    queue.put(1).unwrap();
    queue.shutdown(Shutdown::Drain);
    assert_eq!(queue.get(), Ok(1));
    assert!(!queue.join_timeout(SHORT));
    queue.task_done().unwrap();
    queue.join();
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
}

#[test]
fn qu16_of_three_getters_on_two_items_one_is_told_of_the_shutdown() {
    for _ in 0..200 {
        let queue = Queue::unbounded();
        thread::scope(|scope| {
            let getters: Vec<_> = (0..3).map(|_| scope.spawn(|| queue.get())).collect();
            queue.put(1).unwrap();
            queue.put(2).unwrap();
            queue.shutdown(Shutdown::Drain);
            let mut got: Vec<_> = getters.into_iter().map(|getter| getter.join().unwrap().ok()).collect();
            got.sort_unstable();
            assert_eq!(got, [None, Some(1), Some(2)]);
        });
    }
}

#[test]
fn qu17_writers_readers_joiners_and_one_shutdown() {
    const MESSAGES: usize = 4_096;
    for mode in MODES {
        for capacity in [0, 64] {
            let queue = Queue::bounded(capacity);
            let (put, got) = (AtomicUsize::new(0), AtomicUsize::new(0));
            thread::scope(|scope| {
                for writer in 0..4 {
                    let (queue, put) = (&queue, &put);
                    scope.spawn(move || {
                        for message in 0..MESSAGES {
                            if writer == 0 && message == MESSAGES / 2 {
                                queue.shutdown(mode);
                            }
                            match queue.put(message) {
                                Ok(()) => put.fetch_add(1, Ordering::SeqCst),
                                Err(error) => return assert!(error.is_shut_down()),
                            };
                        }
                    });
                }
                for _ in 0..6 {
                    scope.spawn(|| {
                        for _ in &queue {
                            got.fetch_add(1, Ordering::SeqCst);
                            queue.task_done().unwrap();
                        }
                    });
                }
                for _ in 0..2 {
                    scope.spawn(|| assert!(queue.join_timeout(PATIENCE)));
                }
            });
            let (put, got) = (put.into_inner(), got.into_inner());
            assert!(got <= put);
            assert!(mode == Shutdown::Immediate || got == put);
            assert_eq!(queue.task_done(), Err(TooManyTaskDone));
        }
    }
}

#[test]
fn nothing_is_lost_doubled_or_reordered_between_many_threads() {
    const ITEMS: usize = 5_000;
    for capacity in [1, 7, 0] {
        let queue = Queue::bounded(capacity);
        thread::scope(|scope| {
            let getters: Vec<_> = (0..3)
                .map(|getter| {
                    let queue = &queue;
                    scope.spawn(move || {
                        let mut got = Vec::new();
                        loop {
                            let item =
                                if getter == 0 { queue.get_timeout(Duration::from_micros(20)) } else { queue.get() };
                            match item {
                                Ok(item) => got.push(item),
                                Err(GetError::Empty) => {}
                                Err(GetError::ShutDown) => return got,
                            }
                        }
                    })
                })
                .collect();
            let putters: Vec<_> = (0..3)
                .map(|putter| {
                    let queue = &queue;
                    scope.spawn(move || {
                        for number in 0..ITEMS {
                            let mut item = (putter, number);
                            while let Err(error) = queue.put_timeout(item, Duration::from_micros(20)) {
                                item = error.into_inner();
                            }
                        }
                    })
                })
                .collect();
            putters.into_iter().for_each(|putter| putter.join().unwrap());
            queue.shutdown(Shutdown::Drain);
            let got: Vec<Vec<_>> = getters.into_iter().map(|getter| getter.join().unwrap()).collect();
            for items in &got {
                for putter in 0..3 {
                    let numbers = items.iter().filter(|item| item.0 == putter).map(|item| item.1);
                    assert!(numbers.is_sorted(), "one putter's items reach one getter in order");
                }
            }
            let mut all: Vec<_> = got.into_iter().flatten().collect();
            all.sort_unstable();
            assert!(all.iter().copied().eq((0..3).flat_map(|putter| (0..ITEMS).map(move |number| (putter, number)))));
        });
    }
}

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
