//! A shard whose answers have wrong bytes in them: whatever a client is told then, shardd stays, the other shard is served,
//! and nobody is handed what was left over.

use std::io;
use std::time::{Duration, Instant};

use super::Cluster;
use crate::support::frames::Writer;
use crate::support::hole::{Hole, Passes};
use crate::support::{Client, PATIENCE};

const QUERIES: usize = 600;

/// One query, in one of the protocols' ways, with a tag that comes back.
fn ask(client: &mut Client, key: u32, tag: usize) -> io::Result<()> {
    let mut writer = Writer::default();
    let sql = format!("SELECT status, 'tag-{tag}' FROM seats WHERE event_id = {key}");
    match tag % 3 {
        0 => _ = writer.query(&sql),
        1 => _ = writer.parse("", &sql, &[]).bind("", "", &[], &[], &[]).describe(b'P', "").execute("", 0).sync(),
        _ => _ = writer.query(&format!("BEGIN; {sql}; COMMIT")),
    }
    client.send(&writer)
}

/// Takes messages to the next ReadyForQuery, without a look into them.
fn drain(client: &mut Client) -> io::Result<()> {
    while client.receive()?.kind != b'Z' {}
    Ok(())
}

#[test]
fn wrong_bytes_from_a_shard_end_nothing_but_their_connection() {
    let mut hole = None;
    let mut cluster = Cluster::start_through("", |number, port| match number {
        0 => hole.insert(Hole::before(port)).port,
        _ => port,
    });
    let hole = hole.expect("made");
    let [garbled, other] = cluster.keys();
    let (mut client, mut neighbour) = (cluster.client(), cluster.client());
    hole.let_pass(Passes::Garbled);
    let mut broken = 0;
    for tag in 0..QUERIES {
        let answered = client
            .try_simple("ROLLBACK; SET statement_timeout = '300ms'")
            .and_then(|_| ask(&mut client, garbled, tag))
            .and_then(|()| drain(&mut client));
        if answered.is_err() {
            broken += 1;
            client = cluster.client();
        }
        let sql = format!("SELECT 'tag-{tag}' FROM seats WHERE event_id = {other}");
        assert_eq!(neighbour.query(&sql).value(), format!("tag-{tag}"));
    }
    hole.let_pass(Passes::Everything);
    eprintln!("{broken} of {QUERIES} clients' connections broke");
    // What is on its way of then still comes.
    let mut clients: Vec<Client> = (0..8).map(|_| cluster.client()).collect();
    let (begin, mut right) = (Instant::now(), 0);
    for tag in 0.. {
        let client = &mut clients[tag % 8];
        let answer = client.query(&format!("SELECT 'tag-{tag}' FROM seats WHERE event_id = {garbled}"));
        if answer.error.is_none() {
            assert_eq!(answer.value(), format!("tag-{tag}"));
            right += 1;
        }
        if right == 200 {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "it does not recover: {answer:?}");
        std::thread::sleep(Duration::from_millis(if answer.error.is_some() { 50 } else { 0 }));
    }
    assert!(!cluster.shardd.log().contains("panicked"), "{}", cluster.shardd.log());
    assert!(cluster.shardd.stop().success());
}
