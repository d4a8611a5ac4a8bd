//! `transactions resolve --force`: the server says what it risks, and the operator names the lost shard.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use super::arguments::Format;
use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use crate::admin::{ForceRequest, Forced, ForcedOutcome};

/// What the server answers to a request without the lost shard's name, where all else is right.
const NAME_IT: &str = "22023";

pub(super) fn run(
    client: &Client,
    output: &mut Output,
    gid: &str,
    commit: bool,
    lost_shard: Option<&str>,
) -> Result<ExitCode, Failure> {
    let (outcome, word) = match commit {
        true => (ForcedOutcome::Commit, "commit"),
        false => (ForcedOutcome::Rollback, "rollback"),
    };
    let force = |lost_shard: Option<&str>| -> Result<Forced, Failure> {
        let request = ForceRequest { gid: gid.to_owned(), outcome, lost_shard: lost_shard.map(str::to_owned) };
        client.post("/v1/transactions/force", &request)
    };
    let forced = match (force(lost_shard), lost_shard) {
        (Err(Failure::Refused(refusal)), None) if refusal.code == NAME_IT && std::io::stdin().is_terminal() => {
            eprintln!("{}", super::print::visible_lines(&refusal.detail));
            force(Some(&name_of_lost_shard(word)?))?
        }
        (forced, _) => forced?,
    };
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

fn name_of_lost_shard(word: &str) -> Result<String, Failure> {
    eprint!("To {word} it all the same, type the name of the shard that is lost for good: ");
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(_) if !answer.trim().is_empty() => Ok(answer.trim().to_owned()),
        _ => Err(Failure::Usage("nothing was done".to_owned())),
    }
}
