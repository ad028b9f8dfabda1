//! The master: one thread that forks workers, hears them, and does what the policy says. It serves nobody itself and
//! runs no code of the user's but the event hook.
//!
//! Its loop is [`Master::supervise`]: take in what happened (deaths, reports, one signal), ask the policy, act, sleep
//! until something happens or the policy's deadline. Deaths come through pidfds, signals through a signalfd, reports
//! through one socket per worker, and all of them through one poller.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::config::{Config, Orders, Stopped};
use super::control::{self, Heard, Order, Report};
use super::error::MasterError;
use super::event::Event;
use super::policy::{Action, BOOT_ATTEMPTS, Command, Event as Happened, Note, Policy, Settings, Verdict, Why};
use super::scoreboard::{Board, Field, Head};
use super::worker::{self, Start};
use crate::process::fork::{self, Child};
use crate::process::{Exit, ForkError};
use crate::reactor::{self, Interest, Mode, Poller, Token};
use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Readiness};
use crate::sys::signal::served::{self, SignalFd, number};
use crate::sys::{process, socket, tcp};

/// The signals that the master acts on, and what they ask for.
const SIGNALS: [(i32, Command); 6] = [
    (number::SIGTERM, Command::Terminate),
    (number::SIGINT, Command::Interrupt),
    (number::SIGQUIT, Command::Quit),
    (number::SIGHUP, Command::Reload),
    (number::SIGTTIN, Command::More),
    (number::SIGTTOU, Command::Fewer),
];

/// Reports of one worker that are heard before others are.
const REPORTS_AT_ONCE: usize = 64;

/// Tokens: the signalfd, and for each slot its worker's pidfd and socket.
const SIGNALFD: Token = Token(0);

fn pidfd_of(slot: usize) -> Token {
    Token(2 * slot + 1)
}

fn control_of(slot: usize) -> Token {
    Token(2 * slot + 2)
}

/// Runs the server to its end.
pub(super) fn run(addrs: &[SocketAddr], config: Arc<Config>, orders: Orders) -> Result<Stopped, MasterError> {
    let threads = process::thread_count()?;
    if threads > 1 {
        return Err(MasterError::Multithreaded { threads });
    }
    let listener = listen(addrs, orders.backlog)?;
    let signals = SIGNALS.map(|(signal, _)| signal);
    // Before the first fork, so that none is lost; dropped last, so that none is left pending.
    let mask = served::block(&signals)?;
    let mut master = Master::new(listener, config, orders, SignalFd::new(&signals)?)?;
    let result = master.supervise();
    drop(master);
    drop(mask);
    result
}

fn listen(addrs: &[SocketAddr], backlog: u32) -> Result<TcpListener, MasterError> {
    let mut failed = MasterError::Invalid { what: "a server needs an address to listen on" };
    for &addr in addrs {
        match tcp::listen(addr, backlog) {
            Ok(listener) => return Ok(listener),
            Err(source) => failed = MasterError::Bind { addr, source },
        }
    }
    Err(failed)
}

struct Master {
    config: Arc<Config>,
    orders: Orders,
    /// Until the server stops. The master made it and keeps it, so that what waits in its queue outlives any worker.
    listener: Option<TcpListener>,
    board: Arc<Board>,
    poller: Poller,
    signals: SignalFd,
    policy: Policy,
    /// By slot.
    crew: Vec<Option<Member>>,
    /// By seat: who died there of what, and was not replaced yet.
    vacancies: Vec<Option<(u32, Exit)>>,
    happened: VecDeque<Happened>,
    killed: usize,
    /// Why the last worker that did not get ready did not.
    last_failure: String,
    verdict: Option<Verdict>,
}

/// A worker, as the master sees it.
struct Member {
    child: Child,
    control: OwnedFd,
    seat: usize,
    generation: u64,
    /// It was told to end, or said that it does.
    leaving: bool,
    /// It was told to serve.
    served: bool,
    /// Why it could not boot.
    last_words: Option<String>,
}

