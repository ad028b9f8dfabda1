//! Floor 1: panics as values: message, place and backtrace, so that they can travel to another thread or process.
//!
//! A function that was called from elsewhere is told about by its result, not by the standard error of where it ran:
//! the report goes to whoever joins. Panics of threads that the function started are the panic hook's, as ever.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// A panic, as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "processes", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PanicReport {
    /// What was said.
    pub(crate) message: String,
    /// File, line and column; empty if the hook was not called.
    pub(crate) location: String,
    /// The backtrace; empty if none was wanted.
    pub(crate) backtrace: String,
}

/// What the hook saw of the latest panic of a thread inside [`catch`].
struct Seen {
    location: String,
    backtrace: Option<Backtrace>,
}

/// Which panics have a backtrace. It costs a millisecond and more.
#[derive(Clone, Copy)]
enum Trace {
    /// All, unless the environment says no: where a process ends by its panic.
    #[cfg(feature = "processes")]
    UnlessOff,
    /// As std does: none, unless the environment asks for them.
    #[cfg(feature = "threads")]
    IfOn,
}

/// What a thread inside [`catch`] keeps.
struct Watch {
    /// Somebody waits for the report: inside another one, or a task of a pool.
    awaited: bool,
    trace: Trace,
    seen: Option<Seen>,
}

thread_local! {
    /// `Some` while this thread is inside [`catch`].
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Whether the hook also writes a line to standard error for panics inside the outermost [`catch`].
static ANNOUNCE: AtomicBool = AtomicBool::new(false);

/// From now on a panic inside the outermost [`catch`] of a thread is also told on standard error at once, in one line
/// and without a backtrace: nobody may ever join, and a second panic on the way out ends the process without a report.
/// One inside an inner `catch` is not: that is a task of a pool, whose caller waits for the report.
#[cfg(feature = "processes")]
pub(crate) fn announce() {
    ANNOUNCE.store(true, Ordering::Relaxed);
}

/// Runs `f`, what a process was started for; a panic becomes a report, with a backtrace unless that is switched off.
#[cfg(feature = "processes")]
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, PanicReport> {
    let awaited = WATCH.with_borrow(Option::is_some);
    watched(Watch { awaited, trace: Trace::UnlessOff, seen: None }, f)
}

/// Runs `f`, a call of one of this process's threads; a panic becomes a report, with a backtrace where std makes one.
#[cfg(feature = "threads")]
pub(crate) fn catch_in_thread<T>(f: impl FnOnce() -> T) -> Result<T, PanicReport> {
    watched(Watch { awaited: true, trace: Trace::IfOn, seen: None }, f)
}

/// Runs `f`, of which nobody awaits anything; a panic is told by the program's panic hook, and goes no further.
#[cfg(feature = "threads")]
pub(crate) fn tell(f: impl FnOnce()) {
    let outer = WATCH.take();
    // A payload's destructor is the user's code, too, and may panic.
    panic::catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(std::mem::forget);
    WATCH.set(outer);
}

fn watched<T>(watch: Watch, f: impl FnOnce() -> T) -> Result<T, PanicReport> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !record(info) {
                before(info);
            }
        }));
    });
    let outer = WATCH.replace(Some(watch));
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    let seen = WATCH.replace(outer).and_then(|watch| watch.seen);
    result.map_err(|payload| {
        let message = message(&*payload);
        // Its destructor is the user's code, too, and may panic.
        let _ = ManuallyDrop::new(payload);
        let (location, backtrace) = seen.map_or_else(Default::default, |seen| {
            (seen.location, seen.backtrace.map(|trace| trace.to_string()).unwrap_or_default())
        });
        PanicReport { message, location, backtrace }
    })
}

/// Notes a panic of a thread inside [`catch`]; says whether it was one.
fn record(info: &PanicHookInfo<'_>) -> bool {
    // A panic while the process is to abort is told by the usual hook: no report will be made.
    if cfg!(panic = "abort") {
        return false;
    }
    WATCH.with(|watch| {
        let Ok(mut watch) = watch.try_borrow_mut() else { return false };
        let Some(watch) = watch.as_mut() else { return false };
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        if ANNOUNCE.load(Ordering::Relaxed) && !watch.awaited {
            let process = std::process::id();
            let message = message(info.payload());
            // Nobody may be left who reads it, and a panic in the hook would be an abort without a report.
            let _ = writeln!(io::stderr(), "crewkit: process {process} panicked at {location}: {message}");
        }
        let backtrace = wanted(watch.trace).then(Backtrace::force_capture);
        watch.seen = Some(Seen { location, backtrace });
        true
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a value that is not a string").to_owned()
}

/// What the environment says to that.
fn wanted(trace: Trace) -> bool {
    let setting = std::env::var_os("RUST_LIB_BACKTRACE").or_else(|| std::env::var_os("RUST_BACKTRACE"));
    let otherwise = match trace {
        #[cfg(feature = "processes")]
        Trace::UnlessOff => true,
        #[cfg(feature = "threads")]
        Trace::IfOn => false,
    };
    setting.map_or(otherwise, |setting| setting != "0")
}

#[cfg(all(test, feature = "processes"))]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_where_and_how() {
        let line = line!() + 1;
        let report = catch(|| panic!("number {}", 7)).unwrap_err();
        assert_eq!(report.message, "number 7");
        assert!(report.location.contains(&format!("panics.rs:{line}:")), "{}", report.location);
        let switched_off = !wanted(Trace::UnlessOff);
        assert!(switched_off || report.backtrace.contains("the_report_says"), "{}", report.backtrace);
    }

    #[test]
    fn an_inner_panic_that_was_caught_is_not_the_report() {
        assert_eq!(catch(|| panic::catch_unwind(|| panic!("inner")).is_err()), Ok(true));
        let report = catch(|| {
            assert_eq!(catch(|| panic!("inner")).unwrap_err().message, "inner");
            panic!("outer")
        });
        let report: PanicReport = report.map(|(): ()| ()).unwrap_err();
        assert_eq!(report.message, "outer");
        assert!(!report.location.is_empty());
    }

    #[test]
    fn any_payload_will_do() {
        struct Nasty;
        impl Drop for Nasty {
            fn drop(&mut self) {
                panic!("in the destructor of a payload");
            }
        }
        let report = catch(|| panic::panic_any(Nasty)).map(|(): ()| ()).unwrap_err();
        assert_eq!(report.message, "a value that is not a string");
        let report = catch(|| panic::resume_unwind(Box::new("no hook"))).map(|(): ()| ()).unwrap_err();
        assert_eq!((report.message.as_str(), report.location.as_str()), ("no hook", ""));
    }
}
