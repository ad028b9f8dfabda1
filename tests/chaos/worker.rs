//! A worker: a process that uses everything at random until it is killed, or told to end.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use crewkit::ipc::{Connection, RecvError};
use nix::sys::signal::{Signal, raise};
use serde::{Deserialize, Serialize};

use crate::alone::open_fds;
use crate::journal::{Kind, Phase, WORKERS};
use crate::link::{Link, Receiving, Sending};
use crate::mappings::mappings;
use crate::random::Random;
use crate::world::World;

/// Nobody is stopped, or dead and not replaced, for nearly as long: who waits longer hangs.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// What the owner sends to a worker.
#[derive(Serialize, Deserialize)]
pub(crate) enum Order {
    /// First: everything that is shared.
    Begin(Box<World>),
    /// A new end of a link, in place of the last.
    Send(usize, Sending),
    Receive(usize, Receiving),
}

/// What a worker does beside that which all do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is a party of the barrier; the first one mends it.
    Party {
        mends: bool,
    },
    Producer,
    Consumer,
    Sender,
    Receiver,
    /// It waits for room in the queue.
    Putter,
    /// It waits for items.
    Getter,
    /// It waits for the event.
    Waiter,
}

impl Role {
    /// Of the worker with this number.
    pub(crate) const OF: [Self; WORKERS] = [
        Self::Party { mends: true },
        Self::Party { mends: false },
        Self::Party { mends: false },
        Self::Producer,
        Self::Producer,
        Self::Consumer,
        Self::Consumer,
        Self::Sender,
        Self::Receiver,
        Self::Putter,
        Self::Getter,
        Self::Waiter,
    ];
}

/// One process of the worker's number.
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) world: World,
    pub(crate) random: Random,
    pub(crate) link: Option<Link>,
    /// Since when it has found the barrier broken whenever it came.
    pub(crate) broken_since: Option<Instant>,
    owner: Connection<(), Order>,
}

/// Its life.
pub(crate) fn work(number: usize, random: Random, owner: Connection<(), Order>) {
    let Order::Begin(world) = owner.recv_timeout(LONG).unwrap() else { panic!("no world to begin with") };
    let mut worker = Worker { number, world: *world, random, link: None, broken_since: None, owner };
    let begin = (open_fds(), mappings());
    let journal = worker.world.journal.clone();
    while journal.phase() != Phase::End {
        match worker.random.below(11) {
            0 => worker.play(Role::OF[number]),
            other => worker.world.clone().round(&mut worker, other),
        }
        let rounds = journal.rounds(number).fetch_add(1, SeqCst);
        if rounds.is_multiple_of(64) {
            let now = (open_fds(), mappings());
            // An end of a link, and one more that has just been replaced; each may have memory of its own.
            assert!(now.0 <= begin.0 + 12 && now.1 <= begin.1 + 8, "descriptors or mappings leak: {begin:?}, {now:?}");
        }
    }
    // Whoever still waits for this one is told.
    worker.world.leave(Role::OF[number], &worker);
}

impl Worker {
    fn play(&mut self, role: Role) {
        let world = self.world.clone();
        match role {
            Role::Party { mends } => world.party(self, mends),
            Role::Producer => world.put(self),
            Role::Consumer => world.take(self),
            Role::Sender => self.send(),
            Role::Receiver => self.receive(),
            Role::Putter => world.items.put_for_certain(),
            Role::Getter => world.items.take_for_certain(self),
            Role::Waiter => world.wait(self),
        }
    }

    /// Raised before the step by which something takes effect.
    pub(crate) fn begins(&self, kind: Kind) {
        self.world.journal.begun(self.number, kind).fetch_add(1, SeqCst);
    }

    /// And after it.
    pub(crate) fn has_ended(&self, kind: Kind) {
        self.world.journal.ended(self.number, kind).fetch_add(1, SeqCst);
    }

    /// Told that a holder died.
    pub(crate) fn recovers(&self) {
        self.world.journal.recovered().fetch_add(1, SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.world.journal.phase() == Phase::End
    }

    /// Takes its time, where it is bad to be killed; and sometimes is.
    pub(crate) fn dawdles(&mut self) {
        match self.random.below(64) {
            0 => std::thread::sleep(Duration::from_micros(self.random.below(300))),
            1..4 => std::thread::yield_now(),
            4 if self.world.journal.phase() == Phase::Storm && self.random.below(40) == 0 => {
                raise(Signal::SIGKILL).unwrap();
            }
            _ => (0..self.random.below(500)).for_each(|_| std::hint::spin_loop()),
        }
    }

    /// The next end of a link that the owner has sent; `None` at the end.
    pub(crate) fn next_link(&self) -> Option<Link> {
        let begin = Instant::now();
        while !self.is_over() {
            match self.owner.recv_timeout(Duration::from_millis(20)) {
                Ok(Order::Send(number, end)) => return Some(Link::Sending(number, end)),
                Ok(Order::Receive(number, end)) => return Some(Link::Receiving(number, end)),
                Ok(Order::Begin(_)) => panic!("begun twice"),
                Err(RecvError::Timeout) => assert!(begin.elapsed() < LONG, "no link for so long"),
                Err(error) => panic!("no link: {error}"),
            }
        }
        None
    }
}
