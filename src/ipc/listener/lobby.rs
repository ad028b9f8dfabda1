//! Those who have connected and have not proved yet who they are.
//!
//! Each has a machine of [`crate::auth`], a timer, and a place in one poller, beside the listening socket. Nothing is ever
//! waited for but all of them at once, so none holds up another.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use parking_lot::Mutex;

use super::inbox::{Found, Inbox};
use super::{AcceptError, Auth, Book, Door, Peer};
use crate::auth::{self, AuthError, Fault, Step};
use crate::reactor::{Event, Interest, Mode, Poller, Registrar, TimerId, Token};
use crate::sys::clock::Deadline;
use crate::sys::random;
use crate::sys::rendezvous::{NotAccepted, give, user};

/// How many are attended to at a time. Each costs a descriptor.
const PLACES: usize = 64;

/// How often a call looks again when its time is over: enough for one newcomer and for everybody who has a place. Who comes
/// without end keeps nobody in [`Lobby::accept`].
const LAST_LOOKS: usize = PLACES + 1;

/// The listening socket's token. Those of guests count up from the next, so the lowest is who came first.
const DOOR: Token = Token(0);

#[derive(Debug)]
pub(super) struct Lobby {
    door: Door,
    auth: Auth,
    patience: Duration,
    poller: Poller,
    events: Vec<Event>,
    last_token: usize,
    guests: BTreeMap<Token, Guest>,
    /// Have proved who they are, and wait for somebody to accept them.
    known: VecDeque<(OwnedFd, Peer)>,
}

#[derive(Debug)]
struct Guest {
    socket: OwnedFd,
    peer: Peer,
    machine: auth::Server,
    inbox: Inbox,
    timer: TimerId,
}

/// Whose crowd a guest is of.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    User(u32),
    /// Of the sixth version of IP the first half: the other is whatever a host likes.
    Host(IpAddr),
}

impl Origin {
    fn of(peer: &Peer) -> Self {
        match peer {
            Peer::Process { uid, .. } => Self::User(*uid),
            Peer::Host(address) => Self::Host(match address.ip().to_canonical() {
                IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
                ip @ IpAddr::V4(_) => ip,
            }),
        }
    }
}

/// What became of a guest.
enum Progress {
    /// It has not said all yet.
    Stays,
    /// It said something right, and has its time anew.
    Answered,
    Known,
    Refused(AuthError),
}

impl Lobby {
    /// The lobby of a listening socket.
    pub(super) fn new(poller: Poller, door: Door, auth: Auth, patience: Duration) -> Self {
        let (guests, known) = (BTreeMap::new(), VecDeque::new());
        Self { door, auth, patience, poller, events: Vec::new(), last_token: DOOR.0, guests, known }
    }

    /// Has a poller watch the door of the lobby that it will be part of.
    pub(super) fn watch(poller: &Poller, door: BorrowedFd<'_>) -> io::Result<()> {
        poller.register(door, DOOR, Interest::READ, Mode::Level)
    }

    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    pub(super) fn registrar(&self) -> Registrar {
        self.poller.registrar()
    }

    /// How many have not proved yet who they are.
    pub(super) fn pending(&self) -> usize {
        self.guests.len()
    }

    /// The next who has.
    pub(super) fn accept(&mut self, book: &Mutex<Book>, deadline: Deadline) -> Result<OwnedFd, AcceptError> {
        let mut trouble = None;
        let mut looks = LAST_LOOKS;
        loop {
            if let Some((socket, peer)) = self.known.pop_front() {
                if !self.known.is_empty() {
                    // The poller's descriptor shows them no more.
                    self.poller.waker().wake();
                }
                book.lock().last = Some(peer);
                return Ok(socket);
            }
            if let Some(error) = trouble {
                return Err(AcceptError::Io(error));
            }
            let mut events = std::mem::take(&mut self.events);
            let polled = self.poller.poll(&mut events, deadline);
            for event in &events {
                match *event {
                    Event::Ready { token: DOOR, .. } => trouble = self.let_in(book).err().or(trouble),
                    Event::Ready { token, .. } => self.attend(token, book),
                    Event::Timer { token, id } => self.time_is_up(token, id, book),
                    Event::Woken => {}
                }
            }
            let is_quiet = events.is_empty();
            self.events = events;
            polled?;
            if deadline.is_expired() {
                looks -= 1;
                // Somebody known, and trouble, are for the next turn.
                if self.known.is_empty() && trouble.is_none() && (is_quiet || looks == 0) {
                    return Err(AcceptError::Timeout);
                }
            }
        }
    }

