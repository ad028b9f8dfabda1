//! `SimpleQueue`, as CPython's `_queue.SimpleQueue`: items SQ1 to SQ7 of the checklist, with the cases of
//! `BaseSimpleQueueTest` by name.

use crate::SHORT;
use crate::asleep::{self, PATIENCE};
use crewkit::queue::{GetError, LifoQueue, PriorityQueue, Queue, SimpleQueue, select};
use std::cell::Cell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn sq1_test_basic() {
    let queue = SimpleQueue::unbounded();
    assert!(queue.is_empty());
    for item in 1..=4 {
        queue.put(item).unwrap();
    }
    assert_eq!(queue.len(), 4);
    assert_eq!([(); 4].map(|()| queue.get().unwrap()), [1, 2, 3, 4]);
    assert!(queue.is_empty());
    queue.put_many(0..100_000).unwrap();
    assert_eq!(queue.len(), 100_000, "no put waits");
    assert_eq!(queue.get_many(70_000).unwrap().len(), 70_000);
    assert!(queue.try_iter().eq(70_000..100_000));
    assert_eq!(format!("{queue:?}"), "SimpleQueue { len: 0, getting: 0 }");
}

#[test]
fn sq2_get_blocks_is_timed_or_answers_at_once() {
    let queue = SimpleQueue::default();
    assert_eq!(queue.try_get(), Err(GetError::Empty));
    assert_eq!(queue.get_timeout(Duration::ZERO), Err(GetError::Empty));
    let begin = Instant::now();
    assert_eq!(queue.get_timeout(SHORT), Err(GetError::Empty));
    assert!(begin.elapsed() >= SHORT);
    thread::scope(|scope| {
        let getter = asleep::spawn(scope, || queue.get());
        getter.until_asleep();
        queue.put(1).unwrap();
        assert_eq!(getter.handle.join().unwrap(), Ok(1));
        let selector = asleep::spawn(scope, || select(&[&queue], PATIENCE));
        selector.until_asleep();
        queue.put(2).unwrap();
        assert_eq!(selector.handle.join().unwrap(), Some(0));
        assert_eq!(queue.get_timeout(Duration::MAX), Ok(2));
    });
}

#[test]
fn sq2_the_forms_of_put_are_one_and_batches_are_got_in_each_form() {
    let queue = SimpleQueue::unbounded();
    queue.try_put(1).unwrap();
    queue.put_timeout(2, Duration::ZERO).unwrap();
    assert_eq!(queue.try_get_many(3), Ok(vec![1, 2]));
    assert_eq!(queue.try_get_many(3), Err(GetError::Empty));
    assert_eq!(queue.try_get_many(0), Ok(vec![]));
    assert_eq!(queue.get_many_timeout(3, Duration::ZERO), Err(GetError::Empty));
    let begin = Instant::now();
    assert_eq!(queue.get_many_timeout(3, SHORT), Err(GetError::Empty));
    assert!(begin.elapsed() >= SHORT);
    thread::scope(|scope| {
        let getter = asleep::spawn(scope, || queue.get_many_timeout(3, Duration::MAX));
        getter.until_asleep();
        queue.put(3).unwrap();
        assert_eq!(getter.join(), Ok(vec![3]));
    });
}

#[test]
fn a_queue_of_anything_may_be_used_after_an_unwinding() {
    fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    is_unwind_safe::<SimpleQueue<Cell<u8>>>();
    is_unwind_safe::<Queue<Cell<u8>>>();
    is_unwind_safe::<LifoQueue<Cell<u8>>>();
    is_unwind_safe::<PriorityQueue<Cell<u8>>>();
}

#[test]
fn sq3_test_order() {
    const ITEMS: u32 = 20_000;
    let queue = SimpleQueue::unbounded();
    thread::scope(|scope| {
        scope.spawn(|| (0..ITEMS).for_each(|item| queue.put(item).unwrap()));
        assert!(queue.iter().take(ITEMS as usize).eq(0..ITEMS));
    });
}

/// `test_many_threads`, `test_many_threads_nonblock` and `test_many_threads_timeout`.
#[test]
fn sq4_test_many_threads() {
    const EACH: usize = 500;
    const PAIRS: usize = 8;
    let get = |queue: &SimpleQueue<usize>, turn: usize| match turn % 3 {
        0 => queue.get(),
        1 => queue.try_get(),
        _ => queue.get_timeout(Duration::from_micros(10)),
    };
    let queue = SimpleQueue::unbounded();
    let sum = AtomicUsize::new(0);
    thread::scope(|scope| {
        for pair in 0..PAIRS {
            let (queue, sum) = (&queue, &sum);
            scope.spawn(move || (0..EACH).for_each(|item| queue.put(pair * EACH + item).unwrap()));
            scope.spawn(move || {
                let mut got = 0;
                while got < EACH {
                    if let Ok(item) = get(queue, pair + got) {
                        sum.fetch_add(item, Ordering::Relaxed);
                        got += 1;
                    } else {
                        thread::yield_now();
                    }
                }
            });
        }
    });
    assert!(queue.is_empty());
    assert_eq!(sum.into_inner(), (0..PAIRS * EACH).sum());
}

#[test]
fn sq5_test_references() {
    let item = Arc::new(());
    let queue = SimpleQueue::unbounded();
    for _ in 0..200 {
        queue.put(Arc::clone(&item)).unwrap();
    }
    assert_eq!(Arc::strong_count(&item), 201);
    for left in (0..200).rev() {
        drop(queue.get().unwrap());
        assert_eq!(Arc::strong_count(&item), 1 + left, "what was got is the getter's alone");
    }
}

/// An item that puts another when it is dropped, wherever that is.
struct Reentrant(Weak<SimpleQueue<Option<Self>>>);

impl Drop for Reentrant {
    fn drop(&mut self) {
        if let Some(queue) = self.0.upgrade() {
            assert!(queue.put(None).is_ok());
        }
    }
}

/// Nothing of a user's runs inside an operation but an item's `Drop`; CPython's case has a garbage collector for that.
#[test]
fn sq6_test_reentrancy() {
    let queue = Arc::new(SimpleQueue::unbounded());
    let put = || queue.put(Some(Reentrant(Arc::downgrade(&queue)))).unwrap();
    for _ in 0..200 {
        put();
        drop(queue.get().unwrap());
        assert_eq!(queue.len(), 1, "the drop has put one");
        assert!(queue.get().unwrap().is_none());
    }
    (0..200).for_each(|_| put());
    let got = queue.get_many(usize::MAX).unwrap();
    assert_eq!((got.len(), queue.len()), (200, 0));
    drop(got);
    assert_eq!(queue.len(), 200);
    queue.try_iter().for_each(|item| assert!(item.is_none()));
}

/// Whatever has these methods is no `SimpleQueue`: this compiles only where the trait's are the only ones.
#[test]
fn sq7_there_is_no_task_done_nor_join_nor_full_nor_shutdown() {
    trait Absent {
        fn task_done(&self) -> &'static str {
            "absent"
        }
        fn join(&self) -> &'static str {
            "absent"
        }
        fn is_full(&self) -> &'static str {
            "absent"
        }
        fn shutdown(&self) -> &'static str {
            "absent"
        }
    }
    impl<T> Absent for SimpleQueue<T> {}
    let queue = SimpleQueue::<u8>::unbounded();
    assert_eq!([queue.task_done(), queue.join(), queue.is_full(), queue.shutdown()], ["absent"; 4]);
}
