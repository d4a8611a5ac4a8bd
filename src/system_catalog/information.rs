//! `information_schema`: the SQL standard's view of the tables. It describes the user's own tables only.

use super::Surroundings;
use super::constraints::rule;
use super::model::{ConstraintKind, ConstraintModel, Model};
use super::relations::PUBLIC;
use super::rows::{Rows, int4, text, yes_or_no};
use super::tables::modifier_parts;
use crate::topology::{Column, Identity, Table};
use crate::types::{Datum, PgType};

/// The longest text in bytes, as Postgres states it.
const TEXT_OCTETS: i32 = 1 << 30;

pub(super) fn add(rows: &mut Rows, model: &Model<'_>, surroundings: &Surroundings) {
    let database = surroundings.database.as_str();
    for schema in ["information_schema", "pg_catalog", "public"] {
        rows.add(
            "information_schema.schemata",
            &[
                ("catalog_name", text(database)),
                ("schema_name", text(schema)),
                ("schema_owner", text(&surroundings.user)),
            ],
        );
    }
    for table in &model.tables {
        add_table(rows, model, table, database);
        add_privileges(rows, table, surroundings);
    }
    for constraint in &model.constraints {
        add_constraint(rows, model, constraint, database);
    }
    for sequence in &model.sequences {
        // Those of identity columns are not shown.
        if sequence.table.columns[sequence.column].identity != Some(Identity::Serial) {
            continue;
        }
        let (precision, _, _) = number_parts(&sequence.table.columns[sequence.column]);
        rows.add(
            "information_schema.sequences",
            &[
                ("sequence_catalog", text(database)),
                ("sequence_schema", text("public")),
                ("sequence_name", text(&sequence.name)),
                ("data_type", text(sequence.data_type().sql_name())),
                ("numeric_precision", optional(precision)),
                ("numeric_precision_radix", int4(2)),
                ("numeric_scale", int4(0)),
                ("start_value", text("1")),
                ("minimum_value", text("1")),
                ("maximum_value", text(sequence.maximum().to_string())),
                ("increment", text(sequence.step().to_string())),
                ("cycle_option", text("NO")),
            ],
        );
    }
}

fn add_table(rows: &mut Rows, model: &Model<'_>, table: &Table, database: &str) {
    let named = table_name(table, database);
    let more =
        [("table_type", text("BASE TABLE")), ("is_insertable_into", yes_or_no(true)), ("is_typed", yes_or_no(false))];
    rows.add("information_schema.tables", &[&named[..], &more].concat());
    for (number, column) in table.columns.iter().enumerate() {
        let default = model.defaults.iter().find(|known| known.table.oid == table.oid && known.column == number);
        let default = default.map_or(Datum::Null, |known| text(&known.text[0]));
        let mut row = named.to_vec();
        row.extend([
            ("column_name", text(&column.name)),
            ("ordinal_position", number_from_one(number)),
            ("column_default", default),
            ("is_nullable", yes_or_no(!column.not_null)),
            ("udt_catalog", text(database)),
            ("udt_schema", text("pg_catalog")),
            ("udt_name", text(column.data_type.name())),
            ("dtd_identifier", text((number + 1).to_string())),
            ("is_self_referencing", yes_or_no(false)),
            ("is_generated", text("NEVER")),
            ("is_updatable", yes_or_no(true)),
        ]);
        row.extend(type_columns(column));
        row.extend(identity_columns(model, table, number));
        rows.add("information_schema.columns", &row);
        if column.not_null {
            add_not_null(rows, table, number, database);
        }
    }
}

