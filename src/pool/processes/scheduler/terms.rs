//! The words in which the scheduler and the engine speak of work and workers.

use std::ops::Range;
use std::time::Duration;

/// Something to be done: one or more items that are sent together, and may be cut.
pub(in crate::pool::processes) trait Work: Sized {
    /// How many items it has; at least one.
    fn items(&self) -> u32;
    /// How many times more an item that was begun and lost is tried.
    fn retries(&self) -> u32;
    /// Some of its items as work of their own.
    fn cut(&self, items: Range<u32>) -> Self;
}

/// Names a piece of work from submission to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::pool::processes) struct Ticket(pub(in crate::pool::processes) u64);

/// Names one incarnation of a worker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::pool::processes) struct WorkerId(pub(in crate::pool::processes) usize);

/// Names one offer to one worker. Never zero.
pub(in crate::pool::processes) type Seq = u32;

/// How far a worker got with an offer, by the word it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool::processes) enum Begun {
    Nothing,
    /// This item, counted within the offer, and nothing after it.
    Item(u32),
}

/// Why work comes back undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool::processes) enum Undone {
    /// A worker died in it; `attempts` were made.
    Lost { attempts: u32 },
    /// So many workers died with it in their hands, though none began it, that it is taken for the cause.
    Shunned,
    /// It never began, and the pool will not begin it any more.
    NeverBegun,
}

/// What is to be done by whoever owns the processes.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pool::processes) enum Action<W> {
    /// Start a process; answer with `spawned` or `spawn_failed`.
    Spawn(WorkerId),
    /// Send the work in this lane (`flight_mut`).
    Offer { worker: WorkerId, lane: usize, seq: Seq },
    /// Try to take an offer back before it begins; answer with `taken_back` or `kept`.
    TakeBack { worker: WorkerId, lane: usize, seq: Seq },
    /// Tell a worker that there is nothing more to come.
    Dismiss(WorkerId),
    /// Ask it by SIGTERM, or make it by SIGKILL.
    Signal { worker: WorkerId, kill: bool },
    /// A killed worker does not go: take it for dead (`died`).
    GiveUpOn(WorkerId),
    /// This work will not be done.
    Return { work: W, why: Undone },
}

/// Where work was that should be cancelled.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pool::processes) enum Cancel<W> {
    /// In the queue; here it is.
    Queued(W),
    /// With a worker, which may not have begun it: try [`Action::TakeBack`]'s way.
    Offered { worker: WorkerId, lane: usize, seq: Seq },
    /// Done, lost or cancelled already.
    Gone,
}

/// Whether the pool takes, does, or ends its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool::processes) enum Phase {
    /// Work is taken and done.
    Open,
    /// What is there is done, nothing more is taken; then the workers leave.
    Closing,
    /// The workers are being ended.
    Terminating,
    /// No worker could be started; otherwise as `Terminating`.
    Broken,
}

/// What a scheduler is told once.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool::processes) struct Policy {
    /// How many workers there should be; at least one.
    pub(in crate::pool::processes) workers: usize,
    /// How many offers a worker may hold: one that runs, and one that waits so that it need not wait for the owner.
    pub(in crate::pool::processes) lanes: usize,
    /// The time between SIGTERM and SIGKILL.
    pub(in crate::pool::processes) patience: Duration,
}

/// Running totals, in items where that makes a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pool::processes) struct Totals {
    pub(in crate::pool::processes) completed: u64,
    pub(in crate::pool::processes) lost: u64,
    pub(in crate::pool::processes) retried: u64,
    pub(in crate::pool::processes) deaths: u64,
}
