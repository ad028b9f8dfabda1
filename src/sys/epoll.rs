//! epoll and eventfd. The users are [`crate::reactor`], the crate's one event loop; `ipc::Queue`, whose readiness is
//! an eventfd of all processes, as one of them sees it; and `ipc::Connection`, of whose news an event loop of the user's
//! is shown a [`Sign`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::epoll::{self, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{self, EfdFlags};

use super::clock::Deadline;
use super::error::{during, retry};
use super::poll::{Readiness, milliseconds};

/// An epoll instance. The kernel lets any thread change the interest list while another one waits.
#[derive(Debug)]
pub(crate) struct Epoll(epoll::Epoll);

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

impl Epoll {
    /// A new instance, closed on exec.
    pub(crate) fn new() -> io::Result<Self> {
        let made = retry(|| epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC));
        during("creating an epoll instance", made).map(Self)
    }

    /// Watches `fd`. An error or a hang-up is always watched; a `oneshot` registration is disarmed by its first
    /// answer until [`modify`](Self::modify) arms it again.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, interest: Readiness, token: u64, oneshot: bool) -> io::Result<()> {
        let added = retry(|| self.0.add(fd, EpollEvent::new(flags(interest, oneshot), token)));
        during("adding a descriptor to epoll", added)
    }

    /// Replaces what `fd` is watched for, and arms a one-shot registration again.
    pub(crate) fn modify(&self, fd: BorrowedFd<'_>, interest: Readiness, token: u64, oneshot: bool) -> io::Result<()> {
        let modified = retry(|| self.0.modify(fd, &mut EpollEvent::new(flags(interest, oneshot), token)));
        during("changing a descriptor in epoll", modified)
    }

    /// Stops watching `fd`.
    pub(crate) fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        during("removing a descriptor from epoll", retry(|| self.0.delete(fd)))
    }

    /// Waits until `buffer` has at least one answer or the deadline has passed, and returns the answers. A signal
    /// does not end the wait.
    pub(crate) fn wait<'a>(
        &self,
        buffer: &'a mut Buffer,
        deadline: Deadline,
    ) -> io::Result<impl Iterator<Item = (u64, Readiness)> + 'a> {
        let count = loop {
            match self.0.wait(&mut buffer.0, milliseconds(deadline)) {
                Err(Errno::EINTR) => {}
                Err(errno) => return during("waiting in epoll", Err(errno)),
                // A long wait is cut to what epoll can express; go on until the deadline itself has passed.
                Ok(0) if !deadline.is_expired() => {}
                Ok(count) => break count,
            }
        };
        Ok(buffer.0.iter().take(count).map(|event| (event.data(), answer(event.events()))))
    }
}

/// A descriptor of this process's alone that becomes readable when a counter of many processes is rung, and until
/// [`forget`](Self::forget): nobody takes a ring from others by having seen it, as reading the counter would.
#[cfg(feature = "processes")]
#[derive(Debug)]
pub(crate) struct Edges(Epoll);

#[cfg(feature = "processes")]
impl Edges {
    /// The rings of an eventfd.
    pub(crate) fn of(counter: BorrowedFd<'_>) -> io::Result<Self> {
        let edges = Epoll::new()?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
        during("adding a descriptor to epoll", retry(|| edges.0.add(counter, event)))?;
        Ok(Self(edges))
    }

    /// What was rung so far is no news any more.
    pub(crate) fn forget(&self) -> io::Result<()> {
        self.0.wait(&mut Buffer::new(1), Deadline::after(std::time::Duration::ZERO)).map(drop)
    }
}

#[cfg(feature = "processes")]
impl AsFd for Edges {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Room for the answers of one wait; what does not fit is answered by the next one, in turn.
#[derive(Debug)]
pub(crate) struct Buffer(Box<[EpollEvent]>);

impl Buffer {
    /// Room for `capacity` answers, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self(vec![EpollEvent::empty(); capacity.max(1)].into_boxed_slice())
    }
}

fn flags(interest: Readiness, oneshot: bool) -> EpollFlags {
    let mut flags = EpollFlags::empty();
    flags.set(EpollFlags::EPOLLIN, interest.readable);
    flags.set(EpollFlags::EPOLLOUT, interest.writable);
    flags.set(EpollFlags::EPOLLONESHOT, oneshot);
    flags
}

fn answer(flags: EpollFlags) -> Readiness {
    Readiness {
        readable: flags.contains(EpollFlags::EPOLLIN),
        writable: flags.contains(EpollFlags::EPOLLOUT),
        hung_up: flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR),
    }
}

/// A counter that can be waited for: readable while it is not zero.
#[derive(Debug)]
pub(crate) struct EventFd(eventfd::EventFd);

impl EventFd {
    /// A counter at zero, non-blocking and closed on exec.
    pub(crate) fn new() -> io::Result<Self> {
        let made = retry(|| eventfd::EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK));
        during("creating an eventfd", made).map(Self)
    }

    /// Makes the counter readable. A full counter is readable already, which is all that was asked for.
    pub(crate) fn ring(&self) -> io::Result<()> {
        match retry(|| self.0.write(1)) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => during("ringing an eventfd", Err(error)),
            _ => Ok(()),
        }
    }

    /// Sets the counter back to zero; returns whether it was rung.
    pub(crate) fn drain(&self) -> io::Result<bool> {
        match retry(|| self.0.read()) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => during("draining an eventfd", Err(error)),
        }
    }
}

/// Rings an eventfd that came from another process.
pub(crate) fn ring(counter: BorrowedFd<'_>) -> io::Result<()> {
    match retry(|| nix::unistd::write(counter, &1_u64.to_ne_bytes())) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => during("ringing an eventfd", Err(error)),
        _ => Ok(()),
    }
}

