//! Models of the list of segments under `Queue` and `SimpleQueue`. A segment has two slots here, so that three items come
//! to a boundary. What every queue promises is in `queue.rs`.

use crewkit::model::{Arc, thread};
use crewkit::queue::{GetError, PutError, Queue, Shutdown, SimpleQueue, TooManyTaskDone};
use crewkit_loom_tests::{Drops, Plain, SOON, explore, explore_large, prepare, spawn, until_it_says};

#[test]
fn items_cross_from_segment_to_segment_while_those_behind_are_freed() {
    explore("fifo: 4 puts × 4 gets", || {
        let drops = Drops::default();
        let queue = Arc::new(Queue::unbounded());
        let putter = spawn(&queue, {
            let drops = drops.clone();
            move |queue| (0..4).for_each(|number| assert!(queue.put(drops.item(number)).is_ok()))
        });
        for number in 0..4 {
            assert_eq!(queue.get().map(|item| item.0), Ok(number));
            assert_eq!(drops.count(), number + 1);
        }
        putter.join().unwrap();
        assert!(queue.is_empty());
    });
}

#[test]
fn two_putters_and_two_getters_meet_at_a_boundary() {
    explore("fifo: put × put × try_get × try_get, before a last slot", || {
        let drops = Drops::default();
        let queue = Arc::new(Queue::unbounded());
        queue.put(drops.item(0)).ok().unwrap();
        let putter = spawn(&queue, {
            let item = drops.item(1);
            move |queue| assert!(queue.put(item).is_ok())
        });
        let getter = spawn(&queue, |queue| queue.try_get().is_ok());
        queue.put(drops.item(2)).ok().unwrap();
        let mut got = usize::from(queue.try_get().is_ok());
        putter.join().unwrap();
        got += usize::from(getter.join().unwrap());
        assert_eq!(drops.count(), got, "what was got is dropped, once");
        assert_eq!((got + queue.len(), queue.unfinished()), (3, 3));
        drop(queue);
        assert_eq!(drops.count(), 3, "the rest is dropped with the queue");
    });
}

