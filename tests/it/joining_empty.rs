//! An empty Postgres server joins as a shard: its schema, its reference rows, and what an interrupted attempt leaves.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value as Json;

use crate::support::client::{Client, USER, Value};
use crate::support::postgres::binary;
use crate::support::{Postgres, Shardd};

const RICH: &str = include_str!("../fixtures/joining.sql");

/// Few objects, of several kinds, with a circle of foreign keys.
const PLAIN: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE TABLE seats (event_id bigint NOT NULL, seat bigserial, mood mood, PRIMARY KEY (event_id, seat));
    ALTER SEQUENCE seats_seat_seq INCREMENT BY 1024;
    CREATE TABLE venues (venue_id int PRIMARY KEY, name text, best int);
    CREATE TABLE halls (hall_id int PRIMARY KEY, venue_id int NOT NULL REFERENCES venues);
    CREATE VIEW all_halls AS SELECT * FROM halls JOIN venues USING (venue_id);
    CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name := upper(NEW.name); RETURN NEW; END';
    INSERT INTO venues VALUES (1, 'Hall', 1), (2, 'Arena', NULL);
    INSERT INTO halls VALUES (1, 1);
    ALTER TABLE venues ADD FOREIGN KEY (best) REFERENCES halls;
    CREATE TRIGGER stamped BEFORE INSERT ON venues FOR EACH ROW EXECUTE FUNCTION stamp()";

/// Runs a file's worth of SQL on a new database, as psql does.
fn database(postgres: &Postgres, name: &str, sql: &str) {
    postgres.client().run(&format!("CREATE DATABASE {name}"));
    let file = postgres.directory().join(format!("{name}.sql"));
    std::fs::write(&file, sql).expect("written");
    let mut psql = Command::new("psql");
    psql.args(["--host=127.0.0.1", &format!("--port={}", postgres.port), &format!("--username={USER}")]);
    let loaded =
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file).arg(name).output().expect("psql runs");
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
}

