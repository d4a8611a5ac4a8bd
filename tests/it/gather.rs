//! Reads that no merge can answer are answered as one Postgres answers them: the rows are brought to one place.

use crate::support::{Both, Value};

/// What all must agree on. Those that Postgres orders are compared in their order.
const READS: &[&str] = &[
    // Windows over rows of many keys.
    "SELECT event_id, rank() OVER (ORDER BY price DESC, event_id) FROM events ORDER BY 1",
    "SELECT event_id, sum(price) OVER (PARTITION BY venue_id ORDER BY event_id) FROM events ORDER BY 1",
    "SELECT event_id, lag(title) OVER (ORDER BY day, event_id), count(*) OVER () FROM events WHERE rank > 0 ORDER BY 1",
    "SELECT DISTINCT first_value(title) OVER (PARTITION BY rank ORDER BY event_id) FROM events ORDER BY 1",
    "SELECT * FROM (SELECT event_id, row_number() OVER (ORDER BY price, event_id) AS n FROM events) x WHERE n <= 5 ORDER BY n",
    "SELECT ntile(4) OVER (ORDER BY event_id), event_id FROM events ORDER BY 2 LIMIT 7 OFFSET 3",
    // Joins that do not compare keys.
    "SELECT count(*) FROM events a JOIN events b ON a.venue_id = b.venue_id AND a.event_id < b.event_id",
    "SELECT a.event_id, b.event_id FROM events a JOIN events b ON a.price = b.price AND a.event_id < b.event_id ORDER BY 1, 2",
    "SELECT e.event_id, s.event_id FROM events e JOIN seats s ON s.price > e.price + 9 ORDER BY 1, 2, s.seat_id",
    "SELECT a.title, count(*) FROM events a LEFT JOIN events b ON b.rank = a.rank + 1 GROUP BY a.title ORDER BY 1",
    "SELECT count(*) FROM events a FULL JOIN seats b ON a.rank = b.seat_id",
    "SELECT v.name, e.title FROM venues v LEFT JOIN events e ON e.venue_id = v.venue_id ORDER BY 1, 2, e.event_id",
    "SELECT count(*) FROM events, seats",
    // Subqueries of other keys.
    "SELECT event_id FROM events WHERE price = (SELECT max(price) FROM events) ORDER BY 1",
    "SELECT event_id FROM events WHERE price > (SELECT avg(price) FROM seats) ORDER BY 1",
    "SELECT event_id, (SELECT count(*) FROM seats s WHERE s.price < e.price) FROM events e ORDER BY 1",
    "SELECT event_id FROM events e WHERE NOT EXISTS (SELECT 1 FROM events f WHERE f.price > e.price) ORDER BY 1",
    "SELECT name FROM venues v WHERE (SELECT count(*) FROM events e WHERE e.venue_id = v.venue_id) > 3 ORDER BY 1",
    "SELECT event_id FROM events WHERE rank IN (SELECT seat_id FROM seats WHERE section = 'B') ORDER BY 1",
    "SELECT event_id FROM events WHERE price >= ALL (SELECT price FROM events WHERE venue_id = 1) ORDER BY 1",
    "SELECT (SELECT count(*) FROM events), (SELECT sum(price) FROM seats)",
    "SELECT title FROM events WHERE event_id = 3 AND price < (SELECT sum(price) FROM seats)",
    // WITH and set operations over keys.
    "WITH dear AS (SELECT venue_id, avg(price) AS p FROM events GROUP BY venue_id) \
     SELECT e.event_id FROM events e JOIN dear d ON d.venue_id = e.venue_id AND e.price > d.p ORDER BY 1",
    "WITH RECURSIVE up(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < 5) \
     SELECT n, (SELECT count(*) FROM events WHERE rank < n) FROM up ORDER BY 1",
    "SELECT venue_id FROM events INTERSECT SELECT seat_id FROM seats ORDER BY 1",
    "SELECT rank FROM events EXCEPT SELECT seat_id FROM seats WHERE section IS NOT NULL ORDER BY 1",
    "(SELECT title FROM events ORDER BY price DESC, event_id LIMIT 2) UNION ALL (SELECT section FROM seats ORDER BY price, event_id, seat_id LIMIT 2) ORDER BY 1",
    "SELECT count(*) FROM (SELECT event_id FROM events ORDER BY price LIMIT 10) x",
    "SELECT sum(c) FROM (SELECT venue_id, count(*) AS c FROM events GROUP BY venue_id HAVING count(*) > 2) x",
    // Aggregates that need every row in one place.
    "SELECT string_agg(title, ',' ORDER BY event_id) FROM events",
    "SELECT rank, array_agg(event_id ORDER BY event_id DESC) FROM events GROUP BY rank ORDER BY rank",
    "SELECT e.event_id, e.title, count(*) FROM events e JOIN seats s ON s.seat_id = e.rank GROUP BY e.event_id ORDER BY 1",
    "SELECT v.name, v.city, count(*) FROM venues v JOIN events e USING (venue_id) GROUP BY v.venue_id ORDER BY 1",
    "SELECT DISTINCT ON (venue_id) venue_id, event_id FROM events ORDER BY venue_id, price DESC, event_id",
    // What SQLite has no word for.
    "SELECT venue_id, string_agg(DISTINCT title, '+' ORDER BY title) FROM events GROUP BY venue_id ORDER BY 1",
    "SELECT venue_id FROM events EXCEPT ALL SELECT venue_id FROM venues ORDER BY 1",
    "SELECT rank, count(*) FROM events GROUP BY ROLLUP (rank) ORDER BY 1",
    "SELECT venue_id, rank, sum(price) FROM events GROUP BY CUBE (venue_id, rank) ORDER BY 1, 2, 3",
    "SELECT e.event_id, x.p FROM events e, LATERAL (SELECT max(price) AS p FROM seats s WHERE s.price < e.price) x ORDER BY 1",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY price) FROM events",
    "SELECT mode() WITHIN GROUP (ORDER BY title), json_agg(event_id ORDER BY event_id) FROM events",
    "SELECT stddev(price), variance(price), round(corr(price, rank)::numeric, 10) FROM events",
    "SELECT price FROM events ORDER BY price FETCH FIRST 3 ROWS WITH TIES",
    "SELECT count(DISTINCT (venue_id, rank)) FROM events",
    "SELECT row_to_json(e), rank() OVER (ORDER BY event_id) FROM public.events e WHERE rank = 1 ORDER BY event_id",
    "SELECT title FROM public.events WHERE public.events.price > (SELECT avg(price) FROM public.events) ORDER BY event_id",
    "SELECT sum(price) OVER w, event_id FROM events WINDOW w AS (ORDER BY event_id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) ORDER BY 2",
    "SELECT venue_id, rank, count(*), grouping(venue_id, rank) FROM events GROUP BY GROUPING SETS ((venue_id, rank), ROLLUP (rank)) ORDER BY 4, 1, 2",
    "SELECT v.name, x.* FROM venues v LEFT JOIN LATERAL (SELECT e.title, e.price, e.day FROM events e WHERE e.venue_id = v.venue_id ORDER BY e.price DESC, e.event_id LIMIT 2) x ON true ORDER BY 1, 3, 2",
    "SELECT section FROM seats INTERSECT ALL (SELECT section FROM seats WHERE seat_id = 2 UNION ALL SELECT city FROM venues) ORDER BY 1",
    "SELECT section, percentile_disc(0.5) WITHIN GROUP (ORDER BY held), mode() WITHIN GROUP (ORDER BY seat_id DESC) FROM seats GROUP BY ROLLUP (section) ORDER BY 1",
    "SELECT v.venue_id, json_agg(e ORDER BY e.event_id), count(e) FROM venues v LEFT JOIN events e USING (venue_id) GROUP BY v.venue_id ORDER BY 1",
    "SELECT string_agg(DISTINCT title, ', '), array_agg(DISTINCT rank) FROM events",
    // Rows as they are.
    "SELECT *, rank() OVER (ORDER BY event_id) FROM events ORDER BY event_id",
    "SELECT e.*, count(*) OVER () FROM public.events e WHERE e.rank = 2 ORDER BY 1",
];

