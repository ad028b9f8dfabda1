//! Shutdowns, QU11 to QU17, for every type; and that items end once, whatever happens.

use super::{Subject, order};
use crate::SHORT;
use crate::asleep::{self, PATIENCE};
use crate::item::{Equal, counted};
use crewkit::queue::{GetError, PutError, Shutdown, TooManyTaskDone};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MODES: [Shutdown; 2] = [Shutdown::Drain, Shutdown::Immediate];

#[test]
fn an_item_may_use_the_queue_while_it_is_dropped() {
    struct Reentrant<'a>(&'a Subject<Equal<Self>>);
    impl Drop for Reentrant<'_> {
        fn drop(&mut self) {
            assert!(self.0.is_shut_down());
            assert!(self.0.try_get().is_err());
            assert_eq!(self.0.task_done(), Err(TooManyTaskDone));
        }
    }
    let queue = Box::leak(Box::new(Subject::unbounded()));
    queue.put(Equal(Reentrant(queue))).unwrap();
    queue.put(Equal(Reentrant(queue))).unwrap();
    queue.shutdown(Shutdown::Immediate);
}

#[test]
fn every_item_is_dropped_once() {
    let drops = AtomicUsize::new(0);
    let item = || counted(&drops);
    let queue = Subject::bounded(3);
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
    let queue = Subject::bounded(2);
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
    let queue = Subject::bounded(1);
    queue.put(1).unwrap();
    queue.shutdown(Shutdown::Drain);
    assert_eq!(queue.try_put(2), Err(PutError::ShutDown(2)));
}

#[test]
fn qu12_an_immediate_shutdown_drops_what_is_left_and_counts_it_done() {
    let queue = Subject::unbounded();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    queue.shutdown(Shutdown::Immediate);
    assert_eq!((queue.len(), queue.unfinished()), (0, 0));
    assert_eq!(queue.get(), Err(GetError::ShutDown));
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    queue.join();
}

#[test]
fn qu12_join_goes_on_waiting_for_what_was_got_before_an_immediate_shutdown() {
    let queue = Subject::unbounded();
    (0..3).for_each(|item| queue.put(item).unwrap());
    queue.get().unwrap();
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
    let queue = Subject::unbounded();
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
    let queue = Subject::unbounded();
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
        let empty = Subject::<u32>::unbounded();
        let full = Subject::bounded(1);
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
    let queue = Subject::unbounded();
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
        let queue = Subject::unbounded();
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
            let queue = Subject::bounded(capacity);
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
        let queue = Subject::bounded(capacity);
        // Fewer on a busy machine, where threads that yield to each other, item by item, take long.
        let begin = Instant::now();
        let is_enough = move |number: &usize| *number >= 100 && begin.elapsed() > PATIENCE / 20;
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
                        let put = |number| {
                            let mut item = (putter, number);
                            while let Err(error) = queue.put_timeout(item, Duration::from_micros(20)) {
                                item = error.into_inner();
                            }
                            item
                        };
                        (0..ITEMS).take_while(|number| !is_enough(number)).map(put).collect::<Vec<_>>()
                    })
                })
                .collect();
            let put: Vec<_> = putters.into_iter().flat_map(|putter| putter.join().unwrap()).collect();
            queue.shutdown(Shutdown::Drain);
            let got: Vec<Vec<_>> = getters.into_iter().map(|getter| getter.join().unwrap()).collect();
            for items in got.iter().filter(|_| is_fifo()) {
                for putter in 0..3 {
                    let numbers = items.iter().filter(|item| item.0 == putter).map(|item| item.1);
                    assert!(numbers.is_sorted(), "one putter's items reach one getter in order");
                }
            }
            let mut all: Vec<_> = got.into_iter().flatten().collect();
            all.sort_unstable();
            assert!(all == put, "{} of {}", all.len(), put.len());
        });
    }
}

/// Whether items come out in the order in which they were put.
fn is_fifo() -> bool {
    order(vec![2, 1]) == [2, 1]
}
