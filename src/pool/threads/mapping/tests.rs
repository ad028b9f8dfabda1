//! A rest that one worker does, whatever its items cost; iterators that promise what they do not keep.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;

use super::*;
use crate::pool::{MapError, ThreadPool};

/// From its second item on every worker finds the rest short.
const SHORT: Short = Short { item: Duration::from_secs(3_600), rest: Duration::MAX };

/// An iterator that promises more or fewer items than it has.
struct Liar(Range<u64>, usize);

impl Iterator for Liar {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.1, Some(self.1))
    }
}

fn map_short<A, R: Send>(
    pool: &ThreadPool,
    short: Short,
    f: impl Fn(A) -> R + Sync,
    items: impl Iterator<Item = A> + Send,
) -> Outcome<R> {
    // Not a range, which would be cut.
    map(pool.shared(), &f, items.fuse(), Terms { chunksize: None, short, begin_by: Deadline::NEVER, cancelled: None })
}

/// Waits until a worker that came for a rest, which another one does, has left again.
fn until_alone(pool: &ThreadPool) {
    while (pool.stats().queued, pool.stats().running) != (0, 1) {
        thread::yield_now();
    }
}

#[test]
fn a_rest_is_done_in_order_by_one_and_the_other_leaves() {
    let pool = ThreadPool::new(2).unwrap();
    for count in [1, 2, 3, 10, 10_000] {
        let expected: Vec<String> = (0..count).map(|n: u64| n.to_string()).collect();
        let call = |n: u64| {
            if n == 5 {
                until_alone(&pool);
            }
            n.to_string()
        };
        assert_eq!(map_short(&pool, SHORT, call, 0..count).into_result().unwrap(), expected);
    }
    assert_eq!(pool.stats().completed, 10_016);
}

#[test]
fn who_left_is_called_in_when_the_rest_takes_long() {
    let pool = ThreadPool::new(2).unwrap();
    let short = Short { item: Duration::from_millis(1), rest: Duration::MAX };
    let workers = Mutex::new(HashSet::new());
    // Items take long from the fifth on. Pieces grow eightfold, so the one that it stands in ends before the fortieth.
    let call = |n: u64| {
        if n >= 5 {
            workers.lock().insert(thread::current().id());
        }
        if n == 5 {
            until_alone(&pool);
        }
        if n >= 5 {
            thread::sleep(Duration::from_millis(8));
        }
        // Not to be passed by one worker.
        while n >= 40 && workers.lock().len() < 2 {
            thread::yield_now();
        }
    };
    assert_eq!(map_short(&pool, short, call, 0..50).into_result().unwrap().len(), 50);
}

#[test]
fn items_of_a_rest_that_panic_fail_alone() {
    let pool = ThreadPool::new(2).unwrap();
    let call = |n: u64| if n % 10 == 3 { panic!("item {n}") } else { Box::new(n) };
    let MapError { index, error, results } = map_short(&pool, SHORT, call, 0..1_000).into_result().unwrap_err();
    assert_eq!(index, 3);
    assert!(matches!(&error, TaskError::Panicked { message, .. } if message == "item 3"), "{error}");
    assert_eq!(results, (0..1_000).map(|n| (n % 10 != 3).then(|| Box::new(n))).collect::<Vec<_>>());
}

#[test]
fn an_iterator_may_panic_end_early_or_go_on_in_a_rest() {
    let pool = ThreadPool::new(2).unwrap();
    let done = AtomicUsize::new(0);
    let items = (0..1_000_u64).inspect(|n| assert_ne!(*n, 600, "as expected"));
    let call = |_| done.fetch_add(1, Ordering::Relaxed);
    let caught = catch_unwind(AssertUnwindSafe(|| map_short(&pool, SHORT, call, items))).map(drop).unwrap_err();
    assert!(caught.downcast_ref::<String>().unwrap().contains("as expected"));
    assert_eq!(done.into_inner(), 600);

    let expected: Vec<u64> = (0..100).collect();
    for promise in [1, 2, 50, 99, 101, 1_000] {
        assert_eq!(map_short(&pool, SHORT, |n| n, Liar(0..100, promise)).into_result().unwrap(), expected);
    }
}

#[test]
fn a_rest_is_cancelled_between_its_pieces() {
    let pool = ThreadPool::new(2).unwrap();
    let cancelled = AtomicBool::new(false);
    let begun = AtomicUsize::new(0);
    let call = |n: u64| {
        begun.fetch_add(1, Ordering::Relaxed);
        cancelled.fetch_or(n == 20, Ordering::Relaxed);
    };
    let terms = Terms { chunksize: None, short: SHORT, begin_by: Deadline::NEVER, cancelled: Some(&cancelled) };
    let MapError { error, results, .. } =
        map(pool.shared(), &call, (0..1_000_000).fuse(), terms).into_result().unwrap_err();
    assert_eq!((error, results.len()), (TaskError::Cancelled, 1_000_000));
    assert!(results.iter().flatten().count() == begun.load(Ordering::Relaxed) && begun.into_inner() < 100_000);
}

#[test]
fn an_iterator_may_have_more_or_fewer_items_than_it_promised() {
    let pool = ThreadPool::new(2).unwrap();
    let fails = |n: u64| if n == 3 || n == 90 { panic!("item {n}") } else { n.to_string() };
    for promise in [0, 1, 50, 99, 101, 1_000] {
        for chunksize in [1, 7, 200] {
            let call = pool.with().chunksize(chunksize);
            let expected: Vec<String> = (0..100).map(|n: u64| n.to_string()).collect();
            assert_eq!(call.map(|n| n.to_string(), Liar(0..100, promise)).unwrap(), expected);
            let MapError { index, results, .. } = call.map(fails, Liar(0..100, promise)).unwrap_err();
            assert_eq!((index, results.len()), (3, 100));
            for (n, result) in (0..100_u64).zip(results) {
                assert_eq!(result, (n != 3 && n != 90).then(|| n.to_string()));
            }
        }
    }
}
