//! What a process has mapped.

/// How many mappings of shared memory this process has.
pub(crate) fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().matches("memfd:crewkit").count()
}
