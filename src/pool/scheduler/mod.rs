//! What the pool does next: a pure state machine. Events are method calls, actions come out in a list; it knows no
//! process, no socket, no clock. The engine carries the actions out; `README.md` draws the states.
//!
//! Invariants:
//!
//! 1. A piece of work is in exactly one place: the queue, one lane of one worker, or handed out for good.
//! 2. A worker has at most `lanes` (1 or 2) pieces in flight, and none before it said that it is ready.
//! 3. An item that a worker began is never given out again unless its work asked for retries.
//! 4. Only a worker that is `Ready` is offered work; a worker leaves the table when it is known to be dead.

mod shift;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use shift::{Flight, Shift, Stage, Worker};

/// The spawn attempts in a row that may fail while no worker is ready, before the pool gives up.
pub(super) const START_FAILURES: u32 = 5;
/// The pause after a failed spawn doubles from the first of these to the second.
const BACK_OFF: Range<Duration> = Duration::from_millis(10)..Duration::from_secs(1);
/// A worker that lived shorter than this without beginning anything says that something is wrong with workers.
const SETTLED: Duration = Duration::from_secs(1);
/// How long a worker that was told to leave may take before it is killed.
const LEAVE: Duration = Duration::from_secs(5);
/// How long a killed worker may take to be gone before the pool ends without it.
const GONE: Duration = Duration::from_secs(5);

/// Something to be done: one or more items that are sent together, and may be cut.
pub(super) trait Work: Sized {
    /// How many items it has; at least one.
    fn items(&self) -> u32;
    /// How many times more an item that was begun and lost is tried.
    fn retries(&self) -> u32;
    /// Some of its items as work of their own.
    fn cut(&self, items: Range<u32>) -> Self;
}

/// Names a piece of work from submission to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(pub(super) u64);

/// Names one incarnation of a worker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WorkerId(pub(super) usize);

/// Names one offer to one worker. Never zero.
pub(super) type Seq = u32;

/// How far a worker got with an offer, by the word it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Nothing,
    /// This item, counted within the offer, and nothing after it.
    Item(u32),
}

/// Why work comes back undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undone {
    /// A worker died in it; `attempts` were made.
    Lost { attempts: u32 },
    /// It never began, and the pool will not begin it any more.
    NeverBegun,
}

/// What is to be done by whoever owns the processes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action<W> {
    /// Start a process; answer with [`Scheduler::spawned`] or [`Scheduler::spawn_failed`].
    Spawn(WorkerId),
    /// Send the work in this lane ([`Scheduler::flight_mut`]).
    Offer { worker: WorkerId, lane: usize },
    /// Try to take an offer back before it begins; answer with [`Scheduler::taken_back`] or [`Scheduler::kept`].
    TakeBack { worker: WorkerId, lane: usize },
    /// Tell a worker that there is nothing more to come.
    Dismiss(WorkerId),
    /// Ask it by SIGTERM, or make it by SIGKILL.
    Signal { worker: WorkerId, kill: bool },
    /// A killed worker does not go: take it for dead ([`Scheduler::died`]).
    GiveUpOn(WorkerId),
    /// This work will not be done.
    Return { work: W, why: Undone },
}

/// Where work was that should be cancelled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cancel<W> {
    /// In the queue; here it is.
    Queued(W),
    /// With a worker, which may not have begun it: try [`Action::TakeBack`]'s way.
    Offered { worker: WorkerId, lane: usize },
    /// Done, lost or cancelled already.
    Gone,
}

/// Whether the pool takes, does, or ends its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
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
pub(super) struct Policy {
    /// How many workers there should be; at least one.
    pub(super) workers: usize,
    /// How many offers a worker may hold: one that runs, and one that waits so that it need not wait for the owner.
    pub(super) lanes: usize,
    /// The time between SIGTERM and SIGKILL.
    pub(super) patience: Duration,
}

/// Running totals, in items where that makes a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) completed: u64,
    pub(super) lost: u64,
    pub(super) retried: u64,
    pub(super) deaths: u64,
}

/// Work that comes back from a worker goes before new work, so that a death does not move it to the end of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Again,
    New,
}

struct Queued<W> {
    work: W,
    attempt: u32,
}

pub(super) struct Scheduler<W> {
    policy: Policy,
    phase: Phase,
    queue: BTreeMap<(Class, Ticket), Queued<W>>,
    shift: Shift<W>,
    next_ticket: u64,
    /// Spawns that failed since a worker became ready.
    failures: u32,
    /// Workers in a row that died young without having begun anything.
    infants: u32,
    /// Not before this may a missing worker be replaced.
    spawn_at: Option<Instant>,
    totals: Totals,
}

