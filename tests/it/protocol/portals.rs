//! Portals: row limits, suspension, and how long they live.

use super::{everywhere, kinds, send};

const FIVE: &str = "SELECT generate_series(1, 5)";

#[test]
fn a_row_limit_suspends_a_portal_and_the_next_execute_goes_on() {
    everywhere(|connect| {
        let mut client = connect();
        send(&mut client, |writer| {
            writer.parse("", FIVE, &[]).bind("p", "", &[], &[], &[]);
            writer.execute("p", 2).execute("p", 2).execute("p", 2).execute("p", 2).sync()
        });
        let answers = client.answers().expect("answered");
        let rows: Vec<_> = answers.iter().map(|answer| answer.texts().concat()).collect();
        let expected = [vec!["1", "2"], vec!["3", "4"], vec!["5"], vec![]];
        let expected = expected.map(|rows| rows.into_iter().map(|row| Some(row.to_owned())).collect::<Vec<_>>());
        assert_eq!(rows, expected);
        let suspended: Vec<_> = answers.iter().map(|answer| answer.suspended).collect();
        assert_eq!(suspended, [true, true, false, false]);
        assert_eq!(answers[2].tag.as_deref(), Some("SELECT 1"));
        assert_eq!(answers[3].tag.as_deref(), Some("SELECT 0"));
    });
}

#[test]
fn a_limit_equal_to_the_number_of_rows_suspends_as_in_postgres() {
    everywhere(|connect| {
        let mut client = connect();
        send(&mut client, |writer| {
            writer.parse("", FIVE, &[]).bind("", "", &[], &[], &[]).execute("", 5).execute("", 5).sync()
        });
        assert_eq!(kinds(&mut client), "12DDDDDsCZ");
    });
}

#[test]
fn portals_end_with_their_transaction_and_not_before() {
    everywhere(|connect| {
        let mut client = connect();
        send(&mut client, |writer| {
            writer.parse("", FIVE, &[]).bind("p", "", &[], &[], &[]).execute("p", 1).sync().execute("p", 1).sync()
        });
        client.answers().expect("answered");
        assert_eq!(client.answers().expect("answered")[0].sqlstate(), "34000");

        client.run("BEGIN");
        send(&mut client, |writer| writer.parse("", FIVE, &[]).bind("p", "", &[], &[], &[]).execute("p", 1).sync());
        assert!(client.answers().expect("answered")[0].suspended);
        // Other statements may run between two parts of it.
        assert_eq!(client.query("SELECT 42").value(), "42");
        send(&mut client, |writer| writer.execute("p", 1).bind("p", "", &[], &[], &[]).sync());
        let answers = client.answers().expect("answered");
        assert_eq!(answers[0].value(), "2");
        client.run("ROLLBACK; BEGIN");
        send(&mut client, |writer| writer.describe(b'P', "p").sync());
        assert_eq!(client.answers().expect("answered")[0].sqlstate(), "34000");
    });
}

#[test]
fn a_named_portal_is_made_once_and_closed_by_name() {
    everywhere(|connect| {
        let mut client = connect();
        send(&mut client, |writer| {
            writer.parse("", FIVE, &[]).bind("p", "", &[], &[], &[]).close(b'P', "p").close(b'P', "p");
            writer.bind("p", "", &[], &[], &[]).bind("p", "", &[], &[], &[]).sync()
        });
        assert_eq!(kinds(&mut client), "12332EZ");
    });
}

#[test]
fn a_statement_without_rows_runs_once_in_its_portal() {
    everywhere(|connect| {
        let mut client = connect();
        client.run(super::SEATS);
        send(&mut client, |writer| {
            writer.parse("", "INSERT INTO seats VALUES (1, 1, 'x')", &[]).bind("", "", &[], &[], &[]);
            writer.execute("", 0).execute("", 0).sync()
        });
        let answers = client.answers().expect("answered");
        assert_eq!(answers[1].sqlstate(), "55000");
    });
}

#[test]
fn large_answers_stream_to_a_slow_reader() {
    everywhere(|connect| {
        let mut client = connect();
        send(&mut client, |writer| writer.query("SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) AS n"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        let answers = client.answers().expect("answered");
        assert_eq!((answers[0].rows.len(), answers[0].tag.as_deref()), (20_000, Some("SELECT 20000")));
        assert_eq!(client.query("SELECT 1").value(), "1");
    });
}

#[test]
fn a_transaction_ends_while_a_portal_of_it_is_half_read() {
    everywhere(|connect| {
        let mut client = connect();
        client.run(super::SEATS);
        let row = |seat: i32| format!("(1, {seat}, '{}')", "x".repeat(200));
        client.run(&format!("INSERT INTO seats VALUES {}", (1..=5000).map(row).collect::<Vec<_>>().join(", ")));
        for end in ["COMMIT", "ROLLBACK"] {
            client.run("BEGIN; UPDATE seats SET status = 'y' WHERE event_id = 1 AND seat = 1");
            send(&mut client, |writer| {
                let all = "SELECT seat, status FROM seats WHERE event_id = 1";
                writer.parse("", all, &[]).bind("p", "", &[], &[], &[]).execute("p", 1).sync()
            });
            assert!(client.answers().expect("answered")[0].suspended);
            client.query("UPDATE seats SET status = 'z' WHERE event_id = 1 AND seat = 2").expect_tag("UPDATE 1");
            client.query(end).expect_tag(end);
            assert_eq!(client.query("SELECT count(*) FROM seats WHERE event_id = 1").value(), "5000");
        }
    });
}
