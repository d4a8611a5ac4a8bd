//! SQL cursors: DECLARE, FETCH, MOVE and CLOSE.
//!
//! One whose query is of one Postgres shard lives there. The rows of any other are read when it is declared, and kept here
//! until its transaction ends, or with WITH HOLD its session.

use std::sync::Arc;

use super::answer::{Answer, Rows, TagCount};
use super::cursor_memory::CursorPart;
use super::cursor_rows::CursorRows;
use super::parameters;
use super::session::{Execution, Scope, Session};
use super::statement::Prepared;
use super::transaction::{Opened, Transaction};
use super::write::{Part, written_answer};
use crate::error::{Error, Result, SqlState};
use crate::metrics::PinReason;
use crate::plan::{Local, Plan};
use crate::shard::{Formats, OutputColumn, RawParameters, ShardKind};
use crate::sql::Direction;
use crate::types::ShardId;

/// A SQL cursor: on the shard of its query.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) name: String,
    pub(super) shard: ShardId,
    pub(super) columns: Option<Arc<[OutputColumn]>>,
    /// How many savepoints there were.
    pub(super) level: usize,
}

/// A cursor whose rows are kept here.
#[derive(Debug)]
pub(super) struct RowCursor {
    name: String,
    columns: Arc<[OutputColumn]>,
    rows: CursorRows,
    /// What it takes.
    memory: CursorPart,
    hold: bool,
    /// How many savepoints its transaction had.
    level: usize,
}

/// How a cursor was declared.
struct Declared<'d> {
    name: &'d str,
    hold: bool,
    scroll: Option<bool>,
    binary: bool,
    query: &'d str,
}

/// The cursors of a transaction, or those that its session has kept of earlier ones.
#[derive(Debug, Default)]
pub(super) struct RowCursors(Vec<RowCursor>);

impl RowCursors {
    fn get(&mut self, name: &str) -> Option<&mut RowCursor> {
        self.0.iter_mut().find(|cursor| cursor.name == name)
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|cursor| cursor.memory.bytes()).sum()
    }

    /// Whether any outlives its transaction.
    pub(super) fn hold(&self) -> bool {
        self.0.iter().any(|cursor| cursor.hold)
    }

    /// Takes over those of a transaction that outlive it.
    pub(super) fn keep(&mut self, of_transaction: RowCursors) {
        self.0.extend(of_transaction.0.into_iter().filter(|cursor| cursor.hold));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The savepoint at this level has been rolled back to.
    pub(super) fn rolled_back_to(&mut self, level: usize) {
        self.0.retain(|cursor| cursor.level <= level);
    }

    /// The savepoint at this level, and those after it, are no more.
    pub(super) fn released(&mut self, level: usize) {
        self.0.iter_mut().for_each(|cursor| cursor.level = cursor.level.min(level));
    }
}

impl Session {
    pub(super) async fn cursor(&mut self, local: &Local, execution: &Execution) -> Result<Answer> {
        match local {
            Local::Declare { name, hold, scroll, binary, query } => {
                let declared = Declared { name, hold: *hold, scroll: *scroll, binary: *binary, query };
                self.declare(&declared, execution).await
            }
            Local::Fetch { name, moves, direction } if self.row_cursor(name).is_some() => {
                self.fetch_rows(name, *moves, *direction, &execution.formats)
            }
            Local::Close(Some(name)) if self.row_cursor(name).is_some() => {
                let in_transaction = self.transaction.as_mut().map(|transaction| &mut transaction.row_cursors);
                in_transaction.into_iter().chain([&mut self.row_cursors]).for_each(|cursors| {
                    cursors.0.retain(|cursor| cursor.name != *name);
                });
                Ok(Answer::command("CLOSE CURSOR"))
            }
            Local::Fetch { name, moves, .. } => {
                let shard = self.cursor_shard(name)?;
                let output = self.pass_on(shard, execution).await?;
                Ok(self.passed_answer(if *moves { "MOVE" } else { "FETCH" }, output))
            }
            Local::Close(Some(name)) => {
                let shard = self.cursor_shard(name)?;
                self.pass_on(shard, execution).await?;
                if let Some(transaction) = &mut self.transaction {
                    transaction.cursors.retain(|cursor| cursor.name != *name);
                }
                self.look_at_cursors(&[shard]).await;
                Ok(Answer::command("CLOSE CURSOR"))
            }
            _ => {
                self.row_cursors.clear();
                if let Some(transaction) = &mut self.transaction {
                    transaction.row_cursors.clear();
                }
                let cursors = self.transaction.as_mut().map(|transaction| std::mem::take(&mut transaction.cursors));
                let mut shards: Vec<_> = cursors.unwrap_or_default().iter().map(|cursor| cursor.shard).collect();
                shards.extend(self.pinned_for(PinReason::HeldCursor));
                shards.sort_unstable();
                shards.dedup();
                for shard in &shards {
                    self.pass_on(*shard, execution).await?;
                }
                self.look_at_cursors(&shards).await;
                Ok(Answer::command("CLOSE CURSOR ALL"))
            }
        }
    }

