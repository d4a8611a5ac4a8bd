//! One SELECT: its list, WHERE, GROUP BY, HAVING, DISTINCT.

use sqlparser::ast::Spanned;

use super::coerce::Context;
use super::column_name::column_name;
use super::distinct::{Duplicates, OrderKey};
use super::expression::{Clause, Place, take_key};
use super::from::ListedSeries;
use super::group::check_grouped;
use super::grouping_sets::has_sets;
use super::names::{QualifiedName, fold};
use super::operate::collated;
use super::order::{Limit, ordinal};
use super::point_read::is_point_read;
use super::query::{QueryOutput, ResultColumn, Untyped, numbered};
use super::scope::{Scope, ScopeColumn};
use super::set_operation::check_distinct;
use super::typed::{Origin, Typed};
use super::{Translator, refusal};
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, Expr, SelectItem};
use crate::types::PgType;

/// A column of the select list.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) value: Typed,
}

/// A SELECT whose untyped columns may still be given types.
pub(super) struct SelectBody<'s> {
    pub(super) scope: Scope<'s>,
    pub(super) outputs: Vec<Output>,
    pub(super) duplicates: Duplicates,
    /// FROM and WHERE, with a space before.
    pub(super) from: String,
    /// GROUP BY and HAVING, with a space before.
    pub(super) group: String,
    /// It has GROUP BY, HAVING or an aggregate.
    pub(super) grouped: bool,
    pub(super) explicit_group: bool,
    pub(super) point_read: bool,
    /// Columns are written under their type's equality.
    pub(super) keyed: bool,
}

impl SelectBody<'_> {
    /// FOR UPDATE where Postgres has no rows to lock.
    pub(super) fn check_locks(&self, locks: &[ast::LockClause]) -> Result<()> {
        let strength = match locks.first().map(|lock| &lock.lock_type) {
            Some(ast::LockType::Share) => "FOR SHARE",
            _ => "FOR UPDATE",
        };
        let with = match (&self.duplicates, self.explicit_group, self.grouped) {
            (Duplicates::Remove | Duplicates::RemoveBy(_), ..) => "DISTINCT clause",
            (_, true, _) => "GROUP BY clause",
            (_, _, true) => "aggregate functions",
            _ => return Ok(()),
        };
        Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{strength} is not allowed with {with}")))
    }
}

