//! Measures crewkit against its peers.
fn main() {}
