//! What is compared: a contest is one piece of work, its contestants are the libraries that can do it.

use std::error::Error;
use std::time::Duration;

/// A result whose error is only ever shown to a person.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Does the work `n` times and says what that cost, the set-up of the repetition left out. It checks what came out:
/// wrong results are an error, never a figure.
pub(crate) type Repetition = Box<dyn FnMut(u64) -> Outcome<Cost>>;

/// What some work cost: nanoseconds or bytes, as the contest's [`Unit`] says.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Cost(pub(crate) f64);

impl From<Duration> for Cost {
    fn from(time: Duration) -> Self {
        Self(time.as_secs_f64() * 1e9)
    }
}

/// What a contest's figures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Time by the clock.
    Time,
    /// Processor time of the threads at work.
    Processor,
    /// Memory.
    Bytes,
}

/// Sets a contestant up (processes, pools, connections). Runs on the contestant's own thread, off the clock.
type Open = Box<dyn FnOnce() -> Outcome<Repetition> + Send>;

/// One piece of work, done by several libraries in turn.
pub(crate) struct Contest {
    /// The part of crewkit it belongs to, a heading of the report.
    pub(crate) group: &'static str,
    /// The work.
    pub(crate) work: String,
    /// What the figures are the cost of: once this.
    pub(crate) operation: &'static str,
    /// What the figures are.
    pub(crate) unit: Unit,
    /// How many operations a repetition has.
    pub(crate) size: Size,
    /// How many rounds are enough, if the pace of the run would give it more.
    pub(crate) most_rounds: usize,
    /// Who takes part.
    pub(crate) contestants: Vec<Contestant>,
    /// What crewkit is to reach here.
    pub(crate) targets: Vec<Target>,
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
        Self {
            group,
            work: work.into(),
            operation,
            unit: Unit::Time,
            size,
            most_rounds: usize::MAX,
            contestants: Vec::new(),
            targets: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// Figures of this unit instead of time. The size of a repetition is then [`Size::Exactly`] something.
    pub(crate) fn counting(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// No more rounds than this: for repetitions that take long.
    pub(crate) fn rounds(mut self, most: usize) -> Self {
        self.most_rounds = most;
        self
    }

    /// Adds a contestant.
    pub(crate) fn with(mut self, contestant: Contestant) -> Self {
        self.contestants.push(contestant);
        self
    }

    /// Adds a target.
    pub(crate) fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
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

/// What crewkit is to reach in a contest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The name of crewkit's row.
    pub(crate) ours: &'static str,
    /// What is asked of it.
    pub(crate) goal: Goal,
}

/// What is asked of crewkit's row. Peers are named as their rows are; no names stand for all peers of the contest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// At least so many times as fast as the best of these peers.
    Speed(f64, &'static [&'static str]),
    /// At most so many times the cost of the best of these peers.
    Cost(f64, &'static [&'static str]),
    /// Less than so many nanoseconds or bytes.
    Below(f64),
}

impl Target {
    /// `ours` is to be at least `ratio` times as fast as the best of `peers`.
    pub(crate) const fn speed(ours: &'static str, ratio: f64, peers: &'static [&'static str]) -> Self {
        Self { ours, goal: Goal::Speed(ratio, peers) }
    }

    /// `ours` is to cost at most `ratio` times as much as the best of `peers`.
    pub(crate) const fn cost(ours: &'static str, ratio: f64, peers: &'static [&'static str]) -> Self {
        Self { ours, goal: Goal::Cost(ratio, peers) }
    }

    /// `ours` is to cost less than so many nanoseconds or bytes.
    pub(crate) const fn below(ours: &'static str, limit: f64) -> Self {
        Self { ours, goal: Goal::Below(limit) }
    }
}

/// An error unless what came out is what should have come out.
pub(crate) fn check<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Outcome<()> {
    if got == expected { Ok(()) } else { Err(format!("wrong {what}: {got:?} instead of {expected:?}").into()) }
}
