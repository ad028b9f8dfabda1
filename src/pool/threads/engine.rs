//! The desk: which jobs wait, who serves them, and when the pool is over. `mod.rs` has the invariants.

use std::cell::Cell;
use std::collections::VecDeque;
use std::mem;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::builder::Recipe;
use crate::panics;
use crate::pool::error::{PoolError, TaskError};
use crate::sync::Event;

/// Something to be done by a worker, once.
pub(super) trait Job: Send + Sync {
    /// Takes it out of waiting; true for one caller only, who then runs or refuses it. Called with the desk's lock held.
    fn claim(&self) -> bool;
    /// Whether nobody has claimed it.
    fn is_waiting(&self) -> bool;
    /// Does it. Does not unwind, but for what a destructor of the user's does.
    fn run(&self);
    /// Answers that it will not be done.
    fn refuse(&self, why: TaskError);
}

/// What the pool's handle, its tasks and its threads share.
pub(super) struct Shared {
    desk: Mutex<Desk>,
    recipe: Recipe,
    /// Whether the stage is `Ended`, for a look without the lock.
    ended: AtomicBool,
    /// Locked while threads are joined, so that every `join` returns after the end of the last one.
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Set when the pool takes no more jobs and has none.
    over: Event,
}

struct Desk {
    queue: VecDeque<Arc<dyn Job>>,
    /// Jobs in the queue that nobody has claimed.
    waiting: usize,
    /// Tickets that the crew has not begun.
    tickets: usize,
    /// Jobs that run now.
    running: usize,
    completed: u64,
    stage: Stage,
    crew: Option<Arc<rayon_core::ThreadPool>>,
    workers: usize,
    /// Counts crews; a ticket of an earlier one is void.
    shift: u64,
}

#[derive(Clone)]
enum Stage {
    Open,
    Closed,
    /// Refused everything that waited, for this reason.
    Ended(TaskError),
}

/// Whether this was the end of the pool, to be told after the end of the job.
#[must_use = "whoever joins the pool waits for it"]
pub(super) struct Over<'a>(Option<&'a Event>);

impl Over<'_> {
    pub(super) fn tell(self) {
        if let Some(over) = self.0 {
            over.set();
        }
    }
}

/// A snapshot for [`ThreadPool::stats`](super::ThreadPool::stats).
pub(super) struct Census {
    pub(super) workers: usize,
    pub(super) queued: usize,
    pub(super) running: usize,
    pub(super) completed: u64,
}

