//! The words behind a lock between processes, and the rules for a holder that dies.
//!
//! ```text
//!   mutex   glibc's and the kernel's: who holds the lock
//!   dirty   0, or 1 since a holder died and nobody has said that what it guarded is in order again
//!   depth   how many times an RLock's holder has it
//! ```
//!
//! Who may write `dirty` and `depth`: only the holder of the mutex. Hence, at each point at which a holder can die:
//!
//! | It dies | What its successor finds |
//! |---|---|
//! | before the mutex was got | nothing: it never was the holder |
//! | holding it | the kernel says "owner died": `dirty` is set, `depth` begins anew, and only then is the mutex made consistent |
//! | between being told so and having made it consistent | the same again, from the kernel |
//! | after that, before it has recovered | a death like any other, and `dirty` is set already |
//! | after it has cleared `dirty` | a death like any other |
//! | in the middle of unlocking | glibc has noted the mutex as pending before it touches it: free, or "owner died" |
//!
//! Nobody waits longer than until the kernel has ended the thread: it wakes one waiter of each mutex on the list. But for the
//! last row, where it may find that another has the mutex already: then who sleeps sees it after a slice of time
//! (`sys::robust`).
//!
//! Steps of the holder alone need no order beyond the mutex's, so `dirty` and `depth` are Relaxed.
//!
//! # For people who look
//!
//! Besides, it is noted how often a dead holder was followed, and since when the present one is **waited for**: by who waits,
//! not by the holder. No step depends on it. Designs, for a lock and unlock that nobody disturbs, 27 ns without:
//!
//! | Since when, noted by | ns more |
//! |---|--:|
//! | the holder, from the clock | 29 |
//! | the holder, from the processor's counter | 25 |
//! | who waits; a counter of acquisitions tells whether the holder let go since | 4 |
//! | who waits; the next holder clears what it finds | 0–1 |
//!
//! The last it is. Two threads that fight for a lock do not notice it.

use crate::primitive::{AtomicU32, Got, Refused, Robust};
use crate::sys::clock::Deadline;
use std::sync::atomic::{AtomicU32 as Note, AtomicU64 as LongNote, Ordering};
#[cfg(not(crewkit_loom))]
use std::time::Duration;

/// What lies in shared memory.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Held<T = ()> {
    pub(super) mutex: Robust,
    dirty: AtomicU32,
    depth: AtomicU32,
    notes: Notes,
    /// What is guarded, if it lies beside the lock.
    pub(crate) guarded: T,
}

/// What is noted for people who look. A model does not: the atomics are std's.
#[derive(Debug, Default)]
#[repr(C)]
struct Notes {
    /// `| since when, 42 bits of milliseconds | by which thread held, 22 bits |`, or 0. Written by who waits, and set to 0 by
    /// who gets the lock.
    waited_for: LongNote,
    /// How many holders were found dead.
    deaths: Note,
}

/// A thread with the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg(not(crewkit_loom))]
pub(crate) struct Holding {
    pub(crate) thread: u32,
    pub(crate) waited_for: Option<Duration>,
}

/// A lock as people who look see it.
#[derive(Clone, Copy, Debug)]
#[cfg(not(crewkit_loom))]
pub(crate) struct Traces<'a> {
    /// The living thread that holds it.
    pub(crate) holding: Option<Holding>,
    /// [`Held::state`] for anybody.
    pub(crate) is_dirty: bool,
    /// How many holders were found dead.
    pub(crate) deaths: u32,
    /// What who waits for it sleeps on.
    pub(crate) word: &'a AtomicU32,
}

/// How a lock was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says whether what is guarded may be half done"]
pub(crate) enum State {
    Clean,
    Dirty,
}

#[cfg(crewkit_loom)]
impl<T> Held<T> {
    /// What zeroes and a made mutex are in shared memory.
    pub(crate) fn new(guarded: T) -> Self {
        let [dirty, depth] = [0; 2].map(AtomicU32::new);
        Self { mutex: Robust::default(), dirty, depth, notes: Notes::default(), guarded }
    }
}

