//! What the pool does next: a pure state machine. Events are method calls, actions come out in a list; it knows no
//! process, no socket, no clock. The engine carries the actions out; `README.md` draws the states.
//!
//! Invariants:
//!
//! 1. A piece of work is in exactly one place: the queue, one lane of one worker, or handed out for good.
//! 2. A worker has at most `lanes` (1 or 2) pieces in flight, and none before it said that it is ready.
//! 3. An item that a worker began is never given out again unless its work asked for retries.
//! 4. Only a worker that is `Ready` is offered work; a worker leaves the table when it is known to be dead.

mod hiring;
mod shift;
mod terms;
#[cfg(test)]
mod tests;

pub(super) use shift::Flight;
pub(super) use terms::{Action, Begun, Cancel, Phase, Policy, Seq, Ticket, Totals, Undone, Work, WorkerId};

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::sys::clock::later;
use hiring::Hiring;
use shift::{Shift, Stage, Worker};

/// A worker that lived shorter than this without beginning anything says that something is wrong with workers.
const SETTLED: Duration = Duration::from_secs(1);
/// A piece of work that was the next thing to do for so many workers that died before they began it is not given to
/// one more: a message that kills whoever receives it must not run through workers for ever.
const BOUNCES: u32 = 8;
/// How long a worker whose socket is closed may take to be gone before it is killed.
const HUNG_UP: Duration = Duration::from_secs(1);
/// How long a worker that was told to leave may take before it is killed.
const LEAVE: Duration = Duration::from_secs(5);
/// How long a killed worker may take to be gone before the pool ends without it.
const GONE: Duration = Duration::from_secs(5);

/// Work that comes back from a worker goes before new work, so that a death does not move it to the end of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Again,
    New,
}

struct Queued<W> {
    work: W,
    attempt: u32,
    bounces: u32,
}

