//! What passes through is answered as what does not: the first time that a statement is met it is read and planned, and the
//! second time it is sent on as it lies.

use std::time::{Duration, Instant};

use crate::support::frames::Writer;
use crate::support::{Answer, Client, Postgres, Shardd, Value};

const SEATS: &str = "CREATE TABLE seats (event_id bigint, seat int, status text DEFAULT 'free' CHECK (status <> 'bad'), \
                     PRIMARY KEY (event_id, seat))";

struct Cluster {
    postgres: Postgres,
    shardd: Shardd,
}

impl Cluster {
    fn start() -> Cluster {
        let postgres = Postgres::start();
        let shardd = Shardd::start_over(&postgres);
        shardd.client().run(SEATS);
        Cluster { postgres, shardd }
    }

    /// Each shard's rows of a table, as its server has them.
    fn rows(&self) -> Vec<Vec<Vec<Option<String>>>> {
        ["s1", "s2", "s3"]
            .map(|shard| {
                let sql = "SELECT event_id, seat, status FROM seats ORDER BY 1, 2";
                self.postgres.client_of(shard).query(sql).texts()
            })
            .into()
    }
}

/// One exchange of the extended protocol.
fn extended(client: &mut Client, fill: impl FnOnce(&mut Writer)) -> Vec<Answer> {
    let mut writer = Writer::default();
    fill(&mut writer);
    writer.sync();
    client.send(&writer).expect("sent");
    client.answers().expect("answered")
}

/// A statement of one key that takes as long as one likes.
fn slow(steps: u32) -> String {
    format!("SELECT count(*) FROM seats, generate_series(1, {steps}) WHERE event_id = 7")
}

fn bytes(value: impl ToString) -> Option<Vec<u8>> {
    Some(value.to_string().into_bytes())
}

/// In every way that a key can be given, each statement goes where its key belongs, however often it is met.
#[test]
fn every_way_to_give_a_key_leads_to_its_shard() {
    let cluster = Cluster::start();
    let mut client = cluster.shardd.client();
    let insert = "INSERT INTO seats VALUES ($1, $2)";
    extended(&mut client, |writer| {
        writer.parse("named", insert, &[20, 23]);
    });
    for key in 1_i64..=30 {
        client.run(&format!("INSERT INTO seats VALUES ({key}, 1)"));
        client.run(&format!("INSERT INTO seats (seat, event_id) VALUES (2, {key});"));
        let answers = extended(&mut client, |writer| {
            writer.parse("", insert, &[]).bind("", "", &[bytes(key), bytes(3)], &[], &[]).execute("", 0);
        });
        answers[0].expect_tag("INSERT 0 1");
        let binary = [Some(key.to_be_bytes().to_vec()), Some(4_i32.to_be_bytes().to_vec())];
        let answers = extended(&mut client, |writer| {
            writer.bind("", "named", &binary, &[1], &[]).execute("", 0);
        });
        answers[0].expect_tag("INSERT 0 1");
    }
    let rows = cluster.rows();
    assert_eq!(rows.iter().map(Vec::len).sum::<usize>(), 120);
    let owned = ["s1", "s2", "s3"].map(|shard| cluster.shardd.keys_on("seats", shard, 20));
    for (shard, rows) in rows.iter().enumerate() {
        assert!(!rows.is_empty(), "every shard has keys");
        for row in rows {
            let key: u32 = row[0].as_ref().expect("a key").parse().expect("a number");
            let owner = owned.iter().position(|keys| keys.contains(&key));
            assert!(owner.is_none_or(|owner| owner == shard), "key {key} is on {shard}, and not on {owner:?}");
        }
    }
    for key in 1..=30 {
        let sql = format!("SELECT count(*) FROM seats WHERE event_id = {key}");
        assert_eq!(client.query(&sql).value(), "4", "key {key}");
        let tag = client.query(&format!("UPDATE seats SET status = 'sold' WHERE event_id = {key} AND seat = 2"));
        tag.expect_tag("UPDATE 1");
        client.query(&format!("DELETE FROM seats WHERE event_id = {key} AND seat = 9")).expect_tag("DELETE 0");
    }
    // A literal of another kind is another statement: these are compared as numerics, and find what they equal.
    for _ in 0..3 {
        assert_eq!(client.query("SELECT count(*) FROM seats WHERE event_id = 7.0").value(), "4");
        assert_eq!(client.query("SELECT count(*) FROM seats WHERE event_id = 7.5").value(), "0");
        assert_eq!(client.query("SELECT count(*) FROM seats WHERE event_id = '7'").value(), "4");
        assert_eq!(client.query("SELECT count(*) FROM seats WHERE event_id = 99999999999").value(), "0");
    }
}

