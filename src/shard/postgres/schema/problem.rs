//! What is wrong with one shard by itself, or must be known of it, however equal the others are.

use super::{Severity, ShardSchema, ShardTable, quoted};
use crate::sql::quote_identifier;
use crate::topology::{Spoils, Table, TableKind};
use crate::types::PgType;

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    pub severity: Severity,
    /// None when it is the database's as a whole.
    pub table: Option<String>,
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// The statements that it makes wrong.
    #[serde(skip)]
    pub spoils: Spoils,
}

impl ShardSchema {
    /// `shard_number`: the shard's number for life.
    pub fn problems(&self, shard_number: u16) -> Vec<Problem> {
        let mut problems = self.problems_of_server();
        for (name, table) in &self.tables {
            let mut add = |severity, spoils, message: String, hint: String| {
                let message = format!("table {} on {}: {message}", quoted(name), self.shard);
                problems.push(Problem { severity, table: Some(name.clone()), message, hint, spoils });
            };
            self.check_key(table, &mut add);
            self.check_unique(table, shard_number, &mut add);
            self.check_sequences(table, shard_number, &mut add);
            self.check_references(table, &mut add);
            tell_of_the_rest(table, &mut add);
        }
        problems
    }

    fn problems_of_server(&self) -> Vec<Problem> {
        let server = &self.server;
        let mut problems = Vec::new();
        let mut add = |wrong: bool, severity, message: String, hint: &str| {
            if wrong {
                let message = format!("{}: {message}", self.shard);
                let spoils = match severity {
                    Severity::WritesWouldBeWrong => Spoils::Writes,
                    _ => Spoils::Nothing,
                };
                problems.push(Problem { severity, table: None, message, hint: hint.to_owned(), spoils });
            }
        };
        add(
            server.encoding != "UTF8",
            Severity::WritesWouldBeWrong,
            format!("the database's encoding is {}", server.encoding),
            "Create the database with ENCODING 'UTF8': text is hashed, and sent, as UTF-8.",
        );
        add(
            !server.integer_datetimes,
            Severity::ReadsWouldDiffer,
            "dates and times are floating-point numbers (integer_datetimes is off)".to_owned(),
            "Use a server that was built with integer datetimes, as every one since version 10 is.",
        );
        add(
            server.in_recovery,
            Severity::WritesWouldBeWrong,
            "the server follows another one, and takes no writes".to_owned(),
            "Give the primary's URL.",
        );
        add(
            !server.text_order_is_c,
            Severity::ReadsWouldDiffer,
            format!("text is ordered by {}", server.collation),
            "shardd puts the rows of several shards in the order of bytes: create the database with LOCALE 'C', or \
             write ORDER BY ... COLLATE \"C\".",
        );
        add(
            server.max_prepared_transactions == 0,
            Severity::Harmless,
            "max_prepared_transactions is 0: transactions that write on several shards are refused".to_owned(),
            "Set max_prepared_transactions to max_connections, and restart the server.",
        );
        let role = server.settings.get("session_replication_role");
        add(
            role.is_some_and(|role| role != "origin"),
            Severity::WritesWouldBeWrong,
            "session_replication_role is not origin: triggers and foreign keys are not checked".to_owned(),
            "Take the setting away: ALTER ROLE ... RESET session_replication_role, or the same for the database.",
        );
        problems
    }

    fn check_key(&self, table: &ShardTable, add: &mut impl FnMut(Severity, Spoils, String, String)) {
        let Some(key) = table.table.key_column() else { return };
        let column = &table.table.columns[key];
        if !column.not_null {
            add(
                Severity::WritesWouldBeWrong,
                // Who gives NULL is refused by the engine, wherever the row would go.
                Spoils::Nothing,
                format!("the key column {} takes NULL, which is no key", quoted(&column.name)),
                format!(
                    "ALTER TABLE {} ALTER COLUMN {} SET NOT NULL",
                    quote_identifier(&table.table.name),
                    quote_identifier(&column.name)
                ),
            );
        }
    }

    /// Uniqueness is held within one shard only.
    fn check_unique(&self, table: &ShardTable, number: u16, add: &mut impl FnMut(Severity, Spoils, String, String)) {
        let Some(key) = table.table.key_column() else { return };
        for unique in &table.unique {
            if unique.columns.contains(&Some(key)) {
                continue;
            }
            let name = quoted(&unique.name);
            let key = quoted(&table.table.columns[key].name);
            if self.is_unique_everywhere(table, &unique.columns, number) {
                add(
                    Severity::Harmless,
                    Spoils::Nothing,
                    format!(
                        "{name} is unique on each shard by itself: values that are made up stay unique, those given may not"
                    ),
                    format!("Include the key column {key} where values are given by clients."),
                );
            } else {
                let columns = unique.columns.iter().flatten();
                let columns = columns.map(|column| table.table.columns[*column].name.clone()).collect();
                add(
                    Severity::WritesWouldBeWrong,
                    if unique.columns.iter().any(Option::is_none) {
                        Spoils::NewRows
                    } else {
                        Spoils::NewValues(columns)
                    },
                    format!("{name} is unique on each shard by itself, since it lacks the key column {key}"),
                    format!("Include the key column {key}, or make it an index that is not unique."),
                );
            }
        }
    }

