//! Models of `sync::Semaphore`. `acquire()` takes before it looks, `acquire_many(1)` looks first: the one is modelled by
//! itself, and the other stands where the line is what matters, which has fewer interleavings.

use crewkit::model::{Arc, thread};
use crewkit::sync::{BoundedSemaphore, OverReleased, Permit, Semaphore};
use crewkit_loom_tests::{Plain, SOON, exhaust, explore, spawn};
use std::sync::Arc as StdArc;

#[test]
fn a_released_permit_brings_what_was_done_before() {
    exhaust("semaphore: acquire × release", || {
        let shared = Arc::new((Semaphore::new(0), Plain::new(0)));
        let taker = spawn(&shared, |shared| {
            let _permit = shared.0.acquire();
            assert_eq!(shared.1.get(), 1);
        });
        shared.1.add(1);
        shared.0.release(1).unwrap();
        taker.join().unwrap();
        assert_eq!(shared.0.available(), 1);
    });
}

/// Both take before they look, so that one finds itself in debt, and is paid, or lines up.
#[test]
fn of_two_that_take_one_permit_before_they_look_each_gets_it() {
    exhaust("semaphore: acquire × acquire of one", || {
        let shared = Arc::new((Semaphore::new(1), Plain::new(0)));
        let pass = |shared: &(Semaphore, Plain)| {
            let _permit = shared.0.acquire();
            shared.1.add(1);
        };
        let other = spawn(&shared, pass);
        pass(&shared);
        other.join().unwrap();
        let _permit = shared.0.try_acquire().unwrap();
        assert_eq!((shared.1.get(), shared.0.available()), (2, 0));
    });
}

#[test]
fn debts_of_two_are_settled_one_by_one() {
    explore("semaphore: held × acquire × acquire", || {
        let shared = Arc::new((Semaphore::new(1), Plain::new(0)));
        let permit = shared.0.acquire();
        let takers = [(); 2].map(|()| {
            spawn(&shared, |shared| {
                let _permit = shared.0.acquire();
                shared.1.add(1);
            })
        });
        shared.1.add(1);
        drop(permit);
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(shared.0.available(), 1);
    });
}

