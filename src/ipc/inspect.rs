//! Looking from outside at what processes share: who holds what, and who waits for whom.
//!
//! Objects have no names. But whoever may look at a process (its user, and root) finds its descriptors in /proc, and among them
//! the memory of its objects, each of which says what it is. The example `ipc_top` shows a process tree's objects live.
//!
//! It is looked at from outside in all ways: the processes need not know of it, none of them is held up, and nothing is
//! changed. Nor is anything believed: a process that writes nonsense into its memory, makes it shorter, or ends while it is
//! looked at, makes for nonsense in the answer, or for an object less.
//!
//! What is read is understood if both programs are of the same version of this crate. Of a connection its rings are shown, once
//! it has them: it begins without.
//!
//! Processes of other PID namespaces are seen as this one's /proc shows them, if it does. But what they have written down of
//! themselves are numbers of their own namespace: who of them holds or uses an object is left out.
//!
//! Nothing here waits for what another process does on purpose. But the kernel gives the addresses of a process under the lock that
//! it also takes for each `mmap` there: such calls of the process may take longer by that, and so may looking.
//!
//! ```
//! use crewkit::ipc::{Lock, LockError, inspect};
//!
//! let lock = Lock::new()?;
//! let _guard = lock.lock().map_err(LockError::detach)?;
//! let objects = inspect::objects_of(std::process::id())?;
//! let found = objects.iter().find(|object| object.kind == inspect::Kind::Lock).unwrap();
//! let holder = found.stats.as_ref().and_then(|stats| stats.holder).unwrap();
//! assert_eq!(holder.pid, Some(std::process::id()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::atomic::AtomicU32;

use super::stats::{Stats, Visible};
use super::{array, barrier, condition, counter, event, list, lock, rlock, semaphore, value};
use crate::shm::queue::Queue;
use crate::shm::{Layout, Snapshot, kind_of};
use crate::sys::strangers::{Looker, MemoryFile, Sealing, Stranger, processes, says_gone, says_none_left, waits};

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A [`Lock`](super::Lock).
    Lock,
    /// An [`RLock`](super::RLock).
    RLock,
    /// A [`Semaphore`](super::Semaphore).
    Semaphore,
    /// A [`BoundedSemaphore`](super::BoundedSemaphore).
    BoundedSemaphore,
    /// An [`Event`](super::Event).
    Event,
    /// A [`Barrier`](super::Barrier).
    Barrier,
    /// A [`Condition`](super::Condition), without its lock, which is shown as such.
    Condition,
    /// A [`Value`](super::Value).
    Value,
    /// A [`Counter`](super::Counter).
    Counter,
    /// An [`Array`](super::Array).
    Array,
    /// A [`ShareableList`](super::ShareableList).
    ShareableList,
    /// A [`Queue`](super::Queue).
    Queue,
    /// [`SharedMemory`](super::SharedMemory).
    SharedMemory,
    /// [`SharedBytes`](super::SharedBytes).
    SharedBytes,
    /// One direction of a [`Connection`](super::Connection).
    Ring,
    /// Memory of this crate's own, for example of a pre-fork server.
    Internal,
    /// Of another version of this crate, or not what it says.
    Unknown,
}

/// A thing that processes share.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// What it is.
    pub kind: Kind,
    /// The kernel's number for its memory: no other object has it for as long as this one is there.
    pub id: u64,
    /// How many bytes of memory it takes.
    pub bytes: u64,
    /// What it says of itself, where it says something.
    pub stats: Option<Stats>,
    /// The processes that have it open, of those that were looked at.
    pub open_in: Vec<u32>,
    /// The threads that sleep for it, of the processes that were looked at and may be traced. `stats` counts all.
    pub waiting: Vec<Waiting>,
}

/// A thread that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// Its process.
    pub pid: u32,
    /// Its number, as `ps -L` shows it.
    pub thread: u32,
}

