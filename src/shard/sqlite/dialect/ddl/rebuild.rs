//! SQLite's way to change what its ALTER TABLE cannot: a new table, the old one's rows, and the old one's name.
//!
//! <https://www.sqlite.org/lang_altertable.html#otheralter>

use super::super::names::{quote, quote_text};
use super::Change;
use super::create_index::{index_statement, read_definition};
use super::sqlite_table::create_statement;
use crate::error::{Result, SqlState};
use crate::topology::Table;

/// The table's name while it has two forms.
const NEW: &str = "shardd_rebuild";

/// What fills the new table's columns, and what must hold of the old rows.
#[derive(Default)]
pub(super) struct Copy {
    /// For each new column: its value, over the old table's columns.
    pub(super) values: Vec<String>,
    pub(super) demands: Vec<Demand>,
}

/// A test of the old rows, and what to say when it fails.
pub(super) struct Demand {
    /// A condition over one row, or over no row at all, that is true when something is wrong.
    pub(super) wrong: String,
    pub(super) sqlstate: SqlState,
    pub(super) message: String,
}

impl Copy {
    /// All columns as they are.
    pub(super) fn of(table: &Table) -> Copy {
        Copy { values: table.columns.iter().map(|column| quote(&column.name)).collect(), demands: Vec::new() }
    }
}

impl Change<'_> {
    /// Writes a table anew. `table` is its new form; its name is the old one's.
    pub(super) fn rebuild(&mut self, table: &Table, copy: &Copy) -> Result<()> {
        self.statements.push(create_statement(table, &self.schema, NEW)?);
        let names: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
        let demands: Vec<String> = copy
            .demands
            .iter()
            .map(|demand| {
                let (state, message) = (quote_text(demand.sqlstate.code()), quote_text(&demand.message));
                format!("CASE WHEN {} THEN pg_raise({state}, {message}) ELSE 1 END", demand.wrong)
            })
            .collect();
        let condition = if demands.is_empty() { String::new() } else { format!(" WHERE {}", demands.join(" AND ")) };
        self.statements.push(format!(
            "INSERT INTO {} ({}) SELECT {} FROM {}{condition}",
            quote(NEW),
            names.join(", "),
            copy.values.join(", "),
            quote(&table.name)
        ));
        self.statements.push(format!("DROP TABLE {}", quote(&table.name)));
        self.rebuilt.insert(table.name.clone());
        self.statements.push(format!("ALTER TABLE {} RENAME TO {}", quote(NEW), quote(&table.name)));
        for index in &table.indexes {
            self.statements.push(index_statement(&read_definition(index)?, table, &self.schema)?);
        }
        Ok(())
    }
}
