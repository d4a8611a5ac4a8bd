//! Transactions that wait for each other on two shards: one of them ends with 40P01, and the other goes on.

use std::time::{Duration, Instant};

use super::keys;
use crate::support::Client;
use crate::support::shardd::Shardd;

fn add(key: u32) -> String {
    format!("UPDATE accounts SET total = total + 1 WHERE event_id = {key}")
}

#[test]
fn a_circle_over_two_shards_ends_with_one_transaction() {
    for shardd in Shardd::of_each_kind() {
        let keys = keys(&shardd);
        let begun = Instant::now();
        let (mut one, mut other) = (shardd.client(), shardd.client());
        one.run("BEGIN");
        one.run(&add(keys[0]));
        other.run("BEGIN");
        other.run(&add(keys[1]));
        let waiting = {
            let statement = add(keys[1]);
            std::thread::spawn(move || {
                let answer = one.query(&statement);
                let end = one.query("COMMIT");
                (answer, end)
            })
        };
        std::thread::sleep(Duration::from_millis(300));
        let answer = other.query(&add(keys[0]));
        let end = other.query("COMMIT");
        let outcomes = [(answer, end), waiting.join().expect("a client")];
        let failed: Vec<_> = outcomes.iter().filter(|(answer, _)| answer.error.is_some()).collect();
        assert_eq!(failed.len(), 1, "{outcomes:?}");
        assert_eq!(failed[0].0.sqlstate(), "40P01", "{outcomes:?}");
        failed[0].1.expect_tag("ROLLBACK");
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        let sum = shardd.client().query("SELECT sum(total) FROM accounts").value();
        assert_eq!(sum, "2");
    }
}

/// As many clients as may be, each of which takes the shards in its own order.
#[test]
fn crossing_transactions_all_end() {
    for shardd in Shardd::of_each_kind() {
        let keys = keys(&shardd);
        let port = shardd.ports.postgres;
        let committed: u32 = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4_usize)
                .map(|number| {
                    let mut own = keys.clone();
                    own.rotate_left(number % keys.len());
                    scope.spawn(move || {
                        let mut client = Client::connect(port).expect("a client");
                        let mut committed = 0;
                        while committed < 2 {
                            client.run("BEGIN");
                            let failed = own.iter().find_map(|key| client.query(&add(*key)).error);
                            match failed {
                                None => {
                                    client.query("COMMIT").expect_tag("COMMIT");
                                    committed += 1;
                                }
                                Some(error) => {
                                    assert_eq!(error.sqlstate(), "40P01", "{error:?}");
                                    client.run("ROLLBACK");
                                }
                            }
                        }
                        committed
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().expect("a client")).sum()
        });
        let rows = shardd.client().query("SELECT total FROM accounts").texts();
        assert!(rows.iter().all(|row| row[0].as_deref() == Some(&committed.to_string())), "{rows:?}");
    }
}

#[test]
fn a_wait_that_nobody_can_explain_ends_by_the_clock() {
    let shardd = Shardd::start_over_postgres_with("[limits]\ndeadlock_wait_ms = 1000");
    let keys = keys(&shardd);
    let mut outside = shardd.postgres().expect("a server").client_of("s2");
    outside.run("BEGIN");
    outside.run(&add(keys[1]));
    let mut client = shardd.client();
    client.run("BEGIN");
    client.run(&add(keys[0]));
    let begun = Instant::now();
    assert_eq!(client.query(&add(keys[1])).sqlstate(), "40P01");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    client.run("ROLLBACK");
    outside.run("ROLLBACK");
}
