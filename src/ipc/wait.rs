//! Waiting for several things at once.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::sys::clock::Deadline;
use crate::sys::futex::slice_until;
use crate::sys::poll::{Readiness, wait_many};

/// Waits until at least one of `sources` is ready, and says which, by index (Python: `multiprocessing.connection.wait`).
///
/// A [`Connection`](super::Connection) is ready when something arrived or the other end is closed; a process when it has
/// ended; any other descriptor when it is readable or hung up. Ready means that it is worth a
/// [`try_recv`](super::Connection::try_recv): of a long message a part may have arrived. `timeout` is a [`Duration`], or
/// `None` for no limit; when it is over the list is empty.
///
/// # Blocking
///
/// For at most `timeout`.
///
/// # Errors
///
/// What poll(2) says: more descriptors than this process may open, or no memory.
///
/// ```
/// use std::time::Duration;
///
/// let (quiet, _other) = crewkit::ipc::pipe::<(), ()>()?;
/// let (near, far) = crewkit::ipc::pipe::<u8, u8>()?;
/// far.send(&1)?;
/// assert_eq!(crewkit::ipc::wait(&[&quiet, &near], None)?, [1]);
/// assert!(crewkit::ipc::wait(&[&quiet], Duration::ZERO)?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait(sources: &[&dyn AsFd], timeout: impl Into<Option<Duration>>) -> io::Result<Vec<usize>> {
    let deadline = timeout.into().map_or(Deadline::NEVER, Deadline::after);
    loop {
        LOOKS_AGAIN.set(false);
        let polled: Vec<_> = sources.iter().map(|source| (source.as_fd(), Readiness::READ)).collect();
        let is_over = deadline.is_expired();
        let looks_again = LOOKS_AGAIN.get();
        let until = if looks_again { Deadline::after(slice_until(deadline)) } else { deadline };
        let answers = wait_many(&polled, until)?;
        if !looks_again || is_over || answers.iter().any(|answer| answer.any()) {
            let ready = answers.iter().enumerate().filter(|(_, answer)| answer.any());
            return Ok(ready.map(|(index, _)| index).collect());
        }
    }
}

thread_local! {
    static LOOKS_AGAIN: Cell<bool> = const { Cell::new(false) };
}

/// Called by an `as_fd`: what it lends may stay silent although something has come, because whoever brought it has died. So
/// who waits for it is to ask again after a slice of time.
pub(super) fn look_again_soon() {
    // A thread that is ending waits for nothing any more.
    let _ = LOOKS_AGAIN.try_with(|again| again.set(true));
}
