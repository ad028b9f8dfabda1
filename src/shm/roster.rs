//! Who uses an object, and what each of them has: the owner table.
//!
//! ```text
//!   seat 0          seat 1                            seat 2                            …  SEATS
//!   +---------------+---------------------------------+---------------------------------+----
//!   | nobody's:     | pid, start: who sits here       | pid 0: free                     | never
//!   | word          | waiting: how many of its        |                                 | taken
//!   |               | threads sleep; word: what it has|                                 |
//!   +---------------+---------------------------------+---------------------------------+----
//!                                                       used: up to here seats were taken
//! ```
//!
//! A process sits down once for each mapping of the object that it has, at its first use, and leaves with the mapping.
//! What its `word` means is the object's affair. Seats are taken, left and cleared under the object's mutex; so whoever
//! dies in the middle of it leaves a seat that is free (`pid` is written last) or one whose owner is dead.
//!
//! # Liveness
//!
//! That a process has died is learnt by looking, from `pid` and `start` (`sys::life`), by whoever does not find what it
//! wants, and by sleepers after each slice of at most 50 ms. Weighed against it: one robust mutex for each seat, held for as
//! long as its process lives, on which the kernel would wake who sleeps at once. But it is *threads* that hold
//! robust mutexes and are mourned by the kernel: a process would have to keep a thread for it (and could not fork any
//! more), or would be declared dead with the thread that used the object first; and it wakes who sleeps on that mutex, not on the
//! object, so a waiter would have to sleep on each owner's word and the object's at once (futex_waitv, kernel 5.16, at most 128).
//! For who waits for a *lock* the kernel does all that, but for one moment (`shm::held`).

use crate::primitive::{AtomicU32, AtomicU64, Life, SharedFutex};
use std::sync::atomic::{AtomicU32 as Note, Ordering};

/// How many seats there are, nobody's included.
#[cfg(not(crewkit_loom))]
pub(crate) const SEATS: usize = 1024;
#[cfg(crewkit_loom)]
pub(crate) const SEATS: usize = 4;

/// The seat that no process has.
pub(crate) const NOBODYS: usize = 0;

/// One process's line in the table, alone on its cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Seat {
    /// What its owner has.
    pub(crate) word: AtomicU64,
    /// More of that, where one word does not say it.
    pub(crate) more: AtomicU64,
    start: AtomicU64,
    /// 0: free.
    pid: AtomicU32,
    /// What its owner sleeps on, where it sleeps for itself alone.
    pub(crate) call: SharedFutex,
    /// 1: its owner has gone and left something behind; it sits down here when it comes again. Written under the mutex, or by
    /// an owner that goes without it.
    vacated: AtomicU32,
}

/// The table.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Roster {
    /// The PID namespace of all who sit here.
    pub(crate) namespace: AtomicU64,
    used: AtomicU32,
    /// How often the seat of somebody dead was put in order: for people who look, so a model does not.
    recoveries: Note,
    seats: [Seat; SEATS],
}

impl Roster {
    /// Nobody is here. In shared memory zeroes say the same.
    #[cfg(crewkit_loom)]
    pub(crate) fn new() -> Self {
        let seat = || Seat {
            word: AtomicU64::new(0),
            more: AtomicU64::new(0),
            start: AtomicU64::new(0),
            pid: AtomicU32::new(0),
            call: SharedFutex::new(0),
            vacated: AtomicU32::new(0),
        };
        let (namespace, used) = (AtomicU64::new(0), AtomicU32::new(0));
        Self { namespace, used, recoveries: 0.into(), seats: std::array::from_fn(|_| seat()) }
    }

    /// Under the mutex: a seat for a process, which has `word`; `None` when all are taken. One that it has
    /// [vacated](Self::vacate) comes first, with what it has there.
    pub(crate) fn sit_down(&self, life: Life, word: u64) -> Option<usize> {
        let used = self.used();
        let is_its_own = |&index: &usize| self.is_vacated(index) && self.owner(index) == Some(life);
        if let Some(index) = (NOBODYS + 1..used).find(is_its_own) {
            self.seats[index].vacated.store(0, Ordering::Relaxed);
            return Some(index);
        }
        let index = (NOBODYS + 1..used).find(|&index| self.owner(index).is_none()).unwrap_or(used);
        let seat = self.seats.get(index)?;
        if index == used {
            self.used.store(u32::try_from(index).unwrap_or(0), Ordering::Relaxed);
        }
        seat.word.store(word, Ordering::Relaxed);
        seat.more.store(0, Ordering::Relaxed);
        seat.call.word.store(0, Ordering::Relaxed);
        seat.vacated.store(0, Ordering::Relaxed);
        seat.start.store(life.start(), Ordering::Relaxed);
        seat.pid.store(life.pid(), Ordering::Release);
        Some(index)
    }

