//! Floor 6: functions that run in other processes (Python's `multiprocessing.Process`).

pub(crate) mod fork;

mod error;
mod exit;

pub use error::ForkError;
pub use exit::{Exit, ResourceUsage};

/// Marks the program as one that starts processes.
pub fn init() {}

pub use crate::sys::cpu::cpu_count;
