//! Rust's own drivers run the ticket flow, on Postgres and on shardd over both kinds of shards: tokio-postgres and sqlx. Both ask for binary rows.

use std::future::Future;
use std::time::{Duration, SystemTime};

use sqlx::{Connection as _, Row as _};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::support::client::{DATABASE, USER};
use crate::support::{Client, Postgres, Shardd, read};

/// Runs a flow on Postgres and then on shardd, each with the empty ticket schema.
fn on_all<F: Future<Output = ()>>(flow: impl Fn(String) -> F) {
    let (postgres, shardd) = (Postgres::start(), Shardd::start());
    let over_postgres = Shardd::start_over(&postgres);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for port in [postgres.port, shardd.ports.postgres, over_postgres.ports.postgres] {
        Client::connect(port).expect("a connection").run(&read("tests/drivers/schema.sql"));
        let url = format!("postgres://{USER}@127.0.0.1:{port}/{DATABASE}");
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(120), flow(url)).await.expect("the flow ends");
        });
    }
}

const HOLD: &str =
    "UPDATE seats SET status = 'held', hold_id = $1::text::uuid, hold_expires_at = now() + interval '5 minutes'
    WHERE event_id = $2 AND seat_id = ANY($3) AND (status = 'free' OR (status = 'held' AND hold_expires_at < now()))
    RETURNING seat_id";
const HOLD_ID: &str = "a1b2c3d4-e5f6-4711-8899-aabbccddeeff";
const ORDER: &str =
    "INSERT INTO orders (event_id, customer, idempotency_key, total) VALUES ($1, $2, $3, $4::text::numeric)
    ON CONFLICT (event_id, idempotency_key) DO NOTHING RETURNING order_id";
const BEST: &str = "SELECT seat_id FROM seats WHERE event_id = $1 AND status = 'free' ORDER BY price, seat_id LIMIT $2
    FOR UPDATE SKIP LOCKED";
const REPORT: &str = "SELECT status, count(*), sum(price)::text FROM seats GROUP BY status ORDER BY status";

#[test]
fn tokio_postgres_runs_the_ticket_flow() {
    on_all(|url| async move {
        let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
        let driving = tokio::spawn(connection);
        tokio_postgres_fills(&client).await;
        tokio_postgres_sells(&mut client).await;
        tokio_postgres_meets_errors(&mut client).await;
        // Statements that are under way at the same time on one connection.
        let seat = client
            .prepare("SELECT event_id, seat_id FROM seats WHERE event_id = $1 AND seat_id = $2")
            .await
            .expect("prepared");
        for event in 1..=8_i64 {
            let seat_id = i32::try_from(event).expect("small");
            let other = i32::try_from(9 - event).expect("small");
            let (these, those): ([&(dyn ToSql + Sync); 2], [&(dyn ToSql + Sync); 2]) =
                ([&event, &seat_id], [&event, &other]);
            let both = tokio::try_join!(client.query_one(&seat, &these), client.query_one(&seat, &those));
            let (one, two) = both.expect("both rows");
            assert_eq!((one.get::<_, i64>(0), one.get::<_, i32>(1)), (event, seat_id));
            assert_eq!((two.get::<_, i64>(0), two.get::<_, i32>(1)), (event, other));
        }
        drop(client);
        driving.await.expect("no panic").expect("a clean end");
    });
}

async fn tokio_postgres_fills(client: &tokio_postgres::Client) {
    client.execute("INSERT INTO venues (venue_id, name) VALUES ($1, $2)", &[&1_i32, &"Hall"]).await.expect("a venue");
    let starts = SystemTime::UNIX_EPOCH + Duration::from_micros(1_772_395_200_250_000);
    for event in 1..=8_i64 {
        let written = client
            .execute(
                "INSERT INTO events (event_id, venue_id, title, starts_at, price, poster, popularity, grade) VALUES ($1, $2, $3, $4, 19.90, $5, $6, $7)",
                &[&event, &1_i32, &"Jazz Night", &starts, &[0_u8, 255].as_slice(), &0.1_f64, &7_i16],
            )
            .await
            .expect("an event");
        assert_eq!(written, 1);
        let insert = "INSERT INTO seats (event_id, seat_id, price) SELECT $1, n, 10.50 FROM generate_series(1, 10) n";
        assert_eq!(client.execute(insert, &[&event]).await.expect("seats"), 10);
    }
    let row = client.query_one("SELECT * FROM events WHERE event_id = $1", &[&3_i64]).await.expect("an event");
    let columns: Vec<&str> = row.columns().iter().map(|column| column.type_().name()).collect();
    assert_eq!(columns[..5], ["int8", "int4", "text", "timestamptz", "numeric"]);
    assert_eq!(row.get::<_, SystemTime>("starts_at"), starts);
    assert_eq!((row.get::<_, &[u8]>("poster"), row.get::<_, f64>("popularity")), ([0, 255].as_slice(), 0.1));
    assert_eq!((row.get::<_, i16>("grade"), row.get::<_, Option<SystemTime>>("doors").is_none()), (7, true));
}

