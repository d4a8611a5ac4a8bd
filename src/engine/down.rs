//! Shards that are not open: what their statements are told, what else needs them, and how one comes back.
//!
//! A shard is down from the start, because its file could not be opened, until it is let in; an open one is never taken
//! down while statements run.
//! While one is down nothing is done that all shards have to do together, so that it finds on its return what it left:
//! the same tables, the same reference rows, and in the catalog its parts of commits that were decided before.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::agreement::drift;
use super::session::Session;
use super::{Engine, OpenShard};
use crate::catalog::RedoPart;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::metrics::ShardMetrics;
use crate::plan::Isolation;
use crate::shard::Shard;
use crate::shard::postgres::schema::survey;
use crate::shard::sqlite::{RedoStep, SqliteShard};
use crate::topology::Keyspace;
use crate::types::ShardId;

/// The topology's shards.
#[derive(Clone, Default)]
pub(super) struct ShardSet {
    pub(super) open: BTreeMap<ShardId, OpenShard>,
    pub(super) down: BTreeMap<ShardId, DownShard>,
}

/// Why a shard is not open, and where its statements are counted.
#[derive(Clone)]
pub(super) struct DownShard {
    pub(super) reason: Error,
    pub(super) metrics: Arc<ShardMetrics>,
}

/// What needs a shard beside the statements on its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Read,
    Write,
    ReferenceWrite,
    SchemaChange,
    NewShard,
    Sequence,
}

impl Need {
    const fn told(self) -> &'static str {
        match self {
            Need::Read => "The statement reads several shards, and this is one of them.",
            Need::Write => "The statement writes on several shards, and this is one of them. Nothing was written.",
            Need::ReferenceWrite => "A reference table is written on every shard. Nothing was written.",
            Need::SchemaChange => "The schema is changed on every shard. Nothing was changed.",
            Need::Sequence => "A sequence is set on every shard. Nothing was set.",
            Need::NewShard => "A shard is added when all others are open. Nothing was added.",
        }
    }
}

impl Engine {
    /// The shards that are not open, by name, and the reason as it was found.
    pub fn down(&self) -> Vec<(ShardId, String, Error)> {
        let set = self.shards.load();
        set.down.iter().map(|(id, down)| (*id, self.shard_name(*id), down.reason.clone())).collect()
    }

    /// Whether any shard is open.
    pub fn any_open(&self) -> bool {
        !self.shards.load().open.is_empty()
    }

    /// To be asked before any of the shards is touched.
    ///
    /// # Errors
    /// 08006: one of them is down.
    pub(super) fn require(&self, shards: &[ShardId], need: Need) -> Result<()> {
        let set = self.shards.load();
        match shards.iter().find(|id| !set.open.contains_key(id)) {
            None => Ok(()),
            Some(id) => Err(self.missed(*id, Some(need))),
        }
    }

    /// # Errors
    /// 08006: a shard is down.
    pub(super) fn require_all(&self, need: Need) -> Result<()> {
        let shards: Vec<ShardId> = self.live.snapshot().shards.iter().map(|shard| shard.id).collect();
        self.require(&shards, need)
    }

    /// 08006: what a statement is told that needs a shard which is not open.
    pub fn not_open(&self, id: ShardId) -> Error {
        self.missed(id, None)
    }

    fn missed(&self, id: ShardId, need: Option<Need>) -> Error {
        let name = self.shard_name(id);
        let told = need.map(Need::told);
        match self.shards.load().down.get(&id) {
            Some(down) => down_error(&name, &down.reason, told),
            None => Error::new(SqlState::CONNECTION_FAILURE, format!("shard \"{name}\" is not open"))
                .fault(Fault::Shard)
                .hint("See `shardctl shards` for its state and the server's log for the reason."),
        }
    }

    /// Closes a shard that must not serve. Only before anything is served.
    pub(super) async fn take_down(&self, id: ShardId, reason: Error) {
        let Some(open) = self.shards.load().open.get(&id).cloned() else { return };
        open.shard.shutdown().await;
        self.shards.rcu(|set| {
            let mut set = ShardSet::clone(set);
            set.open.remove(&id);
            set.down.insert(id, DownShard { reason: reason.clone(), metrics: Arc::clone(&open.metrics) });
            set
        });
    }

    /// Notes why a shard is still down. `true`: for another reason than before.
    pub fn note_down(&self, id: ShardId, reason: &Error) -> bool {
        let before = self.shards.rcu(|set| {
            let mut set = ShardSet::clone(set);
            if let Some(down) = set.down.get_mut(&id) {
                down.reason = reason.clone();
            }
            set
        });
        before.down.get(&id).is_some_and(|down| down.reason != *reason)
    }

    /// Lets a shard that was down serve again: it finishes what was decided without it, and must hold the tables of the
    /// others.
    ///
    /// # Errors
    /// It stays down, and was closed.
    pub async fn let_in(&self, shard: Shard) -> Result<()> {
        let shard = Arc::new(shard);
        let outcome = self.catch_up_and_open(&shard).await;
        if outcome.is_err() {
            shard.shutdown().await;
        }
        outcome
    }

