//! Floor 7: many functions in a few processes (Python's `multiprocessing.Pool`).

mod scheduler;
