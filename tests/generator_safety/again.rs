//! A test that ends its process, or changes its limits: the body runs in this program, started again for it alone.

use std::process::{Command, Output};

const VARIABLE: &str = "CREWKIT_TEST_AGAIN";

/// What the process prints when the body has come to its end: a misspelt test would print nothing.
const END: &str = "again: to the end";

/// Runs `body` in a process of its own, where this test is the only one, and gives that process's end and output. In that
/// process it does not return.
pub(crate) fn alone(test: &str, body: impl FnOnce()) -> Output {
    if std::env::var(VARIABLE).is_ok_and(|name| name == test) {
        body();
        println!("{END}");
        std::process::exit(0);
    }
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(VARIABLE, test).env("RUST_BACKTRACE", "0");
    command.output().expect("this program, again")
}

/// That the process ended well, and what it printed.
#[track_caller]
pub(crate) fn well(output: &Output) -> String {
    let printed = printed(output);
    assert!(output.status.success() && printed.contains(END), "{:?}\n{printed}", output.status);
    printed
}

/// What a process printed on both streams.
pub(crate) fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
