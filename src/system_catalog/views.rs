//! Postgres's views over its own tables, as relations of their own.

use super::Surroundings;
use super::expression::names;
use super::model::Model;
use super::relations::{PG_CATALOG, definitions};
use super::rows::{Rows, flag, oid, text};
use crate::types::Datum;

pub(super) fn add(rows: &mut Rows, model: &Model<'_>, surroundings: &Surroundings) {
    for table in &model.tables {
        let indexed = model.indexes.iter().any(|index| index.table.oid == table.oid);
        let referred = |key: &crate::topology::ForeignKey| key.references == table.name;
        let triggers =
            !table.foreign_keys.is_empty() || model.tables.iter().any(|other| other.foreign_keys.iter().any(referred));
        add_table(rows, "public", &table.name, surroundings, [indexed, triggers]);
        let named = [("relid", oid(table.oid)), ("schemaname", text("public")), ("relname", text(&table.name))];
        // What is counted nowhere is unknown, not zero.
        rows.add("pg_stat_user_tables", &named);
    }
    for known in definitions().values().filter(|known| known.kind == 'r' && known.namespace() == PG_CATALOG) {
        add_table(rows, "pg_catalog", known.name, surroundings, [false, false]);
    }
    for sequence in &model.sequences {
        rows.add(
            "pg_sequences",
            &[
                ("schemaname", text("public")),
                ("sequencename", text(&sequence.name)),
                ("sequenceowner", text(&surroundings.user)),
                ("data_type", oid(sequence.data_type().oid())),
                ("start_value", Datum::Int8(1)),
                ("min_value", Datum::Int8(1)),
                ("max_value", Datum::Int8(sequence.maximum())),
                ("increment_by", Datum::Int8(sequence.step())),
                ("cycle", flag(false)),
                ("cache_size", Datum::Int8(1)),
            ],
        );
    }
}

fn add_table(rows: &mut Rows, schema: &str, name: &str, surroundings: &Surroundings, [indexed, triggers]: [bool; 2]) {
    rows.add(
        "pg_tables",
        &[
            ("schemaname", text(schema)),
            ("tablename", text(name)),
            ("tableowner", text(&surroundings.user)),
            ("hasindexes", flag(indexed)),
            ("hasrules", flag(false)),
            ("hastriggers", flag(triggers)),
            ("rowsecurity", flag(false)),
        ],
    );
}

/// `nextval('...'::regclass)`: the default of a serial column.
pub(super) fn next_value(sequence: &str) -> String {
    format!("nextval('{}'::regclass)", names([sequence]).replace('\'', "''"))
}
