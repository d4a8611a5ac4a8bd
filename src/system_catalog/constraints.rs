//! Constraints: `pg_constraint`, and their definitions.

use super::expression::{names, quoted};
use super::indexes::node_tree;
use super::model::{ConstraintKind, ConstraintModel, Model};
use super::relations::PUBLIC;
use super::rows::{Rows, flag, int2_array, letter, oid, oid_array, text};
use crate::topology::{ForeignKey, ForeignKeyAction, Table};
use crate::types::{Datum, PgType};

pub(super) fn add(rows: &mut Rows, model: &Model<'_>) {
    for constraint in &model.constraints {
        let [plain, pretty] = definition(constraint, model);
        rows.add_lookup("shardd_constraint", vec![oid(constraint.oid), text(plain), text(pretty)]);
        let mut row = vec![
            ("oid", oid(constraint.oid)),
            ("conname", text(constraint.name)),
            ("connamespace", oid(PUBLIC)),
            ("contype", letter(constraint.letter())),
            ("convalidated", flag(true)),
            ("conrelid", oid(constraint.table.oid)),
            ("conislocal", flag(true)),
            ("confupdtype", letter(' ')),
            ("confdeltype", letter(' ')),
            ("confmatchtype", letter(' ')),
            ("conkey", numbers(&constraint.columns())),
        ];
        match &constraint.kind {
            ConstraintKind::Key { key, .. } => {
                row.push(("conindid", oid(model.index(&key.name).map_or(0, |index| index.oid))));
                row.push(("connoinherit", flag(true)));
            }
            ConstraintKind::Check { condition, .. } => row.push(("conbin", text(node_tree(condition)))),
            ConstraintKind::Foreign(key) => add_reference(&mut row, constraint.table, key, model),
        }
        rows.add("pg_constraint", &row);
    }
}

impl ConstraintModel<'_> {
    /// `contype`.
    pub(super) fn letter(&self) -> char {
        match &self.kind {
            ConstraintKind::Key { primary: true, .. } => 'p',
            ConstraintKind::Key { primary: false, .. } => 'u',
            ConstraintKind::Check { .. } => 'c',
            ConstraintKind::Foreign(_) => 'f',
        }
    }

    /// From 0.
    pub(super) fn columns(&self) -> Vec<usize> {
        match &self.kind {
            ConstraintKind::Key { key, .. } => key.columns.clone(),
            ConstraintKind::Check { columns, .. } => columns.clone(),
            ConstraintKind::Foreign(key) => key.columns.clone(),
        }
    }
}

fn add_reference(row: &mut Vec<(&'static str, Datum)>, table: &Table, key: &ForeignKey, model: &Model<'_>) {
    let index = model.referenced_index(&key.references, &key.referenced_columns);
    let equal = oid_array(key.columns.iter().map(|column| equality(table.columns[*column].data_type)));
    row.extend([
        ("conindid", oid(index.map_or(0, |index| index.oid))),
        ("confrelid", oid(model.schema.table(&key.references).map_or(0, |table| table.oid))),
        ("confupdtype", letter(action_letter(key.on_update))),
        ("confdeltype", letter(action_letter(key.on_delete))),
        ("confmatchtype", letter('s')),
        ("connoinherit", flag(true)),
        ("confkey", numbers(&key.referenced_columns)),
        ("conpfeqop", equal.clone()),
        ("conppeqop", equal.clone()),
        ("conffeqop", equal),
    ]);
}

fn numbers(columns: &[usize]) -> Datum {
    int2_array(columns.iter().map(|column| column + 1))
}

fn action_letter(action: ForeignKeyAction) -> char {
    match action {
        ForeignKeyAction::NoAction => 'a',
        ForeignKeyAction::Restrict => 'r',
        ForeignKeyAction::Cascade => 'c',
        ForeignKeyAction::SetNull => 'n',
        ForeignKeyAction::SetDefault => 'd',
    }
}

/// `pg_operator.oid` of a type's `=`.
fn equality(data_type: PgType) -> u32 {
    match data_type {
        PgType::Bool => 91,
        PgType::Int2 => 94,
        PgType::Int4 => 96,
        PgType::Int8 => 410,
        PgType::Text | PgType::Varchar => 98,
        PgType::Bpchar => 1_054,
        PgType::Uuid => 2_972,
        PgType::Numeric => 1_752,
        PgType::Float4 => 620,
        PgType::Float8 => 670,
        PgType::Date => 1_093,
        PgType::Timestamp => 2_060,
        PgType::Timestamptz => 1_320,
        PgType::Bytea => 1_955,
        PgType::Jsonb => 3_240,
        _ => 0,
    }
}

/// As `pg_get_constraintdef` gives it: plain and pretty.
pub(super) fn definition(constraint: &ConstraintModel<'_>, model: &Model<'_>) -> [String; 2] {
    let columns = |table: &Table, numbers: &[usize]| {
        names(numbers.iter().filter_map(|number| table.columns.get(*number)).map(|column| column.name.as_str()))
    };
    match &constraint.kind {
        ConstraintKind::Key { key, primary } => {
            let word = if *primary { "PRIMARY KEY" } else { "UNIQUE" };
            let text = format!("{word} ({})", columns(constraint.table, &key.columns));
            [text.clone(), text]
        }
        ConstraintKind::Check { condition, .. } => condition.clone().map(|condition| format!("CHECK ({condition})")),
        ConstraintKind::Foreign(key) => {
            let own = columns(constraint.table, &key.columns);
            let parent = model.schema.table(&key.references);
            let referenced = parent.map_or_else(String::new, |table| columns(table, &key.referenced_columns));
            let mut text = format!("FOREIGN KEY ({own}) REFERENCES {}({referenced})", quoted(&key.references));
            for (event, action) in [("UPDATE", key.on_update), ("DELETE", key.on_delete)] {
                if let Some(action) = action_name(action) {
                    text.push_str(&format!(" ON {event} {action}"));
                }
            }
            [text.clone(), text]
        }
    }
}

fn action_name(action: ForeignKeyAction) -> Option<&'static str> {
    match action {
        ForeignKeyAction::NoAction => None,
        ForeignKeyAction::Restrict => Some("RESTRICT"),
        ForeignKeyAction::Cascade => Some("CASCADE"),
        ForeignKeyAction::SetNull => Some("SET NULL"),
        ForeignKeyAction::SetDefault => Some("SET DEFAULT"),
    }
}

/// The same action, as information_schema names it.
pub(super) fn rule(action: ForeignKeyAction) -> &'static str {
    action_name(action).unwrap_or("NO ACTION")
}
