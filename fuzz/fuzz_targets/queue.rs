//! See `crewkit::ipc::fuzz::queue`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crewkit::ipc::fuzz::queue(data));
