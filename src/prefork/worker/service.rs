//! The service threads: each takes a connection that can be read, has it served, and parks it again.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::Shared;
use super::parking::{Parked, Wait};
use crate::prefork::conn::{Conn, Fill, Outcome};
use crate::prefork::control::{Report, short};
use crate::prefork::scoreboard::Field;
use crate::sys::clock;

impl Shared {
    /// The life of a service thread.
    pub(super) fn serve_forever(&self) {
        let mut memory = Vec::new();
        while let Ok(conn) = self.ready.get() {
            self.serve(conn, &mut memory);
            self.load.end();
        }
    }

    /// Hands a connection to the service threads.
    pub(super) fn dispatch(&self, conn: Box<Conn>) {
        self.load.begin();
        if let Err(refused) = self.ready.put(conn) {
            // Only at the worker's very end.
            self.parking.leave(refused.into_inner());
            self.load.end();
        }
    }

    fn serve(&self, mut conn: Box<Conn>, memory: &mut Vec<u8>) {
        conn.input().lend_memory(memory);
        loop {
            // A request that had its time has the last word now: it is not waited for again.
            let last_word = conn.is_in_request() && conn.is_overdue();
            let outcome = self.call(&mut conn);
            if conn.was_answered() {
                self.cx.scoreboard.0.answered(self.cx.slot);
            }
            match outcome {
                Outcome::KeepAlive => conn.end_request(),
                Outcome::More if last_word || !conn.may_get_more() => return self.goodbye(conn),
                Outcome::More if conn.buffer().is_empty() => conn.end_request(),
                Outcome::More => {
                    let until = conn.patience();
                    return self.park(conn, Wait::Partial, until);
                }
                Outcome::Close => return self.goodbye(conn),
            }
            if conn.buffer().is_empty() {
                conn.input().take_memory(memory);
                let until = self.after(self.config.keep_alive);
                return self.park(conn, Wait::Idle, until);
            }
            if self.load.pending() > self.config.threads {
                // The next pipelined request waits its turn behind the other connections.
                return self.dispatch(conn);
            }
        }
    }

    /// One call of the service. A panic ends the connection and nothing else.
    fn call(&self, conn: &mut Conn) -> Outcome {
        let board = &self.cx.scoreboard.0;
        conn.begin();
        board.add(self.cx.slot, Field::Busy, 1);
        // Whatever the service broke by unwinding is its own, or the connection's, which is closed.
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.config.service)(conn, &self.cx)));
        board.word(self.cx.slot, Field::Busy).fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        outcome.unwrap_or_else(|payload| {
            board.add(self.cx.slot, Field::Panics, 1);
            self.report(Report::Panicked { message: short(message(&*payload)) });
            // A payload's destructor may panic as well; that one is dropped for good.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::ManuallyDrop::new);
            Outcome::Close
        })
    }

    /// Lets a connection wait without a thread.
    pub(super) fn park(&self, conn: Box<Conn>, wait: Wait, until: Instant) {
        match self.parking.park(conn, wait, until) {
            Ok(Parked::Waits) => {}
            Ok(Parked::Ready(conn)) => self.dispatch(conn),
            // It was closed: the kernel has no memory to watch it.
            Err(_) => self.report(Report::Starved),
        }
    }

    /// A connection that waits can be read.
    pub(super) fn readable(&self, conn: Box<Conn>, wait: Wait) {
        match wait {
            Wait::Idle | Wait::Partial => self.dispatch(conn),
            Wait::Goodbye => self.see_off(conn),
        }
    }

    /// A connection has waited long enough.
    pub(super) fn expired(&self, mut conn: Box<Conn>, wait: Wait) {
        match wait {
            // The last look: a request that came in just now is served.
            Wait::Idle if matches!(conn.fill(), Ok(Fill::Data(_))) => self.dispatch(conn),
            // The service knows how to say that it took too long.
            Wait::Partial => self.dispatch(conn),
            Wait::Idle | Wait::Goodbye => self.parking.leave(conn),
        }
    }

    /// Closes a connection so that the client gets what was written. To close a socket with unread input, or one that
    /// input arrives at later, resets the connection, and the reset may overtake the answer. So: say that nothing more
    /// comes, and wait for the client to close, for a bounded time.
    fn goodbye(&self, mut conn: Box<Conn>) {
        let until = self.after(self.config.linger);
        conn.set_deadline(Some(until));
        if conn.say_goodbye() {
            self.parking.leave(conn);
        } else {
            self.linger(conn, until);
        }
    }

    fn see_off(&self, mut conn: Box<Conn>) {
        let until = conn.deadline().unwrap_or_else(Instant::now);
        if conn.discard() || conn.is_overdue() {
            self.parking.leave(conn);
        } else {
            self.linger(conn, until);
        }
    }

    fn linger(&self, mut conn: Box<Conn>, until: Instant) {
        // A client that sends without end is not waited for.
        while !conn.is_overdue() {
            match self.parking.park(conn, Wait::Goodbye, until) {
                Ok(Parked::Ready(back)) => conn = back,
                Ok(Parked::Waits) | Err(_) => return,
            }
            if conn.discard() {
                break;
            }
        }
        self.parking.leave(conn);
    }

    /// Now and `pause`.
    pub(super) fn after(&self, pause: std::time::Duration) -> Instant {
        clock::later(Instant::now(), pause)
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}
