//! Generator: a body that gives values one by one, and takes values back.
//!
//! `README.md` of this folder has the states, who owns the stack in each, and what every way to end does.

use std::cell::Cell;
use std::fmt;
use std::iter::FusedIterator;
use std::mem::ManuallyDrop;
use std::thread::panicking;

use super::builder::Builder;
use super::delegation::{Inner, Key};
use super::engine::{Ending, Engine, outcome, result};
use super::error::{GenError, Interrupt};
use super::fiber::Turn;
use super::protocol::{Coroutine, State, Step};
use super::yielder::{Command, Yielder};

/// A function on a stack of its own that yields values of `Y`, is resumed with values of `R`, and returns a `T`: Python's
/// generator.
///
/// The body gets a [`Yielder`] and the first value that is sent. Nothing of it runs before that. It ends by returning,
/// by an error (`?` on anything), or by a panic, which goes on in whoever resumed it.
///
/// ```
/// use crewkit::coroutine::{Generator, Step};
///
/// let average = Generator::new(|y, first: f64| {
///     let (mut sum, mut count) = (first, 1.0);
///     while sum < 100.0 {
///         sum += y.yield_(sum / count)?;
///         count += 1.0;
///     }
///     Ok(count)
/// });
/// assert_eq!(average.send(10.0)?, Step::Yield(10.0));
/// assert_eq!(average.send(20.0)?, Step::Yield(15.0));
/// assert_eq!(average.send(70.0)?, Step::Return(3.0));
/// # Ok::<(), crewkit::coroutine::GenError>(())
/// ```
///
/// With `R = ()` it is an iterator, and so is a reference to it.
///
/// **Sharing.** Its methods take `&self`, so that an `Rc` of it can be resumed from anywhere in its thread, its own body
/// included, which is [`AlreadyExecuting`](GenError::AlreadyExecuting).
///
/// **Ending.** A generator that is dropped before its end is told to [`close`](Self::close), once. If its body yields
/// nevertheless, it is unwound as by a panic that prints nothing; a body that goes on yielding after sixteen of these
/// keeps its stack for ever ([`StackStats::leaked`](super::StackStats::leaked) counts it), as does one that does not
/// close in a program with `panic = "abort"`. An error that comes of it is dropped: call `close` to see it.
///
/// **Threads.** A generator stays in the thread that made it:
///
/// ```compile_fail,E0277
/// # use crewkit::coroutine::Generator;
/// fn send<T: Send>(_: T) {}
/// send(Generator::new(|y, ()| y.yield_(1)));
/// ```
///
/// ```compile_fail,E0277
/// # use crewkit::coroutine::Generator;
/// fn sync<T: Sync>(_: &T) {}
/// sync(&Generator::new(|y, ()| y.yield_(1)));
/// ```
///
/// **Borrowing.** A generator can be forgotten, so its body borrows nothing; [`scope()`](super::scope()) is for bodies that
/// do:
///
/// ```compile_fail,E0597
/// # use crewkit::coroutine::Generator;
/// let local = 1;
/// let generator = Generator::new(|y, ()| y.yield_(&local));
/// ```
pub struct Generator<Y, R = (), T = ()> {
    engine: Engine<Y, R, T>,
    /// What the body returned to an iterator.
    returned: Cell<Option<T>>,
}

impl<Y: 'static, R: 'static, T: 'static> Generator<Y, R, T> {
    /// A generator with a stack of the default size.
    ///
    /// # Panics
    ///
    /// When there is no memory for a stack; [`try_new`](Self::try_new) returns that as an error.
    #[inline]
    #[track_caller]
    pub fn new<F>(body: F) -> Self
    where
        F: FnOnce(&Yielder<Y, R>, R) -> Result<T, Interrupt> + 'static,
    {
        match Self::try_new(body) {
            Ok(generator) => generator,
            Err(error) => panic!("no generator: {error}"),
        }
    }

    /// A generator with a stack of the default size.
    ///
    /// # Errors
    ///
    /// When there is no memory for a stack, or, on kernels before 6.13, no mapping: the error names the limit then.
    #[inline]
    pub fn try_new<F>(body: F) -> std::io::Result<Self>
    where
        F: FnOnce(&Yielder<Y, R>, R) -> Result<T, Interrupt> + 'static,
    {
        Builder::new().generator(body)
    }
}

impl<Y, R, T> Generator<Y, R, T> {
    pub(super) fn new_on(engine: Engine<Y, R, T>) -> Self {
        Self { engine, returned: Cell::new(None) }
    }

