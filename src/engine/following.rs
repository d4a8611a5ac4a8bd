//! UPDATE and DELETE of a reference table's rows on Postgres shards, where each would answer them by itself: what a query finds
//! there, what the time is, what a function gives.
//!
//! One shard, always the same, runs the client's statement. What its rows have become is written on the others, where they
//! are found by their primary keys, and each must come to the same rows.

use bytes::Bytes;

use super::everywhere::{copies_differ, write_of};
use super::filling::{Filled, ROWS_AT_ONCE, named};
use super::session::{Execution, Session};
use crate::error::{Error, Result};
use crate::plan::{ReferenceWrite, writes_within};
use crate::shard::{Written, postgres};
use crate::sql::{self, ast, fold, quote_identifier};
use crate::topology::Table;
use crate::types::ShardId;

/// A statement that changes rows which are there.
pub(super) enum Changing<'s> {
    Update(&'s ast::Update),
    Delete(&'s ast::Delete),
}

/// The statement, when it is one and writes nothing else.
pub(super) fn changing(statement: &ast::Statement) -> Option<Changing<'_>> {
    if matches!(statement, ast::Statement::Query(query) if writes_within(query)) {
        return None;
    }
    match write_of(statement) {
        ast::Statement::Update(update) => Some(Changing::Update(update)),
        ast::Statement::Delete(delete) => Some(Changing::Delete(delete)),
        _ => None,
    }
}

impl Changing<'_> {
    /// The columns that it assigns to.
    pub(super) fn assigned(&self) -> Vec<String> {
        match self {
            Changing::Update(update) => assigned(&update.assignments),
            Changing::Delete(_) => Vec::new(),
        }
    }

    /// How the statement names the table.
    fn target(&self) -> Option<String> {
        let target = match self {
            Changing::Update(update) => &update.table,
            Changing::Delete(delete) => match &delete.from {
                ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from) => from.first()?,
            },
        };
        match &target.relation {
            ast::TableFactor::Table { alias: Some(alias), .. } => Some(fold(&alias.name).into_owned()),
            ast::TableFactor::Table { name, .. } => Some(sql::name_parts(name)?.pop()?.into_owned()),
            _ => None,
        }
    }
}

/// The columns that are assigned to.
pub(super) fn assigned(assignments: &[ast::Assignment]) -> Vec<String> {
    let targets = assignments.iter().flat_map(|assignment| match &assignment.target {
        ast::AssignmentTarget::ColumnName(name) => std::slice::from_ref(name),
        ast::AssignmentTarget::Tuple(names) => names.as_slice(),
    });
    targets.filter_map(|name| Some(sql::name_parts(name)?.pop()?.into_owned())).collect()
}

impl Session {
    /// Runs the statement on the first shard, and has the others follow, within the open transaction.
    pub(super) async fn change_and_follow(
        &mut self,
        (write, changing): (&ReferenceWrite, &Changing<'_>),
        table: &Table,
        call: &postgres::Call,
        shards: &[ShardId],
        execution: &Execution,
    ) -> Result<Written> {
        let [first, others @ ..] = shards else { return Err(Error::internal("there are no shards")) };
        let key = table.primary_key.as_ref().ok_or_else(|| Error::internal("rows without a key are to be found"))?;
        self.describe_as(&execution.prepared, &execution.statement).await?;
        let visible =
            if write.returning { execution.statement.columns().map_or(0, |columns| columns.len()) } else { 0 };
        let columns: Vec<usize> = match changing {
            Changing::Update(_) => {
                (0..table.columns.len()).filter(|number| table.columns[*number].generated.is_none()).collect()
            }
            Changing::Delete(_) => key.columns.clone(),
        };
        let target = changing.target().ok_or_else(|| Error::internal("a write names no table"))?;
        let target = quote_identifier(&target);
        let returned: Vec<String> = named(table, &columns).iter().map(|name| format!("{target}.{name}")).collect();
        let (written, filled) = self.fill(*first, table, (&columns, &returned.join(", ")), visible, call).await?;
        for &shard in others {
            for rows in filled.rows.chunks(ROWS_AT_ONCE.min(sql::MAX_PARAMETERS / columns.len().max(1)).max(1)) {
                let followed = self.follow(shard, changing, (table, &columns), (&filled, rows), call).await?;
                if !are_same(followed, rows.to_vec()) {
                    return Err(copies_differ(&table.name, &self.engine.shard_name(shard)));
                }
            }
        }
        Ok(written)
    }

    async fn follow(
        &mut self,
        shard: ShardId,
        changing: &Changing<'_>,
        (table, columns): (&Table, &[usize]),
        (filled, rows): (&Filled, &[Vec<Option<Bytes>>]),
        call: &postgres::Call,
    ) -> Result<Vec<Vec<Option<Bytes>>>> {
        let bound = filled.bound(table, columns, rows)?;
        let text = match changing {
            // What else may have changed has on this shard, too: by the same triggers.
            Changing::Update(_) => update(table, columns, &changing.assigned(), &bound.rows),
            Changing::Delete(_) => delete(table, columns, &bound.rows),
        };
        self.write_bound(shard, text, bound, filled, call).await
    }
}

/// A value of `came` for a column of the table. What has no number that is the same on every shard came as text.
fn came(table: &Table, column: usize) -> String {
    let column = &table.columns[column];
    let cast = match (&column.named_type, column.known_type()) {
        (Some(named), None) => format!("::{}", named.name),
        _ => String::new(),
    };
    format!("came.{}{cast}", quote_identifier(&column.name))
}

fn by_key(table: &Table) -> String {
    let columns = table.primary_key.iter().flat_map(|key| &key.columns);
    let same = columns.map(|column| {
        let name = quote_identifier(&table.columns[*column].name);
        format!("own.{name} = {}", came(table, *column))
    });
    same.collect::<Vec<_>>().join(" AND ")
}

fn returning(table: &Table, columns: &[usize]) -> String {
    named(table, columns).iter().map(|name| format!("own.{name}")).collect::<Vec<_>>().join(", ")
}

fn update(table: &Table, columns: &[usize], assigned: &[String], rows: &str) -> String {
    let set = columns
        .iter()
        .filter(|column| assigned.contains(&table.columns[**column].name))
        .map(|column| format!("{} = {}", quote_identifier(&table.columns[*column].name), came(table, *column)));
    format!(
        "UPDATE public.{} AS own SET {} FROM (VALUES {rows}) AS came ({}) WHERE {} RETURNING {}",
        quote_identifier(&table.name),
        set.collect::<Vec<_>>().join(", "),
        named(table, columns).join(", "),
        by_key(table),
        returning(table, columns)
    )
}

fn delete(table: &Table, columns: &[usize], rows: &str) -> String {
    format!(
        "DELETE FROM public.{} AS own USING (VALUES {rows}) AS came ({}) WHERE {} RETURNING {}",
        quote_identifier(&table.name),
        named(table, columns).join(", "),
        by_key(table),
        returning(table, columns)
    )
}

/// In whatever order a join gives them.
fn are_same(mut one: Vec<Vec<Option<Bytes>>>, mut other: Vec<Vec<Option<Bytes>>>) -> bool {
    one.sort_unstable();
    other.sort_unstable();
    one == other
}
