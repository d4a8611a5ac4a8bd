//! What statements give back, whatever database ran them.

use crate::types::{Format, PgType};

#[derive(Clone, Debug, PartialEq)]
pub struct OutputColumn {
    pub name: String,
    /// `unknown` for a type that shardd does not know: [`OutputColumn::foreign`] tells it then.
    pub data_type: PgType,
    /// `atttypmod`, or -1.
    pub modifier: i32,
    /// The table and column (from 1) that it is read from, or 0 and 0.
    pub table_oid: u32,
    pub attribute: i16,
    /// A type of the shards' own: an enum, a domain, an extension's.
    pub foreign: Option<ForeignType>,
}

/// A type as RowDescription tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignType {
    pub oid: u32,
    /// `typlen`.
    pub size: i16,
}

impl OutputColumn {
    /// Whether it is told alike, but for where it is read from: each server numbers its tables by itself.
    pub fn is_alike(&self, other: &OutputColumn) -> bool {
        let told = |column: &OutputColumn| (column.data_type, column.modifier, column.foreign);
        self.name == other.name && told(self) == told(other)
    }

    pub fn type_oid(&self) -> u32 {
        self.foreign.map_or_else(|| self.data_type.oid(), |foreign| foreign.oid)
    }

    /// `typlen`.
    pub fn type_size(&self) -> i16 {
        self.foreign.map_or_else(|| self.data_type.size(), |foreign| foreign.size)
    }
}

/// The word of the command tag; the row counts are added when they are known (`INSERT 0 3`, `SELECT 5`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    Select,
    /// A SELECT behind a write within WITH.
    SelectAndWrite,
    Insert,
    Update,
    Delete,
    Merge,
}

/// The format of each result column, as a Bind message gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Formats {
    #[default]
    AllText,
    AllBinary,
    Each(Vec<Format>),
}

impl Formats {
    /// The same, with `columns` more behind those that are named.
    #[must_use]
    pub fn with_more(&self, columns: usize) -> Formats {
        let mut formats = self.clone();
        if let Formats::Each(each) = &mut formats {
            each.extend(std::iter::repeat_n(Format::default(), columns));
        }
        formats
    }

    pub fn of(&self, column: usize) -> Format {
        match self {
            Formats::AllText => Format::Text,
            Formats::AllBinary => Format::Binary,
            Formats::Each(formats) => formats.get(column).copied().unwrap_or_default(),
        }
    }
}
