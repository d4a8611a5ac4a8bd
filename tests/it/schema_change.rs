//! Changes of the schema while clients write.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::shardd::Shardd;
use crate::support::{PATIENT, Stopping};

/// Long enough for a statement that was sent to stand in its shard's line.
const IN_LINE: Duration = Duration::from_millis(300);

#[test]
fn a_write_that_waited_for_a_change_of_the_schema_fills_the_new_column() {
    let server = Shardd::start_with(PATIENT);
    let port = server.ports.postgres;
    let connect = || Client::connect(port).expect("a client");
    let mut holder = connect();
    holder.run("CREATE TABLE notes (event_id bigint PRIMARY KEY, note text)");
    holder.run("BEGIN");
    holder.run("INSERT INTO notes VALUES (1, 'holds the writer')");

    let changing = std::thread::spawn(move || {
        let mut client = Client::connect(port).expect("a client");
        client.run("ALTER TABLE notes ADD COLUMN stars int NOT NULL DEFAULT 7");
    });
    std::thread::sleep(IN_LINE);
    // Translated for the old schema, it stands behind the change.
    let writing = std::thread::spawn(move || {
        let mut client = Client::connect(port).expect("a client");
        client.run("INSERT INTO notes (event_id, note) VALUES (1001, 'late') , (1, 'late') ON CONFLICT DO NOTHING");
        client.run("INSERT INTO notes (event_id, note) VALUES (2001, 'later')");
    });
    let same_shard = std::thread::spawn(move || {
        let mut client = Client::connect(port).expect("a client");
        client.run("UPDATE notes SET note = note || '!' WHERE event_id = 1");
    });
    std::thread::sleep(IN_LINE);
    holder.run("COMMIT");
    for thread in [changing, writing, same_shard] {
        thread.join().expect("a client that is answered");
    }
    let stars = connect().query("SELECT event_id, stars FROM notes ORDER BY event_id").texts();
    let expected = ["1", "1001", "2001"].map(|id| vec![Some(id.to_owned()), Some("7".to_owned())]);
    assert_eq!(stars, expected);
}

#[test]
fn a_change_of_the_schema_that_is_rolled_back_leaves_nothing() {
    for server in Shardd::of_each_kind_with(PATIENT) {
        let mut client = Client::connect(server.ports.postgres).expect("a client");
        client.run("BEGIN");
        client.run("CREATE TABLE gone (event_id bigint PRIMARY KEY, n int)");
        for key in 1..=3 {
            client.run(&format!("INSERT INTO gone VALUES ({key}, {key})"));
        }
        assert_eq!(client.query("SELECT count(*) FROM gone").value(), "3");
        client.run("ROLLBACK");
        assert_eq!(client.query("SELECT count(*) FROM gone").sqlstate(), "42P01");
        client.run("BEGIN");
        client.run("CREATE TABLE kept (event_id bigint PRIMARY KEY, n int)");
        for key in 1..=3 {
            client.run(&format!("INSERT INTO kept VALUES ({key}, {key})"));
        }
        client.run("COMMIT");
        assert_eq!(client.query("SELECT count(*) FROM kept").value(), "3");
    }
}

/// What a reader may see: the column's type, and the value that belongs to it.
const BOOLEAN: (u32, &str) = (16, "t");
const INTEGER: (u32, &str) = (23, "42");

#[test]
fn a_read_never_takes_rows_of_one_schema_for_those_of_another() {
    for server in Shardd::of_each_kind_with(PATIENT) {
        read_while_the_schema_changes(&server);
    }
}

fn read_while_the_schema_changes(server: &Shardd) {
    let port = server.ports.postgres;
    let mut client = Client::connect(port).expect("a client");
    client.run("CREATE TABLE flags (event_id bigint PRIMARY KEY, flag boolean)");
    for key in 1..=40 {
        client.run(&format!("INSERT INTO flags VALUES ({key}, true)"));
    }
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopping = Stopping(&over);
        let readers: Vec<_> = ["SELECT flag FROM flags WHERE event_id = 1", "SELECT flag FROM flags ORDER BY event_id"]
            .into_iter()
            .cycle()
            .take(4)
            .map(|question| {
                let over = &over;
                scope.spawn(move || {
                    let mut client = Client::connect(port).expect("a client");
                    let mut reads = 0;
                    while !over.load(std::sync::atomic::Ordering::Relaxed) {
                        let answer = client.query(question);
                        let rows = answer.texts();
                        let type_oid = answer.columns.as_ref().expect("columns")[0].type_oid;
                        assert!(!rows.is_empty());
                        for row in rows {
                            let seen = (type_oid, row[0].as_deref().expect("a value"));
                            assert!([BOOLEAN, INTEGER].contains(&seen), "{question}: {seen:?}");
                        }
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        for _ in 0..25 {
            client.run("ALTER TABLE flags ALTER COLUMN flag TYPE int USING CASE WHEN flag THEN 42 END");
            client.run("ALTER TABLE flags ALTER COLUMN flag TYPE boolean USING flag = 42");
        }
        drop(stopping);
        for reader in readers {
            assert!(reader.join().expect("a reader") > 0, "nothing was read: the test shows nothing");
        }
    });
}
