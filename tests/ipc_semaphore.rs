//! `ipc::Semaphore` and `ipc::BoundedSemaphore`, between the threads of one process and as messages to itself. What needs other
//! processes is in `ipc_sync_processes`, and a kill at each instruction in `kill_points`.

#![cfg(feature = "processes")]
#![expect(clippy::mem_forget, reason = "leaked permits are what one test is about")]

mod asleep;

use crewkit::ipc::{BoundedSemaphore, Connection, Detail, LockError, RecvError, ReleaseError, Semaphore, pipe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const BRIEFLY: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

/// The same tests for both kinds.
macro_rules! for_both {
    ($($name:ident: $semaphore:ident),*) => { $(mod $name {
        use super::*;

        #[test]
        fn it_gives_as_many_permits_as_it_has() {
            let semaphore = $semaphore::new(2).unwrap();
            let one = semaphore.acquire().unwrap();
            let two = semaphore.try_acquire().unwrap();
            assert_eq!((one.count(), semaphore.available()), (1, 0));
            assert!(semaphore.try_acquire().is_err_and(|error| error.is_timeout()));
            let begin = Instant::now();
            assert!(semaphore.acquire_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
            assert!(begin.elapsed() >= BRIEFLY);
            assert!(matches!(semaphore.acquire_timeout(Duration::ZERO), Err(LockError::Timeout)));
            drop(one);
            assert_eq!(semaphore.available(), 1);
            drop(semaphore.acquire_timeout(Duration::MAX).unwrap());
            drop(two);
            assert_eq!(semaphore.available(), 2);
        }

        #[test]
        fn many_are_taken_at_once_or_not_at_all() {
            let semaphore = $semaphore::new(3).unwrap();
            let two = semaphore.acquire_many(2).unwrap();
            assert!(semaphore.try_acquire_many(2).is_err_and(|error| error.is_timeout()));
            assert!(semaphore.acquire_many_timeout(2, BRIEFLY).is_err());
            assert_eq!(semaphore.available(), 1, "no part of them was kept");
            drop(two);
            let all = semaphore.try_acquire_many(3).unwrap();
            assert_eq!(all.count(), 3);
            assert!(semaphore.try_acquire_many(usize::MAX).is_err());
            drop(semaphore.try_acquire_many(0).unwrap());
        }

        #[test]
        fn never_more_than_its_number_are_inside() {
            let semaphore = $semaphore::new(3).unwrap();
            let inside = AtomicUsize::new(0);
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        for _ in 0..500 {
                            let _permit = semaphore.acquire_timeout(LONG).unwrap();
                            assert!(inside.fetch_add(1, SeqCst) < 3);
                            thread::yield_now();
                            inside.fetch_sub(1, SeqCst);
                        }
                    });
                }
            });
            assert_eq!(semaphore.available(), 3);
        }

        #[test]
        fn handles_in_one_process_fetch_each_others_permits() {
            let semaphore = $semaphore::new(4).unwrap();
            let (near, far) = pipe::<$semaphore, ()>().unwrap();
            near.send(&semaphore).unwrap();
            let again = far.recv().unwrap();
            assert_eq!(semaphore, again);
            assert_ne!(semaphore, $semaphore::new(4).unwrap());
            let inside = AtomicUsize::new(0);
            thread::scope(|scope| {
                for number in 0..6 {
                    let semaphore = if number % 2 == 0 { &semaphore } else { &again };
                    let inside = &inside;
                    scope.spawn(move || {
                        for round in 0..300 {
                            let count = 1 + (number + round) % 3;
                            let _permit = semaphore.acquire_many_timeout(count, LONG).unwrap();
                            assert!(inside.fetch_add(count, SeqCst) + count <= 4);
                            thread::yield_now();
                            inside.fetch_sub(count, SeqCst);
                        }
                    });
                }
            });
            drop(semaphore);
            assert_eq!(again.available(), 4, "what lay in the seat of the handle that is gone is there");
        }

        #[test]
        fn a_sleeper_is_woken_by_a_drop_and_by_a_release() {
            let semaphore = $semaphore::new(2).unwrap();
            let held = semaphore.acquire().unwrap();
            semaphore.acquire().unwrap().forget();
            thread::scope(|scope| {
                let wait = || semaphore.acquire_timeout(LONG).map(|permit| permit.forget()).unwrap();
                let sleepers = [asleep::spawn(scope, wait), asleep::spawn(scope, wait)];
                sleepers.iter().for_each(asleep::Watched::until_asleep);
                let begin = Instant::now();
                // Who sleeps looks around from time to time.
                while !format!("{semaphore:?}").contains("waiters: 2") {
                    assert!(begin.elapsed() < LONG, "{semaphore:?}");
                }
                drop(held);
                semaphore.release(1).unwrap();
                sleepers.into_iter().for_each(asleep::Watched::join);
            });
            assert_eq!(semaphore.available(), 0);
        }

        #[test]
        fn forgotten_permits_are_gone_until_they_are_released() {
            let semaphore = $semaphore::new(2).unwrap();
            semaphore.acquire_many(2).unwrap().forget();
            assert_eq!(semaphore.available(), 0);
            assert!(semaphore.try_acquire().is_err());
            semaphore.release(2).unwrap();
            assert_eq!(semaphore.available(), 2);
            semaphore.release(0).unwrap();
        }

        #[test]
        fn a_leaked_permit_stays_taken_while_its_process_lives() {
            let semaphore = $semaphore::new(1).unwrap();
            let again = {
                let (near, far) = pipe::<$semaphore, ()>().unwrap();
                near.send(&semaphore).unwrap();
                far.recv().unwrap()
            };
            thread::scope(|scope| scope.spawn(|| std::mem::forget(semaphore.acquire().unwrap())).join().unwrap());
            assert_eq!(again.available(), 0, "the end of a thread is no death");
            drop(semaphore);
            assert_eq!(again.available(), 0, "nor is the end of a handle");
        }

        #[test]
        fn permits_may_go_to_another_thread() {
            let semaphore = $semaphore::new(2).unwrap();
            let permit = semaphore.acquire().unwrap();
            thread::scope(|scope| drop(scope.spawn(|| drop(permit))));
            let owned = semaphore.acquire_owned(1).unwrap();
            assert!(semaphore.try_acquire_owned(2).is_err());
            assert!(semaphore.acquire_owned_timeout(2, BRIEFLY).is_err());
            assert_eq!((owned.count(), owned.semaphore() == &semaphore), (1, true));
            thread::spawn(move || drop(owned)).join().unwrap();
            semaphore.try_acquire_owned(1).unwrap().forget();
            assert_eq!(semaphore.available(), 1);
        }

        #[test]
        fn none_may_be_there_at_the_beginning() {
            let semaphore = $semaphore::new(0).unwrap();
            assert!(semaphore.try_acquire().is_err());
            assert_eq!(semaphore.available(), 0);
        }

        #[test]
        fn debug_tells_who_holds_how_many() {
            let semaphore = $semaphore::new(3).unwrap();
            let _permit = semaphore.acquire_many(2).unwrap();
            let text = format!("{semaphore:?}");
            let holder = format!("holders: {{{}: 2}}", std::process::id());
            assert!(text.contains("available: 1, total: 3") && text.contains(&holder), "{text}");
            let stats = semaphore.stats();
            assert!(matches!(stats.detail, Detail::Semaphore { available: 1, total: 3, .. }), "{stats:?}");
            assert_eq!((stats.users.len(), stats.users[0].count, stats.holder), (1, 2, None));
        }

        #[test]
        #[should_panic(expected = "more permits than a semaphore can have")]
        fn more_than_there_can_be_is_a_mistake() {
            let _never = $semaphore::new(usize::MAX);
        }
    })* };
}

