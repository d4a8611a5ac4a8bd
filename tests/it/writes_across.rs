//! Writes whose rows are not all where they are written from leave what one Postgres leaves, or nothing.

use crate::support::both::{agree_on_write, agree_wherever, fill};
use crate::support::{Both, Shardd, Value};

/// In turn: each finds what those before it have left.
const INSERTS: &[&str] = &[
    "INSERT INTO notes (event_id, body) SELECT event_id + 100, title FROM events",
    "INSERT INTO notes (event_id, body, flag) SELECT event_id + 200, title, rank > 1 FROM events WHERE event_id = 3 RETURNING *",
    "INSERT INTO notes SELECT 300 + row_number() OVER (ORDER BY event_id), title, price FROM events ORDER BY event_id LIMIT 7",
    "INSERT INTO notes (event_id, tags) SELECT max(event_id) + 1000, '{\"a\": 1}' FROM events",
    "INSERT INTO notes (event_id, score) SELECT 400 + venue_id, avg(price) FROM events WHERE venue_id IS NOT NULL GROUP BY venue_id",
    "INSERT INTO notes (event_id, body) SELECT a.event_id * 1000 + b.event_id, a.title FROM events a JOIN events b ON a.rank = b.rank AND a.event_id < b.event_id",
    "INSERT INTO notes (event_id, body) SELECT n, 'x' FROM generate_series(92001, 92020) n",
    "INSERT INTO notes (event_id, body) VALUES (3000 + 1, 'a'), (3002, upper('b'))",
    "INSERT INTO notes (event_id, body) VALUES ((SELECT max(event_id) + 1 FROM notes), (SELECT min(title) FROM events)) RETURNING event_id, body",
    "INSERT INTO notes AS n (event_id, body) SELECT event_id, title FROM events ORDER BY price LIMIT 3 ON CONFLICT (event_id) DO NOTHING",
    "INSERT INTO notes AS n (event_id, body) SELECT event_id + 101, 'again' FROM events ON CONFLICT (event_id) DO UPDATE SET body = n.body || excluded.body RETURNING n.event_id, n.body AS b",
    "INSERT INTO notes (event_id, body) SELECT venue_id + 5000, name FROM venues",
    "WITH dear AS (SELECT event_id, price FROM events WHERE price > (SELECT avg(price) FROM events)) \
     INSERT INTO notes (event_id, score) SELECT event_id + 6000, price FROM dear RETURNING score",
    "INSERT INTO seats SELECT event_id + 50, seat_id, section, price * 2, held FROM seats WHERE event_id < 10",
    "INSERT INTO seats (event_id, seat_id) SELECT 77, event_id FROM events RETURNING seat_id, section",
    "INSERT INTO seats (seat_id, event_id, section) SELECT event_id, seat_id + 900, 'moved' FROM seats",
    "INSERT INTO events (event_id, title, day) SELECT event_id + 500, 'copy', '2026-05-05' FROM events",
    "INSERT INTO events (event_id, title, venue_id, day) SELECT event_id + 600, title, NULL, NULL FROM events WHERE rank = 1",
    "INSERT INTO events (event_id, title) (SELECT event_id + 700, title FROM events) UNION ALL (SELECT seat_id + 800, 'seat' FROM seats WHERE event_id = 3)",
    "INSERT INTO venues SELECT venue_id + 10, min(title), 'made' FROM events WHERE venue_id > 0 GROUP BY venue_id",
    "INSERT INTO venues (venue_id, name) SELECT event_id + 40, title FROM events WHERE event_id = 4 RETURNING venue_id, name",
    "WITH x AS (SELECT rank, count(*) AS n FROM events GROUP BY rank) INSERT INTO venues SELECT rank + 50, 'rank', n::text FROM x WHERE rank IS NOT NULL",
    "INSERT INTO venues (venue_id, name) SELECT event_id, title FROM events WHERE event_id < 6 ON CONFLICT (venue_id) DO UPDATE SET name = excluded.name || '!'",
    // What fails leaves nothing.
    "INSERT INTO notes (event_id, body) SELECT event_id + 110, title FROM events",
    "INSERT INTO notes (event_id, score) SELECT event_id + 70000, 1 / (event_id - 12) FROM events",
    "INSERT INTO notes (event_id) SELECT CASE WHEN event_id = 9 THEN NULL ELSE event_id + 70000 END FROM events",
    "INSERT INTO notes (event_id, body) SELECT 8000 + rank, title FROM events WHERE rank = 1 ON CONFLICT (event_id) DO UPDATE SET body = 'x'",
    "INSERT INTO notes (event_id, flag) SELECT event_id + 70000, title FROM events",
    "INSERT INTO notes (event_id, body) SELECT event_id + 70000, title FROM events WHERE false",
];

#[test]
fn rows_of_any_query_are_inserted_where_their_keys_say() {
    for mut both in Both::of_each_kind() {
        for statement in INSERTS {
            agree_wherever(&mut both, statement);
        }
    }
}