#[test]
fn batches_go_over_a_boundary_and_wake_each_other() {
    explore_large("fifo: put_many(4) × get_many, 3 places", || {
        let queue = Arc::new(Queue::bounded(3));
        let putter = spawn(&queue, |queue| queue.put_many(0..4));
        let mut got = Vec::new();
        while got.len() < 4 {
            got.extend(queue.get_many(3).unwrap());
        }
        assert_eq!(got, [0, 1, 2, 3]);
        assert_eq!(putter.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_batch_is_at_most_what_was_there_at_one_moment() {
    explore("fifo: get_many × (put, put), 2 of 2 places taken", || {
        let queue = Arc::new(Queue::bounded(2));
        queue.put_many([0, 1]).unwrap();
        let putter = spawn(&queue, |queue| [2, 3].map(|item| queue.put(item).is_ok()));
        let got = queue.try_get_many(usize::MAX).unwrap();
        assert_eq!(got, [0, 1]);
        queue.get_many(usize::MAX).unwrap();
        assert_eq!(putter.join().unwrap(), [true; 2]);
    });
}

#[test]
fn an_immediate_shutdown_drops_what_no_getter_got_and_nothing_is_put_after_it() {
    explore("fifo: put × try_get × shutdown(Immediate), over a boundary", || {
        let drops = Drops::default();
        let queue = Arc::new(Queue::unbounded());
        (0..2).for_each(|number| assert!(queue.put(drops.item(number)).is_ok()));
        let putter = spawn(&queue, {
            let item = drops.item(2);
            move |queue| match queue.put(item) {
                Ok(()) => true,
                Err(error) => !error.is_shut_down(),
            }
        });
        let getter = spawn(&queue, |queue| queue.try_get().map(|item| item.0));
        queue.shutdown(Shutdown::Immediate);
        assert_eq!(queue.try_get().err(), Some(GetError::ShutDown));
        let got = getter.join().unwrap();
        assert!(matches!(got, Ok(0) | Err(GetError::ShutDown)), "{got:?}");
        putter.join().unwrap();
        assert_eq!(drops.count(), 3);
        assert_eq!((queue.len(), queue.unfinished()), (0, usize::from(got.is_ok())));
    });
}

#[test]
fn a_drain_leaves_what_was_put_before_it_and_nothing_else() {
    explore("fifo: put × shutdown(Drain) × get until the end", || {
        let queue = Arc::new(Queue::unbounded());
        queue.put(0).unwrap();
        let putter = spawn(&queue, |queue| queue.put(1).is_ok());
        let getter = spawn(&queue, |queue| queue.iter().count());
        queue.shutdown(Shutdown::Drain);
        assert_eq!(getter.join().unwrap(), 1 + usize::from(putter.join().unwrap()));
        assert_eq!(queue.try_get(), Err(GetError::ShutDown));
    });
}

#[test]
fn clearing_makes_room_and_ends_a_join() {
    explore("fifo: put × join × clear, 1 place", || {
        let drops = Drops::default();
        let queue = Arc::new(Queue::bounded(1));
        queue.put(drops.item(0)).ok().unwrap();
        let putter = spawn(&queue, {
            let item = drops.item(1);
            move |queue| assert!(queue.put(item).is_ok())
        });
        let joiner = spawn(&queue, Queue::join);
        queue.clear();
        putter.join().unwrap();
        queue.clear();
        joiner.join().unwrap();
        assert_eq!((drops.count(), queue.task_done()), (2, Err(TooManyTaskDone)));
    });
}

#[test]
fn more_places_wake_both_putters() {
    explore("fifo: put × put × set_capacity(3), 1 place", || {
        let queue = Arc::new(Queue::bounded(1));
        queue.put(0).unwrap();
        let putters = [1, 2].map(|item| spawn(&queue, move |queue| queue.put(item)));
        queue.set_capacity(3);
        putters.into_iter().for_each(|putter| putter.join().unwrap().unwrap());
        assert!(queue.is_full() && queue.len() == 3);
    });
}

#[test]
fn fewer_places_hold_for_every_put_that_begins_after() {
    explore("fifo: try_put × (set_capacity(1), try_put), 1 of 2 places taken", || {
        let queue = Arc::new(Queue::bounded(2));
        queue.put(0).unwrap();
        let other = spawn(&queue, |queue| queue.try_put(1).is_ok());
        queue.set_capacity(1);
        assert_eq!(queue.try_put(2), Err(PutError::Full(2)));
        assert_eq!(queue.len(), 1 + usize::from(other.join().unwrap()));
    });
}

#[test]
fn fewer_places_leave_a_putter_waiting_until_enough_was_got() {
    explore("fifo: put × set_capacity(1) × (get, get), 2 of 2 places taken", || {
        let queue = Arc::new(Queue::bounded(2));
        queue.put_many([0, 1]).unwrap();
        let putter = spawn(&queue, |queue| queue.put(2));
        let smaller = spawn(&queue, |queue| queue.set_capacity(1));
        assert_eq!((queue.get(), queue.get()), (Ok(0), Ok(1)));
        putter.join().unwrap().unwrap();
        smaller.join().unwrap();
        assert_eq!((queue.get(), queue.capacity()), (Ok(2), Some(1)));
    });
}

#[test]
fn a_join_ends_with_the_last_task_whatever_is_put_meanwhile() {
    explore("fifo: join × (put, done) × done", || {
        let queue = Arc::new(Queue::unbounded());
        queue.put(0).unwrap();
        let joiner = spawn(&queue, Queue::join);
        let other = spawn(&queue, |queue| {
            queue.put(1).unwrap();
            queue.task_done().unwrap();
        });
        queue.task_done().unwrap();
        joiner.join().unwrap();
        other.join().unwrap();
        assert_eq!(queue.unfinished(), 0);
    });
}

/// A joiner of a queue with one item, which has looked already, in vain.
fn joiner_in_line(queue: &Arc<Queue<u8>>) -> thread::JoinHandle<()> {
    prepare(|| {
        queue.put(0).expect("it is open");
        let joiner = spawn(queue, Queue::join);
        until_it_says(queue, "joining: 1 ");
        joiner
    })
}

#[test]
fn a_join_ends_though_an_item_is_put_before_it_looks_and_never_reported() {
    explore("fifo: join × task_done × put, one of two reported", || {
        let queue = Arc::new(Queue::unbounded());
        let joiner = joiner_in_line(&queue);
        let reporter = spawn(&queue, Queue::task_done);
        let was_all_done = queue.unfinished() == 0;
        queue.put(1).unwrap();
        reporter.join().unwrap().unwrap();
        if !was_all_done {
            queue.task_done().unwrap();
        }
        joiner.join().unwrap();
    });
}

#[test]
fn clearing_ends_a_join_though_an_item_is_put_before_it_looks() {
    explore("fifo: join × clear × put, nothing reported", || {
        let queue = Arc::new(Queue::unbounded());
        let joiner = joiner_in_line(&queue);
        let clearer = spawn(&queue, Queue::clear);
        queue.put(1).unwrap();
        joiner.join().unwrap();
        clearer.join().unwrap();
    });
}

#[test]
fn of_two_reports_of_one_task_one_is_too_many() {
    explore("fifo: task_done × task_done × put", || {
        let queue = Arc::new(Queue::unbounded());
        queue.put(0).unwrap();
        let other = spawn(&queue, Queue::task_done);
        let putter = spawn(&queue, |queue| queue.put(1).unwrap());
        let mine = queue.task_done();
        let reports = usize::from(mine.is_ok()) + usize::from(other.join().unwrap().is_ok());
        putter.join().unwrap();
        assert!(reports >= 1);
        assert_eq!(queue.unfinished(), 2 - reports);
    });
}

#[test]
fn a_report_beside_a_put_is_not_too_many() {
    explore("fifo: task_done × (put, task_done)", || {
        let queue = Arc::new(Queue::unbounded());
        queue.put(0).unwrap();
        let reporter = spawn(&queue, Queue::task_done);
        queue.put(1).unwrap();
        queue.task_done().unwrap();
        reporter.join().unwrap().unwrap();
        assert_eq!(queue.unfinished(), 0);
    });
}

#[test]
fn a_timed_put_puts_or_hands_back() {
    explore("fifo: put_timeout × get × get_timeout, 1 place", || {
        let drops = Drops::default();
        let queue = Arc::new(Queue::bounded(1));
        queue.put(drops.item(0)).ok().unwrap();
        let putter = spawn(&queue, {
            let item = drops.item(1);
            move |queue| queue.put_timeout(item, SOON).is_ok()
        });
        let getter = spawn(&queue, |queue| queue.get_timeout(SOON).is_ok());
        let mine = queue.get_timeout(SOON).is_ok();
        assert!(getter.join().unwrap() || mine, "there was an item from the beginning");
        let was_put = putter.join().unwrap();
        assert_eq!(drops.count() + queue.len(), 2);
        assert!(was_put || queue.is_empty());
    });
}

#[test]
fn a_simple_queue_wakes_its_getter() {
    explore("fifo: SimpleQueue, (get, get_timeout) × (put, put)", || {
        let queue = Arc::new(SimpleQueue::unbounded());
        let getter = spawn(&queue, |queue| (queue.get(), queue.get_timeout(SOON)));
        queue.put(1).unwrap();
        queue.put(2).unwrap();
        let (first, second) = getter.join().unwrap();
        assert_eq!((first, second.or_else(|_| queue.try_get())), (Ok(1), Ok(2)));
        assert!(queue.is_empty());
    });
}

#[test]
fn a_batch_wakes_its_getter() {
    explore("fifo: SimpleQueue, get × put_many(3)", || {
        let queue = Arc::new(SimpleQueue::unbounded());
        let getter = spawn(&queue, SimpleQueue::get);
        queue.put_many([1, 2, 3]).unwrap();
        assert_eq!(getter.join().unwrap(), Ok(1));
        assert_eq!(queue.get_many(3), Ok(vec![2, 3]));
    });
}

#[test]
fn a_batch_that_does_not_wait_puts_what_has_room_and_wakes_a_getter() {
    explore("fifo: try_put_many(3) × (get, get), 2 places", || {
        let queue = Arc::new(Queue::bounded(2));
        let getter = spawn(&queue, |queue| [queue.get(), queue.get()]);
        let back = queue.try_put_many([0, 1, 2]).map_or_else(PutError::into_inner, |()| vec![]);
        assert!(back.is_empty() || back == [2], "{back:?}");
        assert_eq!(getter.join().unwrap(), [Ok(0), Ok(1)]);
        assert_eq!(queue.len(), 1 - back.len());
    });
}

#[test]
fn a_timed_batch_puts_or_hands_back() {
    explore("fifo: put_many_timeout(3) × (get, get), 1 of 2 places taken", || {
        let queue = Arc::new(Queue::bounded(2));
        queue.put(0).unwrap();
        let putter = spawn(&queue, |queue| queue.put_many_timeout([1, 2, 3], SOON));
        assert_eq!([queue.get(), queue.get()], [Ok(0), Ok(1)]);
        let back = putter.join().unwrap().map_or_else(PutError::into_inner, |()| vec![]);
        assert!(queue.try_iter().chain(back).eq(2..4), "nothing is lost, and all is in order");
    });
}

#[test]
fn a_batch_got_without_waiting_makes_room() {
    explore("fifo: try_get_many × (put, put), 2 of 2 places taken", || {
        let queue = Arc::new(Queue::bounded(2));
        queue.put_many([0, 1]).unwrap();
        let putter = spawn(&queue, |queue| [2, 3].map(|item| queue.put(item).is_ok()));
        assert_eq!(queue.try_get_many(3).map(|got| got[..2] == [0, 1]), Ok(true));
        assert_eq!(putter.join().unwrap(), [true; 2]);
    });
}

#[test]
fn a_timed_batch_that_got_nothing_takes_no_call_with_it() {
    explore_large("fifo: get_many_timeout × get × put", || {
        let queue = Arc::new(Queue::unbounded());
        let timed = spawn(&queue, |queue| queue.get_many_timeout(2, SOON));
        let patient = spawn(&queue, Queue::get);
        queue.put(0).unwrap();
        match timed.join().unwrap() {
            Ok(got) => {
                assert_eq!(got, [0]);
                queue.put(1).unwrap();
                assert_eq!(patient.join().unwrap(), Ok(1));
            }
            Err(error) => assert_eq!((error, patient.join().unwrap()), (GetError::Empty, Ok(0))),
        }
    });
}

#[test]
fn a_join_sees_what_every_reporter_did() {
    explore("fifo: (task, join) × (write, task_done), both got", || {
        let queue = Arc::new(Queue::unbounded());
        let written = Arc::new(Plain::new(0));
        queue.put_many([0, 1]).unwrap();
        let items = queue.get_many(2).unwrap();
        let reporter = spawn(&queue, {
            let written = Arc::clone(&written);
            move |queue| {
                written.add(1);
                queue.task_done().unwrap();
            }
        });
        drop(queue.task(items[0]));
        queue.join();
        assert_eq!(written.get(), 1);
        reporter.join().unwrap();
    });
}

#[test]
fn clearing_ends_both_joins() {
    explore("fifo: join × join × clear", || {
        let queue = Arc::new(Queue::unbounded());
        queue.put(0).unwrap();
        let joiners = [(); 2].map(|()| spawn(&queue, Queue::join));
        queue.clear();
        joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
        assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    });
}

#[test]
fn a_length_is_one_that_was() {
    explore("fifo: (put, put) × (try_get, try_get) × len", || {
        let queue = Arc::new(Queue::bounded(2));
        let getter =
            spawn(&queue, |queue| [queue.try_get(), queue.try_get()].into_iter().filter(Result::is_ok).count());
        let looker = spawn(&queue, |queue| queue.len());
        (0..2).for_each(|item| queue.put(item).unwrap());
        let got = getter.join().unwrap();
        let length = looker.join().unwrap();
        assert!(length <= 2, "{length}");
        assert_eq!((queue.len(), queue.is_full()), (2 - got, got == 0));
    });
}

#[test]
fn a_queue_that_never_was_full_does_not_seem_so() {
    explore("fifo: (try_get, put) × is_full, 1 of 2 places taken", || {
        let queue = Arc::new(Queue::bounded(2));
        queue.put(0).unwrap();
        let other = spawn(&queue, |queue| {
            queue.try_get().unwrap();
            queue.put(1).unwrap();
        });
        assert!(!queue.is_full());
        other.join().unwrap();
    });
}

#[test]
fn a_put_within_a_segment_wakes_its_getter() {
    explore("fifo: get × put, the next put a plain one", || {
        let queue = Arc::new(Queue::unbounded());
        queue.put_many([0, 1]).unwrap();
        queue.get_many(2).unwrap();
        let getter = spawn(&queue, Queue::get);
        queue.put(2).unwrap();
        assert_eq!(getter.join().unwrap(), Ok(2));
    });
}

#[test]
fn a_get_within_a_segment_wakes_its_putter() {
    explore("fifo: put × get, 3 of 3 places taken, the next get a plain one", || {
        let queue = Arc::new(Queue::bounded(3));
        queue.put_many(0..3).unwrap();
        queue.get_many(2).unwrap();
        queue.put_many(3..5).unwrap();
        let putter = spawn(&queue, |queue| queue.put(5));
        assert_eq!(queue.get(), Ok(2));
        putter.join().unwrap().unwrap();
    });
}
