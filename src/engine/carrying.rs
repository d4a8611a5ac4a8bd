//! Rows on their way from the shards where they were read, or taken out, to those where they belong.
//!
//! They are inserted as a client would insert them: with values as parameters, some hundred rows in one statement, which is
//! planned, split by its rows' keys and run like any other. What the database does when it assigns a value to a column, it
//! does there.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::passing_on::types_for_part;
use super::session::{Execution, Scope, Session};
use crate::error::{Error, Result, SqlState};
use crate::shard::{Formats, OutputColumn, RawParameters, RowBatch, Rows, Written};
use crate::sql;
use crate::topology::Table;
use crate::types::{Format, PgType};

/// How many rows one statement inserts. Fewer are sent in powers of two, so that few texts are planned.
const ROWS_AT_ONCE: usize = 256;

/// Rows that were read.
#[derive(Debug)]
pub(super) struct Carried {
    columns: Arc<[OutputColumn]>,
    formats: Formats,
    /// Their frames, of [`RowBatch`].
    rows: Vec<Bytes>,
    bytes: usize,
}

/// Where rows are inserted.
#[derive(Debug)]
pub(super) struct Inserting<'a> {
    pub(super) table: &'a Table,
    /// The columns that the values are for, as numbers of the table's.
    pub(super) columns: &'a [usize],
    /// The statement up to VALUES.
    pub(super) head: &'a str,
    /// The statement behind them, in the client's own text.
    pub(super) rest: &'a str,
    /// All in one statement.
    pub(super) at_once: bool,
}

impl Carried {
    pub(super) fn new(columns: Arc<[OutputColumn]>, formats: Formats) -> Carried {
        Carried { columns, formats, rows: Vec::new(), bytes: 0 }
    }

    /// The formats to ask for: binary where shardd knows the type, and text where its number may be another on each shard.
    pub(super) fn formats_for<'c>(known: impl Iterator<Item = &'c bool>) -> Formats {
        Formats::Each(known.map(|known| if *known { Format::Binary } else { Format::Text }).collect())
    }

    /// Takes rows to their end.
    ///
    /// # Errors
    /// 54000: with those before they are more than `max_bytes`; or a shard failed.
    pub(super) async fn take(&mut self, mut rows: Rows, max_bytes: usize, table: &Table) -> Result<()> {
        while let Some(batch) = rows.next().await? {
            self.bytes += batch.frames.len();
            if self.bytes > max_bytes {
                return Err(too_many(table, max_bytes));
            }
            self.add(batch);
        }
        Ok(())
    }

    fn add(&mut self, batch: RowBatch) {
        let mut frames = batch.frames.freeze();
        while let Some(length) = frames.get(1..5) {
            let length = 1 + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
            self.rows.push(frames.split_to(length.min(frames.len())));
        }
    }

    /// How each value is sent: the type that it is declared to have (0: the one that its place gives it), and its format.
    ///
    /// # Errors
    /// 0A000: a value that only its own shard can read.
    fn parameters(&self, into: &Inserting<'_>) -> Result<Vec<(u32, Format)>> {
        let columns = self.columns.iter().zip(into.columns).enumerate();
        columns
            .map(|(number, (column, target))| sent_as(column, self.formats.of(number), into.table, *target))
            .collect()
    }

    pub(super) fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    /// The number of the column of this name.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub(super) fn rows(&self) -> &[Bytes] {
        &self.rows
    }

    pub(super) fn format(&self, column: usize) -> Format {
        self.formats.of(column)
    }

    /// # Errors
    /// There is no such column.
    pub(super) fn column(&self, number: usize) -> Result<&OutputColumn> {
        self.columns.get(number).ok_or_else(|| Error::internal("a read gave fewer columns than it was asked for"))
    }
}