impl Master {
    fn new(listener: TcpListener, config: Arc<Config>, orders: Orders, signals: SignalFd) -> Result<Self, MasterError> {
        // Two generations, a third that still drains, and room to grow.
        let slots = (orders.workers * 4).max(64);
        let settings = Settings {
            workers: orders.workers,
            slots,
            boot_timeout: orders.boot_timeout,
            graceful_timeout: orders.graceful_timeout,
        };
        let board = Board::new(slots)?;
        board.head(Head::MasterPid).store(u64::from(std::process::id()), Ordering::Relaxed);
        let poller = Poller::new()?;
        poller.register(signals.as_fd(), SIGNALFD, Interest::READ, Mode::Level)?;
        Ok(Self {
            config,
            orders,
            listener: Some(listener),
            board: Arc::new(board),
            poller,
            signals,
            policy: Policy::new(settings),
            crew: (0..slots).map(|_| None).collect(),
            vacancies: Vec::new(),
            happened: VecDeque::from([Happened::Tick]),
            killed: 0,
            last_failure: String::new(),
            verdict: None,
        })
    }

    fn supervise(&mut self) -> Result<Stopped, MasterError> {
        self.announce()?;
        let mut events = Vec::new();
        loop {
            while let Some(happened) = self.happened.pop_front() {
                for action in self.policy.step(Instant::now(), happened) {
                    self.act(action);
                }
            }
            match self.verdict {
                Some(Verdict::Stopped) => return Ok(self.stopped()),
                Some(Verdict::NeverReady) => {
                    let cause = std::mem::take(&mut self.last_failure);
                    return Err(MasterError::NeverReady { attempts: BOOT_ATTEMPTS, cause });
                }
                None => {}
            }
            let deadline = self.policy.deadline().map_or(Deadline::NEVER, Deadline::at);
            self.poller.poll(&mut events, deadline)?;
            for event in &events {
                let reactor::Event::Ready { token, .. } = *event else { continue };
                match (token, token.0.wrapping_sub(1) / 2) {
                    (SIGNALFD, _) => self.command()?,
                    (token, slot) if token == pidfd_of(slot) => self.reap(slot)?,
                    (_, slot) => self.hear(slot),
                }
            }
            self.happened.push_back(Happened::Tick);
        }
    }

    /// One signal; the next one is read in the next turn.
    fn command(&mut self) -> io::Result<()> {
        let signal = self.signals.read()?;
        let command = SIGNALS.iter().find(|(number, _)| Some(*number) == signal);
        self.happened.extend(command.map(|&(_, command)| Happened::Command(command)));
        Ok(())
    }

    /// What a worker has to say; a bounded part of it, because a worker may have more to say than there is time to hear.
    fn hear(&mut self, slot: usize) {
        for _ in 0..REPORTS_AT_ONCE {
            let Some(member) = &mut self.crew[slot] else { return };
            let pid = member.child.pid();
            match control::receive(member.control.as_fd()) {
                Ok(Heard::Word(Report::Ready)) => self.happened.push_back(Happened::Ready { slot }),
                Ok(Heard::Word(Report::Drains)) => {
                    member.leaving = true;
                    self.happened.push_back(Happened::Drains { slot });
                    self.tell(&Event::WorkerDrains { pid });
                }
                Ok(Heard::Word(Report::BootFailed { why })) => {
                    member.last_words = Some(why.clone());
                    self.tell(&Event::BootFailed { pid, why });
                }
                Ok(Heard::Word(Report::Panicked { message })) => self.tell(&Event::ServicePanicked { pid, message }),
                Ok(Heard::Word(Report::Starved)) => self.tell(&Event::Starved { pid }),
                Ok(Heard::Word(Report::ListenerFailed { why })) => self.tell(&Event::ListenerFailed { pid, why }),
                Ok(Heard::Nothing) => return,
                // The pidfd will say how it ended. A worker that sends what is no word is not listened to any more.
                Ok(Heard::End) | Err(_) => {
                    let _ = self.poller.deregister(member.control.as_fd());
                    return;
                }
            }
        }
    }

