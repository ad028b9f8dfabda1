//! What the tests have in common: bounded tests, tasks that can be held.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crewkit::pool::{Task, ThreadPool};
use crewkit::sync::Event;

/// How long anything may take; far more than it does.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Runs `body` on a thread of its own; fails if it has not ended after [`LONG`].
pub(crate) fn in_time<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let running = thread::spawn(body);
    let give_up = Instant::now() + LONG;
    while !running.is_finished() {
        assert!(Instant::now() < give_up, "hangs");
        thread::sleep(Duration::from_millis(1));
    }
    running.join().unwrap()
}

/// A task that has begun, and ends when it is let go.
pub(crate) struct Held {
    pub(crate) task: Task<u64>,
    pub(crate) go: Arc<Event>,
}

impl Held {
    /// Takes a worker out of service.
    pub(crate) fn new(pool: &ThreadPool) -> Self {
        let (begun, go) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go));
        let hold = move |()| {
            tell.set();
            assert!(wait.wait_timeout(LONG), "not let go");
            7
        };
        let task = pool.submit(hold, ());
        assert!(begun.wait_timeout(LONG), "not begun");
        Self { task, go }
    }

    pub(crate) fn let_go(&self) {
        self.go.set();
    }
}

/// Says when it is dropped.
pub(crate) struct Tell(pub(crate) std::sync::mpsc::Sender<thread::ThreadId>);

impl Drop for Tell {
    fn drop(&mut self) {
        let _nobody_asks = self.0.send(thread::current().id());
    }
}

/// Something that says when it is dropped, and where that is heard.
pub(crate) fn telling() -> (Tell, Receiver<thread::ThreadId>) {
    let (send, receive) = channel();
    (Tell(send), receive)
}
