//! What must hold when a generator's body does its worst: eight facts, each of which is a way that coroutines are known
//! to go wrong. Those that end the process run in this program, started again for the one test.

#![cfg(feature = "coroutines")]

mod again;
mod destructors;
mod limits;
mod overflow;
mod panics;
mod refusing;
mod smuggled;
