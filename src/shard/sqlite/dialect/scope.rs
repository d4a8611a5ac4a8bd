//! Which names a part of a statement can see, and what they stand for.
//!
//! As in Postgres: a FROM item can be named whole, its columns can be named alone, or both; a join's columns hide those
//! of its sides; what is not found is looked for in the query around. <https://www.postgresql.org/docs/15/queries-table-expressions.html>

use std::sync::Arc;

use super::names::QualifiedName;
use super::typed::{ColumnUse, Facts, Origin, Typed};
use crate::error::{Error, Result, SqlState};
use crate::system_catalog;
use crate::topology::Table;
use crate::types::PgType;

/// A column that can be named.
#[derive(Clone, Debug)]
pub(super) struct ScopeColumn {
    pub(super) name: String,
    pub(super) sql: String,
    pub(super) data_type: PgType,
    pub(super) modifier: i32,
    pub(super) not_null: bool,
    pub(super) table_oid: u32,
    pub(super) attribute: i16,
    /// The alias, in SQLite's text, of the relation that it comes from.
    pub(super) relation: String,
}

/// An item of a FROM clause.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The alias or table name that it can be qualified with; none for a join without an alias.
    pub(super) name: Option<String>,
    pub(super) columns: Vec<ScopeColumn>,
    /// Whether columns can be named without the item's name: not, once a join hides it.
    pub(super) columns_visible: bool,
    /// The table, for a FROM item that is one.
    pub(super) table: Option<Arc<Table>>,
    /// The alias in SQLite's text.
    pub(super) alias: String,
    /// A function of single values: its name alone is its value.
    pub(super) scalar: bool,
    pub(super) missing: Missing,
}

/// How a row that an outer join has no partner for is told from one whose columns are NULL.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Missing {
    /// Every row is there.
    Never,
    /// By a column that is never NULL otherwise: its text.
    WithNull(String),
    Untold,
}

/// A WITH query.
#[derive(Clone, Debug)]
pub(super) struct Cte {
    pub(super) name: String,
    /// Its name in SQLite's text.
    pub(super) alias: String,
    pub(super) columns: Vec<CteColumn>,
    /// It is still being translated: a reference is recursive.
    pub(super) open: bool,
}

#[derive(Clone, Debug)]
pub(super) struct CteColumn {
    pub(super) name: String,
    pub(super) data_type: PgType,
    pub(super) modifier: i32,
    pub(super) not_null: bool,
    /// The table's column that it passes on, or 0 and 0.
    pub(super) table_oid: u32,
    pub(super) attribute: i16,
}

/// What a GROUP BY clause gives a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Grouping {
    pub(super) expressions: Vec<String>,
    /// With several grouping sets, or the empty one.
    pub(super) sets: Option<Box<super::grouping_sets::Sets>>,
    /// Relations whose primary key is among them, so that their other columns have one value too.
    pub(super) relations: Vec<String>,
}

impl Grouping {
    /// What an expression's value is called in the rows of the grouping sets.
    pub(super) fn key(&self, text: &str) -> Option<&super::grouping_sets::SetKey> {
        let sets = self.sets.as_ref()?;
        sets.keys.get(self.expressions.iter().position(|known| known == text)?)
    }

    pub(super) fn gives(&self, column: &ColumnUse) -> bool {
        self.relations.contains(&column.relation) || self.expressions.contains(&column.sql)
    }
}

/// The names that one query, or one part of a statement, can see.
#[derive(Default)]
pub(super) struct Scope<'s> {
    pub(super) items: Vec<Item>,
    pub(super) ctes: Vec<Cte>,
    pub(super) grouping: Grouping,
    pub(super) parent: Option<&'s Scope<'s>>,
    pub(super) depth: usize,
    /// Named windows, translated: name and definition.
    pub(super) windows: Vec<(String, super::window::Window)>,
}

/// A name that was found, and how many queries out.
pub(super) struct Found<'s> {
    pub(super) column: &'s ScopeColumn,
    pub(super) level: usize,
    pub(super) qualifier: Option<String>,
}

