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
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Join, JoinConstraint, JoinOperator,
    LockClause, ObjectName, Query, Select, SelectItem, SetExpr, Statement, TableAlias, TableFactor, UnaryOperator,
};
use crate::sql::{Derived, Parsed, SourceText, Visitor, fold, name_parts, quote_identifier, walk, with_deep_stack};
use crate::topology::{Keyspace, Schema, Table};

/// What every row of Postgres has beside its columns.
const SYSTEM_COLUMNS: &[&str] = &["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];

/// What is brought of one table.
#[derive(Debug)]
pub struct Brought {
    pub table: Arc<Table>,
    /// The columns, as numbers of the table's.
    pub columns: Vec<usize>,
    /// What the shards are asked for: conditions are the client's own text.
    pub statement: Derived,
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
        let mut needs = Needs::new(&parsed.text)?;
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
            let lock = locks.table(name, needs.named(name))?;
            let locks_rows = lock.is_some();
            let conditions = match unread {
                true => Conditions::None,
                // A condition may be there as the parser was given it only.
                false => parsed.hidden.is_none().then(|| needs.conditions(table)).flatten().unwrap_or(Conditions::All),
            };
            let statement = asked(table, &columns, &conditions, lock.as_ref())?;
            let mut analysis = Analysis::new(parsed, schema, keyspaces);
            if let Statement::Query(query) = &statement.tree {
                analysis.query(query, Place::TOP)?;
            }
            let route = Route { keyspace: analysis.keyspace_name(), keys: analysis.graph.keys() };
            Ok(Brought { table: Arc::clone(table), columns, statement, route, locks_rows, unread })
        });
        tables.collect()
    })
}

/// The rows that are asked for.
enum Conditions<'t> {
    All,
    None,
    /// Those that satisfy all of these, in which the table has this name.
    These {
        alias: Option<String>,
        all: Vec<(Expr, &'t str)>,
    },
}

/// What the shards are asked for of one table.
fn asked(table: &Table, columns: &[usize], conditions: &Conditions<'_>, lock: Option<&LockClause>) -> Result<Derived> {
    let list: Vec<String> = columns.iter().map(|number| quote_identifier(&table.columns[*number].name)).collect();
    let mut text = format!("SELECT {} FROM {}", list.join(", "), quote_identifier(&table.name));
    match conditions {
        Conditions::All => {}
        Conditions::None => text.push_str(" WHERE false"),
        Conditions::These { alias, all } => {
            if let Some(alias) = alias {
                text.push_str(&format!(" AS {}", quote_identifier(alias)));
            }
            let all: Vec<String> = match all.as_slice() {
                [(_, one)] => vec![(*one).to_owned()],
                all => all.iter().map(|(_, text)| format!("({text})")).collect(),
            };
            text.push_str(&format!(" WHERE {}", all.join(" AND ")));
        }
    }
    if let Some(lock) = lock {
        text.push_str(&format!(" {lock}"));
    }
    Derived::read(text)
}

/// What a statement may need of its tables.
#[derive(Debug)]
struct Needs<'t> {
    source: SourceText<'t>,
    /// Every name that may be a column's.
    names: HashSet<String>,
    /// Names that tables have in it: one of them as a value is a whole row.
    relations: HashSet<String>,
    /// Some columns are meant without being named.
    whole: bool,
    uses: Vec<Use<'t>>,
    /// How often each table is named.
    named: Vec<String>,
}

/// A table in the FROM of a SELECT.
#[derive(Debug)]
struct Use<'t> {
    table: String,
    alias: Option<String>,
    /// No other table is in that FROM, so that names without a table are its columns.
    alone: bool,
    /// What each of its rows must satisfy there.
    conditions: Vec<(Expr, &'t str)>,
}

impl Visitor for Needs<'_> {
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

