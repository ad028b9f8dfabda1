//! Timers: functions that run on threads of their own, later.
//!
//! One thread of this process sleeps until the first of all timers is due, starts a thread for each that is, and ends
//! itself [`LINGER`] after the last one has gone. So a timer that waits costs an entry of a map and no thread, cancelling
//! one costs no wake-up, and no callback delays another timer, however long it runs or however it ends. A thread for
//! each timer, as in Python, was measured against it: `README.md` beside this file has the figures.
//!
//! Who has a timer, the thread that serves or who cancels it, and that no wake-up is lost, is the affair of `agenda.rs`.

use super::Builder;
use super::agenda::{Agenda, Look, State};
use super::handle::{Run, Thread};
use super::panics::{Cause, Panicked, report};
use super::record::ThreadRef;
use super::registry::{CannotWait, registry};
use crate::panics::tell;
use crate::primitive::Mutex;
use crate::sync::Event;
use crate::sys::clock::later;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

/// How long the serving thread stays when nothing is to be served. A process that still has it cannot fork.
const LINGER: Duration = Duration::from_millis(100);

/// When a timer is due, and its thread's number, which orders those that are due together.
type Key = (Instant, u64);

/// The timers of one process.
pub(super) struct Schedule(Agenda<Key, Waiting>);

struct Waiting {
    run: Run<()>,
    stack_size: Option<usize>,
    f: Box<dyn FnOnce() + Send>,
}

impl Schedule {
    pub(super) const fn new() -> Self {
        Self(Agenda::of(Mutex::new(State::new()), Event::new()))
    }

    fn add(&'static self, key: Key, waiting: Waiting) -> io::Result<()> {
        let serve = || thread::Builder::new().name("crewkit-timers".to_owned()).spawn(move || self.serve()).map(drop);
        self.0.add(key, waiting, serve)
    }

    fn serve(&self) {
        let mut idle_since = None;
        loop {
            let now = Instant::now();
            let pause = match self.0.look(|(at, _)| *at <= now) {
                Look::Due(due) => {
                    due.fire();
                    continue;
                }
                Look::Later((at, _)) => {
                    idle_since = None;
                    at.saturating_duration_since(now)
                }
                Look::Nothing => LINGER.saturating_sub(now.saturating_duration_since(*idle_since.get_or_insert(now))),
            };
            if pause.is_zero() && self.0.leave() {
                return;
            }
            self.0.wake.wait_timeout(pause);
        }
    }
}

impl Waiting {
    fn fire(self) {
        let Self { run, stack_size, f } = self;
        let mut started = Err(io::ErrorKind::OutOfMemory.into());
        // If it is not started the function is dropped, whose destructor is the user's.
        tell(|| started = run.start(stack_size, f).map(drop));
        if let Err(error) = started {
            let why =
                Panicked::without_panic(Cause::NoThread, &format!("no thread for the timer that is due: {error}"));
            report(&ThreadRef(Arc::clone(&run.record)), &why);
            run.end(Err(why));
        }
    }
}

/// A function that runs later, on a thread of its own (Python's `threading.Timer`).
///
/// It counts as a thread from its making on: it is listed, is alive, has a name, and the process waits for it unless it is
/// a daemon. Dropping it changes nothing about that.
///
/// ```
/// use crewkit::thread::Timer;
/// use std::time::Duration;
///
/// let timer = Timer::start(Duration::from_secs(3600), || println!("an hour has passed"));
/// assert!(timer.cancel(), "it has not fired yet");
/// assert!(!timer.is_alive());
/// ```
#[must_use = "dropping a timer lets it fire"]
pub struct Timer {
    thread: Thread<()>,
    key: Key,
    cancelled: AtomicBool,
}

impl Timer {
    /// Runs `f` after `delay`, on a new thread. It is called `Timer-1` and is as much a daemon as the calling thread;
    /// [`Builder::start_timer`] says otherwise.
    ///
    /// It fires no earlier than `delay` from now, and later by as much as the system needs to wake one thread and start
    /// another. A delay beyond the clock's range is one of a year.
    ///
    /// # Panics
    ///
    /// If the system starts no more threads, or the process is ending.
    ///
    /// # Blocking
    ///
    /// Never.
    #[track_caller]
    pub fn start(delay: Duration, f: impl FnOnce() + Send + 'static) -> Self {
        match Builder::new().start_timer(delay, f) {
            Ok(timer) => timer,
            Err(error) => panic!("cannot start a timer: {error}"),
        }
    }

    pub(super) fn begin(
        run: Run<()>,
        stack_size: Option<usize>,
        delay: Duration,
        f: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Self> {
        let key = (later(Instant::now(), delay), run.record.ident);
        let starting = registry().enter(&run.record)?;
        registry().timers.add(key, Waiting { run: run.clone(), stack_size, f })?;
        starting.started();
        Ok(Self { thread: Thread::of_timer(run), key, cancelled: AtomicBool::new(false) })
    }

    /// Sees to it that the function does not run; whether it will not (Python's `cancel`). Who cancels it once more gets
    /// the same answer.
    ///
    /// When the first call that cancels it returns, the function is dropped and the timer has ended; a panic of what the
    /// function captured is printed. When it is too late nothing changes: the function has run, or runs.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn cancel(&self) -> bool {
        let record = &self.thread.run.record;
        if !record.is_of_this_process() {
            return true;
        }
        let (taken, is_cancelled) = registry().timers.0.cancel(&self.key, &self.cancelled);
        if let Some(Waiting { run, f, .. }) = taken {
            // Before anybody who waits goes on, as at the end of a thread. Its destructor is the user's.
            tell(|| drop(f));
            run.end(Ok(()));
        }
        is_cancelled
    }

    /// Waits until the function has run, or was kept from it (Python's `join`).
    ///
    /// # Errors
    ///
    /// [`Panicked`]: the function panicked. As for a thread, see [`Thread::join`].
    ///
    /// # Blocking
    ///
    /// Until then.
    pub fn join(self) -> Result<(), Panicked> {
        self.thread.join()
    }

    /// See [`ThreadRef::wait`].
    ///
    /// # Errors
    ///
    /// [`CannotWait::Itself`], in the function itself.
    ///
    /// # Blocking
    ///
    /// Until the function has run, or was kept from it.
    pub fn wait(&self) -> Result<(), CannotWait> {
        self.thread.wait()
    }

    /// Whether the function may run still, or runs (Python's `is_alive`).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.thread.is_alive()
    }

    /// The timer as a thread: its name and its numbers.
    #[must_use]
    pub fn thread(&self) -> ThreadRef {
        self.thread.thread()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timer").field(&self.thread).finish()
    }
}
