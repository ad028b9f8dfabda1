//! Memory shared between processes.
//!
//! | Which one do I want? | Type |
//! |---|---|
//! | some words that several processes count in | [`Segment`] |
//! | a value that several processes use, and that says what it is | [`Object`] |
//! | a lock whose holder may die | [`Held`] |
//! | to sleep until somebody in another process has done something | [`Bell`] |
//! | to wait until something has happened | [`Flag`] |
//! | to go on when all are here | [`Trip`] |
//! | to be notified under a lock | [`Waiters`] |
//! | to note who uses an object, and what each has | [`Roster`] |
//! | permits that come back when their holder dies | [`Permits`] |
//! | a value of any length that is never read half written | [`Twofold`] |
//! | records from one process to another | [`Ring`](ring::Ring) |
//! | records from any process to any other, whole whenever one dies | [`queue::Queue`] |
//! | many elements of a length, of which none is ever found half written | [`Journal`] |
//!
//! Used by `prefork` for its scoreboard and by `pool`. Private to the crate: what users share are the objects built on it.

mod bell;
mod flag;
mod held;
mod journal;
mod object;
mod permits;
pub(crate) mod queue;
pub(crate) mod ring;
mod roster;
mod segment;
mod snapshot;
mod trip;
mod twofold;
mod waiters;

pub(crate) use bell::Bell;
pub(crate) use flag::Flag;
pub(crate) use held::{Held, State};
#[cfg(not(crewkit_loom))]
pub(crate) use held::{Holding, Traces};
pub(crate) use journal::{Journal, Row};
pub(crate) use object::{Layout, Locked, Object, Plain, Type, version};
pub(crate) use permits::{MOST as MOST_PERMITS, Permits, TooMany};
pub(crate) use roster::{Roster, Seat};
pub(crate) use segment::Segment;
pub(crate) use snapshot::{Snapshot, kind_of};
pub(crate) use trip::{Failed, Trip};
pub(crate) use twofold::Twofold;
pub(crate) use waiters::Waiters;
