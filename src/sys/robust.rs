//! A mutex in memory that several processes map, which the kernel takes from a holder that ends.
//!
//! glibc's robust, process-shared, error-checking mutex: 29 ns for a lock and unlock that nobody disturbs, and 1 to 4 µs
//! from a holder's death to the next lock. The kernel finds what an ending thread holds on a list that glibc keeps for it, so
//! the *thread* is the holder: its end counts as a death, also where its process goes on.
//!
//! Called by `primitive` only, whose model of it runs under loom.
//!
//! # Safety
//!
//! The invariants that the `SAFETY` comments cite:
//!
//! 1. A [`Robust`] in shared memory was initialised by [`Robust::initialise`] before anybody else could reach it, and
//!    nobody but glibc and the kernel writes it since. That is what processes promise each other who share a lock.
//! 2. It stays where it is for as long as a thread of this process holds it: glibc's list leads through it. Whoever
//!    unmaps the memory asks [`Robust::is_held_here`] first.
//! 3. `pthread_mutex_t` begins with the futex word whose format the kernel fixes (robust-futexes ABI): the holder's
//!    thread id below two flags.

#![expect(unsafe_code, reason = "pthread mutexes, in place")]

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};

use super::clock::Deadline;
use super::error::during;

/// The mutex. All zeroes are not a mutex yet: see [`initialise`](Self::initialise).
#[repr(transparent)]
pub(crate) struct Robust(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex is made to be shared (invariant 1).
unsafe impl Sync for Robust {}
// SAFETY: it is nothing of a thread's while nobody holds it, and cannot be moved out of the memory it lies in.
unsafe impl Send for Robust {}

/// In the futex word: the kernel took the mutex from a holder that ended.
const OWNER_DIED: u32 = 0x4000_0000;

/// How a mutex was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what a dead holder guarded may be half done"]
pub(crate) enum Got {
    /// Its last holder unlocked it.
    Clean,
    /// Its last holder ended with it. To be answered by [`Robust::make_consistent`] before it is unlocked.
    OwnerDied,
}

/// Why a mutex was not got.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Somebody else holds it; for a wait, until its deadline.
    Busy,
    /// This very thread holds it.
    Own,
    /// What glibc never answers for a mutex that nobody has tampered with.
    Broken(io::Error),
}

unsafe extern "C" {
    // glibc ≥ 2.30; the libc crate does not declare it.
    fn pthread_mutex_clocklock(
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        until: *const libc::timespec,
    ) -> libc::c_int;
}

impl Robust {
    /// Makes a mutex of the memory.
    ///
    /// # Safety
    ///
    /// Nobody else may reach the memory yet.
    pub(crate) unsafe fn initialise(&self) -> io::Result<()> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: a place for attributes, which this initialises.
        check(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) })?;
        let attributes = attributes.as_mut_ptr();
        // SAFETY: initialised attributes; so below.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) })?;
        // SAFETY: as above.
        check(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) })?;
        // SAFETY: as above.
        check(unsafe { libc::pthread_mutexattr_settype(attributes, libc::PTHREAD_MUTEX_ERRORCHECK) })?;
        // SAFETY: the caller promises that nobody else uses the memory; the attributes are initialised.
        check(unsafe { libc::pthread_mutex_init(self.0.get(), attributes) })
        // Attributes own nothing that would have to be given back (glibc).
    }

    /// Locks, waiting for whoever holds it.
    ///
    /// In slices of time, because a wake-up can be lost: if a holder that unlocks dies after it has freed the mutex and
    /// before it has woken anybody, and somebody else has the mutex by then, the kernel takes it for that one's and wakes
    /// nobody; and that one does not know of those who sleep, since what said so was freed with the mutex.
    ///
    /// `waits_for` is told who holds it, by thread, before each slice.
    #[inline]
    pub(crate) fn lock(&self, deadline: Deadline, waits_for: impl Fn(u32)) -> Result<Got, Refused> {
        match self.try_lock() {
            Err(Refused::Busy) => self.lock_slowly(deadline, waits_for),
            answer => answer,
        }
    }

    #[cold]
    fn lock_slowly(&self, deadline: Deadline, waits_for: impl Fn(u32)) -> Result<Got, Refused> {
        while !deadline.is_expired() {
            waits_for(self.holder());
            let until = super::clock::monotonic_after(super::futex::slice_until(deadline));
            // SAFETY: invariant 1; the timespec outlives the call.
            match got(unsafe { pthread_mutex_clocklock(self.0.get(), libc::CLOCK_MONOTONIC, &raw const until) }) {
                Err(Refused::Busy) => {}
                answer => return answer,
            }
        }
        Err(Refused::Busy)
    }

    /// Locks if nobody holds it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Result<Got, Refused> {
        // SAFETY: invariant 1.
        got(unsafe { libc::pthread_mutex_trylock(self.0.get()) })
    }

    /// Says that what a dead holder guarded is in order, or that somebody has noted that it is not. For the thread that
    /// got [`Got::OwnerDied`]; without it the mutex is of no use to anybody any more once it is unlocked.
    pub(crate) fn make_consistent(&self) {
        // SAFETY: invariant 1. For whoever does not hold it, or holds it in order, it does nothing.
        let result = unsafe { libc::pthread_mutex_consistent(self.0.get()) };
        debug_assert_eq!(result, 0, "only for who has got OwnerDied");
    }

    /// Unlocks; false, and nothing done, for a thread that does not hold it.
    #[inline]
    pub(crate) fn unlock(&self) -> bool {
        // SAFETY: invariant 1; the error-checking kind answers EPERM to who does not hold it.
        (unsafe { libc::pthread_mutex_unlock(self.0.get()) }) == 0
    }

    /// Whether the calling thread holds it.
    pub(crate) fn is_mine(&self) -> bool {
        self.holder() == super::thread::cached_id()
    }

    /// Whether somebody holds it, alive or dead.
    pub(crate) fn is_held(&self) -> bool {
        self.holder() != 0
    }

    /// Whether a living thread of this process holds it: then the memory must stay (invariant 2).
    pub(crate) fn is_held_here(&self) -> bool {
        let (holder, process) = (self.holder(), std::process::id());
        // SAFETY: signal 0 is not sent; the call only says whether this process has such a thread.
        holder != 0 && unsafe { libc::syscall(libc::SYS_tgkill, process, holder, 0) } == 0
    }

    /// The thread that holds it, as its own process knows it; 0 for nobody, and for one that has died.
    pub(crate) fn holder(&self) -> u32 {
        const TID: u32 = 0x3FFF_FFFF;
        let word = self.word().load(Ordering::Relaxed);
        if word & OWNER_DIED != 0 { 0 } else { word & TID }
    }

    /// Whether its last holder has died, and nobody has had it since.
    #[inline]
    pub(crate) fn is_left_by_the_dead(&self) -> bool {
        self.word().load(Ordering::Relaxed) & OWNER_DIED != 0
    }

    /// What the kernel and glibc know it by, and who waits sleeps on. To be read only.
    pub(crate) fn word(&self) -> &AtomicU32 {
        // SAFETY: invariant 3; a word that others write is read as an atomic.
        unsafe { AtomicU32::from_ptr(self.0.get().cast()) }
    }
}

