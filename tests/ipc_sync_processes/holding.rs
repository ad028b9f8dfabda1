//! Semaphores and events, and what all objects need of the system.

use std::time::{Duration, Instant};

use crewkit::ipc::{Barrier, BoundedSemaphore, Counter, Event, LockError, Semaphore, pipe};
use crewkit::pool::Pool;
use crewkit::process::{Builder, Process, StartMethod};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};

use crate::alone::{fork, open_fds};
use crate::holders::{BRIEFLY, SOON, holder, mappings, stop};
use crate::support::sleeper;

fn hold(semaphore: &Semaphore, count: usize) {
    std::mem::forget(semaphore.acquire_many_timeout(count, SOON).unwrap());
}

pub(crate) fn permits_of_the_killed_come_back() {
    let semaphore = Semaphore::new(3).unwrap();
    for count in 1..=3 {
        let holder = holder(&semaphore, |semaphore| hold(semaphore, count));
        assert_eq!(semaphore.available(), 3 - count);
        assert!(format!("{semaphore:?}").contains(&format!("{}: {count}", holder.child.pid())), "{semaphore:?}");
        holder.child.kill();
        drop(semaphore.try_acquire_many(3).expect("a try finds them, too"));
    }
    assert_eq!((semaphore.stats().recoveries, semaphore.stats().users), (3, Vec::new()));
    // What was given back lies in the seat of who dies.
    holder(&semaphore, |semaphore| drop(semaphore.acquire_many_timeout(3, SOON).unwrap())).child.kill();
    assert_eq!(semaphore.available(), 3);
}

pub(crate) fn permits_of_the_unreaped_come_back() {
    let semaphore = BoundedSemaphore::new(1).unwrap();
    let holder = holder(&semaphore, |semaphore| std::mem::forget(semaphore.acquire().unwrap()));
    let pid = holder.child.pid();
    kill(pid, Signal::SIGKILL).unwrap();
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    drop(semaphore.try_acquire().unwrap());
    waitpid(pid, None).unwrap();
    holder.child.reaped();
}

pub(crate) fn permits_of_the_killed_come_to_who_waits() {
    let semaphore = Semaphore::new(2).unwrap();
    let holder = holder(&semaphore, |semaphore| hold(semaphore, 2));
    let waiters = [(); 2].map(|()| {
        sleeper(&semaphore, |semaphore| {
            semaphore.acquire_timeout(SOON).unwrap().forget();
            0
        })
    });
    holder.child.kill();
    waiters.into_iter().for_each(|waiter| assert_eq!(waiter.exit_code(), 0));
    assert_eq!(semaphore.available(), 0);
    semaphore.release(1).unwrap();
    assert_eq!(semaphore.available(), 1);
}

pub(crate) fn forgotten_permits_do_not_come_back() {
    let semaphore = Semaphore::new(2).unwrap();
    holder(&semaphore, |semaphore| semaphore.acquire().unwrap().forget()).child.kill();
    assert_eq!(semaphore.available(), 1);
    holder(&semaphore, |semaphore| semaphore.release(5).unwrap()).child.kill();
    assert_eq!(semaphore.available(), 6, "released permits are nobody's");
}

pub(crate) fn a_killed_waiter_keeps_nothing_from_others() {
    let semaphore = Semaphore::new(0).unwrap();
    let wait = |semaphore: &Semaphore| {
        semaphore.acquire_timeout(SOON).unwrap().forget();
        0
    };
    let [first, second, third] = [(); 3].map(|()| sleeper(&semaphore, wait));
    // Woken first, and gone before it can look.
    stop(&first);
    semaphore.release(2).unwrap();
    first.kill();
    assert_eq!(second.exit_code(), 0);
    assert_eq!(third.exit_code(), 0);
    assert_eq!(semaphore.available(), 0);
}

pub(crate) fn a_stopped_holder_keeps_its_permits() {
    let semaphore = Semaphore::new(1).unwrap();
    let holder = holder(&semaphore, |semaphore| hold(semaphore, 1));
    stop(&holder.child);
    let begun = Instant::now();
    assert!(semaphore.acquire_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
    assert!(semaphore.try_acquire().is_err_and(|error| error.is_timeout()));
    assert!(begun.elapsed() >= BRIEFLY && begun.elapsed() < SOON);
    holder.child.kill();
    drop(semaphore.acquire_timeout(SOON).unwrap());
}

pub(crate) fn an_inherited_semaphore_is_foreign() {
    let semaphore = Semaphore::new(2).unwrap();
    let mut permit = Some(semaphore.acquire().unwrap());
    let mut owned = Some(semaphore.acquire_owned(1).unwrap());
    let child = fork(|| {
        assert!(matches!(semaphore.acquire(), Err(LockError::ForeignProcess)));
        assert!(matches!(semaphore.try_acquire(), Err(LockError::ForeignProcess)));
        assert!(semaphore.release(1).is_err());
        drop((permit.take(), owned.take()));
        let (near, _far) = pipe::<Semaphore, ()>().unwrap();
        let refused = near.send(&semaphore).unwrap_err();
        assert!(refused.to_string().contains("was forked from"), "{refused}");
    });
    assert_eq!(child.exit_code(), 0);
    assert_eq!(semaphore.available(), 0, "a copy of a permit gives nothing back");
    drop((permit, owned));
    assert_eq!(semaphore.available(), 2);
}

pub(crate) fn a_forked_closure_sits_in_a_seat_of_its_own() {
    let semaphore = Semaphore::new(2).unwrap();
    drop(semaphore.acquire_many(2).unwrap());
    let captured = semaphore.clone();
    let process = Process::fork(move || hold(&captured, 1));
    process.unwrap().join().unwrap();
    assert_eq!(semaphore.available(), 2, "its permit has come back");
}

pub(crate) fn semaphores_travel_by_every_start_method_and_to_pools() {
    type Objects = (Semaphore, BoundedSemaphore, Counter);
    let objects = (Semaphore::new(1).unwrap(), BoundedSemaphore::new(1).unwrap(), Counter::new(0).unwrap());
    let count = |(one, other, counter): Objects| {
        let _one = one.acquire_timeout(SOON).map_err(|error| error.to_string())?;
        let _other = other.acquire_timeout(SOON).map_err(|error| error.to_string())?;
        counter.add(1).map_err(|error| error.to_string())
    };
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let child = Builder::new().start_method(method).spawn(count, objects.clone()).unwrap();
        child.join().unwrap().unwrap();
    }
    Pool::new(2).unwrap().map(count, vec![objects.clone(); 8]).unwrap();
    assert_eq!((objects.0.available(), objects.1.available(), objects.2.get().unwrap()), (1, 1, 10));
}

