//! Many calls at a time: order, borrowing, chunks, laziness, failures of single items.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crewkit::pool::{MapError, TaskError, ThreadPool};
use crewkit::sync::Event;

use crate::support::{Held, LONG, in_time};

#[test]
fn maps_of_nothing_of_one_and_of_a_million() {
    in_time(|| {
        let pool = ThreadPool::new(2).unwrap();
        for count in [0, 1, 2, 7, 8, 9, 1_000_000] {
            let expected: Vec<u64> = (0..count).map(|n| n * 2).collect();
            assert!(pool.map(|n| n * 2, 0..count).unwrap() == expected);
            // One that is not cut, as a range is.
            assert!(pool.map(|n| n * 2, (0..count).fuse()).unwrap() == expected);
            // An iterator that does not know its length.
            assert!(pool.map(|n| n * 2, (0..2 * count).filter(|n| *n < count)).unwrap() == expected);
            assert!(pool.map_async(|n| n * 2, 0..count).get().unwrap() == expected);
        }
        for count in [0, 1, 7, 5_000] {
            let expected: Vec<u64> = (0..count).map(|n| n * 2).collect();
            assert_eq!(pool.imap(|n| n * 2, 0..count).collect::<Result<Vec<_>, _>>().unwrap(), expected);
            let unordered: BTreeSet<u64> = pool.imap_unordered(|n| n * 2, 0..count).map(Result::unwrap).collect();
            assert_eq!(unordered.into_iter().collect::<Vec<_>>(), expected);
        }
    });
}

#[test]
fn a_map_borrows_from_its_caller() {
    let pool = ThreadPool::new(2).unwrap();
    let words: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let total = AtomicUsize::new(0);
    let lengths = pool.map(
        |word: &String| {
            total.fetch_add(word.len(), SeqCst);
            word.as_str()
        },
        &words,
    );
    assert_eq!(lengths.unwrap(), words);
    assert_eq!(total.into_inner(), words.iter().map(String::len).sum());
}

#[test]
fn all_workers_take_part_and_the_caller_does_not() {
    let pool = ThreadPool::new(3).unwrap();
    let barrier = std::sync::Barrier::new(3);
    let meet = |_: u64| {
        barrier.wait();
        thread::current().id()
    };
    let ids = pool.with().chunksize(1).map(meet, 0..3).unwrap();
    assert_eq!(ids.iter().map(|id| format!("{id:?}")).collect::<BTreeSet<_>>().len(), 3);
    assert!(!ids.contains(&thread::current().id()));
}

#[test]
fn chunks_change_nothing_but_the_speed() {
    let pool = ThreadPool::new(2).unwrap();
    let expected: Vec<u64> = (0..1_000).map(|n| n * 2).collect();
    for chunksize in [0, 1, 2, 999, 1_000, usize::MAX] {
        let call = pool.with().chunksize(chunksize);
        assert_eq!(call.map(|n: u64| n * 2, 0..1_000).unwrap(), expected, "{chunksize}");
        assert_eq!(call.map(|n: u64| n * 2, (0..1_000).fuse()).unwrap(), expected, "{chunksize}");
        for (index, result) in call.imap_unordered(|n: u64| n * 2, 0..1_000).indexed() {
            assert_eq!(result, Ok(expected[index]), "{chunksize}");
        }
    }
}

#[test]
fn a_chunk_may_be_any_size_of_an_endless_iterator() {
    let pool = ThreadPool::new(1).unwrap();
    let results = pool.with().chunksize(usize::MAX).imap(|n: u8| n, std::iter::repeat(7));
    assert!(results.take(100_000).all(|result| result == Ok(7)));
}

#[test]
fn an_imap_over_an_endless_iterator_ends_when_all_would_be_refused() {
    in_time(|| {
        let pool = ThreadPool::new(2).unwrap();
        let late: Vec<_> = pool.with().timeout(Duration::ZERO).imap(|n: u64| n, 0..).take(100).collect();
        assert!((1..100).contains(&late.len()) && late.iter().all(|result| *result == Err(TaskError::TimedOut)));
        let mut ordered = pool.imap(|n: u64| n, 0..);
        let mut unordered = pool.imap_unordered(|n: u64| n, 0..);
        assert!(ordered.next().unwrap().is_ok() && unordered.next().unwrap().is_ok());
        pool.close();
        // What was read before is done, there is what was refused, and then nothing.
        for rest in [ordered.take(100).collect::<Vec<_>>(), unordered.take(100).collect()] {
            assert!(rest.iter().all(|result| result.is_ok() || *result == Err(TaskError::PoolClosed)), "{rest:?}");
            assert!(rest.iter().any(Result::is_err) && rest.len() < 100, "{rest:?}");
        }
    });
}

