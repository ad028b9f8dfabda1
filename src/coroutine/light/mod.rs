//! Light generators: the protocol of generators without a stack.
//!
//! The body is an async closure, which the compiler turns into a state machine: it lies in one small allocation together
//! with the *slate*, on which values are passed. Nobody but the generator polls it, with a waker that does nothing.
//!
//! ```text
//!   core ┌────────────────────────────────────────────────────┐
//!        │ slate:   yielded │ sent │ address of the interrupt │ ◄┐ by pointer
//!        │ yielder                                            │ ─┘ ◄┐ borrowed
//!        │ body:    the closure, then its state machine       │ ─────┘
//!        └────────────────────────────────────────────────────┘
//!   send(v)   sent = v, poll the body            yield_(w).await   1st poll: yielded = w, pending
//!             pending: take what was yielded                       2nd poll: take what was sent, ready
//! ```
//!
//! # Safety
//!
//! The invariants that the `SAFETY` comments of this folder cite:
//!
//! 1. An [`Owned`] owns a core from its making to its drop, and hands out pointers into it, no references that last. The
//!    body in it is not moved, and is dropped once, before the slate.
//! 2. A yielder lies in the core that it is made for, and is borrowed by the body of that core; who borrows it cannot
//!    outlive the body, nor put another one there: to a body, the lifetime in its yielder's type is like no other. So the
//!    slate that it points to is there whenever it is used.
//! 3. The slate is used by one thread at a time: by the generator, which is borrowed mutably, before and after it polls
//!    the body; and by the body, through its only yielder, borrowed mutably, while it is polled.

mod body;
mod owned;
mod yielder;

use std::fmt;
use std::iter::FusedIterator;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll, Waker};

use super::engine::outcome;
use super::error::{GenError, Interrupt};
use super::protocol::{Coroutine, State, Step};
use body::Body;
use owned::{Core, Owned};
pub use yielder::LightYielder;
use yielder::Thrown;

/// The body of a light generator whose type is not told: see [`LightGenerator::boxed`].
pub type LightBody<T> = dyn Future<Output = Result<T, Interrupt>>;

/// The body of a light generator whose type is not told but for being `Send`: see [`LightGenerator::boxed_send`].
pub type SendLightBody<T> = dyn Future<Output = Result<T, Interrupt>> + Send;

/// A generator without a stack: an async closure that yields. Python's generator.
///
/// It takes some hundred bytes where a [`Generator`](super::Generator) takes a page of memory at least, and can be sent to
/// another thread if its body can. What it pays for that: it yields from its own async body only, not from a function that
/// the body calls, a callback of a library, or recursion. So take this one for many thousands, for plain iterators, and for
/// other threads.
///
/// The body takes a yielder and the first value that is sent. Interrupts come out of `yield_(…).await`, to be handed on
/// with `?`. Everything else is as [`Coroutine`] says. A generator that is dropped drops what its body holds, without
/// telling the body: nothing is asked that could be refused.
///
/// ```
/// use crewkit::coroutine::{LightGenerator, Step};
///
/// let mut average = LightGenerator::new(async |y, first: f64| {
///     let (mut sum, mut count) = (first, 1.0);
///     loop {
///         sum += y.yield_(sum / count).await?;
///         count += 1.0;
///     }
/// });
/// # let _typed: &mut LightGenerator<f64, f64, (), _> = &mut average;
/// assert_eq!(average.send(10.0).unwrap(), Step::Yield(10.0));
/// assert_eq!(average.send(20.0).unwrap(), Step::Yield(15.0));
/// ```
///
/// The type of the body is a part of the generator's type, which makes it fast, and has no name. Where one is needed, as
/// for a field or a `Vec` of various generators, [`boxed`](Self::boxed) hides it.
///
/// What the body keeps while it waits decides whether the generator is `Send`:
///
/// ```
/// use crewkit::coroutine::LightGenerator;
///
/// let mut squares = LightGenerator::new(async |y, ()| {
///     for n in 1..4 {
///         y.yield_(n * n).await?;
///     }
///     Ok(())
/// });
/// assert_eq!(squares.next(), Some(1));
/// let rest = std::thread::spawn(move || squares.collect::<Vec<_>>()).join().unwrap();
/// assert_eq!(rest, [4, 9]);
/// ```
///
/// ```compile_fail,E0277
/// use crewkit::coroutine::LightGenerator;
///
/// let counts = LightGenerator::new(async |y, ()| {
///     let shared = std::rc::Rc::new(1);
///     y.yield_(*shared).await?;
///     y.yield_(*shared).await
/// });
/// std::thread::spawn(move || counts.count()); // `Rc<i32>` cannot be sent between threads safely
/// ```
///
/// A boxed one is, if that was asked for:
///
/// ```compile_fail,E0277
/// use crewkit::coroutine::LightGenerator;
///
/// let boxed = LightGenerator::new(async |y, ()| y.yield_(1).await).boxed(); // boxed_send() would do
/// std::thread::spawn(move || boxed.count());
/// ```
///
/// # Panics
///
/// A body that awaits anything but its yielder waits for ever, as nobody would wake it; whoever resumes it then gets a
/// panic that says so.
pub struct LightGenerator<Y, R = (), T = (), B = LightBody<T>>
where
    B: Future<Output = Result<T, Interrupt>> + ?Sized,
{
    /// None when it has ended.
    core: Option<Owned<Y, R, B>>,
    begun: bool,
    /// What the body returned while this was used as an iterator.
    returned: Option<T>,
}