impl From<EventFd> for OwnedFd {
    fn from(counter: EventFd) -> Self {
        counter.0.into()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A descriptor that is readable while another one is, and while it is lit.
#[derive(Debug)]
pub(crate) struct Sign {
    both: Epoll,
    light: EventFd,
    is_lit: AtomicBool,
}

impl Sign {
    /// A sign that is not lit, beside `fd`.
    pub(crate) fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let (both, light) = (Epoll::new()?, EventFd::new()?);
        both.add(fd, Readiness::READ, 0, false)?;
        both.add(light.as_fd(), Readiness::READ, 1, false)?;
        Ok(Self { both, light, is_lit: AtomicBool::new(false) })
    }

    /// Watches `fd` no more, whoever else has it, and stays lit.
    pub(crate) fn leave(&self, fd: BorrowedFd<'_>) {
        // A process that was forked from this one may have done so.
        let _or_before = self.both.delete(fd);
        self.show(true);
    }

    /// Lights it or puts it out. One thread at a time.
    pub(crate) fn show(&self, lit: bool) {
        if self.is_lit.swap(lit, Ordering::Relaxed) != lit {
            let shown = if lit { self.light.ring() } else { self.light.drain().map(drop) };
            debug_assert!(shown.is_ok(), "a counter that is open and not full: {shown:?}");
        }
    }
}

impl AsFd for Sign {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.both.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::error::errno;
    use std::time::Duration;

    const AT_ONCE: Duration = Duration::ZERO;

    fn answers(epoll: &Epoll, buffer: &mut Buffer, deadline: Deadline) -> Vec<(u64, Readiness)> {
        epoll.wait(buffer, deadline).unwrap().collect()
    }

    #[cfg(feature = "processes")]
    #[test]
    fn each_ring_is_seen_by_all_who_look_for_edges() {
        let counter = EventFd::new().unwrap();
        counter.ring().unwrap();
        let all = [(); 2].map(|()| Edges::of(counter.as_fd()).unwrap());
        let are_rung = || {
            let fds = all.each_ref().map(|edges| (edges.as_fd(), Readiness::READ));
            super::super::poll::wait_many(&fds, Deadline::after(AT_ONCE)).unwrap().iter().filter(|one| one.any()).count()
        };
        all.iter().for_each(|edges| edges.forget().unwrap());
        for _ in 0..3 {
            assert_eq!(are_rung(), 0);
            ring(counter.as_fd()).unwrap();
            assert_eq!(are_rung(), 2);
            all[0].forget().unwrap();
            assert_eq!(are_rung(), 1);
            all[1].forget().unwrap();
        }
    }

    #[test]
    fn an_eventfd_is_readable_from_ring_to_drain() {
        let (epoll, bell, mut buffer) = (Epoll::new().unwrap(), EventFd::new().unwrap(), Buffer::new(4));
        epoll.add(bell.as_fd(), Readiness::READ, 7, false).unwrap();
        assert_eq!(answers(&epoll, &mut buffer, Deadline::after(AT_ONCE)), []);
        bell.ring().unwrap();
        bell.ring().unwrap();
        assert_eq!(answers(&epoll, &mut buffer, Deadline::NEVER), [(7, Readiness::READ)]);
        assert!(bell.drain().unwrap(), "it was rung");
        assert!(!bell.drain().unwrap(), "two rings are one");
        assert_eq!(answers(&epoll, &mut buffer, Deadline::after(AT_ONCE)), []);
    }

    #[test]
    fn a_full_counter_may_be_rung() {
        let bell = EventFd::new().unwrap();
        bell.0.write(u64::MAX - 1).unwrap();
        bell.ring().unwrap();
        assert!(bell.drain().unwrap());
    }

    #[test]
    fn misuse_of_the_interest_list_keeps_its_errno() {
        let (epoll, bell) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        let code = |result: io::Result<()>| errno(&result.unwrap_err()).map(Errno::from_raw);
        assert_eq!(code(epoll.modify(bell.as_fd(), Readiness::READ, 0, false)), Some(Errno::ENOENT));
        assert_eq!(code(epoll.delete(bell.as_fd())), Some(Errno::ENOENT));
        epoll.add(bell.as_fd(), Readiness::READ, 0, false).unwrap();
        assert_eq!(code(epoll.add(bell.as_fd(), Readiness::READ, 0, false)), Some(Errno::EEXIST));
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert_eq!(code(epoll.add(file.as_fd(), Readiness::READ, 0, false)), Some(Errno::EPERM));
    }

    #[test]
    fn a_wait_that_times_out_does_not_end_early() {
        let (epoll, mut buffer) = (Epoll::new().unwrap(), Buffer::new(1));
        let deadline = Deadline::after(Duration::from_micros(1_500));
        assert_eq!(answers(&epoll, &mut buffer, deadline), []);
        assert!(deadline.is_expired());
    }

    #[test]
    fn answers_beyond_the_buffer_come_in_turn() {
        let (epoll, mut buffer) = (Epoll::new().unwrap(), Buffer::new(2));
        let bells: Vec<EventFd> = (0..5).map(|_| EventFd::new().unwrap()).collect();
        for (bell, token) in bells.iter().zip(0..) {
            epoll.add(bell.as_fd(), Readiness::READ, token, false).unwrap();
            bell.ring().unwrap();
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            seen.extend(answers(&epoll, &mut buffer, Deadline::NEVER).into_iter().map(|(token, _)| token));
        }
        assert_eq!(seen, (0..5).collect());
    }
}