/// The same answer, byte by byte, the first time and all that follow: errors with their positions, notices, row
/// descriptions in each format, and what an error makes of a transaction.
#[test]
fn the_second_answer_is_as_the_first() {
    let cluster = Cluster::start();
    for shard in ["s1", "s2", "s3"] {
        cluster.postgres.client_of(shard).run(
            "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''seat %'', NEW.seat; RETURN NEW; END'; \
             CREATE TRIGGER told BEFORE UPDATE ON seats FOR EACH ROW EXECUTE FUNCTION told()",
        );
    }
    std::thread::sleep(Duration::from_millis(5_500));
    let mut client = cluster.shardd.client();
    client.run("INSERT INTO seats VALUES (7, 1), (7, 2)");
    for sql in [
        "SELECT * FROM seats WHERE event_id = 7 ORDER BY seat",
        "SELECT seat, 1 / (seat - 1) FROM seats WHERE event_id = 7",
        "SELECT nope FROM seats WHERE event_id = 7",
        "INSERT INTO seats VALUES (7, 1)",
        "INSERT INTO seats VALUES (7, 5, 'bad')",
        "UPDATE seats SET status = 'held' WHERE event_id = 7 RETURNING seat, status",
        "SELECT seat FROM seats WHERE event_id = 7 AND false",
        "SELECT repeat('x', 100000) FROM seats WHERE event_id = 7",
    ] {
        let first = client.simple(sql);
        for _ in 0..3 {
            assert_eq!(client.simple(sql), first, "{sql}");
            assert_eq!(client.status, 'I');
        }
        for binary in [false, true] {
            let ask = |client: &mut Client| {
                extended(client, |writer| {
                    writer.parse("", sql, &[]).bind("", "", &[], &[], &[i16::from(binary)]).describe(b'P', "");
                    writer.execute("", 0);
                })
            };
            let first = ask(&mut client);
            for _ in 0..3 {
                assert_eq!(ask(&mut client), first, "{sql}");
            }
        }
        for _ in 0..3 {
            client.run("BEGIN");
            let inside = client.simple(sql);
            assert_eq!(inside[0].error.as_ref().map(|e| e.sqlstate()), first[0].error.as_ref().map(|e| e.sqlstate()));
            assert_eq!(inside[0].rows, first[0].rows, "{sql}");
            let failed = first[0].error.is_some();
            assert_eq!(client.status, if failed { 'E' } else { 'T' }, "{sql}");
            let next = client.query("SELECT count(*) FROM seats WHERE event_id = 7");
            if failed {
                assert_eq!(next.sqlstate(), "25P02")
            } else {
                assert_eq!(next.value(), "2")
            }
            client.query("ROLLBACK").expect_tag("ROLLBACK");
            assert_eq!(client.status, 'I');
        }
    }
}

/// What was learned of a statement ends with the schema that it was learned under, also inside the transaction that
/// changes it.
#[test]
fn a_change_of_the_schema_ends_what_was_learned() {
    let cluster = Cluster::start();
    let mut client = cluster.shardd.client();
    let mut other = cluster.shardd.client();
    client.run("INSERT INTO seats VALUES (7, 1)");
    let sql = "SELECT * FROM seats WHERE event_id = 7";
    for client in [&mut client, &mut other] {
        for _ in 0..2 {
            assert_eq!(client.query(sql).rows[0].len(), 3);
        }
    }
    other.run("ALTER TABLE seats ADD COLUMN price int");
    for client in [&mut client, &mut other] {
        for _ in 0..2 {
            assert_eq!(client.query(sql).rows[0].len(), 4);
        }
    }
    let prepared = extended(&mut client, |writer| {
        writer.parse("s", "SELECT * FROM seats WHERE event_id = $1", &[]);
    });
    assert!(prepared.is_empty());
    let ask = |client: &mut Client| {
        extended(client, |writer| {
            writer.bind("", "s", &[bytes(7)], &[], &[]).execute("", 0);
        })
    };
    for _ in 0..3 {
        assert_eq!(ask(&mut client)[0].rows[0].len(), 4);
    }
    other.run("ALTER TABLE seats DROP COLUMN price");
    assert_eq!(ask(&mut client)[0].sqlstate(), "0A000", "its rows are no longer those that the client knows");
    assert_eq!(client.query(sql).rows[0].len(), 3);
    // Inside its own transaction the client sees its own change.
    client.run("BEGIN");
    assert_eq!(client.query(sql).rows[0].len(), 3);
    client.run("ALTER TABLE seats ADD COLUMN price int");
    assert_eq!(client.query(sql).rows[0].len(), 4);
    client.run("ROLLBACK");
    assert_eq!(client.query(sql).rows[0].len(), 3);
}

