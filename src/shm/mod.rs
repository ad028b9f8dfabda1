//! Memory shared between processes.
//!
//! | Which one do I want? | Type |
//! |---|---|
//! | some words that several processes count in | [`Segment`] |
//!
//! Used by `prefork` for its scoreboard and by `pool`. Private to the crate: what users share are the objects built on it.

mod segment;

pub(crate) use segment::Segment;
