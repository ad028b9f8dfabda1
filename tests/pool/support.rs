//! What the tests have in common: bounded waits, processes looked at from outside, a lock for tests that count.

use std::io::{PipeReader, PipeWriter, Read};
use std::path::PathBuf;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use crewkit::ipc::Fd;
use crewkit::pool::Pool;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take; far more than it does.
pub(crate) const LONG: Duration = Duration::from_secs(60);

static COMPANY: RwLock<()> = RwLock::new(());

/// Held by a test that makes processes and descriptors.
pub(crate) fn in_company() -> RwLockReadGuard<'static, ()> {
    COMPANY.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Held by a test that counts them: no other test runs meanwhile.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    COMPANY.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Waits until `condition` holds; fails after [`LONG`].
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let give_up = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < give_up, "{what}: not within {LONG:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

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

/// SIGKILL. The process may have ended.
pub(crate) fn sigkill(pid: u32) {
    let _ended = kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL);
}

/// SIGSTOP: the process hangs from now on.
pub(crate) fn sigstop(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGSTOP).unwrap();
}

/// Whether the process exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    matches!(stat(pid), Some((state, _)) if state != 'Z' && state != 'X')
}

/// The process's parent.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    stat(pid).map(|(_, parent)| parent)
}

/// State and parent, from `/proc/<pid>/stat`: `pid (name) state ppid …`.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The pids of a pool's workers.
pub(crate) fn pids(pool: &Pool) -> Vec<u32> {
    pool.workers().iter().map(|worker| worker.pid).collect()
}

/// A task that says by one byte that it has begun, and never ends.
pub(crate) fn begin_and_stay(begun: Fd<PipeWriter>) {
    say(begun);
    loop {
        thread::park();
    }
}

/// Writes a byte, for [`hear`].
pub(crate) fn say(begun: Fd<PipeWriter>) {
    std::io::Write::write_all(&mut begun.into_inner(), b"!").unwrap();
}

/// Waits for a byte. Fails at the end of file, which comes when everybody who could write is dead.
pub(crate) fn hear(begun: &mut PipeReader) {
    let mut byte = [0];
    begun.read_exact(&mut byte).unwrap();
}

/// A small generator for shuffling; the seed is printed so that a failure can be repeated.
pub(crate) struct Dice(usize);

impl Dice {
    pub(crate) fn new() -> Self {
        let seed = (usize::try_from(std::process::id()).unwrap() * 0x9e37_79b9) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
