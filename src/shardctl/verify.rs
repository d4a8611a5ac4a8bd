//! `verify`: whether every shard holds what it should.

use std::process::ExitCode;

use super::arguments::Format;
use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use super::print;
use crate::admin::{Verification, VerificationFlaw, VerifyRequest};

pub(super) fn run(
    client: &Client,
    output: &mut Output,
    table: Option<&str>,
    repair: bool,
) -> Result<ExitCode, Failure> {
    let request = VerifyRequest { table: table.map(str::to_owned), repair };
    let verification: Verification = client.post_and_wait("/v1/verify", &request)?;
    match output.format() {
        Format::Json => output.json(&verification)?,
        Format::Table => lines(&verification).iter().try_for_each(|line| output.line(&print::visible(line)))?,
    }
    Ok(if verification.right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lines(verification: &Verification) -> Vec<String> {
    let Verification { right, tables, shards, rows, flaws } = verification;
    let mut lines: Vec<String> = flaws.iter().flat_map(flaw_lines).collect();
    let looked_at = format!(
        "{} on {}, {}",
        counted(*tables as u64, "sharded table"),
        counted(*shards as u64, "shard"),
        counted(*rows, "row")
    );
    let wrong = flaws.iter().filter(|flaw| !flaw.repaired).count() as u64;
    lines.push(match right {
        true => format!("All is right: {looked_at}."),
        false => format!(
            "{} wrong: {looked_at}.",
            if wrong == 1 { "1 thing is".to_owned() } else { format!("{wrong} things are") }
        ),
    });
    lines
}

fn flaw_lines(flaw: &VerificationFlaw) -> Vec<String> {
    let place = match &flaw.table {
        Some(table) => format!("table {table} on {}", flaw.shard),
        None => format!("shard {}", flaw.shard),
    };
    let repaired = if flaw.repaired { " (put right)" } else { "" };
    let mut lines = vec![format!("{place}: {}{repaired}", flaw.message)];
    if !flaw.keys.is_empty() {
        lines.push(format!("  keys: {}", flaw.keys.join(", ")));
    }
    if !flaw.hint.is_empty() {
        lines.push(format!("  -> {}", flaw.hint));
    }
    lines
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_cluster_is_one_line() {
        let verification = Verification { right: true, tables: 2, shards: 1, rows: 1, flaws: Vec::new() };
        assert_eq!(lines(&verification), ["All is right: 2 sharded tables on 1 shard, 1 row."]);
    }

    #[test]
    fn what_is_wrong_is_told_with_keys_and_what_to_do() {
        let flaw = |repaired| VerificationFlaw {
            shard: "s2".to_owned(),
            table: Some("seats".to_owned()),
            problem: "rows_outside".to_owned(),
            message: "3 rows are elsewhere's".to_owned(),
            hint: "Look.".to_owned(),
            rows: Some(3),
            keys: vec!["5".to_owned(), "7".to_owned()],
            repaired,
        };
        let verification =
            Verification { right: false, tables: 1, shards: 2, rows: 9, flaws: vec![flaw(false), flaw(true)] };
        let lines = lines(&verification);
        assert_eq!(lines[..3], ["table seats on s2: 3 rows are elsewhere's", "  keys: 5, 7", "  -> Look."]);
        assert!(lines[3].ends_with("(put right)"), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "1 thing is wrong: 1 sharded table on 2 shards, 9 rows.");
    }
}