impl<Y, R, T> LightGenerator<Y, R, T> {
    /// A generator that will run `body` when it is first resumed, with what it is sent.
    pub fn new<'b, F>(body: F) -> LightGenerator<Y, R, T, impl Future<Output = Result<T, Interrupt>>>
    where
        F: AsyncFnOnce(&mut LightYielder<'_, Y, R>, R) -> Result<T, Interrupt>,
        Y: 'b,
        R: 'b,
    {
        let core = Owned::new(|yielder: &'b mut LightYielder<'static, Y, R>| {
            Body::Created(move || {
                let first = yielder.first()?;
                Ok(body(yielder, first))
            })
        });
        LightGenerator { core: Some(core), begun: false, returned: None }
    }
}

impl<Y, R, T, B> LightGenerator<Y, R, T, B>
where
    B: Future<Output = Result<T, Interrupt>>,
{
    /// The same generator, without the type of its body in its type.
    ///
    /// ```
    /// use crewkit::coroutine::LightGenerator;
    ///
    /// let up = LightGenerator::new(async |y, ()| y.yield_(1).await).boxed();
    /// let down = LightGenerator::new(async |y, ()| y.yield_(-1).await).boxed();
    /// let both: Vec<LightGenerator<i32>> = vec![up, down];
    /// assert_eq!(both.into_iter().flatten().sum::<i32>(), 0);
    /// ```
    pub fn boxed(self) -> LightGenerator<Y, R, T>
    where
        B: 'static,
    {
        self.with_core(|core| -> NonNull<Core<Y, R, LightBody<T>>> { core })
    }

    /// The same, of a body that is `Send`, so that the generator is.
    pub fn boxed_send(self) -> LightGenerator<Y, R, T, SendLightBody<T>>
    where
        B: Send + 'static,
    {
        self.with_core(|core| -> NonNull<Core<Y, R, SendLightBody<T>>> { core })
    }

    fn with_core<D>(
        self,
        unsize: impl FnOnce(NonNull<Core<Y, R, B>>) -> NonNull<Core<Y, R, D>>,
    ) -> LightGenerator<Y, R, T, D>
    where
        D: Future<Output = Result<T, Interrupt>> + ?Sized,
    {
        let core = self.core.map(|owned| owned.unsized_by(unsize));
        LightGenerator { core, begun: self.begun, returned: self.returned }
    }
}

impl<Y, R, T, B> LightGenerator<Y, R, T, B>
where
    B: Future<Output = Result<T, Interrupt>> + ?Sized,
{
    /// Resumes the body with a value, which its `yield_` returns, and runs it to its next `yield_` or its end: Python's
    /// `send`. The first value goes to the body as its argument.
    ///
    /// # Errors
    ///
    /// [`GenError::Finished`] drops `value`; [`GenError::Thrown`] is what the body ended with.
    ///
    /// # Panics
    ///
    /// When the body panics, and when it awaited something else than its yielder.
    #[inline]
    pub fn send(&mut self, value: R) -> Result<Step<Y, T>, GenError> {
        let Some(core) = &self.core else { return Err(GenError::Finished) };
        drop(core.slate().sent(Some(value)));
        self.resume()
    }

    /// Resumes the body with an interrupt, which its `yield_` returns: Python's `throw`. Any error converts into one.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). A body that has not begun does not begin: the generator is finished, and the error comes
    /// back as [`GenError::Thrown`]; likewise if it had finished before.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn throw(&mut self, interrupt: impl Into<Interrupt>) -> Result<Step<Y, T>, GenError> {
        let interrupt = interrupt.into();
        if !self.begun {
            self.core = None;
        }
        let Some(core) = &self.core else { return Err(outcome(interrupt)) };
        // A value that a `yield_` was sent which the body gave up would be taken first. If its destructor panics, nothing
        // is thrown yet.
        drop(core.slate().sent(None));
        // A body that gave up a `yield_` half-way does not take it. It may not be `Send`, and is dropped here.
        let thrown = Thrown::new(interrupt);
        core.slate().interrupt.set(&raw const thrown);
        let result = self.resume();
        if let Some(core) = &self.core {
            core.slate().interrupt.set(ptr::null());
        }
        result
    }

