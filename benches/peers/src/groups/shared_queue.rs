//! Items from processes on one processor through one queue to processes on another.

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use crewkit::ipc::{self, Connection, Fd};
use crewkit::process::Process;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::python::Python;
use super::sum_below;
use crate::contest::{Contest, Contestant, Outcome, Repetition, Size, Target, check};
use crate::place::Placement;

const OURS: &str = "crewkit ipc::Queue";
const SOCKETS: &str = "SEQPACKET socketpair shared by all";
const PYTHON: &str = "CPython multiprocessing.Queue";

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    vec![
        contest("1 to 1 processes, 64 B", 1).remark(
            "Producers are on one processor, consumers on the other. Each item has a number in it; the time runs until the \
             last consumer has told the sum of its numbers. CPython counts.",
        ),
        contest("4 to 4 processes, 64 B", 4),
    ]
}

fn contest(work: &'static str, pairs: u64) -> Contest {
    Contest::new("Queue between processes", work, "item", Size::MultipleOf(4))
        .with(Contestant::crewkit(OURS, move || between::<ipc::Queue<Item>>(pairs)))
        .with(Contestant::peer(SOCKETS, move || between::<Sockets>(pairs)))
        .with(Contestant::peer(PYTHON, move || python(pairs)))
        .target(Target::speed(OURS, 50.0, &[PYTHON]))
        .target(Target::speed(OURS, 5.0, &[SOCKETS]))
}

/// Anything that items go through.
trait Through: Serialize + DeserializeOwned + Send + 'static {
    fn make() -> Outcome<Self>;
    fn another(&self) -> Outcome<Self>;
    fn put(&self, item: Item) -> Outcome<()>;
    fn get(&self) -> Outcome<Item>;
}

impl Through for ipc::Queue<Item> {
    fn make() -> Outcome<Self> {
        Ok(Self::unbounded()?)
    }

    fn another(&self) -> Outcome<Self> {
        Ok(self.clone())
    }

    fn put(&self, item: Item) -> Outcome<()> {
        Ok(Self::put(self, item)?)
    }

    fn get(&self) -> Outcome<Item> {
        Ok(Self::get(self)?)
    }
}

/// All put into the one end and get from the other.
#[derive(Serialize, Deserialize)]
struct Sockets(Fd<UnixDatagram>, Fd<UnixDatagram>);

impl Through for Sockets {
    fn make() -> Outcome<Self> {
        let ends = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let [near, far] = <[OwnedFd; 2]>::from(ends).map(|end| Fd(UnixDatagram::from(end)));
        Ok(Self(near, far))
    }

    fn another(&self) -> Outcome<Self> {
        Ok(Self(Fd(self.0.0.try_clone()?), Fd(self.1.0.try_clone()?)))
    }

    fn put(&self, item: Item) -> Outcome<()> {
        check("bytes sent", self.0.0.send(&item.0)?, SIZE)
    }

    fn get(&self) -> Outcome<Item> {
        let mut item = Item([0; SIZE]);
        check("bytes received", self.1.0.recv(&mut item.0)?, SIZE)?;
        Ok(item)
    }
}

const SIZE: usize = 64;

/// Bytes with a number in front.
struct Item([u8; SIZE]);

impl Item {
    fn of(number: u64) -> Self {
        let mut item = Self([7; SIZE]);
        item.0[..8].copy_from_slice(&number.to_le_bytes());
        item
    }

    fn number(&self) -> u64 {
        self.0.first_chunk().map_or(0, |number| u64::from_le_bytes(*number))
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Item").field(&self.number()).finish()
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{SIZE} bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Item, E> {
                bytes.try_into().map(Item).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A producer puts the numbers from `begin` on, a consumer gets so many and answers with their sum.
#[derive(Serialize, Deserialize)]
struct Share {
    begin: u64,
    count: u64,
}

fn between<Q: Through>(pairs: u64) -> Outcome<Repetition> {
    let queue = Q::make()?;
    let mut workers = Vec::new();
    for number in 0..2 * pairs {
        let (near, far) = ipc::pipe::<Share, u64>()?;
        let worker = Process::spawn(work::<Q>, (far, queue.another()?, number >= pairs))?;
        workers.push((near, worker));
    }
    Ok(Box::new(move |operations| {
        let count = operations / pairs;
        let shares = (0..pairs).map(|pair| pair * count).cycle();
        let start = Instant::now();
        for ((near, _), begin) in workers.iter().zip(shares) {
            near.send(&Share { begin, count })?;
        }
        let mut sum = 0;
        for (near, _) in &workers {
            sum += near.recv()?;
        }
        let taken = start.elapsed();
        check("sum of what was got", sum, sum_below(count * pairs))?;
        Ok(taken.into())
    }))
}

/// One of the processes. It ends with the connection, or with what goes wrong.
fn work<Q: Through>((far, queue, is_consumer): (Connection<u64, Share>, Q, bool)) {
    let _anywhere_else = Placement::Apart.pin(is_consumer.into());
    while let Ok(share) = far.recv() {
        let done = if is_consumer { consume(&queue, &share) } else { produce(&queue, &share) };
        if !done.is_ok_and(|sum| far.send(&sum).is_ok()) {
            return;
        }
    }
}

fn produce(queue: &impl Through, share: &Share) -> Outcome<u64> {
    for number in share.begin..share.begin + share.count {
        queue.put(Item::of(number))?;
    }
    Ok(0)
}

fn consume(queue: &impl Through, share: &Share) -> Outcome<u64> {
    let mut sum = 0;
    for _ in 0..share.count {
        sum += queue.get()?.number();
    }
    Ok(sum)
}

fn python(pairs: u64) -> Outcome<Repetition> {
    let mut python = Python::start("multiprocessing_queue.py", &pairs.to_string())?;
    Ok(Box::new(move |operations| {
        let (cost, counted) = python.measure("items", operations)?;
        check("number of items", counted, operations)?;
        Ok(cost)
    }))
}
