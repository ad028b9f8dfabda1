//! How long to hope before sleeping: at most about 0.3 µs of pauses, then a few yields.
//!
//! A wake-up across cores costs more than 4 µs, so a short hope pays; pausing for longer than that against a peer that
//! shares the core costs ten times what it saves. The rounds are parking_lot's (`SpinWait`): 2, 4 and 8 pauses, then
//! yields.
//!
//! Between two ends of a queue that work side by side it is the other way round: who looks again as soon as the other
//! end has moved by one item takes that one's cache line away each time, and both crawl. There the first look comes after
//! about 0.2 µs, in which the other end moves by several.

use super::park::is_plain_thread;
use super::platform::{hint, thread};

/// The rounds of one hope: some of pauses, twice as many in each as in the one before, then yields.
#[derive(Debug)]
pub(crate) struct Spin {
    pauses: u32,
    most_pauses: u32,
    yields: u32,
}

impl Spin {
    /// Pauses and `yields`; nothing at all where waits do not put the thread to sleep, and in models.
    #[inline]
    pub(crate) fn then_yield(yields: u32) -> Self {
        Self::new(2, 8, yields)
    }

    /// The same, with all the pauses before the first look: for who waits at one end of a queue for several things to
    /// happen at the other.
    #[inline]
    pub(crate) fn for_a_batch(pauses: u32, yields: u32) -> Self {
        Self::new(pauses, pauses, yields)
    }

    fn new(pauses: u32, most_pauses: u32, yields: u32) -> Self {
        let is_hopeless = cfg!(crewkit_loom) || !is_plain_thread();
        if is_hopeless { Self { pauses, most_pauses: 0, yields: 0 } } else { Self { pauses, most_pauses, yields } }
    }

    /// Waits a little and answers whether to look once more.
    pub(crate) fn again(&mut self) -> bool {
        if self.pauses <= self.most_pauses {
            pause(self.pauses);
            self.pauses *= 2;
        } else if self.yields > 0 {
            thread::yield_now();
            self.yields -= 1;
        } else {
            return false;
        }
        true
    }
}

fn pause(times: u32) {
    for _ in 0..times {
        hint::spin_loop();
    }
}

/// Whether what another thread is about to do, within a few instructions of its own, is done soon. That thread may have
/// been suspended there: hence the yields. It may be waiting for this very processor, with a lower priority, and a yield
/// does not give way to that: then it is not done soon.
#[cfg(not(crewkit_loom))]
pub(crate) fn comes_true_soon(mut is_done: impl FnMut() -> bool) -> bool {
    let mut spin = Spin { pauses: 2, most_pauses: 8, yields: PATIENCE };
    while !is_done() {
        if !spin.again() {
            return false;
        }
    }
    true
}

/// How many yields come before [`comes_true_soon`] gives up: some hundred microseconds.
#[cfg(not(crewkit_loom))]
const PATIENCE: u32 = 1_000;
