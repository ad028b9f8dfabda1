//! `AnyExecutor`: a pool of threads or one of processes, as the program decides.

use std::time::Duration;

use super::error::{MapError, TaskError};
use super::executor::{Executor, Payload, many, one};
use super::processes::Pool;
use super::task::{MapTask, Task};
use super::threads::ThreadPool;

/// Threads or processes, as the program decides while it runs.
///
/// ```
/// use crewkit::pool::{AnyExecutor, Executor, Pool, ThreadPool};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let isolated = std::env::args().any(|argument| argument == "--processes");
///     let executor: AnyExecutor = if isolated { Pool::new(2)?.into() } else { ThreadPool::new(2)?.into() };
///     assert_eq!(executor.apply(|n: u64| n + 1, 41)?, 42);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub enum AnyExecutor {
    /// In threads of this process.
    Threads(ThreadPool),
    /// In processes of their own.
    Processes(Pool),
}

impl From<ThreadPool> for AnyExecutor {
    fn from(pool: ThreadPool) -> Self {
        Self::Threads(pool)
    }
}

impl From<Pool> for AnyExecutor {
    fn from(pool: Pool) -> Self {
        Self::Processes(pool)
    }
}

/// Has whichever pool it is do it.
macro_rules! either {
    ($executor:expr, $pool:ident => $call:expr) => {
        match $executor {
            AnyExecutor::Threads($pool) => $call,
            AnyExecutor::Processes($pool) => $call,
        }
    };
}

impl Executor for AnyExecutor {
    one! {
        submit(executor, f, argument) -> Task<R> { either!(executor, pool => pool.submit(f, argument)) }
    }

    many! {
        map(executor, f, items) -> Result<Vec<R>, MapError<R>> { either!(executor, pool => Executor::map(pool, f, items)) }
        map_results(executor, f, items) -> Vec<Result<R, TaskError>> {
            either!(executor, pool => Executor::map_results(pool, f, items))
        }
        map_async(executor, f, items) -> MapTask<R> { either!(executor, pool => pool.map_async(f, items)) }
        imap(executor, f, items) -> impl Iterator<Item = Result<R, TaskError>> {
            match executor {
                AnyExecutor::Threads(pool) => Either::Left(pool.imap(f, items)),
                AnyExecutor::Processes(pool) => Either::Right(pool.imap(f, items)),
            }
        }
        imap_unordered(executor, f, items) -> impl Iterator<Item = Result<R, TaskError>> {
            match executor {
                AnyExecutor::Threads(pool) => Either::Left(pool.imap_unordered(f, items)),
                AnyExecutor::Processes(pool) => Either::Right(pool.imap_unordered(f, items)),
            }
        }
    }

    fn close(&self) {
        either!(self, pool => pool.close());
    }

    fn join(&self) {
        either!(self, pool => pool.join());
    }

    fn terminate(&self) {
        either!(self, pool => pool.terminate());
    }

    fn shutdown(&self, grace: Duration) -> bool {
        either!(self, pool => pool.shutdown(grace))
    }
}

/// One of two iterators.
enum Either<L, R> {
    Left(L),
    Right(R),
}

impl<T, L: Iterator<Item = T>, R: Iterator<Item = T>> Iterator for Either<L, R> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::Left(items) => items.next(),
            Self::Right(items) => items.next(),
        }
    }
}
