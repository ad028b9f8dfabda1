//! `ShareableList`: a few values of several types in shared memory, as Python's `shared_memory.ShareableList`.
//!
//! ```text
//!   count | item | item | …        item:   room | version | copy, copy        copy:   type and length | bytes
//! ```
//!
//! `room` is how many bytes of text an item has room for, in whole words, and never changes. Each item lies in two copies,
//! of which one counts (`shm::Twofold`), and writers take turns by the lock in front. So nobody reads half an item, and a
//! writer that dies leaves nothing to be put in order.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::handle::Handle;
use super::item::{HEAD, Item};
use super::turn::Turn;
use super::{LockError, Stats};
use crate::shm::{Held, Locked, Object, Twofold, Type, version};
use crate::sys::clock::Deadline;

pub(super) const KIND: u32 = 11;

pub(super) type Words = Locked<KIND, AtomicU64>;

/// A list of numbers, texts and the like, as long as it was made, which several processes read and change: Python's
/// `shared_memory.ShareableList`.
///
/// It lies in shared memory without a name, and travels as a [`Lock`](super::Lock) does. An item may be replaced by one of
/// another type. A text or bytes may become as long as they were when the list was made, rounded up to eight bytes; an item
/// that was something else has room for eight.
///
/// Reading never waits for anybody. Writers take turns. **A process killed in the middle of a write**, at any instruction,
/// has written all of the item or nothing, and nobody waits for it.
///
/// ```
/// use crewkit::ipc::{Item, ShareableList};
/// use crewkit::process::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let list = ShareableList::new([Item::from("waiting"), 0.into(), Item::None])?;
///     let child = Process::spawn(|list: ShareableList| list.set(0, "done").and(list.set(1, 7)).is_ok(), list.clone())?;
///     assert!(child.join()?);
///     assert_eq!(list.get(0)?, "done".into());
///     assert_eq!(list.index(7)?, Some(1));
///     assert!(list.set(0, "not before tomorrow").is_err(), "too long");
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct ShareableList {
    handle: Handle<Words>,
    /// Where the items are: checked once, because others may write what says so.
    places: Arc<[Place]>,
}

#[derive(Clone, Copy)]
struct Place {
    /// The version's word; the copies are behind it.
    at: usize,
    /// In bytes.
    room: usize,
}

impl ShareableList {
    /// A new list of these items.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, or there is no memory.
    pub fn new(items: impl IntoIterator<Item = impl Into<Item>>) -> io::Result<Self> {
        let items: Vec<Item> = items.into_iter().map(Into::into).collect();
        let words = items.iter().map(|item| Place::words(room(item))).sum();
        let handle = Handle::<Words>::create(Type::NONE, words)?;
        let object = handle.peek();
        object.guarded.store(items.len() as u64, Ordering::Relaxed);
        let mut at = 0;
        for item in &items {
            object.rest()[at].store(room(item) as u64, Ordering::Relaxed);
            at += Place::words(room(item));
        }
        let too_long = || io::Error::new(io::ErrorKind::OutOfMemory, "no list can be as long");
        let places = places(object).ok_or_else(too_long)?;
        places.iter().zip(&items).for_each(|(place, item)| place.write(object, item));
        Ok(Self { handle, places })
    }

    /// How many items it has: Python's `len()`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A copy of an item: Python's `list[index]`.
    ///
    /// # Blocking
    ///
    /// Never; so for all that only reads.
    ///
    /// # Errors
    ///
    /// [`LockError::ForeignProcess`], in a process that inherited the list by fork; [`LockError::Io`] for what no crewkit
    /// process writes. So for all that reads.
    ///
    /// # Panics
    ///
    /// If there is no such item.
    pub fn get(&self, index: usize) -> Result<Item, LockError> {
        self.place(index).read(self.handle.usable()?)
    }

    /// Copies of all items, one after the other: Python's `list(…)`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn to_vec(&self) -> Result<Vec<Item>, LockError> {
        let object = self.handle.usable()?;
        self.places.iter().map(|place| place.read(object)).collect()
    }

    /// Where the first item is that equals this one: Python's `index`, and `None` where that raises.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn index(&self, item: impl Into<Item>) -> Result<Option<usize>, LockError> {
        let item = item.into();
        Ok(self.to_vec()?.iter().position(|other| *other == item))
    }

    /// How many items equal this one: Python's `count`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn count(&self, item: impl Into<Item>) -> Result<usize, LockError> {
        let item = item.into();
        Ok(self.to_vec()?.iter().filter(|other| **other == item).count())
    }

    /// Replaces an item: Python's `list[index] = item`.
    ///
    /// # Blocking
    ///
    /// While others write.
    ///
    /// # Errors
    ///
    /// [`ListError::TooLong`] for a text or bytes that there is no room for: nothing is changed. Otherwise as
    /// [`Value::set`](super::Value::set).
    ///
    /// # Panics
    ///
    /// If there is no such item.
    pub fn set(&self, index: usize, item: impl Into<Item>) -> Result<(), ListError> {
        self.replace(index, &item.into(), Deadline::NEVER)
    }

    /// [`set`](Self::set) within `timeout`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when a writer is stopped.
    ///
    /// # Errors
    ///
    /// As `set`, and [`LockError::Timeout`].
    ///
    /// # Panics
    ///
    /// If there is no such item.
    pub fn set_timeout(&self, index: usize, item: impl Into<Item>, timeout: Duration) -> Result<(), ListError> {
        self.replace(index, &item.into(), Deadline::after(timeout))
    }

    /// Who changes it, who waits for a turn, how often it was recovered: for people who look.
    ///
    /// # Blocking
    ///
    /// Never, but for the kernel's list of its holder's mappings.
    pub fn stats(&self) -> Stats {
        Stats::here(self.handle.peek())
    }

    fn replace(&self, index: usize, item: &Item, deadline: Deadline) -> Result<(), ListError> {
        let place = self.place(index);
        let object = self.handle.usable().map_err(LockError::from)?;
        let (needed, room) = (item.bytes().len(), place.room);
        if needed > room {
            return Err(ListError::TooLong { needed, room });
        }
        let words: &Held<AtomicU64> = object;
        let _turn = Turn::take(words, deadline)?;
        place.write(object, item);
        Ok(())
    }

    fn place(&self, index: usize) -> Place {
        assert!(index < self.len(), "item {index} of a list that has {}", self.len());
        self.places[index]
    }
}

