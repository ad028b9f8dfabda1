//! Many calls at a time: order, chunks, laziness, failures of single items.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{PipeReader, Read};
use std::rc::Rc;

use crewkit::ipc::Fd;
use crewkit::pool::{MapError, Pool, TaskError};

use crate::support::{in_company, in_time};

fn double(n: u64) -> u64 {
    n * 2
}

#[test]
fn maps_of_nothing_of_one_and_of_a_hundred_thousand() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(2).unwrap();
        for count in [0, 1, 2, 7, 8, 9, 100_000] {
            let expected: Vec<u64> = (0..count).map(double).collect();
            assert_eq!(pool.map(double, 0..count).unwrap(), expected);
            // An iterator that does not know its length.
            assert_eq!(pool.map(double, (0..2 * count).filter(|n| *n < count)).unwrap(), expected);
        }
        for count in [0, 1, 7, 2_000] {
            let expected: Vec<u64> = (0..count).map(double).collect();
            assert_eq!(pool.imap(double, 0..count).collect::<Result<Vec<_>, _>>().unwrap(), expected);
            let unordered: BTreeSet<u64> = pool.imap_unordered(double, 0..count).map(Result::unwrap).collect();
            assert_eq!(unordered.into_iter().collect::<Vec<_>>(), expected);
        }
    });
}

#[test]
fn chunks_change_nothing_but_the_speed() {
    let _company = in_company();
    let pool = Pool::new(2).unwrap();
    let expected: Vec<u64> = (0..1_000).map(double).collect();
    for chunksize in [0, 1, 2, 999, 1_000, usize::MAX] {
        assert_eq!(pool.with().chunksize(chunksize).map(double, 0..1_000).unwrap(), expected, "{chunksize}");
        let indexed = pool.with().chunksize(chunksize).imap_unordered(double, 0..1_000).indexed();
        for (index, result) in indexed {
            assert_eq!(result, Ok(expected[index]), "{chunksize}");
        }
    }
}

#[test]
fn items_that_panic_fail_alone_wherever_they_are_in_a_chunk() {
    let _company = in_company();
    let pool = Pool::new(2).unwrap();
    let pick = |n: u64| if n % 10 == 3 { panic!("item {n}") } else { n };
    let MapError { index, error, results } = pool.with().chunksize(7).map(pick, 0..40).unwrap_err();
    assert_eq!(index, 3);
    assert!(matches!(&error, TaskError::Panicked { message, .. } if message == "item 3"), "{error}");
    let expected: Vec<Option<u64>> = (0..40).map(|n| (n % 10 != 3).then_some(n)).collect();
    assert_eq!(results, expected);
    let results = pool.map_results(pick, 0..40);
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 4);
}

#[test]
fn an_imap_reads_no_further_ahead_than_it_says() {
    let _company = in_company();
    let pool = Pool::new(2).unwrap();
    for (chunksize, ahead) in [(1, 8), (10, 80)] {
        let taken = Rc::new(Cell::new(0));
        let counter = Rc::clone(&taken);
        let endless = (0_u64..).inspect(move |_| counter.set(counter.get() + 1));
        let mut results = pool.with().chunksize(chunksize).imap_unordered(double, endless);
        assert_eq!(taken.get(), 0);
        for read in 1..=200 {
            assert!(results.next().unwrap().is_ok());
            assert!(taken.get() < read + ahead, "{} taken after {read} results", taken.get());
        }
        drop(results);
        let taken = Rc::new(Cell::new(0));
        let counter = Rc::clone(&taken);
        let endless = (0_u64..).inspect(move |_| counter.set(counter.get() + 1));
        let mut results = pool.with().chunksize(chunksize).imap(double, endless);
        for read in 0..200 {
            assert_eq!(results.next().unwrap(), Ok(read * 2));
            assert!(taken.get() <= read + ahead, "{} taken after {} results", taken.get(), read + 1);
        }
    }
}

#[test]
fn an_imap_that_is_dropped_withdraws_what_has_not_begun() {
    let _company = in_company();
    in_time(|| {
        let pool = Pool::new(1).unwrap();
        let (held, hold) = std::io::pipe().unwrap();
        // All but the first one end when `hold` is closed.
        let wait = |(n, held): (u64, Fd<PipeReader>)| {
            assert!(n == 0 || held.into_inner().read(&mut [0]).is_ok());
            n
        };
        let items = (0..).map(move |n| (n, Fd(held.try_clone().unwrap())));
        let mut results = pool.imap_unordered(wait, items);
        assert_eq!(results.next(), Some(Ok(0)));
        drop(results);
        drop(hold);
        pool.join();
        // The one that was read, the one that ran; the one behind it had perhaps begun by then.
        assert!(pool.stats().completed <= 3, "{:?}", pool.stats());
    });
}

#[test]
fn large_items_travel_alone_and_large_results_come_back() {
    let _company = in_company();
    let pool = Pool::new(2).unwrap();
    let sizes = [10, 3 << 20, 70_000, 0, 1 << 20, 65_536, 65_535, 1];
    let items: Vec<String> = sizes.iter().map(|&size| "x".repeat(size)).collect();
    assert_eq!(pool.with().chunksize(8).map(|text: String| text.len(), items).unwrap(), sizes);
    let texts = pool.with().chunksize(8).map(|size: usize| "y".repeat(size), sizes).unwrap();
    assert!(texts.iter().zip(sizes).all(|(text, size)| *text == "y".repeat(size)));
}

#[test]
fn two_maps_at_once_do_not_mix() {
    let _company = in_company();
    let pool = Pool::new(2).unwrap();
    let mut first = pool.imap(double, 0..300);
    let mut second = pool.imap(|n: u64| n + 1_000_000, 0..300);
    for n in 0..300 {
        assert_eq!(first.next(), Some(Ok(2 * n)));
        assert_eq!(second.next(), Some(Ok(n + 1_000_000)));
    }
    assert_eq!((first.next(), second.next()), (None, None));
}
