//! Writes: whose rows, and what is refused.

use super::check;

#[test]
fn rows_go_by_their_keys() {
    check(&[
        ("INSERT INTO seats VALUES (1, 2, 'free', 10)", "insert 1"),
        ("INSERT INTO seats (seat_id, event_id) VALUES (1, $1), (2, -3), (3, '4'), (4, 5::bigint)", "insert $1 -3 4 5"),
        ("INSERT INTO orders VALUES (1, 2, 'x')", "insert 2"),
        ("INSERT INTO orders (buyer, event_id) VALUES ('x', 9) RETURNING order_id", "insert 9"),
        ("INSERT INTO venues VALUES (1, 'x')", "reference venues"),
    ]);
}
