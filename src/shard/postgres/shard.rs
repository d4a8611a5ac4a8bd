//! A shard on a Postgres server: statements in, rows out, over pooled connections.

use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use tokio::time::Instant;

use super::call::{Call, OnReplica, StatementName};
use super::clean;
use super::conversation::{self, lost_alone, never_sent};
use super::exchange::Exchange;
use super::in_doubt::TwoPhases;
use super::keeper::Keeper;
use super::own_connection::OwnConnection;
use super::pass_through::{Form, PassThrough};
use super::pool::{Pool, PoolState, Pooled, Use};
use super::possessions::{self, Possessions};
use super::program::Description;
use super::replica::Replicas;
use super::rows::{RowStream, Running};
use super::schema::{self, ShardSchema};
use super::session_state::SessionSettings;
use super::target::Target;
use super::transaction::PostgresTransaction;
use super::worker;
use crate::error::Result;
use crate::metrics::ShardMetrics;
use crate::shard::{CancelFlag, Numbers, Output, RowBatch, Rows};
use crate::topology::{Keyspace, Schema};
use crate::types::ShardId;
use crate::wire::backend::Readiness;

/// Connections that are tried for one statement, when the first turns out to be closed before anything was sent.
const CONNECTIONS_TRIED: u32 = 2;

/// A Postgres server that holds rows.
#[derive(Debug)]
pub struct PostgresShard {
    name: Arc<str>,
    id: ShardId,
    /// Each worker's.
    pools: Box<[Arc<Pool>]>,
    replicas: Option<Arc<Replicas>>,
    /// Told when its schema is read, which a database is made with.
    text: OnceLock<TextTreatment>,
    pub(super) two_phases: TwoPhases,
    metrics: Arc<ShardMetrics>,
}

/// How a database treats text that says nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextTreatment {
    /// It is ordered by its bytes.
    pub ordered_by_bytes: bool,
    /// `upper`, `lower` and regular expressions know the letters of ASCII only.
    pub plain_letters: bool,
}

impl PostgresShard {
    /// Gives the rows that [`Hazards`](super::Hazards) are read from.
    pub const HAZARDS: &str = super::hazards::CATALOG;

    /// `pools`: one for each worker, in their order; at least one.
    pub fn new(name: &str, id: ShardId, pools: Vec<Arc<Pool>>, metrics: Arc<ShardMetrics>) -> PostgresShard {
        let two_phases = TwoPhases::new(name, pools[0].target());
        let pools = pools.into();
        PostgresShard { name: name.into(), id, pools, replicas: None, text: OnceLock::new(), two_phases, metrics }
    }

    #[must_use]
    pub fn with_replicas(self, replicas: Option<Arc<Replicas>>) -> PostgresShard {
        PostgresShard { replicas, ..self }
    }

