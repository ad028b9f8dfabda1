//! The scheduler's hands: what it decides is carried out here, on sockets, processes and shared words. Always under the
//! engine's lock, on whatever thread; nothing here waits.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use super::inbox::{Delivery, Inbox};
use super::job::Job;
use super::member::{self, Member, Sent};
use super::protocol::{self, Ending, Report};
use super::recipe::Hired;
use super::scheduler::{Action, Cancel, Flight, Phase, Policy, Scheduler, Seq, Ticket, Totals, Undone, Work, WorkerId};
use crate::pool::error::TaskError;
use crate::process::Exit;
use crate::reactor::{self, Registrar};

/// The scheduler and the processes it speaks of.
pub(super) struct State {
    scheduler: Scheduler<Job>,
    crew: Vec<Member>,
    registrar: Registrar,
    actions: Vec<Action<Job>>,
    outbox: Vec<(Arc<Inbox>, Delivery)>,
    /// Workers that the loop is to start.
    wanted: Vec<WorkerId>,
    /// Why the last worker that never became ready did not.
    trouble: String,
    hired: u64,
}

/// A snapshot for [`Pool::stats`](super::Pool::stats).
pub(super) struct Census {
    pub(super) workers: Vec<(u32, bool)>,
    pub(super) queued: u64,
    pub(super) running: u64,
    pub(super) totals: Totals,
    pub(super) hired: u64,
}

/// What the loop does before it sleeps.
pub(super) struct Plan {
    /// Nothing any more, ever.
    pub(super) over: bool,
    /// Start these workers.
    pub(super) wanted: Vec<WorkerId>,
    /// Sleep no longer than this.
    pub(super) deadline: Option<Instant>,
}

impl State {
    pub(super) fn new(policy: Policy, registrar: Registrar) -> Self {
        Self {
            scheduler: Scheduler::new(policy),
            crew: Vec::new(),
            registrar,
            actions: Vec::new(),
            outbox: Vec::new(),
            wanted: Vec::new(),
            trouble: String::new(),
            hired: 0,
        }
    }

    /// What is to be delivered once the lock is released.
    pub(super) fn take_outbox(&mut self) -> Vec<(Arc<Inbox>, Delivery)> {
        std::mem::take(&mut self.outbox)
    }

    /// Does what has come due.
    pub(super) fn tick(&mut self, now: Instant) -> Plan {
        self.scheduler.tick(now, &mut self.actions);
        self.carry_out(now);
        Plan {
            over: self.scheduler.is_over(),
            wanted: std::mem::take(&mut self.wanted),
            deadline: self.scheduler.deadline(),
        }
    }

    pub(super) fn submit(&mut self, job: Job, now: Instant) -> Result<Ticket, TaskError> {
        let submitted = self.scheduler.submit(job, &mut self.actions);
        self.carry_out(now);
        submitted.map_err(|_job| self.why_not())
    }

    pub(super) fn close(&mut self, now: Instant) {
        self.scheduler.close(now, &mut self.actions);
        self.carry_out(now);
    }

    pub(super) fn terminate(&mut self, now: Instant) {
        self.scheduler.terminate(now, &mut self.actions);
        self.carry_out(now);
    }

    /// Ends everything at once, because the loop cannot go on.
    pub(super) fn collapse(&mut self, now: Instant) {
        self.terminate(now);
        while let Some(id) = self.crew.first().map(|member| member.id) {
            self.bury(id, Exit::Unknown, now);
        }
        self.carry_out(now);
    }

    /// Something happened to a worker.
    pub(super) fn on_event(&mut self, event: &reactor::Event, now: Instant) {
        let &reactor::Event::Ready { token, writable, .. } = event else { return };
        match member::whose(token) {
            (id, false) => {
                if writable {
                    self.pump(id, now);
                }
                self.drain(id, now);
            }
            (id, true) => {
                let at = self.crew.iter().position(|member| member.id == id);
                let exit = at.and_then(|at| self.crew[at].poll_end(&self.registrar));
                if let Some(exit) = exit {
                    self.bury(id, exit, now);
                }
            }
        }
        self.carry_out(now);
    }

    pub(super) fn census(&self) -> Census {
        let (queued, running) = self.scheduler.pending();
        let workers = self.crew.iter().map(|member| (member.pid(), !self.scheduler.is_free(member.id))).collect();
        Census { workers, queued, running, totals: self.scheduler.totals(), hired: self.hired }
    }

    /// A worker was started, or could not be.
    pub(super) fn enlist(&mut self, id: WorkerId, hired: Result<Hired, String>, now: Instant) {
        let enlisted = hired.and_then(|hired| {
            self.hired += 1;
            Member::enlist(id, hired, &self.registrar).map_err(|error| error.to_string())
        });
        match enlisted {
            Ok(member) => {
                self.crew.push(member);
                self.scheduler.spawned(id, now, &mut self.actions);
            }
            Err(why) => {
                self.trouble = why;
                self.scheduler.spawn_failed(id, now, &mut self.actions);
            }
        }
        self.carry_out(now);
    }

