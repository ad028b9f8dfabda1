//! See `crewkit::ipc::fuzz::ring`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crewkit::ipc::fuzz::ring(data));
