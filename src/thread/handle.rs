//! Starting threads, and their handles.

use super::me;
use super::panics::{self, Cause, Panicked};
use super::record::{Origin, Record, ThreadRef};
use super::registry::{CannotWait, new_ident, registry};
use super::timer::Timer;
use crate::panics::tell;
use crate::primitive::Mutex;
use std::any::type_name;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io, thread};

/// How many threads have been named by default.
static NAMED: AtomicU64 = AtomicU64::new(0);

/// Runs `f` in a new thread (Python's `Thread(target=f).start()`).
///
/// The thread is called `Thread-1`, or `Thread-1 (f)` if `f` is a function and no closure, and is a daemon if the calling
/// thread is one that was started so. [`Builder`] says otherwise.
///
/// # Panics
///
/// If the system starts no more threads, or the process is ending; [`Builder::spawn`] answers with an error.
///
/// ```
/// let thread = crewkit::thread::spawn(|| 6 * 7);
/// assert_eq!(thread.join()?, 42);
/// # Ok::<(), crewkit::thread::Panicked>(())
/// ```
#[track_caller]
pub fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Thread<T> {
    match Builder::new().spawn(f) {
        Ok(thread) => thread,
        Err(error) => panic!("cannot start a thread: {error}"),
    }
}

/// What a thread is to be (the arguments of Python's `Thread`).
///
/// ```
/// use crewkit::thread::{self, Builder};
///
/// let thread = Builder::new().name("counter").daemon(true).spawn(|| thread::current().name())?;
/// assert!(thread.is_daemon());
/// assert_eq!(thread.join()?, "counter");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder starts nothing"]
pub struct Builder {
    name: String,
    daemon: Option<bool>,
    stack_size: Option<usize>,
}

impl Builder {
    /// A thread with the default name, as much a daemon as its creator, with std's stack size.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the thread; an empty name is the default one. ps shows the first 15 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whether the process ends without waiting for it. It is killed then wherever it is, with nothing dropped.
    ///
    /// The default is that of the thread that starts it. Threads that were started elsewhere, as by std, count as
    /// daemons, but what they start does not: that differs from Python, where such threads are rare.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = Some(daemon);
        self
    }

    /// The size of its stack in bytes, as in [`std::thread::Builder::stack_size`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Runs `f` in a new thread.
    ///
    /// The end of the run drops `f` and all that it captured. Where nobody holds the handle, the result is dropped on the
    /// thread itself.
    ///
    /// # Errors
    ///
    /// The system's, if it starts no more threads or has no memory for the stack; [`ShuttingDown`](super::ShuttingDown)
    /// inside if the process is ending. `f` is dropped then, and no trace of the thread stays.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn spawn<T, F>(self, f: F) -> io::Result<Thread<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let run = Run::new(self.record(Origin::Started, function_name(type_name::<F>(), size_of::<F>())));
        let starting = registry().enter(&run.record)?;
        let handle = run.start(self.stack_size, f)?;
        starting.started();
        Ok(Thread { run, handle: Some(handle) })
    }

    /// Runs `f` in a thread of its own after `delay`; see [`Timer::start`]. A timer that is not a daemon is waited for
    /// when the process ends, as in Python.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn start_timer(self, delay: Duration, f: impl FnOnce() + Send + 'static) -> io::Result<Timer> {
        let run = Run::new(self.record(Origin::Timer, None));
        Timer::begin(run, self.stack_size, delay, Box::new(f))
    }

    fn record(&self, origin: Origin, function: Option<&str>) -> Arc<Record> {
        let name = if self.name.is_empty() { default_name(origin, function) } else { self.name.clone() };
        let daemon = self.daemon.unwrap_or_else(|| {
            let creator = super::current();
            creator.0.origin != Origin::Foreign && creator.is_daemon()
        });
        Record::new(new_ident(), origin, name.into(), daemon)
    }
}

/// `Thread-1`, or `Thread-1 (function)`.
fn default_name(origin: Origin, function: Option<&str>) -> String {
    let kind = if origin == Origin::Timer { "Timer" } else { "Thread" };
    let number = NAMED.fetch_add(1, Ordering::Relaxed) + 1;
    match function {
        Some(function) => format!("{kind}-{number} ({function})"),
        None => format!("{kind}-{number}"),
    }
}