#[test]
fn values_and_parameters_go_along_with_rows() {
    for mut both in Both::of_each_kind() {
        for (statement, values) in [
            (
                "INSERT INTO notes (event_id, body, score) SELECT event_id + $1, $2, $3 FROM events WHERE rank = $4",
                vec![Value::text(100), Value::text("x"), Value::text("2.5"), Value::text(1)],
            ),
            (
                "INSERT INTO notes AS n (event_id, body) SELECT event_id + $1, title FROM events WHERE rank = $2 \
                 ON CONFLICT (event_id) DO UPDATE SET body = n.body || $3 RETURNING event_id, body || 'lit', $3::text",
                vec![Value::text(100), Value::text(1), Value::text("-y")],
            ),
            (
                "UPDATE events AS e SET event_id = e.event_id + $1, title = $2 WHERE rank = $3 RETURNING e.event_id, title || $4",
                vec![Value::text(3000), Value::text("moved"), Value::text(2), Value::text("!")],
            ),
            ("UPDATE notes SET event_id = $1 WHERE event_id = $2", vec![Value::text(9_999), Value::text(101)]),
        ] {
            let (expected, got) = (both.expected.extended(statement, &values), both.got.extended(statement, &values));
            assert_eq!(got.error.as_ref().map(|error| error.message()), None, "{statement}");
            let sorted = |mut rows: Vec<Vec<Option<String>>>| {
                rows.sort();
                rows
            };
            assert_eq!(sorted(got.texts()), sorted(expected.texts()), "{statement}");
            assert_eq!(got.tag, expected.tag, "{statement}");
            both.agree_on_rows(statement);
        }
    }
}

#[test]
fn more_rows_than_one_statement_takes_are_inserted() {
    for mut both in Both::of_each_kind() {
        agree_on_write(
            &mut both,
            "INSERT INTO notes (event_id, body) SELECT n, 'row ' || n FROM generate_series(10001, 13333) n",
        );
        agree_on_write(
            &mut both,
            "INSERT INTO seats (event_id, seat_id, section) SELECT event_id + 1, 1, body FROM notes",
        );
        agree_on_write(
            &mut both,
            "INSERT INTO notes AS n (event_id, body) SELECT event_id + 1, 'next' FROM notes \
             ON CONFLICT (event_id) DO UPDATE SET body = n.body || excluded.body",
        );
        agree_on_write(&mut both, "INSERT INTO notes (event_id) SELECT event_id + 20000 FROM events FOR UPDATE");
        agree_on_write(&mut both, "UPDATE notes SET event_id = event_id + 50000 WHERE event_id > 10000");
        both.agree_on_rows("many rows");
    }
}

const MOVES: &[&str] = &[
    "UPDATE events SET event_id = 1001 WHERE event_id = 1",
    "UPDATE events SET event_id = event_id + 2000, title = title || '!', rank = NULL WHERE rank = 2 RETURNING event_id, title, rank",
    "UPDATE seats SET event_id = 31 WHERE section = 'A' AND seat_id = 1 AND event_id = 4",
    "UPDATE seats AS s SET event_id = 500, seat_id = s.event_id * 10 + s.seat_id WHERE s.section = 'B' RETURNING s.*",
    "UPDATE seats SET (event_id, section) = (event_id * 2 + 4000, lower(section)) WHERE event_id > 20",
    "UPDATE seats SET event_id = event_id WHERE event_id < 5",
    "UPDATE seats SET event_id = e.event_id + 6000 FROM events e WHERE e.event_id = seats.event_id AND e.rank = 1",
    "UPDATE events SET event_id = '7001', day = '2026-12-24' WHERE event_id IN (5, 8)",
    "UPDATE events SET event_id = 3 WHERE event_id = 999999",
    // What fails leaves nothing.
    "UPDATE events SET event_id = NULL WHERE event_id = 9",
    "UPDATE events SET event_id = 9 WHERE event_id IN (10, 12, 13, 16)",
    "UPDATE events SET event_id = event_id + 8000, title = NULL WHERE rank = 1",
    "UPDATE events SET event_id = 900000 / (event_id - 12) WHERE event_id IN (12, 15)",
];

#[test]
fn rows_move_to_the_shards_of_their_new_keys() {
    for mut both in Both::of_each_kind() {
        for statement in MOVES {
            if statement.contains(" FROM ") && !both.over_postgres {
                assert_eq!(both.got.query(statement).sqlstate(), "0A000");
                continue;
            }
            // The first error of several is not always the same.
            if statement.starts_with("UPDATE events SET event_id = '7001'") {
                assert_eq!(both.got.query(statement).sqlstate(), "23505");
                continue;
            }
            agree_wherever(&mut both, statement);
        }
        // Each row is where its key says.
        agree_on_write(&mut both, "SELECT event_id, title FROM events WHERE event_id = 1001");
        for shard in both.shardd.shard_names() {
            let keys = both.shardd.keys_on("events", &shard, 1);
            agree_on_write(&mut both, &format!("SELECT count(*) FROM events WHERE event_id = {}", keys[0]));
        }
    }
}

/// Keys that are computed, or rows that are chosen, with rows of other keys.
const MOVES_BY_OTHERS: &[&str] = &[
    "UPDATE events SET event_id = event_id + (SELECT max(event_id) FROM events) WHERE rank = 2 RETURNING event_id, title",
    "WITH n AS (SELECT max(event_id) AS top FROM events) UPDATE seats SET event_id = event_id + n.top, section = 'M' FROM n WHERE event_id < 7",
    "UPDATE events SET event_id = 5001 WHERE price = (SELECT max(price) FROM events WHERE event_id < 10) AND event_id < 10",
    "UPDATE seats s SET event_id = x.to_id, price = 9 FROM (SELECT event_id, event_id + 7000 AS to_id FROM events ORDER BY title, event_id LIMIT 4) x WHERE x.event_id = s.event_id",
    "UPDATE events SET event_id = event_id WHERE event_id > (SELECT avg(event_id) FROM seats)",
    // What fails leaves nothing.
    "UPDATE events SET event_id = (SELECT min(event_id) FROM events) WHERE event_id > (SELECT avg(event_id) FROM events)",
    "UPDATE events SET event_id = (SELECT event_id FROM events WHERE event_id < 0) WHERE rank = (SELECT max(rank) FROM events)",
];

