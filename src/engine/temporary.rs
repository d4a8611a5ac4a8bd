//! Temporary tables on Postgres shards, for sessions that keep their connections.
//!
//! Each is on one shard, that of `shardd.key` when it is made. A statement that names one runs there, planned as if the table
//! were a reference table: so tables that are sharded may stand beside it when their rows are of keys on that shard, and
//! nothing else may.

use std::sync::Arc;

use super::answer::{Answer, TagCount};
use super::by_key::Placement;
use super::ddl::tag_of;
use super::session::{Execution, Session};
use super::statement::{PlanScope, Prepared, Statement};
use crate::error::{Error, Result, SqlState};
use crate::plan::{Local, Plan};
use crate::shard::{Output, Tag, TransactionMode};
use crate::sql::ast::{self, ObjectName};
use crate::sql::{self, CopyWay, Tree, name_parts, names_relation, query_of_definition};
use crate::topology::{Column, Schema, Table, TableKind};
use crate::types::{PgType, ShardId};

/// The schema as a session sees it that has temporary tables, made when it is needed.
#[derive(Debug, Default)]
pub(super) struct Temporaries {
    overlay: Option<Overlay>,
}

#[derive(Clone, Debug)]
struct Overlay {
    base: Arc<Schema>,
    schema: Arc<Schema>,
}

impl Temporaries {
    /// What the session has may have changed.
    pub(super) fn forget(&mut self) {
        self.overlay = None;
    }

    /// Whether a statement was made for what the session has now.
    pub(super) fn are(&self, schema: &Arc<Schema>, base: &Arc<Schema>) -> bool {
        let current = |overlay: &Overlay| Arc::ptr_eq(&overlay.schema, schema) && Arc::ptr_eq(&overlay.base, base);
        self.overlay.as_ref().is_some_and(current)
    }
}

impl Session {
    /// The shard on which the session has a relation of this name.
    fn temporary(&self, name: &str) -> Option<ShardId> {
        let found = &self.kept.as_ref()?.found;
        found.iter().find(|(_, found)| found.relations.contains_key(name)).map(|(shard, _)| *shard)
    }

