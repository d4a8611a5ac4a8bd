//! An empty server is given the schema of a shard.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::same_text;
use super::{Copied, Examined, Filled, Joining, examine, leftovers, listed, tables};
use crate::crash_point::{JoinStep, crash_point};
use crate::engine::sequence::set_apart;
use crate::error::{Error, Fault, Result, SqlState};
use crate::shard::postgres::schema::copy::{self, Object, Privileges, Script, Uncopied};
use crate::shard::postgres::schema::{self, ShardSchema, survey};
use crate::shard::postgres::{PostgresShard, PostgresTransaction};
use crate::topology::{Schema, TableKind};
use crate::types::ShardId;

/// What there is on the new server: schemas, roles, the same in quotes and whether its own role is a member, extensions.
const OFFERED: &str = "SELECT 'schema', pg_catalog.quote_ident(nspname), '' FROM pg_catalog.pg_namespace \
     UNION ALL SELECT 'role', rolname::pg_catalog.text, '' FROM pg_catalog.pg_roles \
     UNION ALL SELECT 'grantee', pg_catalog.quote_ident(rolname), \
         pg_catalog.pg_has_role(oid, 'MEMBER')::pg_catalog.text FROM pg_catalog.pg_roles \
     UNION ALL SELECT 'extension', name, version FROM pg_catalog.pg_available_extension_versions \
     UNION ALL SELECT 'extension', extname, extversion FROM pg_catalog.pg_extension";

/// Of the transaction that makes everything. Bodies of functions may name what is made later.
const PREPARATION: [&str; 5] = [
    "SET LOCAL check_function_bodies = off",
    "SET LOCAL default_tablespace = ''",
    "SET LOCAL default_table_access_method = 'heap'",
    "SET LOCAL client_min_messages = warning",
    "SET LOCAL xmloption = content",
];

/// What the new server has to offer.
pub(super) struct Offered {
    schemas: BTreeSet<String>,
    roles: Vec<String>,
    /// As SQL needs them, and whether shardd's role there can give them objects.
    grantees: BTreeMap<String, bool>,
    extensions: BTreeSet<(String, String)>,
}

impl Offered {
    async fn ask(shard: &PostgresShard) -> Result<Offered> {
        let mut offered = Offered {
            schemas: BTreeSet::new(),
            roles: Vec::new(),
            grantees: BTreeMap::new(),
            extensions: BTreeSet::new(),
        };
        for row in shard.rows_of(OFFERED).await? {
            let [Some(what), Some(name), Some(value)] = row.as_slice() else { continue };
            match what.as_str() {
                "schema" => drop(offered.schemas.insert(name.clone())),
                "role" => offered.roles.push(name.clone()),
                "grantee" => drop(offered.grantees.insert(name.clone(), value == "true")),
                _ => drop(offered.extensions.insert((name.clone(), value.clone()))),
            }
        }
        Ok(offered)
    }

    /// Whether a role is there, and can be made an owner where that is asked for.
    pub(super) fn has(&self, role: &str, as_owner: bool) -> bool {
        self.grantees.get(role).is_some_and(|is_member| *is_member || !as_owner)
    }

    fn refuse_missing_extensions(&self, source: &ShardSchema, new: &str) -> Result<()> {
        let needed = source.extensions.iter().map(|(name, version)| (name.clone(), version.clone()));
        let missing: Vec<(String, String)> = needed.filter(|needed| !self.extensions.contains(needed)).collect();
        let Some((name, version)) = missing.first() else { return Ok(()) };
        let others: Vec<&str> =
            self.extensions.iter().filter(|(known, _)| known == name).map(|(_, version)| version.as_str()).collect();
        let there = match others.is_empty() {
            true => String::new(),
            false => format!(" (there is {})", others.join(", ")),
        };
        let message =
            format!("the extension \"{name}\" {version} is not to be had on the server of shard \"{new}\"{there}");
        Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .hint("Install its package on that server, and run the command again. Nothing was added.")
            .fault(Fault::Shard))
    }
}

