//! `Builder`: a pool's options, and its start.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::engine::Shared;
use super::pool::Pool;
use super::recipe::Recipe;
use super::runner;
use super::scheduler::Policy;
use crate::ipc::parcel;
use crate::pool::error::PoolError;
use crate::process::function::Function;
use crate::process::{ForkError, SpawnError, StartMethod, cpu_count};
use crate::reactor::Poller;

/// The time between SIGTERM and SIGKILL when a pool is terminated or dropped.
const PATIENCE: Duration = Duration::from_secs(1);

/// Options of a [`Pool`].
#[derive(Debug)]
#[must_use]
pub struct Builder {
    workers: Option<usize>,
    start_method: StartMethod,
    retries: u32,
    prefetch: usize,
    initializer: Result<Option<(Function, Vec<u8>)>, PoolError>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { workers: None, start_method: StartMethod::default(), retries: 0, prefetch: 2, initializer: Ok(None) }
    }

    /// How many workers; otherwise [`cpu_count`].
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// How they are started; otherwise by the fork server.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    /// How often a task whose worker died in it is tried again; otherwise never. Only for functions that may run twice.
    /// A panic is not tried again.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How many tasks a worker may hold: 2 (the default), so that it finds the next one when it is done, or 1. Either
    /// way a task that waits behind another is given to a worker that falls idle.
    ///
    /// # Panics
    ///
    /// If it is neither.
    pub fn prefetch(mut self, tasks: usize) -> Self {
        assert!((1..=2).contains(&tasks), "a worker holds 1 or 2 tasks, not {tasks}");
        self.prefetch = tasks;
        self
    }

    /// Has each worker call `f(argument)` before its first task (Python's `initializer`, `initargs`). A panic in it ends
    /// the worker; if that happens again and again, the pool gives up and its tasks end with
    /// [`TaskError::PoolBroken`](crate::pool::TaskError::PoolBroken).
    pub fn initializer<F, A>(mut self, f: F, argument: A) -> Self
    where
        F: Fn(A) + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
    {
        self.initializer = (|| {
            let parcel = parcel::encode(&argument);
            let parcel = parcel.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
            if !parcel.fds.is_empty() {
                let why = "each worker needs the initializer's argument, so there can be no descriptors in it";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
            }
            Ok(Some((Function::of(f)?, parcel.bytes)))
        })();
        self
    }

    /// Starts the pool.
    ///
    /// # Errors
    ///
    /// As [`Pool::new`]; also if the initializer's argument cannot be sent to every worker.
    ///
    /// # Blocking
    ///
    /// As [`Pool::new`].
    pub fn build(self) -> Result<Pool, PoolError> {
        let workers = self.workers.unwrap_or_else(cpu_count);
        if workers == 0 {
            return Err(PoolError::NoWorkers);
        }
        if self.start_method == StartMethod::Fork {
            // The pool's own loop is a thread; the first replacement of a worker would be refused, so all are.
            return Err(SpawnError::Fork(ForkError::Multithreaded { threads: 2 }).into());
        }
        let recipe = Recipe { start_method: self.start_method, initializer: self.initializer? };
        let policy = Policy { workers, lanes: self.prefetch, patience: PATIENCE };
        let poller = Poller::new()?;
        let shared = Arc::new(Shared::new(policy, recipe, poller.registrar(), poller.waker()));
        // The first workers are started here, so that what is wrong with starting them is this call's error.
        let plan = shared.act(|state, now| state.tick(now));
        for id in plan.wanted {
            let hired = shared.recipe.hire(id)?;
            shared.act(|state, now| state.enlist(id, Ok(hired), now));
        }
        let for_loop = Arc::clone(&shared);
        let runner = thread::Builder::new().name("crewkit-pool".into());
        let runner = runner.spawn(move || runner::run(&for_loop, poller))?;
        Ok(Pool::assemble(shared, workers, self.retries, runner))
    }
}
