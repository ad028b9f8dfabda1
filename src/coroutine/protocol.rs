//! The protocol that all coroutines speak, and the words it is spoken in.

use super::delegation::{Inner, Key};
use super::error::{GenError, Interrupt};

/// What a coroutine gives when it is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step<Y, T> {
    /// It yielded, and waits to be resumed.
    Yield(Y),
    /// It returned. Python's `StopIteration.value`.
    Return(T),
}

impl<Y, T> Step<Y, T> {
    /// The value that was yielded.
    pub fn yielded(self) -> Option<Y> {
        match self {
            Self::Yield(value) => Some(value),
            Self::Return(_) => None,
        }
    }

    /// The value that was returned.
    pub fn returned(self) -> Option<T> {
        match self {
            Self::Yield(_) => None,
            Self::Return(value) => Some(value),
        }
    }
}

/// Where a coroutine stands: Python's `inspect.getgeneratorstate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It has not begun: `GEN_CREATED`.
    Created,
    /// It waits in a `yield_`: `GEN_SUSPENDED`.
    Suspended,
    /// It runs, or waits for another that it resumed: `GEN_RUNNING`.
    Running,
    /// It has ended: `GEN_CLOSED`.
    Finished,
}

/// What can be resumed with values of `R` and yields values of `Y`.
///
/// [`Generator`](super::Generator) has its own stack. Code that takes any kind, such as
/// [`Yielder::yield_from`](super::Yielder::yield_from), is written on this; `dyn Coroutine<Y, R, Return = T>` works too.
pub trait Coroutine<Y, R = ()> {
    /// What it returns at its end.
    type Return;

    /// Resumes it with a value: Python's `send`. The first value goes to the body as its argument.
    ///
    /// # Errors
    ///
    /// [`GenError::AlreadyExecuting`] and [`GenError::Finished`], both of which drop `value`, and
    /// [`GenError::Thrown`] with what the body ended with.
    fn send(&mut self, value: R) -> Result<Step<Y, Self::Return>, GenError>;

    /// Resumes it with an error, which its `yield_` returns: Python's `throw`.
    ///
    /// # Errors
    ///
    /// As of [`send`](Self::send). One that has not begun does not begin: it is finished, and the error comes back as
    /// [`GenError::Thrown`]; likewise if it had finished before.
    fn throw(&mut self, interrupt: Interrupt) -> Result<Step<Y, Self::Return>, GenError>;

    /// Tells it to end: Python's `close`. `None` if it had ended, has never begun, or ended without a value.
    ///
    /// # Errors
    ///
    /// [`GenError::IgnoredClose`] if it yielded: it is suspended then, as before. Else as of [`send`](Self::send).
    fn close(&mut self) -> Result<Option<Self::Return>, GenError>;

    /// Where it stands.
    fn state(&self) -> State;

    /// Its engine, which is there and stays where it is for as long as this is borrowed, if values can be passed to that
    /// without waking the body that delegates to it.
    #[doc(hidden)]
    fn delegate_engine(&self, _key: Key) -> Option<Inner<Y, R>> {
        None
    }

    /// What [`send`](Self::send) would have returned, when a value that was passed to the engine has ended it.
    #[doc(hidden)]
    fn delegate_result(&mut self, _key: Key) -> Result<Step<Y, Self::Return>, GenError> {
        Err(GenError::Finished)
    }
}

macro_rules! forwarded {
    ($pointer:ty) => {
        impl<C: Coroutine<Y, R> + ?Sized, Y, R> Coroutine<Y, R> for $pointer {
            type Return = C::Return;

            #[inline(always)]
            fn send(&mut self, value: R) -> Result<Step<Y, Self::Return>, GenError> {
                (**self).send(value)
            }

            fn throw(&mut self, interrupt: Interrupt) -> Result<Step<Y, Self::Return>, GenError> {
                (**self).throw(interrupt)
            }

            fn close(&mut self) -> Result<Option<Self::Return>, GenError> {
                (**self).close()
            }

            fn state(&self) -> State {
                (**self).state()
            }

            fn delegate_engine(&self, key: Key) -> Option<Inner<Y, R>> {
                (**self).delegate_engine(key)
            }

            fn delegate_result(&mut self, key: Key) -> Result<Step<Y, Self::Return>, GenError> {
                (**self).delegate_result(key)
            }
        }
    };
}

forwarded!(&mut C);
forwarded!(Box<C>);