    /// Resumes the body with a value, which its `yield_` returns, and runs it to its next `yield_` or its end: Python's
    /// `send`. The first value goes to the body as its argument.
    ///
    /// # Errors
    ///
    /// [`GenError::AlreadyExecuting`], [`GenError::Finished`] and [`GenError::Panicking`] drop `value`;
    /// [`GenError::Thrown`] is what the body ended with.
    ///
    /// # Panics
    ///
    /// When the body panics, with its payload.
    #[inline(always)]
    pub fn send(&self, value: R) -> Result<Step<Y, T>, GenError> {
        if !self.engine.is_ready() {
            return self.send_inwards(value);
        }
        match self.engine.hand_in(&ManuallyDrop::new(value)) {
            Turn::Suspended(value) => Ok(Step::Yield(value)),
            Turn::Ended(end) => ended(end),
        }
    }

    #[inline(never)]
    fn send_inwards(&self, value: R) -> Result<Step<Y, T>, GenError> {
        match self.engine.send_inwards(value)? {
            Turn::Suspended(value) => Ok(Step::Yield(value)),
            Turn::Ended(end) => ended(end),
        }
    }

    /// Resumes the body with an interrupt, which its `yield_` returns: Python's `throw`. Any error converts into one.
    ///
    /// ```
    /// use crewkit::coroutine::{Generator, Interrupt, Step};
    ///
    /// let patient = Generator::<_, ()>::new(|y, ()| loop {
    ///     if let Err(Interrupt::Error(error)) = y.yield_(String::new()) {
    ///         y.yield_(format!("met: {error}"))?;
    ///     }
    /// });
    /// patient.send(())?;
    /// assert_eq!(patient.throw(std::fmt::Error)?.yielded().as_deref(), Some("met: an error occurred when formatting an argument"));
    /// # Ok::<(), crewkit::coroutine::GenError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). A body that has not begun does not begin: the generator is finished, and the error comes
    /// back as [`GenError::Thrown`]; likewise if it had finished before.
    ///
    /// # Panics
    ///
    /// When the body panics, with its payload.
    pub fn throw(&self, interrupt: impl Into<Interrupt>) -> Result<Step<Y, T>, GenError> {
        let interrupt = interrupt.into();
        let state = self.engine.state();
        if state == State::Running || panicking() {
            return Err(self.engine.busy());
        }
        match state {
            State::Suspended => match self.engine.interrupt(Command::Interrupt(interrupt)) {
                Turn::Suspended(value) => Ok(Step::Yield(value)),
                Turn::Ended(end) => ended(end),
            },
            State::Created => self.engine.discard().and_then(|()| Err(outcome(interrupt))),
            State::Running | State::Finished => Err(outcome(interrupt)),
        }
    }

    /// Tells the body to end, by [`Interrupt::Close`] from its `yield_`: Python's `close`. Returns the value that the body
    /// returns, and `None` if it had ended, has never begun, or ended without a value.
    ///
    /// # Errors
    ///
    /// [`GenError::IgnoredClose`] if it yielded: it is suspended then, as before. [`GenError::AlreadyExecuting`] and
    /// [`GenError::Thrown`] as of [`send`](Self::send).
    ///
    /// # Panics
    ///
    /// When the body panics, with its payload.
    pub fn close(&self) -> Result<Option<T>, GenError> {
        match self.engine.state() {
            State::Finished => Ok(None),
            State::Running => Err(GenError::AlreadyExecuting),
            State::Created => self.engine.discard().map(|()| None),
            State::Suspended => match self.engine.interrupt(Command::Interrupt(Interrupt::Close)) {
                Turn::Suspended(_) => Err(GenError::IgnoredClose),
                Turn::Ended(end) => match result(end) {
                    Ok(value) => Ok(Some(value)),
                    Err(GenError::Finished) => Ok(None),
                    Err(error) => Err(error),
                },
            },
        }
    }

    /// Where it stands: Python's `inspect.getgeneratorstate`.
    #[inline]
    pub fn state(&self) -> State {
        self.engine.state()
    }

    /// The name that is told when the stack overflows: the body's type, unless the [`Builder`] gave another.
    pub fn name(&self) -> &str {
        self.engine.name()
    }

    /// Takes what the body returned while it was used as an iterator: Python's `StopIteration.value`.
    pub fn return_value(&self) -> Option<T> {
        self.returned.take()
    }

