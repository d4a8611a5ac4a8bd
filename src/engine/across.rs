//! Writes that no shard can do by itself: all in one transaction, rows are read or taken out where they are, and written
//! where they belong.

use std::sync::Arc;

use super::answer::Answer;
use super::carrying::{Carried, Inserting, first_parameters};
use super::passing_on::types_for_part;
use super::session::{Execution, Scope, Session};
use super::strays::{Reach, while_slots_move};
use super::write::{Part, together, written_answer};
use crate::error::{Error, Result};
use crate::plan::{Across, InsertAcross, Move, Plan, Targets, Write};
use crate::shard::{Program, Rows, Written};
use crate::sql::{self, InsertClauses, quote_identifier};
use crate::topology::{Identity, Table};
use crate::types::ShardId;

impl Session {
    pub(super) async fn write_across(
        &mut self,
        write: &Write,
        across: &Across,
        execution: &Execution,
    ) -> Result<Answer> {
        // What goes from shard to shard has the types that the statement as a whole gives it.
        self.describe_as(&execution.prepared, &execution.statement).await?;
        match across {
            Across::Insert(insert) => self.insert_across(insert, execution).await,
            Across::Merge(merge) => self.merge_across(merge, execution).await,
            Across::Move(movement) => self.move_rows(movement, execution).await,
            Across::RowByRow(plan) => {
                execution.statement.require_whole_tree()?;
                self.write_row_by_row(plan, &write.route, execution).await
            }
            Across::Returned => self.put_returned_together(execution).await,
        }
    }

    /// INSERT of what a query gives that reads other shards' rows, or whose rows' keys only it knows.
    async fn insert_across(&mut self, insert: &InsertAcross, execution: &Execution) -> Result<Answer> {
        let text = Arc::clone(&execution.prepared.text);
        let clauses = sql::insert_clauses(&text)?;
        let clauses = clauses.ok_or_else(|| Error::internal("an INSERT without rows was planned as one with them"))?;
        let own = self.open_spanning(execution)?;
        let outcome = self.read_and_insert(insert, &clauses, execution).await;
        let written = self.close_spanning(own, outcome).await?;
        Ok(written_answer(execution, written))
    }

    async fn read_and_insert(
        &mut self,
        insert: &InsertAcross,
        clauses: &InsertClauses<'_>,
        execution: &Execution,
    ) -> Result<Written> {
        let source = format!("{} {}", clauses.with, clauses.source);
        let carried = self.carried_by(source.trim_start(), &insert.table, execution).await?;
        let into = Inserting {
            table: &insert.table,
            columns: &insert.columns,
            head: clauses.target,
            rest: clauses.rest,
            at_once: insert.updates,
        };
        self.insert_carried(carried, &into, execution).await
    }

    /// The rows of a query that is a part of the client's statement: all of them, before any is written.
    pub(super) async fn carried_by(&mut self, query: &str, table: &Table, execution: &Execution) -> Result<Carried> {
        let (oids, raw) = first_parameters(execution, sql::lift(query)?.client_parameters);
        let oids = types_for_part(&oids, query)?;
        let prepared = self.prepare_checked(query, &oids).map_err(Error::without_position)?;
        if !matches!(prepared.statement.plan, Plan::Read(_)) {
            return Err(Error::unsupported(
                "this form of query in a statement that writes on several shards",
                "Read first, then write the values.",
            ));
        }
        self.describe(&prepared).await.map_err(Error::without_position)?;
        let columns = prepared.columns().ok_or_else(|| Error::internal("a query gives no columns"))?;
        let known: Vec<bool> = columns.iter().map(|column| column.foreign.is_none()).collect();
        let formats = Carried::formats_for(known.iter());
        let answer = Box::pin(self.run(&Arc::new(prepared), raw, formats.clone(), Scope::Alone)).await;
        let answer = answer.map_err(Error::without_position)?;
        let mut carried = Carried::new(answer.columns.clone().unwrap_or(columns), formats);
        carried.take(answer.rows, self.engine.limits.gather_max_bytes, table).await?;
        Ok(carried)
    }

