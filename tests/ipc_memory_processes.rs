//! Arrays and plain memory between processes: holders that die or stop, inherited handles, limits, leaks. A kill at each
//! instruction is in `kill_points`.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]

mod alone;
mod holders;

use std::os::fd::AsFd;
use std::process::ExitCode;

use alone::{fork, open_fds, peer};
use crewkit::ipc::{Array, ListError, LockError, SealError, ShareableList, SharedBytes, SharedMemory, pipe};
use crewkit::process::{Builder, Process, StartMethod};
use holders::{BRIEFLY, SOON, holder, mappings, stop};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> ExitCode {
    crewkit::init();
    alone::main(&[
        (
            "a_killed_writer_is_told_of_and_a_killed_reader_is_not",
            a_killed_writer_is_told_of_and_a_killed_reader_is_not,
        ),
        ("a_stopped_holder_holds_up_nobody_beyond_the_timeout", a_stopped_holder_holds_up_nobody_beyond_the_timeout),
        ("an_inherited_array_is_foreign", an_inherited_array_is_foreign),
        ("an_inherited_guard_lends_and_releases_nothing", an_inherited_guard_lends_and_releases_nothing),
        ("arrays_travel_by_every_start_method", arrays_travel_by_every_start_method),
        ("a_child_shares_the_memory_that_it_inherited", a_child_shares_the_memory_that_it_inherited),
        ("nobody_takes_memory_away_from_under_another", nobody_takes_memory_away_from_under_another),
        ("memory_travels_by_every_start_method", memory_travels_by_every_start_method),
        ("no_descriptor_or_mapping_leaks", no_descriptor_or_mapping_leaks),
        ("without_descriptors_there_is_an_error", without_descriptors_there_is_an_error),
    ])
}

/// Keeps what it has for good.
fn leak<T>(value: T) {
    let _never_dropped = std::mem::ManuallyDrop::new(value);
}

fn a_killed_writer_is_told_of_and_a_killed_reader_is_not() {
    let array = Array::new(&[1_u32, 2, 3]).unwrap();
    for _ in 0..3 {
        let reader = holder(&array, |array: &Array<u32>| {
            let guard = array.lock().unwrap();
            assert_eq!(guard[0], 1);
            leak(guard);
        });
        assert!(array.get_timeout(0, BRIEFLY).is_err_and(|error| error.is_timeout()));
        reader.child.kill();
        assert_eq!(array.get_timeout(0, SOON).unwrap(), 1);

        let writer = holder(&array, |array: &Array<u32>| {
            let mut guard = array.lock().unwrap();
            guard[1] = 9;
            leak(guard);
        });
        writer.child.kill();
        assert!(matches!(array.get_timeout(0, SOON), Err(LockError::OwnerDied(()))));
        let mut guard = array.lock_timeout(SOON).unwrap_err().into_guard().expect("told of the death");
        guard[1] = 2;
        guard.recover();
        drop(guard);
        assert_eq!(array.get_timeout(1, SOON).unwrap(), 2);
    }
}

fn a_stopped_holder_holds_up_nobody_beyond_the_timeout() {
    let array = Array::new(&[1_u32]).unwrap();
    let holder = holder(&array, |array: &Array<u32>| {
        let mut guard = array.lock().unwrap();
        guard[0] = 2;
        leak(guard);
    });
    stop(&holder.child);
    assert!(array.set_timeout(0, 3, BRIEFLY).is_err_and(|error| error.is_timeout()));
    assert!(array.lock_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
    assert!(array.try_lock().is_err_and(|error| error.is_timeout()));
    holder.child.kill();
    assert!(matches!(array.lock_timeout(SOON), Err(LockError::OwnerDied(_))));
}

fn an_inherited_array_is_foreign() {
    let array = Array::new(&[1_u32]).unwrap();
    let list = ShareableList::new([1]).unwrap();
    let child = fork(|| {
        assert!(matches!(list.get(0), Err(LockError::ForeignProcess)));
        assert!(matches!(list.set(0, 2), Err(ListError::Lock(LockError::ForeignProcess))));
        assert!(matches!(array.get(0), Err(LockError::ForeignProcess)));
        assert!(matches!(array.set(0, 2), Err(LockError::ForeignProcess)));
        assert!(matches!(array.lock(), Err(LockError::ForeignProcess)));
        let (near, _far) = pipe::<Array<u32>, ()>().unwrap();
        let refused = near.send(&array).unwrap_err();
        assert!(refused.to_string().contains("was forked from"), "{refused}");
    });
    assert_eq!(child.exit_code(), 0);
    let captured = array.clone();
    Process::fork(move || captured.set(0, 7).unwrap()).unwrap().join().unwrap();
    assert_eq!(array.get(0).unwrap(), 7);
}

fn an_inherited_guard_lends_and_releases_nothing() {
    let array = Array::new(&[1_u32]).unwrap();
    let mut guard = array.lock().unwrap();
    guard[0] = 2;
    let mut inherited = Some(guard);
    let child = fork(|| {
        let mut guard = inherited.take().unwrap();
        guard.recover();
        std::panic::set_hook(Box::new(|_| {}));
        let lent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| guard[0] = 3));
        drop(guard);
        i32::from(lent.is_ok())
    });
    assert_eq!(child.exit_code(), 0);
    assert!(array.is_locked());
    // Nor did it say that what the parent has written is in order.
    holder(&array, |array: &Array<u32>| assert!(array.try_lock().is_err())).child.kill();
    assert_eq!(*inherited.take().unwrap(), [2]);
    assert!(!array.is_locked());
}

