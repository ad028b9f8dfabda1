//! Whether much time has passed, for a few nanoseconds: for looks at something that are to be neither at each call nor late.
//!
//! # Safety
//!
//! The processor's time stamp is read, which touches no memory.

#![expect(unsafe_code, reason = "the time stamp counter has no safe intrinsic")]

/// About 20 µs: 10 of them on a processor that counts 4 GHz, 40 on one that counts 1.
const SOME_TIME: u64 = 40_000;

/// When somebody looked last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastLook(Option<u64>);

impl LastLook {
    /// Whether some 20 µs have passed since this last said yes, or it never has.
    #[inline]
    pub(crate) fn is_long_ago(&mut self) -> bool {
        let now = ticks();
        let is_long_ago = self.0.is_none_or(|last| now.wrapping_sub(last) > SOME_TIME);
        if is_long_ago {
            self.0 = Some(now);
        }
        is_long_ago
    }

    /// It was looked at by other means.
    pub(crate) fn is_now(&mut self) {
        self.0 = Some(ticks());
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has it, and Linux lets programs read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// In halves of nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX).wrapping_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn the_first_look_is_due_and_so_is_one_after_a_while() {
        let mut look = LastLook::default();
        assert!(look.is_long_ago());
        let begin = Instant::now();
        while !look.is_long_ago() {
            assert!(begin.elapsed() < Duration::from_secs(10));
        }
    }
}
