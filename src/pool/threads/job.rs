//! One call of one function: what a [`Task`](crate::pool::Task) of a [`ThreadPool`](super::ThreadPool) waits for.

use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use super::engine::{Job, Shared};
use crate::panics;
use crate::pool::error::TaskError;
use crate::pool::task::Pending;
use crate::sync::Event;
use crate::sys::clock::Deadline;

/// Who is told of a result before those who wait for it.
pub(super) trait Audience<R>: Send + Sync {
    /// Listens, and gives the result back if it is still to be had. Does not unwind.
    fn hear(&self, result: Result<R, TaskError>) -> Option<Result<R, TaskError>>;
}

/// A call, its argument, its result.
pub(super) struct Call<F, A, R, D> {
    shared: Arc<Shared>,
    state: Mutex<State<F, A, R>>,
    /// Set when the call has ended, after its result was put in place.
    done: Event,
    /// When it is not to be begun any more.
    begin_by: Deadline,
    audience: D,
}

struct State<F, A, R> {
    stage: Stage,
    call: Option<(F, A)>,
    result: Option<Result<R, TaskError>>,
    waker: Option<Waker>,
}

/// ```text
///   Waiting ──► Claimed ──► Ended
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// By who runs or refuses it, and takes `call`.
    Claimed,
    /// `result` is there, until it is taken.
    Ended,
}

impl<F, A, R, D> Call<F, A, R, D>
where
    F: FnOnce(A) -> R + Send + 'static,
    A: Send + 'static,
    R: Send + 'static,
    D: Audience<R> + 'static,
{
    /// A call, in the queue of `shared`, or refused.
    pub(super) fn submit(shared: &Arc<Shared>, f: F, argument: A, begin_by: Deadline, audience: D) -> Arc<Self> {
        let state = State { stage: Stage::Waiting, call: Some((f, argument)), result: None, waker: None };
        let (shared, state) = (Arc::clone(shared), Mutex::new(state));
        let job = Arc::new(Self { shared, state, done: Event::new(), begin_by, audience });
        if let Err(why) = job.shared.submit(Arc::clone(&job) as Arc<dyn Job>, 1) {
            job.state.lock().stage = Stage::Claimed;
            job.refuse(why);
        }
        job
    }

    /// Puts the result in its place; who waits for it is told by [`tell`](Self::tell).
    fn settle(&self, result: Result<R, TaskError>) {
        let result = self.audience.hear(result);
        let mut state = self.state.lock();
        state.stage = Stage::Ended;
        state.result = result;
    }

    /// The state, if it can be had: in a forked child a thread that is not there may hold its lock.
    fn state(&self) -> Option<MutexGuard<'_, State<F, A, R>>> {
        if self.shared.is_ours() { Some(self.state.lock()) } else { self.state.try_lock() }
    }

    fn tell(&self) {
        let waker = self.state.lock().waker.take();
        self.done.set();
        if let Some(waker) = waker {
            panics::tell(|| waker.wake());
        }
    }
}

impl<F, A, R, D> Job for Call<F, A, R, D>
where
    F: FnOnce(A) -> R + Send + 'static,
    A: Send + 'static,
    R: Send + 'static,
    D: Audience<R> + 'static,
{
    fn claim(&self) -> bool {
        let mut state = self.state.lock();
        let waiting = state.stage == Stage::Waiting;
        if waiting {
            state.stage = Stage::Claimed;
        }
        waiting
    }

    fn is_waiting(&self) -> bool {
        self.state.lock().stage == Stage::Waiting
    }

    fn run(&self) {
        let mut call = self.state.lock().call.take();
        let (calls, result) = match call.take_if(|_| !self.begin_by.is_expired()) {
            Some((f, argument)) => (1, panics::catch_in_thread(|| f(argument)).map_err(TaskError::from)),
            None => (0, Err(TaskError::TimedOut)),
        };
        self.settle(result);
        let over = self.shared.ended(calls);
        self.tell();
        over.tell();
        panics::tell(|| drop(call));
    }

    fn refuse(&self, why: TaskError) {
        let call = self.state.lock().call.take();
        self.settle(Err(why));
        self.tell();
        panics::tell(|| drop(call));
    }
}

impl<F, A, R, D> Pending<R> for Call<F, A, R, D>
where
    F: FnOnce(A) -> R + Send + 'static,
    A: Send + 'static,
    R: Send + 'static,
    D: Audience<R> + 'static,
{
    fn is_ready(&self) -> bool {
        self.done.is_set() || !self.shared.is_ours()
    }

    fn is_successful(&self) -> bool {
        self.done.is_set() && self.state().is_some_and(|state| matches!(state.result, Some(Ok(_))))
    }

    fn wait(&self, deadline: Deadline) -> bool {
        if self.is_ready() {
            return true;
        }
        if self.shared.employs_this_thread() && !deadline.is_expired() && self.shared.run_here(self) {
            return true;
        }
        // Nobody else looks at the time by which it is to be begun, until its turn comes.
        if wait(&self.done, deadline.earlier(self.begin_by)) {
            return true;
        }
        if self.begin_by.is_expired() && self.shared.cancel(self, TaskError::TimedOut) {
            return true;
        }
        wait(&self.done, deadline)
    }

    fn take(&self) -> Option<Result<R, TaskError>> {
        let result = self.state().and_then(|mut state| state.result.take());
        result.or_else(|| (!self.shared.is_ours()).then_some(Err(TaskError::ForeignProcess)))
    }

    fn cancel(&self) -> bool {
        self.shared.cancel(self, TaskError::Cancelled)
    }

    fn watch(&self, waker: &Waker) -> bool {
        if !self.shared.is_ours() {
            return false;
        }
        // As in a wait: this thread may be the only one that could ever run it.
        if self.shared.employs_this_thread() && self.shared.run_here(self) {
            return false;
        }
        let mut state = self.state.lock();
        let watching = state.stage != Stage::Ended;
        let before = watching.then(|| state.waker.replace(waker.clone()));
        drop(state);
        drop(before);
        watching
    }
}

/// Waits for an event; false after the deadline.
pub(super) fn wait(event: &Event, deadline: Deadline) -> bool {
    match deadline.remaining() {
        None => {
            event.wait();
            true
        }
        Some(left) => event.wait_timeout(left),
    }
}
