//! What a new process does to itself before it runs user code: life line, parent-death signal, group, limits, stdio,
//! directory, umask, environment; and how its owner reads those of its own that travel.
//!
//! # Safety
//!
//! `setpriority`, `prctl` and `fcntl` with `F_SETSIG` take integers. The environment is changed only while the process
//! has one thread, which is the caller's promise.
#![expect(unsafe_code, reason = "F_SETSIG, setpriority, and changing the environment")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, raise};
use nix::sys::stat::{Mode, fchmod, umask};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_dumpable;
use nix::unistd::{
    Gid, Pid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchdir, getegid, geteuid, setgroups, setpgid, setresgid, setresuid,
};

use super::clock::Deadline;
use super::error::{during, retry};
use super::poll::{self, Readiness};
use super::process::{die_with_parent, parent_pid};

/// Lets every user open a pipe anew for reading, who has it: a process that has become another user has children, too.
pub(crate) fn let_all_read(pipe: BorrowedFd<'_>) -> io::Result<()> {
    during("let all read a pipe", fchmod(pipe, Mode::S_IRUSR | Mode::S_IRGRP | Mode::S_IROTH))
}

/// Lets a process be killed when its owner has died or ended, also while it spins in user code; until this is dropped.
#[derive(Debug)]
#[must_use = "a life line that is dropped is none"]
pub(crate) struct LifeLine(OwnedFd);

/// Arms a life line: this process is killed when the last write end of `pulse` closes. Needs no thread.
///
/// The signal's owner and number belong to the open file description, so the pipe is opened anew rather than shared.
pub(crate) fn arm_life_line(pulse: BorrowedFd<'_>) -> io::Result<LifeLine> {
    let path = format!("/proc/self/fd/{}", pulse.as_raw_fd());
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let line = LifeLine(OwnedFd::from(during("open the life line", opened)?));
    // SAFETY: F_SETSIG takes a signal number.
    let signal = unsafe { libc::fcntl(line.0.as_raw_fd(), F_SETSIG, libc::SIGKILL) };
    during("choose the life line's signal", Errno::result(signal))?;
    line.own()?;
    during("arm the life line", fcntl(&line.0, FcntlArg::F_SETFL(OFlag::O_ASYNC | OFlag::O_NONBLOCK)))?;
    line.look()?;
    Ok(line)
}

impl LifeLine {
    /// Says whom to kill. The kernel notes with that who says so, and sends the signal with that one's rights.
    fn own(&self) -> io::Result<()> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        // SAFETY: F_SETOWN takes a pid.
        let owned = unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_SETOWN, pid) };
        during("own the life line", Errno::result(owned)).map(drop)
    }

    /// From the arming on a death is signalled; one that came before is seen here.
    fn look(&self) -> io::Result<()> {
        let now = Deadline::after(Duration::ZERO);
        if poll::wait(self.0.as_fd(), Readiness::default(), now)?.hung_up {
            end_with_parent();
        }
        Ok(())
    }

    /// Holds for the rest of this process's life.
    pub(crate) fn for_good(self) {
        let _ = self.0.into_raw_fd();
    }
}

/// Linux's `F_SETSIG`, which the libc crate does not name.
pub(super) const F_SETSIG: libc::c_int = 10;

/// Has the kernel kill this process when `parent` ends, or rather the thread that forked. For the fork server's children
/// only: that server has one thread for its whole life. `parent` is the pid that it had before the fork.
pub(crate) fn die_with(parent: u32) -> io::Result<()> {
    die_with_parent(true)?;
    if parent_pid() != parent {
        end_with_parent();
    }
    Ok(())
}

fn end_with_parent() -> ! {
    // SIGKILL cannot fail and does not return; the exit is for the type.
    let _ = raise(Signal::SIGKILL);
    super::process::exit_now(1)
}

/// Makes process `child` (0: this one) the leader of a process group of its own.
pub(crate) fn lead_group(child: u32) -> io::Result<()> {
    let pid = Pid::from_raw(i32::try_from(child).map_err(io::Error::other)?);
    during("make a process group", setpgid(pid, Pid::from_raw(0)))
}

/// Sends SIGKILL to the process group that `leader` leads. Only while the leader is an unreaped child of the caller:
/// otherwise the number may be another group's.
pub(crate) fn kill_group(leader: u32) {
    if let Ok(pid) = i32::try_from(leader)
        && pid > 1
    {
        // ESRCH: the group has no member left.
        let _ = nix::sys::signal::killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// A limit of a process that this crate sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Bytes of address space.
    Memory,
    /// Seconds of processor time: SIGXCPU there, SIGKILL a second later.
    Cpu,
    /// Descriptors.
    OpenFiles,
}

/// Sets the soft and the hard limit of this process.
pub(crate) fn set_limit(limit: Limit, value: u64) -> io::Result<()> {
    let (resource, hard) = match limit {
        Limit::Memory => (Resource::RLIMIT_AS, value),
        Limit::Cpu => {
            let (_, present) = during("read a resource limit", getrlimit(Resource::RLIMIT_CPU))?;
            (Resource::RLIMIT_CPU, value.saturating_add(1).min(present.max(value)))
        }
        Limit::OpenFiles => (Resource::RLIMIT_NOFILE, value),
    };
    during("set a resource limit", setrlimit(resource, value, hard))
}

/// Raises the soft limit of descriptors as far as it may go; returns the soft and the hard limit of before.
pub(crate) fn raise_open_files() -> io::Result<(u64, u64)> {
    let (soft, hard) = during("read the limit of descriptors", getrlimit(Resource::RLIMIT_NOFILE))?;
    during("raise the limit of descriptors", setrlimit(Resource::RLIMIT_NOFILE, hard, hard))?;
    Ok((soft, hard))
}

/// Undoes [`raise_open_files`].
pub(crate) fn restore_open_files((soft, hard): (u64, u64)) -> io::Result<()> {
    during("restore the limit of descriptors", setrlimit(Resource::RLIMIT_NOFILE, soft, hard))
}

/// Sets the nice value of this process, from -20 (favoured) to 19.
pub(crate) fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: setpriority takes three integers; 0 is the calling process.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    during("set the nice value", Errno::result(done).map(drop))
}

