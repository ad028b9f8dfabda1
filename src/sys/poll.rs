//! poll(2) with a deadline: the wait of blocking calls on one or a few descriptors.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::clock::Deadline;

/// What a descriptor is polled for, and what it answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Something can be read, or end of file.
    pub(crate) readable: bool,
    /// Something can be written.
    pub(crate) writable: bool,
    /// The other side is gone, or the descriptor has an error. Always watched.
    pub(crate) hung_up: bool,
}

impl Readiness {
    /// Polls for input.
    pub(crate) const READ: Self = Self { readable: true, writable: false, hung_up: false };
    /// Polls for room to write.
    pub(crate) const WRITE: Self = Self { readable: false, writable: true, hung_up: false };

    /// Whether anything at all was answered.
    pub(crate) fn any(self) -> bool {
        self.readable || self.writable || self.hung_up
    }
}

/// Waits until one of `fds` answers or the deadline passes; returns the answers in the order of `fds`, all of them
/// empty after a timeout. A signal does not end the wait.
pub(crate) fn wait_many(fds: &[(BorrowedFd<'_>, Readiness)], deadline: Deadline) -> io::Result<Vec<Readiness>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|&(fd, interest)| PollFd::new(fd, flags(interest))).collect();
    loop {
        match poll(&mut polled, milliseconds(deadline)) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            // A long wait is cut to what poll can express; go on until the deadline itself has passed.
            Ok(0) if !deadline.is_expired() => {}
            Ok(_) => return Ok(polled.iter().map(answer).collect()),
        }
    }
}

/// [`wait_many`] for one descriptor.
pub(crate) fn wait(fd: BorrowedFd<'_>, interest: Readiness, deadline: Deadline) -> io::Result<Readiness> {
    let answers = wait_many(&[(fd, interest)], deadline)?;
    Ok(answers.first().copied().unwrap_or_default())
}

/// The kernel's timeout for a deadline, rounded up so that a wait never ends early.
pub(crate) fn milliseconds(deadline: Deadline) -> PollTimeout {
    let Some(left) = deadline.remaining() else { return PollTimeout::NONE };
    let rounded = left.saturating_add(Duration::from_nanos(999_999)).as_millis();
    i32::try_from(rounded).ok().and_then(|ms| PollTimeout::try_from(ms).ok()).unwrap_or(PollTimeout::MAX)
}

fn flags(interest: Readiness) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, interest.readable);
    flags.set(PollFlags::POLLOUT, interest.writable);
    flags
}

fn answer(polled: &PollFd<'_>) -> Readiness {
    let flags = polled.revents().unwrap_or(PollFlags::POLLERR);
    Readiness {
        readable: flags.contains(PollFlags::POLLIN),
        writable: flags.contains(PollFlags::POLLOUT),
        hung_up: flags.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_pipe_answers_readable_then_hung_up() {
        let (reader, mut writer) = io::pipe().unwrap();
        let idle = wait(reader.as_fd(), Readiness::READ, Deadline::after(Duration::ZERO)).unwrap();
        assert!(!idle.any());
        writer.write_all(b"x").unwrap();
        assert!(wait(reader.as_fd(), Readiness::READ, Deadline::NEVER).unwrap().readable);
        drop(writer);
        assert!(wait(reader.as_fd(), Readiness::READ, Deadline::NEVER).unwrap().hung_up);
    }

    #[test]
    fn fractions_of_a_millisecond_round_up() {
        let timeout = milliseconds(Deadline::after(Duration::from_nanos(1)));
        assert!(timeout.as_millis().is_some_and(|ms| ms <= 1));
        assert_eq!(milliseconds(Deadline::after(Duration::from_secs(u64::from(u32::MAX)))), PollTimeout::MAX);
    }
}
