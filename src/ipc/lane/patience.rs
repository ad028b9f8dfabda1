//! How long to look at a ring before sleeping.
//!
//! A sleep and its end cost some ten microseconds, so it pays to look for about as long, if somebody is at work at the
//! other side; and if nobody is, it costs a processor. What was so the last times is taken to be so the next time: each
//! look that finds something doubles the time for the next, each that does not halves it.
//!
//! Two sides that both sleep find each other asleep each time, and would go on so for ever though neither needed to. So now
//! and then one looks for as long as a wake-up takes; and none looks for less time than an answer takes of a side that is
//! awake.
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
    /// Times in a row that nothing was seen.
    in_vain: u32,
}

/// Less than one microsecond, and about eight: a pause takes 13 to 17 ns.
const LEAST: u32 = 48;
const MOST: u32 = 512;
/// One time in so many is as long as any.
const PROBE: u32 = 16;
/// Pauses between two looks, at most.
const STRIDE: u32 = 32;

impl Patience {
    pub(super) fn new() -> Self {
        Self { pauses: MOST / 2, first: 1, in_vain: 0 }
    }

    /// Says whether the last things came in batches.
    #[inline]
    pub(super) fn expect_batches(&mut self, batches: bool) {
        self.first = if batches { STRIDE } else { 1 };
    }

    /// Looks, with growing pauses; whether it was seen before the patience was at its end.
    pub(super) fn comes_true(&mut self, mut is_true: impl FnMut() -> bool) -> bool {
        let (mut left, mut pauses) = (self.pauses, self.first);
        if self.in_vain % PROBE == PROBE - 1 {
            left = MOST;
        }
        while left > 0 {
            (0..pauses).for_each(|_| hint::spin_loop());
            if is_true() {
                // What was seen in a long time is worth a long time.
                self.pauses = if self.in_vain >= PROBE - 1 { MOST } else { (2 * self.pauses).min(MOST) };
                self.in_vain = 0;
                return true;
            }
            left = left.saturating_sub(pauses);
            pauses = (2 * pauses).min(STRIDE);
        }
        self.pauses = (self.pauses / 2).max(LEAST);
        self.in_vain = self.in_vain.wrapping_add(1);
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
        assert!(least.is_some_and(|least| least < 8 && least < most), "{least:?} after {most}");
    }

    #[test]
    fn now_and_then_a_look_is_long_and_what_it_sees_makes_the_next_ones_long() {
        let mut patience = Patience::new();
        let looks_in_a_row: Vec<u32> = (0..4 * PROBE).map(|_| looks(&mut patience)).collect();
        let (Some(&most), Some(&least)) = (looks_in_a_row.iter().max(), looks_in_a_row.iter().min()) else {
            panic!("no looks at all")
        };
        assert_eq!(looks_in_a_row.iter().filter(|&&looks| looks == most).count(), 4, "{looks_in_a_row:?}");
        while patience.in_vain % PROBE != PROBE - 1 {
            assert!(looks(&mut patience) <= most);
        }
        let mut left = least + 1;
        assert!(patience.comes_true(|| {
            left -= 1;
            left == 0
        }));
        assert_eq!(looks(&mut patience), most);
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
