//! A client of Postgres shards never finds what another left: whatever a session was changed by and however it ended, the
//! next one equals a fresh one.
//!
//! There is one shard and one thread, so the next client gets the connection that the last one used, unless that was closed.

use std::time::{Duration, Instant};

use crate::support::client::{Client, DATABASE, USER};
use crate::support::frames::Writer;
use crate::support::{PATIENCE, Postgres, Shardd};

/// Everything that a session can differ in, and that SQL shows. shardd's own prepared statements are its business.
const STATE: &str = "SELECT session_state()";
const STATE_FUNCTION: &str = "CREATE FUNCTION session_state() RETURNS text STABLE LANGUAGE sql AS $$ SELECT coalesce((SELECT string_agg(name || '=' || setting, ', ' ORDER BY name) \
   FROM pg_settings WHERE source = 'session' AND name NOT IN ('bytea_output', 'DateStyle', 'extra_float_digits', 'IntervalStyle', 'TimeZone')), '') \
 || ' | ' || current_setting('TimeZone') || ' ' || current_setting('DateStyle') || ' ' || current_setting('IntervalStyle') \
 || ' ' || current_setting('bytea_output') || ' ' || current_setting('extra_float_digits') \
 || ' | ' || current_user || ' ' || session_user || ' ' || current_setting('role') || ' ' || current_setting('search_path') \
 || ' | ' || (SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'shardd\\_%') \
 || ' | ' || (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) \
 || ' | ' || (SELECT count(*) FROM pg_listening_channels()) \
 || ' | ' || (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()) \
 || ' | ' || (SELECT count(*) FROM pg_cursors WHERE is_holdable) \
 || ' | ' || coalesce(current_setting('app.user', true), 'no app.user') \
 || ' | ' || coalesce(current_setting('hidden.value', true), 'no hidden.value') $$";

/// Ways to change a session: statements that are either undone or refused.
const CHANGES: &[&str] = &[
    "SET work_mem = '8MB'",
    "SET TimeZone = 'Asia/Tokyo'",
    "SET DateStyle = 'German, DMY'",
    "SET IntervalStyle = 'iso_8601'",
    "SET bytea_output = 'escape'",
    "SET extra_float_digits = 0",
    "SET search_path = public, other",
    "SET lock_timeout = '3s'",
    "SET statement_timeout = '30s'",
    "SET enable_seqscan = off",
    "SET default_transaction_read_only = on",
    "SET default_transaction_isolation = 'serializable'",
    "SET synchronous_commit = off",
    "SET app.user = 'alice'",
    "SELECT set_config('app.user', 'bob', false)",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET ROLE tenant",
    "SET SESSION AUTHORIZATION tenant",
    "PREPARE mine AS SELECT 1",
    "CREATE TEMP TABLE scratch (a int)",
    "CREATE TABLE pg_temp.scratch (a int)",
    "SELECT 1 AS a INTO TEMP scratch",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "LISTEN news",
    "SELECT pg_advisory_lock(7)",
    "SELECT pg_try_advisory_lock_shared(7)",
    "SELECT changes_a_setting()",
    "SELECT changes_by_text()",
    "SELECT takes_a_lock()",
    "SELECT makes_a_table()",
    "SELECT listens()",
    "SELECT holds_a_cursor()",
    "SELECT calls_another()",
    "INSERT INTO watched (id) VALUES (1)",
    "INSERT INTO filled (id) VALUES (1)",
    "UPDATE parent SET id = 2 WHERE id = 1",
    "SELECT * FROM seen",
    "SELECT query_to_xml('SELECT set_config(''hidden.value'', ''1'', false)', true, false, '')",
    "SELECT setseed(0.5)",
    "BEGIN; SET LOCAL shardd.key = '1'; DO $$ BEGIN PERFORM set_config('hidden.value', '1', false); END $$; COMMIT",
    "BEGIN; SET LOCAL shardd.key = '1'; CALL changes_it(); COMMIT",
    "BEGIN; SET LOCAL shardd.key = '1'; SELECT pg_advisory_xact_lock(7); COMMIT",
    "BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, 10); FETCH 2 FROM c; COMMIT",
];

