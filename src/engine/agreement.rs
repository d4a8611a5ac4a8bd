//! Which schema rules at a start.
//!
//! Every change of SQLite shards' is made on all or on none, so shards that hold different ones say that a file was replaced,
//! by an old backup for one. Postgres servers are changed by others too: they are served as they are, and statements that their
//! differences would make wrong are refused.

use std::sync::Arc;

use super::Engine;
use crate::error::{Error, Fault, Result, SqlState};
use crate::shard::ShardKind;
use crate::shard::postgres::schema::survey;
use crate::topology::Schema;
use crate::types::ShardId;

/// What one shard's file holds.
#[derive(Debug)]
struct Stored {
    shard: ShardId,
    name: String,
    schema: Schema,
}

impl Engine {
    /// Makes the schema that the open shards hold the one that statements are planned against. A shard that is not of the
    /// majority's opinion is taken down. After [`Engine::recover`], which finishes what was decided.
    ///
    /// # Errors
    /// The shards differ, and none of their schemas is held by more than half of all.
    pub async fn agree_on_schema(&self) -> Result<()> {
        match self.kind {
            ShardKind::Sqlite => self.agree_on_stored_schema().await,
            ShardKind::Postgres => {
                self.survey_servers().await?;
                self.read_servers().await
            }
        }
    }

    async fn survey_servers(&self) -> Result<()> {
        let topology = self.live.snapshot();
        let (read, failed) = self.read_schemas(None, &topology.keyspaces).await?;
        for (shard, error) in failed {
            self.take_down(shard, error).await;
        }
        if read.is_empty() {
            return Ok(());
        }
        self.mend_guards(&read, None, &topology).await;
        self.adopt_schema(Arc::new(survey(&read, &topology.keyspaces)))
    }

    async fn agree_on_stored_schema(&self) -> Result<()> {
        let mut stored = Vec::new();
        let topology = self.live.snapshot();
        for (shard, open) in &self.shards.load_full().open {
            match open.shard.sqlite()?.schema().await {
                Ok(schema) => stored.push(Stored { shard: *shard, name: open.shard.name().to_owned(), schema }),
                Err(error) => self.take_down(*shard, error).await,
            }
        }
        let Some(first) = stored.first() else { return Ok(()) };
        let all = topology.shards.len();
        let Some(ruling) = ruling(&stored, all) else {
            let differs = |other: &Stored| drift(&other.name, &other.schema, &first.name, &first.schema);
            return Err(stored.iter().find_map(differs).unwrap_or_else(|| Error::internal("no schema rules")));
        };
        for other in &stored {
            if let Some(drifted) = drift(&other.name, &other.schema, &ruling.name, &ruling.schema) {
                self.take_down(other.shard, drifted).await;
            }
        }
        self.mend_file_guards(None, true, &ruling.schema, &topology).await;
        self.adopt_schema(Arc::new(ruling.schema.clone()))
    }
}

/// One that holds what all hold, or what more than half of all shards hold, those that are down counted: with less there
/// may be as many on the other side.
fn ruling(stored: &[Stored], all: usize) -> Option<&Stored> {
    let holders = |schema: &Schema| stored.iter().filter(|other| same(&other.schema, schema)).count();
    stored.iter().find(|one| {
        let holders = holders(&one.schema);
        holders == stored.len() || holders * 2 > all
    })
}

/// How a shard's schema differs from the one that it should hold.
pub(super) fn drift(name: &str, found: &Schema, others: &str, expected: &Schema) -> Option<Error> {
    if same(found, expected) {
        return None;
    }
    let message =
        format!("shard \"{name}\" does not hold the same tables as {others}: {}", difference(found, expected));
    let error = Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).fault(Fault::Shard);
    Some(error.hint("Restore the shard that lags behind from the backup that belongs to the others."))
}

fn same(found: &Schema, expected: &Schema) -> bool {
    found.tables == expected.tables
}

fn difference(found: &Schema, expected: &Schema) -> String {
    for (table, definition) in &expected.tables {
        match found.table(table) {
            None => return format!("it has no table \"{table}\""),
            Some(other) if other != definition => return format!("its table \"{table}\" has another definition"),
            Some(_) => {}
        }
    }
    let extra = found.tables.keys().find(|table| expected.table(table).is_none());
    format!("its table \"{}\" is not among theirs", extra.map_or("?", String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Table, TableKind};

    fn holding(number: u16, tables: &[&str]) -> Stored {
        let table = |name: &&str| {
            let table = Table {
                oid: 1,
                name: (*name).to_owned(),
                keyspace: "k".to_owned(),
                kind: TableKind::Reference,
                columns: Vec::new(),
                primary_key: None,
                unique_keys: Vec::new(),
                checks: Vec::new(),
                foreign_keys: Vec::new(),
                indexes: Vec::new(),
            };
            ((*name).to_owned(), Arc::new(table))
        };
        let schema = Schema { tables: tables.iter().map(table).collect(), ..Schema::default() };
        Stored { shard: ShardId(number), name: format!("s{number}"), schema }
    }

    fn rules(stored: &[Stored], all: usize) -> Option<u16> {
        ruling(stored, all).map(|stored| stored.shard.0)
    }

    #[test]
    fn what_all_open_shards_hold_rules() {
        assert_eq!(rules(&[holding(1, &["a"]), holding(3, &["a"])], 4), Some(1));
        assert_eq!(rules(&[holding(2, &["a"])], 4), Some(2));
    }

    #[test]
    fn the_odd_one_of_many_does_not_rule() {
        assert_eq!(rules(&[holding(1, &[]), holding(2, &["a"]), holding(3, &["a"])], 3), Some(2));
    }

    #[test]
    fn without_a_majority_of_all_shards_none_rules() {
        assert_eq!(rules(&[holding(1, &[]), holding(2, &["a"])], 2), None);
        // The fourth is down, and may be of the first one's opinion.
        assert_eq!(rules(&[holding(1, &[]), holding(2, &["a"]), holding(3, &["a"])], 4), None);
        assert_eq!(rules(&[holding(1, &[]), holding(2, &["a"]), holding(3, &["b"])], 3), None);
    }

    #[test]
    fn a_difference_names_the_table() {
        let expected = holding(1, &["a", "b"]).schema;
        let told = |tables: &[&str]| {
            drift("s2", &holding(2, tables).schema, "s1", &expected).map(|error| error.message().to_owned())
        };
        assert_eq!(told(&["a", "b"]), None);
        assert_eq!(
            told(&["a"]).as_deref(),
            Some("shard \"s2\" does not hold the same tables as s1: it has no table \"b\"")
        );
        assert!(told(&["a", "b", "c"]).is_some_and(|told| told.contains("\"c\" is not among theirs")));
    }
}
