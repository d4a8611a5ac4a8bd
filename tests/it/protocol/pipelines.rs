//! Many messages in flight: every answer must belong to its statement, whatever failed before it.

use super::{SEATS, everywhere, kinds, send};
use crate::support::shardd::Request;
use crate::support::{Shardd, Value};

#[test]
fn a_statement_s_messages_come_in_their_order() {
    everywhere(|connect| {
        let mut client = connect();
        send(&mut client, |writer| {
            writer.parse("", "SELECT $1::int4", &[]).describe(b'S', "").bind("", "", &[Some(b"1".to_vec())], &[], &[]);
            writer.describe(b'P', "").execute("", 0).close(b'P', "").close(b'S', "").sync()
        });
        assert_eq!(kinds(&mut client), "1tT2TDC33Z");
        client.run(SEATS);
        send(&mut client, |writer| {
            writer.parse("", "INSERT INTO seats VALUES (1, 1, 'free')", &[]).bind("", "", &[], &[], &[]);
            writer.describe(b'P', "").execute("", 0).sync().parse("", " -- nothing\n", &[]).bind("", "", &[], &[], &[]);
            writer.describe(b'P', "").execute("", 0).sync().query("").query(" ; ; ")
        });
        for expected in ["12nCZ", "12nIZ", "IZ", "IZ"] {
            assert_eq!(kinds(&mut client), expected);
        }
    });
}

#[test]
fn after_an_error_everything_up_to_sync_is_skipped() {
    everywhere(|connect| {
        let mut client = connect();
        client.run(SEATS);
        send(&mut client, |writer| {
            writer.parse("one", "INSERT INTO seats VALUES ($1, $2, 'x')", &[20, 23]);
            for seat in ["1", "2", "2", "3"] {
                let values = [Some(b"7".to_vec()), Some(seat.as_bytes().to_vec())];
                writer.bind("", "one", &values, &[], &[]).execute("", 0);
            }
            writer.message(b'Q', |body| body.extend(b"SELECT 'a simple query is skipped, too'\0"));
            writer.sync().query("SELECT count(*) FROM seats WHERE event_id = 7")
        });
        assert_eq!(kinds(&mut client), "12C2C2EZ");
        // The statements before the error were of the same transaction.
        assert_eq!(client.answers().expect("answered")[0].value(), "0");
    });
}

#[test]
fn statements_between_two_syncs_are_one_transaction_and_those_of_a_text_too() {
    everywhere(|connect| {
        let mut client = connect();
        client.run(SEATS);
        let answers = client.simple(
        "INSERT INTO seats VALUES (1, 1, 'x'); INSERT INTO seats VALUES (1, 2, 'x'); INSERT INTO seats VALUES (1, 1, 'again')",
    );
        assert_eq!((answers.len(), answers[2].sqlstate(), client.status), (3, "23505", 'I'));
        assert_eq!(client.query("SELECT count(*) FROM seats WHERE event_id = 1").value(), "0");
        let answers =
            client.simple("INSERT INTO seats VALUES (1, 1, 'x'); SELECT status FROM seats WHERE event_id = 1");
        assert_eq!((answers[0].tag.as_deref(), answers[1].value().as_str()), (Some("INSERT 0 1"), "x"));
    });
}

#[test]
fn an_error_in_a_text_points_into_the_whole_text() {
    everywhere(|connect| {
        let mut client = connect();
        let answers = client.simple("SELECT 'é'; SELECT nope");
        let error = answers[1].error.as_ref().expect("an error");
        assert_eq!((error.sqlstate(), error.position()), ("42703", "20"));
    });
}

#[test]
fn a_failed_transaction_refuses_all_but_its_end() {
    everywhere(|connect| {
        let mut client = connect();
        client.run("BEGIN");
        assert_eq!(client.status, 'T');
        assert_eq!(client.query("SELECT 1/0").sqlstate(), "22012");
        assert_eq!(client.status, 'E');
        assert_eq!(client.extended("SELECT 1", &[]).sqlstate(), "25P02");
        client.query("COMMIT").expect_tag("ROLLBACK");
        assert_eq!(client.status, 'I');
        // An error of the protocol fails a transaction as one of SQL does.
        client.run("BEGIN");
        assert_eq!(client.extended("SELECT $1::int", &[]).sqlstate(), "08P01");
        assert_eq!(client.status, 'E');
    });
}

