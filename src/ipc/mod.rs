//! Floor 5: typed messages between processes (Python's `multiprocessing.Pipe`).
