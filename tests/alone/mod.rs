//! A harness for tests that need a one-threaded process of their own: to fork in, to count descriptors in, to change
//! limits and signal handlers of. Each case runs in a re-executed child of the test program; a case that hangs is ended
//! by its own alarm. Understands `--list`, `--exact` and name filters, as the usual harness does.
//!
//! # Safety
//!
//! [`fork`] checks that the process has one thread, and so may run any code in the child.

#![expect(unsafe_code, reason = "fork, in a process that has one thread")]

use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::time::Instant;

use crewkit::ipc::{Connection, pipe};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm};

/// A test: its name and what it does.
pub(crate) type Case = (&'static str, fn());

const VARIABLE: &str = "CREWKIT_TEST_CASE";
const SECONDS_PER_CASE: u32 = 120;

/// Runs the cases that the command line names, each in a process of its own.
pub(crate) fn main(cases: &[Case]) -> ExitCode {
    if let Ok(name) = std::env::var(VARIABLE) {
        let case = cases.iter().find(|case| case.0 == name);
        alarm::set(SECONDS_PER_CASE);
        case.map(|case| case.1()).expect("a case of this name");
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = cases.iter().filter(|(name, _)| {
        let matches =
            |filter: &&String| if has("--exact") { filter.as_str() == *name } else { name.contains(&***filter) };
        filters.is_empty() || filters.iter().any(matches)
    });
    if has("--list") {
        // No case is ever ignored.
        chosen.filter(|_| !has("--ignored")).for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<&str> = chosen.map(|(name, _)| *name).collect();
    println!("\nrunning {} tests", chosen.len());
    let begin = Instant::now();
    let failed = chosen.iter().filter(|name| !passes(name)).count();
    let (passed, filtered) = (chosen.len() - failed, cases.len() - chosen.len());
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {filtered} filtered out; \
         finished in {:.2}s\n",
        begin.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn passes(name: &str) -> bool {
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(program).env(VARIABLE, name).status().expect("a child");
    println!("test {name} ... {}", if status.success() { "ok" } else { "FAILED" });
    status.success()
}

/// How many descriptors this process has open.
pub(crate) fn open_fds() -> usize {
    // One of them is the directory being read.
    std::fs::read_dir("/proc/self/fd").expect("/proc").count() - 1
}

/// A forked child, killed and reaped when this is dropped.
pub(crate) struct Child(Pid);

/// What a child's body gives: its exit code, or nothing when all went well.
pub(crate) trait Code {
    fn code(self) -> i32;
}

impl Code for () {
    fn code(self) -> i32 {
        0
    }
}

impl Code for i32 {
    fn code(self) -> i32 {
        self
    }
}

/// Forks; the child runs `body` and ends. A panic in it is the child's exit code 101. What `body` has captured by value
/// is dropped here, and so is the child's alone.
pub(crate) fn fork<C: Code>(body: impl FnOnce() -> C) -> Child {
    let threads = std::fs::read_dir("/proc/self/task").expect("/proc").count();
    assert_eq!(threads, 1, "only a process with one thread may fork here");
    // SAFETY: this process has one thread, so its child may do what it may do.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        ForkResult::Parent { child } => Child(child),
        ForkResult::Child => {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).expect("prctl");
            let code = catch_unwind(AssertUnwindSafe(body)).map_or(101, Code::code);
            // SAFETY: _exit ends the process without running code of the parent's.
            unsafe { libc::_exit(code) }
        }
    }
}

impl Child {
    pub(crate) fn pid(&self) -> Pid {
        self.0
    }

    /// Kills the child, and waits until it is gone.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Waits until the child has ended by itself.
    pub(crate) fn exit_code(self) -> i32 {
        let status = waitpid(self.0, None).expect("waitpid");
        let WaitStatus::Exited(_, code) = status else { panic!("{status:?}") };
        self.reaped();
        code
    }

    /// Somebody has seen the child's end.
    pub(crate) fn reaped(self) {
        let _nothing_to_reap = ManuallyDrop::new(self);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        kill(self.0, Signal::SIGKILL).expect("kill");
        waitpid(self.0, None).expect("waitpid");
    }
}

/// A child that has the other end of a new pipe, and no copy of this one.
pub(crate) fn peer<S, R, C: Code>(body: impl FnOnce(Connection<R, S>) -> C) -> (Connection<S, R>, Child) {
    let (near, far) = pipe().expect("a pipe");
    let (mut near, mut far) = (Some(near), Some(far));
    let child = fork(|| {
        drop(near.take());
        body(adopt(far.take().expect("not taken yet")))
    });
    drop(far);
    (near.expect("taken in the child only"), child)
}

/// This process's own end, made of one that it inherited by fork; the inherited copy is closed.
pub(crate) fn adopt<S, R>(inherited: Connection<S, R>) -> Connection<S, R> {
    let own = inherited.as_fd().try_clone_to_owned().expect("a duplicate");
    Connection::from(own)
}
