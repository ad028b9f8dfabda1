//! CPython, driven through the scripts beside this crate's `Cargo.toml`.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::contest::{Cost, Outcome};
use crate::role::PeerProcess;

/// A running interpreter that does as it is told.
pub(crate) struct Python {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Behind the pipes, because it ends when they are closed.
    _process: PeerProcess,
}

impl Python {
    /// Starts the interpreter with one of the scripts, and waits until that is ready.
    pub(crate) fn start(script: &str, argument: &str) -> Outcome<Self> {
        let spawned = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
            .arg(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child: Child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err("python3 is not installed here".into()),
            Err(error) => return Err(error.into()),
        };
        let requests = child.stdin.take().ok_or("no pipe to python3")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe from python3")?);
        let mut python = Self { requests, answers, _process: PeerProcess(child) };
        match python.line()?.as_str() {
            "ready" => Ok(python),
            other => Err(format!("python3: {other}").into()),
        }
    }

    /// Lets the script do `operations` operations; what they cost by its account, and the sum of the results.
    pub(crate) fn measure(&mut self, method: &str, operations: u64) -> Outcome<(Cost, u64)> {
        writeln!(self.requests, "{method} {operations}")?;
        let line = self.line()?;
        let (cost, sum) = line.split_once(' ').ok_or_else(|| format!("python3 said {line:?}"))?;
        Ok((Cost(cost.parse()?), sum.parse()?))
    }

    /// The script's next line.
    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("python3 ended".into());
        }
        Ok(line.trim().to_owned())
    }
}
