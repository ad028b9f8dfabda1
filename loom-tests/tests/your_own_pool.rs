//! Another example of code of yours: a small pool of threads, and a bug in it that a model finds.
//!
//! The pool runs closures and can be waited for until it is idle. It counts what is pending; how, is what may go wrong.
//! `Hasty` counts with an atomic and tells the end by an `Event`, each of them correct, and the two together are not:
//!
//! ```text
//! worker   the count falls from 1 to 0
//! owner    submits: the count rises to 1, the event is cleared
//! worker   sets the event, which is about the zero that it saw
//! owner    waits for the event, which is set, and takes the new task for done
//! ```
//!
//! A test on the machine passes nearly always, as the worker must be interrupted between two instructions. The model
//! interrupts it there. `Careful` is the repair: count and news of it change together, under a lock.

use crewkit::model::{Arc, atomic, thread};
use crewkit::queue::{Queue, Shutdown};
#[cfg(crewkit_loom)]
use crewkit::sync::Event;
use crewkit::sync::{Condition, Lock};
use crewkit_loom_tests::{explore, explore_large};

type Task = Box<dyn FnOnce() + Send>;

/// How many tasks are not done yet.
trait Pending: Default + Send + Sync + 'static {
    fn one_more(&self);
    fn one_less(&self);
    /// Waits until there are none.
    fn wait_for_none(&self);
}

struct Pool<P: Pending> {
    tasks: Arc<Queue<Task>>,
    pending: Arc<P>,
    workers: Vec<thread::JoinHandle<()>>,
}

impl<P: Pending> Pool<P> {
    fn new(workers: usize) -> Self {
        let (tasks, pending) = (Arc::new(Queue::<Task>::unbounded()), Arc::new(P::default()));
        let start = |_| {
            let (tasks, pending) = (Arc::clone(&tasks), Arc::clone(&pending));
            thread::spawn(move || {
                for task in tasks.iter() {
                    task();
                    pending.one_less();
                }
            })
        };
        let workers = (0..workers).map(start).collect();
        Self { tasks, pending, workers }
    }

    fn submit(&self, task: impl FnOnce() + Send + 'static) {
        self.pending.one_more();
        self.tasks.put(Box::new(task)).unwrap_or_else(|_| panic!("nobody shuts the queue down before `finish`"));
    }

    /// Waits until everything that was submitted is done.
    fn wait(&self) {
        self.pending.wait_for_none();
    }

    /// Lets the workers end when all is done.
    fn finish(self) {
        self.tasks.shutdown(Shutdown::Drain);
        self.workers.into_iter().for_each(|worker| worker.join().expect("no task panics"));
    }
}

#[derive(Default)]
struct Careful {
    count: Lock<usize>,
    changed: Condition,
}

impl Pending for Careful {
    fn one_more(&self) {
        *self.count.lock() += 1;
    }

    fn one_less(&self) {
        *self.count.lock() -= 1;
        self.changed.notify_all();
    }

    fn wait_for_none(&self) {
        self.changed.wait_while(&mut self.count.lock(), |count| *count > 0);
    }
}

#[cfg(crewkit_loom)]
#[derive(Default)]
struct Hasty {
    count: atomic::AtomicUsize,
    none: Event,
}

#[cfg(crewkit_loom)]
impl Pending for Hasty {
    fn one_more(&self) {
        self.count.fetch_add(1, atomic::Ordering::AcqRel);
        self.none.clear();
    }

    fn one_less(&self) {
        if self.count.fetch_sub(1, atomic::Ordering::AcqRel) == 1 {
            self.none.set();
        }
    }

    fn wait_for_none(&self) {
        self.none.wait();
    }
}

/// Tasks, one after the other, and a look whether all are done when the pool says so. One worker is enough to go
/// wrong; each further one would make hundreds of thousands of executions out of thousands.
fn run<P: Pending>(tasks: usize) {
    let done = Arc::new(atomic::AtomicUsize::new(0));
    let pool = Pool::<P>::new(1);
    for _ in 0..tasks {
        let done = Arc::clone(&done);
        pool.submit(move || {
            done.fetch_add(1, atomic::Ordering::Relaxed);
        });
    }
    pool.wait();
    let seen = done.load(atomic::Ordering::Relaxed);
    pool.finish();
    assert_eq!(seen, tasks, "the pool said that it was idle before its work was done");
}

#[test]
fn an_idle_pool_has_done_its_work() {
    explore("your own pool: (submit, wait) × worker", || run::<Careful>(1));
    explore_large("your own pool: (submit, submit, wait) × worker", || run::<Careful>(2));
}

/// Only in a model: on the machine this fails once in a million runs, which is the trouble with it.
#[cfg(crewkit_loom)]
#[test]
#[should_panic(expected = "the pool said that it was idle before its work was done")]
fn the_model_finds_that_the_hasty_pool_is_not_idle() {
    explore("your own pool, hasty: (submit, submit, wait) × worker", || run::<Hasty>(2));
}
