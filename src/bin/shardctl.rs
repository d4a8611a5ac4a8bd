//! The `shardctl` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    shardd::shardctl::main()
}
