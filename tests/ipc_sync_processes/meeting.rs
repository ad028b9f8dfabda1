//! Barriers and conditions.

use std::time::Instant;

use crewkit::ipc::{Barrier, BarrierError, Condition, Counter, Lock, LockError};
use crewkit::process::Process;
use nix::sys::signal::{Signal, kill};

use crate::alone::{Child, fork, peer};
use crate::holders::{BRIEFLY, SOON, holder, stop};
use crate::sleeping::until_asleep;
use crate::support::sleeper;

pub(crate) fn processes_go_together_trip_after_trip() {
    const TRIPS: i64 = 200;
    let (barrier, counter) = (Barrier::new(3).unwrap(), Counter::new(0).unwrap());
    let work = |(barrier, counter): (Barrier, Counter)| {
        for trip in 1..=TRIPS {
            counter.add(1).map_err(|error| error.to_string())?;
            barrier.wait_timeout(SOON).map_err(|error| error.to_string())?;
            let come = counter.get().map_err(|error| error.to_string())?;
            if come < 3 * trip || come > 3 * trip + 2 {
                return Err(format!("{come} have come on trip {trip}"));
            }
        }
        Ok(())
    };
    let processes: Vec<_> = (0..3).map(|_| Process::spawn(work, (barrier.clone(), counter.clone())).unwrap()).collect();
    processes.into_iter().for_each(|process| process.join().unwrap().unwrap());
    assert!(!barrier.is_broken());
    assert_eq!(barrier.waiting(), 0);
}

fn is_broken(barrier: &Barrier) -> i32 {
    i32::from(!matches!(barrier.wait_timeout(SOON), Err(BarrierError::Broken)))
}

pub(crate) fn a_killed_party_breaks_the_barrier() {
    let barrier = Barrier::new(3).unwrap();
    // One that waits, and one that has only enrolled.
    let waiting = sleeper(&barrier, is_broken);
    let survivor = sleeper(&barrier, is_broken);
    waiting.kill();
    assert_eq!(survivor.exit_code(), 0);
    assert!(barrier.is_broken());
    barrier.reset().unwrap();
    let enrolled = holder(&barrier, |barrier| barrier.enroll().unwrap());
    assert!(!barrier.is_broken());
    let survivor = sleeper(&barrier, is_broken);
    enrolled.child.kill();
    assert_eq!(survivor.exit_code(), 0);
    barrier.reset().unwrap();
    assert!(!barrier.is_broken(), "the dead are forgotten");
}

pub(crate) fn a_party_that_goes_home_breaks_nothing() {
    let barrier = Barrier::new(2).unwrap();
    for _ in 0..3 {
        let child = Process::spawn(|barrier: Barrier| barrier.wait_timeout(SOON).is_ok(), barrier.clone()).unwrap();
        assert!(barrier.wait_timeout(SOON).is_ok());
        assert!(child.join().unwrap());
        assert!(!barrier.is_broken());
    }
}

pub(crate) fn a_stopped_party_holds_up_nobody_beyond_the_timeout() {
    let barrier = Barrier::new(3).unwrap();
    let party = sleeper(&barrier, is_broken);
    stop(&party);
    let begun = Instant::now();
    assert!(matches!(barrier.wait_timeout(BRIEFLY), Err(BarrierError::Broken)));
    assert!(begun.elapsed() >= BRIEFLY && begun.elapsed() < SOON);
    kill(party.pid(), Signal::SIGCONT).unwrap();
    assert_eq!(party.exit_code(), 0);
}

fn condition() -> Condition {
    Condition::new(&Lock::new().unwrap()).unwrap()
}

/// The exit code of one that waits: 0 notified, 1 not, 2 told of a death.
fn waits(condition: &Condition) -> i32 {
    match condition.wait_timeout(condition.lock().lock_timeout(SOON).unwrap(), SOON) {
        Ok((_, true)) => 0,
        Ok((_, false)) => 1,
        Err(LockError::OwnerDied((guard, _))) => {
            guard.recover();
            2
        }
        Err(error) => panic!("{error}"),
    }
}

/// A process that waits for the condition when this returns.
fn waiter(condition: &Condition) -> Child {
    let child = sleeper(condition, waits);
    let begin = Instant::now();
    while !format!("{condition:?}").contains(&child.pid().to_string()) {
        assert!(begin.elapsed() < SOON, "{condition:?}");
    }
    until_asleep(&child);
    child
}

