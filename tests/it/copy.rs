//! COPY: rows go to the shards of their keys and come back as from one Postgres, all of them or none.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::drivers::driver;
use crate::support::client::{DATABASE, USER};
use crate::support::frames::Writer;
use crate::support::{Client, Postgres, Shardd};

const SEATS: &str = "CREATE TABLE seats (event_id bigint, seat_id int, title text, price numeric(10,2), held timestamptz, \
                     taken bool NOT NULL DEFAULT false, PRIMARY KEY (event_id, seat_id))";
const VENUES: &str = "CREATE TABLE venues (venue_id int PRIMARY KEY, name text NOT NULL)";

/// Rows with all that has to be escaped somewhere.
const ROWS: &[&str] = &[
    "(1, 1, 'plain', 1.50, '2026-01-02 03:04:05.678+00', true)",
    "(2, 1, NULL, NULL, NULL, false)",
    "(3, 1, '', 0, NULL, false)",
    "(4, 1, E'tab\\tnew\\nline\\rback\\\\slash', -1, NULL, true)",
    "(5, 1, 'quote \" and '' comma, semi;', 12345678.99, NULL, false)",
    "(6, 1, '\\N', 1, NULL, false)",
    "(7, 1, '\\.', 1, NULL, false)",
    "(8, 1, 'ünïcødé 🎫', 1, NULL, false)",
    "(-9, 2, ' blanks ', 1, '1999-12-31 23:59:59+00', false)",
    "(9223372036854775807, -2147483648, 'NULL', 1, NULL, false)",
];

const STYLES: &[&str] = &[
    "",
    "(FORMAT csv)",
    "(FORMAT csv, HEADER)",
    "(FORMAT binary)",
    "(DELIMITER '|', NULL '-')",
    "(FORMAT csv, DELIMITER ';', QUOTE '''', ESCAPE '\\', NULL 'none')",
    "WITH CSV HEADER QUOTE AS '\"'",
];

/// A server of each kind, and one Postgres by itself.
struct Both {
    expected: Client,
    got: Client,
    shardd: Shardd,
    _postgres: Postgres,
}

impl Both {
    fn of_each_kind() -> impl Iterator<Item = Both> {
        [false, true].into_iter().map(|over_postgres| {
            let postgres = Postgres::start();
            let databases = postgres.make_shards(4);
            let shardd = match over_postgres {
                true => Shardd::start_on(&postgres, &databases[..3], ""),
                false => Shardd::start(),
            };
            let mut expected = postgres.client_of(&databases[3]);
            let mut got = shardd.client();
            for client in [&mut expected, &mut got] {
                client.run(SEATS);
                client.run(VENUES);
            }
            Both { expected, got, shardd, _postgres: postgres }
        })
    }
}

/// Cut where rows do not end.
fn pieces(bytes: &[u8], size: usize) -> Vec<&[u8]> {
    bytes.chunks(size).collect()
}

fn count(client: &mut Client, table: &str) -> String {
    client.query(&format!("SELECT count(*) FROM {table}")).value()
}