    /// UPDATE of the sharding key.
    async fn move_rows(&mut self, movement: &Move, execution: &Execution) -> Result<Answer> {
        let topology = self.engine.live.snapshot();
        let compared = execution.statement.compared_parameters(&execution.parameters);
        let Targets { shards, slots } = movement.route.shards(&compared, &topology)?;
        let reach = Reach { topology: &topology, slots: &slots };
        if shards.len() > 1
            && let Some(plan) = &movement.apart
        {
            let plan = plan.as_ref().map_err(Clone::clone)?;
            execution.statement.require_whole_tree()?;
            return self.write_row_by_row(plan, &movement.route, execution).await;
        }
        let keyspace =
            topology.keyspace(&movement.route.keyspace).ok_or_else(|| Error::internal("no such keyspace"))?;
        let assigned = execution.statement.assigned_parameters(&execution.parameters);
        // Rows that are there already stay there.
        let home = movement.key(&assigned).map(|key| keyspace.owner_of(&key)).filter(|home| shards.contains(home));
        if let (Some(home), [_]) = (home, shards.as_slice()) {
            let program = execution.whole_program()?.clone();
            let written = self.write_one(Part::new(home, program), execution).await?;
            return Ok(written_answer(execution, written));
        }
        if let Some(reason) = &movement.held {
            return Err(reason.clone());
        }
        let own = self.open_spanning(execution)?;
        let outcome = self.take_and_insert(movement, &shards, home, reach, execution).await;
        let written = self.close_spanning(own, outcome).await?;
        Ok(written_answer(execution, written))
    }

    async fn take_and_insert(
        &mut self,
        movement: &Move,
        shards: &[ShardId],
        home: Option<ShardId>,
        reach: Reach<'_>,
        execution: &Execution,
    ) -> Result<Written> {
        let table = &movement.table;
        let known: Vec<bool> =
            movement.columns.iter().map(|number| table.columns[*number].known_type().is_some()).collect();
        let formats = Carried::formats_for(known.iter());
        let taking = execution.statement.derive(&movement.taking)?;
        let taken = (&taking, &movement.taking.tree);
        let taken = self.runs(execution, taken, shards, reach).map_err(while_slots_move)?;
        let whole = (execution.whole_program()?, execution.statement.written_tree()?);
        let updated = self.runs(execution, whole, home.as_slice(), reach).map_err(while_slots_move)?;
        let parts = shards.iter().map(|&shard| match home == Some(shard) {
            true => Part::new(shard, updated.on(shard).clone()),
            false => Part { formats: Some(formats.clone()), ..Part::new(shard, taken.on(shard).clone()) },
        });
        let parts = parts.collect();
        let written = Box::pin(self.write_several(parts, execution)).await?;
        let mut done = Vec::new();
        let mut carried: Option<Carried> = None;
        for (shard, written) in shards.iter().zip(written) {
            if home == Some(*shard) {
                done.push(written);
                continue;
            }
            let columns = written.columns.clone().or_else(|| match &taking {
                Program::Sqlite(program) => Some(program.columns.as_slice().into()),
                Program::Postgres(_) => None,
            });
            if carried.is_none() {
                let columns = columns.ok_or_else(|| Error::internal("a shard gave rows without their columns"))?;
                carried = Some(Carried::new(columns, formats.clone()));
            }
            if let Some(carried) = &mut carried {
                carried.take(Rows::Ready(written.rows), self.engine.limits.gather_max_bytes, table).await?;
            }
        }
        if let Some(carried) = carried {
            let text = Arc::clone(&execution.prepared.text);
            let into = Inserting {
                table,
                columns: &movement.columns,
                head: &movement.head(),
                rest: sql::returning_clause(&text)?,
                at_once: false,
            };
            done.push(self.insert_carried(carried, &into, execution).await?);
        }
        Ok(together(done))
    }
}

impl Move {
    /// The INSERT of rows that were taken out, up to VALUES.
    fn head(&self) -> String {
        let quoted = |number: &usize| quote_identifier(&self.table.columns[*number].name);
        let columns: Vec<String> = self.columns.iter().map(quoted).collect();
        let alias = self.alias.as_deref().map(|alias| format!(" AS {}", quote_identifier(alias))).unwrap_or_default();
        let counts = self.table.columns.iter().any(|column| column.identity == Some(Identity::Always));
        let overriding = if counts { " OVERRIDING SYSTEM VALUE" } else { "" };
        format!("INSERT INTO {}{alias} ({}){overriding}", quote_identifier(&self.table.name), columns.join(", "))
    }
}
