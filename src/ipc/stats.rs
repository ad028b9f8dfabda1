//! What can be seen of an object that processes share: who holds it, who waits for it, who uses it.
//!
//! The same lines look at an object in place, for `stats()` and `Debug`, and at a copy of a stranger's ([`inspect`](super::inspect)).
//! So they only read, believe nothing that they read, and ask for sleepers by a function.

use std::collections::BTreeMap;
use std::fmt::DebugStruct;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::primitive::{Life, process_of, sleepers_shared};
use crate::shm::queue::{Queue, unfinished_in};
use crate::shm::{
    Flag, Held, Holding, Journal, Layout, Locked, Object, Permits, Plain, Roster, Seat, Traces, Trip, Twofold, Waiters,
};
use crate::sys::strangers::{has_mapped, inode_of};

/// What an object that processes share looks like: the answer of `stats()`, which all of them have.
///
/// It is looked at without being taken, while others go on: each number was true at some moment during the look, not all of
/// them at one. Nobody is held up by it, but for a moment a holder that changes its mappings, as it starts a thread or
/// allocates: whether it still has the object is looked for in `/proc/PID/maps`, which the kernel reads under that process's lock
/// of them.
///
/// ```
/// use crewkit::ipc::{Detail, LockError, Semaphore, RLock};
///
/// let lock = RLock::new()?;
/// let _once = lock.lock().map_err(LockError::detach)?;
/// let _twice = lock.lock().map_err(LockError::detach)?;
/// let stats = lock.stats();
/// assert_eq!(stats.holder.and_then(|holder| holder.pid), Some(std::process::id()));
/// assert_eq!((stats.detail, stats.waiters, stats.recoveries), (Detail::Lock { depth: 2 }, 0, 0));
///
/// let seats = Semaphore::new(3)?;
/// let _two = seats.acquire_many(2)?;
/// let stats = seats.stats();
/// assert_eq!((stats.users[0].pid, stats.users[0].count), (std::process::id(), 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many bytes of shared memory it takes, its header included.
    pub bytes: usize,
    /// Who holds the lock; of an object that is more than a lock, who is inside for a few instructions, or was stopped there.
    pub holder: Option<Holder>,
    /// Whether a holder of the lock has died, and nobody has recovered since.
    pub owner_died: bool,
    /// How many threads sleep for it, in all processes.
    pub waiters: usize,
    /// The processes that live and have something of it, where it notes them: see [`User::count`].
    pub users: Vec<User>,
    /// How often somebody found that another had died with it, or with a part of it, and put it in order.
    pub recoveries: u64,
    /// What its kind has besides.
    pub detail: Detail,
}

/// A thread that holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its process, if that is in this PID namespace and may be looked at. A thread of another one has a number that says
    /// nothing here, or is somebody else's: so a process is named only if it has the object.
    pub pid: Option<u32>,
    /// The thread, as `ps -L` shows it in the process's own PID namespace.
    pub thread: u32,
    /// For how long others have found this thread there and waited for it, in milliseconds; `None` if nobody has. How long it
    /// has the lock where nobody waits is not noted: that would double the cost of taking it.
    ///
    /// After the lock went from one to another while more waited, it takes them up to 50 ms to note it.
    pub waited_for: Option<Duration>,
}

/// A process that uses an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// The process.
    pub pid: u32,
    /// Of a semaphore, how many permits it holds; of a barrier, how many of its threads are inside; of a queue, how many items it
    /// has taken and not reported done; of a condition, how many of its threads wait.
    pub count: u64,
}

/// What an object's kind has besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detail {
    /// A `Lock` or an `RLock`.
    Lock {
        /// How many times its holder has it.
        depth: usize,
    },
    /// A `Semaphore` or a `BoundedSemaphore`.
    Semaphore {
        /// How many permits nobody holds.
        available: u64,
        /// How many there are.
        total: u64,
        /// How many there may be.
        limit: u64,
    },
    /// An `Event`.
    Event {
        /// Whether it is set.
        is_set: bool,
    },
    /// A `Barrier`.
    Barrier {
        /// How many have to come.
        parties: u32,
        /// How many are here.
        waiting: u32,
        /// Whether it is broken.
        is_broken: bool,
    },
    /// A `Condition`.
    Condition,
    /// A `Value`.
    Value,
    /// A `Counter`.
    Counter {
        /// What it says.
        value: i64,
    },
    /// An `Array`.
    Array {
        /// How many elements it has.
        len: u64,
    },
    /// A `Queue`.
    Queue {
        /// How many items are there to be taken.
        len: u32,
        /// How many are handed out, to come back or to be done.
        leased: u32,
        /// How many bytes they take.
        used: u32,
        /// Whether it is shut down.
        is_shut_down: bool,
    },
    /// A `ShareableList`.
    List {
        /// How many items it has.
        len: u64,
    },
}

/// How many threads sleep on a word of the object.
type Sleepers<'a> = &'a dyn Fn(&AtomicU32) -> usize;

/// Words of which people can see something.
pub(super) trait Visible {
    fn see(&self, stats: &mut Stats, sleepers: Sleepers<'_>);
}

impl Stats {
    /// Of words in an object of so many bytes, whose file has this number.
    pub(super) fn of<T: Layout + Visible>(words: &T, bytes: usize, inode: Option<u64>, sleepers: Sleepers<'_>) -> Self {
        let mut stats = Self {
            bytes,
            holder: None,
            owner_died: false,
            waiters: 0,
            users: Vec::new(),
            recoveries: 0,
            detail: Detail::Condition,
        };
        words.see(&mut stats, sleepers);
        if let Some(Holder { pid, .. }) = &mut stats.holder {
            *pid = pid.filter(|&pid| inode.is_some_and(|inode| has_mapped(pid, inode)));
        }
        stats
    }

