//! What workers wait for, and what is owed to those who wait when somebody dies.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use crewkit::ipc::{BarrierError, LockError, LockGuard};

use crate::journal::Kind;
use crate::worker::{LONG, Role, Worker};
use crate::world::World;

impl World {
    /// The owner sets the event again and again: nobody waits long.
    pub(crate) fn wait(&self, worker: &mut Worker) {
        assert!(self.event.wait_timeout(LONG).unwrap(), "the event was set and nobody woke this one");
        if worker.random.below(2) == 0 {
            self.event.clear().unwrap();
        }
    }

    /// Waits for the other parties. If one of them dies, all are told; one of the roles begins anew.
    pub(crate) fn party(&self, worker: &mut Worker, mends: bool) {
        let before = self.trips.get().unwrap();
        let made = self.barrier.wait_with_timeout(LONG, || {
            worker.begins(Kind::Trip);
            self.trips.add(1).unwrap();
            worker.has_ended(Kind::Trip);
        });
        match made {
            // Whoever died meanwhile may have made more of them.
            Ok(_) => {
                assert!(self.trips.get().unwrap() > before, "not all came");
                worker.broken_since = None;
            }
            Err(BarrierError::Broken) => {
                let since = *worker.broken_since.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < LONG, "the barrier is broken, and mending does not help");
                if mends && !worker.is_over() {
                    self.journal.mended().fetch_add(1, SeqCst);
                    self.barrier.reset().unwrap();
                }
            }
            Err(error) => panic!("the barrier is of no use: {error}"),
        }
    }

    pub(crate) fn goods(&self) -> [&AtomicU64; 2] {
        let words = self.goods.words();
        [&words[0], &words[1]]
    }

    pub(crate) fn goods_left(&self) -> u64 {
        let [put, taken] = self.goods().map(|word| word.load(SeqCst));
        assert!(taken <= put, "{taken} taken of {put}");
        put - taken
    }

    /// Under the condition's lock, which the dead leave with something done and nobody notified.
    fn entered(&self, worker: &Worker) -> LockGuard<'_> {
        match self.condition.lock().lock_timeout(LONG) {
            Ok(guard) => guard,
            Err(LockError::OwnerDied(guard)) => {
                self.inherit(worker, &guard);
                guard
            }
            Err(error) => panic!("the condition's lock is not to be had: {error}"),
        }
    }

    fn inherit(&self, worker: &Worker, guard: &LockGuard<'_>) {
        worker.recovers();
        self.condition.notify_all(guard).unwrap();
        guard.recover();
    }

    /// Puts something where there is nothing, and notifies one who waits: it is said once only.
    pub(crate) fn put(&self, worker: &mut Worker) {
        let guard = self.entered(worker);
        if self.goods_left() == 0 {
            worker.begins(Kind::Put);
            self.goods()[0].fetch_add(1, SeqCst);
            worker.has_ended(Kind::Put);
            worker.dawdles();
            self.condition.notify_one(&guard).unwrap();
            worker.dawdles();
        }
        drop(guard);
    }

    /// Waits until something was put, and takes it.
    pub(crate) fn take(&self, worker: &mut Worker) {
        let mut guard = self.entered(worker);
        while self.goods_left() == 0 {
            if worker.is_over() {
                return;
            }
            let (back, was_notified) = match self.condition.wait_timeout(guard, LONG) {
                Ok(answer) => answer,
                Err(LockError::OwnerDied((guard, _))) => {
                    self.inherit(worker, &guard);
                    (guard, true)
                }
                Err(error) => panic!("the condition's lock is not to be had again: {error}"),
            };
            assert!(was_notified, "nobody notified this one; {} goods are there", self.goods_left());
            guard = back;
        }
        worker.begins(Kind::Taken);
        self.goods()[1].fetch_add(1, SeqCst);
        worker.has_ended(Kind::Taken);
        worker.dawdles();
        drop(guard);
    }

    /// At the end: those who wait for somebody of this role need wait no longer.
    pub(crate) fn leave(&self, role: Role, worker: &Worker) {
        match role {
            Role::Party { .. } => self.barrier.abort().unwrap(),
            Role::Producer | Role::Consumer => {
                let guard = self.entered(worker);
                self.condition.notify_all(&guard).unwrap();
            }
            Role::Sender | Role::Receiver | Role::Putter | Role::Getter | Role::Waiter => {}
        }
    }
}