#[test]
fn rows_get_keys_that_rows_of_other_shards_say() {
    for mut both in Both::of_each_kind() {
        for statement in MOVES_BY_OTHERS {
            agree_wherever(&mut both, statement);
        }
    }
}

/// UPDATE and DELETE whose rows are chosen, or whose values are computed, with rows of other keys.
const ROW_BY_ROW: &[&str] = &[
    "UPDATE events SET price = (SELECT avg(price) FROM seats) WHERE rank = 2",
    "UPDATE events e SET rank = x.n, title = 'set' FROM (SELECT venue_id, count(*) AS n FROM events GROUP BY venue_id) x WHERE x.venue_id = e.venue_id",
    "UPDATE seats SET section = v.name, price = DEFAULT FROM events e JOIN venues v ON v.venue_id = e.venue_id WHERE seats.seat_id = e.rank AND e.event_id = 6",
    "UPDATE seats AS s SET price = s.price + 1 WHERE s.price = (SELECT max(price) FROM seats) RETURNING s.event_id, s.seat_id, price",
    "UPDATE events SET (title, day) = ('both', '2026-07-07') WHERE event_id IN (SELECT seat_id FROM seats) RETURNING *",
    "UPDATE events SET rank = rank + 1 WHERE price > ALL (SELECT price FROM seats WHERE section = 'B')",
    "UPDATE events SET venue_id = NULL WHERE EXISTS (SELECT 1 FROM events f WHERE f.price > events.price + 15)",
    "UPDATE notes SET tags = '{\"n\": 1}', flag = true WHERE event_id < (SELECT avg(event_id) FROM notes)",
    "DELETE FROM seats USING events e WHERE e.rank = seats.seat_id AND e.price > seats.price",
    "DELETE FROM events WHERE event_id IN (SELECT event_id FROM events ORDER BY price DESC, event_id LIMIT 5) RETURNING event_id, title",
    "DELETE FROM notes WHERE score < (SELECT max(score) FROM notes)",
    "UPDATE venues SET city = (SELECT min(title) FROM events e WHERE e.venue_id = venues.venue_id)",
    "UPDATE venues v SET name = v.name || e.title FROM events e WHERE e.venue_id = v.venue_id AND e.event_id = 3 ",
    "UPDATE venues SET name = 'busy' WHERE (SELECT count(*) FROM seats) > 10 AND venue_id > 2 RETURNING *",
    "DELETE FROM venues WHERE venue_id NOT IN (SELECT venue_id FROM events WHERE venue_id IS NOT NULL)",
    "UPDATE events SET rank = 1 WHERE price > (SELECT max(price) + 1000 FROM seats)",
    // What fails leaves nothing.
    "UPDATE events SET rank = 10 / (SELECT count(*) FROM events WHERE event_id < 0) WHERE rank = 1",
    "UPDATE events SET title = (SELECT section FROM seats WHERE section IS NULL LIMIT 1) WHERE rank = 1",
];

#[test]
fn rows_are_written_by_what_other_shards_hold() {
    for mut both in Both::of_each_kind() {
        both.run("INSERT INTO notes (event_id, score) VALUES (1, 0.5), (2, 1), (3, 7), (30, 9), (31, 9)");
        for statement in ROW_BY_ROW {
            agree_wherever(&mut both, statement);
        }
        let statement = "UPDATE events SET title = title || $1 WHERE price >= $2 + (SELECT avg(price) FROM seats) RETURNING event_id, title || $3";
        let values = [Value::text("-x"), Value::text(1), Value::text("-y")];
        let (expected, got) = (both.expected.extended(statement, &values), both.got.extended(statement, &values));
        let sorted = |mut rows: Vec<Vec<Option<String>>>| {
            rows.sort();
            rows
        };
        assert_eq!(sorted(got.texts()), sorted(expected.texts()));
        both.agree_on_rows(statement);
    }
}

#[test]
fn a_row_that_changed_meanwhile_is_not_overwritten() {
    for shardd in Shardd::of_each_kind() {
        shardd.client().run("CREATE TABLE accounts (event_id bigint PRIMARY KEY, total int NOT NULL)");
        for key in 1..=12 {
            shardd.client().run(&format!("INSERT INTO accounts VALUES ({key}, 1)"));
        }
        // Each adds one to every row, and needs all rows for it.
        let add = "UPDATE accounts SET total = total + (SELECT count(*) FROM accounts) / 12";
        let failed: usize = std::thread::scope(|scope| {
            let work = (0..4).map(|_| {
                let mut client = shardd.client();
                scope.spawn(move || {
                    let mut failed = 0;
                    for _ in 0..10 {
                        let answer = client.query(add);
                        if answer.error.is_some() {
                            assert!(["40001", "40P01"].contains(&answer.sqlstate()), "{answer:?}");
                            failed += 1;
                        }
                    }
                    failed
                })
            });
            work.collect::<Vec<_>>().into_iter().map(|work| work.join().expect("a client")).sum()
        });
        let totals = shardd.client().query("SELECT min(total), max(total) FROM accounts").texts();
        let expected = Some((41 - failed).to_string());
        assert_eq!(totals, [[expected.clone(), expected]], "{failed} failed");
    }
}

