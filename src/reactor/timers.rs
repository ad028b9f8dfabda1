//! Timers with identities: which one is next, which ones are due. Pure; the poller brings the clock.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Token;
use crate::sys::clock::Deadline;

/// Which timer: unique for the life of its poller, so that an event of a timer that was replaced is told apart from
/// one of its successor with the same token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TimerId {
    // The order of the fields is the order in which timers fire: by time, then first set first.
    at: At,
    serial: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum At {
    Instant(Instant),
    Never,
}

/// The timers that are set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: BTreeMap<TimerId, Token>,
    next_serial: u64,
}

impl Timers {
    /// Sets a timer. One for [`Deadline::NEVER`] does not fire, but has an identity and can be cancelled.
    pub(crate) fn set(&mut self, at: Deadline, token: Token) -> TimerId {
        let id = TimerId { at: at.instant().map_or(At::Never, At::Instant), serial: self.next_serial };
        self.next_serial += 1;
        self.set.insert(id, token);
        id
    }

    /// Takes a timer out; false if it has fired or was cancelled before.
    pub(crate) fn cancel(&mut self, id: TimerId) -> bool {
        self.set.remove(&id).is_some()
    }

    /// When the first timer is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        match self.set.first_key_value()?.0.at {
            At::Instant(at) => Some(at),
            At::Never => None,
        }
    }

    /// Takes out the first timer that is due at `now`.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(TimerId, Token)> {
        let first = self.set.first_entry()?;
        match first.key().at {
            At::Instant(at) if at <= now => Some(first.remove_entry()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn due(timers: &mut Timers, now: Instant) -> Vec<usize> {
        std::iter::from_fn(|| timers.take_due(now)).map(|(_, Token(token))| token).collect()
    }

    /// A deadline and its instant, some milliseconds ahead.
    fn ahead(ms: u64) -> (Deadline, Instant) {
        let deadline = Deadline::after(Duration::from_millis(ms));
        (deadline, deadline.instant().unwrap())
    }

    #[test]
    fn timers_fire_by_time_and_then_in_the_order_in_which_they_were_set() {
        let mut timers = Timers::default();
        let ((early, _), (late, end)) = (ahead(1_000), ahead(2_000));
        for (at, token) in [(late, 1), (early, 2), (late, 3), (early, 4)] {
            timers.set(at, Token(token));
        }
        assert_eq!(timers.next(), early.instant());
        assert_eq!(due(&mut timers, end), [2, 4, 1, 3]);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn no_timer_is_due_a_nanosecond_early() {
        let mut timers = Timers::default();
        let (deadline, at) = ahead(1_000);
        timers.set(deadline, Token(1));
        assert_eq!(due(&mut timers, at - Duration::from_nanos(1)), []);
        assert_eq!(due(&mut timers, at), [1]);
    }

    #[test]
    fn cancel_is_exact() {
        let mut timers = Timers::default();
        let (deadline, at) = ahead(1_000);
        let twins = [timers.set(deadline, Token(1)), timers.set(deadline, Token(1))];
        assert_ne!(twins[0], twins[1]);
        assert!(timers.cancel(twins[0]));
        assert!(!timers.cancel(twins[0]), "a timer is cancelled once");
        assert_eq!(timers.take_due(at), Some((twins[1], Token(1))));
        assert!(!timers.cancel(twins[1]), "a timer that fired cannot be cancelled");
    }

    #[test]
    fn a_timer_for_never_waits_behind_all_others() {
        let mut timers = Timers::default();
        let never = timers.set(Deadline::NEVER, Token(1));
        assert_eq!(timers.next(), None);
        let (deadline, at) = ahead(1_000);
        timers.set(deadline, Token(2));
        assert_eq!(timers.next(), Some(at));
        assert_eq!(due(&mut timers, at + Duration::from_secs(1 << 30)), [2]);
        assert!(timers.cancel(never));
    }
}
