//! Statements that name no key on Postgres shards: what `SET LOCAL shardd.key` sends to one shard.
//!
//! None of them is ever run on a shard that happened to be next: a lock taken there would exclude nobody.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use super::answer::{Answer, TagCount};
use super::session::{Execution, Session};
use super::statement::{Prepared, Statement};
use crate::error::{Error, Result, SqlState};
use crate::plan::{Local, Plan, ReadSource};
use crate::shard::postgres::Way;
use crate::shard::{Call, Output, Program, ShardKind, TransactionMode};
use crate::sql::{self, Parsed, Tree};
use crate::topology::{KV_KEYSPACE, Keyspace, Schema, Topology};
use crate::types::{Datum, Key, KeyType, PgType, ShardId, TextStyle};

/// The setting that names the key.
pub(super) const KEY: &str = "shardd.key";

/// What a text that the parser cannot read may begin with, and its tag. Whatever would change the session, the schema or
/// the transaction is not among them.
const MAY_BEGIN: &[(&str, &str)] = &[
    ("call", "CALL"),
    ("delete", "DELETE"),
    ("do", "DO"),
    ("insert", "INSERT 0"),
    ("lock", "LOCK TABLE"),
    ("merge", "MERGE"),
    ("select", "SELECT"),
    ("table", "SELECT"),
    ("update", "UPDATE"),
    ("values", "SELECT"),
];

impl Session {
    /// The shard of the key that the open transaction was given, or the session where it keeps its connections.
    ///
    /// # Errors
    /// 22023 when it is no key.
    pub(super) fn key_shard(&self) -> Result<Option<ShardId>> {
        if (self.transaction.is_none() && !self.pools_by_session()) || self.engine.kind != ShardKind::Postgres {
            return Ok(None);
        }
        match self.settings.own(KEY) {
            None => Ok(None),
            Some(set) => shard_of(set.value(), &self.engine.live.snapshot()).map(Some),
        }
    }

    /// Looks at the value of `shardd.key` before it is set.
    ///
    /// # Errors
    /// 0A000 for the session, 22023 for what is no key.
    pub(super) fn check_key(&self, value: &str, local: bool) -> Result<()> {
        if !local && !self.pools_by_session() {
            return Err(Error::unsupported(
                "SET shardd.key for the whole session",
                "A key is for one transaction: BEGIN; SET LOCAL shardd.key = '...'; ... On the listener that pools by session \
                 (port 6433 unless it is configured) it may be the session's.",
            ));
        }
        shard_of(value, &self.engine.live.snapshot()).map(|_| ())
    }

    /// A text that the parser cannot read, for the shard of the transaction's key; `None`: it is refused.
    pub(super) fn unread(&self, text: &str, type_oids: &[u32], schema: &Arc<Schema>) -> Result<Option<Prepared>> {
        if self.key_shard()?.is_none() {
            return Ok(None);
        }
        let lifted = sql::lift(text)?;
        let kinds = lifted.kinds().collect();
        let unread = sql::parse(&lifted.text, lifted.client_parameters, kinds).is_err();
        let word = text.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
        let word: String = word.chars().take_while(char::is_ascii_alphabetic).collect();
        let begins = MAY_BEGIN.iter().find(|(begin, _)| begin.eq_ignore_ascii_case(&word));
        let Some((_, tag)) = begins.filter(|_| unread) else { return Ok(None) };
        let parsed = Parsed {
            text: text.into(),
            tree: Tree::Local(Local::OnKeyShard { tag }),
            client_parameters: lifted.client_parameters,
            lifted: Vec::new(),
            overriding: None,
            deep: false,
            hidden: None,
        };
        Ok(Some(Prepared {
            text: text.into(),
            statement: Arc::new(Statement::on_key_shard(parsed, tag, schema)),
            type_oids: type_oids.into(),
            literals: Vec::new(),
            describable: true,
            named: AtomicBool::new(false),
            name_on_shards: OnceLock::new(),
        }))
    }

    pub(super) async fn run_on_key_shard(&mut self, tag: &'static str, execution: &Execution) -> Result<Answer> {
        let Some(shard) = self.key_shard()? else {
            let read = matches!(execution.statement.parsed.tree, Tree::Sql(_));
            return match read && self.pools_by_session() {
                true => self.lock_everywhere(execution).await,
                false => Err(no_key("a statement that names no key")),
            };
        };
        self.join_batch(execution);
        if let Some(transaction) = &mut self.transaction {
            transaction.used = true;
        }
        self.ran_on.add(shard);
        let Call::Postgres(mut call) = self.call(execution, execution.whole_program()?)? else {
            return Err(Error::internal("a statement by key came to another kind of shard"));
        };
        let unread = execution.statement.parsed.lifted.is_empty() && !is_lock(&execution.prepared.text);
        if unread {
            self.engine.refuse_unread_beside_strays(shard)?;
            call.aftermath = self.engine.servers.known().hazards.aftermath_of_unread(&execution.prepared.text);
        }
        if matches!(call.way, Way::Simple) {
            // The shard then refuses a second statement in the text.
            let parameters = Arc::clone(&execution.raw);
            call.way = Way::Extended { type_oids: Arc::default(), parameters, name: None };
        }
        let call = Call::Postgres(call);
        let output = match self.transaction {
            // Of a session that has a key.
            None => self.engine.shard(shard)?.write(call).await?,
            Some(_) => self.join_as_writer(shard).await?.run(call).await?,
        };
        Ok(self.passed_answer(tag, output))
    }

