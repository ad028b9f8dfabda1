//! What one at a time may change: each round looks whether the one before was whole, or whether this one is told.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use crewkit::ipc::{BoundedSemaphore, Item, Lock, LockError, RLock, SharedMemory};
use serde::{Deserialize, Serialize};

use crate::journal::Kind;
use crate::worker::{LONG, Worker};
use crate::world::{PERMITS, World};

/// Three numbers that are the same, in twelve bytes: half of them in a word that is a neighbour's, too.
pub(crate) type Element = [u32; 3];

/// Two numbers of which one is raised after the other, and who does so.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Pair<L> {
    pub(crate) lock: L,
    words: SharedMemory,
}

impl<L> Pair<L> {
    pub(crate) fn new(lock: L) -> Self {
        Self { lock, words: SharedMemory::create(24).unwrap() }
    }

    pub(crate) fn first(&self) -> &AtomicU64 {
        &self.words.words()[0]
    }

    fn second(&self) -> &AtomicU64 {
        &self.words.words()[1]
    }

    /// The process that is inside.
    fn inside(&self) -> &AtomicU64 {
        &self.words.words()[2]
    }

    fn raise(&self, worker: &mut Worker, kind: Kind) {
        let before = self.inside().swap(std::process::id().into(), SeqCst);
        assert_eq!(before, 0, "{kind:?}: another process is inside");
        let (first, second) = (self.first().load(SeqCst), self.second().load(SeqCst));
        assert_eq!(first, second, "{kind:?}: half done, and nobody was told");
        worker.begins(kind);
        self.first().store(first + 1, SeqCst);
        worker.dawdles();
        self.second().store(first + 1, SeqCst);
        worker.has_ended(kind);
        self.inside().store(0, SeqCst);
    }

    /// After a death.
    fn mend(&self, worker: &mut Worker) {
        worker.recovers();
        worker.dawdles();
        self.inside().store(0, SeqCst);
        self.second().store(self.first().load(SeqCst), SeqCst);
    }
}

/// Takes a lock, mends what a dead holder has left, and gives the guard.
macro_rules! taken {
    ($pair:expr, $worker:expr) => {
        match $pair.lock.lock_timeout(LONG) {
            Ok(guard) => guard,
            Err(LockError::OwnerDied(guard)) => {
                $pair.mend($worker);
                guard.recover();
                guard
            }
            Err(error) => panic!("the lock is not to be had: {error}"),
        }
    };
}

impl Pair<Lock> {
    pub(crate) fn round(&self, worker: &mut Worker, kind: Kind) {
        if worker.random.below(4) == 0
            && let Err(LockError::Timeout) = self.lock.try_lock().map(drop)
        {
            return;
        }
        let guard = taken!(self, worker);
        self.raise(worker, kind);
        drop(guard);
    }
}

impl Pair<RLock> {
    pub(crate) fn round(&self, worker: &mut Worker, kind: Kind) {
        let outer = taken!(self, worker);
        let inner = self.lock.lock().expect("this thread has it already");
        assert_eq!(self.lock.depth(), 2);
        self.raise(worker, kind);
        drop(inner);
        worker.dawdles();
        drop(outer);
    }
}

impl Pair<BoundedSemaphore> {
    /// A permit comes back unmarked, so who has it looks itself whether its last holder is dead.
    pub(crate) fn round(&self, worker: &mut Worker) {
        let permit = self.lock.acquire_timeout(LONG).expect("the only permit is lost");
        let before = self.inside().swap(std::process::id().into(), SeqCst);
        assert!(before == 0 || has_ended(before), "two processes have the only permit");
        worker.dawdles();
        self.inside().store(0, SeqCst);
        drop(permit);
    }
}

/// Whether a process has ended, reaped or not.
pub(crate) fn has_ended(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|fields| fields.is_empty() || fields.starts_with(['Z', 'X']))
}