impl Translator<'_> {
    /// Translates all of a SELECT but its ORDER BY.
    pub(super) fn begin_select<'s>(&mut self, select: &ast::Select, parent: &'s Scope<'s>) -> Result<SelectBody<'s>> {
        check_plain(select)?;
        let mut scope = Scope::inside(parent);
        self.frames.resize_with(self.frames.len().max(scope.depth + 1), Vec::new);
        let mut from = self.tables_of(&select.from, &mut scope)?;
        let columns = has_sets(&select.group_by).then(|| self.rename_all(&mut scope));
        let (explicit_group, group_keys) = self.group_by(select, &mut scope, columns.as_ref())?;
        self.named_windows(select, &mut scope)?;
        self.series.push(ListedSeries::default());
        let outputs = self.select_list(&select.projection, &scope);
        let series = self.series.pop().and_then(|series| series.table());
        let mut outputs = outputs?;
        // After the select list, as in Postgres: a parameter has the type that its first use gives it.
        let mut condition_text = self.condition(select, columns.as_ref().map_or(&scope, |columns| &columns.before))?;
        let pinned =
            select.selection.as_ref().map_or_else(Vec::new, |condition| self.pinned_columns(condition, &scope));
        let point_read = is_point_read(&scope, &pinned) && from.matches(" JOIN ").count() == 0 && columns.is_none();
        if let Some(columns) = columns {
            from = self.set_rows(&columns, &format!("{from}{condition_text}"), &scope);
            condition_text.clear();
        }
        let mut group = String::new();
        if !group_keys.is_empty() {
            group.push_str(&format!(" GROUP BY {}", group_keys.join(", ")));
        }
        let mut grouped = explicit_group || outputs.iter().any(|output| output.value.facts.aggregate);
        if let Some(having) = &select.having {
            let asks_for_aggregate = std::mem::replace(&mut grouped, true);
            let place = Place::condition(&scope, Clause::Having);
            let typed = self.expression(having, place)?;
            let typed = self.boolean(typed, "HAVING", having.span())?;
            check_grouped(&typed)?;
            group.push_str(&format!(" HAVING {}", typed.sql));
            if !asks_for_aggregate && let Some(first) = outputs.first_mut() {
                // SQLite makes one group of all rows only where it is asked for an aggregate.
                first.value.sql = format!("iif(count(*) >= 0, {}, NULL)", first.value.sql);
            }
        }
        let point_read = point_read && series.is_none();
        if let Some(series) = series {
            if grouped {
                return Err(refusal::SET_RETURNING.error());
            }
            // It comes last: SQLite's functions see the tables before them.
            let separator = if from.is_empty() { " FROM " } else { ", " };
            from.push_str(separator);
            from.push_str(&series);
        }
        from.push_str(&condition_text);
        let duplicates = Duplicates::Keep;
        let mut body =
            SelectBody { scope, outputs, duplicates, from, group, grouped, explicit_group, point_read, keyed: false };
        body.duplicates = self.duplicates(select, &body)?;
        Ok(body)
    }

    /// WHERE, with a space before.
    fn condition(&mut self, select: &ast::Select, scope: &Scope<'_>) -> Result<String> {
        let Some(condition) = &select.selection else { return Ok(String::new()) };
        let typed = self.expression(condition, Place::condition(scope, Clause::Where))?;
        let typed = self.boolean(typed, "WHERE", condition.span())?;
        Ok(format!(" WHERE {}", typed.sql))
    }

    /// TABLE name: SELECT * FROM name.
    pub(super) fn whole_table<'s>(&mut self, name: ast::ObjectName, parent: &'s Scope<'s>) -> Result<SelectBody<'s>> {
        let mut scope = Scope::inside(parent);
        self.frames.resize_with(self.frames.len().max(scope.depth + 1), Vec::new);
        let (sql, items) = self.named_relation(&name, None, &scope)?;
        scope.add(items)?;
        let outputs = self.all_outputs(&scope, Clause::Select)?;
        Ok(SelectBody {
            scope,
            outputs,
            duplicates: Duplicates::Keep,
            from: format!(" FROM {sql}"),
            group: String::new(),
            grouped: false,
            explicit_group: false,
            point_read: false,
            keyed: false,
        })
    }

    /// Adds ORDER BY and LIMIT, gives untyped columns their types, and writes the text.
    pub(super) fn finish_select(
        &mut self,
        mut body: SelectBody<'_>,
        order: &[ast::OrderByExpr],
        limit: &Limit,
        untyped: Untyped<'_>,
    ) -> Result<QueryOutput> {
        self.give_types(&mut body.outputs, untyped)?;
        let keys = self.order_keys(&mut body, order)?;
        if body.grouped {
            for output in &body.outputs {
                check_grouped(&output.value)?;
            }
        }
        let columns: Vec<ResultColumn> = body.outputs.iter().map(ResultColumn::from).collect();
        let single_row = (body.grouped && !body.explicit_group)
            || body.point_read
            || (body.scope.items.is_empty() && body.from.is_empty());
        let sql = match &limit.ties {
            None => self.select_text(&body, &keys, limit, "")?,
            Some(ties) => self.select_with_ties(&body, &keys, ties)?,
        };
        Ok(QueryOutput {
            sql,
            column_names: numbered(columns.len()),
            columns,
            single_row,
            point_read: body.point_read && limit.is_none() && !body.grouped,
            compound: false,
            closed: !keys.is_empty() || !limit.is_none(),
        })
    }

    fn give_types(&mut self, outputs: &mut [Output], untyped: Untyped<'_>) -> Result<()> {
        for (index, output) in outputs.iter_mut().enumerate() {
            let to = match untyped {
                Untyped::Exactly(types) => types.get(index).copied(),
                Untyped::As(types) if output.value.is_untyped() => types.get(index).copied().or(Some(PgType::Text)),
                _ if output.value.is_untyped() => Some(PgType::Text),
                _ => None,
            };
            if let Some(to) = to {
                let value = std::mem::replace(&mut output.value, Typed::null());
                output.value = self.cast(value, to.into(), Context::Implicit)?;
            }
        }
        Ok(())
    }

    fn select_list(&mut self, items: &[SelectItem], scope: &Scope<'_>) -> Result<Vec<Output>> {
        self.outputs(items, scope, Clause::Select)
    }

    /// A list of output columns: of SELECT, or of RETURNING.
    pub(super) fn outputs(&mut self, items: &[SelectItem], scope: &Scope<'_>, clause: Clause) -> Result<Vec<Output>> {
        let mut outputs = Vec::with_capacity(items.len());
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    let value = self.output_value(expression, scope, clause)?;
                    outputs.push(Output { name: column_name(expression), value });
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    let value = self.output_value(expr, scope, clause)?;
                    outputs.push(Output { name: fold(alias), value });
                }
                SelectItem::Wildcard(options) => {
                    check_wildcard(options)?;
                    outputs.extend(self.all_outputs(scope, clause)?);
                }
                SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    check_wildcard(options)?;
                    outputs.extend(self.item_outputs(name, scope, clause)?);
                }
                SelectItem::QualifiedWildcard(..) => return Err(refusal::FIELD_ACCESS.error()),
                SelectItem::ExprWithAliases { .. } => {
                    return Err(Error::new(SqlState::SYNTAX_ERROR, "a column has one alias"));
                }
            }
        }
        Ok(outputs)
    }

    fn output_value(&mut self, expression: &Expr, scope: &Scope<'_>, clause: Clause) -> Result<Typed> {
        let aliases_before = self.aliases;
        let mut value = self.expression(expression, Place::new(scope, clause))?;
        if value.is_constant() && !value.is_untyped() {
            take_key(&mut value, scope, aliases_before);
        }
        Ok(value)
    }

    /// `*`.
    fn all_outputs(&mut self, scope: &Scope<'_>, clause: Clause) -> Result<Vec<Output>> {
        if scope.items.is_empty() {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "SELECT * with no tables specified is not valid"));
        }
        let columns: Vec<ScopeColumn> = scope.all_columns().map(|(_, column)| column.clone()).collect();
        Ok(columns.iter().map(|column| self.column_output(column, scope, clause)).collect())
    }

    /// `table.*`.
    fn item_outputs(&mut self, name: &ast::ObjectName, scope: &Scope<'_>, clause: Clause) -> Result<Vec<Output>> {
        let qualifier = QualifiedName::new(name)?;
        let Some((item, 0)) = scope.item(&qualifier) else {
            let error = match scope.item(&qualifier) {
                Some(_) => refusal::WHOLE_ROW.error(),
                None => scope.missing_item(&qualifier),
            };
            return Err(self.error_at(error, qualifier.span));
        };
        Ok(item.columns.iter().map(|column| self.column_output(column, scope, clause)).collect())
    }

    fn column_output(&mut self, column: &ScopeColumn, scope: &Scope<'_>, _clause: Clause) -> Output {
        let owner = scope.items.iter().find(|item| item.alias == column.relation);
        let qualifier = owner.and_then(|item| item.name.as_deref());
        let (mut value, column_use) = column.reference(0, qualifier, None);
        if !scope.grouping.gives(&column_use) {
            value.facts.ungrouped = Some(column_use);
        }
        take_key(&mut value, scope, self.aliases);
        Output { name: column.name.clone(), value }
    }

    fn named_windows(&mut self, select: &ast::Select, scope: &mut Scope<'_>) -> Result<()> {
        for ast::NamedWindowDefinition(name, definition) in &select.named_window {
            let folded = fold(name);
            if scope.windows.iter().any(|(known, _)| *known == folded) {
                let message = format!("window \"{folded}\" is already defined");
                return Err(Error::new(SqlState::WINDOWING_ERROR, message));
            }
            let ast::NamedWindowExpr::WindowSpec(spec) = definition else {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error in WINDOW"));
            };
            let window = self.window(spec, Place::new(scope, Clause::Select))?;
            scope.windows.push((folded, window));
        }
        Ok(())
    }

    /// The keys of ORDER BY, each by the output column that it is, or by its own text.
    fn order_keys(&mut self, body: &mut SelectBody<'_>, order: &[ast::OrderByExpr]) -> Result<Vec<OrderKey>> {
        if matches!(body.duplicates, Duplicates::Remove) {
            for output in &body.outputs {
                check_distinct(output.value.data_type)?;
            }
        }
        let mut keys = Vec::with_capacity(order.len());
        for key in order {
            let (value, index) = self.order_value(&key.expr, body, "ORDER BY")?;
            let value = if value.is_untyped() { self.implicit(value, PgType::Text)? } else { value };
            if value.facts.aggregate && !body.grouped {
                body.grouped = true;
            }
            if body.grouped {
                check_grouped(&value)?;
            }
            if index.is_none() && matches!(body.duplicates, Duplicates::Remove) {
                let error = Error::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                );
                return Err(self.error_at(error, key.expr.span()));
            }
            let by_number = index.filter(|_| value.data_type != PgType::Interval);
            let text = match by_number {
                Some(index) => {
                    let number = (index + 1).to_string();
                    self.sort_key_as(&collated(&number, value.data_type), &value, &key.options)?
                }
                None => self.sort_key(&value, &key.options)?,
            };
            keys.push(OrderKey { value, index, options: key.options.clone(), text });
        }
        Ok(keys)
    }

    /// What an item of ORDER BY or DISTINCT ON means: an output column's name or number first, then an expression.
    pub(super) fn order_value(
        &mut self,
        key: &Expr,
        body: &SelectBody<'_>,
        clause: &str,
    ) -> Result<(Typed, Option<usize>)> {
        let outputs = &body.outputs;
        if let Expr::Identifier(name) = key {
            let folded = fold(name);
            let mut meant: Option<usize> = None;
            for (index, output) in outputs.iter().enumerate().filter(|(_, output)| output.name == folded) {
                match meant {
                    Some(known) if outputs[known].value.sql != output.value.sql => {
                        let message = format!("{clause} \"{folded}\" is ambiguous");
                        return Err(self.error_at(Error::new(SqlState::AMBIGUOUS_COLUMN, message), name.span));
                    }
                    Some(_) => {}
                    None => meant = Some(index),
                }
            }
            if let Some(index) = meant {
                return Ok((outputs[index].value.clone(), Some(index)));
            }
        }
        if let Expr::Value(value) = key {
            let index = ordinal(&value.value, outputs.len(), clause);
            if let Some(index) = index.map_err(|error| self.error_at(error, value.span))? {
                return Ok((outputs[index].value.clone(), Some(index)));
            }
        }
        let value = self.expression(key, Place::new(&body.scope, Clause::OrderBy))?;
        let index = outputs.iter().position(|output| output.value.sql == value.sql);
        Ok((value, index))
    }
}