    pub(super) fn passed_answer(&mut self, tag: &'static str, output: Output) -> Answer {
        self.notices.extend(output.notices);
        let count = match tag {
            "SELECT" | "FETCH" => TagCount::Returned,
            "INSERT 0" | "UPDATE" | "DELETE" | "MERGE" | "MOVE" => TagCount::Written(output.affected),
            _ => TagCount::None,
        };
        Answer {
            columns: output.columns,
            row_description: output.row_description,
            rows: output.rows,
            tag,
            count,
            recording: None,
            copy: None,
        }
    }

    /// The one shard that a statement runs on; `None` when there are several.
    pub(super) fn one_shard(&self, statement: &Statement, parameters: &[Datum]) -> Result<Option<ShardId>> {
        let temporary = match &statement.plan {
            Plan::Local(local) => match **local {
                Local::OnTemporaryTables { shard } => Some(shard),
                _ => None,
            },
            _ => None,
        };
        Ok(match (self.placement(statement, parameters)?, temporary) {
            (Placement::Any, Some(shard)) => Some(shard),
            (Placement::One(shard), Some(own)) if shard != own => None,
            (Placement::One(shard), _) => Some(shard),
            (Placement::Any, None) => Some(self.shard_of_copies(statement, parameters)?),
            (Placement::Several, _) => None,
        })
    }

    /// Where a statement runs that needs no key: it may read tables of which shards have copies, and locks their rows where
    /// everybody does.
    fn shard_of_copies(&self, statement: &Statement, parameters: &[Datum]) -> Result<ShardId> {
        let Plan::Read(read) = statement.planned() else { return self.any_shard() };
        let topology = self.engine.live.snapshot();
        let (ReadSource::Shards, Some(keyspace)) = (read.source, topology.keyspace(&read.route.keyspace)) else {
            return self.any_shard();
        };
        let own = match read.locks_rows {
            true => read.route.shards(&statement.compared_parameters(parameters), &topology)?.shards.first().copied(),
            false => self.any_shard_of(keyspace),
        };
        own.map_or_else(|| self.any_shard(), Ok)
    }

    /// Where a statement can run.
    pub(super) fn placement(&self, statement: &Statement, parameters: &[Datum]) -> Result<Placement> {
        let topology = self.engine.live.snapshot();
        let route = match statement.planned() {
            Plan::Read(read) if read.source != ReadSource::Shards => return Ok(Placement::Any),
            Plan::Read(read) if read.mixes_keyspaces => return Ok(Placement::Several),
            Plan::Read(read) => &read.route,
            Plan::Write(write) if write.mixes_keyspaces => return Ok(Placement::Several),
            Plan::Write(write) => &write.route,
            Plan::WriteReference(_) => return Ok(Placement::Any),
            Plan::Insert(insert) => {
                let keyspace = topology.keyspace(&insert.keyspace);
                let keyspace = keyspace.ok_or_else(|| Error::internal("a keyspace is not in the topology"))?;
                let parameters = statement.assigned_parameters(parameters);
                let mut owners = (0..insert.row_keys.len())
                    .map(|row| insert.row_key(row, &parameters).map(|key| keyspace.owner_of(&key)));
                let Some(first) = owners.next().transpose()? else { return Ok(Placement::Several) };
                for owner in owners {
                    if owner? != first {
                        return Ok(Placement::Several);
                    }
                }
                return Ok(Placement::One(first));
            }
            Plan::Ddl(_) | Plan::Local(_) | Plan::Copy(_) => return Ok(Placement::Several),
        };
        let targets = route.shards(&statement.compared_parameters(parameters), &topology)?;
        Ok(match targets.shards.as_slice() {
            _ if targets.touches_no_slot() => Placement::Any,
            [shard] => Placement::One(*shard),
            _ => Placement::Several,
        })
    }

    /// Runs the client's own text in the open transaction on this shard, or by itself where the session keeps its connection.
    pub(super) async fn pass_on(&mut self, shard: ShardId, execution: &Execution) -> Result<Output> {
        self.ran_on.add(shard);
        if self.keeps_connections() {
            self.join_batch(execution);
        }
        let call = self.call(execution, execution.whole_program()?)?;
        if self.transaction.is_none() && self.keeper().is_some_and(|keeper| keeper.keeps(shard)) {
            return self.engine.shard(shard)?.read(call).await;
        }
        let engine = Arc::clone(&self.engine);
        let transaction = self.open_transaction()?;
        transaction.used = true;
        if transaction.participant(shard).is_none() {
            transaction.join(&engine, shard, TransactionMode::Snapshot, call.may_lag()).await?;
        }
        let participant = transaction.participant(shard).ok_or_else(|| Error::internal("a participant is missing"))?;
        participant.run(call).await
    }