    async fn declare(&mut self, declared: &Declared<'_>, execution: &Execution) -> Result<Answer> {
        if declared.hold {
            self.require_connection("a cursor WITH HOLD")?;
        } else if !self.transaction.as_ref().is_some_and(|transaction| transaction.opened == Opened::Client) {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(Error::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message));
        }
        if self.row_cursor(declared.name).is_some() {
            return Err(duplicate_cursor(declared.name));
        }
        let inner = self.prepare_checked(declared.query, &execution.prepared.type_oids)?;
        if !matches!(inner.statement.planned(), Plan::Read(_)) {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "a cursor is declared for a query"));
        }
        let mut values = parameters::decode(&inner.statement, &inner, &execution.raw, self.settings.text_style())?;
        values.extend_from_slice(&inner.literals);
        // Its client may ask what it returns, by its name.
        self.describe(&inner).await?;
        let shard = match self.engine.kind {
            ShardKind::Postgres => self.one_shard(&inner.statement, &values)?,
            ShardKind::Sqlite => None,
        };
        match shard {
            Some(shard) => self.declare_on(shard, declared, &inner, execution).await,
            None => self.declare_here(declared, inner, execution).await,
        }
    }

    async fn declare_on(
        &mut self,
        shard: ShardId,
        declared: &Declared<'_>,
        inner: &Prepared,
        execution: &Execution,
    ) -> Result<Answer> {
        let (name, columns) = (declared.name, inner.columns());
        if declared.hold {
            self.require_session_pooling("a cursor WITH HOLD on one shard")?;
            self.join_batch(execution);
            let declared = self.run_kept(shard, execution).await;
            self.look().await;
            declared?;
            if let (Some(kept), Some(columns)) = (&mut self.kept, &columns) {
                kept.held_columns.insert(name.to_owned(), Arc::clone(columns));
            }
        } else {
            if matches!(inner.statement.planned(), Plan::Read(read) if read.locks_rows) {
                self.permit_write("SELECT FOR UPDATE")?;
                self.join_as_writer(shard).await?;
            }
            self.pass_on(shard, execution).await?;
        }
        if let Some(transaction) = &mut self.transaction {
            let level = transaction.savepoint_count();
            transaction.cursors.push(Cursor { name: name.to_owned(), shard, columns, level });
        }
        Ok(Answer::command("DECLARE CURSOR"))
    }

    /// Reads all rows now: what holds for a cursor's snapshot then holds for its whole life.
    async fn declare_here(
        &mut self,
        declared: &Declared<'_>,
        inner: Prepared,
        execution: &Execution,
    ) -> Result<Answer> {
        let locks_rows = matches!(inner.statement.planned(), Plan::Read(read) if read.locks_rows);
        refuse_options(declared, locks_rows)?;
        if self.open_cursor(declared.name).is_some() {
            return Err(duplicate_cursor(declared.name));
        }
        let mut rows = CursorRows::new(declared.scroll == Some(false) || locks_rows);
        let raw = RawParameters::clone(&execution.raw);
        let mut answer = Box::pin(self.run(&Arc::new(inner), raw, Formats::AllText, Scope::Alone)).await?;
        let in_transaction = self.transaction.as_ref().map_or(0, |transaction| transaction.row_cursors.bytes());
        let before = in_transaction + self.row_cursors.bytes();
        let max_bytes = self.engine.limits.gather_max_bytes;
        let mut memory = self.engine.cursor_memory.part();
        let mut take = |bytes: usize| match before + bytes > max_bytes {
            true => Err(too_large(declared.name, max_bytes)),
            false => memory.grow_to(bytes),
        };
        while let Some(batch) = answer.next().await? {
            rows.add(batch);
            take(rows.bytes())?;
        }
        let columns = answer.columns.take().ok_or_else(|| Error::internal("a query gives no columns"))?;
        drop(answer);
        take(rows.bytes() + bytes_beside_rows(declared.name, &columns))?;
        let (name, hold) = (declared.name.to_owned(), declared.hold);
        let level = self.transaction.as_ref().map_or(0, Transaction::savepoint_count);
        let in_transaction = self.transaction.as_mut().map(|transaction| &mut transaction.row_cursors);
        let cursors = in_transaction.unwrap_or(&mut self.row_cursors);
        cursors.0.push(RowCursor { name, columns, rows, memory, hold, level });
        Ok(Answer::command("DECLARE CURSOR"))
    }

    fn fetch_rows(&mut self, name: &str, moves: bool, direction: Direction, formats: &Formats) -> Result<Answer> {
        let style = self.settings.text_style().clone();
        let cursor = self.row_cursor_mut(name).ok_or_else(|| unknown_cursor(name))?;
        let numbers = cursor.rows.go(direction)?;
        if moves {
            let count = TagCount::Written(numbers.len() as u64);
            return Ok(Answer::new(None, Rows::none(), "MOVE", count));
        }
        let batch = cursor.rows.batch(&numbers, &cursor.columns, formats, &style)?;
        Ok(Answer::new(Some(Arc::clone(&cursor.columns)), Rows::Ready(batch), "FETCH", TagCount::Returned))
    }

    /// A cursor whose rows are kept here.
    pub(super) fn row_cursor(&self, name: &str) -> Option<&RowCursor> {
        let in_transaction = self.transaction.as_ref().map(|transaction| &transaction.row_cursors);
        in_transaction.into_iter().chain([&self.row_cursors]).flat_map(|cursors| &cursors.0).find(|it| it.name == name)
    }

    fn row_cursor_mut(&mut self, name: &str) -> Option<&mut RowCursor> {
        let in_transaction = self.transaction.as_mut().map(|transaction| &mut transaction.row_cursors);
        in_transaction.into_iter().chain([&mut self.row_cursors]).find_map(|cursors| cursors.get(name))
    }

    /// What FETCH returns from a cursor whose rows are kept here.
    pub(super) fn row_cursor_columns(&self, name: &str) -> Option<Arc<[OutputColumn]>> {
        self.row_cursor(name).map(|cursor| Arc::clone(&cursor.columns))
    }

    /// UPDATE and DELETE of the row on which a cursor stands: on its shard, where every row that the statement may write is that
    /// shard's own.
    pub(super) async fn write_current(&mut self, name: &str, execution: &Execution) -> Result<Answer> {
        if self.row_cursor(name).is_some() {
            return Err(Error::unsupported(
                format!("WHERE CURRENT OF \"{name}\", a cursor over several shards"),
                "Give the key and the rest of the row's primary key in WHERE.",
            ));
        }
        let own_rows = matches!(&execution.statement.plan, Plan::Write(write) if write.several.is_ok());
        if !own_rows {
            execution.statement.require_whole_tree()?;
        }
        let shard = self.cursor_shard(name)?;
        let part = Part::new(shard, execution.whole_program()?.clone());
        let written = self.write_one(part, execution).await?;
        Ok(written_answer(execution, written))
    }

    async fn look_at_cursors(&mut self, shards: &[ShardId]) {
        let Some(keeper) = self.keeper() else { return };
        shards.iter().for_each(|shard| keeper.look_at(*shard));
        self.look().await;
    }

    pub(super) fn cursor_shard(&self, name: &str) -> Result<ShardId> {
        let found = self.open_cursor(name).map(|cursor| cursor.shard);
        let mut held = self.kept.iter().flat_map(|kept| &kept.found);
        let held = || held.find(|(_, found)| found.cursors.iter().any(|known| known == name)).map(|(shard, _)| *shard);
        found.or_else(held).ok_or_else(|| unknown_cursor(name))
    }

    fn open_cursor(&self, name: &str) -> Option<&Cursor> {
        self.transaction.iter().flat_map(|transaction| &transaction.cursors).rev().find(|cursor| cursor.name == name)
    }

    /// What a SQL cursor returns, which is a portal of its name.
    ///
    /// # Errors
    /// 34000: there is none.
    pub fn cursor_columns(&self, name: &str) -> Result<Option<Arc<[OutputColumn]>>> {
        if let Some(columns) = self.row_cursor_columns(name) {
            return Ok(Some(columns));
        }
        self.cursor_shard(name)?;
        match self.open_cursor(name) {
            Some(cursor) => Ok(cursor.columns.clone()),
            None => Ok(self.kept.as_ref().and_then(|kept| kept.held_columns.get(name).cloned())),
        }
    }
}