    /// Settles everything about a worker that is dead or taken for it.
    fn bury(&mut self, id: WorkerId, exit: Exit, now: Instant) {
        // Nothing new for it, while its last results free its lanes.
        self.scheduler.hung_up(id, now);
        while self.receive(id, now) {}
        self.read_journal(id, now);
        let Some(at) = self.crew.iter().position(|member| member.id == id) else { return };
        let mut member = self.crew.remove(at);
        member.deregister(&self.registrar);
        if member.silent {
            self.trouble = format!("a worker died of {exit} before it was ready");
        }
        let ledger = member.ledger();
        let begun = |lane, seq| ledger.begun(lane, seq);
        let before = self.actions.len();
        self.scheduler.died(id, begun, now, &mut self.actions);
        // Only a death loses work, and these are the losses of this one.
        let (pid, actions) = (member.pid(), self.actions.split_off(before));
        for action in actions {
            match action {
                Action::Return { work, why: Undone::Lost { attempts } } => {
                    let error = TaskError::WorkerDied { pid, cause: exit, started: true, attempts };
                    self.undo(&work, error);
                }
                Action::Return { work, why: Undone::Shunned } => {
                    let error = TaskError::WorkerDied { pid, cause: exit, started: false, attempts: 0 };
                    self.undo(&work, error);
                }
                action => self.actions.push(action),
            }
        }
    }

    /// What a dead worker had finished and not sent.
    fn read_journal(&mut self, id: WorkerId, now: Instant) {
        for lane in 0..2 {
            let Some(flight) = self.scheduler.flight_mut(id, lane) else { continue };
            let (seq, mut next) = (flight.seq, flight.received);
            let Some(member) = self.crew.iter().find(|member| member.id == id) else { return };
            for entry in member.ledger().journal(seq) {
                // What was sent before it died may stand here, too.
                if entry.item == next {
                    next += 1;
                    self.one_result(id, seq, entry.ending, entry.bytes, Vec::new(), now);
                }
            }
        }
    }

    pub(super) fn cancel(&mut self, ticket: Ticket, now: Instant) -> bool {
        let job = match self.scheduler.cancel(ticket) {
            Cancel::Queued(job) => Some(job),
            Cancel::Offered { worker, lane, seq } => self.take_back(worker, lane, seq, now).map(|flight| flight.work),
            Cancel::Gone => None,
        };
        if let Some(job) = &job {
            self.undo(job, TaskError::Cancelled);
        }
        self.scheduler.review(now, &mut self.actions);
        self.carry_out(now);
        job.is_some()
    }

    pub(super) fn forget(&mut self, unwanted: impl Fn(&Job) -> bool, now: Instant) {
        for (worker, lane, seq) in self.scheduler.forget(unwanted) {
            self.take_back(worker, lane, seq, now);
        }
        self.scheduler.review(now, &mut self.actions);
        self.carry_out(now);
    }

    /// Why no work is taken.
    fn why_not(&self) -> TaskError {
        match self.scheduler.phase() {
            Phase::Broken => TaskError::PoolBroken { reason: self.trouble.clone() },
            _ => TaskError::PoolClosed,
        }
    }

