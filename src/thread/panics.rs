//! Panics of threads: caught, told to the hook, and handed to whoever joins.
//!
//! Where a panic happened only std's panic hook is told, so the one of `crate::panics`, which stands before whatever hook
//! there was, asks here. It goes on to that one, which prints, unless [`set_panic_hook`] has replaced the printing for
//! threads of this module.

use super::ThreadRef;
use crate::panics;
use crate::primitive::Mutex;
use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Arc;

type Hook = dyn Fn(&ThreadRef, &Panicked) + Send + Sync;

static HOOK: Mutex<Option<Arc<Hook>>> = Mutex::new(None);

thread_local! {
    /// `Some` while a function that was given to a thread runs on it.
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Watch {
    /// Where the latest panic happened.
    location: Option<String>,
    /// Whether a panic was noted and not printed.
    kept_silent: bool,
}

/// Why a thread gave no result: its panic, nearly always; [`cause`](Self::cause) tells the other cases.
pub struct Panicked {
    cause: Cause,
    message: String,
    location: Option<String>,
    /// In a mutex because a payload need not be `Sync`, which an error should be.
    payload: Mutex<Box<dyn Any + Send>>,
}

/// What kept a thread from giving a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Its function panicked.
    Panic,
    /// It called `std::process::exit`, and the process is ending.
    Exit,
    /// It joins itself.
    Itself,
    /// Its result was given out before.
    AlreadyJoined,
    /// It does not exist in this process, which was forked.
    Forked,
    /// The system had no thread for a timer that fired.
    NoThread,
}

impl Panicked {
    fn new(payload: Box<dyn Any + Send>, location: Option<String>) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = text.unwrap_or("a value that is not a string").to_owned();
        Self { cause: Cause::Panic, message, location, payload: Mutex::new(payload) }
    }

    /// No result, and no panic either.
    pub(super) fn without_panic(cause: Cause, message: &str) -> Self {
        Self { cause, location: None, ..Self::new(Box::new(message.to_owned()), None) }
    }

    /// Whether it was a panic, and what else if not.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// What the panic said, or what else is to be said.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// File, line and column of the panic. `None` if it was raised by [`resume_unwind`](std::panic::resume_unwind), or if
    /// the program has replaced std's panic hook.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The panic's own value, to look into or to [`resume_unwind`](std::panic::resume_unwind).
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.payload.into_inner()
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cause, &self.location) {
            (Cause::Panic, Some(location)) => write!(f, "the thread panicked at {location}: {}", self.message),
            (Cause::Panic, None) => write!(f, "the thread panicked: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl fmt::Debug for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panicked")
            .field("cause", &self.cause)
            .field("message", &self.message)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Panicked {}

/// Has `hook` told of each panic that ends a thread of this module, in place of what std prints about panics there
/// (Python's `threading.excepthook`). Panics on other threads are std's affair still.
///
/// Called on the panicked thread once its function has unwound, before anybody who waits for it goes on. Panics that
/// the function itself catches are not told. If the hook panics, the thread's panic is printed after all.
///
/// Without a hook std's one tells: it prints, or does what [`std::panic::set_hook`] made it do. Two panics of one function
/// of which the first was caught, or is unwinding still, are an exception: the second is printed also with a hook,
/// because it may be the process's last word.
pub fn set_panic_hook(hook: impl Fn(&ThreadRef, &Panicked) + Send + Sync + 'static) {
    replace_hook(Some(Arc::new(hook)));
}

/// Takes the hook of [`set_panic_hook`] back (Python's `threading.__excepthook__`).
pub fn reset_panic_hook() {
    replace_hook(None);
}

fn replace_hook(hook: Option<Arc<Hook>>) {
    let before = std::mem::replace(&mut *HOOK.lock(), hook);
    // Its destructor is the user's; the lock is free.
    drop(before);
}

/// Runs `f` as the function of the calling thread; a panic becomes an error, and is told to the hook.
pub(super) fn observe<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    panics::ask_before_stds_hook(note);
    WATCH.set(Some(Watch::default()));
    let result = catch_unwind(AssertUnwindSafe(f));
    let watch = WATCH.take().unwrap_or_default();
    result.map_err(|payload| {
        let panicked = Panicked::new(payload, watch.location);
        report(&super::current(), &panicked);
        panicked
    })
}

/// Tells the hook, if there is one.
pub(super) fn report(thread: &ThreadRef, panicked: &Panicked) {
    let Some(hook) = HOOK.lock().clone() else { return };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| hook(thread, panicked))) {
        let place = panicked.location().unwrap_or("an unknown place");
        let report = format!("thread '{}' panicked at {place}:\n{}\n", thread.name(), panicked.message());
        // Standard error may be closed.
        let _ = io::stderr().write_all(report.as_bytes());
        panics::tell(|| drop(payload));
    }
}

/// Notes where a thread of ours panics; says whether that was all that is to be done now.
fn note(info: &PanicHookInfo<'_>) -> bool {
    let noted = WATCH.try_with(|watch| {
        let mut watch = watch.try_borrow_mut().ok()?;
        let watch = watch.as_mut()?;
        watch.location = info.location().map(ToString::to_string);
        let silent = !watch.kept_silent && cfg!(panic = "unwind") && HOOK.lock().is_some();
        watch.kept_silent |= silent;
        Some(silent)
    });
    noted.ok().flatten().unwrap_or(false)
}
