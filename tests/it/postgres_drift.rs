//! Postgres shards that differ: what is told, which statements are refused, and what a server has to be to join.

use std::process::Command;

use serde_json::Value as Json;

use crate::support::client::{Client, USER, Value};
use crate::support::{Postgres, Shardd};

const TABLES: &str = "CREATE TYPE mood AS ENUM ('sad', 'happy');
     CREATE TABLE seats (event_id bigint NOT NULL, seat int NOT NULL, price numeric(10,2) DEFAULT 5, mood mood,
       PRIMARY KEY (event_id, seat));
     CREATE TABLE venues (venue_id int PRIMARY KEY, name text);
     INSERT INTO venues VALUES (1, 'Hall')";

fn database(postgres: &Postgres, name: &str, tables: &str) -> Client {
    postgres.client().run(&format!("CREATE DATABASE {name}"));
    let mut client = connect(postgres, name);
    client.run(tables);
    client
}

fn connect(postgres: &Postgres, name: &str) -> Client {
    Client::connect_with(postgres.port, &[("user", USER), ("database", name)]).expect("a client")
}

fn url(postgres: &Postgres, name: &str) -> String {
    format!("postgres://{USER}@127.0.0.1:{}/{name}", postgres.port)
}

/// Three shards, each a database of one server.
fn start(postgres: &Postgres) -> Shardd {
    let shards =
        ["s1", "s2", "s3"].map(|name| format!("[[shards]]\nname = '{name}'\nurl = '{}'\n", url(postgres, name)));
    Shardd::start_with(&format!(
        "{}[[keyspaces]]\nname = 'main'\nkey_column = 'event_id'\nkey_type = 'bigint'\n",
        shards.concat()
    ))
}

