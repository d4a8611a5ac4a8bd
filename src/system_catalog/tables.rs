//! Relations and their columns: `pg_class`, `pg_attribute`, `pg_attrdef`, and what sequences there are.

use super::expression::quoted;
use super::fixed::{BTREE, HEAP, OWNER, collation, type_row};
use super::indexes::{length, node_tree};
use super::model::{Model, SequenceModel};
use super::relations::{INFORMATION_SCHEMA, PUBLIC, definitions};
use super::rows::{Rows, flag, int2, int4, letter, oid, text};
use crate::topology::{Column, Identity, Table};
use crate::types::{Datum, PgType};

/// `pg_class` and `pg_attrdef`, as other relations refer to them.
const PG_CLASS: u32 = 1_259;
const PG_ATTRDEF: u32 = 2_604;

pub(super) fn add(rows: &mut Rows, model: &Model<'_>) {
    for table in &model.tables {
        add_table(rows, model, table);
    }
    for sequence in &model.sequences {
        add_sequence(rows, sequence);
    }
    for index in &model.indexes {
        add_class(
            rows,
            &Class { oid: index.oid, name: index.name, kind: 'i', namespace: PUBLIC },
            &[("relam", oid(BTREE)), ("relnatts", int2(index.keys.len())), ("relreplident", letter('n'))],
        );
        for (number, key) in index.keys.iter().enumerate() {
            let column = Column {
                modifier: key.column.map_or(-1, |column| index.table.columns[column].modifier),
                ..Column::new(key.name.clone(), key.data_type)
            };
            add_column(rows, index.oid, number, &column, false);
        }
    }
    for default in &model.defaults {
        let tree = Datum::Text(node_tree(&default.text).into());
        let number = int2(default.column + 1);
        rows.add(
            "pg_attrdef",
            &[("oid", oid(default.oid)), ("adrelid", oid(default.table.oid)), ("adnum", number), ("adbin", tree)],
        );
        add_dependency(rows, (PG_ATTRDEF, default.oid), (default.table.oid, default.column + 1), 'a');
    }
    add_system_relations(rows);
}

/// What every row of pg_class says.
struct Class<'a> {
    oid: u32,
    name: &'a str,
    kind: char,
    namespace: u32,
}

fn add_class(rows: &mut Rows, class: &Class<'_>, more: &[(&str, Datum)]) {
    let row = [
        ("oid", oid(class.oid)),
        ("relname", text(class.name)),
        ("relnamespace", oid(class.namespace)),
        ("relowner", oid(OWNER)),
        ("relfilenode", oid(if class.kind == 'v' { 0 } else { class.oid })),
        ("relpersistence", letter('p')),
        ("relkind", letter(class.kind)),
        ("relispopulated", flag(true)),
    ];
    rows.add("pg_class", &[&row[..], more].concat());
    let name = quoted(class.name);
    // What is not in the search path is shown with its schema.
    let shown = if class.namespace == INFORMATION_SCHEMA { format!("information_schema.{name}") } else { name.clone() };
    rows.add_lookup("shardd_regclass", vec![oid(class.oid), text(&shown)]);
    let schema = super::fixed::namespace_name(class.namespace).unwrap_or("public");
    rows.add_lookup("shardd_relation", vec![text(format!("{schema}.{name}")), oid(class.oid)]);
    if class.namespace != INFORMATION_SCHEMA {
        rows.add_lookup("shardd_relation", vec![text(name), oid(class.oid)]);
    }
}

fn add_table(rows: &mut Rows, model: &Model<'_>, table: &Table) {
    let indexed = model.indexes.iter().any(|index| index.table.oid == table.oid);
    let referred = model.tables.iter().any(|other| other.foreign_keys.iter().any(|key| key.references == table.name));
    let triggers = referred || !table.foreign_keys.is_empty();
    add_class(
        rows,
        &Class { oid: table.oid, name: &table.name, kind: 'r', namespace: PUBLIC },
        &[
            ("relam", oid(HEAP)),
            ("reltuples", Datum::Float4(-1.0)),
            ("relhasindex", flag(indexed)),
            ("relnatts", int2(table.columns.len())),
            ("relchecks", int2(table.checks.len())),
            ("relhastriggers", flag(triggers)),
            ("relreplident", letter('d')),
        ],
    );
    for (number, column) in table.columns.iter().enumerate() {
        let default = model.defaults.iter().any(|known| known.table.oid == table.oid && known.column == number);
        add_column(rows, table.oid, number, column, default);
    }
}

