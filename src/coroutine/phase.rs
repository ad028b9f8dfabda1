//! Phase: what a body does, as the header of its stack says it to whoever would resume it.
//!
//! Whoever resumes a body sets it to `Running` or `Told`; the body sets it to `Suspended` or `Delegating` as it suspends. So
//! a turn needs no other word of state, and one comparison tells whether a value can be sent.

use super::protocol::State;

/// What a body does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    /// It has not begun.
    Created,
    /// It waits in a `yield_`.
    Suspended,
    /// It waits in a `yield_from`, and the header's word is the address of an `Inner`: to whom it delegates.
    Delegating,
    /// It runs, or whom it delegates to runs. If it was resumed just now, the word is the value that was sent.
    Running,
    /// It was resumed just now by a command, whose address is the word.
    Told,
    /// It has ended.
    Finished,
}

impl Phase {
    /// Whether it takes a value at once.
    #[inline(always)]
    pub(super) fn is_ready(self) -> bool {
        self <= Self::Suspended
    }

    #[inline]
    pub(super) fn state(self) -> State {
        match self {
            Self::Created => State::Created,
            Self::Suspended | Self::Delegating => State::Suspended,
            Self::Running | Self::Told => State::Running,
            Self::Finished => State::Finished,
        }
    }
}
