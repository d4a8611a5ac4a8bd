//! The Postgres door under clients of every kind: hostile, hasty, vanishing, and well-behaved.

mod auth_query;
mod cancel;
mod certificates;
mod encryption;
mod hostile;
mod login;
mod opening;
mod pipelines;
mod portals;
mod reload;
mod settings;
mod shutdown;
mod socket;

use crate::support::frames::{Message, Writer};
use crate::support::{Client, Postgres, Shardd};

/// The kinds of all messages up to ReadyForQuery, in order: what a driver's state machine walks along.
fn kinds(client: &mut Client) -> String {
    let mut kinds = String::new();
    loop {
        let message = client.receive().expect("a message");
        if message.kind == b'Z' {
            client.status = message.body[0] as char;
            kinds.push('Z');
            return kinds;
        }
        kinds.push(message.kind as char);
    }
}

fn send(client: &mut Client, fill: impl FnOnce(&mut Writer) -> &mut Writer) {
    let mut writer = Writer::default();
    fill(&mut writer);
    client.send(&writer).expect("sent");
}

/// The SQLSTATE of an ErrorResponse.
fn sqlstate(message: &Message) -> String {
    assert_eq!(message.kind, b'E', "{message:?}");
    crate::support::client::server_error(message).sqlstate().to_owned()
}

/// Runs a test on Postgres, which proves the test, and on shardd over both kinds of shards.
fn everywhere(test: impl Fn(&dyn Fn() -> Client)) {
    let postgres = Postgres::start();
    test(&|| postgres.client());
    let over_postgres = Shardd::start_over(&postgres);
    test(&|| over_postgres.client());
    let server = Shardd::start();
    test(&|| server.client());
}

/// A table whose rows lie on the shard of their `event_id`.
const SEATS: &str = "CREATE TABLE seats (event_id bigint, seat int, status text, PRIMARY KEY (event_id, seat))";
