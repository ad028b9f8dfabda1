//! Which threads there are, whether the process is ending, and what is called when it does. One registry for each
//! process of a line of forks.
//!
//! No code of a user runs under the registry's lock, and nothing of a user's is dropped under it, so whatever such code
//! asks from within a destructor or a hook, it is answered.
//!
//! **Forks.** A forked child has one thread, and may find any lock of its parent held by a thread that it does not
//! have. So it does not touch the parent's registry: each registry says which generation it is for, and has room for
//! the registry of the next one that asks. Records of another generation count as ended.
//!
//! **The order at a thread's end** (`leave`): off the registry, then `done`. Whoever returned from a wait finds the
//! thread neither alive nor listed (CPython's issue 1703448).

use super::me;
use super::record::{Origin, Record, ThreadRef};
use super::timer::Schedule;
use crate::primitive::Mutex;
use crate::sync::Event;
use crate::sys::{exit, generation, threads as kernel};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, io};

/// What is called when the process ends.
pub(super) type Callback = Box<dyn FnOnce() + Send>;

/// The main thread's number, in a process that was not forked.
const MAIN: u64 = 1;

static IDENTS: AtomicU64 = AtomicU64::new(MAIN + 1);
static FIRST: Registry = Registry::new(0);

/// The threads of one process.
pub(super) struct Registry {
    generation: u32,
    state: Mutex<State>,
    pub(super) timers: Schedule,
    /// Set when the last callback that runs has returned.
    called: Event,
    next: OnceLock<Box<Registry>>,
}

struct State {
    phase: Phase,
    /// Whether libc will call us at the end.
    hooked: bool,
    main: Option<Arc<Record>>,
    /// All others that are alive, by their numbers, which is the order of their starts.
    threads: BTreeMap<u64, Arc<Record>>,
    callbacks: Vec<Callback>,
    /// How many callbacks run: more than one if two threads end the process, see `exit`.
    calling: usize,
}

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Callbacks run, then threads are waited for: these may start others still.
    Ending,
    /// No thread is left that would be waited for, and none may be started.
    Closed,
}

/// The registry of this process.
pub(super) fn registry() -> &'static Registry {
    let here = generation::current();
    let mut registry = &FIRST;
    while registry.generation != here {
        registry = registry.next.get_or_init(|| Box::new(Registry::new(here)));
    }
    registry
}

/// A number that no thread has had.
pub(super) fn new_ident() -> u64 {
    IDENTS.fetch_add(1, Ordering::Relaxed)
}

/// Whether the calling thread may wait for this one.
pub(super) fn check_wait(record: &Record) -> Result<(), CannotWait> {
    match record.origin {
        // In a child its number may differ: another thread may have asked for the main thread before it did itself.
        Origin::Main if record.is_of_this_process() && kernel::is_main() => Err(CannotWait::Itself),
        _ if me::ident() == record.ident => Err(CannotWait::Itself),
        Origin::Foreign => Err(CannotWait::Foreign),
        _ => Ok(()),
    }
}

impl Registry {
    const fn new(generation: u32) -> Self {
        let state = State {
            phase: Phase::Running,
            hooked: false,
            main: None,
            threads: BTreeMap::new(),
            callbacks: Vec::new(),
            calling: 0,
        };
        let state = Mutex::new(state);
        Self { generation, state, timers: Schedule::new(), called: Event::new(), next: OnceLock::new() }
    }

    /// Lists a thread that is about to be started; it is taken off again unless that succeeds.
    pub(super) fn enter(&self, record: &Arc<Record>) -> io::Result<Starting> {
        let mut state = self.state.lock();
        if state.phase == Phase::Closed {
            return Err(io::Error::other(ShuttingDown));
        }
        if !record.daemon {
            state.hook()?;
        }
        state.threads.insert(record.ident, Arc::clone(record));
        Ok(Starting(Some(Arc::clone(record))))
    }

    /// Lists a thread that was started elsewhere.
    pub(super) fn notice(&self, record: &Arc<Record>) {
        self.state.lock().threads.insert(record.ident, Arc::clone(record));
    }

    /// Takes a thread off the list, then tells those who wait for its end.
    pub(super) fn leave(&self, record: &Record) {
        let listed = self.state.lock().threads.remove(&record.ident);
        record.end();
        drop(listed);
    }

    /// The main thread.
    pub(super) fn main(&self) -> Arc<Record> {
        let mut state = self.state.lock();
        Arc::clone(state.main())
    }

    /// All threads that are alive, the main thread first.
    pub(super) fn enumerate(&self) -> Vec<ThreadRef> {
        let mut state = self.state.lock();
        let main = Arc::clone(state.main());
        std::iter::once(main).chain(state.threads.values().cloned()).map(ThreadRef).collect()
    }

