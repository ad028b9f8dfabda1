//! `ipc::Array` between the threads of one process, and the cases of CPython's `_TestArray`. What needs other processes is
//! in `ipc_memory_processes.rs`, and a kill at each instruction in `kill_points`.

#![cfg(feature = "processes")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, as the test does")]

use crewkit::ipc::{Array, Connection, Detail, LockError, RecvError, pipe};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// What CPython's case does to both.
fn prefix_sums(sequence: &mut [i32]) {
    for i in 1..sequence.len() {
        sequence[i] += sequence[i - 1];
    }
}

#[test]
fn test_array() {
    let mut seq = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831];
    let arr = Array::new(&seq).unwrap();
    assert_eq!(arr.len(), seq.len());
    assert_eq!(arr.get(3).unwrap(), seq[3]);
    assert_eq!(arr.lock().unwrap()[2..7], seq[2..7]);
    arr.lock().unwrap()[4..8].copy_from_slice(&[1, 2, 3, 4]);
    seq[4..8].copy_from_slice(&[1, 2, 3, 4]);
    assert_eq!(*arr.lock().unwrap(), seq);
    prefix_sums(&mut seq);
    let shared = arr.clone();
    thread::spawn(move || prefix_sums(&mut shared.lock().unwrap())).join().unwrap();
    assert_eq!(*arr.lock().unwrap(), seq);
}

#[test]
fn test_array_from_size() {
    // Python's case makes them again and again: memory that was used before is zero, too.
    for _ in 0..3 {
        let arr = Array::<i32>::zeroed(10).unwrap();
        assert_eq!(arr.len(), 10);
        assert_eq!(*arr.lock().unwrap(), [0; 10]);
        arr.lock().unwrap().copy_from_slice(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(*arr.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}

#[test]
fn test_getobj_getlock_obj() {
    let arr = Array::<i32>::zeroed(10).unwrap();
    assert!(!arr.is_locked());
    let guard = arr.lock().unwrap();
    assert!(arr.is_locked());
    thread::scope(|scope| {
        assert!(scope.spawn(|| arr.try_lock().is_err_and(|error| error.is_timeout())).join().unwrap());
    });
    drop(guard);
    assert!(!arr.is_locked());
}

/// Elements of every length, so that they lie within words, across two, across many, and next to each other.
fn elements_of<const N: usize>() {
    let array = Array::<[u8; N]>::zeroed(7).unwrap();
    let mut expected = [[0; N]; 7];
    for round in 0..3_u8 {
        for index in [3, 0, 6, 4, 1, 5, 2] {
            let value = std::array::from_fn(|byte| u8::try_from((byte + index * 31) % 256).unwrap() ^ round);
            expected[index] = value;
            array.set(index, value).unwrap();
            assert_eq!(array.get(index).unwrap(), value);
            assert_eq!(*array.lock().unwrap(), expected, "elements of {N}: the others stay what they are");
        }
    }
    assert_eq!(*Array::new(&expected).unwrap().lock().unwrap(), expected);
}

#[test]
fn elements_of_any_length_do_not_touch_their_neighbours() {
    elements_of::<0>();
    elements_of::<1>();
    elements_of::<2>();
    elements_of::<3>();
    elements_of::<7>();
    elements_of::<8>();
    elements_of::<9>();
    elements_of::<12>();
    elements_of::<16>();
    elements_of::<57>();
    elements_of::<64>();
    elements_of::<1000>();
}

#[test]
fn elements_are_aligned_as_their_type_is() {
    let array = Array::new(&[1_u128, 2, 3]).unwrap();
    array.lock().unwrap()[1] = u128::MAX;
    array.set(2, 7).unwrap();
    assert_eq!(*array.lock().unwrap(), [1, u128::MAX, 7]);
    assert!(array.lock().unwrap().as_ptr().is_aligned());
}

#[test]
fn none_at_all_is_an_array() {
    let array = Array::<u64>::new(&[]).unwrap();
    assert!(array.is_empty() && array.lock().unwrap().is_empty());
    let panicked = catch_unwind(AssertUnwindSafe(|| array.get(0)));
    assert!(panicked.is_err());
    assert!(!array.is_locked(), "refused before the lock is taken");
}

#[test]
fn changes_take_turns() {
    let array = Array::<[u64; 3]>::zeroed(4).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..1_000 {
                    let mut guard = array.lock_timeout(SOON).unwrap();
                    guard[round % 4].iter_mut().for_each(|number| *number += 1);
                    let row = guard[round % 4];
                    drop(guard);
                    assert!(row.iter().all(|&number| number == row[0]), "torn: {row:?}");
                }
            });
        }
        scope.spawn(|| {
            for index in (0..4).cycle().take(4_000) {
                let row = array.get_timeout(index, SOON).unwrap();
                assert!(row.iter().all(|&number| number == row[0]), "torn: {row:?}");
            }
        });
    });
    assert_eq!(*array.lock().unwrap(), [[1_000; 3]; 4]);
}

