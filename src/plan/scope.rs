//! Which column a name means, and whether that column is a key.

use super::graph::Variable;
use super::key::strip;
use crate::sql::ast::{Expr, Ident, TableAlias};
use crate::sql::fold;
use crate::types::PgType;

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) key: Option<Variable>,
    pub(super) data_type: Option<PgType>,
    /// Which of the scope's relations it is from.
    pub(super) relation: usize,
    /// Merged by a FULL JOIN's USING: the value of whichever side is there, so neither side's own column.
    pub(super) of_either: bool,
}

impl Column {
    /// A column of the one relation that is looked at.
    pub(super) fn new(name: String, key: Option<Variable>, data_type: Option<PgType>) -> Column {
        Column { name, key, data_type, relation: 0, of_either: false }
    }

    /// The column as that of a query or join that hides where it is from.
    pub(super) fn hidden(self) -> Column {
        Column::new(self.name, self.key, self.data_type)
    }
}

/// A table, subquery or function in FROM, under the name it has there.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// All its columns are known.
    pub(super) complete: bool,
}

/// A part of FROM.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    pub(super) relations: Vec<Relation>,
    /// What `*` stands for: the columns that USING merged come first.
    pub(super) visible: Vec<Column>,
    /// The keys of the sharded tables within, one for each part that lies together.
    pub(super) keys: Vec<Variable>,
    /// The key whose rows drive: none when only reference tables can give rows.
    pub(super) anchor: Option<Variable>,
}

/// What names can mean in a query: its FROM, then those of the queries around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'s> {
    pub(super) source: &'s Source,
    pub(super) outer: Option<&'s Scope<'s>>,
}

/// A column that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) column: Column,
    /// In a query around the one where the name is.
    pub(super) outer: bool,
}

impl Source {
    pub(super) fn of(relation: Relation, key: Option<Variable>) -> Source {
        Source {
            visible: relation.columns.clone(),
            relations: vec![relation],
            keys: key.into_iter().collect(),
            anchor: key,
        }
    }

    pub(super) fn complete(&self) -> bool {
        self.relations.iter().all(|relation| relation.complete)
    }

    /// Both, one after the other, as the comma in FROM joins them.
    pub(super) fn beside(mut self, other: Source) -> Source {
        let shift = self.relations.len();
        let shifted = |mut column: Column| {
            column.relation += shift;
            column
        };
        self.relations.extend(other.relations.into_iter().map(|mut relation| {
            relation.columns = relation.columns.into_iter().map(shifted).collect();
            relation
        }));
        self.visible.extend(other.visible.into_iter().map(shifted));
        self.keys.extend(other.keys);
        self.anchor = self.anchor.or(other.anchor);
        self
    }

    /// The one visible column of this name; `None` when there is none, or several.
    pub(super) fn visible_column(&self, name: &str) -> Option<&Column> {
        let mut found = self.visible.iter().filter(|column| column.name == name);
        let first = found.next()?;
        if found.next().is_some() { None } else { Some(first) }
    }
}

impl Relation {
    /// The relation under an alias, its first columns renamed as the alias says.
    pub(super) fn aliased(mut self, alias: Option<&TableAlias>) -> Relation {
        let Some(alias) = alias else { return self };
        self.name = fold(&alias.name).into_owned();
        for (column, renamed) in self.columns.iter_mut().zip(&alias.columns) {
            column.name = fold(&renamed.name).into_owned();
        }
        self
    }
}

impl Scope<'_> {
    /// The column that an expression is, if it is nothing but one.
    pub(super) fn find(&self, expression: &Expr) -> Option<Found> {
        match strip(expression) {
            Expr::Identifier(name) => self.find_name(&fold(name)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] => self.find_qualified(&fold(table), &fold(column)),
                [schema, table, column] if fold(schema) == "public" => self.find_qualified(&fold(table), &fold(column)),
                _ => None,
            },
            _ => None,
        }
    }

    fn find_name(&self, name: &str) -> Option<Found> {
        let mut scope = Some(self);
        let mut outer = false;
        while let Some(here) = scope {
            if here.source.visible.iter().any(|column| column.name == name) {
                let column = here.source.visible_column(name)?.clone();
                return Some(Found { column, outer });
            }
            if !here.source.complete() {
                return None;
            }
            scope = here.outer;
            outer = true;
        }
        None
    }

    fn find_qualified(&self, table: &str, name: &str) -> Option<Found> {
        let mut scope = Some(self);
        let mut outer = false;
        while let Some(here) = scope {
            let mut relations = here.source.relations.iter().filter(|relation| relation.name == table);
            if let Some(relation) = relations.next() {
                if relations.next().is_some() {
                    return None;
                }
                let mut named = relation.columns.iter().filter(|column| column.name == name);
                let column = named.next().filter(|_| named.next().is_none())?.clone();
                return Some(Found { column, outer });
            }
            scope = here.outer;
            outer = true;
        }
        None
    }

    /// The relation that `name.*` means.
    pub(super) fn relation(&self, name: &Ident) -> Option<&Relation> {
        let name = fold(name);
        self.source.relations.iter().find(|relation| relation.name == name)
    }
}