fn dump(postgres: &Postgres, name: &str) -> Vec<String> {
    let mut dump = Command::new(binary("pg_dump"));
    dump.args(["--host=127.0.0.1", &format!("--port={}", postgres.port), &format!("--username={USER}")]);
    let dumped = dump.args(["--schema-only", "--exclude-schema=shardd", name]).output().expect("pg_dump runs");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    String::from_utf8(dumped.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

fn url(postgres: &Postgres, name: &str) -> String {
    format!("postgres://{USER}@127.0.0.1:{}/{name}", postgres.port)
}

/// A cluster of one shard, `s1`, with this schema; an empty database `s2`.
fn start(postgres: &Postgres, sql: &str) -> Shardd {
    database(postgres, "s1", sql);
    postgres.client().run("CREATE DATABASE s2");
    Shardd::start_on(postgres, &["s1".to_owned()], "")
}

fn shardctl(shardd: &Shardd, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardctl"));
    let output = command.args(arguments).env("SHARDCTL_URL", shardd.admin_url()).output().expect("shardctl runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
}

fn add(shardd: &Shardd, postgres: &Postgres) -> Json {
    let (code, stdout, stderr) = shardctl(shardd, &["add-shard", "s2", &url(postgres, "s2"), "-o", "json"]);
    assert_eq!(code, 0, "{stderr}{}", shardd.log());
    serde_json::from_str(&stdout).expect("JSON")
}

fn refusal(shardd: &Shardd, postgres: &Postgres) -> String {
    let (code, _, stderr) = shardctl(shardd, &["add-shard", "s2", &url(postgres, "s2")]);
    assert_eq!(code, 1, "{stderr}");
    stderr
}

/// Everything of a user's in a database but schemas.
fn objects(client: &mut Client) -> Vec<String> {
    let answer = client.query(
        "SELECT relname::text FROM pg_class WHERE oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace \
           AND relnamespace IS DISTINCT FROM to_regnamespace('shardd') \
         UNION SELECT typname FROM pg_type WHERE oid >= 16384 AND typnamespace IS DISTINCT FROM to_regnamespace('shardd') \
         UNION SELECT proname FROM pg_proc WHERE oid >= 16384 \
         UNION SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1",
    );
    answer.texts().into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
}

fn rows(client: &mut Client, table: &str) -> Vec<Vec<Option<String>>> {
    client.query(&format!("SELECT * FROM {table} AS t ORDER BY t::text")).texts()
}

#[test]
fn a_rich_schema_is_copied_as_pg_dump_sees_it() {
    let postgres = Postgres::start();
    postgres.client().run("CREATE ROLE reader");
    postgres.client().run("CREATE ROLE \"Odd Role\"");
    let shardd = start(&postgres, RICH);
    postgres.client_of("s1").run("CREATE PUBLICATION told FOR ALL TABLES");
    let added = add(&shardd, &postgres);
    assert_eq!(added["copied"]["reference_tables"], 5, "{added}");
    assert_eq!(added["copied"]["reference_rows"], 12, "{added}");
    let warnings = added["warnings"].to_string();
    assert!(warnings.contains("publication told"), "{warnings}");
    assert!(!warnings.contains("privileges"), "{warnings}");

    let of_first: Vec<String> =
        dump(&postgres, "s1").into_iter().filter(|line| !line.contains("PUBLICATION")).collect();
    let of_second = dump(&postgres, "s2");
    // The numbers of sharded tables' sequences are each shard's own.
    let of_second: Vec<String> = of_second.iter().map(|line| line.replace("START WITH 2", "START WITH 1")).collect();
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        // A list of varchars is printed in another way when it was read again.
        let skipped = |line: &str| line.starts_with("--") || line.starts_with('\\') || line.contains("= ANY (");
        these.iter().filter(|line| !skipped(line) && !those.contains(line)).cloned().collect()
    };
    assert_eq!((only(&of_first, &of_second), only(&of_second, &of_first)), (Vec::new(), Vec::new()));

    let (mut first, mut second) = (postgres.client_of("s1"), postgres.client_of("s2"));
    for table in ["countries", "cities", "everything", "bookings", "regions", "counted", "counted_again"] {
        let expected = rows(&mut first, table);
        assert!(!expected.is_empty(), "{table}");
        assert_eq!(rows(&mut second, table), expected, "{table}");
    }
    assert_eq!(second.query("SELECT last_value FROM cities_id_seq").value(), "3");
    assert_eq!(
        second.query("SELECT nextval('audit.tickets')").value(),
        first.query("SELECT nextval('audit.tickets')").value()
    );
    assert_eq!(second.query("SELECT to_regclass('shardd.joining') IS NULL").value(), "t");
    let (_, found, _) = shardctl(&shardd, &["schema", "diff", "-o", "json"]);
    let found: Json = serde_json::from_str(&found).expect("JSON");
    let findings = found["findings"].as_array().expect("findings");
    let wrong: Vec<_> = findings.iter().filter(|finding| finding["severity"] == "writes_would_be_wrong").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut client = shardd.client();
    client.run("INSERT INTO countries VALUES ('fr', 'France', 'Europe', NULL)");
    assert_eq!(second.query("SELECT name FROM countries WHERE code = 'fr'").value(), "FRANCE");
}

/// Statements in plain text and prepared ones, and transactions; where there is one shard, and where there are several.
#[test]
fn writes_go_on_while_a_shard_joins() {
    for others in [&[][..], &["s3"]] {
        writes_go_on(others);
    }
}

fn writes_go_on(others: &[&str]) {
    let postgres = Postgres::start();
    let mut shards = vec!["s1".to_owned()];
    let schema = format!(
        "{PLAIN}; CREATE FUNCTION touch() RETURNS void LANGUAGE plpgsql AS \
         'BEGIN UPDATE public.venues SET name = name || ''!'' WHERE venue_id = 1; END'"
    );
    database(&postgres, "s1", &schema);
    postgres.client().run("CREATE DATABASE s2");
    for (number, other) in others.iter().enumerate() {
        database(&postgres, other, &schema);
        postgres.client_of(other).run(&format!("ALTER SEQUENCE seats_seat_seq RESTART WITH {}", number + 2));
        shards.push((*other).to_owned());
    }
    let shardd = Shardd::start_on(&postgres, &shards, "");
    shardd.client().run("INSERT INTO venues SELECT n, repeat('x', 100) FROM generate_series(10, 60000) AS n");
    let done = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = shardd.client();
            let mut number = 100_000;
            while !done.load(Ordering::Relaxed) {
                let inserted =
                    client.extended("INSERT INTO venues VALUES ($1, $2)", &[Value::text(number), Value::text("new")]);
                assert_eq!(inserted.error, None);
                client.run(&format!("UPDATE venues SET name = 'changed' WHERE venue_id = {}", number % 50_000 + 10));
                client.run(&format!("INSERT INTO seats (event_id) VALUES ({number})"));
                number += 1;
            }
            number - 100_000
        });
        // It reads a sharded table, so that it is planned as a write to one is.
        scope.spawn(|| {
            let mut client = shardd.client();
            for number in (50_100..60_000).take_while(|_| !done.load(Ordering::Relaxed)) {
                let counted = "(SELECT count(*) FROM seats WHERE event_id = 1)";
                client.run(&format!(
                    "UPDATE venues SET name = {number} || ' of ' || {counted} WHERE venue_id = {number}"
                ));
            }
        });
        // What a function writes nobody sees before: it must not get through when the shard is there.
        let called = others.is_empty().then(|| {
            scope.spawn(|| {
                let mut client = shardd.client();
                while !done.load(Ordering::Relaxed) {
                    if let Some(error) = client.query("SELECT touch()").error {
                        return Some(error.sqlstate().to_owned());
                    }
                }
                None
            })
        });
        std::thread::sleep(Duration::from_millis(200));
        let added = add(&shardd, &postgres);
        assert!(added["copied"]["reference_rows"].as_u64().expect("a number") > 59_000, "{added}");
        std::thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::Relaxed);
        if let Some(called) = called {
            assert_eq!(called.join().expect("the calls end").as_deref(), Some("57014"));
        }
        writer.join().expect("the writer goes on")
    });
    assert!(written > 0);
    let (mut first, mut second) = (postgres.client_of("s1"), postgres.client_of("s2"));
    let (left, right) = (rows(&mut first, "venues"), rows(&mut second, "venues"));
    let only = |these: &[Vec<Option<String>>], those: &[Vec<Option<String>>]| -> Vec<Vec<Option<String>>> {
        let those: std::collections::BTreeSet<_> = those.iter().collect();
        these.iter().filter(|row| !those.contains(row)).cloned().collect()
    };
    assert_eq!((only(&left, &right), only(&right, &left)), (Vec::new(), Vec::new()));
    assert_eq!(first.query("SELECT count(*) FROM venues WHERE venue_id >= 100000").value(), written.to_string());
    assert_eq!(shardd.client().query("SELECT count(*) FROM seats").value(), written.to_string());
}

