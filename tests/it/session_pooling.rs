//! Port 6433: a client keeps its connections to Postgres shards, and what belongs to a session is on a shard that is named.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::client::{DATABASE, USER, Value};
use crate::support::shardd::Request;
use crate::support::{Client, PATIENCE, Postgres, Shardd, root};

const SEATS: &str = "CREATE TABLE seats (event_id bigint, seat int, status text, PRIMARY KEY (event_id, seat)); \
 CREATE TABLE venues (venue_id int PRIMARY KEY, name text)";

/// A shardd over the databases `s1` to `s3` of one server.
struct Place {
    postgres: Postgres,
    shardd: Shardd,
}

impl Place {
    fn start(configuration: &str) -> Place {
        let postgres = Postgres::start();
        let shardd = Shardd::start_over_with(&postgres, configuration);
        shardd.client().run(SEATS);
        let mut client = shardd.client();
        for key in 1..=30 {
            client.run(&format!("INSERT INTO seats VALUES ({key}, 1, 'free')"));
        }
        client.run("INSERT INTO venues VALUES (1, 'hall')");
        Place { postgres, shardd }
    }

    /// A key of each shard.
    fn keys(&self) -> [u32; 3] {
        ["s1", "s2", "s3"].map(|shard| self.shardd.keys_on("seats", shard, 1)[0])
    }

    /// What each shard's server answers.
    fn on_shards(&self, sql: &str) -> [String; 3] {
        ["s1", "s2", "s3"].map(|shard| self.postgres.client_of(shard).query(sql).value())
    }

