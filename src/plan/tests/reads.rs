//! Reads: which keys, and how several shards are put together.

use super::check;

#[test]
fn keys_come_from_equality_however_it_is_written() {
    check(&[
        ("SELECT * FROM seats WHERE event_id = 7", "{7} | ..."),
        ("SELECT * FROM seats WHERE 7 = event_id", "{7} | ..."),
        ("SELECT * FROM seats WHERE event_id = 007", "{7} | ..."),
        ("SELECT * FROM seats WHERE event_id = '7'", "{7} | ..."),
        ("SELECT * FROM seats WHERE event_id = $1", "{$1} | ..."),
        ("SELECT * FROM seats WHERE event_id = -$1", "{-$1} | ..."),
        ("SELECT * FROM seats WHERE (event_id) = (($1)::bigint)", "{$1} | ..."),
        ("SELECT * FROM seats WHERE event_id::bigint = CAST($1 AS int)", "{$1} | ..."),
        ("SELECT * FROM seats WHERE status = 'x' AND (seat_id = 1 AND event_id = 5)", "{5} | ..."),
        ("SELECT * FROM seats s WHERE s.event_id = 5", "{5} | ..."),
        ("SELECT * FROM public.seats WHERE seats.event_id = 5", "{5} | ..."),
        ("SELECT * FROM public.seats WHERE public.seats.event_id = 5", "{5} | ..."),
        ("SELECT * FROM SEATS WHERE EVENT_ID = 5", "{5} | ..."),
        ("SELECT * FROM \"Odd\" WHERE \"event_id\" = 5", "{5} | ..."),
        ("SELECT * FROM U&\"se\\0061ts\" WHERE event_id = 5", "{5} | ..."),
        ("SELECT * FROM seats WHERE event_id IN (1, 2, $1)", "{1,2,$1} | ..."),
        ("SELECT * FROM seats WHERE event_id = ANY($1)", "{ANY($1)} | ..."),
        ("SELECT * FROM seats WHERE event_id = ANY($1::bigint[])", "{ANY($1)} | ..."),
        ("SELECT * FROM seats WHERE event_id = ANY(ARRAY[1,2])", "{1,2} | ..."),
        ("SELECT * FROM seats WHERE event_id = ANY('{1,2}')", "{1,2} | ..."),
        ("SELECT * FROM seats WHERE (event_id, seat_id) = (1, 2)", "{1} | ..."),
        ("SELECT * FROM seats WHERE (seat_id, event_id) IN ((1, 2), (3, 4))", "{2,4} | ..."),
        ("SELECT * FROM seats WHERE event_id = 1 OR event_id = 2", "{1,2} | ..."),
        (
            "SELECT * FROM seats WHERE (event_id = 1 AND seat_id = 3) OR (seat_id = 4 AND event_id IN (2, 3))",
            "{1,2,3} | ...",
        ),
        ("SELECT * FROM seats WHERE event_id = NULL", "{NULL} | ..."),
        ("SELECT * FROM seats WHERE event_id = 1 AND event_id = 2", "{1}&{2} | ..."),
        ("SELECT * FROM users WHERE email = 'a''b'", "{'a''b'} | ..."),
        ("SELECT * FROM users WHERE email = E'a\\'b'", "{'a''b'} | ..."),
        ("SELECT * FROM users WHERE email = $$a'b$$", "{'a''b'} | ..."),
        ("SELECT * FROM users WHERE email = U&'\\0061'", "{'a'} | ..."),
        (
            "SELECT * FROM sessions WHERE id = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
            "{'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'} | ...",
        ),
        ("TABLE seats", "0A000 ..."),
        ("SELECT * FROM ONLY seats WHERE event_id = 1", "0A000 ONLY is not supported by shardd"),
    ]);
}

#[test]
fn what_is_not_certain_gives_no_key() {
    check(&[
        ("SELECT * FROM seats", "every | ..."),
        ("SELECT * FROM seats WHERE event_id = 1 OR status = 'x'", "every | ..."),
        ("SELECT * FROM seats WHERE NOT event_id = 1", "every | ..."),
        ("SELECT * FROM seats WHERE event_id <> 1", "every | ..."),
        ("SELECT * FROM seats WHERE event_id NOT IN (1, 2)", "every | ..."),
        ("SELECT * FROM seats WHERE event_id IN (1, seat_id)", "every | ..."),
        ("SELECT * FROM seats WHERE event_id = ALL(ARRAY[1])", "every | ..."),
        ("SELECT * FROM seats WHERE CASE WHEN event_id = 1 THEN true ELSE false END", "every | ..."),
        ("SELECT * FROM seats WHERE (event_id = 1) IS NOT FALSE", "every | ..."),
        ("SELECT * FROM seats WHERE (event_id = 1) IS NULL", "every | ..."),
        ("SELECT * FROM seats WHERE coalesce(event_id = 1, true)", "every | ..."),
        ("SELECT * FROM seats WHERE event_id + 0 = 1", "every | ..."),
        ("SELECT * FROM seats WHERE event_id = 1.5", "every | ..."),
        ("SELECT * FROM seats WHERE event_id::text = '1'", "every | ..."),
        ("SELECT * FROM seats WHERE event_id IS NOT DISTINCT FROM 1", "every | ..."),
        ("SELECT event_id = 1 FROM seats", "every | ..."),
        ("SELECT 5 AS event_id FROM seats ORDER BY event_id", "every | ..."),
        ("SELECT * FROM seats WHERE seat_id = 1 /* event_id = 1 */ -- AND event_id = 2", "every | ..."),
        ("SELECT * FROM seats WHERE status = 'event_id = 1'", "every | ..."),
        ("/* shardd: event_id = 1 */ SELECT * FROM seats", "every | ..."),
        ("SELECT * FROM users WHERE email = $1::varchar(3)", "every | ..."),
    ]);
}