#[test]
fn rows_go_in_and_out_as_with_one_postgres() {
    for Both { mut expected, mut got, .. } in Both::of_each_kind() {
        expected.run(&format!("INSERT INTO seats VALUES {}", ROWS.join(", ")));
        for style in STYLES {
            let read = format!("COPY (SELECT * FROM seats ORDER BY event_id, seat_id) TO STDOUT {style}");
            let (answer, bytes) = expected.copy_out(&read);
            answer.expect_tag("COPY 10");
            for size in [1, 7, 100_000] {
                got.run("DELETE FROM seats");
                let answer = got.copy_in(&format!("COPY seats FROM STDIN {style}"), &pieces(&bytes, size));
                answer.expect_tag("COPY 10");
                let (answer, back) = got.copy_out(&read);
                answer.expect_tag("COPY 10");
                let texts = (String::from_utf8_lossy(&back), String::from_utf8_lossy(&bytes));
                assert_eq!(texts.0, texts.1, "{style} in pieces of {size}");
                assert_eq!(back, bytes, "{style}");
            }
            // All of a table, in whatever order: the same lines, with one header.
            let whole = format!("COPY seats TO STDOUT {style}");
            let (_, mut one) = expected.copy_out(&whole);
            let (answer, mut several) = got.copy_out(&whole);
            answer.expect_tag("COPY 10");
            one.sort_unstable();
            several.sort_unstable();
            assert_eq!(several, one, "{style}");
        }
        let (answer, bytes) =
            got.copy_out("COPY seats (seat_id, event_id) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)");
        answer.expect_tag("COPY 10");
        assert!(bytes.starts_with(b"seat_id,event_id\n\""), "{}", String::from_utf8_lossy(&bytes));
        let (answer, bytes) = got.copy_out("COPY (SELECT title FROM seats WHERE event_id = 8) TO STDOUT");
        answer.expect_tag("COPY 1");
        assert_eq!(String::from_utf8_lossy(&bytes), "ünïcødé 🎫\n");
        let (answer, bytes) = got.copy_out("COPY (SELECT count(*), max(price) FROM seats) TO STDOUT CSV");
        answer.expect_tag("COPY 1");
        assert_eq!(String::from_utf8_lossy(&bytes), "10,12345678.99\n");
        got.run("DELETE FROM seats");
        let (answer, bytes) = got.copy_out("COPY seats TO STDOUT (FORMAT binary)");
        answer.expect_tag("COPY 0");
        assert_eq!(bytes.len(), 21);
    }
}

#[test]
fn the_rows_columns_may_be_some_in_another_order() {
    for Both { mut got, .. } in Both::of_each_kind() {
        got.copy_in("COPY seats (seat_id, title, event_id) FROM STDIN", &[b"1\ta\t7\n2\tb\t8"]).expect_tag("COPY 2");
        let rows = got.query("SELECT event_id, seat_id, title, taken FROM seats ORDER BY 1").texts();
        assert_eq!(
            format!("{rows:?}"),
            r#"[[Some("7"), Some("1"), Some("a"), Some("f")], [Some("8"), Some("2"), Some("b"), Some("f")]]"#
        );
        got.copy_in("COPY seats (event_id, seat_id) FROM STDIN CSV HEADER", &[b"x,y\n9,1\n", b"9,2\n"])
            .expect_tag("COPY 2");
        got.copy_in(
            "COPY seats (event_id, seat_id) FROM STDIN (FORMAT csv, HEADER match)",
            &[b"event_id,seat_id\n10,1\n"],
        )
        .expect_tag("COPY 1");
        let wrong = got
            .copy_in("COPY seats (event_id, seat_id) FROM STDIN (FORMAT csv, HEADER match)", &[b"event,seat\n11,1\n"]);
        assert_eq!(wrong.sqlstate(), "22P04");
        got.copy_in("COPY seats FROM STDIN", &[]).expect_tag("COPY 0");
        got.copy_in("COPY seats FROM STDIN", &[b"\\.\n"]).expect_tag("COPY 0");
        assert_eq!(count(&mut got, "seats"), "5");
    }
}

