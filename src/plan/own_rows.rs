//! A statement as a shard runs it that holds rows of others: with a condition on every sharded table that it reads or writes.
//!
//! The condition stands in WHERE, where the table's rows are in every row of FROM. A table that a join fills up with NULLs
//! needs none when it is joined by the key to one that has it; else its rows are taken from a subquery of its name.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::sql::ast::{
    BinaryOperator, Delete, Expr, FromTable, JoinConstraint, JoinOperator, Merge, MergeClauseKind, ObjectName, Query,
    Select, SetExpr, Spanned, Statement, TableAlias, TableFactor, TableWithJoins, Update, UpdateTableFromKind,
};
use crate::sql::{
    KeyColumn, Place, VisitorMut, all_conditions, fold, ident, name_parts, parse_expression, parse_query,
    quote_identifier, walk_mut, with_stack,
};
use crate::topology::{Schema, Table, TableKind};

use super::gather::last_part;
use super::key::strip;

/// A statement with conditions, and where they are.
#[derive(Debug)]
pub struct OwnRows {
    pub tree: Statement,
    pub places: Vec<Place>,
}

/// Adds conditions on the sharded tables of these keyspaces; `condition` writes one.
///
/// # Errors
/// 0A000: the statement says something that no condition can.
pub fn own_rows(
    tree: &Statement,
    schema: &Schema,
    keyspaces: &[&str],
    condition: &dyn Fn(&KeyColumn) -> String,
) -> Result<OwnRows> {
    let mut tree = tree.clone();
    let mut adding = Adding { schema, keyspaces, condition, frames: Vec::new(), places: Vec::new() };
    if let ControlFlow::Break(error) = walk_mut(&mut tree, &mut adding) {
        return Err(error);
    }
    adding.write(&mut tree)?;
    Ok(OwnRows { tree, places: adding.places })
}

struct Adding<'a> {
    schema: &'a Schema,
    keyspaces: &'a [&'a str],
    condition: &'a dyn Fn(&KeyColumn) -> String,
    /// The queries around this one, the outermost first, and this one.
    frames: Vec<Frame>,
    places: Vec<Place>,
}

/// The names that a query's WITH gives.
struct Frame {
    names: Vec<String>,
    recursive: bool,
    /// How many of the queries right within it have begun: those of WITH come first.
    begun: usize,
}

impl VisitorMut for Adding<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if let Some(around) = self.frames.last_mut() {
            around.begun += 1;
        }
        let with = query.with.as_ref();
        let names = with.map(|with| with.cte_tables.iter().map(|cte| fold(&cte.alias.name).into_owned()).collect());
        self.frames.push(Frame {
            names: names.unwrap_or_default(),
            recursive: with.is_some_and(|with| with.recursive),
            begun: 0,
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let done = self.body(&mut query.body);
        self.frames.pop();
        done.map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }
}

impl Frame {
    /// The names that the query which is looked at can mean. `is_own`: it is the body of this one.
    fn visible(&self, is_own: bool) -> &[String] {
        let all = is_own || self.recursive || self.begun > self.names.len();
        let count = if all { self.names.len() } else { self.begun.saturating_sub(1) };
        &self.names[..count]
    }
}

