//! The record of moves: which slots go where, how far each move has come, and what an operator wants of it.
//!
//! A stage is written before it acts, and every stage can be repeated: whoever finds a move after a crash goes on with the
//! stage that stands here. The slots change hands in one transaction with the stage that follows.
//!
//! Invariant: no slot is in two moves that have not ended.

use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _, Sqlite, Transaction};

use super::audit::{self, now_us};
use super::{Catalog, CatalogError, raise_epoch, topology_rows};
use crate::topology::{SlotSet, Topology};
use crate::types::{Epoch, ShardId};

/// How far a move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveStage {
    /// Whether it can be done is looked at, and what it needs is made on both shards.
    Prepare,
    /// Rows are copied; what changes meanwhile is noted.
    Copy,
    /// What was noted is copied again.
    CatchUp,
    /// Both shards' rows are compared.
    Verify,
    /// The slots change hands, once no transaction is in the way.
    CutOver,
    /// The slots have changed hands; the rows of the shard that gave them are deleted.
    CleanUp,
    Done,
    /// It is given up; what was copied is deleted.
    Undo,
    Cancelled,
}

impl MoveStage {
    const ALL: [MoveStage; 9] = [
        MoveStage::Prepare,
        MoveStage::Copy,
        MoveStage::CatchUp,
        MoveStage::Verify,
        MoveStage::CutOver,
        MoveStage::CleanUp,
        MoveStage::Done,
        MoveStage::Undo,
        MoveStage::Cancelled,
    ];

    /// As it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            MoveStage::Prepare => "prepare",
            MoveStage::Copy => "copy",
            MoveStage::CatchUp => "catch_up",
            MoveStage::Verify => "verify",
            MoveStage::CutOver => "cut_over",
            MoveStage::CleanUp => "clean_up",
            MoveStage::Done => "done",
            MoveStage::Undo => "undo",
            MoveStage::Cancelled => "cancelled",
        }
    }

    pub fn has_ended(self) -> bool {
        matches!(self, MoveStage::Done | MoveStage::Cancelled)
    }

    /// Whether it can still be given up.
    pub fn can_be_cancelled(self) -> bool {
        self.may_become(MoveStage::Undo)
    }

    /// Whether this stage may be followed by that one: forward only once the slots have changed hands.
    pub fn may_become(self, next: MoveStage) -> bool {
        use MoveStage::{Cancelled, CatchUp, CleanUp, Copy, CutOver, Done, Prepare, Undo, Verify};
        matches!(
            (self, next),
            (Prepare, Copy)
                | (Copy, CatchUp)
                | (CatchUp, Verify)
                | (Verify, CutOver)
                | (CutOver, CleanUp)
                | (CleanUp, Done)
                | (Prepare | Copy | CatchUp | Verify | CutOver, Undo)
                | (Undo, Cancelled)
        )
    }
}

/// What an operator wants of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    GoOn,
    Pause,
    Cancel,
}

impl Asked {
    const ALL: [Asked; 3] = [Asked::GoOn, Asked::Pause, Asked::Cancel];

    pub fn name(self) -> &'static str {
        match self {
            Asked::GoOn => "go_on",
            Asked::Pause => "pause",
            Asked::Cancel => "cancel",
        }
    }
}

/// A move that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMove {
    pub keyspace: String,
    pub from: ShardId,
    pub to: ShardId,
    pub slots: SlotSet,
}

/// A move as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedMove {
    pub id: i64,
    pub keyspace: String,
    pub from: ShardId,
    pub to: ShardId,
    pub slots: SlotSet,
    pub stage: MoveStage,
    pub attempt: u32,
    pub asked: Asked,
    /// Why it waits, or why it was cancelled.
    pub reason: Option<String>,
    pub rows_copied: u64,
    pub bytes_copied: u64,
    /// Microseconds since 1970, UTC.
    pub started_us: i64,
    pub changed_us: i64,
    /// The epoch in which the slots changed hands.
    pub epoch: Option<Epoch>,
}

type Tx<'a> = Transaction<'a, Sqlite>;

/// Reads moves; the rest of the query follows.
macro_rules! moves {
    ($rest:literal) => {
        sqlx::query_as::<_, Row>(concat!(
            "SELECT id, keyspace, from_shard, to_shard, slots, stage, attempt, asked, reason, rows_copied, bytes_copied, \
             started_us, changed_us, epoch FROM moves ",
            $rest
        ))
    };
}