impl Joining<'_> {
    /// Whether the database has nothing in it that a user made.
    pub(super) async fn is_empty(&self) -> Result<bool> {
        let rows = in_one_snapshot(self.shard.postgres()?, &copy::emptiness_query()).await?;
        Ok(rows.first().and_then(|row| row.first()?.as_deref()) == Some("t"))
    }

    /// Makes the schema of the source, and copies what a shard holds beside its own keys' rows.
    pub(super) async fn make_and_fill(
        &self,
        filling: &mut PostgresTransaction,
        hold: &mut PostgresTransaction,
    ) -> Result<Filled> {
        let (id, like) = (self.shard.id(), self.source.id());
        let (source, new) = (self.source.postgres()?, self.shard.postgres()?);
        let read = self.engine.read_with(self.shard, &self.planned).await?;
        examine((id, like), &read, Examined::Server)?;
        let offered = Offered::ask(new).await?;
        let mut warnings = self.refuse_uncopied(&read, &offered).await?;
        let script = Script::read(source.name(), &in_one_snapshot(source, &copy::query()).await?)?;
        let privileges = Privileges::read(source.name(), &in_one_snapshot(source, &copy::privileges_query()).await?)?;
        let others: Vec<_> = read.into_iter().filter(|(other, _)| *other != id).collect();
        let known = survey(&others, &self.planned.keyspaces);

        let placements = others.first().map(|(_, first)| &first.placements).filter(|known| !known.is_empty());
        leftovers::mark(filling, &self.engine.cluster, placements)
            .await
            .map_err(|error| self.unmade("a mark", error))?;
        let made = filling.run_batch(&self.own_tables()).await;
        made.map_err(|error| self.unmade("shardd's own tables", error))?;
        filling.run_batch(&[PREPARATION.map(str::to_owned).as_slice(), &same_text()].concat()).await?;
        self.make(filling, script.before_rows(), &offered).await?;
        crash_point(JoinStep::Made);
        let reference = tables(&known, |table| table.kind == TableKind::Reference);
        self.hold_reference_rows(hold, &reference).await?;
        let mut copied = Copied { tables: script.tables(), reference_tables: reference.len(), reference_rows: 0 };
        for table in &reference {
            copied.reference_rows += self.copy_rows(hold, filling, table).await?;
        }
        self.make(filling, script.after_rows(), &offered).await?;
        let again = Script::read(new.name(), &filling.rows_here(&copy::query()).await?)?;
        self.refuse_differences(&script.differences(&again))?;

        let (read, schema) = self.count_apart(filling, hold, others).await?;
        filling.run_batch(&[copy::remember_made(leftovers::TABLE)]).await?;
        self.compare_rows(hold, filling, &reference).await?;
        warnings.extend(examine((id, like), &read, Examined::Everything)?);
        warnings.extend(self.grant(filling, &privileges, &offered).await?);
        Ok(Filled { schema, warnings, copied })
    }

    async fn refuse_uncopied(&self, read: &[(ShardId, ShardSchema)], offered: &Offered) -> Result<Vec<String>> {
        let source = self.source.postgres()?;
        let found = Uncopied::read(source.name(), &in_one_snapshot(source, &copy::uncopied_query()).await?)?;
        found.refuse(source.name(), self.shard.name(), &offered.roles)?;
        if let Some((_, schema)) = read.iter().find(|(id, _)| *id == self.source.id()) {
            offered.refuse_missing_extensions(schema, self.shard.name())?;
        }
        Ok(found.warning(source.name()).into_iter().collect())
    }

    async fn make(&self, filling: &mut PostgresTransaction, objects: &[Object], offered: &Offered) -> Result<()> {
        for object in objects {
            // Its role may use a schema that was made for it, and make none.
            if object.label.strip_prefix("schema ").is_some_and(|name| offered.schemas.contains(name)) {
                continue;
            }
            let made = filling.run_batch(std::slice::from_ref(&object.text)).await;
            made.map_err(|error| self.unmade(&object.label, error))?;
        }
        Ok(())
    }

    fn unmade(&self, what: &str, error: Error) -> Error {
        let message = format!("{what} could not be made on shard \"{}\": {}", self.shard.name(), error.message());
        let hint = match (error.sqlstate() == SqlState::INSUFFICIENT_PRIVILEGE, error.get_hint()) {
            (true, _) => {
                "The role of the URL has to own the database, or be a superuser where extensions need one. Nothing was added."
                    .to_owned()
            }
            (false, _) if is_unfound(&error) => UNFOUND.to_owned(),
            (false, Some(hint)) => hint.to_owned(),
            (false, None) => "Nothing was added.".to_owned(),
        };
        error.with_message(message).hint(hint).fault(Fault::Shard)
    }

    fn refuse_differences(&self, differences: &[String]) -> Result<()> {
        if differences.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the copy of the schema on shard \"{}\" is not what is on \"{}\": {}",
            self.shard.name(),
            self.source.name(),
            listed(differences)
        );
        Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .hint("Make the tables first, with pg_dump --schema-only, and please report this. Nothing was added.")
            .fault(Fault::Proxy))
    }

    /// The numbers of sharded tables are each shard's own; those of all other sequences go on where they stand. Gives what all
    /// shards hold now.
    async fn count_apart(
        &self,
        filling: &mut PostgresTransaction,
        hold: &mut PostgresTransaction,
        others: Vec<(ShardId, ShardSchema)>,
    ) -> Result<(Vec<(ShardId, ShardSchema)>, Schema)> {
        let id = self.shard.id();
        let mut read = others;
        read.push((id, filling.schema(&self.planned.keyspaces).await?));
        for (shard, statements) in set_apart(&read, &Schema::default(), |_, _| false) {
            if shard == id {
                filling.run_batch(&statements).await?;
            }
        }
        self.set_sequences(hold, filling, &read).await?;
        read.pop();
        read.push((id, filling.schema(&self.planned.keyspaces).await?));
        let schema = survey(&read, &self.planned.keyspaces);
        Ok((read, schema))
    }
}

const UNFOUND: &str = "Shards are filled with an empty search_path, as pg_restore does it: a function that a generated column, CHECK, \
                       index or view calls has to name what it uses with its schema, or be given SET search_path. Nothing was added.";

/// Whether something has not been found by its name.
fn is_unfound(error: &Error) -> bool {
    [SqlState::UNDEFINED_FUNCTION, SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_OBJECT].contains(&error.sqlstate())
}

/// Tells why something was not found, if it was not.
pub(super) fn with_cause(error: Error) -> Error {
    if is_unfound(&error) { error.hint(UNFOUND) } else { error }
}

/// What a query tells while the search path is empty.
async fn in_one_snapshot(shard: &PostgresShard, query: &str) -> Result<Vec<Vec<Option<String>>>> {
    let begin = schema::BEGIN.trim_end_matches(';');
    shard.rows_of(&format!("{begin}; {query}; {}", schema::END)).await
}
