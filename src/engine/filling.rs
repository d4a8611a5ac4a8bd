//! Writes to a reference table on Postgres shards that each would answer by itself: numbers of a sequence, random values, what
//! a query finds. Of an INSERT; see `following` for what changes rows that are there.
//!
//! One shard, always the same, runs the client's statement. The rows that it has then are written on the others as values, and
//! each must come to the same rows: a trigger may change them.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::carrying::{sent_as, too_many, values};
use super::everywhere::copies_differ;
use super::following;
use super::merge::append_visible;
use super::session::{Execution, Session};
use super::write::{held, held_within};
use crate::error::{Error, Result};
use crate::plan::ReferenceWrite;
use crate::shard::postgres::{self, Program, Way};
use crate::shard::{
    Call, Formats, Numbers, Output, OutputColumn, RawParameters, RowBatch, Tag, TransactionMode, Written,
};
use crate::sql::{self, ast, quote_identifier};
use crate::topology::{Identity, Table};
use crate::types::{Format, ShardId};

/// How many rows one statement writes on the other shards.
pub(super) const ROWS_AT_ONCE: usize = 256;

/// Rows as the first shard has them.
pub(super) struct Filled {
    columns: Vec<OutputColumn>,
    formats: Vec<Format>,
    pub(super) rows: Vec<Vec<Option<Bytes>>>,
}

/// Where they are written on the others.
#[derive(Clone, Copy)]
struct Copying<'a> {
    table: &'a Table,
    /// Numbers of the table's.
    columns: &'a [usize],
    /// ON CONFLICT, where the first shard may have updated rows that the others have, too.
    conflict: &'a str,
}

