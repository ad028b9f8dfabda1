//! How a waiter sleeps: one trait, and a parker of the calling thread that may be replaced.
//!
//! Plain threads sleep on a futex. A green scheduler [`install`]s its own parker while it runs a task, and everything
//! in `sync` and `queue` then suspends that task instead of the hub's thread. Called by `WaitList`'s users only.

use super::Identity;
use super::platform::{Futex, thread_local};
use crate::sys::clock::Deadline;
use std::cell::{OnceCell, RefCell};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Puts one waiter to sleep and wakes it.
///
/// `unpark` leaves a token that the next `park` takes instead of sleeping, so it is never too early. It may also be
/// late: a waiter whose deadline passed may have gone on before the ring it was promised arrives, and the token then
/// cuts a later, unrelated `park` short. Every caller of `park` therefore looks at its place and parks again.
pub(crate) trait Park: Send + Sync + Debug {
    /// Sleeps until a token is there and takes it, at most until `deadline`. May return for no reason, and may unwind
    /// (a cancelled green task): its callers give up their place then. Does not unwind in a thread that is unwinding
    /// already: a wait on a condition takes its lock back on the way out.
    fn park(&self, deadline: Deadline);

    /// Leaves the token and wakes the sleeper. Called from any thread, never with a lock of this crate held. Must not
    /// unwind: others may be rung after this one.
    fn unpark(&self);
}

thread_local! {
    static PARKING: Parking = Parking::default();
}

/// A thread's parkers: its own, and the one that stands in for it.
#[derive(Default)]
struct Parking {
    own: OnceCell<Arc<ThreadParker>>,
    installed: RefCell<Option<Arc<dyn Park>>>,
}

/// The parker that a wait begun here sleeps on.
pub(crate) fn current() -> Arc<dyn Park> {
    let parker = PARKING.try_with(|parking| -> Arc<dyn Park> {
        match &*parking.installed.borrow() {
            Some(installed) => Arc::clone(installed),
            None => Arc::clone(parking.own.get_or_init(Arc::default)) as Arc<dyn Park>,
        }
    });
    // In a destructor of another thread-local value ours may be gone; a parker for one wait does as well.
    parker.unwrap_or_else(|_| Arc::<ThreadParker>::default())
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
    Installed { previous, identity: Identity::replace(Some(identity)), _not_send: PhantomData }
}

/// Puts back, when dropped, the parker and the identity that were current before.
#[must_use = "dropping this puts the previous parker back"]
pub(crate) struct Installed {
    previous: Option<Arc<dyn Park>>,
    identity: Option<Identity>,
    _not_send: PhantomData<*const ()>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        Identity::replace(self.identity);
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
/// | `EMPTY` | awake, no token | the owner, taking the token or waking |
/// | `TOKEN` | a token is there | anybody, in `unpark` |
/// | `ASLEEP` | the owner sleeps or is about to | the owner, in `park`, from `EMPTY` |
///
/// This is the parker of std (`sys/sync/thread_parking/futex.rs`), which returns to its caller also for no reason.
/// Orderings: `unpark` releases and `park` acquires, so what was written before the ring is seen after it. Callers do
/// not depend on that (they look under a mutex), but whoever installs a parker elsewhere may expect it.
#[derive(Debug, Default)]
struct ThreadParker {
    futex: Futex,
}

const EMPTY: u32 = 0;
const TOKEN: u32 = 1;
const ASLEEP: u32 = 2;

impl Park for ThreadParker {
    fn park(&self, deadline: Deadline) {
        let word = &self.futex.word;
        if word.compare_exchange(EMPTY, ASLEEP, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.futex.wait(ASLEEP, deadline);
        }
        word.swap(EMPTY, Ordering::Acquire);
    }

    fn unpark(&self) {
        if self.futex.word.swap(TOKEN, Ordering::Release) == ASLEEP {
            self.futex.wake_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_token_left_before_is_not_lost() {
        let parker = ThreadParker::default();
        parker.unpark();
        parker.unpark();
        parker.park(Deadline::NEVER);
        assert_eq!(parker.futex.word.load(Ordering::Relaxed), EMPTY);
    }

    #[test]
    fn a_passed_deadline_leaves_no_trace() {
        let parker = ThreadParker::default();
        parker.park(Deadline::after(Duration::from_millis(1)));
        assert_eq!(parker.futex.word.load(Ordering::Relaxed), EMPTY);
    }

    #[test]
    fn a_sleeper_is_woken_from_elsewhere() {
        let parker = Arc::new(ThreadParker::default());
        let turn = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=1_000 {
                    turn.store(round, Ordering::Release);
                    parker.unpark();
                    while turn.load(Ordering::Acquire) == round {
                        std::thread::yield_now();
                    }
                }
            });
            for round in 1..=1_000 {
                while turn.load(Ordering::Acquire) != round {
                    parker.park(Deadline::NEVER);
                }
                turn.store(0, Ordering::Release);
            }
        });
    }

    #[test]
    fn an_installed_parker_is_current_until_its_guard_goes() {
        let mine: Arc<dyn Park> = Arc::new(ThreadParker::default());
        assert!(is_plain_thread());
        let (me, task) = (Identity::current(), Identity::new());
        let guard = install(Arc::clone(&mine), task);
        assert!(Arc::ptr_eq(&current(), &mine));
        assert_eq!(Identity::current(), task);
        assert!(!is_plain_thread());
        drop(guard);
        assert!(!Arc::ptr_eq(&current(), &mine));
        assert_eq!(Identity::current(), me);
        assert!(Arc::ptr_eq(&current(), &current()), "a thread has one parker of its own");
    }
}

/// A parker for tests that is no thread's own: it counts, and can unwind like a cancelled task.
#[cfg(test)]
pub(crate) mod foreign {
    pub(crate) use super::install;
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::sync::{Condvar, Mutex};
    use std::thread;
    use std::time::Duration;

    #[derive(Debug, Default)]
    pub(crate) struct Foreign {
        pub(crate) parks: AtomicUsize,
        pub(crate) unparks: AtomicUsize,
        pub(crate) cancelled: AtomicBool,
        token: Mutex<bool>,
        woken: Condvar,
    }

    impl Park for Foreign {
        fn park(&self, deadline: Deadline) {
            self.parks.fetch_add(1, Ordering::SeqCst);
            let patience = deadline.remaining().unwrap_or(Duration::from_secs(60));
            let token = self.token.lock().unwrap();
            let (mut token, _) = self.woken.wait_timeout_while(token, patience, |token| !*token).unwrap();
            *token = false;
            drop(token);
            if self.cancelled.load(Ordering::SeqCst) && !thread::panicking() {
                std::panic::resume_unwind(Box::new("cancelled"));
            }
        }

        fn unpark(&self) {
            self.unparks.fetch_add(1, Ordering::SeqCst);
            *self.token.lock().unwrap() = true;
            self.woken.notify_one();
        }
    }

    impl Foreign {
        /// Makes the task that sleeps here unwind.
        pub(crate) fn cancel(&self) {
            self.cancelled.store(true, Ordering::SeqCst);
            self.unpark();
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
            assert!(foreign.unparks.load(Ordering::SeqCst) >= 1, "woken by something else");
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
