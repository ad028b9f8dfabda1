//! A server under test: a child process, the lines it prints, and its workers.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The seconds, with the allowance for a busy machine.
pub(crate) fn allowed(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds * 5.0)
}

/// The longest any wait of these tests takes; only a fault takes that long.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A program built beside this test. `cargo test` builds it; `cargo test --test prefork` does not, and would test the
/// one of yesterday, so cargo is asked again, which takes no time if there is nothing to do.
pub(crate) fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let test = std::env::current_exe().expect("this program's path");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/prefork");
    BUILT.get_or_init(|| {
        let names = ["--example", "prefork_server", "--example", "prefork_probe"];
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet"]).args(names).current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.env("CARGO_TARGET_DIR", profile.parent().expect("target"));
        match profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => &mut cargo,
            Some(profile) => cargo.args(["--profile", profile]),
        };
        let built = cargo.stdin(Stdio::null()).output().expect("cargo");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    });
    let path = profile.join("examples").join(name);
    assert!(path.exists(), "{} is missing: `cargo build --examples` builds it", path.display());
    path
}

/// A running server. Dropping it kills whatever is left of it.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    pub(crate) heard: Vec<String>,
    pub(crate) addr: SocketAddr,
    /// Every worker that was ever mentioned.
    pids: BTreeSet<u32>,
    ended: bool,
}

impl Server {
    /// Starts it on a free port and waits until `workers` of them serve.
    pub(crate) fn start(command: &mut Command, workers: usize) -> Self {
        let mut server = Self::start_cold(command);
        server.wait_for(workers, "ready, serves");
        server
    }

    /// Starts it and waits for its first line.
    pub(crate) fn start_cold(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the server");
        let stdout = child.stdout.take().expect("piped");
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, lines, heard: Vec::new(), addr, pids: BTreeSet::new(), ended: false };
        let line = server.wait_for(1, "started: master");
        server.addr = line.split(' ').nth(5).and_then(|addr| addr.parse().ok()).expect("an address");
        assert!(line.starts_with(&format!("started: master {} ", server.master())), "{line}");
        server
    }

    pub(crate) fn master(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.master(), signal);
    }

    /// Waits until `count` more lines with `text` have come; the last one.
    pub(crate) fn wait_for(&mut self, count: usize, text: &str) -> String {
        let deadline = Instant::now() + LONG;
        let mut left = count;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.hear(line.clone());
                    left -= usize::from(found);
                    if left == 0 {
                        return line;
                    }
                }
                Err(error) => {
                    let mut stderr = String::new();
                    if error == RecvTimeoutError::Disconnected {
                        let _ = self.child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut stderr));
                    }
                    panic!("no line {text:?} ({left} of {count} missing): {error}; heard {:#?}\n{stderr}", self.heard);
                }
            }
        }
    }

    /// Takes in what was printed so far.
    pub(crate) fn listen(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.hear(line);
        }
    }

    fn hear(&mut self, line: String) {
        for pair in line.split(' ').collect::<Vec<_>>().windows(2) {
            if let ["worker", pid] = pair {
                self.pids.extend(pid.trim_end_matches(':').parse::<u32>());
            }
        }
        self.heard.push(line);
    }

    pub(crate) fn heard_with(&self, text: &str) -> usize {
        self.heard.iter().filter(|line| line.contains(text)).count()
    }

    /// The pids of the master's children now, zombies included.
    pub(crate) fn children(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.master());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Waits until there are `count` children.
    pub(crate) fn wait_for_children(&self, count: usize) -> Vec<u32> {
        wait_until(|| self.children().len() == count, &format!("{count} children"));
        self.children()
    }

    /// What the master has open, without the numbers.
    pub(crate) fn descriptors(&self, pid: u32) -> Vec<String> {
        let mut open: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("/proc")
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .map(|target| target.display().to_string())
            .map(|target| target.split(":[").next().unwrap_or_default().to_owned())
            .collect();
        open.sort();
        open
    }

    /// Waits for the master's end, and checks that nobody else is left.
    pub(crate) fn wait(&mut self, time: Duration) -> ExitStatus {
        let deadline = Instant::now() + time;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            assert!(Instant::now() < deadline, "the master has not ended in {time:?}; heard {:#?}", self.heard);
            std::thread::sleep(Duration::from_millis(1));
        };
        self.ended = true;
        self.listen_to_the_end();
        let left: Vec<u32> = self.pids.iter().copied().filter(|&pid| is_alive(pid)).collect();
        assert_eq!(left, [], "the master has ended, and these workers have not");
        status
    }

    fn listen_to_the_end(&mut self) {
        while let Ok(line) = self.lines.recv_timeout(LONG) {
            self.hear(line);
        }
    }

    pub(crate) fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut text).expect("text");
        }
        text
    }

    /// Kills the master alone, and waits until every worker is gone.
    pub(crate) fn kill_master(&mut self, time: Duration) {
        let workers = self.children();
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
        self.ended = true;
        let since = Instant::now();
        while workers.iter().any(|&pid| is_alive(pid)) {
            assert!(since.elapsed() < time, "{workers:?} outlive their master");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.ended {
            let workers = self.children();
            let _ = self.child.kill();
            let _ = self.child.wait();
            for pid in workers {
                if is_alive(pid) {
                    send(pid, Signal::SIGKILL);
                }
            }
        }
    }
}

pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    // It may have ended.
    let _ = kill(pid, signal);
}

/// Whether a process runs. One that nobody has reaped does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Waits until something is so.
pub(crate) fn wait_until(mut so: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + LONG;
    while !so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
