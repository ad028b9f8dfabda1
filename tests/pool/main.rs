//! The pool as its users see it, and what they see when somebody dies.

#![cfg(feature = "processes")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking, as the test does")]

#[path = "../asleep/mod.rs"]
#[expect(dead_code, reason = "shared with tests that also use the rest of it")]
mod asleep;
mod basics;
mod cancelling;
mod deaths;
mod ends;
mod leftovers;
mod maps;
mod messages;
mod support;

crewkit::enable_test_support!();