/// Where a session began.
#[derive(Clone, Copy, Debug)]
enum Port {
    Transaction,
    Session,
}

/// How a session ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Cleanly,
    Killed,
    InTransaction,
    AfterError,
    AfterTimeout,
}

const ENDS: [End; 5] = [End::Cleanly, End::Killed, End::InTransaction, End::AfterError, End::AfterTimeout];

const SCHEMA: &str = "CREATE SCHEMA other; CREATE ROLE tenant; GRANT ALL ON SCHEMA public TO tenant; \
 CREATE TABLE rows (key bigint PRIMARY KEY, id bigint); \
 CREATE TABLE watched (key bigint DEFAULT 1, id bigint); CREATE TABLE filled (key bigint DEFAULT 1, id bigint, a text); \
 CREATE TABLE parent (key bigint DEFAULT 1, id bigint, UNIQUE (key, id)); INSERT INTO parent VALUES (1, 1); \
 CREATE TABLE child (key bigint DEFAULT 1, id bigint, FOREIGN KEY (key, id) REFERENCES parent (key, id) ON UPDATE CASCADE); \
 INSERT INTO child VALUES (1, 1); \
 CREATE FUNCTION changes_a_setting() RETURNS text LANGUAGE sql AS $$ SELECT set_config('hidden.value', '1', false) $$; \
 CREATE FUNCTION calls_another() RETURNS text LANGUAGE sql AS $$ SELECT changes_a_setting() $$; \
 CREATE FUNCTION changes_by_text() RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SE' || 'T hidden.value = 1'; RETURN 1; END $$; \
 CREATE FUNCTION takes_a_lock() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(9); RETURN 1; END $$; \
 CREATE FUNCTION makes_a_table() RETURNS int LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE own (a int); RETURN 1; END $$; \
 CREATE FUNCTION listens() RETURNS int LANGUAGE plpgsql AS $$ BEGIN LISTEN news; RETURN 1; END $$; \
 CREATE FUNCTION holds_a_cursor() RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT 1'; RETURN 1; END $$; \
 CREATE PROCEDURE changes_it() LANGUAGE plpgsql AS $$ BEGIN SET hidden.value = 1; END $$; \
 CREATE FUNCTION on_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM changes_a_setting(); RETURN NEW; END $$; \
 CREATE TRIGGER watch BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION on_change(); \
 CREATE TRIGGER watch BEFORE UPDATE ON child FOR EACH ROW EXECUTE FUNCTION on_change(); \
 ALTER TABLE filled ALTER COLUMN a SET DEFAULT changes_a_setting(); \
 CREATE VIEW seen AS SELECT changes_a_setting() AS a";

struct Place {
    postgres: Postgres,
    shardd: Shardd,
}

impl Place {
    fn start() -> Place {
        let postgres = Postgres::start();
        postgres.client().run(SCHEMA);
        postgres.client().run(STATE_FUNCTION);
        let configuration = format!(
            "[limits]\nworker_threads = 1\n[[shards]]\nname = \"one\"\n\
             url = \"postgres://{USER}@127.0.0.1:{}/{DATABASE}\"\n\
             [[keyspaces]]\nname = \"main\"\nkey_column = \"key\"\nkey_type = \"bigint\"\n",
            postgres.port
        );
        let shardd = Shardd::start_with(&configuration);
        Place { postgres, shardd }
    }

    fn client(&self) -> Client {
        self.shardd.client()
    }

    fn client_of(&self, port: Port) -> Client {
        match port {
            Port::Transaction => self.shardd.client(),
            Port::Session => self.shardd.session_client(),
        }
    }

