//! Other threads: what they may do with a poller.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{full_pipe, now, poll, readable, soon};
use crate::reactor::{Event, Interest, Mode, Poller, Token};

#[test]
fn wake_ups_before_a_poll_are_one() {
    let mut poller = Poller::new().unwrap();
    let waker = poller.waker();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| waker.clone().wake()));
        }
    });
    assert_eq!(poll(&mut poller, soon()), [Event::Woken]);
    assert_eq!(poll(&mut poller, now()), []);
    waker.wake();
    assert_eq!(poll(&mut poller, soon()), [Event::Woken]);
}

#[test]
fn a_wake_up_ends_a_poll_that_sleeps() {
    let mut poller = Poller::new().unwrap();
    let waker = poller.waker();
    let (tell, told) = mpsc::channel();
    let sleeper = thread::spawn(move || {
        tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
        poll(&mut poller, soon())
    });
    wait_until_asleep(&told.recv().unwrap());
    waker.wake();
    assert_eq!(sleeper.join().unwrap(), [Event::Woken]);
    waker.wake(); // nobody is there any more
}

#[test]
fn no_wake_up_is_lost_under_contention() {
    /// Ends the others also when this thread panics.
    struct Enough<'a>(&'a AtomicBool);
    impl Drop for Enough<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let mut poller = Poller::new().unwrap();
    let (waker, enough) = (poller.waker(), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    waker.wake();
                }
            });
        }
        let _enough = Enough(&enough);
        for round in 0..2_000 {
            // They wake without end, so only a wake-up that was lost lets this sleep for long.
            assert_eq!(poll(&mut poller, soon()), [Event::Woken], "round {round}");
        }
    });
}

#[test]
fn another_thread_re_arms_a_descriptor_without_waking_the_owner() {
    let mut poller = Poller::new().unwrap();
    let registrar = poller.registrar();
    let (reader, _writer) = full_pipe();
    poller.register(reader.as_fd(), Token(1), Interest::READ, Mode::OneShot).unwrap();
    assert_eq!(poll(&mut poller, soon()), [readable(1)]);
    let (tell, told) = mpsc::channel::<PathBuf>();
    thread::scope(|scope| {
        let reader = &reader;
        scope.spawn(move || {
            wait_until_asleep(&told.recv().unwrap());
            registrar.reregister(reader.as_fd(), Token(2), Interest::READ, Mode::OneShot).unwrap();
        });
        tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
        assert_eq!(poll(&mut poller, soon()), [readable(2)]);
    });
}

/// Waits until the thread at `task`, relative to /proc, sleeps in the kernel.
pub(super) fn wait_until_asleep(task: &Path) {
    let stat_file = Path::new("/proc").join(task).join("stat");
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        let stat = std::fs::read_to_string(&stat_file).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        if fields.starts_with('S') {
            return;
        }
        assert!(Instant::now() < give_up, "{stat}");
        thread::yield_now();
    }
}
