//! What can be thrown into a coroutine, and what comes out instead of a value.

use std::any::TypeId;
use std::error::Error;
use std::fmt;

/// What [`yield_`](super::Yielder::yield_) returns instead of a value, when the other side wants the body to end or to
/// deal with an error. Bodies hand it on with `?`.
///
/// Every error converts into one, so `?` works in bodies on whatever they call.
#[derive(Debug)]
pub enum Interrupt {
    /// End: Python's `GeneratorExit`.
    Close,
    /// An error, thrown in from outside or met inside.
    Error(Box<dyn Error>),
}

impl<E: Error + 'static> From<E> for Interrupt {
    /// An error of another coroutine that was [thrown](GenError::Thrown) through it comes out as itself.
    #[inline]
    fn from(error: E) -> Self {
        if TypeId::of::<E>() != TypeId::of::<GenError>() {
            return Self::Error(Box::new(error));
        }
        let error: Box<dyn Error> = Box::new(error);
        match error.downcast::<GenError>().map(|error| *error) {
            Ok(GenError::Thrown(inner)) => Self::Error(inner),
            Ok(error) => Self::Error(Box::new(error)),
            Err(error) => Self::Error(error),
        }
    }
}

/// For `?` in functions outside of coroutines, such as `main`. A wish to end is [`GenError::Finished`] there.
impl From<Interrupt> for Box<dyn Error> {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Close => Box::new(GenError::Finished),
            Interrupt::Error(error) => error,
        }
    }
}

/// Why a coroutine gave no [`Step`](super::Step).
#[derive(Debug)]
#[non_exhaustive]
pub enum GenError {
    /// It is running: it tried, directly or through others, to resume itself. Python's `ValueError: generator already
    /// executing`.
    AlreadyExecuting,
    /// It has ended before, or it ended now without a value, by returning [`Interrupt::Close`]. Python's second
    /// `StopIteration`.
    Finished,
    /// It was told to close and yielded. Python's `RuntimeError: generator ignored GeneratorExit`.
    IgnoredClose,
    /// The thread panics, and nothing may be resumed while it unwinds. The coroutine is as it was.
    Panicking,
    /// The body ended with this error, or it was thrown in and not dealt with.
    Thrown(Box<dyn Error>),
}

impl fmt::Display for GenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyExecuting => "the coroutine is already executing",
            Self::Finished => "the coroutine has finished",
            Self::IgnoredClose => "the coroutine was told to close and yielded",
            Self::Panicking => "the thread panics: no coroutine can be resumed",
            Self::Thrown(error) => return write!(f, "the coroutine ended with an error: {error}"),
        })
    }
}

impl Error for GenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Thrown(error) => Some(&**error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_thrown_through_another_coroutine_comes_out_as_itself() {
        let thrown = GenError::Thrown(Box::new(fmt::Error));
        let Interrupt::Error(error) = Interrupt::from(thrown) else { panic!("an error") };
        assert!(error.is::<fmt::Error>(), "{error:?}");
        let Interrupt::Error(error) = Interrupt::from(GenError::Finished) else { panic!("an error") };
        assert!(matches!(error.downcast_ref(), Some(GenError::Finished)), "{error:?}");
        let Interrupt::Error(error) = Interrupt::from(std::io::Error::other("x")) else { panic!("an error") };
        assert!(error.is::<std::io::Error>(), "{error:?}");
    }
}
