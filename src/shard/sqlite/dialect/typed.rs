//! A translated expression: SQLite's text, and what Postgres knows of it.
//!
//! Text and facts travel together, so that one pass over the tree resolves, types and emits. Names in the text are
//! unique within a statement; two expressions that mean the same have the same text.

use crate::types::PgType;

/// An expression of SQLite's, with its Postgres type.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) sql: String,
    /// `Unknown` while the context has not yet given a type.
    pub(super) data_type: PgType,
    pub(super) modifier: i32,
    pub(super) origin: Origin,
    pub(super) facts: Facts,
}

/// What an expression is, where that matters to how it is typed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// A placeholder without a type yet: a client's parameter, or a quoted literal that was lifted. From 1.
    UntypedParameter(usize),
    /// A quoted literal that was not lifted.
    UntypedText(String),
    /// `NULL`.
    Null,
    /// A column of a table: the table's oid and the column's number from 1.
    Column {
        table_oid: u32,
        attribute: i16,
    },
    /// A value that is the same for the whole statement.
    Constant,
    Computed,
}

/// What must be known of an expression's parts once they are put together.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) not_null: bool,
    pub(super) aggregate: bool,
    pub(super) window: bool,
    pub(super) set_returning: bool,
    /// The first column outside aggregates that the GROUP BY clause does not give a value.
    pub(super) ungrouped: Option<ColumnUse>,
    /// A column of the query itself, or of one around it, is used.
    pub(super) own_columns: bool,
    pub(super) outer_columns: bool,
}

/// A reference to a column, for the message about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ColumnUse {
    pub(super) sql: String,
    /// The relation's alias in SQLite's text.
    pub(super) relation: String,
    /// `table.column`, as messages name it.
    pub(super) display: String,
    pub(super) position: Option<u32>,
    pub(super) in_subquery: bool,
}

impl Facts {
    /// Takes in what is known of a part. Whether the whole can be NULL is not for its parts to say.
    pub(super) fn add(&mut self, part: &Facts) {
        self.aggregate |= part.aggregate;
        self.window |= part.window;
        self.set_returning |= part.set_returning;
        self.own_columns |= part.own_columns;
        self.outer_columns |= part.outer_columns;
        if self.ungrouped.is_none() {
            self.ungrouped.clone_from(&part.ungrouped);
        }
    }
}

impl Typed {
    /// A value made of `parts`.
    pub(super) fn computed<'a>(sql: String, data_type: PgType, parts: impl IntoIterator<Item = &'a Typed>) -> Typed {
        let mut facts = Facts::default();
        let mut constant = true;
        for part in parts {
            facts.add(&part.facts);
            constant &= part.is_constant();
        }
        let origin = if constant { Origin::Constant } else { Origin::Computed };
        Typed { sql, data_type, modifier: -1, origin, facts }
    }

    /// A value that no column has a part in, and that is the same for the whole statement.
    pub(super) fn constant(sql: impl Into<String>, data_type: PgType) -> Typed {
        let facts = Facts { not_null: true, ..Facts::default() };
        Typed { sql: sql.into(), data_type, modifier: -1, origin: Origin::Constant, facts }
    }

    pub(super) fn null() -> Typed {
        Typed {
            sql: "NULL".to_owned(),
            data_type: PgType::Unknown,
            modifier: -1,
            origin: Origin::Null,
            facts: Facts::default(),
        }
    }

    pub(super) fn not_null(mut self) -> Typed {
        self.facts.not_null = true;
        self
    }

    /// A literal or parameter whose type the context gives.
    pub(super) fn is_untyped(&self) -> bool {
        self.data_type == PgType::Unknown
    }

    pub(super) fn is_constant(&self) -> bool {
        matches!(self.origin, Origin::Constant | Origin::Null | Origin::UntypedParameter(_) | Origin::UntypedText(_))
    }
}
