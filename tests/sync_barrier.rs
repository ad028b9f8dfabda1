//! `sync::Barrier` behaves as CPython's `threading.Barrier` (`lock_tests.py`, cases BR1 to BR9).
#![cfg(not(crewkit_loom))]

mod asleep;

use asleep::{PATIENCE, Watched};
use crewkit::sync::{Barrier, BarrierWait, BrokenBarrier, Event};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);
/// Long enough for another thread to come meanwhile.
const LONG: Duration = Duration::from_secs(1);

type Waited = Result<BarrierWait, BrokenBarrier>;

/// A party that sleeps at the barrier.
fn party<'scope>(scope: &'scope Scope<'scope, '_>, barrier: &'scope Barrier) -> Watched<'scope, Waited> {
    let party = asleep::spawn(scope, || barrier.wait());
    party.until_asleep();
    party
}

fn is_whole(barrier: &Barrier) {
    assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
}

#[test]
fn br1_one_party_never_waits() {
    let barrier = Barrier::new(1);
    for _ in 0..3 {
        assert_eq!(barrier.wait(), Ok(BarrierWait { index: 0, is_leader: true }));
        assert!(barrier.wait_timeout(Duration::ZERO).is_ok());
    }
    is_whole(&barrier);
}

#[test]
#[should_panic(expected = "at least one party")]
fn br1_no_party_at_all_panics() {
    let _ = Barrier::new(0);
}

#[test]
fn br2_all_go_in_lock_step() {
    const PARTIES: usize = 5;
    const TRIPS: usize = 200;
    let barrier = Barrier::new(PARTIES);
    let arrived = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..PARTIES {
            scope.spawn(|| {
                for trip in 1..=TRIPS {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    barrier.wait().unwrap();
                    let now = arrived.load(Ordering::SeqCst);
                    assert!((trip * PARTIES..=(trip + 1) * PARTIES).contains(&now), "trip {trip}: {now}");
                    barrier.wait().unwrap();
                }
            });
        }
    });
    is_whole(&barrier);
}

#[test]
fn br3_each_party_has_an_index_and_one_is_the_leader() {
    let barrier = Barrier::new(4);
    for _ in 0..20 {
        let mut trips: Vec<BarrierWait> = thread::scope(|scope| {
            let parties: Vec<_> = (0..4).map(|_| scope.spawn(|| barrier.wait().unwrap())).collect();
            parties.into_iter().map(|party| party.join().unwrap()).collect()
        });
        trips.sort_by_key(|trip| trip.index);
        let of = |index| BarrierWait { index, is_leader: index == 3 };
        assert_eq!(trips, [of(0), of(1), of(2), of(3)]);
    }
}

#[test]
fn br4_the_action_runs_once_in_the_leader_before_anybody_goes_on() {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let barrier = Barrier::with_action(3, move || {
        thread::yield_now();
        count.fetch_add(1, Ordering::SeqCst);
    });
    for trip in 1..=20 {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    barrier.wait().unwrap();
                    assert_eq!(ran.load(Ordering::SeqCst), trip);
                });
            }
        });
    }
}

#[test]
fn br4_an_action_that_panics_breaks_the_barrier_and_panics_there() {
    let barrier = Barrier::with_action(2, || panic!("on purpose"));
    thread::scope(|scope| {
        let first = party(scope, &barrier);
        let panicked = catch_unwind(AssertUnwindSafe(|| barrier.wait()));
        assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "on purpose");
        assert_eq!(first.join(), Err(BrokenBarrier));
    });
    assert!(barrier.is_broken());
    barrier.reset();
    is_whole(&barrier);
}

#[test]
fn br4_an_action_may_look_at_its_barrier_and_break_it() {
    let barrier = Arc::new(std::sync::OnceLock::<Barrier>::new());
    let inner = Arc::clone(&barrier);
    let action = move || {
        let barrier = inner.get().unwrap();
        assert_eq!((barrier.waiting(), barrier.is_broken()), (2, false));
        barrier.abort();
    };
    let barrier = barrier.get_or_init(|| Barrier::with_action(2, action));
    thread::scope(|scope| {
        let first = party(scope, barrier);
        assert_eq!(barrier.wait(), Err(BrokenBarrier));
        assert_eq!(first.join(), Err(BrokenBarrier));
    });
}