impl<'s> Scope<'s> {
    pub(super) fn inside(parent: &'s Scope<'s>) -> Scope<'s> {
        Scope { parent: Some(parent), depth: parent.depth + 1, ..Scope::default() }
    }

    /// The scope so many queries out.
    pub(super) fn out(&self, level: usize) -> Option<&Scope<'s>> {
        match level {
            0 => Some(self),
            _ => self.parent?.out(level - 1),
        }
    }

    /// The WITH query of this name, in this query or one around it.
    pub(super) fn cte(&self, name: &str) -> Option<&Cte> {
        let own = self.ctes.iter().rev().find(|cte| cte.name == name);
        own.or_else(|| self.parent.and_then(|parent| parent.cte(name)))
    }

    /// A column named alone.
    ///
    /// # Errors
    /// 42702: two columns have the name. `Ok(None)`: none has it.
    pub(super) fn column(&self, name: &str) -> Result<Option<Found<'_>>> {
        let mut scope = Some(self);
        let mut level = 0;
        while let Some(current) = scope {
            let mut found: Option<Found<'_>> = None;
            for item in current.items.iter().filter(|item| item.columns_visible) {
                for column in item.columns.iter().filter(|column| column.name == name) {
                    if found.is_some() {
                        let message = format!("column reference \"{name}\" is ambiguous");
                        return Err(Error::new(SqlState::AMBIGUOUS_COLUMN, message));
                    }
                    found = Some(Found { column, level, qualifier: current.qualifier_of(item, column) });
                }
            }
            if found.is_some() {
                return Ok(found);
            }
            scope = current.parent;
            level += 1;
        }
        Ok(None)
    }

    /// The name of the item that a column belongs to, for messages.
    fn qualifier_of(&self, item: &Item, column: &ScopeColumn) -> Option<String> {
        item.name.clone().or_else(|| {
            let owner = self.items.iter().find(|owner| owner.name.is_some() && owner.alias == column.relation);
            owner.and_then(|owner| owner.name.clone())
        })
    }

    /// The item that a qualifier names, and how many queries out.
    ///
    /// # Errors
    /// 42P09 cannot happen: names are unique in a FROM clause.
    pub(super) fn item(&self, qualifier: &QualifiedName) -> Option<(&Item, usize)> {
        let mut scope = Some(self);
        let mut level = 0;
        while let Some(current) = scope {
            let found = current.items.iter().find(|item| {
                item.name.as_deref() == Some(qualifier.name.as_str())
                    && (qualifier.schema.is_none()
                        || item.table.as_ref().is_some_and(|table| is_meant(table, qualifier)))
            });
            if let Some(item) = found {
                return Some((item, level));
            }
            scope = current.parent;
            level += 1;
        }
        None
    }

    /// What to say of a qualifier that names no item.
    pub(super) fn missing_item(&self, qualifier: &QualifiedName) -> Error {
        let mut scope = Some(self);
        while let Some(current) = scope {
            for item in &current.items {
                let hidden = item.table.as_ref().is_some_and(|table| table.name == qualifier.name);
                if let (true, Some(alias)) = (hidden && qualifier.is_public(), &item.name) {
                    let message =
                        format!("invalid reference to FROM-clause entry for table \"{}\"", qualifier.display());
                    return Error::new(SqlState::UNDEFINED_TABLE, message)
                        .hint(format!("Perhaps you meant to reference the table alias \"{alias}\"."));
                }
            }
            scope = current.parent;
        }
        let message = format!("missing FROM-clause entry for table \"{}\"", qualifier.name);
        Error::new(SqlState::UNDEFINED_TABLE, message)
    }

    /// All columns that `*` stands for, in order.
    pub(super) fn all_columns(&self) -> impl Iterator<Item = (&Item, &ScopeColumn)> {
        self.items
            .iter()
            .filter(|item| item.columns_visible)
            .flat_map(|item| item.columns.iter().map(move |column| (item, column)))
    }

    /// Adds the items of another FROM element.
    ///
    /// # Errors
    /// 42712: an alias is used twice.
    pub(super) fn add(&mut self, items: Vec<Item>) -> Result<()> {
        for item in &items {
            if let Some(name) = &item.name {
                let same = |known: &&Item| known.name.as_ref() == Some(name);
                if self.items.iter().any(|known| same(&known)) {
                    let message = format!("table name \"{name}\" specified more than once");
                    return Err(Error::new(SqlState::DUPLICATE_ALIAS, message));
                }
            }
        }
        self.items.extend(items);
        Ok(())
    }
}

/// Whether a name with a schema before it means this table.
fn is_meant(table: &Table, qualifier: &QualifiedName) -> bool {
    match &qualifier.schema {
        Some(schema) if system_catalog::is_system_schema(schema) => {
            system_catalog::find(Some(schema), &qualifier.name).is_some_and(|known| known.oid == table.oid)
        }
        _ => qualifier.is_public() && table.name == qualifier.name,
    }
}

impl Item {
    /// A FROM item that is a table. `alias` is its name in SQLite's text, `name` the one that the statement gives it.
    pub(super) fn of_table(table: &Arc<Table>, name: String, alias: &str) -> Item {
        let columns = table
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| ScopeColumn {
                name: column.name.clone(),
                sql: format!("{alias}.{}", super::names::quote(&column.name)),
                data_type: column.data_type,
                modifier: column.modifier,
                not_null: column.not_null,
                table_oid: table.oid,
                attribute: i16::try_from(index + 1).unwrap_or(i16::MAX),
                relation: alias.to_owned(),
            })
            .collect();
        Item {
            name: Some(name),
            columns,
            columns_visible: true,
            table: Some(Arc::clone(table)),
            alias: alias.to_owned(),
            scalar: false,
            missing: Missing::Never,
        }
    }

    /// An outer join may fill these columns with NULL.
    pub(super) fn make_nullable(&mut self) {
        if self.missing == Missing::Never {
            let sure = self.columns.iter().find(|column| column.not_null);
            self.missing = sure.map_or(Missing::Untold, |column| Missing::WithNull(column.sql.clone()));
        }
        for column in &mut self.columns {
            column.not_null = false;
        }
    }
}

impl ScopeColumn {
    /// A reference to this column, `level` queries out.
    pub(super) fn reference(&self, level: usize, qualifier: Option<&str>, position: Option<u32>) -> (Typed, ColumnUse) {
        let display = match qualifier {
            Some(qualifier) => format!("{qualifier}.{}", self.name),
            None => self.name.clone(),
        };
        let column_use = ColumnUse {
            sql: self.sql.clone(),
            relation: self.relation.clone(),
            display,
            position,
            in_subquery: level > 0,
        };
        let facts =
            Facts { not_null: self.not_null, own_columns: level == 0, outer_columns: level > 0, ..Facts::default() };
        let origin = match self.table_oid {
            0 => Origin::Computed,
            table_oid => Origin::Column { table_oid, attribute: self.attribute },
        };
        let typed = Typed { sql: self.sql.clone(), data_type: self.data_type, modifier: self.modifier, origin, facts };
        (typed, column_use)
    }
}