    fn metric(&self, series: &str) -> u64 {
        let text = self.shardd.admin(&Request::get("/metrics")).text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Waits until a metric has this value.
    fn expect_metric(&self, series: &str, value: u64) {
        eventually(&format!("{series} to be {value}"), || self.metric(series) == value);
    }

    /// Ends the servers' processes that hold an advisory lock.
    fn end_lock_holders(&self, shard: &str) {
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_ne!(self.postgres.client_of(shard).query(ended).value(), "0");
    }
}

const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn refused(client: &mut Client, sql: &str) -> String {
    let error = client.query(sql).error.unwrap_or_else(|| panic!("{sql} worked"));
    assert_eq!(error.sqlstate(), "0A000", "{sql}: {error:?}");
    format!("{} | {}", error.message(), error.hint())
}

#[test]
fn a_temporary_table_lives_on_the_shard_of_its_key() {
    let place = Place::start("");
    let [_, key, other] = place.keys();
    let mut client = place.shardd.session_client();
    assert!(refused(&mut client, "CREATE TEMP TABLE wanted (event_id bigint, seat int)").contains("SET shardd.key"));
    client.run(&format!("SET shardd.key = '{key}'"));
    client.run("CREATE TEMP TABLE wanted (event_id bigint, seat int)");
    client.run(&format!("INSERT INTO wanted VALUES ({key}, 1), ({key}, 2)"));
    // It outlives transactions, and the key that named its shard.
    client.run("RESET shardd.key; BEGIN; UPDATE wanted SET seat = seat + 10 WHERE seat = 2; COMMIT");
    assert_eq!(client.query("SELECT sum(seat) FROM wanted").value(), "13");
    client.run("BEGIN; DELETE FROM wanted; ROLLBACK");
    let extended = client.extended("SELECT count(*) FROM wanted WHERE seat > $1::int", &[Value::text(5)]);
    assert_eq!(extended.value(), "1");

    // Beside it: rows of its shard's keys, and reference tables.
    let joined =
        |key: u32| format!("SELECT status FROM seats JOIN wanted USING (event_id, seat) WHERE seats.event_id = {key}");
    assert_eq!(client.query(&joined(key)).value(), "free");
    assert!(refused(&mut client, &joined(other)).contains("other shards"));
    assert!(refused(&mut client, "SELECT status FROM seats JOIN wanted USING (seat)").contains("other shards"));
    assert_eq!(client.query("SELECT count(*) FROM wanted, venues").value(), "2");
    client.run(&format!("INSERT INTO wanted SELECT event_id, seat + 100 FROM seats WHERE event_id = {key}"));
    assert!(refused(&mut client, "INSERT INTO wanted SELECT event_id, seat FROM seats").contains("other shards"));
    assert!(refused(&mut client, "INSERT INTO venues SELECT seat, 'x' FROM wanted").contains("reference table"));
    client.query(&format!(
        "INSERT INTO seats SELECT event_id, seat, 'held' FROM wanted WHERE seat > 100 AND event_id = {key}"
    ));
    assert_eq!(client.query("SELECT count(*) FROM wanted").value(), "3");

    // It hides a table of every shard, for this session alone.
    client.run(&format!("SET shardd.key = '{key}'; CREATE TEMP TABLE venues AS SELECT 7 AS venue_id, event_id FROM seats WHERE event_id = {key}"));
    assert_eq!(client.query("SELECT min(venue_id) FROM venues").value(), "7");
    assert_eq!(place.shardd.client().query("SELECT venue_id FROM venues").value(), "1");
    assert!(refused(&mut client, "CREATE TEMP TABLE all_seats AS SELECT * FROM seats").contains("other shards"));
    client.run("CREATE INDEX ON wanted (seat); ALTER TABLE wanted ADD COLUMN note text; TRUNCATE wanted");
    assert_eq!(client.query("SELECT note FROM wanted").texts().len(), 0);
    client.run("DROP TABLE venues");
    assert_eq!(client.query("SELECT venue_id FROM venues").value(), "1");
    client.run("BEGIN; CREATE TEMP TABLE gone (a int) ON COMMIT DROP; INSERT INTO gone VALUES (1)");
    assert_eq!(client.query("SELECT a FROM gone").value(), "1");
    client.run("COMMIT");
    assert_eq!(client.query("SELECT a FROM gone").sqlstate(), "42P01");
    client.run("BEGIN; CREATE TEMP TABLE gone (a int); ROLLBACK");
    assert_eq!(client.query("SELECT a FROM gone").sqlstate(), "42P01");

    assert_eq!(place.on_shards("SELECT count(*) FROM pg_class WHERE relname = 'wanted'"), ["0", "1", "0"]);
    drop(client);
    eventually("the temporary table to go", || {
        place.on_shards("SELECT count(*) FROM pg_class WHERE relname = 'wanted'") == ["0", "0", "0"]
    });
    assert!(refused(&mut place.shardd.client(), "CREATE TEMP TABLE t (a int)").contains("6433"));
}

/// As Rails, Flyway, golang-migrate and sqlx lock their migrations, each through a shardd of its own.
#[test]
fn migrations_exclude_each_other_through_several_instances() {
    let postgres = Postgres::start();
    let shards = postgres.make_shards(3);
    let (first, second) = (Shardd::start_on(&postgres, &shards, ""), Shardd::start_on(&postgres, &shards, ""));
    for on_session_port in [false, true] {
        let connect = |shardd: &Shardd| if on_session_port { shardd.session_client() } else { shardd.client() };
        let (mut one, mut two) = (connect(&first), connect(&second));
        // Each finds out by itself, or waits.
        assert_eq!(one.query("SELECT pg_try_advisory_lock(2884568571302715275)").value(), "t");
        assert_eq!(two.query("SELECT pg_try_advisory_lock(2884568571302715275)").value(), "f");
        assert_eq!(one.query("SELECT pg_advisory_unlock(2884568571302715275)").value(), "t");
        assert_eq!(two.query("SELECT pg_try_advisory_lock(2884568571302715275)").value(), "t");
        assert_eq!(one.query("SELECT pg_try_advisory_lock(2884568571302715275)").value(), "f");
        two.run("SELECT pg_advisory_unlock_all()");
        let number = [Value::text(1_246_807_917_i64)];
        one.extended("SELECT pg_advisory_lock($1)", &number);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| two.extended("SELECT pg_advisory_lock($1)", &number).error);
            std::thread::sleep(Duration::from_millis(300));
            assert!(!waiting.is_finished());
            assert_eq!(one.extended("SELECT pg_advisory_unlock($1)", &number).value(), "t");
            assert!(waiting.join().expect("the other instance").is_none());
        });
        // The lock ends with its client.
        drop(two);
        eventually("the lock to be free", || one.query("SELECT pg_try_advisory_lock(1246807917)").value() == "t");
        one.run("SELECT pg_advisory_unlock(1246807917)");
    }
}