fn arrays_travel_by_every_start_method() {
    let array = Array::<u32>::zeroed(4).unwrap();
    let fill = |array: Array<u32>| {
        let mut guard = array.lock_timeout(SOON).map_err(|error| error.to_string())?;
        guard.iter_mut().zip(1..).for_each(|(element, number)| *element += number);
        Ok::<(), String>(())
    };
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let child = Builder::new().start_method(method).spawn(fill, array.clone()).unwrap();
        child.join().unwrap().unwrap();
    }
    assert_eq!(*array.lock().unwrap(), [2, 4, 6, 8]);
}

fn byte(memory: &SharedMemory, offset: usize) -> u8 {
    let mut byte = [0];
    memory.read_at(offset, &mut byte).unwrap();
    byte[0]
}

fn a_child_shares_the_memory_that_it_inherited() {
    let memory = SharedMemory::create(10).unwrap();
    assert_eq!(fork(|| memory.write_at(1, &[7]).unwrap()).exit_code(), 0);
    assert_eq!(byte(&memory, 1), 7);
    // For as long as a child has it mapped, it may be written there.
    let (end, child) = peer::<(), (), _>(|end| {
        end.send(&()).unwrap();
        end.recv().unwrap();
    });
    end.recv_timeout(SOON).unwrap();
    let refused = memory.seal_read_only().unwrap_err();
    assert!(matches!(refused, SealError::Busy(_)), "{refused}");
    child.kill();
    let sealed = refused.into_inner().unwrap().seal_read_only().unwrap();
    assert_eq!(sealed[1], 7);
    assert_eq!(fork(|| assert_eq!(sealed[1], 7)).exit_code(), 0);
}

fn nobody_takes_memory_away_from_under_another() {
    let memory = SharedMemory::create(10_000).unwrap();
    let attacker = holder(&memory, |memory: &SharedMemory| {
        let file = std::fs::File::from(memory.as_fd().try_clone_to_owned().unwrap());
        file.set_len(0).unwrap_err();
        file.set_len(1 << 20).unwrap_err();
    });
    memory.write_at(9_999, &[1]).unwrap();
    attacker.child.kill();
    assert_eq!(byte(&memory, 9_999), 1);
}

fn memory_travels_by_every_start_method() {
    let (memory, bytes) = (SharedMemory::create(100).unwrap(), SharedBytes::new(b"abc").unwrap());
    let copy = |(memory, bytes, offset): (SharedMemory, SharedBytes, usize)| memory.write_at(offset, &bytes).is_ok();
    for (method, offset) in [(StartMethod::ForkServer, 0), (StartMethod::Spawn, 3)] {
        let child = Builder::new().start_method(method).spawn(copy, (memory.clone(), bytes.clone(), offset));
        assert!(child.unwrap().join().unwrap());
    }
    let mut both = [0; 6];
    memory.read_at(0, &mut both).unwrap();
    assert_eq!(&both, b"abcabc");
}

fn no_descriptor_or_mapping_leaks() {
    let (fds, maps) = (open_fds(), mappings());
    for _ in 0..100 {
        let array = Array::new(&[1_u32; 5000]).unwrap();
        let (near, far) = pipe::<Array<u32>, ()>().unwrap();
        near.send(&array).unwrap();
        let again = far.recv().unwrap();
        again.lock().unwrap()[4999] = 7;
        assert_eq!(array.get(4999).unwrap(), 7);
        // One that nobody receives.
        near.send(&array).unwrap();
        drop(ShareableList::new([1, 2]).unwrap());
        let memory = SharedMemory::create(5000).unwrap();
        let busy = memory.clone().seal_read_only().unwrap_err();
        drop(memory);
        let sealed = busy.into_inner().unwrap().seal_read_only().unwrap();
        assert_eq!(sealed[4999], 0);
    }
    assert_eq!(mappings(), maps);
    assert_eq!(open_fds(), fds);
}

fn without_descriptors_there_is_an_error() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let refused = Array::<u8>::zeroed(1).unwrap_err();
    assert!(refused.to_string().starts_with("creating a shared segment: "), "{refused}");
    let refused = SharedMemory::create(1).unwrap_err();
    assert!(refused.to_string().starts_with("creating shared memory: "), "{refused}");
    assert!(SharedBytes::new(b"x").is_err() && ShareableList::new([1]).is_err());
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert!(Array::<u8>::zeroed(1).is_ok());
}