/// Lets this process run on these processors only.
pub(crate) fn set_affinity(processors: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &processor in processors {
        during("choose processors", set.set(processor))?;
    }
    during("choose processors", sched_setaffinity(Pid::from_raw(0), &set))
}

/// Makes this process one of another user and group, for good, and of no other groups. Root's to do: the kernel takes all
/// capabilities with root's number, and would leave them to others. What came before may need the privileges that are given up
/// here: this is done last. `line` is the life line, whose signal the old user may not send to the new one everywhere, and
/// `parent` whose end it [dies with](die_with), which the kernel forgets.
pub(crate) fn become_user(
    user: Option<u32>,
    group: Option<u32>,
    line: &LifeLine,
    parent: Option<u32>,
) -> io::Result<()> {
    if !geteuid().is_root() {
        return during("become another user, which only root may", Err(Errno::EPERM));
    }
    during("leave the groups", setgroups(&[]))?;
    if let Some(group) = group.map(Gid::from_raw) {
        during("change the group", setresgid(group, group, group))?;
    }
    if let Some(user) = user.map(Uid::from_raw) {
        during("change the user", setresuid(user, user, user))?;
    }
    // Or else /proc/self would be root's, and this process could start no others.
    during("stay readable to itself", set_dumpable(true))?;
    line.own()?;
    line.look()?;
    parent.map_or(Ok(()), die_with)
}

/// By whose rights this process acts: a user and a group.
pub(crate) fn user() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

/// The umask of this process, read without changing it: other threads make files meanwhile.
pub(crate) fn current_umask() -> io::Result<u32> {
    // It is in the second line, behind a name of at most 64 bytes. The rest of the file is of no use here.
    let mut head = [0; 256];
    let read = File::open("/proc/self/status").and_then(|mut status| status.read(&mut head));
    let head = head.get(..during("read /proc/self/status", read)?).unwrap_or_default();
    let mask = head.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Umask:"));
    let mask = mask.and_then(|mask| u32::from_str_radix(std::str::from_utf8(mask).ok()?.trim(), 8).ok());
    mask.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status does not tell the umask"))
}

/// Sets the umask of this process.
pub(crate) fn set_umask(mask: u32) {
    umask(Mode::from_bits_truncate(mask));
}

/// Opens a directory for [`change_directory`] in another process.
pub(crate) fn open_directory(path: &std::path::Path) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    Ok(during("open the directory", opened)?.into())
}

/// Makes `directory` the current one.
pub(crate) fn change_directory(directory: BorrowedFd<'_>) -> io::Result<()> {
    during("change the directory", retry(|| fchdir(directory)))
}

/// Opens `/dev/null` for reading and writing.
pub(crate) fn null() -> io::Result<OwnedFd> {
    let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    Ok(during("open /dev/null", opened)?.into())
}

/// Standard input (0), output (1) or error (2) of this process; `None` if it is closed.
pub(crate) fn own_stdio(number: u8) -> Option<BorrowedFd<'static>> {
    // SAFETY: these three descriptors are everybody's and are not closed for good by anybody; if one is closed, that is
    // what fcntl finds out.
    let stream = unsafe { BorrowedFd::borrow_raw(i32::from(number.min(2))) };
    fcntl(stream, FcntlArg::F_GETFD).is_ok().then_some(stream)
}

/// Makes `fd` standard input (0), output (1) or error (2) of this process.
pub(crate) fn set_stdio(number: usize, fd: BorrowedFd<'_>) -> io::Result<()> {
    during(
        "redirect standard input, output or error",
        retry(|| match number {
            0 => dup2_stdin(fd),
            1 => dup2_stdout(fd),
            _ => dup2_stderr(fd),
        }),
    )
}

/// Opens `/dev/null` for those of standard input, output and error that are closed, so that no other descriptor takes
/// their number. std does this before `main`.
pub(crate) fn open_missing_stdio() -> io::Result<()> {
    loop {
        let fd = null()?;
        if fd.as_raw_fd() > 2 {
            return Ok(());
        }
        // It took the number of a missing one, for good, and is inherited like that one.
        during("open standard input, output or error", fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())))?;
        let _ = fd.into_raw_fd();
    }
}

/// Names the process (its main thread) in `ps` and `top`; the kernel keeps 15 bytes.
pub(crate) fn set_title(title: &std::ffi::CStr) {
    // The name is for people; without it nothing is lost.
    let _ = nix::sys::prctl::set_name(title);
}

/// Makes the environment what `wanted` says.
///
/// # Safety
///
/// The process has one thread.
pub(crate) unsafe fn set_environment(wanted: &[(&OsStr, &OsStr)]) {
    let present: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    if present.iter().map(|(key, value)| (key.as_os_str(), value.as_os_str())).eq(wanted.iter().copied()) {
        return;
    }
    for (key, _) in &present {
        if !wanted.iter().any(|(name, _)| name == key) {
            // SAFETY: the caller's promise: no other thread reads the environment.
            unsafe { std::env::remove_var(key) };
        }
    }
    for &(key, value) in wanted {
        if !present.iter().any(|(name, now)| name == key && now == value) {
            // SAFETY: as above.
            unsafe { std::env::set_var(key, value) };
        }
    }
}