/// What a session has set holds for what passes through.
#[test]
fn settings_hold_for_what_passes_through() {
    let cluster = Cluster::start();
    let mut client = cluster.shardd.client();
    client.run("INSERT INTO seats VALUES (7, 1)");
    let shown = "SELECT current_setting('TimeZone') FROM seats WHERE event_id = 7";
    for zone in ["Asia/Tokyo", "UTC", "Europe/Berlin"] {
        client.run(&format!("SET TimeZone = '{zone}'"));
        for _ in 0..3 {
            assert_eq!(client.query(shown).value(), zone);
        }
        let mut other = cluster.shardd.client();
        for _ in 0..3 {
            assert_eq!(other.query(shown).value(), "UTC", "another session's");
        }
    }
    let update = "UPDATE seats SET status = 'x' WHERE event_id = 7";
    for _ in 0..2 {
        client.query(update).expect_tag("UPDATE 1");
    }
    client.run("SET default_transaction_read_only = on");
    for _ in 0..2 {
        assert_eq!(client.query(update).sqlstate(), "25006");
    }
    client.run("SET default_transaction_read_only = off");
    client.run("BEGIN READ ONLY");
    assert_eq!(client.query(update).sqlstate(), "25006");
    client.run("ROLLBACK");
    client.run("BEGIN");
    client.query(update).expect_tag("UPDATE 1");
    client.run("SET LOCAL TimeZone = 'Asia/Tokyo'");
    for _ in 0..2 {
        assert_eq!(client.query(shown).value(), "Asia/Tokyo");
    }
    client.run("COMMIT");
    for _ in 0..2 {
        assert_eq!(client.query(shown).value(), "Europe/Berlin");
    }
    let slow = slow(1_000_000_000);
    client.run("SET statement_timeout = 200");
    for _ in 0..2 {
        let begin = Instant::now();
        assert_eq!(client.query(&slow).sqlstate(), "57014");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}

/// A statement that passes through is canceled by its client's request and by its client's end.
#[test]
fn what_passes_through_is_canceled() {
    let cluster = Cluster::start();
    let mut client = cluster.shardd.client();
    client.run("INSERT INTO seats VALUES (7, 1)");
    for _ in 0..2 {
        client.query(&slow(10));
    }
    let running = |cluster: &Cluster| -> usize {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series(1, 1000000000)%' AND query NOT LIKE '%activity%' AND state = 'active'";
        cluster.postgres.client().query(sql).value().parse().expect("a number")
    };
    let until = |wanted: usize| {
        let begin = Instant::now();
        while running(&cluster) != wanted {
            assert!(begin.elapsed() < Duration::from_secs(10), "{wanted} statements should run");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let mut writer = Writer::default();
    writer.query(&slow(1_000_000_000));
    client.send(&writer).expect("sent");
    until(1);
    crate::faults::cancel(&cluster.shardd, &client.cancel_key);
    assert_eq!(client.answers().expect("answered")[0].sqlstate(), "57014");
    until(0);
    assert_eq!(client.query("SELECT seat FROM seats WHERE event_id = 7").value(), "1");
    client.send(&writer).expect("sent");
    until(1);
    drop(client);
    until(0);
}

/// A transaction may wait for its client anew after each statement that passes through, and a statement may take its time anew.
#[test]
fn limits_are_counted_from_each_statement_on() {
    let cluster = Cluster::start();
    let mut client = cluster.shardd.client();
    let read = "SELECT count(*) FROM seats WHERE event_id = 7";
    client.run("INSERT INTO seats VALUES (7, 1)");
    client.run("SET idle_in_transaction_session_timeout = '1s'; SET statement_timeout = '800ms'");
    for _ in 0..3 {
        client.query(read);
        client.query(&slow(10));
    }
    for _ in 0..2 {
        client.run("BEGIN");
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(400));
            assert_eq!(client.query(read).value(), "1");
        }
        client.run("COMMIT");
        std::thread::sleep(Duration::from_millis(1_200));
    }
    let begin = Instant::now();
    assert_eq!(client.query(&slow(1_000_000_000)).sqlstate(), "57014");
    assert!((Duration::from_millis(700)..Duration::from_secs(10)).contains(&begin.elapsed()));
    client.run("BEGIN");
    client.query(read);
    let begin = Instant::now();
    let message = client.receive().expect("an error");
    assert_eq!(crate::support::client::server_error(&message).sqlstate(), "25P03");
    assert!((Duration::from_millis(900)..Duration::from_secs(10)).contains(&begin.elapsed()));
    assert!(client.receive().is_err());
}

/// Many statements that were sent at once are answered in their order, whether they pass through or not.
#[test]
fn a_pipeline_keeps_its_order() {
    let cluster = Cluster::start();
    let mut client = cluster.shardd.client();
    for key in 1..=3 {
        client.run(&format!("INSERT INTO seats VALUES ({key}, {key}0)"));
    }
    extended(&mut client, |writer| {
        writer.parse("s", "SELECT seat FROM seats WHERE event_id = $1", &[]);
    });
    for round in 0..20 {
        let mut writer = Writer::default();
        for step in 0..30 {
            let key = 1 + (round + step) % 3;
            match step % 5 {
                0 => writer.query(&format!("SELECT seat FROM seats WHERE event_id = {key}")),
                1 => writer.query(&format!("SELECT max(seat) FROM seats WHERE event_id IN ({key}, {key})")),
                2 => writer.query("SELECT nope FROM seats WHERE event_id = 1"),
                3 => writer.bind("", "s", &[bytes(key)], &[], &[]).describe(b'P', "").execute("", 0).sync(),
                _ => writer.bind("", "s", &[bytes(key)], &[], &[]).execute("", 0).sync(),
            };
        }
        client.send(&writer).expect("sent");
        for step in 0..30 {
            let key = 1 + (round + step) % 3;
            let answers = client.answers().expect("answered");
            assert_eq!(answers.len(), 1, "step {step}: {answers:?}");
            match step % 5 {
                2 => assert_eq!(answers[0].sqlstate(), "42703"),
                _ => assert_eq!(answers[0].value(), (key * 10).to_string(), "step {step}"),
            }
        }
    }
    let answer = client.extended("SELECT seat FROM seats WHERE event_id = $1", &[Value::text(2)]);
    assert_eq!(answer.value(), "20");
}

/// A named portal is read on after statements that passed through in its transaction, and is gone with it.
#[test]
fn portals_outlive_what_passes_through_beside_them() {
    let cluster = Cluster::start();
    let mut client = cluster.shardd.client();
    client.run("INSERT INTO seats SELECT 7, g FROM generate_series(1, 6) g");
    let beside = "SELECT count(*) FROM seats WHERE event_id = 7";
    for _ in 0..2 {
        assert_eq!(client.query(beside).value(), "6");
    }
    client.run("BEGIN");
    let answers = extended(&mut client, |writer| {
        writer.parse("", "SELECT seat FROM seats WHERE event_id = 7 ORDER BY seat", &[]);
        writer.bind("named", "", &[], &[], &[]).execute("named", 2);
    });
    assert!(answers[0].suspended && answers[0].rows.len() == 2, "{answers:?}");
    for step in 1..3 {
        for _ in 0..2 {
            assert_eq!(client.query(beside).value(), "6");
        }
        let answers = extended(&mut client, |writer| {
            writer.execute("named", 2);
        });
        assert_eq!(answers[0].texts()[0][0].as_deref(), Some(format!("{}", step * 2 + 1).as_str()));
    }
    client.run("COMMIT");
    assert_eq!(client.query(beside).value(), "6");
    let answers = extended(&mut client, |writer| {
        writer.execute("named", 2);
    });
    assert_eq!(answers[0].sqlstate(), "34000");
}

/// A client that asks for much and reads nothing is not answered further: what it asked for waits on the shards.
#[test]
fn answers_that_nobody_reads_take_no_memory() {
    const QUERIES: usize = 3_000;
    let cluster = Cluster::start();
    let mut client = cluster.shardd.client();
    client.run(&format!("INSERT INTO seats VALUES (7, 1, '{}')", "x".repeat(40_000)));
    let sql = "SELECT status FROM seats WHERE event_id = 7";
    for _ in 0..3 {
        assert_eq!(client.query(sql).value().len(), 40_000);
    }
    let resident = || -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.shardd.pid())).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).expect("a number").parse::<usize>().expect("a number") * 1024
    };
    let before = resident();
    let mut writer = Writer::default();
    for _ in 0..QUERIES {
        writer.query(sql);
    }
    client.send(&writer).expect("it fits into the sockets");
    std::thread::sleep(Duration::from_secs(3));
    let grown = resident().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes for answers that nobody reads");
    for _ in 0..QUERIES {
        assert_eq!(client.answers().expect("answered")[0].value().len(), 40_000);
    }
}