    /// Tells the body to end, by [`Interrupt::Close`] from its `yield_`: Python's `close`. Returns the value that the body
    /// returns, and `None` if it had ended, has never begun, or ended without a value.
    ///
    /// # Errors
    ///
    /// [`GenError::IgnoredClose`] if it yielded: it is suspended then, as before. [`GenError::Thrown`] as of
    /// [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn close(&mut self) -> Result<Option<T>, GenError> {
        match self.throw(Interrupt::Close) {
            Ok(Step::Yield(_)) => Err(GenError::IgnoredClose),
            Ok(Step::Return(value)) => Ok(Some(value)),
            Err(GenError::Finished) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where it stands, which is never [`State::Running`]: while its body runs, the generator is borrowed.
    pub fn state(&self) -> State {
        match self.core {
            None => State::Finished,
            Some(_) if self.begun => State::Suspended,
            Some(_) => State::Created,
        }
    }

    /// Takes what the body returned while the generator was used as an iterator: Python's `StopIteration.value`.
    pub fn return_value(&mut self) -> Option<T> {
        self.returned.take()
    }

    /// Runs the body to its next turn. What it is resumed with is on the slate.
    #[inline]
    fn resume(&mut self) -> Result<Step<Y, T>, GenError> {
        /// Drops a core unless its body waits: it has ended then, or panics.
        struct Turn<'g, C> {
            core: &'g mut Option<C>,
            waits: bool,
        }

        impl<C> Drop for Turn<'_, C> {
            #[inline]
            fn drop(&mut self) {
                if !self.waits {
                    *self.core = None;
                }
            }
        }

        self.begun = true;
        let mut turn = Turn { core: &mut self.core, waits: false };
        let Some(core) = turn.core else { return Err(GenError::Finished) };
        match core.body().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {
                let Some(value) = core.slate().yielded(None) else { awaits_another() };
                turn.waits = true;
                Ok(Step::Yield(value))
            }
            Poll::Ready(Ok(value)) => Ok(Step::Return(value)),
            Poll::Ready(Err(interrupt)) => Err(outcome(interrupt)),
        }
    }
}

#[cold]
fn awaits_another() -> ! {
    panic!("the body of a light generator awaits something else than its yielder, and nobody would wake it")
}

/// `None` at the end.
///
/// # Panics
///
/// When the body ends with an error, with what the error says; when it panics.
impl<Y, T, B> Iterator for LightGenerator<Y, (), T, B>
where
    B: Future<Output = Result<T, Interrupt>> + ?Sized,
{
    type Item = Y;

    #[inline]
    fn next(&mut self) -> Option<Y> {
        match self.send(()) {
            Ok(Step::Yield(value)) => Some(value),
            Ok(Step::Return(value)) => {
                self.returned = Some(value);
                None
            }
            Err(error) => no_item(&error),
        }
    }
}

#[cold]
fn no_item<Y>(error: &GenError) -> Option<Y> {
    match error {
        GenError::Finished => None,
        error => panic!("a light generator, used as an iterator: {error}"),
    }
}

impl<Y, T, B> FusedIterator for LightGenerator<Y, (), T, B> where B: Future<Output = Result<T, Interrupt>> + ?Sized {}

impl<Y, R, T, B> Coroutine<Y, R> for LightGenerator<Y, R, T, B>
where
    B: Future<Output = Result<T, Interrupt>> + ?Sized,
{
    type Return = T;

    #[inline]
    fn send(&mut self, value: R) -> Result<Step<Y, T>, GenError> {
        Self::send(self, value)
    }

    fn throw(&mut self, interrupt: Interrupt) -> Result<Step<Y, T>, GenError> {
        Self::throw(self, interrupt)
    }

    fn close(&mut self) -> Result<Option<T>, GenError> {
        Self::close(self)
    }

    fn state(&self) -> State {
        Self::state(self)
    }
}

impl<Y, R, T, B> fmt::Debug for LightGenerator<Y, R, T, B>
where
    B: Future<Output = Result<T, Interrupt>> + ?Sized,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LightGenerator").field("state", &self.state()).finish_non_exhaustive()
    }
}
