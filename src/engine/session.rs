//! One client's state, and the path of its statements.
//!
//! [`Session::prepare`] turns text into a statement, [`Session::execute`] runs it: bind, plan with one topology snapshot,
//! run on the shards, merge. What happens on the way lives in the modules beside this one.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Engine;
use super::answer::{Answer, Copying};
use super::cursors::RowCursors;
use super::holding::is_held;
use super::keeping::Keeping;
use super::names::ByName;
use super::numbers::LastNumbers;
use super::parameters;
use super::pass_through::Seen;
use super::recording::{self, RanOn, Recording};
use super::settings::Settings;
use super::statement::{PlanScope, Prepared, Statement};
use super::transaction::{Opened, Transaction};
use crate::error::{Error, Result, SqlState};
use crate::metrics::{Door, Outcome};
use crate::plan::{Local, Plan};
use crate::shard::postgres::Way;
use crate::shard::sqlite::{self, Environment, Whereabouts};
use crate::shard::{Call, CancelFlag, Formats, OutputColumn, Program, RawParameters, is_schema_changed};
use crate::sql;
use crate::topology::Schema;
use crate::types::{Datum, Epoch, TextStyle};

/// Changes of the schema that one statement gives way to before it fails.
const SCHEMA_CHANGES: usize = 5;

/// Who a session is for.
#[derive(Clone, Debug)]
pub struct Identity {
    pub user: String,
    pub database: String,
    /// The door, as a metric's label: `postgres`, `http`.
    pub door: &'static str,
    /// What `pg_backend_pid()` answers.
    pub backend_pid: i32,
}

/// One client's session. A door owns it, and runs one statement at a time.
pub struct Session {
    pub(super) engine: Arc<Engine>,
    pub(super) identity: Identity,
    user: Arc<str>,
    pub(super) settings: Settings,
    pub(super) transaction: Option<Transaction>,
    pub(super) statements: HashMap<String, Arc<Prepared>, ByName>,
    /// The settings as they were when the client was last told of those that it is told of.
    told_settings: Option<Settings>,
    /// A setting may differ from what the client was told.
    pub(super) settings_touched: bool,
    pub(super) notices: Vec<Error>,
    pub(super) cancel: CancelFlag,
    pub(super) ran_on: RanOn,
    pub(super) door: Door,
    /// What it keeps on Postgres shards, if anything.
    pub(super) kept: Option<Box<Keeping>>,
    /// Of cursors WITH HOLD over several shards.
    pub(super) row_cursors: RowCursors,
    /// What sequences have given it, once they have.
    pub(super) numbers: Option<Box<LastNumbers>>,
    /// Once a statement has passed through.
    pub(super) seen: Option<Box<Seen>>,
    /// No part of the client's statement has run: it may wait for a move.
    pub(super) may_be_held: bool,
    /// The epoch by which it had to.
    pub(super) held_at: Epoch,
}

/// Whether a statement stands alone between two synchronisation points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Outside BEGIN it commits by itself.
    Alone,
    /// Others may precede or follow it before the next [`Session::end_batch`]: outside BEGIN they are one transaction.
    Batch,
}

/// As ReadyForQuery tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    Active,
    Failed,
}

/// Ends a session's running statement with 57014, from any thread; nothing happens when none is running.
#[derive(Clone, Debug)]
pub struct CancelHandle(CancelFlag);

impl CancelHandle {
    /// Asks the running statement to end.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// A statement about to run: its parameters decoded, and when and how.
pub(super) struct Execution {
    pub(super) prepared: Arc<Prepared>,
    /// For the schema of now.
    pub(super) statement: Arc<Statement>,
    /// As the client sent them.
    pub(super) raw: Arc<RawParameters>,
    /// The client's parameters, then the literals of its text.
    pub(super) parameters: Arc<[Datum]>,
    pub(super) formats: Formats,
    pub(super) scope: Scope,
    /// Made when a statement may ask for it.
    pub(super) environment: OnceLock<Arc<Environment>>,
}

impl Session {
    pub(super) fn new(engine: Arc<Engine>, identity: Identity, startup: &[(String, String)]) -> Result<Session> {
        let defaults = Arc::clone(&engine.servers.known().defaults);
        let settings = Settings::new(&identity.user, startup, &defaults)?;
        let door = Door::from_label(identity.door);
        Ok(Session {
            kept: Session::keeping_of(door, engine.kind),
            engine,
            user: identity.user.as_str().into(),
            identity,
            settings,
            transaction: None,
            statements: HashMap::default(),
            told_settings: None,
            settings_touched: true,
            notices: Vec::new(),
            cancel: CancelFlag::default(),
            ran_on: RanOn::default(),
            door,
            row_cursors: RowCursors::default(),
            numbers: None,
            seen: None,
            may_be_held: false,
            held_at: Epoch(0),
        })
    }

