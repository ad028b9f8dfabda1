//! The one notion of "until when" in the crate: absolute, monotonic, and without an end where none was asked for.

use std::time::{Duration, Instant};

/// A point on the monotonic clock after which a wait gives up, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Never expires.
    pub(crate) const NEVER: Self = Self(None);

    /// Expires `timeout` from now. A timeout too long for the clock never expires, so `Duration::MAX` is legal.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }
}

/// A model has no clock (`primitive::has_passed`).
#[cfg(not(crewkit_loom))]
impl Deadline {
    /// What is left: `None` for ever, zero when it has passed.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// The same deadline, but not before `pause` is over.
    #[cfg(feature = "processes")]
    pub(crate) fn at_least(self, pause: Duration) -> Self {
        let is_soon = self.remaining().is_some_and(|left| left < pause);
        if is_soon { Self::after(pause) } else { self }
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_expired(self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }
}

/// A schedule's `now` and `pause`; a pause too long for the clock is a year.
#[cfg(all(any(feature = "processes", feature = "threads"), not(crewkit_loom)))]
pub(crate) fn later(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now + Duration::from_secs(365 * 24 * 3600))
}

/// For schedules: only the event loop and pools compute with instants.
#[cfg(all(any(feature = "processes", feature = "threads"), not(crewkit_loom)))]
impl Deadline {
    /// Expires at `instant`.
    #[cfg(feature = "processes")]
    pub(crate) fn at(instant: Instant) -> Self {
        Self(Some(instant))
    }

    /// The instant itself; `None` for never.
    #[cfg(feature = "processes")]
    pub(crate) fn instant(self) -> Option<Instant> {
        self.0
    }

    /// Whichever of the two comes first.
    pub(crate) fn earlier(self, other: Self) -> Self {
        Self([self.0, other.0].into_iter().flatten().min())
    }
}

/// The monotonic clock's time `pause` from now, as the C library wants it; the clock's last second, if that is beyond it.
#[cfg(all(feature = "processes", not(crewkit_loom)))]
pub(crate) fn monotonic_after(pause: Duration) -> libc::timespec {
    // The very clock of Instant, which does not show its reading.
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    timespec(now.saturating_add(pause))
}

/// Milliseconds of the monotonic clock, which all processes of a machine read alike.
#[cfg(all(feature = "processes", not(crewkit_loom)))]
pub(crate) fn milliseconds() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// A time or a length of time as the kernel wants it.
#[cfg(not(crewkit_loom))]
pub(crate) fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(time.subsec_nanos().cast_signed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_beyond_the_clock_never_expires() {
        let deadline = Deadline::after(Duration::MAX);
        assert_eq!(deadline, Deadline::NEVER);
        assert_eq!(deadline.remaining(), None);
        assert!(!deadline.is_expired());
    }

    #[test]
    fn a_zero_timeout_has_expired() {
        assert!(Deadline::after(Duration::ZERO).is_expired());
    }
}