/// One has been overtaken, and a debt was made for it; as that is paid, another has just taken a permit that is not there.
/// On the machine nobody can promise that the one is overtaken.
#[cfg(crewkit_loom)]
#[test]
fn a_debt_is_seen_paid_beside_one_that_is_taken_back() {
    use crewkit_loom_tests::{prepare, until_it_says};
    explore("semaphore: held × acquire_many(1) overtaken × acquire", || {
        let semaphore = Arc::new(Semaphore::new(1));
        let (waiter, permit) = prepare(|| {
            let permit = semaphore.acquire_many(1);
            let waiter = spawn(&semaphore, |semaphore| drop(semaphore.acquire_many(1)));
            until_it_says(&semaphore, "waiters: 1 ");
            drop(permit);
            let permit = semaphore.acquire_many(1);
            until_it_says(&semaphore, "waiters: 1 ");
            (waiter, permit)
        });
        let other = spawn(&semaphore, |semaphore| drop(semaphore.acquire()));
        drop(permit);
        waiter.join().unwrap();
        other.join().unwrap();
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn permits_released_apart_bring_what_was_done_before_each() {
    explore("semaphore: acquire_many(2) × release × release", || {
        let shared = Arc::new((Semaphore::new(0), Plain::new(0), Plain::new(0)));
        let taker = spawn(&shared, |shared| {
            shared.0.acquire_many(2).forget();
            assert_eq!(shared.1.get() + shared.2.get(), 2);
        });
        let releaser = spawn(&shared, |shared| {
            shared.2.add(1);
            shared.0.release(1).unwrap();
        });
        shared.1.add(1);
        shared.0.release(1).unwrap();
        taker.join().unwrap();
        releaser.join().unwrap();
        assert_eq!(shared.0.available(), 0);
    });
}

#[test]
fn one_release_of_two_wakes_both_waiters() {
    explore("semaphore: acquire × acquire × release(2)", || {
        let semaphore = Arc::new(Semaphore::new(0));
        let waiters = [(); 2].map(|()| spawn(&semaphore, |semaphore| semaphore.acquire_many(1).forget()));
        semaphore.release(2).unwrap();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(semaphore.available(), 0);
    });
}

#[test]
fn two_releases_of_one_wake_both_waiters() {
    explore("semaphore: acquire × acquire × (release, release)", || {
        let semaphore = Arc::new(Semaphore::new(0));
        let waiters = [(); 2].map(|()| spawn(&semaphore, |semaphore| semaphore.acquire_many(1).forget()));
        semaphore.release(1).unwrap();
        semaphore.release(1).unwrap();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(semaphore.available(), 0);
    });
}

#[test]
fn a_timeout_takes_no_permit_and_no_wake_up_with_it() {
    explore("semaphore: acquire_timeout × acquire × release", || {
        let semaphore = Arc::new(Semaphore::new(0));
        let timed = spawn(&semaphore, |semaphore| drop(semaphore.acquire_timeout(SOON)));
        let patient = spawn(&semaphore, |semaphore| semaphore.acquire_many(1).forget());
        semaphore.release(1).unwrap();
        timed.join().unwrap();
        patient.join().unwrap();
        assert_eq!(semaphore.available(), 0);
    });
}

#[test]
fn a_large_waiter_that_gives_up_lets_the_small_one_behind_it_go() {
    explore("semaphore: acquire_many_timeout(2) × acquire × release", || {
        let semaphore = Arc::new(Semaphore::new(0));
        let large = spawn(&semaphore, |semaphore| assert!(semaphore.acquire_many_timeout(2, SOON).is_none()));
        let small = spawn(&semaphore, |semaphore| semaphore.acquire_many(1).forget());
        semaphore.release(1).unwrap();
        large.join().unwrap();
        small.join().unwrap();
        assert_eq!(semaphore.available(), 0);
    });
}

/// The large waiter may be called, overtaken by the small one, go back into line, and be handed its permits in two parts.
#[test]
fn an_overtaken_large_waiter_is_handed_what_it_needs() {
    explore("semaphore: held × acquire_many(2) × acquire", || {
        let semaphore = Arc::new(Semaphore::new(2));
        let held = semaphore.acquire();
        let large = spawn(&semaphore, |semaphore| drop(semaphore.acquire_many(2)));
        let small = spawn(&semaphore, |semaphore| drop(semaphore.acquire()));
        drop(held);
        large.join().unwrap();
        small.join().unwrap();
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn an_overtaken_large_waiter_that_gives_up_returns_what_it_was_handed() {
    explore("semaphore: held × acquire_many_timeout(2) × acquire", || {
        let semaphore = Arc::new(Semaphore::new(2));
        let held = semaphore.acquire();
        let large = spawn(&semaphore, |semaphore| drop(semaphore.acquire_many_timeout(2, SOON)));
        let small = spawn(&semaphore, |semaphore| drop(semaphore.acquire()));
        drop(held);
        large.join().unwrap();
        small.join().unwrap();
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn no_try_fails_while_permits_remain() {
    exhaust("semaphore: try_acquire × try_acquire_many(2)", || {
        let semaphore = Arc::new(Semaphore::new(3));
        let other = spawn(&semaphore, |semaphore| semaphore.try_acquire_many(2).map(Permit::forget).is_some());
        assert!(semaphore.try_acquire().map(Permit::forget).is_some());
        assert!(other.join().unwrap());
        assert!(semaphore.try_acquire().is_none());
    });
}

#[test]
fn an_owned_permit_is_given_back_by_another_thread() {
    explore("semaphore: drop elsewhere × acquire_owned_timeout", || {
        let semaphore = StdArc::new(Semaphore::new(1));
        let permit = semaphore.acquire_owned();
        let dropper = thread::spawn(move || drop(permit));
        drop(semaphore.acquire_owned_timeout(SOON));
        dropper.join().unwrap();
        drop(semaphore.acquire_many_owned(1));
        assert!(semaphore.try_acquire_owned().is_some());
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn of_two_releases_too_many_one_is_refused() {
    exhaust("bounded semaphore: release × release", || {
        let semaphore = Arc::new(BoundedSemaphore::new(2));
        semaphore.acquire().forget();
        let other = spawn(&semaphore, |semaphore| semaphore.release(1));
        let mine = semaphore.release(1);
        let other = other.join().unwrap();
        assert!(matches!((mine, other), (Ok(()), Err(OverReleased)) | (Err(OverReleased), Ok(()))));
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn a_release_too_many_is_refused_with_a_waiter_in_line_too() {
    explore("bounded semaphore: acquire_many(2) of one left × (release(2), release(1))", || {
        let semaphore = Arc::new(BoundedSemaphore::new(2));
        semaphore.acquire().forget();
        let releaser = spawn(&semaphore, |semaphore| [semaphore.release(2), semaphore.release(1)]);
        drop(semaphore.acquire_many(2));
        assert_eq!(releaser.join().unwrap(), [Err(OverReleased), Ok(())]);
        assert_eq!(semaphore.available(), 2);
    });
}
