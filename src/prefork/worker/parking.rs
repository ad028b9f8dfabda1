//! The connections that wait without a thread: new and silent, idle between requests, in the middle of a request, or
//! about to be closed.
//!
//! Each connection has one place in the table from its first wait to its end, and its index is its token in the
//! poller. A place is in one of these states:
//!
//! ```text
//!             park: arm, then                      the poller answers,
//!             nobody fired                         or its time is up
//!   Out ──────────────────────────▶ Parked ─────────────────────────▶ Out
//!    │                                                                 │
//!    └──▶ Fired ──▶ Out                                                └─ leave ──▶ Free
//!      the poller answers between arm and park; park hands the connection back
//! ```
//!
//! The thread that parks a connection arms the poller before it puts the connection into the table, and without holding
//! the table's lock. So the answer may come first; then it finds the place empty, leaves a mark, and the parking thread
//! takes the connection back and has it served. Answers are hints: one that speaks of a connection that is gone, whose
//! place was given to another, has that one looked at once too often.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::prefork::conn::Conn;
use crate::reactor::{Interest, Mode, Registrar, Token, Waker};

/// Why a connection waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// For the first byte of a request.
    Idle,
    /// For the rest of a request.
    Partial,
    /// For the client to close its side, after everything was said.
    Goodbye,
}

/// What became of a connection that was to be parked.
#[derive(Debug)]
#[must_use = "a connection that was handed back is to be served"]
pub(super) enum Parked {
    /// It waits.
    Waits,
    /// It has something to read already.
    Ready(Box<Conn>),
}

/// The table.
#[derive(Debug)]
pub(super) struct Parking {
    registrar: Registrar,
    waker: Waker,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    places: Vec<Place>,
    free: Vec<usize>,
    /// No parked connection's time is up before this.
    earliest: Option<Instant>,
    /// Set when the worker drains: how long an idle connection may go on being idle.
    grace: Option<Duration>,
}

#[derive(Debug)]
enum Place {
    Free,
    Out,
    Fired,
    Parked { conn: Box<Conn>, wait: Wait, since: Instant, until: Instant },
}

impl Parking {
    pub(super) fn new(registrar: Registrar, waker: Waker) -> Self {
        Self { registrar, waker, table: Mutex::default() }
    }

    /// Lets a connection wait until it can be read or until its time is up.
    ///
    /// # Errors
    ///
    /// The poller cannot watch it; the connection is closed.
    pub(super) fn park(&self, mut conn: Box<Conn>, wait: Wait, until: Instant) -> io::Result<Parked> {
        let (key, armed) = match conn.key {
            Some(key) => (key, self.registrar.reregister(conn.as_fd(), Token(key), Interest::READ, Mode::OneShot)),
            None => {
                let key = self.table.lock().enter();
                conn.key = Some(key);
                (key, self.registrar.register(conn.as_fd(), Token(key), Interest::READ, Mode::OneShot))
            }
        };
        if let Err(error) = armed {
            self.leave(conn);
            return Err(error);
        }
        let mut table = self.table.lock();
        if matches!(table.places[key], Place::Fired) {
            table.places[key] = Place::Out;
            return Ok(Parked::Ready(conn));
        }
        let since = Instant::now();
        let until = limit(table.grace, wait, since, until);
        let sooner = table.sooner(until);
        table.places[key] = Place::Parked { conn, wait, since, until };
        drop(table);
        if sooner {
            // The owner may sleep for longer than that.
            self.waker.wake();
        }
        Ok(Parked::Waits)
    }

    /// Takes the connection that the poller says can be read. `None`: it is on its way into the table, or gone.
    pub(super) fn take(&self, token: Token) -> Option<(Box<Conn>, Wait)> {
        let mut table = self.table.lock();
        let place = table.places.get_mut(token.0)?;
        match std::mem::replace(place, Place::Out) {
            Place::Parked { conn, wait, .. } => return Some((conn, wait)),
            Place::Free => *place = Place::Free,
            Place::Out | Place::Fired => *place = Place::Fired,
        }
        None
    }

    /// Closes a connection, and frees its place.
    pub(super) fn leave(&self, conn: Box<Conn>) {
        let key = conn.key;
        // Before its place is given away: the poller does not know the descriptor any more once it is closed.
        drop(conn);
        if let Some(key) = key {
            let mut table = self.table.lock();
            table.places[key] = Place::Free;
            table.free.push(key);
        }
    }

    /// When [`Parking::expired`] should be called next.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.table.lock().earliest
    }

    /// Takes the connections whose time is up.
    pub(super) fn expired(&self, now: Instant) -> Vec<(Box<Conn>, Wait)> {
        let mut table = self.table.lock();
        if table.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let (mut expired, mut earliest) = (Vec::new(), None);
        for place in &mut table.places {
            let Place::Parked { until, .. } = place else { continue };
            if *until > now {
                earliest = earliest.map_or(Some(*until), |earliest: Instant| Some(earliest.min(*until)));
            } else if let Place::Parked { conn, wait, .. } = std::mem::replace(place, Place::Out) {
                expired.push((conn, wait));
            }
        }
        table.earliest = earliest;
        expired
    }

    /// From now on a connection may be idle for `grace` only, counted from its last request. The owner must look at
    /// [`Parking::earliest`] again.
    pub(super) fn drain(&self, grace: Duration) {
        let mut table = self.table.lock();
        table.grace = Some(grace);
        let mut earliest = table.earliest;
        for place in &mut table.places {
            if let Place::Parked { wait, since, until, .. } = place {
                *until = limit(Some(grace), *wait, *since, *until);
                earliest = earliest.map_or(Some(*until), |earliest| Some(earliest.min(*until)));
            }
        }
        table.earliest = earliest;
    }
}

impl Table {
    fn enter(&mut self) -> usize {
        if let Some(key) = self.free.pop() {
            self.places[key] = Place::Out;
            return key;
        }
        self.places.push(Place::Out);
        self.places.len() - 1
    }

    /// Notes a time that will be up; whether it is the first.
    fn sooner(&mut self, until: Instant) -> bool {
        let sooner = self.earliest.is_none_or(|earliest| until < earliest);
        if sooner {
            self.earliest = Some(until);
        }
        sooner
    }
}

/// Only idle connections are hurried: a request that has begun is in progress.
fn limit(grace: Option<Duration>, wait: Wait, since: Instant, until: Instant) -> Instant {
    match (wait, grace.and_then(|grace| since.checked_add(grace))) {
        (Wait::Idle, Some(end)) => until.min(end),
        _ => until,
    }
}