/// The name of a function, given the name and the size of its type; `None` for closures, boxes and pointers.
fn function_name(mut path: &str, size: usize) -> Option<&str> {
    if size > 0 || path.ends_with('}') {
        return None;
    }
    // `module::function<Type<u8>>`: without the last pair of brackets and what is in it.
    if path.ends_with('>') {
        let mut depth = 0_u32;
        let open = path.char_indices().rev().find(|&(at, c)| {
            depth = match c {
                '>' if !path[..at].ends_with('-') => depth + 1,
                '<' => depth - 1,
                _ => depth,
            };
            depth == 0
        });
        path = &path[..open?.0];
    }
    path.rsplit("::").next().filter(|name| !name.is_empty())
}

/// What a thread and its handle share.
pub(super) struct Run<T> {
    pub(super) record: Arc<Record>,
    outcome: Arc<Mutex<Outcome<T>>>,
}

/// What became of a thread's function.
enum Outcome<T> {
    /// Nothing yet; or it ended the process.
    Pending,
    Known(Result<T, Panicked>),
    GivenOut,
}

impl<T: Send + 'static> Run<T> {
    pub(super) fn new(record: Arc<Record>) -> Self {
        Self { record, outcome: Arc::new(Mutex::new(Outcome::Pending)) }
    }

    /// Starts a thread that runs `f` as this one.
    pub(super) fn start<F>(&self, stack_size: Option<usize>, f: F) -> io::Result<thread::JoinHandle<()>>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let name = self.record.name();
        // std would panic. Its own message for a panic lacks the name then.
        let known_as = Some(&name).filter(|name| !name.contains('\0')).map(Arc::clone);
        let mut builder = thread::Builder::new();
        if let Some(name) = &known_as {
            builder = builder.name(name.as_ref().to_owned());
        }
        if let Some(bytes) = stack_size {
            builder = builder.stack_size(bytes);
        }
        let run = self.clone();
        builder.spawn(move || run.run(known_as.as_deref(), f))
    }

    fn run(self, known_as: Option<&str>, f: impl FnOnce() -> T) {
        me::begin(Arc::clone(&self.record));
        self.record.show_name(known_as);
        let result = panics::observe(f);
        *self.outcome.lock() = Outcome::Known(result);
        // If nobody holds the handle, this drops the result, whose destructor is the user's.
        tell(|| drop(self));
    }
}

impl<T> Run<T> {
    /// Ends what never got a kernel thread.
    pub(super) fn end(&self, result: Result<T, Panicked>) {
        *self.outcome.lock() = Outcome::Known(result);
        registry().leave(&self.record);
    }

    /// The result, once the thread has ended.
    fn take(&self) -> Result<T, Panicked> {
        let mut outcome = self.outcome.lock();
        match std::mem::replace(&mut *outcome, Outcome::GivenOut) {
            Outcome::Known(result) => result,
            Outcome::GivenOut => {
                Err(Panicked::without_panic(Cause::AlreadyJoined, "the thread's result was given out before"))
            }
            Outcome::Pending => {
                *outcome = Outcome::Pending;
                Err(if self.record.is_of_this_process() {
                    Panicked::without_panic(Cause::Exit, "the thread called exit, and the process is ending")
                } else {
                    Panicked::without_panic(
                        Cause::Forked,
                        "the thread does not exist in this process, which was forked",
                    )
                })
            }
        }
    }
}

impl<T> Clone for Run<T> {
    fn clone(&self) -> Self {
        Self { record: Arc::clone(&self.record), outcome: Arc::clone(&self.outcome) }
    }
}

/// A thread that was started here, and its result (Python's `Thread`).
///
/// Dropping it lets the thread run on: the process still waits for its end, unless it is a daemon.
#[must_use = "dropping a handle lets the thread run, and its panic be printed only"]
pub struct Thread<T> {
    pub(super) run: Run<T>,
    /// std's handle; none if the thread is started by a timer.
    handle: Option<thread::JoinHandle<()>>,
}

