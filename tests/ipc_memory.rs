//! `ipc::SharedMemory` and `SharedBytes` in one process, and the cases of CPython's `_TestSharedMemory` that apply. What
//! needs other processes is in `ipc_memory_processes.rs`.

#![cfg(feature = "processes")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, as the test does")]

use crewkit::ipc::{Connection, Lock, OutOfRange, RecvError, SealError, SharedBytes, SharedMemory, pipe};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

fn read(memory: &SharedMemory, offset: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xEE; len];
    memory.read_at(offset, &mut bytes).unwrap();
    bytes
}

#[test]
fn every_range_is_copied_and_nothing_beside_it() {
    const LEN: usize = 41;
    let memory = SharedMemory::create(LEN).unwrap();
    let mut expected = [0; LEN];
    let mut number = 0_u8;
    for offset in 0..=LEN {
        for len in 0..=LEN - offset {
            number = number.wrapping_add(1);
            let source: Vec<u8> = (1..=u8::MAX).map(|index| number ^ index.wrapping_mul(7)).take(len).collect();
            memory.write_at(offset, &source).unwrap();
            expected[offset..offset + len].copy_from_slice(&source);
            assert_eq!(read(&memory, offset, len), source, "{len} from {offset}");
            assert_eq!(read(&memory, 0, LEN), expected, "{len} from {offset}");
        }
    }
}

#[test]
fn a_range_that_is_not_within_is_refused_whole() {
    let memory = SharedMemory::create(10).unwrap();
    for (offset, len) in [(0, 11), (10, 1), (11, 0), (usize::MAX, 1), (usize::MAX, 0), (9, 2)] {
        let refused = OutOfRange { offset, len, size: 10 };
        assert_eq!(memory.write_at(offset, &vec![1; len]), Err(refused));
        assert_eq!(memory.read_at(offset, &mut vec![1; len]), Err(refused));
    }
    assert_eq!(memory.write_at(9, &[1, 2]).unwrap_err().to_string(), "2 bytes from 9 on, of shared memory that has 10");
    assert_eq!(read(&memory, 0, 10), [0; 10]);
    memory.write_at(10, &[]).unwrap();
}

#[test]
fn neighbours_in_one_word_are_written_by_two_at_once() {
    let memory = SharedMemory::create(8).unwrap();
    thread::scope(|scope| {
        for (offset, len) in [(0, 3), (3, 5)] {
            let memory = &memory;
            scope.spawn(move || {
                for round in (0..=u8::MAX).cycle().take(20_000) {
                    let bytes = vec![round; len];
                    memory.write_at(offset, &bytes).unwrap();
                    assert_eq!(read(memory, offset, len), bytes, "overwritten by the neighbour");
                }
            });
        }
    });
}

#[test]
fn an_aligned_word_is_never_torn() {
    let memory = SharedMemory::create(64).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !over.load(Relaxed) {
                let seen = read(&memory, 8, 16);
                assert!(seen[..8].iter().all(|&byte| byte == seen[0]), "{seen:?}");
                assert!(seen[8..].iter().all(|&byte| byte == seen[8]), "{seen:?}");
            }
        });
        (0..=u8::MAX).cycle().take(50_000).for_each(|round| memory.write_at(8, &[round; 16]).unwrap());
        over.store(true, Relaxed);
        reader.join().unwrap();
    });
}

