//! A queue of four records, three processes that sit at it, and what is left of it when one has died.

use crate::plain::{LENGTH, Plain};
use crate::queue::{Caller, Failed, Queue, Taken, Way};
use crate::sys::clock::Deadline;
use crewkit::model::{Arc, thread};
use crewkit_loom_tests::mortal::{Life, bury_me, dies_before, i_am};
use crewkit_loom_tests::prepare;

pub(crate) struct Model {
    pub(crate) queue: Queue,
    pub(crate) bytes: Plain,
}

pub(crate) fn caller(number: usize) -> Caller {
    Caller { seat: number, life: Life::of(number) }
}

/// Holds the numbers `there`, and no more than `most`; processes 1, 2 and 3 sit in the seats of these numbers.
pub(crate) fn model(most: u64, there: &[u64]) -> Arc<Model> {
    let bytes = Plain::new();
    prepare(|| {
        let model = Model { queue: Queue::new(), bytes };
        model.queue.begin(most, LENGTH);
        for number in 1..=3 {
            i_am(number);
            assert_eq!(model.queue.sit_down(&model.bytes, Life::of(number), Deadline).unwrap(), Some(number));
        }
        there.iter().for_each(|&number| model.put(number));
        Arc::new(model)
    })
}

impl Model {
    pub(crate) fn put(&self, number: u64) {
        assert!(self.queue.put(&self.bytes, &[&number.to_ne_bytes()], Deadline).is_ok());
    }

    /// Waits for a record; `None` when there will be none.
    pub(crate) fn take(&self, number: usize, way: Way) -> Option<(u64, Taken)> {
        let (mut bytes, mut taken) = (Vec::new(), None);
        match self.queue.take(&self.bytes, caller(number), (way, 1), &mut bytes, |one| taken = Some(one), Deadline) {
            Ok(_) => Some((u64::from_ne_bytes(bytes.try_into().unwrap()), taken.unwrap())),
            Err(Failed::ShutDown) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    pub(crate) fn get(&self, number: usize) -> u64 {
        self.take(number, Way::Plainly).unwrap().0
    }

    pub(crate) fn lease(&self, number: usize) -> (u64, Taken) {
        self.take(number, Way::OnALease).unwrap()
    }

    pub(crate) fn end_lease(&self, number: usize, taken: Taken, is_done: bool) {
        assert!(self.queue.end_lease(&self.bytes, number, taken.at, is_done, Deadline).unwrap());
    }

    pub(crate) fn task_done(&self, number: usize) -> bool {
        self.queue.task_done(&self.bytes, number, Deadline).unwrap()
    }

    pub(crate) fn join(&self, number: usize) {
        assert!(self.queue.join(&self.bytes, caller(number), Deadline, || {}).unwrap());
    }

    /// The kernel's part after the death of this process.
    pub(crate) fn bury(&self) {
        bury_me(&self.queue.mutexes(), &self.queue.bells().map(|bell| &bell.0));
    }

    /// What dies before step `last` of `body`, as process 1, and is buried.
    pub(crate) fn dies(&self, last: usize, body: impl FnOnce()) -> bool {
        i_am(1);
        let died = dies_before(last, body);
        if died {
            self.bury();
        }
        died
    }

    /// What is left, for process 3, alone by now: the queue is in order, and all its room free after that.
    pub(crate) fn rest(&self) -> Vec<u64> {
        i_am(3);
        self.queue.reap(&self.bytes, caller(3), Deadline).unwrap();
        let mut found = Vec::new();
        loop {
            let mut bytes = Vec::new();
            match self.queue.try_take(&self.bytes, caller(3), (Way::Plainly, 1), &mut bytes, |_| {}, Deadline) {
                Ok(_) => found.push(u64::from_ne_bytes(bytes.try_into().unwrap())),
                Err(_) => break,
            }
        }
        let counts = self.queue.counts();
        assert_eq!((counts.ready, counts.leased, counts.bytes, counts.used), (0, 0, 0, 0), "room is lost");
        found
    }
}

/// Another process of the model.
pub(crate) fn other<T: 'static>(
    model: &Arc<Model>,
    number: usize,
    body: impl FnOnce(&Model) -> T + 'static,
) -> thread::JoinHandle<T> {
    let model = Arc::clone(model);
    thread::spawn(move || {
        i_am(number);
        body(&model)
    })
}
