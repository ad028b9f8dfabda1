//! A queue between processes whose users die at any step: the shipped lines of `shm/queue`, `roster.rs`, `bell.rs`, `held.rs`
//! and the ring's index, on a model of the kernel's part; the bytes are plain memory, so that loom reports a copy that is
//! not ordered.
#![cfg(crewkit_loom)]

#[path = "../../src/shm/bell.rs"]
mod bell;
#[path = "../../src/shm/held.rs"]
mod held;
#[path = "../../src/shm/queue/mod.rs"]
mod queue;
#[path = "../../src/shm/ring/mod.rs"]
#[expect(dead_code, reason = "of the ring only its index and its bytes")]
mod ring;
#[path = "../../src/shm/roster.rs"]
mod roster;

mod primitive {
    pub(crate) use crewkit_loom_tests::mortal::{
        AtomicU32, AtomicU64, Got, Life, Refused, Robust, SharedFutex, fence, fence_after_exchange, has_passed,
    };
    use std::sync::atomic::Ordering;

    pub(crate) fn half_fence() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn fence_all_processes() -> bool {
        true
    }

    pub(crate) struct Spin;

    impl Spin {
        pub(crate) fn for_a_batch(_: u32, _: u32) -> Self {
            Self
        }

        pub(crate) fn again(&mut self) -> bool {
            false
        }
    }
}

mod sys {
    pub(crate) mod clock {
        #[derive(Clone, Copy)]
        pub(crate) struct Deadline;
    }
}

use bell::Bell;
use crewkit::model::{Arc, thread};
use crewkit_loom_tests::mortal::{Life, Memory, at_each_step, bury_me, dies_before, i_am};
use crewkit_loom_tests::{explore, prepare};
use held::{Held, State};
use loom::sync::{Condvar, Mutex};
use queue::{Caller, DRAIN, Failed, IMMEDIATE, Queue, Taken, Way};
use ring::Bytes;
use roster::{Roster, Seat};
use std::sync::PoisonError;
use sys::clock::Deadline;

/// Four records of a word each.
const LENGTH: u32 = 64;

struct Model {
    queue: Queue,
    bytes: Plain,
}

struct Plain(Vec<Memory>);

// SAFETY: loom reports every access that is not ordered with the others.
#[expect(unsafe_code, reason = "shares cells, for loom to report their races")]
unsafe impl Sync for Model {}

impl Plain {
    fn word(&self, position: u32) -> &Memory {
        &self.0[(position % LENGTH / 8) as usize]
    }
}

impl Bytes for Plain {
    fn length(&self) -> u32 {
        LENGTH
    }

    fn write(&self, position: u32, bytes: &[u8]) {
        for (at, word) in (position..).step_by(8).zip(bytes.chunks(8)) {
            self.write_word(at, u64::from_ne_bytes(word.try_into().unwrap()));
        }
    }

    fn write_word(&self, position: u32, word: u64) {
        self.word(position).write(word);
    }

    fn read_word(&self, position: u32) -> u64 {
        self.word(position).read()
    }

    fn read(&self, position: u32, length: usize, onto: &mut Vec<u8>) {
        for at in (position..).step_by(8).take(length / 8) {
            onto.extend(self.read_word(at).to_ne_bytes());
        }
    }
}

fn caller(number: usize) -> Caller {
    Caller { seat: number, life: Life::of(number) }
}

