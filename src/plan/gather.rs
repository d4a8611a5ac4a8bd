//! A read that cannot be put together from the shards' own answers: the rows that it needs are brought to one place, where
//! it runs as the client wrote it.
//!
//! Of each table come the columns that the statement can name, and the rows that its WHERE can let through, as far as that
//! is plain to see. More than is needed is never wrong.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::analysis::Analysis;
use super::place::Place;
use super::row_locks::RowLocks;
use super::{Read, Route};
use crate::error::{Error, Result};
use crate::sql::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Join, JoinConstraint, JoinOperator,
    ObjectName, Query, Select, SelectItem, SetExpr, Statement, TableAlias, TableFactor, UnaryOperator,
};
use crate::sql::{Parsed, Visitor, fold, ident, name_parts, parse_expression, parse_query, walk, with_deep_stack};
use crate::topology::{Keyspace, Schema, Table};

/// What every row of Postgres has beside its columns.
const SYSTEM_COLUMNS: &[&str] = &["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];

/// What is brought of one table.
#[derive(Debug)]
pub struct Brought {
    pub table: Arc<Table>,
    /// The columns, as numbers of the table's.
    pub columns: Vec<usize>,
    /// What the shards are asked for.
    pub statement: Statement,
    pub route: Route,
    /// The shards lock the rows that they give.
    pub locks_rows: bool,
    /// It is named where nothing reads it (in a WITH that nobody uses): no rows are needed, only the table.
    pub unread: bool,
}

/// What has to be brought for a read, table by table.
///
/// # Errors
/// A table is not in the schema: a defect.
pub fn brought(read: &Read, parsed: &Parsed, schema: &Schema, keyspaces: &[Arc<Keyspace>]) -> Result<Vec<Brought>> {
    with_deep_stack(parsed.deep, || {
        let mut needs = Needs::default();
        let ControlFlow::Continue(()) = walk(&read.statement, &mut needs);
        needs.refuse_system_columns(read, schema)?;
        let locks = RowLocks::of(&read.statement);
        let is_read = |name: &String| read.tables.contains(name);
        let mut unread: Vec<&String> =
            needs.named.iter().filter(|name| !is_read(name) && schema.table(name).is_some()).collect();
        unread.sort_unstable();
        unread.dedup();
        let tables = read.tables.iter().chain(unread).map(|name| {
            let table =
                schema.table(name).ok_or_else(|| Error::internal(format!("\"{name}\" is not in the schema")))?;
            let columns = needs.columns(table);
            let unread = !is_read(name);
            let mut query = needs.query(table, &columns, unread, parsed.hidden.is_none())?;
            query.locks.extend(locks.table(name, needs.named(name))?);
            let locks_rows = !query.locks.is_empty();
            let mut analysis = Analysis::new(parsed, schema, keyspaces);
            analysis.query(&query, Place::TOP)?;
            let route = Route { keyspace: analysis.keyspace_name(), keys: analysis.graph.keys() };
            let statement = Statement::Query(Box::new(query));
            Ok(Brought { table: Arc::clone(table), columns, statement, route, locks_rows, unread })
        });
        tables.collect()
    })
}

/// What a statement may need of its tables.
#[derive(Debug, Default)]
struct Needs {
    /// Every name that may be a column's.
    names: HashSet<String>,
    /// Names that tables have in it: one of them as a value is a whole row.
    relations: HashSet<String>,
    /// Some columns are meant without being named.
    whole: bool,
    uses: Vec<Use>,
    /// How often each table is named.
    named: Vec<String>,
}

/// A table in the FROM of a SELECT.
#[derive(Debug)]
struct Use {
    table: String,
    alias: String,
    /// No other table is in that FROM, so that names without a table are its columns.
    alone: bool,
    /// What each of its rows must satisfy there.
    conditions: Vec<Expr>,
}

impl Visitor for Needs {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        self.whole |= matches!(*query.body, SetExpr::Table(_));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let is_wildcard =
            |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        self.whole |= select.projection.iter().any(is_wildcard);
        for item in &select.from {
            self.factor(&item.relation);
            for join in &item.joins {
                self.factor(&join.relation);
                self.join(&join.join_operator);
            }
        }
        self.note_uses(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        if let Some(name) = last_part(relation) {
            self.relations.insert(name.clone());
            self.named.push(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Self::Break> {
        match expression {
            Expr::Identifier(name) => _ = self.names.insert(fold(name).into_owned()),
            Expr::CompoundIdentifier(parts) => {
                if let Some(name) = parts.last() {
                    self.names.insert(fold(name).into_owned());
                }
            }
            Expr::QualifiedWildcard(..) | Expr::Wildcard(_) => self.whole = true,
            Expr::Function(function) => {
                if let FunctionArguments::List(list) = &function.args {
                    self.whole |= list.args.iter().any(is_whole_row);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `count(t.*)`.
fn is_whole_row(argument: &FunctionArg) -> bool {
    let (FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg)) = argument;
    matches!(arg, FunctionArgExpr::QualifiedWildcard(_))
}

impl Needs {
    fn factor(&mut self, factor: &TableFactor) {
        match factor {
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::UNNEST { alias, .. } => self.alias(alias.as_ref()),
            // Its joins may share columns by name.
            _ => self.whole = true,
        }
    }

    fn alias(&mut self, alias: Option<&TableAlias>) {
        let Some(alias) = alias else { return };
        self.relations.insert(fold(&alias.name).into_owned());
        // They name columns by their place.
        self.whole |= !alias.columns.is_empty();
    }

    fn join(&mut self, operator: &JoinOperator) {
        match constraint(operator) {
            None | Some(JoinConstraint::Natural) => self.whole = true,
            Some(JoinConstraint::Using(names)) => self.names.extend(names.iter().filter_map(last_part)),
            Some(JoinConstraint::On(_) | JoinConstraint::None) => {}
        }
    }

    fn note_uses(&mut self, select: &Select) {
        let mut conditions = Vec::new();
        if let Some(condition) = &select.selection {
            conjuncts(condition, &mut conditions);
        }
        let factors = select.from.iter().map(|item| 1 + item.joins.len()).sum::<usize>();
        for item in &select.from {
            let mut present = vec![true];
            for Join { join_operator, .. } in &item.joins {
                let (keeps_before, keeps_own) = match join_operator {
                    JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => (true, true),
                    JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (true, false),
                    JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (false, true),
                    _ => (false, false),
                };
                present.iter_mut().for_each(|present| *present &= keeps_before);
                present.push(keeps_own);
            }
            let relations = std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation));
            for (relation, present) in relations.zip(present) {
                let TableFactor::Table { name, alias, .. } = relation else { continue };
                let Some(table) = last_part(name) else { continue };
                let alias = alias.as_ref().map_or_else(|| table.clone(), |alias| fold(&alias.name).into_owned());
                let conditions = if present { conditions.iter().map(|it| (*it).clone()).collect() } else { Vec::new() };
                self.uses.push(Use { table, alias, alone: factors == 1, conditions });
            }
        }
    }

    /// The columns of a table that the statement can mean. GROUP BY of a primary key means all columns beside it.
    fn columns(&self, table: &Table) -> Vec<usize> {
        let all = 0..table.columns.len();
        if self.whole || self.relations.iter().any(|name| self.names.contains(name)) {
            return all.collect();
        }
        let key = table.primary_key.iter().flat_map(|key| key.columns.iter().copied());
        let mut wanted: Vec<usize> =
            all.filter(|number| self.names.contains(&table.columns[*number].name)).chain(key).collect();
        wanted.sort_unstable();
        wanted.dedup();
        // A table of no columns has rows, too; one is enough to count them.
        if wanted.is_empty() { vec![0] } else { wanted }
    }

    /// # Errors
    /// 0A000: rows that are brought have others there.
    fn refuse_system_columns(&self, read: &Read, schema: &Schema) -> Result<()> {
        let tables: Vec<_> = read.tables.iter().filter_map(|name| schema.table(name)).collect();
        let is_own = |name: &str| tables.iter().any(|table| table.columns.iter().any(|column| column.name == name));
        match SYSTEM_COLUMNS.iter().find(|name| self.names.contains(**name) && !is_own(name)) {
            None => Ok(()),
            Some(name) => Err(Error::unsupported(
                format!("{name} in a read whose rows have to be brought together from several shards"),
                "Leave it out, or give the key in WHERE.",
            )),
        }
    }

    fn query(&self, table: &Table, columns: &[usize], unread: bool, whole_tree: bool) -> Result<Query> {
        let list: Vec<String> = columns.iter().map(|number| ident(&table.columns[*number].name).to_string()).collect();
        let mut query = parse_query(&format!("SELECT {} FROM {}", list.join(", "), ident(&table.name)))?;
        if let SetExpr::Select(select) = &mut *query.body {
            select.selection = match unread {
                true => Some(parse_expression("false")?),
                // A condition may be there as the parser was given it only.
                false => self.filter(table).filter(|_| whole_tree),
            };
        }
        Ok(query)
    }

    fn named(&self, table: &str) -> usize {
        self.named.iter().filter(|name| *name == table).count()
    }

    /// What every row that matters satisfies: plain conditions beside a table that is named once.
    fn filter(&self, table: &Table) -> Option<Expr> {
        if self.named(&table.name) != 1 {
            return None;
        }
        let of = self.uses.iter().find(|of| of.table == table.name)?;
        let conditions = of.conditions.iter().filter_map(|condition| plain(condition, of, table));
        conditions.reduce(|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::And,
            right: Box::new(right),
        })
    }
}

pub(super) fn last_part(name: &ObjectName) -> Option<String> {
    name_parts(name)?.pop().map(|part| part.into_owned())
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

fn conjuncts<'e>(condition: &'e Expr, all: &mut Vec<&'e Expr>) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left, all);
            conjuncts(right, all);
        }
        Expr::Nested(inner) => conjuncts(inner, all),
        other => all.push(other),
    }
}

/// A condition on this table alone that can fail on no row and says the same wherever it is asked, with bare column names.
fn plain(condition: &Expr, of: &Use, table: &Table) -> Option<Expr> {
    let same = |expression: &Expr| plain(expression, of, table).map(Box::new);
    Some(match condition {
        Expr::Identifier(name) if of.alone => column(fold(name).as_ref(), table)?,
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [relation, name] if fold(relation) == of.alias => column(fold(name).as_ref(), table)?,
            _ => return None,
        },
        Expr::Value(_) => condition.clone(),
        Expr::Cast { expr, .. } if matches!(**expr, Expr::Value(_)) => condition.clone(),
        Expr::Nested(inner) => Expr::Nested(same(inner)?),
        Expr::BinaryOp { left, op, right }
            if compares(op) || matches!(op, BinaryOperator::And | BinaryOperator::Or) =>
        {
            Expr::BinaryOp { left: same(left)?, op: op.clone(), right: same(right)? }
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Expr::UnaryOp { op: UnaryOperator::Not, expr: same(expr)? },
        Expr::IsNull(inner) => Expr::IsNull(same(inner)?),
        Expr::IsNotNull(inner) => Expr::IsNotNull(same(inner)?),
        Expr::Between { expr, negated, low, high } => {
            Expr::Between { expr: same(expr)?, negated: *negated, low: same(low)?, high: same(high)? }
        }
        Expr::InList { expr, list, negated } => Expr::InList {
            expr: same(expr)?,
            list: list.iter().map(|item| plain(item, of, table)).collect::<Option<_>>()?,
            negated: *negated,
        },
        Expr::AnyOp { left, compare_op, right, is_some } if compares(compare_op) => {
            Expr::AnyOp { left: same(left)?, compare_op: compare_op.clone(), right: same(right)?, is_some: *is_some }
        }
        _ => return None,
    })
}

fn column(name: &str, table: &Table) -> Option<Expr> {
    table.columns.iter().any(|column| column.name == name).then(|| Expr::Identifier(ident(name)))
}

fn compares(operator: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::plan::tests::{keyspaces, planned_parsed, schema};

    /// What the shards are asked for.
    fn brought_for(text: &str) -> Vec<String> {
        let (parsed, planned) = planned_parsed(text);
        let Plan::Read(read) = planned.unwrap() else { panic!("{text}") };
        let all = brought(&read, &parsed, &schema(), &keyspaces()).unwrap();
        all.into_iter().map(|one| one.statement.to_string()).collect()
    }

    #[test]
    fn columns_that_are_named_are_brought() {
        for (text, expected) in [
            ("SELECT name, count(*) OVER () FROM events", vec!["SELECT \"name\" FROM \"events\""]),
            (
                "SELECT e.name, s.status FROM events e JOIN seats s ON s.price > e.venue_id",
                vec!["SELECT \"name\", \"venue_id\" FROM \"events\"", "SELECT \"status\", \"price\" FROM \"seats\""],
            ),
            ("SELECT rank() OVER (), 1 FROM events", vec!["SELECT \"event_id\" FROM \"events\""]),
        ] {
            assert_eq!(brought_for(text), expected, "{text}");
        }
    }

    #[test]
    fn all_columns_are_brought_where_they_are_meant_without_a_name() {
        let whole = "SELECT \"event_id\", \"name\", \"venue_id\", \"day\" FROM \"events\"";
        for text in [
            "SELECT *, rank() OVER () FROM events",
            "SELECT e.*, rank() OVER () FROM events e",
            "SELECT e, rank() OVER () FROM events e",
            "SELECT count(e.*) OVER () FROM events e",
            "SELECT events, rank() OVER () FROM events",
            "SELECT a, rank() OVER () FROM events AS e (a, b)",
        ] {
            assert_eq!(brought_for(text), [whole], "{text}");
        }
    }

    #[test]
    fn plain_conditions_go_along() {
        let from = |condition: &str| vec![format!("SELECT \"name\", \"venue_id\", \"day\" FROM \"events\"{condition}")];
        for (condition, expected) in [
            ("venue_id > 5 AND name = 'x'", " WHERE \"venue_id\" > 5 AND \"name\" = 'x'"),
            ("e.venue_id IN (1, 2) OR (e.day IS NULL)", " WHERE \"venue_id\" IN (1, 2) OR (\"day\" IS NULL)"),
            ("NOT e.venue_id BETWEEN 1 AND 2", " WHERE NOT \"venue_id\" BETWEEN 1 AND 2"),
            ("lower(name) = 'x' AND day < '2026-01-01'::date", " WHERE \"day\" < '2026-01-01'::DATE"),
            // Each could fail on a row that another condition keeps out.
            ("venue_id / 2 = 1", ""),
            ("name::bigint = 1", ""),
            ("name < 'b'::text COLLATE \"ci\" AND venue_id = 1", " WHERE \"venue_id\" = 1"),
            ("venue_id = 1 AND f(VARIADIC name)", ""),
            ("lower(name) = 'x' OR venue_id = 1", ""),
        ] {
            let text = format!("SELECT rank() OVER (ORDER BY name, day, venue_id) FROM events e WHERE {condition}");
            assert_eq!(brought_for(&text), from(expected), "{condition}");
        }
    }

    #[test]
    fn a_condition_does_not_go_along_where_rows_without_it_matter() {
        for text in [
            // A row that fails it is null-extended, not gone.
            "SELECT count(*) OVER () FROM venues v LEFT JOIN events e ON e.venue_id = v.venue_id WHERE e.day = '2026-01-01'",
            // The other use has no such condition.
            "SELECT count(*) OVER () FROM events e WHERE e.day = '2026-01-01' AND EXISTS (SELECT 1 FROM events f WHERE f.venue_id > 1)",
            // Whose column it is, the name alone does not tell.
            "SELECT count(*) OVER () FROM events e, venues v WHERE day = '2026-01-01'",
        ] {
            let all = brought_for(text);
            let events = all.iter().find(|one| one.contains("\"events\"")).unwrap();
            assert!(!events.contains("WHERE"), "{text}: {events}");
        }
    }

    #[test]
    fn a_table_that_nothing_reads_gives_no_rows() {
        let text = "WITH w AS (SELECT name FROM events) SELECT rank() OVER (ORDER BY status) FROM seats";
        let expected = ["SELECT \"status\" FROM \"seats\"", "SELECT \"name\" FROM \"events\" WHERE false"];
        assert_eq!(brought_for(text), expected);
    }

    #[test]
    fn a_key_that_is_given_narrows_the_shards() {
        let (parsed, planned) = planned_parsed("SELECT rank() OVER () FROM events WHERE event_id IN (1, 2)");
        let Plan::Read(read) = planned.unwrap() else { panic!() };
        let all = brought(&read, &parsed, &schema(), &keyspaces()).unwrap();
        assert!(matches!(all[0].route.keys, crate::plan::Keys::Of(_)), "{:?}", all[0].route.keys);
    }
}
