//! `transactions resolve --force`: says what it risks, and asks.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use super::arguments::Format;
use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use crate::admin::{ForceRequest, Forced, ForcedOutcome};

pub(super) fn run(
    client: &Client,
    output: &mut Output,
    gid: &str,
    commit: bool,
    yes: bool,
) -> Result<ExitCode, Failure> {
    let (outcome, word) = match commit {
        true => (ForcedOutcome::Commit, "commit"),
        false => (ForcedOutcome::Rollback, "rollback"),
    };
    if !yes {
        confirm(gid, word)?;
    }
    let forced: Forced = client.post("/v1/transactions/force", &ForceRequest { gid: gid.to_owned(), outcome })?;
    if output.format() == Format::Json {
        output.json(&forced)?;
        return Ok(ExitCode::SUCCESS);
    }
    output.line(&format!("Ended ({word}) on {}.", forced.ended_on.join(", ")))?;
    if !forced.unread.is_empty() {
        output.line(&format!(
            "Could not be asked: {}. If one of them has a part, end it in the same way when it is back.",
            forced.unread.join(", ")
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn confirm(gid: &str, word: &str) -> Result<(), Failure> {
    eprintln!(
        "{gid}\n\
         The shard that decides about it cannot be reached, and only it knows whether the transaction was committed. If it had\n\
         decided otherwise than \"{word}\", and its data comes back, one transaction is committed on some shards and rolled back on\n\
         others; and a client may have been told the other outcome. This cannot be undone, and is written in the server's log.\n\
         Do it only when that shard is lost for good."
    );
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("nobody can be asked here: give --yes if the risk is understood".to_owned()));
    }
    eprint!("Type {word} to go on: ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(_) if answer.trim() == word => Ok(()),
        _ => Err(Failure::Usage("nothing was done".to_owned())),
    }
}
