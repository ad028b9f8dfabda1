//! A ring between two processes that die at any step, and that sleep when it is empty or full: the shipped lines of
//! `shm/ring` but for the raw copies of its bytes, which are plain memory here, so that loom reports a copy that is not
//! ordered.
#![cfg(crewkit_loom)]

mod plain;
#[path = "../../src/shm/ring/mod.rs"]
mod ring;

mod primitive {
    pub(crate) use crewkit_loom_tests::mortal::{AtomicU32, AtomicU64, fence};
    use std::sync::atomic::Ordering;

    pub(crate) fn half_fence() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn fence_all_processes() -> bool {
        fence(Ordering::SeqCst);
        true
    }
}

use crewkit::model::{Arc, thread};
use crewkit_loom_tests::mortal::dies_before;
use crewkit_loom_tests::{explore, prepare};
use loom::sync::{Condvar, Mutex};
use plain::Plain;
use ring::{Alarm, Consumer, Producer, Put, Side, Words};
use std::sync::PoisonError;

struct Model {
    words: Words,
    bytes: Plain,
    to_consumer: Doorbell,
    to_producer: Doorbell,
}

/// What a side sleeps at: a socket, which tells of a ring and of the other side's death, or a futex.
#[derive(Default)]
struct Doorbell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Doorbell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    fn sleep(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rung {
            rung = self.changed.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
        *rung = false;
    }
}

impl Model {
    /// An empty ring, `used` words after its beginning.
    fn new(used: u32) -> Arc<Self> {
        prepare(|| {
            let bytes = Plain::new();
            let (to_consumer, to_producer) = Default::default();
            let model = Self { words: Words::default(), bytes, to_consumer, to_producer };
            model.words.attach(Side::Producer, true);
            model.words.attach(Side::Consumer, true);
            let (mut producer, mut consumer) = model.ends();
            for _ in 0..used {
                assert_eq!(producer.put(&model.words, &model.bytes, 0, [&[], &[]]), Ok(Put::Done));
                let record = consumer.peek(&model.words, &model.bytes).unwrap().unwrap();
                consumer.take(&model.words, &model.bytes, record, 0, &mut Vec::new());
            }
            Arc::new(model)
        })
    }

    fn ends(&self) -> (Producer, Consumer) {
        (Producer::resume(&self.words), Consumer::resume(&self.words))
    }

    /// Puts a number, and says so to a consumer that sleeps.
    fn try_put(&self, producer: &mut Producer, number: u64) -> bool {
        let record = number.to_ne_bytes();
        let tag = u32::try_from(number).unwrap();
        let done = producer.put(&self.words, &self.bytes, tag, [&[], &record]).unwrap() == Put::Done;
        if done && self.words.must_wake(Side::Consumer) {
            self.to_consumer.ring();
        }
        done
    }

    /// Takes a number, and says so to a producer that sleeps.
    fn try_take(&self, consumer: &mut Consumer) -> Option<u64> {
        let record = consumer.peek(&self.words, &self.bytes).unwrap()?;
        let mut bytes = Vec::new();
        consumer.take(&self.words, &self.bytes, record, 0, &mut bytes);
        let number = u64::from_ne_bytes(bytes.try_into().unwrap());
        assert_eq!(u64::from(record.tag), number, "a record of two");
        if self.words.must_wake(Side::Producer) {
            self.to_producer.ring();
        }
        Some(number)
    }

    fn put(&self, producer: &mut Producer, number: u64) {
        while !self.try_put(producer, number) {
            assert_eq!(self.words.arm(Side::Producer), Alarm::Sure);
            if producer.could_put(&self.words, &self.bytes, 8).unwrap() {
                self.words.bell(Side::Producer).disarm();
            } else {
                self.to_producer.sleep();
            }
        }
    }

    fn take(&self, consumer: &mut Consumer) -> u64 {
        loop {
            if let Some(number) = self.try_take(consumer) {
                return number;
            }
            assert_eq!(self.words.arm(Side::Consumer), Alarm::Sure);
            if consumer.has_news(&self.words, &self.bytes) {
                self.words.bell(Side::Consumer).disarm();
            } else {
                self.to_consumer.sleep();
            }
        }
    }
}

// Of the accesses before a store loom looks at the last one only, so in each model whoever stores what matters is the
// thread that runs first, and whoever looks is another.

/// Seven words used: the second record goes round the end.
const BEFORE_THE_END: u32 = 5;

#[test]
fn what_is_taken_is_what_was_put_and_an_empty_ring_is_slept_on() {
    explore("ring: (put, put) × (take, take)", || {
        let model = Model::new(BEFORE_THE_END);
        let consumer = thread::spawn({
            let model = Arc::clone(&model);
            move || {
                let (_, mut consumer) = model.ends();
                (model.take(&mut consumer), model.take(&mut consumer))
            }
        });
        let (mut producer, _) = model.ends();
        (1..3).for_each(|number| model.put(&mut producer, number));
        assert_eq!(consumer.join().unwrap(), (1, 2));
    });
}

