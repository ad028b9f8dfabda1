//! What the master decides: which workers to start, to let serve, to drain and to kill.
//!
//! Pure: `(now, state, event) -> actions`. No clock is read and nothing is done here; `master` carries the actions out
//! and feeds back what became of them. The rules:
//!
//! 1. **Seats.** A seat is a place for one serving worker; TTIN adds one, TTOU takes the last one away, one stays.
//! 2. **Ready before serving.** A worker boots, says that it is ready, and accepts nothing until it is told to serve.
//!    So killing a worker that was not told to serve loses no connection.
//! 3. **A reload is all or nothing.** It boots a new generation beside the old one. When every seat has a worker that
//!    is ready, all of them are told to serve, and only then is the old generation told to drain. If one ends before
//!    that, the new generation is dropped, and the old one serves on. A reload asked for meanwhile follows this one.
//! 4. **Back-off counts boot failures only.** Per seat 0, 0.1, 0.2, 0.4 … 30 s; a worker that served is replaced at
//!    once. A fork that fails is tried again on a clock of its own.
//! 5. **Nothing is for ever.** Booting and draining have deadlines; what passes them is killed.
//! 6. **A first boot that fails ends it.** If no worker has ever been ready, `BOOT_ATTEMPTS` failures in a row on one
//!    seat end the master, for it would never serve anybody.

use std::time::{Duration, Instant};

use crate::sys::clock::later;

mod vocabulary;

#[cfg(test)]
mod tests;

pub(super) use vocabulary::{Action, Command, Event, Note, Settings, Verdict, Why};

/// Boot failures in a row on one seat, before any worker was ever ready, that end the master.
pub(super) const BOOT_ATTEMPTS: u32 = 5;

/// The longest pause before a seat's next attempt.
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// The state. Indexed by slot: `crew`; by seat: `seats`.
#[derive(Debug)]
pub(super) struct Policy {
    settings: Settings,
    seats: Vec<Seat>,
    crew: Vec<Option<Worker>>,
    /// The generation that serves.
    generation: u64,
    /// The last generation that was begun; a number is never used twice.
    newest: u64,
    /// The generation that boots.
    incoming: Option<u64>,
    /// Another reload was asked for while `incoming` boots.
    reload_again: bool,
    stopping: Option<Stopping>,
    ever_ready: bool,
    forks: Backoff,
    /// When [`Policy::step`] last looked at the clock.
    stepped: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    boots: Backoff,
}

#[derive(Clone, Copy, Debug)]
struct Worker {
    seat: usize,
    generation: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Forked, not ready yet.
    Booting { deadline: Instant },
    /// Ready, not told to serve yet.
    Standby,
    /// Told to serve.
    Serving,
    /// Told to drain.
    Draining { deadline: Instant },
    /// Sent SIGKILL.
    Killed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    Graceful,
    Fast,
    NeverReady,
}

/// 0, 0.1, 0.2, 0.4 … 30 s.
#[derive(Clone, Copy, Debug, Default)]
struct Backoff {
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    fn fail(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + Self::pause(self.failures));
    }

    fn pause(failures: u32) -> Duration {
        match failures {
            0 | 1 => Duration::ZERO,
            more => Duration::from_millis(100).saturating_mul(1 << (more - 2).min(16)).min(LONGEST_BACKOFF),
        }
    }
}

impl Worker {
    /// Whether it fills its seat, now or soon.
    fn is_good(&self) -> bool {
        matches!(self.phase, Phase::Booting { .. } | Phase::Standby | Phase::Serving)
    }

    fn kill(&mut self, slot: usize, why: Why) -> Action {
        self.phase = Phase::Killed;
        Action::Kill { slot, why }
    }
}