#[test]
fn advisory_locks_exclude_each_other_on_both_ports_with_a_key_and_without() {
    let place = Place::start("");
    let [_, key, _] = place.keys();
    let (mut one, mut two, mut three) =
        (place.shardd.session_client(), place.shardd.session_client(), place.shardd.client());
    let tries = "SELECT pg_try_advisory_lock(42)";
    let gives_back = "SELECT pg_advisory_unlock(42)";
    one.run("SELECT pg_advisory_lock(42)");
    assert_eq!(place.on_shards(LOCKS), ["1", "1", "1"]);
    assert_eq!(two.query(tries).value(), "f");
    assert_eq!(three.query(tries).value(), "f");
    assert_eq!(place.on_shards(LOCKS), ["1", "1", "1"], "what was refused holds nothing");
    // Who names a key meets who names none.
    two.run(&format!("SET shardd.key = '{key}'"));
    assert_eq!(two.query(tries).value(), "f");
    let keyed = format!("BEGIN; SET LOCAL shardd.key = '{key}'");
    three.run(&keyed);
    assert_eq!(three.query("SELECT pg_try_advisory_xact_lock(42)").value(), "f");
    three.run("COMMIT");
    assert_eq!(one.query(gives_back).value(), "t");
    assert_eq!(place.on_shards(LOCKS), ["0", "0", "0"]);

    // And the other way round: the key's lock is on its shard, and holds off the whole.
    assert_eq!(two.query(tries).value(), "t");
    assert_eq!(place.on_shards(LOCKS), ["0", "1", "0"]);
    assert_eq!(one.query(tries).value(), "f");
    assert_eq!(place.on_shards(LOCKS), ["0", "1", "0"], "what was taken on the first shard was given back");
    two.run("RESET shardd.key");
    assert_eq!(two.query(gives_back).value(), "t", "wherever the session has it");
    let not_held = two.query(gives_back);
    assert_eq!((not_held.value().as_str(), not_held.notices[0].sqlstate()), ("f", "01000"));

    // The transaction port keeps the connections while it has the lock, by extended protocol too.
    assert_eq!(three.extended("SELECT pg_try_advisory_lock($1)", &[Value::text(42)]).value(), "t");
    assert_eq!(place.metric("shardd_pins{reason=\"advisory_lock\"}"), 3);
    for number in 1..=30 {
        three.run(&format!("SELECT status FROM seats WHERE event_id = {number}"));
    }
    assert_eq!(one.query(tries).value(), "f");
    three.run("SELECT pg_advisory_lock_shared(7)");
    three.run("SELECT pg_advisory_unlock_all()");
    assert_eq!(place.on_shards(LOCKS), ["0", "0", "0"]);
    place.expect_metric("shardd_pins{reason=\"advisory_lock\"}", 0);

    // A client that waits gets it when the holder is gone.
    one.run("SELECT pg_advisory_lock(42)");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| three.run("SELECT pg_advisory_lock(42)"));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!waiting.is_finished());
        drop(one);
        waiting.join().expect("the lock");
    });
    assert_eq!(place.on_shards(LOCKS), ["1", "1", "1"]);
    let refused = refused(&mut two, "SELECT pg_advisory_lock(event_id) FROM seats");
    assert!(refused.contains("SELECT of its own"), "{refused}");
}

#[test]
fn a_transactions_lock_without_a_key_needs_the_session_port() {
    let place = Place::start("");
    let [_, key, _] = place.keys();
    let (mut one, mut two) = (place.shardd.session_client(), place.shardd.session_client());
    let waits = refused(&mut place.shardd.client(), "SELECT pg_advisory_xact_lock(5)");
    assert!(waits.contains("SET LOCAL shardd.key"), "{waits}");
    one.run("BEGIN");
    assert_eq!(one.query("SELECT pg_try_advisory_xact_lock(5)").value(), "t");
    assert_eq!(place.on_shards(LOCKS), ["1", "1", "1"]);
    two.run(&format!("SET shardd.key = '{key}'; BEGIN; SELECT pg_advisory_xact_lock(6)"));
    two.run("SAVEPOINT a");
    assert_eq!(two.query("SELECT pg_try_advisory_xact_lock(5)").value(), "f");
    // Refused by the second shard, it holds nothing on the first.
    assert_eq!(one.query("SELECT pg_try_advisory_xact_lock(6)").value(), "f");
    assert_eq!(place.on_shards(LOCKS), ["1", "2", "1"]);
    one.run("COMMIT");
    two.run("ROLLBACK");
    assert_eq!(place.on_shards(LOCKS), ["0", "0", "0"]);
}

