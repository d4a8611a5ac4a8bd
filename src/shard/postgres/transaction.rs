//! A transaction on a Postgres shard: its connection, from the first statement to the end.
//!
//! BEGIN goes out together with the first statement. A transaction that is dropped closes its connection, and the server
//! rolls it back.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use super::call::{Aftermath, Call, OnReplica, StatementName};
use super::clean;
use super::conversation::{self, lost_in_commit, lost_in_transaction, never_sent};
use super::copying::{self, CopyStream};
use super::exchange::Exchange;
use super::keeper::Keeper;
use super::pass_through::{Form, PassThrough};
use super::pool::{Pool, Pooled, Use};
use super::possessions::{self, Possessions};
use super::program::Description;
use super::rows::{Place, RowStream, Running};
use super::schema::{self, ShardSchema};
use super::session_state::SessionSettings;
use super::told::Told;
use super::two_phase::Ending;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::metrics::ShardMetrics;
use crate::shard::{CancelFlag, Numbers, Output, RowBatch, Rows};
use crate::topology::Keyspace;
use crate::types::ShardId;
use crate::wire::backend::Readiness;
use crate::wire::request;

/// How long a rollback is waited for.
const ROLLBACK_TIME: Duration = Duration::from_secs(2);

const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// A shard's part of a transaction.
#[derive(Debug)]
pub struct PostgresTransaction {
    id: ShardId,
    shard: Arc<str>,
    place: Arc<Place>,
    /// What opens it: `BEGIN ISOLATION LEVEL ...`. `None`: it is open.
    begin: Option<&'static str>,
    /// It is on a replica: where it can begin instead, when that is lost before it has begun.
    instead: Option<Arc<Pool>>,
    cancel: CancelFlag,
    statements: u64,
    /// A rollback takes back settings that the connection was told.
    settings_changed: bool,
    /// The worst of its statements'.
    aftermath: Aftermath,
    /// COMMIT was sent, and its answer has to be waited for.
    committing: Option<PassThrough>,
    /// Made when somebody asks what its end tells.
    told: Option<Told>,
}

impl PostgresTransaction {
    pub(super) fn new(
        (id, shard): (ShardId, Arc<str>),
        connection: Pooled,
        begin: &'static str,
        cancel: &CancelFlag,
    ) -> PostgresTransaction {
        let place = Place::new(connection);
        PostgresTransaction {
            id,
            shard,
            place,
            begin: Some(begin),
            instead: None,
            cancel: cancel.clone(),
            statements: 0,
            settings_changed: false,
            aftermath: Aftermath::Keep,
            committing: None,
            told: None,
        }
    }

    /// What the shard will tell at its end.
    pub fn told(&mut self) -> Told {
        self.told.get_or_insert_default().clone()
    }

