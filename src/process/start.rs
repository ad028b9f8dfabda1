//! The owner's side of a start, as a state machine that never waits: [`Starting::step`] does what can be done now, and
//! [`Starting::interests`] says what to wait for. `Process::spawn` waits by poll; an event loop may wait as it likes.
//!
//! The child is told what to be and what to call while it is still being forked; nothing waits for a message that could
//! have been sent before. Every wait has the process's end beside it, so that a child that dies on the way is an error
//! with the exact cause, at once.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::error::{ForkError, SpawnError};
use super::function::Function;
use super::handle::Process;
use super::owner::{Owner, Server};
use super::protocol::{self, BOOT, Readiness, Record, Refusal, Request, Role, Status};
use super::stdio::Stream;
use super::subject::Terms;
use super::vigil::{Vigil, Waiter};
use crate::ipc::parcel::Parcel;
use crate::ipc::wire::{self, WireError};
use crate::sys::clock::Deadline;
use crate::sys::poll;
use crate::sys::process::PidFd;
use crate::sys::{signal, socket, spawn};

/// The owner's end of a child's life socket.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) socket: OwnedFd,
    sender: wire::Sender,
    pub(super) receiver: wire::Receiver,
    /// The child closed its end, or is gone: there is nothing more to read.
    pub(super) closed: bool,
}

/// What a child is told: what to become and what to call, then the argument.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) start: Vec<u8>,
    pub(super) directory: OwnedFd,
    pub(super) streams: Vec<Stream>,
    /// Kept until the child is ready: handles in it stay the owner's if the start fails.
    pub(super) argument: Parcel,
}

/// How much of [`Orders`] was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Nothing,
    Start,
    All,
}

/// Where the child comes from.
#[derive(Debug)]
enum Origin {
    /// The fork server was not asked yet: its socket was full.
    Unasked { server: Arc<Server>, ends: [OwnedFd; 2], status: OwnedFd },
    /// The fork server was asked; its answer will come here.
    Asked { server: Arc<Server>, status: OwnedFd },
    /// The child exists.
    Exists(Vigil),
    /// None of these any more: the start failed.
    Failed,
}

/// A process being started. Dropped before it is finished, it leaves no process behind.
#[derive(Debug)]
pub(super) struct Starting<R> {
    terms: Terms,
    life: Life,
    origin: Origin,
    /// `None` for a child that was forked here.
    orders: Option<Orders>,
    sent: Sent,
    ready: bool,
    result: PhantomData<fn() -> R>,
}

impl<R> Starting<R> {
    /// Asks the fork server that has called `preload` for a child.
    pub(super) fn by_server(
        owner: &Owner,
        preload: Option<Function>,
        terms: Terms,
        orders: Orders,
    ) -> Result<Self, SpawnError> {
        let (life, child_end) = Life::pair()?;
        let (status, server_end) = socket::seqpacket_pair()?;
        let server = owner.server(preload)?;
        let origin = Origin::Unasked { server, ends: [child_end, server_end], status };
        let mut starting = Self::new(terms, life, origin, Some(orders));
        starting.ask()?;
        Ok(starting)
    }

    /// Executes this program anew as the child.
    pub(super) fn by_exec(owner: &Owner, terms: Terms, orders: Orders) -> Result<Self, SpawnError> {
        let (life, child_end) = Life::pair()?;
        let pidfd = spawn::spawn_self((BOOT, Role::Child.name()), &[child_end.as_fd(), owner.pulse()])?;
        let origin = Origin::Exists(Vigil::new(pidfd, Waiter::Here, terms.clone()));
        Ok(Self::new(terms, life, origin, Some(orders)))
    }

    /// A child that was forked here, and has all it needs.
    pub(super) fn forked(terms: Terms, life: Life, pidfd: PidFd) -> Self {
        let origin = Origin::Exists(Vigil::new(pidfd, Waiter::Here, terms.clone()));
        Self::new(terms, life, origin, None)
    }

    fn new(terms: Terms, life: Life, origin: Origin, orders: Option<Orders>) -> Self {
        let sent = if orders.is_some() { Sent::Nothing } else { Sent::All };
        Self { terms, life, origin, orders, sent, ready: false, result: PhantomData }
    }