    pub fn status(&self) -> TransactionStatus {
        match &self.transaction {
            Some(Transaction { opened: Opened::Client, failed: true, .. }) => TransactionStatus::Failed,
            Some(Transaction { opened: Opened::Client, .. }) => TransactionStatus::Active,
            _ => TransactionStatus::Idle,
        }
    }

    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(self.cancel.clone())
    }

    /// Settings to report with ParameterStatus: all of them after start-up, then those that changed since the last call.
    pub fn take_changed_settings(&mut self) -> Option<Arc<[(String, String)]>> {
        if !std::mem::take(&mut self.settings_touched) {
            return None;
        }
        let Some(told) = self.told_settings.replace(self.settings.clone()) else {
            return Some(self.settings.reported_at_startup());
        };
        let told = told.reported();
        let mut now = self.settings.reported();
        now.retain(|setting| !told.contains(setting));
        Some(now.into())
    }

    /// Notices and warnings since the last call (`there is no transaction in progress`), to send before the answer: those
    /// that `client_min_messages` lets through.
    pub fn take_notices(&mut self) -> Vec<Error> {
        let mut notices = std::mem::take(&mut self.notices);
        notices.retain(|notice| self.settings.wants_notice(notice.sqlstate()));
        notices
    }

    /// The columns of a statement's rows; `None` when it returns none. EXECUTE returns those of the statement that it names.
    pub fn columns(&self, prepared: &Prepared) -> Option<Arc<[OutputColumn]>> {
        match &prepared.statement.plan {
            Plan::Local(local) => match &**local {
                Local::Execute { name, .. } => self.statements.get(name)?.columns(),
                Local::Fetch { name, moves: false, .. } => self.row_cursor_columns(name).or_else(|| prepared.columns()),
                _ => prepared.columns(),
            },
            _ => prepared.columns(),
        }
    }

