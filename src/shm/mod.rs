//! Memory shared between processes.
//!
//! | Which one do I want? | Type |
//! |---|---|
//! | some words that several processes count in | [`Segment`] |
//! | a value that several processes use, and that says what it is | [`Object`] |
//! | a lock whose holder may die | [`Held`] |
//! | a value of any length that is never read half written | [`Twofold`] |
//! | records from one process to another | [`Ring`](ring::Ring) |
//! | many elements of a length, of which none is ever found half written | [`Journal`] |
//!
//! Used by `prefork` for its scoreboard and by `pool`. Private to the crate: what users share are the objects built on it.

mod held;
mod journal;
mod object;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "connections will go over it"))]
pub(crate) mod ring;
mod segment;
mod twofold;

pub(crate) use held::{Held, State};
pub(crate) use journal::{Journal, Row};
pub(crate) use object::{Layout, Locked, Object, Plain, Type, version};
pub(crate) use segment::Segment;
pub(crate) use twofold::Twofold;