impl<W: Work> Scheduler<W> {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            phase: Phase::Open,
            queue: BTreeMap::new(),
            shift: Shift::new(policy.lanes),
            next_ticket: 0,
            failures: 0,
            infants: 0,
            spawn_at: None,
            totals: Totals::default(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Items that wait in the queue, and items that workers have.
    pub(super) fn pending(&self) -> (u64, u64) {
        let queued = self.queue.values().map(|queued| u64::from(queued.work.items())).sum();
        (queued, self.shift.flights().map(|flight| u64::from(flight.work.items() - flight.received)).sum())
    }

    /// Whether nothing is queued or in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.shift.flights().next().is_none()
    }

    /// Whether everything has come to its end: no work, no workers, nothing to be taken any more.
    pub(super) fn is_over(&self) -> bool {
        self.phase != Phase::Open && self.shift.is_empty() && self.queue.is_empty()
    }

    /// What a worker has in this lane.
    pub(super) fn flight_mut(&mut self, worker: WorkerId, lane: usize) -> Option<&mut Flight<W>> {
        self.shift.get_mut(worker)?.lanes.get_mut(lane)?.as_mut()
    }

    /// Which lane holds this offer.
    pub(super) fn lane_of(&self, worker: WorkerId, seq: Seq) -> Option<usize> {
        self.shift.get(worker)?.lanes.iter().position(|lane| lane.as_ref().is_some_and(|flight| flight.seq == seq))
    }

    /// Whether a worker has nothing in flight, so that nothing more is to be expected from it.
    pub(super) fn is_free(&self, worker: WorkerId) -> bool {
        self.shift.get(worker).is_none_or(|worker| worker.load() == 0)
    }

