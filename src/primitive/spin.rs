//! How long to hope before sleeping: at most about 0.3 µs of pauses, then a few yields.
//!
//! A wake-up across cores costs more than 4 µs, so a short hope pays; pausing for longer than that against a peer that
//! shares the core costs ten times what it saves. The rounds are parking_lot's (`SpinWait`): 2, 4 and 8 pauses, then
//! yields.

use super::park::is_plain_thread;
use super::platform::{hint, thread};

/// The rounds of one hope.
#[derive(Debug)]
pub(crate) struct Spin {
    round: u32,
    rounds: u32,
}

const PAUSES: u32 = 3;

impl Spin {
    /// Pauses and `yields`; nothing at all where waits do not put the thread to sleep, and in models.
    pub(crate) fn then_yield(yields: u32) -> Self {
        let rounds = if cfg!(crewkit_loom) || !is_plain_thread() { 0 } else { PAUSES + yields };
        Self { round: 0, rounds }
    }

    /// Waits a little and answers whether to look once more.
    pub(crate) fn again(&mut self) -> bool {
        if self.round == self.rounds {
            return false;
        }
        self.round += 1;
        if self.round <= PAUSES {
            for _ in 0..1 << self.round {
                hint::spin_loop();
            }
        } else {
            thread::yield_now();
        }
        true
    }
}
