//! Thread and process primitives that compose, and that keep their promises when a process is killed at any
//! instruction: what Python programmers have in `threading`, `queue` and `multiprocessing`, and a pre-fork server
//! pool made of them.
//!
//! | Which one do I want? | Module | Python's name |
//! |---|---|---|
//! | locks, semaphores, events between threads | [`sync`] | `threading` |
//! | hand items from thread to thread | [`queue`] | `queue` |
//! | typed messages between processes | [`ipc`] | `multiprocessing.Pipe` |
//! | run a function in another process | [`process`] | `multiprocessing.Process` |
//! | run many functions in a few processes | [`pool`] | `multiprocessing.Pool` |
//! | serve connections from several processes | [`prefork`] | gunicorn's arbiter |
//!
//! A program that starts processes calls [`init()`] in the first line of `main`.

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
compile_error!("crewkit builds on Linux with glibc (x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu)");

mod primitive;
mod sys;

pub mod queue;
pub mod sync;

#[cfg(all(feature = "processes", not(crewkit_loom)))]
mod framing;
#[cfg(all(feature = "processes", not(crewkit_loom)))]
mod reactor;
#[cfg(all(feature = "processes", not(crewkit_loom)))]
mod shm;

#[cfg(all(feature = "processes", not(crewkit_loom)))]
pub mod ipc;
#[cfg(all(feature = "processes", not(crewkit_loom)))]
pub mod pool;
#[cfg(all(feature = "processes", not(crewkit_loom)))]
pub mod process;

#[cfg(all(feature = "server", not(crewkit_loom)))]
pub mod prefork;

#[cfg(all(feature = "processes", not(crewkit_loom)))]
pub use process::init;
