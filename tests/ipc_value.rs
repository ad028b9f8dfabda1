//! `ipc::Value` and `ipc::Counter` between the threads of one process. What needs other processes is in
//! `ipc_processes.rs`, and a kill at each instruction in `kill_points`.

#![cfg(feature = "processes")]

use crewkit::ipc::{Connection, Counter, LockError, RecvError, Value, pipe};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

#[test]
fn updates_take_turns() {
    let value = Value::new([0_u64; 3]).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    value.update(|[one, two, three]| (*one, *two, *three) = (*one + 1, *two + 2, *three + 3)).unwrap();
                }
            });
        }
    });
    assert_eq!(value.get().unwrap(), [4_000, 8_000, 12_000]);
}

#[test]
fn no_reader_sees_half_a_write() {
    const ROUNDS: u32 = 20_000;
    let value = Value::new([0_u32; 33]).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while !over.load(Relaxed) {
                        let seen = value.get().unwrap();
                        assert!(seen.iter().all(|&word| word == seen[0]), "torn: {seen:?}");
                        assert!(seen[0] >= last, "an older value after a newer one");
                        last = seen[0];
                    }
                })
            })
            .collect();
        for round in 1..=ROUNDS {
            value.set([round; 33]).unwrap();
        }
        over.store(true, Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert_eq!(value.get().unwrap(), [ROUNDS; 33]);
}

#[test]
fn a_reader_does_not_wait_for_a_writer_and_a_writer_not_for_ever() {
    let value = Value::new(1_i32).unwrap();
    let changed = value.update(|inside| {
        *inside = 2;
        assert_eq!(value.get().unwrap(), 1, "not changed before the change is complete");
        thread::scope(|scope| {
            let timed = || value.set_timeout(3, Duration::from_millis(10)).is_err_and(|error| error.is_timeout());
            assert!(scope.spawn(timed).join().unwrap());
        });
        assert!(matches!(value.set(4), Err(LockError::WouldDeadlock)));
        *inside
    });
    assert_eq!((changed.unwrap(), value.get().unwrap()), (2, 2));
    value.update_timeout(Duration::ZERO, |inside| *inside += 1).unwrap();
    assert_eq!(value.get().unwrap(), 3);
}

#[test]
fn a_panic_changes_nothing_and_ends_the_turn() {
    let value = Value::new(1_u8).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        value.update(|inside| {
            *inside = 2;
            panic!("on purpose");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(value.get().unwrap(), 1);
    thread::scope(|scope| scope.spawn(|| value.set(3).unwrap()).join().unwrap());
    assert_eq!(value.get().unwrap(), 3);
}

#[test]
fn any_size_is_a_value() {
    let nothing = Value::new([0_u8; 0]).unwrap();
    nothing.set([]).unwrap();
    assert_eq!(nothing.get().unwrap(), []);
    let odd = Value::new([7_u8; 13]).unwrap();
    odd.update(|bytes| bytes[12] = 8).unwrap();
    assert_eq!(odd.get().unwrap(), [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8]);
    let large = Value::new([1_u16; 20_000]).unwrap();
    large.update(|words| words.reverse()).unwrap();
    assert_eq!(large.get().unwrap(), [1; 20_000]);
}

#[test]
fn it_travels_and_stays_the_same_value() {
    let (value, counter) = (Value::new(1.5_f64).unwrap(), Counter::new(-3).unwrap());
    let (near, far) = pipe::<(Value<f64>, Counter), ()>().unwrap();
    near.send(&(value.clone(), counter.clone())).unwrap();
    let (again, same) = far.recv().unwrap();
    assert!(value == again && counter == same);
    assert!(value != Value::new(1.5).unwrap() && counter != Counter::new(-3).unwrap());
    again.set(2.5).unwrap();
    same.add(4).unwrap();
    drop((near, far));
    assert_eq!((value.get().unwrap(), counter.get().unwrap()), (2.5, 1));
    assert_eq!(format!("{value:?} {counter:?}"), "ipc::Value(2.5) ipc::Counter(1)");
}

#[test]
fn a_value_of_another_type_is_refused() {
    let (near, far) = pipe::<Value<u32>, ()>().unwrap();
    near.send(&Value::new(1).unwrap()).unwrap();
    let far: Connection<(), Value<f32>> = {
        use std::os::fd::AsFd;
        Connection::from(far.as_fd().try_clone_to_owned().unwrap())
    };
    match far.recv() {
        Err(RecvError::Decode(why)) => assert!(why.contains("another type"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_counter_counts() {
    let counter = Counter::new(i64::MAX).unwrap();
    assert_eq!(counter.add(1).unwrap(), i64::MAX);
    assert_eq!(counter.swap(0).unwrap(), i64::MIN);
    assert_eq!(counter.compare_exchange(1, 2).unwrap(), Err(0));
    assert_eq!(counter.compare_exchange(0, -2).unwrap(), Ok(0));
    assert_eq!(counter.get().unwrap(), -2);
    counter.set(0).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1_000).for_each(|_| _ = counter.add(1).unwrap()));
        }
    });
    assert_eq!(counter.get().unwrap(), 4_000);
}
