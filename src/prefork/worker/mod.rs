//! A worker: the process that a fork of the master becomes.
//!
//! ```text
//!               control socket, TERM/QUIT        can be read          get
//!   acceptor ──▶ parking (poller) ◀──▶ loop ──────────────▶ ready ──────────▶ service threads
//!   (accept4)          ▲                                                          │
//!                      └──────────────────────── park ────────────────────────────┘
//! ```
//!
//! The **loop** is the main thread. It runs no code of the user's and takes no lock that such code can hold, so it
//! hears the master, and its death, whatever the service does. The **acceptor** blocks in accept4. **Service threads**
//! run the service, one request at a time; a connection without a request to serve is with none of them.
//!
//! The worker ends when it drains and its last connection is closed; at once when told by QUIT; and, when its master is
//! dead, after `orphan_grace` at the latest.

mod acceptor;
pub(super) mod load;
mod parking;
mod service;

use std::fs::File;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::config::Config;
use super::conn::Conn;
use super::control::{self, Heard, Order, Report};
use super::cx::WorkerCx;
use super::scoreboard::{Board, Field, WorkerState};
use crate::queue::Queue;
use crate::reactor::{Event, Interest, Mode, Poller, Token, Waker};
use crate::sys::clock::Deadline;
use crate::sys::signal::served::{self, SignalFd, number};
use crate::sys::{process, signal, tcp};
use acceptor::Switch;
pub(super) use load::Admission;
use load::Load;
use parking::Parking;

/// Tokens of the loop's own descriptors; connections have small ones.
const CONTROL: Token = Token(usize::MAX - 1);
const SIGNALS: Token = Token(usize::MAX - 2);

/// How often the acceptor is interrupted until it has stopped.
const NUDGE: Duration = Duration::from_millis(5);

/// Exit code of a worker that could not boot.
const CANNOT_BOOT: i32 = 3;

/// Reports that wait to be sent. More are dropped: they are news, not state.
const MOST_REPORTS: usize = 64;

/// What the master hands to a worker.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) config: Arc<Config>,
    pub(super) board: Arc<Board>,
    pub(super) listener: TcpListener,
    pub(super) control: OwnedFd,
    pub(super) master: u32,
    pub(super) slot: usize,
    pub(super) seat: usize,
    pub(super) generation: u64,
}

/// What the threads of a worker share.
#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    cx: WorkerCx,
    ready: Queue<Box<Conn>>,
    parking: Parking,
    load: Arc<Load>,
    switch: Switch,
    listener_failed: AtomicBool,
    waker: Waker,
    outbox: Mutex<Vec<Report>>,
}

impl Shared {
    /// Sends a report to the master, by way of the loop.
    fn report(&self, report: Report) {
        let mut outbox = self.outbox.lock();
        if outbox.len() < MOST_REPORTS {
            outbox.push(report);
        }
        drop(outbox);
        self.waker.wake();
    }
}

/// The life of a worker; returns its exit code.
pub(super) fn run(start: Start) -> i32 {
    let control = Arc::new(start.control);
    let cx = WorkerCx::new(Arc::clone(&start.board), start.slot, start.seat, start.generation);
    start.board.set(start.slot, Field::Pid, u64::from(cx.pid));
    let booted = boot(&start.config, &cx, start.master)
        .and_then(|signals| Loop::new(start.config, cx, start.listener, Arc::clone(&control), signals));
    let mut worker = match booted {
        Ok(worker) => worker,
        Err(why) => {
            // If the master does not read, it still sees the exit code.
            let _ = control::send(control.as_fd(), &Report::BootFailed { why: control::short(why) });
            return CANNOT_BOOT;
        }
    };
    let code = match worker.run() {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "crewkit: worker {} cannot go on: {error}", worker.shared.cx.pid);
            1
        }
    };
    // Threads that the user's code started are still waited for. Nobody hears the master's death meanwhile; the kernel
    // may end what it leaves.
    if process::die_with_parent(true).is_err() || process::parent_pid() != start.master {
        process::exit_now(code);
    }
    code
}

