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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};
use std::thread;

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

/// Who is to learn of a panic of this thread.
enum Listener {
    /// Nobody here: whoever asked to be told first, then the program's hook.
    None,
    /// The caller of [`catch`].
    Catch(Watch),
    /// The program's hook alone: this thread is inside [`tell`].
    #[cfg(feature = "threads")]
    Hook,
}

/// What a thread inside [`catch`] keeps.
struct Watch {
    /// Somebody waits for the report: inside another one, or a task of a pool.
    awaited: bool,
    trace: Trace,
    seen: Option<Seen>,
}

thread_local! {
    /// Without a destructor, because destructors of thread-local values panic, too, and the hook reads it. Outside
    /// [`catch`] there is nothing to drop.
    static LISTENER: ManuallyDrop<RefCell<Listener>> = const { ManuallyDrop::new(RefCell::new(Listener::None)) };
}

/// Asked about panics of threads that are inside nothing of this module, see [`ask_before_stds_hook`].
static OTHER: OnceLock<fn(&PanicHookInfo<'_>) -> bool> = OnceLock::new();

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
    let awaited = LISTENER.with(|listener| matches!(*listener.borrow(), Listener::Catch(_)));
    watched(Watch { awaited, trace: Trace::UnlessOff, seen: None }, f).map_err(Caught::report)
}

/// Runs `f`, a call of one of this process's threads; a panic becomes a report, with a backtrace where std makes one.
#[cfg(feature = "threads")]
pub(crate) fn catch_in_thread<T>(f: impl FnOnce() -> T) -> Result<T, PanicReport> {
    catch_whole(f).map_err(Caught::report)
}

/// [`catch_in_thread`] for an `f` whose panics may be somebody else's: the caller decides when it sees one.
#[cfg(feature = "threads")]
pub(crate) fn catch_whole<T>(f: impl FnOnce() -> T) -> Result<T, Caught> {
    watched(Watch { awaited: true, trace: Trace::IfOn, seen: None }, f)
}

/// Runs `f`, of which nobody awaits anything; a panic is told by the program's panic hook, and goes no further.
#[cfg(feature = "threads")]
pub(crate) fn tell(f: impl FnOnce()) {
    let outer = listen(Listener::Hook);
    // A payload's destructor is the user's code, too, and may panic.
    panic::catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(std::mem::forget);
    listen(outer);
}

/// Has `note` asked about each panic that no [`catch`] or [`tell`] is concerned with, and std's hook called only if it
/// says no. One hook does that and the noting of this module, and is set once: std has no way to do two such
/// exchanges at a time, so with two of them one and the user's own could be lost. A program that sets a hook at the
/// very moment when the first thread or pool of this crate starts has that race still.
#[cfg(feature = "threads")]
pub(crate) fn ask_before_stds_hook(note: fn(&PanicHookInfo<'_>) -> bool) {
    OTHER.get_or_init(|| note);
    stand_before_stds_hook();
}

fn stand_before_stds_hook() {
    static STANDING: Once = Once::new();
    // std refuses a change of hooks while a thread panics; the next caller will see to it.
    if !STANDING.is_completed() && !thread::panicking() {
        STANDING.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !record(info) {
                    before(info);
                }
            }));
        });
    }
}

fn listen(listener: Listener) -> Listener {
    LISTENER.with(|current| current.replace(listener))
}

fn watched<T>(watch: Watch, f: impl FnOnce() -> T) -> Result<T, Caught> {
    stand_before_stds_hook();
    let outer = listen(Listener::Catch(watch));
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    let seen = if let Listener::Catch(watch) = listen(outer) { watch.seen } else { None };
    result.map_err(|payload| Caught { payload, seen })
}

/// A panic that was caught, and not told to anybody.
pub(crate) struct Caught {
    payload: Box<dyn Any + Send>,
    seen: Option<Seen>,
}

impl Caught {
    /// As it travels.
    pub(crate) fn report(self) -> PanicReport {
        let message = message(&*self.payload);
        // Its destructor is the user's code, too, and may panic.
        let _ = ManuallyDrop::new(self.payload);
        let (location, backtrace) = self.seen.map_or_else(Default::default, |seen| {
            (seen.location, seen.backtrace.map(|trace| trace.to_string()).unwrap_or_default())
        });
        PanicReport { message, location, backtrace }
    }

    /// Told by the program's panic hook after all, as a panic of this place with the message and the place of the real
    /// one; and its payload, for the caller to go on with.
    #[cfg(feature = "threads")]
    pub(crate) fn into_payload(self) -> Box<dyn Any + Send> {
        if let Some(Seen { location, .. }) = self.seen {
            tell(|| panic!("{}, at {location}", message(&*self.payload)));
        }
        self.payload
    }
}

/// Notes a panic, if it is awaited somewhere; says whether that was all that is to be done now.
fn record(info: &PanicHookInfo<'_>) -> bool {
    // A panic while the process is to abort is told by the usual hook: no report will be made.
    if cfg!(panic = "abort") {
        return false;
    }
    LISTENER.with(|listener| {
        let Ok(mut listener) = listener.try_borrow_mut() else { return false };
        let watch = match &mut *listener {
            Listener::Catch(watch) => watch,
            Listener::None => return OTHER.get().is_some_and(|note| note(info)),
            #[cfg(feature = "threads")]
            Listener::Hook => return false,
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "threads")]
    fn a_panic_in_the_last_destructor_of_a_thread_is_one_like_others() {
        struct Last;
        impl Drop for Last {
            fn drop(&mut self) {
                assert!(panic::catch_unwind(|| panic!("as expected")).is_err());
                let report = catch_in_thread(|| panic!("in vain")).map(|(): ()| ()).unwrap_err();
                assert!(report.location.contains("panics.rs"), "{}", report.location);
                tell(|| panic!("as expected"));
            }
        }
        thread_local!(static LAST: Last = const { Last });
        // What is used first is destroyed last.
        let thread = thread::spawn(|| {
            LAST.with(|_| ());
            catch_in_thread(|| panic!("in vain")).map(|(): ()| ()).unwrap_err()
        });
        assert_eq!(thread.join().unwrap().message, "in vain");
    }

    #[test]
    #[cfg(feature = "threads")]
    fn what_is_told_is_told_by_the_hook_and_reported_to_nobody() {
        let report = catch_in_thread(|| {
            tell(|| panic!("as expected"));
            panic::resume_unwind(Box::new("no hook"))
        });
        let report: PanicReport = report.map(|(): ()| ()).unwrap_err();
        assert_eq!((report.message.as_str(), report.location.as_str()), ("no hook", ""));
    }

    #[test]
    #[cfg(feature = "processes")]
    fn the_report_says_what_where_and_how() {
        let line = line!() + 1;
        let report = catch(|| panic!("number {}", 7)).unwrap_err();
        assert_eq!(report.message, "number 7");
        assert!(report.location.contains(&format!("panics.rs:{line}:")), "{}", report.location);
        let switched_off = !wanted(Trace::UnlessOff);
        assert!(switched_off || report.backtrace.contains("the_report_says"), "{}", report.backtrace);
    }

    #[test]
    #[cfg(feature = "processes")]
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
    #[cfg(feature = "processes")]
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
