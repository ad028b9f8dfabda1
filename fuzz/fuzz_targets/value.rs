//! See `crewkit::ipc::fuzz::value`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crewkit::ipc::fuzz::value(data));
