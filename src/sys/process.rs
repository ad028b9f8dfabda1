//! fork, pidfds, exit statuses, the number of threads, and leaving a process.
//!
//! Called by `process` and, through it, by `pool` and `prefork`. A process is named by its [`PidFd`]: a pid alone may
//! belong to somebody else by the time it is used.
//!
//! # Safety
//!
//! * `fork` duplicates only the calling thread; [`fork`] hands that obligation to its caller.
//! * `pidfd_open`, `pidfd_send_signal`, `waitid`, `close_range` and `_exit` take integers, and pointers to structures
//!   that live on the stack for the call.
//! * [`close_all_except`] ends descriptors whose owners are still in memory: its caller never uses or drops those.
#![expect(unsafe_code, reason = "fork, pidfd_open, waitid with resource usage, close_range and _exit")]

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::clock::Deadline;
use super::error::{during, errno, retry};
use super::poll::{self, Readiness};

/// How a process ended, as the kernel tells its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It called exit, or returned from main.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: i32,
        /// Whether a core was dumped.
        core: bool,
    },
}

/// What a process used in its life, its reaped children included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time in user code.
    pub(crate) user: Duration,
    /// Processor time in the kernel.
    pub(crate) system: Duration,
    /// The largest resident set, in bytes.
    pub(crate) max_rss: u64,
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) status: Status,
    /// What it used.
    pub(crate) usage: Usage,
}

/// A descriptor that stands for one process for as long as it is open; readable once the process has ended.
#[derive(Debug)]
pub(crate) struct PidFd {
    pid: u32,
    fd: OwnedFd,
}

impl PidFd {
    /// Opens the process that has this pid now. For a child of ours that nobody has reaped this is the right one.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let result = retry(|| {
            // SAFETY: pidfd_open takes two integers and returns a new descriptor, with CLOEXEC set.
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
            Errno::result(fd)
        });
        let raw = RawFd::try_from(during("open a pidfd", result)?).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        Ok(Self { pid, fd })
    }

    /// Takes a pidfd that another process opened.
    pub(crate) fn from_fd(pid: u32, fd: OwnedFd) -> Self {
        Self { pid, fd }
    }

    /// The pid, as seen from this process's namespace.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal to the process, never to one that took its pid later. ESRCH once it was reaped.
    pub(crate) fn send_signal(&self, signal: i32) -> io::Result<()> {
        let result = retry(|| {
            let info = ptr::null::<libc::siginfo_t>();
            // SAFETY: a null siginfo asks for the one that kill(2) would send.
            let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), signal, info, 0) };
            Errno::result(done)
        });
        during("send a signal", result.map(drop))
    }

    /// Whether the process has ended (it may still be unreaped).
    pub(crate) fn has_ended(&self) -> io::Result<bool> {
        self.wait(Deadline::after(Duration::ZERO))
    }

    /// Waits until the process has ended or the deadline passes; says whether it has ended. Works for any process, not
    /// only for children.
    pub(crate) fn wait(&self, deadline: Deadline) -> io::Result<bool> {
        Ok(poll::wait(self.as_fd(), Readiness::READ, deadline)?.any())
    }

    /// Reaps the process if it has ended. Own children only: ECHILD for others, and when it was reaped already, or
    /// when SIGCHLD is ignored.
    pub(crate) fn try_wait(&self) -> io::Result<Option<Ended>> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG;
        let result = retry(|| {
            let (info, usage) = (info.as_mut_ptr(), usage.as_mut_ptr());
            // The libc function has no place for the usage, the system call has.
            // SAFETY: both pointers are valid for writes of their types during the call.
            let done = unsafe {
                libc::syscall(libc::SYS_waitid, libc::P_PIDFD, self.fd.as_raw_fd(), info, flags, usage)
            };
            Errno::result(done)
        });
        during("wait for a process", result)?;
        // SAFETY: all zeroes is a valid siginfo_t, and so is what the kernel wrote over it.
        let info = unsafe { info.assume_init() };
        // SAFETY: all zeroes is a valid rusage, and so is what the kernel wrote over it.
        let usage = unsafe { usage.assume_init() };
        // SAFETY: waitid fills in the fields of SIGCHLD; they are zero when no child has ended.
        let pid = unsafe { info.si_pid() };
        if pid == 0 {
            return Ok(None);
        }
        // SAFETY: as above.
        let value = unsafe { info.si_status() };
        let status = match info.si_code {
            libc::CLD_EXITED => Status::Code(value),
            code => Status::Signal { signal: value, core: code == libc::CLD_DUMPED },
        };
        Ok(Some(Ended { status, usage: Usage::from(&usage) }))
    }
}

