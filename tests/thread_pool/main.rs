//! The pool of threads as its users see it.

#![cfg(feature = "threads")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, as the test does")]

mod calls;
mod ends;
mod maps;
mod nested;
mod support;
