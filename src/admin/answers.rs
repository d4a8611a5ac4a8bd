//! The admin door's requests and answers, as JSON: shared with shardctl, which reads what the door writes.
//!
//! A shard's name is always under `shard`, a table's under `table`. Answers grow by new members only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    /// `starting`, `serving`, `degraded` (a shard does not answer) or `draining`.
    pub state: String,
    pub uptime_seconds: u64,
    pub database: String,
    pub epoch: u64,
    pub shards: usize,
    pub shards_up: usize,
    pub tables: usize,
    pub keyspaces: Vec<KeyspaceStatus>,
    /// Addresses by door.
    pub listeners: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyspaceStatus {
    pub keyspace: String,
    /// Empty for the HTTP door's own keyspace, whose tables are fixed.
    pub key_column: String,
    pub key_type: String,
    pub shards: usize,
    pub slots: usize,
    /// The keyspace of the HTTP door's entries, which no configuration names.
    pub internal: bool,
}

/// An element of `GET /v1/shards`, and the answer to `POST /v1/shards`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardSummary {
    pub shard: String,
    /// The shard's number for life.
    pub number: u16,
    /// Without its password.
    pub url: String,
    pub weight: f64,
    /// `up` or `down`.
    pub state: String,
    /// Why it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub slots: Vec<KeyspaceSlots>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// What must be known of a shard that joined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What a shard that joined was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<CopiedSummary>,
}

/// What a Postgres shard was given when it joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedSummary {
    /// How many tables were made, partitions included; 0: they were there.
    pub tables: u64,
    /// How many reference tables got their rows.
    pub reference_tables: u64,
    pub reference_rows: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyspaceSlots {
    pub keyspace: String,
    pub slots: u64,
}

/// `GET /v1/shards/{shard}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardDescription {
    pub shard: String,
    pub number: u16,
    pub url: String,
    pub weight: f64,
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    pub slots: Vec<KeyspaceSlots>,
    /// Slot ranges (`0-4095`) by keyspace.
    pub ranges: BTreeMap<String, Vec<String>>,
    /// What the shard counts about itself, by name.
    pub statistics: BTreeMap<String, u64>,
    /// Absent where it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaDescription>,
    /// Statements that might have been read from a replica, and were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_passed_over: Option<u64>,
}

/// A replica of a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaDescription {
    /// Its address.
    pub replica: String,
    /// It is read.
    pub readable: bool,
    /// Why it is not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How old what it shows is, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<u64>,
    /// What its pool counts, by name.
    pub statistics: BTreeMap<String, u64>,
}

/// `GET /v1/schema/diff`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchemaDiff {
    /// Nothing is found that is worse than harmless.
    pub alike: bool,
    /// The worst first.
    pub findings: Vec<SchemaFinding>,
}

/// A difference between shards, or what is wrong with one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchemaFinding {
    /// `harmless`, `reads_would_differ` or `writes_would_be_wrong`: such writes are refused.
    pub severity: String,
    /// Absent where it is the database's as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    pub shards: Vec<String>,
    pub message: String,
    /// What to do about it; empty where nothing has to be done.
    pub hint: String,
}

/// An element of `GET /v1/transactions`, and of the answer to `POST /v1/transactions/resolve`: what is left then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InDoubtDescription {
    /// The shard on which it is prepared.
    pub shard: String,
    /// As `pg_prepared_xacts` of that shard has it.
    pub gid: String,
    /// The shard that knows what was decided; absent where the topology has none of its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    pub age_seconds: u64,
    /// Why it could not be ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The body of `POST /v1/transactions/force`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForceRequest {
    /// As `GET /v1/transactions` has it: any part of the commit.
    pub gid: String,
    pub outcome: ForcedOutcome,
    /// The name of the shard that decides, which the operator says is lost for good. Without it nothing is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_shard: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForcedOutcome {
    Commit,
    Rollback,
}

/// The answer to `POST /v1/transactions/force`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forced {
    /// The shards on which a part was ended.
    pub ended_on: Vec<String>,
    /// Those that could not be asked, beside the one that decides: they may have a part, too.
    pub unread: Vec<String>,
}

/// The body of `POST /v1/tables/{table}/kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindRequest {
    /// Absent: it becomes a reference table.
    #[serde(default)]
    pub key_column: Option<String>,
    #[serde(default)]
    pub keyspace: Option<String>,
    /// All is done, and taken back.
    #[serde(default)]
    pub dry_run: bool,
}

/// The answer to `POST /v1/tables/{table}/kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindChanged {
    pub rows: usize,
    pub dry_run: bool,
}

/// The body of `POST /v1/verify`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// Absent: all sharded tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Guards are put right. Rows are never touched.
    #[serde(default)]
    pub repair: bool,
}

