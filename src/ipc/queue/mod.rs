//! `Queue` between processes: Python's `multiprocessing.Queue`, `JoinableQueue` and `SimpleQueue`. The algorithm, and what
//! a death does at each of its steps: `shm::queue`.

mod core;
mod error;
mod iter;
mod lease;
mod owed;
mod readiness;
mod surface;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::core::{Core, Wait};
use self::error::Why;
use super::member::AN_INSTANT;
use super::parcel::{EncodeError, decode, encode_onto};
use super::{LockError, Stats};
use crate::queue::task::Report;
use crate::shm::Type;
use crate::shm::queue::Way;
use crate::sys::clock::Deadline;
use crate::sys::generation;

pub use error::{GetError, LeaseError, PutError};
pub use iter::{Iter, TryIter};
pub use lease::Lease;
pub use readiness::Readiness;

/// A queue between any number of processes, and between their threads: items put in anywhere are got anywhere, each once,
/// first in, first out.
///
/// It is all of Python's three:
///
/// | Python | here |
/// |---|---|
/// | `Queue(maxsize)` | [`bounded(maxsize)`](Self::bounded), [`unbounded()`](Self::unbounded), or [`with_bytes`](Self::with_bytes) |
/// | `JoinableQueue(maxsize)` | the same: [`task_done`](Self::task_done), [`join`](Self::join) |
/// | `SimpleQueue()` | the same: [`unbounded()`](Self::unbounded), as far as its memory goes |
/// | `put(x)`, `put(x, timeout=t)`, `put_nowait(x)` | [`put`](Self::put), [`put_timeout`](Self::put_timeout), [`try_put`](Self::try_put) |
/// | `get()`, `get(timeout=t)`, `get_nowait()` | [`get`](Self::get), [`get_timeout`](Self::get_timeout), [`try_get`](Self::try_get) |
/// | `qsize()`, `empty()`, `full()` | [`len`](Self::len), [`is_empty`](Self::is_empty), [`is_full`](Self::is_full); on every system |
/// | `close()` | [`close`](Self::close), or drop: this handle is gone, others stay |
/// | `join_thread()`, `cancel_join_thread()` | nothing: an item is in shared memory when `put` returns, there is no feeder thread |
/// | `queue._reader` in `connection.wait` | [`readiness`](Self::readiness) |
/// | `queue.Queue.shutdown()`, which `multiprocessing` has not | [`shutdown`](Self::shutdown) |
/// | | [`get_leased`](Self::get_leased): an item that comes back if its process dies |
///
/// **None is without bounds.** Python's `Queue()` keeps in its feeder thread what its pipe has no room for, so a put never waits,
/// and an item has any size. Here a put waits when the memory is full, 64 KiB unless [`with_bytes`](Self::with_bytes) says
/// otherwise, and a longer item is refused ([`PutError::TooLarge`]). For items of 5 MiB, ten at a time, that is
/// `with_bytes(10, 51 << 20)`. It does not grow by itself: its pages are there from the beginning, so that nobody who puts is
/// killed for want of memory, and an item stays in them until it is done, so that it can be handed out again.
///
/// It lies in shared memory without a name. Clone it for other threads, and send it to other processes, in arguments,
/// results or messages; it goes with the last, and so does what is in it. In each process it costs two descriptors, the
/// memory's and one that is rung for [`readiness`](Self::readiness), and in all the memory that it is made with
/// ([`with_bytes`](Self::with_bytes)) and 66 KiB; 1,023 processes can get from it at a time, and any number put. An item is
/// serialised by `put`: handles and descriptors cannot be in one.
///
/// Who gets counts once for each handle that came in a message and is in use, and is forgotten when its clones are dropped and
/// all that was got by it is [reported done](Self::task_done), or with its process.
///
/// **When a process dies**, killed at any instruction: the item that it was putting is there whole or not at all; the one that
/// it was getting is still there or was taken; what it had on a [`Lease`] is handed out again; what it had got and not reported
/// done counts as done, so that nobody joins for ever; and others go on at once. A process that is *stopped* in the middle
/// of an operation holds up others for no longer than their timeouts.
///
/// ```
/// use crewkit::ipc::Queue;
/// use crewkit::process::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let (tasks, results) = (Queue::bounded(8)?, Queue::unbounded()?);
///     let worker = |(tasks, results): (Queue<u64>, Queue<u64>)| {
///         for number in &tasks {
///             let number = number.expect("it can be read");
///             results.put(number * number).expect("there is room");
///             tasks.task_done().expect("it was got");
///         }
///     };
///     let workers = [0; 2].map(|_| Process::spawn(worker, (tasks.clone(), results.clone())));
///     tasks.put_many(1..=4)?;
///     tasks.join()?;
///     assert_eq!(results.try_iter().sum::<Result<u64, _>>()?, 30);
///     tasks.shutdown(crewkit::queue::Shutdown::Drain)?;
///     for worker in workers {
///         worker?.join()?;
///     }
///     Ok(())
/// }
/// ```
#[doc(alias("JoinableQueue", "SimpleQueue"))]
pub struct Queue<T> {
    core: Core,
    _items: PhantomData<fn(T) -> T>,
}