#[test]
fn an_error_anywhere_leaves_nothing_and_the_connection_in_step() {
    for Both { mut expected, mut got, shardd, .. } in Both::of_each_kind() {
        let over_postgres = shardd.directory().join("shardd.toml");
        let over_postgres = std::fs::read_to_string(over_postgres).is_ok_and(|text| text.contains("postgres://"));
        let mut good = String::new();
        for event in 1..=2_000 {
            good += &format!("{event}\t1\n");
        }
        let columns = "(event_id, seat_id)";
        for (rows, sqlstate) in [
            ("3001\tx\n", "22P02"),
            ("x\t1\n", "22P02"),
            ("99999999999999999999\t1\n", "22003"),
            ("\\N\t1\n", "23502"),
            ("3001\t\\N\n", "23502"),
            ("3001\n", "22P04"),
            ("\n", if over_postgres { "22P02" } else { "22P04" }),
            ("3001\t1\t2\n", "22P04"),
            ("7\t1\n", "23505"),
        ] {
            let after: String = (10_001..12_000).map(|event| format!("{event}\t1\n")).collect();
            let all = [good.as_bytes(), rows.as_bytes(), after.as_bytes()].concat();
            let copy = format!("COPY seats {columns} FROM STDIN");
            let error = got.copy_in(&copy, &pieces(&all, 1_000)).error.expect("an error");
            assert_eq!(error.sqlstate(), sqlstate, "{rows:?}: {error:?}");
            assert_eq!(got.status, 'I');
            assert_eq!(count(&mut got, "seats"), "0", "{rows:?}");
            // Postgres says the same, but for the key's own rules.
            let plain = expected.copy_in(&copy, &pieces(&all, 1_000)).error.expect("an error");
            if sqlstate != "23502" && rows != "\n" && over_postgres {
                assert_eq!(error.message(), plain.message(), "{rows:?}");
                // Of a missing column that is found here the row is not shown.
                if rows != "3001\n" {
                    assert_eq!(error.fields[&'W'], plain.fields[&'W'], "{rows:?}");
                }
            }
        }
        // In a transaction it fails, and a savepoint brings it back.
        got.run("BEGIN");
        got.copy_in(&format!("COPY seats {columns} FROM STDIN"), &[b"1\t1\n2\t1\n3\t1\n4\t1\n"]).expect_tag("COPY 4");
        got.run("SAVEPOINT a");
        let failed = got.copy_in(&format!("COPY seats {columns} FROM STDIN"), &[b"5\t1\n6\t1\n7\t1\n8\t1\n5\t1\n"]);
        assert_eq!((failed.sqlstate(), got.status), ("23505", 'E'));
        assert_eq!(got.query("SELECT 1").sqlstate(), "25P02");
        got.run("ROLLBACK TO a");
        assert_eq!(count(&mut got, "seats"), "4", "its own rows are seen");
        let (answer, _) = got.copy_out("COPY seats TO STDOUT");
        answer.expect_tag("COPY 4");
        got.run("ROLLBACK");
        assert_eq!(count(&mut got, "seats"), "0");
        got.run("BEGIN");
        got.copy_in(&format!("COPY seats {columns} FROM STDIN"), &[b"1\t1\n2\t1\n3\t1\n4\t1\n"]).expect_tag("COPY 4");
        got.run("COMMIT");
        assert_eq!(count(&mut got, "seats"), "4");
        got.run("BEGIN READ ONLY");
        let refused = got.copy_in("COPY seats FROM STDIN", &[]);
        assert_eq!(refused.sqlstate(), "25006");
        got.run("ROLLBACK");
    }
}

#[test]
fn a_client_that_gives_up_or_goes_away_has_written_nothing() {
    for Both { mut got, shardd, .. } in Both::of_each_kind() {
        let mut writer = Writer::default();
        writer.query("COPY seats (event_id, seat_id) FROM STDIN");
        got.send(&writer).expect("sent");
        assert!(got.until_rows_are_taken().is_none());
        let mut writer = Writer::default();
        writer.message(b'd', |body| body.extend(b"1\t1\n2\t1\n3\t1\n4\t1\n5\t1\n"));
        writer.message(b'f', |body| body.extend(b"no more\0"));
        got.send(&writer).expect("sent");
        let answer = got.answers().expect("answered").remove(0);
        let error = answer.error.expect("an error");
        assert_eq!((error.sqlstate(), error.message()), ("57014", "COPY from stdin failed: no more"));
        assert_eq!(count(&mut got, "seats"), "0");

        let mut gone = shardd.client();
        let mut writer = Writer::default();
        writer.query("COPY seats (event_id, seat_id) FROM STDIN");
        gone.send(&writer).expect("sent");
        assert!(gone.until_rows_are_taken().is_none());
        let rows: String = (1..=50_000).map(|event| format!("{event}\t1\n")).collect();
        let mut writer = Writer::default();
        writer.message(b'd', |body| body.extend(rows.as_bytes()));
        gone.send(&writer).expect("sent");
        drop(gone);
        let begun = Instant::now();
        // Its rows are locked until they are taken back.
        got.run("INSERT INTO seats (event_id, seat_id) VALUES (1, 1)");
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(count(&mut got, "seats"), "1");
    }
}