#[test]
fn what_a_map_does_not_begin_it_does_not_read_if_its_number_is_known() {
    let pool = ThreadPool::new(1).unwrap();
    pool.terminate();
    let items = (0..3).map(|_| -> u64 { panic!("expected: read") });
    assert_eq!(pool.map(|n| n, items.clone()).unwrap_err().results, [None; 3]);
    let read = catch_unwind(AssertUnwindSafe(|| pool.map(|n| n, items.filter(|_| true))));
    assert!(read.is_err(), "here there is no other way to count them");
}

#[test]
fn items_that_panic_fail_alone_wherever_they_are_in_a_chunk() {
    let pool = ThreadPool::new(2).unwrap();
    let pick = |n: u64| if n % 10 == 3 { panic!("item {n}") } else { Box::new(n) };
    let call = pool.with().chunksize(7);
    for failed in [call.map(pick, 0..40).unwrap_err(), call.map(pick, (0..40).fuse()).unwrap_err()] {
        let MapError { index, error, results } = failed;
        assert_eq!(index, 3);
        assert!(matches!(&error, TaskError::Panicked { message, .. } if message == "item 3"), "{error}");
        let expected: Vec<_> = (0..40).map(|n| (n % 10 != 3).then(|| Box::new(n))).collect();
        assert_eq!(results, expected);
    }
    for (n, result) in (0..40_u64).zip(pool.map_results(pick, 0..40)) {
        match result {
            Ok(value) => assert!(n % 10 != 3 && *value == n),
            Err(error) => assert!(error.to_string().ends_with(&format!("item {n}")), "{error}"),
        }
    }
    assert_eq!(pool.stats().completed, 120);
}

#[test]
fn every_item_and_every_result_is_dropped_once_whatever_happens() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Counted {
        fn new() -> Self {
            ALIVE.fetch_add(1, SeqCst);
            Self
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, SeqCst);
        }
    }
    let pool = ThreadPool::new(2).unwrap();
    for chunksize in [1, 7, 64] {
        for panics in [false, true] {
            let made = AtomicUsize::new(0);
            let call = |item: Counted| {
                let nth = made.fetch_add(1, SeqCst);
                assert!(!panics || nth % 10 != 5, "expected");
                (item, Counted::new())
            };
            let items = || (0..100).map(|_| Counted::new());
            drop(pool.with().chunksize(chunksize).map(call, items()));
            assert_eq!(ALIVE.load(SeqCst), 0);
            drop(pool.with().chunksize(chunksize).map_results(call, items().filter(|_| true)));
            assert_eq!(ALIVE.load(SeqCst), 0);
            let breaks = (0..100).map(|n| if n == 50 { panic!("expected: no more items") } else { Counted::new() });
            let map = || drop(pool.with().chunksize(chunksize).map(call, breaks));
            assert!(catch_unwind(AssertUnwindSafe(map)).is_err());
            assert_eq!(ALIVE.load(SeqCst), 0);
        }
    }
}

#[test]
fn a_panic_of_the_iterator_goes_to_the_caller_after_what_it_gave_is_done() {
    let pool = ThreadPool::new(2).unwrap();
    let done = AtomicUsize::new(0);
    let items = (0..100).inspect(|n| assert_ne!(*n, 60, "expected: the iterator is at its end"));
    let call = |_: u64| done.fetch_add(1, SeqCst);
    let caught = catch_unwind(AssertUnwindSafe(|| pool.map(call, items))).unwrap_err();
    assert!(caught.downcast_ref::<String>().unwrap().contains("at its end"));
    assert_eq!(done.load(SeqCst), 60);
    assert_eq!(pool.apply(|n: u64| n, 1), Ok(1));
}

#[test]
fn one_slow_item_holds_up_no_other() {
    let pool = ThreadPool::new(2).unwrap();
    one_slow_item(&pool, 0..10_000);
    one_slow_item(&pool, (0..10_000).fuse());
}

