//! `ipc::Barrier`, between the threads of one process and as messages to itself. What needs other processes is in
//! `ipc_sync_processes`, and a kill at each instruction in `kill_points`.

#![cfg(feature = "processes")]

mod asleep;

use crewkit::ipc::{Barrier, BarrierError, Detail, pipe};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const BRIEFLY: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

fn is_broken<T>(result: Result<T, BarrierError>) -> bool {
    result.is_err_and(|error| error.is_broken())
}

#[test]
fn all_go_on_together_trip_after_trip() {
    let barrier = Barrier::new(4).unwrap();
    let (near, far) = pipe::<Barrier, ()>().unwrap();
    near.send(&barrier).unwrap();
    let again = far.recv().unwrap();
    assert_eq!(barrier, again);
    let (come, actions) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..4 {
            let barrier = if number % 2 == 0 { &barrier } else { &again };
            let (come, actions) = (&come, &actions);
            scope.spawn(move || {
                for trip in 1..=50 {
                    come.fetch_add(1, SeqCst);
                    let made = barrier.wait_with_timeout(LONG, || {
                        assert_eq!(come.load(SeqCst), 4 * trip, "the last one acts");
                        actions.fetch_add(1, SeqCst);
                    });
                    let made = made.unwrap();
                    assert_eq!(made.is_leader, made.index == 3);
                    assert!(come.load(SeqCst) >= 4 * trip);
                    assert_eq!(actions.load(SeqCst), trip, "before anybody goes on");
                    barrier.wait().unwrap();
                }
            });
        }
    });
    assert_eq!((barrier.waiting(), barrier.is_broken(), barrier.parties()), (0, false, 4));
}

#[test]
fn each_party_has_an_index_of_its_own() {
    let barrier = Barrier::new(3).unwrap();
    let mut indices = thread::scope(|scope| {
        let parties = [(); 3].map(|()| scope.spawn(|| barrier.wait_timeout(LONG).unwrap().index));
        parties.map(|party| party.join().unwrap())
    });
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2]);
}

#[test]
fn one_party_waits_for_nobody() {
    let barrier = Barrier::new(1).unwrap();
    for _ in 0..3 {
        let made = barrier.wait().unwrap();
        assert_eq!((made.index, made.is_leader), (0, true));
    }
}

#[test]
fn who_is_late_breaks_it_for_all_until_it_is_reset() {
    let barrier = Barrier::new(3).unwrap();
    thread::scope(|scope| {
        let waiter = asleep::spawn(scope, || is_broken(barrier.wait_timeout(LONG)));
        waiter.until_asleep();
        let begin = Instant::now();
        assert!(is_broken(barrier.wait_timeout(BRIEFLY)));
        assert!(begin.elapsed() >= BRIEFLY);
        assert!(waiter.join());
    });
    assert!(barrier.is_broken());
    assert!(is_broken(barrier.wait()));
    barrier.reset().unwrap();
    assert!(!barrier.is_broken());
    thread::scope(|scope| {
        let parties = [(); 3].map(|()| scope.spawn(|| barrier.wait_timeout(LONG).is_ok()));
        assert!(parties.into_iter().all(|party| party.join().unwrap()));
    });
}

#[test]
fn abort_and_reset_send_those_away_who_wait() {
    for reset in [false, true] {
        let barrier = Barrier::new(2).unwrap();
        thread::scope(|scope| {
            let waiter = asleep::spawn(scope, || is_broken(barrier.wait_timeout(LONG)));
            let begin = Instant::now();
            while barrier.waiting() == 0 {
                assert!(begin.elapsed() < LONG);
            }
            if reset {
                barrier.reset().unwrap()
            } else {
                barrier.abort().unwrap()
            }
            assert!(waiter.join());
        });
        assert_eq!(barrier.is_broken(), !reset);
    }
}

#[test]
fn an_action_that_panics_breaks_it() {
    let barrier = Barrier::new(2).unwrap();
    thread::scope(|scope| {
        let waiter = asleep::spawn(scope, || is_broken(barrier.wait_timeout(LONG)));
        let begin = Instant::now();
        while barrier.waiting() == 0 {
            assert!(begin.elapsed() < LONG);
        }
        let panic = catch_unwind(AssertUnwindSafe(|| barrier.wait_with(|| panic!("on purpose"))));
        assert!(panic.is_err());
        assert!(waiter.join());
    });
    assert!(barrier.is_broken());
    barrier.reset().unwrap();
    assert_eq!(barrier.waiting(), 0);
    assert!(is_broken(barrier.wait_timeout(Duration::ZERO)), "alone");
}

#[test]
#[should_panic(expected = "at least one party")]
fn no_parties_are_a_mistake() {
    let _never = Barrier::new(0);
}

#[test]
fn debug_tells_who_takes_part() {
    let barrier = Barrier::new(2).unwrap();
    let text = "ipc::Barrier { parties: 2, waiting: 0, is_broken: false, processes: [], inside: {}, recoveries: 0 }";
    assert_eq!(format!("{barrier:?}"), text);
    barrier.enroll().unwrap();
    assert!(format!("{barrier:?}").contains(&format!("processes: [{}], ", std::process::id())), "{barrier:?}");
    assert_eq!(barrier.stats().detail, Detail::Barrier { parties: 2, waiting: 0, is_broken: false });
}