impl std::fmt::Debug for Robust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Robust").field("holder", &self.holder()).finish()
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    let result = if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) };
    during("making a lock in shared memory", result)
}

fn got(result: libc::c_int) -> Result<Got, Refused> {
    match result {
        0 => Ok(Got::Clean),
        libc::EOWNERDEAD => Ok(Got::OwnerDied),
        libc::EBUSY | libc::ETIMEDOUT => Err(Refused::Busy),
        libc::EDEADLK => Err(Refused::Own),
        other => Err(Refused::Broken(io::Error::from_raw_os_error(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A mutex of this test's own, which needs no shared memory to be one.
    fn mutex() -> Box<Robust> {
        // SAFETY: a pthread_mutex_t is plain data, and zeroes are a value of it.
        let mutex: Box<Robust> = Box::new(unsafe { std::mem::zeroed() });
        // SAFETY: nobody else has it yet.
        unsafe { mutex.initialise() }.unwrap();
        mutex
    }

    fn elsewhere<T: Send>(body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(body).join().unwrap())
    }

    #[test]
    fn it_keeps_others_out_and_knows_its_holder() {
        let mutex = mutex();
        assert!(!mutex.is_held());
        assert!(matches!(mutex.lock(Deadline::NEVER, |_| {}), Ok(Got::Clean)));
        assert!(mutex.is_mine() && mutex.is_held_here());
        assert!(matches!(mutex.try_lock(), Err(Refused::Own)));
        assert!(matches!(mutex.lock(Deadline::NEVER, |_| {}), Err(Refused::Own)));
        elsewhere(|| {
            assert!(mutex.is_held() && !mutex.is_mine() && mutex.is_held_here());
            assert!(matches!(mutex.try_lock(), Err(Refused::Busy)));
            assert!(matches!(mutex.lock(Deadline::after(Duration::from_millis(5)), |_| {}), Err(Refused::Busy)));
            assert!(!mutex.unlock(), "somebody else's");
        });
        assert!(mutex.unlock());
        assert!(!mutex.unlock(), "nobody's");
        assert!(!mutex.is_held());
    }

    #[test]
    fn the_end_of_a_thread_is_the_death_of_a_holder() {
        let mutex = mutex();
        for _ in 0..3 {
            elsewhere(|| assert!(mutex.lock(Deadline::NEVER, |_| {}).is_ok()));
            assert!(matches!(mutex.lock(Deadline::after(Duration::from_secs(60)), |_| {}), Ok(Got::OwnerDied)));
            mutex.make_consistent();
            assert!(mutex.unlock());
        }
        assert!(matches!(mutex.try_lock(), Ok(Got::Clean)));
        assert!(mutex.unlock());
    }

    #[test]
    fn a_mutex_that_was_freed_without_a_wake_up_is_got() {
        let mutex = mutex();
        // SAFETY: invariant 3. Nobody has the mutex on a list, so it may be written.
        let word = unsafe { AtomicU32::from_ptr(mutex.0.get().cast()) };
        word.store(super::super::thread::cached_id(), Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(matches!(mutex.lock(Deadline::after(Duration::from_secs(60)), |_| {}), Ok(Got::Clean)));
                assert!(mutex.unlock());
            });
            while super::super::futex::sleepers_shared(word) == 0 {
                std::thread::yield_now();
            }
            word.store(0, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_holder_that_dies_before_it_made_the_mutex_consistent_is_found_again() {
        let mutex = mutex();
        elsewhere(|| assert!(matches!(mutex.lock(Deadline::NEVER, |_| {}), Ok(Got::Clean))));
        elsewhere(|| assert!(matches!(mutex.lock(Deadline::NEVER, |_| {}), Ok(Got::OwnerDied))));
        assert!(!mutex.is_held());
        assert!(matches!(mutex.try_lock(), Ok(Got::OwnerDied)));
        mutex.make_consistent();
        assert!(mutex.unlock());
    }
}