#[test]
fn a_crash_at_any_step_leaves_a_shard_or_none() {
    let postgres = Postgres::start();
    let mut shardd = start(&postgres, PLAIN);
    for step in ["join-made", "join-filled", "join-committed"] {
        shardd.stop();
        shardd.launch_with(&[("SHARDD_CRASH_AT", step)]);
        let (code, _, stderr) = shardctl(&shardd, &["add-shard", "s2", &url(&postgres, "s2")]);
        assert_ne!(code, 0, "{step}: {stderr}");
        shardd.crashed();
        shardd.launch();
        assert_eq!(shardd.shard_names(), ["s1"], "{step}");
        // What is there is not what the other shards hold any more.
        shardd.client().run("UPDATE venues SET name = name || '!' WHERE venue_id = 1");
    }
    let added = add(&shardd, &postgres);
    assert_eq!((&added["copied"]["tables"], &added["copied"]["reference_rows"]), (&3.into(), &3.into()), "{added}");
    let (mut first, mut second) = (postgres.client_of("s1"), postgres.client_of("s2"));
    assert_eq!(rows(&mut second, "venues"), rows(&mut first, "venues"));
    shardd.client().run("UPDATE venues SET name = 'after'");
    assert_eq!(rows(&mut second, "venues"), rows(&mut first, "venues"));
}

#[test]
fn a_crash_after_the_catalog_has_the_shard_leaves_the_shard() {
    let postgres = Postgres::start();
    let mut shardd = start(&postgres, PLAIN);
    shardd.stop();
    shardd.launch_with(&[("SHARDD_CRASH_AT", "join-added")]);
    assert_ne!(shardctl(&shardd, &["add-shard", "s2", &url(&postgres, "s2")]).0, 0);
    shardd.crashed();
    shardd.launch();
    assert_eq!(shardd.shard_names(), ["s1", "s2"]);
    shardd.client().run("UPDATE venues SET name = 'after'");
    let (mut first, mut second) = (postgres.client_of("s1"), postgres.client_of("s2"));
    assert_eq!(rows(&mut second, "venues"), rows(&mut first, "venues"));
    assert!(refusal(&shardd, &postgres).contains("there is a shard named"));
    assert_eq!(second.query("SELECT to_regclass('shardd.joining') IS NULL").value(), "t");
}