impl PidFd {
    /// Whether the process has this parent, as far as /proc tells.
    pub(crate) fn is_child_of(&self, parent: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The name, in brackets, may contain anything; then come the state and the parent.
        let found = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        found == Some(parent)
    }

    /// How the process ended, for those who are not its parent: newer kernels (6.15) tell once its parent has reaped
    /// it.
    pub(crate) fn status_of_stranger(&self) -> Option<Status> {
        /// The first version of the kernel's `struct pidfd_info`.
        #[repr(C)]
        #[derive(Default)]
        struct Info {
            mask: u64,
            cgroup: u64,
            ids: [u32; 11],
            exit_code: i32,
        }
        const PIDFD_INFO_EXIT: u64 = 1 << 3;
        /// `_IOWR(0xFF, 11, struct pidfd_info)`.
        const PIDFD_GET_INFO: libc::Ioctl = (3 << 30) | ((size_of::<Info>() as libc::Ioctl) << 16) | (0xFF << 8) | 11;
        let mut info = Info { mask: PIDFD_INFO_EXIT, ..Info::default() };
        // SAFETY: the kernel writes at most as many bytes as the request number says, into `info`.
        let done = unsafe { libc::ioctl(self.fd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        if done != 0 || info.mask & PIDFD_INFO_EXIT == 0 {
            return None;
        }
        let code = info.exit_code;
        Some(match libc::WIFEXITED(code) {
            true => Status::Code(libc::WEXITSTATUS(code)),
            false => Status::Signal { signal: libc::WTERMSIG(code), core: libc::WCOREDUMP(code) },
        })
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<&libc::rusage> for Usage {
    fn from(usage: &libc::rusage) -> Self {
        let duration = |time: libc::timeval| {
            let micros = u32::try_from(time.tv_usec).unwrap_or(0);
            Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), 0) + Duration::from_micros(micros.into())
        };
        let kibibytes = u64::try_from(usage.ru_maxrss).unwrap_or(0);
        Self {
            user: duration(usage.ru_utime),
            system: duration(usage.ru_stime),
            max_rss: kibibytes.saturating_mul(1024),
        }
    }
}

/// Whether [`PidFd::try_wait`] failed because the process is not a child of this one, or not any more.
#[cfg_attr(not(any(feature = "server", test)), expect(dead_code, reason = "the pre-fork master's"))]
pub(crate) fn is_not_our_child(error: &io::Error) -> bool {
    errno(error) == Some(libc::ECHILD)
}

/// Which side of a fork the caller is on.
#[derive(Debug)]
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one, with the pid of the new one.
    Parent(u32),
}

/// fork(2) by way of glibc, which keeps robust mutexes and its own locks right; a raw `clone` would not.
///
/// # Safety
///
/// Either the process has one thread, or the child calls nothing but async-signal-safe functions.
pub(crate) unsafe fn fork() -> io::Result<Forked> {
    // SAFETY: the caller's promise.
    match during("fork", unsafe { nix::unistd::fork() })? {
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
        nix::unistd::ForkResult::Parent { child } => {
            Ok(Forked::Parent(u32::try_from(child.as_raw()).map_err(io::Error::other)?))
        }
    }
}

/// Ends a child that nobody has reaped yet, and reaps it. For the case where a child exists but its pidfd cannot be had.
pub(crate) fn kill_and_reap(child: u32) {
    let Ok(pid) = i32::try_from(child) else { return };
    let pid = nix::unistd::Pid::from_raw(pid);
    // An unreaped child keeps its pid; both calls can only fail if it was not our child at all.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    let _ = retry(|| nix::sys::wait::waitpid(pid, None));
}

/// How many threads this process has. A thread that was joined is still listed for some microseconds, so an answer of
/// more than one is asked for again for up to a millisecond.
pub(crate) fn thread_count() -> io::Result<usize> {
    let patience = Instant::now() + Duration::from_millis(1);
    loop {
        let threads = during("count the threads in /proc/self/task", std::fs::read_dir("/proc/self/task"))?.count();
        if threads <= 1 || Instant::now() >= patience {
            return Ok(threads);
        }
        std::thread::yield_now();
    }
}

/// The pid of the parent, as it is now.
pub(crate) fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// Has the kernel send SIGKILL to this process when the thread that forked it ends, or no more. The parent may be dead
/// already: compare [`parent_pid`] afterwards.
pub(crate) fn die_with_parent(enable: bool) -> io::Result<()> {
    let signal = enable.then_some(nix::sys::signal::Signal::SIGKILL);
    during("set the parent-death signal", nix::sys::prctl::set_pdeathsig(signal))
}

/// Writes out what std and C have buffered for standard output, so that a fork does not double it and `_exit` does
/// not lose it. Errors are those of the stream (closed, full) and concern nobody here.
pub(crate) fn flush_stdio() {
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
    // SAFETY: a null stream means all of them.
    let _ = unsafe { libc::fflush(ptr::null_mut()) };
}

/// Ends the process at once: no destructors, no exit handlers, nothing flushed (see [`flush_stdio`]).
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit only ends the process.
    unsafe { libc::_exit(code) }
}

