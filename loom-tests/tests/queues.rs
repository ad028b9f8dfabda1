//! Models of the queues under one mutex, `LifoQueue` and `PriorityQueue`, with two waiters of each kind: batches,
//! changes of capacity, shut-downs, timeouts. Both run the same lines but for their stores, so each model takes either.

use crewkit::model::{Arc, thread};
use crewkit::queue::{GetError, LifoQueue, PriorityQueue, PutError, Shutdown, TooManyTaskDone};
use crewkit_loom_tests::{SOON, explore, prepare, spawn};

#[test]
fn a_batch_wakes_both_getters() {
    explore("lifo: get × get_many(2) × put_many(2)", || {
        let queue = Arc::new(LifoQueue::unbounded());
        let single = spawn(&queue, LifoQueue::get);
        let many = spawn(&queue, |queue| {
            let items = queue.get_many(2).unwrap();
            // It may have been quicker and have both: the other one still waits for its own.
            items.into_iter().skip(1).for_each(|item| queue.put(item).unwrap());
        });
        queue.put_many([1, 2]).unwrap();
        assert!(single.join().unwrap().is_ok());
        many.join().unwrap();
        assert!(queue.is_empty());
    });
}

#[test]
fn a_batch_that_was_got_wakes_both_putters() {
    explore("priority: put × put_many(1) × get_many(2), 2 slots", || {
        let queue = Arc::new(PriorityQueue::bounded(2));
        queue.put_many([2, 1]).unwrap();
        let single = spawn(&queue, |queue| queue.put(4));
        let many = spawn(&queue, |queue| queue.put_many([3]));
        assert_eq!(queue.get_many(2), Ok(vec![1, 2]));
        single.join().unwrap().unwrap();
        many.join().unwrap().unwrap();
        assert_eq!(queue.try_get_many(3), Ok(vec![3, 4]));
    });
}

#[test]
fn a_batch_goes_through_one_slot() {
    explore("priority: put_many(2) × get × get, 1 slot", || {
        let queue = Arc::new(PriorityQueue::bounded(1));
        let getters = [(); 2].map(|()| spawn(&queue, PriorityQueue::get));
        queue.put_many([1, 2]).unwrap();
        let got = getters.map(|getter| getter.join().unwrap().unwrap());
        assert_eq!(got.iter().sum::<i32>(), 3);
        assert!(queue.is_empty());
    });
}

#[test]
fn what_is_left_of_a_timed_batch_comes_back() {
    explore("lifo: put_many_timeout(2) × get, 1 slot", || {
        let queue = Arc::new(LifoQueue::bounded(1));
        let timed = spawn(&queue, |queue| queue.put_many_timeout([1, 2], SOON));
        let first = queue.get().unwrap();
        match timed.join().unwrap() {
            Ok(()) => assert_eq!(first + queue.get().unwrap(), 3),
            // Its time is over at the first wait, so it gives back the second at most.
            Err(error) => assert_eq!((first, error), (1, PutError::Full(vec![2]))),
        }
        assert!(queue.is_empty());
    });
}

#[test]
fn a_timed_batch_that_got_nothing_takes_no_wake_up_with_it() {
    explore("priority: get_many_timeout × get × put", || {
        let queue = Arc::new(PriorityQueue::unbounded());
        let timed = spawn(&queue, |queue| match queue.get_many_timeout(2, SOON) {
            Ok(items) => queue.put_many(items).unwrap(),
            Err(error) => assert!(error.is_empty()),
        });
        let patient = spawn(&queue, PriorityQueue::get);
        queue.put(7).unwrap();
        timed.join().unwrap();
        assert_eq!(patient.join().unwrap(), Ok(7));
    });
}

#[test]
fn tries_put_and_get_what_there_is_room_and_items_for() {
    explore("priority: try_put_many(2) × try_get × get, 2 slots, 1 taken", || {
        let queue = Arc::new(PriorityQueue::bounded(2));
        queue.put(0).unwrap();
        let putter = spawn(&queue, |queue| queue.try_put_many([1, 2]));
        let getter = spawn(&queue, PriorityQueue::try_get);
        let mine = queue.get();
        let rest = match putter.join().unwrap() {
            Ok(()) => 0,
            Err(error) => error.into_inner().len(),
        };
        let got = usize::from(mine.is_ok()) + usize::from(getter.join().unwrap().is_ok());
        assert!(rest < 2, "there was one place from the beginning");
        assert_eq!((queue.len(), queue.unfinished()), (3 - rest - got, 3 - rest));
    });
}

#[test]
fn a_queue_made_larger_wakes_both_putters() {
    explore("lifo: put × put × set_capacity(3), 1 slot", || {
        let queue = Arc::new(LifoQueue::bounded(1));
        queue.put(0).unwrap();
        let putters = [1, 2].map(|item| spawn(&queue, move |queue| queue.put(item)));
        queue.set_capacity(3);
        putters.into_iter().for_each(|putter| putter.join().unwrap().unwrap());
        assert!(queue.is_full() && queue.len() == 3 && queue.capacity() == Some(3));
    });
}

