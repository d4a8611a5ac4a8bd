//! Cancelling: the right statement, and never another one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{SEATS, send};
use crate::support::frames::Writer;
use crate::support::{Client, PATIENCE, Shardd};

fn cancel(server: &Shardd, process_and_key: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.ports.postgres)).expect("the door listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut writer = Writer::default();
    writer.untyped(|body| {
        body.extend(80_877_102u32.to_be_bytes());
        body.extend(process_and_key);
    });
    stream.write_all(&writer.bytes).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("closed");
    assert!(answer.is_empty(), "a cancel request is told nothing, got {answer:?}");
}

/// Two clients, of which the second waits for the first one's transaction.
fn blocked(server: &Shardd) -> (Client, Client) {
    let (mut holder, mut waiter) = (server.client(), server.client());
    holder.run(SEATS);
    holder.run("INSERT INTO seats VALUES (1, 1, 'free')");
    holder.run("BEGIN; UPDATE seats SET status = 'held' WHERE event_id = 1 AND seat = 1");
    send(&mut waiter, |writer| writer.query("UPDATE seats SET status = 'sold' WHERE event_id = 1 AND seat = 1"));
    std::thread::sleep(Duration::from_millis(200));
    (holder, waiter)
}

#[test]
fn a_waiting_statement_is_cancelled_and_its_session_goes_on() {
    for server in Shardd::of_each_kind() {
        let (mut holder, mut waiter) = blocked(&server);
        let key = waiter.cancel_key.clone();
        cancel(&server, &key);
        assert_eq!(waiter.answers().expect("answered")[0].sqlstate(), "57014");
        holder.run("COMMIT");
        assert_eq!(waiter.query("SELECT status FROM seats WHERE event_id = 1").value(), "held");
        // Late requests hit nothing.
        cancel(&server, &key);
        assert_eq!(waiter.query("SELECT 1").value(), "1");
    }
}

#[test]
fn a_statement_s_own_time_limit_ends_it() {
    for server in Shardd::of_each_kind() {
        let (mut holder, mut waiter) = blocked(&server);
        holder.run("ROLLBACK");
        waiter.answers().expect("answered");
        holder.run("BEGIN; UPDATE seats SET status = 'held' WHERE event_id = 1 AND seat = 1");
        waiter.run("SET statement_timeout = '100ms'");
        let answer = waiter.query("UPDATE seats SET status = 'sold' WHERE event_id = 1 AND seat = 1");
        let error = answer.error.expect("an error");
        assert_eq!((error.sqlstate(), error.message()), ("57014", "canceling statement due to statement timeout"));
    }
}

#[test]
fn a_transaction_whose_client_is_silent_ends() {
    for server in Shardd::of_each_kind() {
        let mut client = server.client();
        client.run("SET idle_in_transaction_session_timeout = '200ms'");
        client.run("BEGIN");
        let message = client.receive().expect("an error");
        assert_eq!(super::sqlstate(&message), "25P03");
        assert!(client.receive().is_err());
    }
}

#[test]
fn a_client_that_vanishes_gives_back_what_it_held_and_waits_for_nothing() {
    for server in Shardd::of_each_kind() {
        let (holder, waiter) = blocked(&server);
        // The waiter vanishes: its statement must not run when the holder's transaction ends.
        drop(waiter);
        std::thread::sleep(Duration::from_millis(200));
        drop(holder);
        let mut third = server.client();
        let begin = Instant::now();
        loop {
            let answer = third.query("UPDATE seats SET seat = 2 WHERE event_id = 1 AND seat = 1 RETURNING status");
            match &answer.error {
                None => break assert_eq!(answer.value(), "free", "both transactions were rolled back"),
                Some(error) => assert!(begin.elapsed() < PATIENCE, "{error:?}"),
            }
        }
    }
}

#[test]
fn what_was_sent_before_a_terminate_is_done() {
    for server in Shardd::of_each_kind() {
        let mut client = server.client();
        client.run(SEATS);
        send(&mut client, |writer| writer.query("INSERT INTO seats VALUES (9, 9, 'x')").terminate());
        drop(client);
        let mut other = server.client();
        let begin = Instant::now();
        while other.query("SELECT count(*) FROM seats WHERE event_id = 9").value() != "1" {
            assert!(begin.elapsed() < PATIENCE, "the insert is lost");
        }
    }
}

#[test]
fn a_storm_of_wrong_cancels_hits_nobody() {
    let server = Shardd::start();
    let mut client = server.client();
    let key = client.cancel_key.clone();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut guess = key.clone();
            let mut round = 0u32;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                // The right process with a wrong key; another process with the right key; keys of other lengths.
                let last = guess.len() - 1;
                guess[last] = key[last].wrapping_add((round % 255 + 1) as u8);
                cancel(&server, &guess);
                cancel(&server, &[&(round % 50 + 100).to_be_bytes()[..], &key[4..]].concat());
                cancel(&server, &[&key[..], &[0; 28]].concat());
            }
        });
        for round in 0..300 {
            assert_eq!(client.query(&format!("SELECT {round}")).value(), round.to_string());
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Whoever waits until its cancel request was carried out (the server closes that connection then) can go on: no later
/// statement is hit, however the request and the end of the statement that was meant met.
#[test]
fn a_cancel_that_was_carried_out_hits_no_later_statement() {
    let server = Shardd::start();
    let mut client = server.client();
    client.run(SEATS);
    let key = client.cancel_key.clone();
    let mut cancelled = 0;
    for round in 0..300_u64 {
        std::thread::scope(|scope| {
            let cancelling = scope.spawn(|| {
                // At all distances from the statement's beginning to past its end.
                std::thread::sleep(Duration::from_micros(round % 30 * 100));
                cancel(&server, &key);
            });
            let answer = client.query("SELECT count(*) FROM generate_series(1, 3000)");
            cancelled += usize::from(answer.error.is_some());
            cancelling.join().expect("carried out");
        });
        let insert = format!("BEGIN; INSERT INTO seats VALUES (1, {round}, 'x'); COMMIT");
        for answer in client.try_simple(&insert).expect("answered") {
            assert_eq!(answer.error, None, "round {round}");
        }
        assert_eq!(
            client.extended("SELECT $1::bigint", &[crate::support::Value::text(round)]).value(),
            round.to_string()
        );
    }
    assert!(cancelled < 300, "some came too late");
}

/// A cancel that comes between two statements must not end the second one of another client, nor one that was never
/// cancelled: here only the victim may see 57014.
#[test]
fn a_storm_of_right_cancels_hits_its_own_client_only() {
    let server = Shardd::start();
    let (mut victim, mut bystander) = (server.client(), server.client());
    let key = victim.cancel_key.clone();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                cancel(&server, &key);
            }
        });
        scope.spawn(|| {
            for round in 0..300 {
                let answer = victim.query(&format!("SELECT {round}"));
                match &answer.error {
                    None => assert_eq!(answer.value(), round.to_string()),
                    Some(error) => assert_eq!(error.sqlstate(), "57014"),
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        for round in 0..300 {
            assert_eq!(bystander.query(&format!("SELECT {round}")).value(), round.to_string());
        }
    });
}