#[test]
fn the_extended_protocol_copies_too() {
    for Both { mut got, .. } in Both::of_each_kind() {
        // As libpq does: a Sync goes along with Execute, and another follows the rows.
        let mut writer = Writer::default();
        writer.parse("", "COPY seats (event_id, seat_id) FROM STDIN", &[]).bind("", "", &[], &[], &[]);
        writer.describe(b'P', "").execute("", 0).sync();
        got.send(&writer).expect("sent");
        assert!(got.until_rows_are_taken().is_none());
        let mut writer = Writer::default();
        writer.message(b'd', |body| body.extend(b"1\t1\n2\t1\n")).message(b'c', |_| ()).sync();
        got.send(&writer).expect("sent");
        got.answers().expect("answered")[0].expect_tag("COPY 2");
        assert_eq!(got.status, 'I');
        assert_eq!(count(&mut got, "seats"), "2");
        // An error in the midst: what follows is passed over up to the Sync.
        let mut writer = Writer::default();
        writer.parse("", "COPY seats (event_id, seat_id) FROM STDIN", &[]).bind("", "", &[], &[], &[]);
        writer.execute("", 0).sync();
        got.send(&writer).expect("sent");
        assert!(got.until_rows_are_taken().is_none());
        let mut writer = Writer::default();
        writer.message(b'd', |body| body.extend(b"x\t1\n"));
        writer.message(b'd', |body| body.extend(b"3\t1\n")).message(b'c', |_| ()).sync();
        got.send(&writer).expect("sent");
        assert_eq!(got.answers().expect("answered")[0].sqlstate(), "22P02");
        assert_eq!(count(&mut got, "seats"), "2");
        // Several statements in one text are one transaction.
        let mut writer = Writer::default();
        writer.query("DELETE FROM seats; COPY seats (event_id, seat_id) FROM STDIN; SELECT nope FROM seats");
        got.send(&writer).expect("sent");
        let message = loop {
            let message = got.receive().expect("an answer");
            if message.kind != b'C' {
                break message;
            }
        };
        assert_eq!(message.kind as char, 'G');
        let mut writer = Writer::default();
        writer.message(b'd', |body| body.extend(b"8\t1\n9\t1\n7\t1\n")).message(b'c', |_| ());
        got.send(&writer).expect("sent");
        let answers = got.answers().expect("answered");
        answers[0].expect_tag("COPY 3");
        assert_eq!(answers[1].sqlstate(), "42703");
        assert_eq!(count(&mut got, "seats"), "2");
    }
}

#[test]
fn a_reference_table_gets_its_rows_everywhere() {
    for Both { mut got, shardd, .. } in Both::of_each_kind() {
        got.run("INSERT INTO seats (event_id, seat_id) SELECT 1, 1");
        let rows: String = (1..=3_000).map(|venue| format!("{venue}\tHall {venue}\n")).collect();
        got.copy_in("COPY venues FROM STDIN", &pieces(rows.as_bytes(), 8_000)).expect_tag("COPY 3000");
        assert_eq!(count(&mut got, "venues"), "3000");
        for shard in shardd.shard_names() {
            let key = shardd.keys_on("seats", &shard, 1)[0];
            let joined = got.query(&format!(
                "SELECT count(*) FROM venues v LEFT JOIN seats s ON s.seat_id = v.venue_id AND s.event_id = {key}"
            ));
            assert_eq!(joined.value(), "3000");
        }
        let (answer, _) = got.copy_out("COPY venues TO STDOUT (FORMAT binary)");
        answer.expect_tag("COPY 3000");
        let duplicate = got.copy_in("COPY venues FROM STDIN", &[b"4000\tnew\n1\told\n"]);
        assert_eq!(duplicate.sqlstate(), "23505");
        assert_eq!(count(&mut got, "venues"), "3000");
    }
}

