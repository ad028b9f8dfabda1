//! Models of `queue::Queue` as every queue is, with two waiters of each kind; its list of segments is in `fifo.rs`.

use crewkit::model::Arc;
use crewkit::queue::{GetError, Queue, Shutdown, TooManyTaskDone};
use crewkit_loom_tests::{Drops, Plain, SOON, exhaust, explore, spawn};

#[test]
fn one_producer_one_consumer_and_a_join() {
    explore("queue: (put, put, join) × (get, done, get, done), 1 slot", || {
        let queue = Arc::new(Queue::bounded(1));
        let consumer = spawn(&queue, |queue| {
            for item in 1..=2 {
                assert_eq!(queue.get(), Ok(item));
                queue.task_done().unwrap();
            }
        });
        queue.put(1).unwrap();
        queue.put(2).unwrap();
        queue.join();
        consumer.join().unwrap();
        assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    });
}

#[test]
fn of_two_getters_one_gets_the_item_and_one_is_told_of_the_shutdown() {
    explore("queue: get × get × (put, shutdown)", || {
        let queue = Arc::new(Queue::unbounded());
        let getters = [(); 2].map(|()| spawn(&queue, Queue::get));
        queue.put(7).unwrap();
        queue.shutdown(Shutdown::Drain);
        let mut got = getters.map(|getter| getter.join().unwrap().ok());
        got.sort_unstable();
        assert_eq!(got, [None, Some(7)]);
    });
}

#[test]
fn a_batch_wakes_both_getters() {
    explore("queue: get × get × put_many(2)", || {
        let queue = Arc::new(Queue::unbounded());
        let getters = [(); 2].map(|()| spawn(&queue, Queue::get));
        queue.put_many([1, 2]).unwrap();
        let got = getters.map(|getter| getter.join().unwrap().unwrap());
        assert_eq!(got.iter().sum::<i32>(), 3);
        assert!(queue.is_empty());
    });
}

#[test]
fn a_batch_got_wakes_both_putters() {
    explore("queue: put × put × get_many(2), 2 slots", || {
        let queue = Arc::new(Queue::bounded(2));
        queue.put_many([0, 0]).unwrap();
        let putters = [1, 2].map(|item| spawn(&queue, move |queue| queue.put(item)));
        let mut got = queue.get_many(2).unwrap();
        putters.into_iter().for_each(|putter| putter.join().unwrap().unwrap());
        got.extend(queue.try_iter());
        assert_eq!((got.len(), got.iter().sum::<i32>()), (4, 3));
    });
}

#[test]
fn a_shutdown_releases_both_putters() {
    explore("queue: put × put × shutdown(Immediate), 1 slot", || {
        let drops = Drops::default();
        let queue = Arc::new(Queue::bounded(1));
        queue.put(drops.item(0)).unwrap();
        let putters = [1, 2].map(|number| {
            let item = drops.item(number);
            spawn(&queue, |queue| assert!(queue.put(item).is_err_and(|error| error.is_shut_down())))
        });
        queue.shutdown(Shutdown::Immediate);
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        assert_eq!(drops.count(), 3, "each item is dropped once");
        assert!(queue.is_empty() && queue.is_shut_down());
        queue.join();
    });
}

#[test]
fn a_drain_releases_both_putters_of_a_full_queue() {
    explore("queue: put × put × shutdown(Drain), 1 slot", || {
        let queue = Arc::new(Queue::bounded(1));
        queue.put(0).unwrap();
        let putters = [1, 2].map(|item| spawn(&queue, move |queue| queue.put(item)));
        queue.shutdown(Shutdown::Drain);
        for putter in putters {
            assert!(putter.join().unwrap().is_err_and(|error| error.is_shut_down()));
        }
        assert_eq!(queue.get(), Ok(0));
        assert_eq!(queue.get(), Err(GetError::ShutDown));
    });
}

#[test]
fn a_timed_out_get_takes_no_wake_up_with_it() {
    explore("queue: get_timeout × get × put", || {
        let queue = Arc::new(Queue::unbounded());
        let timed = spawn(&queue, |queue| match queue.get_timeout(SOON) {
            Ok(item) => queue.put(item).unwrap(),
            Err(error) => assert!(error.is_empty()),
        });
        let patient = spawn(&queue, Queue::get);
        queue.put(7).unwrap();
        timed.join().unwrap();
        assert_eq!(patient.join().unwrap(), Ok(7));
        assert!(queue.is_empty());
    });
}