    /// How many [`enumerate`](Self::enumerate) lists.
    pub(super) fn active_count(&self) -> usize {
        1 + self.state.lock().threads.len()
    }

    /// Has `callback` called when the process ends.
    pub(super) fn at_exit(&self, callback: Callback) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.phase != Phase::Running {
            return Err(io::Error::other(ShuttingDown));
        }
        state.hook()?;
        state.callbacks.push(callback);
        Ok(())
    }

    /// The process begins to end, if it has not before: from now on no callback is taken. The youngest one that has not
    /// been called.
    pub(super) fn next_callback(&'static self) -> Option<(Callback, Calling)> {
        let mut state = self.state.lock();
        if state.phase == Phase::Running {
            state.phase = Phase::Ending;
        }
        let callback = state.callbacks.pop()?;
        state.calling += 1;
        self.called.clear();
        Some((callback, Calling(self)))
    }

    /// Waits for at most `timeout` until the callbacks that other threads run have returned; whether they have.
    pub(super) fn wait_for_callbacks(&self, timeout: Duration) -> bool {
        self.called.wait_timeout(timeout)
    }

    /// The threads that the end of the process waits for, as asked by thread `except`; maybe none, if callbacks run.
    /// `None` if there is nothing to wait for: then no thread can be started any more.
    pub(super) fn stragglers(&self, except: u64) -> Option<Vec<Arc<Record>>> {
        let mut state = self.state.lock();
        let left: Vec<_> =
            state.threads.values().filter(|record| !record.daemon && record.ident != except).map(Arc::clone).collect();
        if left.is_empty() && state.calling == 0 {
            state.phase = Phase::Closed;
            return None;
        }
        Some(left)
    }
}

impl State {
    fn main(&mut self) -> &Arc<Record> {
        self.main.get_or_insert_with(|| {
            // In a forked child the thread that forked is the main thread, and keeps its name and number.
            let (before, ident) = if kernel::is_main() { me::inherited() } else { (None, 0) };
            let ident = if ident == 0 { MAIN } else { ident };
            let name = before.and_then(|record| record.try_name()).unwrap_or_else(|| "MainThread".into());
            let record = Record::new(ident, Origin::Main, name, false);
            record.begin_as(std::process::id());
            record
        })
    }

    /// Has libc call us when the process ends. Again in every process of a line of forks, although a child inherits the
    /// call: whichever comes second finds nothing to do.
    fn hook(&mut self) -> io::Result<()> {
        if !self.hooked {
            exit::at_exit(super::exit::at_process_exit)?;
            self.hooked = true;
        }
        Ok(())
    }
}

/// A callback runs. Dropped when it has returned; in a child that it forked that means nothing.
#[must_use = "dropping this says that the callback has returned"]
pub(super) struct Calling(&'static Registry);

impl Drop for Calling {
    fn drop(&mut self) {
        if self.0.generation != generation::current() {
            return;
        }
        let mut state = self.0.state.lock();
        state.calling -= 1;
        if state.calling == 0 {
            self.0.called.set();
        }
    }
}

/// A thread that is listed and not started yet. Dropped without being started, also in an unwinding, it ends.
#[must_use = "dropping this ends the thread"]
pub(super) struct Starting(Option<Arc<Record>>);

impl Starting {
    /// The thread runs, or will, and takes itself off the list.
    pub(super) fn started(mut self) {
        self.0 = None;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(record) = self.0.take() {
            registry().leave(&record);
        }
    }
}

/// The process is ending: no thread can be started any more, or no callback taken. Inside an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShuttingDown;

impl fmt::Display for ShuttingDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the process is ending: it takes no new threads, timers or callbacks")
    }
}

impl std::error::Error for ShuttingDown {}

/// Why a thread cannot be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CannotWait {
    /// It is the thread that would wait, for ever.
    Itself,
    /// It was started elsewhere, and has an owner there who joins it.
    Foreign,
}

impl fmt::Display for CannotWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Itself => "a thread cannot wait for its own end",
            Self::Foreign => "the end of a thread that was started elsewhere cannot be waited for",
        })
    }
}

impl std::error::Error for CannotWait {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn th11_the_end_waits_for_callbacks_that_another_thread_runs() {
        let registry: &Registry = Box::leak(Box::new(Registry::new(generation::current())));
        for _ in 0..2 {
            registry.at_exit(Box::new(|| ())).unwrap();
        }
        let (_, one) = registry.next_callback().unwrap();
        let (_, other) = registry.next_callback().unwrap();
        assert!(registry.next_callback().is_none());
        for calling in [one, other] {
            assert_eq!(registry.stragglers(0).map(|left| left.len()), Some(0), "nothing to see, and not the end");
            assert!(!registry.wait_for_callbacks(Duration::ZERO));
            drop(calling);
        }
        assert!(registry.wait_for_callbacks(Duration::MAX));
        assert!(registry.stragglers(0).is_none());
    }
}
