//! How a pool starts a worker: the same each time, on whatever thread.

use std::os::fd::{AsFd, OwnedFd};

use super::ledger;
use super::scheduler::WorkerId;
use super::worker;
use crate::ipc::Fd;
use crate::process::function::Function;
use crate::process::{self, Process, SpawnError, StartMethod};
use crate::shm::Segment;
use crate::sys::socket;

/// What all workers of a pool have in common.
pub(super) struct Recipe {
    pub(super) start_method: StartMethod,
    pub(super) initializer: Option<(Function, Vec<u8>)>,
}

/// A worker that was just started, and the owner's ends of what joins the two.
pub(super) struct Hired {
    pub(super) process: Process<()>,
    pub(super) socket: OwnedFd,
    pub(super) segment: Segment,
}

impl Recipe {
    /// Starts a worker. It leads a process group of its own, so that a signal from the terminal does not reach it, and
    /// reads end of file from its standard input.
    pub(super) fn hire(&self, id: WorkerId) -> Result<Hired, SpawnError> {
        let (socket, theirs) = socket::seqpacket_pair()?;
        let segment = Segment::create(ledger::BYTES)?;
        let shared = segment.as_fd().try_clone_to_owned()?;
        let job = worker::Job { socket: Fd(theirs), segment: Fd(shared), initializer: self.initializer.clone() };
        let process = process::Builder::new()
            .name(format!("crewkit-pool-{}", id.0))
            .start_method(self.start_method)
            .own_group(true)
            .daemon(true)
            .kill_on_drop(true)
            .spawn(worker::main, job)?;
        Ok(Hired { process, socket, segment })
    }
}
