//! The workers as the scheduler sees them: who is there, at what stage, with what in flight. Called by the scheduler.

use std::time::Instant;

use super::{Seq, Ticket, WorkerId};

/// Where a worker stands between being wanted and being gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The engine was told to start a process.
    Spawning,
    /// The process is there, and has not said that it is ready.
    Starting,
    Ready,
    /// Told to leave, or killed; it gets nothing more. What it has in flight is settled when it is dead.
    Leaving,
}

/// An offer that a worker has.
#[derive(Debug)]
pub(in crate::pool::processes) struct Flight<W> {
    pub(in crate::pool::processes) work: W,
    pub(in crate::pool::processes) ticket: Ticket,
    pub(in crate::pool::processes) seq: Seq,
    /// 1 for the first time, one more for each retry.
    pub(in crate::pool::processes) attempt: u32,
    /// The items whose results have arrived, from the front.
    pub(in crate::pool::processes) received: u32,
    /// How many workers died before they began it, with nothing else to do.
    pub(super) bounces: u32,
    /// Known to have begun. False says nothing.
    pub(super) begun: bool,
}

#[derive(Debug)]
pub(super) struct Worker<W> {
    pub(super) id: WorkerId,
    pub(super) stage: Stage,
    pub(super) lanes: [Option<Flight<W>>; 2],
    /// An offer was taken back that the worker has yet to find and pass over: no second piece until it has moved on,
    /// so that such leftovers do not pile up in its socket.
    pub(super) stale: bool,
    /// It has finished something.
    pub(super) settled: bool,
    pub(super) ready_at: Option<Instant>,
    /// Told by the pool to leave, so that its end is no surprise.
    pub(super) dismissed: bool,
    /// SIGKILL was sent.
    pub(super) killed: bool,
    /// When the next stronger measure against a worker that should leave is due.
    pub(super) act_at: Option<Instant>,
    last_seq: Seq,
}

impl<W> Worker<W> {
    pub(super) fn load(&self) -> usize {
        self.lanes.iter().flatten().count()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Ready && self.load() == 0
    }

    pub(super) fn is_coming(&self) -> bool {
        self.ready_at.is_none() && !self.dismissed
    }

    /// The later of two offers, unless it is known to have begun.
    pub(super) fn waiting(&self) -> Option<(usize, Seq)> {
        let [Some(first), Some(second)] = &self.lanes else { return None };
        // Serial numbers, so that the comparison survives their wrapping around.
        let lane = usize::from(second.seq.wrapping_sub(first.seq) < Seq::MAX / 2);
        let later = if lane == 1 { second } else { first };
        (self.stage == Stage::Ready && !later.begun).then_some((lane, later.seq))
    }

    /// Puts work into a free lane; says which, and what the offer is called.
    pub(super) fn take(&mut self, ticket: Ticket, work: W, attempt: u32, bounces: u32) -> (usize, Seq) {
        self.last_seq = self.last_seq.checked_add(1).unwrap_or(1);
        let (lane, seq) = (usize::from(self.lanes[0].is_some()), self.last_seq);
        self.lanes[lane] = Some(Flight { work, ticket, seq, attempt, received: 0, bounces, begun: false });
        (lane, seq)
    }

    pub(super) fn leave(&mut self, act_at: Instant, killed: bool) {
        self.stage = Stage::Leaving;
        self.act_at = Some(act_at);
        self.killed |= killed;
    }
}

/// All workers, in the order in which they were hired.
#[derive(Debug)]
pub(super) struct Shift<W> {
    workers: Vec<Worker<W>>,
    lanes: usize,
    hired: usize,
}

impl<W> Shift<W> {
    pub(super) fn new(lanes: usize) -> Self {
        Self { workers: Vec::new(), lanes, hired: 0 }
    }

    pub(super) fn hire(&mut self) -> WorkerId {
        let id = WorkerId(self.hired);
        self.hired += 1;
        self.workers.push(Worker {
            id,
            stage: Stage::Spawning,
            lanes: [None, None],
            stale: false,
            settled: false,
            ready_at: None,
            dismissed: false,
            killed: false,
            act_at: None,
            last_seq: 0,
        });
        id
    }

    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker<W>> {
        let at = self.workers.iter().position(|worker| worker.id == id)?;
        Some(self.workers.remove(at))
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker<W>> {
        self.workers.iter().find(|worker| worker.id == id)
    }

    pub(super) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker<W>> {
        self.workers.iter_mut().find(|worker| worker.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Worker<W>> {
        self.workers.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker<W>> {
        self.workers.iter_mut()
    }

    pub(super) fn flights(&self) -> impl Iterator<Item = &Flight<W>> {
        self.workers.iter().flat_map(|worker| worker.lanes.iter().flatten())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// How many are there or coming, without those that were told to leave. One that is about to die counts until its
    /// death is known, and with it whether it was ever ready.
    pub(super) fn staying(&self) -> usize {
        self.workers.iter().filter(|worker| !worker.dismissed).count()
    }

    /// Who should get the next piece of work, if anybody may.
    pub(super) fn least_loaded(&mut self) -> Option<&mut Worker<W>> {
        let lanes = self.lanes;
        let may = |worker: &&mut Worker<W>| {
            let load = worker.load();
            worker.stage == Stage::Ready && load < lanes && (load == 0 || !worker.stale)
        };
        self.workers.iter_mut().filter(may).min_by_key(|worker| worker.load())
    }

    /// The offers of which this is true: who has them, in which lane, and what they are called.
    pub(super) fn offers(&self, which: impl Fn(&Flight<W>) -> bool) -> impl Iterator<Item = (WorkerId, usize, Seq)> {
        let all = self.workers.iter().flat_map(|worker| {
            worker.lanes.iter().enumerate().filter_map(|(lane, flight)| Some((worker.id, lane, flight.as_ref()?)))
        });
        all.filter(move |(.., flight)| which(flight)).map(|(id, lane, flight)| (id, lane, flight.seq))
    }
}