impl Session {
    /// Whether one shard can fill the rows in for all. `reason`: why each cannot do it by itself.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn require_fillable(
        &self,
        statement: &ast::Statement,
        table: &Table,
        call: &postgres::Call,
        reason: Error,
    ) -> Result<()> {
        // The other shards are sent other statements, of parts of the rows.
        if self.schema().fired_by_statement.contains(&table.name) {
            return Err(reason);
        }
        // By its primary key a row that was changed is found on the other shards, where the values are assigned.
        let can_follow = |name: &String| {
            let Some(number) = table.columns.iter().position(|column| column.name == *name) else { return false };
            let column = &table.columns[number];
            let is_key = table.primary_key.as_ref().is_none_or(|key| key.columns.contains(&number));
            !is_key && column.generated.is_none() && column.identity != Some(Identity::Always)
        };
        let assigned = match following::changing(statement) {
            Some(changing) => Some(changing.assigned()),
            None => match statement {
                ast::Statement::Insert(insert) => assigned_on_conflict(insert),
                _ => return Err(reason),
            },
        };
        if let Some(assigned) = assigned
            && (table.primary_key.is_none() || !assigned.iter().all(can_follow))
        {
            return Err(reason);
        }
        // What the user's own functions do beside giving a value, they have to do everywhere.
        let known = self.engine.servers.known();
        let defaults = table.columns.iter().filter_map(|column| column.default.as_deref());
        let called: Vec<Box<str>> = defaults.flat_map(functions_of).collect();
        let defaults = Program::as_written(Tag::Merge, "".into(), called.into());
        if call.program.calls(&known.hazards) || defaults.calls(&known.hazards) {
            return Err(reason);
        }
        Ok(())
    }

    /// Runs an INSERT on the first shard, and writes its rows on the others, within the open transaction.
    pub(super) async fn fill_and_copy(
        &mut self,
        write: &ReferenceWrite,
        table: &Table,
        call: &postgres::Call,
        shards: &[ShardId],
        execution: &Execution,
    ) -> Result<Written> {
        let [first, others @ ..] = shards else { return Err(Error::internal("there are no shards")) };
        self.describe_as(&execution.prepared, &execution.statement).await?;
        let visible =
            if write.returning { execution.statement.columns().map_or(0, |columns| columns.len()) } else { 0 };
        let columns: Vec<usize> =
            (0..table.columns.len()).filter(|number| table.columns[*number].generated.is_none()).collect();
        let returned = named(table, &columns).join(", ");
        let (mut written, filled) = self.fill(*first, table, (&columns, &returned), visible, call).await?;
        let known = self.engine.servers.known();
        let seen = !call.program.found(known.version, &known.hazards).1 && execution.statement.fills.is_of_one();
        if let Some(number) = number_taken(&write.statement, table, &columns, &filled).filter(|_| seen) {
            written.numbers = Numbers::Told(vec![number, number]);
        }
        let conflict = match &write.statement {
            ast::Statement::Insert(insert) => assigned_on_conflict(insert)
                .map_or_else(String::new, |assigned| taking_over(table, &columns, &assigned)),
            _ => String::new(),
        };
        let copying = Copying { table, columns: &columns, conflict: &conflict };
        for &shard in others {
            for rows in filled.rows.chunks(ROWS_AT_ONCE.min(sql::MAX_PARAMETERS / columns.len().max(1)).max(1)) {
                let copied = self.write_filled(shard, &copying, &filled, rows, call).await?;
                if copied != rows {
                    return Err(copies_differ(&table.name, &self.engine.shard_name(shard)));
                }
            }
        }
        Ok(written)
    }

    /// Runs the client's statement, and gives columns of its rows too: their numbers, and how they are named in it. `visible`:
    /// how many the client is given.
    pub(super) async fn fill(
        &mut self,
        shard: ShardId,
        table: &Table,
        (columns, returned): (&[usize], &str),
        visible: usize,
        call: &postgres::Call,
    ) -> Result<(Written, Filled)> {
        let text = sql::with_more_returned(&call.text, returned)?;
        let formats: Vec<Format> = columns.iter().map(|number| own_format(table, *number)).collect();
        let mut asked: Vec<Format> = (0..visible).map(|column| call.formats.of(column)).collect();
        asked.extend(&formats);
        let way = match &call.way {
            Way::Simple => Way::Extended { type_oids: Arc::default(), parameters: Arc::default(), name: None },
            Way::Extended { type_oids, parameters, .. } => {
                Way::Extended { type_oids: Arc::clone(type_oids), parameters: Arc::clone(parameters), name: None }
            }
        };
        let text: Arc<str> = text.into();
        // It returns other columns than the client's, which the shard has to tell.
        let program = Arc::new(Program::as_written(call.program.tag, Arc::clone(&text), Box::default()));
        let call = postgres::Call { program, text, way, formats: Formats::Each(asked), ..call.clone() };
        let max_bytes = self.engine.limits.gather_max_bytes;
        let answer = held_within(self.run_as_participant(shard, call).await?, max_bytes).await?;
        let mut answer = answer.ok_or_else(|| too_many(table, max_bytes))?;
        let numbers = std::mem::take(&mut answer.numbers);
        let told = answer.columns.as_deref().unwrap_or_default();
        let (own, more) =
            told.split_at_checked(visible).ok_or_else(|| Error::internal("fewer columns than described"))?;
        let mut rows = RowBatch::default();
        let mut filled = Filled { columns: more.to_vec(), formats, rows: Vec::new() };
        for frame in answer.rows.row_frames() {
            if visible > 0 {
                append_visible(frame, visible, &mut rows.frames)?;
                rows.rows += 1;
            }
            let mut all = values(&Bytes::copy_from_slice(frame))?;
            filled.rows.push(all.split_off(visible.min(all.len())));
        }
        let columns = (visible > 0).then(|| Arc::from(own));
        Ok((Written { rows, affected: answer.affected, columns, numbers, ..Written::default() }, filled))
    }

    /// Writes rows as they are, and gives what they have become.
    async fn write_filled(
        &mut self,
        shard: ShardId,
        copying: &Copying<'_>,
        filled: &Filled,
        rows: &[Vec<Option<Bytes>>],
        call: &postgres::Call,
    ) -> Result<Vec<Vec<Option<Bytes>>>> {
        let Copying { table, columns, conflict } = *copying;
        let names = named(table, columns).join(", ");
        let counts = table.columns.iter().any(|column| column.identity == Some(Identity::Always));
        let overriding = if counts { " OVERRIDING SYSTEM VALUE" } else { "" };
        let bound = filled.bound(table, columns, rows)?;
        let text = format!(
            "INSERT INTO public.{} ({names}){overriding} VALUES {}{conflict} RETURNING {names}",
            quote_identifier(&table.name),
            bound.rows
        );
        self.write_bound(shard, text, bound, filled, call).await
    }

    /// Runs a text of shardd's own that returns what `filled` has, and gives it.
    pub(super) async fn write_bound(
        &mut self,
        shard: ShardId,
        text: String,
        bound: Bound,
        filled: &Filled,
        call: &postgres::Call,
    ) -> Result<Vec<Vec<Option<Bytes>>>> {
        let text: Arc<str> = text.into();
        let Bound { type_oids, parameters, .. } = bound;
        let call = postgres::Call {
            program: Arc::new(Program::as_written(call.program.tag, Arc::clone(&text), Box::default())),
            text,
            way: Way::Extended { type_oids: type_oids.into(), parameters: Arc::new(parameters), name: None },
            formats: Formats::Each(filled.formats.clone()),
            ..call.clone()
        };
        let written = self.write_as_participant(shard, call).await?;
        written.rows.row_frames().map(|frame| values(&Bytes::copy_from_slice(frame))).collect()
    }

    async fn write_as_participant(&mut self, shard: ShardId, call: postgres::Call) -> Result<Written> {
        held(self.run_as_participant(shard, call).await?).await
    }

    async fn run_as_participant(&mut self, shard: ShardId, call: postgres::Call) -> Result<Output> {
        let engine = Arc::clone(&self.engine);
        let transaction = self.open_transaction()?;
        let participant = transaction.join_as_writer(&engine, shard, TransactionMode::Write).await?;
        participant.run(Call::Postgres(call)).await
    }
}

