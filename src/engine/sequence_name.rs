//! Which sequence a call names: its text with the client's values in it, and what the shards know it as.
//!
//! What nextval() was called with is looked at later, by a statement that has other parameters or none: a text that is kept
//! holds no placeholder.

use std::sync::Arc;

use super::carrying::{OwnParameter, own_parameters};
use super::givers::giving_for;
use super::sequence::not_served;
use super::session::{Execution, Session};
use crate::error::{Error, Result, SqlState};
use crate::plan::SequenceCall;
use crate::shard::ShardKind;
use crate::shard::postgres::quoted;
use crate::sql::{self, ast};
use crate::system_catalog::sequence_of;
use crate::topology::TableKind;
use crate::types::{Format, PgType, ShardId};

/// Types whose values are names as they are, and their OIDs: 0 is one that nobody has told.
const UNTOLD: u32 = 0;
const NAME: u32 = 19;
const REGCLASS: u32 = 2_205;

/// A sequence, and whom its numbers are for.
pub(super) struct Sequence {
    /// As the shards know it: on Postgres shards `schema.name`, quoted where SQL needs it.
    pub(super) name: String,
    /// On SQLite shards, the table and the column that it is of.
    pub(super) filled: Option<(String, String)>,
    /// The shards count their own numbers.
    pub(super) apart: bool,
    /// The shards that have it.
    pub(super) shards: Vec<ShardId>,
    /// Its largest number, where the shards would not look at what is set.
    pub(super) largest: i64,
}

