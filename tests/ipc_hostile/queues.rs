//! What is no queue, and what somebody writes into the memory of one.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crewkit::ipc::{Fd, GetError, Lock, Queue, pipe};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{ALL, MUTEX, SOON, alone, closes_all, memory, memory_of, noise, refusal, refuses_strangers};

/// A queue's memory, and the counter that goes with it.
fn parts_of(queue: &Queue<u64>) -> [OwnedFd; 2] {
    struct Parts<'a>(Option<&'a Queue<u64>>, Vec<OwnedFd>);
    impl Serialize for Parts<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.serialize(serializer)
        }
    }
    impl<'de> Deserialize<'de> for Parts<'_> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let parts = Option::<(Fd<OwnedFd>, Fd<OwnedFd>)>::deserialize(deserializer)?;
            Ok(Self(None, parts.map(|(one, other)| vec![one.0, other.0]).unwrap_or_default()))
        }
    }
    let (near, far) = pipe::<Parts<'_>, Parts<'_>>().unwrap();
    near.send(&Parts(Some(queue), Vec::new())).unwrap();
    far.recv().unwrap().1.try_into().unwrap()
}

pub(crate) fn what_is_no_queue_is_refused() {
    closes_all(|| {
        refuses_strangers::<Queue<u64>>("a queue", 2);
        let queue = Queue::<u64>::bounded(3).unwrap();
        let [memory_fd, counter] = parts_of(&queue);
        let with_counter = |memory: OwnedFd| vec![memory, counter.try_clone().unwrap()];
        assert!(refusal::<Queue<u64>>(with_counter(memory_fd.try_clone().unwrap())).is_none());
        assert!(refusal::<Queue<i64>>(with_counter(memory_fd.try_clone().unwrap())).is_some(), "of another type");
        assert!(refusal::<Lock>(vec![memory_fd.try_clone().unwrap()]).is_some(), "a queue as a lock");
        assert!(
            refusal::<Queue<u64>>(with_counter(memory_of(Lock::new().unwrap()).into())).is_some(),
            "a lock as a queue"
        );
        assert!(refusal::<Queue<u64>>(vec![memory_fd.try_clone().unwrap()]).is_some(), "without a counter");
        let original = File::from(memory_fd);
        let length = original.metadata().unwrap().len();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        original.read_exact_at(&mut bytes, 0).unwrap();
        for cut in [8, 64, 72, length - 64, length - 8] {
            let short = memory(&bytes[..usize::try_from(cut).unwrap()], cut, ALL);
            assert!(refusal::<Queue<u64>>(with_counter(short)).is_some(), "{cut} bytes of {length}");
        }
        // The length in the header, and the memory as long: what is left of the ring is no ring.
        bytes[16..24].copy_from_slice(&(length - 64).to_ne_bytes());
        let short = memory(&bytes[..usize::try_from(length).unwrap() - 64], length - 64, ALL);
        assert!(refusal::<Queue<u64>>(with_counter(short)).is_some(), "a ring of another length");
    });
}

/// Somebody writes into a queue's memory while others use it, at random places but for the two mutexes: each call returns in
/// its time, with an answer or an error, and so it does when nobody writes any more.
pub(crate) fn whatever_is_written_into_a_queue_its_users_go_on() {
    let use_it = |queue: &Queue<u64>, number: u64| {
        let begin = Instant::now();
        let moment = Duration::from_millis(1);
        let _any = (queue.put_timeout(number, moment), queue.try_put(number));
        let lease = queue.get_leased_timeout(moment);
        let _any = (queue.get_many_timeout(2, moment), queue.try_get());
        let _any = (queue.task_done(), queue.len(), queue.is_full(), queue.longest_item(), queue.stats());
        let _any = (lease.map(|lease| lease.ack()), queue.unfinished(), queue.join_timeout(moment));
        if number % 16 == 15 {
            let _any = (queue.clear(), queue.set_capacity(5));
        }
        assert!(!format!("{queue:?}").is_empty() && begin.elapsed() < SOON);
    };
    closes_all(|| {
        for seed in 1..60 {
            let queue = Queue::<u64>::with_bytes(4, 256).unwrap();
            let file = File::from(parts_of(&queue).into_iter().next().unwrap());
            let mut scribble = scribbler(&file, seed);
            let liar = alone::fork(move || (0..400).for_each(|_| scribble()));
            (0..20).for_each(|number| use_it(&queue, number));
            assert_eq!(liar.exit_code(), 0);
            (0..4).for_each(|number| use_it(&queue, number));
        }
        // What the answers are depends on who was quicker, but for this one.
        let queue = Queue::<u64>::with_bytes(4, 256).unwrap();
        let file = File::from(parts_of(&queue).into_iter().next().unwrap());
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        (0..4).for_each(|number| queue.put(number).unwrap());
        file.write_all_at(&[0xFF; 8], length as u64 - 256).unwrap();
        assert!(matches!(queue.try_get(), Err(GetError::Unusable(_))), "a record longer than its queue");
    });
}

/// Each call writes a word somewhere into a queue's memory, half of them into its records; never into a mutex.
fn scribbler(file: &File, seed: u64) -> impl FnMut() + use<> {
    let file = file.try_clone().unwrap();
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    // A mutex of glibc's says at its 16th byte of what kind it is: robust, and shared. There are two of these, each at the
    // beginning of a line.
    let mutex = usize::try_from(MUTEX).unwrap();
    let kind = bytes[mutex + 16..mutex + 20].to_vec();
    let mutexes: Vec<usize> =
        (0..bytes.len() / 64).map(|line| 64 * line).filter(|at| bytes[at + 16..at + 20] == kind).collect();
    assert!(kind != [0; 4] && mutexes.len() == 2, "{mutexes:?}");
    let mut source = noise(seed);
    move || {
        let mut number = || u64::from_le_bytes(std::array::from_fn(|_| source.next().unwrap()));
        let (how, words) = (number(), bytes.len() / 8);
        let index = match how % 4 {
            0 => usize::try_from(number()).unwrap() % words,
            1 => usize::try_from(number()).unwrap() % 128,
            _ => words - 1 - usize::try_from(number()).unwrap() % 32,
        };
        let word = match how >> 8 & 3 {
            0 => number(),
            1 => number() & 0xFFFF_FFFF,
            2 => number() & 0xFF_0000_00F8,
            _ => number() & 0xF8,
        };
        if !mutexes.iter().any(|&mutex| (mutex..mutex + 48).contains(&(8 * index))) {
            file.write_all_at(&word.to_ne_bytes(), 8 * index as u64).unwrap();
        }
    }
}
