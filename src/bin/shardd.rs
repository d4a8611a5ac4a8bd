//! The `shardd` binary.

fn main() {}
