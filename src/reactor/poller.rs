//! The poller: one thread owns it and waits in it for descriptors, timers and wake-ups.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use super::registrar::WAKER;
use super::timers::Timers;
use super::{Interest, Mode, Registrar, TimerId, Token, Waker};
use crate::sys::clock::Deadline;
use crate::sys::epoll::{Buffer, Epoll};
use crate::sys::poll::Readiness;

/// Ready descriptors taken from the kernel at a time.
const BATCH: usize = 256;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A registered descriptor answered. A hint: the operation that follows must be one that does not block.
    Ready {
        token: Token,
        /// A read will not block: data, a connection, or end of file.
        readable: bool,
        /// A write will not block.
        writable: bool,
        /// The other side is gone for good, or the descriptor has an error. There may still be data to read, and a
        /// pipe at its end says only this.
        hung_up: bool,
    },
    /// A timer came due. It is not set any more.
    Timer { token: Token, id: TimerId },
    /// Somebody called [`Waker::wake`] since the last poll.
    Woken,
}

/// The one event loop of the crate. It decides nothing: it says what happened, and its owner acts.
///
/// Timers belong to the owner. Descriptors may be registered and re-armed by other threads through a [`Registrar`].
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: Arc<Epoll>,
    registrar: Registrar,
    waker: Waker,
    timers: Timers,
    answers: Buffer,
}

impl Poller {
    /// A poller with nothing registered. It holds two descriptors, both closed on exec; EMFILE is an error.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = Arc::new(Epoll::new()?);
        let waker = Waker::new()?;
        epoll.add(waker.as_fd(), Readiness::READ, WAKER.0 as u64, false)?;
        let registrar = Registrar::new(Arc::clone(&epoll));
        Ok(Self { epoll, registrar, waker, timers: Timers::default(), answers: Buffer::new(BATCH) })
    }

    /// The poller's own descriptors, for a fork that must not pass them on.
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "the pre-fork master's"))]
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.epoll.as_fd(), self.waker.as_fd()]
    }

    /// [`Registrar::register`]; to change a registration, ask the [`registrar`](Self::registrar).
    pub(crate) fn register(&self, fd: BorrowedFd<'_>, token: Token, interest: Interest, mode: Mode) -> io::Result<()> {
        self.registrar.register(fd, token, interest, mode)
    }

    /// [`Registrar::deregister`].
    pub(crate) fn deregister(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.registrar.deregister(fd)
    }

    /// The interest list, for other threads.
    pub(crate) fn registrar(&self) -> Registrar {
        self.registrar.clone()
    }

    /// A wake-up, for other threads.
    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sets a timer; it fires once, at `at` or later, never before.
    pub(crate) fn set_timer(&mut self, at: Deadline, token: Token) -> TimerId {
        self.timers.set(at, token)
    }

    /// Takes a timer back. True: it was set, and its event will not come. False: its event was delivered already,
    /// perhaps in the batch that the owner is working through (compare the [`TimerId`]), or it was cancelled before.
    pub(crate) fn cancel_timer(&mut self, id: TimerId) -> bool {
        self.timers.cancel(id)
    }

    /// Waits until something happens or the deadline passes, and replaces the content of `events` by what happened:
    /// descriptors and the wake-up first, then timers in the order in which they came due, so that data which came
    /// just in time is seen before its timeout. Empty after the deadline. A signal does not end the wait.
    ///
    /// # Stale events
    ///
    /// The events of one call are a batch. When the owner, while it works through a batch, deregisters a descriptor
    /// and gives its token to another one, an event further down in the batch still speaks of the first. Either of
    /// two habits makes that harmless: take tokens from a counter and never use one twice (then the event names
    /// something that is gone), or take every `Ready` as a hint and meet it with an operation that may say
    /// `WouldBlock`. No event of a deregistered descriptor comes in a **later** batch.
    ///
    /// # Blocking
    ///
    /// Until the first event, at most until `deadline`.
    pub(crate) fn poll(&mut self, events: &mut Vec<Event>, deadline: Deadline) -> io::Result<()> {
        events.clear();
        loop {
            let until = earlier(deadline, self.timers.next());
            for (token, answer) in self.epoll.wait(&mut self.answers, until)? {
                events.push(if token == WAKER.0 as u64 {
                    self.waker.take()?;
                    Event::Woken
                } else {
                    ready(token, answer)
                });
            }
            let now = Instant::now();
            while let Some((id, token)) = self.timers.take_due(now) {
                events.push(Event::Timer { token, id });
            }
            if !events.is_empty() || deadline.is_expired() {
                return Ok(());
            }
        }
    }
}

/// The earlier of a deadline and the next timer.
fn earlier(deadline: Deadline, timer: Option<Instant>) -> Deadline {
    match (deadline.instant(), timer) {
        (Some(deadline), Some(timer)) => Deadline::at(deadline.min(timer)),
        (None, Some(timer)) => Deadline::at(timer),
        (_, None) => deadline,
    }
}

/// The event of an answer of the kernel.
fn ready(token: u64, answer: Readiness) -> Event {
    let Readiness { readable, writable, hung_up } = answer;
    // Only tokens that were a `usize` are ever registered, and on the targets of this crate the two are one size.
    let token = Token(usize::try_from(token).unwrap_or(usize::MAX));
    Event::Ready { token, readable, writable, hung_up }
}