struct Row {
    id: i64,
    keyspace: String,
    from_shard: i64,
    to_shard: i64,
    slots: String,
    stage: String,
    attempt: i64,
    asked: String,
    reason: Option<String>,
    rows_copied: i64,
    bytes_copied: i64,
    started_us: i64,
    changed_us: i64,
    epoch: Option<i64>,
}

impl FromRow<'_, SqliteRow> for Row {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Row> {
        Ok(Row {
            id: row.try_get("id")?,
            keyspace: row.try_get("keyspace")?,
            from_shard: row.try_get("from_shard")?,
            to_shard: row.try_get("to_shard")?,
            slots: row.try_get("slots")?,
            stage: row.try_get("stage")?,
            attempt: row.try_get("attempt")?,
            asked: row.try_get("asked")?,
            reason: row.try_get("reason")?,
            rows_copied: row.try_get("rows_copied")?,
            bytes_copied: row.try_get("bytes_copied")?,
            started_us: row.try_get("started_us")?,
            changed_us: row.try_get("changed_us")?,
            epoch: row.try_get("epoch")?,
        })
    }
}

impl Row {
    fn read(self) -> Result<RecordedMove, CatalogError> {
        let id = self.id;
        let corrupt = |what: &str| CatalogError::Corrupt(format!("the {what} of move {id}"));
        let shard = |number: i64| u16::try_from(number).map(ShardId).map_err(|_| corrupt("shard"));
        Ok(RecordedMove {
            id,
            from: shard(self.from_shard)?,
            to: shard(self.to_shard)?,
            slots: self.slots.parse().map_err(|_| corrupt("slots"))?,
            stage: MoveStage::ALL
                .into_iter()
                .find(|stage| stage.name() == self.stage)
                .ok_or_else(|| corrupt("stage"))?,
            attempt: u32::try_from(self.attempt).map_err(|_| corrupt("attempt"))?,
            asked: Asked::ALL.into_iter().find(|asked| asked.name() == self.asked).ok_or_else(|| corrupt("wish"))?,
            rows_copied: self.rows_copied.unsigned_abs(),
            bytes_copied: self.bytes_copied.unsigned_abs(),
            started_us: self.started_us,
            changed_us: self.changed_us,
            epoch: self.epoch.map(|epoch| Epoch(epoch.unsigned_abs())),
            keyspace: self.keyspace,
            reason: self.reason,
        })
    }
}

impl Catalog {
    /// Records moves, all or none: each waits for its turn in its first stage. Gives their ids, in order.
    ///
    /// # Errors
    /// [`CatalogError::CannotMove`]: the shard that is to give does not own the slots, or another move has some of them.
    pub async fn add_moves(&self, moves: &[NewMove], actor: &str) -> Result<Vec<i64>, CatalogError> {
        let mut transaction = self.begin().await?;
        let topology = topology_rows::read(&mut transaction, &self.paths).await?.ok_or(CatalogError::Empty)?;
        let mut ids = Vec::with_capacity(moves.len());
        for new in moves {
            check(&mut transaction, &topology, new).await?;
            let now = now_us();
            let added = sqlx::query(
                "INSERT INTO moves (keyspace, from_shard, to_shard, slots, stage, attempt, asked, rows_copied, bytes_copied, \
                 started_us, changed_us) VALUES (?, ?, ?, ?, 'prepare', 0, 'go_on', 0, 0, ?, ?)",
            )
            .bind(&new.keyspace)
            .bind(i64::from(new.from.0))
            .bind(i64::from(new.to.0))
            .bind(new.slots.to_string())
            .bind(now)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
            let id = added.last_insert_rowid();
            let detail =
                format!("move {id}: {} slots of {} from {} to {}", new.slots.len(), new.keyspace, new.from, new.to);
            audit::append(&mut transaction, actor, topology.epoch, "move", &detail).await?;
            ids.push(id);
        }
        transaction.commit().await?;
        Ok(ids)
    }

