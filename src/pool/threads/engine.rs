//! The desk: which jobs wait, who serves them, and when the pool is over. `mod.rs` has the invariants.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
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
use crate::sys::generation;

/// Something to be done by a worker, once.
pub(super) trait Job: Send + Sync {
    /// It will stand in the queue `times` times more; how often it is to. Called with the desk's lock held.
    fn queued(&self, times: usize) -> usize {
        times
    }
    /// Takes it out of waiting; true for one caller only, who then runs or refuses it. Called with the desk's lock held.
    fn claim(&self) -> bool;
    /// Whether nobody has claimed it.
    fn is_waiting(&self) -> bool;
    /// Does it. Does not unwind.
    fn run(&self);
    /// Answers that it will not be done. Does not unwind.
    fn refuse(&self, why: TaskError);
}

/// What the pool's handle, its tasks and its threads share.
pub(super) struct Shared {
    /// The process that has the threads, of a line of forks.
    generation: u32,
    desk: Mutex<Desk>,
    recipe: Recipe,
    /// Whether the stage is `Ended`, for a look without the lock.
    ended: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Locked while threads are joined, so that every `join` returns after the end of the last one.
    joining: Mutex<()>,
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

/// So many dead jobs may always stand in the queue, besides as many as wait.
const SPARE_PLACES: usize = 64;

/// Lets go of jobs, whose last owner this may be: what is in them is the user's, and its destructors may panic.
fn drop_all(jobs: impl IntoIterator<Item = Arc<dyn Job>>) {
    jobs.into_iter().for_each(|job| panics::tell(|| drop(job)));
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
        let shared = Arc::new(Self {
            generation: generation::current(),
            desk: Mutex::new(desk),
            recipe,
            ended: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
            joining: Mutex::new(()),
            over: Event::new(),
        });
        shared.resize(workers)?;
        Ok(shared)
    }

    /// False in a forked child: there are no threads there, and whatever lock one of them held is held for ever.
    pub(super) fn is_ours(&self) -> bool {
        self.generation == generation::current()
    }

    /// Gives the work to a new crew of so many threads; those of the old one leave when they are done with their jobs.
    pub(super) fn resize(self: &Arc<Self>, workers: usize) -> Result<(), PoolError> {
        if workers == 0 {
            return Err(PoolError::NoWorkers);
        }
        if !self.is_ours() {
            return Err(io::Error::other(TaskError::ForeignProcess).into());
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
    ///
    /// A closed pool takes what comes from its own jobs, since it does what it has, and that is part of it.
    pub(super) fn submit(self: &Arc<Self>, job: Arc<dyn Job>, times: usize) -> Result<(), TaskError> {
        if !self.is_ours() {
            return Err(TaskError::ForeignProcess);
        }
        let mut desk = self.desk.lock();
        match &desk.stage {
            Stage::Open => {}
            // While one of them runs the pool is not over.
            Stage::Closed if desk.running > 0 && self.employs_this_thread() => {}
            Stage::Closed => return Err(TaskError::PoolClosed),
            Stage::Ended(why) => return Err(why.clone()),
        }
        let times = job.queued(times);
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
        if let Some(job) = job {
            job.run();
            dead.push(job);
        }
        drop_all(dead);
    }

    /// Whether the calling thread is one of the pool's workers.
    pub(super) fn employs_this_thread(&self) -> bool {
        EMPLOYER.get() == ptr::from_ref(self) && self.is_ours()
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
        if !self.is_ours() {
            return false;
        }
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
        // Those that are cancelled can be anywhere.
        if desk.queue.len() > 2 * desk.waiting + SPARE_PLACES {
            let (alive, dead): (VecDeque<_>, VecDeque<_>) =
                mem::take(&mut desk.queue).into_iter().partition(|job| job.is_waiting());
            desk.queue = alive;
            void.extend(dead);
        }
        let over = self.over_if_done(&desk);
        drop(desk);
        drop_all(void);
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
        // The rest, if any, belongs to parts that were closed, whose owners are about to withdraw it.
        desk.waiting -= refused.len();
        let over = self.over_if_done(&desk);
        drop(desk);
        for job in &refused {
            job.refuse(why.clone());
        }
        over.tell();
        drop_all(refused);
        drop_all(void);
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
        let _turn = self.joining.lock();
        // The list stays free meanwhile: a thread that ends may want it, in a destructor that resizes the pool.
        let next = || self.threads.lock().pop();
        while let Some(thread) = next() {
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

    /// How many threads there are, or at least 1: then nothing will be done.
    pub(super) fn workers(&self) -> usize {
        if self.is_ours() { self.desk.lock().workers } else { 1 }
    }
}

#[cfg(test)]
mod tests;
