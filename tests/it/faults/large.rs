//! Large answers, answers in parts, pipelines, and what is refused in step.

use std::time::Duration;

use super::{Cluster, send, send_query};
use crate::support::Value;

const MIB: usize = 1 << 20;

/// What the process holds in memory, in bytes.
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kib: usize = line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    kib * 1024
}

#[test]
fn a_slow_reader_of_a_large_answer_takes_no_memory_and_a_large_row_passes() {
    let cluster = Cluster::start("");
    let [key, large] = cluster.keys();
    let fill = format!("INSERT INTO seats SELECT {key}, n, repeat('x', {MIB}) FROM generate_series(2, 257) n");
    cluster.servers[0].client().run(&fill);
    cluster.servers[1].client().run(&format!("INSERT INTO seats VALUES ({large}, 2, repeat('y', {}))", 64 * MIB));
    let mut client = cluster.client();
    let before = resident(cluster.shardd.pid());
    send_query(&mut client, &format!("SELECT status FROM seats WHERE event_id = {key} AND seat > 1"));
    let mut most = 0;
    let (mut rows, mut bytes) = (0, 0);
    loop {
        let message = client.receive().expect("a message");
        match message.kind {
            b'D' => {
                rows += 1;
                bytes += message.body.len() - 6;
                // The first rows are taken slowly.
                if rows < 10 {
                    std::thread::sleep(Duration::from_millis(100));
                }
                most = most.max(resident(cluster.shardd.pid()));
            }
            b'Z' => break,
            b'E' => panic!("{:?}", crate::support::client::server_error(&message)),
            _ => {}
        }
    }
    assert_eq!((rows, bytes), (256, 256 * MIB));
    let grown = most.saturating_sub(before);
    eprintln!("a 256 MiB answer grew memory by {} KiB", grown / 1024);
    assert!(grown < 32 * MIB, "{grown} bytes");
    let row = client.query(&format!("SELECT status FROM seats WHERE event_id = {large} AND seat = 2"));
    assert_eq!(row.rows[0][0].as_ref().map(Vec::len), Some(64 * MIB));
    assert_eq!(client.query(&format!("SELECT 1 FROM seats WHERE event_id = {large} AND seat = 1")).value(), "1");
}

#[test]
fn portals_are_read_in_parts_inside_transactions_and_outside() {
    let cluster = Cluster::start("");
    let [key, _] = cluster.keys();
    cluster.servers[0]
        .client()
        .run(&format!("INSERT INTO seats SELECT {key}, n, 'free' FROM generate_series(2, 5000) n"));
    let mut client = cluster.client();
    let sql = "SELECT seat FROM seats WHERE event_id = $1 ORDER BY seat";
    let values = [Some(key.to_string().into_bytes())];
    let read = |client: &mut crate::support::Client, begin: bool, step: i32| {
        if begin {
            client.run("BEGIN");
        }
        send(client, |writer| writer.parse("", sql, &[]).bind("p", "", &values, &[], &[]).execute("p", step).flush());
        let mut seats = Vec::new();
        loop {
            let message = client.receive().expect("a message");
            match message.kind {
                b'D' => seats.push(message.body),
                b's' => send(client, |writer| writer.execute("p", step).flush()),
                b'C' => break,
                b'E' => panic!("{:?}", crate::support::client::server_error(&message)),
                _ => {}
            }
        }
        send(client, |writer| writer.sync());
        client.answers().expect("ready");
        if begin {
            client.run("COMMIT");
        }
        seats
    };
    let whole = read(&mut client, false, 0);
    assert_eq!(whole.len(), 5000);
    for begin in [false, true] {
        for step in [1000, 4999, 5000, 5001] {
            assert_eq!(read(&mut client, begin, step), whole, "{begin} {step}");
        }
    }
    assert_eq!(read(&mut client, true, 7), whole);
}

#[test]
fn two_portals_of_one_transaction_are_read_in_turn() {
    let cluster = Cluster::start("");
    let [key, _] = cluster.keys();
    cluster.servers[0]
        .client()
        .run(&format!("INSERT INTO seats SELECT {key}, n, repeat('x', 100) FROM generate_series(2, 3000) n"));
    let mut client = cluster.client();
    client.run("BEGIN");
    for (portal, order) in [("up", "ASC"), ("down", "DESC")] {
        let sql = format!("SELECT seat, status FROM seats WHERE event_id = {key} ORDER BY seat {order}");
        send(&mut client, |writer| {
            writer.parse("", &sql, &[]).bind(portal, "", &[], &[], &[]).execute(portal, 1).sync()
        });
        assert!(client.answers().expect("answered")[0].suspended);
    }
    for (portal, first) in [("up", "2"), ("down", "2999"), ("up", "3"), ("down", "2998")] {
        send(&mut client, |writer| writer.execute(portal, 1).sync());
        assert_eq!(client.answers().expect("answered")[0].texts()[0][0].as_deref(), Some(first), "{portal}");
    }
    client.run("COMMIT");
}

#[test]
fn a_pipeline_of_several_syncs_is_answered_one_by_one_and_an_error_skips_to_its_own() {
    let cluster = Cluster::start("");
    let keys = cluster.keys();
    let mut client = cluster.client();
    let sql = "SELECT event_id FROM seats WHERE event_id = $1::bigint / $2::bigint";
    let mut writer = crate::support::frames::Writer::default();
    writer.parse("s", sql, &[]).sync();
    for round in 0..200u32 {
        let divisor = u32::from(round % 7 != 3);
        let values = [keys[round as usize % 2], divisor].map(|value| Some(value.to_string().into_bytes()));
        writer.bind("", "s", &values, &[], &[]).execute("", 0).sync();
    }
    client.send(&writer).expect("sent");
    client.answers().expect("prepared");
    for round in 0..200u32 {
        let answers = client.answers().expect("answered");
        match round % 7 {
            3 => assert!(answers[0].error.is_some(), "{answers:?}"),
            _ => assert_eq!(answers[0].value(), keys[round as usize % 2].to_string()),
        }
    }
}

#[test]
fn a_copy_of_the_servers_files_is_refused_and_the_connection_stays_in_step() {
    let cluster = Cluster::start("");
    let [key, _] = cluster.keys();
    let mut client = cluster.client();
    for sql in ["COPY seats FROM '/tmp/x'", "COPY seats TO PROGRAM 'cat'", "COPY seats FROM STDIN (FREEZE)"] {
        let refused = client.query(sql).error.expect("refused");
        assert_eq!(refused.sqlstate(), "0A000", "{sql}: {refused:?}");
        assert!(!refused.hint().is_empty(), "{sql}");
        assert_eq!(client.query(&format!("SELECT status FROM seats WHERE event_id = {key}")).value(), "free");
        let answer = client.extended("SELECT status FROM seats WHERE event_id = $1", &[Value::text(key)]);
        assert_eq!(answer.value(), "free");
    }
}
