//! Which statements the shards' differences make wrong. All others go on.

use super::{Copying, Plan};
use crate::sql::ast::{
    Assignment, AssignmentTarget, FromTable, Insert, ObjectName, OnConflictAction, OnInsert, SetExpr, Statement,
    TableFactor, TableObject, TableWithJoins,
};
use crate::sql::name_parts;
use crate::topology::{Misfit, Schema, Spoils, Table};

/// The differences that make this statement wrong on their shards.
pub fn spoiled(plan: &Plan, schema: &Schema) -> Vec<Misfit> {
    if schema.drift.misfits.is_empty() {
        return Vec::new();
    }
    let (tables, statement): (Vec<&str>, Option<&Statement>) = match plan {
        Plan::Read(read) => (read.tables.iter().map(String::as_str).collect(), None),
        Plan::Insert(insert) => (vec![&insert.table], Some(&insert.statement)),
        Plan::Write(write) => (write.tables.iter().map(String::as_str).collect(), Some(&write.statement)),
        Plan::WriteReference(write) => (vec![&write.table], Some(&write.statement)),
        Plan::Copy(copy) => match &copy.way {
            Copying::In(rows) => (vec![&rows.table.name], Some(&rows.insert)),
            // Its query is looked at by itself.
            Copying::Out { .. } => return Vec::new(),
        },
        Plan::Ddl(_) | Plan::Local(_) => return Vec::new(),
    };
    let target = statement.and_then(target);
    let hits = |misfit: &&Misfit| {
        let named = misfit.table.as_deref();
        if named.is_some_and(|table| !tables.contains(&table)) {
            return false;
        }
        if misfit.spoils == Spoils::Everything {
            return true;
        }
        let Some(statement) = statement else { return false };
        // What is written within WITH is not looked at closely.
        let Some(target) = &target else { return misfit.spoils != Spoils::Nothing };
        if named.is_some_and(|table| table != target) {
            return false;
        }
        schema.table(target).is_none_or(|table| Shape { statement, table }.is_hit_by(&misfit.spoils))
    };
    schema.drift.misfits.iter().filter(hits).cloned().collect()
}

/// Whether a column that the statement may return or compare has not the same type on all shards.
pub fn has_unlike_columns(plan: &Plan, schema: &Schema) -> bool {
    let tables: Vec<&str> = match plan {
        Plan::Read(read) => read.tables.iter().map(String::as_str).collect(),
        Plan::Insert(insert) => vec![&insert.table],
        Plan::Write(write) => write.tables.iter().map(String::as_str).collect(),
        Plan::WriteReference(write) => vec![&write.table],
        Plan::Ddl(_) | Plan::Local(_) | Plan::Copy(_) => return false,
    };
    schema.drift.misfits.iter().any(|misfit| {
        matches!(misfit.spoils, Spoils::Value(_) | Spoils::Order | Spoils::Everything)
            && misfit.table.as_deref().is_some_and(|table| tables.contains(&table))
    })
}

/// The table that a statement by itself writes.
fn target(statement: &Statement) -> Option<String> {
    let of_item = |item: &TableWithJoins| match &item.relation {
        TableFactor::Table { name, .. } => last(name),
        _ => None,
    };
    match statement {
        Statement::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => last(name),
            _ => None,
        },
        Statement::Update(update) => of_item(&update.table),
        Statement::Delete(delete) => match &delete.from {
            FromTable::WithFromKeyword(from) => from.first().and_then(of_item),
            FromTable::WithoutKeyword(_) => None,
        },
        _ => None,
    }
}

fn last(name: &ObjectName) -> Option<String> {
    Some(name_parts(name)?.pop()?.into_owned())
}

struct Shape<'s> {
    statement: &'s Statement,
    table: &'s Table,
}

impl Shape<'_> {
    fn is_hit_by(&self, spoils: &Spoils) -> bool {
        match spoils {
            Spoils::Nothing => false,
            Spoils::Everything | Spoils::Writes => true,
            Spoils::NewRows => self.insert().is_some() || self.updates(),
            Spoils::OldRows => matches!(self.statement, Statement::Delete(_)) || self.updates(),
            Spoils::NewValues(columns) => self.insert().is_some() || columns.iter().any(|column| self.assigns(column)),
            Spoils::Value(column) => self.assigns(column) || self.insert().is_some_and(|it| self.gives(it, column)),
            Spoils::Filling(column) => {
                self.insert().is_some_and(|insert| !self.gives(insert, column))
                    || (self.assigns(column) || self.insert().is_some()) && self.has_default_keyword()
            }
            Spoils::Order => self.insert().is_some_and(|insert| insert.columns.is_empty()),
        }
    }

    fn insert(&self) -> Option<&Insert> {
        match self.statement {
            Statement::Insert(insert) => Some(insert),
            _ => None,
        }
    }

    fn assignments(&self) -> &[Assignment] {
        match self.statement {
            Statement::Update(update) => &update.assignments,
            Statement::Insert(Insert { on: Some(OnInsert::OnConflict(conflict)), .. }) => match &conflict.action {
                OnConflictAction::DoUpdate(update) => &update.assignments,
                OnConflictAction::DoNothing => &[],
            },
            _ => &[],
        }
    }

    fn updates(&self) -> bool {
        !self.assignments().is_empty()
    }

    fn assigns(&self, column: &str) -> bool {
        let is_it = |name: &ObjectName| last(name).is_some_and(|name| name == column);
        self.assignments().iter().any(|assignment| match &assignment.target {
            AssignmentTarget::ColumnName(name) => is_it(name),
            AssignmentTarget::Tuple(names) => names.iter().any(is_it),
        })
    }

    /// Whether the rows of an INSERT bring the column's value with them.
    fn gives(&self, insert: &Insert, column: &str) -> bool {
        if !insert.columns.is_empty() {
            return insert.columns.iter().any(|name| last(name).is_some_and(|name| name == column));
        }
        let width = match insert.source.as_ref().map(|query| &*query.body) {
            None => 0,
            Some(SetExpr::Values(values)) => values.rows.first().map_or(0, |row| row.content.len()),
            Some(_) => usize::MAX,
        };
        self.table.column(column).is_none_or(|(number, _)| number < width)
    }

    /// `VALUES (1, DEFAULT)`, `SET a = DEFAULT`. Texts were lifted out of the tree.
    fn has_default_keyword(&self) -> bool {
        self.statement.to_string().to_ascii_uppercase().contains("DEFAULT")
    }
}
