//! Window functions: OVER, WINDOW, frames.

use super::Translator;
use super::catalog::functions::Kind;
use super::coerce::Context;
use super::expression::{Clause, Place};
use super::names::{QualifiedName, fold};
use super::operate::order_key;
use super::refusal;
use super::scope::Scope;
use super::typed::Typed;
use crate::error::{Error, Result, SqlState};
use crate::sql::ast::{self, Expr};
use crate::types::PgType;

/// A window's definition, translated.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    pub(super) partition: Vec<String>,
    pub(super) order: Vec<String>,
    pub(super) frame: Option<String>,
    pub(super) parts: Vec<Typed>,
}

impl Window {
    fn text(&self) -> String {
        let mut clauses = Vec::new();
        if !self.partition.is_empty() {
            clauses.push(format!("PARTITION BY {}", self.partition.join(", ")));
        }
        if !self.order.is_empty() {
            clauses.push(format!("ORDER BY {}", self.order.join(", ")));
        }
        clauses.extend(self.frame.clone());
        format!("({})", clauses.join(" "))
    }
}

impl Translator<'_> {
    /// `function(...) OVER (...)`. The arguments come with whether there is a star and DISTINCT.
    pub(super) fn window_function(
        &mut self,
        name: &QualifiedName,
        (arguments, star, distinct): (&[&Expr], bool, bool),
        filter: Option<&Expr>,
        over: &ast::WindowType,
        place: Place<'_>,
    ) -> Result<Typed> {
        if !matches!(place.clause, Clause::Select | Clause::OrderBy) {
            let message = format!("window functions are not allowed in {}", place.clause.name());
            return Err(Error::new(SqlState::WINDOWING_ERROR, message));
        }
        if place.in_aggregate {
            return Err(Error::new(
                SqlState::GROUPING_ERROR,
                "aggregate function calls cannot contain window function calls",
            ));
        }
        if distinct {
            return Err(refusal::WINDOW_DISTINCT.error());
        }
        let inside = Place { filter: false, ..place };
        let arguments =
            arguments.iter().map(|argument| self.expression(argument, inside)).collect::<Result<Vec<_>>>()?;
        if arguments.iter().any(|argument| argument.facts.window) {
            return Err(Error::new(SqlState::WINDOWING_ERROR, "window function calls cannot be nested"));
        }
        let resolved = self.resolve_aggregate(name, star, arguments)?;
        if !matches!(resolved.kind, Kind::Aggregate | Kind::Window) {
            let message =
                format!("OVER specified, but {} is not a window function nor an aggregate function", name.name);
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        let form = self.form_of(name, &resolved)?;
        let mut sql = match form {
            "min" | "max" => self.extremum(form, &resolved.arguments[0])?,
            _ => self.fill(form, &resolved.arguments, 0)?,
        };
        let mut parts = resolved.arguments;
        if let Some(filter) = filter {
            if resolved.kind != Kind::Aggregate {
                return Err(Error::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "FILTER is not implemented for non-aggregate window functions",
                ));
            }
            let condition = self.filter(filter, place)?;
            sql.push_str(&format!(" FILTER (WHERE {})", condition.sql));
            parts.push(condition);
        }
        let window = self.over(over, place)?;
        let sql = format!("({sql} OVER {})", window.text());
        parts.extend(window.parts);
        let mut typed = Typed::computed(sql, resolved.result, &parts);
        typed.origin = super::typed::Origin::Computed;
        typed.facts.window = true;
        typed.facts.not_null =
            parts.is_empty() || matches!(name.name.as_str(), "count" | "row_number" | "rank" | "dense_rank");
        Ok(typed)
    }

    fn over(&mut self, over: &ast::WindowType, place: Place<'_>) -> Result<Window> {
        match over {
            ast::WindowType::NamedWindow(name) => named(place.scope, name),
            ast::WindowType::WindowSpec(spec) => self.window(spec, place),
        }
    }

    /// A window's definition.
    pub(super) fn window(&mut self, spec: &ast::WindowSpec, place: Place<'_>) -> Result<Window> {
        let mut window = match &spec.window_name {
            Some(name) => named(place.scope, name)?,
            None => Window::default(),
        };
        let inside = Place { clause: Clause::Window, filter: false, ..place };
        if !spec.partition_by.is_empty() {
            if spec.window_name.is_some() {
                return Err(Error::new(SqlState::WINDOWING_ERROR, "cannot override PARTITION BY clause of window"));
            }
            for part in &spec.partition_by {
                let typed = self.expression(part, inside)?;
                let typed = if typed.is_untyped() { self.implicit(typed, PgType::Text)? } else { typed };
                window.partition.push(order_key(&typed.sql, typed.data_type));
                window.parts.push(typed);
            }
        }
        if !spec.order_by.is_empty() && !window.order.is_empty() {
            return Err(Error::new(SqlState::WINDOWING_ERROR, "cannot override ORDER BY clause of window"));
        }
        for key in &spec.order_by {
            let typed = self.expression(&key.expr, inside)?;
            let typed = if typed.is_untyped() { self.implicit(typed, PgType::Text)? } else { typed };
            window.order.push(self.sort_key(&typed, &key.options)?);
            window.parts.push(typed);
        }
        if let Some(frame) = &spec.window_frame {
            if frame.units == ast::WindowFrameUnits::Groups && window.order.is_empty() {
                return Err(Error::new(SqlState::WINDOWING_ERROR, "GROUPS mode requires an ORDER BY clause"));
            }
            window.frame = Some(self.frame(frame, inside)?);
        }
        Ok(window)
    }

    fn frame(&mut self, frame: &ast::WindowFrame, place: Place<'_>) -> Result<String> {
        let units = match frame.units {
            ast::WindowFrameUnits::Rows => "ROWS",
            ast::WindowFrameUnits::Range => "RANGE",
            ast::WindowFrameUnits::Groups => "GROUPS",
        };
        check_frame(&frame.start_bound, frame.end_bound.as_ref())?;
        let start = self.frame_bound(&frame.start_bound, "starting", frame.units, place)?;
        match &frame.end_bound {
            None => Ok(format!("{units} {start}")),
            Some(end) => {
                let end = self.frame_bound(end, "ending", frame.units, place)?;
                Ok(format!("{units} BETWEEN {start} AND {end}"))
            }
        }
    }

    fn frame_bound(
        &mut self,
        bound: &ast::WindowFrameBound,
        which: &str,
        units: ast::WindowFrameUnits,
        place: Place<'_>,
    ) -> Result<String> {
        let (offset, word) = match bound {
            ast::WindowFrameBound::CurrentRow => return Ok("CURRENT ROW".to_owned()),
            ast::WindowFrameBound::Preceding(None) => return Ok("UNBOUNDED PRECEDING".to_owned()),
            ast::WindowFrameBound::Following(None) => return Ok("UNBOUNDED FOLLOWING".to_owned()),
            ast::WindowFrameBound::Preceding(Some(offset)) => (offset, "PRECEDING"),
            ast::WindowFrameBound::Following(Some(offset)) => (offset, "FOLLOWING"),
        };
        if units == ast::WindowFrameUnits::Range {
            return Err(refusal::RANGE_OFFSET.error());
        }
        let typed = self.expression(offset, place)?;
        let typed = self.cast(typed, PgType::Int8.into(), Context::Assignment)?;
        if typed.origin == super::typed::Origin::Null {
            let message = format!("frame {which} offset must not be null");
            return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
        }
        if typed.sql.contains(['(', '+', '*', '/']) {
            // SQLite wants a constant, and takes what it does not know to be one for NULL.
            return Err(Error::unsupported("an expression as the offset of a frame", "Give a number or a parameter."));
        }
        Ok(format!("{} {word}", typed.sql))
    }
}

