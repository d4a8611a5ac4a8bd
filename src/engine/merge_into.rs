//! MERGE whose source does not lie with the table: the source is read, and each shard merges those of its rows whose key it
//! has, in one statement, since a row of the table may meet only one row of the source.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::Answer;
use super::carrying::{Carried, own_parameters, values};
use super::session::{Execution, Scope, Session};
use super::write::written_answer;
use crate::error::{Error, Result, SqlState};
use crate::plan::MergeAcross;
use crate::shard::{RawParameters, Written};
use crate::sql::{self, MergeClauses, quote_identifier};
use crate::types::{Datum, Format, PgType, ShardId};

impl Session {
    pub(super) async fn merge_across(&mut self, merge: &MergeAcross, execution: &Execution) -> Result<Answer> {
        let text = Arc::clone(&execution.prepared.text);
        let clauses = sql::merge_clauses(&text)?.ok_or_else(|| Error::internal("a MERGE without its clauses"))?;
        let own = self.open_spanning(execution)?;
        let outcome = self.read_and_merge(merge, &clauses, execution).await;
        let written = self.close_spanning(own, outcome).await?;
        Ok(written_answer(execution, written))
    }

    async fn read_and_merge(
        &mut self,
        merge: &MergeAcross,
        clauses: &MergeClauses<'_>,
        execution: &Execution,
    ) -> Result<Written> {
        let source = format!("{} SELECT * FROM {}", clauses.with, clauses.source);
        let carried = self.carried_by(source.trim_start(), &merge.table, execution).await?;
        let own = match sql::lift(clauses.rest)?.client_parameters {
            0 => Vec::new(),
            _ => own_parameters(execution),
        };
        let sent = merge.sent(&carried)?;
        let mut all = Written::default();
        for (_, rows) in self.rows_of_source(merge, &carried)? {
            if own.len() + rows.len() * sent.len() > sql::MAX_PARAMETERS {
                return Err(too_many(
                    merge,
                    (sql::MAX_PARAMETERS - own.len().min(sql::MAX_PARAMETERS)) / sent.len().max(1),
                ));
            }
            let mut oids: Vec<u32> = own.iter().map(|own| own.oid).collect();
            let mut raw = RawParameters {
                formats: own.iter().map(|own| own.format).collect(),
                values: own.iter().map(|own| own.value.clone()).collect(),
            };
            let list = value_list(raw.values.len(), rows.len(), sent.len());
            for row in rows {
                for (value, (oid, format)) in row.into_iter().zip(&sent) {
                    oids.push(*oid);
                    raw.formats.push(*format);
                    raw.values.push(value);
                }
            }
            let columns = merge.columns(&carried)?;
            let statement = format!(
                "{} USING (VALUES {list}) AS {} ({columns}) {}",
                clauses.target,
                quote_identifier(&merge.source),
                clauses.rest
            );
            let prepared = self.prepare_apart(&statement, &oids).map_err(Error::without_position)?;
            self.describe(&prepared).await.map_err(Error::without_position)?;
            let formats = execution.formats.clone();
            let answer = Box::pin(self.run(&Arc::new(prepared), raw, formats, Scope::Alone)).await;
            all.append(answer.map_err(Error::without_position)?.into_written().await?);
        }
        Ok(all)
    }

    /// The source's rows by the shard of the key that they have. Those without one meet no row: any shard may merge them.
    fn rows_of_source(
        &self,
        merge: &MergeAcross,
        carried: &Carried,
    ) -> Result<BTreeMap<ShardId, Vec<Vec<Option<Bytes>>>>> {
        let topology = self.engine.live.snapshot();
        let keyspace = topology.keyspace(&merge.keyspace).ok_or_else(|| Error::internal("no such keyspace"))?;
        let place = carried.place(&merge.key).ok_or_else(|| {
            Error::new(SqlState::UNDEFINED_COLUMN, format!("column {}.{} does not exist", merge.source, merge.key))
        })?;
        let (data_type, format) = (carried.column(place)?.data_type, carried.format(place));
        let mut rows: BTreeMap<ShardId, Vec<Vec<Option<Bytes>>>> = BTreeMap::new();
        for frame in carried.rows() {
            let row = values(frame)?;
            let value = match (row.get(place).and_then(Option::as_deref), format) {
                (None, _) => Datum::Null,
                // The blanks that it is filled up with are none of the key's.
                (Some(_), _) if data_type == PgType::Bpchar => return Err(merge.unreadable(&merge.key)),
                (Some(bytes), Format::Binary) => Datum::from_binary(data_type, bytes)?,
                (Some(_), Format::Text) => return Err(merge.unreadable(&merge.key)),
            };
            let shard = match merge.key(value)? {
                Some(key) => keyspace.owner_of(&key),
                None => *keyspace.shards.first().ok_or_else(|| Error::internal("a keyspace without shards"))?,
            };
            rows.entry(shard).or_default().push(row);
        }
        Ok(rows)
    }
}

impl MergeAcross {
    /// How each column of the source is sent: its type and format.
    fn sent(&self, carried: &Carried) -> Result<Vec<(u32, Format)>> {
        let columns = carried.columns().iter().enumerate();
        columns
            .map(|(number, column)| match column.data_type {
                _ if column.foreign.is_some() => Err(self.unreadable(&column.name)),
                PgType::Unknown => Ok((PgType::Text.oid(), Format::Text)),
                data_type => Ok((data_type.oid(), carried.format(number))),
            })
            .collect()
    }

    fn columns(&self, carried: &Carried) -> Result<String> {
        let names: Vec<String> = carried.columns().iter().map(|column| quote_identifier(&column.name)).collect();
        if names.is_empty() {
            return Err(Error::internal("a source without columns has the one that is compared"));
        }
        Ok(names.join(", "))
    }

    fn unreadable(&self, column: &str) -> Error {
        Error::unsupported(
            format!("a source with a column of a type of the shards' own (\"{column}\") in a MERGE that needs rows of other shards"),
            "Cast it to text in the source, and back where it is used.",
        )
        .table(&self.table.name)
    }
}

/// `($3, $4), ($5, $6)`, behind so many other parameters.
pub(super) fn value_list(before: usize, rows: usize, columns: usize) -> String {
    let mut list = String::with_capacity(rows * columns * 8);
    for row in 0..rows {
        list.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a String does not fail.
            let _ = write!(list, "{comma}${}", before + row * columns + column + 1);
        }
        list.push(')');
    }
    list
}

fn too_many(merge: &MergeAcross, at_most: usize) -> Error {
    Error::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("MERGE of more than {at_most} rows into one shard, of a source that is read from several"),
    )
    .table(&merge.table.name)
    .hint("Nothing was written. Merge fewer rows at a time: one statement has to see which of them meet the same row.")
}

#[cfg(test)]
mod tests {
    use super::value_list;

    #[test]
    fn values_are_numbered_behind_the_clients_own() {
        assert_eq!(value_list(2, 2, 2), "($3, $4), ($5, $6)");
        assert_eq!(value_list(0, 1, 1), "($1)");
    }
}
