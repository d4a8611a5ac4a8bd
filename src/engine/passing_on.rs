//! What Postgres shards are sent: the client's own text and values, or a text that was derived from it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::by_key::KEY;
use super::drift;
use super::session::{Execution, Session};
use super::statement::{Prepared, Statement, declared_types};
use crate::error::{Error, Fault, Result, SqlState};
use crate::plan::{Isolation, Plan, ReadSource};
use crate::shard::postgres::{self, Aftermath, OnReplica, Program, StatementName, Way};
use crate::shard::sqlite::dialect::{self, ParameterTypes};
use crate::shard::sqlite::{self, EnvironmentValue};
use crate::shard::{Formats, ShardTransaction, Tag};
use crate::sql::{self, Lexer, Parsed, TokenKind};
use crate::topology::Schema;
use crate::types::{PgType, ShardId};

/// Prepared statements that all sessions share by their text.
const SHARED_STATEMENTS: usize = 10_000;

/// The names under which Postgres shards keep prepared statements. Clients that prepare the same text share one.
#[derive(Debug)]
pub(super) struct StatementNames {
    next: AtomicU64,
    by_text: quick_cache::sync::Cache<NameKey, Arc<StatementName>>,
}

/// A text, the declared types, and the version of the schema: a connection that knows it for an older one must not be
/// asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NameKey {
    text: Arc<str>,
    type_oids: Arc<[u32]>,
    schema: SchemaVersion,
}

/// One version of the schema: the same only as itself.
#[derive(Clone, Debug)]
struct SchemaVersion(Arc<Schema>);

impl PartialEq for SchemaVersion {
    fn eq(&self, other: &SchemaVersion) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SchemaVersion {}

impl Hash for SchemaVersion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).addr().hash(state);
    }
}

impl Default for StatementNames {
    fn default() -> StatementNames {
        StatementNames { next: AtomicU64::new(1), by_text: quick_cache::sync::Cache::new(SHARED_STATEMENTS) }
    }
}

impl StatementNames {
    pub(super) fn name(&self, prepared: &Prepared, statement: &Statement) -> Arc<StatementName> {
        let key = NameKey {
            text: Arc::clone(&prepared.text),
            type_oids: Arc::clone(&prepared.type_oids),
            schema: SchemaVersion(Arc::clone(&statement.schema)),
        };
        if let Some(name) = self.by_text.get(&key) {
            return name;
        }
        let name = Arc::new(StatementName::new(self.next.fetch_add(1, Ordering::Relaxed)));
        self.by_text.insert(key, Arc::clone(&name));
        name
    }
}

impl Session {
    /// Learns what a statement takes and returns, where a shard has to be asked. All shards would tell the same, since
    /// their schemas are equal.
    ///
    /// # Errors
    /// The shard cannot parse it.
    pub(super) async fn describe(&mut self, prepared: &Prepared) -> Result<()> {
        self.describe_as(prepared, &prepared.statement).await
    }

    /// The same for the statement that was made again from a client's text.
    ///
    /// # Errors
    /// As [`Session::describe`].
    pub(super) async fn describe_as(&mut self, prepared: &Prepared, statement: &Statement) -> Result<()> {
        let Some(crate::shard::Program::Postgres(program)) = &statement.program else { return Ok(()) };
        let plan = &statement.plan;
        let only = match statement.parsed.current_of() {
            Some(cursor) if self.row_cursor(cursor).is_none() => Some(self.cursor_shard(cursor)?),
            _ => self.describing_shard(plan)?,
        };
        if program.description().is_some() || (only.is_none() && matches!(plan, Plan::Ddl(_) | Plan::Local(_))) {
            return Ok(());
        }
        let (text, type_oids) = (&prepared.text, &prepared.type_oids);
        drift::refuse_unlike_types(type_oids, &statement.schema)?;
        let own = self.transaction.as_mut().and_then(|transaction| match only {
            Some(shard) => transaction.participant(shard),
            None => transaction.participants.first_mut(),
        });
        let own = own.map(|participant| (participant.shard, &mut participant.transaction));
        let (shard, description) = match own {
            Some((shard, ShardTransaction::Postgres(transaction))) => {
                (shard, transaction.describe(text, type_oids).await?)
            }
            _ => match only.or_else(|| self.engine.fitting_shard(statement)) {
                None => self.describe_anywhere(text, type_oids).await?,
                Some(shard) => {
                    let settings = self.settings.for_shards();
                    let postgres = self.engine.shard(shard)?;
                    let keeper = self.keeper();
                    (shard, postgres.postgres()?.describe(text, type_oids, settings, keeper, &self.cancel).await?)
                }
            },
        };
        program.describe(self.engine.as_told(shard, description, &prepared.statement.schema)?);
        Ok(())
    }

