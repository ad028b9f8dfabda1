//! Pools of threads: a map of tiny tasks.

use std::ops::Range;
use std::time::Instant;

use crewkit::pool::ThreadPool;
use rayon::prelude::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use crate::contest::{Contest, Contestant, Outcome, Repetition, Size, Target, check};

const OURS: &str = "crewkit ThreadPool";
/// How many threads the pools have.
const THREADS: usize = 2;
/// How many items a map has.
const ITEMS: u64 = 100_000;

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![
        Contest::new("ThreadPool", "map, 100,000 items, 2 threads", "item", Size::Exactly(ITEMS))
            .with(Contestant::crewkit(OURS, crewkit_map))
            .with(Contestant::peer("rayon par_iter", rayon_map))
            .target(Target::speed(OURS, 0.9, &[])),
        Contest::new("ThreadPool", "map over a list of 100,000 numbers, 2 threads", "item", Size::Exactly(ITEMS))
            .with(Contestant::crewkit(OURS, crewkit_map_of_list))
            .with(Contestant::peer("rayon par_iter", rayon_map_of_list))
            .remark(
                "crewkit takes any iterator and cuts ranges only; rayon's are of its own kind, and all of them can be cut.",
            ),
    ]
}

/// The tiny task.
fn square(number: u64) -> u64 {
    number * number
}

/// A repetition of one map over all items.
fn map(mut map: impl FnMut(Range<u64>) -> Outcome<Vec<u64>> + 'static) -> Repetition {
    Box::new(move |operations| {
        let start = Instant::now();
        let results = map(0..operations)?;
        let taken = start.elapsed();
        check("results", results.iter().sum(), (0..operations).map(square).sum::<u64>())?;
        Ok(taken.into())
    })
}

/// crewkit's pool.
fn crewkit_map() -> Outcome<Repetition> {
    let pool = ThreadPool::new(THREADS)?;
    Ok(map(move |items| Ok(pool.map(square, items)?)))
}

/// The same with items that are borrowed.
fn crewkit_map_of_list() -> Outcome<Repetition> {
    let (pool, numbers) = (ThreadPool::new(THREADS)?, list());
    Ok(map(move |_| Ok(pool.map(|number: &u64| square(*number), &numbers)?)))
}

/// rayon, whose own pool has as many threads.
fn rayon_map() -> Outcome<Repetition> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build()?;
    Ok(map(move |items| Ok(pool.install(|| items.into_par_iter().map(square).collect()))))
}

/// The same with items that are borrowed.
fn rayon_map_of_list() -> Outcome<Repetition> {
    let (pool, numbers) = (rayon::ThreadPoolBuilder::new().num_threads(THREADS).build()?, list());
    Ok(map(move |_| Ok(pool.install(|| numbers.par_iter().map(|number| square(*number)).collect()))))
}

fn list() -> Vec<u64> {
    (0..ITEMS).collect()
}
