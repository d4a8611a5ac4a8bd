//! WITH: what a name in FROM means besides a table.

use std::collections::HashMap;

use super::analysis::Analysis;
use super::place::Place;
use super::query::Output;
use super::scope::{Column, Relation, Scope, Source};
use crate::error::{Error, Result};
use crate::sql::ast::{Cte, Query, SetExpr, With};
use crate::sql::{fold, name_parts, names_relation, with_stack};

/// The WITH queries that a name can mean, the nearest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ctes<'e> {
    name: &'e str,
    meaning: Meaning<'e>,
    rest: Option<&'e Ctes<'e>>,
    /// What names around the WITH mean.
    outer: Option<&'e Scope<'e>>,
}

#[derive(Clone, Copy, Debug)]
enum Meaning<'e> {
    Query(&'e Cte),
    /// What a data-modifying one returns: the same rows wherever it is named.
    Returned(&'e Cte, &'e Output),
    /// The query itself, within a recursive one.
    Opaque(&'e Cte),
}

impl<'e> Ctes<'e> {
    /// What a name means.
    pub(super) fn find(ctes: Option<&'e Ctes<'e>>, name: &str) -> Option<&'e Ctes<'e>> {
        let mut next = ctes;
        while let Some(here) = next {
            if here.name == name {
                return Some(here);
            }
            next = here.rest;
        }
        None
    }
}

impl Analysis<'_> {
    /// Binds the WITH queries from the given one on, then reads the body.
    pub(super) fn query_with(&mut self, query: &Query, from: usize, place: Place<'_>) -> Result<Output> {
        let Some((with, cte)) = query.with.as_ref().and_then(|with| Some((with, with.cte_tables.get(from)?))) else {
            return self.body(query, place);
        };
        if with.recursive && from == 0 {
            refuse_forward_names(with)?;
        }
        let name = fold(&cte.alias.name);
        let writes = matches!(
            &*cte.query.body,
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
        );
        // Runs once, whether it is named or not.
        let returned = if writes { Some(self.query(&cte.query, place.inside())?) } else { None };
        let recursive = with.recursive && names_any(&cte.query, |named| named == name);
        let meaning = match &returned {
            Some(output) => Meaning::Returned(cte, output),
            None if recursive => Meaning::Opaque(cte),
            None => Meaning::Query(cte),
        };
        let bound = Ctes { name: &name, meaning, rest: place.ctes, outer: place.outer };
        let place = Place { ctes: Some(&bound), ..place };
        if recursive {
            let output = self.query(&cte.query, place.inside())?;
            if output.anchor.is_some() {
                self.cannot_scatter(
                    "WITH RECURSIVE across shards",
                    "Give the key in every part of the recursive query.",
                );
            }
        }
        with_stack(|| self.query_with(query, from + 1, place))
    }

    /// A WITH query where it is named: read anew each time, since each use is confined by itself.
    pub(super) fn cte(&mut self, found: &Ctes<'_>, level: usize) -> Result<Source> {
        let (cte, output) = match found.meaning {
            Meaning::Query(cte) => {
                let place = Place { ctes: found.rest, outer: found.outer, level };
                (cte, self.query(&cte.query, place.inside())?)
            }
            Meaning::Returned(cte, output) => (cte, self.returned(output, level)),
            Meaning::Opaque(cte) => (cte, Output::default()),
        };
        let mut relation = Relation { name: found.name.to_owned(), columns: output.columns, complete: output.complete };
        for (column, renamed) in relation.columns.iter_mut().zip(&cte.alias.columns) {
            column.name = fold(&renamed.name).into_owned();
        }
        Ok(Source::of(relation, output.anchor))
    }
}

impl Analysis<'_> {
    /// Rows that a write has returned, where they are named. They lie where it has written them, under a key of their own:
    /// what is said of them here says nothing of what is written.
    fn returned(&mut self, output: &Output, level: usize) -> Output {
        let Some(written) = output.anchor else {
            let columns = output.columns.iter().map(|column| Column { key: None, ..column.clone() }).collect();
            return Output { columns, complete: output.complete, ..Output::default() };
        };
        let key = self.graph.table(level);
        self.graph.implies(written, key);
        let columns = output.columns.iter().map(|column| {
            let is_key = column.key.is_some_and(|column| self.graph.divides(column, written));
            Column { key: is_key.then_some(key), ..column.clone() }
        });
        Output { columns: columns.collect(), complete: output.complete, anchor: Some(key), ..Output::default() }
    }
}

/// RECURSIVE lets a query name one that comes after it, which SQLite and this reading do not.
fn refuse_forward_names(with: &With) -> Result<()> {
    let places: HashMap<_, _> =
        with.cte_tables.iter().enumerate().map(|(number, cte)| (fold(&cte.alias.name), number)).collect();
    for (number, cte) in with.cte_tables.iter().enumerate() {
        if names_any(&cte.query, |named| places.get(named).is_some_and(|place| *place > number)) {
            return Err(Error::unsupported(
                format!("WITH RECURSIVE where \"{}\" names a query that comes after it", fold(&cte.alias.name)),
                "Write each query after those that it names.",
            ));
        }
    }
    Ok(())
}

/// Whether a query names a table of such a name, anywhere.
fn names_any(query: &Query, wanted: impl Fn(&str) -> bool) -> bool {
    names_relation(query, |relation| matches!(name_parts(relation).as_deref(), Some([only]) if wanted(only)))
}