/// COMMIT goes to its shard at once, and whatever it answers is what the client is told.
#[test]
fn a_commit_that_fails_or_says_more_is_told_as_it_is() {
    let cluster = Cluster::start();
    for shard in ["s1", "s2", "s3"] {
        cluster.postgres.client_of(shard).run(
            "CREATE FUNCTION at_the_end() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN IF NEW.seat = 13 THEN RAISE EXCEPTION ''no seat 13'' USING ERRCODE = ''23514''; END IF; \
             IF NEW.seat = 14 THEN RAISE NOTICE ''seat 14''; END IF; RETURN NULL; END'; \
             CREATE CONSTRAINT TRIGGER at_the_end AFTER INSERT ON seats DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION at_the_end()",
        );
    }
    std::thread::sleep(Duration::from_millis(5_500));
    let mut client = cluster.shardd.client();
    extended(&mut client, |writer| {
        writer.parse("begin", "BEGIN", &[]).parse("commit", "COMMIT", &[]);
    });
    let mut end = |way: usize, seat: i32| -> Answer {
        let begun = match way {
            0 => client.query("BEGIN"),
            1 => extended(&mut client, |writer| _ = writer.bind("", "begin", &[], &[], &[]).execute("", 0)).remove(0),
            _ => extended(&mut client, |writer| {
                _ = writer.parse("", "BEGIN", &[]).bind("", "", &[], &[], &[]).describe(b'P', "").execute("", 0)
            })
            .remove(0),
        };
        begun.expect_tag("BEGIN");
        client.run(&format!("INSERT INTO seats VALUES (7, {seat})"));
        match way {
            0 => client.query("COMMIT"),
            1 => extended(&mut client, |writer| _ = writer.bind("", "commit", &[], &[], &[]).execute("", 0)).remove(0),
            _ => extended(&mut client, |writer| {
                _ = writer.parse("", "COMMIT", &[]).bind("", "", &[], &[], &[]).describe(b'P', "").execute("", 0)
            })
            .remove(0),
        }
    };
    for way in 0..3 {
        // Twice, since the second time nothing is new.
        for _ in 0..2 {
            let failed = end(way, 13);
            assert_eq!(failed.sqlstate(), "23514", "{failed:?}");
        }
        let told = end(way, 14);
        told.expect_tag("COMMIT");
        assert_eq!(told.notices.len(), 1, "{told:?}");
        end(way, 20 + way as i32).expect_tag("COMMIT");
        cluster.shardd.client().run("DELETE FROM seats WHERE event_id = 7 AND seat = 14");
    }
    assert_eq!(
        client.query("SELECT string_agg(seat::text, ',' ORDER BY seat) FROM seats WHERE event_id = 7").value(),
        "20,21,22"
    );
    // Nothing to commit, and a warning where no transaction is.
    for sql in ["BEGIN", "COMMIT", "BEGIN;", "SET LOCAL work_mem = '1MB'", "COMMIT"] {
        assert!(client.query(sql).notices.is_empty(), "{sql}");
    }
    assert_eq!(client.query("COMMIT").notices.len(), 1);
    assert_eq!(client.query("SHOW work_mem").value(), cluster.shardd.client().query("SHOW work_mem").value());
}