/// The memory of a queue that nobody has said anything else of.
const BYTES: u32 = 64 * 1024;
/// The most that there can be.
const MOST_BYTES: usize = 1 << 31;

/// The capacity that a `maxsize` of Python's means.
fn limit(maxsize: usize) -> u64 {
    if maxsize == 0 { u64::MAX } else { maxsize as u64 }
}

impl<T> Queue<T> {
    /// A queue that holds at most `maxsize` items, no limit if that is zero, and at most 64 KiB of them.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, there is no memory, or /proc cannot be read, without which nobody
    /// can tell who is alive.
    pub fn bounded(maxsize: usize) -> io::Result<Self> {
        Self::with_bytes(maxsize, BYTES as usize)
    }

    /// A queue that holds as many items as 64 KiB have room for.
    ///
    /// # Errors
    ///
    /// As [`bounded`](Self::bounded).
    pub fn unbounded() -> io::Result<Self> {
        Self::bounded(0)
    }

    /// A queue that holds at most `maxsize` items, no limit if that is zero, and at most `bytes` bytes of them. An item
    /// takes as many as postcard makes of it, rounded up to a multiple of 8, and 8 more.
    ///
    /// The memory, rounded up to a power of two, is reserved now, which takes about 0.2 ms for each MiB.
    ///
    /// # Errors
    ///
    /// As [`bounded`](Self::bounded).
    ///
    /// # Panics
    ///
    /// If `bytes` is more than 2³¹.
    pub fn with_bytes(maxsize: usize, bytes: usize) -> io::Result<Self> {
        assert!(bytes <= MOST_BYTES, "more bytes than a queue can have");
        #[expect(clippy::cast_possible_truncation, reason = "looked at just now")]
        let room = bytes.max(16).next_multiple_of(8) as u32;
        Core::create(Type::of::<T>(), limit(maxsize), room).map(Self::over)
    }

    fn over(core: Core) -> Self {
        Self { core, _items: PhantomData }
    }
}

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is put, and what was got, goes through a buffer of the thread's; one that has become large is not kept.
fn with_buffer<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    const KEPT: usize = BYTES as usize;
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT {
        // A thread that is ending keeps nothing.
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
    result
}

impl<T: Serialize> Queue<T> {
    /// Serialises a value behind what is there.
    fn encode(&self, value: &T, buffer: &mut Vec<u8>) -> Result<(), Why> {
        let before = buffer.len();
        let parcel = encode_onto(value, buffer).map_err(|error| match error {
            EncodeError::Io(error) => Why::Unusable(LockError::Io(error)),
            other => Why::NotSerializable(other.to_string()),
        })?;
        if !parcel.fds.is_empty() {
            let what = "it holds a descriptor or a handle, which can be sent through a Connection, not through a queue";
            return Err(Why::NotSerializable(what.to_owned()));
        }
        let (len, limit) = (buffer.len() - before, self.core.longest());
        if len > limit { Err(Why::TooLarge { len, limit }) } else { Ok(()) }
    }

    fn put_one(&self, value: T, wait: Wait) -> Result<(), PutError<T>> {
        let put = with_buffer(|buffer| {
            self.encode(&value, buffer)?;
            self.core.put(&[buffer], wait).map_err(|(_, why)| why)
        });
        put.map_err(|why| why.with(value))
    }