    /// The shard whose system catalog is read: the same while it can be reached, since each numbers its tables by itself.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn catalog_shard(&self) -> Result<ShardId> {
        let set = self.engine.shards.load();
        let first = set.open.iter().find(|(_, open)| open.shard.is_reachable()).map(|(id, _)| *id);
        first.map_or_else(|| self.any_shard(), Ok)
    }

    /// Asks one shard, and the others in turn where it cannot be reached: its trouble is not that of their keys. Nothing is
    /// executed by it.
    async fn describe_anywhere(&self, text: &str, type_oids: &[u32]) -> Result<(ShardId, postgres::Description)> {
        let first = self.any_shard()?;
        let set = self.engine.shards.load_full();
        let mut others = set.open.iter().filter(|(id, _)| **id != first).map(|(_, open)| Arc::clone(&open.shard));
        let mut shard = self.engine.shard(first)?;
        loop {
            let settings = self.settings.for_shards();
            let described = shard.postgres()?.describe(text, type_oids, settings, self.keeper(), &self.cancel).await;
            match described {
                Err(error) if is_out_of_reach(&error) => match others.next() {
                    Some(other) => shard = other,
                    None => return Err(error),
                },
                described => return described.map(|described| (shard.id(), described)),
            }
        }
    }

    /// A shard for a statement that any can answer: one that the transaction has to do with already, or any.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn any_shard(&self) -> Result<ShardId> {
        if let Some(first) = self.transaction.as_ref().and_then(|transaction| transaction.participants.first()) {
            return Ok(first.shard);
        }
        if let Some(shard) = self.usual_shard() {
            return Ok(shard);
        }
        let set = self.engine.shards.load();
        let turn = self.engine.turn.fetch_add(1, Ordering::Relaxed);
        let count = set.open.len();
        let in_turn = || set.open.iter().cycle().skip(turn % count.max(1)).take(count);
        let reachable = in_turn().find(|(_, open)| open.shard.is_reachable());
        let open = reachable.or_else(|| in_turn().next()).map(|(id, _)| *id);
        open.ok_or_else(|| match set.down.keys().next() {
            Some(down) => self.engine.not_open(*down),
            None => Error::internal("there are no shards"),
        })
    }

    fn name_on_shards(&self, prepared: &Prepared, statement: &Arc<Statement>) -> Arc<StatementName> {
        let names = &self.engine.statement_names;
        match Arc::ptr_eq(&prepared.statement, statement) {
            true => Arc::clone(prepared.name_on_shards(names)),
            false => names.name(prepared, statement),
        }
    }

    /// Of a session that keeps its connections: always the same, while it can be reached, so that such statements find what the
    /// last ones have left.
    fn usual_shard(&self) -> Option<ShardId> {
        if !self.pools_by_session() {
            return None;
        }
        let usual = self.key_shard().ok().flatten().or_else(|| self.home_shard().ok())?;
        self.engine.shard(usual).is_ok_and(|shard| shard.is_reachable()).then_some(usual)
    }

    pub(super) fn postgres_call(
        &self,
        execution: &Execution,
        program: &Arc<Program>,
        formats: Formats,
    ) -> Result<postgres::Call> {
        let prepared = &execution.prepared;
        let text = match &program.template {
            None => Arc::clone(&prepared.text),
            Some(template) => sql::put_literals_back(template, &prepared.text)?.into(),
        };
        let simple = execution.raw.values.is_empty() && formats == Formats::AllText && !prepared.named();
        let way = if simple {
            Way::Simple
        } else {
            let described = execution.statement.description();
            let type_oids = match (&program.template, described) {
                (Some(_), Some(description)) => types_for_part(&description.sent_oids, &text)?,
                // Values are understood as the client was told.
                (None, Some(description)) if program.described_each_time => description.sent_oids.as_slice().into(),
                _ => Arc::clone(&prepared.type_oids),
            };
            let name = (prepared.named() && program.template.is_none())
                .then(|| self.name_on_shards(prepared, &execution.statement));
            Way::Extended { type_oids, parameters: Arc::clone(&execution.raw), name }
        };
        let known = self.engine.servers.known();
        let calls_unknown = program.calls(&known.hazards);
        Ok(postgres::Call {
            aftermath: program.aftermath(known.version, &known.hazards),
            program: Arc::clone(program),
            text,
            way,
            formats,
            cancel: self.cancel.clone(),
            settings: Arc::clone(self.settings.for_shards()),
            keeper: self.keeper().cloned(),
            replica: self.on_replica(calls_unknown),
            calls_unknown,
            then_ask: None,
        })
    }

    /// A text of shardd's own, with the session's settings.
    pub(super) fn own_call(&self, text: &str) -> postgres::Call {
        let text: Arc<str> = text.into();
        postgres::Call {
            program: Arc::new(Program::as_written(Tag::Merge, Arc::clone(&text), Box::default())),
            text,
            way: Way::Simple,
            formats: Formats::AllText,
            cancel: self.cancel.clone(),
            settings: Arc::clone(self.settings.for_shards()),
            aftermath: Aftermath::Keep,
            keeper: self.keeper().cloned(),
            replica: OnReplica::Never,
            calls_unknown: false,
            then_ask: None,
        }
    }

    /// The client has said that it will only read, in a way that a replica can keep, and keeps nothing on the shards.
    /// `unsure`: what it does beside reading is not known.
    pub(super) fn on_replica(&self, unsure: bool) -> OnReplica {
        let (read_only, isolation) = match &self.transaction {
            Some(transaction) => (transaction.read_only, transaction.isolation),
            None => (self.settings.default_read_only, self.settings.default_isolation),
        };
        // A replica may not have the rows yet that its shard has been given, or still those that it has not any more.
        if !read_only || isolation == Isolation::Serializable || self.engine.live.is_moving() {
            return OnReplica::Never;
        }
        match self.keeper().is_none() && self.settings.own(KEY).is_none() {
            true if unsure => OnReplica::Continues,
            true => OnReplica::May,
            false => OnReplica::Never,
        }
    }
}

