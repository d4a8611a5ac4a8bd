//! Writes that a client sends without waiting for the answer to the last: they are handed to their shard one behind the
//! other, so that one wait for the disk serves many of them.
//!
//! Only what cannot be told from running them in turn: single statements that commit by themselves, on one SQLite shard,
//! whose writer takes them in the order in which it is given them. Whatever follows on another shard, or reads, waits until
//! they are settled.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::answer::Answer;
use super::parameters;
use super::recording::{RanOn, Recording, kind};
use super::session::{Execution, Scope, Session};
use super::statement::Prepared;
use crate::error::Result;
use crate::metrics::{InFlight, Outcome};
use crate::plan::Plan;
use crate::shard::sqlite::SubmittedWrite;
use crate::shard::{Formats, Program, RawParameters, Shard, ShardKind, is_schema_changed};
use crate::topology::slot_of;
use crate::types::Datum;

/// Bytes of parameters that a write may have which is handed on before its turn to be answered.
const AHEAD_BYTES: usize = 16 * 1024;

/// A write that its shard has and nobody was told of.
pub struct Submitted {
    written: SubmittedWrite,
    execution: Execution,
    started: Instant,
    in_flight: InFlight,
    /// Outlives what waits in its line.
    shard: Arc<Shard>,
}

impl Session {
    /// Whether a statement is such a write, as far as can be told without its parameters.
    pub fn may_submit(&self, prepared: &Prepared) -> bool {
        self.engine.kind == ShardKind::Sqlite
            && matches!(prepared.statement.plan, Plan::Insert(_) | Plan::Write(_))
            // Without rows: they would have to be kept until the writes before are settled.
            && prepared.statement.columns().is_none()
            && self.transaction.is_none()
            && !self.settings.default_read_only
    }

    /// Hands a write that stands alone to its shard, and does not wait for it: [`Session::settle`] does. `last` is the one
    /// that was handed on before and is not settled yet.
    ///
    /// # Errors
    /// The parameters, when the write must be run by [`Session::execute`] once those before it are settled.
    pub fn submit(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: RawParameters,
        last: Option<&Submitted>,
    ) -> Result<Submitted, RawParameters> {
        let in_flight = self.engine.in_flight(self.door);
        let Some((shard, parameters_of_now)) = self.goes_ahead(prepared, &parameters, last) else {
            return Err(parameters);
        };
        let started = Instant::now();
        if last.is_none() {
            self.cancel.clear();
        }
        let mut execution = Execution {
            prepared: Arc::clone(prepared),
            statement: Arc::clone(&prepared.statement),
            raw: Arc::default(),
            parameters: parameters_of_now.into(),
            formats: Formats::AllText,
            scope: Scope::Alone,
            environment: OnceLock::new(),
        };
        let Some(Program::Sqlite(program)) = &prepared.statement.program else { return Err(parameters) };
        let call = self.sqlite_call(&execution, program, Formats::AllText);
        match shard.sqlite().and_then(|sqlite| sqlite.submit(call)) {
            Ok(written) => {
                execution.raw = Arc::new(parameters);
                Ok(Submitted { written, execution, started, in_flight, shard })
            }
            // It is refused once more in its turn, or let in.
            Err(_) => Err(parameters),
        }
    }

    /// The shard and the values of a write that may be handed on before the last is answered.
    fn goes_ahead(
        &self,
        prepared: &Prepared,
        raw: &RawParameters,
        last: Option<&Submitted>,
    ) -> Option<(Arc<Shard>, Vec<Datum>)> {
        let statement = &prepared.statement;
        let topology = self.engine.live.snapshot();
        let small = raw.values.iter().flatten().map(bytes::Bytes::len).sum::<usize>() <= AHEAD_BYTES;
        let current = Arc::ptr_eq(&statement.schema, &topology.schema);
        // Of the same schema as the last, so that both fail together when it changes before their turn.
        let follows = last.is_none_or(|last| Arc::ptr_eq(&last.execution.statement.schema, &statement.schema));
        if !small || !current || !follows || !self.may_submit(prepared) {
            return None;
        }
        let mut values = parameters::decode(statement, prepared, raw, self.settings.text_style()).ok()?;
        values.extend_from_slice(&prepared.literals);
        let id = match &statement.plan {
            Plan::Insert(insert) => {
                let keyspace = topology.keyspace(&insert.keyspace)?;
                let assigned = statement.assigned_parameters(&values);
                let mut owners = (0..insert.row_keys.len()).map(|row| {
                    let slot = slot_of(&insert.row_key(row, &assigned).ok()?);
                    (!keyspace.held.contains(slot)).then(|| keyspace.owner(slot))
                });
                let first = owners.next()??;
                owners.all(|owner| owner == Some(first)).then_some(first)?
            }
            Plan::Write(write) => {
                let targets = write.route.shards(&statement.compared_parameters(&values), &topology).ok()?;
                // While slots move there is more to look at.
                let [only] = targets.shards[..] else { return None };
                (!self.engine.live.is_moving()).then_some(only)?
            }
            _ => return None,
        };
        if last.is_some_and(|last| last.shard.id() != id) {
            return None;
        }
        Some((self.engine.shard(id).ok()?, values))
    }

    /// Waits for a write that was handed on, and gives its answer.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn settle(&mut self, submitted: Submitted) -> Result<Answer> {
        let Submitted { written, execution, started, in_flight, shard } = submitted;
        let written = written.written().await;
        if written.as_ref().is_err_and(is_schema_changed) {
            // Those that were handed on after it met the same, and run again after it.
            let Execution { prepared, raw, formats, scope, .. } = execution;
            let raw = RawParameters { formats: raw.formats.clone(), values: raw.values.clone() };
            return self.execute(&prepared, raw, formats, scope).await;
        }
        self.risk_numbers(&execution.statement);
        let answer = written.map(|written| self.answer_of_write(&execution, written));
        let recording = Recording {
            shard: self.engine.metrics_of(RanOn::One(shard.id())),
            door: self.door,
            kind: kind(&execution.statement.plan),
            started,
            outcome: Outcome::of(&answer),
            _in_flight: in_flight,
        };
        answer.map(|answer| Answer { recording: Some(recording), ..answer })
    }
}

impl std::fmt::Debug for Submitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submitted").field("shard", &self.shard.id()).finish_non_exhaustive()
    }
}
