//! CPython's `multiprocessing.Pool`, driven through `multiprocessing_pool.py`.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::contest::Outcome;
use crate::role::PeerProcess;

/// The script, beside this crate's `Cargo.toml`.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/multiprocessing_pool.py");

/// How the pool is used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Method {
    /// `pool.apply`, one call after the other.
    Apply,
    /// `pool.map` with the chunk size that it chooses itself.
    Map,
    /// `pool.map` with `chunksize=1`.
    MapSingly,
}

impl Method {
    /// The script's word for it.
    fn word(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Map => "map",
            Self::MapSingly => "map-singly",
        }
    }

    /// The report's.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Apply => "CPython Pool.apply",
            Self::Map => "CPython Pool.map",
            Self::MapSingly => "CPython Pool.map(chunksize=1)",
        }
    }
}

/// A running interpreter with a pool of workers.
pub(crate) struct Python {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Behind the pipes, because it ends when they are closed.
    _process: PeerProcess,
}

impl Python {
    /// Starts the interpreter and waits until its pool has answered once.
    pub(crate) fn start(workers: usize) -> Outcome<Self> {
        let spawned = Command::new("python3")
            .args([SCRIPT, &workers.to_string()])
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
            other => Err(format!("python3 said {other:?}").into()),
        }
    }

    /// Lets the script do `operations` operations; how long they took by its clock, and the sum of the results.
    pub(crate) fn measure(&mut self, method: Method, operations: u64) -> Outcome<(Duration, u64)> {
        writeln!(self.requests, "{} {operations}", method.word())?;
        let line = self.line()?;
        let (nanoseconds, sum) = line.split_once(' ').ok_or_else(|| format!("python3 said {line:?}"))?;
        Ok((Duration::from_nanos(nanoseconds.parse()?), sum.parse()?))
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
