//! Processes that die in a model: threads that stop for good before one of their steps.
//!
//! A step is an operation on an atomic or a [`Memory`] of this module, on a [`Robust`], or on a [`SharedFutex`]. [`dies_before`] runs a
//! body and ends it before its n-th step; what the kernel does for a dead process is called burying: the mutexes that it
//! held say so to the next, others see that its [`Life`] is over, and sleepers look around. So a protocol is explored for
//! each n, until the body lives through it.
//!
//! There is no clock. That nobody sleeps on a [`SharedFutex`] for longer than a slice is there for the sake of deaths, so
//! in a model a slice ends when somebody has died, and not otherwise.

use crate::{explore_deaths, explore_large};
use loom::sync::{Condvar, Mutex};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

loom::thread_local! {
    static STEPS: Cell<Option<usize>> = Cell::new(None);
    static ME: Cell<usize> = Cell::new(0);
    static IS_DEAD: Cell<bool> = Cell::new(false);
    static DEATHS_SEEN: Cell<usize> = Cell::new(0);
}

loom::lazy_static! {
    /// A bit for each number that has died.
    static ref DEATHS: loom::sync::atomic::AtomicUsize = loom::sync::atomic::AtomicUsize::new(0);
}

/// What unwinds the dead.
struct Dead;

/// One step: the end, if there were enough.
fn step() {
    STEPS.with(|steps| match steps.get() {
        Some(0) => {
            steps.set(None);
            IS_DEAD.with(|dead| dead.set(true));
            resume_unwind(Box::new(Dead));
        }
        Some(left) => steps.set(Some(left - 1)),
        None => {}
    });
}

/// Whether this thread unwinds because it has died: what its destructors do is not there any more.
fn is_dead() -> bool {
    IS_DEAD.with(Cell::get)
}

/// Runs `body` until its step `number`, counted from 0; whether it died there, rather than come to its end before.
pub fn dies_before(number: usize, body: impl FnOnce()) -> bool {
    STEPS.with(|steps| steps.set(Some(number)));
    let result = catch_unwind(AssertUnwindSafe(body));
    STEPS.with(|steps| steps.set(None));
    IS_DEAD.with(|dead| dead.set(false));
    match result {
        Ok(()) => false,
        Err(dead) if dead.is::<Dead>() => true,
        Err(other) => resume_unwind(other),
    }
}

/// Explores `model`, which is told of a step and answers whether a process died before it, for each step until none does.
/// Models of two threads with one preemption fewer than others, of three (so their names say) with two.
pub fn at_each_step(name: &str, model: impl Fn(usize) -> bool + Send + Sync + Copy + 'static) {
    let has_three = name.matches('×').count() > 1;
    for last in 0.. {
        // Not part of the model.
        let has_died = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&has_died);
        let body = move || {
            if model(last) {
                noted.store(true, Ordering::Relaxed);
            }
        };
        let name = format!("{name}, dies before step {last}");
        if has_three {
            explore_deaths(&name, body)
        } else {
            explore_large(&name, body)
        }
        if !has_died.load(Ordering::Relaxed) {
            assert!(last > 1, "it has steps");
            return;
        }
    }
}

/// Names this thread of a model, as the kernel's ids do: any number but 0.
pub fn i_am(number: usize) {
    ME.with(|me| me.set(number));
}

/// A fence.
pub fn fence(order: Ordering) {
    step();
    loom::sync::atomic::fence(order);
}

/// The same: that it comes behind a read-modify-write helps on some machines only.
pub fn fence_after_exchange() {
    fence(Ordering::SeqCst);
}

/// A model without deadlines.
pub fn has_passed<D>(_: D) -> bool {
    false
}

macro_rules! atomics {
    ($($name:ident: $value:ty),*) => { $(
        /// An atomic whose operations are steps.
        #[derive(Debug)]
        pub struct $name(loom::sync::atomic::$name);

        impl Default for $name {
            fn default() -> Self {
                Self::new(0)
            }
        }

        impl $name {
            /// As std's; so below.
            pub fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            /// A step.
            pub fn load(&self, order: Ordering) -> $value {
                step();
                self.0.load(order)
            }

            /// A step.
            pub fn store(&self, value: $value, order: Ordering) {
                if !is_dead() {
                    step();
                    self.0.store(value, order);
                }
            }

            /// A step.
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                if is_dead() {
                    return self.0.load(Ordering::Relaxed);
                }
                step();
                self.0.swap(value, order)
            }

            /// A step.
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                step();
                self.0.compare_exchange(current, new, success, failure)
            }

            /// Two steps, and more if others meddle.
            pub fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                mut change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut before = self.load(fetch);
                while let Some(after) = change(before) {
                    match self.compare_exchange(before, after, set, fetch) {
                        Ok(_) => return Ok(before),
                        Err(now) => before = now,
                    }
                }
                Err(before)
            }

            /// A step.
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                if is_dead() {
                    return self.0.load(Ordering::Relaxed);
                }
                step();
                self.0.fetch_add(value, order)
            }

            /// A step.
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                if is_dead() {
                    return self.0.load(Ordering::Relaxed);
                }
                step();
                self.0.fetch_sub(value, order)
            }

            /// A step.
            pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                if is_dead() {
                    return self.0.load(Ordering::Relaxed);
                }
                step();
                self.0.fetch_and(value, order)
            }
        }
    )* };
}

atomics!(AtomicU32: u32, AtomicU64: u64);

/// A word that is no atomic: loom reports whoever does not come after whoever else has written it.
#[derive(Debug, Default)]
pub struct Memory(loom::cell::Cell<u64>);

impl Memory {
    /// A step.
    pub fn read(&self) -> u64 {
        step();
        self.0.get()
    }