/// Those that the SQLite dialect does not speak, on one shard either.
const POSTGRES_READS: &[&str] = &["SELECT e FROM events e WHERE (SELECT count(*) FROM events) > 3 ORDER BY 1"];

#[test]
fn reads_over_rows_of_many_keys_are_answered_as_by_one_database() {
    for mut both in Both::of_each_kind() {
        for statement in READS {
            both.agree_on(statement);
        }
        if both.over_postgres {
            for statement in POSTGRES_READS {
                both.agree_on(statement);
            }
        }
        // In a transaction, too, at each level.
        for level in ["READ COMMITTED", "REPEATABLE READ"] {
            for client in [&mut both.expected, &mut both.got] {
                client.run(&format!("BEGIN ISOLATION LEVEL {level} READ ONLY"));
            }
            READS.iter().step_by(3).for_each(|statement| both.agree_on(statement));
            for client in [&mut both.expected, &mut both.got] {
                client.run("COMMIT");
            }
        }
    }
}

#[test]
fn parameters_mean_the_same_where_rows_were_brought() {
    for mut both in Both::of_each_kind() {
        let statement = "SELECT e.event_id, rank() OVER (ORDER BY price, event_id) FROM events e \
                         WHERE e.rank = $1 AND e.title <> $2 AND e.day > $3 ORDER BY 1";
        let values = [Value::text(1), Value::text("event 3"), Value::text("2026-01-03")];
        for _ in 0..2 {
            let (expected, got) = (both.expected.extended(statement, &values), both.got.extended(statement, &values));
            assert_eq!(got.texts(), expected.texts());
            assert!(!got.rows.is_empty());
        }
    }
}