/// Signals, and the user's own preparations, while there is one thread.
fn boot(config: &Config, cx: &WorkerCx, master: u32) -> Result<SignalFd, String> {
    let failed = |error: io::Error| error.to_string();
    // Nobody hears the master's death while the user's code runs, and nobody is being served: the kernel may do it.
    process::die_with_parent(true).map_err(failed)?;
    if process::parent_pid() != master {
        return Err("the master has ended".to_owned());
    }
    // A terminal sends these to the whole group; they are for the master to act on.
    for ignored in [number::SIGINT, number::SIGHUP, number::SIGTTIN, number::SIGTTOU, number::SIGUSR1, number::SIGUSR2]
    {
        signal::ignore(ignored).map_err(failed)?;
    }
    served::no_op_handler(number::SIGURG).map_err(failed)?;
    let mine = [number::SIGTERM, number::SIGQUIT];
    served::block_for_good(&mine).map_err(failed)?;
    let signals = SignalFd::new(&mine).map_err(failed)?;
    if let Some(boot) = &config.boot {
        let booted = catch_unwind(AssertUnwindSafe(|| boot(cx)));
        booted.map_err(|_| "it panicked".to_owned())?.map_err(|error| error.to_string())?;
    }
    process::die_with_parent(false).map_err(failed)?;
    Ok(signals)
}

/// The worker's main thread.
#[derive(Debug)]
struct Loop {
    poller: Poller,
    control: Arc<OwnedFd>,
    signals: SignalFd,
    shared: Arc<Shared>,
    /// Until the worker is told to serve.
    listener: Option<TcpListener>,
    /// The acceptor's, until then.
    spare: Option<File>,
    /// The master knows that nothing is accepted any more.
    said_so: bool,
    /// When to end, finished or not, because the master is dead.
    orphaned: Option<Instant>,
}

impl Loop {
    fn new(
        config: Arc<Config>,
        cx: WorkerCx,
        listener: TcpListener,
        control: Arc<OwnedFd>,
        signals: SignalFd,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| error.to_string();
        let poller = Poller::new().map_err(failed)?;
        poller.register(control.as_fd(), CONTROL, Interest::READ, Mode::Level).map_err(failed)?;
        poller.register(signals.as_fd(), SIGNALS, Interest::READ, Mode::Level).map_err(failed)?;
        let board = Arc::clone(&cx.scoreboard.0);
        // Descriptors for what is not a connection: the standard three, these here, files that the service opens.
        let descriptors = tcp::most_descriptors().saturating_sub(64 + 4 * config.threads).max(8);
        let most_open = config.max_connections.min(descriptors);
        let load = Load::new(config.threads, most_open, poller.waker(), Arc::clone(&board), cx.slot);
        board.set(cx.slot, Field::Threads, config.threads as u64);
        let shared = Arc::new(Shared {
            ready: Queue::unbounded(),
            parking: Parking::new(poller.registrar(), poller.waker()),
            load: Arc::new(load),
            switch: Switch::default(),
            listener_failed: AtomicBool::new(false),
            waker: poller.waker(),
            outbox: Mutex::default(),
            config,
            cx,
        });
        for number in 0..shared.config.threads {
            let shared = Arc::clone(&shared);
            thread(format!("service-{number}"), move || shared.serve_forever()).map_err(failed)?;
        }
        shared.report(Report::Ready);
        shared.cx.scoreboard.0.set_state(shared.cx.slot, WorkerState::Ready);
        let spare = acceptor::open_spare().ok();
        let listener = Some(listener);
        Ok(Self { poller, control, signals, shared, listener, spare, said_so: false, orphaned: None })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::new();
        while !self.is_finished() {
            self.send_reports();
            self.poller.poll(&mut events, self.deadline())?;
            for event in &events {
                match *event {
                    Event::Ready { token: CONTROL, .. } => self.hear(),
                    Event::Ready { token: SIGNALS, .. } => self.obey_signal()?,
                    Event::Ready { token, .. } => {
                        if let Some((conn, wait)) = self.shared.parking.take(token) {
                            self.shared.readable(conn, wait);
                        }
                    }
                    Event::Timer { .. } | Event::Woken => {}
                }
            }
            for (conn, wait) in self.shared.parking.expired(Instant::now()) {
                self.shared.expired(conn, wait);
            }
            if self.shared.listener_failed.load(Ordering::Acquire) {
                self.drain(false);
            }
            if self.is_draining() && !self.said_so {
                self.shared.switch.nudge();
                if self.shared.switch.has_stopped() {
                    // State, not news: it must not be crowded out, and is said again until it is heard.
                    self.said_so = control::send(self.control.as_fd(), &Report::Drains).is_ok();
                }
            }
        }
        self.send_reports();
        Ok(())
    }