    /// The moves that have not ended, the oldest first.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub async fn unfinished_moves(&self) -> Result<Vec<RecordedMove>, CatalogError> {
        let rows = moves!("WHERE stage NOT IN ('done', 'cancelled') ORDER BY id").fetch_all(&self.pool).await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// All moves, the latest first, at most `limit`.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub async fn moves(&self, limit: u32) -> Result<Vec<RecordedMove>, CatalogError> {
        let rows = moves!("ORDER BY id DESC LIMIT ?").bind(i64::from(limit)).fetch_all(&self.pool).await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// # Errors
    /// There is no such move.
    pub async fn recorded_move(&self, id: i64) -> Result<RecordedMove, CatalogError> {
        let mut transaction = self.pool.begin().await?;
        read(&mut transaction, id).await
    }

    /// Brings a move to its next stage, with the reason where there is one; the epoch is raised, if it is still `expected`, where
    /// one is given, and told.
    ///
    /// # Errors
    /// It is not at the stage that it was thought to be, or no move goes from there to the next; or the topology has moved on.
    pub async fn set_move_stage(
        &self,
        id: i64,
        (from, to): (MoveStage, MoveStage),
        reason: Option<&str>,
        expected: Option<Epoch>,
    ) -> Result<Option<Epoch>, CatalogError> {
        let mut transaction = self.begin().await?;
        let epoch = match expected {
            Some(expected) => Some(raise_epoch(&mut transaction, expected).await?),
            None => None,
        };
        write_stage(&mut transaction, id, (from, to), reason).await?;
        let audited = match epoch {
            Some(epoch) => Some(epoch),
            None => topology_rows::epoch(&mut transaction).await?,
        };
        if to.has_ended() {
            let detail = format!("move {id}: {}", reason.unwrap_or(to.name()));
            audit::append(&mut transaction, "shardd", audited.unwrap_or(Epoch(1)), "move", &detail).await?;
        }
        transaction.commit().await?;
        Ok(epoch)
    }

    /// Gives a move's slots to the shard that takes them, if the epoch is still `expected`, and brings the move to its
    /// clean-up. Gives the new topology, with an empty schema.
    ///
    /// # Errors
    /// The topology has moved on, or the move is not at its cutover.
    pub async fn give_slots(&self, id: i64, expected: Epoch) -> Result<Topology, CatalogError> {
        let mut transaction = self.begin().await?;
        let epoch = raise_epoch(&mut transaction, expected).await?;
        let given = read(&mut transaction, id).await?;
        write_stage(&mut transaction, id, (MoveStage::CutOver, MoveStage::CleanUp), None).await?;
        sqlx::query("UPDATE moves SET epoch = ? WHERE id = ?")
            .bind(topology_rows::stored_epoch(epoch)?)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        let mut topology = topology_rows::read(&mut transaction, &self.paths).await?.ok_or(CatalogError::Empty)?;
        for keyspace in topology.keyspaces.iter_mut().filter(|keyspace| keyspace.name == given.keyspace) {
            let keyspace = Arc::make_mut(keyspace);
            for slot in given.slots.iter() {
                keyspace.owners[usize::from(slot.number())] = given.to;
            }
            topology_rows::write_owners(&mut transaction, keyspace).await?;
        }
        let detail = format!(
            "move {id}: {} slots of {} from {} to {} have changed hands",
            given.slots.len(),
            given.keyspace,
            given.from,
            given.to
        );
        audit::append(&mut transaction, "shardd", epoch, "move", &detail).await?;
        transaction.commit().await?;
        Ok(topology)
    }

    /// Counts one more cutover that is begun, and gives its number.
    ///
    /// # Errors
    /// There is no such move.
    pub async fn next_attempt(&self, id: i64) -> Result<u32, CatalogError> {
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE moves SET attempt = attempt + 1 WHERE id = ?").bind(id).execute(&mut *transaction).await?;
        let attempt = read(&mut transaction, id).await?.attempt;
        transaction.commit().await?;
        Ok(attempt)
    }

