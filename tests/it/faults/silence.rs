//! Silence: a network that takes every byte and brings none back. Whatever was sent may have been done.

use std::time::{Duration, Instant};

use super::{Cluster, send_query};
use crate::support::client::Client;
use crate::support::hole::{Hole, Passes};
use crate::support::{PATIENCE, ServerError};

/// A cluster whose first shard lies behind a network that can go silent.
fn cluster(configuration: &str) -> (Cluster, Hole) {
    let mut hole = None;
    let cluster = Cluster::start_through(configuration, |number, port| match number {
        0 => hole.insert(Hole::before(port)).port,
        _ => port,
    });
    (cluster, hole.expect("made"))
}

fn read(key: u32) -> String {
    format!("SELECT status FROM seats WHERE event_id = {key}")
}

/// One that would show if it were done twice.
fn write(key: u32) -> String {
    format!("UPDATE seats SET status = status || '!' WHERE event_id = {key}")
}

/// The error of a statement, which must come within its time and some for the cancel, while the other shard is served.
fn fails(cluster: &Cluster, client: &mut Client, sql: &str, limit: Duration) -> ServerError {
    let [_, other] = cluster.keys();
    let mut neighbour = cluster.client();
    let begin = Instant::now();
    send_query(client, sql);
    for _ in 0..20 {
        assert_eq!(neighbour.query(&read(other)).value(), "free");
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "the other shard waits, too");
    let mut answers = client.answers().expect("answered");
    assert!(begin.elapsed() < limit, "{sql} took {:?}", begin.elapsed());
    answers.pop().and_then(|answer| answer.error).unwrap_or_else(|| panic!("{sql} is answered"))
}

fn status_on_server(cluster: &Cluster, key: u32) -> String {
    cluster.servers[0].client().query(&read(key)).value()
}

#[test]
fn a_statement_into_silence_ends_at_its_deadline() {
    let (cluster, hole) = cluster("");
    let [key, _] = cluster.keys();
    let mut client = cluster.client();
    client.run("SET statement_timeout = '500ms'");
    for (sql, sqlstate, hint) in
        [(read(key), "57014", ""), (write(key), "40003", "The statement may have been executed: read before")]
    {
        client.run(&read(key));
        hole.let_pass(Passes::Nothing);
        let late = fails(&cluster, &mut client, &sql, Duration::from_secs(5));
        assert_eq!((late.sqlstate(), client.status), (sqlstate, 'I'), "{late:?}");
        assert!(late.detail().contains("pg-0") && late.hint().starts_with(hint), "{late:?}");
        hole.let_pass(Passes::Everything);
        hole.cut();
    }
    assert_eq!(client.query(&read(key)).value(), "free");
}

#[test]
fn a_shard_that_accepts_and_never_answers_is_down() {
    let (cluster, hole) = cluster("[pool]\nconnect_timeout_ms = 500\n");
    let [key, _] = cluster.keys();
    let mut client = cluster.client();
    hole.let_pass(Passes::Nothing);
    hole.cut();
    let down = fails(&cluster, &mut client, &read(key), Duration::from_secs(5));
    assert_eq!((down.sqlstate(), client.status), ("08006", 'I'), "{down:?}");
    assert!(down.message().contains("pg-0") && !down.hint().is_empty(), "{down:?}");
    // From now on at once, and also for a write: nothing was sent.
    let again = client.query(&write(key)).error.expect("down");
    assert_eq!(again.sqlstate(), "08006", "{again:?}");
    hole.let_pass(Passes::Everything);
    let begin = Instant::now();
    while client.query(&read(key)).error.is_some() {
        assert!(begin.elapsed() < PATIENCE, "it is not found again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.query(&read(key)).value(), "free");
}

#[test]
fn a_full_pool_before_silence_is_told_apart_from_the_silence() {
    let (cluster, hole) = cluster("[pool]\nsize = 1\nqueue_clients = 1\ncheckout_deadline_ms = 2000\n");
    let [key, _] = cluster.keys();
    let (mut holder, mut waiter, mut third) = (cluster.client(), cluster.client(), cluster.client());
    holder.run(&read(key));
    hole.let_pass(Passes::Nothing);
    send_query(&mut holder, &read(key));
    send_query(&mut waiter, &read(key));
    std::thread::sleep(Duration::from_millis(500));
    let full = third.query(&read(key)).error.expect("refused");
    assert_eq!(full.sqlstate(), "53300", "{full:?}");
    assert!(full.hint().starts_with("Try again later"), "{full:?}");
    let late = waiter.answers().expect("answered").pop().and_then(|answer| answer.error).expect("late");
    assert_eq!(late.sqlstate(), "57014", "{late:?}");
    assert!(late.hint().starts_with("Nothing was executed"), "{late:?}");
}

#[test]
fn a_transaction_that_is_cut_off_before_commit_is_rolled_back() {
    let (cluster, hole) = cluster("");
    let [key, _] = cluster.keys();
    let mut client = cluster.client();
    for silent in [false, true] {
        client.run("BEGIN");
        client.run(&write(key));
        if silent {
            client.run("SET LOCAL statement_timeout = '500ms'");
            hole.let_pass(Passes::Nothing);
        } else {
            hole.cut();
        }
        let lost = fails(&cluster, &mut client, &read(key), Duration::from_secs(5));
        let expected = if silent { "57014" } else { "08006" };
        assert_eq!((lost.sqlstate(), client.status), (expected, 'E'), "{lost:?}");
        assert!(!lost.hint().is_empty(), "{lost:?}");
        client.query("COMMIT").expect_tag("ROLLBACK");
        hole.let_pass(Passes::Everything);
        hole.cut();
        assert_eq!(client.query(&read(key)).value(), "free");
    }
}

/// The server commits, and nobody hears of it.
#[test]
fn an_outcome_that_nobody_heard_of_is_told_as_unknown_and_nothing_is_done_twice() {
    let (cluster, hole) = cluster("");
    let [key, _] = cluster.keys();
    let mut client = cluster.client();
    let mut expected = "free".to_owned();
    for (passes, in_transaction) in [(Passes::Requests, false), (Passes::Requests, true), (Passes::Nothing, true)] {
        client.run(&read(key));
        client.run("SET statement_timeout = '500ms'");
        let (sql, sqlstate, hint) = if in_transaction {
            client.run("BEGIN");
            client.run(&write(key));
            ("COMMIT".to_owned(), "08007", "The transaction may have been committed: read before")
        } else {
            (write(key), "40003", "The statement may have been executed: read before")
        };
        hole.let_pass(passes);
        let unknown = fails(&cluster, &mut client, &sql, Duration::from_secs(10));
        assert_eq!((unknown.sqlstate(), client.status), (sqlstate, 'I'), "{passes:?}: {unknown:?}");
        assert!(unknown.hint().starts_with(hint), "{unknown:?}");
        if passes == Passes::Requests {
            expected.push('!');
        }
        hole.let_pass(Passes::Everything);
        hole.cut();
        cluster.until_quiet(0);
        assert_eq!(client.query(&read(key)).value(), expected);
        assert_eq!(status_on_server(&cluster, key), expected);
    }
}
