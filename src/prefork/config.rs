//! The master's settings, checked before anything is opened.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use super::conn::{Conn, Outcome};
use super::cx::WorkerCx;
use super::error::MasterError;
use super::event::Event;
use super::master;

type Service = dyn Fn(&mut Conn, &WorkerCx) -> Outcome + Send + Sync;
type Boot = dyn Fn(&WorkerCx) -> Result<(), Box<dyn Error + Send + Sync>> + Send + Sync;
type Hook = dyn FnMut(&Event);

/// What a worker needs to know.
pub(super) struct Config {
    pub(super) threads: usize,
    pub(super) max_connections: usize,
    pub(super) keep_alive: Duration,
    pub(super) io_timeout: Duration,
    pub(super) keepalive_drain: Duration,
    pub(super) orphan_grace: Duration,
    pub(super) linger: Duration,
    pub(super) boot: Option<Box<Boot>>,
    pub(super) service: Box<Service>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// What only the master needs to know.
pub(super) struct Orders {
    pub(super) workers: usize,
    pub(super) backlog: u32,
    pub(super) boot_timeout: Duration,
    pub(super) graceful_timeout: Duration,
    pub(super) on_event: Option<Box<Hook>>,
}

/// The pre-fork server (gunicorn's arbiter): a master process and the workers it forks.
///
/// See the [module](super) for an example.
#[derive(Debug)]
pub struct Master {
    _never: std::convert::Infallible,
}

impl Master {
    /// A server with default settings. It needs an address and a service.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

/// How a server that was asked to stop came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// How many workers had to be killed, because they were told to end at once or did not finish in time. Zero: every
    /// request that was begun was finished.
    pub killed: usize,
}

/// The settings of a server, and [`Builder::run`].
#[must_use = "a server starts with run()"]
pub struct Builder {
    addrs: io::Result<Vec<SocketAddr>>,
    service: Option<Box<Service>>,
    workers: usize,
    threads: usize,
    max_connections: usize,
    backlog: u32,
    keep_alive: Duration,
    io_timeout: Duration,
    keepalive_drain: Duration,
    graceful_timeout: Duration,
    boot_timeout: Duration,
    orphan_grace: Duration,
    linger: Duration,
    boot: Option<Box<Boot>>,
    on_event: Option<Box<Hook>>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut builder = f.debug_struct("Builder");
        builder.field("addrs", &self.addrs).field("workers", &self.workers).field("threads", &self.threads);
        builder.finish_non_exhaustive()
    }
}

impl Builder {
    fn new() -> Self {
        Self {
            addrs: Ok(Vec::new()),
            service: None,
            workers: crate::process::cpu_count().max(1),
            threads: 4,
            max_connections: 10_000,
            backlog: 4096,
            keep_alive: Duration::from_secs(15),
            io_timeout: Duration::from_secs(30),
            keepalive_drain: Duration::from_secs(1),
            graceful_timeout: Duration::from_secs(30),
            boot_timeout: Duration::from_secs(60),
            orphan_grace: Duration::from_secs(1),
            linger: Duration::from_secs(2),
            boot: None,
            on_event: None,
        }
    }

    /// The address to listen on. Of several (a name may have them) the first that can be bound. Port 0 lets the kernel
    /// choose; [`Event::Started`] tells which one it was.
    pub fn bind(mut self, addr: impl ToSocketAddrs) -> Self {
        self.addrs = addr.to_socket_addrs().map(Iterator::collect);
        self
    }

    /// How many workers serve. Default: the processors that this process may use.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How many requests one worker serves at a time. Connections without a request need no thread. Default 4.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// What serves a request: called with a connection that has input, on one of a worker's threads. If it panics, the
    /// connection is closed, the panic is counted and reported, and the worker serves on.
    ///
    /// What it captures was made before the fork: all workers share its memory copy-on-write, and its descriptors. A
    /// thread or a random generator made before the fork is not for it; see [`Builder::boot`].
    pub fn service(mut self, service: impl Fn(&mut Conn, &WorkerCx) -> Outcome + Send + Sync + 'static) -> Self {
        self.service = Some(Box::new(service));
        self
    }

    /// What each worker does before it is ready, while it has one thread: opening what cannot be shared, starting
    /// threads, dropping privileges. If it fails, panics, or takes longer than [`Builder::boot_timeout`], the worker has
    /// not booted: a first start is tried a few times, a reload is dropped.
    ///
    /// SIGTERM and SIGQUIT are blocked already, because threads inherit that and the worker reads these signals. If
    /// the master dies meanwhile, the worker is killed.
    pub fn boot<E>(mut self, boot: impl Fn(&WorkerCx) -> Result<(), E> + Send + Sync + 'static) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.boot = Some(Box::new(move |cx| boot(cx).map_err(Into::into)));
        self
    }

