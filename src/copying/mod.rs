//! COPY's three formats: rows on their way in and out, as Postgres reads and writes them.
//!
//! Rows come in as a stream of bytes that is cut anywhere. [`Splitter`] finds their ends and one field of each, which is
//! what tells its shard; the rest is passed on as it is. [`Encoder`] writes rows that were read by a query.
//!
//! <https://www.postgresql.org/docs/current/sql-copy.html>

mod encode;
mod field;
mod lines;
mod split;

pub use encode::Encoder;
pub use field::fields;
pub use lines::Lines;
pub use split::{Item, Row, Splitter};

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Text,
    Csv,
    Binary,
}

/// Whether the first line has the columns' names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header {
    #[default]
    Absent,
    Present,
    /// It must name the columns that are copied.
    Match,
}

/// The columns that an option is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    #[default]
    None,
    All,
    Named(Vec<String>),
}

impl Columns {
    pub fn contain(&self, name: &str) -> bool {
        match self {
            Columns::None => false,
            Columns::All => true,
            Columns::Named(names) => names.iter().any(|known| known == name),
        }
    }
}

/// How one COPY's rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Style {
    pub form: Form,
    pub header: Header,
    pub delimiter: u8,
    pub null: String,
    pub quote: u8,
    pub escape: u8,
    /// On the way out: values that are quoted whatever is in them.
    pub force_quote: Columns,
    /// On the way in: values that are never NULL.
    pub force_not_null: Columns,
    /// On the way in: values that are NULL also in quotes.
    pub force_null: Columns,
}

impl Style {
    /// What a form is like where nothing else is said.
    pub fn of(form: Form) -> Style {
        let csv = form == Form::Csv;
        Style {
            form,
            header: Header::Absent,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".to_owned() },
            quote: b'"',
            escape: b'"',
            force_quote: Columns::None,
            force_not_null: Columns::None,
            force_null: Columns::None,
        }
    }
}

/// What begins rows in binary form, without its flags.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

#[cfg(test)]
mod tests;