pub(crate) fn processes_share_permits() {
    const ROUNDS: usize = 2_000;
    let objects = (Semaphore::new(2).unwrap(), Counter::new(0).unwrap(), Counter::new(0).unwrap());
    let work = |(semaphore, inside, most): (Semaphore, Counter, Counter)| {
        for round in 0..ROUNDS {
            let count = 1 + round % 2;
            let _permit = semaphore.acquire_many_timeout(count, SOON).map_err(|error| error.to_string())?;
            let count = i64::try_from(count).map_err(|error| error.to_string())?;
            let now = inside.add(count).map_err(|error| error.to_string())? + count;
            if now > 2 {
                most.set(now).map_err(|error| error.to_string())?;
            }
            inside.add(-count).map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    };
    let processes: Vec<_> = (0..4).map(|_| Process::spawn(work, objects.clone()).unwrap()).collect();
    processes.into_iter().for_each(|process| process.join().unwrap().unwrap());
    assert_eq!((objects.0.available(), objects.2.get().unwrap()), (2, 0));
}

pub(crate) fn seats_of_the_dead_are_given_to_others() {
    let semaphore = Semaphore::new(1).unwrap();
    // More than there are seats.
    for _ in 0..1_100 {
        holder(&semaphore, |semaphore| hold(semaphore, 1)).child.kill();
    }
    assert_eq!(semaphore.available(), 1);
}

pub(crate) fn an_event_is_set_by_another_process() {
    let (ready, go) = (Event::new().unwrap(), Event::new().unwrap());
    let work = |(ready, go): (Event, Event)| {
        ready.set().map_err(|error| error.to_string())?;
        go.wait_timeout(SOON).map_err(|error| error.to_string())
    };
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let child = Builder::new().start_method(method).spawn(work, (ready.clone(), go.clone())).unwrap();
        assert!(ready.wait_timeout(SOON).unwrap());
        go.set().unwrap();
        assert!(child.join().unwrap().unwrap());
        ready.clear().unwrap();
        go.clear().unwrap();
    }
}

pub(crate) fn a_killed_waiter_for_an_event_is_no_matter() {
    let event = Event::new().unwrap();
    let [first, second] = [(); 2].map(|()| sleeper(&event, |event| i32::from(!event.wait_timeout(SOON).unwrap())));
    first.kill();
    event.set().unwrap();
    assert_eq!(second.exit_code(), 0);
    event.clear().unwrap();
    assert!(!event.wait_timeout(Duration::ZERO).unwrap());
}

pub(crate) fn a_stopped_setter_holds_up_nobody() {
    let event = Event::new().unwrap();
    let setter = holder(&event, |event| event.set().unwrap());
    stop(&setter.child);
    event.wait().unwrap();
    event.clear().unwrap();
    assert!(!event.wait_timeout(BRIEFLY).unwrap());
}

pub(crate) fn an_inherited_event_is_foreign() {
    let event = Event::new().unwrap();
    let child = fork(|| {
        assert!(matches!(event.set(), Err(LockError::ForeignProcess)));
        assert!(matches!(event.clear(), Err(LockError::ForeignProcess)));
        assert!(matches!(event.wait(), Err(LockError::ForeignProcess)));
    });
    assert_eq!(child.exit_code(), 0);
    assert!(!event.is_set());
}

pub(crate) fn without_descriptors_there_is_an_error() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let semaphore = Semaphore::new(1).unwrap();
    drop(semaphore.acquire().unwrap());
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    assert!(Semaphore::new(1).is_err() && BoundedSemaphore::new(1).is_err() && Event::new().is_err());
    assert!(Barrier::new(1).is_err());
    drop(semaphore.acquire().unwrap());
    let held = semaphore.acquire().unwrap();
    assert!(semaphore.acquire_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
    drop(held);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
}

pub(crate) fn no_descriptor_is_left() {
    let before = (open_fds(), mappings());
    for _ in 0..50 {
        let semaphore = Semaphore::new(1).unwrap();
        holder(&semaphore, |semaphore| hold(semaphore, 1)).child.kill();
        drop(semaphore.acquire_timeout(SOON).unwrap());
        let (near, far) = pipe::<Semaphore, ()>().unwrap();
        near.send(&semaphore).unwrap();
        drop(far.recv().unwrap().acquire().unwrap());
        std::mem::forget(semaphore.acquire().unwrap());
    }
    assert_eq!((open_fds(), mappings()), before);
}
