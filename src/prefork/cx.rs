//! What the service knows of the worker that it runs in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::scoreboard::{Board, Scoreboard};

/// The worker, as the service sees it.
#[derive(Debug)]
pub struct WorkerCx {
    pub(super) scoreboard: Scoreboard,
    pub(super) slot: usize,
    pub(super) seat: usize,
    pub(super) pid: u32,
    pub(super) generation: u64,
    pub(super) draining: AtomicBool,
}

impl WorkerCx {
    pub(super) fn new(board: Arc<Board>, slot: usize, seat: usize, generation: u64) -> Self {
        let pid = std::process::id();
        Self { scoreboard: Scoreboard(board), slot, seat, pid, generation, draining: AtomicBool::new(false) }
    }

    /// This worker's place on the scoreboard. Another living worker never has the same.
    #[must_use]
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// This worker's place in the crew, from 0; a replacement has the seat of the worker that it replaces.
    #[must_use]
    pub fn seat(&self) -> usize {
        self.seat
    }

    /// This worker's pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// This worker's generation: 1, and one more for each reload.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the worker finishes what it has and then ends. Requests are still to be answered; an answer in a
    /// protocol that can say so (`Connection: close`) should say that it is the last one on its connection.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// What all workers do.
    #[must_use]
    pub fn scoreboard(&self) -> &Scoreboard {
        &self.scoreboard
    }
}