#[test]
fn tables_are_emptied_on_all_shards_or_none() {
    for mut both in Both::of_each_kind() {
        both.run("CREATE TABLE logged (event_id bigint, log_id bigserial, PRIMARY KEY (event_id, log_id))");
        both.run("INSERT INTO logged (event_id) SELECT n FROM generate_series(1, 30) n");
        both.run("BEGIN");
        agree_on_write(&mut both, "TRUNCATE logged, notes");
        agree_on_write(&mut both, "SELECT count(*) FROM logged");
        both.run("ROLLBACK");
        agree_on_write(&mut both, "SELECT count(*) FROM logged");
        agree_on_write(&mut both, "TRUNCATE TABLE logged RESTART IDENTITY");
        agree_on_write(&mut both, "TRUNCATE venues");
        both.agree_on_rows("TRUNCATE");
        both.run("INSERT INTO logged (event_id) SELECT n FROM generate_series(1, 30) n");
        // The shards' numbers are still apart.
        agree_on_write(&mut both, "SELECT count(DISTINCT log_id) FROM logged");
    }
}

#[test]
fn a_move_that_others_would_notice_is_refused() {
    for mut both in Both::of_each_kind() {
        let made = both.got.query("CREATE TABLE unkeyed (event_id bigint NOT NULL, n int)");
        assert!(made.error.is_none(), "{made:?}");
        both.got.run("CREATE TABLE tickets (event_id bigint, ticket int, PRIMARY KEY (event_id, ticket), FOREIGN KEY (event_id) REFERENCES events)");
        // A number that always counts by itself goes along.
        both.got.run(
            "CREATE TABLE counted (event_id bigint, n bigint GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (event_id, n))",
        );
        both.got.run("INSERT INTO counted (event_id) SELECT n FROM generate_series(1, 20) n");
        let numbers = both.got.query("SELECT n FROM counted ORDER BY 1").texts();
        both.got.query("UPDATE counted SET event_id = event_id + 100").expect_tag("UPDATE 20");
        assert_eq!(both.got.query("SELECT n FROM counted ORDER BY 1").texts(), numbers);
        for (statement, names) in [
            ("UPDATE events SET event_id = event_id + 1000", "tickets"),
            ("UPDATE seats SET event_id = DEFAULT", "DEFAULT"),
            ("UPDATE unkeyed SET event_id = 1 + (SELECT max(rank) FROM events)", "primary key"),
            ("UPDATE unkeyed SET n = (SELECT count(*) FROM events)", "primary key"),
            ("DELETE FROM seats USING events e WHERE e.rank = seats.seat_id RETURNING *", "RETURNING"),
        ] {
            let refused = both.got.query(statement);
            assert_eq!(refused.sqlstate(), "0A000", "{statement}");
            let error = refused.error.expect("an error");
            let told = format!("{} {}", error.message(), error.detail());
            assert!(told.contains(names), "{statement}: {told}");
        }
        agree_on_write(&mut both, "SELECT count(*) FROM events");
    }
}

#[test]
fn rows_of_several_shards_are_locked_until_the_end() {
    for shardd in Shardd::of_each_kind() {
        let mut client = shardd.client();
        fill(&mut client);
        let mut other = shardd.client();
        other.run("SET lock_timeout = '300ms'");
        other.run("SET statement_timeout = '2s'");
        client.run("BEGIN");
        let locked = client.query("SELECT event_id FROM events WHERE rank = 1 ORDER BY event_id FOR UPDATE");
        assert_eq!(locked.texts().len(), 6);
        assert_eq!(
            client.query("SELECT title FROM events WHERE rank = 1 ORDER BY 1 LIMIT 1 FOR UPDATE").texts().len(),
            1
        );
        for row in locked.texts() {
            let key = row[0].clone().expect("a key");
            let waited = other.query(&format!("UPDATE events SET title = 'other' WHERE event_id = {key}"));
            assert!(["55P03", "57014"].contains(&waited.sqlstate()), "{waited:?}");
        }
        client.run("UPDATE events SET title = 'mine' WHERE rank = 1");
        client.run("COMMIT");
        other.query("UPDATE events SET title = title || '!' WHERE rank = 1").expect_tag("UPDATE 6");
        assert_eq!(client.query("SELECT min(title) FROM events WHERE rank = 1").value(), "mine!");
        client.run("BEGIN");
        assert_eq!(client.query("SELECT max(rank) FROM (SELECT rank FROM events FOR UPDATE) x").value(), "3");
        let waited = other.query("UPDATE events SET title = 'other' WHERE event_id = 4");
        assert!(["55P03", "57014"].contains(&waited.sqlstate()), "{waited:?}");
        client.run("ROLLBACK");
    }
}