impl<T> Thread<T> {
    /// What is started later.
    pub(super) fn of_timer(run: Run<T>) -> Self {
        Self { run, handle: None }
    }

    /// Waits until the thread has ended, and returns what its function returned (Python's `join`, and the result with
    /// it). The thread is then neither alive nor listed, its thread-local values are dropped, and the kernel has
    /// forgotten it.
    ///
    /// # Errors
    ///
    /// [`Panicked`]: the function panicked. For the other causes see [`Cause`]; a thread that joins itself is one of them,
    /// and gets its answer at once.
    ///
    /// # Blocking
    ///
    /// Until the thread has ended.
    pub fn join(mut self) -> Result<T, Panicked> {
        self.wait().map_err(cannot_join)?;
        let result = self.run.take();
        let has_exited = matches!(&result, Err(why) if why.cause() == Cause::Exit);
        if let Some(handle) = self.handle.take_if(|_| !has_exited && self.run.record.is_of_this_process()) {
            // All that is left of the thread is some microseconds in libc and the kernel.
            let _ = handle.join();
        }
        result
    }

    /// [`join`](Self::join) for at most `timeout`; `None` if the thread is alive then. The result is given out once.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join), and [`Cause::AlreadyJoined`] after the result was given out.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<Option<T>, Panicked> {
        match self.wait_timeout(timeout).map_err(cannot_join)? {
            true => self.run.take().map(Some),
            false => Ok(None),
        }
    }

    /// The thread as everybody may see it, which may be kept longer than the handle.
    #[must_use]
    pub fn thread(&self) -> ThreadRef {
        ThreadRef(Arc::clone(&self.run.record))
    }

    /// See [`ThreadRef::wait`].
    ///
    /// # Errors
    ///
    /// [`CannotWait::Itself`], on the thread itself.
    ///
    /// # Blocking
    ///
    /// Until the thread has ended.
    pub fn wait(&self) -> Result<(), CannotWait> {
        self.thread().wait()
    }

    /// See [`ThreadRef::wait_timeout`].
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, CannotWait> {
        self.thread().wait_timeout(timeout)
    }

    /// See [`ThreadRef::is_alive`].
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.thread().is_alive()
    }

    /// See [`ThreadRef::name`].
    #[must_use]
    pub fn name(&self) -> String {
        self.thread().name()
    }

    /// See [`ThreadRef::set_name`].
    pub fn set_name(&self, name: impl Into<String>) {
        self.thread().set_name(name);
    }

    /// See [`ThreadRef::ident`].
    #[must_use]
    pub fn ident(&self) -> u64 {
        self.run.record.ident
    }

    /// See [`ThreadRef::native_id`].
    ///
    /// # Blocking
    ///
    /// For the microseconds until a thread that was just started runs.
    #[must_use]
    pub fn native_id(&self) -> u32 {
        self.thread().native_id()
    }

    /// See [`ThreadRef::is_daemon`].
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.run.record.daemon
    }
}

fn cannot_join(why: CannotWait) -> Panicked {
    // What has a handle with a result was started here.
    Panicked::without_panic(Cause::Itself, &why.to_string())
}

impl<T> fmt::Debug for Thread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.thread().fmt(f)
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        // In a forked child there is no such thread, and libc may have given its memory to another.
        if !self.run.record.is_of_this_process() {
            let _nothing_to_detach = ManuallyDrop::new(self.handle.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn named<F: Fn()>(_: F, expected: Option<&str>) {
        assert_eq!(function_name(type_name::<F>(), size_of::<F>()), expected, "{}", type_name::<F>());
    }

    fn plain() {}
    fn generic<T>() {}
    trait Method {
        fn method() {}
    }
    impl Method for Vec<u8> {}

    #[test]
    fn functions_have_names_and_closures_have_none() {
        named(plain, Some("plain"));
        named(generic::<Vec<Option<u8>>>, Some("generic"));
        named(generic::<fn(u8) -> Vec<u8>>, Some("generic"));
        named(Vec::<u8>::method, Some("method"));
        named(|| {}, None);
        let captured = 7;
        named(move || assert_eq!(captured, 7), None);
        named(plain as fn(), None);
        named(Box::new(plain) as Box<dyn Fn()>, None);
    }
}