impl Adding<'_> {
    fn body(&mut self, body: &mut SetExpr) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                with_stack(|| self.body(left))?;
                with_stack(|| self.body(right))
            }
            SetExpr::Update(statement) | SetExpr::Delete(statement) | SetExpr::Merge(statement) => {
                self.write(statement)
            }
            SetExpr::Table(_) => Err(Error::unsupported("TABLE here, while slots move", "Write SELECT * FROM.")),
            // Queries within are visited by themselves.
            SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Insert(_) => Ok(()),
        }
    }

    fn select(&mut self, select: &mut Select) -> Result<()> {
        let keys = self.from(select.from.iter_mut())?;
        self.add(&mut select.selection, select.select_token.0.span, keys)
    }

    /// A write, whose queries have been looked at.
    fn write(&mut self, statement: &mut Statement) -> Result<()> {
        match statement {
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(merge) => self.merge(merge),
            _ => Ok(()),
        }
    }

    fn update(&mut self, update: &mut Update) -> Result<()> {
        let mut keys: Vec<KeyColumn> = self.target(&update.table.relation).into_iter().collect();
        if let Some(UpdateTableFromKind::AfterSet(from) | UpdateTableFromKind::BeforeSet(from)) = &mut update.from {
            keys.extend(self.from(from.iter_mut())?);
        }
        self.add(&mut update.selection, update.update_token.0.span, keys)
    }

    fn delete(&mut self, delete: &mut Delete) -> Result<()> {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let mut keys: Vec<KeyColumn> = from.iter().filter_map(|item| self.target(&item.relation)).collect();
        if let Some(using) = &mut delete.using {
            keys.extend(self.from(using.iter_mut())?);
        }
        self.add(&mut delete.selection, delete.delete_token.0.span, keys)
    }

    fn merge(&mut self, merge: &mut Merge) -> Result<()> {
        self.rows_of(&mut merge.source)?;
        let Some(key) = self.target(&merge.table) else { return Ok(()) };
        if merge.clauses.iter().any(|clause| clause.clause_kind == MergeClauseKind::NotMatchedBySource) {
            // Rows that the condition leaves out would be such.
            return Err(Error::unsupported(
                "MERGE with WHEN NOT MATCHED BY SOURCE over several shards while slots move",
                "Give the key in ON, or wait until the move has ended.",
            ));
        }
        let on = std::mem::replace(&mut *merge.on, Expr::Identifier(ident("")));
        *merge.on = both(Some(on), &(self.condition)(&key))?;
        self.places.push(Place::On { begin: merge.merge_token.0.span, key });
        Ok(())
    }

    /// The table that is written, which no name of a WITH hides.
    fn target(&self, factor: &TableFactor) -> Option<KeyColumn> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
        let table = self.named(name)?;
        self.key(&table, alias.as_ref())
    }

    fn add(&mut self, selection: &mut Option<Expr>, begin: crate::sql::Span, keys: Vec<KeyColumn>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        *selection = Some(both(selection.take(), &all_conditions(&keys, self.condition))?);
        self.places.push(Place::Where { begin, keys });
        Ok(())
    }

    /// The key columns that WHERE needs a condition on. Tables whose conditions cannot stand there get theirs.
    fn from<'q>(&mut self, items: impl Iterator<Item = &'q mut TableWithJoins>) -> Result<Vec<KeyColumn>> {
        let mut keys = Vec::new();
        for item in items {
            let mut joined = Joined::default();
            joined.item(self, item, true);
            joined.close();
            for part in joined.parts {
                match (part.key, part.is_own) {
                    (Some(key), false) if part.is_present => keys.push(key),
                    (Some(_), false) => self.rows_of(part.factor)?,
                    _ => {}
                }
            }
        }
        Ok(keys)
    }

    /// A subquery in place of a sharded table.
    fn rows_of(&mut self, factor: &mut TableFactor) -> Result<()> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return Ok(()) };
        let Some((_, Some(key))) = self.found(name, None) else { return Ok(()) };
        let begin = name.span();
        let given = match alias {
            Some(_) => None,
            None => name_parts(name).and_then(|mut parts| parts.pop()).map(|name| quote_identifier(&name)),
        };
        let text = format!(
            "SELECT * FROM (SELECT * FROM {name} WHERE ({})) AS {}",
            (self.condition)(&key),
            given.as_deref().unwrap_or("x")
        );
        let SetExpr::Select(select) = *parse_query(&text)?.body else { return Err(unread()) };
        let mut rows = select.from.into_iter().next().ok_or_else(unread)?.relation;
        if let (TableFactor::Derived { alias: own, .. }, Some(alias)) = (&mut rows, alias.take()) {
            *own = Some(alias);
        }
        *factor = rows;
        self.places.push(Place::Table { begin, key, alias: given });
        Ok(())
    }

    /// A table of a name in FROM, which WITH may have given to something else; its key column, if rows of it are to be left out.
    fn found(&self, name: &ObjectName, alias: Option<&TableAlias>) -> Option<(Arc<Table>, Option<KeyColumn>)> {
        if let [only] = name_parts(name)?.as_slice() {
            let own = self.frames.len().saturating_sub(1);
            let mut frames = self.frames.iter().enumerate();
            if frames.any(|(number, frame)| frame.visible(number == own).iter().any(|name| name == only)) {
                return None;
            }
        }
        let table = self.named(name)?;
        let key = self.key(&table, alias);
        Some((table, key))
    }

    fn named(&self, name: &ObjectName) -> Option<Arc<Table>> {
        match name_parts(name)?.as_slice() {
            [table] => self.schema.table(table).cloned(),
            [schema, table] if schema == "public" => self.schema.table(table).cloned(),
            _ => None,
        }
    }

    fn key(&self, table: &Table, alias: Option<&TableAlias>) -> Option<KeyColumn> {
        let TableKind::Sharded { key_type, .. } = table.kind else { return None };
        if !self.keyspaces.contains(&table.keyspace.as_str()) {
            return None;
        }
        let (called, column) = (called(table, alias), key_name(table, alias)?);
        let name = format!("{}.{}", quote_identifier(&called), quote_identifier(&column));
        Some(KeyColumn { keyspace: table.keyspace.clone(), key_type, name })
    }
}

