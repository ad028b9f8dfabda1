//! Floor 2: locks, semaphores and events between the threads of one process (Python's `threading`).
