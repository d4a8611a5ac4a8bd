//! Replicas: what a client marks read-only is read there, while they follow.

use std::time::{Duration, Instant};

use postgres_protocol::password::scram_sha_256;

use crate::support::client::USER;
use crate::support::shardd::Request;
use crate::support::{Client, PATIENCE, Postgres, Shardd};

const MAX_LAG: Duration = Duration::from_millis(1_000);
/// Where the rows of a key are read: `t` on a replica.
const WHERE: &str = "SELECT pg_is_in_recovery() FROM seats WHERE event_id = 1";

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A server with two shards, and its replica.
fn pair() -> (Postgres, Postgres) {
    let primary = Postgres::start();
    for shard in primary.make_shards(2) {
        let mut client = primary.client_of(&shard);
        for volatility in ["VOLATILE", "STABLE"] {
            client.run(&format!(
                "CREATE FUNCTION {volatility}_place() RETURNS boolean {volatility} LANGUAGE sql AS 'SELECT pg_is_in_recovery()'"
            ));
        }
    }
    let replica = primary.start_replica();
    (primary, replica)
}

fn server(primary: &Postgres, replica: &Postgres, more: &str) -> Shardd {
    let mut configuration = format!("{more}\n[limits]\nreplica_max_lag_ms = {}\n", MAX_LAG.as_millis());
    for shard in ["s1", "s2"] {
        let url = |port| format!("postgres://{USER}@127.0.0.1:{port}/{shard}");
        configuration += &format!(
            "[[shards]]\nname = \"{shard}\"\nurl = \"{}\"\nreplicas = [\"{}\"]\n",
            url(primary.port),
            url(replica.port)
        );
    }
    Shardd::start_with(&configuration)
}

fn with_seats(server: &Shardd) -> Client {
    let mut client = server.client();
    client.run("CREATE TABLE seats (event_id bigint, seat int, status text, PRIMARY KEY (event_id, seat))");
    // The first event's row is the last that a replica shows.
    (1..=40).rev().for_each(|event| client.run(&format!("INSERT INTO seats VALUES ({event}, 1, 'free')")));
    client
}

/// What a statement answers in a transaction that begins so.
fn within(client: &mut Client, begin: &str, statement: &str) -> String {
    begin.split(';').for_each(|statement| client.run(statement));
    let answer = client.query(statement);
    client.run("COMMIT");
    answer.value()
}

fn on_replica(client: &mut Client) -> bool {
    client.run("BEGIN READ ONLY");
    let answer = client.query(WHERE);
    client.run("COMMIT");
    // A replica may not show the row yet.
    answer.texts() == [[Some("t".to_owned())]]
}

fn replica_of(server: &Shardd, shard: &str) -> serde_json::Value {
    server.admin(&Request::get(&format!("/v1/shards/{shard}"))).json()["replicas"][0].clone()
}

