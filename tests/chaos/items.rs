//! The queue: numbered items, of which each is put whole or not at all, and then taken once. Who has one on a lease and dies, or
//! gives it back, hands it on to another; who dies while it gets one plainly, or while it acknowledges one, has had it.
//!
//! ```text
//!   head              an item, SLOTS times
//!   +---------------+ +----------------------------+----------------+-------------+ …
//!   | given out,    | | number, is it put, taken,  | handed out, as | pid of who  |
//!   | taken, lost   | | refused                    | was last seen  | has it      |
//!   +---------------+ +----------------------------+----------------+-------------+
//! ```
//!
//! An item has a place in here until as many others were put as there are places, when nothing can become of it any more: a
//! queue of [`MOST`] items goes no farther than that beyond one that is not done.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use crewkit::ipc::{GetError, Lease, PutError, Queue, SharedMemory};
use serde::{Deserialize, Serialize};

use crate::guarded::has_ended;
use crate::journal::{Journal, Kind};
use crate::worker::{LONG, Worker};

/// How many items the queue holds, and a batch at most.
const MOST: usize = 6;
const BATCH: u64 = 3;
const SLOTS: usize = 1 << 18;
const HEAD: usize = 3;

const PUT: u64 = 1;
const TAKEN: u64 = 2;
const REFUSED: u64 = 4;
const FLAGS: u32 = 3;

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Items {
    pub(crate) queue: Queue<u64>,
    ledger: SharedMemory,
}

impl Items {
    pub(crate) fn new() -> Self {
        let ledger = SharedMemory::create((HEAD + 3 * SLOTS) * size_of::<u64>()).unwrap();
        Self { queue: Queue::with_bytes(MOST, 256).unwrap(), ledger }
    }

    fn given_out(&self) -> &AtomicU64 {
        &self.ledger.words()[0]
    }

    /// Of items that have no place any more: taken, or put and not taken.
    fn past(&self) -> [&AtomicU64; 2] {
        [1, 2].map(|index| &self.ledger.words()[index])
    }

    /// What is known of an item; how often it was handed out; who has it.
    fn of(&self, number: u64) -> [&AtomicU64; 3] {
        let at = HEAD + 3 * (number as usize % SLOTS);
        [at, at + 1, at + 2].map(|index| &self.ledger.words()[index])
    }

    /// What becomes of an item, once.
    fn note(&self, number: u64, flag: u64) {
        let known = self.of(number)[0].fetch_or(flag, SeqCst);
        assert_eq!(known >> FLAGS, number, "an item that nobody has put, or that was forgotten");
        assert_eq!(known & flag, 0, "item {number} twice: {known:b}");
        assert!(
            (known | flag) & REFUSED == 0 || known | flag == number << FLAGS | REFUSED,
            "item {number} had no room"
        );
    }

    fn next_number(&self) -> u64 {
        let number = self.given_out().fetch_add(1, SeqCst) + 1;
        let [state, attempt, holder] = self.of(number);
        attempt.store(0, SeqCst);
        holder.store(0, SeqCst);
        let before = state.swap(number << FLAGS, SeqCst);
        let [taken, lost] = self.past();
        taken.fetch_add(u64::from(before & TAKEN != 0), SeqCst);
        lost.fetch_add(u64::from(before & (PUT | TAKEN) == PUT), SeqCst);
        number
    }

    /// Puts so many; how many had room.
    fn put(&self, count: u64, timeout: Duration) -> usize {
        let numbers: Vec<u64> = (0..count).map(|_| self.next_number()).collect();
        let refused = match self.queue.put_many_timeout(numbers.iter().copied(), timeout) {
            Ok(()) => Vec::new(),
            Err(PutError::Full(rest)) => rest,
            Err(error) => panic!("nothing can be put: {error}"),
        };
        let (put, rest) = numbers.split_at(numbers.len() - refused.len());
        assert_eq!(rest, refused, "the last ones have no room");
        put.iter().for_each(|&number| self.note(number, PUT));
        rest.iter().for_each(|&number| self.note(number, REFUSED));
        put.len()
    }

    /// Takes some for good; how many there were.
    fn take(&self, worker: &mut Worker, timeout: Duration) -> usize {
        let most = 1 + worker.random.below(BATCH);
        (0..most).for_each(|_| worker.begins(Kind::Got));
        let numbers = match self.queue.get_many_timeout(most as usize, timeout) {
            Ok(numbers) => numbers,
            Err(GetError::Empty) => Vec::new(),
            Err(error) => panic!("nothing can be got: {error}"),
        };
        worker.dawdles();
        numbers.iter().for_each(|&number| self.note(number, TAKEN));
        (0..most).for_each(|_| worker.has_ended(Kind::Got));
        for _ in &numbers {
            worker.dawdles();
            self.queue.task_done().expect("this one was not reported yet");
        }
        numbers.len()
    }