async fn tokio_postgres_sells(client: &mut tokio_postgres::Client) {
    let transaction = client.transaction().await.expect("BEGIN");
    let held = transaction.query(HOLD, &[&HOLD_ID, &3_i64, &vec![1_i32, 2, 3]]).await.expect("a hold");
    assert_eq!(held.len(), 3);
    transaction.commit().await.expect("COMMIT");
    let transaction = client.transaction().await.expect("BEGIN");
    assert_eq!(transaction.query(HOLD, &[&HOLD_ID, &3_i64, &vec![3_i32, 4]]).await.expect("half a hold").len(), 1);
    transaction.rollback().await.expect("ROLLBACK");

    let transaction = client.transaction().await.expect("BEGIN");
    let order = transaction.query_one(ORDER, &[&3_i64, &"Ann", &"key-1", &"31.50"]).await.expect("an order");
    let confirm = "UPDATE seats SET status = 'sold', order_id = $1 WHERE event_id = $2 AND hold_id = $3::text::uuid";
    let sold = transaction.execute(confirm, &[&order.get::<_, i64>(0), &3_i64, &HOLD_ID]).await.expect("sold");
    assert_eq!(sold, 3);
    transaction.commit().await.expect("COMMIT");
    let again = client.query(ORDER, &[&3_i64, &"Ann", &"key-1", &"31.50"]).await.expect("no second order");
    assert!(again.is_empty());
    let best = client.query(BEST, &[&3_i64, &2_i64]).await.expect("seats");
    assert_eq!(best.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [4, 5]);

    let rows = client.query(REPORT, &[]).await.expect("a report");
    let rows: Vec<(String, i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(rows, [("free".into(), 77, "808.50".into()), ("sold".into(), 3, "31.50".into())]);
    let messages = client.simple_query("SELECT 1; SELECT 2").await.expect("two answers");
    let rows = messages.iter().filter(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_)));
    assert_eq!(rows.count(), 2);
}

async fn tokio_postgres_meets_errors(client: &mut tokio_postgres::Client) {
    for (statement, code) in [
        ("INSERT INTO seats (event_id, seat_id) VALUES (3, 1)", SqlState::UNIQUE_VIOLATION),
        ("UPDATE seats SET status = 'lost' WHERE event_id = 3", SqlState::CHECK_VIOLATION),
        ("SELECT nope FROM seats", SqlState::UNDEFINED_COLUMN),
        ("SELECT 1 / 0", SqlState::DIVISION_BY_ZERO),
        ("SELEC", SqlState::SYNTAX_ERROR),
    ] {
        let error = client.execute(statement, &[]).await.expect_err(statement);
        assert_eq!(error.code(), Some(&code), "{statement}: {error}");
    }
    let mut transaction = client.transaction().await.expect("BEGIN");
    transaction
        .execute("UPDATE seats SET version = 1 WHERE event_id = 3 AND seat_id = 9", &[])
        .await
        .expect("an update");
    let savepoint = transaction.transaction().await.expect("SAVEPOINT");
    savepoint.execute("UPDATE seats SET version = 2 WHERE event_id = 3 AND seat_id = 9", &[]).await.expect("an update");
    savepoint.rollback().await.expect("ROLLBACK TO");
    transaction.commit().await.expect("COMMIT");
    let row =
        client.query_one("SELECT version FROM seats WHERE event_id = 3 AND seat_id = 9", &[]).await.expect("a seat");
    assert_eq!(row.get::<_, i32>(0), 1);
}

#[test]
fn sqlx_runs_the_ticket_flow() {
    on_all(|url| async move {
        // One connection: a dropped transaction is rolled back before the pool gives its connection out again.
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(&url).await.expect("a pool");
        sqlx_fills(&pool).await;
        sqlx_sells(&pool).await;
        let reads = (0..32_i64).map(|number| {
            let (pool, event) = (pool.clone(), 1 + number % 8);
            tokio::spawn(async move {
                let seats: i64 = sqlx::query_scalar("SELECT count(*) FROM seats WHERE event_id = $1")
                    .bind(event)
                    .fetch_one(&pool)
                    .await
                    .expect("a count");
                assert_eq!(seats, 10);
            })
        });
        for read in reads.collect::<Vec<_>>() {
            read.await.expect("a read");
        }
        let error = sqlx::query("INSERT INTO seats (event_id, seat_id) VALUES ($1, $2)").bind(3_i64).bind(1_i32);
        let error = error.execute(&pool).await.expect_err("a seat is there once");
        assert!(error.as_database_error().expect("the server's").is_unique_violation(), "{error}");
        let mut connection = pool.acquire().await.expect("a connection");
        connection.ping().await.expect("an answer");
        drop(connection);
        pool.close().await;
    });
}

