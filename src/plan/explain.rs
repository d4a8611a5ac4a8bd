//! A plan in words: what EXPLAIN (SHARDD) and `shardctl explain` show.

use serde::Serialize;

use super::key::describe_key;
use super::{Across, Aggregate, Copying, Insert, Keys, Merge, Pin, Plan, Read, ReadSource, Route, Scatter, Slots};
use crate::error::{Error, Result};
use crate::topology::{Topology, slot_of};
use crate::types::{Datum, ShardId};

/// How a statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanKind {
    /// On one shard, as it is.
    Single,
    /// On several shards, put together here.
    Scatter,
    /// On one shard or in memory, after the rows that it needs were brought there from several.
    Gather,
    /// Its rows go to the shards of their keys.
    Split,
    /// On every shard.
    AllShards,
    /// Answered by shardd itself.
    Local,
    /// Not at all: `reason` and `hint` say why.
    Refused,
}

impl PlanKind {
    /// As programs are told it.
    pub const fn name(self) -> &'static str {
        match self {
            PlanKind::Single => "single",
            PlanKind::Scatter => "scatter",
            PlanKind::Gather => "gather",
            PlanKind::Split => "split",
            PlanKind::AllShards => "all_shards",
            PlanKind::Local => "local",
            PlanKind::Refused => "refused",
        }
    }
}

/// A plan for people and programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    pub kind: PlanKind,
    pub keyspace: Option<String>,
    pub tables: Vec<String>,
    /// The keys that the statement is confined to; `None` when it is not.
    pub keys: Option<Vec<String>>,
    /// The slots of those keys.
    pub slots: Vec<u16>,
    /// The names of the shards that it runs on.
    pub shards: Vec<String>,
    /// What each of several shards is asked for, where that is not the statement itself.
    pub pushed: Vec<String>,
    pub reason: String,
    pub hint: Option<String>,
}

/// How many keys, slots or rows a text names before it says how many more there are.
const MAX_LISTED: usize = 16;

/// Explains a plan. `parameters`: as many as are known; what depends on others is said in their names (`$1`).
pub fn explain(plan: &Plan, parameters: &[Datum], topology: &Topology) -> Explanation {
    match plan {
        Plan::Read(read) => explain_read(read, parameters, topology),
        Plan::Insert(insert) => explain_insert(insert, parameters, topology),
        Plan::Write(write) => {
            let mut explained = routed(&write.route, &write.tables, parameters, topology);
            if explained.kind == PlanKind::Scatter || write.mixes_keyspaces {
                explained.kind = PlanKind::AllShards;
                explained.reason = "each shard writes its own rows; all commit or none".into();
                match (&write.several, &write.across) {
                    (Ok(()), _) => {}
                    (Err(_), Some(Across::Insert(_))) => {
                        explained.reason = "the rows are read, and inserted on the shards of their keys".into();
                    }
                    (Err(_), Some(Across::Merge(_))) => {
                        explained.reason =
                            "the source is read, and its rows are merged on the shards of their keys".into();
                    }
                    (Err(_), Some(Across::Move(_))) => {
                        explained.reason = "rows that get another shard's key are moved there".into();
                    }
                    (Err(_), Some(Across::RowByRow(_))) => {
                        explained.reason = "which rows is read first; each is written by its primary key".into();
                    }
                    (Err(_), Some(Across::Returned)) => {
                        explained.reason = "each shard writes its own rows; what they return is put together".into();
                    }
                    (Err(error), None) => refuse(&mut explained, error),
                }
            }
            explained
        }
        Plan::WriteReference(write) => everywhere(
            &write.keyspace,
            vec![write.table.clone()],
            "a reference table has a copy on every shard",
            topology,
        ),
        Plan::Ddl(_) => {
            let keyspace = topology.keyspaces.first().map(|keyspace| keyspace.name.clone()).unwrap_or_default();
            everywhere(&keyspace, Vec::new(), "the schema is the same on every shard", topology)
        }
        Plan::Copy(copy) => match &copy.way {
            Copying::In(rows) => {
                let mut explained = everywhere(
                    &rows.table.keyspace,
                    vec![rows.table.name.clone()],
                    "a reference table has a copy on every shard",
                    topology,
                );
                if rows.key.is_some() {
                    explained.reason = "each row goes to the shard of its key; all commit or none".into();
                }
                explained
            }
            Copying::Out { .. } => Explanation {
                reason: "the rows of its query are written as COPY writes them: explain the query".into(),
                ..local()
            },
        },
        Plan::Local(_) => local(),
    }
}

