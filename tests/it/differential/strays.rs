//! The same statements while every shard holds copies of another's rows, as it does while slots move: nobody may see them.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::broad::BROAD;
use super::random::Random;
use super::schema::{TABLES, fixture};
use super::world::{TICKETS, World};
use super::writes::Script;
use crate::support::{Postgres, Shardd};

/// The ticket schema without a statement that changes it: the schema stays as it is while rows move.
pub const STILL_TICKETS: World =
    World { rows: rows_of_tickets, script: |random, seed| still(&TICKETS, random, seed), ..TICKETS };

/// The same of the eight tables.
pub const STILL_BROAD: World = World { schema: Vec::new, script: |random, seed| still(&BROAD, random, seed), ..BROAD };

fn changes_schema(statement: &str) -> bool {
    ["DROP ", "CREATE ", "ALTER ", "TRUNCATE "].iter().any(|word| statement.trim_start().starts_with(word))
}

/// The script of the first seed from this one on that leaves the schema as it is.
fn still(world: &World, random: &mut Random, seed: usize) -> Script {
    let mut scripts = (seed..).map(|seed| (world.script)(random, seed));
    scripts.find(|script| !script.steps.iter().any(|step| changes_schema(&step.sql))).expect("one of many")
}

fn rows_of_tickets() -> Vec<String> {
    let emptied = TABLES.iter().rev().map(|table| format!("DELETE FROM {}", table.name));
    emptied.chain(fixture().into_iter().filter(|statement| !changes_schema(statement))).collect()
}

/// Makes the ticket schema.
pub fn schema_of_tickets() -> Vec<String> {
    fixture().into_iter().filter(|statement| statement.starts_with("CREATE ")).collect()
}

/// Makes the tables on both, and starts shardd again as one whose shards each hold rows of the next.
pub fn begin(schema: Vec<String>, postgres: &Postgres, shardd: &mut Shardd) {
    for statement in schema {
        let sql = super::values::inline(&statement);
        postgres.client().run(&sql);
        shardd.client().run(&sql);
    }
    shardd.stop();
    shardd.launch_with(&[("SHARDD_TEST_STRAYS", "next")]);
}

/// Who puts rows where they do not belong.
pub trait Planting: Send {
    /// Takes all rows out of the sharded tables, wherever they are.
    fn clear(&self);
    /// Copies the rows of each shard to the one before it.
    fn plant(&self);
}

/// On databases of one Postgres server.
pub struct OnPostgres<'p> {
    pub server: &'p Postgres,
    pub databases: Vec<String>,
    pub tables: Vec<&'static str>,
}

impl OnPostgres<'_> {
    fn file(&self, database: &str, table: &str) -> String {
        self.server.directory().join(format!("data/{database}.{table}.rows")).display().to_string()
    }
}

/// Without what triggers and foreign keys say; the guard lets through who has a mover's token.
const AS_MOVER: &str = "SET session_replication_role = replica; INSERT INTO shardd.mover VALUES ('tickets', 'planting', 'planting') \
     ON CONFLICT DO NOTHING; SET shardd.mover = 'planting'";

impl Planting for OnPostgres<'_> {
    fn clear(&self) {
        for database in &self.databases {
            let mut client = self.server.client_of(database);
            client.run(AS_MOVER);
            self.tables.iter().for_each(|table| client.run(&format!("DELETE FROM {table}")));
        }
    }

    fn plant(&self) {
        for database in &self.databases {
            let mut client = self.server.client_of(database);
            for table in &self.tables {
                client.run(&format!("COPY {table} TO '{}'", self.file(database, table)));
            }
        }
        for (database, next) in self.databases.iter().zip(self.databases.iter().cycle().skip(1)) {
            let mut client = self.server.client_of(database);
            client.run(AS_MOVER);
            for table in &self.tables {
                client.run(&format!("COPY {table} FROM '{}'", self.file(next, table)));
            }
        }
    }
}

/// In the files of a server's SQLite shards.
pub struct OnSqlite {
    pub files: Vec<std::path::PathBuf>,
    pub tables: Vec<&'static str>,
}

impl OnSqlite {
    fn open(&self) -> Vec<Connection> {
        let open = |file| {
            let connection = Connection::open(file).expect("a shard's file");
            connection.busy_timeout(crate::support::PATIENCE).expect("a timeout");
            connection.execute_batch("PRAGMA foreign_keys = off; PRAGMA ignore_check_constraints = on").expect("set");
            // Rows are only copied: in no index there is a column of it.
            for guard in ["shardd_guard", "shardd_guard_old"] {
                let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
                connection
                    .create_scalar_function(guard, 2, flags, |_| Ok(true))
                    .expect("a guard that lets all rows through");
            }
            connection.create_collation("pg_numeric", |one, other| one.cmp(other)).expect("a collation");
            connection
        };
        self.files.iter().map(open).collect()
    }
}

impl Planting for OnSqlite {
    fn clear(&self) {
        for connection in self.open() {
            for table in &self.tables {
                connection.execute_batch(&format!("DELETE FROM {table}")).expect("deleted");
            }
        }
    }

    fn plant(&self) {
        let connections = self.open();
        for (connection, next) in connections.iter().zip(self.files.iter().cycle().skip(1)) {
            connection.execute("ATTACH ? AS next", [next.to_str().expect("a path")]).expect("attached");
            for table in &self.tables {
                let copied = format!("CREATE TEMP TABLE planted_{table} AS SELECT * FROM next.{table}");
                connection.execute_batch(&copied).expect("copied");
            }
        }
        for connection in &connections {
            for table in &self.tables {
                let planted = format!("INSERT INTO main.{table} SELECT * FROM planted_{table}");
                connection.execute_batch(&planted).expect("planted");
            }
        }
    }
}
