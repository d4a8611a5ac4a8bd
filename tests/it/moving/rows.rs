//! Whatever a row is made of, it arrives as it was, and nothing of the users' acts on its way.

use serde_json::json;

use super::{all_where_they_belong, begin, moved, nothing_is_left, post, start, until};
use crate::support::shardd::{Request, Shardd};

const TABLES: &[&str] = &[
    "CREATE TABLE events (event_id bigint PRIMARY KEY, name text NOT NULL, \
     doubled bigint GENERATED ALWAYS AS (event_id * 2) STORED)",
    "CREATE TABLE \"Seats\" (event_id bigint REFERENCES events ON DELETE CASCADE, code text, number int, note text, \
     at timestamptz, price numeric(10, 2), tags text[], data jsonb, raw bytea, ratio float8, \
     PRIMARY KEY (code, event_id), UNIQUE (event_id, number))",
    "CREATE TABLE orders (event_id bigint, id bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (event_id, id))",
];

/// The end of a text that COPY has to escape.
const STRANGE: &str = "E'a\\tb\\nc\\\\N\\r''\"\\\\.'";

fn filled() -> Shardd {
    let shardd = start();
    let mut client = shardd.client();
    TABLES.iter().for_each(|table| client.run(table));
    for event in 1..=40 {
        client.run(&format!("INSERT INTO events (event_id, name) VALUES ({event}, 'event ' || {STRANGE})"));
        client.run(&format!("INSERT INTO orders (event_id) VALUES ({event})"));
        client.run(&format!(
            "INSERT INTO \"Seats\" VALUES \
             ({event}, 'A', 1, repeat('x', 100000), '2026-03-01 12:00:00.123456+02', 1.10, '{{a,\"b c\",NULL}}', '{{\"a\": [1, null]}}', '\\x00ff', 0.1), \
             ({event}, {STRANGE}, 2, '', 'infinity', NULL, '{{}}', 'null', '', 'NaN'), \
             ({event}, '', 3, NULL, NULL, -0.01, NULL, NULL, NULL, '-Infinity')"
        ));
    }
    on_each_shard(
        &shardd,
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := ''spoiled''; RETURN NEW; END'; \
         CREATE TRIGGER spoils BEFORE INSERT OR UPDATE ON \"Seats\" FOR EACH ROW EXECUTE FUNCTION spoil()",
    );
    shardd
}

fn on_each_shard(shardd: &Shardd, text: &str) {
    let postgres = shardd.postgres().expect("Postgres shards");
    shardd.shard_names().iter().for_each(|shard| postgres.client_of(shard).run(text));
}

/// All rows of all shards, each where it belongs.
fn rows(shardd: &Shardd) -> Vec<Vec<Vec<Option<String>>>> {
    let of = |table| {
        let mut rows = all_where_they_belong(shardd, table);
        rows.sort();
        rows
    };
    ["events", "\"Seats\"", "orders"].into_iter().map(of).collect()
}

#[test]
fn rows_arrive_as_they_were() {
    let shardd = filled();
    let before = rows(&shardd);
    assert_eq!(before.iter().map(Vec::len).collect::<Vec<_>>(), [40, 120, 40]);
    for to in shardd.shard_names() {
        moved(&shardd, "0-16383", &to);
        assert_eq!(rows(&shardd), before, "on {to}");
    }
    let mut client = shardd.client();
    client.query("DELETE FROM events WHERE event_id = 7").expect_tag("DELETE 1");
    assert_eq!(
        client.query("SELECT count(*) FROM \"Seats\" WHERE event_id = 7").value(),
        "0",
        "foreign keys act again"
    );
    nothing_is_left(&shardd);
}

/// Values of a UNIQUE constraint that rows exchange while they are copied.
#[test]
fn rows_that_exchange_unique_values_arrive() {
    let shardd = filled();
    let mut client = shardd.client();
    on_each_shard(&shardd, "DROP TRIGGER spoils ON \"Seats\"");
    let to = shardd.shard_names().remove(2);
    post(&shardd, "/v1/throttle", &json!({"bytes_per_second": 500_000}));
    let ids = begin(&shardd, "0-16383", &to);
    for round in 0..8 {
        for event in 1..=40 {
            client.run("BEGIN");
            client.run(&format!(
                "UPDATE \"Seats\" SET number = number + 10 WHERE event_id = {event} AND code IN ('A', '')"
            ));
            client.run(&format!(
                "UPDATE \"Seats\" SET number = 14 - number WHERE event_id = {event} AND code IN ('A', '')"
            ));
            client.query("COMMIT").expect_tag("COMMIT");
        }
        client.run(&format!("UPDATE \"Seats\" SET code = 'B{round}' WHERE event_id = 7 AND number = 2"));
    }
    post(&shardd, "/v1/throttle", &json!({"bytes_per_second": 0}));
    for id in ids {
        until(&shardd, id, &["done"]);
    }
    let after = rows(&shardd);
    assert_eq!(after.iter().map(Vec::len).collect::<Vec<_>>(), [40, 120, 40]);
    let seats = client.query("SELECT code, number FROM \"Seats\" WHERE event_id = 7 ORDER BY number").texts();
    let seats: Vec<String> =
        seats.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(seats, ["A 1", "B7 2", " 3"]);
    nothing_is_left(&shardd);
}

#[test]
fn entries_of_the_http_door_move_too() {
    let shardd = start();
    let put = |key: u32| {
        let path = format!("/v1/kv/key-{key}");
        let answer = shardd.http(&Request::new("PUT", &path, &[("content-type", "text/plain")], b"value"));
        assert!(answer.status == 201 || answer.status == 200, "{}", answer.text());
    };
    (0..30).for_each(put);
    let to = shardd.shard_names().remove(1);
    let wanted = json!({"slots": {"keyspace": "kv", "slots": "0-16383", "to": to}});
    let (_, plans) = post(&shardd, "/v1/moves", &wanted);
    for plan in plans.as_array().expect("plans") {
        let found = until(&shardd, plan["id"].as_i64().expect("a number"), &["done", "cancelled"]);
        assert_eq!(found["stage"], "done", "{found}");
    }
    let mut there = shardd.postgres().expect("Postgres").client_of(&to);
    assert_eq!(there.query("SELECT count(*) FROM shardd_kv").value(), "30");
    for key in 0..30 {
        assert_eq!(shardd.http(&Request::get(&format!("/v1/kv/key-{key}"))).text(), "value");
    }
    put(7);
    nothing_is_left(&shardd);
}
