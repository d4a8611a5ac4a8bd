//! A query that was derived from a client's, as the client's own text with other words where the two differ.
//!
//! The trees tell what is different: columns behind the client's own or in place of them, another GROUP BY, ORDER BY or LIMIT.
//! Whatever is the same stays as it was written, byte by byte. What is new consists of the client's own expressions, which are
//! taken from where they stand, and of words of ours around them. Nothing of the client's is printed from its tree.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use super::ast::{
    DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    LimitClause, OrderBy, OrderByKind, OrderByOptions, OrderBySort, Query, Select, SelectItem, SetExpr, Spanned,
    Statement, Value,
};
use super::layout::{Clause, Layout};
use super::outer::Outer;
use super::source_text::{SourceText, call, only_argument, place};
use super::walk::walk_expressions;
use super::{Span, ast, parse_query};
use crate::error::{Error, Result, SqlState};

/// How many columns a query can have: Postgres's `MaxTupleAttributeNumber`.
const MAX_COLUMNS: usize = 1_664;

/// How many calls may stand around one that is taken from the text: each holds a copy of what is within it.
const MAX_CALLS_AROUND: usize = 16;

/// The text of `derived`, which was made from `original`, the tree of `text`. `None` when its parts are not found in the text.
///
/// # Errors
/// 54011: more columns than Postgres takes. The text has a token that cannot be read.
pub fn spliced(text: &str, original: &Statement, derived: &Statement) -> Result<Option<String>> {
    let (Statement::Query(original), Statement::Query(derived)) = (original, derived) else { return Ok(None) };
    for query in [original, derived] {
        if matches!(&*query.body, SetExpr::Select(select) if select.projection.len() > MAX_COLUMNS) {
            let message = format!("target lists can have at most {MAX_COLUMNS} entries");
            return Err(Error::new(SqlState::TOO_MANY_COLUMNS, message).hint("Ask for fewer columns."));
        }
    }
    let source = SourceText::new(text)?;
    let Some(text) = Splicer::new(source.outer(), original, derived).and_then(|splicer| splicer.text(derived)) else {
        return Ok(None);
    };
    // What is sent has to mean what was planned.
    let is_same = parse_query(&text).is_ok_and(|read| read == **derived);
    Ok(is_same.then_some(text))
}

/// What ORDER BY follows.
const BODY: &[Clause] = &[
    Clause::With,
    Clause::Select,
    Clause::Table,
    Clause::Body,
    Clause::From,
    Clause::Where,
    Clause::Group,
    Clause::Having,
    Clause::Window,
];

/// Other words for some bytes of the text.
struct Edit {
    bytes: Range<usize>,
    words: String,
}

struct Splicer<'a, 't, 's> {
    outer: Outer<'t, 's>,
    original: &'a Query,
    within: Range<usize>,
    layout: Layout,
    /// Expressions of the client's, and their texts.
    pieces: HashMap<Expr, &'t str>,
    edits: Vec<Edit>,
}