    /// Whether the shards cannot make up the same values: numbers of a sequence that steps, or uuids.
    fn is_unique_everywhere(&self, table: &ShardTable, columns: &[Option<usize>], number: u16) -> bool {
        columns.iter().flatten().any(|column| {
            let sequence = table.sequences.get(column).and_then(|name| self.sequences.get(name));
            table.table.columns[*column].data_type == PgType::Uuid
                || sequence.is_some_and(|sequence| sequence.collides(number).is_none())
        })
    }

    fn check_sequences(&self, table: &ShardTable, number: u16, add: &mut impl FnMut(Severity, Spoils, String, String)) {
        if table.table.kind == TableKind::Reference {
            return;
        }
        for (column, name) in &table.sequences {
            let Some(sequence) = self.sequences.get(name) else { continue };
            let name_of_column = &table.table.columns[*column].name;
            let column = quoted(name_of_column);
            if sequence.data_type != "bigint" {
                add(
                    Severity::Harmless,
                    Spoils::Nothing,
                    format!(
                        "the sequence {name} of column {column} is of type {}: in steps of 1024 it has {} numbers left",
                        sequence.data_type,
                        sequence.numbers_left()
                    ),
                    format!("ALTER SEQUENCE {name} AS bigint, and the column likewise, before they are used up."),
                );
            }
            if sequence.position.is_none() && !sequence.readable {
                add(
                    Severity::WritesWouldBeWrong,
                    Spoils::Filling(name_of_column.clone()),
                    format!(
                        "where the sequence {name} of column {column} stands cannot be read, nor whether ids will collide"
                    ),
                    format!("GRANT SELECT ON SEQUENCE {name} to the role that shardd connects as."),
                );
            }
            let Some(why) = sequence.collides(number) else { continue };
            let own = sequence.next_own(number);
            add(
                Severity::WritesWouldBeWrong,
                Spoils::Filling(name_of_column.clone()),
                format!("the sequence {name} of column {column} {why}, so that two shards give the same number"),
                format!(
                    "ALTER SEQUENCE {name} INCREMENT BY 1024 RESTART WITH {own}; on this shard, whose number is {number}. \
                     A later number will do that has the same remainder by 1024."
                ),
            );
        }
    }

    fn check_references(&self, table: &ShardTable, add: &mut impl FnMut(Severity, Spoils, String, String)) {
        for foreign_key in &table.table.foreign_keys {
            let Some(target) = self.tables.get(&foreign_key.references) else { continue };
            if !stay_together(&table.table, &target.table, &foreign_key.columns, &foreign_key.referenced_columns) {
                add(
                    Severity::Harmless,
                    Spoils::Nothing,
                    format!(
                        "the foreign key {} finds rows of {} on the same shard only, and refuses others",
                        quoted(&foreign_key.name),
                        quoted(&foreign_key.references)
                    ),
                    "Include the key columns of both tables in the foreign key, or drop it.".to_owned(),
                );
            }
        }
    }
}

/// Whether a row and the row that it refers to are always on one shard.
fn stay_together(from: &Table, to: &Table, columns: &[usize], referenced: &[usize]) -> bool {
    let Some(to_key) = to.key_column() else { return true };
    let at = referenced.iter().position(|column| *column == to_key);
    from.keyspace == to.keyspace && at.is_some_and(|at| from.key_column() == columns.get(at).copied())
}

fn tell_of_the_rest(table: &ShardTable, add: &mut impl FnMut(Severity, Spoils, String, String)) {
    if table.row_security {
        add(
            Severity::Harmless,
            Spoils::Nothing,
            "row security is on: which rows there are depends on the role and its settings".to_owned(),
            "Give shardd's own role BYPASSRLS, so that moves see every row.".to_owned(),
        );
    }
    if table.unlogged {
        add(
            Severity::Harmless,
            Spoils::Nothing,
            "it is unlogged: after a crash this shard's part of it is empty".to_owned(),
            format!("ALTER TABLE {} SET LOGGED, if its rows matter.", quote_identifier(&table.table.name)),
        );
    }
    for trigger in &table.triggers {
        add(
            Severity::Harmless,
            Spoils::Nothing,
            format!("the trigger {} sees and writes this shard's rows only", quoted(trigger)),
            "Let it touch rows of the same key, and of nothing else.".to_owned(),
        );
    }
}
