//! Typed messages between processes, and objects that they share (Python's `multiprocessing.Pipe`,
//! `multiprocessing.connection`, and what `multiprocessing` has of `threading`).
//!
//! | Which one do I want? | Item | Python's name |
//! |---|---|---|
//! | two connected ends | [`pipe`] | `Pipe()` |
//! | to send and receive at one end | [`Connection`] | `Connection` |
//! | to do so on two threads | [`SendHalf`], [`RecvHalf`] by [`Connection::split`] | |
//! | a file or socket inside a message | [`Fd`], or `#[serde(with = "crewkit::ipc::fd")]` | |
//! | one thread of all processes at a time | [`Lock`]; [`RLock`], if it may take it again | `Lock`, `RLock` |
//! | at most n at a time | [`Semaphore`]; [`BoundedSemaphore`], to notice a release too many | `Semaphore`, `BoundedSemaphore` |
//! | to wait until something has happened | [`Event`] | `Event` |
//! | to wait, under a lock, until something has changed | [`Condition`] | `Condition` |
//! | to go on when all are here | [`Barrier`] | `Barrier` |
//! | items from any process to any other, through bounded memory | [`Queue`] | `Queue`, `JoinableQueue`, `SimpleQueue` |
//! | a number or struct that several processes change | [`Value`]; [`Counter`], for a whole number | `Value` |
//! | many of them, as a slice under a lock | [`Array`] | `Array` |
//! | a few numbers and texts | [`ShareableList`] | `ShareableList` |
//! | bytes that several processes write, without a lock; or that nobody writes any more | [`SharedMemory`]; [`SharedBytes`] | `SharedMemory` |
#![cfg_attr(
    feature = "ipc-channel",
    doc = "| an endpoint of the crate ipc-channel inside a message | [`channel::Passed`] | |"
)]
//! | to be found by processes that were handed nothing, and to find them | [`Listener`], [`Client`] | `Listener`, `Client` |
//! | to see who holds what, and who waits for whom | `stats()` of each object; [`inspect`], from outside | |
//! | to wait for several ends, processes, sockets | [`wait()`] | `connection.wait` |
//!
//! The protocol, its states, and what each party sees when another dies: `src/ipc/README.md`.

mod array;
mod barrier;
#[cfg(feature = "ipc-channel")]
pub mod channel;
mod condition;
mod connection;
mod counter;
mod direction;
mod endpoint;
mod error;
mod event;
mod exclusive;
pub mod fd;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;
mod guards;
mod half;
mod handle;
pub mod inspect;
mod item;
mod lane;
mod list;
mod listener;
mod lock;
mod lock_error;
mod member;
mod memory;
pub(crate) mod parcel;
mod permit;
mod queue;
mod rlock;
mod semaphore;
mod shareable;
mod stats;
mod turn;
mod value;
mod wait;
pub(crate) mod wire;

pub use crate::auth::{AuthError, Key};
pub use array::{Array, ArrayGuard};
pub use barrier::{Barrier, BarrierError};
pub use condition::Condition;
pub use connection::{Connection, pipe};
pub use counter::Counter;
pub use error::{RecvError, SendError};
pub use event::Event;
pub use fd::Fd;
pub use guards::Guards;
pub use half::{RecvHalf, SendHalf};
pub use item::Item;
pub use list::{ListError, ShareableList};
pub use listener::{AcceptError, Address, Auth, Client, ConnectError, Listener, Peer, Refusal, Refusals};
pub use lock::{Lock, LockGuard};
pub use lock_error::{LockError, NotOwner};
pub use memory::{OutOfRange, SealError, SharedBytes, SharedMemory};
pub use permit::{OwnedPermit, Permit, ReleaseError};
pub use queue::{GetError, Iter as QueueIter, Lease, LeaseError, PutError, Queue, Readiness, TryIter as QueueTryIter};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Semaphore};
pub use shareable::Shareable;
pub use stats::{Detail, Holder, Stats, User};
pub use value::Value;
pub use wait::wait;
