//! [`shardd_fuzz::client_values`], driven by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shardd_fuzz::client_values(data));