#[test]
fn flush_gives_what_there_is_without_a_sync() {
    everywhere(|connect| {
        let mut client = connect();
        send(&mut client, |writer| writer.parse("s", "SELECT $1::text", &[]).describe(b'S', "s").flush());
        for expected in *b"1tT" {
            assert_eq!(client.receive().expect("a message").kind, expected);
        }
        send(&mut client, |writer| writer.bind("", "s", &[Some(b"x".to_vec())], &[], &[]).execute("", 0).flush());
        for expected in *b"2DC" {
            assert_eq!(client.receive().expect("a message").kind, expected);
        }
        // An error is told at once, too: the client may wait for it before it syncs.
        send(&mut client, |writer| writer.bind("", "nope", &[], &[], &[]));
        assert_eq!(client.receive().expect("an error").kind, b'E');
        send(&mut client, |writer| writer.sync());
        assert_eq!(client.receive().expect("ready").kind, b'Z');
    });
}

#[test]
fn names_of_statements_are_the_session_s_and_unique() {
    everywhere(|connect| {
        let mut client = connect();
        send(&mut client, |writer| writer.parse("s", "SELECT 1", &[]).parse("s", "SELECT 2", &[]).sync());
        assert_eq!(client.answers().expect("answered")[0].sqlstate(), "42P05");
        assert_eq!(client.query("EXECUTE s").value(), "1");
        client.run("DEALLOCATE s");
        send(&mut client, |writer| writer.bind("", "s", &[], &[], &[]).sync());
        assert_eq!(client.answers().expect("answered")[0].sqlstate(), "26000");
        // A simple query ends the unnamed statement.
        send(&mut client, |writer| writer.parse("", "SELECT 1", &[]).sync().query("SELECT 2"));
        client.answers().expect("answered");
        client.answers().expect("answered");
        send(&mut client, |writer| writer.bind("", "", &[], &[], &[]).sync());
        assert_eq!(client.answers().expect("answered")[0].sqlstate(), "26000");
    });
}

/// Each statement asks for its own number, or fails with it; an answer that is another statement's is the worst defect.
#[test]
fn answers_never_change_places() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 40;
    let work = |server: &Shardd, client_number: usize| {
        let mut client = server.client();
        for round in 0..ROUNDS {
            let tag = |step: usize| (client_number * 1_000_000 + round * 100 + step).to_string();
            send(&mut client, |writer| {
                writer.parse("", "SELECT $1::int8 / $2::int8", &[]);
                for step in 0..20 {
                    let divisor = if (step * 7 + round) % 5 == 0 { "0" } else { "1" };
                    let values = [Some(tag(step).into_bytes()), Some(divisor.as_bytes().to_vec())];
                    writer.bind("", "", &values, &[], &[]).execute("", 0).sync();
                }
                writer
            });
            for step in 0..20 {
                let answers = client.answers().expect("answered");
                assert_eq!(answers.len(), 1);
                if (step * 7 + round) % 5 == 0 {
                    assert_eq!(answers[0].sqlstate(), "22012");
                } else {
                    assert_eq!(answers[0].value(), tag(step));
                }
            }
        }
    };
    for server in Shardd::of_each_kind() {
        std::thread::scope(|scope| {
            for client_number in 0..CLIENTS {
                let (work, server) = (&work, &server);
                scope.spawn(move || work(server, client_number));
            }
        });
    }
}