#[test]
fn postgres_shards_judge_where_and_refuse_as_one_does() {
    let mut both = Both::of_each_kind().nth(1).expect("over Postgres");
    let rows = b"1\t1\n2\t5\n3\t1\n4\t7\n5\t1\n";
    let copy = "COPY seats (event_id, seat_id) FROM STDIN WHERE seat_id > 2 AND event_id <> 4";
    both.got.copy_in(copy, &[rows]).expect_tag("COPY 1");
    let wrong = both.got.copy_in("COPY seats (event_id, seat_id) FROM STDIN WHERE nope > 2", &[rows]);
    assert_eq!(wrong.sqlstate(), "42703");
    assert_eq!(count(&mut both.got, "seats"), "1");
    for condition in ["random() > 0.5", "now() > '2026-01-01'", "CURRENT_DATE > '2026-01-01'"] {
        let refused = both.got.copy_in(&format!("COPY venues FROM STDIN WHERE {condition}"), &[]);
        assert_eq!(refused.sqlstate(), "0A000", "{condition}");
    }
    both.got.run("CREATE TABLE stamped (id int PRIMARY KEY, at timestamptz DEFAULT CURRENT_TIMESTAMP)");
    assert_eq!(both.got.copy_in("COPY stamped (id) FROM STDIN", &[b"1\n"]).sqlstate(), "0A000");
    both.got.copy_in("COPY stamped FROM STDIN", &[b"1\t2026-01-01\n"]).expect_tag("COPY 1");
    for (statement, sqlstate) in [
        ("COPY nowhere FROM STDIN", "42P01"),
        ("COPY seats (nope) FROM STDIN", "42703"),
        ("COPY seats (event_id, event_id) FROM STDIN", "42701"),
        ("COPY seats (seat_id) FROM STDIN", "23502"),
        ("COPY seats FROM '/etc/passwd'", "0A000"),
        ("COPY seats TO PROGRAM 'cat'", "0A000"),
        ("COPY (DELETE FROM seats RETURNING *) TO STDOUT", "0A000"),
        ("COPY (SELECT nope FROM seats) TO STDOUT", "42703"),
        ("PREPARE c AS COPY seats TO STDOUT", "42601"),
    ] {
        let refused = both.got.copy_in(statement, &[]);
        assert_eq!(refused.sqlstate(), sqlstate, "{statement}");
        assert_eq!(both.got.query("SELECT 1").value(), "1");
    }
}

fn resident_kib(server: &Shardd) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its most");
    line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("a number")
}

#[test]
fn many_rows_take_no_more_memory_than_some() {
    let mut both = Both::of_each_kind().nth(1).expect("over Postgres");
    let filler = "x".repeat(500);
    let block = |from: usize| -> Vec<u8> {
        (from..from + 1_000).map(|event| format!("{event}\t1\t{filler}\n")).collect::<String>().into_bytes()
    };
    let copy = "COPY seats (event_id, seat_id, title) FROM STDIN";
    both.got.copy_in(copy, &[&block(0)]).expect_tag("COPY 1000");
    let before = resident_kib(&both.shardd);
    let blocks: Vec<Vec<u8>> = (1..=100).map(|number| block(number * 1_000)).collect();
    let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
    both.got.copy_in(copy, &blocks).expect_tag("COPY 100000");
    let (answer, bytes) = both.got.copy_out("COPY seats TO STDOUT");
    answer.expect_tag("COPY 101000");
    assert!(bytes.len() > 50_000_000);
    let grown = resident_kib(&both.shardd).saturating_sub(before);
    assert!(grown < 40_000, "100,000 rows of 500 bytes took {grown} KiB");
}

