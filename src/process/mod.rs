//! Floor 6: functions that run in other processes (Python's `multiprocessing.Process`).
pub fn init() {}
