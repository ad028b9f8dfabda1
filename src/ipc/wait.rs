//! Waiting for several things at once.
//!
//! A connection may have a message where poll(2) does not see it, in a ring. So its `as_fd`, called from here, also says
//! whether it has, and if not, has its other side ring: the answer goes past the descriptor, through a cell of the thread.
//! So whatever lends out a connection's descriptor as its own may be waited for too.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::lane::{self, News};
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
/// For at most `timeout`; and for 10 ms at most for each [`Queue`](super::Queue) of which a user was stopped while it got an item.
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
        let asked: Vec<_> = sources.iter().map(|&source| ask(source)).collect();
        let polled: Vec<_> = asked.iter().map(|&(fd, _)| (fd, Readiness::READ)).collect();
        let is_over = deadline.is_expired();
        let answers = wait_many(&polled, Deadline::after(Duration::ZERO))?;
        let is_ready = |(&(_, news), polled): (&(_, News), Readiness)| match news {
            News::AsSocket => polled.any(),
            News::Here => true,
            News::NotYet(_) => false,
        };
        let ready = asked.iter().zip(answers).map(is_ready).enumerate();
        let ready: Vec<_> = ready.filter(|&(_, is_ready)| is_ready).map(|(index, _)| index).collect();
        if is_over || !ready.is_empty() {
            return Ok(ready);
        }
        // What it shows of a connection may be no more than that somebody rang: they are asked again.
        let until = if LOOKS_AGAIN.get() { Deadline::after(slice_until(deadline)) } else { deadline };
        let until = asked.iter().fold(until, |until, &(_, news)| match news {
            News::NotYet(alarm) => lane::until(alarm, until),
            News::AsSocket | News::Here => until,
        });
        wait_many(&polled, until)?;
    }
}

thread_local! {
    /// What the source that is being asked has answered; `None` while nobody asks.
    static ASKED: Cell<Option<News>> = const { Cell::new(None) };
    static LOOKS_AGAIN: Cell<bool> = const { Cell::new(false) };
}

fn ask(source: &dyn AsFd) -> (BorrowedFd<'_>, News) {
    let outer = ASKED.replace(Some(News::AsSocket));
    let fd = source.as_fd();
    (fd, ASKED.replace(outer).unwrap_or(News::AsSocket))
}

/// Called by an `as_fd`: what it lends may stay silent although something has come, because whoever brought it has died. So
/// who waits for it is to ask again after a slice of time.
pub(super) fn look_again_soon() {
    // A thread that is ending waits for nothing any more.
    let _ = LOOKS_AGAIN.try_with(|again| again.set(true));
}

/// Called by `as_fd`: whether it is `wait` who asks.
pub(super) fn is_asking() -> bool {
    // A thread that is ending asks nothing any more.
    matches!(ASKED.try_with(Cell::get), Ok(Some(_)))
}

/// The same; if it is, answers what `news` says.
pub(super) fn answer(news: impl FnOnce() -> News) -> bool {
    let is_asking = is_asking();
    if is_asking {
        ASKED.set(Some(news()));
    }
    is_asking
}