#[test]
fn what_goes_from_shard_to_shard_is_bounded() {
    for over_postgres in [true, false] {
        let mut both = Both::start_with(over_postgres, "[limits]\ngather_max_bytes = 65536\n");
        for number in 0..40 {
            both.got.run(&format!("INSERT INTO notes VALUES ({}, repeat('x', 2000))", 1000 + number));
        }
        for statement in [
            "INSERT INTO notes (event_id, body) SELECT event_id + 1000, body FROM notes",
            "UPDATE notes SET event_id = event_id + 1000",
        ] {
            let refused = both.got.query(statement);
            assert_eq!(refused.sqlstate(), "54000", "{statement}: {refused:?}");
            assert!(refused.error.expect("an error").hint().contains("gather_max_bytes"));
        }
        assert_eq!(both.got.query("SELECT count(*), max(event_id) FROM notes").texts()[0][1].as_deref(), Some("1039"));
    }
}

/// In turn: each finds what those before it have left.
const MERGES: &[&str] = &[
    // On one shard, of one key.
    "MERGE INTO notes n USING (VALUES (3, 'three')) s (id, body) ON n.event_id = s.id \
     WHEN MATCHED THEN UPDATE SET body = s.body WHEN NOT MATCHED THEN INSERT (event_id, body) VALUES (s.id, s.body)",
    "MERGE INTO notes n USING (VALUES (3, 'again')) s (id, body) ON n.event_id = s.id \
     WHEN MATCHED THEN UPDATE SET body = n.body || s.body WHEN NOT MATCHED THEN INSERT (event_id, body) VALUES (s.id, s.body)",
    // Each shard by itself.
    "MERGE INTO notes n USING events e ON n.event_id = e.event_id \
     WHEN MATCHED AND e.rank = 3 THEN DELETE WHEN MATCHED THEN UPDATE SET score = e.price \
     WHEN NOT MATCHED AND e.rank > 0 THEN INSERT VALUES (e.event_id, e.title, e.price) WHEN NOT MATCHED THEN DO NOTHING",
    "MERGE INTO seats s USING venues v ON s.seat_id = v.venue_id WHEN MATCHED AND v.city = 'Bonn' THEN UPDATE SET section = v.name",
    "WITH dear AS (SELECT event_id, max(price) AS top FROM seats GROUP BY event_id) \
     MERGE INTO notes n USING dear d ON n.event_id = d.event_id WHEN MATCHED THEN UPDATE SET score = d.top \
     WHEN NOT MATCHED THEN INSERT (event_id, score) VALUES (d.event_id, d.top)",
    // The source's rows have to be brought to where they belong.
    "MERGE INTO notes AS n USING (VALUES (1, 'a'), (2, 'b'), (3, 'c'), (904, 'd'), (905, NULL)) AS s (id, body) ON s.id = n.event_id \
     WHEN MATCHED THEN UPDATE SET body = s.body || coalesce(n.body, '') WHEN NOT MATCHED THEN INSERT (event_id, body) VALUES (s.id, s.body)",
    "MERGE INTO notes n USING venues v ON n.event_id = v.venue_id AND n.body IS NOT NULL \
     WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (event_id, body, flag) VALUES (v.venue_id, 'venue', true)",
    "MERGE INTO notes n USING (SELECT event_id + 40 AS id, rank, title FROM events ORDER BY price, event_id LIMIT 9) e ON n.event_id = e.id \
     WHEN NOT MATCHED THEN INSERT (event_id, body, score) VALUES (e.id, e.title || '''s', e.rank + 0.5)",
    "WITH few AS (SELECT DISTINCT rank FROM events) MERGE INTO notes n USING (SELECT rank AS id, rank::text AS body FROM few) f \
     ON f.id = n.event_id AND f.body <> '1' WHEN MATCHED THEN UPDATE SET body = 'rank ' || f.body WHEN NOT MATCHED THEN DO NOTHING",
    "MERGE INTO notes n USING (SELECT NULL::int AS id FROM events) e ON n.event_id = e.id WHEN MATCHED THEN DELETE",
    "MERGE INTO notes n USING (SELECT event_id AS id FROM events WHERE false) e ON n.event_id = e.id WHEN MATCHED THEN DELETE",
    // Copies of a reference table.
    "MERGE INTO venues v USING (VALUES (1, 'one'), (77, 'new')) s (id, name) ON v.venue_id = s.id \
     WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (venue_id, name) VALUES (s.id, s.name)",
    // What fails leaves nothing.
    "MERGE INTO notes n USING (VALUES (1, 'x'), (2, 'y'), (1, 'z')) s (id, body) ON n.event_id = s.id WHEN MATCHED THEN UPDATE SET body = s.body \
     WHEN NOT MATCHED THEN INSERT (event_id, body) VALUES (s.id, s.body)",
    "MERGE INTO notes n USING (SELECT rank AS id, event_id FROM events) e ON n.event_id = e.id WHEN MATCHED THEN UPDATE SET score = e.event_id",
    "MERGE INTO notes n USING (SELECT NULLIF(event_id + 3000, 3009) AS id FROM events) e ON n.event_id = e.id \
     WHEN NOT MATCHED THEN INSERT (event_id) VALUES (e.id)",
];