fn one_slow_item(pool: &ThreadPool, items: impl Iterator<Item = usize> + Send) {
    let others = (AtomicUsize::new(0), Event::new());
    // Item 0 ends when all the others have: whoever is in it must have taken nothing else with it.
    let call = |n: usize| {
        if n == 0 {
            assert!(others.1.wait_timeout(LONG), "the others wait for the slow one");
        } else if others.0.fetch_add(1, SeqCst) == 9_998 {
            others.1.set();
        }
    };
    assert_eq!(pool.map(call, items).unwrap().len(), 10_000);
}

#[test]
fn an_imap_reads_no_further_ahead_than_it_says() {
    let pool = ThreadPool::new(2).unwrap();
    for (chunksize, ahead) in [(1, 8), (10, 80)] {
        let counted = || {
            let taken = Rc::new(Cell::new(0));
            let counter = Rc::clone(&taken);
            (taken, (0_u64..).inspect(move |_| counter.set(counter.get() + 1)))
        };
        let (taken, endless) = counted();
        let mut results = pool.with().chunksize(chunksize).imap_unordered(|n| n * 2, endless);
        assert_eq!(taken.get(), 0);
        for read in 1..=200 {
            assert!(results.next().unwrap().is_ok());
            assert!(taken.get() < read + ahead, "{} taken after {read} results", taken.get());
        }
        let (taken, endless) = counted();
        let mut results = pool.with().chunksize(chunksize).imap(|n| n * 2, endless);
        for read in 0..200 {
            assert_eq!(results.next().unwrap(), Ok(read * 2));
            assert!(taken.get() <= read + ahead, "{} taken after {} results", taken.get(), read + 1);
        }
    }
}

#[test]
fn an_imap_that_is_dropped_withdraws_what_has_not_begun() {
    let pool = ThreadPool::new(1).unwrap();
    let held = Held::new(&pool);
    let go = Arc::new(Event::new());
    let begun = Arc::new(AtomicUsize::new(0));
    let (wait, count) = (Arc::clone(&go), Arc::clone(&begun));
    let call = move |n: u64| {
        count.fetch_add(1, SeqCst);
        assert!(n == 0 || wait.wait_timeout(LONG));
        n
    };
    let mut results = pool.imap_unordered(call, 0..);
    held.let_go();
    assert_eq!(results.next(), Some(Ok(0)));
    drop(results);
    assert_eq!(pool.stats().queued, 0);
    go.set();
    pool.join();
    // The one that was read, and the one behind it, which had perhaps begun.
    assert!(begun.load(SeqCst) <= 2, "{begun:?}");
}

#[test]
fn late_items_of_a_map_do_not_begin() {
    let pool = ThreadPool::new(1).unwrap();
    let limit = Duration::from_millis(50);
    let slow = |n: u64| {
        if n == 2 {
            thread::sleep(2 * limit);
        }
        n
    };
    let call = pool.with().chunksize(1).timeout(limit);
    for late in [call.map(slow, 0..5).unwrap_err(), call.map(slow, (0..5).fuse()).unwrap_err()] {
        let MapError { index, error, results } = late;
        assert!(index <= 3 && error == TaskError::TimedOut, "{index}: {error}");
        assert_eq!(results.len(), 5);
        assert_eq!(results[3..], [None, None], "what comes behind the slow one is late");
    }
}

#[test]
fn a_map_that_runs_elsewhere_can_be_waited_for_and_cancelled() {
    let pool = ThreadPool::new(1).unwrap();
    let held = Held::new(&pool);
    let mut map = pool.map_async(|n: u64| n, 0..3);
    assert!(!map.wait_timeout(Duration::from_millis(10)) && !map.is_ready());
    assert!(map.get_timeout(Duration::ZERO).is_none());
    map.cancel();
    let error = map.get().unwrap_err();
    assert_eq!((error.error, error.results), (TaskError::Cancelled, vec![None; 3]));
    held.let_go();

    // Cancelled in its middle: what has begun goes on.
    let (begun, go) = (Arc::new(Event::new()), Arc::new(Event::new()));
    let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go));
    let call = move |n: u64| {
        tell.set();
        assert!(wait.wait_timeout(LONG));
        n
    };
    let map = pool.with().chunksize(1).map_async(call, 0..10);
    assert!(begun.wait_timeout(LONG));
    map.cancel();
    go.set();
    let error = map.get().unwrap_err();
    assert_eq!((error.index, error.error), (1, TaskError::Cancelled));
    assert_eq!(error.results[..2], [Some(0), None]);
}
