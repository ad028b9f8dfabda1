//! `Pool`: functions in a few processes. `README.md` beside this file says who owns what, and what is seen when who dies
//! where.

mod builder;
mod call;
mod engine;
mod feed;
mod gathering;
mod inbox;
mod job;
mod ledger;
mod map;
mod member;
mod pending;
mod pool;
mod protocol;
mod recipe;
mod runner;
mod scheduler;
mod state;
mod worker;

pub use builder::Builder;
pub use call::Call;
pub use map::{Imap, ImapUnordered, Indexed};
pub use pool::{Pool, Stats, Worker};
pub use worker::attempt;