    /// A worker has ended: what it had to say, how it ended, and its counts.
    fn reap(&mut self, slot: usize) -> io::Result<()> {
        self.hear(slot);
        let Some(member) = &self.crew[slot] else { return Ok(()) };
        let Some(exit) = member.child.try_wait()? else { return Ok(()) };
        let Some(member) = self.crew[slot].take() else { return Ok(()) };
        let _ = self.poller.deregister(member.child.as_fd());
        // Not in the list any more if its end was heard first.
        let _ = self.poller.deregister(member.control.as_fd());
        let Member { child, control, seat, generation, leaving, served, last_words } = member;
        let pid = child.pid();
        drop((child, control));
        self.board.retire(slot);
        if leaving {
            self.tell(&Event::WorkerEnded { pid, exit });
        } else {
            self.board.head(Head::Deaths).fetch_add(1, Ordering::Relaxed);
            self.tell(&Event::WorkerDied { pid, seat, cause: exit });
            if !served {
                let exit = format!("it died of {exit}");
                self.last_failure = format!("worker {pid}: {}", last_words.unwrap_or(exit));
            }
            if generation == self.policy.generation() {
                self.vacancies.resize(self.vacancies.len().max(seat + 1), None);
                self.vacancies[seat] = Some((pid, exit));
            }
        }
        self.happened.push_back(Happened::Died { slot });
        Ok(())
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { slot, seat, generation } => {
                if let Err(error) = self.start(slot, seat, generation) {
                    self.board.retire(slot);
                    self.happened.push_back(Happened::ForkFailed { slot });
                    self.tell(&Event::ForkFailed { seat, why: error.to_string() });
                }
            }
            Action::Serve { slot } => self.serve(slot),
            Action::Drain { slot, last } => self.order(slot, Order::Drain { last }),
            Action::Kill { slot, why } => self.kill(slot, why),
            Action::StopListening => self.stop_listening(),
            Action::Note(note) => self.note(note),
            Action::End(verdict) => self.verdict = Some(verdict),
        }
    }

    fn start(&mut self, slot: usize, seat: usize, generation: u64) -> Result<(), ForkError> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let (ours, theirs) = socket::seqpacket_pair()?;
        self.board.prepare(slot, seat, generation);
        // The worker closes what is the master's: its ends of the siblings' sockets above all, or they would never see
        // the master's end.
        let [epoll, bell] = self.poller.descriptors();
        let mut private = vec![listener.as_fd(), ours.as_fd(), self.signals.as_fd(), epoll, bell];
        for member in self.crew.iter().flatten() {
            private.extend([member.child.as_fd(), member.control.as_fd()]);
        }
        let start = Start {
            config: Arc::clone(&self.config),
            board: Arc::clone(&self.board),
            listener: listener.try_clone()?,
            control: theirs,
            master: std::process::id(),
            slot,
            seat,
            generation,
        };
        let child = fork::fork(&private, || worker::run(start))?;
        self.board.set(slot, Field::Pid, u64::from(child.pid()));
        let pid = child.pid();
        let member = Member { child, control: ours, seat, generation, leaving: false, served: false, last_words: None };
        let watched = self
            .poller
            .register(member.child.as_fd(), pidfd_of(slot), Interest::READ, Mode::Level)
            .and_then(|()| self.poller.register(member.control.as_fd(), control_of(slot), Interest::READ, Mode::Level));
        if let Err(error) = watched {
            end(&member.child);
            return Err(error.into());
        }
        self.crew[slot] = Some(member);
        let vacancy = self.vacancies.get_mut(seat).filter(|_| generation == self.policy.generation());
        match vacancy.and_then(Option::take) {
            Some((replaces, cause)) => self.tell(&Event::Respawned { pid, seat, replaces, cause }),
            None => self.tell(&Event::WorkerStarted { pid, seat, generation }),
        }
        Ok(())
    }

    fn serve(&mut self, slot: usize) {
        self.order(slot, Order::Serve);
        if let Some(member) = &mut self.crew[slot] {
            member.served = true;
            let (pid, seat, generation) = (member.child.pid(), member.seat, member.generation);
            self.tell(&Event::WorkerServes { pid, seat, generation });
        }
    }

    /// A worker that does not read its orders misses a deadline of the policy, and is killed then.
    fn order(&mut self, slot: usize, order: Order) {
        if let Some(member) = &mut self.crew[slot] {
            member.leaving |= order != Order::Serve;
            let _ = control::send(member.control.as_fd(), &order);
        }
    }

    fn kill(&mut self, slot: usize, why: Why) {
        let Some(member) = &mut self.crew[slot] else { return };
        member.leaving |= why != Why::BootTimeout;
        let pid = member.child.pid();
        // It may have died since: then it is as it should be.
        let _ = member.child.send_signal(number::SIGKILL);
        if member.served {
            self.killed += 1;
        }
        let words = match why {
            Why::BootTimeout => "it did not get ready in time",
            Why::GracefulTimeout => "it did not finish in time",
            Why::NotNeeded => "it is not needed any more, and has not served yet",
            Why::Quit => "the server ends at once",
        };
        if why == Why::BootTimeout {
            member.last_words = Some(words.to_owned());
        }
        self.tell(&Event::WorkerKilled { pid, why: words });
    }

    /// From now on nobody gets into the queue; what stands in it is served by the workers that drain.
    fn stop_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            // Without the filter, whoever connects in the next moments is reset instead of refused.
            let _ = tcp::deafen(&listener);
        }
    }

    fn note(&mut self, note: Note) {
        let event = match note {
            Note::ReloadBegins { generation } => Event::ReloadBegins { generation },
            Note::ReloadQueued => Event::ReloadQueued,
            Note::Reloaded { generation } => {
                self.board.head(Head::Reloads).fetch_add(1, Ordering::Relaxed);
                self.vacancies.clear();
                Event::Reloaded { generation }
            }
            Note::ReloadDropped { generation } => Event::ReloadDropped { generation },
            Note::Scaled { workers } => {
                self.vacancies.truncate(workers);
                Event::Scaled { workers }
            }
            Note::NotScaled { workers } => Event::NotScaled { workers },
            Note::Draining => Event::Draining,
            Note::Quitting => Event::Quitting,
        };
        self.publish();
        self.tell(&event);
    }

    /// The first line.
    fn announce(&mut self) -> io::Result<()> {
        self.publish();
        if let Some(listener) = &self.listener {
            let addr = listener.local_addr()?;
            let (workers, threads) = (self.orders.workers, self.config.threads);
            self.tell(&Event::Started { addr, pid: std::process::id(), workers, threads });
        }
        Ok(())
    }

    /// The last line. Signals that came while the server stopped asked for what has happened.
    fn stopped(&mut self) -> Stopped {
        while let Ok(Some(_)) = self.signals.read() {}
        self.tell(&Event::Stopped { killed: self.killed });
        Stopped { killed: self.killed }
    }

    fn publish(&self) {
        self.board.head(Head::Generation).store(self.policy.generation(), Ordering::Relaxed);
        self.board.head(Head::Workers).store(self.policy.workers() as u64, Ordering::Relaxed);
    }

    fn tell(&mut self, event: &Event) {
        if let Some(hook) = &mut self.orders.on_event {
            // A log that panics must not end the server; std has printed the panic.
            let _ = catch_unwind(AssertUnwindSafe(|| hook(event)));
        }
    }
}

impl Drop for Master {
    /// Whatever went wrong, no worker is left, and no zombie.
    fn drop(&mut self) {
        for member in self.crew.iter().flatten() {
            end(&member.child);
        }
    }
}

/// Kills and reaps.
fn end(child: &Child) {
    let _ = child.send_signal(number::SIGKILL);
    // SIGKILL cannot be refused, so this ends; a process stuck in the kernel holds it up.
    let _ = poll::wait(child.as_fd(), Readiness::READ, Deadline::NEVER);
    let _ = child.try_wait();
}