/// Rows as VALUES has them, and their values.
pub(super) struct Bound {
    pub(super) rows: String,
    type_oids: Vec<u32>,
    parameters: RawParameters,
}

impl Filled {
    /// Some of the rows, for columns of the table.
    pub(super) fn bound(&self, table: &Table, columns: &[usize], rows: &[Vec<Option<Bytes>>]) -> Result<Bound> {
        let sent: Vec<(u32, Format)> = (self.columns.iter().zip(&self.formats).zip(columns))
            .map(|((column, format), target)| sent_as(column, *format, table, *target))
            .collect::<Result<_>>()?;
        let mut text = String::new();
        let mut parameters = RawParameters { formats: Vec::new(), values: Vec::new() };
        let mut type_oids = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            text.push_str(if number == 0 { "(" } else { ", (" });
            for (column, value) in row.iter().enumerate() {
                let (oid, format) =
                    *sent.get(column).ok_or_else(|| Error::internal("a row has more values than columns"))?;
                type_oids.push(oid);
                parameters.formats.push(format);
                parameters.values.push(value.clone());
                let comma = if column == 0 { "" } else { ", " };
                // Writing to a String does not fail.
                let _ = write!(text, "{comma}${}", parameters.values.len());
            }
            text.push(')');
        }
        Ok(Bound { rows: text, type_oids, parameters })
    }
}

/// The number that the last row has got from the table's only sequence, if every row that got one is there.
fn number_taken(statement: &ast::Statement, table: &Table, columns: &[usize], filled: &Filled) -> Option<i64> {
    let ast::Statement::Insert(insert) = statement else { return None };
    let counts = |number: &&usize| table.columns[**number].identity.is_some();
    let mut counting = columns.iter().enumerate().filter(|(_, number)| counts(number));
    let (Some((place, _)), None, None) = (counting.next(), counting.next(), &insert.on) else { return None };
    let value = filled.rows.last()?.get(place)?.as_deref()?;
    match (filled.formats.get(place)?, value) {
        (Format::Binary, &[a, b]) => Some(i64::from(i16::from_be_bytes([a, b]))),
        (Format::Binary, &[a, b, c, d]) => Some(i64::from(i32::from_be_bytes([a, b, c, d]))),
        (Format::Binary, value) => value.try_into().ok().map(i64::from_be_bytes),
        (Format::Text, _) => None,
    }
}

/// The columns that ON CONFLICT DO UPDATE assigns to; `None` without it.
fn assigned_on_conflict(insert: &ast::Insert) -> Option<Vec<String>> {
    let Some(ast::OnInsert::OnConflict(conflict)) = &insert.on else { return None };
    let ast::OnConflictAction::DoUpdate(update) = &conflict.action else { return None };
    Some(following::assigned(&update.assignments))
}

/// Makes a row that is there what it has become on the first shard.
fn taking_over(table: &Table, columns: &[usize], assigned: &[String]) -> String {
    let Some(key) = &table.primary_key else { return String::new() };
    let others = columns.iter().filter(|number| assigned.contains(&table.columns[**number].name));
    let set = others.map(|number| {
        let name = quote_identifier(&table.columns[*number].name);
        format!("{name} = excluded.{name}")
    });
    let set: Vec<String> = set.collect();
    let key = named(table, &key.columns).join(", ");
    format!(" ON CONFLICT ({key}) DO UPDATE SET {}", set.join(", "))
}

pub(super) fn named(table: &Table, columns: &[usize]) -> Vec<String> {
    columns.iter().map(|number| quote_identifier(&table.columns[*number].name)).collect()
}

/// Binary where shardd knows the type; text where its number may be another on each shard.
fn own_format(table: &Table, column: usize) -> Format {
    if table.columns[column].known_type().is_some() { Format::Binary } else { Format::Text }
}

/// The functions that a default calls.
fn functions_of(default: &str) -> Vec<Box<str>> {
    let Ok(tree) = sql::parse_expression(default) else { return Vec::new() };
    let mut names = Vec::new();
    let _: std::ops::ControlFlow<()> = sql::walk_expressions(&tree, |expression| {
        if let ast::Expr::Function(function) = expression
            && let Some(name) = sql::name_parts(&function.name).and_then(|mut parts| parts.pop())
        {
            names.push(Box::from(&*name));
        }
        std::ops::ControlFlow::Continue(())
    });
    names
}
