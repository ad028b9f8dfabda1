//! Semaphores: take a permit and give it back.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::contest::{Contest, Contestant, Repetition, Size, Target, check};
use crate::place::{Job, Placement, together};

const OURS: &str = "crewkit Semaphore";

/// A number of permits, whichever library they come from.
trait Permits: Send + Sync + 'static {
    /// So many of them.
    fn new(permits: usize) -> Self;
    /// Takes one and gives it back.
    fn pass(&self);
    /// Whether so many are there.
    fn are(&self, permits: usize) -> bool;
}

impl Permits for crewkit::sync::Semaphore {
    fn new(permits: usize) -> Self {
        Self::new(permits)
    }

    fn pass(&self) {
        drop(self.acquire());
    }

    fn are(&self, permits: usize) -> bool {
        self.available() == permits
    }
}

impl Permits for tokio::sync::Semaphore {
    fn new(permits: usize) -> Self {
        Self::new(permits)
    }

    /// The future is only made where there is something to wait for: that is fastest.
    fn pass(&self) {
        let permit = match self.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_) => block_on(self.acquire()),
        };
        drop(permit);
    }

    fn are(&self, permits: usize) -> bool {
        self.available_permits() == permits
    }
}

impl Permits for async_lock::Semaphore {
    fn new(permits: usize) -> Self {
        Self::new(permits)
    }

    fn pass(&self) {
        drop(self.acquire_blocking());
    }

    fn are(&self, permits: usize) -> bool {
        let taken: Vec<_> = std::iter::from_fn(|| self.try_acquire()).collect();
        taken.len() == permits
    }
}

/// The usual answer to "std has no semaphore", with the faster of the two mutexes.
struct Handmade {
    available: Mutex<usize>,
    released: Condvar,
}

impl Permits for Handmade {
    fn new(permits: usize) -> Self {
        Self { available: Mutex::new(permits), released: Condvar::new() }
    }

    fn pass(&self) {
        let mut available = self.available.lock();
        self.released.wait_while(&mut available, |available| *available == 0);
        *available -= 1;
        drop(available);
        *self.available.lock() += 1;
        self.released.notify_one();
    }

    fn are(&self, permits: usize) -> bool {
        *self.available.lock() == permits
    }
}

/// Runs a future on this thread, which sleeps while there is nothing to do.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![
        contest("uncontended, 1 thread", 1, 1).target(Target::speed(OURS, 2.0, &[])),
        contest("4 threads, 1 permit", 4, 1)
            .target(Target::speed(OURS, 1.0, &["tokio Semaphore"]))
            .remark("tokio's is the fair one: it never lets a newcomer overtake, which costs a switch of threads."),
        contest("4 threads, 2 permits", 4, 2).target(Target::speed(OURS, 2.0, &[])),
    ]
}

fn contest(work: &str, threads: u64, permits: usize) -> Contest {
    Contest::new("Semaphore", work, "acquire and release", Size::MultipleOf(threads))
        .with(Contestant::crewkit(OURS, move || Ok(pass::<crewkit::sync::Semaphore>(threads, permits))))
        .with(Contestant::peer("tokio Semaphore", move || Ok(pass::<tokio::sync::Semaphore>(threads, permits))))
        .with(Contestant::peer("async-lock Semaphore", move || Ok(pass::<async_lock::Semaphore>(threads, permits))))
        .with(Contestant::peer("parking_lot Mutex + Condvar", move || Ok(pass::<Handmade>(threads, permits))))
}

/// Lets the threads pass, each its share.
fn pass<P: Permits>(threads: u64, permits: usize) -> Repetition {
    let semaphore = Arc::new(P::new(permits));
    Box::new(move |operations| {
        let share = operations / threads;
        let run = || (0..share).for_each(|_| black_box(&*semaphore).pass());
        let taken = if threads == 1 {
            let start = Instant::now();
            run();
            start.elapsed()
        } else {
            together(Placement::Apart, (0..).zip(0..threads).map(|(lane, _)| Job::on(lane, run)))?
        };
        check("number of permits", semaphore.are(permits), true)?;
        Ok(taken.into())
    })
}
