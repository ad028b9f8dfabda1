//! A queue between processes whose users die at any step: the shipped lines of `shm/queue`, `roster.rs`, `bell.rs`, `held.rs`
//! and the ring's index, on a model of the kernel's part; the bytes are plain memory, so that loom reports a copy that is
//! not ordered.
#![cfg(crewkit_loom)]

#[path = "../../../src/shm/bell.rs"]
mod bell;
#[path = "../../../src/shm/held.rs"]
mod held;
#[path = "../../../src/shm/queue/mod.rs"]
mod queue;
#[path = "../../../src/shm/ring/mod.rs"]
#[expect(dead_code, unused_imports, reason = "of the ring only its index and its bytes")]
mod ring;
#[path = "../../../src/shm/roster.rs"]
mod roster;

mod model;
#[path = "../plain/mod.rs"]
mod plain;

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
        use std::cell::Cell;

        #[derive(Clone, Copy)]
        pub(crate) struct Deadline;

        loom::thread_local! {
            static NOW: Cell<u64> = Cell::new(0);
        }

        /// Nothing, but for a thread that says otherwise.
        pub(crate) fn milliseconds() -> u64 {
            NOW.with(Cell::get)
        }

        pub(crate) fn it_is(milliseconds: u64) {
            NOW.with(|now| now.set(milliseconds));
        }
    }
}

use bell::Bell;
use crewkit::model::Arc;
use crewkit_loom_tests::mortal::{Life, at_each_step, i_am};
use crewkit_loom_tests::{explore, prepare};
use held::{Held, State};
use loom::sync::{Condvar, Mutex};
use model::{caller, model, other};
use queue::{DRAIN, Failed, IMMEDIATE, Way};
use roster::{Roster, Seat};
use std::sync::PoisonError;
use sys::clock::{Deadline, it_is};

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
fn what_is_leased_to_the_dead_is_taken_before_what_nobody_has_had() {
    at_each_step("records: take × take beside a dead one's lease", |last| {
        let model = model(9, &[7, 8, 9]);
        i_am(3);
        prepare(|| model.lease(3));
        prepare(|| model.bury());
        let taker = other(&model, 2, |model| {
            it_is(50);
            model.get(2)
        });
        it_is(50);
        let mut first = None;
        let died = model.dies(last, || first = Some(model.get(1)));
        let second = taker.join().unwrap();
        i_am(2);
        assert!(first.is_none_or(|first| first + second == 15), "the lease is not looked for: {first:?}, {second}");
        assert!(second < 9, "the lease is not looked for: {second}");
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
fn who_joins_sees_what_was_put_before_an_item_was_done() {
    explore("records: unfinished × (put what an item led to, task done)", || {
        let model = model(9, &[7]);
        i_am(1);
        prepare(|| model.get(1));
        let looker = other(&model, 2, |model| model.queue.unfinished(&model.bytes, Deadline).unwrap());
        model.put(8);
        assert!(model.task_done(1));
        assert!(looker.join().unwrap() > 0, "joined too early");
    });
}

#[test]
fn who_only_puts_finds_the_room_of_what_the_dead_had_done() {
    at_each_step("records: acknowledge, put", |last| {
        let model = model(9, &[4, 5, 6, 7]);
        i_am(1);
        let (_, leased) = prepare(|| model.lease(1));
        let died = model.dies(last, || model.end_lease(1, leased, true));
        i_am(2);
        let is_put = model.queue.try_put(&model.bytes, &[&8_u64.to_ne_bytes()], Deadline).is_ok();
        let expected: &[u64] = if is_put { &[5, 6, 7, 8] } else { &[4, 5, 6, 7] };
        assert_eq!(model.rest(), expected, "there was room, or none");
        assert!(is_put || died);
        died
    });
}

#[test]
fn who_dies_shutting_down_has_shut_down_or_not_and_hangs_nobody() {
    for way in [DRAIN, IMMEDIATE] {
        at_each_step(&format!("records: shut down ({way}) × take × shut down"), move |last| {
            let model = model(9, &[6, 7]);
            i_am(2);
            // One who takes knows of fewer records than there are.
            prepare(|| {
                assert_eq!(model.get(2), 6);
                model.put(8);
            });
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
            (0..=got).for_each(|_| assert!(model.task_done(2)));
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
fn what_is_left_behind_on_a_lease_is_taken_back_by_who_comes_again_or_looks() {
    at_each_step("records: (vacate with a lease, come) × take", |last| {
        let model = model(9, &[7]);
        i_am(1);
        prepare(|| model.lease(1));
        let taker = other(&model, 2, |model| model.lease(2).1.attempt);
        let died = model.dies(last, || {
            model.queue.roster.vacate(1);
            assert_eq!(model.queue.sit_down(&model.bytes, Life::of(1), Deadline).unwrap(), Some(1));
        });
        assert_eq!(taker.join().unwrap(), 2);
        died
    });
}

#[test]
fn who_comes_again_finds_what_it_has_not_reported() {
    at_each_step("records: (leave, come, task done) × join", |last| {
        let model = model(9, &[7]);
        i_am(1);
        prepare(|| model.get(1));
        let joiner = other(&model, 2, |model| model.join(2));
        let died = model.dies(last, || {
            model.queue.leave(&model.bytes, 1, Deadline).unwrap();
            let seat = model.queue.sit_down(&model.bytes, Life::of(1), Deadline).unwrap();
            assert_eq!(seat, Some(1), "a seat is lost");
            assert!(model.task_done(1), "what it has taken is forgotten");
        });
        joiner.join().unwrap();
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