/// A process of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// Its number.
    pub pid: u32,
    /// Its parent's number.
    pub parent: u32,
    /// What `ps` calls it: 15 bytes that it has chosen itself.
    pub name: String,
    /// Whether it could be looked at: it is of the caller's user, or the caller is root; and it has not ended meanwhile.
    pub is_readable: bool,
}

/// A process, those that descend from it, and all that they share.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tree {
    /// The processes, parents first.
    pub processes: Vec<ProcessInfo>,
    /// What they have, each thing once, those first that others wait for.
    pub objects: Vec<ObjectInfo>,
}

/// The objects that a process has open.
///
/// # Blocking
///
/// Never.
///
/// # Errors
///
/// `PermissionDenied` if the process is another user's, `NotFound` if there is none; or when this process may open no more
/// descriptors.
pub fn objects_of(pid: u32) -> io::Result<Vec<ObjectInfo>> {
    let mut found = Found::new()?;
    found.note_waiting(pid)?;
    found.look_at(pid)?;
    Ok(found.finish())
}

/// The objects of a process and of all that descend from it. Of those, who cannot be looked at is passed over:
/// [`ProcessInfo::is_readable`].
///
/// # Blocking
///
/// Never.
///
/// # Errors
///
/// `NotFound` if there is no such process; when /proc cannot be read, or this process may open no more descriptors.
pub fn tree(pid: u32) -> io::Result<Tree> {
    let mut found = Found::new()?;
    let family = family_of(pid, processes()?).ok_or(io::ErrorKind::NotFound)?;
    family.iter().try_for_each(|process| found.note_waiting(process.pid))?;
    let look = |Stranger { pid, parent, name }| {
        let is_readable = match found.look_at(pid) {
            Err(error) if says_none_left(&error) => return Err(error),
            result => result.is_ok(),
        };
        Ok(ProcessInfo { pid, parent, name, is_readable })
    };
    let processes = family.into_iter().map(look).collect::<io::Result<_>>()?;
    Ok(Tree { processes, objects: found.finish() })
}

/// A process and its descendants, parents first.
fn family_of(pid: u32, all: Vec<Stranger>) -> Option<Vec<Stranger>> {
    let (mut family, mut others): (Vec<_>, Vec<_>) = all.into_iter().partition(|process| process.pid == pid);
    let mut next = 0;
    while let Some(parent) = family.get(next).map(|process| process.pid) {
        let (children, rest) = others.into_iter().partition::<Vec<_>, _>(|process| process.parent == parent);
        family.extend(children);
        (others, next) = (rest, next + 1);
    }
    (!family.is_empty()).then_some(family)
}

/// What was found in the processes looked at.
struct Found {
    looker: Looker,
    /// By inode, as they were when they were first come upon.
    objects: BTreeMap<u64, ObjectInfo>,
    waiting: HashMap<u64, Vec<Waiting>>,
}

impl Found {
    fn new() -> io::Result<Self> {
        let looker = Looker::new()?;
        Ok(Self { looker, objects: BTreeMap::new(), waiting: HashMap::new() })
    }

    /// Notes who sleeps in a process. That of all is asked before any object is looked at, so that an object counts whoever is
    /// noted and has not been woken meanwhile.
    fn note_waiting(&mut self, pid: u32) -> io::Result<()> {
        let waits = match waits(pid) {
            Err(error) if says_none_left(&error) => return Err(error),
            // Who may not be traced is counted by the kernel nevertheless.
            result => result.unwrap_or_default(),
        };
        for wait in waits {
            self.waiting.entry(wait.inode).or_default().push(Waiting { pid, thread: wait.thread });
        }
        Ok(())
    }

