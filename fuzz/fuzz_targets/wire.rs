//! See `crewkit::ipc::fuzz::wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crewkit::ipc::fuzz::wire(data));