    fn put_all(&self, mut values: Vec<T>, wait: Wait) -> Result<(), PutError<Vec<T>>> {
        let put = with_buffer(|buffer| {
            let mut ends = vec![0];
            for value in &values {
                self.encode(value, buffer).map_err(|why| (0, why))?;
                ends.push(buffer.len());
            }
            let items: Vec<&[u8]> = ends.windows(2).map(|ends| &buffer[ends[0]..ends[1]]).collect();
            if items.is_empty() { Ok(()) } else { self.core.put(&items, wait) }
        });
        put.map_err(|(count, why)| {
            values.drain(..count);
            why.with(values)
        })
    }
}

impl<T: DeserializeOwned> Queue<T> {
    fn get_one(&self, wait: Wait) -> Result<T, GetError> {
        with_buffer(|buffer| {
            self.core.take((Way::Plainly, 1), buffer, |_, _| {}, wait)?;
            let mut unread = Unread { queue: self, count: 1 };
            let item = read(buffer).map_err(|why| GetError::Decode { why, others: () })?;
            unread.count = 0;
            Ok(item)
        })
    }

    fn get_some(&self, max: usize, wait: Wait) -> Result<Vec<T>, GetError<Vec<T>>> {
        let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
        self.core.take((Way::Plainly, max), &mut bytes, |_, taken| lengths.push(taken.length), wait)?;
        let mut unread = Unread { queue: self, count: lengths.len() };
        let (mut items, mut first) = (Vec::with_capacity(lengths.len()), None);
        let mut rest = bytes.as_slice();
        for length in lengths {
            let (item, others) = rest.split_at(length);
            rest = others;
            match read(item) {
                Ok(item) => items.push(item),
                Err(why) => first = first.or(Some(why)),
            }
        }
        unread.count -= items.len();
        match first {
            None => Ok(items),
            Some(why) => Err(GetError::Decode { why, others: items }),
        }
    }

    fn lease(&self, wait: Wait) -> Result<Lease<T>, GetError> {
        with_buffer(|buffer| {
            let mut found = None;
            self.core.take((Way::OnALease, 1), buffer, |seat, taken| found = Some((seat, taken)), wait)?;
            let (seat, taken) = found.ok_or(GetError::Empty)?;
            let held = lease::Held { at: taken.at, seat, generation: generation::current() };
            Lease::of((self.core.clone(), held), taken.attempt, || read(buffer))
        })
    }
}

fn read<T: DeserializeOwned>(item: &[u8]) -> Result<T, String> {
    decode(item, Vec::new()).map_err(|error| error.to_string())
}

/// Items that were got, and that nobody will report done because nobody could read them: a panic may have kept them from it.
struct Unread<'a, T> {
    queue: &'a Queue<T>,
    count: usize,
}

impl<T> Drop for Unread<'_, T> {
    fn drop(&mut self) {
        (0..self.count).for_each(|_| self.queue.report());
    }
}

impl<T> Queue<T> {
    /// How much is in it, who has what, who waits, how often somebody dead was seen to: for people who look.
    ///
    /// # Blocking
    ///
    /// Never, but for the kernel's list of its holder's mappings.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self::over(self.core.clone())
    }
}

impl<T> PartialEq for Queue<T> {
    /// Whether both are the same queue, however they came here.
    fn eq(&self, other: &Self) -> bool {
        self.core == other.core
    }
}

impl<T> Eq for Queue<T> {}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.core.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Core::receive(Type::of::<T>(), deserializer).map(Self::over)
    }
}

impl<T> Report for Queue<T> {
    fn report(&self) {
        // Fails only if the same task was reported by hand as well; then it does not wait for who is stopped, either.
        let _ = self.core.task_done(Deadline::after(AN_INSTANT));
    }
}

impl<T> fmt::Debug for Queue<T> {
    /// How much is in it, who waits, and which process has not reported what done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.core.words();
        let counts = words.counts();
        let [getting, putting, joining] = words.bells().map(|bell| crate::primitive::sleepers_shared(bell.word()));
        f.debug_struct("ipc::Queue")
            .field("len", &counts.ready)
            .field("leased", &counts.leased)
            .field("capacity", &self.capacity())
            .field("bytes", &counts.bytes)
            .field("is_shut_down", &words.closed().is_some())
            .field("unfinished_by_pid", &self.stats().users_by_pid())
            .field("getting", &getting)
            .field("putting", &putting)
            .field("joining", &joining)
            .finish_non_exhaustive()
    }
}
