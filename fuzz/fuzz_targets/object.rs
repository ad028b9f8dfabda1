//! See `crewkit::ipc::fuzz::object`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crewkit::ipc::fuzz::object(data));