    pub(super) fn or_else_on(self, pool: &Arc<Pool>) -> PostgresTransaction {
        PostgresTransaction { instead: Some(Arc::clone(pool)), ..self }
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// The statement failed: only a rollback, whole or to a savepoint, may follow.
    pub async fn run(&mut self, call: Call) -> Result<Output> {
        self.run_here(&call).await.map_err(lost_in_transaction)
    }

    async fn run_here(&mut self, call: &Call) -> Result<Output> {
        if self.instead.is_some() && call.replica == OnReplica::Never {
            return Err(on_a_replica());
        }
        let mut connection = self.place.take().await?;
        self.attach(&mut connection, &call.settings).await?;
        self.aftermath = self.aftermath.max(call.aftermath);
        if call.aftermath != Aftermath::Keep {
            connection.note(call.aftermath);
        }
        let mut exchange = conversation::write(&mut connection, call, self.begin);
        let mut sent = conversation::send(&mut connection, &call.cancel, &self.shard).await;
        if self.begin.is_some() && sent.as_ref().is_err_and(never_sent) {
            // The server had closed it before BEGIN was sent: another one will do.
            connection = match self.instead.take() {
                Some(pool) => pool.checkout().await?,
                None => replaced(connection).await?,
            };
            self.attach(&mut connection, &call.settings).await?;
            exchange = conversation::write(&mut connection, call, self.begin);
            sent = conversation::send(&mut connection, &call.cancel, &self.shard).await;
        }
        sent?;
        self.finish(connection, exchange, call).await
    }

    /// Sends what `write` writes, as [`PostgresShard::pass_through`](super::PostgresShard::pass_through) does, in the form
    /// that `form` chooses when it is told whether BEGIN goes before it.
    pub fn pass_through(
        &mut self,
        settings: &Arc<SessionSettings>,
        statement: Option<&StatementName>,
        form: impl FnOnce(bool) -> Form,
        write: impl FnOnce(Form, &mut BytesMut),
    ) -> Option<PassThrough> {
        let mut connection = self.place.take_free()?;
        if !connection.state.is_ready_for(settings, statement) {
            self.place.put(connection);
            return None;
        }
        if let Some(begin) = &self.begin {
            conversation::write_begin(&mut connection, begin);
        }
        let form = form(self.begin.is_some());
        write(form, &mut connection.output);
        PassThrough::send(connection, Readiness::InTransaction, self.begin.is_some(), form)
    }

    /// Nothing was sent over its connection yet.
    pub fn is_unused(&self) -> bool {
        self.begin.is_some()
    }

    /// Gives the connection of an unused one back.
    pub fn abandon(self) {
        if let Some(connection) = self.place.take_free().filter(|_| self.begin.is_some()) {
            connection.give_back();
        }
    }

    /// After the whole answer was passed on.
    pub fn passed(&mut self, passing: PassThrough) {
        self.begin = None;
        self.place.put(passing.into_connection());
    }

    /// Sends COMMIT, whose answer is to be passed on as it comes. `None`: a statement is still running.
    pub fn commit_at_once(&mut self) -> Option<PassThrough> {
        let mut connection = self.place.take_free()?;
        connection.output.extend_from_slice(COMMIT);
        PassThrough::send(connection, Readiness::Idle, false, Form::AsItCame)
    }

    /// After the whole answer to COMMIT was passed on, now.
    pub fn committed(self, passing: PassThrough, now: Instant) {
        match self.aftermath {
            Aftermath::Keep => passing.end(now),
            aftermath => clean::release(passing.into_connection(), aftermath),
        }
    }

    /// [`PostgresTransaction::commit`] goes on with it.
    pub fn commit_was_sent(&mut self, passing: PassThrough) {
        self.committing = Some(passing);
    }

    /// As [`PostgresShard::go_on`](super::PostgresShard::go_on).
    ///
    /// # Errors
    /// As [`PostgresTransaction::run`].
    pub async fn go_on(&mut self, passing: PassThrough, call: &Call) -> Result<Output> {
        let going_on = async {
            let mut exchange = Exchange::new(Some(Arc::clone(&call.program)));
            if passing.begins {
                exchange = exchange.after(1);
            }
            let mut connection = passing.connection;
            conversation::send_rest(&mut connection, &call.cancel, &self.shard).await?;
            self.finish(connection, exchange, call).await
        };
        going_on.await.map_err(lost_in_transaction)
    }

    async fn finish(&mut self, mut connection: Pooled, mut exchange: Exchange, call: &Call) -> Result<Output> {
        let mut rows = RowBatch::default();
        conversation::proceed(&mut connection, &mut exchange, &mut rows, &call.cancel, &self.shard).await?;
        if !exchange.ended() {
            // What comes next may be the end already.
            exchange.advance(&mut connection, &mut rows)?;
        }
        let ((columns, row_description), affected) = (exchange.columns(), exchange.affected);
        let numbers = Numbers::Left(self.id, connection.as_used());
        let notices = std::mem::take(&mut exchange.notices);
        let rows = if exchange.ended() {
            self.note_begun(exchange.status)?;
            self.place.put(connection);
            if let Some(error) = exchange.error {
                return Err(error);
            }
            Rows::Ready(rows)
        } else {
            // Rows came, so BEGIN and the statement went well.
            self.begin = None;
            self.statements += 1;
            let shard = Arc::clone(&self.shard);
            self.place
                .leave_running(self.statements, Running { connection, exchange, cancel: call.cancel.clone(), shard });
            Rows::Postgres(Box::new(RowStream::in_transaction(rows, Arc::clone(&self.place), self.statements)))
        };
        Ok(Output { columns, row_description, rows, affected, notices, numbers })
    }

    /// From now on its session keeps the connection.
    pub(super) async fn keep(&mut self, keeper: &Arc<Keeper>, metrics: &Arc<ShardMetrics>) -> Result<()> {
        let mut connection = self.place.take().await?;
        if connection.keeper().is_none() {
            keeper.bind(self.id, &mut connection, metrics);
        }
        self.place.put(connection);
        Ok(())
    }

    /// What the session has on the connection.
    ///
    /// # Errors
    /// The shard's error: the transaction has failed then; or the connection was lost.
    pub async fn possessions(&mut self, settings: &Arc<SessionSettings>) -> Result<Possessions> {
        Ok(Possessions::read(&self.rows_of(possessions::QUESTION, settings).await?))
    }

    /// Tells the connection what the session has set since the transaction began.
    async fn attach(&mut self, connection: &mut Pooled, settings: &Arc<SessionSettings>) -> Result<()> {
        if connection.state.is_attached_to(settings) {
            return Ok(());
        }
        self.settings_changed |= self.begin.is_none();
        let attached = conversation::attach(connection, settings, &self.cancel, &self.shard).await;
        if attached.is_err() {
            connection.state.forget_settings();
        }
        attached
    }

    /// The shard says whether there is a transaction now.
    fn note_begun(&mut self, status: Option<Readiness>) -> Result<()> {
        match (status, &self.begin) {
            (Some(Readiness::Idle), None) => Err(ended_by_itself(&self.shard)),
            (Some(Readiness::Idle) | None, Some(_)) => Ok(()),
            _ => {
                self.begin = None;
                Ok(())
            }
        }
    }

    /// Runs plain statements, one by one.
    pub async fn run_batch(&mut self, statements: &[String]) -> Result<()> {
        // Event triggers run what they like.
        self.aftermath = self.aftermath.max(Aftermath::Reset);
        for statement in statements {
            self.run_plain(statement).await?;
        }
        Ok(())
    }

    /// Runs a plain statement, and gives the notices that it raised.
    ///
    /// # Errors
    /// The shard refused it.
    pub async fn run_told(&mut self, text: &str) -> Result<Vec<Error>> {
        // Event triggers run what they like.
        self.aftermath = self.aftermath.max(Aftermath::Reset);
        let mut connection = self.place.take().await?;
        if let Some(begin) = self.begin.take() {
            let begun = conversation::run_plain(&mut connection, begin, &self.cancel, &self.shard).await;
            begun.map_err(lost_in_transaction)?;
        }
        let outcome = conversation::run_told(&mut connection, text, &self.cancel, &self.shard).await;
        if connection.is_in_step() {
            self.place.put(connection);
        }
        outcome.map_err(lost_in_transaction)
    }

    /// Runs one plain text that leaves nothing behind; its rows, as texts.
    ///
    /// # Errors
    /// The shard's error: the transaction has failed then; or the connection was lost.
    pub async fn rows_of(&mut self, text: &str, settings: &Arc<SessionSettings>) -> Result<Vec<Vec<Option<String>>>> {
        let mut connection = self.place.take().await?;
        let outcome = async {
            self.attach(&mut connection, settings).await?;
            if let Some(begin) = self.begin.take() {
                conversation::run_plain(&mut connection, begin, &self.cancel, &self.shard).await?;
            }
            conversation::rows_of(&mut connection, text, &self.cancel, &self.shard).await
        };
        let rows = outcome.await;
        if connection.is_in_step() {
            self.place.put(connection);
        }
        rows.map_err(lost_in_transaction)
    }

    /// Which use of a connection it is.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn used(&mut self) -> Result<Use> {
        let connection = self.place.take().await?;
        let used = connection.as_used();
        self.place.put(connection);
        Ok(used)
    }