    fn look_at(&mut self, pid: u32) -> io::Result<()> {
        let gone = |error: io::Error| if says_gone(&error) { io::ErrorKind::NotFound.into() } else { error };
        let mut found = Vec::new();
        let inodes = self.looker.files(pid, |inode| self.objects.contains_key(&inode), |file| found.push(seen(&file)));
        self.objects.extend(found.into_iter().map(|object| (object.id, object)));
        for inode in inodes.map_err(gone)? {
            if let Some(object) = self.objects.get_mut(&inode) {
                object.open_in.push(pid);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<ObjectInfo> {
        for (inode, object) in &mut self.objects {
            object.waiting = self.waiting.remove(inode).unwrap_or_default();
        }
        let mut objects: Vec<_> = self.objects.into_values().collect();
        objects.sort_by_key(|object| std::cmp::Reverse(object.stats.as_ref().map(|stats| stats.waiters)));
        objects
    }
}

/// A file by itself.
fn seen(file: &MemoryFile) -> ObjectInfo {
    let (kind, stats) = look(file);
    ObjectInfo { kind, id: file.inode, bytes: file.length, stats, open_in: Vec::new(), waiting: Vec::new() }
}

const RING: u32 = crate::shm::ring::Ring::KIND;

/// What a file is, and says of itself.
fn look(file: &MemoryFile) -> (Kind, Option<Stats>) {
    match (file.sealing(), kind_of(file)) {
        (Sealing::Open, _) => (Kind::Unknown, None),
        (Sealing::Sized, _) => (Kind::SharedMemory, None),
        (Sealing::Final, _) => (Kind::SharedBytes, None),
        (Sealing::Segment, None) => (Kind::Internal, None),
        (Sealing::Segment, Some(RING)) => (Kind::Ring, None),
        (Sealing::Segment, Some(number)) => {
            let seen = object(number, file);
            seen.map_or((Kind::Unknown, None), |(kind, stats)| (kind, Some(stats)))
        }
    }
}

/// Whatever has a kind's number in its header. A new kind of object is a line here, and what can be seen of its words
/// (`Visible`).
fn object(number: u32, file: &MemoryFile) -> Option<(Kind, Stats)> {
    match number {
        lock::KIND => stats::<lock::Words>(Kind::Lock, file),
        rlock::KIND => stats::<rlock::Words>(Kind::RLock, file),
        value::KIND => stats::<value::Words>(Kind::Value, file),
        counter::KIND => stats::<counter::Words>(Kind::Counter, file),
        semaphore::PLAIN => stats::<semaphore::Words<{ semaphore::PLAIN }>>(Kind::Semaphore, file),
        semaphore::BOUNDED => stats::<semaphore::Words<{ semaphore::BOUNDED }>>(Kind::BoundedSemaphore, file),
        event::KIND => stats::<event::Words>(Kind::Event, file),
        barrier::KIND => stats::<barrier::Words>(Kind::Barrier, file),
        condition::KIND => stats::<condition::Words>(Kind::Condition, file),
        array::KIND => stats::<array::Words>(Kind::Array, file),
        <Queue as Layout>::KIND => stats::<Queue>(Kind::Queue, file),
        list::KIND => stats::<list::Words>(Kind::ShareableList, file),
        _ => None,
    }
}

fn stats<T: Layout + Visible>(kind: Kind, file: &MemoryFile) -> Option<(Kind, Stats)> {
    let words = Snapshot::<T>::take(file).ok()?;
    let sleepers = |word: &AtomicU32| file.sleepers(words.place_of(word));
    Some((kind, Stats::of(&*words, usize::try_from(file.length).ok()?, Some(file.inode), &sleepers)))
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lock => "Lock",
            Self::RLock => "RLock",
            Self::Semaphore => "Semaphore",
            Self::BoundedSemaphore => "BoundedSemaphore",
            Self::Event => "Event",
            Self::Barrier => "Barrier",
            Self::Condition => "Condition",
            Self::Value => "Value",
            Self::Counter => "Counter",
            Self::Array => "Array",
            Self::ShareableList => "ShareableList",
            Self::Queue => "Queue",
            Self::SharedMemory => "SharedMemory",
            Self::SharedBytes => "SharedBytes",
            Self::Ring => "Ring",
            Self::Internal => "(internal)",
            Self::Unknown => "(unknown)",
        })
    }
}
