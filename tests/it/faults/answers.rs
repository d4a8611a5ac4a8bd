//! What clients are told: five kinds of trouble are five answers, each with what is to be done.

use std::time::{Duration, Instant};

use super::{Cluster, send_query, signal};
use crate::support::{Client, PATIENCE, ServerError};

fn error(client: &mut Client) -> ServerError {
    let mut answers = client.answers().expect("answered");
    answers.pop().and_then(|answer| answer.error).expect("an error")
}

#[test]
fn a_server_that_is_restarted_between_two_statements_fails_neither() {
    let mut cluster = Cluster::start("");
    let [key, _] = cluster.keys();
    let (mut idle, mut prepared) = (cluster.client(), cluster.client());
    let sql = format!("UPDATE seats SET status = 'sold' WHERE event_id = {key}");
    idle.query(&sql).expect_tag("UPDATE 1");
    assert!(prepared.extended(&sql, &[]).error.is_none());
    for _ in 0..3 {
        cluster.servers[0].stop();
        cluster.servers[0].start_again();
        // A write, which could not be sent again once it was sent.
        idle.query(&sql).expect_tag("UPDATE 1");
        assert!(prepared.extended(&sql, &[]).error.is_none());
        idle.run("BEGIN");
        idle.query(&sql).expect_tag("UPDATE 1");
        idle.run("COMMIT");
    }
}

#[test]
fn connections_that_are_terminated_while_nobody_uses_them_fail_nobody() {
    let cluster = Cluster::start("");
    let [key, _] = cluster.keys();
    let mut client = cluster.client();
    for round in 0..20 {
        cluster.terminate(0);
        std::thread::sleep(Duration::from_millis(20));
        client.query(&format!("UPDATE seats SET seat = seat WHERE event_id = {key}")).expect_tag("UPDATE 1");
        assert!(cluster.counted(0, "closed_stale") > round, "they were found");
    }
}

