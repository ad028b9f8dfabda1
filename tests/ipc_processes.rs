//! Objects in shared memory between processes: holders that die or stop, inherited handles, limits, leaks. A kill at each
//! instruction is in `kill_points`.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]

mod alone;
mod holders;

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;

use alone::{fork, open_fds};
use crewkit::ipc::{Connection, Counter, Lock, LockError, RLock, Value, pipe};
use crewkit::pool::Pool;
use crewkit::process::{Builder, Process, StartMethod};
use holders::{BRIEFLY, SOON, holder, mappings, stop};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> ExitCode {
    crewkit::init();
    alone::main(&[
        ("a_killed_holder_is_told_of", a_killed_holder_is_told_of),
        ("a_stopped_holder_holds_up_nobody_beyond_the_timeout", a_stopped_holder_holds_up_nobody_beyond_the_timeout),
        ("an_inherited_object_is_foreign", an_inherited_object_is_foreign),
        ("a_forked_closure_owns_the_objects_that_it_captured", a_forked_closure_owns_the_objects_that_it_captured),
        ("a_guard_that_a_fork_inherits_releases_nothing", a_guard_that_a_fork_inherits_releases_nothing),
        ("objects_travel_by_every_start_method_and_to_pools", objects_travel_by_every_start_method_and_to_pools),
        ("processes_count_under_a_lock", processes_count_under_a_lock),
        ("no_descriptor_or_mapping_leaks", no_descriptor_or_mapping_leaks),
        ("without_descriptors_there_is_an_error", without_descriptors_there_is_an_error),
    ])
}

