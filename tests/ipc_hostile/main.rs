//! Peers that send what they should not: for each handle descriptors of every other kind, and none; for a connection bytes of
//! any kind on its socket. Each is an error in its time, of one message, and leaves no descriptor open. What somebody writes
//! into an object's memory is searched by `crewkit::ipc::fuzz`.

#![expect(clippy::unwrap_used, reason = "the cases run outside of the usual harness")]

#[expect(dead_code, reason = "for tests that fork by themselves")]
#[path = "../alone/mod.rs"]
mod alone;
mod depth;
mod queues;

use std::fs::File;
use std::io::IoSlice;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use alone::open_fds;
use crewkit::ipc::{
    Array, Barrier, BoundedSemaphore, Condition, Connection, Counter, Event, Fd, Item, Lock, RLock, RecvError,
    Semaphore, ShareableList, SharedBytes, SharedMemory, Value, pipe,
};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn main() -> ExitCode {
    crewkit::init();
    alone::main(&[
        ("what_is_no_object_is_refused", what_is_no_object_is_refused),
        ("what_is_no_memory_is_refused", what_is_no_memory_is_refused),
        ("an_object_of_another_kind_or_type_is_refused", an_object_of_another_kind_or_type_is_refused),
        ("a_damaged_copy_of_an_object_is_refused", a_damaged_copy_of_an_object_is_refused),
        (
            "descriptors_that_are_missing_or_used_twice_are_refused",
            descriptors_that_are_missing_or_used_twice_are_refused,
        ),
        (
            "a_lock_that_says_it_is_held_holds_up_nobody_for_longer",
            a_lock_that_says_it_is_held_holds_up_nobody_for_longer,
        ),
        (
            "an_object_whose_lock_is_held_holds_up_nobody_for_longer",
            an_object_whose_lock_is_held_holds_up_nobody_for_longer,
        ),
        ("what_is_no_queue_is_refused", queues::what_is_no_queue_is_refused),
        ("whatever_is_written_into_a_queue_its_users_go_on", queues::whatever_is_written_into_a_queue_its_users_go_on),
        ("a_value_deeper_than_the_stack_is_refused", depth::a_value_deeper_than_the_stack_is_refused),
        ("nothing_on_its_socket_hangs_a_connection", nothing_on_its_socket_hangs_a_connection),
    ])
}

/// Descriptors that their receiver takes for a `T`: as a message they look the same.
enum Forged<T> {
    Descriptors(Vec<Fd<OwnedFd>>),
    Taken(PhantomData<T>),
}

impl<T> Serialize for Forged<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Descriptors(fds) => match &fds[..] {
                // An index that no descriptor has.
                [] => 7_u32.serialize(serializer),
                [fd] => fd.serialize(serializer),
                [first, second, ..] => (first, second).serialize(serializer),
            },
            Self::Taken(_) => unreachable!("received, not sent"),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Forged<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|_| Self::Taken(PhantomData))
    }
}

/// What the receiver of these as a `T` says; nothing, if it takes them.
fn refusal<T: DeserializeOwned>(fds: Vec<OwnedFd>) -> Option<String> {
    let (near, far) = pipe::<Forged<T>, Forged<T>>().unwrap();
    near.send(&Forged::Descriptors(fds.into_iter().map(Fd).collect())).unwrap();
    match far.recv_timeout(SOON) {
        Ok(_) => None,
        Err(RecvError::Decode(why)) => Some(why),
        Err(error) => panic!("{error}"),
    }
}

/// A handle's descriptors, which its receiver takes for descriptors.
struct Opened<T>(Option<T>, Vec<OwnedFd>);

impl<T: Serialize> Serialize for Opened<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().unwrap().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Opened<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Fd::<OwnedFd>::deserialize(deserializer).map(|fd| Self(None, vec![fd.into_inner()]))
    }
}

/// The descriptor of an object's memory.
fn memory_of<T: Serialize>(object: T) -> File {
    let (near, far) = pipe::<Opened<T>, Opened<T>>().unwrap();
    near.send(&Opened(Some(object), Vec::new())).unwrap();
    far.recv().unwrap().1.remove(0).into()
}

const SOON: Duration = Duration::from_secs(30);
const BRIEFLY: Duration = Duration::from_millis(20);
/// Where the mutex of an object begins that has one: behind the header.
const MUTEX: u64 = 64;
const SIZED: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);
const ALL: SealFlag = SIZED.union(SealFlag::F_SEAL_SEAL);

