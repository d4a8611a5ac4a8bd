//! What sessions see while a table's kind changes: every row, by the one kind or the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::kinds::{filled, held, kind, shardctl};
use crate::support::frames::Writer;
use crate::support::{Client, PATIENT, Postgres, Shardd, Stopping};

#[test]
fn readers_see_every_row_while_a_kind_changes_and_no_write_is_lost() {
    for shardd in Shardd::of_each_kind_with(PATIENT) {
        drop(filled(&shardd));
        let stop = AtomicBool::new(false);
        let written = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let _stopping = Stopping(&stop);
            for reader in 0..3 {
                let (shardd, stop, written) = (&shardd, &stop, &written);
                scope.spawn(move || {
                    let mut client = shardd.client();
                    while !stop.load(Ordering::SeqCst) {
                        let least = 400 + written.load(Ordering::SeqCst);
                        let answer = match reader {
                            0 => client.query("SELECT count(*) FROM people"),
                            1 => client.query("SELECT count(*) FROM people p WHERE EXISTS (SELECT 1 FROM people q WHERE q.name = p.name)"),
                            _ => client.extended("SELECT count(*) FROM people", &[]),
                        };
                        match &answer.error {
                            Some(error) => assert!(["0A000", "55P03"].contains(&error.sqlstate()), "{error:?}"),
                            None => {
                                let count = answer.value().parse::<u64>().unwrap();
                                assert!(count >= least && count <= 400 + written.load(Ordering::SeqCst) + 1, "{count}, at least {least}");
                            }
                        }
                    }
                });
            }
            let (writing, stopped, counted) = (&shardd, &stop, &written);
            scope.spawn(move || {
                let mut client = writing.client();
                for number in 0.. {
                    if stopped.load(Ordering::SeqCst) {
                        break;
                    }
                    let answer = client.query(&format!(
                        "INSERT INTO people (person_id, name) OVERRIDING SYSTEM VALUE VALUES ({}, 'w')",
                        1_000_000 + number
                    ));
                    match &answer.error {
                        Some(error) => assert!(["0A000", "55P03"].contains(&error.sqlstate()), "{error:?}"),
                        None => _ = counted.fetch_add(1, Ordering::SeqCst),
                    }
                }
            });
            for arguments in [&["shard", "people", "--key", "person_id"][..], &["reference", "people"]].repeat(3) {
                let (code, told) = shardctl(&shardd, arguments);
                assert_eq!(code, Some(0), "{told}");
            }
        });
        let total = 400 + written.load(Ordering::SeqCst);
        assert!(total > 400, "nothing was written meanwhile");
        assert_eq!(shardd.client().query("SELECT count(*) FROM people").value(), total.to_string());
        assert!(held(&shardd).unwrap_or_default().iter().all(|count| *count == total));
    }
}

#[test]
fn a_default_isolation_of_the_servers_keeps_no_kind_from_being_changed() {
    let postgres = Postgres::start_set(&["default_transaction_isolation=serializable"]);
    let shardd = Shardd::start_over(&postgres);
    let mut client = filled(&shardd);
    assert_eq!(client.query("SHOW transaction_isolation").value(), "serializable");
    let (code, told) = shardctl(&shardd, &["shard", "people", "--key", "person_id"]);
    assert_eq!((code, told.contains("400 rows")), (Some(0), true), "{told}");
    assert_eq!(client.query("SELECT name FROM people WHERE person_id = 5").value(), "p5");
    assert_eq!(client.query("SELECT count(*) FROM people").value(), "400");
}

#[test]
fn a_transaction_sees_the_tables_that_it_made_itself() {
    for shardd in Shardd::of_each_kind() {
        let mut client = filled(&shardd);
        client.run("BEGIN ISOLATION LEVEL SERIALIZABLE");
        assert_eq!(client.query("SELECT count(*) FROM people").value(), "400");
        client.run("DROP TABLE people");
        client.run("CREATE TABLE people (event_id bigint PRIMARY KEY, name text)");
        client.run("INSERT INTO people VALUES (1, 'one'), (2, 'two')");
        assert_eq!(client.query("SELECT count(*) FROM people").value(), "2");
        client.run("COMMIT");
        assert_eq!(kind(&shardd, "people").0, "sharded");
        assert_eq!(client.query("SELECT name FROM people WHERE event_id = 2").value(), "two");
    }
}

/// Those that are sent to a shard as they came, too: they have been found already.
#[test]
fn statements_that_were_run_before_see_the_new_kind() {
    let shardd = Shardd::start_over_postgres();
    let mut client = filled(&shardd);
    let mut named = Writer::default();
    named.parse("name", "SELECT name FROM people WHERE person_id = $1", &[20]).sync();
    client.send(&named).expect("sent");
    client.answers().expect("answered");
    let look = |client: &mut Client| {
        for id in ["5", "77", "400"].repeat(3) {
            let text = format!("SELECT name FROM people WHERE person_id = {id}");
            assert_eq!(client.query(&text).value(), format!("p{id}"));
            let mut execution = Writer::default();
            execution.bind("", "name", &[Some(id.as_bytes().to_vec())], &[], &[]).execute("", 0).sync();
            client.send(&execution).expect("sent");
            assert_eq!(client.answers().expect("answered")[0].value(), format!("p{id}"));
        }
    };
    look(&mut client);
    for arguments in [&["shard", "people", "--key", "person_id"][..], &["reference", "people"]].repeat(2) {
        let (code, told) = shardctl(&shardd, arguments);
        assert_eq!(code, Some(0), "{told}");
        look(&mut client);
    }
}