/// A condition beside another one.
fn both(own: Option<Expr>, added: &str) -> Result<Expr> {
    let added = Expr::Nested(Box::new(parse_expression(added)?));
    Ok(match own {
        None => added,
        Some(own) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(own))),
            op: BinaryOperator::And,
            right: Box::new(added),
        },
    })
}

fn unread() -> Error {
    Error::internal("a table with a condition cannot be read")
}

/// A part of FROM.
struct Part<'q> {
    factor: &'q mut TableFactor,
    /// What it is called, unless names outside of it cannot mean it.
    called: Option<String>,
    /// The key column's own name there.
    key_name: Option<String>,
    /// Of a sharded table.
    key: Option<KeyColumn>,
    /// The names of its columns, where they are known.
    columns: Option<Vec<String>>,
    /// A row of it is in every row of FROM.
    is_present: bool,
    /// Each of its rows in FROM has the key of a row that is its shard's own.
    is_own: bool,
}

/// An item of FROM, with its joins.
#[derive(Default)]
struct Joined<'q> {
    parts: Vec<Part<'q>>,
    /// Wherever the first has a row, the second has one of the same key.
    follows: Vec<(usize, usize)>,
}

impl<'q> Joined<'q> {
    fn item(&mut self, adding: &Adding<'_>, item: &'q mut TableWithJoins, is_named: bool) {
        let begin = self.parts.len();
        self.factor(adding, &mut item.relation, is_named);
        // The columns by which all joins before are joined.
        let mut shared: Option<Vec<String>> = None;
        for join in &mut item.joins {
            let middle = self.parts.len();
            self.factor(adding, &mut join.relation, is_named);
            let end = self.parts.len();
            let (left_stays, right_stays, constraint) = kept(&join.join_operator);
            let pairs = match constraint {
                Some(JoinConstraint::On(condition)) => self.equal_keys(condition, begin, middle, end),
                Some(JoinConstraint::Using(names)) => self.shared_keys(names, shared.as_ref(), begin, middle, end),
                _ => Vec::new(),
            };
            for (left, right) in pairs {
                if right_stays {
                    self.follows.push((left, right));
                }
                if left_stays {
                    self.follows.push((right, left));
                }
            }
            let names = match constraint {
                Some(JoinConstraint::Using(names)) if left_stays => names.iter().filter_map(last_part).collect(),
                _ => Vec::new(),
            };
            shared = match shared {
                None if middle == begin + 1 => Some(names),
                None => Some(Vec::new()),
                Some(before) => Some(before.into_iter().filter(|name| names.contains(name)).collect()),
            };
            self.parts[begin..middle].iter_mut().for_each(|part| part.is_present &= left_stays);
            self.parts[middle..end].iter_mut().for_each(|part| part.is_present &= right_stays);
        }
    }

    fn factor(&mut self, adding: &Adding<'_>, factor: &'q mut TableFactor, is_named: bool) {
        if let TableFactor::NestedJoin { table_with_joins, alias } = factor {
            let (begin, is_hidden) = (self.parts.len(), alias.is_some());
            with_stack(|| self.item(adding, table_with_joins, is_named && !is_hidden));
            if is_hidden {
                self.parts[begin..].iter_mut().for_each(|part| part.is_present = false);
            }
            return;
        }
        let mut part =
            Part { called: None, key_name: None, key: None, columns: None, is_present: true, is_own: false, factor };
        if let TableFactor::Table { name, alias, args: None, .. } = &*part.factor
            && let Some((table, key)) = adding.found(name, alias.as_ref())
        {
            let renames = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
            part.columns =
                (!renames).then(|| table.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>());
            part.key_name = key.as_ref().and_then(|_| key_name(&table, alias.as_ref()));
            part.called = is_named.then(|| called(&table, alias.as_ref()));
            part.key = key;
        }
        self.parts.push(part);
    }

