//! Pools: a cold one serves everybody, and what it does can be watched.

use super::Cluster;
use crate::support::shardd::Request;

#[test]
fn a_cold_pool_serves_64_clients_at_once() {
    let cluster = Cluster::start("[pool]\nsize = 10\n");
    cluster.terminate(0);
    let [key, _] = cluster.keys();
    let before = cluster.counted(0, "connected");
    let sql = format!("SELECT status FROM seats WHERE event_id = {key}");
    let mut clients: Vec<_> = (0..64).map(|_| cluster.client()).collect();
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| assert_eq!(client.query(&sql).value(), "free"));
        }
    });
    assert!(cluster.counted(0, "connected") - before <= 10, "no more than may be open are made");
    assert_eq!(cluster.counted(0, "refused_queue_full") + cluster.counted(0, "refused_too_late"), 0);
}

#[test]
fn a_minimum_of_connections_is_open_before_anybody_asks() {
    let cluster = Cluster::start("[pool]\nminimum = 4\n");
    let begin = std::time::Instant::now();
    while cluster.connections(1, "").len() < 4 {
        assert!(begin.elapsed() < crate::support::PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn what_a_pool_does_is_in_the_metrics() {
    let cluster = Cluster::start("");
    let text = cluster.shardd.admin(&Request::get("/metrics")).text();
    for series in [
        "shardd_pool_connections{shard=\"pg-0\",state=\"idle\"}",
        "shardd_pool_waiting{shard=\"pg-0\"} 0",
        "shardd_pool_breaker_open{shard=\"pg-1\"} 0",
        "shardd_pool_checkouts_total{shard=\"pg-1\"}",
        "shardd_pool_connects_total{outcome=\"ok\",shard=\"pg-0\"}",
        "shardd_queue_wait_seconds_count{shard=\"pg-0\"}",
    ] {
        assert!(text.contains(series), "{series} is not in\n{text}");
    }
}

#[test]
fn a_client_that_gives_up_leaves_the_queue() {
    let cluster = Cluster::start("[pool]\nsize = 1\n");
    let [key, _] = cluster.keys();
    let (mut holder, mut waiter) = (cluster.client(), cluster.client());
    let sql = format!("SELECT status FROM seats WHERE event_id = {key}");
    holder.run(&format!("BEGIN; {sql}"));
    waiter.run("SET statement_timeout = '200ms'");
    let begin = std::time::Instant::now();
    assert_eq!(waiter.query(&sql).sqlstate(), "57014");
    assert!(begin.elapsed() < std::time::Duration::from_secs(3), "not at the pool's own deadline");
    assert_eq!(cluster.counted(0, "waiting"), 0);
}
