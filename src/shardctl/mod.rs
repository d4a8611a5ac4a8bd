//! `shardctl`: the operator's commands, over the admin door's API.
//!
//! Data goes to stdout, everything else to stderr. What a command prints is a table for people or JSON for programs
//! (`-o json`), where a shard's name is always under `shard`.

mod analyze;
mod arguments;
mod client;
mod commands;
mod failure;
mod force;
mod moves;
mod output;
mod print;
mod print_moves;
mod verify;

use std::process::ExitCode;

pub use arguments::{Arguments, command};

use clap::Parser;
use failure::Failure;
use output::Output;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run(arguments.with_defaults())
}

fn run(arguments: Arguments) -> ExitCode {
    let mut output = Output::to_stdout(arguments.output);
    match commands::run(&arguments, &mut output) {
        Ok(code) => code,
        // Whoever reads stdout has heard enough: `shardctl logs | head`.
        Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", print::visible_lines(&failure.to_string()));
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod reference;