/// How a value is sent that is assigned to a column (a number of the table's): the type that it is declared to have, and its
/// format.
///
/// # Errors
/// 0A000: only its own shard can read it.
pub(super) fn sent_as(value: &OutputColumn, format: Format, table: &Table, column: usize) -> Result<(u32, Format)> {
    let target = table.columns.get(column).and_then(|column| column.known_type());
    let is_text = matches!(target, Some(PgType::Text | PgType::Varchar | PgType::Bpchar | PgType::Name | PgType::Char));
    match value.data_type {
        _ if value.foreign.is_some() && format == Format::Binary => Err(unreadable(table, value)),
        _ if value.foreign.is_some() => Ok((0, Format::Text)),
        // A string or NULL without a type, which the statement as a whole gives the column's; otherwise the shard would have
        // refused it.
        PgType::Text | PgType::Unknown if !is_text => Ok((0, Format::Text)),
        PgType::Unknown => Ok((PgType::Text.oid(), Format::Text)),
        data_type => Ok((data_type.oid(), format)),
    }
}

impl Session {
    /// Inserts rows where their keys say, within the open transaction.
    ///
    /// # Errors
    /// A shard's own; 54000 when they have to be, and cannot be, in one statement.
    pub(super) async fn insert_carried(
        &mut self,
        carried: Carried,
        into: &Inserting<'_>,
        execution: &Execution,
    ) -> Result<Written> {
        let mut all = Written::default();
        let sent = carried.parameters(into)?;
        let uses_parameters = sql::lift(into.rest)?.client_parameters > 0;
        let own = if uses_parameters { own_parameters(execution) } else { Vec::new() };
        let width = sent.len().max(1);
        let mut at_most = (sql::MAX_PARAMETERS - own.len().min(sql::MAX_PARAMETERS)) / width;
        if !into.at_once {
            at_most = at_most.min(ROWS_AT_ONCE);
        } else if carried.rows.len() > at_most {
            return Err(not_at_once(into.table, at_most));
        }
        let mut rest = carried.rows.as_slice();
        while !rest.is_empty() {
            let count = match into.at_once {
                true => rest.len(),
                false => 1 << rest.len().min(at_most.max(1)).ilog2(),
            };
            let (rows, after) = rest.split_at(count);
            rest = after;
            let written = Box::pin(self.insert_rows(rows, &sent, &own, into, execution)).await?;
            all.append(written);
        }
        Ok(all)
    }

    /// One statement.
    async fn insert_rows(
        &mut self,
        rows: &[Bytes],
        sent: &[(u32, Format)],
        own: &[OwnParameter],
        into: &Inserting<'_>,
        execution: &Execution,
    ) -> Result<Written> {
        let mut text = format!("{} VALUES ", into.head);
        let mut oids: Vec<u32> = own.iter().map(|own| own.oid).collect();
        let mut raw = RawParameters {
            formats: own.iter().map(|own| own.format).collect(),
            values: own.iter().map(|own| own.value.clone()).collect(),
        };
        for (row, frame) in rows.iter().enumerate() {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for (column, value) in values(frame)?.into_iter().enumerate() {
                let (oid, format) =
                    *sent.get(column).ok_or_else(|| Error::internal("a row has more values than columns"))?;
                oids.push(oid);
                raw.formats.push(format);
                raw.values.push(value);
                let comma = if column == 0 { "" } else { ", " };
                // Writing to a String does not fail.
                let _ = write!(text, "{comma}${}", raw.values.len());
            }
            text.push(')');
        }
        text.push(' ');
        text.push_str(into.rest);
        let oids = types_for_part(&oids, &text)?;
        let prepared = match into.at_once {
            true => self.prepare_apart(&text, &oids),
            false => self.prepare_checked(&text, &oids),
        };
        let prepared = prepared.map_err(Error::without_position)?;
        self.describe(&prepared).await.map_err(Error::without_position)?;
        let formats = execution.formats.clone();
        let answer = Box::pin(self.run(&Arc::new(prepared), raw, formats, Scope::Alone)).await;
        answer.map_err(Error::without_position)?.into_written().await
    }
}