impl World {
    /// Holds some permits.
    pub(crate) fn hold(&self, worker: &mut Worker) {
        let count = 1 + worker.random.below(PERMITS as u64);
        let permits = match worker.random.below(4) {
            0 => match self.semaphore.try_acquire_many(count as usize) {
                Err(LockError::Timeout) => return,
                permits => permits,
            },
            _ => self.semaphore.acquire_many_timeout(count as usize, LONG),
        };
        let permits = permits.expect("permits are lost");
        let held = self.journal.permits(worker.number);
        held.store(count, SeqCst);
        worker.dawdles();
        held.store(0, SeqCst);
        drop(permits);
    }

    /// Looks at a value, and raises it.
    pub(crate) fn update(&self, worker: &mut Worker) {
        let seen = self.value.get().unwrap();
        assert!(seen.iter().all(|&number| number == seen[0]), "half of a write: {seen:?}");
        let result = self.value.update_timeout(LONG, |value| {
            assert!(value.iter().all(|&number| number == value[0]), "half of an update: {value:?}");
            worker.begins(Kind::Value);
            value.iter_mut().for_each(|number| *number += 1);
            worker.dawdles();
        });
        result.unwrap();
        worker.has_ended(Kind::Value);
    }

    /// One element after the other, each replaced whole or not at all.
    pub(crate) fn replace_elements(&self, worker: &mut Worker) {
        let index = worker.random.below(self.array.len() as u64) as usize;
        let new = [worker.random.next() as u32; 3];
        self.mending_the_array(worker, |array| array.set_timeout(index, new, LONG));
        let [one, two, three] = self.mending_the_array(worker, |array| array.get_timeout(index, LONG));
        assert!(one == two && two == three, "half of an element: {:?}", [one, two, three]);
    }

    /// Repeats what a death under the array's guard stands in the way of, when that is mended.
    fn mending_the_array<R>(
        &self,
        worker: &mut Worker,
        access: impl Fn(&crewkit::ipc::Array<Element>) -> Result<R, LockError>,
    ) -> R {
        loop {
            match access(&self.array) {
                Ok(result) => return result,
                Err(LockError::OwnerDied(())) => self.write_all(worker),
                Err(error) => panic!("the array is not to be had: {error}"),
            }
        }
    }

    /// All elements at once.
    pub(crate) fn write_all(&self, worker: &mut Worker) {
        let mut guard = match self.array.lock_timeout(LONG) {
            Ok(guard) => guard,
            Err(LockError::OwnerDied(mut guard)) => {
                worker.recovers();
                guard.iter_mut().for_each(|element| *element = [element[0]; 3]);
                guard.recover();
                guard
            }
            Err(error) => panic!("the array is not to be had: {error}"),
        };
        for element in guard.iter_mut() {
            let [one, two, three] = *element;
            assert!(one == two && two == three, "half of an element, and nobody was told: {element:?}");
            for number in element {
                *number = number.wrapping_add(1);
                if one % 4 == 0 {
                    worker.dawdles();
                }
            }
        }
    }

    /// A text whose length says what is in it.
    pub(crate) fn replace_an_item(&self, worker: &mut Worker) {
        let index = worker.random.below(self.list.len() as u64) as usize;
        let length = 1 + worker.random.below(40) as usize;
        let letter = |length: usize| char::from(b'a' + (length % 26) as u8).to_string();
        self.list.set_timeout(index, letter(length).repeat(length).as_str(), LONG).unwrap();
        match self.list.get(index).unwrap() {
            Item::Str(text) => {
                let is_first = text.bytes().all(|byte| byte == b'x');
                assert!(is_first || text == letter(text.len()).repeat(text.len()), "half of an item: {text}");
            }
            other => panic!("no text: {other:?}"),
        }
    }

    /// A number added is there.
    pub(crate) fn add(&self, worker: &mut Worker) {
        worker.begins(Kind::Counter);
        self.counter.add(1).unwrap();
        worker.has_ended(Kind::Counter);
    }
}