#[test]
fn drivers_copy() {
    let postgres = Postgres::start();
    let over_postgres = Shardd::start_over(&postgres);
    let shardd = Shardd::start();
    for port in [postgres.port, over_postgres.ports.postgres, over_postgres.ports.session, shardd.ports.postgres] {
        let mut command = driver("python", "copy_flow.py");
        command.env("DATABASE_URL", format!("postgres://{USER}@127.0.0.1:{port}/{DATABASE}"));
        let output = command.stdin(Stdio::null()).output().expect("the client runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("flow complete"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn psql_copies_files() {
    for Both { mut got, shardd, .. } in Both::of_each_kind() {
        let (from, to) = (shardd.directory().join("in.csv"), shardd.directory().join("out.csv"));
        let mut lines = String::from("event_id,seat_id,title\n");
        for event in 1..=3_000 {
            lines += &format!("{event},1,\"Hall, \"\"{event}\"\"\nsecond line\"\n");
        }
        std::fs::write(&from, &lines).expect("written");
        let script = format!(
            "\\copy seats (event_id, seat_id, title) from '{}' csv header\n\
             \\copy (select event_id, seat_id, title from seats order by 1) to '{}' csv header\n\
             copy seats (event_id, seat_id) from stdin;\n5000\t1\n5001\t1\n\\.\nselect count(*) from seats;\n",
            from.display(),
            to.display()
        );
        let file = shardd.directory().join("copy.sql");
        std::fs::write(&file, script).expect("written");
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER, "-d", DATABASE]);
        command.args(["-p", &shardd.ports.postgres.to_string(), "-f"]).arg(&file);
        let output = command.stdin(Stdio::null()).output().expect("psql runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text, "COPY 3000\nCOPY 3000\nCOPY 2\n3002\n", "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(std::fs::read_to_string(&to).expect("read"), lines);
        assert_eq!(count(&mut got, "seats"), "3002");
    }
}

/// A row that COPY brings is found by its key, and one that INSERT brings besides is on the same shard.
#[test]
fn keys_of_every_type_mean_the_same_as_in_an_insert() {
    let texts = ["plain", "blanks  ", "", "ünï", "tab\\there", "back\\\\slash", "NULL", "a,b \"c\""];
    let uuids = [
        "00000000-0000-0000-0000-000000000001",
        "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    ];
    let numbers = ["7", "007", " +8 ", "-9", "2147483647", "0"];
    let cases: [(&str, &str, &[&str]); 4] = [
        ("text", "text", &texts),
        ("text", "varchar(5)", &["a", "abcde", "abcde   "]),
        ("uuid", "uuid", &uuids),
        ("bigint", "int", &numbers),
    ];
    let postgres = Postgres::start();
    let databases = postgres.make_shards(3 * cases.len());
    for (number, (key_type, column, keys)) in cases.into_iter().enumerate() {
        let keyspace = format!("[[keyspaces]]\nname = \"main\"\nkey_column = \"k\"\nkey_type = \"{key_type}\"\n");
        let over_postgres = Shardd::start_on(&postgres, &databases[number * 3..number * 3 + 3], &keyspace);
        for shardd in [over_postgres, Shardd::start_with(&keyspace)] {
            let mut client = shardd.client();
            client.run(&format!("CREATE TABLE things (n int, k {column} NOT NULL, PRIMARY KEY (k, n))"));
            let lines: String = keys.iter().enumerate().map(|(n, key)| format!("{n}\t{key}\n")).collect();
            let tag = format!("COPY {}", keys.len());
            client.copy_in("COPY things (n, k) FROM STDIN", &[lines.as_bytes()]).expect_tag(&tag);
            let rows = client.query("SELECT n, k FROM things ORDER BY n").texts();
            for row in &rows {
                let (n, key) = (row[0].as_deref().expect("n"), row[1].as_deref().expect("k").replace('\'', "''"));
                let there = client.query(&format!("SELECT n FROM things WHERE k = '{key}' AND n = {n}"));
                assert_eq!(there.value(), n, "{column} {key:?}");
                client.run(&format!("DELETE FROM things WHERE k = '{key}' AND n = {n}"));
                let (_, back) =
                    client.copy_out(&format!("COPY (SELECT {n}::int, '{key}'::{column}) TO STDOUT (FORMAT binary)"));
                client.copy_in("COPY things (n, k) FROM STDIN (FORMAT binary)", &[&back]).expect_tag("COPY 1");
                let again =
                    client.query(&format!("INSERT INTO things (n, k) VALUES ({n}, '{key}') ON CONFLICT DO NOTHING"));
                again.expect_tag("INSERT 0 0");
            }
            assert_eq!(rows, client.query("SELECT n, k FROM things ORDER BY n").texts());
        }
    }
}

#[test]
fn a_shard_that_waits_holds_its_client_back_and_can_be_given_up() {
    for Both { mut got, shardd, .. } in Both::of_each_kind() {
        let rows: String = (1..=40_000).map(|event| format!("{event}\t1\t{}\n", "x".repeat(500))).collect();
        let pieces = pieces(rows.as_bytes(), 60_000);
        let copy = "COPY seats (event_id, seat_id, title) FROM STDIN";
        let mut other = shardd.client();
        other.run("BEGIN");
        other.run("INSERT INTO seats (event_id, seat_id) VALUES (1, 1)");
        got.run("SET statement_timeout = '1500ms'");
        assert_eq!(got.copy_in(copy, &pieces).sqlstate(), "57014");
        assert_eq!((got.status, got.query("SELECT 1").value().as_str()), ('I', "1"));
        got.run("RESET statement_timeout");
        let before = resident_kib(&shardd);
        let answer = std::thread::scope(|scope| {
            let copying = scope.spawn(|| got.copy_in(copy, &pieces));
            std::thread::sleep(Duration::from_millis(1_500));
            let grown = resident_kib(&shardd).saturating_sub(before);
            assert!(grown < 16_000, "{grown} KiB wait for one row");
            other.run("ROLLBACK");
            copying.join().expect("copied")
        });
        answer.expect_tag("COPY 40000");
        assert_eq!(count(&mut got, "seats"), "40000");
    }
}

#[test]
fn copies_are_counted_as_writes_and_reads() {
    for Both { mut got, shardd, .. } in Both::of_each_kind() {
        let counted = |kind: &str, outcome: &str| {
            let metrics = shardd.admin(&crate::support::shardd::Request::get("/metrics")).text();
            let (kind, outcome) = (format!("kind=\"{kind}\""), format!("outcome=\"{outcome}\""));
            let lines = metrics.lines().filter(|line| line.starts_with("shardd_queries_total{"));
            let lines = lines.filter(|line| line.contains(&kind) && line.contains(&outcome));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
        };
        let before = (counted("write", "ok"), counted("read", "ok"), counted("write", "client_error"));
        got.copy_in("COPY seats (event_id, seat_id) FROM STDIN", &[b"1\t1\n2\t1\n3\t1\n4\t1\n"]).expect_tag("COPY 4");
        got.copy_out("COPY seats TO STDOUT").0.expect_tag("COPY 4");
        assert_eq!(got.copy_in("COPY seats (event_id, seat_id) FROM STDIN", &[b"1\t1\n"]).sqlstate(), "23505");
        let after = (counted("write", "ok"), counted("read", "ok"), counted("write", "client_error"));
        assert_eq!((after.0 - before.0, after.1 - before.1, after.2 - before.2), (1, 1, 1));
    }
}