/// The answer to `POST /v1/verify`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Nothing is wrong, or all that was is put right.
    pub right: bool,
    /// How many sharded tables were looked at, on how many shards.
    pub tables: usize,
    pub shards: usize,
    pub rows: u64,
    pub flaws: Vec<VerificationFlaw>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerificationFlaw {
    pub shard: String,
    /// Absent where it is the shard as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// `not_verified`, `guard_missing`, `guard_disabled`, `guard_altered`, `guard_superfluous`, `guards_contested`,
    /// `not_repaired`, `rows_outside` or `rows_without_key`.
    pub problem: String,
    pub message: String,
    /// What to do about it; empty where nothing has to be done.
    pub hint: String,
    /// How many rows it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Keys of some of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// It was put right.
    pub repaired: bool,
}

/// An element of `GET /v1/tables`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableSummary {
    pub table: String,
    pub keyspace: String,
    /// `sharded` or `reference`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_type: Option<String>,
    pub columns: usize,
    pub indexes: usize,
}

/// `GET /v1/route?table=&key=`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteAnswer {
    pub table: String,
    pub keyspace: String,
    pub kind: String,
    /// The key in its one canonical form; absent for a reference table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
    /// Absent for a reference table, of which every shard has a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    pub epoch: u64,
    pub why: String,
}

/// The body of `POST /v1/explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    pub statement: String,
}

/// `POST /v1/explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    pub statement: String,
    /// The plan as `EXPLAIN (SHARDD)` prints it.
    pub plan: Vec<String>,
}

/// The body of `POST /v1/analyze`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnalyzeRequest {
    /// Each may hold several statements.
    pub texts: Vec<String>,
}

/// `POST /v1/analyze`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// In the order of the texts.
    pub statements: Vec<AnalyzedStatement>,
}

/// What would be done with one statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnalyzedStatement {
    /// Without its literals: `$n` stands for each.
    pub statement: String,
    /// `single`, `scatter`, `gather`, `split`, `all_shards`, `local` or `refused`.
    pub kind: String,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The body of `POST /v1/shards`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewShard {
    pub shard: String,
    pub url: String,
    #[serde(default = "default_weight")]
    pub weight: f64,
}

fn default_weight() -> f64 {
    1.0
}

/// The body of `POST /v1/moves`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// What to move. Absent: as much as the shards' weights ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<MovedSlots>,
    /// Nothing is moved, only told.
    #[serde(default)]
    pub dry_run: bool,
}

/// Slots that are to go to one shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedSlots {
    /// Absent: the only one of the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<String>,
    /// As ranges: `0-99,120`.
    pub slots: String,
    /// The shard's name.
    pub to: String,
}

/// An element of the answer to `POST /v1/moves`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovePlan {
    /// Absent after a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    pub keyspace: String,
    pub from: String,
    pub to: String,
    pub slots: String,
    pub slot_count: u16,
    /// Estimates.
    pub rows: u64,
    pub bytes: u64,
}

/// An element of `GET /v1/moves`, and `GET /v1/moves/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveDescription {
    pub id: i64,
    pub keyspace: String,
    pub from: String,
    pub to: String,
    pub slots: String,
    pub slot_count: u16,
    /// `prepare`, `copy`, `catch_up`, `verify`, `cut_over`, `clean_up`, `done`, `undo` or `cancelled`.
    pub stage: String,
    /// What an operator wants of it: `go_on`, `pause` or `cancel`.
    pub asked: String,
    /// Why it waits, or why it was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub rows_copied: u64,
    pub bytes_copied: u64,
    /// Of an estimate; absent where nobody works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<u64>,
    /// Changed rows that were caught up with last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_behind: Option<u64>,
    /// How long new work was held by the last cutover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_ms: Option<u64>,
    /// How often a cutover was begun.
    pub attempts: u32,
    pub seconds: u64,
    /// The epoch in which the slots changed hands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// What may be asked of a move: `POST /v1/moves/{id}/{action}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MoveAction {
    Pause,
    Resume,
    Cancel,
}

/// The body of `POST /v1/shards/{shard}/weight`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightRequest {
    pub weight: f64,
}

/// The body of `POST /v1/throttle`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// The most that moves may copy, in bytes a second; 0 is no bound.
    pub bytes_per_second: u64,
}

/// An element of `GET /v1/config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigLine {
    pub key: String,
    /// Secrets are not shown.
    pub value: String,
    /// Where the value comes from: a default, a file's line, the environment, a flag.
    pub origin: String,
}

/// `GET /v1/logs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogPage {
    pub entries: Vec<LogEntry>,
    /// What to send as `after` for the entries that follow.
    pub next: u64,
    /// Entries after the `after` that was asked for were thrown away before they could be read.
    pub missed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    pub number: u64,
    /// RFC 3339, UTC.
    pub time: String,
    pub level: String,
    pub target: String,
    pub message: String,
    pub fields: BTreeMap<String, String>,
}

/// `GET /v1/version`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionAnswer {
    pub version: String,
}

/// `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    pub ready: bool,
    /// As in [`Status`].
    pub state: String,
    pub shards: Vec<ShardHealth>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardHealth {
    pub shard: String,
    pub up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