    /// Takes one on a lease, and acknowledges it, or gives it back; whether there was one.
    fn lease(&self, worker: &mut Worker, timeout: Duration) -> bool {
        let lease = match self.queue.get_leased_timeout(timeout) {
            Ok(lease) => lease,
            Err(GetError::Empty) => return false,
            Err(error) => panic!("nothing can be leased: {error}"),
        };
        let holder = self.hand_over(&lease);
        worker.dawdles();
        holder.store(0, SeqCst);
        match worker.random.below(4) {
            0 => lease.requeue().unwrap(),
            1 => drop(lease),
            _ => {
                worker.begins(Kind::Acknowledged);
                let number = lease.ack().unwrap();
                worker.dawdles();
                self.note(number, TAKEN);
                worker.has_ended(Kind::Acknowledged);
            }
        }
        true
    }

    /// This process has it, and nobody else any more.
    fn hand_over(&self, lease: &Lease<u64>) -> &AtomicU64 {
        let [state, attempt, holder] = self.of(**lease);
        let known = state.load(SeqCst);
        assert_eq!((known >> FLAGS, known & (TAKEN | REFUSED)), (**lease, 0), "not an item to be handed out");
        let before = attempt.swap(lease.attempt().into(), SeqCst);
        assert!(before < lease.attempt().into(), "handed out {before} times before, and now the {}th", lease.attempt());
        let other = holder.swap(std::process::id().into(), SeqCst);
        assert!(other == 0 || has_ended(other), "{other} lives, and has item {}", **lease);
        holder
    }

    /// A round for which nobody waits.
    pub(crate) fn round(&self, worker: &mut Worker) {
        let timeout = Duration::from_micros(worker.random.below(3) * 400);
        match worker.random.below(8) {
            0..3 => drop(self.put(1 + worker.random.below(BATCH), timeout)),
            3..5 => drop(self.take(worker, timeout)),
            5..7 => drop(self.lease(worker, timeout)),
            _ => drop(self.queue.join_timeout(timeout).unwrap()),
        }
    }

    /// Others make room.
    pub(crate) fn put_for_certain(&self) {
        assert_eq!(self.put(1, LONG), 1, "room is lost, or a wake-up; {:?}", self.queue);
    }

    /// Others put.
    pub(crate) fn take_for_certain(&self, worker: &mut Worker) {
        let is_there = if worker.random.below(2) == 0 { self.lease(worker, LONG) } else { self.take(worker, LONG) > 0 };
        assert!(is_there, "an item is lost, or a wake-up; {:?}", self.queue);
    }

    /// At the end, when nobody puts or takes for certain any more: who waits for either waits no longer.
    pub(crate) fn stir(&self) {
        if self.drain() == 0 {
            self.put(1, Duration::ZERO);
        }
    }

    /// Takes all, by somebody who does not die.
    fn drain(&self) -> usize {
        let mut count = 0;
        while let Ok(lease) = self.queue.try_get_leased() {
            self.hand_over(&lease).store(0, SeqCst);
            self.note(lease.ack().unwrap(), TAKEN);
            count += 1;
        }
        count
    }

    /// When all workers have ended: each item that was put was taken, but for those with which somebody died that had them
    /// for good and had not noted it yet.
    pub(crate) fn account(&self, journal: &Journal, deaths: u64) {
        self.drain();
        assert!(self.queue.join_timeout(LONG).unwrap(), "something is unfinished that nobody has: {:?}", self.queue);
        assert!(format!("{:?}", self.queue).contains("bytes: 0"), "{:?}", self.queue);
        let (taken, lost) = self.sums();
        let open = journal.open(Kind::Got) + journal.open(Kind::Acknowledged);
        assert!(lost <= open && open <= BATCH * deaths, "{lost} of {taken} are lost, {open} by {deaths} deaths");
    }

    /// How many were taken, and how many put and not taken.
    fn sums(&self) -> (u64, u64) {
        let [mut taken, mut lost] = self.past().map(|word| word.load(SeqCst));
        for slot in 0..SLOTS as u64 {
            let state = self.of(slot)[0].load(SeqCst);
            taken += u64::from(state & TAKEN != 0);
            lost += u64::from(state & (PUT | TAKEN) == PUT);
        }
        (taken, lost)
    }

    /// For the report.
    pub(crate) fn summary(&self) -> String {
        let again = (0..SLOTS as u64).filter(|&slot| self.of(slot)[1].load(SeqCst) > 1).count();
        let (taken, lost) = self.sums();
        format!("{taken} items, {again} of the last handed out again, {lost} taken by the dead")
    }
}