pub(crate) fn a_notification_whose_owner_is_killed_goes_on() {
    let condition = condition();
    let [first, second] = [(); 2].map(|()| waiter(&condition));
    stop(&first);
    let guard = condition.lock().lock_timeout(SOON).unwrap();
    condition.notify_one(&guard).unwrap();
    drop(guard);
    first.kill();
    assert_eq!(second.exit_code(), 0, "the notification was the first one's");
}

pub(crate) fn a_killed_waiter_is_passed_over() {
    let condition = condition();
    let [first, second] = [(); 2].map(|()| waiter(&condition));
    first.kill();
    let guard = condition.lock().lock_timeout(SOON).unwrap();
    condition.notify_one(&guard).unwrap();
    drop(guard);
    assert_eq!(second.exit_code(), 0);
    let guard = condition.lock().lock_timeout(SOON).unwrap();
    assert!(!condition.wait_timeout(guard, BRIEFLY).unwrap().1, "no notification is left over");
}

pub(crate) fn a_waiter_is_told_of_a_death_with_the_lock() {
    let condition = condition();
    let waiter = waiter(&condition);
    let killer = holder(&condition, |condition| {
        let guard = condition.lock().lock().unwrap();
        condition.notify_all(&guard).unwrap();
        guard.leak();
    });
    killer.child.kill();
    assert_eq!(waiter.exit_code(), 2);
    assert!(condition.lock().lock_timeout(SOON).is_ok());
}

pub(crate) fn a_stopped_holder_of_the_lock_holds_up_no_waiter() {
    let condition = condition();
    let (end, child) = peer::<Condition, (), _>(|end| {
        let condition = end.recv().unwrap();
        let _guard = condition.lock().lock().unwrap();
        end.send(&()).unwrap();
        let _never = end.recv();
    });
    let guard = condition.lock().lock_timeout(SOON).unwrap();
    end.send(&condition).unwrap();
    let begun = Instant::now();
    // The other takes the lock while this one waits, and is stopped.
    let (answer, _end) = std::thread::scope(|scope| {
        let child = &child;
        let stopper = scope.spawn(move || {
            end.recv_timeout(SOON).unwrap();
            stop(child);
            end
        });
        (condition.wait_timeout(guard, BRIEFLY), stopper.join().unwrap())
    });
    assert!(answer.is_err_and(|error| error.is_timeout()));
    assert!(begun.elapsed() >= BRIEFLY && begun.elapsed() < SOON);
    child.kill();
    let guard = condition.lock().lock_timeout(SOON).unwrap_err().into_guard().unwrap();
    guard.recover();
    condition.notify_one(&guard).unwrap();
    assert!(!condition.wait_timeout(guard, BRIEFLY).unwrap().1, "the seat that was abandoned is empty");
}

pub(crate) fn processes_hand_over_by_a_condition() {
    const ROUNDS: i64 = 300;
    let (condition, turn) = (condition(), Counter::new(0).unwrap());
    let work = |(condition, turn, me): (Condition, Counter, i64)| {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let mut guard = condition.lock().lock_timeout(SOON).map_err(|error| text(&error))?;
        for _ in 0..ROUNDS {
            let others = || turn.get().is_ok_and(|turn| turn % 3 != me);
            let (next, came) = condition.wait_while_timeout(guard, SOON, others).map_err(|error| text(&error))?;
            if !came {
                return Err("a wake-up is lost".to_owned());
            }
            turn.add(1).map_err(|error| text(&error))?;
            condition.notify_all(&next).map_err(|error| text(&error))?;
            guard = next;
        }
        Ok(())
    };
    let processes: Vec<_> =
        (0..3).map(|me| Process::spawn(work, (condition.clone(), turn.clone(), me)).unwrap()).collect();
    processes.into_iter().for_each(|process| process.join().unwrap().unwrap());
    assert_eq!(turn.get().unwrap(), 3 * ROUNDS);
}

pub(crate) fn an_inherited_barrier_or_condition_is_foreign() {
    let (barrier, condition) = (Barrier::new(1).unwrap(), condition());
    let child = fork(|| {
        assert!(matches!(barrier.wait(), Err(BarrierError::Unusable(LockError::ForeignProcess))));
        assert!(barrier.reset().is_err() && barrier.abort().is_err() && barrier.enroll().is_err());
        assert!(matches!(condition.lock().lock(), Err(LockError::ForeignProcess)));
    });
    assert_eq!(child.exit_code(), 0);
    assert!(!barrier.is_broken());
}
