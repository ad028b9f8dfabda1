//! One body of tests for every [`Executor`]: code that is written against the trait may go from threads to processes by
//! another constructor.

#![cfg(feature = "threads")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, as the test does")]

use std::collections::BTreeSet;
use std::time::Duration;

#[cfg(feature = "processes")]
use crewkit::pool::{AnyExecutor, Pool};
use crewkit::pool::{Executor, MapError, Task, TaskError, ThreadPool};

#[cfg(feature = "processes")]
crewkit::enable_test_support!();

const LONG: Duration = Duration::from_secs(60);

fn double(n: u64) -> u64 {
    n * 2
}

/// Fails for 3, 13, 23 and so on.
fn picky(n: u64) -> u64 {
    if n % 10 == 3 { panic!("item {n}") } else { n }
}

fn slow(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(1));
    n
}

/// Takes so long that two workers are not through hundreds of these before the caller has its turn, however busy the
/// machine; most of them are never begun.
fn slower(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(50));
    n
}

/// What every pool of two workers does.
fn conforms<E: Executor>(make: impl Fn() -> E) {
    calls(&make());
    maps(&make());
    failures(&make());
    lazily(&make());
    cancels(&make());
    closes(&make());
    terminates(&make());
    assert!(make().shutdown(LONG));
}

fn calls(pool: &impl Executor) {
    assert_eq!(pool.apply(double, 21), Ok(42));
    assert_eq!(pool.apply(|(a, b): (String, String)| a + &b, ("a".into(), "b".into())), Ok("ab".into()));
    let tasks: Vec<(u64, Task<u64>)> = (0..200).map(|n| (n, pool.submit(double, n))).collect();
    for (n, mut task) in tasks.into_iter().rev() {
        task.wait();
        assert!(task.wait_timeout(Duration::ZERO) && task.is_ready() && task.is_successful() && !task.cancel());
        assert_eq!(task.get_timeout(Duration::ZERO), Some(Ok(2 * n)));
        assert_eq!(task.get(), Err(TaskError::Taken));
    }
}

fn maps(pool: &impl Executor) {
    for count in [0, 1, 7, 5_000] {
        let expected: Vec<u64> = (0..count).map(double).collect();
        assert_eq!(pool.map(double, 0..count).unwrap(), expected);
        assert_eq!(pool.map(double, (0..2 * count).filter(|n| *n < count)).unwrap(), expected);
        assert_eq!(pool.map_results(double, 0..count).into_iter().collect::<Result<Vec<_>, _>>().unwrap(), expected);
        let mut later = pool.map_async(double, 0..count);
        later.wait();
        assert!(later.is_ready());
        assert_eq!(later.get_timeout(Duration::ZERO).unwrap().unwrap(), expected);
        assert_eq!(later.get().is_err(), count > 0, "they were given out");
        assert_eq!(pool.imap(double, 0..count).collect::<Result<Vec<_>, _>>().unwrap(), expected);
        let unordered: BTreeSet<u64> = pool.imap_unordered(double, 0..count).map(Result::unwrap).collect();
        assert_eq!(unordered.into_iter().collect::<Vec<_>>(), expected);
    }
}

fn failures(pool: &impl Executor) {
    let task = pool.submit(picky, 13);
    task.wait();
    assert!(task.is_ready() && !task.is_successful());
    let TaskError::Panicked { message, location, .. } = task.get().unwrap_err() else { panic!("not a panic") };
    assert_eq!(message, "item 13");
    assert!(location.contains("executor.rs"), "{location}");
    let expected: Vec<Option<u64>> = (0..40).map(|n| (n % 10 != 3).then_some(n)).collect();
    for result in [pool.map(picky, 0..40), pool.map_async(picky, 0..40).get()] {
        let MapError { index, error, results } = result.unwrap_err();
        assert_eq!((index, results), (3, expected.clone()));
        assert!(matches!(&error, TaskError::Panicked { message, .. } if message == "item 3"), "{error}");
    }
    let results = pool.map_results(picky, 0..40).into_iter().map(Result::ok).collect::<Vec<_>>();
    assert_eq!(results, expected);
    assert_eq!(pool.imap(picky, 0..40).map(Result::ok).collect::<Vec<_>>(), expected);
}

fn lazily(pool: &impl Executor) {
    let taken = std::cell::Cell::new(0);
    let endless = (0_u64..).inspect(|_| taken.set(taken.get() + 1));
    let mut results = pool.imap(double, endless);
    assert_eq!(taken.get(), 0);
    for read in 0..100 {
        assert_eq!(results.next(), Some(Ok(2 * read)));
        // Two workers, four chunks of one item for each.
        assert!(taken.get() <= read + 8, "{} taken after {} results", taken.get(), read + 1);
    }
}

fn cancels(pool: &impl Executor) {
    let tasks: Vec<Task<u64>> = (0..500).map(|n| pool.submit(slower, n)).collect();
    let cancelled: Vec<bool> = tasks.iter().rev().map(Task::cancel).collect();
    assert!(cancelled.contains(&true), "none of 500 was still waiting");
    for (n, (task, was_cancelled)) in (0..).zip(tasks.into_iter().zip(cancelled.into_iter().rev())) {
        assert_eq!(task.get(), if was_cancelled { Err(TaskError::Cancelled) } else { Ok(n) });
    }
    let map = pool.map_async(slower, 0..500);
    map.cancel();
    let error = map.get().unwrap_err();
    assert_eq!((error.error, error.results.len()), (TaskError::Cancelled, 500));
}

fn closes(pool: &impl Executor) {
    let tasks: Vec<Task<u64>> = (0..50).map(|n| pool.submit(slow, n)).collect();
    pool.close();
    assert_eq!(pool.apply(double, 1), Err(TaskError::PoolClosed));
    for result in [pool.map(double, 0..3), pool.map_async(double, 0..3).get()] {
        let MapError { index, error, results } = result.unwrap_err();
        assert_eq!((index, error, results), (0, TaskError::PoolClosed, vec![None; 3]));
    }
    assert_eq!(pool.imap_unordered(double, 0..3).filter(Result::is_err).count(), 3);
    pool.join();
    assert!(tasks.iter().all(Task::is_ready));
    assert!((0..).zip(tasks).all(|(n, task)| task.get() == Ok(n)));
}

fn terminates(pool: &impl Executor) {
    let tasks: Vec<Task<u64>> = (0..200).map(|n| pool.submit(slower, n)).collect();
    pool.terminate();
    pool.join();
    let mut refused = 0;
    for (n, task) in (0..).zip(tasks) {
        assert!(task.is_ready());
        match task.get() {
            Ok(result) => assert_eq!(result, n),
            Err(TaskError::PoolClosed) => refused += 1,
            // A process is killed in what it does.
            #[cfg(feature = "processes")]
            Err(TaskError::WorkerDied { started: true, .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0, "all of 200 were done");
}

#[test]
fn threads_conform() {
    conforms(|| ThreadPool::new(2).unwrap());
}

#[test]
#[cfg(feature = "processes")]
fn processes_conform() {
    conforms(|| Pool::new(2).unwrap());
}

#[test]
#[cfg(feature = "processes")]
fn either_conforms() {
    conforms(|| AnyExecutor::from(ThreadPool::new(2).unwrap()));
    conforms(|| AnyExecutor::from(Pool::new(2).unwrap()));
}
