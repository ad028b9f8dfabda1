//! Everything that the workers share. A new kind of object gets a field, its round in `guarded` or `awaited`, and its line
//! in the accounts.

use std::sync::atomic::Ordering::SeqCst;

use crewkit::ipc::{
    Array, Barrier, BoundedSemaphore, Condition, Counter, Event, Lock, RLock, Semaphore, ShareableList, SharedMemory,
    Value,
};
use serde::{Deserialize, Serialize};

use crate::guarded::{Element, Pair};
use crate::items::Items;
use crate::journal::{Journal, Kind, WORKERS};
use crate::worker::{LONG, Role, Worker};

/// How many permits the semaphore has.
pub(crate) const PERMITS: usize = 4;

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct World {
    pub(crate) journal: Journal,
    pub(crate) pair: Pair<Lock>,
    pub(crate) nested: Pair<RLock>,
    pub(crate) alone: Pair<BoundedSemaphore>,
    pub(crate) semaphore: Semaphore,
    pub(crate) value: Value<[u64; 6]>,
    pub(crate) array: Array<Element>,
    pub(crate) list: ShareableList,
    pub(crate) counter: Counter,
    pub(crate) event: Event,
    pub(crate) barrier: Barrier,
    pub(crate) trips: Counter,
    pub(crate) condition: Condition,
    /// What was put, and what was taken, under the condition.
    pub(crate) goods: SharedMemory,
    pub(crate) items: Items,
}

impl World {
    pub(crate) fn new(links: usize) -> Self {
        let parties = Role::OF.iter().filter(|role| matches!(role, Role::Party { .. })).count();
        Self {
            journal: Journal::new(links),
            pair: Pair::new(Lock::new().unwrap()),
            nested: Pair::new(RLock::new().unwrap()),
            alone: Pair::new(BoundedSemaphore::new(1).unwrap()),
            semaphore: Semaphore::new(PERMITS).unwrap(),
            value: Value::new([0; 6]).unwrap(),
            array: Array::new(&[[0; 3]; 5]).unwrap(),
            list: ShareableList::new(["x".repeat(40), "x".repeat(40)]).unwrap(),
            counter: Counter::new(0).unwrap(),
            event: Event::new().unwrap(),
            barrier: Barrier::new(parties).unwrap(),
            trips: Counter::new(0).unwrap(),
            condition: Condition::new(&Lock::new().unwrap()).unwrap(),
            goods: SharedMemory::create(16).unwrap(),
            items: Items::new(),
        }
    }

    /// A round with one of the objects for which nobody waits longer than for a holder.
    pub(crate) fn round(&self, worker: &mut Worker, choice: u64) {
        match choice % 10 {
            0 => self.pair.round(worker, Kind::Pair),
            1 => self.nested.round(worker, Kind::Nested),
            2 => self.alone.round(worker),
            3 => self.hold(worker),
            4 => self.update(worker),
            5 => self.replace_elements(worker),
            6 => self.write_all(worker),
            7 => self.replace_an_item(worker),
            8 => self.items.round(worker),
            _ => self.add(worker),
        }
    }

    /// While all stand still, or are dead: no more permits are held than there are.
    pub(crate) fn take_census(&self, living: impl Iterator<Item = usize>) {
        let held: u64 = living.map(|worker| self.journal.permits(worker).load(SeqCst)).sum();
        let idle = self.semaphore.available();
        assert!(held as usize + idle <= PERMITS, "{held} permits are held and {idle} idle, of {PERMITS}");
    }

    /// When all workers have ended, and so many processes of theirs were killed: nothing was lost, and nothing doubled.
    pub(crate) fn account(&self, deaths: u64) {
        let count = |counter: &Counter| u64::try_from(counter.get().unwrap()).unwrap();
        let [put, taken] = self.goods();
        self.journal.account(Kind::Pair, self.pair.first().load(SeqCst), deaths);
        self.journal.account(Kind::Nested, self.nested.first().load(SeqCst), deaths);
        self.journal.account(Kind::Value, self.value.get().unwrap()[0], deaths);
        self.journal.account(Kind::Counter, count(&self.counter), deaths);
        self.journal.account(Kind::Trip, count(&self.trips), deaths);
        self.journal.account(Kind::Put, put.load(SeqCst), deaths);
        self.journal.account(Kind::Taken, taken.load(SeqCst), deaths);
        drop(self.alone.lock.acquire_timeout(LONG).expect("the only permit is lost"));
        assert!(self.alone.lock.release(1).is_err(), "a permit out of nowhere");
        drop(self.semaphore.acquire_many_timeout(PERMITS, LONG).expect("permits are lost"));
        assert_eq!(self.semaphore.available(), PERMITS, "permits out of nowhere");
        self.items.account(&self.journal, deaths);
    }

    /// What all of it looks like.
    pub(crate) fn objects(&self) -> impl std::fmt::Debug + '_ {
        (
            (&self.pair.lock, &self.nested.lock, &self.alone.lock, &self.semaphore, &self.value, &self.array),
            (&self.list, &self.counter, &self.event, &self.barrier, &self.condition, &self.items.queue),
        )
    }

    /// One line for the report.
    pub(crate) fn summary(&self) -> String {
        let [put, taken] = self.goods();
        let links = (0..self.journal.links()).map(|link| self.journal.link(link)[2].load(SeqCst));
        format!(
            "{} rounds, {} recoveries, {} trips, {} barriers mended, {} of {} goods taken, {} messages, {}",
            (0..WORKERS).map(|worker| self.journal.rounds(worker).load(SeqCst)).sum::<u64>(),
            self.journal.recovered().load(SeqCst),
            self.trips.get().unwrap(),
            self.journal.mended().load(SeqCst),
            taken.load(SeqCst),
            put.load(SeqCst),
            links.sum::<u64>(),
            self.items.summary(),
        )
    }
}
