//! A forked child in the hands of its parent: the pre-fork master's workers.
//!
//! # Safety
//!
//! The thread count is what makes the fork sound.
#![expect(unsafe_code, reason = "fork")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::{cannot_start, check_threads, fork_unchecked};
use crate::process::error::ForkError;
use crate::process::exit::Exit;
use crate::sys::process::{self, PidFd};

/// A forked child, as its parent sees it. The parent reaps it with [`Child::try_wait`]; dropping this does not.
#[derive(Debug)]
pub(crate) struct Child {
    pidfd: PidFd,
}

impl Child {
    /// The child's pid.
    pub(crate) fn pid(&self) -> u32 {
        self.pidfd.pid()
    }

    /// Sends a signal; ESRCH once the child was reaped.
    pub(crate) fn send_signal(&self, signal: i32) -> io::Result<()> {
        self.pidfd.send_signal(signal)
    }

    /// Reaps the child if it has ended. [`Exit::Unknown`] if somebody else reaped it.
    pub(crate) fn try_wait(&self) -> io::Result<Option<Exit>> {
        match self.pidfd.try_wait() {
            Err(error) if process::is_not_our_child(&error) => Ok(Some(Exit::Unknown)),
            result => Ok(result?.map(|ended| ended.status.into())),
        }
    }
}

impl AsFd for Child {
    /// The pidfd: readable when the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Forks; the child runs `body` and ends with the code it returns ([`PANICKED`](super::PANICKED) if it panics).
///
/// The child keeps every descriptor but those in `private`, which are the parent's own affair: what `body` captures may
/// hold descriptors that nobody here knows of. `body` must not use or drop an owner of a private one. It begins with an
/// empty signal mask and default dispositions (SIGPIPE ignored).
pub(crate) fn fork(private: &[BorrowedFd<'_>], body: impl FnOnce() -> i32) -> Result<Child, ForkError> {
    check_threads()?;
    let body = || match process::close_each(private) {
        Ok(()) => body(),
        Err(error) => cannot_start(&error),
    };
    // SAFETY: there is one thread, counted above, and it is here.
    let pidfd = unsafe { fork_unchecked(body) }?;
    Ok(Child { pidfd })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fork::PANICKED;
    use crate::sys::clock::Deadline;
    use crate::sys::poll::{self, Readiness};
    use crate::sys::signal::{self, served};
    use std::os::fd::AsRawFd;
    use std::panic::catch_unwind;
    use std::process::Command;

    /// libtest runs tests on threads, where a fork is refused. Each test here is run before libtest, in a process of
    /// its own that has one thread; the `#[test]` starts that process and waits for it.
    macro_rules! single_threaded {
        ($(fn $name:ident() $body:block)*) => {
            $(
                #[test]
                fn $name() {
                    run(stringify!($name));
                }
            )*

            extern "C" fn entry() {
                $(fn $name() $body)*
                let bodies: &[(&str, fn())] = &[$((stringify!($name), $name)),*];
                let Ok(wanted) = std::env::var(MARK) else { return };
                let (_, body) = bodies.iter().find(|(name, _)| *name == wanted).unwrap();
                let passed = catch_unwind(body).is_ok();
                std::process::exit(if passed { PASSED } else { 1 });
            }
        };
    }

    const MARK: &str = "CREWKIT_TEST_SINGLE_THREADED";
    const PASSED: i32 = 77;

    // SAFETY: glibc calls the functions of this section before main, with the environment and stdio in place.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static ENTRY: extern "C" fn() = entry;

    fn run(test: &str) {
        let output = Command::new(std::env::current_exe().unwrap()).env(MARK, test).output().unwrap();
        assert_eq!(output.status.code(), Some(PASSED), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn wait(child: &Child) -> Exit {
        poll::wait(child.as_fd(), Readiness::READ, Deadline::NEVER).unwrap();
        child.try_wait().unwrap().unwrap()
    }

    #[test]
    fn a_process_with_threads_is_refused() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || held.recv());
        let error = fork(&[], || 0).unwrap_err();
        assert!(matches!(error, ForkError::Multithreaded { threads } if threads >= 2), "{error}");
        drop(hold);
        assert!(thread.join().unwrap().is_err());
    }

    single_threaded! {
        fn the_end_of_the_body_is_the_end_of_the_child() {
            assert_eq!(wait(&fork(&[], || 7).unwrap()), Exit::Code(7));
            assert_eq!(wait(&fork(&[], || panic!("expected")).unwrap()), Exit::Code(PANICKED));
            let Exit::Signal { signal, .. } = wait(&fork(&[], || std::process::abort()).unwrap()) else { panic!() };
            assert_eq!(signal, 6);
            struct Nasty;
            impl Drop for Nasty {
                fn drop(&mut self) {
                    panic!("expected, too");
                }
            }
            assert_eq!(wait(&fork(&[], || std::panic::panic_any(Nasty)).unwrap()), Exit::Code(PANICKED));
        }

        fn private_descriptors_are_closed_and_the_others_stay_open() {
            let null = std::fs::File::open("/dev/null").unwrap();
            let more: Vec<_> = (0..3).map(|_| null.try_clone().unwrap()).collect();
            let child = fork(&[more[0].as_fd(), more[2].as_fd()], || {
                let is_open = |file: &std::fs::File| std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
                let open = more.iter().map(|file| i32::from(is_open(file).is_ok()));
                // Read as a binary number: the second alone.
                open.fold(0, |number, bit| 2 * number + bit)
            })
            .unwrap();
            assert_eq!(wait(&child), Exit::Code(0b010));
            assert!(more.iter().all(|file| file.metadata().is_ok()), "they are the parent's still");
        }

        fn signals_are_as_in_a_new_process() {
            signal::ignore(15).unwrap();
            let _mask = served::block(&[15]).unwrap();
            let child = fork(&[], || {
                loop {
                    std::thread::park();
                }
            })
            .unwrap();
            child.send_signal(15).unwrap();
            assert_eq!(wait(&child), Exit::Signal { signal: 15, core: false });
            assert!(child.send_signal(15).is_err());
        }
    }
}