#[test]
fn rows_are_merged_on_the_shards_of_their_keys() {
    for mut both in Both::of_each_kind() {
        if !both.over_postgres {
            let answer = both.got.query(MERGES[0]);
            assert_eq!(answer.error.expect("SQLite has no MERGE").sqlstate(), "0A000");
            continue;
        }
        for statement in MERGES {
            agree_wherever(&mut both, statement);
        }
        let upsert = "MERGE INTO notes n USING (SELECT $1::bigint AS id, $2::text AS body UNION ALL SELECT $3, $2) s ON n.event_id = s.id \
                      WHEN MATCHED THEN UPDATE SET body = s.body || $4 WHEN NOT MATCHED THEN INSERT (event_id, body) VALUES (s.id, $4)";
        let values = [Value::text(5), Value::text("p"), Value::text(4_711), Value::text("q")];
        let (expected, got) = (both.expected.extended(upsert, &values), both.got.extended(upsert, &values));
        assert_eq!(got.error.as_ref().map(|error| error.message()), None);
        assert_eq!((got.tag.as_deref(), expected.tag.as_deref()), (Some("MERGE 2"), Some("MERGE 2")));
        both.agree_on_rows(upsert);
        for (statement, says) in [
            (
                "MERGE INTO notes n USING (SELECT price AS id FROM events) e ON n.event_id = e.id WHEN MATCHED THEN DELETE",
                "not of its type",
            ),
            ("MERGE INTO notes n USING events e ON n.score = e.price WHEN MATCHED THEN DELETE", "across shards"),
            (
                "MERGE INTO notes n USING (SELECT event_id + 1 AS id FROM events) e ON n.event_id = e.id \
                 WHEN NOT MATCHED THEN INSERT (event_id) VALUES (e.id + 1)",
                "a computed value for the sharding key",
            ),
        ] {
            let error = both.got.query(statement).error.expect(statement);
            assert_eq!(error.sqlstate(), "0A000", "{statement}: {}", error.message());
            assert!(error.message().contains(says), "{statement}: {}", error.message());
        }
        both.agree_on_rows("what was refused");
    }
}

/// In turn: each finds what those before it have left.
const BEHIND_WITH: &[&str] = &[
    // By rows of other keys.
    "WITH dear AS (SELECT avg(price) AS p FROM events) UPDATE events SET rank = rank + 10 FROM dear WHERE price > dear.p",
    "WITH few AS (SELECT section, count(*) AS n FROM seats GROUP BY section) \
     UPDATE seats SET price = few.n FROM few WHERE few.section = seats.section AND seats.seat_id = 1",
    "WITH cheap AS (SELECT event_id FROM events ORDER BY price, event_id LIMIT 5) \
     DELETE FROM seats WHERE event_id IN (SELECT event_id FROM cheap) RETURNING event_id, seat_id",
    "WITH n AS (SELECT 1 AS a) UPDATE notes SET event_id = event_id + 2000 WHERE event_id IN (110, 111) RETURNING event_id, body",
    "WITH n AS (SELECT count(*) AS c FROM events) UPDATE venues SET city = n.c::text FROM n WHERE venue_id = 1",
    "WITH n AS (SELECT 'x' AS c) UPDATE venues SET city = n.c FROM n WHERE venue_id = 2 RETURNING venue_id",
    "WITH n AS (SELECT 2 AS v) DELETE FROM venues USING n WHERE venue_id > 4 + n.v",
    "WITH n AS (SELECT max(score) AS s FROM notes) INSERT INTO notes (event_id, score) VALUES (901, 1), (902, (SELECT s FROM n)), (903, 3)",
    // On each shard by itself.
    "WITH few AS (SELECT event_id, count(*) AS n FROM seats GROUP BY event_id) \
     UPDATE events SET rank = few.n FROM few WHERE few.event_id = events.event_id RETURNING events.event_id, rank",
    "WITH old AS (SELECT event_id FROM events WHERE rank = 2) DELETE FROM seats USING old WHERE old.event_id = seats.event_id",
];

/// SQLite has no writes within WITH.
const WITHIN_WITH: &[&str] = &[
    "WITH moved AS (DELETE FROM seats WHERE seat_id = 3 RETURNING *) \
     INSERT INTO notes (event_id, body, score) SELECT event_id, section, price FROM moved WHERE event_id = 7",
    "WITH moved AS (DELETE FROM notes WHERE event_id BETWEEN 104 AND 106 RETURNING *) \
     INSERT INTO seats (event_id, seat_id, section) SELECT event_id, 1, left(body, 5) FROM moved RETURNING *",
    "WITH gone AS (DELETE FROM seats WHERE seat_id = 4 RETURNING event_id, price) SELECT event_id, price * 2 FROM gone WHERE price > 1",
    "WITH a AS (UPDATE events SET rank = 99 WHERE event_id IN (1, 2, 3)), b AS (DELETE FROM notes WHERE event_id = 107 RETURNING *) \
     UPDATE seats SET section = 'Z' WHERE event_id IN (4, 5, 6)",
    "WITH a AS (UPDATE events SET rank = rank + 1 RETURNING event_id, rank), b AS (SELECT * FROM a WHERE rank > 2) \
     UPDATE seats SET price = b.rank FROM b WHERE b.event_id = seats.event_id RETURNING seats.event_id, seats.seat_id, b.rank",
    "WITH a AS (UPDATE events SET rank = rank + 1 WHERE event_id = 5 RETURNING *) SELECT count(*), max(rank) FROM a",
    "WITH a AS (UPDATE events SET rank = 1 / (event_id - 9) RETURNING event_id) DELETE FROM seats USING a WHERE a.event_id = seats.event_id",
    "WITH a AS (INSERT INTO notes (event_id, body) SELECT event_id, 'b' FROM events WHERE event_id = 8 RETURNING *) DELETE FROM events WHERE event_id = 8",
    "WITH a AS (INSERT INTO notes (event_id, body) VALUES (801, 'x'), (802, 'y'), (803, 'x') RETURNING event_id, body) \
     SELECT body, count(*), sum(event_id) FROM a GROUP BY body HAVING count(*) > 0",
    "WITH a (e, p) AS MATERIALIZED (UPDATE seats SET price = price + 1 WHERE price > 3 RETURNING event_id, price) \
     SELECT e, p FROM a WHERE p > 4 ORDER BY p DESC, e LIMIT 4",
    "WITH a AS (UPDATE events SET rank = 50 WHERE rank < 0 RETURNING *) SELECT count(*), max(title), sum(price), min(day) FROM a",
    "WITH a AS (UPDATE events SET rank = rank + 1 RETURNING event_id, title, day, price, rank::text AS r) \
     SELECT a.title, max(b.day), avg(b.price), string_agg(b.r, ',' ORDER BY b.event_id) FROM a JOIN a b USING (title) GROUP BY 1",
    "WITH a AS (DELETE FROM seats WHERE seat_id = 2 RETURNING price) SELECT count(*) FROM a",
    "WITH a AS (UPDATE seats SET price = price + 1) SELECT count(*)",
    "WITH a AS (DELETE FROM seats WHERE seats.seat_id = 5) SELECT 1 AS one, (SELECT 2)",
    "WITH a AS (DELETE FROM seats WHERE seat_id = 1 RETURNING event_id) SELECT 1 / (count(*) - count(*)) FROM a",
];