#[test]
fn a_full_ring_is_slept_on_and_what_was_not_taken_is_not_overwritten() {
    explore("ring: full, put × (take, take)", || {
        let model = Model::new(BEFORE_THE_END);
        let (mut producer, mut consumer) = model.ends();
        prepare(|| (1..5).for_each(|number| assert!(model.try_put(&mut producer, number))));
        let producer = thread::spawn({
            let model = Arc::clone(&model);
            move || model.put(&mut producer, 5)
        });
        assert_eq!(model.take(&mut consumer), 1);
        assert_eq!(model.take(&mut consumer), 2);
        producer.join().unwrap();
        let rest: Vec<_> = std::iter::from_fn(|| model.try_take(&mut consumer)).collect();
        assert_eq!(rest, [3, 4, 5]);
    });
}

/// The steps of a put into a ring with room: the record, its header, the index, a fence, a look at the bell, which may be
/// taken back.
const STEPS_OF_A_PUT: usize = 6;

#[test]
fn a_producer_that_dies_at_any_step_has_put_all_of_a_record_or_nothing() {
    for last in 0..=STEPS_OF_A_PUT {
        explore(&format!("ring: (put until step {last}, put) × take to the end"), move || {
            let model = Model::new(BEFORE_THE_END);
            let consumer = thread::spawn({
                let model = Arc::clone(&model);
                move || {
                    let (_, mut consumer) = model.ends();
                    let first = model.take(&mut consumer);
                    (first, if first == 2 { 2 } else { model.take(&mut consumer) })
                }
            });
            let (mut producer, _) = model.ends();
            let died = dies_before(last, || {
                model.try_put(&mut producer, 1);
            });
            if died {
                // The kernel closes the socket, which is news for who sleeps; another process goes on.
                model.to_consumer.ring();
            }
            model.put(&mut Producer::resume(&model.words), 2);
            match consumer.join().unwrap() {
                (1, 2) => assert!(last > 2, "a record that was never put"),
                (2, 2) => assert!(died && last < 3, "a record that was put is gone"),
                other => panic!("{other:?}"),
            }
        });
    }
}

/// The steps of a take that finds a record: the index, the header, the record, the own index, a fence, a look at the bell,
/// which may be taken back.
const STEPS_OF_A_TAKE: usize = 7;

#[test]
fn a_consumer_that_dies_at_any_step_has_taken_a_record_or_left_it() {
    for last in 0..=STEPS_OF_A_TAKE {
        explore(&format!("ring: full, (take until step {last}, take) × put"), move || {
            let model = Model::new(BEFORE_THE_END);
            let (mut producer, mut consumer) = model.ends();
            prepare(|| (1..5).for_each(|number| assert!(model.try_put(&mut producer, number))));
            let producer = thread::spawn({
                let model = Arc::clone(&model);
                move || model.put(&mut producer, 5)
            });
            let died = dies_before(last, || {
                model.try_take(&mut consumer);
            });
            if died {
                // Sleeps at a futex are slices.
                model.to_producer.ring();
            }
            let (_, mut heir) = model.ends();
            let next = model.take(&mut heir);
            assert_eq!(next, if last < 4 { 1 } else { 2 }, "taken before the index says so, or left although it does");
            producer.join().unwrap();
            assert_eq!(std::iter::from_fn(|| model.try_take(&mut heir)).last(), Some(5));
        });
    }
}

/// A ring that was offered: its producer uses it already, its consumer may.
fn offered() -> Arc<Words> {
    prepare(|| {
        let words = Words::default();
        words.attach(Side::Producer, true);
        Arc::new(words)
    })
}

#[test]
fn a_ring_that_was_offered_is_taken_up_or_refused_and_not_both() {
    explore("ring: (attach, withdraw) × take up", || {
        let words = offered();
        let producer = thread::spawn({
            let words = Arc::clone(&words);
            move || words.take_up()
        });
        words.attach(Side::Consumer, true);
        let is_refused = words.withdraw();
        let is_taken_up = producer.join().unwrap();
        assert_ne!(is_taken_up, is_refused, "one goes on with the ring, and the other without");
        assert_eq!(words.take_up(), is_taken_up, "and that stays so");
    });
}

#[test]
fn what_either_side_says_of_a_ring_is_not_lost_beside_what_the_other_says() {
    explore("ring: turn deaf × take up", || {
        let words = offered();
        prepare(|| words.attach(Side::Consumer, true));
        let producer = thread::spawn({
            let words = Arc::clone(&words);
            move || words.take_up()
        });
        words.turn_deaf();
        let is_taken_up = producer.join().unwrap();
        assert!(words.is_deaf(), "the sender would wait for room that nobody makes");
        assert_eq!(words.withdraw(), !is_taken_up);
    });
    explore("ring: attach another × take up", || {
        let words = offered();
        prepare(|| words.attach(Side::Consumer, true));
        let producer = thread::spawn({
            let words = Arc::clone(&words);
            move || words.take_up()
        });
        // The end moves to another process meanwhile.
        words.attach(Side::Consumer, true);
        assert!(producer.join().unwrap());
        assert!(!words.withdraw(), "messages go by the ring already");
    });
}