#[test]
fn a_transaction_sees_what_it_has_written() {
    for mut both in Both::of_each_kind() {
        for client in [&mut both.expected, &mut both.got] {
            client.run("BEGIN");
            client.run("UPDATE events SET price = 999 WHERE event_id = 5");
            client.run("DELETE FROM seats WHERE event_id = 5");
        }
        for statement in [
            "SELECT event_id FROM events WHERE price = (SELECT max(price) FROM events)",
            "SELECT event_id, rank() OVER (ORDER BY price DESC, event_id) FROM events ORDER BY 2 LIMIT 3",
            "SELECT count(*) FROM seats a JOIN seats b ON a.seat_id = b.seat_id",
        ] {
            both.agree_on(statement);
        }
        for client in [&mut both.expected, &mut both.got] {
            client.run("ROLLBACK");
        }
        both.agree_on("SELECT event_id FROM events WHERE price = (SELECT max(price) FROM events) ORDER BY 1");
    }
}

/// Copies of reference tables, too: the place where rows are brought has a snapshot of its own.
#[test]
fn a_transaction_sees_what_it_saw_first() {
    for mut both in Both::of_each_kind() {
        let statement = "SELECT count(*), max(v.name) FROM venues v, events a JOIN events b ON a.rank = b.rank";
        both.got.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        let before = both.got.query(statement).texts();
        both.shardd.client().run("INSERT INTO venues VALUES (9, 'Zenith', NULL)");
        both.shardd.client().run("DELETE FROM events WHERE event_id = 3");
        assert_eq!(both.got.query(statement).texts(), before);
        both.got.run("COMMIT");
        assert_ne!(both.got.query(statement).texts(), before);
    }
}

#[test]
fn a_change_of_the_schema_is_not_waited_for_by_its_own_transaction() {
    let mut both = Both::start_with(true, "");
    both.got.run("BEGIN");
    both.got.run("ALTER TABLE events ADD COLUMN note text");
    assert_eq!(both.got.query("SELECT note, rank() OVER (ORDER BY event_id) FROM events").texts().len(), 24);
    both.got.run("ROLLBACK");
    assert_eq!(
        both.got.query("SELECT count(*) FROM (SELECT rank() OVER (ORDER BY event_id) FROM events) x").value(),
        "24"
    );
}

#[test]
fn what_is_brought_is_bounded() {
    for over_postgres in [false, true] {
        let mut both = Both::start_with(over_postgres, "[limits]\ngather_max_bytes = 65536\n");
        for number in 0..40 {
            both.got.run(&format!("INSERT INTO events VALUES ({}, 1, repeat('x', 2000), 1, NULL, 1)", 1000 + number));
        }
        let refused = both.got.query("SELECT title, rank() OVER () FROM events");
        assert_eq!(refused.sqlstate(), "54000", "{refused:?}");
        let error = refused.error.expect("an error");
        assert!(error.message().contains("events"), "{}", error.message());
        assert!(error.hint().contains("gather_max_bytes"), "{}", error.hint());
        // What it needs is little, and the session goes on.
        assert_eq!(
            both.got.query("SELECT max(r) FROM (SELECT rank() OVER (ORDER BY event_id) AS r FROM events) x").value(),
            "64"
        );
        assert_eq!(
            both.got
                .query("SELECT count(*) FROM (SELECT title, rank() OVER () FROM events WHERE event_id < 100) x")
                .value(),
            "24"
        );
    }
}

