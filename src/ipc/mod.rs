//! Typed messages between processes (Python's `multiprocessing.Pipe` and `multiprocessing.connection`).
//!
//! | Which one do I want? | Item | Python's name |
//! |---|---|---|
//! | two connected ends | [`pipe`] | `Pipe()` |
//! | to send and receive at one end | [`Connection`] | `Connection` |
//! | to do so on two threads | [`SendHalf`], [`RecvHalf`] by [`Connection::split`] | |
//! | a file or socket inside a message | [`Fd`], or `#[serde(with = "crewkit::ipc::fd")]` | |
//! | to wait for several ends, processes, sockets | [`wait()`] | `connection.wait` |
//!
//! The protocol, its states, and what each party sees when another dies: `src/ipc/README.md`.

mod connection;
mod direction;
mod endpoint;
mod error;
pub mod fd;
mod half;
pub(crate) mod parcel;
mod wait;
pub(crate) mod wire;

pub use connection::{Connection, pipe};
pub use error::{RecvError, SendError};
pub use fd::Fd;
pub use half::{RecvHalf, SendHalf};
pub use wait::wait;
