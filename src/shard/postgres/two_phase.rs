//! A transaction's end where it is one of several: [prepared], decided, and committed under the name that it was prepared by.
//!
//! The decision is a row that is committed together with the deciding shard's own work, so that both are there or neither.
//!
//! [prepared]: https://www.postgresql.org/docs/current/sql-prepare-transaction.html

use std::sync::Arc;
use std::time::Duration;

use super::call::Aftermath;
use super::clean;
use super::conversation::{self, lost_in_transaction};
use super::exchange::Exchange;
use super::pool::Pooled;
use super::session_state::quoted;
use super::told::{Told, tell};
use super::transaction::PostgresTransaction;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::shard::CancelFlag;
use crate::wire::backend::Readiness;

/// How long the end of a prepared transaction is waited for, before it is left to the resolver.
const FINISH_TIME: Duration = Duration::from_secs(5);
/// How long the answer to the COMMIT that decides is waited for, before the shard is asked what it was.
const COMMIT_TIME: Duration = Duration::from_secs(30);

/// Runs what is deferred while it can still fail, and keeps the decision from being lost by a setting of the client's: the
/// others' parts are durable.
const BEFORE_DECISION: &str = "SET CONSTRAINTS ALL IMMEDIATE; SELECT pg_catalog.set_config('synchronous_commit', \
     CASE pg_catalog.current_setting('synchronous_commit') WHEN 'off' THEN 'local' \
     ELSE pg_catalog.current_setting('synchronous_commit') END, true); ";

/// Why a transaction was not prepared.
#[derive(Debug)]
pub enum Unprepared {
    /// It was rolled back.
    Refused(Error),
    /// The answer was lost: it may be prepared.
    Unknown(Error),
}

/// Why no decision was written. The transaction was rolled back.
#[derive(Debug)]
pub enum Undecided {
    /// Somebody had decided before that nothing is committed.
    Forestalled,
    Failed(Error),
}

/// What became of the transaction that decides.
#[derive(Debug)]
pub enum Decision {
    Committed,
    /// It was rolled back.
    Failed(Error),
    /// COMMIT was sent and its answer lost: what the shard's table of decisions says holds.
    Unknown(Error),
}

/// A transaction's connection, on which only its end is to come.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) connection: Pooled,
    pub(super) settings_changed: bool,
    pub(super) aftermath: Aftermath,
    pub(super) shard: Arc<str>,
    pub(super) cancel: CancelFlag,
    pub(super) told: Option<Told>,
}

/// A prepared transaction, and the connection that prepared it. Dropping it leaves it to the resolver.
#[derive(Debug)]
pub struct PreparedTransaction {
    ending: Ending,
    gid: String,
}

/// A transaction that holds the decision, and is to be committed. Dropping it rolls it back.
#[derive(Debug)]
pub struct DecidingTransaction(Ending);

impl PostgresTransaction {
    /// PREPARE TRANSACTION. A client that cancels meanwhile is followed.
    ///
    /// # Errors
    /// It is not prepared, or that is not known.
    pub async fn prepare(self, gid: &str) -> std::result::Result<PreparedTransaction, Unprepared> {
        let mut ending = self.into_ending().await.map_err(Unprepared::Refused)?;
        let text = format!("PREPARE TRANSACTION {}", quoted(gid));
        let Ending { connection, cancel, shard, told, .. } = &mut ending;
        match conversation::run_through(connection, &text, cancel, shard, told.as_ref()).await {
            Ok(()) => Ok(PreparedTransaction { ending, gid: gid.to_owned() }),
            Err(error) if ending.connection.is_in_step() => {
                ending.roll_back().await;
                Err(Unprepared::Refused(error))
            }
            Err(error) if error.get_retry() == Retry::Safe => Err(Unprepared::Refused(lost_in_transaction(error))),
            Err(error) => Err(Unprepared::Unknown(lost_in_transaction(error))),
        }
    }