/// A barrier of two whose action says that it runs, and waits until it may end.
fn held_up() -> (Barrier, Arc<[Event; 2]>) {
    let events = Arc::new([Event::new(), Event::new()]);
    let inner = Arc::clone(&events);
    let action = move || {
        inner[0].set();
        inner[1].wait();
    };
    (Barrier::with_action(2, action), events)
}

#[test]
fn br4_the_time_of_a_running_action_does_not_count() {
    // However busy the machine, with some timeout the last party comes before it is over.
    let mut timeout = SHORT;
    loop {
        let (barrier, events) = held_up();
        let [acting, go_on] = &*events;
        let went_well = thread::scope(|scope| {
            let begin = Instant::now();
            let timed = asleep::spawn(scope, || barrier.wait_timeout(timeout));
            let last = scope.spawn(|| {
                while barrier.waiting() == 0 && !barrier.is_broken() {
                    thread::yield_now();
                }
                barrier.wait()
            });
            while !acting.wait_timeout(SHORT) && !barrier.is_broken() {}
            if acting.is_set() {
                // Its time is over.
                thread::sleep(timeout.saturating_sub(begin.elapsed()) + SHORT);
                assert!(!timed.handle.is_finished());
            }
            go_on.set();
            let (timed, last) = (timed.join(), last.join().unwrap());
            assert_eq!((timed.is_ok(), last.is_ok()), (acting.is_set(), acting.is_set()));
            acting.is_set()
        });
        if went_well {
            break;
        }
        timeout *= 2;
    }
}

#[test]
fn br5_abort_breaks_for_those_who_wait_and_those_who_come() {
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        let parties = [party(scope, &barrier), party(scope, &barrier)];
        barrier.abort();
        assert!(parties.into_iter().all(|party| party.join() == Err(BrokenBarrier)));
    });
    assert!(barrier.is_broken());
    assert_eq!(barrier.wait(), Err(BrokenBarrier));
    assert_eq!(barrier.wait_timeout(SHORT), Err(BrokenBarrier));
    assert_eq!(BrokenBarrier.to_string(), "the barrier is broken: not all parties came");
}

#[test]
fn br6_reset_sends_those_who_wait_away_and_leaves_the_barrier_whole() {
    let barrier = Barrier::new(3);
    barrier.reset();
    is_whole(&barrier);
    thread::scope(|scope| {
        let parties = [party(scope, &barrier), party(scope, &barrier)];
        assert_eq!(barrier.waiting(), 2);
        barrier.reset();
        // Who comes now takes part in the next trip, though the two may not have left yet.
        let next = [asleep::spawn(scope, || barrier.wait()), asleep::spawn(scope, || barrier.wait())];
        let last = barrier.wait();
        assert!(parties.into_iter().all(|party| party.join() == Err(BrokenBarrier)));
        assert!(last.is_ok() && next.into_iter().all(|party| party.join().is_ok()));
    });
    is_whole(&barrier);
}

#[test]
fn br6_after_an_abort_reset_makes_the_barrier_whole_again() {
    let barrier = Barrier::new(2);
    for _ in 0..50 {
        thread::scope(|scope| {
            let waiting = party(scope, &barrier);
            barrier.abort();
            // The party may not have left yet.
            barrier.reset();
            assert!(!barrier.is_broken());
            let next = scope.spawn(|| barrier.wait());
            assert!(barrier.wait().is_ok());
            assert!(next.join().unwrap().is_ok());
            assert_eq!(waiting.join(), Err(BrokenBarrier));
        });
    }
    is_whole(&barrier);
}

#[test]
fn br7_a_timeout_breaks_it_for_everybody() {
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        let patient = party(scope, &barrier);
        let begin = Instant::now();
        assert_eq!(barrier.wait_timeout(SHORT), Err(BrokenBarrier));
        assert!(begin.elapsed() >= SHORT);
        assert_eq!(patient.join(), Err(BrokenBarrier));
    });
    assert!(barrier.is_broken());
}