/// Lets `hook` run in the child after every fork(2) of this process, whoever forks. It may call nothing but
/// async-signal-safe functions.
pub(crate) fn on_fork_in_child(hook: extern "C" fn()) {
    let hook: unsafe extern "C" fn() = hook;
    // SAFETY: the hook is a function of the executable, which is never unloaded. ENOMEM, the only error, is left to
    // whoever allocates next.
    let _ = unsafe { libc::pthread_atfork(None, None, Some(hook)) };
}

/// Closes this process's copy of a descriptor whose owner was copied by a fork. Async-signal-safe.
///
/// # Safety
///
/// The owner, which is in memory still, is never used or dropped in this process.
pub(crate) unsafe fn close_copy(fd: BorrowedFd<'_>) {
    // SAFETY: the caller's promise. An error would say that it is closed already.
    let _ = unsafe { libc::close(fd.as_raw_fd()) };
}

/// Closes every descriptor but 0, 1, 2 and `keep`. For a process that has just been forked or executed: whoever owned
/// the closed ones is never used or dropped again.
pub(crate) fn close_all_except(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = first.max(fd + 1);
    }
    close_range(first, u32::MAX)
}

/// Closes each of `private`, under the same promise as [`close_all_except`].
pub(crate) fn close_each(private: &[BorrowedFd<'_>]) -> io::Result<()> {
    private.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).try_for_each(|fd| close_range(fd, fd))
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: close_range takes three integers; the caller has given up the descriptors in the range.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    during("close inherited descriptors", Errno::result(done).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn sleeper() -> (std::process::Child, PidFd) {
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pidfd = PidFd::open(child.id()).unwrap();
        (child, pidfd)
    }

    #[test]
    fn a_killed_child_is_reported_with_its_signal_once() {
        let (child, pidfd) = sleeper();
        assert_eq!(pidfd.pid(), child.id());
        assert_eq!(pidfd.try_wait().unwrap(), None);
        assert!(!pidfd.has_ended().unwrap());
        pidfd.send_signal(libc::SIGKILL).unwrap();
        assert!(pidfd.wait(Deadline::NEVER).unwrap());
        let ended = pidfd.try_wait().unwrap().unwrap();
        assert_eq!(ended.status, Status::Signal { signal: libc::SIGKILL, core: false });
        assert!(ended.usage.max_rss > 0, "{ended:?}");
        assert!(is_not_our_child(&pidfd.try_wait().unwrap_err()));
        assert_eq!(errno(&pidfd.send_signal(libc::SIGKILL).unwrap_err()), Some(libc::ESRCH));
    }

    #[test]
    fn an_exit_code_is_reported() {
        let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pidfd = PidFd::open(child.id()).unwrap();
        assert!(pidfd.wait(Deadline::NEVER).unwrap());
        assert_eq!(pidfd.try_wait().unwrap().unwrap().status, Status::Code(7));
        assert!(child.wait().is_err(), "it was reaped through the pidfd");
    }

    #[test]
    fn a_wait_for_a_living_process_ends_at_its_deadline() {
        let (mut child, pidfd) = sleeper();
        assert!(!pidfd.wait(Deadline::after(Duration::from_millis(1))).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn threads_are_counted() {
        let (hold, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        assert!(thread_count().unwrap() >= 2);
        drop(hold);
        assert!(thread.join().unwrap().is_err());
    }
}