/// What is left of a read must not be seen by the next client of the same connection.
#[test]
fn nothing_stays_behind_on_the_servers() {
    let mut both = Both::start_with(true, "");
    for _ in 0..8 {
        both.agree_on(READS[0]);
        let failed = both.got.query("SELECT 1 / (rank - 1), rank() OVER () FROM events");
        assert_eq!(failed.sqlstate(), "22012");
    }
    for shard in ["s1", "s2", "s3"] {
        let left = "SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'";
        assert_eq!(both.postgres.client_of(shard).query(left).value(), "0", "{shard}");
        let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
        assert_eq!(both.postgres.client_of(shard).query(open).value(), "0", "{shard}");
    }
    both.got.run("INSERT INTO events VALUES (500, 1, 'last', 1, NULL, 1)");
    assert_eq!(both.got.query("SELECT title FROM events WHERE event_id = 500").value(), "last");
}

/// Shards have clocks of their own, and a statement has one time.
#[test]
fn the_time_is_one_on_all_shards() {
    for mut both in Both::of_each_kind() {
        let client = &mut both.got;
        for statement in [
            "SELECT count(DISTINCT n) FROM (SELECT now() AS n, rank() OVER (ORDER BY event_id) FROM events) x",
            "SELECT count(*) FROM (SELECT DISTINCT now() FROM events) x",
            "SELECT count(*) FROM events WHERE now() <> current_timestamp",
        ] {
            let expected = if statement.contains("<>") { "0" } else { "1" };
            assert_eq!(client.query(statement).value(), expected, "{statement}");
            client.run("BEGIN");
            assert_eq!(client.query(statement).value(), expected, "{statement}");
            client.run("COMMIT");
        }
        let named = client.query("SELECT now(), current_date FROM events ORDER BY event_id LIMIT 1");
        let names: Vec<String> = named.columns.into_iter().flatten().map(|column| column.name).collect();
        assert_eq!(names, ["now", "current_date"]);
        client.run("CREATE TABLE moments (event_id bigint PRIMARY KEY, at timestamptz, day date)");
        let rows: Vec<String> = (0..12).map(|key| format!("({key}, now(), current_date)")).collect();
        client.run(&format!("INSERT INTO moments VALUES {}", rows.join(", ")));
        assert_eq!(
            client.query("SELECT count(DISTINCT at), count(DISTINCT day) FROM moments").texts(),
            [[Some("1".to_owned()), Some("1".to_owned())]]
        );
        client.run("UPDATE moments SET at = now() + interval '1 hour'");
        assert_eq!(client.query("SELECT count(DISTINCT at) FROM moments WHERE at > now()").value(), "1");
    }
}

#[test]
fn what_does_more_than_reading_is_refused() {
    let mut both = Both::start_with(true, "");
    for shard in ["s1", "s2", "s3"] {
        both.postgres.client_of(shard).run(
            "CREATE FUNCTION note(bigint) RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT $1'; \
             CREATE FUNCTION dearest() RETURNS numeric LANGUAGE sql STABLE AS 'SELECT max(price) FROM events'; \
             CREATE FUNCTION twice_dearest() RETURNS numeric LANGUAGE sql STABLE AS 'SELECT 2 * dearest()'; \
             CREATE FUNCTION venue_count() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM venues'",
        );
    }
    std::thread::sleep(std::time::Duration::from_millis(5_500));
    // Functions are looked up again when a session begins, beside it.
    both.got = both.shardd.client();
    let begun = std::time::Instant::now();
    while !both.got.query("SELECT dearest() FROM events").error.is_some_and(|error| error.message().contains("dearest"))
    {
        assert!(begun.elapsed() < crate::support::PATIENCE, "the function is not known");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let window = "rank() OVER (ORDER BY event_id)";
    for (statement, names) in [
        (format!("SELECT note(event_id), {window} FROM events"), "function"),
        (format!("SELECT dearest(), {window} FROM events"), "dearest()"),
        ("SELECT event_id FROM events WHERE price = twice_dearest()".to_owned(), "twice_dearest()"),
        (format!("SELECT ctid, {window} FROM events"), "ctid"),
        (format!("SET search_path = public, pg_temp; SELECT {window} FROM events"), "search_path"),
    ] {
        let answers = both.got.simple(&statement);
        let error = answers.last().and_then(|answer| answer.error.as_ref()).expect("an error");
        assert!(["0A000", "42601"].contains(&error.sqlstate()), "{statement}: {error:?}");
        assert!(error.message().contains(names), "{statement}: {error:?}");
    }
    both.got.run("RESET search_path");
    // What reads reference tables finds the same on every shard.
    assert_eq!(both.got.query("SELECT count(*) FROM events WHERE rank < venue_count()").value(), "24");
    assert_eq!(
        both.got.query("SELECT max(v) FROM (SELECT venue_count() AS v, rank() OVER () FROM events) x").value(),
        "4"
    );
}