    /// Does what can be done without waiting; `true` when the process runs its function. An error is final.
    pub(super) fn step(&mut self) -> Result<bool, SpawnError> {
        self.ask()?;
        self.send()?;
        self.learn_of_child()?;
        self.listen()?;
        let Origin::Exists(vigil) = &mut self.origin else { return Ok(false) };
        if self.ready {
            return Ok(true);
        }
        let Some(end) = vigil.check()? else { return Ok(false) };
        // What it said before it ended is still in the socket.
        self.listen()?;
        if self.ready {
            return Ok(true);
        }
        if end.server_died {
            return Err(SpawnError::ForkServerDied);
        }
        Err(SpawnError::Died(end.exit))
    }

    /// What [`step`](Self::step) waits for: any of these.
    pub(super) fn interests(&self) -> Vec<(BorrowedFd<'_>, poll::Readiness)> {
        let mut interests = Vec::with_capacity(2);
        match &self.origin {
            Origin::Unasked { server, .. } => interests.push((server.control(), poll::Readiness::WRITE)),
            Origin::Asked { status, .. } => interests.push((status.as_fd(), poll::Readiness::READ)),
            Origin::Exists(vigil) => interests.push((vigil.news(), poll::Readiness::READ)),
            Origin::Failed => {}
        }
        // Once it is ready, what it says is for later.
        if !self.life.closed && !self.ready {
            let writable = self.sent != Sent::All;
            let interest = poll::Readiness { readable: true, writable, hung_up: false };
            interests.push((self.life.socket.as_fd(), interest));
        }
        interests
    }

    /// Waits until the process runs its function or the deadline passes.
    pub(super) fn wait(mut self, deadline: Deadline) -> Result<Process<R>, SpawnError> {
        while !self.step()? {
            if deadline.is_expired() {
                return Err(self.time_out());
            }
            poll::wait_many(&self.interests(), deadline)?;
        }
        self.finish()
    }

    /// Gives up.
    pub(super) fn time_out(self) -> SpawnError {
        if let Origin::Unasked { server, .. } | Origin::Asked { server, .. } = &self.origin
            && !server.is_proven()
        {
            // It hangs on its way to `init`, and would for ever. The next start is to find it gone.
            server.kill();
            let _ = server.end_of_dying();
        }
        SpawnError::TimedOut
    }

    /// Takes the started process; only after [`step`](Self::step) said that it runs.
    pub(super) fn finish(self) -> Result<Process<R>, SpawnError> {
        let Origin::Exists(mut vigil) = self.origin else { return Err(SpawnError::TimedOut) };
        if let Some(mut orders) = self.orders {
            orders.argument.commit();
        }
        vigil.has_started();
        Ok(Process::new(self.life, vigil))
    }

