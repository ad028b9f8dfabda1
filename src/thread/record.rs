//! What is known of a thread: its record, which the registry, its handles and the thread itself share.
//!
//! Orderings: `native` is published by `running`, and nothing else hangs on it. That a joiner sees what the thread did
//! is the work of `done` (a release in `Event::set`, an acquire at the end of each wait).

use super::registry::{self, CannotWait};
use crate::primitive::Mutex;
use crate::sync::Event;
use crate::sys::thread::native_id;
use crate::sys::{generation, threads as kernel};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where a thread comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It runs `main`.
    Main,
    /// Started here.
    Started,
    /// To be started when a timer fires.
    Timer,
    /// Started elsewhere, and noticed when it called [`current`](super::current).
    Foreign,
}

/// One thread, alive or not.
pub(super) struct Record {
    pub(super) ident: u64,
    pub(super) origin: Origin,
    pub(super) daemon: bool,
    /// The process it runs in, of a line of forks: in a child it does not exist.
    generation: u32,
    title: Mutex<Title>,
    /// The kernel's number; 0 before the thread runs, and kept after its end.
    native: AtomicU32,
    running: Event,
    /// Set when the thread is off the registry, or, for the main thread, when the process begins to end.
    done: Event,
}

struct Title {
    name: Arc<str>,
    /// The kernel thread to tell of a new name; `Some` only while it cannot have ended.
    told: Option<u32>,
}

impl Record {
    /// A thread that does not run yet.
    pub(super) fn new(ident: u64, origin: Origin, name: Arc<str>, daemon: bool) -> Arc<Self> {
        Arc::new(Self {
            ident,
            origin,
            daemon,
            generation: generation::current(),
            title: Mutex::new(Title { name, told: None }),
            native: AtomicU32::new(0),
            running: Event::new(),
            done: Event::new(),
        })
    }

    /// The calling thread is this one, from now on.
    pub(super) fn begin(&self) {
        self.begin_as(native_id());
    }

    /// The kernel's thread of this number, which has not ended, is this one.
    pub(super) fn begin_as(&self, thread: u32) {
        self.title.lock().told = Some(thread);
        self.native.store(thread, Ordering::Relaxed);
        self.running.set();
    }

    /// Tells the kernel the name of this, the calling thread, unless it was started as `known_as` and that will do.
    pub(super) fn show_name(&self, known_as: Option<&str>) {
        // Under the lock, so that the kernel is told of two names in their order.
        let title = self.title.lock();
        if known_as != Some(kernel::short_name(&title.name)) {
            kernel::set_own_name(&title.name);
        }
    }

    /// The kernel thread is about to end.
    pub(super) fn forget_kernel_thread(&self) {
        self.title.lock().told = None;
    }

    /// Lets everybody go who waits for the end. The record is off the registry.
    pub(super) fn end(&self) {
        self.running.set();
        self.done.set();
    }

    pub(super) fn name(&self) -> Arc<str> {
        Arc::clone(&self.title.lock().name)
    }

    /// The name if it can be had at once: in a forked child its lock may be held by a thread that is not there.
    pub(super) fn try_name(&self) -> Option<Arc<str>> {
        Some(Arc::clone(&self.title.try_lock()?.name))
    }

    pub(super) fn is_of_this_process(&self) -> bool {
        self.generation == generation::current()
    }

    /// The kernel's number, without waiting for it.
    pub(super) fn native(&self) -> u32 {
        self.native.load(Ordering::Relaxed)
    }

    /// Whether the thread has ended within `timeout`; `None` for ever.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> bool {
        match timeout {
            _ if !self.is_of_this_process() => true,
            Some(timeout) => self.done.wait_timeout(timeout),
            None => {
                self.done.wait();
                true
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.wait(Some(Duration::ZERO))
    }
}

/// A thread as everybody may see it: its name, its numbers, and whether it is alive (Python's `Thread` object, without
/// the result).
///
/// What [`current`](super::current), [`main`](super::main) and [`enumerate`](super::enumerate) give. Two are equal if
/// they are the same thread. It keeps no thread alive and no result from being dropped.
#[derive(Clone)]
pub struct ThreadRef(pub(super) Arc<Record>);

impl ThreadRef {
    /// Its name: the one given, or `Thread-1 (function)`; `MainThread` for the main thread (Python's `name`).
    #[must_use]
    pub fn name(&self) -> String {
        self.0.name().as_ref().to_owned()
    }

    /// Names it anew (Python's `name` setter). ps shows the first 15 bytes, or fewer if a character would be cut.
    ///
    /// The message that std prints for a panic keeps the name with which the thread was started.
    pub fn set_name(&self, name: impl Into<String>) {
        let name = Arc::<str>::from(name.into());
        let mut title = self.0.title.lock();
        if let Some(thread) = title.told
            && self.0.is_of_this_process()
        {
            // Under the lock, because the thread takes it before it ends.
            kernel::set_name(thread, &name);
        }
        title.name = name;
    }

    /// Its number: unlike the kernel's never given to another thread of this process (Python's `ident`).
    #[must_use]
    pub fn ident(&self) -> u64 {
        self.0.ident
    }

    /// The kernel's number of it, which stays after its end (Python's `native_id`; a directory of `/proc/self/task`
    /// while it is alive). 0 for a [`Timer`](super::Timer) that has not fired.
    ///
    /// # Blocking
    ///
    /// For the microseconds until a thread that was just started runs.
    #[must_use]
    pub fn native_id(&self) -> u32 {
        if self.0.native() == 0 && self.0.origin == Origin::Started && self.0.is_of_this_process() {
            self.0.running.wait();
        }
        self.0.native()
    }

    /// Whether the process ends without waiting for it (Python's `daemon`). True for threads started elsewhere.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.0.daemon
    }

    /// Whether it has not ended (Python's `is_alive`). True from its start on, and for a timer from its making on.
    ///
    /// The main thread counts as ended when the process begins to wait for the others; in a forked child every thread
    /// does but the one that forked.
    ///
    /// # Blocking
    ///
    /// Never.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match self.0.is_of_this_process() {
            true => !self.0.has_ended(),
            false => super::main().0.ident == self.0.ident,
        }
    }

    /// Waits until the thread has ended and its thread-local values are dropped (Python's `join`). Any number of
    /// threads may wait for one, and each as often as it likes.
    ///
    /// # Errors
    ///
    /// [`CannotWait`]: it is the calling thread, or was started elsewhere.
    ///
    /// # Blocking
    ///
    /// Until the thread has ended.
    pub fn wait(&self) -> Result<(), CannotWait> {
        self.wait_for(None).map(drop)
    }

    /// [`wait`](Self::wait) for at most `timeout`; whether the thread has ended.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, CannotWait> {
        self.wait_for(Some(timeout))
    }

    fn wait_for(&self, timeout: Option<Duration>) -> Result<bool, CannotWait> {
        registry::check_wait(&self.0)?;
        Ok(self.0.wait(timeout))
    }
}

impl PartialEq for ThreadRef {
    fn eq(&self, other: &Self) -> bool {
        self.0.ident == other.0.ident
    }
}

impl Eq for ThreadRef {}

impl Hash for ThreadRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.ident.hash(state);
    }
}

impl fmt::Debug for ThreadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.is_alive(), self.0.native()) {
            (false, _) => "stopped",
            (true, 0) => "initial",
            (true, _) => "started",
        };
        f.debug_struct("Thread")
            .field("name", &self.0.name())
            .field("state", &format_args!("{state}"))
            .field("daemon", &self.0.daemon)
            .field("ident", &self.0.ident)
            .field("native_id", &self.0.native())
            .finish()
    }
}