impl From<&Output> for ResultColumn {
    fn from(output: &Output) -> ResultColumn {
        let (table_oid, attribute) = match output.value.origin {
            Origin::Column { table_oid, attribute } => (table_oid, attribute),
            _ => (0, 0),
        };
        ResultColumn {
            name: output.name.clone(),
            data_type: output.value.data_type,
            modifier: output.value.modifier,
            table_oid,
            attribute,
            not_null: output.value.facts.not_null,
        }
    }
}

/// The select list's text.
pub(super) fn list(outputs: &[Output], keyed: bool) -> String {
    if outputs.is_empty() {
        return "NULL".to_owned();
    }
    let texts: Vec<String> = outputs
        .iter()
        .enumerate()
        .map(|(index, output)| {
            let value = &output.value;
            let sql = match keyed {
                true => collated(&value.sql, value.data_type),
                false => value.sql.clone(),
            };
            format!("{sql} AS c{}", index + 1)
        })
        .collect();
    texts.join(", ")
}

fn check_wildcard(options: &ast::WildcardAdditionalOptions) -> Result<()> {
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none();
    if plain { Ok(()) } else { Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error after \"*\"")) }
}

/// Clauses that other dialects have.
fn check_plain(select: &ast::Select) -> Result<()> {
    if select.into.is_some() {
        return Err(refusal::SELECT_INTO.error());
    }
    let foreign = select.top.is_some()
        || select.select_modifiers.is_some()
        || select.exclude.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.qualify.is_some()
        || select.value_table_mode.is_some()
        || select.flavor != ast::SelectFlavor::Standard;
    if foreign { Err(Error::new(SqlState::SYNTAX_ERROR, "a clause of SELECT that is not Postgres's")) } else { Ok(()) }
}