fn local() -> Explanation {
    Explanation {
        kind: PlanKind::Local,
        keyspace: None,
        tables: Vec::new(),
        keys: None,
        slots: Vec::new(),
        shards: Vec::new(),
        pushed: Vec::new(),
        reason: "answered by the session itself".into(),
        hint: None,
    }
}

/// Explains why a statement is refused.
pub fn explain_error(error: &Error) -> Explanation {
    Explanation {
        kind: PlanKind::Refused,
        keyspace: None,
        tables: Vec::new(),
        keys: None,
        slots: Vec::new(),
        shards: Vec::new(),
        pushed: Vec::new(),
        reason: error.message().to_owned(),
        hint: error.get_hint().map(str::to_owned),
    }
}

fn everywhere(keyspace: &str, tables: Vec<String>, reason: &str, topology: &Topology) -> Explanation {
    let ids = topology.keyspace(keyspace).map(|keyspace| keyspace.shards.clone()).unwrap_or_default();
    Explanation {
        kind: PlanKind::AllShards,
        keyspace: Some(keyspace.to_owned()),
        tables,
        keys: None,
        slots: Vec::new(),
        shards: names(&ids, topology),
        pushed: Vec::new(),
        reason: reason.to_owned(),
        hint: None,
    }
}

fn refuse(explained: &mut Explanation, error: &Error) {
    explained.kind = PlanKind::Refused;
    explained.reason = error.message().to_owned();
    explained.hint = error.get_hint().map(str::to_owned);
}

fn explain_read(read: &Read, parameters: &[Datum], topology: &Topology) -> Explanation {
    let mut explained = routed(&read.route, &read.tables, parameters, topology);
    let reason = match read.source {
        ReadSource::Shards => None,
        ReadSource::Nowhere => Some("no table is named"),
        ReadSource::SystemCatalog => Some("the system catalog is computed from the schema"),
    };
    if let Some(reason) = reason {
        explained.kind = PlanKind::Local;
        explained.keyspace = None;
        explained.shards = Vec::new();
        explained.reason = reason.into();
        return explained;
    }
    if explained.kind != PlanKind::Scatter && !read.mixes_keyspaces {
        return explained;
    }
    match &read.scatter {
        Ok(Scatter::Merge { merge, .. }) => explained.reason = merged(merge),
        Ok(Scatter::Aggregate(Aggregate { .. })) => {
            explained.reason = "shards aggregate their own rows; the partial results are aggregated again".into();
        }
        Err(error) => {
            explained.kind = PlanKind::Gather;
            let reason = error.message().trim_end_matches(" is not supported by shardd");
            explained.reason = format!("the rows come to one place, for {reason}");
        }
    }
    explained
}

fn merged(merge: &Merge) -> String {
    let mut steps =
        vec![if merge.order.is_empty() { "rows one shard after the other" } else { "rows merged in order" }];
    match merge.distinct {
        super::Distinct::No => {}
        super::Distinct::Rows => steps.push("duplicates removed"),
        super::Distinct::On(_) => steps.push("the first of each DISTINCT ON kept"),
    }
    if merge.limit.is_some() || merge.offset.is_some() {
        steps.push("cut to LIMIT and OFFSET");
    }
    steps.join(", ")
}

fn explain_insert(insert: &Insert, parameters: &[Datum], topology: &Topology) -> Explanation {
    let keys: Result<Vec<_>> = (0..insert.row_keys.len()).map(|row| insert.row_key(row, parameters)).collect();
    let mut explained = Explanation {
        kind: PlanKind::Split,
        keyspace: Some(insert.keyspace.clone()),
        tables: vec![insert.table.clone()],
        keys: Some(insert.row_keys.iter().map(super::KeyExpression::describe).collect()),
        slots: Vec::new(),
        shards: Vec::new(),
        pushed: Vec::new(),
        reason: "each row goes to the shard of its key".into(),
        hint: None,
    };
    let (Ok(keys), Some(keyspace)) = (keys, topology.keyspace(&insert.keyspace)) else { return explained };
    let mut slots: Vec<_> = keys.iter().map(slot_of).collect();
    slots.sort_unstable();
    slots.dedup();
    let mut shards: Vec<ShardId> = slots.iter().map(|slot| keyspace.owner(*slot)).collect();
    shards.sort_unstable();
    shards.dedup();
    if shards.len() == 1 {
        explained.kind = PlanKind::Single;
        explained.reason = "all the rows' keys are on one shard".into();
    }
    explained.keys = Some(keys.iter().map(describe_key).collect());
    explained.slots = slots.iter().map(|slot| slot.number()).collect();
    explained.shards = names(&shards, topology);
    explained
}

