//! Functions that can stop in the middle and go on later: Python's generators and greenlets.
//!
//! | Which one do I want? | Name | Python's name |
//! |---|---|---|
//! | give values one by one, take values back, from any depth of calls | [`Generator`], [`generator!`](crate::generator) | generator |
//! | the same, with a body that borrows | [`scope()`] | generator |
//! | the same without a stack: by the hundred thousand, or for other threads | [`LightGenerator`] | generator |
//! | choose who runs next, not only give back control | [`Greenlet`] | `greenlet.greenlet` |
//! | choose name and stack, measure its use | [`Builder`] | |
//! | code for any of them | [`Coroutine`] | `collections.abc.Generator` |
//! | what is resumed from where | [`Yielder::yield_from`] | `yield from` |
//!
//! All but light generators have a stack of their own, from a pool of its thread; switching to it and back takes a few nanoseconds. So a body
//! calls what it likes, and yields from inside it: from recursion, from a callback of a library. An interrupt (an error
//! that is thrown in, the wish that it end) is a value that `yield_` returns, so `?` ends a body without a panic, and
//! with `panic = "abort"` too.
//!
//! Coroutines stay in the thread that made them, light generators whose bodies are `Send` excepted. Nothing here blocks.
//!
//! **On coroutines' stacks.** A guard lies below each stack: an overflow prints the coroutine's name and aborts. Drop what
//! borrows from a `RefCell` or locks a mutex before yielding, unless whoever is resumed meanwhile keeps off it. Do not
//! yield from inside a function of C that cannot be unwound: a generator that is dropped there may have to be.

mod builder;
mod delegation;
mod engine;
mod error;
mod fiber;
mod generator;
mod greenlet;
mod light;
mod phase;
mod protocol;
mod scope;
mod stack;
mod yielder;

pub use builder::Builder;
pub use error::{GenError, Interrupt};
pub use generator::Generator;
pub use greenlet::{Event, Greenlet, ParentError, SwitchError, Tracer};
pub use light::{LightBody, LightGenerator, LightYielder, SendLightBody};
pub use protocol::{Coroutine, State, Step};
pub use scope::scope;
pub use stack::{StackSize, StackStats, stack_stats, trim_stacks};
pub use yielder::Yielder;

/// A [`Generator`] from a body that takes its yielder, and nothing or its first value.
///
/// ```
/// use crewkit::generator;
///
/// let squares = generator!(|y| {
///     for n in 1..=3 {
///         y.yield_(n * n)?;
///     }
///     Ok(())
/// });
/// assert_eq!(squares.collect::<Vec<_>>(), [1, 4, 9]);
///
/// let offset = 10;
/// let echo = generator!(move |y, first| y.yield_(first + offset));
/// assert_eq!(echo.send(1).unwrap().yielded(), Some(11));
/// ```
#[macro_export]
macro_rules! generator {
    (|$y:ident| $body:expr) => {
        $crate::coroutine::Generator::new(|$y, ()| $body)
    };
    (move |$y:ident| $body:expr) => {
        $crate::coroutine::Generator::new(move |$y, ()| $body)
    };
    (|$y:ident, $first:pat_param| $body:expr) => {
        $crate::coroutine::Generator::new(|$y, $first| $body)
    };
    (move |$y:ident, $first:pat_param| $body:expr) => {
        $crate::coroutine::Generator::new(move |$y, $first| $body)
    };
}
