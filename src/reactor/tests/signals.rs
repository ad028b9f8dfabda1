//! Signals do not end a poll.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::threads::wait_until_asleep;
use super::{poll, soon};
use crate::reactor::{Event, Poller};
use crate::sys::signal::served;

const SIGWINCH: i32 = 28;

#[test]
fn a_signal_does_not_end_a_poll() {
    let mut poller = Poller::new().unwrap();
    let waker = poller.waker();
    served::no_op_handler(SIGWINCH).unwrap();
    let (tell, told) = mpsc::channel();
    let sleeper = thread::spawn(move || {
        tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
        poll(&mut poller, soon())
    });
    let task = told.recv().unwrap();
    let thread = task.file_name().and_then(|name| name.to_str()).unwrap().parse().unwrap();
    for _ in 0..10 {
        wait_until_asleep(&task);
        let before = sleeps(&task);
        served::send_to_thread(thread, SIGWINCH).unwrap();
        let give_up = Instant::now() + Duration::from_secs(30);
        while sleeps(&task) == before {
            assert!(!sleeper.is_finished(), "the signal ended the poll");
            assert!(Instant::now() < give_up, "the poll was not interrupted");
            thread::yield_now();
        }
    }
    waker.wake();
    assert_eq!(sleeper.join().unwrap(), [Event::Woken]);
}

/// How often the thread at `task` has gone to sleep.
fn sleeps(task: &Path) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(task).join("status")).unwrap();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    count.trim().parse().unwrap()
}