/// Holds the numbers `there`, and no more than `most`; processes 1, 2 and 3 sit in the seats of these numbers.
fn model(most: u64, there: &[u64]) -> Arc<Model> {
    let bytes = Plain((0..LENGTH / 8).map(|_| Memory::default()).collect());
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
    fn put(&self, number: u64) {
        assert!(self.queue.put(&self.bytes, &[&number.to_ne_bytes()], Deadline).is_ok());
    }

    /// Waits for a record; `None` when there will be none.
    fn take(&self, number: usize, way: Way) -> Option<(u64, Taken)> {
        let (mut bytes, mut taken) = (Vec::new(), None);
        match self.queue.take(&self.bytes, caller(number), (way, 1), &mut bytes, |one| taken = Some(one), Deadline) {
            Ok(_) => Some((u64::from_ne_bytes(bytes.try_into().unwrap()), taken.unwrap())),
            Err(Failed::ShutDown) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn get(&self, number: usize) -> u64 {
        self.take(number, Way::Plainly).unwrap().0
    }

    fn lease(&self, number: usize) -> (u64, Taken) {
        self.take(number, Way::OnALease).unwrap()
    }

    fn end_lease(&self, number: usize, taken: Taken, is_done: bool) {
        assert!(self.queue.end_lease(&self.bytes, number, taken.at, is_done, Deadline).unwrap());
    }

    fn task_done(&self, number: usize) -> bool {
        self.queue.task_done(&self.bytes, number, Deadline).unwrap()
    }

    fn join(&self, number: usize) {
        assert!(self.queue.join(&self.bytes, caller(number), Deadline).unwrap());
    }

    /// The kernel's part after the death of this process.
    fn bury(&self) {
        bury_me(&self.queue.mutexes(), &self.queue.bells().map(|bell| &bell.0));
    }

    /// What dies before step `last` of `body`, as process 1, and is buried.
    fn dies(&self, last: usize, body: impl FnOnce()) -> bool {
        i_am(1);
        let died = dies_before(last, body);
        if died {
            self.bury();
        }
        died
    }

    /// What is left, for process 3, alone by now: the queue is in order, and all its room free after that.
    fn rest(&self) -> Vec<u64> {
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
fn other<T: 'static>(
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

#[test]
fn who_dies_putting_has_put_its_record_whole_or_not_at_all() {
    at_each_step("records: put × take", |last| {
        let model = model(9, &[]);
        let taker = other(&model, 2, |model| std::iter::repeat_with(|| model.get(2)).find(|&got| got == 8).is_some());
        let died = model.dies(last, || model.put(7));
        i_am(3);
        model.put(8);
        assert!(taker.join().unwrap());
        assert!(model.rest().is_empty());
        died
    });
    at_each_step("records: put × put", |last| {
        let model = model(9, &[]);
        let putter = other(&model, 2, |model| model.put(8));
        let died = model.dies(last, || model.put(7));
        putter.join().unwrap();
        let rest = model.rest();
        assert!(rest == [7, 8] || rest == [8, 7] || died && rest == [8], "{rest:?}");
        died
    });
}

#[test]
fn who_dies_taking_has_taken_its_record_or_left_it() {
    at_each_step("records: take × take", |last| {
        let model = model(9, &[6, 7, 8]);
        let taker = other(&model, 2, |model| model.get(2));
        let mut first = None;
        let died = model.dies(last, || first = Some(model.get(1)));
        let second = taker.join().unwrap();
        let rest = model.rest();
        let mut all: Vec<_> = first.into_iter().chain([second]).chain(rest.iter().copied()).collect();
        all.sort_unstable();
        assert!(all == [6, 7, 8] || died && (all == [6, 8] || all == [7, 8]), "{all:?}");
        assert!(rest.is_sorted());
        died
    });
}

#[test]
fn who_waits_for_room_gets_that_of_one_who_dies() {
    at_each_step("records: take × put into a full queue × take", |last| {
        // Full to the last byte: what is put goes where what is taken was.
        let model = model(9, &[4, 5, 6, 7]);
        let putter = other(&model, 2, |model| model.put(8));
        let died = model.dies(last, || assert_eq!(model.get(1), 4));
        i_am(3);
        // It died before it had taken the first, or this is the second.
        let next = model.get(3);
        assert!(next == 5 || died && next == 4);
        putter.join().unwrap();
        assert_eq!(model.rest(), (next + 1..=8).collect::<Vec<_>>());
        died
    });
}

#[test]
fn what_is_leased_to_one_who_dies_is_handed_out_again() {
    at_each_step("records: (lease, acknowledge) × take", |last| {
        let model = model(9, &[7, 8]);
        let taker = other(&model, 2, |model| model.get(2));
        let (mut leased, mut has_begun) = (None, false);
        let died = model.dies(last, || {
            let (number, taken) = model.lease(1);
            leased = Some(number);
            has_begun = true;
            model.end_lease(1, taken, true);
        });
        let seen = taker.join().unwrap();
        let mut all: Vec<_> = model.rest().into_iter().chain([seen]).collect();
        all.sort_unstable();
        match leased {
            Some(number) if !died => assert_eq!(all, [15 - number]),
            Some(number) if has_begun => assert!(all == [15 - number] || all == [7, 8], "{all:?}"),
            _ => assert_eq!(all, [7, 8]),
        }
        died
    });
}

#[test]
fn who_dies_giving_a_lease_back_has_given_it_back() {
    at_each_step("records: requeue × take", |last| {
        let model = model(9, &[7, 8]);
        i_am(1);
        let (_, taken) = prepare(|| model.lease(1));
        let taker = other(&model, 2, |model| {
            let mut got = [model.lease(2), model.lease(2)].map(|(number, taken)| (number, taken.attempt));
            got.sort_unstable();
            got
        });
        let died = model.dies(last, || model.end_lease(1, taken, false));
        assert_eq!(taker.join().unwrap(), [(7, 2), (8, 1)]);
        died
    });
}

#[test]
fn who_dies_taking_behind_a_lease_leaves_the_queue_in_order() {
    at_each_step("records: take behind a lease × take", |last| {
        let model = model(9, &[6, 7, 8]);
        i_am(3);
        let (six, leased) = prepare(|| model.lease(3));
        let taker = other(&model, 2, |model| model.get(2));
        let mut first = None;
        let died = model.dies(last, || first = Some(model.get(1)));
        let second = taker.join().unwrap();
        i_am(3);
        model.end_lease(3, leased, true);
        let rest = model.rest();
        let mut all: Vec<_> = first.into_iter().chain([six, second]).chain(rest).collect();
        all.sort_unstable();
        assert!(all == [6, 7, 8] || died && (all == [6, 8] || all == [6, 7]), "{all:?}");
        died
    });
}

#[test]
fn who_dies_burying_one_with_a_lease_leaves_that_to_others() {
    at_each_step("records: reap × take", |last| {
        let model = model(9, &[7]);
        i_am(3);
        let (_, leased) = prepare(|| model.lease(3));
        assert_eq!(leased.attempt, 1);
        prepare(|| model.bury());
        let taker = other(&model, 2, |model| model.lease(2).1.attempt);
        let died = model.dies(last, || assert!(model.queue.reap(&model.bytes, caller(1), Deadline).is_ok()));
        assert_eq!(taker.join().unwrap(), 2);
        died
    });
}

#[test]
fn what_the_dead_have_taken_hangs_nobody_who_joins() {
    at_each_step("records: task done × join", |last| {
        let model = model(9, &[7]);
        i_am(1);
        prepare(|| model.get(1));
        let joiner = other(&model, 2, |model| model.join(2));
        let died = model.dies(last, || assert!(model.task_done(1)));
        joiner.join().unwrap();
        i_am(3);
        assert!(!model.task_done(3));
        died
    });
    at_each_step("records: (take, task done) × join × take", |last| {
        let model = model(9, &[7]);
        let joiner = other(&model, 2, |model| {
            model.join(2);
            assert_eq!(model.queue.counts().used, 0, "joined too early");
        });
        let died = model.dies(last, || {
            assert_eq!(model.get(1), 7);
            assert!(model.task_done(1));
        });
        if died {
            let rest = model.rest();
            assert!(rest.is_empty() || rest == [7]);
            assert_eq!(model.task_done(3), !rest.is_empty());
        }
        joiner.join().unwrap();
        died
    });
}

#[test]
fn who_dies_shutting_down_has_shut_down_or_not_and_hangs_nobody() {
    for way in [DRAIN, IMMEDIATE] {
        at_each_step(&format!("records: shut down ({way}) × take × shut down"), move |last| {
            let model = model(9, &[7, 8]);
            let most = if way == DRAIN { 3 } else { 1 };
            let taker = other(&model, 2, move |model| (0..most).filter_map(|_| model.take(2, Way::Plainly)).count());
            let died = model.dies(last, || {
                model.queue.close(way, Deadline).unwrap();
                model.queue.tidy(&model.bytes, Deadline).unwrap();
            });
            if died {
                i_am(3);
                model.queue.close(way, Deadline).unwrap();
            }
            let got = taker.join().unwrap();
            assert!(got == 2 || way == IMMEDIATE && got < 2);
            i_am(3);
            assert!(matches!(model.queue.try_put(&model.bytes, &[&[0; 8]], Deadline), Err(Failed::ShutDown)));
            assert!(model.rest().is_empty(), "what was dropped is there");
            i_am(2);
            (0..got).for_each(|_| assert!(model.task_done(2)));
            died
        });
    }
}

#[test]
fn who_dies_coming_or_going_leaves_a_seat_and_all_records() {
    at_each_step("records: (leave with a lease, come) × take", |last| {
        let model = model(9, &[7]);
        i_am(1);
        prepare(|| model.lease(1));
        let taker = other(&model, 2, |model| model.lease(2).1.attempt);
        let died = model.dies(last, || {
            model.queue.leave(&model.bytes, 1, Deadline).unwrap();
            assert_eq!(model.queue.sit_down(&model.bytes, Life::of(1), Deadline).unwrap(), Some(1));
        });
        assert_eq!(taker.join().unwrap(), 2);
        died
    });
}

#[test]
fn who_watches_is_rung_for() {
    explore("records: put, ring × (watch, look, sleep) × (watch, look, sleep)", || {
        let model = model(9, &[]);
        let bells: Arc<Vec<(Mutex<bool>, Condvar)>> = Arc::new((0..2).map(|_| Default::default()).collect());
        let watchers: Vec<_> = (0..2)
            .map(|watcher| {
                let bells = Arc::clone(&bells);
                other(&model, watcher + 2, move |model| {
                    model.queue.watch();
                    if !model.queue.is_ready() {
                        let (rung, changed) = &bells[watcher];
                        let mut rung = rung.lock().unwrap_or_else(PoisonError::into_inner);
                        while !*rung {
                            rung = changed.wait(rung).unwrap_or_else(PoisonError::into_inner);
                        }
                    }
                    assert!(model.queue.is_ready());
                })
            })
            .collect();
        i_am(1);
        model.put(7);
        model.queue.tell_watchers(|| {
            for (rung, changed) in &*bells {
                *rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
                changed.notify_one();
            }
        });
        watchers.into_iter().for_each(|watcher| watcher.join().unwrap());
    });
}
