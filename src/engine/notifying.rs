//! LISTEN, NOTIFY, UNLISTEN and LOAD on Postgres shards.
//!
//! A session that listens without a key listens on every shard, so it hears what is notified with a key, and by triggers,
//! wherever their rows are. What is notified is sent by one shard: the key's; in a transaction that has written, the one that
//! was written, so that it commits with the rows; otherwise the first of the shards.

use super::answer::Answer;
use super::by_key::no_key;
use super::session::{Execution, Session};
use crate::error::{Error, Result};
use crate::metrics::PinReason;
use crate::shard::postgres::Aftermath;
use crate::shard::{Call, ShardKind};
use crate::sql::quote_identifier;
use crate::types::ShardId;

impl Session {
    pub(super) async fn listen(&mut self, execution: &Execution) -> Result<Answer> {
        self.require_connection("LISTEN")?;
        self.require_session_pooling("LISTEN")?;
        self.join_batch(execution);
        let shards = match self.key_shard()? {
            Some(shard) => vec![shard],
            None => self.every_shard()?,
        };
        let before = self.pinned_for(PinReason::Listen);
        let mut outcome = Ok(());
        for shard in &shards {
            outcome = self.run_kept(*shard, execution).await.map(|_| ());
            if outcome.is_err() {
                break;
            }
        }
        if outcome.is_err() && before.is_empty() && self.transaction.is_none() {
            // Nothing is heard, rather than a part.
            for shard in shards {
                if let Err(error) = self.run_text_kept(shard, "UNLISTEN *").await {
                    tracing::warn!(%error, "a session cannot be told to listen no more");
                }
            }
        }
        self.look().await;
        outcome.map(|()| Answer::command("LISTEN"))
    }

    /// `channel`: `None` is all.
    pub(super) async fn unlisten(&mut self, channel: Option<&str>, execution: &Execution) -> Result<Answer> {
        let shards = self.pinned_for(PinReason::Listen);
        if !shards.is_empty() {
            self.join_batch(execution);
            let text = format!("UNLISTEN {}", channel.map_or_else(|| "*".to_owned(), quote_identifier));
            for shard in shards {
                self.run_text_kept(shard, &text).await?;
            }
            self.look().await;
        }
        Ok(Answer::command("UNLISTEN"))
    }

    pub(super) async fn notify(&mut self, tag: &'static str, execution: &Execution) -> Result<Answer> {
        self.join_batch(execution);
        let shard = self.notifying_shard()?;
        self.ran_on.add(shard);
        let call = self.call(execution, execution.whole_program()?)?;
        let output = match self.transaction {
            None => self.engine.shard(shard)?.write(call).await?,
            // The server refuses nothing of this in a read-only transaction.
            Some(_) => self.join_as_writer(shard).await?.run(call).await?,
        };
        Ok(self.passed_answer(tag, output))
    }

    fn notifying_shard(&self) -> Result<ShardId> {
        if let Some(shard) = self.key_shard()? {
            return Ok(shard);
        }
        let participants = self.transaction.iter().flat_map(|transaction| &transaction.participants);
        let written = participants.clone().find(|participant| participant.writes);
        match written.or_else(|| participants.clone().next()) {
            Some(participant) => Ok(participant.shard),
            None => self.home_shard(),
        }
    }

    /// LOAD: what it brings stays in the server's process, which is closed at the end of the session.
    pub(super) async fn load(&mut self, execution: &Execution) -> Result<Answer> {
        self.require_connection("LOAD")?;
        self.require_session_pooling("LOAD")?;
        let shard = self.key_shard()?.ok_or_else(|| no_key("LOAD"))?;
        match self.call(execution, execution.whole_program()?)? {
            Call::Postgres(mut call) => {
                call.aftermath = Aftermath::Close;
                self.run_call_kept(shard, call).await?;
            }
            Call::Sqlite(_) => return Err(Error::internal("LOAD came to another kind of shard")),
        }
        self.look().await;
        Ok(Answer::command("LOAD"))
    }
}

/// # Errors
/// 0A000: SQLite shards notify nobody, and load nothing.
pub(super) fn refuse_on(kind: ShardKind, plan: &crate::plan::Plan) -> Result<()> {
    use crate::plan::{Local, Plan};
    let (ShardKind::Sqlite, Plan::Local(local)) = (kind, plan) else { return Ok(()) };
    match &**local {
        Local::Listen | Local::Notify { .. } => Err(Error::unsupported(
            "LISTEN/NOTIFY on SQLite shards",
            "Use a message queue, or poll an outbox table by its key.",
        )),
        Local::Load => Err(Error::unsupported("LOAD on SQLite shards", "There is nothing to load.")),
        _ => Ok(()),
    }
}
