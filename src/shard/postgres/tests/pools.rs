//! Who gets a connection, when, and who is told why not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::net::TcpListener;

use super::fake::Fake;
use super::*;
use crate::error::{Retry, SqlState};

/// 1234 << 16 | 5678.
const CANCEL_REQUEST: [u8; 4] = [0x04, 0xd2, 0x16, 0x2e];

fn limits(size: usize) -> PoolLimits {
    PoolLimits { size, ..PoolLimits::default() }
}

fn pool(port: u16, limits: PoolLimits) -> Arc<Pool> {
    Pool::new("a", Target::clone(&target(port, "")), limits)
}

/// Waits until something is so, for a while.
async fn until(what: impl Fn() -> bool) {
    let begin = Instant::now();
    while !what() {
        assert!(begin.elapsed() < PATIENCE, "it did not come about");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn process(pooled: &Pooled) -> u32 {
    pooled.cancel_key().process()
}

#[tokio::test]
async fn the_connection_that_was_given_back_last_is_given_out_first() {
    let server = Fake::friendly().await;
    let pool = pool(server.port, limits(3));
    let (first, second) = (pool.checkout().await.unwrap(), pool.checkout().await.unwrap());
    let numbers = [process(&first), process(&second)];
    second.give_back();
    first.give_back();
    let again = pool.checkout().await.unwrap();
    assert_eq!(process(&again), numbers[0]);
    assert_eq!(process(&pool.try_checkout().expect("idle")), numbers[1]);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_connection_that_nobody_vouches_for_is_closed() {
    let server = Fake::friendly().await;
    let pool = pool(server.port, limits(1));
    drop(pool.checkout().await.unwrap());
    until(|| server.open() == 0).await;
    let mut unsent = pool.checkout().await.unwrap();
    unsent.output().extend_from_slice(b"Q");
    unsent.give_back();
    until(|| server.open() == 0).await;
    let state = pool.state();
    assert_eq!((state.idle, state.active, state.totals.discarded), (0, 0, 2));
    assert!(pool.checkout().await.is_ok(), "its place is free again");
}

/// A connection that owes an answer.
async fn busy(pool: &Arc<Pool>) -> Pooled {
    let mut pooled = pool.checkout().await.unwrap();
    pooled.output().extend_from_slice(b"Q\0\0\0\x05\0");
    pooled.flush().await.unwrap();
    pooled.due = 1;
    pooled
}

#[tokio::test]
async fn a_connection_that_is_let_go_of_in_the_middle_of_something_is_canceled_before_it_is_closed() {
    let canceled = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&canceled);
    let server = Fake::start(move |mut peer, number| {
        let told = Arc::clone(&told);
        async move {
            if number == 0 {
                peer.let_in(7).await;
                peer.message().await;
                told.notified().await;
                peer.until_closed().await;
            } else if peer.packet().await.unwrap() == [&CANCEL_REQUEST[..], b"\0\0\0\x07key!"].concat() {
                told.notify_one();
            }
        }
    })
    .await;
    let pool = pool(server.port, limits(1));
    drop(busy(&pool).await);
    assert_eq!(pool.state().active, 1, "its place is not free before");
    until(|| server.open() == 0).await;
    until(|| pool.state().totals.discarded == 1).await;
    assert_eq!((server.accepted(), pool.state().active), (2, 0));
}

#[tokio::test]
async fn a_connection_that_a_cancel_may_still_reach_is_not_given_out_again() {
    let server = Fake::start(|mut peer, number| async move {
        if number == 0 {
            peer.let_in(0).await;
        } else {
            // The cancel request is taken, and nobody knows what becomes of it.
            peer.packet().await;
            std::future::pending::<()>().await;
        }
        peer.until_closed().await;
    })
    .await;
    let pool = pool(server.port, limits(1));
    let mut pooled = busy(&pool).await;
    pooled.tell_to_cancel(Duration::from_millis(50)).await.unwrap_err();
    pooled.due = 0;
    assert!(pooled.is_in_step() && !pooled.is_clean());
    pooled.give_back();
    assert_eq!((pool.state().idle, pool.state().totals.discarded), (0, 1));
}

#[tokio::test]
async fn bytes_that_were_not_taken_close_the_connection() {
    let server = Fake::start(|mut peer, number| async move {
        peer.let_in(number).await;
        peer.message().await;
        peer.send(b"N\0\0\0\x04").await;
        peer.until_closed().await;
    })
    .await;
    let pool = pool(server.port, limits(1));
    let mut pooled = pool.checkout().await.unwrap();
    pooled.output().extend_from_slice(b"S\0\0\0\x04");
    pooled.flush().await.unwrap();
    pooled.fill().await.unwrap();
    pooled.give_back();
    assert_eq!(pool.state().idle, 0);
}

#[tokio::test]
async fn a_cold_pool_serves_64_clients_within_a_second() {
    let server = Fake::start(|mut peer, number| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.let_in(number).await;
        peer.until_closed().await;
    })
    .await;
    let pool = pool(server.port, limits(16));
    let begin = Instant::now();
    let clients = (0..64).map(|_| {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            let pooled = pool.checkout().await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            pooled.give_back();
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    until(|| pool.state().connecting == 0).await;
    assert!(server.accepted() <= 16, "{}", server.accepted());
    assert_eq!(pool.state().totals.checkouts, 64);
}

#[tokio::test]
async fn clients_are_served_in_the_order_in_which_they_came() {
    let server = Fake::friendly().await;
    let pool = pool(server.port, limits(1));
    let only = pool.checkout().await.unwrap();
    let served = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut clients = Vec::new();
    for number in 0..10 {
        let (own, order) = (Arc::clone(&pool), Arc::clone(&served));
        clients.push(tokio::spawn(async move {
            let pooled = own.checkout().await.unwrap();
            order.lock().push(number);
            pooled.give_back();
        }));
        until(|| pool.state().waiting == number + 1).await;
    }
    only.give_back();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(*served.lock(), (0..10).collect::<Vec<_>>());
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_full_queue_and_a_wait_that_is_too_long_are_different_errors_and_open_no_breaker() {
    let server = Fake::friendly().await;
    let waits = Duration::from_millis(100);
    let pool = pool(server.port, PoolLimits { queue: 1, checkout_deadline: waits, ..limits(1) });
    let held = pool.checkout().await.unwrap();
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.checkout().await.map(|_| ()) }
    });
    until(|| pool.state().waiting == 1).await;
    let full = pool.checkout().await.expect_err("full");
    assert_eq!((full.sqlstate(), full.get_retry()), (SqlState::TOO_MANY_CONNECTIONS, Retry::Safe));
    assert!(full.message().contains("shard \"a\"") && full.get_hint().is_some(), "{full}");
    let late = waiting.await.unwrap().expect_err("late");
    assert_eq!((late.sqlstate(), late.get_retry()), (SqlState::QUERY_CANCELED, Retry::Safe));
    assert!(late.message().contains("within 100 ms"), "{late}");
    let state = pool.state();
    assert_eq!((state.waiting, state.breaker_open, state.totals.refused, state.totals.timed_out), (0, false, 1, 1));
    held.give_back();
    assert!(pool.checkout().await.is_ok());
}

#[tokio::test]
async fn a_client_who_leaves_the_queue_wastes_no_connection() {
    let server = Fake::friendly().await;
    let pool = pool(server.port, limits(1));
    let held = pool.checkout().await.unwrap();
    for _ in 0..3 {
        let own = Arc::clone(&pool);
        let leaves = tokio::spawn(async move { own.checkout().await.map(|_| ()) });
        until(|| pool.state().waiting == 1).await;
        leaves.abort();
        let _ = leaves.await;
        assert_eq!(pool.state().waiting, 0);
    }
    held.give_back();
    assert_eq!(pool.state().idle, 1);
    // Granted, and left before it was taken.
    let held = pool.checkout().await.unwrap();
    let mut waiting = Box::pin(pool.checkout());
    assert!(std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context))).await.is_pending());
    held.give_back();
    assert_eq!(pool.state().idle, 0, "it is on its way");
    drop(waiting);
    let state = pool.state();
    assert_eq!((state.idle, state.active), (1, 0));
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_shard_that_is_down_fails_clients_at_once_and_is_found_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let pool = pool(port, limits(8));
    let clients: Vec<_> = (0..32)
        .map(|_| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.checkout().await.map(|_| ()) })
        })
        .collect();
    for client in clients {
        let error = client.await.unwrap().expect_err("down");
        assert_eq!((error.sqlstate(), error.get_retry()), (SqlState::CONNECTION_FAILURE, Retry::Safe));
        assert!(error.message().contains("shard \"a\" is down: cannot connect to 127.0.0.1:"), "{error}");
        assert_without_secret(&error);
    }
    let begin = Instant::now();
    let error = pool.checkout().await.expect_err("down");
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
    assert!(error.message().contains("the next attempt is in"), "{error}");
    let tried = pool.state().totals.connect_failures;
    assert!(tried <= 8 && pool.state().breaker_open, "{tried}");

    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let server = Fake::on(listener, |mut peer, number| async move {
        peer.let_in(number).await;
        peer.until_closed().await;
    });
    let begin = Instant::now();
    while pool.checkout().await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.accepted(), 1);
    assert!(!pool.state().breaker_open);
}