#[test]
fn what_is_notified_reaches_clients_that_listen_while_they_are_idle() {
    let place = Place::start("");
    let [_, key, _] = place.keys();
    let mut listener = place.shardd.session_client();
    let mut keyed = place.shardd.session_client();
    let mut sender = place.shardd.client();
    listener.run("LISTEN news");
    keyed.run(&format!("SET shardd.key = '{key}'; LISTEN news"));
    sender.run("NOTIFY news, 'first'");
    let heard = |client: &mut Client| {
        let (_, channel, payload) = client.notified();
        (channel, payload)
    };
    let news = |payload: &str| ("news".to_owned(), payload.to_owned());
    assert_eq!(heard(&mut listener), news("first"));
    // By the key's shard, and by what happens there.
    sender.run(&format!("BEGIN; SET LOCAL shardd.key = '{key}'; SELECT pg_notify('news', 'second'); COMMIT"));
    assert_eq!(heard(&mut listener), news("second"));
    assert_eq!(heard(&mut keyed), news("second"));
    for shard in ["s1", "s2", "s3"] {
        place.postgres.client_of(shard).run(
            "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('news', NEW.event_id::text); \
             RETURN NEW; END $$; CREATE TRIGGER tell AFTER UPDATE ON seats FOR EACH ROW EXECUTE FUNCTION tell()",
        );
    }
    for key in place.keys() {
        sender.run(&format!("UPDATE seats SET status = 'held' WHERE event_id = {key}"));
        assert_eq!(heard(&mut listener), news(&key.to_string()));
    }
    assert_eq!(heard(&mut keyed), news(&key.to_string()));
    // With the rows of its transaction, or not at all.
    sender.run(&format!(
        "BEGIN; UPDATE seats SET status = 'free' WHERE event_id = {key}; NOTIFY news, 'third'; ROLLBACK"
    ));
    sender.run(&format!("BEGIN; DELETE FROM seats WHERE event_id = {key}; NOTIFY news, 'fourth'; COMMIT"));
    assert_eq!(heard(&mut listener), news("fourth"));
    // Its own, in the answer; nothing within a transaction.
    listener.run("SELECT pg_notify('news', 'own')");
    assert_eq!(listener.notified(), (listener.process(), "news".to_owned(), "own".to_owned()));
    listener.run("BEGIN; SELECT 1");
    sender.run("NOTIFY news, 'late'");
    listener.run("SELECT 1");
    assert!(listener.notifications.is_empty());
    listener.run("COMMIT");
    assert_eq!(heard(&mut listener), news("late"));
    // While it works: each arrives once, and none is taken for an answer.
    std::thread::scope(|scope| {
        scope.spawn(|| (0..200).for_each(|number| sender.run(&format!("NOTIFY news, '{number}'"))));
        for number in 0..200 {
            assert_eq!(listener.query(&format!("SELECT {number}")).value(), number.to_string());
        }
    });
    for number in 0..200 {
        assert_eq!(heard(&mut listener), news(&number.to_string()));
    }
    listener.run("UNLISTEN news");
    sender.run("NOTIFY news, 'unheard'");
    assert_eq!(listener.query("SELECT 1").value(), "1");
    assert!(listener.notifications.is_empty());
    assert!(refused(&mut sender, "LISTEN news").contains("6433"));
}

#[test]
fn cursors_that_are_held_outlive_their_transaction() {
    let place = Place::start("");
    let [_, key, _] = place.keys();
    let mut client = place.shardd.session_client();
    let declare = format!("DECLARE c CURSOR WITH HOLD FOR SELECT seat FROM seats WHERE event_id = {key}");
    client.run(&format!("INSERT INTO seats VALUES ({key}, 2, 'free')"));
    client.run(&format!("BEGIN; {declare}; COMMIT"));
    assert_eq!(client.query("FETCH 1 FROM c").texts().len(), 1);
    client.run("BEGIN");
    assert_eq!(client.extended("FETCH ALL FROM c", &[]).texts().len(), 1);
    client.run("COMMIT");
    assert_eq!(place.metric("shardd_pins{reason=\"held_cursor\"}"), 1);
    client.run("CLOSE c");
    place.expect_metric("shardd_pins{reason=\"held_cursor\"}", 0);
    assert_eq!(client.query("FETCH c").sqlstate(), "34000");
    client.run(&format!("BEGIN; {declare}; ROLLBACK"));
    assert_eq!(client.query("FETCH c").sqlstate(), "34000");
    client.run(&format!("{declare}; CLOSE ALL"));
    assert!(refused(&mut place.shardd.client(), &declare).contains("6433"));
}

