//! Writes to a reference table that every Postgres shard would answer by itself leave the same rows on all of them.

use crate::support::Both;
use crate::support::both::agree_wherever;

/// What one server has to answer for all copies. In turn: each finds what those before it have left.
const OF_COPIES: &[&str] = &[
    "UPDATE venues SET city = to_char(date '2024-02-29' + venue_id, 'YYYY-MM-DD') WHERE venue_id < 3 RETURNING *",
    "UPDATE venues v SET name = upper(v.name) WHERE (v.city, 1) IN (SELECT city, 1 FROM venues WHERE venue_id = 2) RETURNING v.name, to_timestamp(v.venue_id)",
    "UPDATE venues SET (name, city) = (SELECT max(name) || 'x', min(city) FROM venues)",
    "UPDATE venues SET city = w.city || '!' FROM (SELECT venue_id + 1 AS next, city FROM venues ORDER BY venue_id LIMIT 2) w WHERE w.next = venues.venue_id",
    "WITH n AS (SELECT count(*) AS n FROM venues) UPDATE venues SET city = to_char(n.n, '99') FROM n WHERE venue_id = 1",
    "UPDATE venues SET city = DEFAULT WHERE EXISTS (SELECT 1 FROM venues w WHERE w.venue_id = venues.venue_id + 2)",
    "UPDATE venues SET city = 'nobody' WHERE to_char(venue_id, '99') = 'x'",
    "UPDATE venues SET name = NULL WHERE venue_id IN (SELECT 3)",
    "DELETE FROM venues WHERE venue_id = (SELECT max(venue_id) FROM venues) RETURNING *",
    "DELETE FROM venues v USING (SELECT min(venue_id) AS least FROM venues) w WHERE w.least = v.venue_id RETURNING to_char(v.venue_id, '9')",
];

#[test]
fn copies_follow_what_one_of_them_has_become() {
    let mut both = Both::start_with(true, "");
    for statement in OF_COPIES {
        agree_wherever(&mut both, statement);
    }
    both.run("UPDATE venues SET city = gen_random_uuid()::text");
    both.expected.run("UPDATE venues SET city = 'x'");
    both.got.run("UPDATE venues SET city = 'x' WHERE city IN (SELECT city FROM venues)");
    both.agree_on_rows("random values");
    // Without a primary key nobody finds the row again; nor when it changes.
    both.got.run("CREATE TABLE words (word text)");
    for statement in [
        "UPDATE words SET word = 'y' WHERE word IN (SELECT 'x')",
        "UPDATE venues SET venue_id = venue_id + 100 WHERE EXISTS (SELECT 1 FROM venues)",
        "MERGE INTO venues USING (SELECT 1 AS a) s ON a = venue_id WHEN MATCHED THEN UPDATE SET city = to_char(a, '9')",
    ] {
        assert_eq!(both.got.query(statement).error.expect(statement).sqlstate(), "0A000", "{statement}");
    }
    both.copies_agree("what was refused");
}