#[test]
fn a_shard_that_is_down_is_told_and_the_other_is_served() {
    let mut cluster = Cluster::start("");
    let [down, up] = cluster.keys();
    let mut client = cluster.client();
    cluster.servers[0].stop();
    let begin = Instant::now();
    for _ in 0..50 {
        let failed = client.query(&format!("SELECT status FROM seats WHERE event_id = {down}")).error.expect("down");
        assert_eq!(failed.sqlstate(), "08006", "{failed:?}");
        assert!(failed.message().starts_with("shard \"pg-0\" is down: "), "{failed:?}");
        assert!(!failed.hint().is_empty(), "{failed:?}");
        assert_eq!(client.query(&format!("SELECT status FROM seats WHERE event_id = {up}")).value(), "free");
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "they fail at once");
    assert_eq!(client.query("SELECT count(*) FROM seats").sqlstate(), "08006");
    assert!(!cluster.shardd.is_up("pg-0") && cluster.shardd.is_up("pg-1"));
    cluster.servers[0].start_again();
    let begin = Instant::now();
    while client.query(&format!("SELECT status FROM seats WHERE event_id = {down}")).error.is_some() {
        assert!(begin.elapsed() < PATIENCE, "it is not found again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(cluster.shardd.is_up("pg-0"));
}

#[test]
fn statements_are_prepared_and_shardless_ones_answered_while_a_shard_is_down() {
    let mut cluster = Cluster::start("");
    let [_, up] = cluster.keys();
    cluster.servers[0].stop();
    let mut client = cluster.client();
    for round in 0..20 {
        // Each is another statement, that a shard has to describe.
        let sql = format!("SELECT status AS status_{round} FROM seats WHERE event_id = $1");
        assert_eq!(client.extended(&sql, &[crate::support::Value::text(up)]).value(), "free");
        assert_eq!(client.query(&format!("SELECT {round} + 1")).value(), (round + 1).to_string());
    }
}

#[test]
fn a_server_that_is_down_at_the_start_is_served_when_it_is_back() {
    let mut cluster = Cluster::start("");
    let [down, up] = cluster.keys();
    cluster.shardd.stop();
    cluster.servers[0].stop();
    cluster.shardd.launch();
    let mut client = cluster.client();
    let read = |key: u32| format!("SELECT status FROM seats WHERE event_id = {key}");
    assert_eq!(client.query(&read(up)).value(), "free");
    let failed = client.query(&read(down)).error.expect("down");
    assert!(
        failed.sqlstate() == "08006" && failed.message().starts_with("shard \"pg-0\" is down: cannot connect"),
        "{failed:?}"
    );
    assert!(!cluster.shardd.is_up("pg-0"));
    cluster.servers[0].start_again();
    let begin = Instant::now();
    while client.query(&read(down)).error.is_some() {
        assert!(begin.elapsed() < PATIENCE, "it is not served again");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_full_queue_and_a_deadline_that_passed_are_different_answers() {
    let cluster = Cluster::start("[pool]\nsize = 1\nqueue_clients = 1\ncheckout_deadline_ms = 500\n");
    let [key, other] = cluster.keys();
    let (mut holder, mut waiter, mut third) = (cluster.client(), cluster.client(), cluster.client());
    let sql = format!("SELECT status FROM seats WHERE event_id = {key}");
    holder.run(&format!("BEGIN; {sql}"));
    send_query(&mut waiter, &sql);
    let begin = Instant::now();
    while cluster.counted(0, "waiting") == 0 {
        assert!(begin.elapsed() < PATIENCE, "nobody waits");
    }
    let full = third.query(&sql).error.expect("refused");
    assert_eq!(full.sqlstate(), "53300", "{full:?}");
    assert!(full.message().contains("pg-0") && full.hint().starts_with("Try again later"), "{full:?}");
    let late = error(&mut waiter);
    assert_eq!(late.sqlstate(), "57014", "{late:?}");
    assert!(late.hint().starts_with("Nothing was executed"), "{late:?}");
    // A busy pool is no dead shard, and the other shard has one of its own.
    assert!(cluster.shardd.is_up("pg-0"));
    assert_eq!(third.query(&format!("SELECT status FROM seats WHERE event_id = {other}")).value(), "free");
    holder.run("ROLLBACK");
    assert_eq!(third.query(&sql).value(), "free");
}

#[test]
fn a_connection_that_is_lost_before_commit_a_write_and_a_read_are_told_apart() {
    let cluster = Cluster::start("");
    let [key, _] = cluster.keys();
    let mut client = cluster.client();
    let write = format!("UPDATE seats SET status = 'sold' WHERE event_id = {key}");
    let read = format!("SELECT status FROM seats WHERE event_id = {key}");
    // In a transaction, between two statements and in the middle of one.
    client.run(&format!("BEGIN; {write}"));
    cluster.terminate(0);
    let lost = client.query(&read).error.expect("lost");
    assert_eq!((lost.sqlstate(), client.status), ("08006", 'E'), "{lost:?}");
    assert!(lost.message().contains("terminating connection"), "{lost:?}");
    assert!(lost.hint().starts_with("The transaction was rolled back"), "{lost:?}");
    assert_eq!(client.query(&read).sqlstate(), "25P02");
    client.query("COMMIT").expect_tag("ROLLBACK");
    assert_eq!(client.query(&read).value(), "free");

    for (sql, sqlstate, hint) in [
        (&write, "40003", "The statement may have been executed"),
        (&read, "08006", "It was a read, and changed nothing"),
    ] {
        let holder = cluster.hold(0);
        send_query(&mut client, sql);
        cluster.until_busy(0);
        cluster.terminate(0);
        let lost = error(&mut client);
        assert_eq!((lost.sqlstate(), client.status), (sqlstate, 'I'), "{lost:?}");
        assert!(lost.hint().starts_with(hint), "{lost:?}");
        drop(holder);
    }
    assert_eq!(client.query(&read).value(), "free");
}

#[test]
fn a_connection_that_is_lost_after_commit_was_sent_leaves_the_outcome_unknown() {
    let cluster = Cluster::start("");
    let [key, _] = cluster.keys();
    // The commit waits for a lock that the test holds.
    cluster.servers[0].client().run(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER waits AFTER UPDATE ON seats DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION wait()",
    );
    let mut client = cluster.client();
    let write = format!("UPDATE seats SET status = 'sold' WHERE event_id = {key}");
    for timeout in [false, true] {
        let mut holder = cluster.servers[0].client();
        holder.run("SELECT pg_advisory_lock(1)");
        client.run("SET statement_timeout = 0");
        client.run(&format!("BEGIN; {write}"));
        if timeout {
            client.run("SET LOCAL statement_timeout = '200ms'");
        }
        send_query(&mut client, "COMMIT");
        cluster.until_busy(0);
        if !timeout {
            cluster.terminate(0);
        }
        let unknown = error(&mut client);
        assert_eq!((unknown.sqlstate(), client.status), ("08007", 'I'), "{unknown:?}");
        assert!(unknown.hint().starts_with("The transaction may have been committed"), "{unknown:?}");
        drop(holder);
        cluster.until_quiet(0);
    }
}

/// A server's process that is stopped answers nothing and closes nothing.
#[test]
fn a_server_that_hangs_ends_at_the_deadline_and_costs_the_other_shard_nothing() {
    let cluster = Cluster::start("");
    let [hangs, other] = cluster.keys();
    let (mut client, mut neighbour) = (cluster.client(), cluster.client());
    client.run("SET statement_timeout = '500ms'");
    let read = format!("SELECT status FROM seats WHERE event_id = {hangs}");
    let write = format!("UPDATE seats SET status = 'sold' WHERE event_id = {hangs}");
    for (sql, sqlstate) in [(&read, "57014"), (&write, "40003")] {
        client.run(&read);
        let stopped: Vec<u32> = cluster.connections(0, "").into_iter().map(|(pid, _)| pid).collect();
        stopped.iter().for_each(|pid| signal("STOP", *pid));
        let begin = Instant::now();
        send_query(&mut client, sql);
        let mut served = 0;
        while begin.elapsed() < Duration::from_millis(400) {
            let sql = format!("SELECT status FROM seats WHERE event_id = {other}");
            assert_eq!(neighbour.query(&sql).value(), "free");
            served += 1;
        }
        let late = error(&mut client);
        let waited = begin.elapsed();
        stopped.iter().for_each(|pid| signal("CONT", *pid));
        assert_eq!(late.sqlstate(), sqlstate, "{late:?}");
        assert!(late.detail().contains("pg-0") && !late.hint().is_empty(), "{late:?}");
        assert!(waited < Duration::from_secs(5), "{waited:?}");
        assert!(served > 20, "{served}");
        cluster.until_quiet(0);
    }
    client.run(&read);
}
