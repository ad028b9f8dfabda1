//! The latch in which the queues keep their ends and their state: its shipped lines, on loom's types. The models of queues
//! have loom's mutex in its place. Nobody spins here, so whoever finds the latch taken sleeps.
#![cfg(crewkit_loom)]

/// loom's types cannot be made in a constant.
mod constants {
    macro_rules! const_on_the_machine {
        ($function:item) => {
            $function
        };
    }
    pub(crate) use const_on_the_machine;
}
use constants::const_on_the_machine;

#[path = "../../src/primitive/latch.rs"]
mod latch;

mod platform {
    use super::sys::clock::Deadline;
    use loom::sync::atomic::fence;
    use loom::sync::{Condvar, Mutex};
    use std::sync::atomic::Ordering;

    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::AtomicU32;

    /// The mutex is the kernel's lock, under which it compares the word and looks for sleepers.
    #[derive(Debug, Default)]
    pub(crate) struct Futex {
        pub(crate) word: AtomicU32,
        bucket: Mutex<()>,
        sleepers: Condvar,
    }

    impl Futex {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        pub(crate) fn wait(&self, expected: u32, _: Deadline) {
            let bucket = self.bucket.lock().expect("no model goes on after a panic");
            if self.word.load(Ordering::SeqCst) == expected {
                drop(self.sleepers.wait(bucket));
            }
        }

        pub(crate) fn wake_one(&self) {
            let _bucket = self.bucket.lock().expect("no model goes on after a panic");
            self.sleepers.notify_one();
        }
    }

    /// The kernel's fence in all threads makes full fences of both.
    pub(crate) fn fence_all_threads() -> bool {
        fence(Ordering::SeqCst);
        true
    }

    pub(crate) fn half_fence() {
        fence(Ordering::SeqCst);
    }
}

mod spin {
    pub(crate) fn comes_true_soon(_: impl FnMut() -> bool) -> bool {
        false
    }
}

mod sys {
    pub(crate) mod clock {
        use std::time::Duration;

        pub(crate) struct Deadline;

        impl Deadline {
            pub(crate) const NEVER: Self = Self;

            pub(crate) fn after(_: Duration) -> Self {
                Self
            }
        }
    }
}

use crewkit::model::Arc;
use crewkit_loom_tests::{Plain, explore, spawn};
use latch::Latch;
use loom::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

#[test]
fn one_at_a_time_and_in_order() {
    explore("latch: (+1, +1) × (+1, +1)", || {
        let latch = Arc::new(Latch::new(0));
        let other = spawn(&latch, |latch| (0..2).for_each(|_| *latch.lock() += 1));
        (0..2).for_each(|_| *latch.lock() += 1);
        other.join().unwrap();
        assert_eq!(*latch.lock(), 4);
    });
}

#[test]
fn both_sleepers_are_woken() {
    explore("latch: +1 × +1 × +1", || {
        let latch = Arc::new(Latch::new(0));
        let others = [(); 2].map(|()| spawn(&latch, |latch| *latch.lock() += 1));
        *latch.lock() += 1;
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(*latch.lock(), 3);
    });
}

#[test]
fn a_try_takes_the_latch_only_while_it_is_free() {
    explore("latch: +1 × try +1 × try +1", || {
        let latch = Arc::new(Latch::new(0));
        let try_add = |latch: &Latch<usize>| latch.try_lock().map(|mut value| *value += 1).is_some();
        let others = [(); 2].map(|()| spawn(&latch, try_add));
        *latch.lock() += 1;
        let added = others.map(|other| usize::from(other.join().unwrap()));
        assert_eq!(*latch.lock(), 1 + added.iter().sum::<usize>());
    });
}

#[test]
fn who_passes_sees_what_the_holder_did() {
    explore("latch: (take, show, write, leave) × (see, pass)", || {
        let shared = Arc::new((Latch::new(()), AtomicBool::new(false), Plain::new(0)));
        let holder = spawn(&shared, |(latch, is_seen, plain)| {
            let _guard = latch.lock();
            is_seen.store(true, Ordering::Release);
            plain.add(1);
        });
        let (latch, is_seen, plain) = &*shared;
        if is_seen.load(Ordering::Acquire) {
            latch.pass();
            assert_eq!(plain.get(), 1);
        }
        holder.join().unwrap();
    });
}