#[test]
fn what_is_marked_read_only_is_read_on_a_replica_and_nothing_else_is() {
    let (primary, replica) = pair();
    let server = server(&primary, &replica, "");
    let mut client = with_seats(&server);
    wait_for("no replica is read", || on_replica(&mut client));

    for begin in [
        "BEGIN READ ONLY",
        "START TRANSACTION READ ONLY",
        "BEGIN; SET TRANSACTION READ ONLY",
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "BEGIN READ ONLY; SAVEPOINT a",
    ] {
        assert_eq!(within(&mut client, begin, WHERE), "t", "{begin}");
    }
    for begin in [
        "BEGIN",
        "BEGIN READ WRITE",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        "BEGIN READ ONLY; SET LOCAL shardd.key = '1'",
        "BEGIN READ ONLY; SET TRANSACTION READ WRITE",
    ] {
        assert_eq!(within(&mut client, begin, WHERE), "f", "{begin}");
    }
    assert_eq!(client.query(WHERE).value(), "f");
    // Both shards', and rows of several.
    let keys = ["s1", "s2"].map(|shard| server.keys_on("seats", shard, 1)[0]);
    for key in keys {
        let of_key = WHERE.replace("= 1", &format!("= {key}"));
        wait_for("a shard's replica is not read", || within(&mut client, "BEGIN READ ONLY", &of_key) == "t");
    }
    client.run("BEGIN READ ONLY");
    let both = client.query(&WHERE.replace("= 1", &format!("IN ({}, {})", keys[0], keys[1])));
    assert_eq!(both.texts(), [[Some("t".to_owned())], [Some("t".to_owned())]]);
    assert_eq!(client.query("SELECT count(*) FROM seats").value(), "40");
    client.run("COMMIT");
    // What a function of the user's does is not known unless it says so.
    let place = |volatility: &str| format!("SELECT {volatility}_place() FROM seats WHERE event_id = 1");
    assert_eq!(within(&mut client, "BEGIN READ ONLY", &place("stable")), "t");
    assert_eq!(within(&mut client, "BEGIN READ ONLY", &place("volatile")), "f");

    // A session that says so for all of its transactions.
    client.run("SET default_transaction_read_only = on");
    assert_eq!(client.query(WHERE).value(), "t");
    assert_eq!(within(&mut client, "BEGIN", WHERE), "t");
    assert_eq!(within(&mut client, "BEGIN READ WRITE", WHERE), "f");
    client.run("SET default_transaction_isolation = 'serializable'");
    assert_eq!(client.query(WHERE).value(), "f");
    client.run("RESET default_transaction_isolation");
    assert_eq!(client.query(WHERE).value(), "t");
    client.run("RESET default_transaction_read_only");
    assert_eq!(client.query(WHERE).value(), "f");

    // Postgres's own words for what writes.
    for write in [
        "INSERT INTO seats VALUES (1, 2, 'free')",
        "UPDATE seats SET status = 'sold' WHERE event_id = 1",
        "DELETE FROM seats WHERE event_id = 1",
        "SELECT status FROM seats WHERE event_id = 1 FOR UPDATE",
    ] {
        client.run("BEGIN READ ONLY");
        assert_eq!(client.query(WHERE).value(), "t");
        assert_eq!(client.query(write).sqlstate(), "25006", "{write}");
        client.run("ROLLBACK");
    }
    client.run("BEGIN READ ONLY");
    client.run(&format!("DECLARE places CURSOR FOR {WHERE}"));
    assert_eq!(client.query("FETCH places").value(), "t");
    client.run("COMMIT");
    // What follows writes again, over connections to the shard itself.
    client.run("UPDATE seats SET status = 'sold' WHERE event_id = 1");

    let described = replica_of(&server, "s1");
    assert_eq!(described["replica"], format!("127.0.0.1:{}", replica.port));
    assert!(described["readable"] == true && described["lag_ms"].as_u64() < Some(1_000), "{described}");
    assert!(described["statistics"]["checkouts"].as_u64() >= Some(1), "{described}");
    let metrics = server.admin(&Request::get("/metrics")).text();
    assert!(metrics.contains(&format!("shardd_replica_up{{replica=\"127.0.0.1:{}\",shard=\"s1\"}} 1", replica.port)));
}

#[test]
fn a_replica_that_lags_is_passed_over_and_an_idle_server_s_does_not_lag() {
    let (primary, replica) = pair();
    let server = server(&primary, &replica, "");
    let mut client = with_seats(&server);
    wait_for("no replica is read", || on_replica(&mut client));
    std::thread::sleep(3 * MAX_LAG);
    (0..20).for_each(|_| assert!(on_replica(&mut client), "nothing was written: {}", replica_of(&server, "s1")));

    let mut standby = replica.client_of("postgres");
    standby.run("SELECT pg_wal_replay_pause()");
    client.run("UPDATE seats SET status = 'sold' WHERE event_id = 1");
    let written = Instant::now();
    let status = "SELECT status FROM seats WHERE event_id = 1";
    wait_for("the old row is still read", || within(&mut client, "BEGIN READ ONLY", status) == "sold");
    assert!(written.elapsed() <= 3 * MAX_LAG, "a replica was read for too long: {:?}", written.elapsed());
    assert!(!on_replica(&mut client));
    let described = replica_of(&server, "s1");
    assert!(described["readable"] == false && described["lag_ms"].as_u64() >= Some(500), "{described}");
    standby.run("SELECT pg_wal_replay_resume()");
    wait_for("the replica is not read again", || on_replica(&mut client));
    assert_eq!(within(&mut client, "BEGIN READ ONLY", status), "sold");

    // A change of the schema holds replicas back until they show it, however old they may be.
    standby.run("SELECT pg_wal_replay_pause()");
    client.run("ALTER TABLE seats ADD COLUMN price int DEFAULT 7");
    for _ in 0..20 {
        assert_eq!(within(&mut client, "BEGIN READ ONLY", "SELECT price FROM seats WHERE event_id = 1"), "7");
        client.run("BEGIN READ ONLY");
        assert_eq!(client.query("SELECT * FROM seats WHERE event_id = 1").texts()[0].len(), 4);
        client.run("COMMIT");
    }
    standby.run("SELECT pg_wal_replay_resume()");
    wait_for("the replica is not read again", || on_replica(&mut client));
    assert_eq!(within(&mut client, "BEGIN READ ONLY", "SELECT price FROM seats WHERE event_id = 1"), "7");
}

