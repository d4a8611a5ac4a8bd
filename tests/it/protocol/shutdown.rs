//! How the door closes: idle clients at once, transactions when they are done.

use super::{SEATS, sqlstate};
use crate::support::{Shardd, signal};

#[test]
fn idle_clients_are_sent_away_and_open_transactions_may_finish() {
    let mut server = Shardd::start();
    let (mut idle, mut busy) = (server.client(), server.client());
    busy.run(SEATS);
    busy.run("BEGIN; INSERT INTO seats VALUES (1, 1, 'x')");
    signal("TERM", server.pid());
    assert_eq!(sqlstate(&idle.receive().expect("told")), "57P01");
    assert!(idle.receive().is_err());
    busy.run("INSERT INTO seats VALUES (1, 2, 'y')");
    busy.query("COMMIT").expect_tag("COMMIT");
    assert_eq!(sqlstate(&busy.receive().expect("told")), "57P01");
    assert!(server.stop_waiting().success(), "a drained server ends with 0");
    server.launch();
    assert_eq!(server.client().query("SELECT count(*) FROM seats WHERE event_id = 1").value(), "2");
}

#[test]
fn the_grace_ends_transactions_that_do_not() {
    let mut server = Shardd::start_with("[limits]\nshutdown_grace_ms = 300\n");
    let mut busy = server.client();
    busy.run(SEATS);
    busy.run("BEGIN; INSERT INTO seats VALUES (1, 1, 'x')");
    assert!(server.stop().success());
    assert_eq!(sqlstate(&busy.receive().expect("told")), "57P01");
    server.launch();
    assert_eq!(server.client().query("SELECT count(*) FROM seats WHERE event_id = 1").value(), "0");
}