    /// The shard that has to describe a statement, where not any of them can.
    ///
    /// # Errors
    /// There is no key, or no such cursor.
    pub(super) fn describing_shard(&self, plan: &Plan) -> Result<Option<ShardId>> {
        let Plan::Local(local) = plan else { return Ok(None) };
        match &**local {
            // What was given last is remembered by a connection that describing it could take.
            Local::Sequence(call) if call.asks_of_its_session() => Ok(None),
            Local::AdvisoryLock(_) | Local::Notify { tag: "SELECT" } | Local::Sequence(_) => self.any_shard().map(Some),
            Local::OnTemporaryTables { shard } => Ok(Some(*shard)),
            // Locks that name no key.
            Local::OnKeyShard { .. } if self.pools_by_session() && self.key_shard()?.is_none() => {
                self.any_shard().map(Some)
            }
            Local::OnKeyShard { .. } => {
                self.key_shard()?.map(Some).ok_or_else(|| no_key("a statement that names no key"))
            }
            Local::Fetch { name, .. } if self.row_cursor(name).is_some() => Ok(None),
            Local::Fetch { name, .. } => self.cursor_shard(name).map(Some),
            _ => Ok(None),
        }
    }
}

/// Where a statement can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// Every shard gives the same answer.
    Any,
    One(ShardId),
    Several,
}

/// Whether a Postgres shard runs it, though the session has to say which.
pub(super) fn is_passed_on(plan: &Plan) -> bool {
    let Plan::Local(local) = plan else { return false };
    if let Local::Sequence(call) = &**local {
        return !call.asks_of_its_session();
    }
    matches!(
        **local,
        Local::OnKeyShard { .. }
            | Local::Declare { .. }
            | Local::Fetch { .. }
            | Local::Close(_)
            | Local::AdvisoryLock(_)
            | Local::Listen
            | Local::Notify { .. }
            | Local::Load
    )
}

fn is_lock(text: &str) -> bool {
    let folded = text.to_ascii_lowercase();
    folded.contains("pg_advisory_xact_lock") || folded.contains("pg_try_advisory_xact_lock")
}

/// Whether it only takes advisory locks of its transaction, whose numbers may be computed.
pub(super) fn takes_locks_only(tree: &sql::ast::Statement) -> bool {
    use sql::ast::{Expr, SelectItem, SetExpr, Statement};
    let Statement::Query(query) = tree else { return false };
    let SetExpr::Select(select) = &*query.body else { return false };
    let is_lock = |expression: &Expr| {
        let Expr::Function(function) = expression else { return false };
        sql::function_name(&function.name)
            .is_some_and(|name| name.strip_suffix("_shared").unwrap_or(&name).ends_with("advisory_xact_lock"))
    };
    let locks = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => is_lock(expression),
        _ => false,
    };
    query.with.is_none()
        && select.from.is_empty()
        && select.selection.is_none()
        && select.projection.iter().all(locks)
        && !select.projection.is_empty()
}

pub(super) fn no_key(what: &str) -> Error {
    Error::unsupported(
        what,
        "Name the key that it belongs to, inside a transaction: SET LOCAL shardd.key = '...'. Then it runs on that key's \
         shard.",
    )
}

fn shard_of(value: &str, topology: &Topology) -> Result<ShardId> {
    let users: Vec<_> = topology.keyspaces.iter().filter(|keyspace| keyspace.name != KV_KEYSPACE).collect();
    let (keyspace, key) = match users.as_slice() {
        [only] => (&**only, value),
        _ => {
            let named = value.split_once(':').and_then(|(name, key)| Some((topology.keyspace(name)?, key)));
            named.ok_or_else(|| {
                Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("invalid value for parameter \"{KEY}\": \"{value}\""),
                )
                .hint("There are several keyspaces: write it as 'keyspace:key'.")
            })?
        }
    };
    owner(keyspace, key)
}

fn owner(keyspace: &Keyspace, text: &str) -> Result<ShardId> {
    let data_type = match keyspace.key_type {
        KeyType::Bigint => PgType::Int8,
        KeyType::Text => PgType::Text,
        KeyType::Uuid => PgType::Uuid,
    };
    let datum = Datum::from_text(data_type, text, &TextStyle::default()).map_err(Error::without_position)?;
    let key = Key::from_datum(&datum).ok_or_else(|| Error::internal("a value of the key's type is no key"))?;
    Ok(keyspace.owner_of(&key))
}

impl Statement {
    /// A text that nobody here has read.
    fn on_key_shard(parsed: Parsed, tag: &'static str, schema: &Arc<Schema>) -> Statement {
        let plan = Plan::Local(Box::new(Local::OnKeyShard { tag }));
        Statement::as_written(parsed, plan, schema)
    }

    /// The program of what is passed on though the session has to say where.
    pub(super) fn passed_on(parsed: &Parsed) -> Program {
        let program = crate::shard::postgres::Program::as_written(
            crate::shard::Tag::Merge,
            Arc::clone(&parsed.text),
            Box::default(),
        );
        Program::Postgres(Arc::new(program))
    }
}
