//! Why a greenlet cannot be switched to, or cannot have that parent.

use std::error::Error;
use std::fmt;

/// Why no switch can be made here; inside of [`Interrupt::Error`](super::super::Interrupt::Error). Python's `greenlet.error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwitchError {
    /// The thread unwinds from a panic. Whoever ran next would be in the middle of it.
    Panicking,
    /// The caller's stack lies on top of the current greenlet's: it is in a generator's body, or in a greenlet of another
    /// family, which the current greenlet runs.
    ForeignStack,
    /// The caller is a destructor that runs at the end of the current greenlet, when that is already dead: of the body of
    /// an ancestor that had not begun and now never will.
    Ended,
}

impl fmt::Display for SwitchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Panicking => "cannot switch to another greenlet while the thread panics",
            Self::ForeignStack => "cannot switch here: this stack is not the current greenlet's own",
            Self::Ended => "cannot switch here: the current greenlet has ended",
        })
    }
}

impl Error for SwitchError {}

/// Why a greenlet cannot have that parent. Python's `ValueError` and `AttributeError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParentError {
    /// It would be its own ancestor.
    Cycle,
    /// `main` has no parent.
    Main,
    /// The two are of one type and yet not of one family: one of them was made while the thread's locals were destroyed.
    Family,
}

impl fmt::Display for ParentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cycle => "cyclic parent chain",
            Self::Main => "cannot set the parent of a main greenlet",
            Self::Family => "the parent is a greenlet of another family",
        })
    }
}

impl Error for ParentError {}
