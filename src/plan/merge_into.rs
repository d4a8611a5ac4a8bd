//! MERGE: the rows of a source are looked for in a table; those found are changed, the others may be inserted.
//!
//! To the keys it is a join of both, which keeps the source's rows where one without a match is inserted. A row that is
//! inserted is one more table's, whose key is what the statement gives it.

use std::sync::Arc;

use super::across::MergeAcross;
use super::analysis::Analysis;
use super::assigned::assigned;
use super::from::refuse_duplicate_names;
use super::functions::calls;
use super::insert::{computed_key, cut_key, key_place, missing_key, null_key, pin_unless_cut, refuse_overridden_key};
use super::key::KeyExpression;
use super::place::Place;
use super::predicate::{conjuncts, key_column};
use super::query::Output;
use super::scope::{Scope, Source};
use super::write::{Written, refuse_key_assignment, target};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{
    BinaryOperator, Expr, Join, JoinConstraint, JoinOperator, Merge, MergeAction, MergeClauseKind, MergeInsertExpr,
    MergeInsertKind, MergeUpdateKind, ObjectName, OutputClause, TableAlias, TableFactor, TableWithJoins,
};
use crate::sql::{fold, name_parts};
use crate::topology::{Table, TableKind};
use crate::types::Datum;

/// Reads a MERGE.
pub(super) fn analyse(analysis: &mut Analysis<'_>, merge: &Merge, place: Place<'_>) -> Result<(Written, Output)> {
    refuse_foreign(merge)?;
    let (name, alias) = named(&merge.table)?;
    let mut strays = Vec::new();
    let (table, target, key) = target(analysis, name, alias.map(|alias| &alias.name), place.level)?;
    let source = TableWithJoins { relation: merge.source.clone(), joins: Vec::new() };
    let source = analysis.from(std::slice::from_ref(&source), place, &mut strays)?;
    let constraint = JoinConstraint::On((*merge.on).clone());
    let join = Join { relation: merge.table.clone(), global: false, join_operator: joined(merge, constraint) };
    let both = analysis.join(source, target, &join, &[], place, &mut strays)?;
    refuse_duplicate_names(&both)?;
    let scope = Scope { source: &both, outer: place.outer };
    analysis.subqueries(&merge.clauses, &scope, place, &[], &mut strays)?;
    analysis.subqueries(&merge.output, &scope, place, &[], &mut strays)?;
    for clause in &merge.clauses {
        match &clause.action {
            MergeAction::Insert(insert) => inserted(analysis, &table, insert, &both, place)?,
            MergeAction::Update(update) => {
                if let MergeUpdateKind::Set(assignments) = &update.kind {
                    refuse_key_assignment(&table, assignments)?;
                }
            }
            MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => {}
        }
    }
    analysis.expect_joined(&both);
    analysis.expect_together(&strays, key);
    let output = match &merge.output {
        Some(OutputClause::Returning { select_items, .. }) => {
            analysis.returning(Some(select_items), &scope, key, place.level)
        }
        _ => Output::default(),
    };
    Ok((Written { table, row_keys: None }, output))
}

fn refuse_foreign(merge: &Merge) -> Result<()> {
    let foreign = !merge.into
        || merge.clauses.is_empty()
        || matches!(merge.output, Some(OutputClause::Output { .. }))
        || merge.clauses.iter().any(|clause| match &clause.action {
            MergeAction::Insert(insert) => {
                insert.insert_predicate.is_some()
                    || !matches!(&insert.kind, MergeInsertKind::Values(values) if values.rows.len() == 1)
            }
            MergeAction::Update(update) => {
                update.update_predicate.is_some()
                    || update.delete_predicate.is_some()
                    || matches!(update.kind, MergeUpdateKind::Wildcard)
            }
            MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => false,
        });
    if foreign {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: this form of MERGE is not Postgres's"));
    }
    Ok(())
}

fn named(target: &TableFactor) -> Result<(&ObjectName, Option<&TableAlias>)> {
    match target {
        TableFactor::Table { name, alias, args: None, .. } => Ok((name, alias.as_ref())),
        _ => Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error: MERGE needs a table's name")),
    }
}

/// The source on the left, the table that is written on the right.
fn joined(merge: &Merge, constraint: JoinConstraint) -> JoinOperator {
    let inserts = merge.clauses.iter().any(|clause| matches!(clause.action, MergeAction::Insert(_)));
    match (inserts, looks_at_unmatched_rows(merge)) {
        (false, false) => JoinOperator::Inner(constraint),
        (true, false) => JoinOperator::LeftOuter(constraint),
        (false, true) => JoinOperator::RightOuter(constraint),
        (true, true) => JoinOperator::FullOuter(constraint),
    }
}

/// WHEN NOT MATCHED BY SOURCE: rows of the table for which the source has none.
fn looks_at_unmatched_rows(merge: &Merge) -> bool {
    merge.clauses.iter().any(|clause| clause.clause_kind == MergeClauseKind::NotMatchedBySource)
}