    /// A step.
    pub fn write(&self, word: u64) {
        step();
        self.0.set(word);
    }
}

/// How a mutex was got; as `sys::robust` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// Its last holder unlocked it.
    Clean,
    /// Its last holder died with it.
    OwnerDied,
}

/// Why a mutex was not got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Somebody else holds it.
    Busy,
    /// This thread does.
    Own,
}

/// The kernel's and the C library's part of a robust mutex, each of whose calls is one step.
#[derive(Debug, Default)]
pub struct Robust {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    holder: usize,
    owner_died: bool,
    is_consistent: bool,
}

impl Robust {
    fn state(&self) -> loom::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it, waiting for its holder to release it or to die. A model waits without a deadline.
    pub fn lock<D>(&self, _: D, _: impl Fn(u32)) -> Result<Got, Refused> {
        step();
        let me = ME.with(Cell::get);
        let mut state = self.state();
        if state.holder == me {
            return Err(Refused::Own);
        }
        while state.holder != 0 {
            state = self.released.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(state.enter(me))
    }

    /// Takes it if it is free.
    pub fn try_lock(&self) -> Result<Got, Refused> {
        step();
        let me = ME.with(Cell::get);
        let mut state = self.state();
        match state.holder {
            0 => Ok(state.enter(me)),
            holder if holder == me => Err(Refused::Own),
            _ => Err(Refused::Busy),
        }
    }

    /// What is guarded is in order.
    pub fn make_consistent(&self) {
        step();
        self.state().is_consistent = true;
    }

    /// Releases it.
    ///
    /// # Panics
    ///
    /// If the mutex is not consistent: it would be of no use to anybody any more.
    pub fn unlock(&self) -> bool {
        if is_dead() {
            return true;
        }
        step();
        let mut state = self.state();
        if state.holder != ME.with(Cell::get) {
            return false;
        }
        assert!(state.is_consistent, "unlocked without having been made consistent");
        state.holder = 0;
        self.released.notify_one();
        true
    }

    /// The kernel's part after the death of this thread of the model: takes the mutex from it, if it held it.
    pub fn bury_me(&self) {
        let mut state = self.state();
        if state.holder == ME.with(Cell::get) {
            state.holder = 0;
            state.owner_died = true;
            self.released.notify_one();
        }
    }

    /// Whether the calling thread holds it.
    pub fn is_mine(&self) -> bool {
        self.state().holder == ME.with(Cell::get)
    }

    /// Whether its last holder has died, and nobody has had it since.
    pub fn is_left_by_the_dead(&self) -> bool {
        step();
        self.state().owner_died
    }

    /// Whether somebody holds it.
    pub fn is_held(&self) -> bool {
        self.state().holder != 0
    }
}

impl State {
    fn enter(&mut self, me: usize) -> Got {
        self.holder = me;
        self.is_consistent = !self.owner_died;
        if std::mem::take(&mut self.owner_died) { Got::OwnerDied } else { Got::Clean }
    }
}

/// A process, by the number of its thread in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pid: u32,
    start: u64,
}

impl Life {
    /// Of the thread with a number.
    pub fn of(number: usize) -> Self {
        Self { pid: number as u32, start: number as u64 + 100 }
    }

    /// What the two below said.
    pub fn from_parts(pid: u32, start: u64) -> Self {
        Self { pid, start }
    }

    /// Not zero.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// A number that goes with the other.
    pub fn start(self) -> u64 {
        self.start
    }

    /// Whether it was buried.
    pub fn is_over(self) -> bool {
        assert_eq!(self.start, u64::from(self.pid) + 100, "half of one life and half of another");
        DEATHS.load(Ordering::SeqCst) & (1 << self.pid) != 0
    }
}

/// The kernel's part of a word that is slept on.
#[derive(Debug)]
pub struct SharedFutex {
    /// The word.
    pub word: AtomicU32,
    sleepers: Mutex<u32>,
    awake: Condvar,
}

impl SharedFutex {
    /// A word that nobody sleeps on.
    pub fn new(word: u32) -> Self {
        Self { word: AtomicU32::new(word), sleepers: Mutex::new(0), awake: Condvar::new() }
    }

    fn sleepers(&self) -> loom::sync::MutexGuard<'_, u32> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps while the word is `expected`, until it is woken or somebody dies.
    pub fn wait<D>(&self, expected: u32, _: D) {
        step();
        let mut sleepers = self.sleepers();
        let deaths = DEATHS.load(Ordering::SeqCst);
        let is_news = DEATHS_SEEN.with(|seen| seen.replace(deaths)) != deaths;
        if self.word.0.load(Ordering::SeqCst) == expected && !is_news {
            *sleepers += 1;
            drop(self.awake.wait(sleepers));
        }
    }

    /// Wakes `count` sleepers at most; how many there were.
    pub fn wake(&self, count: u32) -> u32 {
        if is_dead() {
            return 0;
        }
        step();
        let mut sleepers = self.sleepers();
        let woken = count.min(*sleepers);
        *sleepers -= woken;
        (0..woken).for_each(|_| self.awake.notify_one());
        woken
    }

    /// A slice of time is over for all who sleep.
    fn look_around(&self) {
        let mut sleepers = self.sleepers();
        *sleepers = 0;
        self.awake.notify_all();
    }
}

/// The kernel's part after the death of this thread of the model.
pub fn bury_me(mutexes: &[&Robust], words: &[&SharedFutex]) {
    mutexes.iter().for_each(|mutex| mutex.bury_me());
    DEATHS.fetch_or(1 << ME.with(Cell::get), Ordering::SeqCst);
    words.iter().for_each(|word| word.look_around());
}