    /// The next moment at which [`Self::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let leaving = self.shift.iter().filter_map(|worker| worker.act_at);
        leaving.chain(self.spawn_at.filter(|_| self.missing() > 0)).min()
    }

    /// The first workers, and replacements that are due.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Action<W>>) {
        for worker in self.shift.iter_mut() {
            if worker.act_at.is_some_and(|at| at <= now) {
                let overdue = worker.killed;
                worker.act_at = Some(now + GONE);
                worker.killed = true;
                out.push(if overdue {
                    Action::GiveUpOn(worker.id)
                } else {
                    Action::Signal { worker: worker.id, kill: true }
                });
            }
        }
        self.replenish(now, out);
    }

    /// New work, or the work back if none is taken any more.
    pub(super) fn submit(&mut self, work: W, out: &mut Vec<Action<W>>) -> Result<Ticket, W> {
        if self.phase != Phase::Open {
            return Err(work);
        }
        let ticket = self.ticket();
        self.queue.insert((Class::New, ticket), Queued { work, attempt: 1 });
        self.assign(out);
        Ok(ticket)
    }

    /// Cancels work that is queued; says to whom it was offered otherwise.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Cancel<W> {
        let mut queued = [Class::Again, Class::New].into_iter().filter_map(|class| self.queue.remove(&(class, ticket)));
        match (queued.next(), self.shift.find(ticket)) {
            (Some(queued), _) => Cancel::Queued(queued.work),
            (None, Some((worker, lane))) => Cancel::Offered { worker, lane },
            (None, None) => Cancel::Gone,
        }
    }

    /// Drops queued work that nobody waits for any more.
    pub(super) fn forget(&mut self, unwanted: impl Fn(&W) -> bool) {
        self.queue.retain(|_, queued| !unwanted(&queued.work));
    }

    /// A process was started.
    pub(super) fn spawned(&mut self, id: WorkerId, now: Instant, out: &mut Vec<Action<W>>) {
        let works = self.works();
        let Some(worker) = self.shift.get_mut(id) else { return };
        worker.stage = Stage::Starting;
        if works {
            self.dismiss_if_done(now, out);
        } else {
            worker.leave(now + GONE, true);
            out.push(Action::Signal { worker: id, kill: true });
        }
    }

    /// A worker is ready for work.
    pub(super) fn ready(&mut self, id: WorkerId, now: Instant, out: &mut Vec<Action<W>>) {
        let Some(worker) = self.shift.get_mut(id) else { return };
        if worker.stage != Stage::Starting {
            return;
        }
        worker.stage = Stage::Ready;
        worker.ready_at = Some(now);
        self.failures = 0;
        if self.infants == 0 {
            self.spawn_at = None;
        }
        self.replenish(now, out);
        self.assign(out);
        self.dismiss_if_done(now, out);
    }

    /// Results of the next `count` items of an offer arrived. False: that cannot be, the worker talks nonsense.
    #[must_use]
    pub(super) fn progress(
        &mut self,
        id: WorkerId,
        seq: Seq,
        count: u32,
        now: Instant,
        out: &mut Vec<Action<W>>,
    ) -> bool {
        let Some(lane) = self.lane_of(id, seq) else { return false };
        let Some(worker) = self.shift.get_mut(id) else { return false };
        let Some(flight) = &mut worker.lanes[lane] else { return false };
        if count == 0 || count > flight.work.items() - flight.received {
            return false;
        }
        flight.received += count;
        flight.begun = true;
        self.totals.completed += u64::from(count);
        if flight.received == flight.work.items() {
            worker.lanes[lane] = None;
            worker.stale = false;
            worker.settled = true;
            self.infants = 0;
            self.assign(out);
            self.dismiss_if_done(now, out);
        }
        true
    }

    /// An offer was taken back before it began; it is the caller's now. `sent`: the worker still finds it in its
    /// socket, and will pass over it.
    pub(super) fn taken_back(&mut self, id: WorkerId, lane: usize, sent: bool) -> Option<Flight<W>> {
        let worker = self.shift.get_mut(id)?;
        worker.stale |= sent;
        worker.lanes.get_mut(lane)?.take()
    }

    /// What was taken back goes to whoever is free.
    pub(super) fn give_again(&mut self, flight: Flight<W>, out: &mut Vec<Action<W>>) {
        self.queue.insert((Class::Again, flight.ticket), Queued { work: flight.work, attempt: flight.attempt });
        self.assign(out);
    }

    /// An offer that should be taken back had begun.
    pub(super) fn kept(&mut self, id: WorkerId, lane: usize) {
        if let Some(flight) = self.flight_mut(id, lane) {
            flight.begun = true;
        }
    }

    /// A worker broke the protocol or closed its socket: it gets nothing more, and is killed.
    pub(super) fn distrust(&mut self, id: WorkerId, now: Instant, out: &mut Vec<Action<W>>) {
        let Some(worker) = self.shift.get_mut(id) else { return };
        if !worker.killed {
            worker.leave(now + GONE, true);
            out.push(Action::Signal { worker: id, kill: true });
        }
    }

    /// A worker is dead, and all results it left were reported. `begun` tells how far it got with each offer.
    pub(super) fn died(
        &mut self,
        id: WorkerId,
        begun: impl Fn(usize, Seq) -> Begun,
        now: Instant,
        out: &mut Vec<Action<W>>,
    ) {
        let Some(worker) = self.shift.remove(id) else { return };
        let told_to_leave = matches!(worker.stage, Stage::Leaving);
        self.totals.deaths += u64::from(!told_to_leave);
        let mut used = worker.settled;
        for (lane, flight) in worker.lanes.into_iter().enumerate() {
            let Some(flight) = flight else { continue };
            let far = begun(lane, flight.seq);
            used |= far != Begun::Nothing;
            self.settle(flight, far, out);
        }
        let lived = worker.ready_at.map(|at| now.saturating_duration_since(at));
        match lived {
            None if !told_to_leave => self.start_failed(now, out),
            Some(lived) if !used && lived < SETTLED => {
                self.infants += 1;
                let free = u32::try_from(2 * self.policy.workers).unwrap_or(u32::MAX);
                if self.infants > free {
                    self.spawn_at = Some(now + pause(self.infants - free));
                }
            }
            _ => self.infants = 0,
        }
        self.replenish(now, out);
        self.assign(out);
        self.dismiss_if_done(now, out);
    }

    /// A process could not be started.
    pub(super) fn spawn_failed(&mut self, id: WorkerId, now: Instant, out: &mut Vec<Action<W>>) {
        if self.shift.remove(id).is_some() {
            self.start_failed(now, out);
            self.replenish(now, out);
            self.dismiss_if_done(now, out);
        }
    }

    /// Takes no more work; ends when what is there is done.
    pub(super) fn close(&mut self, now: Instant, out: &mut Vec<Action<W>>) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
            self.dismiss_if_done(now, out);
        }
    }

    /// Ends now: queued work comes back, workers are asked to end and after the policy's patience made to.
    pub(super) fn terminate(&mut self, now: Instant, out: &mut Vec<Action<W>>) {
        if self.works() {
            self.end(Phase::Terminating, now, out);
        }
    }

    fn end(&mut self, phase: Phase, now: Instant, out: &mut Vec<Action<W>>) {
        self.phase = phase;
        let queue = std::mem::take(&mut self.queue);
        out.extend(queue.into_values().map(|queued| Action::Return { work: queued.work, why: Undone::NeverBegun }));
        let patience = self.policy.patience;
        for worker in self.shift.iter_mut().filter(|worker| !worker.killed && worker.stage != Stage::Spawning) {
            worker.leave(now + patience, false);
            out.push(Action::Signal { worker: worker.id, kill: false });
        }
    }

    /// Whether queued work is still being done.
    fn works(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Closing)
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// How many workers should be started: the full number while the pool is open, as many as there is queued work
    /// for while it closes.
    fn missing(&self) -> usize {
        let wanted = match self.phase {
            Phase::Open => self.policy.workers,
            Phase::Closing => self.policy.workers.min(self.queue.len()),
            Phase::Terminating | Phase::Broken => 0,
        };
        wanted.saturating_sub(self.shift.staying())
    }

    /// Starts what is missing. After a failure only one start at a time is tried, and not before its pause is over.
    fn replenish(&mut self, now: Instant, out: &mut Vec<Action<W>>) {
        let mut missing = self.missing();
        if missing == 0 || self.spawn_at.is_some_and(|at| at > now) {
            return;
        }
        if self.failures > 0 {
            missing = usize::from(!self.shift.iter().any(Worker::is_coming));
        }
        self.spawn_at = None;
        out.extend((0..missing).map(|_| Action::Spawn(self.shift.hire())));
    }

    /// One more start without success. With nobody left to work, enough of them end the pool.
    fn start_failed(&mut self, now: Instant, out: &mut Vec<Action<W>>) {
        self.failures += 1;
        self.spawn_at = Some(now + pause(self.failures));
        let nobody = !self.shift.iter().any(|worker| worker.stage == Stage::Ready);
        if self.failures >= START_FAILURES && nobody && self.works() {
            self.end(Phase::Broken, now, out);
        }
    }

    /// Gives queued work to workers that are free, then a second piece to those with one; with nothing queued, takes
    /// second pieces back for workers that have none.
    fn assign(&mut self, out: &mut Vec<Action<W>>) {
        while !self.queue.is_empty() {
            let Some(worker) = self.shift.least_loaded() else { return };
            let Some(((_, ticket), queued)) = self.queue.pop_first() else { return };
            let lane = worker.take(ticket, queued.work, queued.attempt);
            out.push(Action::Offer { worker: worker.id, lane });
        }
        let idle = self.shift.iter().filter(|worker| worker.is_idle()).count();
        let waiting = self.shift.iter().filter_map(|worker| Some((worker.id, worker.waiting_lane()?)));
        out.extend(waiting.take(idle).map(|(worker, lane)| Action::TakeBack { worker, lane }));
    }

    /// A closing pool whose work is done sends its workers home.
    fn dismiss_if_done(&mut self, now: Instant, out: &mut Vec<Action<W>>) {
        if self.phase != Phase::Closing || !self.is_idle() {
            return;
        }
        let staying = |worker: &&mut Worker<W>| !matches!(worker.stage, Stage::Leaving | Stage::Spawning);
        for worker in self.shift.iter_mut().filter(staying) {
            worker.leave(now + LEAVE, false);
            out.push(Action::Dismiss(worker.id));
        }
    }

    /// What becomes of an offer whose worker died: received items are done, the begun one is lost, the rest is given
    /// to others.
    fn settle(&mut self, flight: Flight<W>, begun: Begun, out: &mut Vec<Action<W>>) {
        let Flight { work, ticket, attempt, received, .. } = flight;
        let items = work.items();
        let not_begun = match begun {
            Begun::Nothing => received,
            // A word beyond the offer is a worker's scribble: nothing of it can be trusted to be unbegun.
            Begun::Item(item) => item.saturating_add(1).clamp(received, items),
        };
        // At most one item, by the protocol: the one whose result was not published when the worker died.
        for item in received..not_begun {
            if items == 1 {
                return self.lose(work, ticket, attempt, out);
            }
            let ticket = self.ticket();
            self.lose(work.cut(item..item + 1), ticket, attempt, out);
        }
        if not_begun < items {
            let rest = if not_begun == 0 { work } else { work.cut(not_begun..items) };
            if self.works() {
                self.queue.insert((Class::Again, ticket), Queued { work: rest, attempt });
            } else {
                out.push(Action::Return { work: rest, why: Undone::NeverBegun });
            }
        }
    }

    fn lose(&mut self, work: W, ticket: Ticket, attempt: u32, out: &mut Vec<Action<W>>) {
        if self.works() && attempt <= work.retries() {
            self.totals.retried += 1;
            self.queue.insert((Class::Again, ticket), Queued { work, attempt: attempt + 1 });
        } else {
            self.totals.lost += 1;
            out.push(Action::Return { work, why: Undone::Lost { attempts: attempt } });
        }
    }
}

/// The pause before the next try, after so many in a row that failed.
fn pause(failures: u32) -> Duration {
    BACK_OFF.start.saturating_mul(1 << failures.clamp(1, 16).saturating_sub(1)).min(BACK_OFF.end)
}
