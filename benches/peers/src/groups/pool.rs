//! Pools of processes: one task there and back, many small tasks, a map over many small items.

use std::ops::Range;
use std::time::Instant;

use crewkit::pool::{MapError, Pool};

use super::python::Python;
use crate::contest::{Contest, Contestant, Outcome, Repetition, Size, check};

const GROUP: &str = "Pool";
/// How many workers every pool has.
const WORKERS: usize = 2;
/// How many items the map with default chunks has.
const ITEMS: u64 = 100_000;
/// How many items the map with one item per task has.
const SINGLE_ITEMS: u64 = 10_000;
/// How many jobs are given to procspawn's pool before the first is joined.
const BATCH: u64 = 100;

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![
        Contest::new(GROUP, "apply: one task at a time, 2 workers", "round trip", Size::MultipleOf(1))
            .with(Contestant::crewkit("crewkit Pool", crewkit_apply))
            .with(Contestant::peer("procspawn Pool", procspawn_apply))
            .with(python("CPython Pool.apply", "apply")),
        Contest::new(GROUP, "map, 100,000 items, default chunks, 2 workers", "item", Size::Exactly(ITEMS))
            .with(Contestant::crewkit("crewkit Pool", || crewkit_map(|pool, items| pool.map(square, items))))
            .with(python("CPython Pool.map", "map"))
            .remark("procspawn's pool has no map."),
        Contest::new(GROUP, "map, 10,000 items, one per task, 2 workers", "item", Size::Exactly(SINGLE_ITEMS))
            .with(Contestant::crewkit("crewkit Pool, chunksize(1)", || {
                crewkit_map(|pool, items| pool.with().chunksize(1).map(square, items))
            }))
            .with(Contestant::peer("procspawn Pool, 100 jobs queued", procspawn_queued))
            .with(python("CPython Pool.map(chunksize=1)", "map-singly"))
            .remark(
                "procspawn's pool blocks for ever when handles are joined out of order, and holds about three \
                 descriptors for each queued job: here 100 jobs at a time are queued and joined in order, which suits it.",
            ),
    ]
}

/// The function that all workers run.
fn square(number: u64) -> u64 {
    number * number
}

/// An error unless `sum` is the sum of the squares below `count`.
fn check_sum(sum: u64, count: u64) -> Outcome<()> {
    check("sum of the results", sum, (0..count).map(square).sum())
}

/// crewkit's pool, one task at a time.
fn crewkit_apply() -> Outcome<Repetition> {
    let pool = Pool::new(WORKERS)?;
    Ok(Box::new(move |operations| {
        let start = Instant::now();
        let mut sum = 0;
        for number in 0..operations {
            sum += pool.apply(square, number)?;
        }
        let taken = start.elapsed();
        check_sum(sum, operations)?;
        Ok(taken.into())
    }))
}

/// What a map of crewkit's pool answers.
type Mapped = Result<Vec<u64>, MapError<u64>>;

/// crewkit's pool, one map over all items.
fn crewkit_map(map: impl Fn(&Pool, Range<u64>) -> Mapped + 'static) -> Outcome<Repetition> {
    let pool = Pool::new(WORKERS)?;
    Ok(Box::new(move |operations| {
        let start = Instant::now();
        let results = map(&pool, 0..operations)?;
        let taken = start.elapsed();
        check_sum(results.iter().sum(), operations)?;
        Ok(taken.into())
    }))
}

/// procspawn's pool, one job at a time.
fn procspawn_apply() -> Outcome<Repetition> {
    let pool = procspawn::Pool::new(WORKERS)?;
    Ok(Box::new(move |operations| {
        let start = Instant::now();
        let mut sum = 0;
        for number in 0..operations {
            sum += pool.spawn(number, square).join()?;
        }
        let taken = start.elapsed();
        check_sum(sum, operations)?;
        Ok(taken.into())
    }))
}

/// procspawn's pool, jobs queued in batches and joined in order.
fn procspawn_queued() -> Outcome<Repetition> {
    let pool = procspawn::Pool::new(WORKERS)?;
    Ok(Box::new(move |operations| {
        let start = Instant::now();
        let mut sum = 0;
        let mut first = 0;
        while first < operations {
            let end = operations.min(first + BATCH);
            let handles: Vec<_> = (first..end).map(|number| pool.spawn(number, square)).collect();
            for handle in handles {
                sum += handle.join()?;
            }
            first = end;
        }
        let taken = start.elapsed();
        check_sum(sum, operations)?;
        Ok(taken.into())
    }))
}

/// CPython's pool, which measures itself in a process of its own.
fn python(label: &'static str, method: &'static str) -> Contestant {
    Contestant::peer(label, move || {
        let mut python = Python::start("multiprocessing_pool.py", &WORKERS.to_string())?;
        Ok(Box::new(move |operations| {
            let (cost, sum) = python.measure(method, operations)?;
            check_sum(sum, operations)?;
            Ok(cost)
        }))
    })
}
