//! How a waiter sleeps: one trait, and a parker of the calling thread that may be replaced.
//!
//! Plain threads sleep on a futex. A green scheduler [`install`]s its own parker while it runs a task, and everything
//! in `sync` and `queue` then suspends that task instead of the hub's thread. Called by `WaitList`'s users only.

use super::Identity;
use super::platform::{Futex, has_passed, thread_local};
#[cfg(not(crewkit_loom))]
use super::platform::{Mutex, MutexGuard};
use crate::sys::clock::Deadline;
use std::cell::{OnceCell, RefCell};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Puts one waiter to sleep and wakes it.
///
/// Whoever ends a wait does two things: [`call`](Self::call), under the mutex of the line in which the waiter stands, and
/// [`ring`](Self::ring), after that mutex was left. So a waiter that is in no line is not called, and the token that it may
/// still have is [forgotten](Self::forget) when its next wait begins: a token is never one of an earlier wait, and who
/// parks for one line only need not look there to know that it was called. For that, a thread begins no other wait
/// between lining up and parking.
pub(crate) trait Park: Send + Sync + Debug {
    /// Takes away the token, if there is one.
    fn forget(&self);

    /// Sleeps until a token is there, and takes it, at most until `deadline`; whether it did. May unwind (a cancelled green
    /// task): its callers give up their place then. Does not unwind in a thread that is unwinding already: a wait on a
    /// condition takes its lock back on the way out.
    fn park(&self, deadline: Deadline) -> bool;

    /// Leaves the token. Called from any thread, with a mutex of this crate held: so it does nothing else.
    fn call(&self);

    /// Wakes the sleeper, which finds the token; perhaps long after it has gone on. Called from any thread, never with a
    /// lock of this crate held. Must not unwind: others may be rung after this one. Must not wait: whoever rings may stand in a
    /// line of its own, as one does that lets a lock go to wait on a condition.
    fn ring(&self);
}

thread_local! {
    static PARKING: Parking = Parking::default();
}

/// A thread's parkers: its own, and the one that stands in for it.
#[derive(Default)]
struct Parking {
    own: OnceCell<Own>,
    installed: RefCell<Option<Arc<dyn Park>>>,
}

/// What a wait sleeps on, and who ends it rings.
#[derive(Clone, Debug)]
pub(crate) enum Parker {
    /// The calling thread's own, which costs nothing to share.
    Own(Lasting),
    /// One that stands in for it, or for that of a thread which is about to end.
    Other(Arc<dyn Park>),
}

impl Parker {
    /// [`Park::park`]
    pub(crate) fn park(&self, deadline: Deadline) -> bool {
        match self {
            Self::Own(parker) => parker.park(deadline),
            Self::Other(parker) => parker.park(deadline),
        }
    }

    /// [`Park::call`]
    #[inline]
    pub(super) fn call(&self) {
        match self {
            Self::Own(parker) => parker.call(),
            Self::Other(parker) => parker.call(),
        }
    }

    /// [`Park::ring`]
    #[inline]
    pub(super) fn ring(&self) {
        match self {
            Self::Own(parker) => parker.ring(),
            Self::Other(parker) => parker.ring(),
        }
    }

    fn forget(&self) {
        match self {
            Self::Own(parker) => parker.forget(),
            Self::Other(parker) => parker.forget(),
        }
    }
}

/// The parker that the wait which begins here sleeps on.
pub(crate) fn current() -> Parker {
    let parker = PARKING.try_with(|parking| match &*parking.installed.borrow() {
        Some(installed) => Parker::Other(Arc::clone(installed)),
        None => Parker::Own(parking.own.get_or_init(Own::default).lasting()),
    });
    // In a destructor of another thread-local value ours may be gone; a parker for one wait does as well.
    let parker = parker.unwrap_or_else(|_| Parker::Other(Arc::<ThreadParker>::default()));
    parker.forget();
    parker
}

/// Whether waits begun here put the whole thread to sleep. Where they do not, spinning and yielding first would only
/// keep back the task that is being waited for.
pub(crate) fn is_plain_thread() -> bool {
    PARKING.try_with(|parking| parking.installed.borrow().is_none()).unwrap_or(true)
}

/// Makes `parker` what waits begun on this thread sleep on, and `identity` who waits and holds here, until the answer is
/// dropped.
#[cfg_attr(not(test), expect(dead_code, reason = "green tasks will call it; until then the tests do"))]
pub(crate) fn install(parker: Arc<dyn Park>, identity: Identity) -> Installed {
    let previous = PARKING.with(|parking| parking.installed.replace(Some(parker)));
    Installed { previous, identity: identity.replace(), _not_send: PhantomData }
}

/// Puts back, when dropped, the parker and the identity that were current before.
#[must_use = "dropping this puts the previous parker back"]
pub(crate) struct Installed {
    previous: Option<Arc<dyn Park>>,
    identity: Identity,
    _not_send: PhantomData<*const ()>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        self.identity.replace();
        let previous = self.previous.take();
        // Fails only while the thread ends, when nothing is left to put back.
        let replaced = PARKING.try_with(|parking| parking.installed.replace(previous));
        drop(replaced);
    }
}