pub(super) struct Scheduler<W> {
    policy: Policy,
    phase: Phase,
    queue: BTreeMap<(Class, Ticket), Queued<W>>,
    shift: Shift<W>,
    next_ticket: u64,
    hiring: Hiring,
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
            hiring: Hiring::new(policy.workers),
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
        leaving.chain(self.hiring.not_before().filter(|_| self.missing() > 0)).min()
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
        self.queue.insert((Class::New, ticket), Queued { work, attempt: 1, bounces: 0 });
        self.assign(out);
        Ok(ticket)
    }

    /// Cancels work that is queued; says to whom it was offered otherwise.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Cancel<W> {
        let mut queued = [Class::Again, Class::New].into_iter().filter_map(|class| self.queue.remove(&(class, ticket)));
        match (queued.next(), self.shift.offers(|flight| flight.ticket == ticket).next()) {
            (Some(queued), _) => Cancel::Queued(queued.work),
            (None, Some((worker, lane, seq))) => Cancel::Offered { worker, lane, seq },
            (None, None) => Cancel::Gone,
        }
    }

    /// Drops queued work that nobody waits for any more, and says which offers might be taken back.
    pub(super) fn forget(&mut self, unwanted: impl Fn(&W) -> bool) -> Vec<(WorkerId, usize, Seq)> {
        self.queue.retain(|_, queued| !unwanted(&queued.work));
        self.shift.offers(|flight| !flight.begun && unwanted(&flight.work)).collect()
    }

    /// What follows from work that was cancelled, forgotten or refused: others may have its place.
    pub(super) fn review(&mut self, now: Instant, out: &mut Vec<Action<W>>) {
        self.assign(out);
        self.dismiss_if_done(now, out);
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
            worker.dismissed = true;
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
        self.hiring.succeeded();
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
            self.hiring.proved();
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
        let Flight { work, ticket, attempt, bounces, .. } = flight;
        self.queue.insert((Class::Again, ticket), Queued { work, attempt, bounces });
        self.assign(out);
    }

    /// An offer that should be taken back had begun.
    pub(super) fn kept(&mut self, id: WorkerId, lane: usize) {
        if let Some(flight) = self.flight_mut(id, lane) {
            flight.begun = true;
        }
    }

    /// A worker's socket is closed: it is about to be gone, and gets nothing more.
    pub(super) fn hung_up(&mut self, id: WorkerId, now: Instant) {
        if let Some(worker) = self.shift.get_mut(id)
            && worker.stage != Stage::Leaving
        {
            worker.leave(now + HUNG_UP, false);
        }
    }

    /// A worker broke the protocol: it gets nothing more, and is killed.
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
        self.totals.deaths += u64::from(!worker.dismissed);
        let flights = worker.lanes.into_iter().enumerate().filter_map(|(lane, flight)| Some((lane, flight?)));
        let mut flights: Vec<_> = flights.map(|(lane, flight)| (begun(lane, flight.seq), flight)).collect();
        flights.sort_by_key(|(_, flight)| flight.seq);
        let in_work = flights.iter().any(|(far, flight)| *far != Begun::Nothing || flight.received > 0);
        if !in_work && let Some((_, next)) = flights.first_mut() {
            next.bounces += 1;
        }
        flights.into_iter().for_each(|(far, flight)| self.settle(flight, far, out));
        let used = worker.settled || in_work;
        let lived = worker.ready_at.map(|at| now.saturating_duration_since(at));
        match lived {
            None if !worker.dismissed => self.start_failed(now, out),
            Some(lived) if !used && lived < SETTLED => self.hiring.died_young(now),
            _ => self.hiring.proved(),
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
            worker.leave(later(now, patience), false);
            worker.dismissed = true;
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

    /// Starts what is missing, as far as that may be tried now.
    fn replenish(&mut self, now: Instant, out: &mut Vec<Action<W>>) {
        let missing = self.missing();
        if missing > 0 {
            let somebody_is_coming = self.shift.iter().any(Worker::is_coming);
            let starts = self.hiring.starts(missing, somebody_is_coming, now);
            out.extend((0..starts).map(|_| Action::Spawn(self.shift.hire())));
        }
    }

    /// One more start without success. With nobody left to work, enough of them end the pool.
    fn start_failed(&mut self, now: Instant, out: &mut Vec<Action<W>>) {
        let hopeless = self.hiring.failed(now);
        let nobody = !self.shift.iter().any(|worker| worker.stage == Stage::Ready);
        if hopeless && nobody && self.works() {
            self.end(Phase::Broken, now, out);
        }
    }

    /// Gives queued work to workers that are free, then a second piece to those with one; with nothing queued, takes
    /// second pieces back for workers that have none.
    fn assign(&mut self, out: &mut Vec<Action<W>>) {
        while !self.queue.is_empty() {
            let Some(worker) = self.shift.least_loaded() else { return };
            let Some(((_, ticket), queued)) = self.queue.pop_first() else { return };
            let (lane, seq) = worker.take(ticket, queued.work, queued.attempt, queued.bounces);
            out.push(Action::Offer { worker: worker.id, lane, seq });
        }
        let idle = self.shift.iter().filter(|worker| worker.is_idle()).count();
        let waiting = self.shift.iter().filter_map(|worker| Some((worker.id, worker.waiting()?)));
        out.extend(waiting.take(idle).map(|(worker, (lane, seq))| Action::TakeBack { worker, lane, seq }));
    }

    /// A closing pool whose work is done sends its workers home.
    fn dismiss_if_done(&mut self, now: Instant, out: &mut Vec<Action<W>>) {
        if self.phase != Phase::Closing || !self.is_idle() {
            return;
        }
        let staying = |worker: &&mut Worker<W>| !matches!(worker.stage, Stage::Leaving | Stage::Spawning);
        for worker in self.shift.iter_mut().filter(staying) {
            worker.leave(now + LEAVE, false);
            worker.dismissed = true;
            out.push(Action::Dismiss(worker.id));
        }
    }

    /// What becomes of an offer whose worker died: received items are done, the begun one is lost, the rest is given
    /// to others.
    fn settle(&mut self, flight: Flight<W>, begun: Begun, out: &mut Vec<Action<W>>) {
        let Flight { work, ticket, attempt, received, bounces, .. } = flight;
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
            match self.works() {
                true if bounces >= BOUNCES => {
                    self.totals.lost += u64::from(rest.items());
                    out.push(Action::Return { work: rest, why: Undone::Shunned });
                }
                true => drop(self.queue.insert((Class::Again, ticket), Queued { work: rest, attempt, bounces })),
                false => out.push(Action::Return { work: rest, why: Undone::NeverBegun }),
            }
        }
    }

    fn lose(&mut self, work: W, ticket: Ticket, attempt: u32, out: &mut Vec<Action<W>>) {
        if self.works() && attempt <= work.retries() {
            self.totals.retried += 1;
            self.queue.insert((Class::Again, ticket), Queued { work, attempt: attempt + 1, bounces: 0 });
        } else {
            self.totals.lost += 1;
            out.push(Action::Return { work, why: Undone::Lost { attempts: attempt } });
        }
    }
}