/// # Errors
/// 0A000, as Postgres has it, and for values that are not in text.
fn refuse_options(declared: &Declared<'_>, locks_rows: bool) -> Result<()> {
    let refused = |what: &str, detail: &str| {
        let message = format!("DECLARE {what} ... FOR UPDATE is not supported");
        Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).detail(detail))
    };
    if declared.binary {
        return Err(Error::unsupported("a BINARY cursor over several shards", "Ask for binary values when you fetch."));
    }
    if locks_rows && declared.hold {
        return refused("CURSOR WITH HOLD", "Holdable cursors must be READ ONLY.");
    }
    if locks_rows && declared.scroll == Some(true) {
        return refused("SCROLL CURSOR", "Scrollable cursors must be READ ONLY.");
    }
    Ok(())
}

/// What a cursor takes that has no rows.
fn bytes_beside_rows(name: &str, columns: &[OutputColumn]) -> usize {
    let named = columns.iter().map(|column| size_of::<OutputColumn>() + column.name.len()).sum::<usize>();
    size_of::<RowCursor>() + name.len() + named
}

fn too_large(name: &str, max_bytes: usize) -> Error {
    Error::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("the rows of cursor \"{name}\" and of those before it take more than {max_bytes} bytes"),
    )
    .hint(
        "Use the protocol's portals (a fetch size in the driver), which keep no rows, give the key in WHERE, or raise \
         limits.gather_max_bytes.",
    )
}

fn duplicate_cursor(name: &str) -> Error {
    Error::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists"))
}

fn unknown_cursor(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}