#[tokio::test]
async fn one_attempt_at_a_time_is_made_at_a_shard_that_was_down() {
    let server = Fake::start(|mut peer, _| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        peer.send(b"nonsense").await;
    })
    .await;
    let pool = pool(server.port, limits(8));
    assert!(pool.checkout().await.is_err());
    until(|| pool.state().connecting == 0).await;
    let before = server.accepted();
    tokio::time::sleep(Duration::from_millis(120)).await;
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.checkout().await.map(|_| ()) })
        })
        .collect();
    for client in clients {
        assert!(client.await.unwrap().is_err());
    }
    assert_eq!(server.accepted(), before + 1);
}

#[tokio::test]
async fn a_server_without_room_leaves_clients_waiting_for_the_connections_that_there_are() {
    let server = Fake::start(|mut peer, number| async move {
        if number == 0 {
            peer.let_in(number).await;
            peer.until_closed().await;
        } else {
            peer.packet().await;
            peer.send(b"E\0\0\0\x25SFATAL\0C53300\0Mtoo many clients\0\0").await;
        }
    })
    .await;
    let pool = pool(server.port, limits(4));
    let held = pool.checkout().await.unwrap();
    let own = Arc::clone(&pool);
    let waits = tokio::spawn(async move { own.checkout().await.map(|_| ()) });
    until(|| pool.state().totals.connect_failures > 0).await;
    assert_eq!(pool.state().waiting, 1);
    held.give_back();
    waits.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_not_given_out() {
    let close = Arc::new(tokio::sync::Notify::new());
    let closing = Arc::clone(&close);
    let server = Fake::start(move |mut peer, number| {
        let closing = Arc::clone(&closing);
        async move {
            peer.let_in(number).await;
            if number == 0 {
                closing.notified().await;
            } else {
                peer.until_closed().await;
            }
        }
    })
    .await;
    let pool = pool(server.port, limits(2));
    pool.checkout().await.unwrap().give_back();
    let quiet = pool.checkout().await.unwrap();
    assert_eq!(process(&quiet), 0, "nothing came from it");
    quiet.give_back();
    close.notify_one();
    until(|| server.open() == 0).await;
    assert_eq!(process(&pool.checkout().await.unwrap()), 1);
    assert_eq!(pool.state().totals.stale, 1);
}

#[tokio::test]
async fn unused_and_old_connections_are_closed_down_to_the_minimum() {
    let farewells = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let told = Arc::clone(&farewells);
    let server = Fake::start(move |mut peer, number| {
        let told = Arc::clone(&told);
        async move {
            peer.let_in(number).await;
            if peer.until_closed().await == b"X\0\0\0\x04" {
                told.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let soon = Some(Duration::from_millis(40));
    let pool = pool(server.port, PoolLimits { idle_timeout: soon, minimum: 1, ..limits(4) });
    let all = [pool.checkout().await.unwrap(), pool.checkout().await.unwrap(), pool.checkout().await.unwrap()];
    all.into_iter().for_each(Pooled::give_back);
    until(|| server.open() == 1).await;
    assert_eq!(pool.state().idle, 1);
    assert!(farewells.load(Ordering::SeqCst) >= 2, "the server is told");
    drop(pool);

    let pool = self::pool(server.port, PoolLimits { max_lifetime: Some(Duration::from_millis(200)), ..limits(4) });
    let begun = server.accepted();
    let pooled = pool.checkout().await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    pooled.give_back();
    assert_eq!(pool.state().idle, 0);
    pool.checkout().await.unwrap().give_back();
    assert_eq!(server.accepted(), begun + 2);
    until(|| pool.state().idle == 0).await;
    assert_eq!(server.accepted(), begun + 2);
}

#[tokio::test]
async fn a_minimum_is_opened_before_anyone_asks() {
    let server = Fake::friendly().await;
    let pool = pool(server.port, PoolLimits { minimum: 3, ..limits(4) });
    until(|| pool.state().idle == 3).await;
    assert!(pool.try_checkout().is_some());
}

#[tokio::test]
async fn a_closed_pool_refuses_those_who_wait_and_keeps_nothing() {
    let server = Fake::friendly().await;
    let pool = pool(server.port, limits(1));
    let held = pool.checkout().await.unwrap();
    let own = Arc::clone(&pool);
    let waits = tokio::spawn(async move { own.checkout().await.map(|_| ()) });
    until(|| pool.state().waiting == 1).await;
    pool.close();
    assert_eq!(waits.await.unwrap().expect_err("closed").sqlstate(), SqlState::ADMIN_SHUTDOWN);
    assert_eq!(pool.checkout().await.map(|_| ()).expect_err("closed").sqlstate(), SqlState::ADMIN_SHUTDOWN);
    held.give_back();
    until(|| server.open() == 0).await;
    assert_eq!(pool.state(), PoolState { totals: pool.state().totals, ..PoolState::default() });
}

#[tokio::test]
async fn the_upkeep_ends_with_the_pool() {
    let server = Fake::friendly().await;
    let pool = pool(server.port, limits(2));
    pool.checkout().await.unwrap().give_back();
    let weak = Arc::downgrade(&pool);
    drop(pool);
    until(|| weak.upgrade().is_none()).await;
    until(|| server.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_a_storm_of_clients_who_come_and_leave_no_connection_is_lost_or_shared() {
    let server = Fake::friendly().await;
    let pool = pool(server.port, limits(5));
    let in_use: Arc<[AtomicBool; 100_000]> = Arc::new([const { AtomicBool::new(false) }; 100_000]);
    let clients: Vec<_> = (0..64u32)
        .map(|client| {
            let (pool, in_use) = (Arc::clone(&pool), Arc::clone(&in_use));
            tokio::spawn(async move {
                for round in 0..200u32 {
                    let patience = Duration::from_micros(u64::from((client * 31 + round * 17) % 700));
                    let Ok(checkout) = tokio::time::timeout(patience, pool.checkout()).await else { continue };
                    let pooled = checkout.unwrap();
                    let mine = &in_use[process(&pooled) as usize];
                    assert!(!mine.swap(true, Ordering::SeqCst), "two clients have it");
                    tokio::task::yield_now().await;
                    mine.store(false, Ordering::SeqCst);
                    if round % 50 == 7 { drop(pooled) } else { pooled.give_back() }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    until(|| pool.state().connecting == 0).await;
    let state = pool.state();
    assert_eq!((state.active, state.waiting), (0, 0));
    assert!((1..=5).contains(&state.idle), "{state:?}");
    until(|| server.open() == state.idle).await;
}
