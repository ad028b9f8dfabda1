//! Floor 6: functions that run in other processes (Python's `multiprocessing.Process`).
pub fn init() {}

pub use crate::sys::cpu::cpu_count;
