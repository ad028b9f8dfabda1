//! The contests, one file for each part of crewkit.

mod condition;
mod connection;
mod event;
mod lock;
mod memory;
mod pool;
mod priority;
mod process;
mod pump;
mod python;
mod queue;
mod semaphore;
mod simple_queue;
mod thread;
mod thread_pool;
mod waiting;

use std::time::Instant;

use crate::contest::{Contest, Outcome, Repetition, check};

/// Contests of one process, in the order of the report.
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
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every contest, in the order of the report.
pub(crate) fn all() -> Vec<Contest> {
    let of_processes = [connection::contests(), process::contests(), pool::contests()];
    of_threads().into_iter().chain(of_processes.into_iter().flatten()).collect()
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
            for contestant in contest.contestants {
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
