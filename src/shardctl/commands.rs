//! What each command asks and prints.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::analyze;
use super::arguments::{
    Arguments, Command, ConfigCommand, Format, LogsArguments, ResolveArguments, SchemaCommand, TableCommand,
    TransactionsCommand, command,
};
use super::client::{Client, escaped};
use super::failure::Failure;
use super::moves;
use super::output::Output;
use super::print;
use crate::admin::{
    ConfigLine, ExplainRequest, Explanation, InDoubtDescription, KindChanged, KindRequest, LogPage, NewShard,
    RouteAnswer, SchemaDiff, ShardDescription, ShardSummary, Status, TableSummary, VersionAnswer,
};
use crate::config::{Config, Sources};

/// How long the server may hold a request for log lines that have not come yet.
const FOLLOW_WAIT_MS: u64 = 20_000;
const STATEMENT_MAX_BYTES: u64 = 1024 * 1024;

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> Result<ExitCode, Failure> {
    let client = || Client::new(&arguments.url, arguments.token_file.as_deref());
    match &arguments.command {
        Command::Status => status(&client()?, output)?,
        Command::Shards => shards(&client()?, output)?,
        Command::Describe { shard } => describe(&client()?, output, shard)?,
        Command::Tables => tables(&client()?, output)?,
        Command::Table(command) => change_kind(&client()?, output, command)?,
        Command::Verify { table, repair } => return super::verify::run(&client()?, output, table.as_deref(), *repair),
        Command::Route { table, key } => route(&client()?, output, table, key)?,
        Command::Explain { statement } => explain(&client()?, output, statement)?,
        Command::Analyze { file, log } => return analyze::run(&client()?, output, file.as_deref(), log.as_deref()),
        Command::AddShard { shard, shard_url, weight } => {
            let new = NewShard { shard: shard.clone(), url: shard_url.clone(), weight: *weight };
            add_shard(&client()?, output, &new)?;
        }
        Command::Schema(SchemaCommand::Diff) => return schema_diff(&client()?, output),
        Command::Transactions(command) => return transactions(&client()?, output, command),
        Command::Move(arguments) => return moves::start(&client()?, output, arguments),
        Command::Rebalance(arguments) => return moves::rebalance(&client()?, output, arguments),
        Command::Moves { id: None, .. } => moves::list(&client()?, output)?,
        Command::Moves { id: Some(id), watch } => return moves::show(&client()?, output, *id, *watch),
        Command::Pause { id } => moves::change(&client()?, output, *id, "pause")?,
        Command::Resume { id } => moves::change(&client()?, output, *id, "resume")?,
        Command::Cancel { id } => moves::change(&client()?, output, *id, "cancel")?,
        Command::SetWeight { shard, weight } => moves::set_weight(&client()?, output, shard, *weight)?,
        Command::Throttle { bytes_per_second } => moves::throttle(&client()?, output, *bytes_per_second)?,
        Command::Config(ConfigCommand::Check { config }) => check_config(output, config.clone())?,
        Command::Config(ConfigCommand::Show { local: true, config }) => show_local_config(output, config.clone())?,
        Command::Config(ConfigCommand::Show { local: false, .. }) => {
            config_lines(output, &client()?.get::<Vec<ConfigLine>>("/v1/config")?)?;
        }
        Command::Logs(logs_arguments) => logs(&client()?, output, logs_arguments)?,
        Command::Completions { shell } => completions(output, *shell)?,
        Command::Version => version(&client()?, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn status(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let status: Status = client.get("/v1/status")?;
    if output.format() == Format::Json {
        return output.json(&status);
    }
    output.pairs(&print::status_pairs(&status))?;
    output.line("")?;
    output.table(&print::KEYSPACE_HEADER, &print::keyspace_rows(&status))
}

fn shards(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let shards: Vec<ShardSummary> = client.get("/v1/shards")?;
    match output.format() {
        Format::Json => output.json(&shards),
        Format::Table => output.table(&print::SHARD_HEADER, &shards.iter().map(print::shard_row).collect::<Vec<_>>()),
    }
}

fn describe(client: &Client, output: &mut Output, shard: &str) -> Result<(), Failure> {
    let shard: ShardDescription = client.get(&format!("/v1/shards/{}", escaped(shard)))?;
    match output.format() {
        Format::Json => output.json(&shard),
        Format::Table => output.pairs(&print::description_pairs(&shard)),
    }
}

fn tables(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let tables: Vec<TableSummary> = client.get("/v1/tables")?;
    match output.format() {
        Format::Json => output.json(&tables),
        Format::Table => output.table(&print::TABLE_HEADER, &tables.iter().map(print::table_row).collect::<Vec<_>>()),
    }
}

fn change_kind(client: &Client, output: &mut Output, command: &TableCommand) -> Result<(), Failure> {
    let (table, request, word) = match command {
        TableCommand::Shard { table, key, keyspace, dry_run } => {
            let request = KindRequest { key_column: Some(key.clone()), keyspace: keyspace.clone(), dry_run: *dry_run };
            (table, request, format!("sharded by \"{key}\""))
        }
        TableCommand::Reference { table, dry_run } => {
            let request = KindRequest { key_column: None, keyspace: None, dry_run: *dry_run };
            (table, request, "a reference table".to_owned())
        }
    };
    let changed: KindChanged = client.post(&format!("/v1/tables/{}/kind", escaped(table)), &request)?;
    if output.format() == Format::Json {
        return output.json(&changed);
    }
    let would = if changed.dry_run { "can become" } else { "is now" };
    output.line(&print::visible(&format!("Table {table} {would} {word}: {} rows.", changed.rows)))
}

fn transactions(client: &Client, output: &mut Output, command: &TransactionsCommand) -> Result<ExitCode, Failure> {
    if let TransactionsCommand::Resolve(ResolveArguments { force: Some(gid), commit, lost_shard, .. }) = command {
        return super::force::run(client, output, gid, *commit, lost_shard.as_deref());
    }
    let (found, code): (Vec<InDoubtDescription>, _) = match command {
        TransactionsCommand::List => (client.get("/v1/transactions")?, ExitCode::SUCCESS),
        TransactionsCommand::Resolve(_) => {
            let left: Vec<InDoubtDescription> = client.post("/v1/transactions/resolve", &json!({}))?;
            let code = if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            (left, code)
        }
    };
    match output.format() {
        Format::Json => output.json(&found)?,
        Format::Table if found.is_empty() => output.line("No transaction is in doubt.")?,
        Format::Table => {
            let rows: Vec<_> = found.iter().map(print::in_doubt_row).collect();
            output.table(&print::IN_DOUBT_HEADER, &rows)?;
        }
    }
    Ok(code)
}

fn route(client: &Client, output: &mut Output, table: &str, key: &str) -> Result<(), Failure> {
    let route: RouteAnswer = client.get(&format!("/v1/route?table={}&key={}", escaped(table), escaped(key)))?;
    if output.format() == Format::Json {
        return output.json(&route);
    }
    let mut pairs = vec![("Table", route.table)];
    pairs.extend(route.key.map(|key| ("Key", key)));
    pairs.extend(route.slot.map(|slot| ("Slot", slot.to_string())));
    pairs.push(("Shard", route.shard.unwrap_or_else(|| "every shard".to_owned())));
    pairs.push(("Why", route.why));
    output.pairs(&pairs)
}

fn explain(client: &Client, output: &mut Output, statement: &str) -> Result<(), Failure> {
    let statement = match statement {
        "-" => read_statement(std::io::stdin())?,
        given => given.to_owned(),
    };
    let explanation: Explanation = client.post("/v1/explain", &ExplainRequest { statement })?;
    match output.format() {
        Format::Json => output.json(&explanation),
        Format::Table => explanation.plan.iter().try_for_each(|line| output.line(&print::visible(line))),
    }
}

fn read_statement(from: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    let read = from.take(STATEMENT_MAX_BYTES).read_to_string(&mut text);
    read.map_err(|error| Failure::Usage(format!("cannot read the statement from standard input: {error}")))?;
    Ok(text)
}

fn schema_diff(client: &Client, output: &mut Output) -> Result<ExitCode, Failure> {
    let diff: SchemaDiff = client.get("/v1/schema/diff")?;
    match output.format() {
        Format::Json => output.json(&diff)?,
        Format::Table if diff.findings.is_empty() => output.line("The schemas of all shards are alike.")?,
        Format::Table => diff.findings.iter().try_for_each(|finding| {
            output.line(&print::visible(&format!("{}: {}", finding.severity.replace('_', " "), finding.message)))?;
            if finding.hint.is_empty() {
                return Ok(());
            }
            output.line(&print::visible(&format!("  -> {}", finding.hint)))
        })?,
    }
    Ok(if diff.alike { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn add_shard(client: &Client, output: &mut Output, new: &NewShard) -> Result<(), Failure> {
    let shard: ShardSummary = client.post_and_wait("/v1/shards", new)?;
    match output.format() {
        Format::Json => output.json(&shard),
        Format::Table => {
            output.table(&print::SHARD_HEADER, &[print::shard_row(&shard)])?;
            for warning in &shard.warnings {
                eprintln!("{}", print::visible(warning));
            }
            if let Some(copied) = &shard.copied {
                eprintln!("{}", print::copied(copied));
            }
            let next = match new.url.starts_with("sqlite:") {
                true => ", so no rows go to it.",
                false => ": `shardctl rebalance` gives it its share.",
            };
            eprintln!("shard {} joined. It owns no slots yet{next}", print::visible(&shard.shard));
            Ok(())
        }
    }
}

fn check_config(output: &mut Output, path: Option<PathBuf>) -> Result<(), Failure> {
    let loaded = Config::load(&Sources::of_process(path, Vec::new()));
    if output.format() == Format::Json {
        let problem = |problem: &crate::config::Problem| json!({"origin": problem.origin.to_string(), "key": problem.key, "message": problem.message});
        let (problems, warnings) = match &loaded {
            Ok(config) => (Vec::new(), config.warnings.clone()),
            Err(errors) => (errors.problems.iter().map(problem).collect(), Vec::new()),
        };
        output.json(&json!({"ok": loaded.is_ok(), "problems": problems, "warnings": warnings}))?;
    } else if loaded.is_ok() {
        output.text(&crate::config::check_report(&loaded))?;
    }
    loaded.map(|_| ()).map_err(|errors| Failure::Problems(errors.to_string()))
}

fn show_local_config(output: &mut Output, path: Option<PathBuf>) -> Result<(), Failure> {
    let config = Config::load(&Sources::of_process(path, Vec::new()));
    let config = config.map_err(|errors| Failure::Problems(errors.to_string()))?;
    let lines = config.shown().into_iter();
    let lines: Vec<ConfigLine> =
        lines.map(|line| ConfigLine { key: line.key, value: line.value, origin: line.origin }).collect();
    config_lines(output, &lines)
}

fn config_lines(output: &mut Output, lines: &[ConfigLine]) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return output.json(&lines);
    }
    let row = |line: &ConfigLine| vec![line.key.clone(), line.value.clone(), line.origin.clone()];
    output.table(&["KEY", "VALUE", "FROM"], &lines.iter().map(row).collect::<Vec<_>>())
}

fn logs(client: &Client, output: &mut Output, arguments: &LogsArguments) -> Result<(), Failure> {
    let level = arguments.level.name();
    let page: LogPage = client.get(&format!("/v1/logs?level={level}&limit={}", arguments.lines))?;
    log_page(output, &page)?;
    // A server that has logged nothing gives 0, which asks for the last lines again.
    let mut after = page.next;
    if !arguments.follow {
        return Ok(());
    }
    loop {
        let page: LogPage = client.get(&format!("/v1/logs?level={level}&after={after}&wait_ms={FOLLOW_WAIT_MS}"))?;
        if page.missed {
            eprintln!("some lines came faster than they could be read");
        }
        log_page(output, &page)?;
        after = page.next;
    }
}

fn log_page(output: &mut Output, page: &LogPage) -> Result<(), Failure> {
    page.entries.iter().try_for_each(|entry| match output.format() {
        Format::Json => output.json_line(entry),
        Format::Table => output.line(&print::log_line(entry)),
    })
}

fn completions(output: &mut Output, shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "shardctl", &mut script);
    output.text(&String::from_utf8_lossy(&script))
}

fn version(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let server = client.get::<VersionAnswer>("/v1/version");
    let theirs = server.as_ref().ok().map(|answer| answer.version.clone());
    match output.format() {
        Format::Json => output.json(&json!({"client": own, "server": theirs}))?,
        Format::Table => {
            output
                .pairs(&[("shardctl", own.to_owned()), ("shardd", theirs.unwrap_or_else(|| "unknown".to_owned()))])?;
        }
    }
    server.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_read_up_to_its_bound() {
        assert_eq!(read_statement(&b"SELECT 1"[..]), Ok("SELECT 1".to_owned()));
        assert!(read_statement(&b"\xff"[..]).is_err());
    }

    #[test]
    fn every_shell_has_a_completion() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "shardctl", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("add-shard"), "{shell}");
        }
    }
}