    /// Takes one connection from the queue, and hears what it has said already.
    fn let_in(&mut self, book: &Mutex<Book>) -> io::Result<()> {
        if self.guests.len() == PLACES {
            self.make_room(book);
        }
        let (socket, peer) = loop {
            match self.door.accept() {
                Ok(newcomer) => break newcomer,
                Err(NotAccepted::None) => return Ok(()),
                // Whoever is silent gives its descriptor to who comes.
                Err(NotAccepted::OutOfResources(_)) if self.make_room(book) => {}
                Err(NotAccepted::OutOfResources(error) | NotAccepted::Listener(error)) => return Err(error),
            }
        };
        if self.auth.is_same_user() && !matches!(peer, Peer::Process { uid, .. } if uid == user()) {
            self.door.turn_away(socket, AuthError::WrongUser);
            book.lock().refused(peer, AuthError::WrongUser);
            return Ok(());
        }
        let machine = auth::Server::new(random::bytes()?);
        self.last_token += 1;
        let token = Token(self.last_token);
        self.poller.register(socket.as_fd(), token, Interest::READ, Mode::Level)?;
        let timer = self.poller.set_timer(Deadline::after(self.patience), token);
        let inbox = Inbox::new(socket.as_fd());
        self.guests.insert(token, Guest { socket, peer, machine, inbox, timer });
        self.attend(token, book);
        Ok(())
    }

    /// Hears what a guest says; an event may be of one who is gone.
    fn attend(&mut self, token: Token, book: &Mutex<Book>) {
        let Some(guest) = self.guests.get_mut(&token) else { return };
        match guest.hear(&self.auth) {
            Progress::Stays => {}
            Progress::Answered => {
                self.poller.cancel_timer(guest.timer);
                guest.timer = self.poller.set_timer(Deadline::after(self.patience), token);
            }
            Progress::Known => {
                let known = self.see_off(token);
                self.known.extend(known);
            }
            Progress::Refused(why) => self.turn_away(token, why, book),
        }
    }

    fn time_is_up(&mut self, token: Token, id: TimerId, book: &Mutex<Book>) {
        // It may have answered in this very batch.
        if self.guests.get(&token).is_some_and(|guest| guest.timer == id) {
            self.turn_away(token, AuthError::TooSlow, book);
        }
    }

    /// Turns away one of the user, or the host, that has most places, and of its process that has most: who came first and has said nothing,
    /// or else who came first. So nobody's crowd drives others out, whatever it says. Whether there was anybody.
    fn make_room(&mut self, book: &Mutex<Book>) -> bool {
        let crowded = self.guests.iter().max_by_key(|&(&token, guest)| {
            let of_its_user = self.guests.values().filter(|other| other.origin() == guest.origin()).count();
            let of_its_process = self.guests.values().filter(|other| other.peer == guest.peer).count();
            (of_its_user, of_its_process, !guest.machine.has_heard(), Reverse(token))
        });
        let Some((&token, _)) = crowded else { return false };
        self.turn_away(token, AuthError::Crowded, book);
        true
    }

    fn turn_away(&mut self, token: Token, why: AuthError, book: &Mutex<Book>) {
        if let Some((socket, peer)) = self.see_off(token) {
            self.door.turn_away(socket, why);
            book.lock().refused(peer, why);
        }
    }

    /// A guest is one no more.
    fn see_off(&mut self, token: Token) -> Option<(OwnedFd, Peer)> {
        let guest = self.guests.remove(&token)?;
        self.poller.cancel_timer(guest.timer);
        // It is in the list, or else will leave it when it is closed.
        let _watched = self.poller.deregister(guest.socket.as_fd());
        Some((guest.socket, guest.peer))
    }
}

impl Guest {
    fn origin(&self) -> Origin {
        Origin::of(&self.peer)
    }

    fn hear(&mut self, auth: &Auth) -> Progress {
        let frame = match self.inbox.next(self.socket.as_fd()) {
            Found::Nothing => return Progress::Stays,
            Found::End => return Progress::Refused(AuthError::Closed),
            Found::Frame(frame) => frame,
        };
        let (answer, progress) = match self.machine.receive(auth.key(), frame) {
            Ok(Step::Send(answer)) => (Some(answer), Progress::Answered),
            Ok(Step::Done(answer)) => (answer, Progress::Known),
            Err(Fault::Ours(why) | Fault::Theirs(why)) => return Progress::Refused(why),
        };
        match answer.map_or(Ok(()), |answer| give(self.socket.as_fd(), &answer)) {
            Ok(()) => progress,
            Err(_) => Progress::Refused(AuthError::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_crowd_whatever_its_addresses() {
        let host = |address: &str| Origin::of(&Peer::Host(address.parse().unwrap()));
        let process = |pid, uid| Origin::of(&Peer::Process { pid, uid });
        let cases = [
            (host("10.0.0.1:1"), host("10.0.0.1:2"), true),
            (host("10.0.0.1:1"), host("10.0.0.2:1"), false),
            (host("10.0.0.1:1"), host("[::ffff:10.0.0.1]:1"), true),
            (host("[::ffff:10.0.0.1]:1"), host("[::ffff:10.0.0.2]:1"), false),
            (host("[2001:db8:1:2::1]:1"), host("[2001:db8:1:2:ffff::2]:9"), true),
            (host("[2001:db8:1:2::1]:1"), host("[2001:db8:1:3::1]:1"), false),
            (process(1, 1000), process(2, 1000), true),
            (process(1, 1000), process(1, 1001), false),
            (process(1, 0), host("0.0.0.0:1"), false),
        ];
        for (one, other, is_same) in cases {
            assert_eq!(one == other, is_same, "{one:?} {other:?}");
        }
    }
}
