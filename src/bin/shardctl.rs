//! The `shardctl` binary.

fn main() {}
