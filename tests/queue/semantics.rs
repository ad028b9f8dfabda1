//! The checklist's semantics QU1 to QU10, for every type: each test is named after the one that it pins.

use super::{Subject, order};
use crate::SHORT;
use crate::asleep::{self, PATIENCE};
use crate::item::counted;
use crewkit::queue::{GetError, PutError, Shutdown, TooManyTaskDone};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn qu1_items_come_out_in_the_order_of_the_type() {
    let queue = Subject::bounded(3);
    let items = vec![111, 333, 222];
    for _ in 0..2 {
        items.iter().for_each(|&item| queue.put(item).unwrap());
        assert_eq!(queue.try_iter().collect::<Vec<_>>(), order(items.clone()));
    }
}

#[test]
fn qu1_a_maxsize_of_zero_is_no_limit() {
    let queue = Subject::bounded(0);
    assert_eq!(Subject::<u8>::default().capacity(), None);
    assert_eq!((queue.capacity(), Subject::<u8>::bounded(3).capacity()), (None, Some(3)));
    for item in 0..1_000 {
        queue.try_put(item).unwrap();
    }
    assert!(!queue.is_full());
    assert_eq!(queue.len(), 1_000);
}

#[test]
fn qu2_full_and_empty_are_answered_at_once_or_after_the_time() {
    let queue = Subject::bounded(1);
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
fn qu3_that_a_queue_is_shut_down_is_told_before_that_the_time_is_over() {
    let queue = Subject::bounded(1);
    queue.put(1).unwrap();
    queue.shutdown(Shutdown::Drain);
    for timeout in [Duration::ZERO, SHORT, Duration::MAX] {
        assert_eq!(queue.put_timeout(2, timeout), Err(PutError::ShutDown(2)));
    }
    assert_eq!(queue.get_timeout(Duration::ZERO), Ok(1));
    for timeout in [Duration::ZERO, SHORT, Duration::MAX] {
        assert_eq!(queue.get_timeout(timeout), Err(GetError::ShutDown));
    }
}

#[test]
fn qu4_the_timeout_is_a_total_over_lost_races() {
    let queue = Subject::unbounded();
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
    let queue = &Subject::bounded(1);
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
    let queue = Subject::bounded(2);
    for (len, is_full) in [(0, false), (1, false), (2, true)] {
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (len, len == 0, is_full));
        let _ = queue.try_put(len);
    }
    assert_eq!(queue.try_iter().count(), 2);
    assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (0, true, false));
}

#[test]
fn debug_shows_what_is_so_and_who_waits() {
    let queue = &Subject::bounded(2);
    queue.put_many([1, 2]).unwrap();
    let name = std::any::type_name_of_val(queue).rsplit("::").next().unwrap().trim_end_matches("<i32>");
    let shows = |fields: &str| assert_eq!(format!("{queue:?}"), format!("{name} {{ {fields} }}"));
    thread::scope(|scope| {
        let putters: Vec<_> = (0..2).map(|item| asleep::spawn(scope, move || queue.put(item))).collect();
        let joiner = asleep::spawn(scope, || queue.join());
        putters.iter().for_each(asleep::Watched::until_asleep);
        joiner.until_asleep();
        shows("len: 2, capacity: Some(2), unfinished: 2, is_shut_down: false, getting: 0, putting: 2, joining: 1");
        queue.shutdown(Shutdown::Immediate);
    });
    shows("len: 0, capacity: Some(2), unfinished: 0, is_shut_down: true, getting: 0, putting: 0, joining: 0");
}

#[test]
fn qu7_a_queue_made_smaller_drops_nothing_and_is_full_until_enough_was_got() {
    let queue = Subject::bounded(3);
    queue.put_many([1, 2, 3]).unwrap();
    queue.set_capacity(2);
    assert_eq!((queue.capacity(), queue.len()), (Some(2), 3));
    for _ in 0..2 {
        assert!(queue.is_full());
        assert_eq!(queue.try_put(4), Err(PutError::Full(4)));
        assert_eq!(queue.put_timeout(4, SHORT), Err(PutError::Full(4)));
        queue.get().unwrap();
    }
    assert!(!queue.is_full());
    queue.try_put(4).unwrap();
    assert_eq!(queue.len(), 2);
}

#[test]
fn qu7_a_queue_made_larger_wakes_as_many_putters_as_have_room_now() {
    let queue = &Subject::bounded(1);
    queue.put(0).unwrap();
    thread::scope(|scope| {
        let mut putters: Vec<_> = (1..=4).map(|item| asleep::spawn(scope, move || queue.put(item))).collect();
        putters.iter().for_each(asleep::Watched::until_asleep);
        queue.set_capacity(3);
        let begin = Instant::now();
        while putters.iter().filter(|putter| putter.handle.is_finished()).count() < 2 {
            assert!(begin.elapsed() < PATIENCE);
            thread::yield_now();
        }
        assert!(queue.is_full() && queue.len() == 3);
        putters.retain(|putter| !putter.handle.is_finished());
        assert_eq!(putters.len(), 2);
        queue.set_capacity(0);
        putters.into_iter().for_each(|putter| putter.join().unwrap());
    });
    assert_eq!((queue.len(), queue.capacity()), (5, None));
}

#[test]
fn qu7_a_putter_waits_for_the_capacity_of_now() {
    let queue = &Subject::bounded(2);
    queue.put_many([1, 2]).unwrap();
    queue.set_capacity(1);
    thread::scope(|scope| {
        let putter = asleep::spawn(scope, || queue.put(3));
        putter.until_asleep();
        queue.get().unwrap();
        assert_eq!(queue.put_timeout(4, SHORT), Err(PutError::Full(4)));
        assert!(!putter.handle.is_finished());
        queue.get().unwrap();
        putter.join().unwrap();
    });
    assert_eq!(queue.len(), 1);
}

#[test]
fn qu8_task_done_counts_every_put_and_no_more() {
    let queue = Subject::unbounded();
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    queue.put(1).unwrap();
    queue.try_put(2).unwrap();
    queue.put_timeout(3, SHORT).unwrap();
    assert!(queue.get().is_ok());
    assert_eq!((queue.unfinished(), queue.len()), (3, 2), "what is unfinished and what is there are counted apart");
    (0..3).for_each(|_| queue.task_done().unwrap());
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    queue.join();
    assert_eq!((queue.unfinished(), queue.len()), (0, 2));
}

#[test]
fn qu9_join_waits_for_the_last_task_again_and_again() {
    let queue = Subject::unbounded();
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
    let queue = Subject::unbounded();
    queue.put(1).unwrap();
    thread::scope(|scope| {
        let joiner = asleep::spawn(scope, || queue.join_timeout(PATIENCE));
        joiner.until_asleep();
        queue.task_done().unwrap();
        queue.put(2).unwrap();
        assert!(joiner.join());
    });
}

#[test]
fn qu10_a_panicking_drop_leaves_the_queue_whole() {
    let drops = AtomicUsize::new(0);
    let queue = Subject::unbounded();
    for (ends, all) in [(false, 3), (true, 6)] {
        for panics in [false, true, false] {
            let mut item = counted(&drops);
            item.panics = panics;
            queue.put(item).unwrap();
        }
        let end = || if ends { queue.shutdown(Shutdown::Immediate) } else { queue.clear() };
        assert!(catch_unwind(AssertUnwindSafe(end)).is_err());
        assert_eq!(drops.load(Ordering::SeqCst), all);
        assert_eq!((queue.is_shut_down(), queue.len()), (ends, 0));
        queue.join();
    }
}
