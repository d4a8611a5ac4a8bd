//! Broken constraints in Postgres's words.

use super::*;

/// SQLSTATE, message, detail, table, column, constraint.
type Told = (String, String, String, String, String, String);

fn told<T>(result: Result<T>) -> Told {
    let error = result.map(|_| ()).unwrap_err();
    let text = |field: Option<&str>| field.unwrap_or("").to_owned();
    (
        error.code().to_owned(),
        error.message().to_owned(),
        text(error.get_detail()),
        text(error.get_table()),
        text(error.get_column()),
        text(error.get_constraint()),
    )
}

fn expected(state: &str, message: &str, detail: &str, [table, column, constraint]: [&str; 3]) -> Told {
    let own = str::to_owned;
    (own(state), own(message), own(detail), own(table), own(column), own(constraint))
}

async fn filled() -> Fixture {
    let fixture = Fixture::new().await;
    for sql in [
        "INSERT INTO venues VALUES (7, 'hall'), (8, 'arena')",
        "INSERT INTO seats VALUES (1, 1, 10, 'front'), (1, 2, 20, NULL)",
        "INSERT INTO orders VALUES (100, 1, 1, 7)",
    ] {
        fixture.write(sql, vec![]).await.unwrap();
    }
    fixture
}

#[tokio::test]
async fn a_duplicate_key_names_constraint_and_values() {
    let fixture = filled().await;
    let sql = "INSERT INTO seats (event_id, seat_id, price) VALUES (1, 3, 1), (1, ?1, 5), (1, 4, 1)";
    assert_eq!(
        told(fixture.write(sql, vec![int(2)]).await),
        expected(
            "23505",
            "duplicate key value violates unique constraint \"seats_pkey\"",
            "Key (event_id, seat_id)=(1, 2) already exists.",
            ["seats", "", "seats_pkey"]
        )
    );
    assert_eq!(
        told(fixture.write("INSERT INTO venues VALUES (9, 'x'), (10, 'hall')", vec![]).await),
        expected(
            "23505",
            "duplicate key value violates unique constraint \"venues_name_key\"",
            "Key (name)=(hall) already exists.",
            ["venues", "", "venues_name_key"]
        )
    );
    assert_eq!(
        told(fixture.write("UPDATE venues SET name = 'arena' WHERE id = 7", vec![]).await).2,
        "Key (name)=(arena) already exists."
    );
    assert_eq!(told(fixture.write("INSERT INTO venues VALUES (7, 'x')", vec![]).await).5, "venues_pkey",);
    assert_eq!(fixture.number("SELECT count(*) FROM venues").await, 2);
}

#[tokio::test]
async fn a_unique_index_is_found_by_its_columns() {
    let fixture = filled().await;
    let mut transaction = fixture.begin(TransactionMode::Schema).await.unwrap();
    let index = "CREATE UNIQUE INDEX seats_label ON seats (event_id, label)";
    transaction.run_batch(vec![index.to_owned()]).await.unwrap();
    transaction.commit().await.unwrap();
    let (_, message, detail, ..) = told(fixture.write("INSERT INTO seats VALUES (1, 9, 1, 'front')", vec![]).await);
    assert_eq!(message, "duplicate key value violates unique constraint \"seats_label\"");
    assert_eq!(detail, "Key (event_id, label)=(1, front) already exists.");
    let mut transaction = fixture.begin(TransactionMode::Schema).await.unwrap();
    let index = "CREATE UNIQUE INDEX seats_upper ON seats (event_id, upper(label))";
    transaction.run_batch(vec![index.to_owned()]).await.unwrap();
    transaction.commit().await.unwrap();
    let (_, message, ..) = told(fixture.write("INSERT INTO seats VALUES (1, 9, 1, 'FRONT')", vec![]).await);
    assert_eq!(message, "duplicate key value violates unique constraint \"seats_upper\"");
}

#[tokio::test]
async fn the_failing_row_is_shown() {
    let fixture = filled().await;
    assert_eq!(
        told(
            fixture
                .write(
                    "INSERT INTO seats VALUES (1, 8, 3, 'ok'), (1, 9, -5, ?1)",
                    vec![Datum::Text("ä".repeat(40).into())]
                )
                .await
        ),
        expected(
            "23514",
            "new row for relation \"seats\" violates check constraint \"seats_price_check\"",
            &format!("Failing row contains (1, 9, -5, {}...).", "ä".repeat(32)),
            ["seats", "", "seats_price_check"]
        )
    );
    assert_eq!(
        told(fixture.write("UPDATE seats SET price = price - 15 WHERE event_id = 1", vec![]).await).2,
        "Failing row contains (1, 1, -5, front)."
    );
    assert_eq!(
        told(fixture.write("INSERT INTO orders VALUES (1, NULL, 4, NULL)", vec![]).await),
        expected(
            "23502",
            "null value in column \"event_id\" of relation \"orders\" violates not-null constraint",
            "Failing row contains (1, null, 4, null).",
            ["orders", "event_id", ""]
        )
    );
}

