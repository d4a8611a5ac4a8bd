//! What is attached to a table on its servers and must rest while its rows are moved: its triggers, which would take them for new
//! rows, and the foreign keys that refer to it, which would not let it be emptied.
//!
//! Both are taken off and put back in the transaction that moves the rows, so that nobody sees the table without them; a foreign
//! key that is put back is checked for every row.

use super::Engine;
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::shard::TransactionMode;
use crate::shard::postgres::{guard, quoted};
use crate::sql::quote_identifier;
use crate::types::ShardId;

/// What puts back what was taken off on each shard.
#[derive(Debug)]
pub(super) struct Attached(Vec<(ShardId, Vec<String>)>);

/// What takes one thing off, and what puts it back.
type Resting = (String, Vec<String>);

impl Transaction {
    /// # Errors
    /// A shard refused: shardd's role has to own the tables.
    pub(super) async fn take_off(&mut self, engine: &Engine, shards: &[ShardId], table: &str) -> Result<Attached> {
        let mut all = Vec::with_capacity(shards.len());
        for &shard in shards {
            let mut resting = Vec::new();
            for row in self.rows_on(engine, shard, &unabridged(&foreign_keys_of(table))).await? {
                resting.push(foreign_key(&row)?);
            }
            for row in self.rows_on(engine, shard, &triggers_of(table)).await? {
                resting.push(trigger(&row)?);
            }
            let (off, back): (Vec<String>, Vec<Vec<String>>) = resting.into_iter().unzip();
            let participant = self.join_as_writer(engine, shard, TransactionMode::Schema).await?;
            participant.transaction.run_batch(&off).await?;
            all.push((shard, back.concat()));
        }
        Ok(Attached(all))
    }

    /// # Errors
    /// A foreign key does not hold for a row; a shard refused.
    pub(super) async fn put_back(&mut self, engine: &Engine, attached: Attached) -> Result<()> {
        for (shard, mut statements) in attached.0 {
            // A table cannot be altered while constraints of its rows are still to be looked at.
            statements.insert(0, "SET CONSTRAINTS ALL IMMEDIATE".to_owned());
            let participant = self.join_as_writer(engine, shard, TransactionMode::Schema).await?;
            participant.transaction.run_batch(&statements).await?;
        }
        Ok(())
    }

    async fn rows_on(&mut self, engine: &Engine, shard: ShardId, text: &str) -> Result<Vec<Vec<Option<String>>>> {
        let settings = std::sync::Arc::clone(self.settings.for_shards());
        let participant = self.join_as_writer(engine, shard, TransactionMode::Schema).await?;
        participant.transaction.postgres()?.rows_of(text, &settings).await
    }
}

/// Names in definitions are printed with their schemas while the search path is empty, and it comes back with the savepoint.
fn unabridged(query: &str) -> String {
    format!(
        "SAVEPOINT shardd_look; SET LOCAL search_path = ''; {query}; ROLLBACK TO SAVEPOINT shardd_look; \
         RELEASE SAVEPOINT shardd_look"
    )
}

/// The table as a value of SQL.
fn oid_of(table: &str) -> String {
    format!("{}::pg_catalog.regclass", quoted(&format!("public.{}", quote_identifier(table))))
}

/// Those of partitions come and go with their table's.
fn foreign_keys_of(table: &str) -> String {
    format!(
        "SELECT pg_catalog.quote_ident(space.nspname) || '.' || pg_catalog.quote_ident(of.relname), \
         pg_catalog.quote_ident(key.conname), pg_catalog.pg_get_constraintdef(key.oid), \
         pg_catalog.quote_literal(pg_catalog.obj_description(key.oid, 'pg_constraint')) \
         FROM pg_catalog.pg_constraint key JOIN pg_catalog.pg_class of ON of.oid = key.conrelid \
         JOIN pg_catalog.pg_namespace space ON space.oid = of.relnamespace \
         WHERE key.contype = 'f' AND key.conparentid = 0 AND key.confrelid = {} ORDER BY 1, 2",
        oid_of(table)
    )
}

fn foreign_key(row: &[Option<String>]) -> Result<Resting> {
    let [Some(table), Some(name), Some(definition), comment] = row else {
        return Err(Error::internal("a server's answer about foreign keys is none"));
    };
    let mut back = vec![format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")];
    back.extend(comment.iter().map(|comment| format!("COMMENT ON CONSTRAINT {name} ON {table} IS {comment}")));
    Ok((format!("ALTER TABLE {table} DROP CONSTRAINT {name}"), back))
}

/// Of its partitions, too, and those that rest already: to set a table's trigger may set its partitions'. Not the guard, which
/// looks at the rows that move as at all others.
fn triggers_of(table: &str) -> String {
    let table = oid_of(table);
    format!(
        "SELECT pg_catalog.quote_ident(space.nspname) || '.' || pg_catalog.quote_ident(of.relname), \
         pg_catalog.quote_ident(it.tgname), it.tgenabled \
         FROM (SELECT {table} AS relid, 0 AS level \
               UNION SELECT part.relid, part.level FROM pg_catalog.pg_partition_tree({table}) part) tree \
         JOIN pg_catalog.pg_trigger it ON it.tgrelid = tree.relid JOIN pg_catalog.pg_class of ON of.oid = it.tgrelid \
         JOIN pg_catalog.pg_namespace space ON space.oid = of.relnamespace \
         WHERE NOT it.tgisinternal AND it.tgname <> '{}' ORDER BY tree.level, 1, 2",
        guard::TRIGGER
    )
}

fn trigger(row: &[Option<String>]) -> Result<Resting> {
    let strange = || Error::internal("a server's answer about triggers is none");
    let [Some(table), Some(name), Some(state)] = row else { return Err(strange()) };
    let how = match state.as_str() {
        "O" => "ENABLE",
        "A" => "ENABLE ALWAYS",
        "R" => "ENABLE REPLICA",
        "D" => "DISABLE",
        _ => return Err(strange()),
    };
    let set = |how: &str| format!("ALTER TABLE ONLY {table} {how} TRIGGER {name}");
    Ok((set("DISABLE"), vec![set(how)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| Some((*value).to_owned())).collect()
    }

    #[test]
    fn a_trigger_gets_the_state_that_it_had() {
        for (state, back) in [("O", "ENABLE"), ("A", "ENABLE ALWAYS"), ("R", "ENABLE REPLICA"), ("D", "DISABLE")] {
            let (off, on) = trigger(&row(&["public.a", "stamp", state])).unwrap();
            assert_eq!(off, "ALTER TABLE ONLY public.a DISABLE TRIGGER stamp");
            assert_eq!(on, [format!("ALTER TABLE ONLY public.a {back} TRIGGER stamp")]);
        }
        assert!(trigger(&row(&["public.a", "stamp", "X"])).is_err());
    }

    #[test]
    fn a_foreign_key_keeps_its_comment() {
        let mut of = row(&["public.a", "\"K\"", "FOREIGN KEY (b) REFERENCES c(d)", "'why'"]);
        let (off, on) = foreign_key(&of).unwrap();
        assert_eq!(off, "ALTER TABLE public.a DROP CONSTRAINT \"K\"");
        assert_eq!(on[0], "ALTER TABLE public.a ADD CONSTRAINT \"K\" FOREIGN KEY (b) REFERENCES c(d)");
        assert_eq!(on[1], "COMMENT ON CONSTRAINT \"K\" ON public.a IS 'why'");
        of[3] = None;
        assert_eq!(foreign_key(&of).unwrap().1.len(), 1);
    }
}