fn shardctl(shardd: &Shardd, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardctl"));
    let output = command.args(arguments).env("SHARDCTL_URL", shardd.admin_url()).output().expect("shardctl runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
}

fn diff(shardd: &Shardd) -> (i32, Json) {
    let (code, stdout, stderr) = shardctl(shardd, &["schema", "diff", "-o", "json"]);
    (code, serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}")))
}

fn key_on(shardd: &Shardd, shard: &str) -> u32 {
    shardd.keys_on("seats", shard, 1)[0]
}

fn refused(client: &mut Client, sql: &str) -> (String, String) {
    let answer = client.query(sql);
    let error = answer.error.unwrap_or_else(|| panic!("{sql} was done"));
    (error.sqlstate().to_owned(), format!("{} | {} | {}", error.message(), error.detail(), error.hint()))
}

#[test]
fn only_what_would_be_wrong_is_refused_and_only_where() {
    let postgres = Postgres::start();
    let mut servers = ["s1", "s2", "s3"].map(|name| database(&postgres, name, TABLES));
    servers[1].run("ALTER TABLE seats ALTER COLUMN price SET DEFAULT 7");
    let shardd = start(&postgres);
    let [one, two, three] = ["s1", "s2", "s3"].map(|shard| key_on(&shardd, shard));
    let mut client = shardd.client();

    let (code, found) = diff(&shardd);
    assert_eq!((code, found["alike"].as_bool()), (1, Some(false)), "{found}");
    let worst = &found["findings"][0];
    assert_eq!(worst["severity"], "writes_would_be_wrong", "{found}");
    assert_eq!(worst["table"], "seats");
    assert_eq!(worst["message"], "table \"seats\": the default of column \"price\" is 5 on s1 and 7 on s2");
    assert!(shardd.log().contains("the default of column"), "{}", shardd.log());
    let metrics = shardd.admin(&crate::support::shardd::Request::get("/metrics")).text();
    assert!(metrics.contains("shardd_schema_findings{severity=\"writes_would_be_wrong\"} 1"), "{metrics}");

    // The majority is right; on s2 what does not leave the column to it goes on.
    for key in [one, three] {
        client.run(&format!("INSERT INTO seats (event_id, seat) VALUES ({key}, 1)"));
    }
    let (sqlstate, told) = refused(&mut client, &format!("INSERT INTO seats (event_id, seat) VALUES ({two}, 1)"));
    assert_eq!(sqlstate, "55000");
    assert!(
        told.contains("\"s2\"") && told.contains("default of column \"price\"") && told.contains("schema diff"),
        "{told}"
    );
    let (sqlstate, _) = refused(&mut client, &format!("UPDATE seats SET price = DEFAULT WHERE event_id = {two}"));
    assert_eq!(sqlstate, "55000");
    client.run(&format!("INSERT INTO seats (event_id, seat, price) VALUES ({two}, 1, 3)"));
    client.run(&format!("UPDATE seats SET price = 4 WHERE event_id = {two}"));
    assert_eq!(client.query("SELECT count(*) FROM seats").value(), "3");
    client.run(&format!("DELETE FROM seats WHERE event_id = {two}"));

    // Mended on the server, and read anew.
    servers[1].run("ALTER TABLE seats ALTER COLUMN price SET DEFAULT 5");
    let (code, found) = diff(&shardd);
    assert!(code == 0 && found["alike"] == true, "{found}");
    client.run(&format!("INSERT INTO seats (event_id, seat) VALUES ({two}, 1)"));
}

#[test]
fn columns_and_tables_that_differ_are_refused_with_the_shards_name() {
    let postgres = Postgres::start();
    let mut servers = ["s1", "s2", "s3"].map(|name| database(&postgres, name, TABLES));
    servers[2].run("ALTER TABLE seats ALTER COLUMN price TYPE bigint");
    servers[0].run("DROP TABLE venues");
    let shardd = start(&postgres);
    let (one, three) = (key_on(&shardd, "s1"), key_on(&shardd, "s3"));
    let mut client = shardd.client();
    client.run(&format!("INSERT INTO seats VALUES ({one}, 1, 2.50, 'sad')"));
    let (sqlstate, told) = refused(&mut client, &format!("INSERT INTO seats VALUES ({three}, 1, 2.50, 'sad')"));
    assert!(sqlstate == "55000" && told.contains("numeric(10,2) on s1 and bigint on s3"), "{told}");
    client.run(&format!("INSERT INTO seats (event_id, seat, mood) VALUES ({three}, 1, 'sad')"));
    // One shard's rows are its own; several shards' are not of one type.
    assert_eq!(client.query(&format!("SELECT price FROM seats WHERE event_id = {three}")).value(), "5");
    assert_eq!(refused(&mut client, "SELECT price FROM seats ORDER BY 1").0, "42P16");
    // A client that was told of one type is not sent another's bytes.
    let sql = "SELECT price FROM seats WHERE event_id = $1";
    let told = client.extended(sql, &[Value::text(one)]);
    assert_eq!((told.error.clone(), told.value()), (None, "2.50".to_owned()));
    let other = client.extended(sql, &[Value::text(three)]);
    assert_eq!(other.error.as_ref().map(|error| error.sqlstate().to_owned()).as_deref(), Some("55000"), "{other:?}");

    let (sqlstate, told) = refused(&mut client, "INSERT INTO venues VALUES (2, 'Arena')");
    assert!(sqlstate == "55000" && told.contains("table \"venues\" is missing on s1"), "{told}");
    servers[0].run("CREATE TABLE venues (venue_id int PRIMARY KEY, name text)");
    assert_eq!(diff(&shardd).0, 1);
    client.run("INSERT INTO venues VALUES (2, 'Arena')");
}

#[test]
fn an_enum_of_other_oids_is_told_as_text() {
    let postgres = Postgres::start();
    // OIDs are given out by the server, over all its databases.
    database(&postgres, "s1", TABLES);
    database(&postgres, "s2", TABLES);
    database(&postgres, "s3", TABLES);
    let shardd = start(&postgres);
    let mut client = shardd.client();
    for shard in ["s1", "s2", "s3"] {
        let key = key_on(&shardd, shard);
        let inserted = client.extended(
            "INSERT INTO seats (event_id, seat, mood) VALUES ($1, 1, $2)",
            &[Value::text(key), Value::Binary(b"happy".to_vec())],
        );
        assert_eq!(inserted.error, None);
        let read = client
            .try_extended(
                "SELECT mood FROM seats WHERE event_id = $1 AND mood = $2",
                &[],
                &[Value::text(key), Value::text("happy")],
                true,
            )
            .expect("an answer");
        assert_eq!(read.error, None);
        assert_eq!(read.columns.as_ref().map(|columns| columns[0].type_oid), Some(25));
    }
    assert_eq!(client.query("SELECT mood FROM seats ORDER BY event_id").texts().len(), 3);
    let array = client.query("SELECT ARRAY[mood] FROM seats ORDER BY event_id");
    assert_eq!(array.sqlstate(), "55000");
    let (code, found) = diff(&shardd);
    assert_eq!(
        (code, found["findings"][0]["hint"].as_str()),
        (0, Some("Clients are told that it is text.")),
        "{found}"
    );
}

#[test]
fn a_server_joins_when_it_is_like_the_others() {
    let postgres = Postgres::start();
    for name in ["s1", "s2", "s3"] {
        database(&postgres, name, TABLES);
    }
    let shardd = start(&postgres);
    let add = |name: &str, url: &str| shardctl(&shardd, &["add-shard", name, url]);
    let refused_because = |name: &str, url: &str, part: &str| {
        let (code, _, stderr) = add(name, url);
        assert!(code == 1 && stderr.contains(part), "{part}: {code} {stderr}");
    };
    refused_because("s4", "sqlite:s4.db", "all of one kind");
    refused_because("s4", &url(&postgres, "nowhere"), "nowhere");
    refused_because(
        "s4",
        &format!("{}?application_name=x", url(&postgres, "s2")),
        "leads to the database of shard \"s2\"",
    );
    let mut fourth = database(&postgres, "s4", "CREATE TYPE mood AS ENUM ('sad', 'happy')");
    refused_because("s4", &url(&postgres, "s4"), "table \"seats\" is missing on s4");
    fourth.run(&TABLES[TABLES.find("CREATE TABLE seats").expect("a table")..TABLES.find("INSERT").expect("an insert")]);
    fourth.run("INSERT INTO venues VALUES (1, 'Another')");
    refused_because("s4", &url(&postgres, "s4"), "the rows of the reference table \"venues\" on shard \"s4\"");
    fourth.run("UPDATE venues SET name = 'Hall'");
    fourth.run("INSERT INTO seats VALUES (1, 1)");
    refused_because("s4", &url(&postgres, "s4"), "holds rows of the sharded table");
    fourth.run("DELETE FROM seats");
    // What was refused left nothing behind.
    assert_eq!(
        serde_json::from_str::<Json>(&shardctl(&shardd, &["shards", "-o", "json"]).1)
            .expect("JSON")
            .as_array()
            .map(Vec::len),
        Some(3)
    );

    let (code, _, stderr) = add("s4", &url(&postgres, "s4"));
    assert_eq!(code, 0, "{stderr}");
    let mut client = shardd.client();
    client.run("INSERT INTO venues VALUES (2, 'Arena')");
    assert_eq!(fourth.query("SELECT count(*) FROM venues").value(), "2");
    let described: Json = serde_json::from_str(&shardctl(&shardd, &["describe", "s4", "-o", "json"]).1).expect("JSON");
    assert_eq!(
        (described["state"].as_str(), described["slots"][0]["slots"].as_u64()),
        (Some("up"), Some(0)),
        "{described}"
    );
    let tables = shardctl(&shardd, &["tables"]).1;
    assert!(tables.contains("sharded") && tables.contains("reference"), "{tables}");
}