thread_local! {
    /// Whose worker this thread is.
    static EMPLOYER: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

impl Shared {
    /// A pool with its threads.
    pub(super) fn start(recipe: Recipe, workers: usize) -> Result<Arc<Self>, PoolError> {
        let desk = Desk {
            queue: VecDeque::new(),
            waiting: 0,
            tickets: 0,
            running: 0,
            completed: 0,
            stage: Stage::Open,
            crew: None,
            workers: 0,
            shift: 0,
        };
        let (desk, threads) = (Mutex::new(desk), Mutex::new(Vec::new()));
        let shared = Arc::new(Self { desk, recipe, ended: AtomicBool::new(false), threads, over: Event::new() });
        shared.resize(workers)?;
        Ok(shared)
    }

    /// Gives the work to a new crew of so many threads; those of the old one leave when they are done with their jobs.
    pub(super) fn resize(self: &Arc<Self>, workers: usize) -> Result<(), PoolError> {
        if workers == 0 {
            return Err(PoolError::NoWorkers);
        }
        let (crew, threads) = self.recipe.hire(self, workers)?;
        let crew = Arc::new(crew);
        let mut everybody = self.threads.lock();
        everybody.retain(|thread| !thread.is_finished());
        everybody.extend(threads);
        drop(everybody);
        let mut desk = self.desk.lock();
        if !matches!(desk.stage, Stage::Open) {
            // Nothing more is to come; these threads leave at once.
            return Ok(());
        }
        desk.shift += 1;
        desk.workers = workers;
        desk.tickets = desk.waiting;
        let (shift, tickets) = (desk.shift, desk.tickets);
        let before = desk.crew.replace(Arc::clone(&crew));
        drop(desk);
        drop(before);
        self.issue(&crew, shift, tickets);
        Ok(())
    }

    /// Puts a job into the queue `times` times, each of which will be claimed apart.
    pub(super) fn submit(self: &Arc<Self>, job: Arc<dyn Job>, times: usize) -> Result<(), TaskError> {
        let mut desk = self.desk.lock();
        match &desk.stage {
            Stage::Open => {}
            Stage::Closed => return Err(TaskError::PoolClosed),
            Stage::Ended(why) => return Err(why.clone()),
        }
        desk.queue.extend(std::iter::repeat_n(job, times));
        desk.waiting += times;
        let tickets = desk.waiting.saturating_sub(desk.tickets);
        desk.tickets += tickets;
        let (crew, shift) = (desk.crew.clone(), desk.shift);
        drop(desk);
        if let Some(crew) = crew {
            self.issue(&crew, shift, tickets);
        }
        Ok(())
    }

    fn issue(self: &Arc<Self>, crew: &rayon_core::ThreadPool, shift: u64, tickets: usize) {
        for _ in 0..tickets {
            let shared = Arc::clone(self);
            crew.spawn(move || shared.serve(shift));
        }
    }

    /// What a ticket is for: the first job that waits.
    fn serve(&self, shift: u64) {
        // Jobs that were claimed elsewhere. What they still hold is the user's, and dropped when the desk is free.
        let mut dead = Vec::new();
        let mut desk = self.desk.lock();
        if desk.shift != shift {
            return;
        }
        desk.tickets -= 1;
        let job = loop {
            match desk.queue.pop_front() {
                Some(job) if job.claim() => break Some(job),
                Some(job) => dead.push(job),
                None => break None,
            }
        };
        if job.is_some() {
            desk.waiting -= 1;
            desk.running += 1;
        }
        drop(desk);
        // Only destructors of what nobody took can panic here.
        panics::tell(|| {
            if let Some(job) = job {
                job.run();
            }
        });
        panics::tell(|| drop(dead));
    }

    /// Whether the calling thread is one of the pool's workers.
    pub(super) fn employs_this_thread(&self) -> bool {
        EMPLOYER.get() == ptr::from_ref(self)
    }

    /// Makes the calling thread a worker, until it ends.
    pub(super) fn enter(&self) {
        EMPLOYER.set(ptr::from_ref(self));
    }

    /// Runs a job on this thread, which is a worker that waits for it; false if it was begun elsewhere.
    pub(super) fn run_here(&self, job: &dyn Job) -> bool {
        let mut desk = self.desk.lock();
        if !job.claim() {
            return false;
        }
        desk.running += 1;
        self.withdraw(desk, 1).tell();
        job.run();
        true
    }

    /// This thread, a worker, begins a job that never stood in the queue.
    pub(super) fn begun_here(&self) {
        self.desk.lock().running += 1;
    }

    /// Refuses a job that has not begun; whether that was so.
    pub(super) fn cancel(&self, job: &dyn Job, why: TaskError) -> bool {
        let desk = self.desk.lock();
        if !job.claim() {
            return false;
        }
        // Told after the job, as always.
        let over = self.withdraw(desk, 1);
        job.refuse(why);
        over.tell();
        true
    }

    /// So many places in the queue are void although they were not served.
    pub(super) fn withdrawn(&self, places: usize) -> Over<'_> {
        self.withdraw(self.desk.lock(), places)
    }

    fn withdraw(&self, mut desk: parking_lot::MutexGuard<'_, Desk>, places: usize) -> Over<'_> {
        desk.waiting -= places;
        // Tasks that are run by those who wait for them are mostly the youngest. Were they left to the tickets, a
        // recursion would pile up all of its tasks here.
        let mut void = Vec::new();
        while desk.queue.back().is_some_and(|job| !job.is_waiting()) {
            void.extend(desk.queue.pop_back());
        }
        let over = self.over_if_done(&desk);
        drop(desk);
        drop(void);
        over
    }

    /// A job has ended; so many calls were made in it. Before anybody is told of its end.
    pub(super) fn ended(&self, calls: u64) -> Over<'_> {
        let mut desk = self.desk.lock();
        desk.running -= 1;
        desk.completed += calls;
        self.over_if_done(&desk)
    }

    fn over_if_done(&self, desk: &Desk) -> Over<'_> {
        let over = !matches!(desk.stage, Stage::Open) && desk.waiting == 0 && desk.running == 0;
        Over(over.then_some(&self.over))
    }

    /// Why nothing more is to be begun, if so.
    pub(super) fn has_ended(&self) -> Option<TaskError> {
        if !self.ended.load(Ordering::Relaxed) {
            return None;
        }
        match &self.desk.lock().stage {
            Stage::Ended(why) => Some(why.clone()),
            Stage::Open | Stage::Closed => None,
        }
    }

    /// Takes no more jobs.
    pub(super) fn close(&self) {
        let mut desk = self.desk.lock();
        if matches!(desk.stage, Stage::Open) {
            desk.stage = Stage::Closed;
        }
        let over = self.over_if_done(&desk);
        drop(desk);
        over.tell();
    }

    /// Takes no more jobs, and refuses those that wait.
    pub(super) fn end(&self, why: TaskError) {
        let mut desk = self.desk.lock();
        if !matches!(desk.stage, Stage::Ended(_)) {
            desk.stage = Stage::Ended(why.clone());
            self.ended.store(true, Ordering::Relaxed);
        }
        let (refused, void): (Vec<_>, Vec<_>) = mem::take(&mut desk.queue).into_iter().partition(|job| job.claim());
        desk.waiting = 0;
        let over = self.over_if_done(&desk);
        drop(desk);
        for job in refused {
            job.refuse(why.clone());
        }
        over.tell();
        drop(void);
    }

    /// What is told when the pool has no more jobs and will get none.
    pub(super) fn over(&self) -> &Event {
        &self.over
    }

    /// Lets the threads go; they leave when they are done with their jobs.
    pub(super) fn dismiss(&self) {
        let crew = self.desk.lock().crew.take();
        drop(crew);
    }

    /// Waits until the threads have ended. They were dismissed.
    pub(super) fn join_threads(&self) {
        let mut threads = self.threads.lock();
        for thread in threads.drain(..) {
            if thread.thread().id() != thread::current().id() {
                // Workers catch what they run; whatever else went wrong, the panic hook told of it.
                let _told = thread.join();
            }
        }
    }

    pub(super) fn census(&self) -> Census {
        let desk = self.desk.lock();
        let workers = if desk.crew.is_some() { desk.workers } else { 0 };
        Census { workers, queued: desk.waiting, running: desk.running, completed: desk.completed }
    }

    /// How many threads there are.
    pub(super) fn workers(&self) -> usize {
        self.desk.lock().workers
    }
}
