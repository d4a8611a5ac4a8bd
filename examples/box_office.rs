//! A box office on one `DATABASE_URL`: several events go on sale at once, and many buyers want the same few seats.
//!
//! ```sh
//! cargo run --release                       # shardd, in one terminal
//! cargo run --release --example box_office  # this, in another
//! ```
//!
//! Each event's rows are on one shard, so that holding a seat and writing the order is one transaction there. The last
//! query reads all shards.

#![allow(clippy::print_stdout, reason = "an example tells what it does")]

use anyhow::{Context, Result, ensure};
use tokio_postgres::{Client, NoTls};

const EVENTS: i64 = 8;
const SEATS: i32 = 25;
const BUYERS: i64 = 40;

const SCHEMA: &str = "
    DROP TABLE IF EXISTS box_office_orders;
    DROP TABLE IF EXISTS box_office_seats;
    CREATE TABLE box_office_seats (
        event_id bigint, seat_id int, status text NOT NULL DEFAULT 'free', buyer bigint,
        PRIMARY KEY (event_id, seat_id));
    CREATE TABLE box_office_orders (
        event_id bigint, order_id bigint GENERATED ALWAYS AS IDENTITY, buyer bigint NOT NULL, seat_id int NOT NULL,
        PRIMARY KEY (event_id, order_id));
";

/// The best free seat that nobody else is about to take.
const PICK: &str = "SELECT seat_id FROM box_office_seats WHERE event_id = $1 AND status = 'free'
    ORDER BY seat_id LIMIT 1 FOR UPDATE SKIP LOCKED";
const SELL: &str = "UPDATE box_office_seats SET status = 'sold', buyer = $3 WHERE event_id = $1 AND seat_id = $2";
const ORDER: &str = "INSERT INTO box_office_orders (event_id, buyer, seat_id) VALUES ($1, $2, $3) RETURNING order_id";
/// Without the key: every shard answers, and the answers are merged.
const REPORT: &str = "SELECT event_id, count(*) FILTER (WHERE status = 'sold') AS sold, count(*) AS seats
    FROM box_office_seats GROUP BY event_id ORDER BY event_id";

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| "postgres://app@127.0.0.1:6432/tickets".to_owned());
    let office = connect(&url).await?;
    office.batch_execute(SCHEMA).await.context("making the tables")?;
    for event in 1..=EVENTS {
        let seats = "INSERT INTO box_office_seats (event_id, seat_id) SELECT $1, n FROM generate_series(1, $2) AS s(n)";
        office.execute(seats, &[&event, &SEATS]).await?;
    }
    let buyers: Vec<_> = (1..=BUYERS).map(|buyer| tokio::spawn(buy(url.clone(), buyer))).collect();
    let mut bought = 0;
    for buyer in buyers {
        bought += buyer.await??;
    }
    let mut sold = 0;
    for row in office.query(REPORT, &[]).await? {
        let (event, sold_here, seats): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        println!("event {event}: {sold_here} of {seats} seats sold");
        sold += sold_here;
    }
    let orders: i64 = office.query_one("SELECT count(*) FROM box_office_orders", &[]).await?.get(0);
    ensure!(sold == bought && orders == bought, "{bought} bought, {sold} sold, {orders} orders");
    println!("{bought} seats bought, none of them twice");
    Ok(())
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.with_context(|| format!("connecting to {url}"))?;
    tokio::spawn(connection);
    Ok(client)
}

/// Goes from event to event and takes one seat of each, as long as there are seats. Gives how many it got.
async fn buy(url: String, buyer: i64) -> Result<i64> {
    let mut client = connect(&url).await?;
    let mut bought = 0;
    for turn in 0..EVENTS {
        let event = 1 + (buyer + turn) % EVENTS;
        let transaction = client.transaction().await?;
        if let Some(seat) = transaction.query_opt(PICK, &[&event]).await? {
            let seat: i32 = seat.get(0);
            transaction.execute(SELL, &[&event, &seat, &buyer]).await?;
            transaction.query_one(ORDER, &[&event, &buyer, &seat]).await?;
            bought += 1;
        }
        transaction.commit().await?;
    }
    Ok(bought)
}
