//! Delegation: how a value that is sent to a generator reaches the one that it delegates to without waking it.
//!
//! A body that waits in `yield_from` leaves an [`Inner`] on its stack, and the address of that in its header. Who sends it a
//! value calls the inner engine instead of switching to the body; so a value passes a chain of delegates by calls, and is
//! switched once, to the innermost. Whatever is not a value sent and a value yielded goes the long way: the body is
//! resumed, and its `yield_from` speaks with the other one itself.

use std::ptr::NonNull;

use super::engine::RelayFn;

/// Who delegates asks for an [`Inner`] by this. Nobody else can name it, so no implementation of
/// [`Coroutine`](super::Coroutine) outside of this crate can answer.
#[derive(Debug)]
pub struct Key(pub(super) ());

/// An engine to which a body delegates, whatever that returns in the end.
#[derive(Debug)]
pub struct Inner<Y, R> {
    pub(super) engine: NonNull<()>,
    pub(super) relay: RelayFn<Y, R>,
}

/// What came back.
pub(super) enum Relay<Y> {
    Yielded(Y),
    /// The engine has ended, and how is to be collected from it.
    Ended,
    /// The value is where it was: the engine runs, or has ended before.
    Unready,
}

/// So many delegates are passed by calls before a body is resumed, on whose stack the calls go on.
pub(super) const MOST_PASSED: usize = 32;