impl Session {
    /// How a call names its sequence, as the client wrote it.
    fn named_in<'t>(&self, call: &SequenceCall, text: &'t str) -> Result<&'t str> {
        let named = sql::named_by_call(call.function(), text)?;
        named.ok_or_else(|| Error::internal("the call of a sequence was not found in its text"))
    }

    /// The sequence that the client's `nextval()` names; `None` for NULL.
    ///
    /// # Errors
    /// There is no such sequence.
    pub(super) async fn next_of_named(
        &mut self,
        call: &SequenceCall,
        execution: &Execution,
    ) -> Result<Option<Sequence>> {
        let text = Arc::clone(&execution.prepared.text);
        let named = self.named_in(call, &text)?;
        self.named_sequence(call, named, execution).await
    }

    /// The name of a call's sequence as SQL, with the client's values in it; `None` where one of them is no name that can be
    /// written down.
    pub(super) fn sequence_text(&self, call: &SequenceCall, execution: &Execution) -> Result<Option<String>> {
        let named = self.named_in(call, &execution.prepared.text)?;
        if self.engine.kind == ShardKind::Sqlite {
            // It is looked up with the statement's own parameters.
            return Ok(Some(named.to_owned()));
        }
        let mut own = own_parameters(execution);
        for (parameter, declared) in own.iter_mut().zip(execution.prepared.type_oids.iter()) {
            if *declared != UNTOLD {
                parameter.oid = *declared;
            }
        }
        sql::with_values_in(named, |number| name_given(own.get(number - 1)?))
    }

    /// The sequence of a name as the client wrote it; `None` for NULL.
    ///
    /// # Errors
    /// There is no such sequence.
    pub(super) async fn named_sequence(
        &mut self,
        call: &SequenceCall,
        text: &str,
        execution: &Execution,
    ) -> Result<Option<Sequence>> {
        match self.engine.kind {
            ShardKind::Postgres => self.sequence_of_servers(text, call.asks_of_its_session(), execution).await,
            ShardKind::Sqlite => self.sequence_of_files(text, execution).await,
        }
    }

    /// `beside`: the connection that was given numbers last is not to be used by anybody else for it.
    async fn sequence_of_servers(
        &mut self,
        text: &str,
        beside: bool,
        execution: &Execution,
    ) -> Result<Option<Sequence>> {
        let query = format!(
            "SELECT given.name::pg_catalog.text, pg_catalog.quote_ident(space.nspname) || '.' || pg_catalog.quote_ident(found.relname) \
             FROM (SELECT ({text})::pg_catalog.regclass AS name) given \
             LEFT JOIN pg_catalog.pg_class found ON found.oid = given.name AND found.relkind = 'S' \
             LEFT JOIN pg_catalog.pg_namespace space ON space.oid = found.relnamespace"
        );
        let there = if beside { self.rows_where_left(&query).await? } else { None };
        let rows = match there {
            Some(rows) => rows,
            None => self.read_within(&query, execution).await?.1,
        };
        let (given, name) = match rows.into_iter().next().as_deref() {
            Some([None, _]) => return Ok(None),
            Some([Some(given), Some(name)]) => (given.clone(), name.clone()),
            Some([Some(given), None]) => {
                return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{given}\" is not a sequence")));
            }
            _ => return Err(Error::internal("a sequence's name was asked for, and not told")),
        };
        tracing::debug!(given, name, "a sequence is asked for");
        let schema = self.schema();
        let filled = schema.filled_by.get(&name);
        let mut tables = Vec::new();
        for table in filled.into_iter().flatten() {
            tables.push(schema.table(table).ok_or_else(|| not_served(&schema, table, &name))?);
        }
        let topology = self.engine.live.snapshot();
        let is_sharded = tables.iter().any(|table| table.key_column().is_some());
        // Where the sharded table that it filled is gone, it goes on counting each shard's own.
        let apart = is_sharded || giving_for(tables.iter().copied(), &topology.keyspaces).1.len() > 1;
        let mut shards: Vec<ShardId> = match tables.as_slice() {
            [] => topology.shards.iter().map(|shard| shard.id).collect(),
            tables => {
                let filling = tables.iter().filter(|table| table.key_column().is_some() || !is_sharded);
                let keyspaces = filling.filter_map(|table| topology.keyspace(&table.keyspace));
                keyspaces.flat_map(|keyspace| keyspace.shards.iter().copied()).collect()
            }
        };
        shards.sort_unstable();
        shards.dedup();
        Ok(Some(Sequence { name, filled: None, apart, shards, largest: i64::MAX }))
    }

    async fn sequence_of_files(&mut self, text: &str, execution: &Execution) -> Result<Option<Sequence>> {
        let mut tree = sql::parse_expression(text)?;
        while let ast::Expr::Cast { expr, .. } = tree {
            tree = *expr;
        }
        let (_, rows) = self.read_within(&format!("SELECT {tree}"), execution).await?;
        let Some(Some(given)) = rows.into_iter().next().and_then(|row| row.into_iter().next()) else {
            return Ok(None);
        };
        let unknown = || Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{given}\" does not exist"));
        let named = sql::parse_expression(&given).map_err(|_| unknown())?;
        let name = match &named {
            ast::Expr::Identifier(name) => sql::fold(name),
            ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [schema, name] if sql::fold(schema) == "public" => sql::fold(name),
                _ => return Err(unknown()),
            },
            _ => return Err(unknown()),
        };
        let schema = self.schema();
        let Some((table, column)) = sequence_of(&schema, &name) else {
            return Err(match schema.table(&name) {
                Some(_) => Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a sequence")),
                None => unknown(),
            });
        };
        let topology = self.engine.live.snapshot();
        let keyspace = topology.keyspace(&table.keyspace).ok_or_else(|| Error::internal("no such keyspace"))?;
        let mut shards = keyspace.shards.clone();
        shards.sort_unstable();
        let largest = match column.data_type {
            PgType::Int2 => i64::from(i16::MAX),
            PgType::Int4 => i64::from(i32::MAX),
            _ => i64::MAX,
        };
        Ok(Some(Sequence {
            name: name.into_owned(),
            filled: Some((table.name.clone(), column.name.clone())),
            apart: table.kind != TableKind::Reference,
            shards,
            largest,
        }))
    }
}

/// A client's value as SQL, where it is a text that every shard reads as the same name.
fn name_given(parameter: &OwnParameter) -> Option<String> {
    let is_text = [PgType::Text.oid(), PgType::Varchar.oid(), NAME].contains(&parameter.oid);
    let is_untold = [UNTOLD, PgType::Unknown.oid(), REGCLASS].contains(&parameter.oid);
    let is_read = is_text || (is_untold && parameter.format == Format::Text);
    if !is_read {
        return None;
    }
    let Some(value) = &parameter.value else { return Some("NULL::pg_catalog.text".to_owned()) };
    let text = std::str::from_utf8(value).ok()?;
    // A number is a sequence's OID, which each shard has given to another.
    let is_oid = parameter.oid != NAME && text.trim().bytes().all(|byte| byte.is_ascii_digit());
    (!is_oid).then(|| format!("{}::pg_catalog.text", quoted(text)))
}

/// A name that is looked up apart from its statement has no values of it.
pub(super) fn no_name() -> Error {
    Error::unsupported(
        "currval() of a parameter that is no sequence's name",
        "Give its name as text: currval('name'), or currval($1::text).",
    )
}