    /// Notes why a move waits, and how much it has copied.
    ///
    /// # Errors
    /// The catalog cannot be written.
    pub async fn note_move(&self, id: i64, reason: Option<&str>, copied: (u64, u64)) -> Result<(), CatalogError> {
        let stored = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        sqlx::query("UPDATE moves SET reason = ?, rows_copied = ?, bytes_copied = ?, changed_us = ? WHERE id = ?")
            .bind(reason)
            .bind(stored(copied.0))
            .bind(stored(copied.1))
            .bind(now_us())
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Has a move pause, go on, or be cancelled.
    ///
    /// # Errors
    /// There is no such move; it has ended; or it cannot be cancelled any more.
    pub async fn ask_of_move(&self, id: i64, asked: Asked, actor: &str) -> Result<RecordedMove, CatalogError> {
        let mut transaction = self.begin().await?;
        let found = read(&mut transaction, id).await?;
        let wrong = |why: &str| CatalogError::CannotMove(format!("move {id} {why}"));
        if found.stage.has_ended() {
            return Err(wrong("has ended already"));
        }
        if found.asked == Asked::Cancel && asked != Asked::Cancel {
            return Err(wrong("is being cancelled"));
        }
        if asked == Asked::Cancel && !found.stage.can_be_cancelled() && found.stage != MoveStage::Undo {
            return Err(wrong(
                "cannot be cancelled any more, its slots have changed hands: move them back when it has ended",
            ));
        }
        sqlx::query("UPDATE moves SET asked = ?, changed_us = ? WHERE id = ?")
            .bind(asked.name())
            .bind(now_us())
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        let epoch = topology_rows::epoch(&mut transaction).await?.ok_or(CatalogError::Empty)?;
        audit::append(&mut transaction, actor, epoch, "move", &format!("move {id}: {}", asked.name())).await?;
        transaction.commit().await?;
        Ok(RecordedMove { asked, ..found })
    }
}

async fn read(transaction: &mut Tx<'_>, id: i64) -> Result<RecordedMove, CatalogError> {
    let row = moves!("WHERE id = ?").bind(id).fetch_optional(&mut **transaction).await?;
    row.ok_or(CatalogError::NoMove(id))?.read()
}

/// The one place where a stage is written.
async fn write_stage(
    transaction: &mut Tx<'_>,
    id: i64,
    (from, to): (MoveStage, MoveStage),
    reason: Option<&str>,
) -> Result<(), CatalogError> {
    if !from.may_become(to) {
        return Err(CatalogError::Corrupt(format!("a move from {} to {}", from.name(), to.name())));
    }
    let changed = sqlx::query("UPDATE moves SET stage = ?, reason = ?, changed_us = ? WHERE id = ? AND stage = ?")
        .bind(to.name())
        .bind(reason)
        .bind(now_us())
        .bind(id)
        .bind(from.name())
        .execute(&mut **transaction)
        .await?;
    match changed.rows_affected() {
        1 => Ok(()),
        _ => Err(CatalogError::CannotMove(format!("move {id} is not at its stage {} any more", from.name()))),
    }
}

async fn check(transaction: &mut Tx<'_>, topology: &Topology, new: &NewMove) -> Result<(), CatalogError> {
    let wrong = |why: String| Err(CatalogError::CannotMove(why));
    let Some(keyspace) = topology.keyspace(&new.keyspace) else {
        return wrong(format!("there is no keyspace \"{}\"", new.keyspace));
    };
    if new.from == new.to || new.slots.is_empty() || !keyspace.shards.contains(&new.to) {
        return wrong(format!("shard {} cannot take these slots from shard {}", new.to, new.from));
    }
    if let Some(slot) = new.slots.iter().find(|slot| keyspace.owner(*slot) != new.from) {
        return wrong(format!("slot {slot} belongs to shard {} now", keyspace.owner(slot)));
    }
    let rows = moves!("WHERE stage NOT IN ('done', 'cancelled') AND keyspace = ?");
    let rows = rows.bind(&new.keyspace).fetch_all(&mut **transaction).await?;
    for row in rows {
        let other = row.read()?;
        let both = other.slots.intersection(&new.slots);
        if !both.is_empty() {
            return wrong(format!("move {} has the slots {both} already", other.id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_goes_forward_only_once_its_slots_have_changed_hands() {
        for stage in MoveStage::ALL {
            let next: Vec<&str> =
                MoveStage::ALL.into_iter().filter(|next| stage.may_become(*next)).map(MoveStage::name).collect();
            let expected: &[&str] = match stage {
                MoveStage::Prepare => &["copy", "undo"],
                MoveStage::Copy => &["catch_up", "undo"],
                MoveStage::CatchUp => &["verify", "undo"],
                MoveStage::Verify => &["cut_over", "undo"],
                MoveStage::CutOver => &["clean_up", "undo"],
                MoveStage::CleanUp => &["done"],
                MoveStage::Undo => &["cancelled"],
                MoveStage::Done | MoveStage::Cancelled => &[],
            };
            assert_eq!(next, expected, "{stage:?}");
        }
    }
}
