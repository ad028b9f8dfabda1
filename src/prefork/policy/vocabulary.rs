//! What goes into the policy, and what comes out of it.

use std::time::Duration;

/// The numbers that the policy works with.
#[derive(Clone, Copy, Debug)]
pub(in crate::prefork) struct Settings {
    /// Seats at the start.
    pub(in crate::prefork) workers: usize,
    /// Places on the scoreboard: as many processes as there may be at a time, old and new generations together.
    pub(in crate::prefork) slots: usize,
    /// How long a worker may boot.
    pub(in crate::prefork) boot_timeout: Duration,
    /// How long a worker may drain.
    pub(in crate::prefork) graceful_timeout: Duration,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prefork) enum Event {
    /// Time passed; also the event that starts it all.
    Tick,
    /// The worker in this slot has booted.
    Ready { slot: usize },
    /// The worker in this slot has ended.
    Died { slot: usize },
    /// The worker in this slot drains without having been asked to.
    Drains { slot: usize },
    /// A [`Action::Start`] came to nothing.
    ForkFailed { slot: usize },
    /// What a signal asks for.
    Command(Command),
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prefork) enum Command {
    /// Replace the workers (HUP).
    Reload,
    /// One worker more (TTIN).
    More,
    /// One worker fewer (TTOU).
    Fewer,
    /// Drain and end (TERM).
    Terminate,
    /// Drain and end; asked again, end (INT).
    Interrupt,
    /// End (QUIT).
    Quit,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prefork) enum Action {
    /// Fork a worker into this slot. It counts as booting from now on; if that fails, say [`Event::ForkFailed`].
    Start { slot: usize, seat: usize, generation: u64 },
    /// Tell a worker that is ready to accept connections.
    Serve { slot: usize },
    /// Tell a worker to stop accepting, to finish what it has, and to end. The last workers of all first serve what
    /// stands in the queue, because nobody comes after them.
    Drain { slot: usize, last: bool },
    /// Send SIGKILL.
    Kill { slot: usize, why: Why },
    /// The master stops listening. Comes before the workers are told to drain.
    StopListening,
    /// Something to report.
    Note(Note),
    /// It is over.
    End(Verdict),
}

/// Why a worker is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prefork) enum Why {
    /// It did not get ready in time.
    BootTimeout,
    /// It did not finish draining in time.
    GracefulTimeout,
    /// It has not begun to serve, and is not needed any more.
    NotNeeded,
    /// The master ends at once.
    Quit,
}

/// What the operator wants to know of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prefork) enum Note {
    /// A reload begins.
    ReloadBegins { generation: u64 },
    /// A reload was asked for while another one is under way; it will follow.
    ReloadQueued,
    /// The new generation serves.
    Reloaded { generation: u64 },
    /// The new generation was dropped.
    ReloadDropped { generation: u64 },
    /// The number of workers changed.
    Scaled { workers: usize },
    /// The number of workers stays, because it cannot go further that way.
    NotScaled { workers: usize },
    /// The master drains and ends.
    Draining,
    /// The master ends at once.
    Quitting,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prefork) enum Verdict {
    /// Somebody asked for it.
    Stopped,
    /// No worker was ever ready.
    NeverReady,
}