#[test]
fn what_is_returned_and_put_together_has_its_order_and_its_types() {
    let mut both = Both::start_with(true, "");
    for statement in [
        "WITH a AS (UPDATE seats SET price = price + 1 RETURNING event_id, seat_id, price, held) \
         SELECT * FROM a ORDER BY price DESC, event_id, seat_id OFFSET 3 LIMIT 7",
        "WITH a AS (UPDATE events SET rank = rank + 1 RETURNING *) SELECT rank, avg(price), max(day), bool_and(venue_id > 1) FROM a GROUP BY rank ORDER BY rank",
        "WITH a AS (DELETE FROM events WHERE event_id > 99 RETURNING *) SELECT * FROM a ORDER BY 1",
    ] {
        both.agree_on(statement);
        both.agree_on_rows(statement);
    }
    let bound = "WITH a AS (UPDATE events SET rank = rank + $1 WHERE rank < $2 RETURNING rank) SELECT count(*) FROM a WHERE rank > $3";
    let values = [Value::text(2), Value::text(9), Value::text(4)];
    let (expected, got) = (both.expected.extended(bound, &values), both.got.extended(bound, &values));
    assert_eq!(got.texts(), expected.texts());
    both.agree_on_rows(bound);
    let too_many = "WITH a AS (INSERT INTO notes (event_id, score, body) SELECT n, 1, 'x' FROM generate_series(10001, 40000) n RETURNING *) SELECT count(*) FROM a";
    assert_eq!(both.got.query(too_many).sqlstate(), "54000");
    let too_large = "WITH a AS (UPDATE events SET rank = rank + 1 RETURNING *) \
                     SELECT repeat('x', 10000000) FROM a, a b";
    assert_eq!(both.got.query(too_large).sqlstate(), "54000");
    for nothing in ["SELECT * FROM a", "SELECT count(*) FROM seats, a", "SELECT (SELECT count(*) FROM a)"] {
        let nothing = format!("WITH a AS (DELETE FROM seats) {nothing}");
        assert_eq!(both.got.query(&nothing).sqlstate(), "0A000", "{nothing}");
    }
    both.agree_on_rows("too many rows");
}

#[test]
fn writes_that_begin_with_with_leave_what_one_database_leaves() {
    for mut both in Both::of_each_kind() {
        both.run("INSERT INTO notes (event_id, body, score) SELECT event_id + 100, title, price FROM events");
        let within = if both.over_postgres { WITHIN_WITH } else { &[] };
        for statement in BEHIND_WITH.iter().chain(within) {
            agree_wherever(&mut both, statement);
        }
        for statement in [
            "WITH a AS (DELETE FROM seats RETURNING price) SELECT count(*) FROM a, events",
            "WITH a AS (DELETE FROM seats RETURNING price) UPDATE events SET price = a.price FROM a WHERE a.price > events.rank",
            "WITH a AS (DELETE FROM seats RETURNING *) UPDATE notes SET event_id = 5 FROM a WHERE a.event_id = notes.event_id",
        ] {
            assert_eq!(both.got.query(statement).error.expect(statement).sqlstate(), "0A000", "{statement}");
        }
        both.agree_on_rows("what was refused");
    }
}

const KEYSPACES: &str = "[[keyspaces]]\nname = \"main\"\nkey_column = \"event_id\"\nkey_type = \"bigint\"\nSHARDS_OF_MAIN\n\
                         [[keyspaces]]\nname = \"people\"\nkey_column = \"email\"\nkey_type = \"text\"\nSHARDS_OF_PEOPLE\n";

