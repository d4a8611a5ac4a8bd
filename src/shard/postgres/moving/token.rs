//! What a move keeps on both of its shards, and the token that every write of it checks in its own transaction.
//!
//! Whoever takes a move over changes the token, which waits for the transactions that have checked the old one: a runner that was
//! taken for dead writes nothing afterwards. The guard lets through whoever shows the token.

use super::super::guard;
use super::super::session_state::quoted;
use super::session::MovingSession;
use crate::error::{Error, Result, Retry, SqlState};

/// Makes what is not there. Several may do so at the same time.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7090241906537432)";

const MAKE: &str = "CREATE TABLE IF NOT EXISTS shardd.move_progress (move text, tbl text, done boolean NOT NULL, place text, \
         rows bigint NOT NULL, bytes bigint NOT NULL, PRIMARY KEY (move, tbl)); \
     CREATE TABLE IF NOT EXISTS shardd.move_fence (move text, attempt int NOT NULL, PRIMARY KEY (move)); \
     CREATE TABLE IF NOT EXISTS shardd.move_decision (move text, attempt int, \
         outcome text NOT NULL CHECK (outcome IN ('own', 'refused')), PRIMARY KEY (move, attempt))";

/// The move's name and its runner's token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) keyspace: String,
    /// The move's name on the shards.
    pub(super) name: String,
    pub(super) token: String,
}

impl Token {
    /// The move's name as a literal.
    pub(super) fn literal(&self) -> String {
        quoted(&self.name)
    }

    /// Makes the move's tables on a shard, and lets nobody else write for it from now on.
    ///
    /// # Errors
    /// The shard's.
    pub(super) async fn take_over(&self, session: &mut MovingSession) -> Result<()> {
        session.begin("BEGIN").await?;
        session.run(&format!("{LOCK}; {}; {MAKE}", guard::TOKENS)).await.map_err(|error| match error.sqlstate() {
            SqlState::INSUFFICIENT_PRIVILEGE => {
                let message =
                    format!("shard \"{}\" does not let a move make its tables: {}", session.shard(), error.message());
                Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                    .hint("GRANT CREATE ON DATABASE, and ON SCHEMA shardd, to the role that shardd logs in as.")
            }
            _ => error,
        })?;
        session
            .run(&format!(
                "INSERT INTO shardd.mover (keyspace, move, token) VALUES ({}, {}, {}) \
                 ON CONFLICT (move) DO UPDATE SET token = excluded.token",
                quoted(&self.keyspace),
                self.literal(),
                quoted(&self.token)
            ))
            .await?;
        session.commit().await
    }

    /// Begins a transaction that writes for the move.
    ///
    /// # Errors
    /// 55000: somebody else has taken the move over. Or the shard's.
    pub(super) async fn begin(&self, session: &mut MovingSession) -> Result<()> {
        let text = format!(
            "BEGIN; SELECT set_config('{}', token, true) FROM shardd.mover WHERE move = {} AND token = {} FOR SHARE",
            guard::MOVER_SETTING,
            self.literal(),
            quoted(&self.token)
        );
        match session.begin(&text).await?.is_empty() {
            false => Ok(()),
            true => Err(taken_over(&self.name)),
        }
    }

    /// Forgets the move on a shard.
    ///
    /// # Errors
    /// The shard's.
    pub(super) async fn forget(&self, session: &mut MovingSession) -> Result<()> {
        self.begin(session).await?;
        let name = self.literal();
        for table in ["move_progress", "move_fence", "move_decision", "mover"] {
            session.run(&format!("DELETE FROM shardd.{table} WHERE move = {name}")).await?;
        }
        session.commit().await
    }
}

pub(super) fn taken_over(name: &str) -> Error {
    let message = format!("move {name} is run by another instance of shardd");
    Error::new(SqlState::OBJECT_IN_USE, message).retry(Retry::Safe)
}