    /// Sends the request, once there is room for it.
    fn ask(&mut self) -> Result<(), SpawnError> {
        let Origin::Unasked { server, ends: [child_end, server_end], .. } = &mut self.origin else {
            return Ok(());
        };
        let request = Request::Fork { own_group: self.terms.own_group };
        let fds = [child_end.as_fd(), server_end.as_fd()];
        let mut sent = protocol::send(server.control(), &request, &fds);
        if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            // It died since it was looked at, and took no request: the next one may have it.
            *server = Owner::of_this_process()?.server_after(server)?;
            sent = protocol::send(server.control(), &request, &fds);
        }
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(why_silent(server)),
            sent => sent?,
        }
        if let Origin::Unasked { server, status, .. } = std::mem::replace(&mut self.origin, Origin::Failed) {
            self.origin = Origin::Asked { server, status };
        }
        Ok(())
    }

    /// Sends what there is room for. A child that does not take it has ended or will end, which others tell.
    fn send(&mut self) -> Result<(), SpawnError> {
        let Some(orders) = &self.orders else { return Ok(()) };
        while self.sent != Sent::All {
            let socket = self.life.socket.as_fd();
            let (sent, then) = if self.sent == Sent::Nothing {
                let streams = orders.streams.iter().map(AsFd::as_fd);
                let fds: Vec<_> = std::iter::once(orders.directory.as_fd()).chain(streams).collect();
                (self.life.sender.try_send(socket, &orders.start, &fds), Sent::Start)
            } else {
                let argument = &orders.argument;
                (self.life.sender.try_send(socket, &argument.bytes, &argument.borrowed_fds()), Sent::All)
            };
            match sent {
                Ok(true) => self.sent = then,
                Ok(false) => break,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.sent = Sent::All,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads the fork server's answer.
    fn learn_of_child(&mut self) -> Result<(), SpawnError> {
        let Origin::Asked { server, status, .. } = &self.origin else { return Ok(()) };
        match protocol::receive::<Status>(status.as_fd())? {
            Record::Nothing => Ok(()),
            Record::Whole(Status::Started { pid }, fds) => {
                let fd = fds.into_iter().next().ok_or_else(|| io::Error::other("the pidfd did not come along"))?;
                server.prove();
                if let Origin::Asked { server, status } = std::mem::replace(&mut self.origin, Origin::Failed) {
                    let waiter = Waiter::Server { status, server };
                    self.origin = Origin::Exists(Vigil::new(PidFd::from_fd(pid, fd), waiter, self.terms.clone()));
                }
                Ok(())
            }
            Record::Whole(Status::Refused(Refusal::Multithreaded { threads }), _) => {
                server.prove();
                Err(SpawnError::Fork(ForkError::Multithreaded { threads }))
            }
            Record::Whole(Status::Refused(Refusal::Kernel(failure)), _) => {
                Err(SpawnError::Fork(ForkError::Io(failure.into_error())))
            }
            Record::Whole(Status::Refused(Refusal::Preload(why)), _) => {
                server.prove();
                Err(SpawnError::Preload(why))
            }
            Record::Whole(Status::Ended { exit, .. }, _) => Err(SpawnError::Died(exit)),
            Record::Truncated(status) => {
                if let Status::Started { pid } = status {
                    self.kill_by_pid(pid);
                }
                Err(io::Error::other("no descriptor left for the process (RLIMIT_NOFILE)").into())
            }
            // The fork server closed it.
            Record::Closed => Err(why_silent(server)),
        }
    }

    /// Ends a child whose pidfd was lost for want of a descriptor, so that it does not run its function for nobody.
    fn kill_by_pid(&mut self, pid: u32) {
        // These have served, and one descriptor is needed.
        self.orders = None;
        let Origin::Asked { server, .. } = &self.origin else { return };
        // Some microseconds ago this was the pid of the child. It is not another process's if the server is its parent.
        if let Ok(pidfd) = PidFd::open(pid)
            && pidfd.is_child_of(server.pid())
        {
            // ESRCH: it has just ended.
            let _ = pidfd.send_signal(signal::KILL);
        }
    }

    /// Reads whether the child is ready.
    fn listen(&mut self) -> Result<(), SpawnError> {
        while !self.ready && !self.life.closed {
            match self.life.receiver.try_recv(self.life.socket.as_fd()) {
                Ok(None) => break,
                Ok(Some(message)) => match protocol::decode(&message.bytes).map_err(io::Error::other)? {
                    (Readiness::Ready, _) => self.ready = true,
                    (Readiness::Failed(failure), _) => return Err(SpawnError::Setup(failure.into_error())),
                },
                Err(WireError::Closed) => self.life.closed = true,
                Err(error) => return Err(io::Error::other(error).into()),
            }
        }
        Ok(())
    }
}

/// Why the fork server has closed a socket and not answered. One that never served has died as each of its program
/// does, on its way to `init`.
fn why_silent(server: &Server) -> SpawnError {
    match server.end_of_dying() {
        Err(error) => error.into(),
        Ok(Some(exit)) if !server.is_proven() => SpawnError::Died(exit),
        Ok(Some(_)) => SpawnError::ForkServerDied,
        Ok(None) => io::Error::other("the fork server has no descriptor left (RLIMIT_NOFILE)").into(),
    }
}

impl Life {
    fn new(socket: OwnedFd) -> Self {
        let (sender, receiver) = (wire::Sender::new(wire::DEFAULT_LIMIT), wire::Receiver::new(wire::DEFAULT_LIMIT));
        Self { socket, sender, receiver, closed: false }
    }

    /// The owner's end, and the child's.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socket::seqpacket_pair()?;
        Ok((Self::new(ours), theirs))
    }
}