impl<'a, 't, 's> Splicer<'a, 't, 's> {
    fn new(outer: Outer<'t, 's>, mut original: &'a Query, derived: &Query) -> Option<Splicer<'a, 't, 's>> {
        let mut within = outer.all();
        while let (SetExpr::Query(inner), false) = (&*original.body, matches!(*derived.body, SetExpr::Query(_))) {
            within = outer.within_parens(within)?;
            original = inner;
        }
        let layout = Layout::of(&outer, within.clone());
        let mut splicer = Splicer { outer, original, within, layout, pieces: HashMap::new(), edits: Vec::new() };
        if let SetExpr::Select(select) = &*original.body {
            splicer.note_select(select);
        }
        splicer.note_order();
        splicer.note_limit();
        Some(splicer)
    }

    fn text(mut self, derived: &Query) -> Option<String> {
        let original = self.original;
        if let (SetExpr::Select(before), SetExpr::Select(after)) = (&*original.body, &*derived.body) {
            self.change_list(before, after)?;
            self.change_groups(before, after)?;
        }
        self.change_order(derived)?;
        self.change_limit(derived)?;
        self.edits.sort_by_key(|edit| (edit.bytes.start, edit.bytes.end));
        let text = self.outer.text;
        // Parentheses around the whole, and what is before them, are left out.
        let whole = self.within == self.outer.all();
        let mut copied = if whole { 0 } else { self.begin(self.within.start)? };
        let mut spliced = String::with_capacity(text.len() + 64);
        for Edit { bytes, words } in &self.edits {
            spliced.push_str(text.get(copied..bytes.start)?);
            spliced.push_str(words);
            copied = bytes.end;
        }
        spliced.push_str(text.get(copied..self.end(self.within.end)?)?);
        Some(spliced)
    }

    /// The first byte of a token.
    fn begin(&self, at: usize) -> Option<usize> {
        Some(self.outer.tokens.get(at)?.start as usize)
    }

    /// Behind the last byte of the tokens before this one.
    fn end(&self, at: usize) -> Option<usize> {
        Some(self.outer.tokens.get(at.checked_sub(1)?)?.end as usize)
    }

    /// Writes something behind the token before this one.
    fn insert(&mut self, at: usize, words: String) -> Option<()> {
        let byte = self.end(at)?;
        self.edits.push(Edit { bytes: byte..byte, words });
        Some(())
    }

    fn replace(&mut self, tokens: Range<usize>, words: String) -> Option<()> {
        let bytes = self.begin(tokens.start)?..self.end(tokens.end)?;
        self.edits.push(Edit { bytes, words });
        Some(())
    }

    /// Takes a clause out, with the blanks before it.
    fn remove(&mut self, tokens: Range<usize>) -> Option<()> {
        let mut bytes = self.begin(tokens.start)?..self.end(tokens.end)?;
        bytes.start = self.outer.text.get(..bytes.start)?.trim_end_matches(' ').len();
        self.edits.push(Edit { bytes, words: String::new() });
        Some(())
    }

    /// Behind the last of these clauses.
    fn behind(&self, clauses: &[Clause]) -> Option<usize> {
        self.layout.clauses().filter(|(clause, _)| clauses.contains(clause)).map(|(_, tokens)| tokens.end).last()
    }

    /// SELECT's list, or TABLE, which means `SELECT *`.
    fn change_list(&mut self, before: &Select, after: &Select) -> Option<()> {
        let added = after.projection.strip_prefix(before.projection.as_slice());
        if added == Some(&[]) && before.distinct == after.distinct {
            return Some(());
        }
        if let Some(tokens) = self.layout.get(Clause::Table) {
            let words = format!("SELECT *, {} FROM", self.columns(added?)?);
            return self.replace(tokens.start..tokens.start + 1, words);
        }
        let tokens = self.layout.get(Clause::Select)?;
        let list = self.list_tokens(tokens.clone())?;
        match added.filter(|_| before.distinct == after.distinct) {
            Some(added) if list.is_empty() => self.insert(list.start, format!(" {}", self.columns(added)?)),
            Some(added) => self.insert(list.end, format!(", {}", self.columns(added)?)),
            None => self.replace(tokens, format!("SELECT {}", self.columns(&after.projection)?)),
        }
    }

    /// GROUP BY and HAVING.
    fn change_groups(&mut self, before: &Select, after: &Select) -> Option<()> {
        if after.group_by != before.group_by {
            let GroupByExpr::Expressions(items, _) = &after.group_by else { return None };
            let items: Option<Vec<_>> = items.iter().map(|item| self.expression(item)).collect();
            let items = items?.join(", ");
            match self.layout.get(Clause::Group) {
                Some(tokens) if items.is_empty() => self.remove(tokens)?,
                Some(tokens) => self.replace(tokens, format!("GROUP BY {items}"))?,
                None => {
                    let at = self.behind(&[Clause::Select, Clause::From, Clause::Where])?;
                    self.insert(at, format!(" GROUP BY {items}"))?;
                }
            }
        }
        if after.having != before.having
            && let Some(tokens) = self.layout.get(Clause::Having)
        {
            self.remove(tokens)?;
        }
        Some(())
    }

    /// Behind SELECT, ALL and DISTINCT.
    fn list_tokens(&self, select: Range<usize>) -> Option<Range<usize>> {
        let mut begin = select.start + 1;
        if self.outer.is(begin, "all") {
            begin += 1;
        } else if self.outer.is(begin, "distinct") {
            begin += 1;
            if self.outer.is(begin, "on") {
                begin = self.outer.closed(begin + 1)? + 1;
            }
        }
        Some(begin..select.end)
    }

    /// Columns of ours, which have names.
    fn columns(&self, items: &[SelectItem]) -> Option<String> {
        let column = |item: &SelectItem| match item {
            SelectItem::ExprWithAlias { expr, alias } => Some(format!("{} AS {alias}", self.expression(expr)?)),
            _ => None,
        };
        Some(items.iter().map(column).collect::<Option<Vec<_>>>()?.join(", "))
    }

    fn change_order(&mut self, derived: &Query) -> Option<()> {
        if derived.order_by == self.original.order_by {
            return Some(());
        }
        match (self.layout.get(Clause::Order), &derived.order_by) {
            (Some(tokens), None) => self.remove(tokens),
            (None, Some(order)) => {
                let words = format!(" {}", self.order(order)?);
                self.insert(self.behind(BODY)?, words)
            }
            _ => None,
        }
    }

    fn change_limit(&mut self, derived: &Query) -> Option<()> {
        if derived.limit_clause == self.original.limit_clause && derived.fetch == self.original.fetch {
            return Some(());
        }
        if let Some(limit) = self.limit(derived)? {
            let at = self.behind(&[Clause::Order]).or_else(|| self.behind(BODY))?;
            self.insert(at, format!(" {limit}"))?;
        }
        for clause in [Clause::Limit, Clause::Offset, Clause::Fetch] {
            if let Some(tokens) = self.layout.get(clause) {
                self.remove(tokens)?;
            }
        }
        Some(())
    }

    fn order(&self, order: &OrderBy) -> Option<String> {
        let OrderByKind::Expressions(items) = &order.kind else { return None };
        let plain = OrderByOptions { sort: None, nulls_first: None };
        let item = |item: &ast::OrderByExpr| self.expression(&item.expr).filter(|_| item.options == plain);
        Some(format!("ORDER BY {}", items.iter().map(item).collect::<Option<Vec<_>>>()?.join(", ")))
    }

    /// The outer `None`: it cannot be written.
    fn limit(&self, derived: &Query) -> Option<Option<String>> {
        match (&derived.limit_clause, &derived.fetch) {
            (None, None) => Some(None),
            (Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, .. }), None) => {
                let text = match written_limit(self.original) == Some(limit) {
                    true => self.expression(limit)?,
                    // It is made of numbers and parameters.
                    false => limit.to_string(),
                };
                Some(Some(format!("LIMIT {text}")))
            }
            _ => None,
        }
    }

    /// An expression of the client's, or one of ours around such.
    fn expression(&self, expression: &Expr) -> Option<String> {
        if let Some(text) = self.pieces.get(expression) {
            return Some((*text).to_owned());
        }
        match expression {
            Expr::Value(value) if matches!(value.value, Value::Number(..)) => Some(value.to_string()),
            Expr::Function(function) => self.call(function),
            Expr::Cast { expr, data_type: DataType::DoublePrecision, .. } => {
                Some(format!("CAST({} AS double precision)", self.expression(expr)?))
            }
            Expr::Case { operand: None, conditions, else_result: None, .. } => {
                let mut text = String::from("CASE");
                for when in conditions {
                    let (condition, result) = (self.expression(&when.condition)?, self.expression(&when.result)?);
                    text.push_str(&format!(" WHEN {condition} THEN {result}"));
                }
                Some(format!("{text} END"))
            }
            _ => None,
        }
    }

    /// An aggregate of ours over one of the client's expressions.
    fn call(&self, function: &Function) -> Option<String> {
        if function.name.span() != Span::empty() {
            return None;
        }
        let FunctionArguments::List(list) = &function.args else { return None };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_slice() else { return None };
        let duplicates = match list.duplicate_treatment {
            None => "",
            Some(DuplicateTreatment::All) => "ALL ",
            Some(DuplicateTreatment::Distinct) => "DISTINCT ",
        };
        let filter = match &function.filter {
            None => String::new(),
            Some(filter) => format!(" FILTER (WHERE {})", self.expression(filter)?),
        };
        Some(format!("{}({duplicates}{}){filter}", function.name, self.expression(argument)?))
    }

    fn note(&mut self, expression: &Expr, tokens: Range<usize>) {
        self.pieces.entry(expression.clone()).or_insert_with(|| self.outer.slice(tokens));
    }

    fn note_all(&mut self, expressions: &[Expr], list: Range<usize>) {
        let items = self.outer.items(list);
        if items.len() == expressions.len() {
            expressions.iter().zip(items).for_each(|(expression, tokens)| self.note(expression, tokens));
        }
    }

    fn note_select(&mut self, select: &Select) {
        let list = self.layout.get(Clause::Select).and_then(|tokens| self.list_tokens(tokens));
        if let Some(list) = list {
            if let Some(ast::Distinct::On(expressions)) = &select.distinct {
                // SELECT DISTINCT ON ( ... )
                let on = self.layout.get(Clause::Select).map(|tokens| tokens.start + 4..list.start - 1);
                if let Some(on) = on {
                    self.note_all(expressions, on);
                }
            }
            self.note_columns(&select.projection, list);
        }
        if let (Some(tokens), GroupByExpr::Expressions(expressions, _)) =
            (self.layout.get(Clause::Group), &select.group_by)
        {
            self.note_all(expressions, tokens.start + 2..tokens.end);
        }
        self.note_calls(&select.projection);
        self.note_calls(&select.having);
        let original = self.original;
        self.note_calls(&original.order_by);
    }

    fn note_columns(&mut self, columns: &[SelectItem], list: Range<usize>) {
        let items = self.outer.items(list);
        if items.len() != columns.len() {
            return;
        }
        for (column, tokens) in columns.iter().zip(items) {
            match column {
                SelectItem::UnnamedExpr(expression) => self.note(expression, tokens),
                SelectItem::ExprWithAlias { expr, .. } => {
                    let label = tokens.end - 1;
                    let end = if self.outer.is_before(label, 1, "as") { label - 1 } else { label };
                    self.note(expr, tokens.start..end);
                }
                _ => {}
            }
        }
    }

    /// Calls, what they are of, and the conditions of their FILTER.
    fn note_calls(&mut self, tree: &impl ast::Visit) {
        let outer = self.outer;
        // The calls around the last one, each within the one before it.
        let mut around: Vec<Range<usize>> = Vec::new();
        let _: ControlFlow<()> = walk_expressions(tree, |expression| {
            if let Expr::Function(function) = expression
                && let Some(begin) = function.name.0.first().and_then(|name| place(&outer, name.span()))
            {
                around.retain(|call| call.contains(&begin));
                let found = if around.len() < MAX_CALLS_AROUND { call(&outer, function) } else { None };
                let Some(call) = found else { return ControlFlow::Continue(()) };
                around.push(call.whole.clone());
                if let Some((argument, tokens)) = only_argument(&outer, function, &call) {
                    self.note(argument, tokens);
                }
                if let (Some(filter), Some(tokens)) = (&function.filter, call.filter) {
                    self.note(filter, tokens);
                }
                if function.over.is_none() {
                    self.note(expression, call.whole);
                }
            }
            ControlFlow::Continue(())
        });
    }

    fn note_order(&mut self) {
        let original = self.original;
        let Some(OrderBy { kind: OrderByKind::Expressions(items), .. }) = &original.order_by else { return };
        let Some(tokens) = self.layout.get(Clause::Order) else { return };
        let list = self.outer.items(tokens.start + 2..tokens.end);
        if list.len() != items.len() {
            return;
        }
        for (item, tokens) in items.iter().zip(list) {
            let mut end = tokens.end;
            if item.options.nulls_first.is_some() {
                end = end.saturating_sub(2);
            }
            match &item.options.sort {
                None => {}
                Some(OrderBySort::Asc | OrderBySort::Desc) => end = end.saturating_sub(1),
                Some(OrderBySort::Using(_)) => {
                    let Some(using) = self.outer.find(tokens.clone(), |at| self.outer.is(at, "using")) else {
                        continue;
                    };
                    end = using;
                }
            }
            if tokens.start < end {
                self.note(&item.expr, tokens.start..end);
            }
        }
    }

    fn note_limit(&mut self) {
        let original = self.original;
        let Some(limit) = written_limit(original) else { return };
        if let Some(tokens) = self.layout.get(Clause::Limit) {
            self.note(limit, tokens.start + 1..tokens.end);
        } else if let Some(tokens) = self.layout.get(Clause::Fetch) {
            // FETCH FIRST count ROWS ONLY
            self.note(limit, tokens.start + 2..tokens.end.saturating_sub(2));
        }
    }
}

