//! What of several shards' commits one shard knows: transactions that are [prepared], and decisions. And who waits for whom.
//!
//! All of it is asked over connections of shardd's own: it must wait for no client.
//!
//! [prepared]: https://www.postgresql.org/docs/current/view-pg-prepared-xacts.html

use std::time::Duration;

use parking_lot::Mutex;

use super::own_connection::{OwnConnection, TextRows};
use super::shard::PostgresShard;
use super::target::Target;
use crate::error::{Error, Fault, Result, SqlState};
use crate::sql::quote_identifier;

/// How long a shard may take to answer.
const TIME: Duration = Duration::from_secs(5);
/// How long the transaction that may hold the decision is waited for: below [`TIME`].
const LOCK_TIMEOUT: &str = "SET lock_timeout = '2s'";
const MOST_ROWS: usize = 100_000;

/// Several instances may make it at the same time, and neither CREATE is safe then by itself.
const MAKE_TABLE: &str = "DO $$ BEGIN \
     PERFORM pg_catalog.pg_advisory_xact_lock(7090241906537431); \
     CREATE SCHEMA IF NOT EXISTS shardd; \
     CREATE TABLE IF NOT EXISTS shardd.decision (\
         gid pg_catalog.text PRIMARY KEY, \
         outcome pg_catalog.text NOT NULL CHECK (outcome IN ('commit', 'abort')), \
         decided_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()); \
     END $$";

/// Whether there can be prepared transactions, whether the table is there, and whether it can be used.
const LOOK: &str = "SELECT pg_catalog.current_setting('max_prepared_transactions'), found.oid IS NOT NULL, \
     COALESCE(pg_catalog.has_table_privilege(found.oid, 'SELECT') AND pg_catalog.has_table_privilege(found.oid, 'INSERT') \
         AND pg_catalog.has_table_privilege(found.oid, 'DELETE'), false) \
     FROM (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
           WHERE n.nspname = 'shardd' AND c.relname = 'decision') AS found RIGHT JOIN (SELECT) AS always ON true";

const PREPARED: &str = "SELECT gid, owner, owner <> current_user, \
     (GREATEST(extract(epoch FROM pg_catalog.clock_timestamp() - prepared), 0) * 1000)::pg_catalog.int8 \
     FROM pg_catalog.pg_prepared_xacts \
     WHERE database = pg_catalog.current_database() AND pg_catalog.starts_with(gid, $1::pg_catalog.text) ORDER BY prepared, gid";

/// A decision that nothing is committed is in nobody's way, once no transaction is open that might write the other one.
const DECISIONS: &str = "SELECT gid, outcome, \
     (GREATEST(extract(epoch FROM pg_catalog.clock_timestamp() - decided_at), 0) * 1000)::pg_catalog.int8, \
     NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datname = pg_catalog.current_database() \
         AND a.pid <> pg_catalog.pg_backend_pid() AND a.xact_start <= decision.decided_at) \
     FROM shardd.decision WHERE pg_catalog.starts_with(gid, $1::pg_catalog.text) ORDER BY decided_at LIMIT 10000";

const WAITS: &str = "SELECT DISTINCT pid, pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(pid), ',') \
     FROM pg_catalog.pg_locks WHERE NOT granted AND pid IS NOT NULL";

/// What was decided of a commit over several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Commit,
    Abort,
}

/// A transaction that is prepared on a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDoubt {
    pub gid: String,
    pub age: Duration,
    /// The role that has to end it, where that is not shardd's own.
    role: Option<String>,
}

impl InDoubt {
    /// One that may be there, of shardd's own role.
    pub fn named(gid: String) -> InDoubt {
        InDoubt { gid, age: Duration::ZERO, role: None }
    }
}

/// A row of a shard's table of decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRow {
    pub gid: String,
    pub outcome: Outcome,
    pub age: Duration,
    /// No transaction is open on the shard that began before it.
    pub outlived: bool,
}

/// A process that waits for a lock, and those that keep it from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockWait {
    pub process: i32,
    pub blockers: Vec<i32>,
}

/// A shard's part in what is committed on several.
#[derive(Debug)]
pub(super) struct TwoPhases {
    ends: tokio::sync::Mutex<OwnConnection>,
    waits: tokio::sync::Mutex<OwnConnection>,
    /// Why it can take no part.
    lacking: Mutex<Option<Error>>,
}

