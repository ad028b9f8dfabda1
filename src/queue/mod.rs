//! Floor 3: queues between the threads of one process (Python's `queue`).