impl<'t> Needs<'t> {
    /// `text`: what the statement was parsed from.
    fn new(text: &'t str) -> Result<Needs<'t>> {
        Ok(Needs {
            source: SourceText::new(text)?,
            names: HashSet::new(),
            relations: HashSet::new(),
            whole: false,
            uses: Vec::new(),
            named: Vec::new(),
        })
    }

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
        let conditions = self.source.conditions(select);
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
                // Other names for the columns are not the table's.
                let is_plain = alias.as_ref().is_none_or(|alias| alias.columns.is_empty());
                let conditions = match present && is_plain {
                    true => conditions.iter().map(|(condition, text)| ((*condition).clone(), *text)).collect(),
                    false => Vec::new(),
                };
                let alias = alias.as_ref().map(|alias| fold(&alias.name).into_owned());
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

    fn named(&self, table: &str) -> usize {
        self.named.iter().filter(|name| *name == table).count()
    }

    /// What every row that matters satisfies: plain conditions beside a table that is named once.
    fn conditions(&self, table: &Table) -> Option<Conditions<'t>> {
        if self.named(&table.name) != 1 {
            return None;
        }
        let of = self.uses.iter().find(|of| of.table == table.name)?;
        let is_plain = |(condition, _): &&(Expr, &str)| is_plain(condition, of, table);
        let all: Vec<(Expr, &'t str)> = of.conditions.iter().filter(is_plain).cloned().collect();
        (!all.is_empty()).then(|| Conditions::These { alias: of.alias.clone(), all })
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

/// Whether a condition is on this table alone, can fail on no row, and says the same wherever it is asked.
fn is_plain(condition: &Expr, of: &Use<'_>, table: &Table) -> bool {
    let same = |expression: &Expr| is_plain(expression, of, table);
    let is_column = |name: &Ident| table.column(&fold(name)).is_some();
    match condition {
        Expr::Identifier(name) => of.alone && is_column(name),
        Expr::CompoundIdentifier(parts) => {
            let called = of.alias.as_ref().unwrap_or(&of.table);
            matches!(parts.as_slice(), [relation, name] if fold(relation) == *called && is_column(name))
        }
        Expr::Value(_) => true,
        Expr::Cast { expr, .. } => matches!(**expr, Expr::Value(_)),
        Expr::BinaryOp { left, op, right } => {
            (compares(op) || matches!(op, BinaryOperator::And | BinaryOperator::Or)) && same(left) && same(right)
        }
        Expr::Nested(inner)
        | Expr::UnaryOp { op: UnaryOperator::Not, expr: inner }
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner) => same(inner),
        Expr::Between { expr, low, high, .. } => same(expr) && same(low) && same(high),
        Expr::InList { expr, list, .. } => same(expr) && list.iter().all(same),
        Expr::AnyOp { left, compare_op, right, .. } => compares(compare_op) && same(left) && same(right),
        _ => false,
    }
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
        all.into_iter().map(|one| one.statement.text).collect()
    }

    #[test]
    fn columns_that_are_named_are_brought() {
        for (text, expected) in [
            ("SELECT name, count(*) OVER () FROM events", vec!["SELECT name FROM events"]),
            (
                "SELECT e.name, s.status FROM events e JOIN seats s ON s.price > e.venue_id",
                vec!["SELECT name, venue_id FROM events", "SELECT status, price FROM seats"],
            ),
            ("SELECT rank() OVER (), 1 FROM events", vec!["SELECT event_id FROM events"]),
        ] {
            assert_eq!(brought_for(text), expected, "{text}");
        }
    }

    #[test]
    fn all_columns_are_brought_where_they_are_meant_without_a_name() {
        let whole = "SELECT event_id, name, venue_id, day FROM events";
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
    fn plain_conditions_go_along_as_they_were_written() {
        for (condition, expected) in [
            ("venue_id > 5 AND name = 'x'", " AS e WHERE (venue_id > 5) AND (name = 'x')"),
            ("e.venue_id IN (1,2) OR (e.day IS NULL)", " AS e WHERE e.venue_id IN (1,2) OR (e.day IS NULL)"),
            (
                "(venue_id = 1 OR day ISNULL) AND (name='x' AND true)",
                " AS e WHERE (venue_id = 1 OR day ISNULL) AND (name='x') AND (true)",
            ),
            ("NOT E.venue_id between SYMMETRIC 1 AND 0x2", " AS e WHERE NOT E.venue_id between SYMMETRIC 1 AND 0x2"),
            (
                "lower(name) = 'x' AND day < '2026-01-01'::pg_catalog.date",
                " AS e WHERE day < '2026-01-01'::pg_catalog.date",
            ),
            // Each could fail on a row that another condition keeps out.
            ("venue_id / 2 = 1", ""),
            ("name::bigint = 1", ""),
            ("name < 'b'::text COLLATE \"ci\" AND venue_id = 1", " AS e WHERE venue_id = 1"),
            ("venue_id = 1 AND f(VARIADIC name)", ""),
            ("lower(name) = 'x' OR venue_id = 1", ""),
        ] {
            let text = format!("SELECT rank() OVER (ORDER BY name, day, venue_id) FROM events e WHERE {condition}");
            assert_eq!(
                brought_for(&text),
                [format!("SELECT name, venue_id, day FROM events{expected}")],
                "{condition}"
            );
        }
        assert_eq!(
            brought_for("SELECT rank() OVER (ORDER BY event_id) FROM public.events WHERE events.event_id < 5"),
            ["SELECT event_id FROM events WHERE events.event_id < 5"]
        );
    }

    #[test]
    fn a_condition_does_not_go_along_where_rows_without_it_matter() {
        for text in [
            // A row that fails it is null-extended, not gone.
            "SELECT count(*) OVER () FROM venues v LEFT JOIN events e ON e.venue_id = v.venue_id WHERE e.day = '2026-01-01'",
            // The other use has no such condition.
            "SELECT count(*) OVER () FROM events e WHERE e.day = '2026-01-01' AND EXISTS (SELECT 1 FROM events f WHERE f.venue_id > 1)",
            // It is another column's name there.
            "SELECT count(*) OVER () FROM events e (venue_id, day), venues v WHERE e.venue_id = 1",
            // Whose column it is, the name alone does not tell.
            "SELECT count(*) OVER () FROM events e, venues v WHERE day = '2026-01-01'",
        ] {
            let all = brought_for(text);
            let events = all.iter().find(|one| one.contains("FROM events")).unwrap();
            assert!(!events.contains("WHERE"), "{text}: {events}");
        }
    }

    #[test]
    fn a_table_that_nothing_reads_gives_no_rows() {
        let text = "WITH w AS (SELECT name FROM events) SELECT rank() OVER (ORDER BY status) FROM seats";
        let expected = ["SELECT status FROM seats", "SELECT name FROM events WHERE false"];
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
