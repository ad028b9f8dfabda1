//! posix_spawn of this program's own executable.
//!
//! Safe with threads, unlike a fork, because the child executes at once. The executable is `/proc/self/exe`, that is
//! the inode that runs here, so that a binary replaced on disk does not change what is started.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use nix::fcntl::{FcntlArg, fcntl};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;

use super::error::during;
use super::process::{PidFd, kill_and_reap};

/// The descriptor that the first of the `fds` of [`spawn_self`] has in the new process; the others follow it.
pub(crate) const FIRST_FD: RawFd = 3;

/// Starts this program's executable once more, with the same arguments and environment and one more variable.
/// Descriptor `i` of `fds` becomes [`FIRST_FD`]` + i` there. Signals start with default dispositions and nothing blocked.
pub(crate) fn spawn_self(variable: (&str, &str), fds: &[BorrowedFd<'_>]) -> io::Result<PidFd> {
    let arguments: Vec<CString> = std::env::args_os().filter_map(|arg| c_string(arg.into_vec())).collect();
    let environment: Vec<CString> = std::env::vars_os()
        .filter(|(key, _)| key != variable.0)
        .chain([(OsString::from(variable.0), OsString::from(variable.1))])
        .filter_map(|(key, value)| assignment(&key, &value))
        .collect();

    // A target may be the number of a later source; sources above all targets cannot be overwritten.
    let above = FIRST_FD + RawFd::try_from(fds.len()).unwrap_or(RawFd::MAX - FIRST_FD);
    let sources = fds.iter().map(|fd| duplicate_above(*fd, above)).collect::<io::Result<Vec<OwnedFd>>>()?;
    let mut actions = during("prepare posix_spawn", PosixSpawnFileActions::init())?;
    for (target, source) in (FIRST_FD..).zip(&sources) {
        during("prepare posix_spawn", actions.add_dup2(source.as_raw_fd(), target))?;
    }

    let mut attributes = during("prepare posix_spawn", PosixSpawnAttr::init())?;
    let flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
    during("prepare posix_spawn", attributes.set_flags(flags))?;
    during("prepare posix_spawn", attributes.set_sigmask(&SigSet::empty()))?;
    during("prepare posix_spawn", attributes.set_sigdefault(&SigSet::all()))?;

    let pid = posix_spawn(c"/proc/self/exe", &actions, &attributes, &arguments, &environment);
    let pid = u32::try_from(during("execute /proc/self/exe", pid)?.as_raw()).map_err(io::Error::other)?;
    PidFd::open(pid).inspect_err(|_| kill_and_reap(pid))
}

/// Takes over descriptor [`FIRST_FD`]` + index`, which this process was executed with. `None` if it is not open.
///
/// # Safety
///
/// Nobody else in the process owns that descriptor, and this is called once for each.
#[expect(unsafe_code, reason = "descriptors are handed over by number across exec")]
pub(crate) unsafe fn inherited(index: u8) -> Option<OwnedFd> {
    let raw = FIRST_FD + RawFd::from(index);
    // SAFETY: whether the descriptor is open is what fcntl is asked here; nothing else is done with it before that.
    let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
    // It must not leak into programs that the child executes.
    fcntl(borrowed, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC)).ok()?;
    // SAFETY: it is open, and the caller promises that it is nobody else's.
    Some(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn duplicate_above(fd: BorrowedFd<'_>, lowest: RawFd) -> io::Result<OwnedFd> {
    let raw = during("duplicate a descriptor", fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest)))?;
    #[expect(unsafe_code, reason = "fcntl returns a plain number")]
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    let owned = unsafe { OwnedFd::from_raw_fd(raw) };
    Ok(owned)
}

fn assignment(key: &OsStr, value: &OsStr) -> Option<CString> {
    let mut bytes = key.to_owned().into_vec();
    bytes.push(b'=');
    bytes.extend(value.to_owned().into_vec());
    c_string(bytes)
}

/// Strings that the process itself was given by the kernel have no NUL inside.
fn c_string(bytes: Vec<u8>) -> Option<CString> {
    CString::new(bytes).ok()
}
