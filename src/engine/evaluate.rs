//! Values of expressions that belong to no table: the arguments of EXECUTE.

use std::sync::Arc;

use bytes::Bytes;

use super::merge::column_slices;
use super::session::{Execution, Session};
use crate::error::{Error, Result};
use crate::shard::Formats;
use crate::shard::sqlite::dialect::{self, ParameterTypes};
use crate::sql::{self, Tree, ast};
use crate::topology::Schema;
use crate::types::PgType;

impl Session {
    /// The values, in binary form, each cast to its type; `None` is NULL.
    ///
    /// # Errors
    /// An expression names a column, or its value does not fit the type.
    pub(super) async fn evaluate(
        &mut self,
        expressions: &[ast::Expr],
        types: &[PgType],
        execution: &Execution,
    ) -> Result<Vec<Option<Bytes>>> {
        if expressions.is_empty() {
            return Ok(Vec::new());
        }
        let casts: Vec<String> = expressions
            .iter()
            .zip(types)
            .map(|(expression, data_type)| format!("CAST(({expression}) AS {})", cast_name(*data_type)))
            .collect();
        let text = format!("SELECT {}", casts.join(", "));
        let declared = execution.statement.placeholder_types();
        let parsed = sql::parse(&text, declared.len(), Vec::new()).map_err(Error::without_position)?;
        let Tree::Sql(tree) = &parsed.tree else { return Err(Error::internal("a SELECT was not read as one")) };
        let parameters = ParameterTypes {
            text: &text,
            declared: &declared,
            client_parameters: declared.len(),
            lifted: &[],
            overriding: None,
        };
        let program = dialect::translate(tree, &Schema::default(), parameters).map_err(Error::without_position)?;
        self.look_around(&program, execution).await?;
        let call = self.sqlite_call(execution, &Arc::new(program), Formats::AllBinary);
        let mut rows = self.engine.scratch.run(call).await?;
        let batch = rows.next().await?.ok_or_else(|| Error::internal("a SELECT without a table gave no row"))?;
        let row = batch.frames.freeze();
        let values = column_slices(&row)?;
        Ok(values.into_iter().map(|value| value.map(|value| row.slice_ref(value))).collect())
    }
}

/// The type's name for a value of any length: `character` by itself means one character.
fn cast_name(data_type: PgType) -> &'static str {
    match data_type {
        PgType::Bpchar => "bpchar",
        other => other.sql_name(),
    }
}