/// What a column's type says of it.
fn type_columns(column: &Column) -> Vec<(&'static str, Datum)> {
    let shown = if column.data_type.is_array() { "ARRAY" } else { column.data_type.sql_name() };
    let (precision, radix, scale) = number_parts(column);
    let length = modifier_parts(column).0;
    let (characters, octets) = match column.data_type {
        PgType::Text => (None, Some(TEXT_OCTETS)),
        PgType::Varchar | PgType::Bpchar => (length, Some(length.map_or(TEXT_OCTETS, |length| length * 4))),
        _ => (None, None),
    };
    let time = match column.data_type {
        PgType::Date => Some(0),
        PgType::Timestamp | PgType::Timestamptz | PgType::Interval => Some(length.unwrap_or(6)),
        _ => None,
    };
    vec![
        ("data_type", text(shown)),
        ("character_maximum_length", optional(characters)),
        ("character_octet_length", optional(octets)),
        ("numeric_precision", optional(precision)),
        ("numeric_precision_radix", optional(radix)),
        ("numeric_scale", optional(scale)),
        ("datetime_precision", optional(time)),
    ]
}

/// Precision, radix and scale.
fn number_parts(column: &Column) -> (Option<i32>, Option<i32>, Option<i32>) {
    match column.data_type {
        PgType::Int2 => (Some(16), Some(2), Some(0)),
        PgType::Int4 => (Some(32), Some(2), Some(0)),
        PgType::Int8 => (Some(64), Some(2), Some(0)),
        PgType::Float4 => (Some(24), Some(2), None),
        PgType::Float8 => (Some(53), Some(2), None),
        PgType::Numeric => {
            let (precision, scale) = modifier_parts(column);
            (precision, Some(10), scale)
        }
        _ => (None, None, None),
    }
}

fn identity_columns(model: &Model<'_>, table: &Table, number: usize) -> Vec<(&'static str, Datum)> {
    let generation = match table.columns[number].identity {
        Some(Identity::Always) => "ALWAYS",
        Some(Identity::ByDefault) => "BY DEFAULT",
        Some(Identity::Serial) | None => {
            return vec![("is_identity", yes_or_no(false)), ("identity_cycle", yes_or_no(false))];
        }
    };
    let Some(sequence) = model.sequence_of(table, number) else { return Vec::new() };
    vec![
        ("is_identity", yes_or_no(true)),
        ("identity_generation", text(generation)),
        ("identity_start", text("1")),
        ("identity_increment", text(sequence.step().to_string())),
        ("identity_maximum", text(sequence.maximum().to_string())),
        ("identity_minimum", text("1")),
        ("identity_cycle", yes_or_no(false)),
    ]
}

/// Postgres shows NOT NULL as a check by a name of its own.
fn add_not_null(rows: &mut Rows, table: &Table, number: usize, database: &str) {
    let name = format!("{PUBLIC}_{}_{}_not_null", table.oid, number + 1);
    add_table_constraint(rows, table, &name, "CHECK", database);
    let clause = format!("{} IS NOT NULL", table.columns[number].name);
    add_check(rows, &name, &clause, database);
}

fn add_table_constraint(rows: &mut Rows, table: &Table, name: &str, kind: &str, database: &str) {
    let more = [
        ("constraint_type", text(kind)),
        ("is_deferrable", yes_or_no(false)),
        ("initially_deferred", yes_or_no(false)),
        ("enforced", yes_or_no(true)),
        ("nulls_distinct", if kind == "UNIQUE" { yes_or_no(true) } else { Datum::Null }),
    ];
    let names = [constraint_name(name, database), table_name(table, database)].concat();
    rows.add("information_schema.table_constraints", &[&names[..], &more].concat());
}

fn add_check(rows: &mut Rows, name: &str, clause: &str, database: &str) {
    let named = constraint_name(name, database);
    rows.add("information_schema.check_constraints", &[&named[..], &[("check_clause", text(clause))]].concat());
}