fn routed(route: &Route, tables: &[String], parameters: &[Datum], topology: &Topology) -> Explanation {
    let mut explained = Explanation {
        kind: PlanKind::Single,
        keyspace: Some(route.keyspace.clone()),
        tables: tables.to_vec(),
        keys: None,
        slots: Vec::new(),
        shards: Vec::new(),
        pushed: Vec::new(),
        reason: String::new(),
        hint: None,
    };
    if let Keys::Of(pins) = &route.keys
        && pins.iter().any(|pin| depends_on_unknown(pin, parameters.len()))
    {
        explained.keys = Some(pins.iter().map(describe_pin).collect());
        explained.reason = "the shard of the key, once it is known".into();
        return explained;
    }
    let targets = match route.shards(parameters, topology) {
        Ok(targets) => targets,
        Err(error) => {
            refuse(&mut explained, &error);
            return explained;
        }
    };
    explained.shards = names(&targets.shards, topology);
    explained.kind = if targets.shards.len() == 1 { PlanKind::Single } else { PlanKind::Scatter };
    explained.reason = match (&targets.slots, targets.shards.len()) {
        (Slots::Any, _) => "only reference tables: every shard has them",
        (Slots::These(slots), _) if slots.is_empty() => "no key can match",
        (Slots::These(_), 1) => "the key is on one shard",
        (Slots::These(_), _) => "the keys are on several shards",
        (Slots::All, 1) => "there is one shard",
        (Slots::All, _) => "no key is given",
    }
    .to_owned();
    if let Slots::These(slots) = &targets.slots {
        explained.slots = slots.iter().map(|slot| slot.number()).collect();
        let keyspace = topology.keyspace(&route.keyspace);
        let mut keys = keyspace.and_then(|keyspace| route.keys(parameters, keyspace)).unwrap_or_default();
        keys.sort();
        keys.dedup();
        explained.keys = Some(keys.iter().map(describe_key).collect());
    }
    explained
}

fn depends_on_unknown(pin: &Pin, known: usize) -> bool {
    use super::KeyExpression::{ArrayParameter, Assigned, Literal, NegatedParameter, Parameter};
    pin.all_of.iter().flatten().any(|key| match key {
        Literal(_) => false,
        Parameter(number) | NegatedParameter(number) | ArrayParameter(number) => *number > known,
        Assigned(key) => key.parameter().is_some_and(|number| number > known),
    })
}

fn describe_pin(pin: &Pin) -> String {
    let unions: Vec<String> = pin
        .all_of
        .iter()
        .map(|keys| listed(&keys.iter().map(super::KeyExpression::describe).collect::<Vec<_>>()))
        .collect();
    unions.join(" and ")
}

fn names(ids: &[ShardId], topology: &Topology) -> Vec<String> {
    ids.iter().map(|id| topology.shard(*id).map_or_else(|| format!("shard {id}"), |shard| shard.name.clone())).collect()
}

fn listed(items: &[String]) -> String {
    let shown = items.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>().join(", ");
    match items.len().checked_sub(MAX_LISTED) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

impl Explanation {
    /// As rows of text, the most important first.
    pub fn lines(&self) -> Vec<String> {
        let kind = match self.kind {
            PlanKind::Single => "Single shard",
            PlanKind::Scatter => "Scatter",
            PlanKind::Gather => "Gather",
            PlanKind::Split => "Split by key",
            PlanKind::AllShards => "All shards",
            PlanKind::Local => "Local",
            PlanKind::Refused => "Refused",
        };
        let mut lines = vec![format!("{kind}: {}", self.reason)];
        if let Some(hint) = &self.hint {
            lines.push(format!("  Hint: {hint}"));
        }
        if !self.shards.is_empty() {
            lines.push(format!("  Shards: {}", listed(&self.shards)));
        }
        for statement in &self.pushed {
            lines.push(format!("  Each is asked: {statement}"));
        }
        if let Some(keyspace) = &self.keyspace {
            lines.push(format!("  Keyspace: {keyspace}"));
        }
        if !self.tables.is_empty() {
            lines.push(format!("  Tables: {}", listed(&self.tables)));
        }
        if let Some(keys) = &self.keys {
            lines.push(format!("  Keys: {}", if keys.is_empty() { "none".to_owned() } else { listed(keys) }));
        }
        if !self.slots.is_empty() {
            let slots: Vec<String> = self.slots.iter().map(u16::to_string).collect();
            lines.push(format!("  Slots: {}", listed(&slots)));
        }
        lines
    }
}