    /// The most stack that the body has used so far, in bytes, if it was made with [`Builder::measure_stack`].
    ///
    /// ```
    /// use crewkit::coroutine::Builder;
    ///
    /// let generator = Builder::new().measure_stack().generator(|y, ()| y.yield_(format!("{:.3}", 1.0_f64)))?;
    /// generator.send(())?;
    /// assert!((100..64 << 10).contains(&generator.stack_used().unwrap()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stack_used(&self) -> Option<usize> {
        self.engine.stack_used()
    }

    /// Iterates over `Ok` of what is yielded, and the error that the body ends with, if it does.
    ///
    /// ```
    /// use crewkit::coroutine::Generator;
    ///
    /// let numbers = Generator::new(|y, ()| {
    ///     for word in "1 2 x".split(' ') {
    ///         y.yield_(word.parse::<u8>()?)?;
    ///     }
    ///     Ok(())
    /// });
    /// let numbers: Vec<String> = numbers.results(()).map(|number| format!("{number:?}")).collect();
    /// assert_eq!(numbers, ["Ok(1)", "Ok(2)", "Err(Thrown(ParseIntError { kind: InvalidDigit }))"]);
    /// ```
    pub fn results(&self, value: R) -> impl FusedIterator<Item = Result<Y, GenError>>
    where
        R: Clone,
    {
        std::iter::from_fn(move || match self.send(value.clone()) {
            Ok(Step::Yield(value)) => Some(Ok(value)),
            Ok(Step::Return(value)) => {
                self.returned.set(Some(value));
                None
            }
            Err(GenError::Finished) => None,
            Err(error) => Some(Err(error)),
        })
        .fuse()
    }
}

/// `None` at the end. A body that may fail is better iterated over by [`results`](Generator::results).
///
/// # Panics
///
/// When the body ends with an error, with what the error says; when it panics; when it runs already; while the thread
/// panics, so that a destructor is better off with [`send`](Generator::send).
impl<Y, T> Iterator for &Generator<Y, (), T> {
    type Item = Y;

    #[inline(always)]
    fn next(&mut self) -> Option<Y> {
        match self.send(()) {
            Ok(Step::Yield(value)) => Some(value),
            Ok(Step::Return(value)) => {
                self.returned.set(Some(value));
                None
            }
            Err(error) => no_item(self, error),
        }
    }
}

/// Apart from `send`, where the end would be in the way of the values.
#[inline(never)]
fn ended<Y, T>(end: Ending<T>) -> Result<Step<Y, T>, GenError> {
    result(end).map(Step::Return)
}

#[cold]
fn no_item<Y, T>(generator: &Generator<Y, (), T>, error: GenError) -> Option<Y> {
    match error {
        GenError::Finished => None,
        error => panic!("generator '{}', used as an iterator: {error}", generator.name()),
    }
}

/// As of a reference to it.
impl<Y, T> Iterator for Generator<Y, (), T> {
    type Item = Y;

    #[inline(always)]
    fn next(&mut self) -> Option<Y> {
        (&*self).next()
    }
}

impl<Y, T> FusedIterator for &Generator<Y, (), T> {}
impl<Y, T> FusedIterator for Generator<Y, (), T> {}

macro_rules! speaks_the_protocol {
    ($($pointer:ty),*) => {
        $(
            impl<Y, R, T> Coroutine<Y, R> for $pointer {
                type Return = T;

                #[inline(always)]
                fn send(&mut self, value: R) -> Result<Step<Y, T>, GenError> {
                    Generator::send(self, value)
                }

                fn throw(&mut self, interrupt: Interrupt) -> Result<Step<Y, T>, GenError> {
                    Generator::throw(self, interrupt)
                }

                fn close(&mut self) -> Result<Option<T>, GenError> {
                    Generator::close(self)
                }

                #[inline]
                fn state(&self) -> State {
                    Generator::state(self)
                }

                fn delegate_engine(&self, _key: Key) -> Option<Inner<Y, R>> {
                    Some(self.engine.inner())
                }

                fn delegate_result(&mut self, _key: Key) -> Result<Step<Y, T>, GenError> {
                    ended(self.engine.collect())
                }
            }
        )*
    };
}

speaks_the_protocol!(Generator<Y, R, T>, &Generator<Y, R, T>);

impl<Y, R, T> fmt::Debug for Generator<Y, R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("name", &self.name())
            .field("state", &self.engine.state())
            .finish_non_exhaustive()
    }
}
