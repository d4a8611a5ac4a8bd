//! A SELECT behind a write within WITH that puts together what several shards return: each shard writes, and the SELECT
//! runs in one place, over the rows of all as VALUES. All of it is one transaction.

use std::sync::Arc;

use super::answer::{Answer, RowBatch, Rows, TagCount};
use super::carrying::{first_parameters, own_parameters, values};
use super::gather::expect_types;
use super::merge_into::value_list;
use super::passing_on::types_for_part;
use super::session::{Execution, Scope, Session};
use crate::error::{Error, Result, SqlState};
use crate::plan::Plan;
use crate::shard::{Formats, OutputColumn, RawParameters};
use crate::sql::{self, WrittenWith, quote_identifier};
use crate::types::{Format, PgType};

/// What a write returned.
struct Returned {
    columns: Vec<OutputColumn>,
    rows: RowBatch,
}

impl Session {
    pub(super) async fn put_returned_together(&mut self, execution: &Execution) -> Result<Answer> {
        let text = Arc::clone(&execution.prepared.text);
        let parts = sql::written_with(&text)?;
        let parts = parts.ok_or_else(|| Error::internal("a write within WITH was not found in its text"))?;
        let own = self.open_spanning(execution)?;
        let outcome = match self.write_within(&parts, execution).await {
            Ok(returned) => self.select_over(&parts, &returned, execution).await,
            Err(error) => Err(error),
        };
        self.close_spanning(own, outcome).await
    }

    async fn write_within(&mut self, parts: &WrittenWith<'_>, execution: &Execution) -> Result<Returned> {
        let (oids, raw) = first_parameters(execution, sql::lift(parts.write)?.client_parameters);
        let oids = types_for_part(&oids, parts.write)?;
        let prepared = self.prepare_checked(parts.write, &oids).map_err(Error::without_position)?;
        if !matches!(prepared.statement.plan, Plan::Insert(_) | Plan::Write(_) | Plan::WriteReference(_)) {
            return Err(Error::internal("a write within WITH was planned as something else"));
        }
        self.describe(&prepared).await.map_err(Error::without_position)?;
        let columns = prepared.columns().map(|columns| columns.to_vec()).unwrap_or_default();
        if let Some(column) = columns.iter().find(|column| column.foreign.is_some()) {
            return Err(only_its_shard_knows(column));
        }
        let answer = Box::pin(self.run(&Arc::new(prepared), raw, Formats::AllBinary, Scope::Alone)).await;
        let max_bytes = self.engine.limits.gather_max_bytes;
        let what = "what a write within WITH returns from several shards";
        let rows = held(answer.map_err(Error::without_position)?, max_bytes, what).await?;
        Ok(Returned { columns, rows })
    }

    async fn select_over(
        &mut self,
        parts: &WrittenWith<'_>,
        returned: &Returned,
        execution: &Execution,
    ) -> Result<Answer> {
        let own = match sql::lift(parts.rest)?.client_parameters {
            0 => Vec::new(),
            _ => own_parameters(execution),
        };
        if returned.columns.is_empty() {
            refuse_what_returns_nothing(parts)?;
        }
        let width = returned.columns.len();
        let at_most = (sql::MAX_PARAMETERS - own.len().min(sql::MAX_PARAMETERS)) / width.max(1);
        if returned.rows.rows > at_most {
            return Err(too_many(at_most));
        }
        let mut oids: Vec<u32> = own.iter().map(|own| own.oid).collect();
        let mut raw = RawParameters {
            formats: own.iter().map(|own| own.format).collect(),
            values: own.iter().map(|own| own.value.clone()).collect(),
        };
        for frame in returned.rows.row_frames() {
            for (value, column) in values(&bytes::Bytes::copy_from_slice(frame))?.into_iter().zip(&returned.columns) {
                oids.push(known(column).oid());
                raw.formats.push(Format::Binary);
                raw.values.push(value);
            }
        }
        let text = over(parts, returned, own.len());
        let oids = types_for_part(&oids, &text)?;
        let prepared = self.prepare_apart(&text, &oids).map_err(Error::without_position)?;
        self.describe(&prepared).await.map_err(Error::without_position)?;
        let formats = execution.formats.clone();
        let answer = Box::pin(self.run(&Arc::new(prepared), raw, formats, Scope::Alone)).await;
        let answer = answer.map_err(Error::without_position)?;
        expect_types(execution, answer.columns.as_deref())?;
        let columns = execution.statement.columns().cloned().or_else(|| answer.columns.clone());
        let max_bytes = self.engine.limits.gather_max_bytes;
        let rows =
            held(answer, max_bytes, "the answer over what a write within WITH returns from several shards").await?;
        Ok(Answer::new(columns, Rows::Ready(rows), "SELECT", TagCount::Returned))
    }
}

/// The SELECT, behind WITH that gives the rows. Of a write that returns nothing there are none to give.
fn over(parts: &WrittenWith<'_>, returned: &Returned, before: usize) -> String {
    if returned.columns.is_empty() {
        return parts.rest.to_owned();
    }
    let columns = match parts.columns {
        "" => {
            let names: Vec<String> = returned.columns.iter().map(|column| quote_identifier(&column.name)).collect();
            format!("({})", names.join(", "))
        }
        given => given.to_owned(),
    };
    let rows = match returned.rows.rows {
        0 => {
            let none = returned.columns.iter().map(|column| format!("NULL::{}", known(column).sql_name()));
            format!("SELECT {} WHERE false", none.collect::<Vec<_>>().join(", "))
        }
        count => format!("VALUES {}", value_list(before, count, returned.columns.len())),
    };
    format!("WITH {} {columns} AS ({rows}) {}", parts.name, parts.rest)
}

/// As Postgres does. Without WITH the name could mean a table.
fn refuse_what_returns_nothing(parts: &WrittenWith<'_>) -> Result<()> {
    let name = parts.name;
    if !parts.columns.is_empty() {
        let message =
            format!("WITH query {name} has no columns, since it has no RETURNING, and is given names for some");
        return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    // The statement was planned as one that names nothing but this.
    if sql::names_relation(&sql::parse_query(parts.rest)?, |_| true) {
        let message = format!("WITH query {name} does not have a RETURNING clause");
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    Ok(())
}

/// A value without a type is a text by the time that it is returned.
fn known(column: &OutputColumn) -> PgType {
    if column.data_type == PgType::Unknown { PgType::Text } else { column.data_type }
}

/// `what` they are, for the error when they are too large.
async fn held(mut answer: Answer, max_bytes: usize, what: &str) -> Result<RowBatch> {
    let mut rows = RowBatch::default();
    while let Some(batch) = answer.next().await? {
        rows.frames.unsplit(batch.frames);
        rows.rows += batch.rows;
        if rows.frames.len() > max_bytes {
            return Err(Error::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("{what} takes more than {max_bytes} bytes"),
            )
            .hint("Nothing was written. Write fewer rows at a time, or raise limits.gather_max_bytes."));
        }
    }
    Ok(rows)
}

fn too_many(at_most: usize) -> Error {
    Error::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("a write within WITH returns more than {at_most} rows from several shards, to be put together"),
    )
    .hint("Nothing was written. Write fewer rows at a time, return fewer columns, or give the key.")
}

fn only_its_shard_knows(column: &OutputColumn) -> Error {
    Error::unsupported(
        format!(
            "a column of a type of the shards' own (\"{}\") that a write within WITH returns from several shards, to be put together",
            column.name
        ),
        "Cast it to text in RETURNING, or give the key.",
    )
}
