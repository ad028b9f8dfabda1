//! What the master tells whoever runs it: one value, and one line, per event.

use std::fmt;
use std::net::SocketAddr;

use crate::process::Exit;

/// Something that happened to the server, for logs. Its `Display` is one line, which begins with a word that names the
/// kind of event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The master listens. Workers follow.
    Started {
        /// The address, with the port that the kernel chose if 0 was asked for.
        addr: SocketAddr,
        /// The master's pid.
        pid: u32,
        /// How many workers there will be.
        workers: usize,
        /// How many threads each will have.
        threads: usize,
    },
    /// A worker was forked.
    WorkerStarted {
        /// Its pid.
        pid: u32,
        /// Its place in the crew.
        seat: usize,
        /// Its generation.
        generation: u64,
    },
    /// A worker was forked in the place of one that died.
    Respawned {
        /// The new worker's pid.
        pid: u32,
        /// Its place in the crew.
        seat: usize,
        /// The dead worker's pid.
        replaces: u32,
        /// What the dead one died of.
        cause: Exit,
    },
    /// A worker is ready and was told to serve.
    WorkerServes {
        /// Its pid.
        pid: u32,
        /// Its place in the crew.
        seat: usize,
        /// Its generation.
        generation: u64,
    },
    /// A worker could not boot, and says why.
    BootFailed {
        /// Its pid.
        pid: u32,
        /// Its own words.
        why: String,
    },
    /// A worker stops accepting and finishes what it has.
    WorkerDrains {
        /// Its pid.
        pid: u32,
    },
    /// The master kills a worker.
    WorkerKilled {
        /// Its pid.
        pid: u32,
        /// Why.
        why: &'static str,
    },
    /// A worker ended that had been asked to.
    WorkerEnded {
        /// Its pid.
        pid: u32,
        /// How.
        exit: Exit,
    },
    /// A worker ended that had not been asked to.
    WorkerDied {
        /// Its pid.
        pid: u32,
        /// Its place in the crew.
        seat: usize,
        /// What it died of.
        cause: Exit,
    },
    /// A worker could not be forked; it will be tried again.
    ForkFailed {
        /// The place in the crew.
        seat: usize,
        /// Why.
        why: String,
    },
    /// A request panicked. Its connection was closed; the worker serves on.
    ServicePanicked {
        /// The worker's pid.
        pid: u32,
        /// The panic's message.
        message: String,
    },
    /// A worker has no descriptor or no memory for another connection. It pauses and tries again.
    Starved {
        /// The worker's pid.
        pid: u32,
    },
    /// A worker's listening socket failed. It drains, and another one follows.
    ListenerFailed {
        /// The worker's pid.
        pid: u32,
        /// Why.
        why: String,
    },
    /// A reload begins: a new generation boots.
    ReloadBegins {
        /// The new generation.
        generation: u64,
    },
    /// A reload was asked for while one is under way, and will follow it.
    ReloadQueued,
    /// The new generation serves, and the old one drains.
    Reloaded {
        /// The new generation.
        generation: u64,
    },
    /// The new generation did not boot, and was dropped. The old one serves on.
    ReloadDropped {
        /// The new generation.
        generation: u64,
    },
    /// There will be this many workers from now on.
    Scaled {
        /// How many.
        workers: usize,
    },
    /// The number of workers stays: one is the least, and there is a most.
    NotScaled {
        /// How many.
        workers: usize,
    },
    /// The master stops listening, and its workers finish what they have.
    Draining,
    /// The master ends at once.
    Quitting,
    /// Every worker has ended, and so does the master.
    Stopped {
        /// How many workers had to be killed.
        killed: usize,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { addr, pid, workers, threads } => {
                let (s, t) = (plural(*workers), plural(*threads));
                write!(f, "started: master {pid} listens on {addr} for {workers} worker{s} of {threads} thread{t}")
            }
            Self::WorkerStarted { pid, seat, generation } => {
                write!(f, "worker {pid}: started (seat {seat}, generation {generation})")
            }
            Self::Respawned { pid, seat, replaces, cause } => {
                write!(f, "respawned: worker {pid} (seat {seat}) replaces {replaces}, which died of {cause}")
            }
            Self::WorkerServes { pid, seat, generation } => {
                write!(f, "worker {pid}: ready, serves (seat {seat}, generation {generation})")
            }
            Self::BootFailed { pid, why } => write!(f, "worker {pid}: cannot boot: {why}"),
            Self::WorkerDrains { pid } => write!(f, "worker {pid}: drains"),
            Self::WorkerKilled { pid, why } => write!(f, "worker {pid}: killed: {why}"),
            Self::WorkerEnded { pid, exit } => write!(f, "worker {pid}: ended with {exit}"),
            Self::WorkerDied { pid, seat, cause } => write!(f, "died: worker {pid} (seat {seat}) of {cause}"),
            Self::ForkFailed { seat, why } => write!(f, "fork failed (seat {seat}), will be tried again: {why}"),
            Self::ServicePanicked { pid, message } => write!(f, "worker {pid}: a request panicked: {message}"),
            Self::Starved { pid } => write!(f, "worker {pid}: no descriptor or memory for another connection; waits"),
            Self::ListenerFailed { pid, why } => write!(f, "worker {pid}: cannot accept: {why}"),
            Self::ReloadBegins { generation } => write!(f, "reload: generation {generation} boots"),
            Self::ReloadQueued => f.write_str("reload: one is under way; another will follow"),
            Self::Reloaded { generation } => write!(f, "reload: generation {generation} serves, the old one drains"),
            Self::ReloadDropped { generation } => {
                write!(f, "reload: generation {generation} does not boot and was dropped; the old one serves on")
            }
            Self::Scaled { workers } => write!(f, "scaled: {workers} worker{} from now on", plural(*workers)),
            Self::NotScaled { workers } => write!(f, "scaled: not; {workers} worker{} stay", plural(*workers)),
            Self::Draining => f.write_str("drain: no new connections; requests in progress are finished"),
            Self::Quitting => f.write_str("quit: at once"),
            Self::Stopped { killed: 0 } => f.write_str("stopped: every worker has ended"),
            Self::Stopped { killed } => write!(f, "stopped: {killed} worker{} had to be killed", plural(*killed)),
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_well() {
        let killed = Exit::Signal { signal: 9, core: false };
        let respawned = Event::Respawned { pid: 12, seat: 1, replaces: 11, cause: killed };
        assert_eq!(
            respawned.to_string(),
            "respawned: worker 12 (seat 1) replaces 11, which died of signal 9 (SIGKILL)"
        );
        let addr = "127.0.0.1:80".parse().unwrap();
        let started = Event::Started { addr, pid: 7, workers: 2, threads: 1 };
        assert_eq!(started.to_string(), "started: master 7 listens on 127.0.0.1:80 for 2 workers of 1 thread");
    }
}
