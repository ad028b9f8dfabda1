//! Generators that borrow, for the length of a call.

#![expect(unsafe_code, reason = "ends a generator before what it borrows")]

use super::builder::Builder;
use super::error::Interrupt;
use super::generator::Generator;
use super::yielder::Yielder;

/// Calls `user` with a generator whose `body` may borrow from around the call. The generator ends with the call, however
/// `user` ends: it is closed as one that is dropped.
///
/// `user` gets a reference, so it can neither keep the generator nor forget it. Everything a generator does is done by
/// reference; one of `R = ()` is an iterator as `g.into_iter()` or in `for value in g`.
///
/// ```
/// use crewkit::coroutine::scope;
///
/// let mut seen = Vec::new();
/// let words = ["a", "b"];
/// let joined = scope(
///     |y, ()| {
///         for word in &words {
///             seen.push(*word); // borrows
///             y.yield_(word.len())?;
///         }
///         Ok(())
///     },
///     |lengths| lengths.sum::<usize>(),
/// );
/// assert_eq!((joined, seen), (2, vec!["a", "b"]));
/// ```
///
/// ```compile_fail,E0521
/// use crewkit::coroutine::{Generator, scope};
///
/// let mut kept: Option<&Generator<i32>> = None;
/// scope(|y, ()| y.yield_(1), |generator| kept = Some(generator));
/// ```
///
/// # Panics
///
/// When there is no memory for a stack. When `user` or, as it is closed, `body` panics.
///
/// # Aborts
///
/// When the body does not end: when it goes on yielding although it was told to close and was unwound sixteen times (with
/// `panic = "abort"`: although it was told to close). There is no other sound way on: what it borrows ends here, and
/// threads that it started in a scope of its own may use that.
///
/// # Safety
///
/// Nothing for callers to keep to. The generator is owned by this call, which drops it before it returns or unwinds, and
/// nobody else can: all others have is a shared reference that ends with `user`. A generator that does not end aborts
/// the process. This call's own frame may be on a coroutine's stack that is forgotten: then it never returns, and what
/// the body borrows is on that stack, which is kept for ever, or outlives it.
pub fn scope<Y, R, T, V>(
    body: impl FnOnce(&Yielder<Y, R>, R) -> Result<T, Interrupt>,
    user: impl FnOnce(&Generator<Y, R, T>) -> V,
) -> V {
    // SAFETY: scoped, and dropped before this function ends; what body, values and result borrow outlives the call.
    let generator = match unsafe { Builder::new().generator_unchecked(true, body) } {
        Ok(generator) => generator,
        Err(error) => panic!("no generator: {error}"),
    };
    user(&generator)
}
