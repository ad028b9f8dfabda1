//! What happens to threads when their process ends, or is forked. Each case is a whole program, run in a process of its
//! own, whose output and end are looked at from outside; so this is no program of libtest's, although it understands
//! `--list`, `--exact` and name filters, too. No case waits for time to pass.

mod endings;
mod forks;
mod hooks;
mod late;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

/// A case: its name, what its process does from `main` on, and what is to be seen of that.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) program: fn(),
    pub(crate) check: fn(&Seen),
}

/// The case that is named like its program.
macro_rules! case {
    ($program:ident, $check:expr) => {
        Case { name: stringify!($program), program: $program, check: $check }
    };
}
pub(crate) use case;

/// What a process left.
pub(crate) struct Seen {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Seen {
    /// It ended with this code, and said just this.
    #[track_caller]
    pub(crate) fn is(&self, code: i32, out: &str) {
        assert_eq!(
            (self.code, self.out.as_str(), self.err.as_str()),
            (Some(code), out, ""),
            "signal {:?}",
            self.signal
        );
    }
}

const VARIABLE: &str = "CREWKIT_TEST_CASE";
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let cases: Vec<&Case> = [endings::CASES, forks::CASES, hooks::CASES, late::CASES].into_iter().flatten().collect();
    if let Ok(name) = std::env::var(VARIABLE) {
        std::thread::spawn(|| {
            std::thread::sleep(PATIENCE);
            eprintln!("the process hangs");
            std::process::abort();
        });
        let case = cases.iter().find(|case| case.name == name).expect("a case of this name");
        (case.program)();
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_meant = |name: &str, filter: &str| if has("--exact") { name == filter } else { name.contains(filter) };
    let chosen =
        cases.iter().filter(|case| filters.is_empty() || filters.iter().any(|filter| is_meant(case.name, filter)));
    if has("--list") {
        // No case is ever ignored.
        chosen.filter(|_| !has("--ignored")).for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<_> = chosen.collect();
    println!("\nrunning {} tests", chosen.len());
    let failed = chosen.iter().filter(|case| !passes(case)).count();
    let (passed, filtered) = (chosen.len() - failed, cases.len() - chosen.len());
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {filtered} filtered out\n"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn passes(case: &Case) -> bool {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).env(VARIABLE, case.name).output().expect("a child");
    let seen = Seen::from(output);
    let passed = std::panic::catch_unwind(|| (case.check)(&seen)).is_ok();
    println!("test {} ... {}", case.name, if passed { "ok" } else { "FAILED" });
    passed
}

impl From<Output> for Seen {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// Waits until the process has begun to end, as threads see it.
pub(crate) fn until_main_ends() {
    crewkit::thread::main().wait().expect("not the main thread");
}

/// Waits for ever.
pub(crate) fn never() -> ! {
    loop {
        std::thread::park();
    }
}