    fn is_draining(&self) -> bool {
        self.shared.cx.is_draining()
    }

    fn is_finished(&self) -> bool {
        let done = self.is_draining() && self.shared.switch.has_stopped() && self.shared.load.open() == 0;
        if self.orphaned.is_some_and(|until| done || until <= Instant::now()) {
            // At once: a thread that hangs may hold the lock of a stream that would have to be flushed, and the stream
            // may be a pipe that nobody empties.
            process::exit_now(0);
        }
        done
    }

    fn deadline(&self) -> Deadline {
        let stopping = self.is_draining() && !self.said_so;
        let nudge = stopping.then(|| Instant::now() + NUDGE);
        let first = [nudge, self.shared.parking.earliest(), self.orphaned].into_iter().flatten().min();
        first.map_or(Deadline::NEVER, Deadline::at)
    }

    /// Reads the master's orders, or its death.
    fn hear(&mut self) {
        loop {
            match control::receive(self.control.as_fd()) {
                Ok(Heard::Word(Order::Serve)) => self.serve(),
                Ok(Heard::Word(Order::Drain { last })) => self.drain(last),
                Ok(Heard::Nothing) => return,
                Ok(Heard::End) | Err(_) => return self.be_orphaned(),
            }
        }
    }

    fn obey_signal(&mut self) -> io::Result<()> {
        match self.signals.read()? {
            Some(number::SIGQUIT) => process::exit_now(128 + number::SIGQUIT),
            Some(_) => self.drain(false),
            None => {}
        }
        Ok(())
    }

    fn serve(&mut self) {
        let Some(listener) = self.listener.take() else { return };
        let shared = Arc::clone(&self.shared);
        let spare = self.spare.take();
        match thread("acceptor".to_owned(), move || shared.accept_forever(listener, spare)) {
            Ok(()) => self.shared.cx.scoreboard.0.set_state(self.shared.cx.slot, WorkerState::Serving),
            Err(error) => {
                self.shared.report(Report::ListenerFailed { why: error.to_string() });
                self.shared.switch.never_started();
                self.drain(false);
            }
        }
    }

    /// Stops accepting before anything else; what is in hand is finished by the threads.
    fn drain(&mut self, last: bool) {
        if self.shared.cx.draining.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.listener.take().is_some() {
            self.shared.switch.never_started();
        }
        self.shared.switch.stop(last);
        self.shared.load.close();
        self.shared.parking.drain(self.shared.config.keepalive_drain);
        self.shared.cx.scoreboard.0.set_state(self.shared.cx.slot, WorkerState::Draining);
    }

    /// The master is dead: nobody would restart this worker, or stop it.
    fn be_orphaned(&mut self) {
        if self.orphaned.is_none() {
            // It would be readable for ever.
            let _ = self.poller.deregister(self.control.as_fd());
            self.orphaned = Some(self.shared.after(self.shared.config.orphan_grace));
            self.drain(false);
            self.shared.parking.drain(Duration::ZERO);
        }
    }

    fn send_reports(&self) {
        let reports = std::mem::take(&mut *self.shared.outbox.lock());
        for report in reports {
            // A master that does not read, or is dead, misses the news.
            let _ = control::send(self.control.as_fd(), &report);
        }
    }
}

/// Starts one of the worker's own threads. A panic in it is a fault of this crate's, and ends the process rather than
/// leave it without the thread.
fn thread(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(body)).is_err() {
            process::exit_now(crate::process::fork::PANICKED);
        }
    };
    std::thread::Builder::new().name(name).spawn(guarded).map(drop)
}