    /// The pairs of key columns that ON compares, one of each side.
    fn equal_keys(&self, condition: &Expr, begin: usize, middle: usize, end: usize) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        let mut conditions = vec![strip(condition)];
        while let Some(condition) = conditions.pop() {
            let Expr::BinaryOp { left, op, right } = condition else { continue };
            match op {
                BinaryOperator::And => conditions.extend([strip(left), strip(right)]),
                BinaryOperator::Eq => {
                    let (Some(one), Some(other)) = (self.key_of(left), self.key_of(right)) else { continue };
                    let (left, right) = (one.min(other), one.max(other));
                    if (begin..middle).contains(&left) && (middle..end).contains(&right) {
                        pairs.push((left, right));
                    }
                }
                _ => {}
            }
        }
        pairs
    }

    /// The part whose key column this is.
    fn key_of(&self, expression: &Expr) -> Option<usize> {
        let Expr::CompoundIdentifier(names) = strip(expression) else { return None };
        let [relation, column] = names.as_slice() else { return None };
        let (relation, column) = (fold(relation), fold(column));
        self.parts
            .iter()
            .position(|part| part.called.as_deref() == Some(&*relation) && part.key_name.as_deref() == Some(&*column))
    }

    /// The same of USING. `shared`: the columns by which everything on the left is joined.
    fn shared_keys(
        &self,
        names: &[ObjectName],
        shared: Option<&Vec<String>>,
        begin: usize,
        middle: usize,
        end: usize,
    ) -> Vec<(usize, usize)> {
        let only = |parts: std::ops::Range<usize>, name: &String| {
            let mut having = parts
                .clone()
                .filter(|part| self.parts[*part].columns.as_ref().is_none_or(|columns| columns.contains(name)));
            having.next().filter(|_| having.next().is_none())
        };
        let pair = |name: String| {
            let left = match shared.is_some_and(|shared| shared.contains(&name)) {
                true => begin,
                false => only(begin..middle, &name)?,
            };
            let right = only(middle..end, &name)?;
            let is_key = |part: usize| self.parts[part].key_name.as_ref() == Some(&name);
            (is_key(left) && is_key(right)).then_some((left, right))
        };
        names.iter().filter_map(last_part).filter_map(pair).collect()
    }

    /// Finds the parts that need no condition.
    fn close(&mut self) {
        let alike = |parts: &[Part<'_>], one: usize, other: usize| match (&parts[one].key, &parts[other].key) {
            (Some(one), Some(other)) => one.keyspace == other.keyspace,
            _ => false,
        };
        for part in 0..self.parts.len() {
            let mut before = self.follows.iter().filter(|(one, other)| *one == part && other < one);
            self.parts[part].is_own = self.parts[part].is_present
                && before.any(|(_, other)| self.parts[*other].is_present && alike(&self.parts, part, *other));
        }
        loop {
            let next = self.follows.iter().find(|(one, other)| {
                let (part, followed) = (&self.parts[*one], &self.parts[*other]);
                !part.is_present
                    && !part.is_own
                    && (followed.is_present || followed.is_own)
                    && alike(&self.parts, *one, *other)
            });
            match next {
                Some(&(part, _)) => self.parts[part].is_own = true,
                None => return,
            }
        }
    }
}

/// Whether a join keeps its left and its right side's rows from being filled up with NULLs, and by what it joins.
fn kept(operator: &JoinOperator) -> (bool, bool, Option<&JoinConstraint>) {
    match operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) | JoinOperator::CrossJoin(constraint) => {
            (true, true, Some(constraint))
        }
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (true, false, Some(constraint)),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (false, true, Some(constraint)),
        _ => (false, false, None),
    }
}

fn called(table: &Table, alias: Option<&TableAlias>) -> String {
    alias.map_or_else(|| table.name.clone(), |alias| fold(&alias.name).into_owned())
}

/// The key column's name, as it is seen beside the table.
fn key_name(table: &Table, alias: Option<&TableAlias>) -> Option<String> {
    let number = table.key_column()?;
    let renamed = alias.and_then(|alias| alias.columns.get(number)).map(|column| fold(&column.name).into_owned());
    renamed.or_else(|| table.columns.get(number).map(|column| column.name.clone()))
}
