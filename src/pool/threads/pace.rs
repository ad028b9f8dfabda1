//! How many items a worker takes at a time: arithmetic on what its last ones have cost.

use std::time::Duration;

/// As much as a worker takes at once: so long it may keep what others would begin.
const LONG: Duration = Duration::from_micros(100);

/// As little as makes a chunk worth the while, even near the end of a map.
const BRIEF: Duration = Duration::from_micros(5);

/// By how much a chunk may be longer than the one before.
const GROWTH: usize = 8;

/// In a map of known length nobody takes more than its share of what is left, divided by this.
const SHARES: usize = 4;

/// Which rest of a map is done best by one worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    /// One of items that take no longer than this: to hand such an item over costs something to speak of.
    pub(super) item: Duration,
    /// And no longer than this together: others would hardly be of use before it is done.
    pub(super) rest: Duration,
}

impl Default for Short {
    fn default() -> Self {
        Self { item: Duration::from_nanos(4), rest: Duration::from_micros(100) }
    }
}

/// A worker's pace.
pub(super) struct Pace {
    /// Whether somebody said how long chunks are to be.
    fixed: bool,
    /// How long they are to be otherwise.
    size: usize,
    /// The longest.
    most: usize,
    /// The shortest.
    least: usize,
    /// Which rest is short.
    terms: Short,
    /// The longest such rest in items; 0 if they take too long each.
    short: usize,
}

impl Pace {
    /// The pace of a worker that knows nothing yet, unless `chunksize` was given.
    pub(super) fn new(chunksize: Option<usize>, most: usize, terms: Short) -> Self {
        Self { fixed: chunksize.is_some(), size: chunksize.unwrap_or(1), most, least: 1, terms, short: 0 }
    }

    /// So many items took so long.
    pub(super) fn note(&mut self, count: usize, took: Duration) {
        if self.fixed || count == 0 {
            return;
        }
        let took = nanos(took).max(1);
        let within = |time: Duration| {
            let items = (count as u64).saturating_mul(nanos(time)) / took;
            usize::try_from(items).unwrap_or(usize::MAX)
        };
        self.size = within(LONG).min(count.saturating_mul(GROWTH)).clamp(1, self.most);
        self.least = within(BRIEF).clamp(1, self.size);
        self.short = if within(self.terms.item) > 0 { within(self.terms.rest) } else { 0 };
    }

    /// The size of the next chunk, where so many items are left, or it is not known how many (0).
    pub(super) fn share(&self, left: usize, workers: usize) -> usize {
        if self.fixed || left == 0 { self.size } else { self.size.min((left / (SHARES * workers)).max(self.least)) }
    }

    /// Whether so many items that are left are done best by one worker.
    pub(super) fn is_short(&self, left: usize) -> bool {
        0 < left && left <= self.short
    }

    /// How many of these it does before it looks up.
    pub(super) fn piece(&self, left: usize) -> usize {
        self.size.min(left)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that has done so many items, each in so many nanoseconds.
    fn after(count: usize, each: u64) -> Pace {
        let mut pace = Pace::new(None, 8_192, Short::default());
        pace.note(count, Duration::from_nanos(each * count as u64));
        pace
    }

    #[test]
    fn chunks_grow_while_items_are_quick_and_shrink_when_they_are_not() {
        assert_eq!(Pace::new(None, 8_192, Short::default()).share(1_000, 2), 1);
        assert_eq!([1, 8, 64, 512, 4_096].map(|count| after(count, 1).share(0, 2)), [8, 64, 512, 4_096, 8_192]);
        assert_eq!(after(100, 1_000).share(0, 2), 100, "0.1 ms is long enough");
        assert_eq!(after(100, 10_000).share(0, 2), 10);
        assert_eq!(after(100, 1_000_000).share(0, 2), 1);
    }

    #[test]
    fn near_the_end_chunks_become_shorter_but_not_too_short() {
        let pace = after(1_000, 50);
        assert_eq!([80_000, 8_000, 800, 80].map(|left| pace.share(left, 2)), [2_000, 1_000, 100, 100]);
    }

    #[test]
    fn a_rest_is_short_if_its_items_are_tiny_and_few() {
        let pace = after(512, 2);
        assert_eq!([0, 1, 50_000, 50_001].map(|left| pace.is_short(left)), [false, true, true, false]);
        assert_eq!([10, 50_000].map(|left| pace.piece(left)), [10, 4_096]);
        assert!(!after(512, 5).is_short(1), "these are worth being shared out");
    }

    #[test]
    fn a_chunksize_that_was_given_is_kept() {
        let mut pace = Pace::new(Some(7), 8_192, Short::default());
        pace.note(7, Duration::from_nanos(7));
        assert_eq!([0, 1, 1_000_000].map(|left| pace.share(left, 2)), [7; 3]);
        assert!(!pace.is_short(1));
    }
}