/// The room that an item gets.
fn room(item: &Item) -> usize {
    item.bytes().len().max(1).next_multiple_of(WORD)
}

/// Where the items of a list are; `None` if what it says of itself cannot be.
fn places(object: &Object<Words>) -> Option<Arc<[Place]>> {
    let rest = object.rest();
    let count = usize::try_from(object.guarded.load(Ordering::Relaxed)).ok().filter(|&count| count <= rest.len())?;
    let mut at = 0;
    let mut places = Vec::new();
    for _ in 0..count {
        let room = usize::try_from(rest.get(at)?.load(Ordering::Relaxed)).ok()?;
        // Checked before it is added to anything.
        let fits = room >= WORD && room.is_multiple_of(WORD) && room / WORD <= rest.len();
        let next = at + Place::words(room * usize::from(fits));
        if !fits || next > rest.len() {
            return None;
        }
        places.push(Place { at: at + 1, room });
        at = next;
    }
    (at == rest.len()).then(|| places.into())
}

impl Place {
    /// Words of an item with its room noted before it.
    fn words(room: usize) -> usize {
        2 + Twofold::words(HEAD + room)
    }

    fn copies<'a>(&self, object: &'a Object<Words>) -> (&'a Twofold, &'a [AtomicU64]) {
        let copies = self.at + 1..self.at + 1 + Twofold::words(HEAD + self.room);
        (version(&object.rest()[self.at]), &object.rest()[copies])
    }

    fn read(&self, object: &Object<Words>) -> Result<Item, LockError> {
        let (twofold, copies) = self.copies(object);
        let mut bytes = vec![0; HEAD + self.room];
        twofold.read(copies, &mut bytes);
        let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "an item of the list is none");
        Item::decode(&bytes).ok_or_else(|| LockError::Io(nonsense()))
    }

    /// For who has the turn, and has looked at the room.
    fn write(&self, object: &Object<Words>, item: &Item) {
        let (twofold, copies) = self.copies(object);
        let mut bytes = vec![0; HEAD + self.room];
        item.encode(&mut bytes);
        twofold.write(copies, &bytes);
    }
}

const WORD: usize = size_of::<u64>();

impl PartialEq for ShareableList {
    /// Whether both are the same list, whatever is in it.
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl Eq for ShareableList {}

impl Serialize for ShareableList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.handle.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ShareableList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let handle = Handle::<Words>::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("the shared list has not the items that it says");
        let places = places(handle.peek()).ok_or_else(wrong)?;
        Ok(Self { handle, places })
    }
}

impl fmt::Debug for ShareableList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = self.handle.peek();
        f.debug_list().entries(self.places.iter().map(|place| place.read(object).ok())).finish()
    }
}

/// Why an item was not replaced.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListError {
    /// A text or bytes longer than there is room for, which is what the first item here needed, in whole words.
    TooLong {
        /// How many bytes it has.
        needed: usize,
        /// How many there is room for.
        room: usize,
    },
    /// See [`LockError`]; never `OwnerDied`.
    Lock(LockError),
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { needed, room } => write!(f, "an item of {needed} bytes, where there is room for {room}"),
            Self::Lock(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ListError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLong { .. } => None,
            Self::Lock(error) => Some(error),
        }
    }
}

impl From<LockError> for ListError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that writes into a list whatever it likes.
    #[test]
    fn a_list_that_lies_is_refused_or_an_error_and_never_more() {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let (mut refused, mut nonsense, mut sound) = (0, 0, 0);
        for round in 0..2_000 {
            let list = ShareableList::new(["some text".into(), Item::Int(1), Item::None]).unwrap();
            let object = list.handle.peek();
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let lie = [random, random % 64, u64::MAX, 8][round % 4];
            let words = object.rest().len() as u64 + 1;
            let index = usize::try_from(random % words).unwrap();
            object.rest().get(index).unwrap_or(&object.guarded).store(lie, Ordering::Relaxed);
            let Some(places) = places(object) else {
                refused += 1;
                continue;
            };
            for place in places.iter() {
                match place.read(object) {
                    Ok(_) => sound += 1,
                    Err(LockError::Io(_)) => nonsense += 1,
                    Err(other) => panic!("{other}"),
                }
                place.write(object, &Item::Int(7));
                assert_eq!(place.read(object).unwrap(), Item::Int(7));
            }
        }
        assert!(refused > 100 && nonsense > 100 && sound > 100, "{refused}, {nonsense}, {sound}");
    }
}
