//! The contests, one file for each part of crewkit.

mod connection;
mod lock;
mod pool;
mod process;
mod python;
mod queue;

use std::panic::resume_unwind;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::contest::Contest;

/// Every contest, in the order of the report.
pub(crate) fn all() -> Vec<Contest> {
    [lock::contests(), queue::contests(), connection::contests(), process::contests(), pool::contests()]
        .into_iter()
        .flatten()
        .collect()
}

/// Runs the jobs at the same time, each on a thread of its own, and says how long that took: from the moment the first
/// begins to the moment the last ends. Starting the threads is not counted; they meet at a barrier first.
fn together<'a>(jobs: Vec<Box<dyn FnOnce() + Send + 'a>>) -> Duration {
    let barrier = Barrier::new(jobs.len());
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                scope.spawn(|| {
                    barrier.wait();
                    let start = Instant::now();
                    job();
                    (start, Instant::now())
                })
            })
            .collect();
        // A job that panicked makes the contestant's thread panic, which is what the report then says.
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|payload| resume_unwind(payload))).collect()
    });
    let start = spans.iter().map(|span| span.0).min();
    let end = spans.iter().map(|span| span.1).max();
    start.zip(end).map_or(Duration::ZERO, |(start, end)| end - start)
}

#[cfg(test)]
mod tests {
    use super::{lock, queue};
    use crate::contest::Contest;

    /// Every contestant that needs no other process does some work and checks it.
    #[test]
    fn threads_do_their_work() {
        let contests: Vec<Contest> = lock::contests().into_iter().chain(queue::contests()).collect();
        let mut count = 0;
        for contestant in contests.into_iter().flat_map(|contest| contest.contestants) {
            let mut repetition = (contestant.open)().unwrap();
            for operations in [4, 1000] {
                repetition(operations).unwrap_or_else(|error| panic!("{}: {error}", contestant.name));
            }
            count += 1;
        }
        assert_eq!(count, 16, "3 locks in 3 contests; 4 ways through a queue alone, 3 together");
    }
}