#[test]
fn settings_and_keys_are_the_sessions_and_discard_all_makes_it_as_new() {
    let place = Place::start("");
    let [_, key, _] = place.keys();
    let mut client = place.shardd.session_client();
    client.run(&format!("SET work_mem = '8MB'; SET shardd.key = '{key}'"));
    assert_eq!(client.query("SELECT current_setting('work_mem')").value(), "8MB");
    client.run("DO $$ BEGIN PERFORM set_config('app.mine', 'yes', false); END $$");
    assert_eq!(client.query("SELECT current_setting('app.mine', true)").value(), "yes");
    let seeded = || "SELECT setseed(0.5)";
    client.run(seeded());
    let first = client.query("SELECT random()").value();
    client.run(seeded());
    assert_eq!(client.query("SELECT random()").value(), first, "on the same connection");
    client.run("CREATE TEMP TABLE t (a int); SELECT pg_advisory_lock(1); LISTEN x");
    client.run("DISCARD ALL");
    assert_eq!(client.query("SELECT current_setting('work_mem')").value(), "4MB");
    assert_eq!(client.query("SELECT a FROM t").sqlstate(), "42P01");
    eventually("the lock to go", || place.on_shards(LOCKS) == ["0", "0", "0"]);
    for reason in ["advisory_lock", "listen", "temporary_table"] {
        place.expect_metric(&format!("shardd_pins{{reason=\"{reason}\"}}"), 0);
    }
    assert_eq!(client.query("SHOW shardd.key").sqlstate(), "42704");
}

#[test]
fn a_client_that_has_lost_its_lock_is_told_so_and_one_that_has_lost_nothing_goes_on() {
    let place = Place::start("");
    for mut client in [place.shardd.session_client(), place.shardd.client()] {
        client.run("SELECT pg_advisory_lock(9)");
        place.end_lock_holders("s2");
        // While it is idle.
        let farewell = client.farewell();
        assert_eq!(farewell.sqlstate(), "08006", "{farewell:?}");
        assert!(farewell.message().contains("s2") && farewell.detail().contains("advisory locks"), "{farewell:?}");
        eventually("the other shards' locks to go", || place.on_shards(LOCKS) == ["0", "0", "0"]);
    }
    let mut client = place.shardd.session_client();
    let [key, ..] = place.keys();
    let read = format!("SELECT status FROM seats WHERE event_id = {key}");
    assert_eq!(client.query(&read).value(), "free");
    let ends = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 's1' AND pid <> pg_backend_pid()";
    place.postgres.client_of("s1").query(ends).value();
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = 's1' AND pid <> pg_backend_pid()";
    eventually("the connections to end", || place.postgres.client_of("s1").query(left).value() == "0");
    assert_eq!(client.query(&read).value(), "free");
}

#[test]
fn sessions_that_take_the_whole_pool_are_named_as_the_reason() {
    let place =
        Place::start("[limits]\nworker_threads = 1\n[pool]\nsize = 3\nqueue_clients = 1\ncheckout_deadline_ms = 400\n");
    let [key, ..] = place.keys();
    let read = format!("SELECT status FROM seats WHERE event_id = {key}");
    let mut holders: Vec<Client> = (0..3).map(|_| place.shardd.session_client()).collect();
    for holder in &mut holders {
        assert_eq!(holder.query(&read).value(), "free");
    }
    assert_eq!(place.metric("shardd_pins{reason=\"session\"}"), 3);
    assert_eq!(place.metric("shardd_pool_connections{shard=\"s1\",state=\"active\"}"), 3);
    assert_eq!(place.metric("shardd_sessions{door=\"postgres_session\"}"), 3);
    for mut late in [place.shardd.client(), place.shardd.session_client()] {
        let error = late.query(&read).error.expect("there is none left");
        assert_eq!(error.sqlstate(), "53300", "{error:?}");
        assert!(error.hint().contains("session listener") && error.hint().contains("pool.size"), "{error:?}");
    }
    // The next client gets it as soon as one ends.
    drop(holders.pop());
    let mut late = place.shardd.client();
    eventually("a connection", || late.query(&read).error.is_none());
    place.expect_metric("shardd_pins{reason=\"session\"}", 2);
    assert!(place.metric("shardd_pins_total{reason=\"session\",shard=\"s1\"}") >= 3);
}

