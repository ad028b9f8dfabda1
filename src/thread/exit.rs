//! The end of the process: what is called, who is waited for. `README.md` beside this file has the whole of it.

use super::me;
use super::record::Record;
use super::registry::registry;
use crate::panics;
use crate::sys::threads as kernel;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long the first and the longest looks for threads that were caught in an exit of their own are apart.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_millis(320);

/// Has `callback` called when the process ends, before its threads are waited for, so that they can be told to end
/// (Python's `threading._register_atexit`). The last one registered is called first.
///
/// Called on the thread that ends the process, where `main` returned or [`std::process::exit`] was called; also at the
/// end of a process of [`crewkit::process`](../process/index.html). Not in processes forked later. A panic is printed and
/// ends that callback only. Calling `std::process::exit` in it aborts the process: that is std's rule for whatever runs
/// at exit.
///
/// # Errors
///
/// [`ShuttingDown`](super::ShuttingDown) inside, once the process is ending.
///
/// # Blocking
///
/// Never.
///
/// ```
/// use crewkit::thread;
/// use crewkit::queue::{Queue, Shutdown};
/// use std::sync::Arc;
///
/// let jobs = Arc::new(Queue::<u64>::unbounded());
/// let worker = Arc::clone(&jobs);
/// thread::spawn(move || while worker.get().is_ok() {});
/// // Without this the process would wait for the worker for ever.
/// thread::at_exit(move || jobs.shutdown(Shutdown::Drain))?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn at_exit(callback: impl FnOnce() + Send + 'static) -> io::Result<()> {
    registry().at_exit(Box::new(callback))
}

/// What exit(3) calls. To be called twice does no harm.
pub(crate) extern "C" fn at_process_exit() {
    // Unwinding into C would abort, as would a panic here; all user code below is guarded already.
    panics::tell(|| end(Cause::Exit));
}

/// Does what the end of the process does, in a process that leaves without exit(3).
#[cfg(feature = "processes")]
pub(crate) fn shutdown() {
    end(Cause::Leave);
}

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// exit(3), which std lets only one thread call.
    Exit,
    /// A child of ours whose function is through. Another thread of it may be in exit(3), and call callbacks, too.
    #[cfg_attr(not(feature = "processes"), expect(dead_code, reason = "processes leave without exit"))]
    Leave,
}

fn end(cause: Cause) {
    // The registry is asked for anew each time: a callback may have forked, and this may be the child.
    while let Some((callback, calling)) = registry().next_callback() {
        panics::tell(callback);
        drop(calling);
    }
    registry().main().end();
    let mut look = FIRST_LOOK;
    loop {
        let here = registry();
        let Some(left) = here.stragglers(me::ident()) else { return };
        let has_gone_on = match left.first() {
            Some(first) => first.wait(Some(look)),
            None => here.wait_for_callbacks(look),
        };
        if !has_gone_on {
            look = LAST_LOOK.min(2 * look);
            if cause == Cause::Exit {
                give_up_callers_of_exit(&left);
            }
        }
    }
}

/// A thread that calls `std::process::exit` while another does sleeps in pause(3) for ever: its end has come.
fn give_up_callers_of_exit(threads: &[Arc<Record>]) {
    for thread in threads.iter().filter(|thread| kernel::is_paused(thread.native())) {
        registry().leave(thread);
    }
}