/// Each write has a Sync of its own, and all are sent at once: they run in turn, and one that fails takes none with it.
#[test]
fn writes_of_a_pipeline_are_done_and_answered_in_their_order() {
    everywhere(|connect| {
        let mut client = connect();
        client.run(SEATS);
        send(&mut client, |writer| {
            writer.parse("add", "INSERT INTO seats VALUES ($1, $2, $3)", &[20, 23, 25]);
            writer.parse("set", "UPDATE seats SET status = status || $2 WHERE event_id = $1", &[20, 25]);
            writer.parse("count", "SELECT count(*) FROM seats WHERE event_id = $1", &[20]).sync()
        });
        client.answers().expect("answered");
        let steps: &[(&str, &[&str], &str)] = &[
            ("add", &["1", "1", "a"], "INSERT 0 1"),
            ("add", &["1", "2", "b"], "INSERT 0 1"),
            ("add", &["1", "1", "again"], "23505"),
            ("set", &["1", "x"], "UPDATE 2"),
            ("add", &["1", "no number", "c"], "22P02"),
            ("nothing", &[], "26000"),
            ("set", &["1", "y"], "UPDATE 2"),
            ("count", &["1"], "SELECT 1"),
            ("add", &["2", "1", "d"], "INSERT 0 1"),
            ("add", &["3", "1", "e"], "INSERT 0 1"),
            ("add", &["2", "2", "f"], "INSERT 0 1"),
            ("set", &["2", "z"], "UPDATE 2"),
            ("add", &["2", "2", "again"], "23505"),
            ("add", &["1", "3", "g"], "INSERT 0 1"),
            ("set", &["4", "nowhere"], "UPDATE 0"),
        ];
        send(&mut client, |writer| {
            for (statement, values, _) in steps {
                let values: Vec<_> = values.iter().map(|value| Some(value.as_bytes().to_vec())).collect();
                writer.bind("", statement, &values, &[], &[]).execute("", 0).sync();
            }
            writer
        });
        for (statement, values, expected) in steps {
            let answers = client.answers().expect("answered");
            let [answer] = answers.as_slice() else { panic!("{statement} {values:?}: {answers:?}") };
            let told = answer.tag.as_deref().unwrap_or_else(|| answer.sqlstate());
            assert_eq!(told, *expected, "{statement} {values:?}");
        }
        let rows = client.query("SELECT status FROM seats ORDER BY event_id, seat").texts().concat();
        let rows: Vec<_> = rows.into_iter().flatten().collect();
        assert_eq!(rows, ["axy", "bxy", "g", "dz", "fz", "e"]);
    });
}

/// The disk is waited for once for many writes of one client, not once for each.
#[test]
fn writes_of_a_pipeline_share_commits() {
    const WRITES: usize = 48;
    let server = Shardd::start();
    let mut client = server.client();
    client.run(SEATS);
    send(&mut client, |writer| writer.parse("add", "INSERT INTO seats VALUES (1, $1, 'x')", &[23]).sync());
    client.answers().expect("answered");
    let commits = || {
        let metrics = server.admin(&Request::get("/metrics")).text();
        let counts = metrics.lines().filter(|line| line.starts_with("shardd_group_commit_statements_count"));
        counts.map(|line| line.rsplit(' ').next().expect("a number").parse::<usize>().expect("a number")).sum::<usize>()
    };
    let before = commits();
    send(&mut client, |writer| {
        for seat in 0..WRITES {
            writer.bind("", "add", &[Some(seat.to_string().into_bytes())], &[], &[]).execute("", 0).sync();
        }
        writer
    });
    for _ in 0..WRITES {
        client.answers().expect("answered")[0].expect_tag("INSERT 0 1");
    }
    let commits = commits() - before;
    assert!(commits <= WRITES / 4, "{WRITES} writes took {commits} commits");
    assert_eq!(client.query("SELECT count(*) FROM seats WHERE event_id = 1").value(), WRITES.to_string());
}

/// A client that sends its writes and leaves, as a program does that ends without waiting.
#[test]
fn writes_of_a_pipeline_are_done_though_the_client_leaves() {
    everywhere(|connect| {
        let mut client = connect();
        client.run(SEATS);
        send(&mut client, |writer| {
            writer.parse("add", "INSERT INTO seats VALUES (1, $1, 'x')", &[23]).sync();
            for seat in 0..20 {
                writer.bind("", "add", &[Some(seat.to_string().into_bytes())], &[], &[]).execute("", 0).sync();
            }
            writer.message(b'X', |_| {})
        });
        // Terminate is answered by the end of the connection, after everything before it.
        while client.receive().is_ok() {}
        assert_eq!(connect().query("SELECT count(*) FROM seats WHERE event_id = 1").value(), "20");
    });
}