impl Policy {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            seats: vec![Seat::default(); settings.workers],
            crew: vec![None; settings.slots],
            generation: 1,
            newest: 1,
            incoming: None,
            reload_again: false,
            stopping: None,
            ever_ready: false,
            forks: Backoff::default(),
            stepped: None,
        }
    }

    /// Takes in what happened and says what to do. Must be called with [`Event::Tick`] first, and whenever
    /// [`Policy::deadline`] has passed.
    #[must_use]
    pub(super) fn step(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.stepped = Some(now);
        match event {
            Event::Tick => {}
            Event::Ready { slot } => self.ready(slot),
            Event::Drains { slot } => self.drains(now, slot),
            Event::Died { slot } => self.died(now, slot, &mut actions),
            Event::ForkFailed { slot } => {
                if self.crew[slot].take().is_some() {
                    self.forks.fail(now);
                }
            }
            Event::Command(command) => self.command(command, &mut actions),
        }
        self.enforce_deadlines(now, &mut actions);
        if let Some(stopping) = self.stopping {
            self.wind_down(now, stopping, &mut actions);
        } else {
            self.adopt(&mut actions);
            self.dismiss(now, &mut actions);
            self.recruit(now, &mut actions);
        }
        actions
    }

    /// When to call [`Policy::step`] again at the latest; `None`: only when something happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let phases = self.crew.iter().flatten().filter_map(|worker| match worker.phase {
            Phase::Booting { deadline } | Phase::Draining { deadline } => Some(deadline),
            Phase::Standby | Phase::Serving | Phase::Killed => None,
        });
        // A seat that might be filled in the last step, and was not, waits for a free slot, that is for a death. One
        // whose time came since then has not been looked at.
        let seats = self.missing().filter_map(|(seat, generation)| {
            let at = self.not_before(seat, generation).max(self.forks.not_before)?;
            self.stepped.is_none_or(|stepped| at > stepped).then_some(at)
        });
        let seats = seats.filter(|_| self.stopping.is_none());
        phases.chain(seats).min()
    }

    /// How many workers there should be.
    pub(super) fn workers(&self) -> usize {
        self.seats.len()
    }

    /// The generation that serves.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    fn ready(&mut self, slot: usize) {
        let Some(worker) = &mut self.crew[slot] else { return };
        if matches!(worker.phase, Phase::Booting { .. }) {
            worker.phase = Phase::Standby;
            self.ever_ready = true;
            self.forks = Backoff::default();
            if let Some(seat) = self.seats.get_mut(worker.seat) {
                seat.boots = Backoff::default();
            }
        }
    }

    fn drains(&mut self, now: Instant, slot: usize) {
        let deadline = later(now, self.settings.graceful_timeout);
        if let Some(worker) = &mut self.crew[slot]
            && worker.phase == Phase::Serving
        {
            worker.phase = Phase::Draining { deadline };
        }
    }

    fn died(&mut self, now: Instant, slot: usize, actions: &mut Vec<Action>) {
        let Some(worker) = self.crew[slot].take() else { return };
        match worker.phase {
            Phase::Booting { .. } => self.boot_failed(now, worker, actions),
            // The generation that serves has nobody on standby: whoever is ready is told to serve in the same step.
            Phase::Standby => self.drop_incoming(worker.generation, actions),
            Phase::Serving | Phase::Draining { .. } | Phase::Killed => {}
        }
    }

    fn boot_failed(&mut self, now: Instant, worker: Worker, actions: &mut Vec<Action>) {
        self.drop_incoming(worker.generation, actions);
        if worker.generation == self.generation
            && let Some(seat) = self.seats.get_mut(worker.seat)
        {
            seat.boots.fail(now);
            if !self.ever_ready && seat.boots.failures >= BOOT_ATTEMPTS {
                self.stopping.get_or_insert(Stopping::NeverReady);
            }
        }
    }

    fn drop_incoming(&mut self, generation: u64, actions: &mut Vec<Action>) {
        if self.incoming == Some(generation) {
            self.incoming = None;
            actions.push(Action::Note(Note::ReloadDropped { generation }));
        }
    }

    fn command(&mut self, command: Command, actions: &mut Vec<Action>) {
        match (command, self.stopping) {
            (Command::Terminate | Command::Interrupt, None) => {
                self.stopping = Some(Stopping::Graceful);
                actions.push(Action::Note(Note::Draining));
                actions.push(Action::StopListening);
            }
            (Command::Interrupt, Some(Stopping::Graceful)) | (Command::Quit, None | Some(Stopping::Graceful)) => {
                self.stopping = Some(Stopping::Fast);
                actions.push(Action::Note(Note::Quitting));
            }
            (_, Some(_)) => {}
            (Command::Reload, None) if self.incoming.is_some() => {
                self.reload_again = true;
                actions.push(Action::Note(Note::ReloadQueued));
            }
            (Command::Reload, None) => self.begin_reload(actions),
            (Command::More, None) => {
                // Twice the workers for a reload, and as many again that still drain.
                let room = (self.seats.len() + 1) * 3 <= self.settings.slots;
                if room {
                    self.seats.push(Seat::default());
                }
                self.scaled(room, actions);
            }
            (Command::Fewer, None) => {
                let room = self.seats.len() > 1;
                if room {
                    self.seats.pop();
                }
                self.scaled(room, actions);
            }
        }
    }

    fn scaled(&self, done: bool, actions: &mut Vec<Action>) {
        let workers = self.seats.len();
        actions.push(Action::Note(if done { Note::Scaled { workers } } else { Note::NotScaled { workers } }));
    }

    fn begin_reload(&mut self, actions: &mut Vec<Action>) {
        self.newest += 1;
        self.incoming = Some(self.newest);
        actions.push(Action::Note(Note::ReloadBegins { generation: self.newest }));
    }

    fn enforce_deadlines(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for slot in 0..self.crew.len() {
            let Some(worker) = &mut self.crew[slot] else { continue };
            match worker.phase {
                Phase::Booting { deadline } if deadline <= now => {
                    actions.push(worker.kill(slot, Why::BootTimeout));
                    let worker = *worker;
                    self.boot_failed(now, worker, actions);
                }
                Phase::Draining { deadline } if deadline <= now => {
                    actions.push(worker.kill(slot, Why::GracefulTimeout));
                }
                _ => {}
            }
        }
    }

    /// Drains or kills everybody; ends when nobody is left.
    fn wind_down(&mut self, now: Instant, stopping: Stopping, actions: &mut Vec<Action>) {
        let deadline = later(now, self.settings.graceful_timeout);
        for (slot, worker) in self.crew.iter_mut().enumerate() {
            let Some(worker) = worker else { continue };
            match (worker.phase, stopping) {
                (Phase::Killed, _) | (Phase::Draining { .. }, Stopping::Graceful) => {}
                (Phase::Serving, Stopping::Graceful) => {
                    worker.phase = Phase::Draining { deadline };
                    actions.push(Action::Drain { slot, last: true });
                }
                (_, Stopping::Graceful) => actions.push(worker.kill(slot, Why::NotNeeded)),
                (_, Stopping::Fast | Stopping::NeverReady) => actions.push(worker.kill(slot, Why::Quit)),
            }
        }
        if self.crew.iter().all(Option::is_none) {
            let never = stopping == Stopping::NeverReady;
            actions.push(Action::End(if never { Verdict::NeverReady } else { Verdict::Stopped }));
        }
    }

    /// Lets serve whoever may: replacements of the generation that serves at once, a new generation when it is whole.
    fn adopt(&mut self, actions: &mut Vec<Action>) {
        if let Some(generation) = self.incoming {
            let whole = (0..self.seats.len()).all(|seat| {
                let mut good = self.crew.iter().flatten().filter(|worker| worker.seat == seat);
                good.any(|worker| worker.generation == generation && worker.phase == Phase::Standby)
            });
            if whole {
                self.generation = generation;
                self.incoming = None;
                // What failed in the old generation says nothing about the new one.
                self.seats.fill(Seat::default());
                actions.push(Action::Note(Note::Reloaded { generation }));
            }
        }
        for (slot, worker) in self.crew.iter_mut().enumerate() {
            let Some(worker) = worker else { continue };
            if worker.phase == Phase::Standby && worker.generation == self.generation && worker.seat < self.seats.len()
            {
                worker.phase = Phase::Serving;
                actions.push(Action::Serve { slot });
            }
        }
        if self.incoming.is_none() && std::mem::take(&mut self.reload_again) {
            self.begin_reload(actions);
        }
    }

    /// Lets go whoever has no seat, or belongs to a generation that is neither serving nor booting.
    fn dismiss(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let deadline = later(now, self.settings.graceful_timeout);
        for (slot, worker) in self.crew.iter_mut().enumerate() {
            let Some(worker) = worker else { continue };
            let current = worker.generation == self.generation || self.incoming == Some(worker.generation);
            if current && worker.seat < self.seats.len() {
                continue;
            }
            match worker.phase {
                Phase::Serving => {
                    worker.phase = Phase::Draining { deadline };
                    actions.push(Action::Drain { slot, last: false });
                }
                Phase::Booting { .. } | Phase::Standby => actions.push(worker.kill(slot, Why::NotNeeded)),
                Phase::Draining { .. } | Phase::Killed => {}
            }
        }
    }

    /// Starts a worker for each seat that lacks one, as far as back-off and free slots allow.
    fn recruit(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.forks.not_before.is_some_and(|at| at > now) {
            return;
        }
        let missing: Vec<_> = self.missing().collect();
        for (seat, generation) in missing {
            if self.not_before(seat, generation).is_some_and(|at| at > now) {
                continue;
            }
            let Some(slot) = self.crew.iter().position(Option::is_none) else { return };
            let deadline = later(now, self.settings.boot_timeout);
            self.crew[slot] = Some(Worker { seat, generation, phase: Phase::Booting { deadline } });
            actions.push(Action::Start { slot, seat, generation });
        }
    }

    /// Until when a seat's back-off holds. A new generation is not held up by the failures of the old one.
    fn not_before(&self, seat: usize, generation: u64) -> Option<Instant> {
        if generation == self.generation { self.seats[seat].boots.not_before } else { None }
    }

    /// The seats, of the generation that serves and of the one that boots, that nobody fills.
    fn missing(&self) -> impl Iterator<Item = (usize, u64)> {
        let generations = [Some(self.generation), self.incoming].into_iter().flatten();
        let wanted = generations.flat_map(|generation| (0..self.seats.len()).map(move |seat| (seat, generation)));
        wanted.filter(|&(seat, generation)| {
            let mut crew = self.crew.iter().flatten();
            !crew.any(|worker| worker.is_good() && (worker.seat, worker.generation) == (seat, generation))
        })
    }
}
