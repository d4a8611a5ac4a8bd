//! Sharded tables carry their guards, whatever is done to them, and `verify` finds what is wrong with guards and rows.

use std::process::Command;

use serde_json::Value as Json;

use crate::support::client::USER;
use crate::support::shardd::Request;
use crate::support::{Client, Postgres, Shardd};

const FOREIGN: &str = "40001";
const TABLES: &str = "[[keyspaces]]\nname = 'main'\nkey_column = 'event_id'\nkey_type = 'bigint'\n";
const SEATS: &str =
    "CREATE TABLE seats (event_id bigint NOT NULL, seat int NOT NULL, status text, PRIMARY KEY (event_id, seat))";

fn shardctl(shardd: &Shardd, arguments: &[&str]) -> (Option<i32>, String) {
    let mut shardctl = Command::new(env!("CARGO_BIN_EXE_shardctl"));
    let output = shardctl.args(["--url", &shardd.admin_url()]).args(arguments).output().expect("shardctl runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn verify(shardd: &Shardd, arguments: &[&str]) -> (Option<i32>, Json) {
    let (code, text) = shardctl(shardd, &[&["verify", "-o", "json"], arguments].concat());
    (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// (shard, table, problem) of all that is wrong.
fn flaws(verification: &Json) -> Vec<(String, String, String)> {
    let text = |flaw: &Json, member: &str| flaw[member].as_str().unwrap_or("").to_owned();
    let flaws = verification["flaws"].as_array().expect("flaws").iter();
    flaws.map(|flaw| (text(flaw, "shard"), text(flaw, "table"), text(flaw, "problem"))).collect()
}

fn assert_clean(shardd: &Shardd) {
    let (code, found) = verify(shardd, &[]);
    assert_eq!((code, found["right"].as_bool()), (Some(0), Some(true)), "{found}");
    assert_eq!(flaws(&found), []);
}

fn start() -> (Postgres, Shardd) {
    let postgres = Postgres::start();
    let shardd = Shardd::start_over_with(&postgres, TABLES);
    (postgres, shardd)
}

/// A server of its own, with one key of each shard in `seats`; its first shard's client, a key of that one and a foreign one.
fn seats() -> (Postgres, Shardd, Client, u32, u32) {
    let (postgres, shardd) = start();
    let mut client = shardd.client();
    client.run(SEATS);
    let [own, foreign] = ["s1", "s2"].map(|shard| shardd.keys_on("seats", shard, 1)[0]);
    client.run(&format!("INSERT INTO seats VALUES ({own}, 1, 'free'), ({foreign}, 1, 'free')"));
    let direct = postgres.client_of("s1");
    (postgres, shardd, direct, own, foreign)
}

fn write(client: &mut Client, table: &str, column: &str, key: u32) -> String {
    client
        .query(&format!("INSERT INTO {table} ({column}, seat) VALUES ({key}, 77)"))
        .error
        .map_or_else(String::new, |error| error.sqlstate().to_owned())
}

/// The table on this server is guarded: a foreign row is refused, and an own one goes.
fn assert_guarded(client: &mut Client, table: &str, column: &str, own: u32, foreign: u32) {
    assert_eq!(write(client, table, column, foreign), FOREIGN, "{table}");
    assert_eq!(write(client, table, column, own), "", "{table}");
    client.run(&format!("DELETE FROM {table} WHERE {column} = {own} AND seat = 77"));
}

#[test]
fn who_writes_round_shardd_writes_own_rows_only() {
    let (_postgres, shardd, mut direct, own, foreign) = seats();
    direct.run("CREATE VIEW free AS SELECT * FROM seats WHERE status = 'free'");
    direct.run(
        "CREATE FUNCTION sell(bigint) RETURNS void LANGUAGE sql AS 'INSERT INTO seats VALUES ($1, 7, ''sold'')'; \
         CREATE SCHEMA evil; CREATE FUNCTION evil.eq(int, int) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
         CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.eq)",
    );
    for way in [
        format!("INSERT INTO seats VALUES ({foreign}, 5, 'free')"),
        format!("INSERT INTO seats VALUES ({own}, 5, 'free'), ({foreign}, 5, 'free')"),
        format!("INSERT INTO free VALUES ({foreign}, 5, 'free')"),
        format!("UPDATE seats SET event_id = {foreign}"),
        format!("COPY seats FROM PROGRAM 'echo {foreign},5,free' WITH (FORMAT csv)"),
        format!("SELECT sell({foreign})"),
        format!("WITH made AS (INSERT INTO seats VALUES ({foreign}, 5, 'free') RETURNING 1) SELECT * FROM made"),
        format!("SET LOCAL session_replication_role = replica; INSERT INTO seats VALUES ({foreign}, 5, 'free')"),
        format!("SET LOCAL search_path = evil, pg_catalog, public; INSERT INTO seats VALUES ({foreign}, 5, 'free')"),
        format!(
            "MERGE INTO seats s USING (SELECT {foreign} AS event_id) n ON s.event_id = n.event_id \
             WHEN NOT MATCHED THEN INSERT VALUES (n.event_id, 5, 'x')"
        ),
    ] {
        direct.run("BEGIN");
        let answer = direct.simple(&way).pop().expect("an answer");
        let error = answer.error.unwrap_or_else(|| panic!("{way} was done"));
        assert_eq!(error.sqlstate(), FOREIGN, "{way}");
        assert!(error.message().starts_with("shardd: this row belongs to another shard"), "{}", error.message());
        assert!(error.hint().contains("run the whole transaction again"), "{}", error.hint());
        direct.run("ROLLBACK");
    }
    for way in [
        format!("INSERT INTO seats VALUES ({own}, 5, 'free')"),
        format!("UPDATE seats SET status = 'sold' WHERE event_id = {own}"),
        format!("DELETE FROM seats WHERE event_id = {own} AND seat = 5"),
    ] {
        direct.run(&way);
    }
    assert_clean(&shardd);
}

#[test]
fn a_row_that_the_map_sends_to_a_shard_which_refuses_it_is_told_so() {
    let (_postgres, shardd, mut direct, own, _) = seats();
    let mut client = shardd.client();
    // As if the slots had been given away behind the map's back.
    let function = direct
        .query("SELECT tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'seats'::regclass AND tgname = 'shardd_guard'")
        .value();
    direct.run(&format!(
        "DO $$ BEGIN EXECUTE (SELECT regexp_replace(pg_get_functiondef('{function}'::regproc), '[0-9a-f]{{200}}[0-9a-f]*', repeat('00', 2048), 'g')); END $$"
    ));
    let answer = client.query(&format!("UPDATE seats SET status = 'x' WHERE event_id = {own}"));
    assert_eq!(answer.sqlstate(), FOREIGN);
    client.run("BEGIN");
    assert_eq!(client.query(&format!("DELETE FROM seats WHERE event_id = {own}")).sqlstate(), FOREIGN);
    assert_eq!(client.query("SELECT 1").sqlstate(), "25P02", "the transaction is not tried again by itself");
    client.run("ROLLBACK");
    let (code, found) = verify(&shardd, &[]);
    assert_eq!(
        (code, flaws(&found)),
        (Some(1), vec![("s1".into(), "seats".into(), "guard_altered".into())]),
        "{found}"
    );
    let (code, found) = verify(&shardd, &["--repair"]);
    assert_eq!((code, found["flaws"][0]["repaired"].as_bool()), (Some(0), Some(true)), "{found}");
    client.run(&format!("UPDATE seats SET status = 'x' WHERE event_id = {own}"));
    assert_clean(&shardd);
}

#[test]
fn changes_of_the_schema_keep_the_guards() {
    let (postgres, shardd, mut direct, own, foreign) = seats();
    let mut client = shardd.client();
    for change in [
        "ALTER TABLE seats ADD COLUMN note text",
        "ALTER TABLE seats DROP COLUMN note",
        "ALTER TABLE seats ALTER COLUMN event_id TYPE int",
        "CREATE INDEX by_status ON seats (status)",
        "ALTER TABLE seats DISABLE TRIGGER USER",
        "ALTER TABLE seats DISABLE TRIGGER ALL",
        "ALTER TABLE seats ENABLE TRIGGER ALL",
    ] {
        client.run(change);
        assert_guarded(&mut direct, "seats", "event_id", own, foreign);
        assert_clean(&shardd);
    }
    client.run("ALTER TABLE seats RENAME TO places");
    assert_guarded(&mut direct, "places", "event_id", own, foreign);
    client.run(SEATS);
    assert_guarded(&mut direct, "seats", "event_id", own, foreign);
    assert_guarded(&mut direct, "places", "event_id", own, foreign);
    for sql in [
        "CREATE TABLE copied (LIKE seats INCLUDING ALL)",
        "CREATE TABLE parted (event_id bigint NOT NULL, seat int NOT NULL) PARTITION BY RANGE (seat)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (50)",
        "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (50) TO (100)",
        "CREATE TABLE parted_3 (LIKE parted INCLUDING ALL)",
        "ALTER TABLE parted ATTACH PARTITION parted_3 FOR VALUES FROM (100) TO (150)",
        "ALTER TABLE parted DETACH PARTITION parted_2",
    ] {
        client.run(sql);
    }
    assert_clean(&shardd);
    assert_guarded(&mut direct, "parted_2", "event_id", own, foreign);
    client.run("ALTER TABLE public.parted ATTACH PARTITION public.parted_2 FOR VALUES FROM (50) TO (100)");
    assert_clean(&shardd);
    for table in ["copied", "parted", "parted_2"] {
        assert_guarded(&mut direct, table, "event_id", own, foreign);
    }
    client.run("BEGIN; CREATE TABLE gone (event_id bigint NOT NULL, seat int); ROLLBACK");
    client.run("BEGIN; DROP TABLE copied; CREATE TABLE copied (event_id int NOT NULL, seat int); COMMIT");
    assert_guarded(&mut direct, "copied", "event_id", own, foreign);
    assert_eq!(write(&mut direct, "shardd_kv", "key", foreign), "42703");
    assert_clean(&shardd);
    for refused in [
        "ALTER TABLE seats DISABLE TRIGGER shardd_guard",
        "ALTER TABLE seats ENABLE REPLICA TRIGGER shardd_guard",
        "DROP TRIGGER shardd_guard ON seats",
    ] {
        assert_eq!(client.query(refused).sqlstate(), "0A000", "{refused}");
    }
    client.run("DROP TABLE places, parted, copied, seats");
    // shardd's next change of the schema takes what is left of them along.
    client.run("CREATE TABLE after (event_id bigint NOT NULL, seat int)");
    let functions = "SELECT string_agg(substring(proname from '^guard_(.*)_'), ',' ORDER BY 1) FROM pg_proc \
                     WHERE pronamespace = 'shardd'::regnamespace AND proname LIKE 'guard\\_%'";
    let mut left = postgres.client_of("s2").query(functions).value();
    left.retain(|c| c != ' ');
    assert!(left.contains("after") && !left.contains("places") && !left.contains("parted"), "{left}");
}

#[test]
fn a_table_that_is_made_another_kind_gets_and_loses_its_guard() {
    let (_postgres, shardd, mut direct, own, foreign) = seats();
    let mut client = shardd.client();
    client.run("CREATE TABLE venues (venue bigint PRIMARY KEY, seat int)");
    assert_eq!(write(&mut direct, "venues", "venue", 1_000), "", "a reference table has none");
    direct.run("DELETE FROM venues");
    let (code, told) = shardctl(&shardd, &["table", "shard", "venues", "--key", "venue"]);
    assert_eq!(code, Some(0), "{told}");
    assert_guarded(&mut direct, "venues", "venue", own, foreign);
    assert_clean(&shardd);
    let (code, told) = shardctl(&shardd, &["table", "reference", "venues"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(write(&mut direct, "venues", "venue", foreign), "");
    direct.run("DELETE FROM venues");
    assert_clean(&shardd);
}

#[test]
fn a_start_puts_guards_right_that_are_missing_or_were_altered() {
    let (postgres, mut shardd, mut direct, own, foreign) = seats();
    shardd
        .client()
        .run("CREATE TABLE halls (event_id bigint NOT NULL, seat int); CREATE TABLE rows (event_id bigint NOT NULL, seat int)");
    assert!(shardd.stop().success());
    let function =
        "SELECT tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'seats'::regclass AND tgname = 'shardd_guard'";
    let function = direct.query(function).value();
    direct.run(&format!(
        "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         DROP TRIGGER shardd_guard ON halls; ALTER TABLE rows DISABLE TRIGGER shardd_guard"
    ));
    // A table that no shardd has seen.
    for shard in ["s1", "s2", "s3"] {
        postgres.client_of(shard).run("CREATE TABLE made (event_id bigint, seat int)");
    }
    for table in ["seats", "halls", "rows", "made"] {
        assert_eq!(write(&mut direct, table, "event_id", foreign), "", "{table}");
        direct.run(&format!("DELETE FROM {table} WHERE event_id = {foreign}"));
    }
    shardd.launch();
    for table in ["seats", "halls", "rows", "made"] {
        assert_guarded(&mut direct, table, "event_id", own, foreign);
    }
    let log = shardd.log();
    for told in ["the guard had been altered", "the guard was missing", "the guard was disabled"] {
        assert!(log.contains(told), "{told}: {log}");
    }
    assert_clean(&shardd);
}

#[test]
fn verify_finds_every_planted_fault_and_repairs_what_is_safe() {
    let (_postgres, shardd, mut direct, own, foreign) = seats();
    shardd.client().run("CREATE TABLE notes (event_id bigint NOT NULL, seat int)");
    direct.run("ALTER TABLE notes ALTER event_id DROP NOT NULL");
    direct.run("ALTER TABLE seats DISABLE TRIGGER shardd_guard");
    direct.run(&format!("INSERT INTO seats SELECT {foreign}, n FROM generate_series(100, 109) n"));
    direct.run("DROP TRIGGER shardd_guard ON notes");
    direct.run("INSERT INTO notes VALUES (NULL, 1)");
    let (code, found) = verify(&shardd, &[]);
    let on_s1 = |table: &str, problem: &str| ("s1".to_owned(), table.to_owned(), problem.to_owned());
    let rows = [on_s1("notes", "rows_without_key"), on_s1("seats", "rows_outside")];
    let guards = [on_s1("notes", "guard_missing"), on_s1("seats", "guard_disabled")];
    let mut told = flaws(&found);
    told.sort();
    let mut expected = [&guards[..], &rows[..]].concat();
    expected.sort();
    assert_eq!((code, told), (Some(1), expected), "{found}");
    let outside = found["flaws"].as_array().expect("flaws").iter().find(|flaw| flaw["problem"] == "rows_outside");
    let outside = outside.expect("rows outside");
    assert_eq!((outside["rows"].as_u64(), outside["keys"][0].as_str()), (Some(10), Some(&*foreign.to_string())));
    let (code, text) = shardctl(&shardd, &["verify", "notes"]);
    assert_eq!((code, text.contains("it has no guard"), text.contains("seats")), (Some(1), true, false), "{text}");
    assert_eq!(shardctl(&shardd, &["verify", "nowhere"]).0, Some(4));

    let (code, found) = verify(&shardd, &["--repair"]);
    assert_eq!(code, Some(1), "rows are not touched: {found}");
    let mut told = flaws(&verify(&shardd, &[]).1);
    told.sort();
    assert_eq!(told, rows);
    assert_guarded(&mut direct, "notes", "event_id", own, foreign);
    // What is nobody's can be taken away through the guard; what is another shard's, by who puts the guard aside.
    direct.run("DELETE FROM notes WHERE event_id IS NULL");
    assert_eq!(direct.query(&format!("DELETE FROM seats WHERE event_id = {foreign}")).sqlstate(), FOREIGN);
    direct.run(&format!(
        "BEGIN; ALTER TABLE seats DISABLE TRIGGER shardd_guard; DELETE FROM seats WHERE event_id = {foreign}; \
         ALTER TABLE seats ENABLE ALWAYS TRIGGER shardd_guard; COMMIT"
    ));
    let (code, text) = shardctl(&shardd, &["verify"]);
    assert_eq!((code, text.lines().count()), (Some(0), 1), "{text}");
    assert!(text.starts_with("All is right: 4 sharded tables on 3 shards, "), "{text}");
}

#[test]
fn a_guard_that_is_altered_meanwhile_is_not_put_right_by_what_was_read() {
    let (_postgres, shardd, mut direct, own, _) = seats();
    direct.run("ALTER TABLE seats DISABLE TRIGGER shardd_guard");
    // As a fence does: the function is altered under the table's lock, which the repair waits for.
    direct.run("BEGIN; LOCK TABLE seats IN EXCLUSIVE MODE");
    direct.run(
        "DO $$ BEGIN EXECUTE (SELECT regexp_replace(pg_get_functiondef(tgfoid), '[0-9a-f]{200}[0-9a-f]*', repeat('00', 2048), 'g') \
         FROM pg_trigger WHERE tgrelid = 'seats'::regclass AND tgname = 'shardd_guard'); END $$",
    );
    let (code, found) = std::thread::scope(|scope| {
        let repair = scope.spawn(|| verify(&shardd, &["--repair"]));
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'seats'::regclass";
        while direct.query(waits).value() == "0" {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        direct.run("COMMIT");
        repair.join().expect("verified")
    });
    assert_eq!(code, Some(1), "{found}");
    assert!(found.to_string().contains("its guard was altered meanwhile"), "{found}");
    direct.run("ALTER TABLE seats ENABLE ALWAYS TRIGGER shardd_guard");
    assert_eq!(write(&mut direct, "seats", "event_id", own), FOREIGN, "it stays fenced");
}

#[test]
fn guards_that_agree_with_one_another_are_not_given_an_older_map() {
    let (postgres, mut shardd, mut direct, own, _) = seats();
    assert!(shardd.stop().success());
    // As after a move that the catalog's copy does not know: s1's slots are all s2's.
    let alter = |client: &mut Client, slots: &str| {
        let function =
            "SELECT tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'seats'::regclass AND tgname = 'shardd_guard'";
        let function = client.query(function).value();
        client.run(&format!(
            "DO $$ BEGIN EXECUTE (SELECT regexp_replace(pg_get_functiondef('{function}'::regproc), '[0-9a-f]{{200}}[0-9a-f]*', repeat('{slots}', 2048), 'g')); END $$"
        ));
    };
    alter(&mut direct, "00");
    alter(&mut postgres.client_of("s2"), "ff");
    shardd.launch();
    assert!(shardd.log().contains("the guards do not agree with the topology"), "{}", shardd.log());
    assert_eq!(write(&mut direct, "seats", "event_id", own), FOREIGN);
    assert_eq!(write(&mut postgres.client_of("s2"), "seats", "event_id", own), "");
    let (code, found) = verify(&shardd, &["--repair"]);
    let problems = flaws(&found);
    assert_eq!(code, Some(1), "{found}");
    assert!(problems.contains(&("s1".into(), "seats".into(), "guards_contested".into())), "{found}");
}

#[test]
fn a_dumped_table_is_guarded_where_it_is_restored() {
    let (postgres, shardd, _direct, own, foreign) = seats();
    postgres.copy_tables("s1", "s4", 4);
    let url = format!("postgres://{USER}@127.0.0.1:{}/s4", postgres.port);
    let (code, told) = shardctl(&shardd, &["add-shard", "s4", &url]);
    assert_eq!(code, Some(0), "{told}");
    let mut joined = postgres.client_of("s4");
    for key in [own, foreign] {
        assert_eq!(write(&mut joined, "seats", "event_id", key), FOREIGN, "it owns no slots yet");
    }
    assert_clean(&shardd);
}

#[test]
fn a_table_of_another_role_is_served_and_told_as_unguarded() {
    let postgres = Postgres::start();
    let shards = postgres.make_shards(2);
    postgres.client().run("CREATE ROLE keeper LOGIN; CREATE ROLE owner");
    let mut configuration = TABLES.to_owned();
    for shard in &shards {
        let mut client = postgres.client_of(shard);
        client.run(&format!("GRANT CREATE ON DATABASE {shard} TO keeper; GRANT CREATE ON SCHEMA public TO keeper"));
        client.run("CREATE TABLE theirs (event_id bigint, seat int); ALTER TABLE theirs OWNER TO owner; GRANT ALL ON theirs TO keeper");
        let url = format!("postgres://keeper@127.0.0.1:{}/{shard}", postgres.port);
        configuration += &format!("[[shards]]\nname = '{shard}'\nurl = '{url}'\n");
    }
    let shardd = Shardd::start_with(&configuration);
    shardd.client().run("INSERT INTO theirs VALUES (1, 1), (2, 1), (3, 1)");
    let (code, found) = verify(&shardd, &["--repair"]);
    assert_eq!(code, Some(1));
    assert!(flaws(&found).contains(&("s1".into(), "theirs".into(), "not_repaired".into())), "{found}");
    assert!(found.to_string().contains("does not own"), "{found}");
    assert!(shardd.log().contains("cannot be put right now"), "{}", shardd.log());
}

/// Without shardd's functions nothing can be written to the tables of a shard's file.
#[test]
fn no_other_program_writes_to_a_file_s_tables() {
    let mut shardd = Shardd::start_with(TABLES);
    let mut client = shardd.client();
    client.run(SEATS);
    client.run("INSERT INTO seats SELECT n, 1, 'free' FROM generate_series(1, 50) n");
    client.run("CREATE TABLE venues (id int PRIMARY KEY, name text)");
    client.run("UPDATE seats SET status = 'sold' WHERE event_id = 5");
    client.run("UPDATE seats SET event_id = event_id + 100 WHERE event_id = 6");
    client.run("DELETE FROM seats WHERE event_id = 7");
    for change in [
        "ALTER TABLE seats ADD COLUMN note text",
        "ALTER TABLE seats ALTER COLUMN note TYPE text USING upper(note)",
        "ALTER TABLE seats ALTER COLUMN note SET NOT NULL",
        "ALTER TABLE seats RENAME TO places",
        "ALTER TABLE places RENAME TO seats",
        "CREATE INDEX by_status ON seats (status)",
    ] {
        let answer = client.query(change);
        assert!(answer.error.is_none() || change.contains("NOT NULL"), "{change}: {:?}", answer.error);
        assert_clean(&shardd);
    }
    assert!(shardd.stop().success());
    let file = std::fs::read_dir(shardd.data_dir().join("shards")).ok();
    let file = file.into_iter().flatten().chain(std::fs::read_dir(shardd.data_dir()).expect("a directory"));
    let is_shard = |path: &std::path::PathBuf| {
        let Ok(connection) = rusqlite::Connection::open(path) else { return false };
        connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'seats'", [], |row| row.get::<_, i64>(0))
            == Ok(1)
    };
    let files: Vec<_> =
        file.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).filter(is_shard).collect();
    assert!(!files.is_empty());
    for file in &files {
        let connection = rusqlite::Connection::open(file).expect("the file opens");
        for write in
            ["INSERT INTO seats (event_id, seat) VALUES (5, 9)", "UPDATE seats SET status = 'x'", "DELETE FROM seats"]
        {
            let error = connection.execute(write, []).expect_err(write).to_string();
            assert!(error.contains("no such function: shardd_guard"), "{write}: {error}");
        }
        connection.execute("INSERT INTO venues (id) VALUES (1)", []).expect("a reference table has no guard");
        connection.execute("DELETE FROM venues", []).expect("deleted");
    }
    // What somebody does to the triggers and the slots is put right by the next start.
    let connection = rusqlite::Connection::open(&files[0]).expect("the file opens");
    connection
        .execute_batch("DROP TRIGGER shardd_guard_seats_insert; UPDATE shardd_guard SET slots = zeroblob(2048)")
        .expect("done");
    drop(connection);
    shardd.launch();
    assert!(shardd.log().contains("the guard had been altered"), "{}", shardd.log());
    assert_clean(&shardd);
    let mut client = shardd.client();
    client.run("INSERT INTO seats (event_id, seat, note) SELECT n, 2, '' FROM generate_series(1, 50) n");
    assert_clean(&shardd);
    let entries = shardd.admin(&Request::get("/v1/tables"));
    assert!(entries.text().contains("shardd_kv"));
}

#[test]
fn a_file_s_rows_that_belong_elsewhere_are_found() {
    let mut shardd = Shardd::start_with(TABLES);
    shardd.client().run(SEATS);
    let foreign = shardd.keys_on("seats", "shard-2", 1)[0];
    assert!(shardd.stop().success());
    let file = shardd.data_dir().join("shard-1.db");
    let connection = rusqlite::Connection::open(&file).expect("the file opens");
    connection
        .execute_batch(&format!(
            "DROP TRIGGER shardd_guard_seats_insert; \
             INSERT INTO seats (event_id, seat) VALUES ({foreign}, 1)"
        ))
        .expect("planted");
    drop(connection);
    shardd.launch();
    let (code, found) = verify(&shardd, &[]);
    let mut told = flaws(&found);
    told.sort();
    let on_1 = |table: &str, problem: &str| ("shard-1".to_owned(), table.to_owned(), problem.to_owned());
    assert_eq!((code, told), (Some(1), vec![on_1("seats", "rows_outside")]), "{found}");
    assert!(found.to_string().contains(&format!("\"keys\":[\"{foreign}\"]")), "{found}");
    let refused = shardd.client().query("DELETE FROM seats");
    assert_eq!(refused.sqlstate(), FOREIGN);
}