    /// Of an object in place.
    pub(super) fn here<T: Layout + Visible>(object: &Object<T>) -> Self {
        Self::of(&**object, object.bytes(), inode_of(object.as_fd()), &sleepers_shared)
    }

    /// One of its locks. Of two holders the first one is shown.
    fn add_lock(&mut self, lock: &Traces<'_>, sleepers: Sleepers<'_>) {
        let holder = |Holding { thread, waited_for }| Holder { pid: process_of(thread), thread, waited_for };
        self.holder = self.holder.or_else(|| lock.holding.map(holder));
        self.owner_died |= lock.is_dirty;
        self.waiters += sleepers(lock.word);
        self.recoveries += u64::from(lock.deaths);
    }

    /// Counts what the living have in the seats of an owner table.
    fn add_users(&mut self, roster: &Roster, count: impl Fn(&Seat) -> u64) {
        self.recoveries += u64::from(roster.recoveries());
        for (life, count) in roster.seats().iter().filter_map(|seat| Some((seat.owner()?, count(seat)))) {
            self.add_user(life, count);
        }
    }

    /// For `Debug`.
    pub(super) fn users_by_pid(&self) -> BTreeMap<u32, u64> {
        self.users.iter().map(|user| (user.pid, user.count)).collect()
    }

    /// For `Debug`: what a lock has besides whether it is held.
    pub(super) fn show_lock<'a, 'b, 'c>(&self, text: &'c mut DebugStruct<'a, 'b>) -> &'c mut DebugStruct<'a, 'b> {
        if let Some(holder) = &self.holder {
            text.field("holder", holder);
        }
        if let Detail::Lock { depth } = self.detail {
            text.field("depth", &depth);
        }
        text.field("waiters", &self.waiters).field("owner_died", &self.owner_died).field("recoveries", &self.recoveries)
    }

    /// Whether it lives.
    fn add_user(&mut self, life: Life, count: u64) -> bool {
        if count == 0 || life.is_over() {
            return false;
        }
        match self.users.iter_mut().find(|user| user.pid == life.pid()) {
            Some(user) => user.count = user.count.saturating_add(count),
            None => self.users.push(User { pid: life.pid(), count }),
        }
        true
    }
}

impl<const KIND: u32, T: Visible> Visible for Locked<KIND, T> {
    fn see(&self, stats: &mut Stats, sleepers: Sleepers<'_>) {
        let held: &Held<T> = self;
        stats.add_lock(&held.traces(), sleepers);
        let depth = stats.holder.map_or(0, |_| held.depth() as usize + 1);
        stats.detail = Detail::Lock { depth };
        held.guarded.see(stats, sleepers);
    }
}

/// Nothing behind a lock.
impl Visible for () {
    fn see(&self, _: &mut Stats, _: Sleepers<'_>) {}
}

impl Visible for Permits {
    fn see(&self, stats: &mut Stats, sleepers: Sleepers<'_>) {
        stats.waiters += sleepers(self.word());
        stats.add_users(&self.roster, Self::held_in);
        let (available, total) = self.count();
        stats.detail = Detail::Semaphore { available, total, limit: self.limit() };
    }
}

impl<const KIND: u32> Visible for Plain<KIND, Flag> {
    fn see(&self, stats: &mut Stats, sleepers: Sleepers<'_>) {
        stats.waiters = sleepers(self.word());
        stats.detail = Detail::Event { is_set: self.is_set() };
    }
}

impl Visible for Trip {
    fn see(&self, stats: &mut Stats, sleepers: Sleepers<'_>) {
        stats.waiters += sleepers(self.word());
        stats.add_users(&self.roster, |seat| seat.word.load(Ordering::Relaxed));
        let (parties, waiting, is_broken) = (self.parties(), self.waiting(), self.is_broken());
        stats.detail = Detail::Barrier { parties, waiting, is_broken };
    }
}

impl<const KIND: u32> Visible for Plain<KIND, Waiters> {
    fn see(&self, stats: &mut Stats, _: Sleepers<'_>) {
        stats.recoveries += u64::from(self.roster.recoveries());
        for life in self.waiting().filter_map(Seat::owner) {
            stats.waiters += usize::from(stats.add_user(life, 1));
        }
        stats.detail = Detail::Condition;
    }
}

impl Visible for Twofold {
    fn see(&self, stats: &mut Stats, _: Sleepers<'_>) {
        stats.detail = Detail::Value;
    }
}

impl Visible for Journal {
    fn see(&self, stats: &mut Stats, _: Sleepers<'_>) {
        stats.detail = Detail::Array { len: self.len() };
    }
}

impl Visible for Queue {
    fn see(&self, stats: &mut Stats, sleepers: Sleepers<'_>) {
        self.traces().iter().for_each(|lock| stats.add_lock(lock, sleepers));
        stats.waiters += self.bells().map(|bell| sleepers(bell.word())).iter().sum::<usize>();
        stats.add_users(&self.roster, unfinished_in);
        let (counts, is_shut_down) = (self.counts(), self.closed().is_some());
        stats.detail = Detail::Queue { len: counts.ready, leased: counts.leased, used: counts.bytes, is_shut_down };
    }
}

/// A list's length, behind its lock.
impl Visible for AtomicU64 {
    fn see(&self, stats: &mut Stats, _: Sleepers<'_>) {
        stats.detail = Detail::List { len: self.load(Ordering::Relaxed) };
    }
}

impl<const KIND: u32> Visible for Plain<KIND, AtomicU64> {
    fn see(&self, stats: &mut Stats, _: Sleepers<'_>) {
        stats.detail = Detail::Counter { value: self.load(Ordering::Acquire).cast_signed() };
    }
}
