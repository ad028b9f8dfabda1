//! A queue among the things that are waited for at once.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use super::core::Core;
use crate::ipc::member::AN_INSTANT;
use crate::ipc::wait::look_again_soon;
use crate::sys::clock::Deadline;
use crate::sys::epoll::Edges;

/// A queue's readiness, as a descriptor for [`ipc::wait`](crate::ipc::wait()); made by [`Queue::readiness`](super::Queue::readiness).
///
/// Ready means that there was an item, or that none will come any more: it is worth a [`try_get`](super::Queue::try_get), which
/// may find that another process was faster. A queue that was shut down is not ready while another has an item on a
/// [`Lease`](super::Lease) that may come back.
///
/// Each call of [`as_fd`](AsFd::as_fd) looks at the queue: where that is ready it lends a descriptor that is readable, and
/// otherwise one that becomes readable with the next item. So whoever waits by other means than `wait` asks for the descriptor
/// anew before each wait. If a producer is killed between putting an item and telling of it, `wait` sees the item within
/// 50 ms all the same; other means see it with the next one. What a process had on a lease that was killed is looked for by
/// `wait` each 50 ms, and by other means whenever they ask for the descriptor: for that the process is one of the queue's users,
/// as who gets items is.
///
/// # Blocking
///
/// Asking for the descriptor waits for nobody, but for 10 ms at most for a process that was stopped while it got an item.
pub struct Readiness {
    queue: Core,
    /// What becomes readable by a change of the counter, which itself is readable always. Without it, for want of
    /// descriptors, the queue always looks ready.
    edges: Option<Edges>,
}

impl Readiness {
    pub(super) fn of(queue: Core) -> Self {
        let edges = Edges::of(queue.counter().as_fd()).ok();
        Self { queue, edges }
    }

    /// Whether there is something to be got, or nothing will be.
    fn is_ready(&self, soon: Deadline) -> bool {
        self.queue.words().is_ready() || self.queue.is_over(soon)
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        look_again_soon();
        let soon = Deadline::after(AN_INSTANT);
        self.queue.look_for_the_dead(soon);
        let Some(edges) = &self.edges else { return self.queue.counter().as_fd() };
        // First ask to be rung, then forget old rings, then look.
        self.queue.words().watch();
        let has_forgotten = edges.forget().is_ok();
        if self.is_ready(soon) || !has_forgotten { self.queue.counter().as_fd() } else { edges.as_fd() }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("is_ready", &self.is_ready(Deadline::after(AN_INSTANT)))
            .finish_non_exhaustive()
    }
}
