//! The body of a light generator: the closure, and in its place, once it has begun, its state machine.
//!
//! # Safety
//!
//! The invariants are those of the folder.

#![expect(unsafe_code, reason = "a future inside of a pinned one")]

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::super::error::Interrupt;

/// What becomes the state machine of a body when it begins, in the same place.
pub(super) enum Body<F, B> {
    Created(F),
    Begun(B),
    /// The body panicked before it began to wait.
    Gone,
}

impl<F, B, T> Future for Body<F, B>
where
    F: FnOnce() -> Result<B, Interrupt>,
    B: Future<Output = Result<T, Interrupt>>,
{
    type Output = Result<T, Interrupt>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `Created` is moved, which nobody has pinned; `Begun` is not.
        let this = unsafe { self.get_unchecked_mut() };
        if let Self::Created(_) = this
            && let Self::Created(begin) = mem::replace(this, Self::Gone)
        {
            *this = Self::Begun(begin()?);
        }
        let Self::Begun(body) = this else { return Poll::Ready(Err(Interrupt::Close)) };
        // SAFETY: it stays where it is until it is dropped.
        unsafe { Pin::new_unchecked(body) }.poll(context)
    }
}
