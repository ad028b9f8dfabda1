//! What processes wait for in shared memory, and the deaths and stops of those who hold it, wait for it, or bring it about.
//! A kill at each instruction is in `kill_points`.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]
#![expect(clippy::mem_forget, reason = "who is killed drops nothing")]

mod alone;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use alone::{Child, fork, open_fds, peer};
use crewkit::ipc::{
    Barrier, BarrierError, BoundedSemaphore, Condition, Connection, Counter, Event, Lock, LockError, Semaphore, pipe,
};
use crewkit::pool::Pool;
use crewkit::process::{Builder, Process, StartMethod};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use serde::Serialize;
use serde::de::DeserializeOwned;

const SOON: Duration = Duration::from_secs(20);
const BRIEFLY: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    crewkit::init();
    alone::main(&[
        ("permits_of_the_killed_come_back", permits_of_the_killed_come_back),
        ("permits_of_the_unreaped_come_back", permits_of_the_unreaped_come_back),
        ("permits_of_the_killed_come_to_who_waits", permits_of_the_killed_come_to_who_waits),
        ("forgotten_permits_do_not_come_back", forgotten_permits_do_not_come_back),
        ("a_killed_waiter_keeps_nothing_from_others", a_killed_waiter_keeps_nothing_from_others),
        (
            "a_stopped_holder_keeps_its_permits_and_holds_up_nobody",
            a_stopped_holder_keeps_its_permits_and_holds_up_nobody,
        ),
        ("an_inherited_semaphore_is_foreign", an_inherited_semaphore_is_foreign),
        ("a_forked_closure_sits_in_a_seat_of_its_own", a_forked_closure_sits_in_a_seat_of_its_own),
        ("semaphores_travel_by_every_start_method_and_to_pools", semaphores_travel_by_every_start_method_and_to_pools),
        ("processes_share_permits", processes_share_permits),
        ("seats_of_the_dead_are_given_to_others", seats_of_the_dead_are_given_to_others),
        ("an_event_is_set_by_another_process", an_event_is_set_by_another_process),
        ("a_killed_waiter_for_an_event_is_no_matter", a_killed_waiter_for_an_event_is_no_matter),
        ("a_stopped_setter_holds_up_nobody", a_stopped_setter_holds_up_nobody),
        ("an_inherited_event_is_foreign", an_inherited_event_is_foreign),
        ("processes_go_together_trip_after_trip", processes_go_together_trip_after_trip),
        ("a_killed_party_breaks_the_barrier", a_killed_party_breaks_the_barrier),
        ("a_party_that_goes_home_breaks_nothing", a_party_that_goes_home_breaks_nothing),
        ("a_stopped_party_holds_up_nobody_beyond_the_timeout", a_stopped_party_holds_up_nobody_beyond_the_timeout),
        ("a_notification_whose_owner_is_killed_goes_on", a_notification_whose_owner_is_killed_goes_on),
        ("a_killed_waiter_is_passed_over", a_killed_waiter_is_passed_over),
        ("a_waiter_is_told_of_a_death_with_the_lock", a_waiter_is_told_of_a_death_with_the_lock),
        ("a_stopped_holder_of_the_lock_holds_up_no_waiter", a_stopped_holder_of_the_lock_holds_up_no_waiter),
        ("processes_hand_over_by_a_condition", processes_hand_over_by_a_condition),
        ("an_inherited_barrier_or_condition_is_foreign", an_inherited_barrier_or_condition_is_foreign),
        ("without_descriptors_there_is_an_error", without_descriptors_there_is_an_error),
        ("no_descriptor_is_left", no_descriptor_is_left),
    ])
}

/// A child that has been handed an object, and has done something with it when this returns. It lives until it is killed.
struct Holder<T> {
    child: Child,
    _end: Connection<T, ()>,
}