    pub fn replicas(&self) -> Option<&Replicas> {
        self.replicas.as_deref()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Nothing is taken for granted before its schema was read.
    pub fn text(&self) -> TextTreatment {
        self.text.get().copied().unwrap_or_default()
    }

    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// This worker's.
    fn own_pool(&self) -> &Arc<Pool> {
        match &*self.pools {
            [only] => only,
            pools => &pools[worker::current() % pools.len()],
        }
    }

    async fn take_connection(&self, cancel: &CancelFlag) -> Result<Pooled> {
        self.take_connection_from(&self.pools, cancel).await
    }

    /// A connection: of this worker's own, or another worker's that nobody uses when there can be no more of its own.
    async fn take_connection_from(&self, pools: &[Arc<Pool>], cancel: &CancelFlag) -> Result<Pooled> {
        let own = &pools[worker::current() % pools.len()];
        if let Some(connection) = own.try_checkout() {
            return Ok(connection);
        }
        if pools.len() > 1 && own.is_full() {
            let others = pools.iter().filter(|pool| !Arc::ptr_eq(pool, own));
            if let Some(connection) = others.filter_map(Pool::try_checkout).next() {
                return Ok(connection);
            }
        }
        let begun = Instant::now();
        let outcome = tokio::select! {
            biased;
            outcome = own.checkout() => outcome,
            canceled = cancel.raised() => Err(canceled),
        };
        self.metrics.queue_wait(begun.elapsed());
        outcome
    }

    pub(super) async fn checkout(
        &self,
        settings: &Arc<SessionSettings>,
        keeper: Option<&Arc<Keeper>>,
        cancel: &CancelFlag,
    ) -> Result<Pooled> {
        if let Some(keeper) = keeper
            && keeper.keeps(self.id)
        {
            return Box::pin(self.checkout_kept(settings, keeper, cancel)).await;
        }
        self.checkout_from(&self.pools, settings, cancel).await
    }

    pub(super) async fn checkout_from(
        &self,
        pools: &[Arc<Pool>],
        settings: &Arc<SessionSettings>,
        cancel: &CancelFlag,
    ) -> Result<Pooled> {
        let mut tried = 0;
        loop {
            tried += 1;
            let mut connection = self.take_connection_from(pools, cancel).await?;
            if connection.state.is_attached_to(settings) {
                return Ok(connection);
            }
            while connection.state.shows_others(settings) {
                drop(connection);
                connection = self.take_connection_from(pools, cancel).await?;
            }
            match conversation::attach(&mut connection, settings, cancel, &self.name).await {
                Ok(()) => return Ok(connection),
                // Nothing of the client's work was sent yet.
                Err(_) if connection.is_lost() && tried < CONNECTIONS_TRIED => {}
                Err(error) => {
                    if connection.is_in_step() {
                        connection.give_back();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The connection that a session keeps, or one that it keeps from now on.
    async fn checkout_kept(
        &self,
        settings: &Arc<SessionSettings>,
        keeper: &Arc<Keeper>,
        cancel: &CancelFlag,
    ) -> Result<Pooled> {
        let mut tried = 0;
        loop {
            tried += 1;
            let mut connection = match keeper.take(self.id, cancel).await? {
                Some(connection) => connection,
                None => {
                    let mut fresh = self.take_connection(cancel).await?;
                    while fresh.state.shows_others(settings) {
                        drop(fresh);
                        fresh = self.take_connection(cancel).await?;
                    }
                    if fresh.was_used() {
                        // What lastval() and currval() tell there would be another session's.
                        conversation::run_plain(&mut fresh, "DISCARD SEQUENCES", cancel, &self.name).await?;
                    }
                    keeper.bind(self.id, &mut fresh, &self.metrics);
                    fresh
                }
            };
            match conversation::attach(&mut connection, settings, cancel, &self.name).await {
                Ok(()) => return Ok(connection),
                // Where the session had something on it, the keeper says so now.
                Err(_) if connection.is_lost() && tried < CONNECTIONS_TRIED => {}
                Err(error) => {
                    if connection.is_in_step() {
                        connection.give_back();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// What a session has on the connection that it keeps to this shard, while no transaction has it.
    ///
    /// # Errors
    /// The shard's error, or the connection was lost.
    pub async fn possessions(&self, settings: &Arc<SessionSettings>, keeper: &Arc<Keeper>) -> Result<Possessions> {
        let cancel = CancelFlag::new();
        let rows = self.rows_with(possessions::QUESTION, settings, Some(keeper), &cancel).await?;
        Ok(Possessions::read(&rows))
    }

    /// Whether a connection can be had, and so a statement begun.
    ///
    /// # Errors
    /// Why not. Nothing was sent.
    pub async fn reach(&self, cancel: &CancelFlag) -> Result<()> {
        self.take_connection(cancel).await.map(Pooled::give_back)
    }

    /// Runs a statement that stands alone.
    ///
    /// # Errors
    /// The shard's own, or the connection was lost: whether it was executed, the error says.
    pub async fn run(&self, call: Call) -> Result<Output> {
        let mut tried = 0;
        loop {
            tried += 1;
            let mut connection = match call.replica == OnReplica::May && self.replicas.is_some() {
                true => Box::pin(self.checkout_to_read(&call.settings, &call.cancel)).await?,
                false => self.checkout(&call.settings, call.keeper.as_ref(), &call.cancel).await?,
            };
            let exchange = conversation::write(&mut connection, &call, None);
            match conversation::send(&mut connection, &call.cancel, &self.name).await {
                Ok(()) => return self.answer(connection, exchange, &call).await,
                Err(error) if never_sent(&error) && tried < CONNECTIONS_TRIED => {}
                Err(error) => return Err(lost_alone(&call, error)),
            }
        }
    }

    /// Sends what `write` writes as one exchange, whose answer is to be passed on as it comes. `None`, and nothing was sent:
    /// no connection that has the session's settings, and knows the statement, is idle.
    pub fn pass_through(
        &self,
        settings: &Arc<SessionSettings>,
        statement: Option<&StatementName>,
        write: impl FnOnce(&mut BytesMut),
        now: Instant,
    ) -> Option<PassThrough> {
        let mut connection = self.own_pool().checkout_idle(now)?;
        if !connection.state.is_ready_for(settings, statement) {
            connection.give_back();
            return None;
        }
        write(&mut connection.output);
        PassThrough::send(connection, Readiness::Idle, false, Form::AsItCame)
    }

    /// Begins a transaction as [`PostgresShard::begin`] does, on a connection that is idle; `None`: there is none.
    pub fn begin_at_once(
        &self,
        begin: &'static str,
        settings: &Arc<SessionSettings>,
        cancel: &CancelFlag,
        now: Instant,
    ) -> Option<PostgresTransaction> {
        let connection = self.own_pool().checkout_idle(now)?;
        if !connection.state.is_attached_to(settings) {
            connection.give_back();
            return None;
        }
        Some(PostgresTransaction::new((self.id, Arc::clone(&self.name)), connection, begin, cancel))
    }

    /// Takes an exchange that was to be passed through to its end as that of `call`, which is what was sent.
    ///
    /// # Errors
    /// As [`PostgresShard::run`].
    pub async fn go_on(&self, passing: PassThrough, call: &Call) -> Result<Output> {
        let mut connection = passing.connection;
        let sent = conversation::send_rest(&mut connection, &call.cancel, &self.name).await;
        sent.map_err(|error| lost_alone(call, error))?;
        self.answer(connection, Exchange::new(Some(Arc::clone(&call.program))), call).await
    }

    async fn answer(&self, mut connection: Pooled, mut exchange: Exchange, call: &Call) -> Result<Output> {
        let mut rows = RowBatch::default();
        let arrived = async {
            conversation::proceed(&mut connection, &mut exchange, &mut rows, &call.cancel, &self.name).await?;
            // With the first rows the end has often come, too.
            if !exchange.ended() {
                exchange.advance(&mut connection, &mut rows)?;
            }
            Ok(())
        };
        arrived.await.map_err(|error| lost_alone(call, error))?;
        let ((columns, row_description), affected) = (exchange.columns(), exchange.affected);
        let notices = std::mem::take(&mut exchange.notices);
        let mut numbers = Numbers::Left(self.id, connection.as_used());
        let rows = if exchange.ended() {
            if exchange.status == Some(Readiness::Idle) {
                let ask = call.then_ask.as_ref().filter(|_| affected > 0 && exchange.error.is_none());
                if let Some(text) = ask {
                    numbers = self.ask_numbers(&mut connection, text, &call.cancel).await;
                }
                if connection.is_in_step() {
                    clean::release(connection, call.aftermath);
                }
            }
            if let Some(error) = exchange.error {
                return Err(error);
            }
            Rows::Ready(rows)
        } else {
            let running = Running { connection, exchange, cancel: call.cancel.clone(), shard: Arc::clone(&self.name) };
            Rows::Postgres(Box::new(RowStream::own(rows, running, call.aftermath)))
        };
        Ok(Output { columns, row_description, rows, affected, notices, numbers })
    }

    /// What the server remembers of a statement that has ended. That has been done whatever comes of the question.
    async fn ask_numbers(&self, connection: &mut Pooled, text: &str, cancel: &CancelFlag) -> Numbers {
        match conversation::rows_of(connection, text, cancel, &self.name).await {
            Ok(rows) => numbers_of(&rows).map_or(Numbers::Untold, Numbers::Told),
            Err(error) => {
                tracing::debug!(shard = &*self.name, %error, "the numbers that an INSERT took were not told");
                Numbers::Untold
            }
        }
    }

    /// Runs one plain text of shardd's own on the connection of this use of it, or where that is not told, on the one that
    /// the session keeps; its rows, as texts. `None`: somebody else has used it since, or it is lost.
    ///
    /// # Errors
    /// The shard's error.
    pub async fn rows_at(
        &self,
        used: Option<Use>,
        text: &str,
        keeper: Option<&Arc<Keeper>>,
        cancel: &CancelFlag,
    ) -> Result<Option<Vec<Vec<Option<String>>>>> {
        let kept = match (keeper, used) {
            (Some(keeper), _) if keeper.keeps(self.id) => keeper.take(self.id, cancel).await?,
            (_, Some(used)) => self.pools.iter().find_map(|pool| pool.checkout_again(used)),
            (_, None) => None,
        };
        let Some(mut connection) = kept else { return Ok(None) };
        if used.is_some_and(|used| connection.as_used() != used) {
            connection.give_back();
            return Ok(None);
        }
        let rows = conversation::rows_of(&mut connection, text, cancel, &self.name).await;
        if connection.is_in_step() {
            connection.give_back();
        }
        rows.map(Some)
    }

    /// All of its pools at one moment.
    pub fn pool_state(&self) -> PoolState {
        self.pools.iter().map(|pool| pool.state()).reduce(PoolState::and).unwrap_or_default()
    }

    /// Whether the last attempt to connect to it has failed.
    pub fn is_down(&self) -> bool {
        self.pools.iter().any(|pool| pool.is_down())
    }

    /// Whether the server answers. A pool whose connections are all in use is no dead server: it is asked over a connection
    /// of its own then.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn inspect(&self) -> Result<()> {
        let cancel = CancelFlag::new();
        let mut connection = match self.pools.iter().find_map(Pool::try_checkout) {
            Some(connection) => connection,
            None if self.pool_state().active > 0 => return self.pools[0].knock().await,
            None => self.take_connection(&cancel).await?,
        };
        let answered = conversation::rows_of(&mut connection, "SELECT 1", &cancel, &self.name).await;
        if connection.is_in_step() {
            connection.give_back();
        }
        answered.map(|_| ())
    }

    /// Asks what a statement takes and returns.
    ///
    /// # Errors
    /// The shard cannot parse it.
    pub async fn describe(
        &self,
        text: &str,
        type_oids: &[u32],
        settings: &Arc<SessionSettings>,
        keeper: Option<&Arc<Keeper>>,
        cancel: &CancelFlag,
    ) -> Result<Description> {
        let mut connection = self.checkout(settings, keeper, cancel).await?;
        let described = conversation::describe(&mut connection, text, type_oids, cancel, &self.name).await;
        if connection.is_in_step() {
            connection.give_back();
        }
        described
    }

    /// Runs one plain text of shardd's own; its rows, as texts.
    ///
    /// # Errors
    /// The shard's error, or the connection was lost.
    pub async fn rows_of(&self, text: &str) -> Result<Vec<Vec<Option<String>>>> {
        self.rows_with(text, &Arc::default(), None, &CancelFlag::new()).await
    }

    /// The same for a session.
    ///
    /// # Errors
    /// As [`PostgresShard::rows_of`].
    pub async fn rows_with(
        &self,
        text: &str,
        settings: &Arc<SessionSettings>,
        keeper: Option<&Arc<Keeper>>,
        cancel: &CancelFlag,
    ) -> Result<Vec<Vec<Option<String>>>> {
        let mut connection = self.checkout(settings, keeper, cancel).await?;
        let rows = conversation::rows_of(&mut connection, text, cancel, &self.name).await;
        if connection.is_in_step() {
            connection.give_back();
        }
        rows
    }

    /// A connection beside the pools, which is not made yet.
    pub(super) fn own_connection(&self) -> OwnConnection {
        OwnConnection::new(&self.name, Target::clone(self.pools[0].target()))
    }

    /// The tables that the shard holds.
    ///
    /// # Errors
    /// The shard cannot be reached, or holds what cannot be planned.
    pub async fn schema(&self, keyspaces: &[Arc<Keyspace>]) -> Result<Schema> {
        Ok(ShardSchema::combine([&self.shard_schema(keyspaces).await?]))
    }

    /// Everything that its catalog says.
    ///
    /// # Errors
    /// As [`PostgresShard::schema`].
    pub async fn shard_schema(&self, keyspaces: &[Arc<Keyspace>]) -> Result<ShardSchema> {
        let text = format!("{};{};{}", schema::BEGIN.trim_end_matches(';'), schema::CATALOG, schema::END);
        let rows = self.rows_of(&text).await?;
        let mut read = ShardSchema::read(self.id, &self.name, &rows, keyspaces)?;
        let _ = self.text.set(TextTreatment {
            ordered_by_bytes: read.server.text_order_is_c,
            plain_letters: matches!(read.server.character_type.as_str(), "C" | "POSIX"),
        });
        if let Some(positions) = read.positions_query() {
            read.set_positions(&self.rows_of(&positions).await?)?;
        }
        Ok(read)
    }

    /// Looks whether the server hashes keys as shardd does: otherwise rows would be sought on other shards than they are on.
    ///
    /// # Errors
    /// It does not, or cannot be reached.
    pub async fn check_hashes(&self) -> Result<()> {
        let rows = self.rows_of(&schema::hash_check::query()).await?;
        schema::hash_check::check(&self.name, &rows)
    }

    /// Closes the connections that nobody uses; the others when they are given back.
    pub fn shutdown(&self) {
        self.pools.iter().for_each(|pool| pool.close());
        if let Some(replicas) = &self.replicas {
            replicas.close();
        }
    }

    /// A new version of the schema is published: replicas may not show it yet.
    pub fn schema_changed(&self) {
        if let Some(replicas) = &self.replicas {
            replicas.hold_back();
        }
    }

    /// Begins a transaction with `begin`, which is sent with its first statement.
    ///
    /// # Errors
    /// No connection could be had.
    pub async fn begin(
        &self,
        begin: &'static str,
        settings: &Arc<SessionSettings>,
        keeper: Option<&Arc<Keeper>>,
        cancel: &CancelFlag,
    ) -> Result<PostgresTransaction> {
        let connection = self.checkout(settings, keeper, cancel).await?;
        Ok(self.transaction_on(connection, begin, cancel))
    }

    pub(super) fn transaction_on(
        &self,
        connection: Pooled,
        begin: &'static str,
        cancel: &CancelFlag,
    ) -> PostgresTransaction {
        PostgresTransaction::new((self.id, Arc::clone(&self.name)), connection, begin, cancel)
    }

    /// From now on the session keeps the connection of a transaction that it has here.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn keep(&self, transaction: &mut PostgresTransaction, keeper: &Arc<Keeper>) -> Result<()> {
        transaction.keep(keeper, &self.metrics).await
    }
}

/// A row of numbers.
pub fn numbers_of(rows: &[Vec<Option<String>>]) -> Option<Vec<i64>> {
    rows.first()?.iter().map(|number| number.as_ref()?.parse().ok()).collect()
}
