//! Changes of the schema while clients write.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::shardd::Shardd;

/// Long enough for a statement that was sent to stand in its shard's line.
const IN_LINE: Duration = Duration::from_millis(300);

#[test]
fn a_write_that_waited_for_a_change_of_the_schema_fills_the_new_column() {
    let server = Shardd::start();
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
    let server = Shardd::start();
    let mut client = Client::connect(server.ports.postgres).expect("a client");
    client.run("BEGIN");
    client.run("CREATE TABLE gone (event_id bigint PRIMARY KEY, n int)");
    client.run("INSERT INTO gone VALUES (1, 1), (2, 2), (3, 3)");
    assert_eq!(client.query("SELECT count(*) FROM gone").value(), "3");
    client.run("ROLLBACK");
    assert_eq!(client.query("SELECT count(*) FROM gone").sqlstate(), "42P01");
    client.run("BEGIN");
    client.run("CREATE TABLE kept (event_id bigint PRIMARY KEY, n int)");
    client.run("INSERT INTO kept VALUES (1, 1), (2, 2), (3, 3)");
    client.run("COMMIT");
    assert_eq!(client.query("SELECT count(*) FROM kept").value(), "3");
}