fn holder<T: Serialize + DeserializeOwned>(object: &T, hold: impl FnOnce(&T)) -> Holder<T> {
    let (end, child) = peer::<T, (), _>(|end| {
        let object = end.recv().unwrap();
        hold(&object);
        end.send(&()).unwrap();
        let _never = end.recv();
    });
    end.send(object).unwrap();
    end.recv_timeout(SOON).unwrap();
    Holder { child, _end: end }
}

/// A child that does something with an object, in which it sleeps when this returns.
fn sleeper<T: Serialize + DeserializeOwned>(object: &T, body: impl FnOnce(&T) -> i32) -> Child {
    let (end, child) = peer::<T, (), _>(|end| {
        let object = end.recv().unwrap();
        end.send(&()).unwrap();
        body(&object)
    });
    end.send(object).unwrap();
    end.recv_timeout(SOON).unwrap();
    until_asleep(&child);
    child
}

fn until_asleep(child: &Child) {
    let begin = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
        match stat.rsplit(") ").next().and_then(|fields| fields.chars().next()) {
            Some('S') => return,
            Some('Z') => panic!("the child has ended"),
            _ => assert!(begin.elapsed() < SOON, "the child does not sleep: {stat}"),
        }
        std::thread::yield_now();
    }
}

fn stop(child: &Child) {
    kill(child.pid(), Signal::SIGSTOP).unwrap();
    let status = waitpid(child.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
}

fn hold(semaphore: &Semaphore, count: usize) {
    std::mem::forget(semaphore.acquire_many_timeout(count, SOON).unwrap());
}

fn permits_of_the_killed_come_back() {
    let semaphore = Semaphore::new(3).unwrap();
    for count in 1..=3 {
        let holder = holder(&semaphore, |semaphore| hold(semaphore, count));
        assert_eq!(semaphore.available(), 3 - count);
        assert!(format!("{semaphore:?}").contains(&format!("{}: {count}", holder.child.pid())), "{semaphore:?}");
        holder.child.kill();
        drop(semaphore.try_acquire_many(3).expect("a try finds them, too"));
    }
    // What was given back lies in the seat of who dies.
    holder(&semaphore, |semaphore| drop(semaphore.acquire_many_timeout(3, SOON).unwrap())).child.kill();
    assert_eq!(semaphore.available(), 3);
}

fn permits_of_the_unreaped_come_back() {
    let semaphore = BoundedSemaphore::new(1).unwrap();
    let holder = holder(&semaphore, |semaphore| std::mem::forget(semaphore.acquire().unwrap()));
    let pid = holder.child.pid();
    kill(pid, Signal::SIGKILL).unwrap();
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    drop(semaphore.try_acquire().unwrap());
    waitpid(pid, None).unwrap();
    holder.child.reaped();
}

fn permits_of_the_killed_come_to_who_waits() {
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

fn forgotten_permits_do_not_come_back() {
    let semaphore = Semaphore::new(2).unwrap();
    holder(&semaphore, |semaphore| semaphore.acquire().unwrap().forget()).child.kill();
    assert_eq!(semaphore.available(), 1);
    holder(&semaphore, |semaphore| semaphore.release(5).unwrap()).child.kill();
    assert_eq!(semaphore.available(), 6, "released permits are nobody's");
}

fn a_killed_waiter_keeps_nothing_from_others() {
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

fn a_stopped_holder_keeps_its_permits_and_holds_up_nobody() {
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

fn an_inherited_semaphore_is_foreign() {
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

fn a_forked_closure_sits_in_a_seat_of_its_own() {
    let semaphore = Semaphore::new(2).unwrap();
    drop(semaphore.acquire_many(2).unwrap());
    let captured = semaphore.clone();
    let process = Process::fork(move || hold(&captured, 1));
    process.unwrap().join().unwrap();
    assert_eq!(semaphore.available(), 2, "its permit has come back");
}

fn semaphores_travel_by_every_start_method_and_to_pools() {
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

fn processes_share_permits() {
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

fn seats_of_the_dead_are_given_to_others() {
    let semaphore = Semaphore::new(1).unwrap();
    // More than there are seats.
    for _ in 0..1_100 {
        holder(&semaphore, |semaphore| hold(semaphore, 1)).child.kill();
    }
    assert_eq!(semaphore.available(), 1);
}

fn an_event_is_set_by_another_process() {
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

fn a_killed_waiter_for_an_event_is_no_matter() {
    let event = Event::new().unwrap();
    let [first, second] = [(); 2].map(|()| sleeper(&event, |event| i32::from(!event.wait_timeout(SOON).unwrap())));
    first.kill();
    event.set().unwrap();
    assert_eq!(second.exit_code(), 0);
    event.clear().unwrap();
    assert!(!event.wait_timeout(Duration::ZERO).unwrap());
}

fn a_stopped_setter_holds_up_nobody() {
    let event = Event::new().unwrap();
    let setter = holder(&event, |event| event.set().unwrap());
    stop(&setter.child);
    event.wait().unwrap();
    event.clear().unwrap();
    assert!(!event.wait_timeout(BRIEFLY).unwrap());
}

fn an_inherited_event_is_foreign() {
    let event = Event::new().unwrap();
    let child = fork(|| {
        assert!(matches!(event.set(), Err(LockError::ForeignProcess)));
        assert!(matches!(event.clear(), Err(LockError::ForeignProcess)));
        assert!(matches!(event.wait(), Err(LockError::ForeignProcess)));
    });
    assert_eq!(child.exit_code(), 0);
    assert!(!event.is_set());
}

fn processes_go_together_trip_after_trip() {
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

fn a_killed_party_breaks_the_barrier() {
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

fn a_party_that_goes_home_breaks_nothing() {
    let barrier = Barrier::new(2).unwrap();
    for _ in 0..3 {
        let child = Process::spawn(|barrier: Barrier| barrier.wait_timeout(SOON).is_ok(), barrier.clone()).unwrap();
        assert!(barrier.wait_timeout(SOON).is_ok());
        assert!(child.join().unwrap());
        assert!(!barrier.is_broken());
    }
}

fn a_stopped_party_holds_up_nobody_beyond_the_timeout() {
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

fn a_notification_whose_owner_is_killed_goes_on() {
    let condition = condition();
    let [first, second] = [(); 2].map(|()| waiter(&condition));
    stop(&first);
    let guard = condition.lock().lock_timeout(SOON).unwrap();
    condition.notify_one(&guard).unwrap();
    drop(guard);
    first.kill();
    assert_eq!(second.exit_code(), 0, "the notification was the first one's");
}

fn a_killed_waiter_is_passed_over() {
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

fn a_waiter_is_told_of_a_death_with_the_lock() {
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

fn a_stopped_holder_of_the_lock_holds_up_no_waiter() {
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
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            end.recv_timeout(SOON).unwrap();
            stop(&child);
        });
        condition.wait_timeout(guard, BRIEFLY)
    });
    assert!(answer.is_err_and(|error| error.is_timeout()));
    assert!(begun.elapsed() >= BRIEFLY && begun.elapsed() < SOON);
    child.kill();
    let guard = condition.lock().lock_timeout(SOON).unwrap_err().into_guard().unwrap();
    guard.recover();
    condition.notify_one(&guard).unwrap();
    assert!(!condition.wait_timeout(guard, BRIEFLY).unwrap().1, "the seat that was abandoned is empty");
}

fn processes_hand_over_by_a_condition() {
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

fn an_inherited_barrier_or_condition_is_foreign() {
    let (barrier, condition) = (Barrier::new(1).unwrap(), condition());
    let child = fork(|| {
        assert!(matches!(barrier.wait(), Err(BarrierError::Unusable(LockError::ForeignProcess))));
        assert!(barrier.reset().is_err() && barrier.abort().is_err() && barrier.enroll().is_err());
        assert!(matches!(condition.lock().lock(), Err(LockError::ForeignProcess)));
    });
    assert_eq!(child.exit_code(), 0);
    assert!(!barrier.is_broken());
}

fn without_descriptors_there_is_an_error() {
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

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().matches("memfd:crewkit").count()
}

fn no_descriptor_is_left() {
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