    /// Under the mutex: the seat is free. What its owner had was taken before.
    pub(crate) fn leave(&self, index: usize) {
        self.seats[index].pid.store(0, Ordering::Relaxed);
    }

    /// Its owner goes, and keeps what it has: whoever sits down for the same process gets this seat. The owner itself may say
    /// so without the mutex: as long as it sits there and lives, nobody else does.
    pub(crate) fn vacate(&self, index: usize) {
        self.seats[index].vacated.store(1, Ordering::Relaxed);
    }

    /// Under the mutex: whether its owner has gone.
    pub(crate) fn is_vacated(&self, index: usize) -> bool {
        self.seats[index].vacated.load(Ordering::Relaxed) != 0
    }

    /// A seat.
    #[inline]
    pub(crate) fn seat(&self, index: usize) -> &Seat {
        &self.seats[index]
    }

    /// All seats that were ever taken, nobody's first.
    pub(crate) fn seats(&self) -> &[Seat] {
        &self.seats[..self.used()]
    }

    /// Who sits there. What is read without the mutex may be half of one owner and half of the next, which is nobody.
    pub(crate) fn owner(&self, index: usize) -> Option<Life> {
        self.seats[index].owner()
    }

    /// Clears the seats of those who have ended; whether there were any. `own` is whoever calls, and has not. Each is looked
    /// for without the mutex, because asking the kernel takes its time; `enter` takes it, and `clear` then leaves the seat,
    /// and takes what was there; if it cannot, none is looked for any more.
    pub(crate) fn reap<I, E>(
        &self,
        own: Life,
        enter: impl Fn() -> Result<I, E>,
        clear: impl Fn(&I, usize) -> Result<(), E>,
    ) -> Result<bool, E> {
        self.reap_among(|_| true, own, enter, clear)
    }

    /// The same of the seats that are meant: of others the kernel is not asked.
    pub(crate) fn reap_among<I, E>(
        &self,
        is_meant: impl Fn(usize) -> bool,
        own: Life,
        enter: impl Fn() -> Result<I, E>,
        clear: impl Fn(&I, usize) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut found = false;
        let mut next = NOBODYS + 1;
        while let Some((index, life)) = self.dead(next, &is_meant, own) {
            next = index + 1;
            let inside = enter()?;
            // Somebody else may have cleared it meanwhile, and another may sit there.
            if self.owner(index) == Some(life) {
                clear(&inside, index)?;
                self.note_recovery();
                found = true;
            }
        }
        Ok(found)
    }

    /// Under the mutex: what somebody who sat here has left behind was put in order.
    pub(crate) fn note_recovery(&self) {
        self.recoveries.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was done.
    #[cfg(not(crewkit_loom))]
    pub(crate) fn recoveries(&self) -> u32 {
        self.recoveries.load(Ordering::Relaxed)
    }

    /// Somebody from seat `from` on who has ended.
    fn dead(&self, from: usize, is_meant: &impl Fn(usize) -> bool, own: Life) -> Option<(usize, Life)> {
        (from..self.used()).filter(|&index| is_meant(index)).find_map(|index| {
            let life = self.owner(index).filter(|&life| life != own)?;
            life.is_over().then_some((index, life))
        })
    }

    /// One more than the last seat that was ever taken. A hostile number leads nowhere.
    fn used(&self) -> usize {
        (self.used.load(Ordering::Acquire) as usize + 1).min(SEATS)
    }
}

/// What `sit` finds, which is tried again for as long as it finds no seat and `reap` clears some.
pub(crate) fn seat_among<E>(
    sit: impl Fn() -> Result<Option<usize>, E>,
    reap: impl Fn() -> Result<bool, E>,
) -> Result<Option<usize>, E> {
    loop {
        let seat = sit()?;
        if seat.is_some() || !reap()? {
            return Ok(seat);
        }
    }
}

impl Seat {
    /// Who sits here.
    pub(crate) fn owner(&self) -> Option<Life> {
        let pid = self.pid.load(Ordering::Acquire);
        (pid != 0).then(|| Life::from_parts(pid, self.start.load(Ordering::Relaxed)))
    }
}
