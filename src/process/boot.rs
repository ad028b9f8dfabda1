//! What an executed process is: the program itself, its fork server, or a child.
//!
//! # Safety
//!
//! Two descriptors are taken over by number: the owner put them there, and nothing that ran before could know of them.
//! The variable that says so is removed while the process has one thread, which is counted.
#![expect(unsafe_code, reason = "descriptors are handed over by number, and a variable is removed")]

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::protocol::{BOOT, Role};
use super::{child, server};
use crate::sys::{attributes, process, signal, socket, spawn};

/// Whether this executable is known to call [`init`], so that starting it once more leads there.
static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// Makes this program one that can start processes. The first line of `main`.
///
/// A new process executes this same program. In the program itself `init` returns at once and costs nothing; in a
/// process that crewkit started it takes over and never returns, so that what follows in `main` runs once. Without it
/// starting a process is [`SpawnError::NotInitialized`](super::SpawnError::NotInitialized).
///
/// What a program does before `init` (static constructors, allocators with threads of their own) happens in every
/// executed process. Threads must not be started there: the fork server refuses to fork with more than one.
///
/// Python: the `if __name__ == "__main__":` guard, and `multiprocessing.freeze_support()`.
///
/// ```
/// crewkit::init();
/// // The program.
/// ```
pub fn init() {
    match std::env::var_os(BOOT) {
        None => INITIALIZED.store(true, Ordering::Release),
        Some(role) => take_over(&role),
    }
}

pub(super) fn is_initialized() -> bool {
    INITIALIZED.load(Ordering::Acquire)
}

fn take_over(role: &OsStr) -> ! {
    INITIALIZED.store(true, Ordering::Release);
    let Some((role, socket, pulse)) = Role::from_name(role).and_then(handed_over) else {
        let why = "is set although crewkit did not start this process; remove it from the environment";
        let _ = writeln!(io::stderr(), "crewkit: {BOOT} {why}");
        process::exit_now(1);
    };
    let threads = prepare(&socket, &pulse);
    match role {
        Role::Server => {
            let threads = threads.unwrap_or_else(|error| {
                let _ = writeln!(io::stderr(), "crewkit: the fork server cannot start: {error}");
                process::exit_now(1)
            });
            server::run(socket, pulse, threads)
        }
        Role::Child => child::run(socket, None, None, |_life| {
            match threads? {
                1 => {}
                threads => {
                    return Err(io::Error::other(format!("{threads} threads were started before crewkit::init")));
                }
            }
            let line = attributes::arm_life_line(pulse.as_fd())?;
            signal::reset_all().map(|()| line)
        }),
    }
}

/// The two descriptors that an executed process is handed, if they are what they should be.
fn handed_over(role: Role) -> Option<(Role, OwnedFd, OwnedFd)> {
    // SAFETY: called once; see the module's Safety section.
    let socket = unsafe { spawn::inherited(0) }?;
    // SAFETY: as above.
    let pulse = unsafe { spawn::inherited(1) }?;
    socket::is_seqpacket(socket.as_fd()).then_some((role, socket, pulse))
}

/// Leaves behind what was inherited by accident; says how many threads there are.
fn prepare(socket: &OwnedFd, pulse: &OwnedFd) -> io::Result<usize> {
    attributes::open_missing_stdio()?;
    process::close_all_except(&[socket.as_fd(), pulse.as_fd()])?;
    let threads = process::thread_count()?;
    if threads == 1 {
        // SAFETY: there is one thread, and it is here.
        unsafe { std::env::remove_var(BOOT) };
    }
    Ok(threads)
}
