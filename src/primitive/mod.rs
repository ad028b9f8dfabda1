//! Floor 1: what the algorithms above are written in, so that the same lines run on the machine and in a model.
//!
//! | Piece | On the machine | In a model (`--cfg crewkit_loom`) |
//! |---|---|---|
//! | [`AtomicUsize`], [`AtomicU32`], [`AtomicU64`], [`UnsafeCell`] | std | loom |
//! | [`Mutex`] | parking_lot (**so its own code is not modelled**) | loom's |
//! | [`Latch`] | `latch.rs`; its fence is membarrier(2) | loom's mutex; `latch.rs` has a model of its own |
//! | [`Futex`](platform::Futex) | futex(2) | a loom mutex and condition variable around the word |
//! | thread-local values, [`thread`](platform::thread) | std | loom |
//! | [`Spin`] | pauses, then yields | never spins: a model has no "a little later" |
//! | [`has_passed`] | the monotonic clock | any deadline may have passed at any look |
//! | [`Parker`], [`current`], [`WaitList`], [`Waiting`], [`Stand`], [`Identity`] | these files, in both | a thread's parker ends with its model |
//!
//! **How everything above waits.** A waiter puts itself, with its parker, on a [`WaitList`] that a mutex (or a latch) guards,
//! leaves the mutex, and parks. Whoever serves it takes it off the list and calls it under the mutex, leaves the mutex, and rings
//! its parker. So called or not is decided under the mutex, nowhere else, and a wake-up and a timeout cannot both happen to
//! one waiter: who was called has a token, and who parks until its time is over takes the mutex and looks at its place.
//!
//! **Timed waits in a model.** A parker whose wait has a deadline returns at once, and [`has_passed`] says yes. Between
//! the waiter's leaving the mutex and taking it again loom explores every step of every other thread, so that the
//! deadline falls before, between and after all of them, without a clock. That nobody sleeps for ever is shown by the
//! waits without a deadline.
//!
//! loom's own mutex stands for parking_lot's and for the latch; all of them only promise exclusion and release-acquire order.

mod calls;
mod identity;
#[cfg(not(crewkit_loom))]
mod latch;
mod park;
mod spin;
mod wait_list;
mod waiting;

#[cfg(crewkit_loom)]
#[path = "modelled.rs"]
mod platform;
#[cfg(not(crewkit_loom))]
#[path = "real.rs"]
mod platform;

pub(crate) use calls::{Calls, Dismissed};
pub(crate) use identity::Identity;
#[cfg(not(crewkit_loom))]
pub(crate) use latch::{Latch, LatchGuard};
#[cfg(test)]
pub(crate) use park::foreign;
pub(crate) use park::{Parker, current};
pub(crate) use platform::{AtomicU32, AtomicU64, AtomicUsize, Mutex, MutexGuard, UnsafeCell, has_passed};
#[cfg(all(feature = "processes", not(crewkit_loom)))]
pub(crate) use platform::{
    Got, Life, Refused, Robust, SharedFutex, fence, fence_after_exchange, fence_all_processes, half_fence,
    is_fenced_by_others, process_of, sleepers_shared,
};
#[cfg(crewkit_loom)]
pub(crate) use platform::{Latch, LatchGuard};
pub(crate) use spin::Spin;
pub(crate) use wait_list::{Left, Place, WaitList};
pub(crate) use waiting::{Dismissing, Lined, Stand, Waiting};

/// Declares constructors that are `const` on the machine; loom's types cannot be made in a constant.
macro_rules! const_on_the_machine {
    ($($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty $body:block)*) => {
        $(
            #[cfg(not(crewkit_loom))]
            $(#[$attribute])*
            $visibility const fn $name($($argument: $type),*) -> $result $body

            #[cfg(crewkit_loom)]
            $(#[$attribute])*
            $visibility fn $name($($argument: $type),*) -> $result $body
        )*
    };
}
pub(crate) use const_on_the_machine;
