//! When a missing worker may be replaced: at once while starts succeed, ever more slowly while they do not, so that
//! what kills workers at their start does not become a storm of starts. Called by the scheduler.

use std::ops::Range;
use std::time::{Duration, Instant};

/// So many starts in a row may fail while no worker is ready, before the pool gives up.
pub(super) const START_FAILURES: u32 = 5;
/// The pause after a failed start doubles from the first of these to the second.
const BACK_OFF: Range<Duration> = Duration::from_millis(10)..Duration::from_secs(1);

/// What is known of the latest starts.
#[derive(Debug)]
pub(super) struct Hiring {
    /// Starts that failed since a worker became ready.
    failures: u32,
    /// Workers in a row that became ready and died young, without having begun anything.
    infants: u32,
    /// So many of those are taken for accidents, and cost no pause.
    accidents: u32,
    not_before: Option<Instant>,
}

impl Hiring {
    pub(super) fn new(workers: usize) -> Self {
        let accidents = u32::try_from(workers.saturating_mul(2)).unwrap_or(u32::MAX);
        Self { failures: 0, infants: 0, accidents, not_before: None }
    }

    /// When the next start may be tried, if not now.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// How many of the missing may be started now. After a failure one at a time shows whether it works again.
    pub(super) fn starts(&mut self, missing: usize, somebody_is_coming: bool, now: Instant) -> usize {
        if self.not_before.is_some_and(|at| at > now) {
            return 0;
        }
        self.not_before = None;
        if self.failures == 0 { missing } else { usize::from(!somebody_is_coming) }
    }

    /// A worker became ready.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        if self.infants == 0 {
            self.not_before = None;
        }
    }

    /// A worker did something, or lived for a while.
    pub(super) fn proved(&mut self) {
        self.infants = 0;
    }

    /// A worker became ready, and died soon with nothing to show.
    pub(super) fn died_young(&mut self, now: Instant) {
        self.infants = self.infants.saturating_add(1);
        if self.infants > self.accidents {
            self.not_before = Some(now + pause(self.infants - self.accidents));
        }
    }

    /// A start failed. True: so often that there is no hope, unless somebody is there to work.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause(self.failures));
        self.failures >= START_FAILURES
    }
}

/// The pause after so many failures in a row.
fn pause(failures: u32) -> Duration {
    BACK_OFF.start.saturating_mul(1 << (failures.clamp(1, 16) - 1)).min(BACK_OFF.end)
}
