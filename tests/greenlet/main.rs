//! Greenlets behave as those of Python's package `greenlet`, in crewkit's types, and so do crewkit's additions as they say.
#![cfg(feature = "coroutines")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod basics;
mod drops;
mod ported;
mod ported_throw;

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

use crewkit::coroutine::{Greenlet, Interrupt, SwitchError};

/// What a switch brings.
type Answer = Result<Option<u32>, Interrupt>;

type Log = Rc<RefCell<Vec<String>>>;

/// Notes its name when it is dropped.
struct Tell(&'static str, Log);

impl Drop for Tell {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0.to_owned());
    }
}

fn log() -> Log {
    Rc::default()
}

fn switch_error(answer: Answer) -> SwitchError {
    match answer {
        Err(Interrupt::Error(error)) => *error.downcast().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Python's `SomeError`.
#[derive(Debug)]
struct SomeError;

impl fmt::Display for SomeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("some error")
    }
}

impl Error for SomeError {}

fn is_some_error(answer: &Answer) -> bool {
    matches!(answer, Err(Interrupt::Error(error)) if error.is::<SomeError>())
}

/// `greenlet.getcurrent().parent.switch(value)`
fn to_parent(value: u32) -> Answer {
    // Its own handle must not stay in a temporary while it is suspended.
    let parent = Greenlet::<u32>::current().parent().unwrap();
    parent.switch(value)
}

fn main_greenlet() -> Greenlet<u32> {
    Greenlet::main()
}
