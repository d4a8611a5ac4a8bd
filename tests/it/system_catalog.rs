//! The system catalog: psql's backslash commands and the questions of drivers and ORMs, compared with Postgres 15.
//!
//! Over SQLite shards it is computed; over Postgres shards it is a shard's own. What must differ is left out: oids, who owns
//! what, sizes, the steps of sequences.

use std::process::{Command, Stdio};

use crate::support::client::{Answer, DATABASE, USER};
use crate::support::{Client, Postgres, Shardd, read};

/// Tables beside the ticket schema: what it does not have.
const MORE: &str = "
    CREATE TABLE prices (
        event_id bigint NOT NULL,
        price_id bigint GENERATED ALWAYS AS IDENTITY,
        kind varchar(20) NOT NULL DEFAULT 'full' CHECK (kind IN ('full', 'reduced')),
        amount numeric(8,2) NOT NULL CHECK (amount >= 0 AND amount < 10000.5),
        valid_from timestamptz(3) DEFAULT now(),
        extra jsonb NOT NULL DEFAULT '{}',
        rank smallint DEFAULT -1,
        \"Mixed Case\" char(3),
        PRIMARY KEY (event_id, price_id),
        FOREIGN KEY (event_id) REFERENCES events (event_id) ON DELETE CASCADE,
        CONSTRAINT prices_kind_is_short CHECK (length(kind) <= 10 OR kind LIKE 'x%')
    );
    CREATE UNIQUE INDEX prices_by_kind ON prices (event_id, lower(kind), rank DESC NULLS LAST) WHERE amount > 0;
    CREATE INDEX ON prices ((rank + 1));
";

/// A shardd, and a database with the same tables.
struct Servers {
    shardd: Shardd,
    /// Beside SQLite shards.
    beside: Option<Postgres>,
}

impl Servers {
    /// A shardd over SQLite shards and a Postgres beside it; then one over Postgres shards, of which the first is compared
    /// with: its catalog is what clients see.
    fn of_each_kind() -> impl Iterator<Item = Servers> {
        Shardd::of_each_kind().map(|shardd| {
            let beside = shardd.postgres().is_none().then(Postgres::start);
            let servers = Servers { shardd, beside };
            let beside = servers.beside.as_ref().map(Postgres::client);
            for mut client in beside.into_iter().chain([servers.shardd.client()]) {
                let texts = [&read("tests/drivers/schema.sql"), MORE];
                let statements = texts.into_iter().flat_map(|text| text.split(";\n"));
                statements.filter(|text| !text.trim().is_empty()).for_each(|text| client.run(text));
            }
            servers
        })
    }