impl<T> Held<T> {
    #[inline]
    pub(crate) fn lock(&self, deadline: Deadline) -> Result<State, Refused> {
        self.mutex.lock(deadline, |thread| self.notes.wait_for(thread)).map(|got| self.enter(got))
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> Result<State, Refused> {
        self.mutex.try_lock().map(|got| self.enter(got))
    }

    #[inline]
    fn enter(&self, got: Got) -> State {
        if got == Got::OwnerDied {
            self.notes.deaths.fetch_add(1, Ordering::Relaxed);
            self.inherit();
        }
        self.notes.begin_anew();
        self.state()
    }

    #[cold]
    fn inherit(&self) {
        self.dirty.store(1, Ordering::Relaxed);
        self.depth.store(0, Ordering::Relaxed);
        self.mutex.make_consistent();
    }

    /// For the holder: whether a holder before it died, and nobody has recovered since.
    #[inline]
    pub(crate) fn state(&self) -> State {
        if self.dirty.load(Ordering::Relaxed) == 0 { State::Clean } else { State::Dirty }
    }

    /// For anybody: whether its last holder died, and what it guards may wait for somebody to put it in order.
    #[inline]
    pub(crate) fn is_left_dirty(&self) -> bool {
        self.mutex.is_left_by_the_dead() || self.state() == State::Dirty
    }

    /// For the holder: what is guarded is in order again.
    pub(crate) fn recover(&self) {
        self.dirty.store(0, Ordering::Relaxed);
    }

    /// False, and nothing done, for a thread that is not the holder.
    #[inline]
    pub(crate) fn unlock(&self) -> bool {
        self.mutex.unlock()
    }

    /// For the holder: how many times it has the lock beyond the first.
    pub(crate) fn depth(&self) -> u32 {
        self.depth.load(Ordering::Relaxed)
    }

    /// For the holder.
    pub(crate) fn set_depth(&self, depth: u32) {
        self.depth.store(depth, Ordering::Relaxed);
    }

    /// Whether the calling thread is the holder.
    pub(crate) fn is_mine(&self) -> bool {
        self.mutex.is_mine()
    }

    /// Whether a living thread is the holder.
    pub(crate) fn is_held(&self) -> bool {
        self.mutex.is_held()
    }
}

#[cfg(not(crewkit_loom))]
impl<T> Held<T> {
    /// What can be seen of it.
    pub(crate) fn traces(&self) -> Traces<'_> {
        let thread = self.mutex.holder();
        Traces {
            holding: (thread != 0).then(|| Holding { thread, waited_for: self.notes.waited_for(thread) }),
            is_dirty: self.state() == State::Dirty,
            deaths: self.notes.deaths.load(Ordering::Relaxed),
            word: self.mutex.word(),
        }
    }
}

impl Notes {
    /// Bits of a thread's number: the kernel gives none above 2²².
    #[cfg(not(crewkit_loom))]
    const THREAD: u64 = (1 << 22) - 1;

    /// Who has the lock now has not been waited for.
    #[inline]
    fn begin_anew(&self) {
        if self.waited_for.load(Ordering::Relaxed) != 0 {
            self.waited_for.store(0, Ordering::Relaxed);
        }
    }

    /// Somebody is about to sleep until this thread lets go.
    #[cfg(not(crewkit_loom))]
    fn wait_for(&self, thread: u32) {
        let (thread, noted) = (u64::from(thread) & Self::THREAD, self.waited_for.load(Ordering::Relaxed));
        if thread != 0 && noted & Self::THREAD != thread {
            let note = crate::sys::clock::milliseconds() << Self::THREAD.count_ones() | thread;
            // If another was faster, its time is as good.
            let _ = self.waited_for.compare_exchange(noted, note, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    #[cfg(crewkit_loom)]
    fn wait_for(&self, _thread: u32) {}

    /// For how long somebody has waited for this thread. What was noted of another is nothing of it.
    #[cfg(not(crewkit_loom))]
    fn waited_for(&self, thread: u32) -> Option<Duration> {
        let noted = self.waited_for.load(Ordering::Relaxed);
        let since = noted >> Self::THREAD.count_ones();
        let elapsed = crate::sys::clock::milliseconds().saturating_sub(since);
        (noted & Self::THREAD == u64::from(thread)).then(|| Duration::from_millis(elapsed))
    }
}