/// A memory file with these bytes, of this length, under these seals.
fn memory(bytes: &[u8], length: u64, seals: SealFlag) -> OwnedFd {
    let file = File::from(memfd_create(c"hostile", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap());
    file.write_all_at(bytes, 0).unwrap();
    file.set_len(length).unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    file.into()
}

/// What never was memory of crewkit's.
fn strangers() -> Vec<(&'static str, OwnedFd)> {
    let (stream, _) = std::os::unix::net::UnixStream::pair().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let noise: Vec<u8> = (0..=u8::MAX).cycle().map(|byte| byte.wrapping_mul(167)).take(1 << 17).collect();
    let sealed = memory(&noise, 1 << 17, ALL);
    let again = format!("/proc/self/fd/{}", sealed.as_raw_fd());
    vec![
        ("a device", File::open("/dev/null").unwrap().into()),
        ("a program", File::open("/proc/self/exe").unwrap().into()),
        ("a directory", File::open("/proc").unwrap().into()),
        ("a socket", stream.into()),
        ("the end of a pipe", reader.into()),
        ("the other end", writer.into()),
        ("memory that is not sealed", memory(&noise, 1 << 17, SealFlag::empty())),
        ("memory that may shrink", memory(&noise, 1 << 17, SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL)),
        ("memory that may grow", memory(&noise, 1 << 17, SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL)),
        ("noise that cannot be written", File::open(again).unwrap().into()),
        ("noise", sealed),
        ("nothing", memory(&[], 0, ALL)),
        ("less than a word", memory(&[], 7, ALL)),
        ("a header", memory(&[], 64, ALL)),
        ("zeroes", memory(&[], 1 << 17, ALL)),
        ("more than this machine has", memory(&noise, 1 << 50, ALL)),
        ("the most there can be", memory(&noise, i64::MAX as u64 / 4096 * 4096, ALL)),
    ]
}

/// Each of them is refused as a `T`, and closed.
fn refuses_strangers<T: DeserializeOwned>(what: &str, count: usize) {
    for (stranger, fd) in strangers() {
        let fds = (0..count).map(|_| fd.try_clone().unwrap()).collect();
        assert!(refusal::<T>(fds).is_some(), "{stranger} was taken for {what}");
    }
}

fn closes_all(case: impl Fn()) {
    case();
    let before = open_fds();
    case();
    assert_eq!(open_fds(), before);
}

fn what_is_no_object_is_refused() {
    closes_all(|| {
        refuses_strangers::<Lock>("a lock", 1);
        refuses_strangers::<RLock>("an rlock", 1);
        refuses_strangers::<Semaphore>("a semaphore", 1);
        refuses_strangers::<BoundedSemaphore>("a bounded semaphore", 1);
        refuses_strangers::<Event>("an event", 1);
        refuses_strangers::<Barrier>("a barrier", 1);
        refuses_strangers::<Condition>("a condition", 2);
        refuses_strangers::<Value<u64>>("a value", 1);
        refuses_strangers::<Counter>("a counter", 1);
        refuses_strangers::<Array<u8>>("an array", 1);
        refuses_strangers::<ShareableList>("a list", 1);
    });
}

/// Plain memory has no header: what is sealed so is memory, whoever made it, and nothing else is.
fn what_is_no_memory_is_refused() {
    closes_all(|| {
        refuses_strangers::<SharedMemory>("memory", 1);
        refuses_strangers::<SharedBytes>("bytes", 1);
        let writable = memory(b"1234567", 7, SIZED);
        let frozen = memory(b"1234567", 7, ALL | SealFlag::F_SEAL_WRITE);
        assert!(refusal::<SharedBytes>(vec![writable.try_clone().unwrap()]).is_some());
        assert!(refusal::<SharedMemory>(vec![frozen.try_clone().unwrap()]).is_some());
        assert!(refusal::<SharedMemory>(vec![writable]).is_none());
        assert!(refusal::<SharedBytes>(vec![frozen]).is_none());
    });
}

fn an_object_of_another_kind_or_type_is_refused() {
    let objects: [(&str, File); 12] = [
        ("lock", memory_of(Lock::new().unwrap())),
        ("rlock", memory_of(RLock::new().unwrap())),
        ("semaphore", memory_of(Semaphore::new(1).unwrap())),
        ("bounded", memory_of(BoundedSemaphore::new(1).unwrap())),
        ("event", memory_of(Event::new().unwrap())),
        ("barrier", memory_of(Barrier::new(2).unwrap())),
        ("value", memory_of(Value::new(1_u64).unwrap())),
        ("other value", memory_of(Value::new(1_i64).unwrap())),
        ("counter", memory_of(Counter::new(1).unwrap())),
        ("array", memory_of(Array::new(&[1_u8; 8]).unwrap())),
        ("other array", memory_of(Array::new(&[1_i8; 8]).unwrap())),
        ("list", memory_of(ShareableList::new([Item::None]).unwrap())),
    ];
    type Takes = fn(Vec<OwnedFd>) -> Option<String>;
    let kinds: [(&str, Takes); 12] = [
        ("lock", refusal::<Lock>),
        ("rlock", refusal::<RLock>),
        ("semaphore", refusal::<Semaphore>),
        ("bounded", refusal::<BoundedSemaphore>),
        ("event", refusal::<Event>),
        ("barrier", refusal::<Barrier>),
        ("value", refusal::<Value<u64>>),
        ("other value", refusal::<Value<i64>>),
        ("counter", refusal::<Counter>),
        ("array", refusal::<Array<u8>>),
        ("other array", refusal::<Array<i8>>),
        ("list", refusal::<ShareableList>),
    ];
    for (kind, takes) in kinds {
        for (object, memory) in &objects {
            let refused = takes(vec![memory.as_fd().try_clone_to_owned().unwrap()]).is_some();
            assert_eq!(refused, kind != *object, "{object} as {kind}");
        }
    }
}

fn a_damaged_copy_of_an_object_is_refused() {
    fn damaged<T: Serialize + DeserializeOwned>(object: T) {
        let original = memory_of(object);
        let length = original.metadata().unwrap().len();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        original.read_exact_at(&mut bytes, 0).unwrap();
        assert!(refusal::<T>(vec![memory(&bytes, length, ALL)]).is_none(), "a copy is an object, too");
        for cut in [8, 64, 72, length - 8] {
            let short = memory(&bytes[..usize::try_from(cut).unwrap()], cut, ALL);
            assert!(refusal::<T>(vec![short]).is_some(), "{cut} bytes of {length}");
        }
        assert!(refusal::<T>(vec![memory(&bytes, length + 8, ALL)]).is_some(), "longer than it says");
        // Magic, kind and type, length, and the build in three words. Behind them stands its name, which may be any.
        for at in 0..48 {
            bytes[at] ^= 1;
            assert!(refusal::<T>(vec![memory(&bytes, length, ALL)]).is_some(), "byte {at}");
            bytes[at] ^= 1;
        }
    }
    closes_all(|| {
        damaged(Lock::new().unwrap());
        damaged(Semaphore::new(3).unwrap());
        damaged(Event::new().unwrap());
        damaged(Value::new(5_u128).unwrap());
        damaged(Array::new(&[1_u32, 2, 3]).unwrap());
        damaged(ShareableList::new([Item::from("text")]).unwrap());
    });
}

fn descriptors_that_are_missing_or_used_twice_are_refused() {
    assert!(refusal::<Lock>(Vec::new()).unwrap().contains("did not come with it"));
    assert!(refusal::<SharedBytes>(Vec::new()).unwrap().contains("did not come with it"));
    // One message with a descriptor, whose receiver wants it twice.
    struct Once(Lock);
    impl Serialize for Once {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (&self.0, 0_u32).serialize(serializer)
        }
    }
    impl<'de> Deserialize<'de> for Once {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <(Lock, Lock)>::deserialize(deserializer).map(|(lock, _)| Self(lock))
        }
    }
    let (near, far) = pipe::<Once, Once>().unwrap();
    near.send(&Once(Lock::new().unwrap())).unwrap();
    let Err(RecvError::Decode(why)) = far.recv_timeout(SOON) else { panic!("taken") };
    assert!(why.contains("twice"), "{why}");
    // Too many: what nobody takes is closed.
    let (mut alive, held) = std::io::pipe().unwrap();
    let (near, far) = pipe::<(u8, Fd<std::io::PipeWriter>), ()>().unwrap();
    near.send(&(1, Fd(held))).unwrap();
    drop(far);
    assert_eq!(std::io::Read::read(&mut alive, &mut [0]).unwrap(), 0);
}