    /// The same, with the settings that the transaction has.
    ///
    /// # Errors
    /// As [`PostgresTransaction::rows_of`].
    pub async fn rows_here(&mut self, text: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut connection = self.place.take().await?;
        let rows = conversation::rows_of(&mut connection, text, &self.cancel, &self.shard).await;
        if connection.is_in_step() {
            self.place.put(connection);
        }
        rows.map_err(lost_in_transaction)
    }

    /// Begins a COPY FROM STDIN in the client's own text.
    ///
    /// # Errors
    /// The shard refused it: the transaction has failed then; or the connection was lost.
    pub async fn begin_copy(&mut self, text: &str, settings: &Arc<SessionSettings>) -> Result<CopyStream> {
        if self.instead.is_some() {
            return Err(on_a_replica());
        }
        let mut connection = self.place.take().await?;
        self.aftermath = self.aftermath.max(copying::AFTERMATH);
        connection.note(copying::AFTERMATH);
        let begun = async {
            self.attach(&mut connection, settings).await?;
            if let Some(begin) = self.begin.take() {
                conversation::run_plain(&mut connection, begin, &self.cancel, &self.shard).await?;
            }
            Ok(())
        };
        let begun = begun.await;
        if let Err(error) = begun {
            if connection.is_in_step() {
                self.place.put(connection);
            }
            return Err(lost_in_transaction(error));
        }
        let stream =
            CopyStream::begin(connection, text, &self.cancel, &self.shard).await.map_err(lost_in_transaction)?;
        stream.refused().map_err(|(connection, error)| {
            self.place.put(connection);
            error
        })
    }

