//! What Python does not have, for every type: QU19, batches, tasks.

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
fn qu19_clear_drops_what_is_there_and_counts_it_done() {
    let drops = AtomicUsize::new(0);
    let item = || counted(&drops);
    let queue = &Subject::bounded(3);
    queue.put_many([item(), item(), item()]).unwrap();
    let got = queue.get().unwrap();
    queue.put(item()).unwrap();
    thread::scope(|scope| {
        let putter = asleep::spawn(scope, || queue.put(item()));
        let joiner = asleep::spawn(scope, || queue.join());
        putter.until_asleep();
        joiner.until_asleep();
        queue.clear();
        putter.join().unwrap();
        assert_eq!(drops.load(Ordering::SeqCst), 3);
        assert_eq!((queue.len(), queue.unfinished()), (1, 2), "one was put since, one is in hand");
        queue.clear();
        assert!(!joiner.handle.is_finished());
        queue.task_done().unwrap();
        joiner.join();
    });
    assert_eq!(queue.task_done(), Err(TooManyTaskDone));
    drop(got);
    assert_eq!(drops.load(Ordering::SeqCst), 5);
    assert!(!queue.is_shut_down());
}

#[test]
fn qu19_join_with_a_timeout_says_whether_all_was_done() {
    let queue = &Subject::unbounded();
    assert!(queue.join_timeout(Duration::ZERO));
    queue.put(1).unwrap();
    assert!(!queue.join_timeout(Duration::ZERO));
    let begin = Instant::now();
    assert!(!queue.join_timeout(SHORT));
    assert!(begin.elapsed() >= SHORT);
    thread::scope(|scope| {
        let joiner = asleep::spawn(scope, || queue.join_timeout(Duration::MAX));
        joiner.until_asleep();
        queue.task_done().unwrap();
        assert!(joiner.join());
    });
}

#[test]
fn a_task_reports_itself_after_its_item_is_gone_whatever_happens() {
    let drops = AtomicUsize::new(0);
    let queue = &Subject::unbounded();
    queue.put_many((0..3).map(|_| counted(&drops))).unwrap();
    let task = queue.task(queue.get().unwrap());
    assert!(!task.panics);
    assert_eq!(queue.unfinished(), 3);
    drop(task);
    assert_eq!((queue.unfinished(), drops.load(Ordering::SeqCst)), (2, 1));
    let consumer = || {
        let mut task = queue.task(queue.get().unwrap());
        task.panics = true;
    };
    assert!(catch_unwind(AssertUnwindSafe(consumer)).is_err());
    assert_eq!((queue.unfinished(), drops.load(Ordering::SeqCst)), (1, 2));
    let item = queue.task(queue.get().unwrap()).into_inner();
    assert_eq!((queue.unfinished(), drops.load(Ordering::SeqCst)), (0, 2));
    drop(item);
}

#[test]
fn iterators_end_where_they_say() {
    let queue = Subject::unbounded();
    queue.put_many([1, 2]).unwrap();
    assert_eq!(queue.try_iter().count(), 2);
    assert_eq!(queue.try_iter().next(), None);
    queue.put(3).unwrap();
    queue.shutdown(Shutdown::Drain);
    let mut items = queue.iter();
    assert_eq!((items.next(), items.next(), items.next()), (Some(3), None, None));
    assert_eq!((&queue).into_iter().count(), 0);
}

#[test]
fn a_batch_keeps_its_order_and_counts_each_item() {
    let queue = Subject::unbounded();
    queue.put_many([3, 1, 2]).unwrap();
    queue.put_many(Vec::new()).unwrap();
    assert_eq!((queue.len(), queue.unfinished()), (3, 3));
    assert_eq!(queue.get_many(0), Ok(vec![]));
    let expected = order(vec![3, 1, 2]);
    assert_eq!(queue.get_many(2).unwrap(), expected[..2]);
    assert_eq!(queue.try_get_many(usize::MAX).unwrap(), expected[2..]);
    assert_eq!(queue.try_get_many(1), Err(GetError::Empty));
    assert_eq!(queue.get_many_timeout(1, Duration::ZERO), Err(GetError::Empty));
    let begin = Instant::now();
    assert_eq!(queue.get_many_timeout(1, SHORT), Err(GetError::Empty));
    assert!(begin.elapsed() >= SHORT);
}