/// A parameter of the client's own.
#[derive(Debug)]
pub(super) struct OwnParameter {
    pub(super) oid: u32,
    pub(super) format: Format,
    pub(super) value: Option<Bytes>,
}

/// The client's parameters with the types that the statement as a whole gives them.
pub(super) fn own_parameters(execution: &Execution) -> Vec<OwnParameter> {
    let oids = match execution.statement.description() {
        Some(description) => description.sent_oids.clone(),
        None => execution.statement.parameter_oids(),
    };
    let raw = &execution.raw;
    let format = |number: usize| match raw.formats.as_slice() {
        [] => Format::Text,
        [one] => *one,
        each => each.get(number).copied().unwrap_or_default(),
    };
    let values = raw.values.iter().enumerate();
    let own = values.map(|(number, value)| OwnParameter {
        oid: oids.get(number).copied().unwrap_or_default(),
        format: format(number),
        value: value.clone(),
    });
    own.collect()
}

/// The first of the client's parameters, for a part of its statement that has no others.
pub(super) fn first_parameters(execution: &Execution, count: usize) -> (Vec<u32>, RawParameters) {
    let mut own = own_parameters(execution);
    own.truncate(count);
    let oids = own.iter().map(|own| own.oid).collect();
    let formats = own.iter().map(|own| own.format).collect();
    (oids, RawParameters { formats, values: own.into_iter().map(|own| own.value).collect() })
}

/// The values of a DataRow frame; `None` is NULL.
pub(super) fn values(frame: &Bytes) -> Result<Vec<Option<Bytes>>> {
    let short = || Error::internal("a row ends before its values do");
    let four = |at: usize| -> Result<i32> {
        let bytes = frame.get(at..at + 4).ok_or_else(short)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let count = frame.get(5..7).ok_or_else(short)?;
    let count = usize::from(u16::from_be_bytes([count[0], count[1]]));
    let mut at = 7;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let length = four(at)?;
        at += 4;
        let Ok(length) = usize::try_from(length) else {
            all.push(None);
            continue;
        };
        if at + length > frame.len() {
            return Err(short());
        }
        all.push(Some(frame.slice(at..at + length)));
        at += length;
    }
    Ok(all)
}

pub(super) fn too_many(table: &Table, max_bytes: usize) -> Error {
    Error::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("the rows to write into \"{}\" on several shards take more than {max_bytes} bytes", table.name),
    )
    .table(&table.name)
    .hint("Nothing was written. Write fewer rows at a time, or raise limits.gather_max_bytes.")
}

fn not_at_once(table: &Table, at_most: usize) -> Error {
    Error::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("INSERT ... ON CONFLICT DO UPDATE of more than {at_most} rows of a query that reads several shards"),
    )
    .table(&table.name)
    .hint("Nothing was written. Insert fewer rows at a time: one statement has to see which of them are the same.")
}

fn unreadable(table: &Table, column: &OutputColumn) -> Error {
    Error::unsupported(
        format!("a value of a type of the shards' own (\"{}\") for \"{}\", across shards", column.name, table.name),
        "Cast it to text and then to the column's type.",
    )
    .table(&table.name)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn a_frame_gives_its_values() {
        let mut carried = Carried::new(Arc::from([]), Formats::AllText);
        let mut batch = RowBatch::default();
        batch.push_text_row(&["a", ""]);
        batch.push_text_row(&["bc"]);
        batch.frames.extend_from_slice(&[b'D', 0, 0, 0, 10, 0, 1, 255, 255, 255, 255]);
        carried.add(batch);
        let rows: Vec<_> = carried.rows.iter().map(|row| values(row).unwrap()).collect();
        let some = |text: &'static str| Some(Bytes::from(text));
        assert_eq!(rows, [vec![some("a"), some("")], vec![some("bc")], vec![None]]);
        let cut = BytesMut::from(&[b'D', 0, 0, 0, 10, 0, 1, 0, 0, 0, 9][..]).freeze();
        assert!(values(&cut).is_err());
    }
}