for_both!(semaphore: Semaphore, bounded: BoundedSemaphore);

#[test]
fn a_bounded_semaphore_notices_a_release_too_many() {
    let semaphore = BoundedSemaphore::new(2).unwrap();
    assert_eq!(semaphore.bound(), 2);
    assert!(matches!(semaphore.release(1), Err(ReleaseError::OverReleased)));
    let held = semaphore.acquire().unwrap();
    assert!(matches!(semaphore.release(1), Err(ReleaseError::OverReleased)), "the permit is still to come back");
    held.forget();
    assert!(matches!(semaphore.release(2), Err(ReleaseError::OverReleased)));
    semaphore.release(1).unwrap();
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_semaphore_has_any_number_of_permits_up_to_the_most() {
    let semaphore = Semaphore::new(1).unwrap();
    semaphore.release(Semaphore::MAX_PERMITS - 1).unwrap();
    assert!(matches!(semaphore.release(1), Err(ReleaseError::Overflow)));
    assert!(matches!(semaphore.release(usize::MAX), Err(ReleaseError::Overflow)));
    assert_eq!(semaphore.available(), Semaphore::MAX_PERMITS);
    let all = semaphore.try_acquire_many(Semaphore::MAX_PERMITS).unwrap();
    assert_eq!(semaphore.available(), 0);
    drop(all);
    assert_eq!(semaphore.available(), Semaphore::MAX_PERMITS);
}

#[test]
fn what_is_no_such_semaphore_is_refused() {
    use std::os::fd::AsFd;
    let (near, far) = pipe::<Semaphore, ()>().unwrap();
    let cast = near.as_fd().try_clone_to_owned().unwrap();
    Connection::<BoundedSemaphore, ()>::from(cast).send(&BoundedSemaphore::new(1).unwrap()).unwrap();
    let error = far.recv().unwrap_err();
    assert!(matches!(error, RecvError::Decode(_)) && error.to_string().contains("another kind"), "{error}");
}