#[test]
fn what_has_no_room_of_a_batch_comes_back_in_order() {
    let queue = Subject::bounded(3);
    queue.put(0).unwrap();
    assert_eq!(queue.try_put_many(1..=4), Err(PutError::Full(vec![3, 4])));
    assert_eq!(queue.try_put_many([5, 6]), Err(PutError::Full(vec![5, 6])));
    assert_eq!(queue.put_many_timeout([5, 6], Duration::ZERO), Err(PutError::Full(vec![5, 6])));
    queue.get().unwrap();
    let begin = Instant::now();
    assert_eq!(queue.put_many_timeout([7, 8, 9], SHORT), Err(PutError::Full(vec![8, 9])));
    assert!(begin.elapsed() >= SHORT);
    assert_eq!((queue.len(), queue.unfinished()), (3, 4));
    queue.shutdown(Shutdown::Drain);
    assert_eq!(queue.try_put_many([10, 11]), Err(PutError::ShutDown(vec![10, 11])));
    assert_eq!(queue.put_many([10, 11]), Err(PutError::ShutDown(vec![10, 11])));
    assert_eq!(queue.put_many_timeout([10, 11], PATIENCE), Err(PutError::ShutDown(vec![10, 11])));
    assert_eq!(queue.get_many(9).map(|items| items.len()), Ok(3));
    assert_eq!(queue.get_many(9), Err(GetError::ShutDown));
    assert_eq!(queue.try_get_many(9), Err(GetError::ShutDown));
    assert_eq!(queue.get_many_timeout(9, PATIENCE), Err(GetError::ShutDown));
}

#[test]
fn a_batch_wakes_as_many_getters_as_it_has_items() {
    let queue = &Subject::unbounded();
    thread::scope(|scope| {
        let getters: Vec<_> = (0..3).map(|_| asleep::spawn(scope, || queue.get())).collect();
        getters.iter().for_each(asleep::Watched::until_asleep);
        queue.put_many([1, 2, 3]).unwrap();
        let mut got: Vec<_> = getters.into_iter().map(|getter| getter.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
    });
}

#[test]
fn a_batch_got_wakes_as_many_putters_as_it_leaves_room() {
    let queue = &Subject::bounded(3);
    queue.put_many([1, 2, 3]).unwrap();
    thread::scope(|scope| {
        let putters: Vec<_> = (4..=6).map(|item| asleep::spawn(scope, move || queue.put(item))).collect();
        putters.iter().for_each(asleep::Watched::until_asleep);
        assert_eq!(queue.get_many(3).unwrap(), order(vec![1, 2, 3]));
        putters.into_iter().for_each(|putter| putter.join().unwrap());
    });
    assert_eq!(queue.len(), 3);
}

#[test]
fn a_batch_larger_than_the_queue_goes_through_it() {
    let queue = &Subject::bounded(2);
    thread::scope(|scope| {
        let putter = asleep::spawn(scope, || queue.put_many(0..100));
        let mut got = Vec::new();
        while got.len() < 100 {
            got.extend(queue.get_many(7).unwrap());
            assert!(queue.len() <= 2);
        }
        putter.join().unwrap();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..100));
    });
}

#[test]
fn a_shutdown_hands_back_what_is_left_of_a_waiting_batch() {
    let queue = &Subject::bounded(2);
    thread::scope(|scope| {
        let putter = asleep::spawn(scope, || queue.put_many(1..=5));
        putter.until_asleep();
        assert_eq!(queue.len(), 2);
        queue.shutdown(Shutdown::Drain);
        assert_eq!(putter.join(), Err(PutError::ShutDown(vec![3, 4, 5])));
    });
    let empty = &Subject::<u8>::unbounded();
    thread::scope(|scope| {
        let getter = asleep::spawn(scope, || empty.get_many(2));
        getter.until_asleep();
        empty.shutdown(Shutdown::Immediate);
        assert_eq!(getter.join(), Err(GetError::ShutDown));
    });
}

#[test]
fn an_iterator_that_panics_puts_nothing() {
    let drops = AtomicUsize::new(0);
    let queue = Subject::unbounded();
    let items = (0..3).map(|i| if i < 2 { counted(&drops) } else { panic!("on purpose") });
    assert!(catch_unwind(AssertUnwindSafe(|| queue.put_many(items))).is_err());
    assert_eq!((queue.len(), queue.unfinished(), drops.load(Ordering::SeqCst)), (0, 0, 2));
    queue.put(counted(&drops)).unwrap();
    queue.join_timeout(Duration::ZERO);
}

#[test]
fn an_iterator_may_use_the_queue() {
    let queue = &Subject::unbounded();
    queue.put(1).unwrap();
    queue.put_many((0..3).map(|i| i + queue.len())).unwrap();
    queue.put_many(queue.try_iter().map(|item| item + 1)).unwrap();
    let mut got = queue.get_many(9).unwrap();
    got.sort_unstable();
    assert_eq!(got, [2, 2, 3, 4]);
}
