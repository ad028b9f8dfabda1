//! Models of `sync::Barrier`.

use crewkit::model::{Arc, thread};
use crewkit::sync::{Barrier, BarrierWait, BrokenBarrier};
use crewkit_loom_tests::{Plain, SOON, explore, explore_large, prepare, spawn, until_it_says};

type Waited = Result<BarrierWait, BrokenBarrier>;

/// Whether two parties of one trip had a trip, which both have or none has.
fn both(first: Waited, second: Waited) -> bool {
    assert_eq!(first.is_ok(), second.is_ok());
    let (Ok(first), Ok(second)) = (first, second) else { return false };
    assert_eq!(first.index + second.index, 1);
    assert!(first.is_leader != second.is_leader);
    true
}

/// Two who wait already.
fn two_in_line(barrier: &Arc<Barrier>) -> [thread::JoinHandle<Waited>; 2] {
    prepare(|| {
        let others = [(); 2].map(|()| spawn(barrier, Barrier::wait));
        until_it_says(barrier, "waiting: 2,");
        others
    })
}

#[test]
fn two_go_in_lock_step_trip_after_trip() {
    explore("barrier: (wait, wait) × (wait, wait), action", || {
        let plain = Arc::new(Plain::new(0));
        let acted = Arc::clone(&plain);
        let barrier = Arc::new(Barrier::with_action(2, move || acted.add(1)));
        let trips = |barrier: &Barrier, plain: &Plain| {
            let first = barrier.wait();
            assert!((1..=2).contains(&plain.get()));
            (first, barrier.wait())
        };
        let other = spawn(&barrier, {
            let plain = Arc::clone(&plain);
            move |barrier| trips(barrier, &plain)
        });
        let mine = trips(&barrier, &plain);
        let other = other.join().unwrap();
        assert!(both(mine.0, other.0) && both(mine.1, other.1));
        assert_eq!((plain.get(), barrier.waiting(), barrier.is_broken()), (2, 0, false));
    });
}

#[test]
fn the_last_of_three_lets_both_waiters_go() {
    explore_large("barrier: wait × wait × wait", || {
        let barrier = Arc::new(Barrier::new(3));
        let others = [(); 2].map(|()| spawn(&barrier, Barrier::wait));
        let mine = barrier.wait().unwrap().index;
        let sum: usize = others.map(|other| other.join().unwrap().unwrap().index).iter().sum();
        assert_eq!(mine + sum, 3);
    });
}

#[test]
fn the_last_lets_two_in_line_go() {
    explore("barrier: (wait × wait) in line × wait", || {
        let barrier = Arc::new(Barrier::new(3));
        let others = two_in_line(&barrier);
        let mine = barrier.wait().unwrap().index;
        let sum: usize = others.map(|other| other.join().unwrap().unwrap().index).iter().sum();
        assert_eq!((mine + sum, barrier.waiting()), (3, 0));
    });
}

#[test]
fn an_abort_ends_both_waits() {
    explore("barrier of 3: (wait × wait) in line × abort", || {
        let barrier = Arc::new(Barrier::new(3));
        let others = two_in_line(&barrier);
        barrier.abort();
        assert!(others.into_iter().all(|other| other.join().unwrap() == Err(BrokenBarrier)));
    });
}

#[test]
fn a_reset_ends_both_waits() {
    explore("barrier of 3: (wait × wait) in line × reset", || {
        let barrier = Arc::new(Barrier::new(3));
        let others = two_in_line(&barrier);
        barrier.reset();
        assert!(others.into_iter().all(|other| other.join().unwrap() == Err(BrokenBarrier)));
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    });
}

#[test]
fn a_timeout_and_the_last_arrival_agree() {
    explore("barrier: wait_timeout × wait_timeout", || {
        let barrier = Arc::new(Barrier::new(2));
        let other = spawn(&barrier, |barrier| barrier.wait_timeout(SOON));
        let mine = barrier.wait_timeout(SOON);
        assert_eq!(both(mine, other.join().unwrap()), !barrier.is_broken());
    });
}

#[test]
fn the_default_timeout_and_the_last_arrival_agree() {
    explore("barrier with a timeout: wait × wait", || {
        let barrier = Arc::new(Barrier::new(2).default_timeout(SOON));
        let other = spawn(&barrier, Barrier::wait);
        let mine = barrier.wait();
        assert_eq!(both(mine, other.join().unwrap()), !barrier.is_broken());
    });
}

#[test]
fn a_timeout_breaks_the_barrier_for_two_others() {
    explore_large("barrier of 4: wait × wait × wait_timeout", || {
        let barrier = Arc::new(Barrier::new(4));
        let others = [(); 2].map(|()| spawn(&barrier, Barrier::wait));
        assert_eq!(barrier.wait_timeout(SOON), Err(BrokenBarrier));
        assert!(others.into_iter().all(|other| other.join().unwrap() == Err(BrokenBarrier)));
        assert!(barrier.is_broken());
    });
}

#[test]
fn an_abort_is_before_or_after_the_trip() {
    explore("barrier: wait × wait × abort", || {
        let barrier = Arc::new(Barrier::new(2));
        let others = [(); 2].map(|()| spawn(&barrier, Barrier::wait));
        barrier.abort();
        // A party that has not left yet when the abort comes finds the barrier broken, though its trip was made.
        let [first, second] = others.map(|other| other.join().unwrap());
        assert!(first.is_err() || second.is_err() || first != second);
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait(), Err(BrokenBarrier));
    });
}

#[test]
fn a_reset_sends_away_who_waits_and_takes_in_who_comes() {
    explore_large("barrier: wait_timeout × wait_timeout × reset", || {
        let barrier = Arc::new(Barrier::new(2));
        let others = [(); 2].map(|()| spawn(&barrier, |barrier| barrier.wait_timeout(SOON)));
        barrier.reset();
        let [first, second] = others.map(|other| other.join().unwrap());
        // Each alone may have been sent away, or timed out; of a trip both have part.
        assert_eq!(first.is_ok(), second.is_ok());
        barrier.reset();
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    });
}

/// All four at once: a time that is over, the last arrival, a reset and an abort.
#[test]
fn nobody_is_left_behind_by_any_order_of_ends() {
    explore_large("barrier: wait_timeout × wait × abort, reset", || {
        let barrier = Arc::new(Barrier::new(2));
        let timed = spawn(&barrier, |barrier| barrier.wait_timeout(SOON));
        let last = spawn(&barrier, |barrier| barrier.wait_timeout(SOON));
        barrier.abort();
        barrier.reset();
        let [first, second] = [timed, last].map(|party| party.join().unwrap());
        if let (Ok(first), Ok(second)) = (first, second) {
            assert_eq!(first.index + second.index, 1);
        }
        barrier.reset();
        assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
    });
}
