//! Floor 1: atomics, cells, mutex, condvar and parking: the real ones, or loom's under `cfg(crewkit_loom)`.