/// The value of the row's key that an INSERT within MERGE gives.
///
/// # Errors
/// 23502 or 0A000: it gives none.
fn inserted_key<'m>(table: &Table, insert: &'m MergeInsertExpr) -> Result<Option<&'m Expr>> {
    if table.key_column().is_none() {
        return Ok(None);
    }
    let MergeInsertKind::Values(values) = &insert.kind else { return Ok(None) };
    let place = key_place(table, &insert.columns)?.ok_or_else(|| missing_key(table))?;
    let value = values.rows.first().and_then(|row| row.content.get(place));
    value.filter(|value| !super::insert::is_default(value)).map(Some).ok_or_else(|| missing_key(table))
}

/// A row that is inserted lies where its key says: it must be the key that the row of the source has.
fn inserted(
    analysis: &mut Analysis<'_>,
    table: &Table,
    insert: &MergeInsertExpr,
    both: &Source,
    place: Place<'_>,
) -> Result<()> {
    refuse_overridden_key(analysis, table)?;
    let Some(value) = inserted_key(table, insert)? else { return Ok(()) };
    let row = analysis.graph.table(place.level);
    match assigned(value, analysis.key_type) {
        Some(KeyExpression::Literal(Datum::Null)) => return Err(null_key(table)),
        Some(constant) => {
            pin_unless_cut(analysis, table, row, vec![constant]);
            analysis.cannot_scatter(
                "MERGE that inserts one key for rows of other keys",
                "Give the same key in the source's WHERE and in ON.",
            );
        }
        None => {
            let scope = Scope { source: both, outer: place.outer };
            match key_column(value, &scope, analysis.key_type).filter(|key| !key.outer) {
                None => analysis.note_apart(computed_key(table)),
                Some(given) => {
                    match cut_key(table) {
                        None => analysis.graph.equal(row, given.variable, place.level),
                        Some(reason) => analysis.note_apart(reason),
                    }
                    let lies = both.anchor.is_some_and(|anchor| analysis.graph.divides(row, anchor));
                    if !lies {
                        analysis.note_apart(not_beside(table));
                    }
                }
            }
        }
    }
    Ok(())
}

fn not_beside(table: &Table) -> Error {
    Error::unsupported(
        format!("MERGE into \"{}\" from a source that does not lie with it, across shards", table.name),
        "Join the source on the sharding key, and insert the key that it gives.",
    )
    .table(&table.name)
}

/// How a MERGE is done whose source has to be brought to the shards of its rows' keys.
///
/// # Errors
/// 0A000: nobody can tell where a row of the source belongs, or the statement needs other rows, too.
pub(super) fn merge_across(merge: &Merge, table: &Arc<Table>) -> Result<MergeAcross> {
    let cannot = |what: &str, hint: &str| {
        Err(Error::unsupported(format!("{what} in a MERGE that needs rows of other shards"), hint).table(&table.name))
    };
    if looks_at_unmatched_rows(merge) {
        return cannot("WHEN NOT MATCHED BY SOURCE", "Delete or update those rows in a statement of their own.");
    }
    if calls(&merge.on).subquery || calls(&merge.clauses).subquery || calls(&merge.output).subquery {
        return cannot("a subquery in ON or WHEN", "Make it a column of the source.");
    }
    let Some(key) = table.key_column().and_then(|number| table.columns.get(number)) else {
        return Err(super::write::reads_sharded(table));
    };
    let (name, alias) = named(&merge.table)?;
    let target = match alias {
        Some(alias) => fold(&alias.name).into_owned(),
        None => name_parts(name).and_then(|mut parts| parts.pop()).unwrap_or_default().into_owned(),
    };
    let source = match &merge.source {
        TableFactor::Table { name, alias: None, .. } => {
            name_parts(name).and_then(|mut parts| parts.pop()).unwrap_or_default().into_owned()
        }
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            fold(&alias.name).into_owned()
        }
        _ => return cannot("a source without a name", "Give it an alias."),
    };
    let column = |expression: &Expr, relation: &str| match super::key::strip(expression) {
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, column] if fold(table) == relation => Some(fold(column).into_owned()),
            _ => None,
        },
        _ => None,
    };
    let is_key = |expression: &Expr| column(expression, &target).is_some_and(|name| name == key.name);
    let compared = conjuncts(&merge.on).into_iter().find_map(|conjunct| match conjunct {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_key(left) => column(right, &source),
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_key(right) => column(left, &source),
        _ => None,
    });
    let Some(compared) = compared else {
        let hint = format!("Write ON {target}.{} = {source}.<column>, with both names.", key.name);
        return cannot("a condition that does not compare the sharding key with a column of the source", &hint);
    };
    for clause in &merge.clauses {
        let MergeAction::Insert(insert) = &clause.action else { continue };
        if inserted_key(table, insert)?.and_then(|value| column(value, &source)).as_ref() != Some(&compared) {
            let hint = format!("Insert {source}.{compared} there.");
            return cannot("an INSERT of another key than that of ON", &hint);
        }
    }
    if let Some(reason) = cut_key(table) {
        return Err(reason);
    }
    let TableKind::Sharded { key_type, .. } = table.kind else { return Err(super::write::reads_sharded(table)) };
    Ok(MergeAcross { table: Arc::clone(table), keyspace: table.keyspace.clone(), source, key: compared, key_type })
}