    fn has_temporaries(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.found.values().any(|found| !found.relations.is_empty()))
    }

    fn named_temporary(&self, name: &ObjectName) -> Option<ShardId> {
        match name_parts(name).as_deref() {
            Some([only]) => self.temporary(only),
            _ => None,
        }
    }

    /// Prepares a statement that names temporary tables; `None` for every other.
    pub(super) fn prepare_temporary(&mut self, text: &str, type_oids: &[u32]) -> Result<Option<Prepared>> {
        if !self.has_temporaries() {
            return Ok(None);
        }
        let lifted = sql::lift(text)?;
        let Ok(parsed) = sql::parse(&lifted.text, lifted.client_parameters, lifted.kinds().collect()) else {
            return Ok(None);
        };
        if let Tree::Local(Local::Copy(copy)) = &parsed.tree
            && let CopyWay::In { table, .. } | CopyWay::TableOut { table } = &copy.way
            && let [name] = table.as_slice()
            && self.temporary(name).is_some()
        {
            return Err(Error::unsupported(
                "COPY of a temporary table by its name",
                "Send rows with INSERT; take them with COPY (SELECT ... FROM it) TO STDOUT.",
            ));
        }
        let Tree::Sql(tree) = &parsed.tree else { return Ok(None) };
        let mut named: Option<Result<ShardId>> = None;
        for (shard, found) in self.kept.iter().flat_map(|kept| &kept.found) {
            let own = |name: &ObjectName| match name_parts(name).as_deref() {
                Some([only]) => found.relations.contains_key(only.as_ref()),
                _ => false,
            };
            if names_relation(&**tree, own) {
                named = Some(if named.is_some() { Err(several_shards()) } else { Ok(*shard) });
            }
        }
        let Some(shard) = named.transpose()? else { return Ok(None) };
        let topology = self.engine.live_topology().snapshot();
        let schema = self.overlay();
        let scope = PlanScope {
            schema: &schema,
            keyspaces: &topology.keyspaces,
            shared: false,
            kind: crate::shard::ShardKind::Postgres,
        };
        let style = self.settings.text_style();
        let prepared = self.engine.plans.prepare(text, type_oids, scope, style)?;
        if matches!(prepared.statement.plan, Plan::Ddl(_)) {
            return Ok(Some(prepared));
        }
        let statement = Arc::try_unwrap(prepared.statement)
            .map_err(|_| Error::internal("a statement on temporary tables is shared"))?
            .on_temporary_tables(shard);
        Ok(Some(Prepared { statement: Arc::new(statement), ..prepared }))
    }

    /// The schema with the session's temporary tables, in place of those that they hide.
    fn overlay(&mut self) -> Arc<Schema> {
        let base = self.schema();
        let topology = self.engine.live_topology().snapshot();
        let Some(kept) = &mut self.kept else { return base };
        if let Some(overlay) = &kept.temporaries.overlay
            && Arc::ptr_eq(&overlay.base, &base)
        {
            return Arc::clone(&overlay.schema);
        }
        let keyspace = topology.keyspaces.iter().find(|keyspace| keyspace.name != crate::topology::KV_KEYSPACE);
        let keyspace = keyspace.map(|keyspace| keyspace.name.clone()).unwrap_or_default();
        let mut schema = Schema::clone(&base);
        for (name, columns) in kept.found.values().flat_map(|found| &found.relations) {
            schema.refused.remove(name);
            schema.temporary.insert(name.clone());
            schema.tables.insert(name.clone(), Arc::new(table(name, columns, &keyspace)));
        }
        let schema = Arc::new(schema);
        kept.temporaries.overlay = Some(Overlay { base, schema: Arc::clone(&schema) });
        schema
    }

    pub(super) async fn run_on_temporary_tables(&mut self, shard: ShardId, execution: &Execution) -> Result<Answer> {
        let statement = &execution.statement;
        match self.placement(statement, &execution.parameters)? {
            Placement::Any => {}
            Placement::One(other) if other == shard => {}
            _ => return Err(other_shards(&self.engine.shard_name(shard))),
        }
        statement.refuse_misfits(&[shard], &self.engine)?;
        self.join_batch(execution);
        let writes_rows = match statement.planned() {
            Plan::WriteReference(write) if !statement.schema.temporary.contains(&write.table) => {
                return Err(Error::unsupported(
                    format!("a write to the reference table \"{}\" that reads temporary tables", write.table),
                    "Every shard would need them: read first, then write the values.",
                ));
            }
            Plan::Insert(_) => true,
            Plan::Write(_) => !self.writes_only_temporaries(&statement.parsed.tree),
            _ => false,
        };
        if writes_rows {
            self.permit_write(execution.word())?;
        }
        let output = self.run_in_place(shard, writes_rows, execution).await?;
        let (tag, count) = match execution.whole_program()?.tag() {
            Tag::Select | Tag::SelectAndWrite => ("SELECT", TagCount::Returned),
            Tag::Insert => ("INSERT 0", TagCount::Written(output.affected)),
            tag => (super::write::tag_word(tag), TagCount::Written(output.affected)),
        };
        self.notices.extend(output.notices);
        Ok(Answer {
            columns: output.columns.or_else(|| statement.columns().cloned()),
            row_description: output.row_description,
            rows: output.rows,
            tag,
            count,
            recording: None,
            copy: None,
        })
    }

    /// Whether a write that reads sharded tables writes none of them.
    fn writes_only_temporaries(&self, tree: &Tree) -> bool {
        let Tree::Sql(tree) = tree else { return false };
        let factor = |item: &ast::TableWithJoins| match &item.relation {
            ast::TableFactor::Table { name, .. } => self.named_temporary(name),
            _ => None,
        };
        let written = match &**tree {
            ast::Statement::Insert(insert) => match &insert.table {
                ast::TableObject::TableName(name) => self.named_temporary(name),
                _ => None,
            },
            ast::Statement::Update(update) => factor(&update.table),
            ast::Statement::Merge(merge) => match &merge.table {
                ast::TableFactor::Table { name, .. } => self.named_temporary(name),
                _ => None,
            },
            ast::Statement::Delete(delete) => match &delete.from {
                ast::FromTable::WithFromKeyword(from) => from.first().and_then(factor),
                ast::FromTable::WithoutKeyword(_) => None,
            },
            _ => None,
        };
        written.is_some()
    }

    async fn run_in_place(&mut self, shard: ShardId, writes_rows: bool, execution: &Execution) -> Result<Output> {
        let call = self.call(execution, execution.whole_program()?)?;
        if self.transaction.is_some() && writes_rows {
            self.ran_on.add(shard);
            return self.join_as_writer(shard).await?.run(call).await;
        }
        let is_read = execution.whole_program()?.tag() == Tag::Select;
        let mut output = self.read_call(shard, call, false).await?;
        if !is_read {
            // Its count comes behind its rows.
            let notices = std::mem::take(&mut output.notices);
            let written = super::write::held(output).await?;
            output = Output {
                columns: written.columns,
                row_description: written.row_description,
                rows: crate::shard::Rows::Ready(written.rows),
                affected: written.affected,
                notices,
                numbers: written.numbers,
            };
        }
        Ok(output)
    }

    /// Makes, changes or drops temporary tables; `None` where the statement names none.
    pub(super) async fn change_temporaries(
        &mut self,
        tree: &ast::Statement,
        execution: &Execution,
    ) -> Result<Option<Answer>> {
        let Some(change) = self.temporary_change(tree)? else { return Ok(None) };
        let shard = match change {
            Change::Make { name, query } => self.place_new(&name, query, execution)?,
            Change::Alter(shard) => shard,
        };
        self.join_batch(execution);
        if let Some(transaction) = &mut self.transaction
            && transaction.participant(shard).is_none()
        {
            let engine = Arc::clone(&self.engine);
            transaction.join(&engine, shard, TransactionMode::Snapshot, false).await?;
        }
        let program = Statement::passed_on(&execution.statement.parsed);
        let crate::shard::Call::Postgres(call) = self.call(execution, &program)? else {
            return Err(Error::internal("a temporary table is for Postgres shards"));
        };
        let outcome = self.run_call_kept(shard, call).await;
        self.look().await;
        let output = outcome?;
        self.notices.extend(output.notices);
        let filled = matches!(tree, ast::Statement::CreateTable(create) if create.query.is_some());
        Ok(Some(match filled {
            true => Answer { count: TagCount::Written(output.affected), ..Answer::command("SELECT") },
            false => Answer::command(tag_of(tree)),
        }))
    }

    fn temporary_change<'t>(&self, tree: &'t ast::Statement) -> Result<Option<Change<'t>>> {
        let made = |name: &'t ObjectName, query| Some(Change::Make { name: last_part(name), query });
        let of = |names: &[&ObjectName]| -> Result<Option<Change<'t>>> {
            let shards: Vec<Option<ShardId>> = names.iter().map(|name| self.named_temporary(name)).collect();
            match shards.as_slice() {
                _ if shards.iter().all(Option::is_none) => Ok(None),
                [Some(first), rest @ ..] if rest.iter().all(|shard| *shard == Some(*first)) => {
                    Ok(Some(Change::Alter(*first)))
                }
                _ => Err(Error::unsupported(
                    "one statement that changes temporary tables and others",
                    "Change them in statements of their own.",
                )),
            }
        };
        match tree {
            ast::Statement::CreateTable(create) if create.temporary => Ok(made(&create.name, create.query.as_deref())),
            ast::Statement::CreateView(create) if create.temporary => Ok(made(&create.name, Some(&create.query))),
            ast::Statement::CreateSequence { temporary: true, name, .. } => Ok(made(name, None)),
            _ if !self.has_temporaries() => Ok(None),
            ast::Statement::CreateIndex(index) => of(&[&index.table_name]),
            ast::Statement::AlterTable(alter) => of(&[&alter.name]),
            ast::Statement::Truncate(truncate) => {
                of(&truncate.table_names.iter().map(|target| &target.name).collect::<Vec<_>>())
            }
            ast::Statement::Drop {
                names,
                object_type: ast::ObjectType::Table | ast::ObjectType::View | ast::ObjectType::Sequence,
                ..
            } => of(&names.iter().collect::<Vec<_>>()),
            ast::Statement::Comment { object_name, .. } => of(&[object_name]),
            tree if names_relation(tree, |name| self.named_temporary(name).is_some()) => Err(Error::unsupported(
                "a table or view of every shard that is made from a temporary one",
                "Make it temporary, too.",
            )),
            _ => Ok(None),
        }
    }

    /// The shard of a temporary relation that is about to be made.
    fn place_new(&mut self, name: &str, query: Option<&ast::Query>, execution: &Execution) -> Result<ShardId> {
        self.require_connection("a temporary table, view or sequence")?;
        self.require_session_pooling("a temporary table, view or sequence")?;
        let shard = self.key_shard()?.ok_or_else(|| {
            Error::unsupported(
                "a temporary table, view or sequence without a key",
                "It lives on one shard: say on which key's, with SET shardd.key = '...'. Statements that name it run there.",
            )
        })?;
        if self.temporary(name).is_some_and(|other| other != shard) {
            let message = format!("relation \"{name}\" already exists");
            return Err(Error::new(SqlState::DUPLICATE_TABLE, message)
                .detail("It was made with a key of another shard.")
                .hint("Drop it, or take another name."));
        }
        if query.is_some() {
            let text = Arc::clone(&execution.prepared.text);
            let query = query_of_definition(&text)?.ok_or_else(|| Error::internal("a definition without its query"))?;
            let inner = self.prepare_checked(query, &[])?;
            let values = inner.literals.clone();
            match self.placement(&inner.statement, &values)? {
                Placement::Any => {}
                Placement::One(other) if other == shard => {}
                _ => return Err(other_shards(&self.engine.shard_name(shard))),
            }
        }
        Ok(shard)
    }
}

