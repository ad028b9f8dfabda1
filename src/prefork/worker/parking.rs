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
    Parked { conn: Box<Conn>, wait: Wait, until: Instant },
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
        let until = limit(table.grace, wait, Instant::now(), until);
        let sooner = table.sooner(until);
        table.places[key] = Place::Parked { conn, wait, until };
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

    /// From now on a connection may be idle for `grace` only, counted from now, or from its next request: a client may
    /// be sending to a connection that has been idle for long. The owner must look at [`Parking::earliest`] again.
    pub(super) fn drain(&self, grace: Duration) {
        let now = Instant::now();
        let mut table = self.table.lock();
        table.grace = Some(grace);
        let mut earliest = table.earliest;
        for place in &mut table.places {
            if let Place::Parked { wait, until, .. } = place {
                *until = limit(Some(grace), *wait, now, *until);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use crate::prefork::worker::load::tests::load;
    use crate::reactor::{Event, Poller};
    use crate::sys::clock::Deadline;

    const LATER: Duration = Duration::from_secs(3600);

    struct Lot {
        poller: Poller,
        parking: Parking,
    }

    impl Lot {
        fn new() -> Self {
            let poller = Poller::new().unwrap();
            let parking = Parking::new(poller.registrar(), poller.waker());
            Self { poller, parking }
        }

        /// Whether the poller speaks of a connection now.
        fn is_ready(&mut self) -> bool {
            let mut events = Vec::new();
            self.poller.poll(&mut events, Deadline::after(Duration::ZERO)).unwrap();
            events.iter().any(|event| matches!(event, Event::Ready { .. }))
        }

        /// The next token that the poller speaks of.
        fn next(&mut self) -> Token {
            let mut events = Vec::new();
            loop {
                self.poller.poll(&mut events, Deadline::NEVER).unwrap();
                for event in &events {
                    if let Event::Ready { token, .. } = *event {
                        return token;
                    }
                }
            }
        }

        fn park(&self, conn: Box<Conn>, wait: Wait, pause: Duration) {
            assert!(matches!(self.parking.park(conn, wait, Instant::now() + pause).unwrap(), Parked::Waits));
        }
    }

    fn connection() -> (TcpStream, Box<Conn>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, peer) = listener.accept().unwrap();
        served.set_nonblocking(true).unwrap();
        (client, Box::new(Conn::new(served, peer, LATER, load(1, 10).admit())))
    }

    #[test]
    fn a_parked_connection_comes_back_once_when_it_can_be_read() {
        let mut lot = Lot::new();
        let (mut client, conn) = connection();
        lot.park(conn, Wait::Idle, LATER);
        assert!(!lot.is_ready());
        client.write_all(b"x").unwrap();
        let token = lot.next();
        let (conn, wait) = lot.parking.take(token).unwrap();
        assert_eq!(wait, Wait::Idle);
        // Not armed while it is out.
        client.write_all(b"y").unwrap();
        assert!(!lot.is_ready());
        // And under its old token when it waits again.
        lot.park(conn, Wait::Partial, LATER);
        assert_eq!(lot.next(), token);
    }

    #[test]
    fn an_answer_that_comes_before_the_connection_is_in_the_table_is_not_lost() {
        let lot = Lot::new();
        let (_client, conn) = connection();
        lot.park(conn, Wait::Idle, LATER);
        let (conn, _) = lot.parking.take(Token(0)).unwrap();
        // The loop is told of it while a thread has it, that is between arming and parking.
        assert!(lot.parking.take(Token(0)).is_none());
        let until = Instant::now() + LATER;
        let Parked::Ready(conn) = lot.parking.park(conn, Wait::Idle, until).unwrap() else { panic!("lost") };
        // Once told is enough.
        lot.park(conn, Wait::Idle, LATER);
    }

    #[test]
    fn places_are_used_again_and_answers_for_nobody_are_ignored() {
        let lot = Lot::new();
        assert!(lot.parking.take(Token(7)).is_none());
        let (_client, conn) = connection();
        lot.park(conn, Wait::Idle, LATER);
        let (conn, _) = lot.parking.take(Token(0)).unwrap();
        lot.parking.leave(conn);
        assert!(lot.parking.take(Token(0)).is_none());
        let (_client, conn) = connection();
        lot.park(conn, Wait::Idle, LATER);
        assert!(lot.parking.take(Token(0)).is_some());
    }

    #[test]
    fn those_whose_time_is_up_are_found_and_the_next_time_is_known() {
        let lot = Lot::new();
        let now = Instant::now();
        let clients: Vec<_> = [(Wait::Idle, 20), (Wait::Partial, 10), (Wait::Goodbye, 30)]
            .into_iter()
            .map(|(wait, seconds)| {
                let (client, conn) = connection();
                lot.park(conn, wait, Duration::from_secs(seconds));
                client
            })
            .collect();
        assert!(lot.parking.earliest().is_some_and(|at| at <= now + Duration::from_secs(11)));
        assert!(lot.parking.expired(now + Duration::from_secs(5)).is_empty());
        let expired = lot.parking.expired(now + Duration::from_secs(25));
        assert_eq!(expired.iter().map(|&(_, wait)| wait).collect::<Vec<_>>(), [Wait::Idle, Wait::Partial]);
        assert!(lot.parking.earliest().is_some_and(|at| at > now + Duration::from_secs(25)));
        assert_eq!(lot.parking.expired(now + Duration::from_secs(40)).len(), 1);
        assert_eq!(lot.parking.earliest(), None);
        drop(clients);
    }

    #[test]
    fn a_drain_gives_its_grace_to_those_who_have_been_idle_for_long() {
        let lot = Lot::new();
        let (_client, idle) = connection();
        lot.park(idle, Wait::Idle, LATER);
        // Whatever time has passed since, it does not count.
        let order = Instant::now();
        lot.parking.drain(Duration::from_secs(1));
        assert!(lot.parking.earliest().is_some_and(|at| at >= order + Duration::from_secs(1)));
    }

    #[test]
    fn a_drain_hurries_the_idle_and_nobody_else() {
        let lot = Lot::new();
        let now = Instant::now();
        let (_one, idle) = connection();
        let (_two, partial) = connection();
        lot.park(idle, Wait::Idle, LATER);
        lot.park(partial, Wait::Partial, LATER);
        lot.parking.drain(Duration::from_secs(1));
        // Also who becomes idle from now on.
        let (_three, late) = connection();
        lot.park(late, Wait::Idle, LATER);
        assert!(lot.parking.expired(now).is_empty());
        let expired = lot.parking.expired(now + Duration::from_secs(60));
        assert_eq!(expired.iter().map(|&(_, wait)| wait).collect::<Vec<_>>(), [Wait::Idle, Wait::Idle]);
    }

    #[test]
    fn a_sleeping_owner_learns_of_a_time_before_that_of_its_sleep() {
        let mut lot = Lot::new();
        let (_client, conn) = connection();
        lot.park(conn, Wait::Idle, LATER);
        let mut events = Vec::new();
        lot.poller.poll(&mut events, Deadline::after(LATER)).unwrap();
        assert_eq!(events, [Event::Woken]);
        let (_client, conn) = connection();
        lot.park(conn, Wait::Idle, LATER + LATER);
        lot.poller.poll(&mut events, Deadline::after(Duration::ZERO)).unwrap();
        assert_eq!(events, [], "later than what it sleeps for");
    }
}