    /// Waits until nothing runs on the server, so that the next client gets the last connection.
    fn settle(&self, watcher: &mut Client) {
        let (begin, mut quiet) = (Instant::now(), 0);
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                    AND pid <> pg_backend_pid() AND state <> 'idle'";
        // A connection may be idle for a moment before it is made as new.
        while quiet < 4 {
            quiet = if watcher.query(busy).value() == "0" { quiet + 1 } else { 0 };
            assert!(begin.elapsed() < PATIENCE, "a connection stays busy");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Changes a session in this way, and ends it in that.
fn change(place: &Place, port: Port, change: &str, end: End) {
    let mut client = place.client_of(port);
    if matches!(port, Port::Session) {
        client.run("SET shardd.key = '1'");
    }
    if matches!(end, End::InTransaction) && !change.starts_with("BEGIN") {
        client.simple("BEGIN");
        client.simple("SELECT count(*) FROM rows WHERE key = 1");
    }
    if matches!(end, End::AfterTimeout) {
        client.run("SET statement_timeout = '100ms'");
    }
    // Some are refused: then nothing may have changed, either.
    client.simple(change);
    client.simple("SELECT count(*) FROM rows WHERE key = 1");
    match end {
        End::Cleanly | End::InTransaction => {}
        End::Killed => {
            let mut writer = Writer::default();
            writer.query("SELECT count(*) FROM generate_series(1, 3000000), rows WHERE key = 1");
            client.send(&writer).expect("a query is sent");
            return;
        }
        End::AfterError => {
            client.simple("SELECT 1 / (key - key) FROM rows WHERE key = 1");
        }
        End::AfterTimeout => {
            client.simple("SELECT count(*) FROM generate_series(1, 30000000), rows WHERE key = 1");
        }
    }
    let mut writer = Writer::default();
    writer.terminate();
    let _ = client.send(&writer);
}

#[test]
fn the_next_clients_session_equals_a_fresh_one() {
    next_is_fresh_after(Port::Transaction, CHANGES);
}

#[test]
fn the_client_after_one_that_kept_its_connections_finds_a_fresh_session() {
    let more = [
        "CREATE TEMP VIEW seen_by_me AS SELECT 1 AS a",
        "SELECT pg_advisory_lock(7); LISTEN news; CREATE TEMP TABLE own (a int)",
        "DO $$ BEGIN SET hidden.value = 1; END $$",
        "DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 10); FETCH 2 FROM c",
        "SET SESSION AUTHORIZATION tenant; SET app.user = 'alice'",
    ];
    next_is_fresh_after(Port::Session, &[CHANGES, &more].concat());
}

fn next_is_fresh_after(port: Port, ways: &[&str]) {
    let place = Place::start();
    let mut watcher = place.postgres.client();
    place.client().run("INSERT INTO rows VALUES (1, 1)");
    let fresh = place.client().query(STATE).value();
    let mut leaks = Vec::new();
    for way in ways {
        for end in ENDS {
            change(&place, port, way, end);
            place.settle(&mut watcher);
            let mut next = place.client();
            let found = next.query(STATE).value();
            let answer = next.query("SELECT id FROM rows WHERE key = 1");
            if found != fresh || answer.error.is_some() {
                leaks.push(format!("{way} / {end:?}:\n  fresh {fresh}\n  found {found} {:?}", answer.error));
            }
        }
    }
    assert!(leaks.is_empty(), "{} leaks\n{}", leaks.len(), leaks.join("\n"));
}

#[test]
fn settings_of_the_server_work_and_are_the_sessions_own() {
    let place = Place::start();
    let (mut one, mut other) = (place.client(), place.client());
    let mut fails = |sql: &str| {
        let answer = one.query(sql);
        answer.error.unwrap_or_else(|| panic!("{sql} worked")).sqlstate().to_owned()
    };
    assert_eq!(fails("SET no_such_setting = 1"), "42704");
    assert_eq!(fails("SHOW no_such_setting"), "42704");
    assert_eq!(fails("SET work_mem = 'much'"), "22023");
    assert_eq!(fails("SET ROLE nobody_of_this_name"), "22023");
    assert_eq!(fails("SET max_connections = 5"), "55P02");
    assert_eq!(fails("SET search_path = other, public"), "0A000");
    assert_eq!(fails("SET shardd.key = '1'"), "0A000");
    one.run("SET work_mem = '8192kB'; SET app.user = 'alice'; SET ROLE tenant");
    for _ in 0..3 {
        assert_eq!(one.query("SHOW work_mem").value(), "8MB");
        assert_eq!(
            one.query("SELECT current_user || current_setting('work_mem') || current_setting('app.user')").value(),
            "tenant8MBalice"
        );
        assert_eq!(other.query("SELECT current_user || current_setting('work_mem')").value(), "app4MB");
        assert_eq!(other.query("SELECT current_setting('app.user', true)").value(), "NULL");
    }
    one.run("RESET ALL");
    assert_eq!(one.query("SELECT current_user || current_setting('work_mem')").value(), "tenant4MB");
    one.run("DISCARD ALL");
    assert_eq!(one.query("SELECT current_user::text").value(), "app");
    let servers = place.postgres.client().query("SHOW max_connections").value();
    assert_eq!(one.query("SHOW max_connections").value(), servers);
    assert_eq!(one.settings["server_version"], place.postgres.client().settings["server_version"]);

    one.run("BEGIN; SET LOCAL work_mem = '16MB'");
    assert_eq!(one.query("SELECT current_setting('work_mem')").value(), "16MB");
    one.run("SAVEPOINT a; SET LOCAL work_mem = '32MB'");
    assert_eq!(one.query("SELECT current_setting('work_mem')").value(), "32MB");
    one.run("ROLLBACK TO a");
    assert_eq!(one.query("SELECT current_setting('work_mem')").value(), "16MB");
    one.run("COMMIT");
    assert_eq!(one.query("SELECT current_setting('work_mem')").value(), "4MB");
    one.run("SET DateStyle = 'German, DMY'");
    assert_eq!(one.query("SELECT date '2020-02-01'").value(), "01.02.2020");
}

#[test]
fn what_names_no_key_waits_for_one_and_cursors_live_in_their_transaction() {
    let place = Place::start();
    let mut client = place.client();
    client.run("INSERT INTO rows VALUES (1, 1)");
    client.run("BEGIN");
    let refused = client.query("SELECT pg_advisory_xact_lock(hashtext('a'))").error.expect("refused");
    assert_eq!(refused.sqlstate(), "0A000");
    assert!(refused.hint().contains("SET LOCAL shardd.key"), "{refused:?}");
    client.run("ROLLBACK; BEGIN; SET LOCAL shardd.key = '1'; SELECT pg_advisory_xact_lock(hashtext('a'))");
    assert_eq!(place.postgres.client().query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").value(), "1");
    client.run("LOCK TABLE rows IN SHARE MODE; DO $$ BEGIN END $$; COMMIT");
    assert_eq!(client.query("LOCK TABLE rows").error.expect("refused").sqlstate(), "0A000");

    client.run("BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, 5)");
    assert_eq!(client.query("FETCH 2 FROM c").texts().len(), 2);
    assert_eq!(client.extended("FETCH ALL c", &[]).texts().len(), 3);
    client.run("CLOSE c");
    assert_eq!(client.query("FETCH c").error.expect("refused").sqlstate(), "34000");
    client.run("ROLLBACK");
    assert_eq!(client.query("DECLARE c CURSOR FOR SELECT 1").error.expect("refused").sqlstate(), "25P01");

    let plan = client.query("EXPLAIN SELECT * FROM rows WHERE key = 1").texts();
    assert!(plan[0][0].as_deref().is_some_and(|line| line.contains("cost=")), "{plan:?}");
    client.run("PREPARE p (bigint) AS SELECT id FROM rows WHERE key = $1");
    assert_eq!(client.query("EXECUTE p (1)").value(), "1");
    let plan = client.query("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE p (NULL)").value();
    assert!(plan.contains("\"Output\""), "{plan}");
    let plan = client.query("EXPLAIN (SHARDD) SELECT * FROM rows WHERE key = 1").texts();
    assert!(!plan[0][0].as_deref().is_some_and(|line| line.contains("cost=")), "{plan:?}");
}