/// Of the mutex in front of an object, the word that says who holds it. The rest of it, where pointers lie, is what
/// processes that share a lock must trust each other with.
fn a_lock_that_says_it_is_held_holds_up_nobody_for_longer() {
    for holder in [1, 0x3FFF_FFFF, 0x8000_0001, 0xBFFF_FFFF_u32] {
        let lock = Lock::new().unwrap();
        memory_of(lock.clone()).write_all_at(&holder.to_ne_bytes(), MUTEX).unwrap();
        assert!(lock.try_lock().is_err_and(|error| error.is_timeout()), "{holder:x}");
        let begin = Instant::now();
        assert!(lock.lock_timeout(Duration::from_millis(20)).is_err_and(|error| error.is_timeout()), "{holder:x}");
        assert!(begin.elapsed() >= Duration::from_millis(20) && begin.elapsed() < SOON);
        assert!(lock.is_locked());
        assert!(lock.release().is_err(), "not this thread's");
    }
}

/// The same of the lock inside of each object, as if its holder were stopped there: also where an object is used for the
/// first time, all that has a timeout keeps it, and what never blocks does not.
fn an_object_whose_lock_is_held_holds_up_nobody_for_longer() {
    fn held<T: Serialize + Clone>(object: &T) {
        memory_of(object.clone()).write_all_at(&1_u32.to_ne_bytes(), MUTEX).unwrap();
    }
    let begin = Instant::now();
    let semaphore = Semaphore::new(1).unwrap();
    held(&semaphore);
    assert!(semaphore.try_acquire().is_err_and(|error| error.is_timeout()));
    assert!(semaphore.acquire_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
    assert_eq!(semaphore.available(), 1);
    let bounded = BoundedSemaphore::new(1).unwrap();
    held(&bounded);
    assert!(bounded.acquire_many_timeout(1, BRIEFLY).is_err_and(|error| error.is_timeout()));
    let barrier = Barrier::new(2).unwrap();
    held(&barrier);
    assert!(barrier.wait_timeout(BRIEFLY).is_err_and(|error| error.is_broken()));
    assert!(barrier.is_broken());
    let rlock = RLock::new().unwrap();
    held(&rlock);
    assert!(rlock.lock_timeout(BRIEFLY).is_err_and(|error| error.is_timeout()));
    let array = Array::new(&[1_u8]).unwrap();
    held(&array);
    assert!(array.get_timeout(0, BRIEFLY).is_err_and(|error| error.is_timeout()));
    let value = Value::new(1).unwrap();
    held(&value);
    assert_eq!(value.get().unwrap(), 1);
    assert!(value.set_timeout(2, BRIEFLY).is_err_and(|error| error.is_timeout()));
    let list = ShareableList::new([Item::None]).unwrap();
    held(&list);
    assert_eq!(list.get(0).unwrap(), Item::None);
    assert!(list.set_timeout(0, 1, BRIEFLY).is_err());
    assert!(begin.elapsed() < SOON);
}

/// Bytes that seem random, and are the same each time.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    })
}