fn written_limit(query: &Query) -> Option<&Expr> {
    match (&query.limit_clause, &query.fetch) {
        (_, Some(fetch)) => fetch.quantity.as_ref(),
        (Some(LimitClause::LimitOffset { limit, .. }), None) => limit.as_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Statement {
        Statement::Query(Box::new(parse_query(text).unwrap()))
    }

    #[test]
    fn calls_within_many_others_are_not_copied_for_each() {
        let nested = |depth: usize| format!("SELECT {}a{} FROM t", "f(".repeat(depth), ")".repeat(depth));
        for (depth, noted) in [(3, 4), (MAX_CALLS_AROUND, MAX_CALLS_AROUND + 1), (40, MAX_CALLS_AROUND + 1)] {
            let text = nested(depth);
            let Statement::Query(query) = read(&text) else { panic!("{text}") };
            let source = SourceText::new(&text).unwrap();
            let splicer = Splicer::new(source.outer(), &query, &query).unwrap();
            assert_eq!(splicer.pieces.len(), noted, "{depth}");
        }
        // Side by side they are.
        let text = format!("SELECT {} FROM t", (0..40).map(|n| format!("f(g(a{n}))")).collect::<Vec<_>>().join(", "));
        let Statement::Query(query) = read(&text) else { panic!("{text}") };
        let source = SourceText::new(&text).unwrap();
        assert_eq!(Splicer::new(source.outer(), &query, &query).unwrap().pieces.len(), 120);
    }

    #[test]
    fn there_are_no_more_columns_than_postgres_takes() {
        let columns = |count: usize| read(&format!("SELECT {} FROM t", vec!["a"; count].join(", ")));
        let text = format!("SELECT {} FROM t", vec!["a"; MAX_COLUMNS].join(", "));
        let most = columns(MAX_COLUMNS);
        assert_eq!(spliced(&text, &most, &most).unwrap().as_deref(), Some(text.as_str()));
        let refused = spliced(&text, &most, &columns(MAX_COLUMNS + 1)).unwrap_err();
        assert_eq!(refused.sqlstate(), SqlState::TOO_MANY_COLUMNS);
    }
}