#[test]
fn put_shutdown_and_join_agree_on_what_is_unfinished() {
    explore("queue: put × shutdown(Immediate) × join", || {
        let drops = Drops::default();
        let queue = Arc::new(Queue::unbounded());
        queue.put(drops.item(0)).unwrap();
        let putter = spawn(&queue, {
            let item = drops.item(1);
            move |queue| drop(queue.put(item))
        });
        let joiner = spawn(&queue, Queue::join);
        queue.shutdown(Shutdown::Immediate);
        putter.join().unwrap();
        joiner.join().unwrap();
        assert_eq!(drops.count(), 2);
        assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    });
}

#[test]
fn a_join_outlasts_an_immediate_shutdown_while_a_task_is_in_flight() {
    explore("queue: (get, done) × shutdown(Immediate) × join", || {
        let queue = Arc::new(Queue::unbounded());
        let done = Arc::new(Plain::new(0));
        queue.put(1).unwrap();
        queue.put(2).unwrap();
        assert_eq!(queue.get(), Ok(1));
        let joiner = spawn(&queue, {
            let done = Arc::clone(&done);
            move |queue| {
                queue.join();
                assert_eq!(done.get(), 1, "join returned before the task was done");
            }
        });
        let stopper = spawn(&queue, |queue| queue.shutdown(Shutdown::Immediate));
        done.add(1);
        queue.task_done().unwrap();
        stopper.join().unwrap();
        joiner.join().unwrap();
    });
}

#[test]
fn the_last_task_ends_both_joins() {
    explore("queue: join × join × (done, put)", || {
        let queue = Arc::new(Queue::unbounded());
        queue.put(1).unwrap();
        let joiners = [(); 2].map(|()| spawn(&queue, Queue::join));
        queue.task_done().unwrap();
        joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
    });
}

#[test]
fn a_timed_join_takes_no_wake_up_with_it() {
    explore("queue: join_timeout × join × done", || {
        let queue = Arc::new(Queue::unbounded());
        queue.put(1).unwrap();
        let timed = spawn(&queue, |queue| queue.join_timeout(SOON));
        let patient = spawn(&queue, Queue::join);
        queue.task_done().unwrap();
        patient.join().unwrap();
        // Either answer is right: the deadline may fall anywhere.
        let _ = timed.join().unwrap();
        assert!(queue.join_timeout(SOON));
    });
}

#[test]
fn two_shutdowns_at_once_release_a_getter() {
    explore("queue: get × shutdown(Drain) × shutdown(Immediate)", || {
        let queue = Arc::new(Queue::<u8>::unbounded());
        let getter = spawn(&queue, Queue::get);
        let stopper = spawn(&queue, |queue| queue.shutdown(Shutdown::Drain));
        queue.shutdown(Shutdown::Immediate);
        stopper.join().unwrap();
        assert_eq!(getter.join().unwrap(), Err(GetError::ShutDown));
    });
}

#[test]
fn a_shutdown_releases_both_getters() {
    explore("queue: get × get × shutdown(Immediate)", || {
        let queue = Arc::new(Queue::<u8>::unbounded());
        let getters = [(); 2].map(|()| spawn(&queue, Queue::get));
        queue.shutdown(Shutdown::Immediate);
        assert!(getters.into_iter().all(|getter| getter.join().unwrap() == Err(GetError::ShutDown)));
    });
}

#[test]
fn tries_and_looks_agree() {
    exhaust("queue: try_put × try_put, try_get, len", || {
        let queue = Arc::new(Queue::bounded(1));
        let other = spawn(&queue, |queue| queue.try_put(1).is_ok());
        let mine = queue.try_put(2).is_ok();
        assert!(mine != other.join().unwrap(), "one slot takes one item");
        assert!(queue.is_full() && queue.len() == 1);
        assert_eq!(queue.try_iter().count(), 1);
        assert!(queue.is_empty() && !queue.is_shut_down());
        assert_eq!(queue.capacity(), Some(1));
    });
}
