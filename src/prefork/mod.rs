//! Floor 9: the pre-fork server: a master process, and workers that it forks, which share its listening socket (what
//! gunicorn's arbiter, unicorn's master and Apache's prefork do).
//!
//! | Which one do I want? | Type |
//! |---|---|
//! | start a server | [`Master::builder`], [`Builder`] |
//! | serve a request | [`Conn`], [`Outcome`], [`WorkerCx`] |
//! | print what happens | [`Event`] |
//! | see what the workers do | [`Scoreboard`], [`Snapshot`] |
//!
//! The master forks, so it must run before the program starts any thread. What was loaded before is shared by all
//! workers copy-on-write.
//!
//! ```no_run
//! use std::io::Write;
//!
//! use crewkit::prefork::{Fill, Master, Outcome};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     crewkit::init();
//!     // Answers each line with the same line, whatever pieces it comes in.
//!     let stopped = Master::builder()
//!         .bind("127.0.0.1:7000")
//!         .workers(2)
//!         .threads(4)
//!         .on_event(|event| println!("{event}"))
//!         .service(|conn, _worker| {
//!             let more = match conn.fill() {
//!                 Ok(Fill::Data(_) | Fill::Pending) => true,
//!                 Ok(_) | Err(_) => false,
//!             };
//!             let Some(end) = conn.buffer().iter().position(|&byte| byte == b'\n') else {
//!                 return if more && !conn.is_overdue() { Outcome::More } else { Outcome::Close };
//!             };
//!             let line = conn.buffer()[..=end].to_vec();
//!             std::io::BufRead::consume(conn, line.len());
//!             if conn.write_all(&line).is_ok() { Outcome::KeepAlive } else { Outcome::Close }
//!         })
//!         .run()?;
//!     std::process::exit(i32::from(stopped.killed > 0))
//! }
//! ```
//!
//! The states of a worker, the signals, what everybody sees when somebody dies, and why nothing is lost in a reload:
//! `README.md` beside this module.

mod config;
mod conn;
mod control;
mod cx;
mod error;
mod event;
mod input;
mod master;
mod policy;
mod scoreboard;
mod worker;

pub use config::{Builder, Master, Stopped};
pub use conn::{Conn, Fill, Outcome};
pub use cx::WorkerCx;
pub use error::MasterError;
pub use event::Event;
pub use scoreboard::{Scoreboard, Snapshot, Totals, WorkerState, WorkerStatus};
