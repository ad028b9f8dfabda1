//! An example: code of yours, on top of `crewkit::queue`, checked in every interleaving.
//!
//! The code to be checked is `Squares`, a worker that squares numbers in the background. It is written as it would be
//! in your crate, except that threads and shared pointers come from `crewkit::model`, which is std unless the cfg is
//! given. Run it as a plain test by `cargo test`, and as a model by
//! `RUSTFLAGS="--cfg crewkit_loom" LOOM_MAX_PREEMPTIONS=4 cargo test --release`, in a target directory of its own.

use crewkit::model::{Arc, thread};
use crewkit::queue::{Queue, Shutdown};
use crewkit_loom_tests::explore;

struct Squares {
    jobs: Arc<Queue<u64>>,
    results: Arc<Queue<u64>>,
    worker: thread::JoinHandle<()>,
}

impl Squares {
    fn start() -> Self {
        let jobs = Arc::new(Queue::bounded(1));
        let results = Arc::new(Queue::unbounded());
        let worker = thread::spawn({
            let (jobs, results) = (Arc::clone(&jobs), Arc::clone(&results));
            move || {
                for job in jobs.iter() {
                    results.put(job * job).expect("nobody shuts the results down");
                    jobs.task_done().expect("one for each job");
                }
            }
        });
        Self { jobs, results, worker }
    }

    /// Ends the worker after the jobs that were put before, and hands out what it made of them.
    fn finish(self) -> Vec<u64> {
        self.jobs.shutdown(Shutdown::Drain);
        self.worker.join().expect("the worker does not panic");
        self.results.try_iter().collect()
    }
}

#[test]
fn no_job_put_before_the_end_is_lost() {
    explore("your own code: (put, put, finish) × worker", || {
        let squares = Squares::start();
        squares.jobs.put(2).unwrap();
        squares.jobs.put(3).unwrap();
        assert_eq!(squares.finish(), [4, 9]);
    });
}

#[test]
fn after_join_the_results_are_there() {
    explore("your own code: (put, join) × worker", || {
        let squares = Squares::start();
        squares.jobs.put(4).unwrap();
        squares.jobs.join();
        assert_eq!(squares.results.try_get(), Ok(16));
        assert!(squares.finish().is_empty());
    });
}

#[test]
fn two_producers_share_a_worker() {
    explore("your own code: put × put × worker", || {
        let squares = Squares::start();
        let producer = thread::spawn({
            let jobs = Arc::clone(&squares.jobs);
            move || jobs.put(5).unwrap()
        });
        squares.jobs.put(6).unwrap();
        producer.join().unwrap();
        let mut results = squares.finish();
        results.sort_unstable();
        assert_eq!(results, [25, 36]);
    });
}
