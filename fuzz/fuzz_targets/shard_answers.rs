//! [`shardd_fuzz::shard_answers`], driven by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shardd_fuzz::shard_answers(data));