fn add_column(rows: &mut Rows, relation: u32, number: usize, column: &Column, default: bool) {
    let known = type_row(column.data_type);
    let identity = match column.identity {
        Some(Identity::Always) => "a",
        Some(Identity::ByDefault) => "d",
        Some(Identity::Serial) | None => "",
    };
    let array = column.data_type.is_array() && !column.data_type.is_vector();
    rows.add(
        "pg_attribute",
        &[
            ("attrelid", oid(relation)),
            ("attname", text(&column.name)),
            ("atttypid", oid(column.data_type.oid())),
            ("attstattarget", int4(-1)),
            ("attlen", length(column.data_type)),
            ("attnum", int2(number + 1)),
            ("attndims", int4(i32::from(array))),
            ("attcacheoff", int4(-1)),
            ("atttypmod", int4(column.modifier)),
            ("attbyval", flag(known.by_value())),
            ("attalign", text(known.align())),
            ("attstorage", text(known.storage())),
            ("attnotnull", flag(column.not_null)),
            ("atthasdef", flag(default)),
            ("attidentity", text(identity)),
            ("attislocal", flag(true)),
            ("attcollation", oid(collation(column.data_type))),
        ],
    );
}

fn add_sequence(rows: &mut Rows, sequence: &SequenceModel<'_>) {
    add_class(
        rows,
        &Class { oid: sequence.oid, name: &sequence.name, kind: 'S', namespace: PUBLIC },
        &[
            ("reltuples", Datum::Float4(1.0)),
            ("relpages", int4(1)),
            ("relnatts", int2(3)),
            ("relreplident", letter('n')),
        ],
    );
    rows.add(
        "pg_sequence",
        &[
            ("seqrelid", oid(sequence.oid)),
            ("seqtypid", oid(sequence.data_type().oid())),
            ("seqstart", Datum::Int8(1)),
            ("seqincrement", Datum::Int8(sequence.step())),
            ("seqmax", Datum::Int8(sequence.maximum())),
            ("seqmin", Datum::Int8(1)),
            ("seqcache", Datum::Int8(1)),
        ],
    );
    let serial = sequence.table.columns[sequence.column].identity == Some(Identity::Serial);
    let kind = if serial { 'a' } else { 'i' };
    add_dependency(rows, (PG_CLASS, sequence.oid), (sequence.table.oid, sequence.column + 1), kind);
}

/// Something of a catalog depends on a column (from 1) of a table.
fn add_dependency(rows: &mut Rows, (catalog, object): (u32, u32), (table, column): (u32, usize), kind: char) {
    rows.add(
        "pg_depend",
        &[
            ("classid", oid(catalog)),
            ("objid", oid(object)),
            ("refclassid", oid(PG_CLASS)),
            ("refobjid", oid(table)),
            ("refobjsubid", int4(i32::try_from(column).unwrap_or(i32::MAX))),
            ("deptype", letter(kind)),
        ],
    );
}

/// The system's own relations describe themselves too.
fn add_system_relations(rows: &mut Rows) {
    for known in definitions().values() {
        let table = known.kind == 'r';
        let class =
            Class { oid: known.table.oid, name: known.bare_name(), kind: known.kind, namespace: known.namespace() };
        add_class(
            rows,
            &class,
            &[
                ("relam", oid(if table { HEAP } else { 0 })),
                ("reltuples", Datum::Float4(if table { -1.0 } else { 0.0 })),
                ("relnatts", int2(known.table.columns.len())),
                ("relreplident", letter('n')),
            ],
        );
        for (number, column) in known.table.columns.iter().enumerate() {
            // Text of the catalog is under "C".
            add_column(rows, known.table.oid, number, column, false);
        }
    }
}

/// As information_schema and `format_type` need it: the length of a string, or the places of a number.
pub(super) fn modifier_parts(column: &Column) -> (Option<i32>, Option<i32>) {
    match (column.data_type, column.modifier) {
        (_, -1) => (None, None),
        (PgType::Varchar | PgType::Bpchar, modifier) => (Some(modifier - 4), None),
        (PgType::Numeric, modifier) => {
            let packed = modifier - 4;
            // Eleven bits with a sign.
            let scale = packed & 0x7ff;
            (Some((packed >> 16) & 0xffff), Some((scale ^ 1_024) - 1_024))
        }
        (_, modifier) => (Some(modifier), None),
    }
}