#[tokio::test]
async fn a_number_that_was_used_up_is_the_one_that_is_shown() {
    let fixture = filled().await;
    let sql = "INSERT INTO venues VALUES (pg_next_id('venues', 'id'), ?1)";
    let (_, _, detail, ..) = told(fixture.write(sql, vec![Datum::Null]).await);
    assert_eq!(detail, "Failing row contains (1, null).");
    let (_, _, detail, ..) = told(fixture.write(sql, vec![Datum::Null]).await);
    assert_eq!(detail, "Failing row contains (2, null).");
}

#[tokio::test]
async fn a_missing_parent_is_named() {
    let fixture = filled().await;
    assert_eq!(
        told(fixture.write("INSERT INTO orders VALUES (101, 1, 2, 7), (102, 1, 9, 8)", vec![]).await),
        expected(
            "23503",
            "insert or update on table \"orders\" violates foreign key constraint \"orders_seat_fkey\"",
            "Key (event_id, seat_id)=(1, 9) is not present in table \"seats\".",
            ["orders", "", "orders_seat_fkey"]
        )
    );
    let (_, _, detail, _, _, constraint) =
        told(fixture.write("UPDATE orders SET venue_id = 70 WHERE id = 100", vec![]).await);
    assert_eq!(detail, "Key (venue_id)=(70) is not present in table \"venues\".");
    assert_eq!(constraint, "orders_venue_id_fkey");
    assert_eq!(fixture.number("SELECT count(*) FROM orders").await, 1);
    // Nothing of the diagnosis remains: the next statement is checked at once.
    assert_eq!(told(fixture.write("INSERT INTO orders VALUES (101, 5, 5, 7)", vec![]).await).0, "23503");
}

#[tokio::test]
async fn children_that_are_left_are_named() {
    let fixture = filled().await;
    let delete = expected(
        "23503",
        "update or delete on table \"seats\" violates foreign key constraint \"orders_seat_fkey\" on table \"orders\"",
        "Key (event_id, seat_id)=(1, 1) is still referenced from table \"orders\".",
        ["orders", "", "orders_seat_fkey"],
    );
    assert_eq!(told(fixture.write("DELETE FROM seats WHERE event_id = 1", vec![]).await), delete);
    assert_eq!(told(fixture.write("UPDATE seats SET seat_id = 5 WHERE seat_id = 1", vec![]).await), delete);
    assert_eq!(fixture.number("SELECT count(*) FROM seats").await, 2);
    // A cascade is no violation.
    fixture.write("DELETE FROM venues WHERE id = 7", vec![]).await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM orders").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_diagnosis_leaves_a_transaction_as_it_was() {
    let fixture = filled().await;
    let mut transaction = fixture.begin(TransactionMode::Write).await.unwrap();
    let seat = "INSERT INTO seats (event_id, seat_id) VALUES (5, 5)";
    transaction.run(call(write(seat), vec![])).await.unwrap();
    transaction.savepoint("a").await.unwrap();
    let twice = transaction.run(call(write(seat), vec![])).await;
    assert_eq!(told(twice).2, "Key (event_id, seat_id)=(5, 5) already exists.");
    transaction.rollback_to("a").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM seats WHERE event_id = 5").await, 1);
    assert_eq!(fixture.number("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'").await, 0);
}

#[tokio::test]
async fn a_statement_of_too_many_rows_is_not_guessed_at() {
    let fixture = filled().await;
    let many = "INSERT INTO orders WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 30000) \
                SELECT 1000 + x, 1, CASE WHEN x = 30000 THEN 9 ELSE 1 END, NULL FROM n";
    let (state, message, _, _, _, constraint) = told(fixture.write(many, vec![]).await);
    assert_eq!((state.as_str(), constraint.as_str()), ("23503", ""));
    assert_eq!(message, "the statement violates a foreign key constraint");
    assert_eq!(fixture.number("SELECT count(*) FROM orders").await, 1);
}