fn add_constraint(rows: &mut Rows, model: &Model<'_>, constraint: &ConstraintModel<'_>, database: &str) {
    let (table, name) = (constraint.table, constraint.name);
    let kind = match constraint.letter() {
        'p' => "PRIMARY KEY",
        'u' => "UNIQUE",
        'f' => "FOREIGN KEY",
        _ => "CHECK",
    };
    add_table_constraint(rows, table, name, kind, database);
    match &constraint.kind {
        ConstraintKind::Check { columns, condition } => {
            add_check(rows, name, &format!("({})", condition[0]), database);
            add_used_columns(rows, table, columns, name, database);
        }
        ConstraintKind::Key { key, .. } => {
            add_key_columns(rows, table, name, &key.columns, None, database);
            add_used_columns(rows, table, &key.columns, name, database);
        }
        ConstraintKind::Foreign(key) => {
            let index = model.referenced_index(&key.references, &key.referenced_columns);
            let places = key.referenced_columns.iter().map(|column| {
                index.and_then(|index| index.keys.iter().position(|known| known.column == Some(*column)))
            });
            add_key_columns(rows, table, name, &key.columns, Some(places.collect()), database);
            if let Some(parent) = model.schema.table(&key.references) {
                add_used_columns(rows, parent, &key.referenced_columns, name, database);
            }
            let more = [
                ("unique_constraint_catalog", text(database)),
                ("unique_constraint_schema", text("public")),
                ("unique_constraint_name", index.map_or(Datum::Null, |index| text(index.name))),
                ("match_option", text("NONE")),
                ("update_rule", text(rule(key.on_update))),
                ("delete_rule", text(rule(key.on_delete))),
            ];
            let named = constraint_name(name, database);
            rows.add("information_schema.referential_constraints", &[&named[..], &more].concat());
        }
    }
}

/// `places`: of the referenced columns in their own key.
fn add_key_columns(
    rows: &mut Rows,
    table: &Table,
    name: &str,
    columns: &[usize],
    places: Option<Vec<Option<usize>>>,
    database: &str,
) {
    for (number, column) in columns.iter().enumerate() {
        let place = places.as_ref().and_then(|places| places.get(number).copied().flatten());
        let more = [
            ("column_name", text(&table.columns[*column].name)),
            ("ordinal_position", number_from_one(number)),
            ("position_in_unique_constraint", place.map_or(Datum::Null, number_from_one)),
        ];
        let names = [constraint_name(name, database), table_name(table, database)].concat();
        rows.add("information_schema.key_column_usage", &[&names[..], &more].concat());
    }
}

fn add_used_columns(rows: &mut Rows, table: &Table, columns: &[usize], name: &str, database: &str) {
    for column in columns.iter().filter_map(|column| table.columns.get(*column)) {
        let names = [constraint_name(name, database), table_name(table, database)].concat();
        rows.add(
            "information_schema.constraint_column_usage",
            &[&names[..], &[("column_name", text(&column.name))]].concat(),
        );
    }
}

/// Whoever asks may do everything with every table.
fn add_privileges(rows: &mut Rows, table: &Table, surroundings: &Surroundings) {
    for privilege in ["INSERT", "SELECT", "UPDATE", "DELETE"] {
        let named = table_name(table, &surroundings.database);
        let more = [
            ("grantor", text(&surroundings.user)),
            ("grantee", text(&surroundings.user)),
            ("privilege_type", text(privilege)),
            ("is_grantable", yes_or_no(false)),
            ("with_hierarchy", yes_or_no(false)),
        ];
        rows.add("information_schema.table_privileges", &[&named[..], &more].concat());
    }
}

/// How every view names a table.
fn table_name(table: &Table, database: &str) -> [(&'static str, Datum); 3] {
    [("table_catalog", text(database)), ("table_schema", text("public")), ("table_name", text(&table.name))]
}

/// How every view names a constraint.
fn constraint_name(name: &str, database: &str) -> [(&'static str, Datum); 3] {
    [("constraint_catalog", text(database)), ("constraint_schema", text("public")), ("constraint_name", text(name))]
}

fn optional(value: Option<i32>) -> Datum {
    value.map_or(Datum::Null, int4)
}

fn number_from_one(number: usize) -> Datum {
    int4(i32::try_from(number + 1).unwrap_or(i32::MAX))
}
