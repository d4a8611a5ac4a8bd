//! Work that nobody waits for any more does not run on, and a cancel hits what it was meant for.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Cluster, send, send_query};
use crate::support::frames::Writer;
use crate::support::{Client, PATIENCE, Shardd};

pub(crate) fn cancel(shardd: &Shardd, process_and_key: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", shardd.ports.postgres)).expect("the door listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut writer = Writer::default();
    writer.untyped(|body| {
        body.extend(80_877_102u32.to_be_bytes());
        body.extend(process_and_key);
    });
    stream.write_all(&writer.bytes).expect("sent");
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Many rows on both shards, for statements that take long to be read.
fn with_many_rows(configuration: &str) -> Cluster {
    let cluster = Cluster::start(configuration);
    let keys = cluster.keys();
    for (server, key) in cluster.servers.iter().zip(keys) {
        server
            .client()
            .run(&format!("INSERT INTO seats SELECT {key}, n, repeat('x', 1000) FROM generate_series(2, 100000) n"));
    }
    cluster
}

/// The first rows of an answer, of which no more is read.
fn first_rows(client: &mut Client, sql: &str) {
    send_query(client, sql);
    assert_eq!(client.receive().expect("columns").kind, b'T');
    assert_eq!(client.receive().expect("a row").kind, b'D');
}

#[test]
fn a_cancel_and_a_timeout_reach_the_server_and_the_connection_goes_on() {
    let cluster = Cluster::start("[pool]\nsize = 1\n");
    let [key, _] = cluster.keys();
    let mut client = cluster.client();
    let read = format!("SELECT status FROM seats WHERE event_id = {key}");
    client.run(&read);
    let connection = cluster.connections(0, "")[0].0;
    for by_timeout in [false, true] {
        let holder = cluster.hold(0);
        if by_timeout {
            client.run("SET statement_timeout = '300ms'");
        }
        send_query(&mut client, &read);
        cluster.until_busy(0);
        if !by_timeout {
            cancel(&cluster.shardd, &client.cancel_key.clone());
        }
        let ended = client.answers().expect("answered").pop().and_then(|answer| answer.error).expect("canceled");
        let reason = if by_timeout { "statement timeout" } else { "user request" };
        assert_eq!(ended.sqlstate(), "57014", "{ended:?}");
        assert!(ended.message().ends_with(reason), "{ended:?}");
        cluster.until_quiet(0);
        drop(holder);
        // Late, it hits nobody.
        cancel(&cluster.shardd, &client.cancel_key.clone());
        for _ in 0..20 {
            assert_eq!(client.query(&read).value(), "free");
        }
    }
    assert_eq!(cluster.connections(0, "")[0].0, connection, "it stayed in step, and was kept");
}

#[test]
fn a_client_that_leaves_ends_its_statement_on_the_server() {
    let cluster = Cluster::start("");
    let [key, _] = cluster.keys();
    let holder = cluster.hold(0);
    for sql in [
        format!("SELECT status FROM seats WHERE event_id = {key}"),
        format!("UPDATE seats SET status = 'sold' WHERE event_id = {key}"),
        "SELECT count(*) FROM seats".to_owned(),
    ] {
        let mut client = cluster.client();
        send_query(&mut client, &sql);
        cluster.until_busy(0);
        drop(client);
        cluster.until_quiet(0);
    }
    drop(holder);
    assert_eq!(cluster.client().query(&format!("SELECT status FROM seats WHERE event_id = {key}")).value(), "free");
}

#[test]
fn a_client_that_leaves_in_mid_result_ends_it_and_its_transaction() {
    let cluster = with_many_rows("");
    let [key, _] = cluster.keys();
    let sql = format!("SELECT * FROM seats WHERE event_id = {key}");
    for begin in ["", "BEGIN"] {
        let mut client = cluster.client();
        client.simple(begin);
        first_rows(&mut client, &sql);
        drop(client);
        cluster.until_quiet(0);
    }
    assert_eq!(cluster.client().query(&format!("{sql} AND seat = 2")).texts().len(), 1);
}

#[test]
fn a_portal_that_is_closed_in_mid_result_leaves_the_server_idle() {
    let cluster = with_many_rows("[pool]\nsize = 1\n");
    let [key, _] = cluster.keys();
    let mut client = cluster.client();
    let sql = format!("SELECT seat FROM seats WHERE event_id = {key} ORDER BY status, seat");
    for round in 0..5 {
        // A Sync outside a transaction ends the portal.
        send(&mut client, |writer| writer.parse("", &sql, &[]).bind("", "", &[], &[], &[]).execute("", 3).sync());
        let answers = client.answers().expect("answered");
        assert!(answers[0].suspended && answers[0].rows.len() == 3, "{answers:?}");
        assert_eq!(
            client.query(&format!("SELECT {round} FROM seats WHERE event_id = {key} LIMIT 1")).value(),
            round.to_string()
        );
    }
    cluster.until_quiet(0);
    // In a transaction it is closed by name, and the transaction goes on.
    client.run("BEGIN");
    send(&mut client, |writer| {
        writer.parse("", &sql, &[]).bind("p", "", &[], &[], &[]).execute("p", 3).close(b'P', "p").sync()
    });
    assert!(client.answers().expect("answered")[0].suspended);
    client
        .query(&format!("UPDATE seats SET status = 'sold' WHERE event_id = {key} AND seat = 1"))
        .expect_tag("UPDATE 1");
    client.query("COMMIT").expect_tag("COMMIT");
    cluster.until_quiet(0);
    assert_eq!(client.query(&format!("SELECT status FROM seats WHERE event_id = {key} AND seat = 1")).value(), "sold");
}

#[test]
fn a_limit_across_shards_stops_them_all() {
    let cluster = with_many_rows("");
    let mut client = cluster.client();
    for _ in 0..5 {
        assert_eq!(client.query("SELECT seat, status FROM seats LIMIT 5").texts().len(), 5);
        assert_eq!(client.query("SELECT seat, status FROM seats ORDER BY seat LIMIT 5 OFFSET 30").texts().len(), 5);
    }
    cluster.until_quiet(0);
    cluster.until_quiet(1);
    assert_eq!(client.query("SELECT count(*) FROM seats WHERE seat = 1").value(), "40");
}

#[test]
fn a_rollback_over_rows_that_nobody_read_cancels_them() {
    let cluster = with_many_rows("[pool]\nsize = 1\n");
    let [key, _] = cluster.keys();
    let mut client = cluster.client();
    for end in ["ROLLBACK", "COMMIT"] {
        client.run("BEGIN");
        let sql = format!("SELECT * FROM seats WHERE event_id = {key}");
        send(&mut client, |writer| writer.parse("", &sql, &[]).bind("p", "", &[], &[], &[]).execute("p", 3).sync());
        assert!(client.answers().expect("answered")[0].suspended);
        client.query(end).expect_tag(end);
        cluster.until_quiet(0);
    }
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(cluster.counted(0, "waiting"), 0);
    assert!(client.query(&format!("SELECT 1 FROM seats WHERE event_id = {key} AND seat = 1")).error.is_none());
}