fn nothing_on_its_socket_hangs_a_connection() {
    let round = |seed: u64| {
        let (near, far): (Connection<Vec<u8>, ()>, Connection<(), Vec<u8>>) = pipe().unwrap();
        let mut source = noise(seed);
        let mut byte = || source.next().unwrap();
        near.send(&vec![7; usize::from(byte())]).unwrap();
        for _ in 0..8 {
            let length = usize::from(byte()) * if byte() % 8 == 0 { 200 } else { 1 } + 1;
            let record: Vec<u8> = (0..length).map(|_| byte()).collect();
            let fds: Vec<i32> = (0..byte() % 4).map(|_| near.as_fd().as_raw_fd()).collect();
            write_record(near.as_fd().as_raw_fd(), &record, &fds);
        }
        let _any = near.send_timeout(&vec![1; 100_000], Duration::from_millis(1));
        drop(near);
        let begin = Instant::now();
        assert!(matches!(far.recv_timeout(SOON), Ok(first) if first.iter().all(|&byte| byte == 7)));
        let ends = (0..1000).any(|_| {
            let _any = far.poll(Duration::ZERO);
            matches!(far.recv_timeout(SOON), Err(RecvError::Closed))
        });
        assert!(ends && begin.elapsed() < SOON, "{seed}: it does not end");
        let _any = far.send_timeout(&(), SOON);
    };
    closes_all(|| (1..200).for_each(round));
}

fn write_record(socket: i32, record: &[u8], fds: &[i32]) {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    // A socket that is full is a hostile peer's loss.
    let _any = sendmsg::<()>(socket, &[IoSlice::new(record)], control, flags, None);
}
