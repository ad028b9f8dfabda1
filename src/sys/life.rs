//! Who a process is, and whether it lives: what an object in shared memory notes of those who use it.
//!
//! A pid alone may be somebody else's by the time it is read; with the time at which its process started it names one
//! process for as long as the machine runs. Both mean something in one PID namespace only, and /proc must be mounted
//! for it: that is looked at when an object is made or opened.
//!
//! Dead is who the kernel's pidfd says has ended, reaped or not. (`kill(pid, 0)` finds unreaped processes, and /proc shows
//! `Z` for a living one whose main thread has ended.)
//!
//! # Safety
//!
//! `kill` with signal 0 takes two integers and sends nothing.

#![expect(unsafe_code, reason = "libc declares every function unsafe")]

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use super::error::{during, errno};
use super::process::PidFd;

/// One process, for as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pid: u32,
    start: u64,
}

/// The calling process, once it was asked for: its fork generation plus one, its number, its start, its namespace.
static CURRENT: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

impl Life {
    /// The calling process.
    #[inline]
    pub(crate) fn current() -> io::Result<Self> {
        Self::here().map(|(life, _)| life)
    }

    /// The PID namespace of the calling process, as a number: pids of another one mean nothing here.
    pub(crate) fn namespace() -> io::Result<u64> {
        Self::here().map(|(_, namespace)| namespace)
    }

    #[inline]
    fn here() -> io::Result<(Self, u64)> {
        let [generation, pid, start, namespace] = &CURRENT;
        let now = u64::from(super::generation::current()) + 1;
        if generation.load(Ordering::Acquire) != now {
            return Self::note(now);
        }
        let pid = u32::try_from(pid.load(Ordering::Relaxed)).unwrap_or(0);
        Ok((Self { pid, start: start.load(Ordering::Relaxed) }, namespace.load(Ordering::Relaxed)))
    }

    #[cold]
    fn note(now: u64) -> io::Result<(Self, u64)> {
        let [generation, pid, start, namespace] = &CURRENT;
        let (life, number) = Self::look_up()?;
        // Whoever else is here stores the same.
        pid.store(life.pid.into(), Ordering::Relaxed);
        start.store(life.start, Ordering::Relaxed);
        namespace.store(number, Ordering::Relaxed);
        generation.store(now, Ordering::Release);
        Ok((life, number))
    }

    fn look_up() -> io::Result<(Self, u64)> {
        let pid = std::process::id();
        let is_ours = fs::read_link("/proc/self").is_ok_and(|own| own.to_str() == Some(&pid.to_string()));
        let start = start_of(pid).filter(|_| is_ours);
        let none = || io::Error::other("who is alive cannot be told: /proc of this PID namespace cannot be read");
        let namespace = fs::metadata("/proc/self/ns/pid").map(|file| file.ino());
        Ok((Self { pid, start: start.ok_or_else(none)? }, during("asking for the PID namespace", namespace)?))
    }

    /// What [`pid`](Self::pid) and [`start`](Self::start) said.
    pub(crate) fn from_parts(pid: u32, start: u64) -> Self {
        Self { pid, start }
    }

    /// Its number while it lives.
    pub(crate) fn pid(self) -> u32 {
        self.pid
    }

    /// When it started, in the kernel's ticks.
    pub(crate) fn start(self) -> u64 {
        self.start
    }

    /// Whether it has ended. Where that cannot be told, for want of descriptors, it lives on until it is reaped.
    pub(crate) fn is_over(self) -> bool {
        match PidFd::open(self.pid) {
            // In this order: whoever has the number at the second look had it at the first, or has started since.
            Ok(pidfd) => {
                start_of(self.pid).is_some_and(|start| start != self.start) || pidfd.has_ended().unwrap_or(false)
            }
            Err(error) if errno(&error) == Some(Errno::ESRCH as i32) => true,
            Err(_) => !exists(self.pid),
        }
    }
}

/// The field `starttime` of a process, the 22nd; those behind the name, which may hold anything, begin with the third.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let behind_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let fields = str::from_utf8(&stat[behind_name..]).ok()?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The process of a thread, where /proc knows it.
pub(crate) fn process_of(thread: u32) -> Option<u32> {
    let status = fs::read(format!("/proc/{thread}/status")).ok()?;
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Tgid:"))?;
    str::from_utf8(line).ok()?.trim().parse().ok()
}

fn exists(pid: u32) -> bool {
    // SAFETY: see the module.
    let result = unsafe { libc::kill(pid.cast_signed(), 0) };
    !matches!(Errno::result(result), Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use nix::unistd::Pid;
    use std::process::Command;

    fn of(pid: u32) -> Life {
        Life::from_parts(pid, start_of(pid).unwrap())
    }

    #[test]
    fn a_process_lives_until_it_is_killed_also_where_nobody_reaps_it() {
        let me = Life::current().unwrap();
        assert!(!me.is_over() && me == of(std::process::id()));
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let life = of(child.id());
        assert!(!life.is_over() && life != me);
        child.kill().unwrap();
        let id = Id::Pid(Pid::from_raw(child.id().cast_signed()));
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        assert!(life.is_over(), "killed, and not reaped yet");
        assert!(exists(child.id()), "which a signal would not tell");
        child.wait().unwrap();
        assert!(life.is_over());
    }

    #[test]
    fn a_thread_is_of_its_process() {
        let of_this = || process_of(super::super::thread::native_id());
        assert_eq!(std::thread::spawn(of_this).join().unwrap(), Some(std::process::id()));
        assert_eq!(process_of(u32::MAX), None);
    }

    #[test]
    fn who_has_the_number_of_another_is_not_that_other() {
        let me = Life::current().unwrap();
        assert!(Life::from_parts(me.pid(), me.start() + 1).is_over());
    }
}