/// A part may not mention every parameter, and a shard cannot infer the type of one that it does not see: any will do.
///
/// # Errors
/// The text cannot be read.
pub(super) fn types_for_part(type_oids: &[u32], text: &str) -> Result<Arc<[u32]>> {
    if !type_oids.contains(&0) {
        return Ok(type_oids.into());
    }
    let mut unseen = type_oids.to_vec();
    unseen.iter_mut().filter(|oid| **oid == 0).for_each(|oid| *oid = PgType::Text.oid());
    let mut lexer = Lexer::new(text)?;
    while let Some(token) = lexer.next_token()? {
        let number =
            (token.kind == TokenKind::Parameter).then(|| token.text(text)[1..].parse::<usize>().ok()).flatten();
        if let Some(index) = number.and_then(|number| number.checked_sub(1)).filter(|index| *index < unseen.len()) {
            unseen[index] = type_oids[index];
        }
    }
    Ok(unseen.into())
}

/// The program of a statement that names no table and asks where its session is, which a server would answer for itself
/// (`SELECT current_database()`), or asks nothing but which server this is and where it looks names up (see `connecting`).
/// Who it is, the server knows better: it may have a role.
pub(super) fn asks_of_its_session(parsed: &Parsed, plan: &Plan, type_oids: &[u32]) -> Option<sqlite::Program> {
    let Plan::Read(read) = plan else { return None };
    if read.source != ReadSource::Nowhere {
        return None;
    }
    let declared = declared_types(type_oids).ok()?;
    let types = ParameterTypes {
        text: &parsed.text,
        declared: &declared,
        client_parameters: parsed.client_parameters,
        lifted: &parsed.lifted,
        overriding: None,
    };
    let translated = sql::with_deep_stack(parsed.deep, || dialect::translate_over_catalog(&read.statement, types));
    translated.ok().filter(|program| {
        let of_session =
            |value: &EnvironmentValue| matches!(value, EnvironmentValue::Database | EnvironmentValue::BackendPid);
        let only_of_server = || super::connecting::asks_of_server_only(&read.statement);
        !program.reads_catalog && (program.environment.iter().any(of_session) || only_of_server())
    })
}

/// The shard could not be asked, or gave no answer.
pub(super) fn is_out_of_reach(error: &Error) -> bool {
    error.get_fault() != Fault::Client
        && matches!(error.sqlstate(), SqlState::CONNECTION_FAILURE | SqlState::TOO_MANY_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_a_part_leaves_out_need_no_inference() {
        let types = |text: &str| types_for_part(&[20, 0, 0, 0], text).unwrap().to_vec();
        assert_eq!(types("INSERT INTO t VALUES ($1, $3)"), [20, 25, 0, 25]);
        assert_eq!(types("SELECT '$2', $4, \"$3\" -- $2"), [20, 25, 25, 0]);
        assert_eq!(*types_for_part(&[20, 1043], "SELECT 1").unwrap(), [20, 1043]);
    }
}