impl TwoPhases {
    pub(super) fn new(shard: &str, target: &Target) -> TwoPhases {
        let connection = || tokio::sync::Mutex::new(OwnConnection::new(shard, target.clone()));
        let unknown = lacking(shard, "was not looked at yet").hint("Try again in a moment.");
        TwoPhases { ends: connection(), waits: connection(), lacking: Mutex::new(Some(unknown)) }
    }
}

impl PostgresShard {
    /// Whether it can take part in a commit over several shards.
    ///
    /// # Errors
    /// 55000: why not, and what to do.
    pub fn can_prepare(&self) -> Result<()> {
        self.two_phases.lacking.lock().clone().map_or(Ok(()), Err)
    }

    /// Makes the table of decisions, unless it is there, and finds out whether the shard can take part in a commit over several.
    pub async fn make_ready_to_prepare(&self) -> Result<()> {
        let found = self.look_and_make().await;
        *self.two_phases.lacking.lock() = found.clone().err();
        found
    }

    async fn look_and_make(&self) -> Result<()> {
        let name = self.name();
        let unasked = |error: Error| lacking(name, &format!("cannot be asked: {}", error.message()));
        let found = self.ask(LOOK, &[]).await.map_err(unasked)?;
        let text = |rows: &TextRows, column: usize| rows.first().and_then(|row| row.get(column).cloned().flatten());
        if text(&found, 0).as_deref() == Some("0") {
            return Err(lacking(name, "has max_prepared_transactions = 0")
                .hint("Set max_prepared_transactions to max_connections there, and restart the server."));
        }
        let mut found = found;
        if text(&found, 1).as_deref() != Some("t") {
            let made = self.ask(MAKE_TABLE, &[]).await;
            made.map_err(|error| {
                lacking(name, &format!("has no table shardd.decision, and it cannot be made: {}", error.message()))
                    .hint("GRANT CREATE ON DATABASE to the role that shardd logs in as, or make the schema shardd for it.")
            })?;
            found = self.ask(LOOK, &[]).await.map_err(unasked)?;
        }
        if text(&found, 2).as_deref() != Some("t") {
            return Err(lacking(name, "does not let shardd use its table shardd.decision").hint(
                "GRANT USAGE ON SCHEMA shardd, and SELECT, INSERT, DELETE ON shardd.decision to the role that shardd logs in as.",
            ));
        }
        Ok(())
    }

    async fn ask(&self, text: &str, values: &[&str]) -> Result<TextRows> {
        self.two_phases.ends.lock().await.ask(text, values, MOST_ROWS, TIME).await
    }

    /// Asks the server for nothing, over a connection that no client waits for.
    ///
    /// # Errors
    /// 08006: it is not there. Its own: it is, and takes no question.
    pub async fn answers(&self) -> Result<()> {
        self.ask("SELECT 1", &[]).await.map(|_| ())
    }

    /// The same of a server whose shard is not open. `url`: the shard's, as the topology has it.
    ///
    /// # Errors
    /// As [`PostgresShard::answers`]; 22023: the URL is none.
    pub async fn answers_at(shard: &str, url: &str) -> Result<()> {
        let target = Target::parse(url).map_err(|error| {
            let message = format!("the URL of shard \"{shard}\" cannot be used: {error}");
            Error::new(SqlState::INVALID_PARAMETER_VALUE, message).fault(Fault::Proxy)
        })?;
        OwnConnection::new(shard, target).ask("SELECT 1", &[], 1, TIME).await.map(|_| ())
    }

    /// The transactions that are prepared here, of those whose names begin so.
    ///
    /// # Errors
    /// The shard cannot be asked.
    pub async fn in_doubt(&self, names: &str) -> Result<Vec<InDoubt>> {
        let rows = self.ask(PREPARED, &[names]).await?;
        let read = rows.into_iter().map(|row| match row.as_slice() {
            [Some(gid), Some(owner), Some(other), Some(age)] => {
                let role = (other == "t").then(|| owner.clone());
                Ok(InDoubt { gid: gid.clone(), age: milliseconds(age), role })
            }
            _ => Err(strange(self.name())),
        });
        read.collect()
    }

