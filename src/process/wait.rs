//! Waiting for the first of several.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::ipc;

/// Waits until one of `processes` has ended, at most for `timeout` (`None`: as long as it takes); says which have, by
/// their places in the slice (Python's `multiprocessing.connection.wait` on sentinels). Empty after a timeout.
///
/// Processes with different results fit in one call; so does anything else that becomes readable.
///
/// # Errors
///
/// What poll(2) says, for example EINVAL for more descriptors than the process may have.
///
/// # Blocking
///
/// Until one has ended, at most for `timeout`.
///
/// ```
/// use crewkit::process::{Process, wait_any};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let quick = Process::spawn(|()| 1_u8, ())?;
///     let slow = Process::spawn(|()| std::thread::park(), ())?;
///     assert_eq!(wait_any(&[&slow, &quick], None)?, [1]);
///     slow.kill()?;
///     Ok(())
/// }
/// ```
pub fn wait_any(processes: &[&dyn AsFd], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    ipc::wait(processes, timeout)
}