#[test]
fn without_its_replica_a_shard_answers_and_takes_no_other_for_it() {
    let (primary, mut replica) = pair();
    let server = server(&primary, &replica, "");
    let mut client = with_seats(&server);
    wait_for("no replica is read", || on_replica(&mut client));
    for _ in 0..2 {
        replica.kill();
        (0..50).for_each(|_| assert!(!on_replica(&mut client)));
        client.run("UPDATE seats SET status = 'sold' WHERE event_id = 1");
        replica.start_again();
        wait_for("the replica is not read again", || on_replica(&mut client));
    }
    // It becomes a server of its own.
    let mut standby = replica.client_of("s1");
    standby.run("SELECT pg_promote()");
    wait_for("nobody noticed", || replica_of(&server, "s1")["error"].to_string().contains("not in recovery"));
    assert_eq!(replica_of(&server, "s1")["readable"], false);
    standby.run("UPDATE seats SET status = 'forked' WHERE event_id = 1");
    (0..20).for_each(|_| assert!(!on_replica(&mut client)));
}

#[test]
fn a_replica_of_another_server_is_never_read() {
    let (primary, other) = (Postgres::start(), Postgres::start());
    for postgres in [&primary, &other] {
        postgres.make_shards(2);
    }
    let foreign = other.start_replica();
    for (wrong, told) in [(&other, "not in recovery"), (&foreign, "of another server")] {
        let server = server(&primary, wrong, "");
        let mut client = server.client();
        client.run("CREATE TABLE IF NOT EXISTS seats (event_id bigint, seat int, PRIMARY KEY (event_id, seat))");
        client.run("INSERT INTO seats VALUES (1, 1) ON CONFLICT DO NOTHING");
        wait_for("it is not told", || replica_of(&server, "s1")["error"].to_string().contains(told));
        (0..20).for_each(|_| assert!(!on_replica(&mut client)));
        assert!(server.log().contains("a replica is not read"), "{}", server.log());
    }
}

#[test]
fn a_user_who_only_reads_is_read_for_on_replicas() {
    let (primary, replica) = pair();
    let user = |name: &str, more: &str| {
        format!("[[users]]\nname = \"{name}\"\nverifier = \"{}\"\n{more}", scram_sha_256(b"secret"))
    };
    let server = server(&primary, &replica, &[user("writer", ""), user("reports", "read_only = true\n")].concat());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let connect = |user: &str| {
        let url = format!("host=127.0.0.1 port={} user={user} password=secret dbname=tickets", server.ports.postgres);
        let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls)).expect("in");
        runtime.spawn(connection);
        client
    };
    let (writer, reports) = (connect("writer"), connect("reports"));
    let run = |text: &str| runtime.block_on(writer.batch_execute(text)).expect("it runs");
    run("CREATE TABLE seats (event_id bigint, seat int, PRIMARY KEY (event_id, seat))");
    run("INSERT INTO seats VALUES (1, 1)");
    let place = |client: &tokio_postgres::Client| {
        let text = "SELECT pg_is_in_recovery() FROM seats WHERE event_id = $1 AND seat = 1";
        let row = runtime.block_on(client.query_opt(text, &[&1_i64])).expect("an answer");
        row.is_some_and(|row| row.get::<_, bool>(0))
    };
    wait_for("no replica is read", || place(&reports));
    assert!(!place(&writer));
    let refused =
        runtime.block_on(reports.batch_execute("INSERT INTO seats VALUES (1, 2)")).expect_err("it only reads");
    assert_eq!(refused.code().map(|code| code.code()), Some("25006"));
    // As ALTER ROLE ... SET has it: the client may say otherwise, and goes back to it.
    let tell = |text: &str| runtime.block_on(reports.batch_execute(text)).expect("it runs");
    tell("SET default_transaction_read_only = off");
    tell("INSERT INTO seats VALUES (1, 2)");
    tell("RESET ALL");
    assert!(place(&reports));
}

/// A session that keeps connections may have something on them: its reads stay there, however they are marked.
#[test]
fn what_a_session_keeps_is_never_read_on_a_replica() {
    let (primary, replica) = pair();
    let server = server(&primary, &replica, "");
    let mut client = with_seats(&server);
    wait_for("no replica is read", || on_replica(&mut client));

    let mut session = server.session_client();
    for begin in ["BEGIN READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"] {
        assert_eq!(within(&mut session, begin, WHERE), "f", "{begin}, on the session listener");
    }
    session.run("SET default_transaction_read_only = on");
    assert_eq!(session.query(WHERE).value(), "f");

    // By transaction, a lock of the session's keeps the connection from then on.
    client.run("BEGIN; SET LOCAL shardd.key = '1'; SELECT pg_advisory_lock(7); COMMIT");
    assert_eq!(within(&mut client, "BEGIN READ ONLY", WHERE), "f", "while a lock is held");
    client.run("BEGIN; SET LOCAL shardd.key = '1'; SELECT pg_advisory_unlock(7); COMMIT");
    wait_for("replicas are read again once nothing is kept", || on_replica(&mut client));
}