#[test]
fn words_and_slices_are_the_same_memory() {
    let mut memory = SharedMemory::create(20).unwrap();
    assert_eq!(memory.words().len(), 3);
    memory.words()[1].fetch_add(u64::from_ne_bytes([1; 8]), Relaxed);
    assert_eq!(read(&memory, 7, 10), [0, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    in_place::write(&mut memory);
    assert_eq!(read(&memory, 0, 20)[17..], [0, 0, 9]);
}

mod in_place {
    #![expect(unsafe_code, reason = "what is tested")]

    pub(super) fn write(memory: &mut super::SharedMemory) {
        // SAFETY: nobody else has this memory.
        let slice = unsafe { memory.as_mut_slice() };
        assert_eq!(slice.len(), 20);
        slice[19] = 9;
        // SAFETY: as above.
        assert_eq!(unsafe { memory.as_slice() }[19], 9);
    }
}

#[test]
fn test_invalid_shared_memory_creation() {
    // Python refuses a length of nothing; here it is one, as an empty slice is.
    let nothing = SharedMemory::create(0).unwrap();
    assert!(nothing.is_empty() && nothing.words().is_empty());
    nothing.write_at(0, &[]).unwrap();
    assert!(nothing.write_at(0, &[1]).is_err());
    assert_eq!(*nothing.seal_read_only().unwrap(), []);
    assert_eq!(*SharedBytes::new(&[]).unwrap(), []);
    for len in [usize::MAX, usize::MAX / 2, 1 << 62, 1 << 57] {
        let error = SharedMemory::create(len).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
    }
}

fn sent<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let (near, far) = pipe::<&T, ()>().unwrap();
    near.send(&value).unwrap();
    let far: Connection<(), T> = Connection::from(far.as_fd().try_clone_to_owned().unwrap());
    far.recv().unwrap()
}

#[test]
fn test_shared_memory_basics() {
    let sms = SharedMemory::create(512).unwrap();
    sms.write_at(0, &[42]).unwrap();
    let also_sms = sent(&sms);
    assert_eq!((also_sms.len(), read(&also_sms, 0, 1)), (512, vec![42]));
    also_sms.write_at(0, &[22]).unwrap();
    assert_eq!(read(&sms, 0, 1), [22]);
    drop(sms);
    assert_eq!(read(&also_sms, 0, 1), [22]);
    assert_eq!(format!("{also_sms:?}"), "SharedMemory { len: 512 }");
}

#[test]
fn what_is_sealed_is_the_same_bytes_for_everybody() {
    let memory = SharedMemory::create(5000).unwrap();
    memory.write_at(4990, b"0123456789").unwrap();
    let sealed = memory.seal_read_only().unwrap();
    let (clone, other) = (sealed.clone(), sent(&sealed));
    assert_eq!(&other[4990..], b"0123456789");
    assert!(sealed == clone && sealed == other && sealed != SharedBytes::new(b"other").unwrap());
    assert_ne!(sealed.as_ptr(), other.as_ptr());
    drop(sealed);
    assert_eq!(&clone.as_ref()[4990..], b"0123456789");
    assert_eq!(format!("{clone:?}"), "SharedBytes { len: 5000 }");
}

#[test]
fn memory_that_is_open_elsewhere_is_handed_back() {
    let memory = SharedMemory::create(100).unwrap();
    let clone = memory.clone();
    let memory = memory.seal_read_only().unwrap_err().into_inner().expect("handed back");
    drop(clone);
    // Mapped once more, as another process would.
    let other = sent(&memory);
    let refused = memory.seal_read_only().unwrap_err();
    assert!(matches!(refused, SealError::Busy(_)), "{refused}");
    let memory = refused.into_inner().expect("handed back");
    memory.write_at(7, b"x").unwrap();
    assert_eq!(read(&other, 7, 1), b"x");
    drop(other);
    assert_eq!(memory.seal_read_only().unwrap()[7], b'x');
}

fn refused<T: Serialize, U: DeserializeOwned + std::fmt::Debug>(value: &T) -> String {
    let (near, far) = pipe::<&T, ()>().unwrap();
    near.send(&value).unwrap();
    let far: Connection<(), U> = Connection::from(far.as_fd().try_clone_to_owned().unwrap());
    match far.recv() {
        Err(RecvError::Decode(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_such_memory_is_refused() {
    let (memory, bytes) = (SharedMemory::create(64).unwrap(), SharedBytes::new(b"x").unwrap());
    let file = crewkit::ipc::Fd(std::fs::File::open("/dev/null").unwrap());
    assert!(refused::<_, SharedBytes>(&memory).contains("nobody may write"));
    assert!(refused::<_, SharedMemory>(&bytes).contains("may be written"));
    assert!(refused::<_, SharedMemory>(&Lock::new().unwrap()).contains("may be written"));
    assert!(refused::<_, Lock>(&memory).contains("not sealed"));
    assert!(refused::<_, SharedMemory>(&file).contains("seals"));
    assert!(refused::<_, SharedBytes>(&file).contains("seals"));
}
