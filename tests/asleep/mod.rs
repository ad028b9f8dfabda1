//! Starts threads and waits until they sleep, so that tests need no pauses of their own. A test that hangs ends its
//! whole program: a failed assertion could leave threads blocked for which its scope would wait for ever. It counts as
//! hung when no test has started a thread here for a while: all tests together may take long on a busy machine.

use std::fs;
use std::process;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// How long anything here may take before it counts as hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A thread whose sleep can be seen from outside.
pub(crate) struct Watched<'scope, T> {
    /// The thread.
    pub(crate) handle: ScopedJoinHandle<'scope, T>,
    stat: String,
}

/// Runs `body` in a thread of `scope`.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    body: impl FnOnce() -> T + Send + 'scope,
) -> Watched<'scope, T> {
    keep_the_watchdog_calm();
    let (send, receive) = mpsc::channel();
    let handle = scope.spawn(move || {
        let task = fs::read_link("/proc/thread-self").expect("/proc tells a thread its own number");
        send.send(task).expect("the parent waits for it");
        drop(send);
        body()
    });
    let task = receive.recv().expect("the thread sends before anything else");
    Watched { handle, stat: format!("/proc/{}/stat", task.display()) }
}

/// The program ends unless this is called again soon enough.
fn keep_the_watchdog_calm() {
    static CALL: Mutex<Option<Instant>> = Mutex::new(None);
    let call = || CALL.lock().unwrap_or_else(PoisonError::into_inner);
    if call().replace(Instant::now()).is_some() {
        return;
    }
    thread::spawn(move || {
        loop {
            let left = call().map_or(Duration::ZERO, |last| (PATIENCE * 2).saturating_sub(last.elapsed()));
            if left.is_zero() {
                eprintln!("a test of this program hangs");
                process::exit(101);
            }
            thread::sleep(left);
        }
    });
}

impl<T> Watched<'_, T> {
    /// Waits until the thread sleeps in the kernel, as it does in a blocking call, or has ended, as it may if the call
    /// is a timed one.
    pub(crate) fn until_asleep(&self) {
        until_asleep(&self.stat);
    }

    /// The thread's result.
    pub(crate) fn join(self) -> T {
        self.handle.join().expect("the thread does not panic")
    }
}

/// Waits until the thread whose `/proc/…/stat` this is sleeps in the kernel, or has ended.
pub(crate) fn until_asleep(stat: &str) {
    let begin = Instant::now();
    while let Ok(stat) = fs::read_to_string(stat) {
        let (_, after_name) = stat.rsplit_once(") ").expect("proc(5): the name stands in brackets");
        if after_name.starts_with('S') {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "the thread does not block: {stat}");
        thread::yield_now();
    }
}