    /// The client's own `statement_timeout`, which the door applies. `None`: it set none; zero: no limit.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.settings.statement_timeout
    }

    /// The client's own `idle_in_transaction_session_timeout`, as above.
    pub fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.settings.idle_in_transaction_timeout
    }

    /// Splits a simple query's text into statements and prepares none of them yet.
    ///
    /// # Errors
    /// The text has a token that Postgres's lexer would refuse (an unterminated string).
    pub fn split<'a>(&self, text: &'a str) -> Result<Vec<&'a str>> {
        sql::split(text)
    }

    /// Looks for syntax errors in a text of several statements, of which none runs when one cannot be read: as in Postgres,
    /// which parses the whole text first.
    ///
    /// # Errors
    /// 42601. What else is wrong is told when the statement's turn comes.
    pub fn check_syntax(&self, statement: &str) -> Result<()> {
        self.engine.plans.check_syntax(statement, &self.schema())
    }

    /// Parses, plans and translates one statement. In a failed transaction only its end can be prepared.
    ///
    /// # Errors
    /// The text cannot be parsed, planned or translated; 25P02 in a failed transaction.
    pub async fn prepare(&mut self, text: &str, type_oids: &[u32]) -> Result<Arc<Prepared>> {
        if self.kept.is_some() {
            Box::pin(self.look()).await;
        }
        let prepared = self.prepare_counted(text, type_oids)?;
        if let Err(error) = self.describe(&prepared).await {
            self.fail();
            return Err(error);
        }
        Ok(Arc::new(prepared))
    }

    /// The same for a statement that is executed once, at once: only its answer tells its columns, so it is planned again
    /// when the schema changes in between, whatever its columns are then.
    ///
    /// # Errors
    /// As [`Session::prepare`].
    pub async fn prepare_once(&mut self, text: &str, type_oids: &[u32]) -> Result<Arc<Prepared>> {
        if self.kept.is_some() {
            Box::pin(self.look()).await;
        }
        let prepared = self.prepare_counted(text, type_oids)?;
        Ok(Arc::new(Prepared { describable: false, ..prepared }))
    }

    /// A statement that ends here is counted like those that end when they are executed.
    fn prepare_counted(&mut self, text: &str, type_oids: &[u32]) -> Result<Prepared> {
        self.prepare_checked(text, type_oids).inspect_err(|error| {
            self.engine.metrics.no_shard().not_prepared(self.door, Outcome::of_error(error));
        })
    }

    /// Also for a statement inside another one, which is counted itself.
    pub(super) fn prepare_checked(&mut self, text: &str, type_oids: &[u32]) -> Result<Prepared> {
        let prepared = self.prepare_now(text, type_oids);
        if self.transaction.as_ref().is_some_and(|transaction| transaction.failed) {
            match &prepared {
                Ok(prepared) if ends_transaction(prepared) => {}
                Err(error) if error.sqlstate() == SqlState::SYNTAX_ERROR => {}
                _ => return Err(in_failed_transaction()),
            }
        }
        if prepared.is_err() {
            self.fail();
        }
        prepared
    }

    /// Prepares for the schema as this session sees it.
    fn prepare_now(&mut self, text: &str, type_oids: &[u32]) -> Result<Prepared> {
        if self.kept.is_some()
            && let Some(prepared) = self.prepare_temporary(text, type_oids)?
        {
            return Ok(prepared);
        }
        let topology = self.engine.live.snapshot();
        let own_schema = self.transaction.as_ref().and_then(|transaction| transaction.schema.as_ref());
        let schema = own_schema.unwrap_or(&topology.schema);
        let scope =
            PlanScope { schema, keyspaces: &topology.keyspaces, shared: own_schema.is_none(), kind: self.engine.kind };
        let prepared = self.engine.plans.prepare(text, type_oids, scope, self.settings.text_style());
        match prepared {
            Err(error) => self.unread(text, type_oids, schema)?.ok_or(error),
            prepared => prepared,
        }
    }

    /// The same for a text that was made here and will not come again: it takes no place among those that do.
    pub(super) fn prepare_apart(&mut self, text: &str, type_oids: &[u32]) -> Result<Prepared> {
        if self.kept.is_some() {
            return self.prepare_checked(text, type_oids);
        }
        let topology = self.engine.live.snapshot();
        let own_schema = self.transaction.as_ref().and_then(|transaction| transaction.schema.as_ref());
        let schema = own_schema.unwrap_or(&topology.schema);
        let scope = PlanScope { schema, keyspaces: &topology.keyspaces, shared: false, kind: self.engine.kind };
        self.engine.plans.prepare(text, type_oids, scope, self.settings.text_style())
    }

    /// The schema as this session sees it: with the changes of its own open transaction.
    pub(super) fn schema(&self) -> Arc<Schema> {
        let own_schema = self.transaction.as_ref().and_then(|transaction| transaction.schema.clone());
        own_schema.unwrap_or_else(|| Arc::clone(&self.engine.live.snapshot().schema))
    }

    /// Runs a statement. An error leaves an open transaction failed.
    ///
    /// # Errors
    /// Whatever the statement or a shard has to say.
    pub async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: RawParameters,
        formats: Formats,
        scope: Scope,
    ) -> Result<Answer> {
        let started = Instant::now();
        let mut in_flight = self.engine.in_flight(self.door);
        self.cancel.clear();
        self.ran_on = RanOn::Nowhere;
        self.may_be_held = true;
        let parameters = Arc::new(parameters);
        let mut answer = self.run_with(prepared, &parameters, &formats, scope).await;
        if answer.as_ref().is_err_and(is_held) {
            let waiting = self.run_when_moved(in_flight, prepared, &parameters, &formats, scope);
            (in_flight, answer) = Box::pin(waiting).await;
        }
        if answer.is_err() {
            self.fail();
        }
        let recording = Recording {
            shard: self.engine.metrics_of(self.ran_on),
            door: self.door,
            kind: recording::kind(&prepared.statement.plan),
            started,
            outcome: Outcome::of(&answer),
            _in_flight: in_flight,
        };
        match &mut answer {
            // It is over when its rows are in.
            Ok(Answer { copy: Some(Copying::In(copy)), .. }) => copy.record(recording),
            Ok(answer) => answer.recording = Some(recording),
            Err(_) => {}
        }
        answer
    }

    pub(super) async fn run(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: RawParameters,
        formats: Formats,
        scope: Scope,
    ) -> Result<Answer> {
        self.run_with(prepared, &Arc::new(parameters), &formats, scope).await
    }

    pub(super) async fn run_with(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: &Arc<RawParameters>,
        formats: &Formats,
        scope: Scope,
    ) -> Result<Answer> {
        if self.transaction.as_ref().is_some_and(|transaction| transaction.failed) && !ends_transaction(prepared) {
            return Err(in_failed_transaction());
        }
        for _ in 0..SCHEMA_CHANGES {
            match self.run_once(prepared, parameters, formats, scope).await {
                // Whoever changes the schema holds this until the new one is published.
                Err(error) if is_schema_changed(&error) => drop(self.engine.lock_schema().await?),
                answer => return answer,
            }
        }
        // Nobody changes it once more before this is answered.
        let _schema_lock = self.engine.lock_schema().await?;
        self.run_once(prepared, parameters, formats, scope).await
    }

    async fn run_once(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: &Arc<RawParameters>,
        formats: &Formats,
        scope: Scope,
    ) -> Result<Answer> {
        let statement = self.current(prepared).await?;
        if statement.plan.may_read_rows() {
            self.refuse_kinds_after_snapshot()?;
        }
        let mut values = parameters::decode(&statement, prepared, parameters, self.settings.text_style())?;
        values.extend_from_slice(&prepared.literals);
        let execution = Execution {
            prepared: Arc::clone(prepared),
            statement,
            raw: Arc::clone(parameters),
            parameters: values.into(),
            formats: formats.clone(),
            scope,
            environment: OnceLock::new(),
        };
        if self.engine.live.is_moving() || self.transaction.as_ref().is_some_and(|it| it.seen_topology().is_some()) {
            self.look_at_moves(&execution)?;
        }
        self.may_be_held &= execution.statement.plan.is_execute();
        self.risk_numbers(&execution.statement);
        let answer = self.dispatch(&execution).await?;
        self.refuse_moved_meanwhile(&execution)?;
        Ok(answer)
    }

    /// The statement for the schema of now: made again from its text when a newer one was published.
    async fn current(&mut self, prepared: &Prepared) -> Result<Arc<Statement>> {
        let statement = &prepared.statement;
        let schema = self.schema();
        if Arc::ptr_eq(&statement.schema, &schema)
            || self.kept.as_ref().is_some_and(|kept| kept.temporaries.are(&statement.schema, &schema))
        {
            return Ok(Arc::clone(statement));
        }
        let again = self.prepare_now(&prepared.text, &prepared.type_oids)?;
        if prepared.describable {
            Box::pin(self.describe(&again)).await?;
        }
        let again = again.statement;
        let columns_stay = !prepared.describable || returns_alike(again.columns(), statement.columns());
        if !columns_stay || again.parameter_oids() != statement.parameter_oids() {
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "cached plan must not change result type")
                .hint("The table was changed since the statement was prepared: prepare it again."));
        }
        Ok(again)
    }

    /// The rarer ways are boxed: their state would take room in every statement's future.
    async fn dispatch(&mut self, execution: &Execution) -> Result<Answer> {
        if let Some(cursor) = execution.statement.parsed.current_of() {
            return Box::pin(self.write_current(cursor, execution)).await;
        }
        match &execution.statement.plan {
            Plan::Read(read) => self.read(read, execution).await,
            Plan::Insert(insert) => self.insert(insert, execution).await,
            Plan::Write(write) => self.write(write, execution).await,
            Plan::WriteReference(write) => Box::pin(self.write_reference(write, execution)).await,
            Plan::Ddl(tree) => Box::pin(self.change_schema(tree, execution)).await,
            Plan::Copy(copy) => Box::pin(self.copy(copy, execution)).await,
            Plan::Local(local) => Box::pin(self.answer_locally(local, execution)).await,
        }
    }

    /// What the statement may ask of its session.
    pub(super) fn environment(&self) -> Arc<Environment> {
        let statement_timestamp = microseconds_since_2000();
        let transaction_timestamp =
            self.transaction.as_ref().map_or(statement_timestamp, |transaction| transaction.now);
        Arc::new(Environment {
            transaction_timestamp,
            statement_timestamp,
            time_zone: self.settings.text_style().zone.name().into(),
            user: Arc::clone(&self.user),
            database: Arc::clone(&self.engine.database),
            backend_pid: self.identity.backend_pid,
            whereabouts: self.engine.servers.known().whereabouts.clone().unwrap_or_else(Whereabouts::own),
        })
    }

    pub(super) fn call(&self, execution: &Execution, program: &Program) -> Result<Call> {
        self.call_with_formats(execution, program, execution.formats.clone())
    }

    pub(super) fn call_with_formats(&self, execution: &Execution, program: &Program, formats: Formats) -> Result<Call> {
        match program {
            Program::Sqlite(program) => Ok(Call::Sqlite(self.sqlite_call(execution, program, formats))),
            Program::Postgres(program) => self.postgres_call(execution, program, formats).map(Call::Postgres),
        }
    }

    /// A call for one of several shards: the time that they are asked with is the same on all.
    pub(super) fn call_apart(&self, execution: &Execution, program: &Program, formats: Formats) -> Result<Call> {
        let mut call = self.call_with_formats(execution, program, formats)?;
        if let Call::Postgres(call) = &mut call
            && execution.statement.asks_for_time()
        {
            let now = self.transaction.as_ref().map_or_else(microseconds_since_2000, |transaction| transaction.now);
            let moment = Datum::Timestamptz(now).to_text(&TextStyle::default()).unwrap_or_default();
            call.text = sql::at_moment(&call.text, &moment)?.into();
            if let Way::Extended { name, .. } = &mut call.way {
                *name = None;
            }
        }
        Ok(call)
    }

    /// Also for the database in memory, whatever the shards are.
    pub(super) fn sqlite_call(
        &self,
        execution: &Execution,
        program: &Arc<sqlite::Program>,
        formats: Formats,
    ) -> sqlite::Call {
        sqlite::Call {
            program: Arc::clone(program),
            parameters: Arc::clone(&execution.parameters),
            formats,
            environment: match program.environment.is_empty() {
                true => Environment::unasked(),
                false => Arc::clone(execution.environment.get_or_init(|| self.environment())),
            },
            style: self.settings.text_style().clone(),
            cancel: self.cancel.clone(),
            schema: self.shared_schema(execution),
        }
    }

    /// The schema that a statement was translated for, unless it is the open transaction's own.
    fn shared_schema(&self, execution: &Execution) -> Option<Arc<Schema>> {
        let own = self.transaction.as_ref().is_some_and(|transaction| transaction.schema.is_some());
        (!own).then(|| Arc::clone(&execution.statement.schema))
    }

    /// Sync, or the end of a simple query: commits what a batch wrote outside BEGIN, or rolls it back after a failure.
    ///
    /// # Errors
    /// The commit failed.
    pub async fn end_batch(&mut self) -> Result<()> {
        match self.transaction.take_if(|transaction| transaction.opened == Opened::Batch) {
            Some(transaction) if transaction.failed => {
                self.roll_back(transaction).await;
                Ok(())
            }
            Some(transaction) => self.commit_transaction(transaction).await,
            None => Ok(()),
        }
    }

    /// Marks an open transaction failed: the door met an error that the engine did not see.
    pub fn fail(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("identity", &self.identity).finish_non_exhaustive()
    }
}

fn returns_alike(one: Option<&Arc<[OutputColumn]>>, other: Option<&Arc<[OutputColumn]>>) -> bool {
    let all = |one: &[OutputColumn], other: &[OutputColumn]| {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_alike(other))
    };
    one.map_or(other.is_none(), |one| other.is_some_and(|other| all(one, other)))
}

fn ends_transaction(prepared: &Prepared) -> bool {
    let Plan::Local(local) = &prepared.statement.plan else { return false };
    matches!(**local, Local::Commit { .. } | Local::Rollback { .. } | Local::RollbackTo(_))
}

fn in_failed_transaction() -> Error {
    Error::new(
        SqlState::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

/// Microseconds since 2000-01-01 00:00 UTC, as Postgres counts them.
pub(super) fn microseconds_since_2000() -> i64 {
    const UNIX_TO_2000_US: i64 = 946_684_800_000_000;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX) - UNIX_TO_2000_US
}
