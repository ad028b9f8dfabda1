//! Where the threads of a repetition run, and what they spent.

use std::panic::resume_unwind;
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::contest::Outcome;

/// Where threads run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Each lane on a processor of its own, as far as there are any.
    Apart,
    /// All on one processor: what happens on a machine with more to do than processors.
    OneCore,
}

impl Placement {
    /// As titles say it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Apart => "apart",
            Self::OneCore => "on one core",
        }
    }

    /// Keeps the calling thread on the processor of its lane.
    pub(crate) fn pin(self, lane: usize) -> Outcome<()> {
        let usable = usable();
        let processor = match self {
            Self::Apart if usable.len() < 2 => return Err("needs two processors".into()),
            Self::Apart => usable.get(lane % usable.len()),
            Self::OneCore => usable.first(),
        };
        let mut set = CpuSet::new();
        set.set(*processor.ok_or("no processor is known")?)?;
        Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
    }
}

/// The processors that this program may use; looked up before any of its threads is pinned.
pub(crate) fn usable() -> &'static [usize] {
    static USABLE: OnceLock<Vec<usize>> = OnceLock::new();
    USABLE.get_or_init(|| {
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
        (0..CpuSet::count()).filter(|&processor| allowed.is_set(processor).unwrap_or(false)).collect()
    })
}

/// The processor time of the calling thread so far.
pub(crate) fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// What one thread of a repetition does.
pub(crate) struct Job<'a> {
    lane: usize,
    run: Box<dyn FnOnce() + Send + 'a>,
}

impl<'a> Job<'a> {
    /// A job for the processor of this lane.
    pub(crate) fn on(lane: usize, run: impl FnOnce() + Send + 'a) -> Self {
        Self { lane, run: Box::new(run) }
    }
}

/// Runs the jobs at the same time, each on a thread of its own, and says how long that took: from the moment the first
/// begins to the moment the last ends. Starting the threads is not counted; they meet at a barrier first.
pub(crate) fn together<'a>(placement: Placement, jobs: impl IntoIterator<Item = Job<'a>>) -> Outcome<Duration> {
    let jobs: Vec<Job<'a>> = jobs.into_iter().collect();
    let barrier = &Barrier::new(jobs.len());
    let spans = thread::scope(|scope| {
        let run = move |job: Job<'a>| {
            let pinned = placement.pin(job.lane);
            barrier.wait();
            pinned?;
            let start = Instant::now();
            (job.run)();
            Ok((start, Instant::now()))
        };
        let threads: Vec<_> = jobs.into_iter().map(|job| scope.spawn(move || run(job))).collect();
        // A job that panicked makes the contestant's thread panic, which is what the report then says.
        let join =
            |thread: thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|payload| resume_unwind(payload));
        threads.into_iter().map(join).collect::<Outcome<Vec<(Instant, Instant)>>>()
    })?;
    let start = spans.iter().map(|span| span.0).min();
    let end = spans.iter().map(|span| span.1).max();
    Ok(start.zip(end).map_or(Duration::ZERO, |(start, end)| end - start))
}
