//! What is not alike on all Postgres shards, and what statements it spoils. It is read with the schema, and published in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::ShardId;

/// Empty for SQLite shards, which are held equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// For people: the worst first.
    pub findings: Vec<Finding>,
    /// For statements.
    pub misfits: Vec<Misfit>,
    /// By shard and OID: the types that have not the same OID everywhere.
    pub unlike_types: BTreeMap<(ShardId, u32), UnlikeType>,
}

/// What a difference or a problem does to statements, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Answers are the same; speed, or the text of an error, may differ.
    Harmless,
    /// A statement that reads can be answered in another way on another shard.
    ReadsWouldDiffer,
    /// A write can be accepted, filled in or understood in another way than it should be.
    WritesWouldBeWrong,
}

impl Severity {
    pub const ALL: [Severity; 3] = [Severity::Harmless, Severity::ReadsWouldDiffer, Severity::WritesWouldBeWrong];

    pub const fn name(self) -> &'static str {
        match self {
            Severity::Harmless => "harmless",
            Severity::ReadsWouldDiffer => "reads_would_differ",
            Severity::WritesWouldBeWrong => "writes_would_be_wrong",
        }
    }
}

/// One thing that differs between shards, or is wrong with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// `None`: the database's as a whole.
    pub table: Option<String>,
    /// The names of the shards that it is about.
    pub shards: Vec<String>,
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// A finding that makes statements wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// `None`: every table.
    pub table: Option<String>,
    /// Where such a statement would be wrong: the shards that are not of the majority's opinion, or all.
    pub shards: BTreeSet<ShardId>,
    pub spoils: Spoils,
    pub message: String,
    pub hint: String,
}

/// Which statements on a table would be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoils {
    Nothing,
    /// All, reads too: the table is not there.
    Everything,
    Writes,
    /// INSERT and UPDATE.
    NewRows,
    /// UPDATE and DELETE.
    OldRows,
    /// INSERT, and UPDATE of one of these columns.
    NewValues(Vec<String>),
    /// What gives the column a value.
    Value(String),
    /// What leaves it to the shard to fill the column.
    Filling(String),
    /// INSERT without a list of columns.
    Order,
}

/// A type that has another OID on another shard, or is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnlikeType {
    pub name: String,
    /// Its values are sent as texts are, in both formats.
    pub is_enum: bool,
}

impl Drift {
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}