    /// The ports and databases to compare: Postgres's, shardd's.
    fn places(&self) -> [(u16, &'static str); 2] {
        let postgres = match (&self.beside, self.shardd.postgres()) {
            (Some(beside), _) => (beside.port, DATABASE),
            (None, of_shards) => (of_shards.expect("a server").port, "s1"),
        };
        [postgres, (self.shardd.ports.postgres, DATABASE)]
    }

    fn clients(&self) -> [Client; 2] {
        self.places().map(|(port, database)| {
            let settings = [("user", USER), ("database", database), ("TimeZone", "UTC")];
            Client::connect_with(port, &settings).expect("a connection")
        })
    }
}

fn psql((port, database): (u16, &str), command: &str) -> String {
    let output = Command::new("psql")
        .args(["-X", "-h", "127.0.0.1", "-U", USER, "-d", database, "-p", &port.to_string(), "-c", command])
        .env("PGCONNECT_TIMEOUT", "30")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .expect("psql runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A table that psql printed, without some of its columns and without the padding.
fn without_columns(printed: &str, left_out: &[&str]) -> String {
    let mut kept: Option<Vec<bool>> = None;
    let mut lines = Vec::new();
    for line in printed.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if line.starts_with("--") {
            continue;
        }
        if cells.len() < 2 {
            kept = None;
            lines.push(line.trim().to_owned());
            continue;
        }
        let kept = kept.get_or_insert_with(|| cells.iter().map(|cell| !left_out.contains(cell)).collect());
        let cells = cells.iter().zip(kept.iter()).filter(|(_, kept)| **kept).map(|(cell, _)| *cell);
        lines.push(cells.collect::<Vec<_>>().join(" | "));
    }
    lines.join("\n")
}

fn compare_psql(servers: &Servers, commands: &[&str], left_out: &[&str]) {
    for command in commands {
        let [expected, found] = servers.places().map(|place| without_columns(&psql(place, command), left_out));
        assert_eq!(found, expected, "{command}: shardd's answer (left) is not Postgres's");
    }
}

#[test]
fn psql_lists_what_there_is() {
    for servers in Servers::of_each_kind() {
        let lists = [
            "\\d", "\\dt", "\\dt+", "\\di", "\\di+", "\\ds", "\\ds+", "\\dn", "\\df", "\\dv", "\\dm", "\\dT", "\\dp",
            "\\dt s*",
        ];
        compare_psql(&servers, &lists, &["Owner", "Size"]);
    }
}

#[test]
fn psql_describes_tables_and_indexes() {
    for servers in Servers::of_each_kind() {
        let tables =
            ["events", "venues", "seats", "holds", "orders", "prices", "\"prices\"", "public.seats", "nothing"];
        for table in tables {
            let commands = [format!("\\d {table}"), format!("\\d+ {table}")];
            compare_psql(&servers, &[&commands[0], &commands[1]], &[]);
        }
        compare_psql(
            &servers,
            &["\\d seats_pkey", "\\d seats_by_status", "\\d+ prices_by_kind", "\\d prices_expr_idx"],
            &[],
        );
        compare_psql(&servers, &["\\d orders_order_id_seq"], &["Increment"]);
    }
}

#[test]
fn psql_lists_databases_and_roles() {
    let shardd = Shardd::start();
    let place = (shardd.ports.postgres, DATABASE);
    let databases = without_columns(&psql(place, "\\l"), &["Owner"]);
    assert!(databases.contains("tickets | UTF8 | C | C |  | libc"), "{databases}");
    let roles = psql(place, "\\du");
    assert!(roles.contains("app"), "{roles}");
    // Postgres comes with plpgsql; shardd has no extensions.
    assert!(psql(place, "\\dx").contains("(0 rows)"));
}

/// One question of the fixture, with its name.
fn questions(text: &str) -> Vec<(&str, &str)> {
    let blocks = text.split("\n-- ").skip(1);
    blocks.filter_map(|block| block.split_once('\n')).map(|(name, query)| (name, query.trim())).collect()
}

const OID: u32 = 26;
const FIRST_TABLE: u32 = 16_384;

/// Rows as text, with what differs between two databases left out: the oids of their tables.
fn comparable(answer: &Answer, name: &str) -> Vec<String> {
    let columns = answer.columns.clone().unwrap_or_default();
    let described = columns.iter().map(|column| format!("{}:{}", column.name, column.type_oid));
    let mut lines = vec![described.collect::<Vec<_>>().join(" ")];
    assert!(answer.error.is_none(), "{name}: {:?}", answer.error);
    let mut rows: Vec<String> = answer
        .texts()
        .into_iter()
        .map(|row| {
            let cells = row.into_iter().zip(&columns).map(|(value, column)| match value {
                None => "NULL".to_owned(),
                Some(value) if column.type_oid == OID => match value.parse::<u32>() {
                    Ok(oid) if oid >= FIRST_TABLE => "oid".to_owned(),
                    _ => value,
                },
                Some(value) => without_oids(&value),
            });
            cells.collect::<Vec<_>>().join(" | ")
        })
        .collect();
    if !name.contains("in order") {
        rows.sort();
    }
    lines.extend(rows);
    lines
}

/// Postgres names NOT NULL by the oids of the schema and the table.
fn without_oids(value: &str) -> String {
    match value.strip_prefix("2200_").and_then(|rest| rest.split_once('_')) {
        Some((_, rest)) if value.ends_with("_not_null") => format!("2200_oid_{rest}"),
        _ => value.to_owned(),
    }
}

#[test]
fn drivers_and_orms_are_answered_as_by_postgres() {
    for servers in Servers::of_each_kind() {
        let [mut postgres, mut shardd] = servers.clients();
        let fixture = read("tests/fixtures/catalog_questions.sql");
        let mut failures = Vec::new();
        for (name, query) in questions(&fixture) {
            let expected = comparable(&postgres.query(query), name);
            let answer = shardd.query(query);
            if let Some(error) = &answer.error {
                failures.push(format!("{name}: {error:?}"));
                continue;
            }
            let found = comparable(&answer, name);
            if found != expected {
                failures.push(format!("{name}\n  Postgres {expected:#?}\n  shardd {found:#?}"));
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}

#[test]
fn a_change_of_the_schema_is_seen_at_once_by_the_one_who_makes_it() {
    for server in Shardd::of_each_kind() {
        let connect = || Client::connect(server.ports.postgres).expect("a client");
        let (mut own, mut other) = (connect(), connect());
        let count = "SELECT count(*) FROM pg_class WHERE relname = 'notes'";
        assert_eq!(own.query(count).value(), "0");
        own.run("BEGIN");
        own.run("CREATE TABLE notes (event_id bigint PRIMARY KEY, note text)");
        assert_eq!(own.query(count).value(), "1");
        assert_eq!(own.query("SELECT 'notes'::regclass").value(), "notes");
        assert_eq!(other.query(count).value(), "0");
        own.run("ROLLBACK");
        assert_eq!(own.query(count).value(), "0");
        own.run("CREATE TABLE notes (event_id bigint PRIMARY KEY, note text)");
        assert_eq!(other.query(count).value(), "1");
    }
}

#[test]
fn the_catalog_is_neither_written_nor_mixed_with_tables() {
    for server in Shardd::of_each_kind() {
        let mut client = Client::connect(server.ports.postgres).expect("a client");
        client.run("CREATE TABLE notes (event_id bigint PRIMARY KEY, note text)");
        for query in [
            "SELECT * FROM notes, pg_class",
            "SELECT note FROM notes WHERE note IN (SELECT relname FROM pg_class)",
            "INSERT INTO notes SELECT oid, relname FROM pg_class",
            "INSERT INTO pg_class (relname) VALUES ('x')",
            "UPDATE pg_catalog.pg_class SET relname = 'x'",
            "DELETE FROM information_schema.tables",
            "SELECT * FROM pg_stat_replication_slots",
        ] {
            let answer = client.query(query);
            assert_eq!(answer.sqlstate(), "0A000", "{query}");
            assert!(!answer.error.expect("an error").hint().is_empty(), "{query}");
        }
        if server.postgres().is_none() {
            assert_eq!(client.query("SELECT note::regclass FROM notes").sqlstate(), "0A000");
        }
        assert_eq!(client.query("SELECT 'nothing'::regclass").sqlstate(), "42P01");
    }
}