/// Frames that end before they begin.
fn check_frame(start: &ast::WindowFrameBound, end: Option<&ast::WindowFrameBound>) -> Result<()> {
    use ast::WindowFrameBound::{CurrentRow, Following, Preceding};
    let wrong = match (start, end.unwrap_or(&CurrentRow)) {
        (Following(None), _) => "frame start cannot be UNBOUNDED FOLLOWING",
        (_, Preceding(None)) => "frame end cannot be UNBOUNDED PRECEDING",
        (CurrentRow, Preceding(_)) => "frame starting from current row cannot have preceding rows",
        (Following(_), CurrentRow) if end.is_none() => "frame starting from following row cannot end with current row",
        (Following(_), CurrentRow | Preceding(_)) => "frame starting from following row cannot have preceding rows",
        _ => return Ok(()),
    };
    Err(Error::new(SqlState::WINDOWING_ERROR, wrong))
}

fn named(scope: &Scope<'_>, name: &ast::Ident) -> Result<Window> {
    let folded = fold(name);
    scope
        .windows
        .iter()
        .find(|(known, _)| *known == folded)
        .map(|(_, window)| window.clone())
        .ok_or_else(|| Error::new(SqlState::UNDEFINED_OBJECT, format!("window \"{folded}\" does not exist")))
}
