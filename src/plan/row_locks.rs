//! FOR UPDATE and FOR SHARE: which tables' rows they lock.
//!
//! Where rows are brought together, each shard locks those that it gives. They may be more than the answer has, as Postgres
//! itself locks what it looks at behind a LIMIT.

use std::ops::ControlFlow;

use super::gather::last_part;
use crate::error::{Error, Result};
use crate::sql::ast::{LockClause, LockType, NonBlock, Query, SetExpr, Statement, TableFactor, TableWithJoins};
use crate::sql::{Visitor, fold, walk};

/// The tables whose rows a statement locks, and how.
#[derive(Debug, Default)]
pub(super) struct RowLocks {
    tables: Vec<(String, LockClause)>,
}

impl RowLocks {
    pub(super) fn of(statement: &Statement) -> RowLocks {
        let mut locks = RowLocks::default();
        let ControlFlow::Continue(()) = walk(statement, &mut locks);
        locks
    }

    /// How this table's rows are locked. `named`: how often the statement names it.
    ///
    /// # Errors
    /// 0A000: rows that are locked would be missing where they only have to be read.
    pub(super) fn table(&self, name: &str, named: usize) -> Result<Option<LockClause>> {
        let clauses: Vec<&LockClause> =
            self.tables.iter().filter(|(table, _)| table == name).map(|(_, clause)| clause).collect();
        let Some(first) = clauses.first() else { return Ok(None) };
        let has = |nonblock| clauses.iter().any(|clause| clause.nonblock == Some(nonblock));
        let nonblock = match (has(NonBlock::Nowait), has(NonBlock::SkipLocked)) {
            (true, _) => Some(NonBlock::Nowait),
            (_, true) if named > 1 => {
                return Err(Error::unsupported(
                    format!(
                        "SKIP LOCKED for table \"{name}\", which is named more than once in a read of several shards"
                    ),
                    "Give the key in WHERE, or find the rows in a SELECT of their own, and lock them by their keys.",
                ));
            }
            (_, true) => Some(NonBlock::SkipLocked),
            _ => None,
        };
        let updates = clauses.iter().any(|clause| matches!(clause.lock_type, LockType::Update));
        let lock_type = if updates { LockType::Update } else { first.lock_type };
        Ok(Some(LockClause { lock_type, of: None, nonblock }))
    }

    fn body(&mut self, body: &SetExpr, clause: &LockClause, of: Option<&str>) {
        match body {
            SetExpr::Select(select) => select.from.iter().for_each(|item| self.item(item, clause, of)),
            SetExpr::Query(query) => self.body(&query.body, clause, of),
            // Postgres has refused it.
            _ => {}
        }
    }

    fn item(&mut self, item: &TableWithJoins, clause: &LockClause, of: Option<&str>) {
        let joined = item.joins.iter().map(|join| &join.relation);
        for factor in std::iter::once(&item.relation).chain(joined) {
            match factor {
                TableFactor::Table { name, alias, .. } => {
                    let Some(table) = last_part(name) else { continue };
                    let called = alias.as_ref().map_or_else(|| table.clone(), |alias| fold(&alias.name).into_owned());
                    if of.is_none_or(|of| of == called) {
                        self.tables.push((table, clause.clone()));
                    }
                }
                TableFactor::Derived { subquery, alias, .. } => {
                    let called = alias.as_ref().map(|alias| fold(&alias.name));
                    if of.is_none_or(|of| called.as_deref() == Some(of)) {
                        self.body(&subquery.body, clause, None);
                    }
                }
                TableFactor::NestedJoin { table_with_joins, alias } => match (alias, of) {
                    (Some(alias), Some(of)) if fold(&alias.name) != of => {}
                    (Some(_), _) => self.item(table_with_joins, clause, None),
                    (None, _) => self.item(table_with_joins, clause, of),
                },
                _ => {}
            }
        }
    }
}

impl Visitor for RowLocks {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        for clause in &query.locks {
            let of = clause.of.as_ref().and_then(last_part);
            self.body(&query.body, clause, of.as_deref());
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse_query;

    fn locked(text: &str, table: &str, named: usize) -> Result<Option<String>> {
        let statement = Statement::Query(Box::new(parse_query(text).unwrap()));
        Ok(RowLocks::of(&statement).table(table, named)?.map(|clause| clause.to_string()))
    }

    #[test]
    fn rows_are_locked_of_the_tables_that_are_meant() {
        for (text, table, expected) in [
            ("SELECT 1 FROM a JOIN b ON true FOR UPDATE", "b", Some("FOR UPDATE")),
            ("SELECT 1 FROM a x JOIN b ON true FOR SHARE OF x NOWAIT", "a", Some("FOR SHARE NOWAIT")),
            ("SELECT 1 FROM a x JOIN b ON true FOR SHARE OF x", "b", None),
            ("SELECT 1 FROM a, (SELECT 1 FROM b) q FOR UPDATE OF q", "b", Some("FOR UPDATE")),
            ("SELECT 1 FROM a, (SELECT 1 FROM b) q FOR UPDATE OF q", "a", None),
            ("SELECT 1 FROM (a JOIN b ON true) FOR UPDATE OF b", "b", Some("FOR UPDATE")),
            ("SELECT 1 FROM a WHERE EXISTS (SELECT 1 FROM b) FOR UPDATE", "b", None),
            ("SELECT 1 FROM (SELECT 1 FROM a FOR SHARE) q, b", "a", Some("FOR SHARE")),
            ("SELECT 1 FROM a, b FOR SHARE OF a FOR UPDATE OF a", "a", Some("FOR UPDATE")),
        ] {
            assert_eq!(locked(text, table, 1).unwrap().as_deref(), expected, "{text}: {table}");
        }
    }

    #[test]
    fn rows_are_not_skipped_where_they_are_read_as_well() {
        let text = "SELECT 1 FROM a WHERE n > (SELECT avg(n) FROM a) FOR UPDATE SKIP LOCKED";
        assert_eq!(locked(text, "a", 2).unwrap_err().sqlstate().code(), "0A000");
    }
}