    /// The decisions that are kept here, of those whose names begin so.
    ///
    /// # Errors
    /// The shard cannot be asked.
    pub async fn decisions(&self, names: &str) -> Result<Vec<DecisionRow>> {
        let rows = self.ask(DECISIONS, &[names]).await?;
        let read = rows.into_iter().map(|row| match row.as_slice() {
            [Some(gid), Some(outcome), Some(age), Some(outlived)] => Ok(DecisionRow {
                gid: gid.clone(),
                outcome: if outcome == "commit" { Outcome::Commit } else { Outcome::Abort },
                age: milliseconds(age),
                outlived: outlived == "t",
            }),
            _ => Err(strange(self.name())),
        });
        read.collect()
    }

    /// What was decided here; from now on nothing is committed, when nothing was decided yet. Waits for the transaction
    /// that may be about to decide.
    ///
    /// # Errors
    /// It is not known: that transaction goes on, or the shard cannot be asked.
    pub async fn settle(&self, gid: &str) -> Result<Outcome> {
        let mut connection = self.two_phases.ends.lock().await;
        connection.ask(LOCK_TIMEOUT, &[], 0, TIME).await?;
        let abort = "INSERT INTO shardd.decision (gid, outcome) VALUES ($1, 'abort') ON CONFLICT DO NOTHING";
        connection.ask(abort, &[gid], 0, TIME).await?;
        // In a statement of its own, so that it sees what the first has waited for.
        let rows = connection.ask("SELECT outcome FROM shardd.decision WHERE gid = $1", &[gid], 1, TIME).await?;
        match rows.first().and_then(|row| row.first()).and_then(Option::as_deref) {
            Some("commit") => Ok(Outcome::Commit),
            Some("abort") => Ok(Outcome::Abort),
            _ => Err(strange(self.name())),
        }
    }

    /// Ends a prepared transaction.
    ///
    /// # Errors
    /// The shard refused, or cannot be asked: only a look at what is prepared tells what became of it.
    pub async fn end_prepared(&self, prepared: &InDoubt, outcome: Outcome) -> Result<()> {
        let mut connection = self.two_phases.ends.lock().await;
        if let Some(role) = &prepared.role {
            connection.ask(&format!("SET ROLE {}", quote_identifier(role)), &[], 0, TIME).await?;
        }
        let word = match outcome {
            Outcome::Commit => "COMMIT",
            Outcome::Abort => "ROLLBACK",
        };
        let text = format!("{word} PREPARED {}", super::quoted(&prepared.gid));
        let ended = connection.ask(&text, &[], 0, TIME).await;
        if prepared.role.is_some() {
            connection.ask("RESET ROLE", &[], 0, TIME).await?;
        }
        ended.map(|_| ())
    }

    /// Deletes decisions that nobody asks for any more.
    ///
    /// # Errors
    /// The shard cannot be asked: they stay.
    pub async fn forget_decisions(&self, gids: &[String]) -> Result<()> {
        // Names are of letters, digits and colons.
        let list = format!("{{{}}}", gids.join(","));
        let delete = "DELETE FROM shardd.decision WHERE gid = ANY ($1::pg_catalog.text[])";
        self.ask(delete, &[&list]).await.map(|_| ())
    }

    /// Who waits for a lock on this server, and for whom.
    ///
    /// # Errors
    /// The shard cannot be asked.
    pub async fn lock_waits(&self) -> Result<Vec<LockWait>> {
        let rows = self.two_phases.waits.lock().await.ask(WAITS, &[], MOST_ROWS, TIME).await?;
        let wait = |row: Vec<Option<String>>| {
            let mut values = row.into_iter().flatten();
            let process = values.next()?.parse().ok()?;
            let blockers = values.next()?.split(',').filter_map(|process| process.parse().ok()).collect();
            Some(LockWait { process, blockers })
        };
        Ok(rows.into_iter().filter_map(wait).collect())
    }
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap_or(0))
}

fn lacking(shard: &str, why: &str) -> Error {
    let message = format!("shard \"{shard}\" can take no part in a commit over several shards: it {why}");
    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).fault(Fault::Shard)
}

fn strange(shard: &str) -> Error {
    Error::internal(format!("shard \"{shard}\" tells of its prepared transactions in another form than was asked for"))
}