    /// After a COPY, however it ended.
    pub fn end_copy(&mut self, stream: CopyStream) {
        let connection = stream.into_connection();
        if connection.is_in_step() {
            self.place.put(connection);
        }
    }

    /// Its connection, for an exchange of another kind.
    ///
    /// # Errors
    /// It was lost.
    pub(super) async fn take_connection(&mut self) -> Result<Pooled> {
        self.place.take().await
    }

    pub(super) fn put_connection(&mut self, connection: Pooled) {
        self.place.put(connection);
    }

    async fn run_plain(&mut self, text: &str) -> Result<()> {
        let mut connection = self.place.take().await.map_err(lost_in_transaction)?;
        if let Some(begin) = self.begin.take() {
            let begun = conversation::run_plain(&mut connection, begin, &self.cancel, &self.shard).await;
            begun.map_err(lost_in_transaction)?;
        }
        let outcome = conversation::run_plain(&mut connection, text, &self.cancel, &self.shard).await;
        if connection.is_in_step() {
            self.place.put(connection);
        }
        outcome.map(|_| ()).map_err(lost_in_transaction)
    }

    /// The schema as this transaction sees it.
    ///
    /// # Errors
    /// The shard failed, or holds what cannot be planned.
    pub async fn schema(&mut self, keyspaces: &[Arc<Keyspace>]) -> Result<ShardSchema> {
        let mut connection = self.place.take().await?;
        // The settings come back with the savepoint.
        let text = format!(
            "SAVEPOINT shardd_look; {} {}; ROLLBACK TO SAVEPOINT shardd_look; RELEASE SAVEPOINT shardd_look",
            schema::PRINTED_ALIKE,
            schema::CATALOG
        );
        let rows = conversation::rows_of(&mut connection, &text, &self.cancel, &self.shard).await;
        if connection.is_in_step() {
            self.place.put(connection);
        }
        let mut read = ShardSchema::read(self.id, &self.shard, &rows.map_err(lost_in_transaction)?, keyspaces)?;
        if let Some(positions) = read.positions_query() {
            let mut connection = self.place.take().await?;
            let rows = conversation::rows_of(&mut connection, &positions, &self.cancel, &self.shard).await;
            if connection.is_in_step() {
                self.place.put(connection);
            }
            read.set_positions(&rows.map_err(lost_in_transaction)?)?;
        }
        Ok(read)
    }

    pub async fn savepoint(&mut self, name: &str) -> Result<()> {
        self.run_plain(&format!("SAVEPOINT {name}")).await
    }

    pub async fn rollback_to(&mut self, name: &str) -> Result<()> {
        self.run_plain(&format!("ROLLBACK TO SAVEPOINT {name}")).await?;
        if self.settings_changed {
            let mut connection = self.place.take().await?;
            connection.state.forget_settings();
            self.place.put(connection);
        }
        Ok(())
    }

    /// Asks what a statement takes and returns.
    ///
    /// # Errors
    /// The shard cannot parse it; the transaction has failed then.
    pub async fn describe(&mut self, text: &str, type_oids: &[u32]) -> Result<Description> {
        let mut connection = self.place.take().await?;
        if let Some(begin) = self.begin.take() {
            conversation::run_plain(&mut connection, begin, &self.cancel, &self.shard)
                .await
                .map_err(lost_in_transaction)?;
        }
        let described = conversation::describe(&mut connection, text, type_oids, &self.cancel, &self.shard).await;
        if connection.is_in_step() {
            self.place.put(connection);
        }
        described.map_err(lost_in_transaction)
    }

