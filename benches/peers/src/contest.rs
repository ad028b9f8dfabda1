//! What is compared: a contest is one piece of work, its contestants are the libraries that can do it.

use std::error::Error;
use std::time::Duration;

/// A result whose error is only ever shown to a person.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Does the work `n` times and says how long that took, the set-up of the repetition left out. It checks what came
/// out: wrong results are an error, never a figure.
pub(crate) type Repetition = Box<dyn FnMut(u64) -> Outcome<Duration>>;

/// Sets a contestant up (processes, pools, connections). Runs on the contestant's own thread, off the clock.
type Open = Box<dyn FnOnce() -> Outcome<Repetition> + Send>;

/// One piece of work, done by several libraries in turn.
pub(crate) struct Contest {
    /// The part of crewkit it belongs to, a heading of the report.
    pub(crate) group: &'static str,
    /// The work.
    pub(crate) work: String,
    /// What the figures are the time of: once this.
    pub(crate) operation: &'static str,
    /// How many operations a repetition has.
    pub(crate) size: Size,
    /// Who takes part.
    pub(crate) contestants: Vec<Contestant>,
    /// What a reader should know about the conditions.
    pub(crate) remarks: Vec<&'static str>,
}

/// How many operations a repetition has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    /// As many as fit the pace of the run, found out for each contestant; always a multiple of this number.
    MultipleOf(u64),
    /// Always this many, because the number is part of the work.
    Exactly(u64),
}

impl Contest {
    /// A contest without contestants yet.
    pub(crate) fn new(group: &'static str, work: impl Into<String>, operation: &'static str, size: Size) -> Self {
        Self { group, work: work.into(), operation, size, contestants: Vec::new(), remarks: Vec::new() }
    }

    /// Adds a contestant.
    pub(crate) fn with(mut self, contestant: Contestant) -> Self {
        self.contestants.push(contestant);
        self
    }

    /// Adds a remark on the conditions.
    pub(crate) fn remark(mut self, text: &'static str) -> Self {
        self.remarks.push(text);
        self
    }

    /// What filters look at, and what is shown while it runs.
    pub(crate) fn title(&self) -> String {
        format!("{}: {}", self.group, self.work)
    }
}

/// A library, or one way of using it.
pub(crate) struct Contestant {
    /// As the report shows it.
    pub(crate) name: &'static str,
    /// Which side it is on.
    pub(crate) side: Side,
    /// Sets it up.
    pub(crate) open: Open,
}

/// Which side a contestant is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A way of using crewkit.
    Crewkit,
    /// A peer that all of crewkit's rows are compared with.
    Peer,
    /// A peer that only crewkit's row of this name is compared with.
    PeerOf(&'static str),
}

impl Contestant {
    /// A way of using crewkit.
    pub(crate) fn crewkit(name: &'static str, open: impl FnOnce() -> Outcome<Repetition> + Send + 'static) -> Self {
        Self { name, side: Side::Crewkit, open: Box::new(open) }
    }

    /// A peer that all of crewkit's rows are compared with.
    pub(crate) fn peer(name: &'static str, open: impl FnOnce() -> Outcome<Repetition> + Send + 'static) -> Self {
        Self { name, side: Side::Peer, open: Box::new(open) }
    }

    /// A peer that only crewkit's row called `ours` is compared with.
    pub(crate) fn peer_of(
        ours: &'static str,
        name: &'static str,
        open: impl FnOnce() -> Outcome<Repetition> + Send + 'static,
    ) -> Self {
        Self { name, side: Side::PeerOf(ours), open: Box::new(open) }
    }
}

/// An error unless what came out is what should have come out.
pub(crate) fn check<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Outcome<()> {
    if got == expected { Ok(()) } else { Err(format!("wrong {what}: {got:?} instead of {expected:?}").into()) }
}
