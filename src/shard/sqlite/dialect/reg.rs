//! The `reg` types: oids that are written and shown as the names of what they stand for.
//!
//! A cell holds the oid. Types, functions and schemas are the same everywhere, so their names are too; tables and users
//! are looked up in the system catalog, which only statements that run there can do.

use super::Translator;
use super::query::{QueryOutput, numbered};
use super::typed::Typed;
use crate::error::Result;
use crate::types::PgType;

impl Translator<'_> {
    /// The oid that a text means.
    pub(super) fn read_reg(&mut self, value: &Typed, to: PgType) -> Result<String> {
        let sql = &value.sql;
        Ok(match to {
            PgType::Regclass => {
                self.look_up("a cast to regclass")?;
                format!(
                    "pg_reg_found({sql}, (SELECT oid FROM shardd_relation WHERE name = pg_qualified_name({sql})), \
                     'relation')"
                )
            }
            PgType::Regrole => {
                self.look_up("a cast to regrole")?;
                format!("pg_reg_found({sql}, (SELECT oid FROM pg_authid WHERE rolname = {sql}), 'role')")
            }
            _ => format!("pg_reg_read({sql}, '{}')", to.name()),
        })
    }

    /// How an oid is shown.
    pub(super) fn show_reg(&mut self, sql: &str, data_type: PgType) -> Result<String> {
        let (lookup, shown) = match data_type {
            PgType::Regclass => ("shardd_regclass", "shown"),
            PgType::Regrole => ("pg_authid", "pg_quote_ident(rolname)"),
            _ => return Ok(format!("pg_reg_show({sql}, '{}')", data_type.name())),
        };
        self.look_up(&format!("a value of type {data_type}"))?;
        let found = format!("(SELECT {shown} FROM {lookup} WHERE oid = {sql})");
        Ok(format!("coalesce({found}, CASE {sql} WHEN 0 THEN '-' ELSE CAST({sql} AS TEXT) END)"))
    }

    /// A query whose names of tables and users go to the client: each value with the oid before it, since the client
    /// may ask for either.
    pub(super) fn show_reg_columns(&mut self, output: QueryOutput) -> Result<QueryOutput> {
        let is_shown = |data_type| matches!(data_type, PgType::Regclass | PgType::Regrole);
        if !output.columns.iter().any(|column| is_shown(column.data_type)) {
            return Ok(output);
        }
        let alias = self.alias();
        let mut list = Vec::with_capacity(output.columns.len());
        for (index, (column, name)) in output.columns.iter().zip(&output.column_names).enumerate() {
            let mut value = format!("{alias}.{name}");
            if is_shown(column.data_type) {
                value = format!("({value} || ' ' || {})", self.show_reg(&value, column.data_type)?);
            }
            list.push(format!("{value} AS c{}", index + 1));
        }
        let sql = format!("SELECT {} FROM ({}) AS {alias}", list.join(", "), output.sql);
        Ok(QueryOutput { sql, column_names: numbered(output.columns.len()), ..output })
    }
}