    async fn catch_up_and_open(&self, shard: &Arc<Shard>) -> Result<()> {
        let mut parts = self.catalog.redo_undone().await?;
        parts.retain(|part| part.shard == shard.id());
        if let Shard::Sqlite(shard) = &**shard {
            redo(shard, &parts).await?;
            self.note_applied(&parts).await?;
            self.catalog.forget_applied_redo().await?;
            shard.forget_all_redo().await?;
        }
        // Nobody publishes a new version of the schema between the look at it and the shard's first statement. The wait has
        // no limit: whoever holds the lock changes nothing while a shard is down.
        let _schema_lock = self.schema_change.lock().await;
        let topology = self.live.snapshot();
        match &**shard {
            Shard::Sqlite(found) => {
                let schema = Arc::clone(&topology.schema);
                if let Some(drifted) =
                    drift(shard.name(), &found.schema().await?, "the shards that are served", &schema)
                {
                    return Err(drifted);
                }
                self.mend_file_guards(Some(shard), true, &schema, &topology).await;
                shard.set_schema(schema);
            }
            Shard::Postgres(found) => {
                if let Err(lacking) = found.make_ready_to_prepare().await {
                    tracing::warn!(hint = lacking.get_hint(), "{}", lacking.message());
                }
                let (read, failed) = self.read_schemas(Some(shard), &topology.keyspaces).await?;
                if let Some((_, error)) = failed.into_iter().next() {
                    return Err(error);
                }
                self.mend_guards(&read, Some(shard), &topology).await;
                self.adopt_schema(Arc::new(survey(&read, &topology.keyspaces)))?;
            }
        }
        let open = OpenShard { metrics: self.metrics.shard(shard.name()), shard: Arc::clone(shard) };
        self.shards.rcu(|set| {
            let mut set = ShardSet::clone(set);
            set.down.remove(&shard.id());
            set.open.insert(shard.id(), open.clone());
            set
        });
        Ok(())
    }

    /// Notes in the catalog that parts are done. To be called when they are on the shard's disk.
    pub(super) async fn note_applied(&self, parts: &[RedoPart]) -> Result<()> {
        for part in parts {
            self.catalog.redo_applied(&part.gid, part.shard).await?;
        }
        Ok(())
    }
}

impl Session {
    /// Where a statement runs that every shard of the keyspace answers alike: on the first that is open. A transaction
    /// that keeps snapshots stays with the one that it has.
    pub(super) fn any_shard_of(&self, keyspace: &Keyspace) -> Option<ShardId> {
        let set = self.engine.shards.load();
        let snapshots = self.transaction.as_ref().filter(|own| own.isolation != Isolation::ReadCommitted);
        let kept = snapshots.and_then(|own| {
            let mut held = own.participants.iter().map(|participant| participant.shard);
            held.find(|id| keyspace.shards.contains(id))
        });
        let open = || keyspace.shards.iter().copied().filter(|id| set.open.contains_key(id));
        kept.or_else(|| open().find(|id| set.open[id].shard.is_reachable())).or_else(|| open().next())
    }
}

/// Does a shard's parts of decided commits, in the order in which they were decided. Can be repeated.
pub(super) async fn redo(shard: &SqliteShard, parts: &[RedoPart]) -> Result<()> {
    for part in parts {
        if shard.apply_redo(&part.gid, RedoStep::decode(&part.payload)?).await? {
            tracing::warn!(shard = shard.name(), record = part.gid, "applied a commit that had been interrupted");
        }
    }
    Ok(())
}

/// 08006, with the reason in the message, since health checks and tables show only that.
fn down_error(name: &str, reason: &Error, need: Option<&str>) -> Error {
    let message = format!("shard \"{name}\" is down: {}", of_itself(name, reason.message()));
    let told: Vec<&str> = need.into_iter().chain(reason.get_detail()).collect();
    let again =
        "shardd tries again to open it, every 30 seconds or more often; statements on other shards' keys go on.";
    let hint = reason.get_hint().map_or_else(|| again.to_owned(), |hint| format!("{hint} {again}"));
    let error = Error::new(SqlState::CONNECTION_FAILURE, message).hint(hint).fault(Fault::Shard).retry(Retry::Safe);
    if told.is_empty() { error } else { error.detail(told.join(" ")) }
}

/// A message about the shard, after its name.
fn of_itself(name: &str, message: &str) -> String {
    for (named, unnamed) in [
        (format!("shard \"{name}\" is down: "), ""),
        (format!("shard \"{name}\" "), "it "),
        (format!("the file of shard \"{name}\" "), "its file "),
    ] {
        if let Some(rest) = message.strip_prefix(&named) {
            return format!("{unnamed}{rest}");
        }
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_told_which_shard_why_and_what_to_do() {
        let reason =
            Error::new(SqlState::IO_ERROR, "the file of shard \"s2\" is missing: /data/s2.db").hint("Mount it.");
        let error = down_error("s2", &reason, Some(Need::SchemaChange.told()));
        assert_eq!(error.message(), "shard \"s2\" is down: its file is missing: /data/s2.db");
        assert_eq!(error.get_detail(), Some("The schema is changed on every shard. Nothing was changed."));
        assert!(error.get_hint().is_some_and(|hint| hint.starts_with("Mount it. shardd tries again")), "{error:?}");
        assert_eq!(error.sqlstate(), SqlState::CONNECTION_FAILURE);
        assert_eq!((error.get_fault(), error.get_retry()), (Fault::Shard, Retry::Safe));
    }

    #[test]
    fn a_reason_that_names_another_shard_is_told_as_it_is() {
        assert_eq!(of_itself("s2", "shard \"s2\" is damaged"), "it is damaged");
        assert_eq!(of_itself("s2", "shard \"s2\" is down: no route"), "no route");
        assert_eq!(of_itself("s2", "shard \"s20\" is damaged"), "shard \"s20\" is damaged");
    }
}
