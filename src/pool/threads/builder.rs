//! `ThreadPoolBuilder`: a pool's options, and how its threads begin.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::engine::Shared;
use super::pool::ThreadPool;
use crate::panics;
use crate::pool::error::{PoolError, TaskError};

/// Options of a [`ThreadPool`].
#[derive(Debug)]
#[must_use]
pub struct ThreadPoolBuilder {
    workers: Option<usize>,
    recipe: Recipe,
}

impl ThreadPoolBuilder {
    pub(super) fn new() -> Self {
        let recipe = Recipe { name: "crewkit-pool".to_owned(), stack_size: None, initializer: None };
        Self { workers: None, recipe }
    }

    /// How many workers; otherwise as many as this process may use processors
    /// ([`std::thread::available_parallelism`]).
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// What the threads' names begin with; a hyphen and a number follow. Otherwise `crewkit-pool`. The kernel shows the
    /// first 15 bytes. It cannot have NUL bytes, which are left out.
    pub fn name(mut self, prefix: impl Into<String>) -> Self {
        self.recipe.name = prefix.into().replace('\0', "");
        self
    }

    /// The size of each thread's stack in bytes; otherwise as std has it.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.recipe.stack_size = Some(bytes);
        self
    }

    /// Has each worker call `f` before its first task (Python's `initializer`). If it panics in any of them, the pool is
    /// of no use: its tasks end with [`TaskError::PoolBroken`].
    pub fn initializer<F>(mut self, f: F) -> Self
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.recipe.initializer = Some(Arc::new(f));
        self
    }

    /// Starts the pool.
    ///
    /// # Errors
    ///
    /// As [`ThreadPool::new`].
    ///
    /// # Blocking
    ///
    /// Until the threads are started; not until they are initialised.
    pub fn build(self) -> Result<ThreadPool, PoolError> {
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        let workers = self.workers.unwrap_or_else(processors);
        Ok(ThreadPool::over(Shared::start(self.recipe, workers)?))
    }
}

/// How a pool's threads are made.
#[derive(Clone)]
pub(super) struct Recipe {
    name: String,
    stack_size: Option<usize>,
    initializer: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Recipe {
    /// A crew of so many threads for `shared`.
    pub(super) fn hire(
        &self,
        shared: &Arc<Shared>,
        workers: usize,
    ) -> Result<(rayon_core::ThreadPool, Vec<JoinHandle<()>>), PoolError> {
        // rayon would silently take fewer.
        if workers > rayon_core::max_num_threads() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many workers for one pool").into());
        }
        let mut threads = Vec::with_capacity(workers);
        let mut failed = None;
        let start = |worker: rayon_core::ThreadBuilder| {
            let builder = thread::Builder::new().name(format!("{}-{}", self.name, worker.index()));
            let builder = match self.stack_size {
                Some(bytes) => builder.stack_size(bytes),
                None => builder,
            };
            let (shared, initializer) = (Arc::clone(shared), self.initializer.clone());
            let started = builder.spawn(move || {
                shared.enter();
                // Without one, too: it is here that the panic hook is put in place, where nobody panics yet.
                if let Err(report) = panics::catch_in_thread(|| initializer.as_deref().map(|initialize| initialize())) {
                    let reason = format!("the initializer panicked at {}: {}", report.location, report.message);
                    shared.end(TaskError::PoolBroken { reason });
                }
                worker.run();
            });
            started.map(|thread| threads.push(thread)).map_err(|error| {
                let kind = error.kind();
                failed = Some(error);
                io::Error::from(kind)
            })
        };
        let built = rayon_core::ThreadPoolBuilder::new().num_threads(workers).spawn_handler(start).build();
        match built {
            Ok(crew) => Ok((crew, threads)),
            // rayon lets those go that were started.
            Err(error) => Err(PoolError::Io(failed.unwrap_or_else(|| io::Error::other(error.to_string())))),
        }
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, stack_size, initializer } = self;
        let initializer = initializer.is_some();
        let mut text = f.debug_struct("Recipe");
        text.field("name", name).field("stack_size", stack_size).field("initializer", &initializer).finish()
    }
}