#[test]
fn br7_the_default_timeout_holds_where_no_other_is_given() {
    let barrier = Barrier::new(2).default_timeout(SHORT);
    let begin = Instant::now();
    assert_eq!(barrier.wait(), Err(BrokenBarrier));
    assert!(begin.elapsed() >= SHORT);
    barrier.reset();
    thread::scope(|scope| {
        let patient = asleep::spawn(scope, || barrier.wait_timeout(Duration::MAX));
        patient.until_asleep();
        assert!(barrier.wait().is_ok());
        assert!(patient.join().is_ok());
    });
}

#[test]
fn br8_nobody_enters_before_all_have_left() {
    let (barrier, events) = held_up();
    let [acting, go_on] = &*events;
    thread::scope(|scope| {
        let parties = [asleep::spawn(scope, || barrier.wait()), asleep::spawn(scope, || barrier.wait())];
        acting.wait();
        // The trip of two is full and not over: the third is no part of it, though its time is over too.
        let third = asleep::spawn(scope, || barrier.wait_timeout(SHORT));
        third.until_asleep();
        assert_eq!(barrier.waiting(), 2);
        go_on.set();
        assert!(parties.into_iter().all(|party| party.join().is_ok()));
        assert_eq!(third.join(), Err(BrokenBarrier), "nobody came to the second trip");
    });
}

#[test]
fn br8_the_time_at_the_door_does_not_count() {
    let (barrier, events) = held_up();
    let [acting, go_on] = &*events;
    thread::scope(|scope| {
        let parties = [asleep::spawn(scope, || barrier.wait()), asleep::spawn(scope, || barrier.wait())];
        acting.wait();
        let begin = Instant::now();
        let timed = asleep::spawn(scope, || barrier.wait_timeout(LONG));
        timed.until_asleep();
        let patient = asleep::spawn(scope, || barrier.wait());
        patient.until_asleep();
        thread::sleep(LONG.saturating_sub(begin.elapsed()) + SHORT);
        go_on.set();
        assert!(parties.into_iter().all(|party| party.join().is_ok()));
        assert!(timed.join().is_ok() && patient.join().is_ok(), "its time began when it came in");
    });
}

#[test]
fn br8_more_threads_than_parties_make_whole_trips() {
    const PARTIES: usize = 3;
    let barrier = Barrier::new(PARTIES);
    const TRIPS: usize = 200;
    let (begun, leaders) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 * PARTIES {
            scope.spawn(|| {
                while begun.fetch_add(1, Ordering::SeqCst) < TRIPS * PARTIES {
                    leaders.fetch_add(usize::from(barrier.wait().unwrap().is_leader), Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(leaders.into_inner(), TRIPS);
    is_whole(&barrier);
}

#[test]
fn br9_state_can_be_asked_and_is_shown() {
    let barrier = Barrier::new(2);
    assert_eq!(barrier.parties(), 2);
    assert_eq!(format!("{barrier:?}"), "Barrier { parties: 2, waiting: 0, is_broken: false }");
    thread::scope(|scope| {
        let first = party(scope, &barrier);
        assert_eq!(format!("{barrier:?}"), "Barrier { parties: 2, waiting: 1, is_broken: false }");
        barrier.abort();
        assert_eq!(first.join(), Err(BrokenBarrier));
    });
    assert_eq!(format!("{barrier:?}"), "Barrier { parties: 2, waiting: 0, is_broken: true }");
}

#[test]
fn trips_timeouts_resets_and_aborts_leave_nobody_behind() {
    let barrier = Barrier::new(3);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let parties: Vec<_> = (0..4)
            .map(|number| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let brief = Duration::from_micros(50 * (number + 1));
                    let wait =
                        |round: u64| if round.is_multiple_of(2) { barrier.wait_timeout(brief) } else { barrier.wait() };
                    (0..1_000).filter(|&round| wait(round).is_ok()).count()
                })
            })
            .collect();
        scope.spawn(|| {
            for round in 0_u32.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                if round % 7 == 0 {
                    barrier.abort()
                } else {
                    barrier.reset()
                }
                thread::yield_now();
            }
        });
        let begin = Instant::now();
        while !parties.iter().all(thread::ScopedJoinHandle::is_finished) {
            assert!(begin.elapsed() < PATIENCE);
            thread::yield_now();
        }
        over.store(true, Ordering::Relaxed);
    });
    barrier.reset();
    is_whole(&barrier);
}
