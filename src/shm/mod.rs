//! Floor 4: segments of shared memory, sealed and unnamed.