/// The parker of a plain thread.
///
/// | `word` | Meaning | Who makes it so |
/// |---|---|---|
/// | `EMPTY` | no token | the owner |
/// | `TOKEN` | a token is there | anybody, in `call` |
///
/// The word does not say whether the owner sleeps, so a ring is always a system call; a word that did would cost each wait
/// and each call a locked operation more. As the mutex of a line is between a call and what the owner did before it, and
/// after a ring nobody is called that is in no line, plain stores will do.
///
/// Orderings: `call` releases and `park` acquires, so what was written before the call is seen after it; above all that the
/// caller has taken the latch, which [`Latch::pass`](super::Latch::pass) looks at next. Models of waiters cannot show
/// that this is needed, as the mutex which stands for the latch there orders as much itself; what would be missed without
/// it, the latch's own model shows, in which another word stands for the token.
#[derive(Debug, Default)]
pub(crate) struct ThreadParker {
    futex: Futex,
}

const EMPTY: u32 = 0;
const TOKEN: u32 = 1;

impl Park for ThreadParker {
    fn forget(&self) {
        self.futex.word.store(EMPTY, Ordering::Relaxed);
    }

    fn park(&self, deadline: Deadline) -> bool {
        while self.futex.word.load(Ordering::Acquire) == EMPTY {
            if has_passed(deadline) {
                return false;
            }
            self.futex.wait(EMPTY, deadline);
        }
        self.forget();
        true
    }

    fn call(&self) {
        self.futex.word.store(TOKEN, Ordering::Release);
    }

    fn ring(&self) {
        self.futex.wake_one();
    }
}

/// A thread's parker as others hold it, also when that thread has ended.
#[cfg(not(crewkit_loom))]
type Lasting = &'static ThreadParker;
#[cfg(crewkit_loom)]
type Lasting = Arc<ThreadParker>;

/// The calling thread's parker. Its memory is never given back, but goes to another thread when this one ends: who rings it
/// late only wakes somebody for nothing, and neither a wait nor a call counts references.
#[derive(Debug)]
struct Own(Lasting);

#[cfg(not(crewkit_loom))]
impl Own {
    fn lasting(&self) -> Lasting {
        self.0
    }

    /// The parkers of threads that have ended, unless somebody else has them for longer than a moment. In a process forked
    /// out of several threads that may be for ever; then there are some more of them, or some are lost.
    fn spare() -> Option<MutexGuard<'static, Vec<Lasting>>> {
        static SPARE: Mutex<Vec<Lasting>> = Mutex::new(Vec::new());
        let look = || {
            let spare = SPARE.try_lock();
            if spare.is_none() {
                std::thread::yield_now();
            }
            spare
        };
        (0..100).find_map(|_| look())
    }
}

#[cfg(not(crewkit_loom))]
impl Default for Own {
    fn default() -> Self {
        let spare = Self::spare().and_then(|mut spare| spare.pop());
        Self(spare.unwrap_or_else(|| Box::leak(Box::default())))
    }
}

#[cfg(not(crewkit_loom))]
impl Drop for Own {
    fn drop(&mut self) {
        if let Some(mut spare) = Self::spare() {
            spare.push(self.0);
        }
    }
}

/// A model's objects belong to one execution.
#[cfg(crewkit_loom)]
impl Own {
    fn lasting(&self) -> Lasting {
        Arc::clone(&self.0)
    }
}

#[cfg(crewkit_loom)]
impl Default for Own {
    fn default() -> Self {
        Self(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;
    use std::{ptr, thread};

    fn own() -> Lasting {
        match current() {
            Parker::Own(parker) => parker,
            Parker::Other(_) => panic!("not a plain thread"),
        }
    }

    #[test]
    fn parkers_of_ended_threads_are_used_again() {
        let one_after_the_other = || -> BTreeSet<_> {
            (0..200).map(|_| thread::spawn(|| ptr::from_ref(own()).addr()).join().unwrap()).collect()
        };
        // Other tests of this program end threads too: each thread may take another's spare, and leave one more. Not for ever.
        let is_spared = (0..50).any(|_| one_after_the_other().len() < 150);
        assert!(is_spared, "always a new parker, for threads that never were two");
    }

    #[test]
    fn a_token_left_before_is_taken_once() {
        let parker = ThreadParker::default();
        parker.call();
        parker.call();
        assert!(parker.park(Deadline::NEVER));
        assert!(!parker.park(Deadline::after(Duration::ZERO)));
    }

    #[test]
    fn a_wait_begins_without_a_token() {
        current().call();
        assert!(!current().park(Deadline::after(Duration::ZERO)));
    }

    #[test]
    fn a_ring_without_a_call_wakes_nobody() {
        let parker = ThreadParker::default();
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| parker.park(Deadline::after(Duration::from_millis(30))));
            while !sleeper.is_finished() {
                parker.ring();
                thread::yield_now();
            }
            assert!(!sleeper.join().unwrap());
        });
    }

    #[test]
    fn a_sleeper_is_woken_from_elsewhere() {
        let (ping, pong) = (ThreadParker::default(), ThreadParker::default());
        let strike = |parker: &ThreadParker| {
            parker.call();
            parker.ring();
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    assert!(ping.park(Deadline::NEVER));
                    strike(&pong);
                }
            });
            for _ in 0..1_000 {
                strike(&ping);
                assert!(pong.park(Deadline::NEVER));
            }
        });
    }

    #[test]
    fn an_installed_parker_is_current_until_its_guard_goes() {
        let mine: Arc<dyn Park> = Arc::new(ThreadParker::default());
        let is_mine = || matches!(current(), Parker::Other(installed) if Arc::ptr_eq(&installed, &mine));
        assert!(is_plain_thread());
        let (me, task) = (Identity::current(), Identity::new());
        let guard = install(Arc::clone(&mine), task);
        assert!(is_mine());
        assert_eq!(Identity::current(), task);
        assert!(!is_plain_thread());
        drop(guard);
        assert!(!is_mine());
        assert_eq!(Identity::current(), me);
        assert!(ptr::eq(own(), own()), "a thread has one parker of its own");
    }
}

