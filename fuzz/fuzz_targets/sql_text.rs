//! [`shardd_fuzz::sql_text`], driven by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shardd_fuzz::sql_text(data));