#[test]
fn parameters_that_do_not_fit_the_statement_are_refused() {
    everywhere(|connect| {
        let mut client = connect();
        assert_eq!(client.extended("SELECT $1::int", &[Value::text(1), Value::text(2)]).sqlstate(), "08P01");
        send(&mut client, |writer| {
            let values = [Some(b"1".to_vec()), Some(b"2".to_vec()), Some(b"3".to_vec())];
            writer.parse("", "SELECT $1::int, $2::int, $3::int", &[]).bind("", "", &values, &[0, 1], &[]).sync()
        });
        assert_eq!(client.answers().expect("answered")[0].sqlstate(), "08P01");
        send(&mut client, |writer| writer.parse("", "SELECT 1, 2, 3", &[]).bind("", "", &[], &[], &[0, 1]).sync());
        assert_eq!(client.answers().expect("answered")[0].sqlstate(), "08P01");
        assert_eq!(client.extended("SELECT $1::int", &[Value::Null]).value(), "NULL");
    });
}

#[test]
fn a_parameter_of_an_unknown_type_is_refused() {
    let server = Shardd::start();
    let mut client = server.client();
    send(&mut client, |writer| writer.parse("", "SELECT $1", &[999_999]).sync());
    assert_eq!(client.answers().expect("answered")[0].sqlstate(), "0A000");
}

#[test]
fn a_text_with_a_syntax_error_runs_none_of_its_statements() {
    everywhere(|connect| {
        let mut client = connect();
        client.run(SEATS);
        let text = "BEGIN; INSERT INTO seats VALUES (1, 1, 'é'); COMMIT; SELEC 1";
        let answers = client.simple(text);
        assert_eq!((answers.len(), answers[0].sqlstate(), client.status), (1, "42601", 'I'));
        assert_eq!(answers[0].error.as_ref().expect("an error").position(), "54");
        assert_eq!(client.query("SELECT count(*) FROM seats WHERE event_id = 1").value(), "0");
    });
}

#[test]
fn an_execute_of_a_prepared_statement_is_described_as_that_statement() {
    everywhere(|connect| {
        let mut client = connect();
        client.run(SEATS);
        client.run("INSERT INTO seats VALUES (1, 1, 'free'), (1, 2, 'free')");
        client.run("PREPARE of_event AS SELECT seat, status FROM seats WHERE event_id = $1 ORDER BY seat");
        send(&mut client, |writer| {
            writer.parse("", "EXECUTE of_event(1)", &[]).describe(b'S', "").bind("", "", &[], &[], &[1, 0]);
            writer.describe(b'P', "").execute("", 0).sync()
        });
        assert_eq!(kinds(&mut client), "1tT2TDDCZ");
    });
}

#[test]
fn a_string_that_is_no_value_of_its_type_is_pointed_at() {
    everywhere(|connect| {
        let mut client = connect();
        client.run("CREATE TABLE prices (event_id bigint PRIMARY KEY, price numeric, day date)");
        for (text, position) in [
            ("SELECT 'é', 'abc'::int", "13"),
            ("INSERT INTO prices VALUES (1, 'much', '2026-01-01')", "31"),
            ("SELECT price FROM prices WHERE event_id = 1 AND day = 'tomorrow-ish'", "55"),
        ] {
            let error = client.query(text).error.expect("an error");
            assert_eq!(error.position(), position, "{text}: {error:?}");
        }
    });
}

#[test]
fn rows_without_columns_are_described_too() {
    everywhere(|connect| {
        let mut client = connect();
        client.run(SEATS);
        client.run("INSERT INTO seats VALUES (1, 1, 'free')");
        send(&mut client, |writer| writer.message(b'Q', |body| body.extend(b"SELECT FROM seats WHERE event_id = 1\0")));
        assert_eq!(kinds(&mut client), "TDCZ");
    });
}

#[test]
fn a_simple_query_has_no_parameters() {
    everywhere(|connect| {
        let mut client = connect();
        assert_eq!(client.query("SELECT $1").sqlstate(), "42P02");
        assert_eq!(client.query("SELECT 1").value(), "1");
    });
}
