//! UPDATE and DELETE that need rows of other shards than those that they write: which rows, and what becomes of them, is read
//! first, and each row is written by its primary key.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::Answer;
use super::carrying::{Carried, own_parameters, sent_as, values};
use super::passing_on::types_for_part;
use super::session::{Execution, Scope, Session};
use super::write::written_answer;
use crate::error::{Error, Result, Retry, SqlState};
use crate::plan::{Keys, Route, RowByRow, Tail};
use crate::shard::{RawParameters, ShardKind, Written};
use crate::sql;
use crate::types::{Format, PgType};

/// How often a statement by itself begins again when its rows have changed meanwhile.
const ATTEMPTS: usize = 5;

impl Session {
    pub(super) async fn write_row_by_row(
        &mut self,
        plan: &RowByRow,
        route: &Route,
        execution: &Execution,
    ) -> Result<Answer> {
        for attempt in 1_usize.. {
            let own = self.open_spanning(execution)?;
            let outcome = self.read_and_write(plan, route, execution).await;
            let outcome = outcome.and_then(|written| written.ok_or_else(|| changed(plan)));
            let may_begin_again = own && attempt < ATTEMPTS && outcome.as_ref().is_err_and(is_changed);
            match self.close_spanning(own, outcome).await {
                Err(_) if may_begin_again => {}
                written => return written.map(|written| written_answer(execution, written)),
            }
        }
        Err(changed(plan))
    }

    /// `None`: a row has changed after it was read.
    async fn read_and_write(
        &mut self,
        plan: &RowByRow,
        route: &Route,
        execution: &Execution,
    ) -> Result<Option<Written>> {
        if self.engine.kind == ShardKind::Sqlite {
            // Nobody else writes there until the end.
            let topology = self.engine.live.snapshot();
            let compared = execution.statement.compared_parameters(&execution.parameters);
            let every = Route { keys: Keys::Every, ..route.clone() };
            let mut shards = every.shards(&compared, &topology)?.shards;
            shards.sort_unstable();
            for shard in shards {
                self.join_as_writer(shard).await?;
            }
        }
        let query = sql::put_literals_back(&plan.reading, &execution.prepared.text)?;
        let carried = self.carried_by(&query, &plan.table, execution).await?;
        let text = Arc::clone(&execution.prepared.text);
        let returning = sql::returning_clause(&text)?;
        let own = match sql::lift(returning)?.client_parameters {
            0 => Vec::new(),
            _ => own_parameters(execution),
        };
        let (statement, sent) = plan.statement(&carried, own.len(), returning)?;
        let oids: Vec<u32> = own.iter().map(|own| own.oid).chain(sent.iter().map(|(oid, _)| *oid)).collect();
        let formats: Vec<Format> =
            own.iter().map(|own| own.format).chain(sent.iter().map(|(_, format)| *format)).collect();
        let keys = plan.found.iter().filter(|found| found.is_key).count();
        let mut all = Written::default();
        let mut seen: HashSet<Vec<Option<Bytes>>> = HashSet::new();
        for frame in carried.rows() {
            let row = values(frame)?;
            // Several rows of FROM may fit one row: the first is taken, as the database takes any.
            if !seen.insert(row.iter().take(keys).cloned().collect()) {
                continue;
            }
            let values = own.iter().map(|own| own.value.clone()).chain(row).collect();
            let raw = RawParameters { formats: formats.clone(), values };
            let written = self.write_row(&statement, &oids, raw, execution).await?;
            if written.affected == 0 {
                return Ok(None);
            }
            all.append(written);
        }
        Ok(Some(all))
    }

    async fn write_row(
        &mut self,
        statement: &str,
        oids: &[u32],
        raw: RawParameters,
        execution: &Execution,
    ) -> Result<Written> {
        let oids = types_for_part(oids, statement)?;
        let prepared = self.prepare_checked(statement, &oids).map_err(Error::without_position)?;
        self.describe(&prepared).await.map_err(Error::without_position)?;
        let answer = Box::pin(self.run(&Arc::new(prepared), raw, execution.formats.clone(), Scope::Alone)).await;
        answer.map_err(Error::without_position)?.into_written().await
    }
}

impl RowByRow {
    /// The statement for one row, whose parameters are the values of a row that was read, behind `own` others; how they are
    /// sent.
    fn statement(&self, carried: &Carried, own: usize, returning: &str) -> Result<(String, Vec<(u32, Format)>)> {
        let mut sent = Vec::with_capacity(self.found.len() + self.set.len());
        let mut conditions = Vec::with_capacity(self.found.len());
        for (number, found) in self.found.iter().enumerate() {
            let operator = if found.is_key { "=" } else { "IS NOT DISTINCT FROM" };
            conditions.push(format!("{} {operator} ${}", found.text(), own + number + 1));
            let data_type = match found.as_text {
                true => PgType::Text,
                false => self.table.columns[found.column].data_type,
            };
            sent.push((data_type.oid(), carried.format(number)));
        }
        let mut assignments = Vec::with_capacity(self.set.len());
        for (number, column) in self.set.iter().enumerate() {
            let place = self.found.len() + number;
            let name = sql::quote_identifier(&self.table.columns[*column].name);
            assignments.push(format!("{name} = ${}", own + place + 1));
            sent.push(sent_as(carried.column(place)?, carried.format(place), &self.table, *column)?);
        }
        let (head, set) = (&self.head, assignments.join(", "));
        let set = if self.tail == Tail::Update { set } else { String::new() };
        Ok((format!("{head}{set} WHERE {} {returning}", conditions.join(" AND ")), sent))
    }
}

fn is_changed(error: &Error) -> bool {
    error.sqlstate() == SqlState::SERIALIZATION_FAILURE && error.message() == CHANGED
}

const CHANGED: &str = "could not serialize access due to concurrent update";

fn changed(plan: &RowByRow) -> Error {
    Error::new(SqlState::SERIALIZATION_FAILURE, CHANGED)
        .detail("A row was changed after it was read, in a statement that reads several shards.")
        .table(&plan.table.name)
        .retry(Retry::Safe)
        .hint("Nothing was written: run the whole transaction again.")
}
