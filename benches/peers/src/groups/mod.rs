//! The contests, one file for each part of crewkit.

pub(crate) mod alive;
mod condition;
mod connection;
mod event;
mod generator;
mod greenlet;
mod lock;
mod memory;
pub(crate) mod messages;
mod pool;
mod priority;
mod process;
mod pump;
mod python;
mod queue;
mod round_robin;
mod round_trips;
mod semaphore;
mod shared;
mod shared_queue;
mod simple_queue;
mod thread;
mod thread_pool;
mod waiting;

use std::hint::black_box;
use std::time::Instant;

use crate::contest::{Contest, Contestant, Outcome, Repetition, check};
use python::Python;

/// Contests of one process, in the order of the report. CPython, who takes part in some, is another.
fn of_threads() -> Vec<Contest> {
    [
        lock::contests(),
        lock::reentrant_contests(),
        condition::contests(),
        semaphore::contests(),
        event::contests(),
        queue::contests(),
        simple_queue::contests(),
        priority::contests(),
        waiting::contests(),
        memory::contests(),
        thread::contests(),
        thread_pool::contests(),
        generator::contests(),
        round_robin::contests(),
        greenlet::contests(),
        shared::contests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every contest, in the order of the report.
pub(crate) fn all() -> Vec<Contest> {
    let others = [
        alive::contests(),
        messages::contests(),
        round_trips::contests(),
        shared_queue::contests(),
        connection::contests(),
        process::contests(),
        pool::contests(),
    ];
    of_threads().into_iter().chain(others.into_iter().flatten()).collect()
}

/// Does something that answers a number's `next`, once after the other, and checks each answer.
fn one_by_one(next: fn(u64) -> u64, mut ask: impl FnMut(u64) -> Outcome<u64> + 'static) -> Repetition {
    Box::new(move |operations| {
        let start = Instant::now();
        for number in 0..operations {
            check("answer", ask(number)?, next(number))?;
        }
        Ok(start.elapsed().into())
    })
}

/// Adds up what is answered to the numbers from zero. For operations that a check of each answer would be a good part of.
fn summed(sum_of: fn(u64) -> u64, mut ask: impl FnMut(u64) -> u64 + 'static) -> Repetition {
    Box::new(move |operations| {
        let start = Instant::now();
        let sum = (0..operations).map(|number| black_box(ask(black_box(number)))).sum();
        let taken = start.elapsed();
        check("sum of the answers", sum, sum_of(operations))?;
        Ok(taken.into())
    })
}

/// The numbers below `count`, added up.
fn sum_below(count: u64) -> u64 {
    count * count.saturating_sub(1) / 2
}

/// The numbers up to `count`, added up.
fn sum_up_to(count: u64) -> u64 {
    sum_below(count + 1)
}

/// CPython, which measures itself with one of the methods of `generators.py`.
fn python_generators(label: &'static str, method: &'static str, sum_of: fn(u64) -> u64) -> Contestant {
    Contestant::peer(label, move || {
        let mut python = Python::start("generators.py", method)?;
        Ok(Box::new(move |operations| {
            let (cost, sum) = python.measure(method, operations)?;
            check("sum of the answers", sum, sum_of(operations))?;
            Ok(cost)
        }))
    })
}

#[cfg(test)]
mod tests {
    use crate::contest::{Side, Size};
    use crate::place;

    /// Every contestant that needs no other process does some work and checks it.
    #[test]
    fn threads_do_their_work() {
        for contest in super::of_threads() {
            let title = contest.title();
            let of_crewkit = contest.contestants.iter().filter(|contestant| contestant.side == Side::Crewkit);
            let ours: Vec<_> = of_crewkit.map(|contestant| contestant.name).collect();
            assert!(
                contest.targets.iter().all(|target| ours.contains(&target.ours)),
                "{title}: a target without a row"
            );
            if place::usable().len() < 2 && !title.contains("on one core") {
                continue;
            }
            for contestant in
                contest.contestants.into_iter().filter(|contestant| !contestant.name.starts_with("CPython"))
            {
                let mut repetition = (contestant.open)().unwrap();
                let sizes = match contest.size {
                    Size::MultipleOf(_) => vec![4, 400],
                    Size::Exactly(number) => vec![number],
                };
                for operations in sizes {
                    let outcome = repetition(operations);
                    outcome.unwrap_or_else(|error| panic!("{title}, {}: {error}", contestant.name));
                }
            }
        }
    }
}
