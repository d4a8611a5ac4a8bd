//! Numbers for serial columns.

use super::*;

async fn order(fixture: &Fixture) -> Result<i64> {
    let sql = "INSERT INTO orders (id, event_id) VALUES (pg_next_id('orders', 'id'), 1) RETURNING id";
    let written = fixture.shard.write(call(write_returning(sql, &[PgType::Int8]), vec![])).await?;
    Ok(numbers(&written.rows)[0])
}

async fn venue(fixture: &Fixture, name: &str) -> Result<i64> {
    let sql = "INSERT INTO venues (id, name) VALUES (pg_next_id('venues', 'id'), ?1) RETURNING id";
    let call = call(write_returning(sql, &[PgType::Int8]), vec![Datum::Text(name.into())]);
    Ok(numbers(&fixture.shard.write(call).await?.rows)[0])
}

#[tokio::test]
async fn a_sharded_table_counts_from_the_shards_number_in_steps() {
    let fixture = Fixture::with(3, |_| ()).await;
    assert_eq!(order(&fixture).await.unwrap(), 3);
    assert_eq!(order(&fixture).await.unwrap(), 3 + 1_024);
    let fixture = fixture.reopen().await;
    assert_eq!(order(&fixture).await.unwrap(), 3 + 2 * 1_024);
}

#[tokio::test]
async fn a_reference_table_counts_from_one_and_a_failure_uses_a_number_up() {
    let fixture = Fixture::with(3, |_| ()).await;
    assert_eq!(venue(&fixture, "a").await.unwrap(), 1);
    assert_eq!(said(venue(&fixture, "a").await).0, "23505");
    assert_eq!(venue(&fixture, "b").await.unwrap(), 3);
    let fixture = fixture.reopen().await;
    assert_eq!(venue(&fixture, "c").await.unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_of_a_transaction_that_was_rolled_back_are_not_given_twice() {
    let fixture = Fixture::new().await;
    let mut transaction = fixture.begin(TransactionMode::Write).await.unwrap();
    let insert = "INSERT INTO orders (id, event_id) VALUES (pg_next_id('orders', 'id'), 1)";
    transaction.run(call(write(insert), vec![])).await.unwrap();
    transaction.record_changes().await.unwrap();
    transaction.take_changes().await.unwrap();
    transaction.rollback().await;
    assert_eq!(order(&fixture).await.unwrap(), 1 + 1_024);
    let fixture = fixture.reopen().await;
    assert_eq!(order(&fixture).await.unwrap(), 1 + 2 * 1_024);
}

#[tokio::test]
async fn a_table_of_the_same_name_begins_anew() {
    let fixture = Fixture::new().await;
    venue(&fixture, "a").await.unwrap();
    let mut transaction = fixture.begin(TransactionMode::Schema).await.unwrap();
    let mut statements = vec!["DROP TABLE venues".to_owned()];
    statements.extend(super::super::forget_table_statements("venues"));
    statements.push(TICKET_TABLES[0].to_owned());
    statements.push(store_table_statement(&ticket_schema().tables["venues"]).unwrap());
    transaction.run_batch(statements).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(venue(&fixture, "b").await.unwrap(), 1);
}

#[tokio::test]
async fn an_unknown_table_has_no_numbers() {
    let fixture = Fixture::new().await;
    let sql = "INSERT INTO orders (id, event_id) VALUES (pg_next_id('nothing', 'id'), 1)";
    let (state, message, _) = said(fixture.write(sql, vec![]).await);
    assert_eq!((state.as_str(), message.as_str()), ("42P01", "relation \"nothing\" does not exist"));
}