#[test]
fn a_session_that_idles_for_too_long_ends() {
    let place = Place::start("[limits]\nidle_session_timeout_ms = 300\n");
    let mut client = place.shardd.session_client();
    client.run("SELECT 1");
    let mut other = place.shardd.client();
    other.run("SELECT 1");
    assert_eq!(client.farewell().sqlstate(), "57P05");
    assert_eq!(other.query("SELECT 1").value(), "1", "the other port's clients keep nothing");
}

#[test]
fn suspended_portals_and_pipelines_share_the_connection() {
    use crate::support::frames::Writer;
    let place = Place::start("");
    let [key, ..] = place.keys();
    let many = format!("INSERT INTO seats SELECT {key}, generate_series(2, 50000), 'free'");
    place.postgres.client_of("s1").run(&many);
    let mut client = place.shardd.session_client();
    let sql = format!("SELECT seat FROM seats WHERE event_id = {key}");
    for _ in 0..3 {
        let mut writer = Writer::default();
        writer.parse("", &sql, &[]).bind("p", "", &[], &[], &[]).execute("p", 10);
        writer.parse("", &sql, &[]).bind("", "", &[], &[], &[]).execute("", 1);
        writer.execute("p", 5).sync();
        client.send(&writer).expect("sent");
        let rows: Vec<usize> = client.answers().expect("answers").iter().map(|answer| answer.rows.len()).collect();
        assert_eq!(rows, [10, 1, 5]);
        // What was not taken is not left over for the next.
        let mut writer = Writer::default();
        writer.parse("", &sql, &[]).bind("", "", &[], &[], &[]).execute("", 3).sync();
        client.send(&writer).expect("sent");
        assert_eq!(client.answers().expect("answers")[0].rows.len(), 3);
        assert_eq!(client.query(&format!("SELECT count(*) FROM seats WHERE event_id = {key}")).value(), "50000");
    }
    assert_eq!(place.metric("shardd_pool_connections{shard=\"s1\",state=\"active\"}"), 1);
}

#[test]
fn psql_and_psycopg_use_a_session() {
    let place = Place::start("");
    let [_, key, _] = place.keys();
    let url = format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}", place.shardd.ports.session);
    let set_key = format!("SET shardd.key = '{key}'");
    let script = [
        set_key.as_str(),
        "CREATE TEMP TABLE t AS SELECT generate_series(1, 3) AS a",
        "SELECT sum(a) FROM t",
        "LISTEN news",
        "NOTIFY news, 'hello'",
        "SELECT pg_try_advisory_lock(1)",
    ];
    let mut psql = Command::new("psql");
    psql.args(["-X", "-A", "-t", &url]).args(script.iter().flat_map(|sql| ["-c", sql]));
    let output = psql.output().expect("psql runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("\n6\n") && out.ends_with("t\n"), "{out}\n{err}");
    assert!(out.contains("Asynchronous notification \"news\" with payload \"hello\""), "{out}");

    let python = root().join("target/python/bin/python");
    assert!(python.exists(), "{} is missing: run tests/prepare once", python.display());
    let mut command = Command::new(python);
    command.arg(root().join("tests/drivers/psycopg_session.py"));
    command.env("SESSION_URL", &url).env("DATABASE_URL", place.shardd.url()).env("KEY", key.to_string());
    let output = command.output().expect("python runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("flow complete"), "{out}\n{err}");
}

#[test]
fn over_sqlite_shards_the_port_behaves_as_the_other() {
    let shardd = Shardd::start();
    let mut client = shardd.session_client();
    client.run("CREATE TABLE seats (event_id bigint PRIMARY KEY, status text); INSERT INTO seats VALUES (1, 'free'), (2, 'free')");
    assert_eq!(client.query("SELECT count(*) FROM seats").value(), "2");
    for sql in ["LISTEN news", "NOTIFY news", "SELECT pg_advisory_lock(1)", "LOAD 'x'"] {
        assert_eq!(client.query(sql).sqlstate(), "0A000", "{sql}");
    }
    client.run("UNLISTEN *; SELECT pg_advisory_unlock_all(); DISCARD ALL");
}