async fn sqlx_fills(pool: &sqlx::PgPool) {
    sqlx::query("INSERT INTO venues (venue_id, name, details) VALUES ($1, $2, $3)")
        .bind(1_i32)
        .bind("Hall")
        .bind(sqlx::types::Json(serde_json::json!({"seats": 10})))
        .execute(pool)
        .await
        .expect("a venue");
    for event in 1..=8_i64 {
        let insert = "INSERT INTO events (event_id, venue_id, title, starts_at, price, poster, on_sale, popularity) VALUES ($1, 1, $2, now(), 19.90, $3, $4, $5)";
        let insert =
            sqlx::query(insert).bind(event).bind("Jazz Night").bind([0_u8, 255].as_slice()).bind(true).bind(0.1_f64);
        assert_eq!(insert.execute(pool).await.expect("an event").rows_affected(), 1);
        let seats = "INSERT INTO seats (event_id, seat_id, price) SELECT $1, n, 10.50 FROM unnest($2::int[]) n";
        let seats = sqlx::query(seats).bind(event).bind((1..=10).collect::<Vec<i32>>()).execute(pool).await;
        assert_eq!(seats.expect("seats").rows_affected(), 10);
    }
    let row = sqlx::query("SELECT event_id, title, poster, on_sale, popularity FROM events WHERE event_id = $1");
    let row = row.bind(3_i64).fetch_one(pool).await.expect("an event");
    assert_eq!((row.get::<i64, _>(0), row.get::<String, _>("title")), (3, "Jazz Night".to_owned()));
    assert_eq!((row.get::<Vec<u8>, _>(2), row.get::<bool, _>(3), row.get::<f64, _>(4)), (vec![0, 255], true, 0.1));
    let details: serde_json::Value =
        sqlx::query_scalar("SELECT details FROM venues WHERE venue_id = 1").fetch_one(pool).await.expect("details");
    assert_eq!(details["seats"], 10);
}

async fn sqlx_sells(pool: &sqlx::PgPool) {
    let mut transaction = pool.begin().await.expect("BEGIN");
    let held: Vec<i32> = sqlx::query_scalar(HOLD)
        .bind(HOLD_ID)
        .bind(3_i64)
        .bind(vec![1_i32, 2, 3])
        .fetch_all(&mut *transaction)
        .await
        .expect("a hold");
    assert_eq!(held.len(), 3);
    let order: i64 = sqlx::query_scalar(ORDER)
        .bind(3_i64)
        .bind("Ann")
        .bind("key-1")
        .bind("31.50")
        .fetch_one(&mut *transaction)
        .await
        .expect("an order");
    let confirm = "UPDATE seats SET status = 'sold', order_id = $1 WHERE event_id = $2 AND hold_id = $3::text::uuid";
    let sold =
        sqlx::query(confirm).bind(order).bind(3_i64).bind(HOLD_ID).execute(&mut *transaction).await.expect("sold");
    assert_eq!(sold.rows_affected(), 3);
    transaction.commit().await.expect("COMMIT");
    // Dropped without COMMIT: rolled back.
    let mut transaction = pool.begin().await.expect("BEGIN");
    let update = "UPDATE seats SET status = 'sold' WHERE event_id = 3";
    assert_eq!(sqlx::query(update).execute(&mut *transaction).await.expect("all seats").rows_affected(), 10);
    drop(transaction);
    let best: Vec<i32> = sqlx::query_scalar(BEST).bind(3_i64).bind(2_i64).fetch_all(pool).await.expect("seats");
    assert_eq!(best, [4, 5]);
    let rows: Vec<(String, i64, String)> = sqlx::query_as(REPORT).fetch_all(pool).await.expect("a report");
    assert_eq!(rows, [("free".into(), 77, "808.50".into()), ("sold".into(), 3, "31.50".into())]);
}

/// Where Cargo puts what it builds beside this test.
fn example(name: &str) -> std::path::PathBuf {
    let test = std::env::current_exe().expect("a path");
    let built = test.ancestors().nth(2).expect("a directory for what is built");
    built.join("examples").join(name)
}

#[test]
fn the_example_sells_every_seat_once() {
    for shardd in Shardd::of_each_kind() {
        let mut command = std::process::Command::new(example("box_office"));
        let output = command.env("DATABASE_URL", shardd.url()).output().expect("built by `cargo build --examples`");
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}{complained}");
        assert!(said.ends_with("200 seats bought, none of them twice\n"), "{said}");
    }
}