    pub async fn release(&mut self, name: &str) -> Result<()> {
        self.run_plain(&format!("RELEASE SAVEPOINT {name}")).await
    }

    /// # Errors
    /// Nothing was committed, unless the error's [`Retry`](crate::error::Retry) is `Unknown`.
    pub async fn commit(mut self) -> Result<()> {
        let mut connection = match self.committing.take() {
            Some(passing) => passing.connection,
            None => {
                // Portals end here: what is left of their rows is for nobody.
                let mut connection = self.place.take_without_rows().await.map_err(lost_in_transaction)?;
                if self.begin.is_some() {
                    connection.give_back();
                    return Ok(());
                }
                request::query(&mut connection.output, "COMMIT");
                connection.due += 1;
                connection
            }
        };
        let committed = conversation::commit(&mut connection, &self.cancel, &self.shard, self.told.as_ref()).await;
        if committed.is_err() && self.settings_changed {
            // It was a rollback.
            connection.state.forget_settings();
        }
        if !connection.is_in_step() {
            return committed.map(|_| ()).map_err(lost_in_commit);
        }
        if !matches!(committed, Ok(Readiness::InTransaction | Readiness::InFailedTransaction)) {
            clean::release(connection, self.aftermath);
        }
        match committed? {
            Readiness::Idle => Ok(()),
            other => Err(Error::internal(format!("after COMMIT, a shard says that its transaction is {other:?}"))),
        }
    }

    /// Its connection, on which only its end is to come.
    ///
    /// # Errors
    /// The connection was lost, or the last statement failed.
    pub(super) async fn into_ending(self) -> Result<Ending> {
        let connection = self.place.take_without_rows().await.map_err(lost_in_transaction)?;
        let PostgresTransaction { shard, settings_changed, aftermath, cancel, told, .. } = self;
        Ok(Ending { connection, settings_changed, aftermath, shard, cancel, told })
    }

    /// The server's process that it runs in, while no statement has its connection.
    pub fn process(&self) -> Option<i32> {
        let connection = self.place.take_free()?;
        let process = connection.process();
        self.place.put(connection);
        Some(process)
    }

    /// Takes everything back. If the shard cannot answer in time, the connection is closed and it does so by itself.
    pub async fn rollback(self) {
        let Some(mut connection) = self.place.take_for_rollback().await else { return };
        if self.begin.is_some() {
            connection.give_back();
            return;
        }
        let never = CancelFlag::new();
        let rollback = conversation::run_plain(&mut connection, "ROLLBACK", &never, &self.shard);
        let outcome = tokio::time::timeout(ROLLBACK_TIME, rollback).await;
        if matches!(outcome, Ok(Ok(Readiness::Idle))) {
            if self.settings_changed {
                connection.state.forget_settings();
            }
            clean::release(connection, self.aftermath);
        }
    }
}

/// Another connection in place of one that the server had closed before it was used.
///
/// # Errors
/// None can be had; or its session kept it, and had something on it.
async fn replaced(connection: Pooled) -> Result<Pooled> {
    let pool = Arc::clone(connection.pool());
    let keeper = connection.keeper().map(|(keeper, _)| Arc::clone(keeper));
    drop(connection);
    match keeper {
        None => pool.checkout().await,
        // It takes one anew with the next transaction.
        Some(keeper) => Err(keeper.broken().unwrap_or_else(|| {
            Error::new(SqlState::CONNECTION_FAILURE, format!("the connection to shard \"{}\" was lost", pool.name()))
                .fault(Fault::Shard)
                .retry(Retry::Safe)
        })),
    }
}

/// What the shard itself has to do (take a lock), in a transaction that has begun elsewhere.
fn on_a_replica() -> Error {
    Error::unsupported(
        "this statement in a read-only transaction that a replica has begun to answer",
        "Run it first, with SET LOCAL shardd.key before it, or begin the transaction READ WRITE. While slots move (`shardctl moves`) replicas are not read: run the transaction again.",
    )
}

fn ended_by_itself(shard: &str) -> Error {
    Error::new(
        SqlState::NO_ACTIVE_SQL_TRANSACTION,
        format!("a statement ended the transaction on shard \"{shard}\" by itself"),
    )
    .hint("Use COMMIT and ROLLBACK as statements of their own.")
}