/// A parker for tests that is no thread's own: it counts, and can unwind like a cancelled task.
#[cfg(test)]
pub(crate) mod foreign {
    pub(crate) use super::install;
    use super::*;
    use std::mem;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::sync::{Condvar, Mutex, MutexGuard};
    use std::thread;
    use std::time::Duration;

    #[derive(Debug, Default)]
    pub(crate) struct Foreign {
        pub(crate) parks: AtomicUsize,
        pub(crate) rings: AtomicUsize,
        pub(crate) cancelled: AtomicBool,
        token: Mutex<bool>,
        woken: Condvar,
        bed: Mutex<()>,
    }

    impl Park for Foreign {
        fn forget(&self) {
            *self.token.lock().unwrap() = false;
        }

        fn park(&self, deadline: Deadline) -> bool {
            self.parks.fetch_add(1, Ordering::SeqCst);
            let patience = deadline.remaining().unwrap_or(Duration::from_secs(60));
            let asleep = |token: &mut bool| !*token && !self.cancelled.load(Ordering::SeqCst);
            let token = self.token.lock().unwrap();
            let (mut token, _) = self.woken.wait_timeout_while(token, patience, asleep).unwrap();
            let was_called = mem::take(&mut *token);
            drop(token);
            drop(self.bed.lock().unwrap());
            if self.cancelled.load(Ordering::SeqCst) && !thread::panicking() {
                std::panic::resume_unwind(Box::new("cancelled"));
            }
            was_called
        }

        fn call(&self) {
            *self.token.lock().unwrap() = true;
        }

        fn ring(&self) {
            self.rings.fetch_add(1, Ordering::SeqCst);
            self.woken.notify_one();
        }
    }

    impl Foreign {
        /// Keeps the task that sleeps here from going on, though it be woken, until the answer is dropped.
        pub(crate) fn nap(&self) -> MutexGuard<'_, ()> {
            self.bed.lock().unwrap()
        }

        /// Makes the task that sleeps here unwind, now or when it sleeps next.
        pub(crate) fn cancel(&self) {
            let token = self.token.lock().unwrap();
            self.cancelled.store(true, Ordering::SeqCst);
            drop(token);
            self.woken.notify_one();
        }

        /// Waits until a task begins to sleep here for the `nth` time.
        pub(crate) fn until_parked(&self, nth: usize) {
            while self.parks.load(Ordering::SeqCst) < nth {
                thread::yield_now();
            }
        }
    }

    /// Runs `blocking` on a thread whose waits go to a foreign parker, `wake` once it sleeps there, and answers what
    /// `blocking` does. Panics if the wait went anywhere else.
    pub(crate) fn blocks_here<T: Send>(blocking: impl FnOnce() -> T + Send, wake: impl FnOnce()) -> T {
        let foreign = Arc::new(Foreign::default());
        thread::scope(|scope| {
            let parker = Arc::clone(&foreign);
            let waiter = scope.spawn(move || {
                let _installed = install(parker, Identity::new());
                blocking()
            });
            foreign.until_parked(1);
            wake();
            let result = waiter.join().unwrap();
            assert!(foreign.rings.load(Ordering::SeqCst) >= 1, "woken by something else");
            result
        })
    }

    /// Runs `blocking` as a task that is cancelled while it sleeps.
    pub(crate) fn is_cancelled(blocking: impl FnOnce() + Send) {
        let foreign = Arc::new(Foreign::default());
        thread::scope(|scope| {
            let parker = Arc::clone(&foreign);
            let waiter = scope.spawn(move || {
                let _installed = install(parker, Identity::new());
                blocking();
            });
            foreign.until_parked(1);
            foreign.cancel();
            assert!(waiter.join().is_err(), "the task was to unwind");
        });
    }
}
