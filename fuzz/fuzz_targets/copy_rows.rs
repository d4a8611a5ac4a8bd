//! [`shardd_fuzz::copy_rows`], driven by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shardd_fuzz::copy_rows(data));