#[test]
fn whoever_has_the_guard_is_alone_and_the_others_time_out() {
    let array = Array::new(&[1, 2]).unwrap();
    let guard = array.lock().unwrap();
    assert!(matches!(array.get(0), Err(LockError::WouldDeadlock)));
    assert!(matches!(array.set(0, 7), Err(LockError::WouldDeadlock)));
    assert!(matches!(array.lock(), Err(LockError::WouldDeadlock)));
    thread::scope(|scope| {
        let refused = || {
            let briefly = Duration::from_millis(10);
            assert!(array.get_timeout(0, briefly).is_err_and(|error| error.is_timeout()));
            assert!(array.set_timeout(0, 7, briefly).is_err_and(|error| error.is_timeout()));
            assert!(array.lock_timeout(briefly).is_err_and(|error| error.is_timeout()));
        };
        scope.spawn(refused).join().unwrap();
    });
    drop(guard);
    assert_eq!(array.get(0).unwrap(), 1);
}

/// Keeps what it has for good.
fn leak<T>(value: T) {
    let _never_dropped = std::mem::ManuallyDrop::new(value);
}

/// A thread that ends with a guard.
fn die_with_a_guard(array: &Array<i32>, of: impl FnOnce(&Array<i32>) + Send) {
    thread::scope(|scope| scope.spawn(|| of(array)).join().unwrap());
}

#[test]
fn only_a_death_after_writing_is_told_of() {
    let array = Array::new(&[1, 2]).unwrap();
    die_with_a_guard(&array, |array| {
        let guard = array.lock().unwrap();
        assert_eq!(guard[0], 1);
        leak(guard);
    });
    assert_eq!(array.get(0).unwrap(), 1, "nothing can be half done");

    let write = |array: &Array<i32>| {
        let mut guard = array.lock().unwrap();
        guard[0] = 7;
        leak(guard);
    };
    die_with_a_guard(&array, write);
    for _ in 0..2 {
        assert!(matches!(array.get_timeout(1, SOON), Err(LockError::OwnerDied(()))));
        assert!(matches!(array.set(1, 7), Err(LockError::OwnerDied(()))));
        let mut guard = array.lock().unwrap_err().into_guard().expect("taken, and told");
        assert!(guard.owner_died());
        // To write is not to say that all is well.
        guard[1] = 3;
    }
    let guard = array.try_lock().unwrap_err().into_guard().expect("taken, and told");
    assert_eq!(*guard, [7, 3]);
    guard.recover();
    assert!(!guard.owner_died());
    drop(guard);
    assert_eq!(array.get(0).unwrap(), 7);

    // A heir that dies before it has recovered, and one that dies after that.
    die_with_a_guard(&array, write);
    die_with_a_guard(&array, |array| leak(array.lock().unwrap_err()));
    die_with_a_guard(&array, |array| {
        let mut guard = array.lock().unwrap_err().into_guard().expect("taken, and told");
        guard.recover();
        guard[0] = 9;
        leak(guard);
    });
    let guard = array.lock().unwrap_err().into_guard().expect("taken, and told");
    guard.recover();
    drop(guard);
    assert_eq!(*array.lock().unwrap(), [9, 3]);
}

#[test]
fn a_panic_releases_and_leaves_what_was_written() {
    let array = Array::new(&[1, 2]).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = array.lock().unwrap();
        guard[0] = 5;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    thread::scope(|scope| scope.spawn(|| assert_eq!(array.get_timeout(0, SOON).unwrap(), 5)).join().unwrap());
}

#[test]
fn it_travels_and_stays_the_same_array() {
    let array = Array::new(&[1.5_f64, 2.5]).unwrap();
    let (near, far) = pipe::<Array<f64>, ()>().unwrap();
    near.send(&array).unwrap();
    let again = far.recv().unwrap();
    assert!(array == again && array == array.clone() && array != Array::new(&[1.5, 2.5]).unwrap());
    again.set(0, 3.5).unwrap();
    drop((near, far, again));
    assert_eq!(*array.lock().unwrap(), [3.5, 2.5]);
    let begin = "ipc::Array { element: \"f64\", len: 2, locked: ";
    assert!(format!("{array:?}").starts_with(&format!("{begin}false, mine: false, waiters: 0, ")), "{array:?}");
    let guard = array.lock().unwrap();
    assert!(format!("{array:?}").starts_with(&format!("{begin}true, mine: true, holder: ")), "{array:?}");
    let stats = array.stats();
    assert_eq!((stats.detail, stats.bytes % 8), (Detail::Array { len: 2 }, 0));
    assert_eq!(stats.holder.and_then(|holder| holder.pid), Some(std::process::id()));
    assert_eq!(format!("{guard:?}"), "ipc::ArrayGuard { owner_died: false, .. }");
}

#[test]
fn an_array_of_another_type_is_refused() {
    let (near, far) = pipe::<Array<u32>, ()>().unwrap();
    near.send(&Array::new(&[1]).unwrap()).unwrap();
    let far: Connection<(), Array<f32>> = Connection::from(far.as_fd().try_clone_to_owned().unwrap());
    match far.recv() {
        Err(RecvError::Decode(why)) => assert!(why.contains("another type"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_than_there_is_memory_is_an_error() {
    for len in [usize::MAX, usize::MAX / 8, usize::MAX / 8 - 7, 1 << 57] {
        let error = Array::<u64>::zeroed(len).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::OutOfMemory, "{error}");
    }
}
