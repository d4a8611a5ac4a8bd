//! Moves: what would be moved is shown and confirmed, and how it goes is watched.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::arguments::{Format, MoveArguments, MovingArguments, RebalanceArguments};
use super::client::{Client, escaped};
use super::failure::Failure;
use super::output::Output;
use super::{print, print_moves};
use crate::admin::{MoveDescription, MovePlan, MoveRequest, MovedSlots, RouteAnswer, Throttle, WeightRequest};

/// How often a move that is watched is looked at.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

pub(super) fn start(client: &Client, output: &mut Output, arguments: &MoveArguments) -> Result<ExitCode, Failure> {
    let (keyspace, slots) = match (&arguments.slots, arguments.key.as_deref()) {
        (Some(slots), _) => (arguments.keyspace.clone(), slots.clone()),
        (None, Some([table, key])) => {
            let path = format!("/v1/route?table={}&key={}", escaped(table), escaped(key));
            let route: RouteAnswer = client.get(&path)?;
            let slot = route.slot.ok_or_else(|| {
                Failure::Usage(format!("{table} is a reference table: every shard has all of its rows"))
            })?;
            (Some(route.keyspace), slot.to_string())
        }
        (None, _) => return Err(Failure::Usage("name slots with --slots, or a key with --key TABLE KEY".to_owned())),
    };
    run(client, output, Some(MovedSlots { keyspace, slots, to: arguments.to.clone() }), &arguments.how)
}

pub(super) fn rebalance(
    client: &Client,
    output: &mut Output,
    arguments: &RebalanceArguments,
) -> Result<ExitCode, Failure> {
    run(client, output, None, &arguments.how)
}

fn run(
    client: &Client,
    output: &mut Output,
    slots: Option<MovedSlots>,
    how: &MovingArguments,
) -> Result<ExitCode, Failure> {
    let request = |dry_run| MoveRequest { slots: slots.clone(), dry_run };
    if !how.yes || how.dry_run {
        let plans: Vec<MovePlan> = client.post("/v1/moves", &request(true))?;
        match output.format() {
            Format::Json if how.dry_run => output.json(&plans)?,
            Format::Table if plans.is_empty() => output.line("Nothing has to move.")?,
            Format::Table => show_plans(output, &plans)?,
            Format::Json => {}
        }
        if how.dry_run || (plans.is_empty() && output.format() == Format::Table) {
            return Ok(ExitCode::SUCCESS);
        }
        confirm()?;
    }
    let plans: Vec<MovePlan> = client.post("/v1/moves", &request(false))?;
    let ids: Vec<i64> = plans.iter().filter_map(|plan| plan.id).collect();
    if output.format() == Format::Json {
        output.json(&plans)?;
    } else {
        let numbers = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let line = if ids.is_empty() { "Nothing has to move.".to_owned() } else { format!("Started: {numbers}.") };
        output.line(&line)?;
    }
    let mut code = ExitCode::SUCCESS;
    if how.watch {
        for id in ids {
            code = watch(client, output, id)?;
            if code != ExitCode::SUCCESS {
                break;
            }
        }
    }
    Ok(code)
}

fn show_plans(output: &mut Output, plans: &[MovePlan]) -> Result<(), Failure> {
    let rows: Vec<_> = plans.iter().map(print_moves::plan_row).collect();
    output.table(&print_moves::PLAN_HEADER, &rows)
}

fn confirm() -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("nothing was moved: give --yes where there is nobody to ask".to_owned()));
    }
    eprint!("Move these? Clients are served meanwhile. [y/N] ");
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(_) if matches!(answer.trim(), "y" | "yes") => Ok(()),
        _ => Err(Failure::Usage("nothing was moved".to_owned())),
    }
}

pub(super) fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let moves: Vec<MoveDescription> = client.get("/v1/moves")?;
    match output.format() {
        Format::Json => output.json(&moves),
        Format::Table if moves.is_empty() => output.line("Nothing was moved yet."),
        Format::Table => {
            output.table(&print_moves::MOVE_HEADER, &moves.iter().map(print_moves::move_row).collect::<Vec<_>>())
        }
    }
}

pub(super) fn show(client: &Client, output: &mut Output, id: i64, watched: bool) -> Result<ExitCode, Failure> {
    if watched {
        return watch(client, output, id);
    }
    let found: MoveDescription = client.get(&format!("/v1/moves/{id}"))?;
    tell(output, &found)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn change(client: &Client, output: &mut Output, id: i64, action: &str) -> Result<(), Failure> {
    let changed: MoveDescription = client.post(&format!("/v1/moves/{id}/{action}"), &json!({}))?;
    tell(output, &changed)
}

pub(super) fn set_weight(client: &Client, output: &mut Output, shard: &str, weight: f64) -> Result<(), Failure> {
    let set: WeightRequest =
        client.post(&format!("/v1/shards/{}/weight", escaped(shard)), &WeightRequest { weight })?;
    match output.format() {
        Format::Json => output.json(&set),
        Format::Table => output.line(&print::visible(&format!(
            "Shard {shard} has the weight {}. `shardctl rebalance` moves what follows from it.",
            set.weight
        ))),
    }
}

pub(super) fn throttle(client: &Client, output: &mut Output, bytes_per_second: u64) -> Result<(), Failure> {
    let set: Throttle = client.post("/v1/throttle", &Throttle { bytes_per_second })?;
    match (output.format(), set.bytes_per_second) {
        (Format::Json, _) => output.json(&set),
        (Format::Table, 0) => output.line("Moves copy as fast as they can."),
        (Format::Table, bytes) => output.line(&format!("Moves copy at most {bytes} bytes a second.")),
    }
}

fn tell(output: &mut Output, found: &MoveDescription) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json(found),
        Format::Table => output.pairs(&print_moves::move_pairs(found)),
    }
}

/// A line whenever something has changed. The move goes on when this is interrupted.
fn watch(client: &Client, output: &mut Output, id: i64) -> Result<ExitCode, Failure> {
    if output.format() == Format::Table && std::io::stdout().is_terminal() {
        eprintln!("Ctrl-C leaves move {id} alone, which goes on; `shardctl moves {id} --watch` comes back.");
    }
    let mut last = None;
    loop {
        let found: MoveDescription = client.get(&format!("/v1/moves/{id}"))?;
        if last.as_ref() != Some(&found) {
            match output.format() {
                Format::Json => output.json_line(&found)?,
                Format::Table => output.line(&print::visible(&print_moves::move_line(&found)))?,
            }
        }
        match found.stage.as_str() {
            "done" => return Ok(ExitCode::SUCCESS),
            "cancelled" => return Ok(ExitCode::FAILURE),
            _ => std::thread::sleep(WATCH_PAUSE),
        }
        last = Some(found);
    }
}