    /// What the master calls for each event, for example to print its line. It runs in the master's only thread: it
    /// must not start threads, and while it blocks, the master reacts to nothing (the workers serve on). Its panics
    /// are ignored.
    pub fn on_event(mut self, hook: impl FnMut(&Event) + 'static) -> Self {
        self.on_event = Some(Box::new(hook));
        self
    }

    /// The most connections that one worker holds open, idle ones included; further ones wait in the queue. It is also
    /// kept below the limit of open files. Default 10,000.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// How many connections may wait to be accepted. The kernel cuts it to `net.core.somaxconn`. Default 4096.
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// How long a connection may be idle between two requests. Default 15 s.
    pub fn keep_alive(mut self, timeout: Duration) -> Self {
        self.keep_alive = timeout;
        self
    }

    /// How long one read or write of the service may take, how long a new connection may be silent, and how long a
    /// request may wait for its rest if the service sets no deadline. Default 30 s.
    pub fn io_timeout(mut self, timeout: Duration) -> Self {
        self.io_timeout = timeout;
        self
    }

    /// How long a worker that drains keeps an idle connection, counted from the order to drain, so that a client that is
    /// just sending the next one gets its answer. Default 1 s.
    pub fn keepalive_drain(mut self, grace: Duration) -> Self {
        self.keepalive_drain = grace;
        self
    }

    /// How long a worker may drain before it is killed. Default 30 s.
    pub fn graceful_timeout(mut self, timeout: Duration) -> Self {
        self.graceful_timeout = timeout;
        self
    }

    /// How long a worker may take to get ready before it is killed. Default 60 s.
    pub fn boot_timeout(mut self, timeout: Duration) -> Self {
        self.boot_timeout = timeout;
        self
    }

    /// How long requests in progress may go on when the master has died. Then the worker ends, whatever it does.
    /// Default 1 s.
    pub fn orphan_grace(mut self, grace: Duration) -> Self {
        self.orphan_grace = grace;
        self
    }

    /// Listens, forks the workers and looks after them until a signal ends the server. A worker never returns from
    /// this. The signals that the master acts on (SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGTTIN, SIGTTOU) are as before
    /// when it returns.
    ///
    /// If the master is killed, its workers finish what they have within [`Builder::orphan_grace`] and end.
    ///
    /// # Errors
    ///
    /// [`MasterError`]; no worker and no descriptor is left behind then.
    ///
    /// # Blocking
    ///
    /// Until the server has stopped.
    pub fn run(self) -> Result<Stopped, MasterError> {
        let invalid = |what| Err(MasterError::Invalid { what });
        let Some(service) = self.service else { return invalid("a server needs a service") };
        if self.workers == 0 {
            return invalid("a server needs at least one worker");
        }
        if self.threads == 0 {
            return invalid("a worker needs at least one thread");
        }
        if self.max_connections == 0 {
            return invalid("a worker needs at least one connection");
        }
        let addrs = self.addrs.map_err(MasterError::Resolve)?;
        if addrs.is_empty() {
            return invalid("a server needs an address to listen on");
        }
        let config = Config {
            threads: self.threads,
            max_connections: self.max_connections,
            keep_alive: self.keep_alive,
            io_timeout: self.io_timeout,
            keepalive_drain: self.keepalive_drain,
            orphan_grace: self.orphan_grace,
            linger: self.linger,
            boot: self.boot,
            service,
        };
        let orders = Orders {
            workers: self.workers,
            backlog: self.backlog,
            boot_timeout: self.boot_timeout,
            graceful_timeout: self.graceful_timeout,
            on_event: self.on_event,
        };
        master::run(&addrs, Arc::new(config), orders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> Builder {
        Master::builder().bind("127.0.0.1:0").workers(1).threads(1).service(|_, _| Outcome::Close)
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_before_anything_starts() {
        let cases = [
            (builder().workers(0), "a server needs at least one worker"),
            (builder().threads(0), "a worker needs at least one thread"),
            (builder().max_connections(0), "a worker needs at least one connection"),
            (Master::builder().bind("127.0.0.1:0"), "a server needs a service"),
            (Master::builder().service(|_, _| Outcome::Close), "a server needs an address to listen on"),
        ];
        for (builder, what) in cases {
            assert_eq!(builder.run().unwrap_err().to_string(), what);
        }
    }

    #[test]
    fn an_address_that_does_not_resolve_is_an_error() {
        let error = builder().bind("not an address").run().unwrap_err();
        assert!(matches!(error, MasterError::Resolve(_)), "{error}");
    }

    #[test]
    fn a_process_with_threads_cannot_be_a_master() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || held.recv());
        let error = builder().run().unwrap_err();
        assert!(matches!(error, MasterError::Multithreaded { threads } if threads >= 2), "{error}");
        drop(hold);
        assert!(thread.join().unwrap().is_err());
    }
}