impl Statement {
    /// The same statement, for temporary tables that this shard has.
    fn on_temporary_tables(self, shard: ShardId) -> Statement {
        let plan = Plan::Local(Box::new(Local::OnTemporaryTables { shard }));
        Statement { beneath: Some(Box::new(self.plan)), plan, straight: None, ..self }
    }

    /// What was planned, whichever tables it is on.
    pub(super) fn planned(&self) -> &Plan {
        self.beneath.as_deref().unwrap_or(&self.plan)
    }
}

/// What a change of the schema does to temporary relations.
enum Change<'t> {
    Make { name: String, query: Option<&'t ast::Query> },
    Alter(ShardId),
}

fn last_part(name: &ObjectName) -> String {
    name_parts(name).and_then(|mut parts| parts.pop()).map(|part| part.into_owned()).unwrap_or_default()
}

fn table(name: &str, columns: &[(String, u32)], keyspace: &str) -> Table {
    let column = |(name, type_oid): &(String, u32)| {
        Column::new(name.clone(), PgType::from_oid(*type_oid).unwrap_or(PgType::Unknown))
    };
    Table {
        oid: 0,
        name: name.to_owned(),
        keyspace: keyspace.to_owned(),
        kind: TableKind::Reference,
        columns: columns.iter().map(column).collect(),
        primary_key: None,
        unique_keys: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
    }
}

fn several_shards() -> Error {
    Error::unsupported(
        "a statement on temporary tables of several shards",
        "Make them with the same shardd.key, so that they are on one shard.",
    )
}

fn other_shards(shard: &str) -> Error {
    Error::unsupported(
        format!("a statement on a temporary table, which is on shard \"{shard}\", and on rows of other shards"),
        "Give a key of that shard in WHERE for the sharded tables, or make the temporary table with the key of those rows.",
    )
}