#[test]
fn a_queue_made_smaller_is_full_until_enough_was_got() {
    explore("priority: put × (set_capacity(1), get, get), 2 slots", || {
        let queue = Arc::new(PriorityQueue::bounded(2));
        queue.put_many([1, 1]).unwrap();
        let putter = spawn(&queue, |queue| queue.put(2));
        queue.set_capacity(1);
        assert_eq!(queue.get(), Ok(1));
        assert!(queue.is_full() && queue.try_put(3).is_err());
        assert_eq!(queue.get(), Ok(1));
        putter.join().unwrap().unwrap();
        assert_eq!(queue.try_get_many(2), Ok(vec![2]));
    });
}

#[test]
fn both_getters_and_both_putters_are_told_of_a_shutdown() {
    explore("lifo: get × get_many × shutdown(Immediate)", || {
        let queue = Arc::new(LifoQueue::<u8>::unbounded());
        let single = spawn(&queue, LifoQueue::get);
        let many = spawn(&queue, |queue| queue.get_many(2));
        queue.shutdown(Shutdown::Immediate);
        assert_eq!(single.join().unwrap(), Err(GetError::ShutDown));
        assert_eq!(many.join().unwrap(), Err(GetError::ShutDown));
    });
    explore("priority: put × put_many(2) × shutdown(Drain), 1 slot", || {
        let queue = Arc::new(PriorityQueue::bounded(1));
        queue.put(1).unwrap();
        let single = spawn(&queue, |queue| queue.put(2));
        let many = spawn(&queue, |queue| queue.put_many([3, 4]));
        queue.shutdown(Shutdown::Drain);
        assert_eq!(single.join().unwrap(), Err(PutError::ShutDown(2)));
        assert_eq!(many.join().unwrap(), Err(PutError::ShutDown(vec![3, 4])));
        assert_eq!(queue.get(), Ok(1));
        assert_eq!(queue.get(), Err(GetError::ShutDown));
    });
}

#[test]
fn clearing_makes_room_and_ends_both_joins() {
    explore("lifo: join × join × clear", || {
        let queue = Arc::new(LifoQueue::unbounded());
        queue.put(1).unwrap();
        let joiners = [(); 2].map(|()| spawn(&queue, LifoQueue::join));
        queue.clear();
        joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
    });
    explore("priority: put × put × clear, 2 slots", || {
        let queue = Arc::new(PriorityQueue::bounded(2));
        queue.put_many([1, 1]).unwrap();
        let putters = [2, 3].map(|item| spawn(&queue, move |queue| queue.put(item)));
        queue.clear();
        putters.into_iter().for_each(|putter| putter.join().unwrap().unwrap());
        assert_eq!((queue.unfinished(), queue.peek()), (2, Some(2)));
    });
}

#[test]
fn both_joins_end_though_an_item_is_put_before_they_look_and_never_reported() {
    explore("lifo: join × join × (done, put), both in line", || {
        let queue = Arc::new(LifoQueue::unbounded());
        queue.put(1).unwrap();
        let joiners = prepare(|| {
            let joiners = [(); 2].map(|()| spawn(&queue, LifoQueue::join));
            while !format!("{queue:?}").contains("joining: 2 ") {
                thread::yield_now();
            }
            joiners
        });
        queue.task_done().unwrap();
        queue.put(2).unwrap();
        joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
    });
}

#[test]
fn a_task_ends_a_join_and_a_timed_join_takes_no_wake_up_with_it() {
    explore("priority: join × join_timeout × (task)", || {
        let queue = Arc::new(PriorityQueue::unbounded());
        queue.put(1).unwrap();
        let patient = spawn(&queue, PriorityQueue::join);
        let timed = spawn(&queue, |queue| queue.join_timeout(SOON));
        drop(queue.task(queue.try_get().unwrap()));
        patient.join().unwrap();
        // Either answer is right: the deadline may fall anywhere.
        let _ = timed.join().unwrap();
        assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    });
}

#[test]
fn a_timed_put_and_a_timed_get_take_no_wake_up_with_them() {
    explore("lifo: put_timeout × put × get, 1 slot", || {
        let queue = Arc::new(LifoQueue::bounded(1));
        queue.put(0).unwrap();
        let timed = spawn(&queue, |queue| queue.put_timeout(1, SOON).is_ok());
        let patient = spawn(&queue, |queue| queue.put(2));
        queue.get().unwrap();
        if timed.join().unwrap() {
            queue.get().unwrap();
        }
        patient.join().unwrap().unwrap();
        assert_eq!(queue.len(), 1);
    });
    explore("priority: get_timeout × get × put", || {
        let queue = Arc::new(PriorityQueue::unbounded());
        let timed = spawn(&queue, |queue| match queue.get_timeout(SOON) {
            Ok(item) => queue.try_put(item).unwrap(),
            Err(error) => assert!(error.is_empty()),
        });
        let patient = spawn(&queue, PriorityQueue::get);
        queue.put(7).unwrap();
        timed.join().unwrap();
        assert_eq!(patient.join().unwrap(), Ok(7));
    });
}
