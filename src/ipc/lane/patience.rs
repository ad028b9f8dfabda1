//! How long to look at a ring before sleeping.
//!
//! A sleep and its end cost some ten microseconds, so it pays to look for about as long, if somebody is at work at the
//! other side; and if nobody is, it costs a processor. What was so the last times is taken to be so the next time: each
//! look that finds something doubles the time for the next, each that does not halves it.
//!
//! Who looks as soon as the other side has moved by one record takes that one's cache line away each time. So where
//! records have come in batches, the first look comes later; where each was alone, as in calls and answers, at once.

use std::hint;

#[derive(Debug)]
pub(super) struct Patience {
    /// How many pauses before sleeping.
    pauses: u32,
    /// How many before the first look.
    first: u32,
}

/// Half a microsecond, and twenty: a pause takes some 40 ns.
const LEAST: u32 = 12;
const MOST: u32 = 512;
/// Pauses between two looks, at most.
const STRIDE: u32 = 32;

impl Patience {
    pub(super) fn new() -> Self {
        Self { pauses: 4 * LEAST, first: 1 }
    }

    /// Says whether the last things came in batches.
    #[inline]
    pub(super) fn expect_batches(&mut self, batches: bool) {
        self.first = if batches { STRIDE } else { 1 };
    }

    /// Looks, with growing pauses; whether it was seen before the patience was at its end.
    pub(super) fn comes_true(&mut self, mut is_true: impl FnMut() -> bool) -> bool {
        let (mut left, mut pauses) = (self.pauses, self.first);
        while left > 0 {
            (0..pauses).for_each(|_| hint::spin_loop());
            if is_true() {
                self.pauses = (2 * self.pauses).min(MOST);
                return true;
            }
            left = left.saturating_sub(pauses);
            pauses = (2 * pauses).min(STRIDE);
        }
        self.pauses = (self.pauses / 2).max(LEAST);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(patience: &mut Patience) -> u32 {
        let mut looks = 0;
        assert!(!patience.comes_true(|| {
            looks += 1;
            false
        }));
        looks
    }

    #[test]
    fn patience_grows_with_success_and_fades_without() {
        let mut patience = Patience::new();
        (0..10).for_each(|_| assert!(patience.comes_true(|| true)));
        let most = looks(&mut patience);
        let least = (0..10).map(|_| looks(&mut patience)).last();
        assert!(least.is_some_and(|least| least < 6 && least < most), "{least:?} after {most}");
    }

    #[test]
    fn batches_are_left_to_grow() {
        let mut patience = Patience::new();
        let one_by_one = looks(&mut patience);
        let mut patience = Patience::new();
        patience.expect_batches(true);
        assert!(looks(&mut patience) < one_by_one);
    }
}