#[test]
fn what_an_attempt_has_left_is_removed_and_nothing_else_is() {
    let postgres = Postgres::start();
    let mut shardd = start(&postgres, PLAIN);
    shardd.stop();
    shardd.launch_with(&[("SHARDD_CRASH_AT", "join-committed")]);
    shardctl(&shardd, &["add-shard", "s2", &url(&postgres, "s2")]);
    shardd.crashed();
    shardd.launch();
    let mut second = postgres.client_of("s2");
    for (made, undone, told) in [
        ("INSERT INTO seats VALUES (1, 1)", "DELETE FROM seats", "public.seats has been written to"),
        (
            "UPDATE venues SET name = 'mine' WHERE venue_id = 2",
            "UPDATE venues SET name = 'Arena' WHERE venue_id = 2",
            "public.venues has been",
        ),
        ("CREATE VIEW mine AS SELECT * FROM venues", "DROP VIEW mine", "depend"),
        (
            "UPDATE shardd.joining SET cluster = 'x' || cluster",
            "UPDATE shardd.joining SET cluster = substr(cluster, 2)",
            "another cluster",
        ),
    ] {
        second.run(made);
        let before = objects(&mut second);
        let stderr = refusal(&shardd, &postgres);
        assert!(stderr.contains(told) && stderr.contains("empty database"), "{stderr}");
        assert_eq!(objects(&mut second), before);
        second.run(undone);
    }
    second.run("CREATE TABLE mine (a int)");
    second.run("INSERT INTO mine VALUES (1)");
    let stderr = refusal(&shardd, &postgres);
    assert!(stderr.contains("\"seats\" is missing on s2"), "{stderr}");
    assert_eq!(second.query("SELECT a FROM mine").value(), "1");
    second.run("DROP TABLE mine");
    add(&shardd, &postgres);
}

#[test]
fn what_cannot_be_copied_is_refused_by_name() {
    let postgres = Postgres::start();
    let shardd = start(&postgres, PLAIN);
    let (mut first, mut second) = (postgres.client_of("s1"), postgres.client_of("s2"));
    for (made, undone, told) in [
        (
            "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; \
             CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch()",
            "DROP EVENT TRIGGER watching; DROP FUNCTION watch()",
            "event trigger watching",
        ),
        ("CREATE COLLATION german (provider = icu, locale = 'de')", "DROP COLLATION german", "collation public.german"),
        (
            "CREATE TEXT SEARCH CONFIGURATION own (COPY = simple)",
            "DROP TEXT SEARCH CONFIGURATION own",
            "text search configuration public.own",
        ),
        (
            "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
            "DROP OPERATOR === (int, int)",
            "operator public.===(integer,integer)",
        ),
        ("CREATE CAST (mood AS int) WITH INOUT", "DROP CAST (mood AS int)", "cast from public.mood to integer"),
        (
            "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; \
             CREATE FOREIGN TABLE lines (line text) SERVER files OPTIONS (filename '/dev/null')",
            "DROP EXTENSION file_fdw CASCADE",
            "foreign table public.lines",
        ),
        (
            "UPDATE pg_extension SET extversion = '9.9' WHERE extname = 'plpgsql'",
            "UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'plpgsql'",
            "the extension \"plpgsql\" 9.9 is not to be had on the server of shard \"s2\" (there is 1.0)",
        ),
    ] {
        made.split("; ").for_each(|statement| first.run(statement));
        let stderr = refusal(&shardd, &postgres);
        assert!(stderr.contains(told) && stderr.contains("Nothing was added"), "{told}: {stderr}");
        undone.split("; ").for_each(|statement| first.run(statement));
        assert_eq!(objects(&mut second), Vec::<String>::new(), "{told}");
    }
    add(&shardd, &postgres);
}

#[test]
fn a_role_that_may_make_nothing_is_told_what_it_needs() {
    let postgres = Postgres::start();
    let shardd = start(&postgres, PLAIN);
    postgres.client().run("CREATE ROLE weak LOGIN");
    let weak = url(&postgres, "s2").replace(USER, "weak");
    let (code, _, stderr) = shardctl(&shardd, &["add-shard", "s2", &weak]);
    assert!(code == 1 && stderr.contains("permission denied") && stderr.contains("own the database"), "{stderr}");
    // The owner of a database may make everything here.
    postgres.client().run("ALTER DATABASE s2 OWNER TO weak");
    let (code, _, stderr) = shardctl(&shardd, &["add-shard", "s2", &weak]);
    assert!(code == 0 && stderr.contains("copied to it: 3 tables"), "{stderr}");
    assert!(stderr.contains("2 reference tables (3 rows)"), "{stderr}");
}

#[test]
fn empty_reference_tables_of_a_shard_that_has_tables_are_filled() {
    let postgres = Postgres::start();
    let shardd = start(&postgres, PLAIN);
    postgres.client().run("DROP DATABASE s2");
    postgres.copy_tables("s1", "s2", 2);
    let added = add(&shardd, &postgres);
    assert_eq!(added["copied"]["tables"], 0, "{added}");
    assert_eq!(added["copied"]["reference_rows"], 3, "{added}");
    let (mut first, mut second) = (postgres.client_of("s1"), postgres.client_of("s2"));
    // No trigger has changed them.
    assert_eq!(rows(&mut second, "venues"), rows(&mut first, "venues"));
    assert_eq!(second.query("SELECT name FROM venues WHERE venue_id = 1").value(), "Hall");
}