fn a_killed_holder_is_told_of() {
    let lock = Lock::new().unwrap();
    for _ in 0..3 {
        let holder = holder(&lock, |lock: &Lock| lock.acquire().unwrap());
        assert!(lock.lock_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
        holder.child.kill();
        let guard = lock.lock_timeout(SOON).unwrap_err().into_guard().expect("told of the death");
        guard.recover();
        drop(guard);
        assert!(lock.lock_timeout(SOON).is_ok(), "recovered");
    }
    let lock = RLock::new().unwrap();
    holder(&lock, |lock: &RLock| (0..3).for_each(|_| lock.acquire().unwrap())).child.kill();
    assert!(matches!(lock.lock_timeout(SOON), Err(LockError::OwnerDied(_))));
}

fn a_stopped_holder_holds_up_nobody_beyond_the_timeout() {
    let (lock, value) = (Lock::new().unwrap(), Value::new(1_u64).unwrap());
    let holder = holder(&(lock.clone(), value.clone()), |(lock, value): &(Lock, Value<u64>)| {
        lock.acquire().unwrap();
        value.set(2).unwrap();
    });
    stop(&holder.child);
    let begun = Instant::now();
    assert!(lock.lock_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
    assert!(lock.try_lock().is_err_and(|error| error.is_timeout()));
    assert!(begun.elapsed() >= BRIEFLY && begun.elapsed() < SOON);
    assert_eq!(value.get().unwrap(), 2);
    holder.child.kill();
    assert!(matches!(lock.lock_timeout(SOON), Err(LockError::OwnerDied(_))));
}

fn an_inherited_object_is_foreign() {
    let (lock, value, counter) = (Lock::new().unwrap(), Value::new(1_u64).unwrap(), Counter::new(1).unwrap());
    let child = fork(|| {
        assert!(matches!(lock.lock(), Err(LockError::ForeignProcess)));
        assert!(matches!(value.get(), Err(LockError::ForeignProcess)));
        assert!(matches!(value.set(2), Err(LockError::ForeignProcess)));
        assert!(matches!(counter.add(1), Err(LockError::ForeignProcess)));
        let (near, _far) = pipe::<Lock, ()>().unwrap();
        let refused = near.send(&lock).unwrap_err();
        assert!(refused.to_string().contains("was forked from"), "{refused}");
    });
    assert_eq!(child.exit_code(), 0);
    assert_eq!((value.get().unwrap(), counter.get().unwrap()), (1, 1));
}

fn a_forked_closure_owns_the_objects_that_it_captured() {
    let (lock, counter) = (Lock::new().unwrap(), Counter::new(0).unwrap());
    let captured = (lock.clone(), counter.clone());
    let process = Process::fork(move || {
        let (lock, counter) = captured;
        lock.lock_timeout(SOON).unwrap().leak();
        counter.add(1).unwrap();
    });
    process.unwrap().join().unwrap();
    assert_eq!(counter.get().unwrap(), 1);
    assert!(matches!(lock.lock_timeout(SOON), Err(LockError::OwnerDied(_))), "it ended with the lock");
}

fn a_guard_that_a_fork_inherits_releases_nothing() {
    let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
    let guards = (lock.lock().unwrap(), rlock.lock().unwrap(), rlock.lock().unwrap());
    let mut inherited = Some(guards);
    let child = fork(|| drop(inherited.take()));
    assert_eq!(child.exit_code(), 0);
    assert_eq!(rlock.depth(), 2);
    assert!(lock.is_locked());
    drop(inherited);
    assert!(!lock.is_locked() && !rlock.is_locked());
}

fn objects_travel_by_every_start_method_and_to_pools() {
    let objects = (RLock::new().unwrap(), Value::new([0_u32; 2]).unwrap(), Counter::new(0).unwrap());
    type Objects = (RLock, Value<[u32; 2]>, Counter);
    let count = |(lock, value, counter): Objects| {
        let _guard = lock.lock_timeout(SOON).map_err(|error| error.to_string())?;
        value.update(|[one, two]| (*one, *two) = (*one + 1, *two + 1)).map_err(|error| error.to_string())?;
        counter.add(1).map_err(|error| error.to_string())
    };
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let child = Builder::new().start_method(method).spawn(count, objects.clone()).unwrap();
        child.join().unwrap().unwrap();
    }
    let results = Pool::new(2).unwrap().map(count, vec![objects.clone(); 8]).unwrap();
    assert_eq!(results.len(), 8);
    assert_eq!((objects.1.get().unwrap(), objects.2.get().unwrap()), ([10, 10], 10));
}

fn processes_count_under_a_lock() {
    const ROUNDS: u64 = 5_000;
    let (lock, value) = (Lock::new().unwrap(), Value::new(0_u64).unwrap());
    let count = |(lock, value): (Lock, Value<u64>)| {
        for _ in 0..ROUNDS {
            let guard = lock.lock_timeout(SOON).map_err(|error| error.to_string())?;
            // Two steps, between which nobody else may come.
            let seen = value.get().map_err(|error| error.to_string())?;
            value.set(seen + 1).map_err(|error| error.to_string())?;
            drop(guard);
        }
        Ok::<(), String>(())
    };
    let processes: Vec<_> = (0..4).map(|_| Process::spawn(count, (lock.clone(), value.clone())).unwrap()).collect();
    for process in processes {
        process.join().unwrap().unwrap();
    }
    assert_eq!(value.get().unwrap(), 4 * ROUNDS);
}

fn no_descriptor_or_mapping_leaks() {
    let (fds, maps) = (open_fds(), mappings());
    for _ in 0..100 {
        let (lock, value) = (Lock::new().unwrap(), Value::new(1_u64).unwrap());
        let (near, far) = pipe::<(Lock, Value<u64>), ()>().unwrap();
        near.send(&(lock.clone(), value)).unwrap();
        let (again, _) = far.recv().unwrap();
        drop(lock.lock().unwrap());
        drop(again.lock().unwrap());
        // One that nobody receives, and one of another type than is asked for.
        near.send(&(lock, Value::new(2).unwrap())).unwrap();
        let far: Connection<(), Value<u64>> = Connection::from(far.as_fd().try_clone_to_owned().unwrap());
        far.recv().map(|_| ()).unwrap_err();
        holder(&again, |lock: &Lock| lock.acquire().unwrap()).child.kill();
        assert!(again.lock_timeout(SOON).unwrap_err().into_guard().is_some());
    }
    assert_eq!(mappings(), maps);
    assert_eq!(open_fds(), fds);
    // Nothing of it has a name.
    let named = std::fs::read_dir("/dev/shm").unwrap().filter_map(Result::ok);
    let ours: Vec<_> = named.filter(|entry| entry.file_name().to_string_lossy().contains("crewkit")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

fn without_descriptors_there_is_an_error() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let lock = Lock::new().unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let refused = Lock::new().unwrap_err();
    assert!(refused.to_string().starts_with("creating a shared segment: "), "{refused}");
    assert!(Value::new(1_u8).is_err() && Counter::new(1).is_err() && RLock::new().is_err());
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert!(lock.lock().is_ok() && Lock::new().is_ok());
}