/// In turn: each finds what those before it have left.
const BETWEEN_KEYSPACES: &[&str] = &[
    "INSERT INTO notes (event_id, body) SELECT 300 + row_number() OVER (ORDER BY email), email FROM people",
    "INSERT INTO people (email, spent) SELECT 'event' || event_id || '@x', price FROM events WHERE rank = 2 RETURNING email",
    "INSERT INTO people (email, spent) VALUES ('max@x', (SELECT max(price) FROM events))",
    "INSERT INTO notes (event_id, score) VALUES (500, (SELECT sum(spent) FROM people))",
    "UPDATE people SET spent = e.price FROM events e WHERE e.title = people.title AND e.event_id < 7",
    "UPDATE people SET spent = spent + (SELECT count(*) FROM seats) WHERE email = 'a@x' RETURNING email, spent",
    "UPDATE notes SET flag = EXISTS (SELECT 1 FROM people WHERE email = notes.body)",
    "DELETE FROM people USING notes WHERE notes.body = people.email AND people.spent > 3",
    "WITH p AS (SELECT email, title FROM people) DELETE FROM seats USING events e, p WHERE e.event_id = seats.event_id AND p.title = e.title",
    "UPDATE venues SET city = (SELECT min(email) FROM people) WHERE venue_id = 2",
    "INSERT INTO people (email) SELECT NULLIF('p' || event_id, 'p9') FROM events",
];

const MERGES_BETWEEN_KEYSPACES: &[&str] = &[
    "MERGE INTO people p USING (SELECT DISTINCT title AS mail, rank FROM events WHERE event_id IN (1, 2, 3)) e ON p.email = e.mail \
     WHEN NOT MATCHED THEN INSERT (email, spent) VALUES (e.mail, e.rank)",
    "MERGE INTO notes n USING people p ON n.event_id = p.number WHEN MATCHED THEN UPDATE SET body = p.email \
     WHEN NOT MATCHED AND p.number < 700 THEN INSERT (event_id, body) VALUES (p.number, p.title)",
];

#[test]
fn a_write_may_read_another_keyspace() {
    for over_postgres in [true, false] {
        let shards = if over_postgres { ["", "shards = ['s3']"] } else { ["", ""] };
        let configuration = KEYSPACES.replace("SHARDS_OF_MAIN", shards[0]).replace("SHARDS_OF_PEOPLE", shards[1]);
        let mut both = Both::start_with(over_postgres, &configuration);
        both.run("CREATE TABLE people (email text PRIMARY KEY, title text, spent numeric(10,2), number int)");
        for (number, mail) in ["a@x", "b@x", "c@x", "d@x"].iter().enumerate() {
            both.run(&format!("INSERT INTO people VALUES ('{mail}', 'event {number}', {number}.5, 60{number})"));
        }
        let people = "SELECT * FROM people ORDER BY email COLLATE \"C\"";
        let merges = if over_postgres { MERGES_BETWEEN_KEYSPACES } else { &[] };
        for statement in BETWEEN_KEYSPACES.iter().chain(merges) {
            agree_wherever(&mut both, statement);
            assert_eq!(both.got.query(people).texts(), both.expected.query(people).texts(), "{statement}");
        }
        // The second time, its plan is known.
        for _ in 0..2 {
            both.agree_on("SELECT count(*) FROM people p JOIN events e ON e.title = p.title OR e.rank = p.number % 4");
        }
        for statement in [
            "UPDATE people SET email = 'z' || title FROM events e WHERE e.title = people.title",
            "WITH d AS (DELETE FROM people RETURNING *) INSERT INTO notes (event_id, body) SELECT number, email FROM d",
            "TRUNCATE people, notes",
        ] {
            assert_eq!(both.got.query(statement).error.expect(statement).sqlstate(), "0A000", "{statement}");
        }
        both.agree_on_rows("what was refused");
    }
}

/// Each database numbers an enum's type by itself, so parameters of it go out without a type.
#[test]
fn parameters_of_an_enum_may_be_left_out_of_a_part() {
    let shardd = Shardd::start_over_postgres();
    let mut client = shardd.client();
    client.run("CREATE TYPE mood AS ENUM ('good', 'bad')");
    client.run("CREATE TABLE days (event_id bigint PRIMARY KEY, mood mood, note text)");
    let values = |values: &[&str]| values.iter().map(Value::text).collect::<Vec<_>>();
    let insert = "INSERT INTO days VALUES (1, $1, 'a'), (2, $2, 'b'), (3, $3, 'c'), (4, $4, 'd'), (5, $5, 'e')";
    client.extended(insert, &values(&["good", "bad", "good", "bad", "good"])).expect_tag("INSERT 0 5");
    let update =
        "UPDATE days SET note = (SELECT max(note) FROM days WHERE mood = $1) WHERE mood = $2 RETURNING event_id";
    assert_eq!(client.extended(update, &values(&["good", "bad"])).texts().len(), 2);
    let carried =
        "INSERT INTO days SELECT event_id + 10, $1, note FROM days WHERE event_id < 3 RETURNING nullif(mood, $2)";
    assert_eq!(client.extended(carried, &values(&["bad", "good"])).texts().len(), 2);
    let rows = client.query("SELECT count(*), min(note) FROM days WHERE mood = 'bad'").texts();
    assert_eq!(rows, [[Some("4".to_owned()), Some("a".to_owned())]]);
    let read =
        "SELECT count(*) FROM days a JOIN days b ON a.mood = b.mood AND a.mood = $1 WHERE coalesce(b.mood, $2) = $1";
    assert_eq!(client.extended(read, &values(&["good", "bad"])).value(), "9");
}
