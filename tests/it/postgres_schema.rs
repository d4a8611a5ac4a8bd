//! The schema of a Postgres shard, read from a real server.

use std::sync::Arc;

use shardd::shard::postgres::schema::{BEGIN, CATALOG, END, Severity, ShardSchema, diff, hash_check};
use shardd::topology::{Identity, Keyspace, Shard};
use shardd::types::{KeyType, ShardId};

use crate::support::Postgres;
use crate::support::client::{Client, USER};

const RICH: &str = include_str!("../fixtures/postgres_schema.sql");

fn shard(number: u16) -> Shard {
    let name = format!("s{number}");
    Shard { id: ShardId(number), url: format!("postgres://{name}/db"), name, weight: 1.0 }
}

fn keyspaces() -> Vec<Arc<Keyspace>> {
    let shards = [shard(1), shard(2), shard(3)];
    vec![Arc::new(Keyspace::create("main", "event_id", KeyType::Bigint, &shards).expect("a keyspace"))]
}

fn database(postgres: &Postgres, name: &str) -> Client {
    postgres.client().run(&format!("CREATE DATABASE {name}"));
    Client::connect_with(postgres.port, &[("user", USER), ("database", name)]).expect("a client")
}

fn read(number: u16, client: &mut Client) -> ShardSchema {
    client.simple(BEGIN);
    let rows = client.query(CATALOG).texts();
    let mut schema = ShardSchema::read(shard(number).id, &shard(number).name, &rows, &keyspaces()).expect("a schema");
    if let Some(query) = schema.positions_query() {
        schema.set_positions(&client.query(&query).texts()).expect("positions");
    }
    client.run(END);
    schema
}

fn messages(a: &ShardSchema, b: &ShardSchema, least: Severity) -> Vec<String> {
    diff(a, b).into_iter().filter(|found| found.severity >= least).map(|found| found.message).collect()
}

#[test]
fn a_rich_schema_is_read_and_its_drift_told() {
    let postgres = Postgres::start();
    let (mut first, mut second) = (database(&postgres, "one"), database(&postgres, "two"));
    // Other oids than on the first shard.
    second.run("CREATE TABLE unrelated (a int)");
    second.run("DROP TABLE unrelated");
    for client in [&mut first, &mut second] {
        for answer in client.simple(RICH) {
            assert_eq!(answer.error, None);
        }
    }
    let one = read(1, &mut first);
    let two = read(2, &mut second);
    assert_eq!(one.tables.len(), 7);
    assert_eq!(one.refused.len(), 8);
    assert!(one.server.text_order_is_c);
    assert!(!one.tables.contains_key("passing"), "a temporary table is its session's");
    assert_eq!(messages(&one, &two, Severity::WritesWouldBeWrong), Vec::<String>::new());
    let oids = messages(&one, &two, Severity::Harmless);
    assert!(oids.iter().all(|message| message.starts_with("the oid of the type")), "{oids:#?}");
    assert!(oids.iter().any(|message| message.contains("public.mood")), "{oids:#?}");
    for (name, table) in &one.tables {
        assert_eq!(table.fingerprint(), two.tables[name].fingerprint(), "{name}");
    }

    for statement in [
        "DROP VIEW cheap",
        "ALTER TABLE orders ALTER COLUMN price TYPE bigint",
        "ALTER TYPE mood ADD VALUE 'calm' AFTER 'sad'",
        "CREATE INDEX ON orders (country)",
        "CREATE OR REPLACE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "ALTER DOMAIN email DROP NOT NULL",
        "DROP TABLE cache",
    ] {
        second.run(statement);
    }
    let two = read(2, &mut second);
    let wrong = messages(&one, &two, Severity::WritesWouldBeWrong);
    for expected in [
        "table \"orders\": column \"price\" is numeric(10,2) on s1 and bigint on s2",
        "table \"events\": the type of column \"mood\" is public.mood ('sad', 'ok', 'happy') on s1 and public.mood ('sad', \
         'calm', 'ok', 'happy') on s2",
        "table \"cache\" is missing on s2",
    ] {
        assert!(wrong.iter().any(|message| message == expected), "{expected} in {wrong:#?}");
    }
    assert!(wrong.iter().any(|message| message.starts_with("table \"orders\": the trigger \"stamped\"")), "{wrong:#?}");
    assert!(wrong.iter().any(|message| message.contains("the type of column \"owner\" is public.email")), "{wrong:#?}");
    assert!(!wrong.iter().any(|message| message.contains("(country)")), "an index is harmless: {wrong:#?}");
}

#[test]
fn a_sequence_is_judged_by_where_it_stands() {
    let postgres = Postgres::start();
    let mut client = postgres.client();
    client.run("CREATE TABLE \"Or'd\"\"ers\" (event_id bigint NOT NULL, id bigserial, PRIMARY KEY (event_id, id))");
    client.run("INSERT INTO \"Or'd\"\"ers\" (event_id) SELECT 1 FROM generate_series(1, 1500)");
    let schema = read(3, &mut client);
    let id = &schema.tables["Or'd\"ers"].table.columns[1];
    assert_eq!((id.identity, &id.default), (Some(Identity::Serial), &None));
    let problems = schema.problems(3);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let (statement, _) = problems[0].hint.split_once("; ").expect("a statement");
    assert_eq!(statement, "ALTER SEQUENCE public.\"Or'd\"\"ers_id_seq\" INCREMENT BY 1024 RESTART WITH 2051");
    client.run(statement);
    assert_eq!(read(3, &mut client).problems(3), []);
    assert_eq!(client.query("INSERT INTO \"Or'd\"\"ers\" (event_id) VALUES (1) RETURNING id").value(), "2051");
    assert_eq!(read(3, &mut client).problems(3), []);
}

#[test]
fn a_real_server_passes_the_hash_check() {
    let postgres = Postgres::start();
    let mut client = postgres.client();
    client.run("SET client_encoding = 'LATIN1'");
    let mut rows = client.query(&hash_check::query()).texts();
    assert_eq!(hash_check::check("s1", &rows), Ok(()));
    rows[20][2] = Some("0".to_owned());
    assert!(hash_check::check("s1", &rows).is_err());
}