    /// Performs what the scheduler asked for, until it asks for nothing more.
    fn carry_out(&mut self, now: Instant) {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Spawn(id) => self.wanted.push(id),
                    Action::Offer { worker, lane, seq } => self.offer(worker, lane, seq, now),
                    Action::TakeBack { worker, lane, seq } => {
                        if let Some(flight) = self.take_back(worker, lane, seq, now) {
                            self.scheduler.give_again(flight, &mut self.actions);
                        }
                    }
                    Action::Dismiss(id) => {
                        if let Some(at) = self.crew.iter().position(|member| member.id == id) {
                            self.crew[at].dismiss(&self.registrar);
                        }
                    }
                    Action::Signal { worker, kill } => {
                        if let Some(member) = self.member(worker) {
                            member.signal(kill);
                        }
                    }
                    Action::GiveUpOn(id) => self.bury(id, Exit::Unknown, now),
                    Action::Return { work, .. } => {
                        let error = self.why_not();
                        self.undo(&work, error);
                    }
                }
            }
        }
    }

    fn offer(&mut self, id: WorkerId, lane: usize, seq: Seq, now: Instant) {
        let Some(flight) = self.scheduler.flight_mut(id, lane).filter(|flight| flight.seq == seq) else { return };
        let sealed = flight.work.seal(seq, lane, flight.attempt);
        let Some(member) = self.crew.iter_mut().find(|member| member.id == id) else { return };
        match sealed {
            Ok(()) => {
                member.queue_offer(lane, seq);
                self.pump(id, now);
            }
            Err(why) => self.refuse(id, lane, why, now),
        }
    }

    /// Sends what there is room for.
    fn pump(&mut self, id: WorkerId, now: Instant) {
        let Some(at) = self.crew.iter().position(|member| member.id == id) else { return };
        while let Some(lane) = self.crew[at].next_lane() {
            let Some(flight) = self.scheduler.flight_mut(id, lane) else {
                self.crew[at].skip();
                continue;
            };
            let (bytes, fds) = flight.work.message();
            match self.crew[at].send(bytes, &fds) {
                Ok(Sent::Whole) => {}
                Ok(Sent::Part) => break,
                // It is dying; what it has will be settled then.
                Ok(Sent::Nowhere) => return,
                Err(error) => self.refuse(id, lane, error.to_string(), now),
            }
        }
        self.crew[at].watch(&self.registrar);
    }

    /// Work that cannot be sent fails; the worker has not seen it.
    fn refuse(&mut self, id: WorkerId, lane: usize, why: String, now: Instant) {
        if let Some(flight) = self.scheduler.taken_back(id, lane, false) {
            self.undo(&flight.work, TaskError::BadArgument(why));
            self.scheduler.review(now, &mut self.actions);
        }
    }

    /// Takes an offer back, if it has not begun.
    fn take_back(&mut self, id: WorkerId, lane: usize, seq: Seq, now: Instant) -> Option<Flight<Job>> {
        self.scheduler.flight_mut(id, lane).filter(|flight| flight.seq == seq)?;
        let member = self.crew.iter_mut().find(|member| member.id == id)?;
        let Some(sent) = member.take_back(lane, seq) else {
            self.scheduler.kept(id, lane);
            return None;
        };
        let flight = self.scheduler.taken_back(id, lane, sent);
        self.pump(id, now);
        flight
    }

    /// Reads what a worker says, for as long as more is to be expected.
    fn drain(&mut self, id: WorkerId, now: Instant) {
        while self.receive(id, now) && !self.scheduler.is_free(id) {}
    }

    /// One message of a worker; false if there is none.
    fn receive(&mut self, id: WorkerId, now: Instant) -> bool {
        let Some(at) = self.crew.iter().position(|member| member.id == id) else { return false };
        let member = &mut self.crew[at];
        let mut message = match member.receive() {
            Ok(Some(message)) => message,
            Ok(None) => return false,
            Err(closed) => {
                member.stop_listening(&self.registrar);
                match closed {
                    true => self.scheduler.hung_up(id, now),
                    false => self.scheduler.distrust(id, now, &mut self.actions),
                }
                return false;
            }
        };
        let sensible = match protocol::unseal(&mut message.bytes) {
            Ok(Report::Ready) => {
                member.silent = false;
                self.scheduler.ready(id, now, &mut self.actions);
                true
            }
            Ok(Report::NotReady(why)) => {
                member.silent = false;
                self.trouble = why;
                true
            }
            Ok(Report::Result { seq, ending }) => self.one_result(id, seq, ending, message.bytes, message.fds, now),
            Ok(Report::Results { seq, count }) => self.several_results(id, seq, count, message.bytes, now),
            Err(protocol::Nonsense) => false,
        };
        if !sensible {
            self.scheduler.distrust(id, now, &mut self.actions);
        }
        sensible
    }

    fn one_result(
        &mut self,
        id: WorkerId,
        seq: Seq,
        ending: Ending,
        bytes: Vec<u8>,
        fds: Vec<OwnedFd>,
        now: Instant,
    ) -> bool {
        let Some((inbox, index)) = self.addressee(id, seq) else { return false };
        let delivery = Delivery::One { index, ending, bytes, fds };
        self.progress(id, seq, 1, inbox, delivery, now)
    }

    fn several_results(&mut self, id: WorkerId, seq: Seq, count: u32, body: Vec<u8>, now: Instant) -> bool {
        let Some((inbox, first)) = self.addressee(id, seq) else { return false };
        let delivery = Delivery::Several { first, count: count as usize, body };
        self.progress(id, seq, count, inbox, delivery, now)
    }

    /// Where the next result of an offer goes.
    fn addressee(&mut self, id: WorkerId, seq: Seq) -> Option<(Arc<Inbox>, usize)> {
        let lane = self.scheduler.lane_of(id, seq)?;
        let flight = self.scheduler.flight_mut(id, lane)?;
        Some((Arc::clone(&flight.work.inbox), flight.work.first + flight.received as usize))
    }

    fn progress(&mut self, id: WorkerId, seq: Seq, count: u32, inbox: Arc<Inbox>, it: Delivery, now: Instant) -> bool {
        let possible = self.scheduler.progress(id, seq, count, now, &mut self.actions);
        if possible {
            self.outbox.push((inbox, it));
        }
        possible
    }

    /// Tells whoever waits for this work that it will not be done.
    fn undo(&mut self, work: &Job, error: TaskError) {
        let delivery = Delivery::Undone { first: work.first, count: work.items() as usize, error };
        self.outbox.push((Arc::clone(&work.inbox), delivery));
    }

    fn member(&self, id: WorkerId) -> Option<&Member> {
        self.crew.iter().find(|member| member.id == id)
    }
}
