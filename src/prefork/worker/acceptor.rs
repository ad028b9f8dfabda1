//! The acceptor: one thread in a blocking accept4 on the socket that all workers share.
//!
//! Blocking accept wakes exactly one thread per connection, the one that has waited longest, so connections spread
//! evenly. The price is that the thread can hear nothing else. To stop it, the loop sets a flag and sends it a signal
//! whose handler does nothing, so that accept4 returns EINTR. The signal may come just before the call; so it is sent
//! again until the thread says that it has stopped.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use super::Shared;
use super::parking::Wait;
use crate::prefork::conn::{Conn, Fill};
use crate::prefork::control::Report;
use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Readiness};
use crate::sys::signal::served;
use crate::sys::tcp::{self, AcceptError};
use crate::sys::thread;

/// How long nothing is accepted after descriptors or memory ran out.
const STARVED_PAUSE: Duration = Duration::from_millis(100);

const RUN: u8 = 0;
const STOP: u8 = 1;
const SWEEP: u8 = 2;

/// What the loop and the acceptor tell each other.
#[derive(Debug, Default)]
pub(super) struct Switch {
    /// `RUN`; the loop sets `STOP`, or `SWEEP` for "take what stands in the queue, then stop".
    order: AtomicU8,
    /// The acceptor's thread; 0 before it runs.
    thread: AtomicU32,
    /// The acceptor's copy of the listening socket is closed.
    stopped: AtomicBool,
}

impl Switch {
    /// Tells the acceptor to stop. [`Switch::nudge`] must follow until [`Switch::has_stopped`].
    pub(super) fn stop(&self, sweep: bool) {
        self.order.store(if sweep { SWEEP } else { STOP }, Ordering::Release);
    }

    /// Interrupts the acceptor's accept4, if it is in it.
    pub(super) fn nudge(&self) {
        let thread = self.thread.load(Ordering::Acquire);
        if thread != 0 && !self.has_stopped() {
            // It fails only if the thread has just ended.
            let _ = served::send_to_thread(thread, served::number::SIGURG);
        }
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// There is no acceptor, and will be none.
    pub(super) fn never_started(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    fn order(&self) -> u8 {
        self.order.load(Ordering::Acquire)
    }
}

impl Shared {
    /// The life of the acceptor thread. `spare` is a descriptor to give up when there are no others.
    pub(super) fn accept_forever(&self, listener: TcpListener, mut spare: Option<File>) {
        let switch = &self.switch;
        switch.thread.store(thread::native_id(), Ordering::Release);
        let mut no_turn_before = None;
        let mut starving = false;
        let mut memory = Vec::new();
        while switch.order() == RUN {
            self.load.wait_for_room();
            self.load.give_turn(&mut no_turn_before);
            if switch.order() != RUN {
                break;
            }
            match tcp::accept(&listener) {
                Ok((stream, peer)) if spare.is_some() => {
                    starving = false;
                    self.arrive(stream, peer, &mut memory);
                }
                Ok((stream, peer)) => {
                    // The spare descriptor was given up for this one. If there is another one for a spare again, all is
                    // well; if not, this client is turned away, so that it does not wait for nothing.
                    spare = open_spare().ok();
                    if spare.is_some() {
                        self.arrive(stream, peer, &mut memory);
                    } else {
                        drop(stream);
                        spare = open_spare().ok();
                        self.load.pause(STARVED_PAUSE);
                    }
                }
                Err(AcceptError::Interrupted | AcceptError::Passing) => {}
                Err(AcceptError::OutOfResources) => {
                    // Once per famine, not ten times a second.
                    if !std::mem::replace(&mut starving, true) {
                        self.report(Report::Starved);
                    }
                    // The others may have descriptors: the queue is theirs, too.
                    self.load.pause(STARVED_PAUSE);
                    spare = None;
                }
                Err(AcceptError::Listener(error)) => {
                    self.report(Report::ListenerFailed { why: error.to_string() });
                    self.listener_failed.store(true, Ordering::Release);
                    break;
                }
            }
        }
        if switch.order() == SWEEP {
            self.sweep(&listener, &mut memory);
        }
        drop(listener);
        switch.stopped.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Takes what stands in the queue. Nothing is added to it any more, so this ends; another worker may take the last
    /// connection first, and then the accept waits for the next nudge.
    fn sweep(&self, listener: &TcpListener, memory: &mut Vec<u8>) {
        while let Ok(ready) = poll::wait(listener.as_fd(), Readiness::READ, Deadline::after(Duration::ZERO)) {
            if !ready.readable {
                return;
            }
            match tcp::accept(listener) {
                Ok((stream, peer)) => self.arrive(stream, peer, memory),
                Err(AcceptError::Interrupted | AcceptError::Passing) => {}
                Err(AcceptError::OutOfResources | AcceptError::Listener(_)) => return,
            }
        }
    }

    /// A new connection waits for its first byte without a thread, like one between two requests. When connections have
    /// to queue, that byte is usually there already. `memory`: the acceptor's own, to read into.
    fn arrive(&self, stream: TcpStream, peer: SocketAddr, memory: &mut Vec<u8>) {
        let mut conn = Box::new(Conn::new(stream, peer, self.config.io_timeout, self.load.admit()));
        conn.input().lend_memory(memory);
        match conn.fill() {
            Ok(Fill::Data(_)) => self.dispatch(conn),
            Ok(Fill::Pending) => {
                conn.input().take_memory(memory);
                self.park(conn, Wait::Idle, self.after(self.config.io_timeout));
            }
            // It is gone again.
            Ok(Fill::End | Fill::Full) | Err(_) => drop(conn),
        }
    }
}

/// A descriptor that stands for nothing.
pub(super) fn open_spare() -> io::Result<File> {
    File::open("/dev/null")
}
