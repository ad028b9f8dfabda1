//! Thread and process primitives that compose, and that keep their promises when a process is killed at any
//! instruction: what Python programmers have in `threading`, `queue` and `multiprocessing`, and a pre-fork server
//! pool made of them.
//!
//! | Which one do I want? | Module | Python's name |
//! |---|---|---|
//! | locks, conditions, semaphores, events, barriers between threads | [`sync`] | `threading` |
#![cfg_attr(feature = "threads", doc = "| threads, timers, values for each thread | [`thread`] | `threading` |")]
//! | hand items from thread to thread | [`queue`] | `queue` |
#![cfg_attr(
    feature = "coroutines",
    doc = "| functions that stop in the middle and go on later | [`coroutine`] | generators |"
)]
//! | check code that uses the two in every interleaving | [`model`] | |
#![cfg_attr(feature = "processes", doc = "| typed messages between processes | [`ipc`] | `multiprocessing.Pipe` |")]
#![cfg_attr(
    feature = "processes",
    doc = "| run a function in another process | [`process`] | `multiprocessing.Process` |"
)]
#![cfg_attr(
    any(feature = "processes", feature = "threads"),
    doc = "| run many functions in a few threads or processes | [`pool`] | `concurrent.futures`, `multiprocessing.Pool` |"
)]
#![cfg_attr(
    feature = "server",
    doc = "| serve connections from several processes | [`prefork`] | gunicorn's arbiter |"
)]
//!
#![cfg_attr(
    feature = "processes",
    doc = "A program that starts processes calls [`init()`] in the first line of `main`."
)]

#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!("crewkit builds on Linux with glibc (x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu)");

mod primitive;
mod sys;

pub mod model;
pub mod queue;
pub mod sync;

#[cfg(all(feature = "coroutines", not(crewkit_loom)))]
pub mod coroutine;
#[cfg(all(feature = "threads", not(crewkit_loom)))]
pub mod thread;

#[cfg(all(feature = "processes", not(crewkit_loom)))]
mod auth;
#[cfg(all(feature = "processes", not(crewkit_loom)))]
mod framing;
#[cfg(all(any(feature = "processes", feature = "threads"), not(crewkit_loom)))]
mod panics;
#[cfg(all(feature = "processes", not(crewkit_loom)))]
mod reactor;
#[cfg(all(feature = "processes", not(crewkit_loom)))]
mod shm;

#[cfg(all(feature = "processes", not(crewkit_loom)))]
pub mod ipc;
#[cfg(all(any(feature = "processes", feature = "threads"), not(crewkit_loom)))]
pub mod pool;
#[cfg(all(feature = "processes", not(crewkit_loom)))]
pub mod process;

#[cfg(all(feature = "server", not(crewkit_loom)))]
pub mod prefork;

#[cfg(all(feature = "processes", not(crewkit_loom)))]
pub use process::init;

/// Lets plain `#[test]`s start processes, under `cargo test` and nextest. Once, at the root of the test crate.
///
/// A test program's `main` is libtest's, so there is no place for [`init()`]. This makes the same call before `main`, in a
/// static constructor, when no thread has been started yet. std documents no promise for code before `main`; with glibc,
/// arguments, environment, standard streams, files and threads work there. What std's own start-up does is missing in
/// such processes: SIGPIPE is ignored by crewkit instead, but a stack overflow is a plain SIGSEGV without a message.
///
/// ```
/// crewkit::enable_test_support!();
///
/// // In any test:
/// let process = crewkit::process::Process::spawn(|()| std::process::id(), ()).unwrap();
/// assert_ne!(process.join().unwrap(), std::process::id());
/// ```
#[cfg(all(feature = "processes", not(crewkit_loom)))]
#[macro_export]
macro_rules! enable_test_support {
    () => {
        const _: () = {
            // SAFETY: glibc calls the functions of this section once, before main, with the environment in place.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static BEFORE_MAIN: extern "C" fn() = {
                extern "C" fn before_main() {
                    $crate::init();
                }
                before_main
            };
        };
    };
}
