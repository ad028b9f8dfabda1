//! `ipc::ShareableList`, and the cases of CPython's `_TestSharedMemory` that concern it. A kill at each instruction of its
//! writing is in `kill_points`.

#![cfg(feature = "processes")]

use crewkit::ipc::{Connection, Item, ListError, RecvError, ShareableList, Value, pipe};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

#[test]
fn test_shared_memory_shareable_list_basics() {
    let items: [Item; 7] =
        ["howdy".into(), b"HoWdY"[..].into(), (-273.154).into(), 100.into(), Item::None, true.into(), 42.into()];
    let sl = ShareableList::new(items.clone()).unwrap();
    assert_eq!((sl.len(), sl.to_vec().unwrap()), (7, items.to_vec()));

    // Replacing, also by another type.
    sl.set(4, "some").unwrap();
    assert_eq!(sl.get(4).unwrap(), "some".into());
    sl.set(4, Item::None).unwrap();
    sl.set(4, 7.5).unwrap();
    sl.set(2, false).unwrap();
    assert_eq!((sl.get(4).unwrap(), sl.get(2).unwrap()), (7.5.into(), false.into()));
    assert_eq!(sl.get(3).unwrap(), 100.into(), "a neighbour");

    // As long as there is room, and no longer.
    sl.set(0, "12345678").unwrap();
    assert!(matches!(sl.set(0, "123456789"), Err(ListError::TooLong { needed: 9, room: 8 })));
    assert!(matches!(sl.set(0, "zwölf Boxer"), Err(ListError::TooLong { needed: 12, room: 8 })), "counted in bytes");
    assert_eq!(sl.get(0).unwrap(), "12345678".into());
    sl.set(0, &b"\0\0"[..]).unwrap();
    assert_eq!(sl.get(0).unwrap(), vec![0, 0].into(), "zeroes at the end are kept");

    assert_eq!(sl.index(42).unwrap(), Some(6));
    assert_eq!(sl.index("howdy").unwrap(), None);
    sl.set(5, 42).unwrap();
    assert_eq!((sl.index(42).unwrap(), sl.count(42).unwrap(), sl.count("x").unwrap()), (Some(5), 2, 0));

    let empty = ShareableList::new([0; 0]).unwrap();
    assert!(empty.is_empty() && empty.to_vec().unwrap().is_empty());
    assert!(catch_unwind(AssertUnwindSafe(|| empty.get(0))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| empty.set(0, 1))).is_err());
}

#[test]
fn rooms_of_every_length_stand_side_by_side() {
    let text = |len: usize, with: &str| Item::Str(with.repeat(len));
    let sl = ShareableList::new((0..40).map(|len| text(len, "a"))).unwrap();
    for len in 0..40_usize {
        let room = len.max(1).next_multiple_of(8);
        sl.set(len, text(room, "b")).unwrap();
        assert!(matches!(sl.set(len, text(room + 1, "c")), Err(ListError::TooLong { .. })), "{len}");
        assert_eq!(sl.get(len).unwrap(), text(room, "b"));
    }
    let expected: Vec<Item> = (0..40_usize).map(|len| text(len.max(1).next_multiple_of(8), "b")).collect();
    assert_eq!(sl.to_vec().unwrap(), expected);
}

#[test]
fn test_shared_memory_shareable_list_pickling() {
    let sl = ShareableList::new(["one".into(), Item::Int(1)]).unwrap();
    let (near, far) = pipe::<ShareableList, ()>().unwrap();
    near.send(&sl).unwrap();
    let again = far.recv().unwrap();
    assert!(sl == again && sl != ShareableList::new(["one".into(), Item::Int(1)]).unwrap());
    again.set(0, "two").unwrap();
    drop((near, far, again));
    assert_eq!(sl.get(0).unwrap(), "two".into());
    assert_eq!(format!("{sl:?}"), "[Some(Str(\"two\")), Some(Int(1))]");
}

#[test]
fn no_reader_sees_half_an_item_and_a_stuck_writer_holds_up_no_reader() {
    let sl = ShareableList::new(["a".repeat(100)]).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !over.load(Relaxed) {
                let Item::Str(seen) = sl.get(0).unwrap() else { panic!("another type") };
                assert!(seen.bytes().all(|byte| byte == seen.as_bytes()[0]), "torn: {seen}");
                assert_eq!(seen.len(), if seen.starts_with('a') { 100 } else { 50 }, "the length of another");
            }
        });
        let texts = ["a".repeat(100), "b".repeat(50)];
        texts.iter().cycle().take(20_000).for_each(|text| sl.set(0, text.as_str()).unwrap());
        over.store(true, Relaxed);
        reader.join().unwrap();
    });
    sl.set_timeout(0, 1, Duration::ZERO).unwrap();
}

#[test]
fn what_is_no_list_is_refused() {
    let (near, far) = pipe::<Value<u64>, ()>().unwrap();
    near.send(&Value::new(1).unwrap()).unwrap();
    let far: Connection<(), ShareableList> = Connection::from(far.as_fd().try_clone_to_owned().unwrap());
    match far.recv() {
        Err(RecvError::Decode(why)) => assert!(why.contains("another kind"), "{why}"),
        other => panic!("{other:?}"),
    }
}