    /// Writes the decision that all is committed, within the transaction.
    ///
    /// # Errors
    /// It was rolled back.
    pub async fn decide(self, gid: &str) -> std::result::Result<DecidingTransaction, Undecided> {
        let mut ending = self.into_ending().await.map_err(Undecided::Failed)?;
        let Ending { connection, cancel, shard, told, .. } = &mut ending;
        let own_role = connection.state.own_role();
        let text = format!(
            "{BEFORE_DECISION}{own_role}INSERT INTO shardd.decision (gid, outcome) VALUES ({}, 'commit') \
             ON CONFLICT DO NOTHING RETURNING 'decided'",
            quoted(gid)
        );
        let mut exchange = Exchange::new(None);
        let written = conversation::rows_in(&mut exchange, connection, &text, cancel, shard).await;
        tell(told.as_ref(), &mut exchange.notices);
        if !own_role.is_empty() {
            // Its end brings the client's role back, or takes what another one may not have.
            connection.state.forget_settings();
        }
        match written {
            // The setting's, and the decision's.
            Ok(rows) if rows.len() == 2 => Ok(DecidingTransaction(ending)),
            Ok(_) => {
                ending.roll_back().await;
                Err(Undecided::Forestalled)
            }
            Err(error) => {
                if ending.connection.is_in_step() {
                    ending.roll_back().await;
                }
                Err(Undecided::Failed(lost_in_transaction(error)))
            }
        }
    }
}

impl DecidingTransaction {
    /// COMMIT. A client that gives up meanwhile is not followed.
    pub async fn commit(self) -> Decision {
        let DecidingTransaction(mut ending) = self;
        match ending.finish("COMMIT", COMMIT_TIME).await {
            Ok(()) => {
                clean::release(ending.connection, ending.aftermath);
                Decision::Committed
            }
            Err(error) if ending.connection.is_in_step() => {
                ending.roll_back().await;
                Decision::Failed(error)
            }
            Err(error) if error.get_retry() == Retry::Safe => Decision::Failed(lost_in_transaction(error)),
            Err(error) => Decision::Unknown(error),
        }
    }

    /// Takes it back, and the decision with it.
    pub async fn rollback(self) {
        self.0.roll_back().await;
    }
}

impl PreparedTransaction {
    /// COMMIT PREPARED.
    ///
    /// # Errors
    /// It is not known to be committed: the resolver goes on.
    pub async fn commit(mut self) -> Result<()> {
        let text = format!("COMMIT PREPARED {}", quoted(&self.gid));
        let finished = self.ending.finish(&text, FINISH_TIME).await;
        if self.ending.connection.is_in_step() {
            clean::release(self.ending.connection, self.ending.aftermath);
        }
        finished
    }

    /// ROLLBACK PREPARED.
    ///
    /// # Errors
    /// It is not known to be rolled back: the resolver goes on.
    pub async fn rollback(mut self) -> Result<()> {
        let text = format!("ROLLBACK PREPARED {}", quoted(&self.gid));
        let finished = self.ending.finish(&text, FINISH_TIME).await;
        if self.ending.connection.is_in_step() {
            if self.ending.settings_changed {
                self.ending.connection.state.forget_settings();
            }
            clean::release(self.ending.connection, self.ending.aftermath);
        }
        finished
    }
}

impl Ending {
    async fn finish(&mut self, text: &str, time: Duration) -> Result<()> {
        let never = CancelFlag::new();
        let finishing = conversation::run_through(&mut self.connection, text, &never, &self.shard, self.told.as_ref());
        tokio::time::timeout(time, finishing).await.unwrap_or_else(|_| {
            let message = format!("shard \"{}\" did not answer {text} within {} s", self.shard, time.as_secs());
            Err(Error::new(SqlState::CONNECTION_FAILURE, message).fault(Fault::Shard).retry(Retry::Unknown))
        })
    }

    /// Leaves no transaction open on the connection; where that cannot be done in time, it is closed.
    async fn roll_back(mut self) {
        let never = CancelFlag::new();
        let rollback = conversation::run_plain(&mut self.connection, "ROLLBACK", &never, &self.shard);
        if matches!(tokio::time::timeout(FINISH_TIME, rollback).await, Ok(Ok(Readiness::Idle))) {
            if self.settings_changed {
                self.connection.state.forget_settings();
            }
            clean::release(self.connection, self.aftermath);
        }
    }
}
