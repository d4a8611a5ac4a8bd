//! A table is made sharded, or a reference table, with every row where it belongs, or nothing has happened.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use crate::support::client::USER;
use crate::support::hole::{Hole, Passes};
use crate::support::shardd::Request;
use crate::support::{Client, PATIENCE, PATIENT, Postgres, Shardd};

pub(super) fn shardctl(shardd: &Shardd, arguments: &[&str]) -> (Option<i32>, String) {
    let mut shardctl = Command::new(env!("CARGO_BIN_EXE_shardctl"));
    let output =
        shardctl.args(["--url", &shardd.admin_url(), "table"]).args(arguments).output().expect("shardctl runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

pub(super) fn kind(shardd: &Shardd, table: &str) -> (String, Option<String>) {
    let tables = shardd.admin(&Request::get("/v1/tables")).json();
    let all = tables.as_array().expect("tables").iter();
    let found = all.clone().find(|one| one["table"] == table).unwrap_or_else(|| panic!("no {table} in {tables}"));
    (found["kind"].as_str().expect("a kind").to_owned(), found["key_column"].as_str().map(str::to_owned))
}

pub(super) fn all(client: &mut Client) -> Vec<Vec<Option<String>>> {
    client.query("SELECT person_id, name, tag FROM people ORDER BY 1").texts()
}

pub(super) fn filled(shardd: &Shardd) -> Client {
    let mut client = shardd.client();
    client.run("CREATE TABLE people (person_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, tag jsonb)");
    client.run("CREATE INDEX by_name ON people (name)");
    let rows: Vec<String> = (1..=400).map(|n| format!("('p{n}', '{{\"n\": {n}}}')")).collect();
    client.run(&format!("INSERT INTO people (name, tag) VALUES {}", rows.join(", ")));
    client
}

/// How many rows each shard has itself.
pub(super) fn held(shardd: &Shardd) -> Option<Vec<u64>> {
    let postgres = shardd.postgres()?;
    let count = |shard: String| {
        postgres.client_of(&shard).query("SELECT count(*) FROM people").value().parse().expect("a count")
    };
    Some(shardd.shard_names().into_iter().map(count).collect())
}

#[test]
fn a_table_becomes_sharded_and_a_reference_table_again() {
    for mut shardd in Shardd::of_each_kind() {
        let mut client = filled(&shardd);
        let rows = all(&mut client);
        assert_eq!(rows.len(), 400);
        let (code, told) = shardctl(&shardd, &["shard", "people", "--key", "person_id", "--dry-run"]);
        assert_eq!((code, told.contains("can become")), (Some(0), true), "{told}");
        assert_eq!(kind(&shardd, "people"), ("reference".to_owned(), None));
        assert_eq!(all(&mut client), rows);

        let (code, told) = shardctl(&shardd, &["shard", "people", "--key", "person_id"]);
        assert_eq!((code, told.contains("400 rows")), (Some(0), true), "{told}");
        assert_eq!(kind(&shardd, "people"), ("sharded".to_owned(), Some("person_id".to_owned())));
        assert_eq!(all(&mut client), rows);
        if let Some(held) = held(&shardd) {
            assert_eq!(held.iter().sum::<u64>(), 400, "{held:?}");
            assert!(held.iter().all(|count| *count > 50), "{held:?}");
        }
        for id in [1, 77, 400] {
            assert_eq!(
                client.query(&format!("SELECT name FROM people WHERE person_id = {id}")).value(),
                format!("p{id}")
            );
        }
        client.run(
            "INSERT INTO people (person_id, name) OVERRIDING SYSTEM VALUE VALUES (100000, 'late'), (100001, 'later')",
        );
        let rows = all(&mut client);
        drop(client);

        // Everybody agrees after a restart.
        shardd.stop();
        shardd.launch();
        let mut client = shardd.client();
        assert_eq!(kind(&shardd, "people"), ("sharded".to_owned(), Some("person_id".to_owned())));
        assert_eq!(all(&mut client), rows);
        assert_eq!(client.query("SELECT count(*) FROM people").value(), "402");

        let (code, told) = shardctl(&shardd, &["reference", "people"]);
        assert_eq!((code, told.contains("402 rows")), (Some(0), true), "{told}");
        assert_eq!(kind(&shardd, "people"), ("reference".to_owned(), None));
        assert_eq!(all(&mut client), rows);
        assert_eq!(held(&shardd).unwrap_or_default().iter().filter(|count| **count != 402).count(), 0);
        client.run("SELECT setval(pg_get_serial_sequence('people', 'person_id'), (SELECT max(person_id) FROM people))");
        client.run("INSERT INTO people (name) VALUES ('one'), ('two')");
        assert_eq!(
            client.query("SELECT count(*), count(DISTINCT person_id) FROM people").texts()[0],
            vec![Some("404".to_owned()); 2]
        );
        client.run("DROP TABLE people");
        client.run("CREATE TABLE people (person_id bigint PRIMARY KEY, name text)");
        assert_eq!(kind(&shardd, "people"), ("reference".to_owned(), None));
    }
}

#[test]
fn a_table_that_cannot_be_of_a_kind_stays_what_it_is() {
    for shardd in Shardd::of_each_kind_with("[limits]\ngather_max_bytes = 65536") {
        let mut client = shardd.client();
        client.run("CREATE TABLE venues (venue_id bigint PRIMARY KEY, name text, boss bigint)");
        client.run("CREATE TABLE halls (hall_id bigint PRIMARY KEY, venue_id bigint NOT NULL REFERENCES venues)");
        client.run("CREATE TABLE seats (event_id bigint, hall_id bigint, PRIMARY KEY (event_id, hall_id))");
        client.run("CREATE TABLE notes (note_id bigint PRIMARY KEY, body text)");
        client.run("CREATE TABLE places (place_id bigint PRIMARY KEY, within bigint REFERENCES places)");
        client.run("INSERT INTO notes SELECT n, repeat('x', 1000) FROM generate_series(1, 100) n");
        for (arguments, told) in [
            (&["shard", "nope", "--key", "a"][..], "does not exist"),
            (&["shard", "venues", "--key", "venue_id"], "of \"halls\" refers to from other shards"),
            (&["shard", "halls", "--key", "nope"], "does not exist"),
            (&["shard", "halls", "--key", "venue_id"], "does not include"),
            (&["shard", "notes", "--key", "body"], "no key of keyspace"),
            (&["shard", "notes", "--key", "note_id", "--keyspace", "nope"], "there is no keyspace"),
            (&["shard", "notes", "--key", "note_id"], "bytes"),
            (&["shard", "places", "--key", "place_id"], "refers to rows of other shards"),
            (&["reference", "notes"], "is that already"),
            (&["shard", "seats", "--key", "event_id"], "is that already"),
        ] {
            let (code, answer) = shardctl(&shardd, arguments);
            assert!(code != Some(0) && answer.contains(told), "{arguments:?}: {answer}");
        }
        assert_eq!(kind(&shardd, "notes"), ("reference".to_owned(), None));
        assert_eq!(client.query("SELECT count(*) FROM notes").value(), "100");
        // Its key is changed.
        client.run("INSERT INTO seats SELECT n, n * 7 FROM generate_series(1, 100) n");
        let (code, told) = shardctl(&shardd, &["shard", "seats", "--key", "hall_id"]);
        assert_eq!(code, Some(0), "{told}");
        assert_eq!(client.query("SELECT event_id FROM seats WHERE hall_id = 70").value(), "10");
        assert_eq!(client.query("SELECT count(*) FROM seats").value(), "100");
    }
}

/// What hangs on `events` on each server, in words. Its guard comes and goes with its kind.
fn attached(shardd: &Shardd) -> Vec<Vec<Vec<Option<String>>>> {
    let question = "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') \
                    FROM pg_constraint WHERE confrelid = 'events'::regclass \
                    UNION ALL SELECT tgrelid::regclass::text, tgname, tgenabled::text, NULL FROM pg_trigger \
                    WHERE tgrelid = 'events'::regclass AND NOT tgisinternal AND tgname <> 'shardd_guard' ORDER BY 1, 2";
    let Some(postgres) = shardd.postgres() else { return Vec::new() };
    shardd.shard_names().iter().map(|shard| postgres.client_of(shard).query(question).texts()).collect()
}

#[test]
fn foreign_keys_and_triggers_rest_while_rows_are_moved() {
    for shardd in Shardd::of_each_kind() {
        let mut client = shardd.client();
        client.run("CREATE TABLE events (event_id bigint PRIMARY KEY, name text)");
        client.run(
            "CREATE TABLE seats (event_id bigint REFERENCES events ON DELETE CASCADE, seat int, PRIMARY KEY (event_id, seat))",
        );
        client.run("CREATE TABLE sales (event_id bigint PRIMARY KEY REFERENCES events ON DELETE RESTRICT)");
        client.run("INSERT INTO events SELECT n, 'e' || n FROM generate_series(1, 100) n");
        client.run("INSERT INTO seats SELECT n / 2 + 1, n FROM generate_series(0, 199) n");
        client.run("INSERT INTO sales SELECT n FROM generate_series(50, 100) n");
        for shard in shardd.postgres().into_iter().flat_map(|_| shardd.shard_names()) {
            shardd.postgres().expect("servers").client_of(&shard).run(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fired'; END $$;
                 CREATE TRIGGER plain AFTER INSERT OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse();
                 CREATE TRIGGER always BEFORE TRUNCATE OR INSERT ON events EXECUTE FUNCTION refuse();
                 ALTER TABLE events ENABLE ALWAYS TRIGGER always;
                 CREATE TRIGGER rests BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse();
                 ALTER TABLE events DISABLE TRIGGER rests;
                 COMMENT ON CONSTRAINT sales_event_id_fkey ON sales IS 'it''s kept'",
            );
        }
        let before = attached(&shardd);
        for arguments in [&["reference", "events"][..], &["shard", "events", "--key", "event_id"]].repeat(2) {
            let (code, told) = shardctl(&shardd, arguments);
            assert_eq!((code, told.contains("100 rows")), (Some(0), true), "{told}");
            assert_eq!(kind(&shardd, "events").0, if arguments[0] == "shard" { "sharded" } else { "reference" });
            assert_eq!(attached(&shardd), before);
            for (table, rows) in [("events", "100"), ("seats", "200"), ("sales", "51")] {
                assert_eq!(client.query(&format!("SELECT count(*) FROM {table}")).value(), rows, "{table}");
            }
            assert_eq!(client.query("INSERT INTO seats VALUES (1000, 1)").sqlstate(), "23503");
            client.run("INSERT INTO seats VALUES (100, 1000)");
            client.run("DELETE FROM seats WHERE event_id = 100 AND seat = 1000");
        }
        assert_ne!(client.query("DELETE FROM events WHERE event_id = 100").sqlstate(), "00000");
        match shardd.postgres() {
            Some(_) => assert_eq!(client.query("DELETE FROM events WHERE event_id = 1").sqlstate(), "P0001"),
            None => {
                client.query("DELETE FROM events WHERE event_id = 1").expect_tag("DELETE 1");
                assert_eq!(client.query("SELECT count(*) FROM seats").value(), "198");
            }
        }
    }
}

/// They are inserted some hundred at a time, in any order.
#[test]
fn rows_that_refer_to_each_other_are_moved() {
    for shardd in Shardd::of_each_kind() {
        let mut client = shardd.client();
        client.run(
            "CREATE TABLE nodes (event_id bigint, node int, next int, PRIMARY KEY (event_id, node), \
             FOREIGN KEY (event_id, next) REFERENCES nodes)",
        );
        let rows: Vec<String> = (1..=600).map(|node| format!("(1, {node}, {})", node % 600 + 1)).collect();
        client.run(&format!("INSERT INTO nodes VALUES {}", rows.join(", ")));
        for arguments in [&["reference", "nodes"][..], &["shard", "nodes", "--key", "event_id"]] {
            let (code, told) = shardctl(&shardd, arguments);
            assert_eq!((code, told.contains("600 rows")), (Some(0), true), "{told}");
            assert_eq!(client.query("SELECT count(*) FROM nodes").value(), "600");
            assert_eq!(client.query("INSERT INTO nodes VALUES (1, 601, 700)").sqlstate(), "23503");
        }
    }
}

#[test]
fn a_change_of_columns_does_not_change_a_kind_unseen() {
    let shardd = Shardd::start_over_postgres();
    let mut client = shardd.client();
    client.run("CREATE TABLE seats (event_id bigint PRIMARY KEY, note text)");
    client.run("CREATE TABLE venues (venue_id bigint PRIMARY KEY, name text)");
    client.run("INSERT INTO seats SELECT n, 'x' FROM generate_series(1, 50) n");
    for statement in [
        "ALTER TABLE seats RENAME COLUMN event_id TO eid",
        "ALTER TABLE seats DROP COLUMN event_id",
        "ALTER TABLE venues ADD COLUMN event_id bigint NOT NULL DEFAULT 1",
        "ALTER TABLE venues RENAME COLUMN venue_id TO event_id",
    ] {
        assert_eq!(client.query(statement).sqlstate(), "0A000", "{statement}");
    }
    assert_eq!(client.query("SELECT count(*) FROM seats").value(), "50");
    assert_eq!(shardctl(&shardd, &["shard", "venues", "--key", "venue_id"]).0, Some(0));
    for statement in
        ["ALTER TABLE venues RENAME COLUMN venue_id TO event_id", "ALTER TABLE venues DROP COLUMN venue_id"]
    {
        assert_eq!(client.query(statement).sqlstate(), "0A000", "{statement}");
    }
    assert_eq!(kind(&shardd, "venues"), ("sharded".to_owned(), Some("venue_id".to_owned())));
    client.run("ALTER TABLE seats RENAME TO chairs");
    assert_eq!(client.query("SELECT count(*) FROM chairs").value(), "50");
}

/// Also where the lowest shard has nothing to do with the table.
#[test]
fn no_change_of_the_schema_forgets_a_kind() {
    let mut shardd = Shardd::start_over_postgres_with(
        "[[keyspaces]]\nname = 'main'\nkey_column = 'event_id'\n\
         [[keyspaces]]\nname = 'people'\nkey_column = 'email'\nkey_type = 'text'\nshards = ['s3']",
    );
    let mut client = shardd.client();
    client.run("CREATE TABLE letters (mail text PRIMARY KEY, body text)");
    client.run("INSERT INTO letters SELECT 'm' || n, 'x' FROM generate_series(1, 20) n");
    let (code, told) = shardctl(&shardd, &["shard", "letters", "--key", "mail", "--keyspace", "people"]);
    assert_eq!(code, Some(0), "{told}");
    client.run("CREATE TABLE others (other_id bigint PRIMARY KEY)");
    client.run("ALTER TABLE letters RENAME TO posts");
    let by_mail = ("sharded".to_owned(), Some("mail".to_owned()));
    assert_eq!(kind(&shardd, "posts"), by_mail);
    drop(client);
    shardd.stop();
    shardd.launch();
    let mut client = shardd.client();
    assert_eq!(kind(&shardd, "posts"), by_mail);
    assert_eq!(client.query("SELECT count(*) FROM posts").value(), "20");
    // Another table by the old name is placed by its columns.
    client.run("CREATE TABLE letters (mail text PRIMARY KEY)");
    assert_eq!(kind(&shardd, "letters"), ("reference".to_owned(), None));
    client.run("DROP TABLE posts");
    client.run("CREATE TABLE posts (mail text PRIMARY KEY)");
    assert_eq!(kind(&shardd, "posts"), ("reference".to_owned(), None));
}

/// Somebody beside shardd holds the table on one server until the returned client ends: a change of its kind waits.
fn held_on_one(shardd: &Shardd) -> Client {
    let mut holding = shardd.postgres().expect("servers").client_of(&shardd.shard_names()[1]);
    holding.run("BEGIN");
    holding.run("LOCK TABLE people IN SHARE MODE");
    holding
}

#[test]
fn ids_of_a_table_are_not_given_while_its_kind_changes() {
    let shardd = Shardd::start_over_postgres();
    let mut client = filled(&shardd);
    let next = "SELECT nextval('people_person_id_seq')";
    assert_eq!(client.query(next).value(), "401");
    let holding = held_on_one(&shardd);
    std::thread::scope(|scope| {
        let change = scope.spawn(|| shardctl(&shardd, &["shard", "people", "--key", "person_id"]));
        while client.query("SELECT count(*) FROM people").error.is_none() {
            assert!(!change.is_finished(), "nothing was waited for");
        }
        let unique = "CREATE UNIQUE INDEX CONCURRENTLY by_tag ON people (tag)";
        for call in [next, "SELECT setval('people_person_id_seq', 5)", unique] {
            let refused = client.query(call).error.expect(call);
            assert_eq!(refused.sqlstate(), "0A000", "{refused:?}");
            assert!(refused.message().contains("while it is made another kind"), "{refused:?}");
        }
        drop(holding);
        let (code, told) = change.join().expect("a change");
        assert_eq!(code, Some(0), "{told}");
    });
    assert!(client.query(next).value().parse::<u64>().unwrap() > 401);
}

#[test]
fn an_older_snapshot_sees_no_rows_by_another_kind() {
    for shardd in Shardd::of_each_kind() {
        let mut client = filled(&shardd);
        client.run("CREATE TABLE seats (event_id bigint PRIMARY KEY)");
        client.run("INSERT INTO seats SELECT n FROM generate_series(1, 20) n");
        let mut snapshots: Vec<Client> = (0..4).map(|_| shardd.client()).collect();
        for client in &mut snapshots {
            client.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
            assert_eq!(client.query("SELECT count(*) FROM seats").value(), "20");
        }
        let (code, told) = shardctl(&shardd, &["shard", "people", "--key", "person_id"]);
        assert_eq!(code, Some(0), "{told}");
        let questions = [
            "SELECT count(*) FROM people",
            "SELECT name FROM people WHERE person_id = 5",
            "DECLARE c CURSOR FOR SELECT name FROM people WHERE person_id = 5",
            "DECLARE c CURSOR FOR SELECT name FROM people",
        ];
        for (client, question) in snapshots.iter_mut().zip(questions) {
            let refused = client.query(question);
            assert_eq!(refused.sqlstate(), "40001", "{question}: {refused:?}");
            client.run("ROLLBACK");
            client.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
            assert_eq!(client.query("SELECT count(*) FROM people").value(), "400");
            assert_eq!(client.query("SELECT name FROM people WHERE person_id = 5").value(), "p5");
            client.run("COMMIT");
        }
    }
}

/// Waits until a server's processes that this condition names are as many.
fn until_there_are(
    count: &str,
    condition: &str,
    looking: &mut Client,
    change: &ScopedJoinHandle<'_, (Option<i32>, String)>,
) {
    let question = format!("SELECT count(*) FROM pg_stat_activity WHERE {condition}");
    while looking.query(&question).value() != count {
        assert!(!change.is_finished(), "nothing was waited for");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Where its shards' sequences stand is read once, and set once: in between nobody takes a number, nor does anybody beside shardd.
#[test]
fn numbers_are_not_given_beside_shardd_while_a_kind_changes() {
    let shardd = Shardd::start_over_postgres_with(PATIENT);
    let mut client = filled(&shardd);
    let (postgres, names) = (shardd.postgres().expect("servers"), shardd.shard_names());
    std::thread::scope(|scope| {
        // The second shard waits before it has come to its sequence, and the first has.
        let mut holding = postgres.client_of(&names[1]);
        holding.run("BEGIN");
        holding.run("COMMENT ON SCHEMA shardd IS NULL");
        let change = scope.spawn(|| shardctl(&shardd, &["shard", "people", "--key", "person_id"]));
        let mut beside = postgres.client_of(&names[0]);
        until_there_are("1", "query LIKE 'COMMENT ON SCHEMA%' AND wait_event_type = 'Lock'", &mut beside, &change);
        beside.run("SET lock_timeout = 300");
        for call in ["nextval('people_person_id_seq')", "setval('people_person_id_seq', 5)"] {
            assert_eq!(beside.query(&format!("SELECT {call}")).sqlstate(), "55P03", "{call}");
        }
        holding.run("ROLLBACK");
        let (code, told) = change.join().expect("a change");
        assert_eq!(code, Some(0), "{told}");
    });
    let next = "SELECT nextval('people_person_id_seq')";
    let mut ids: Vec<String> = (0..5).map(|_| client.query(next).value()).collect();
    for shard in &names {
        let mut beside = postgres.client_of(shard);
        ids.extend((0..5).map(|_| beside.query(next).value()));
    }
    let different: BTreeSet<u64> = ids.iter().map(|id| id.parse().expect("an id")).collect();
    assert!(different.len() == ids.len() && different.iter().all(|id| *id > 400), "{ids:?}");
}

/// The shard that decides is cut off when it is told to commit, and for longer than its answer is asked for.
#[test]
fn a_table_whose_change_is_in_doubt_is_seen_when_it_is_known() {
    let postgres = Postgres::start();
    postgres.make_shards(2);
    let hole = Hole::before(postgres.port);
    let mut configuration = format!("{PATIENT}resolve_after_ms = 500\n");
    for (name, port) in [("s1", hole.port), ("s2", postgres.port)] {
        let url = format!("postgres://{USER}@127.0.0.1:{port}/{name}");
        configuration += &format!("[[shards]]\nname = \"{name}\"\nurl = \"{url}\"\n");
    }
    let shardd = Shardd::start_with(&configuration);
    let mut client = filled(&shardd);
    let told = std::thread::scope(|scope| {
        let mut holding = postgres.client_of("s1");
        holding.run("BEGIN");
        holding.run("LOCK TABLE shardd.decision IN EXCLUSIVE MODE");
        let change = scope.spawn(|| shardctl(&shardd, &["shard", "people", "--key", "person_id"]));
        let mut looking = postgres.client_of("postgres");
        let deciding = "query LIKE '%INSERT INTO shardd.decision%''commit''%' AND pid <> pg_backend_pid()";
        until_there_are("1", &format!("{deciding} AND wait_event_type = 'Lock'"), &mut looking, &change);
        hole.let_pass(Passes::Answers);
        holding.run("ROLLBACK");
        until_there_are("1", &format!("{deciding} AND state = 'idle in transaction'"), &mut looking, &change);
        // COMMIT is on its way, and swallowed.
        std::thread::sleep(Duration::from_secs(1));
        hole.cut();
        change.join().expect("a change").1
    });
    assert!(told.contains("becomes committed on every shard, or on none"), "{told}");
    let hidden = client.query("SELECT count(*) FROM people").error.expect("hidden");
    assert!(hidden.message().contains("while it is made another kind"), "{hidden:?}");
    hole.let_pass(Passes::Everything);
    hole.cut();
    let begin = Instant::now();
    while client.query("SELECT count(*) FROM people").error.is_some() {
        assert!(begin.elapsed() < PATIENCE, "the table stays hidden");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(kind(&shardd, "people"), ("reference".to_owned(), None));
    assert_eq!(client.query("SELECT count(*) FROM people").value(), "400");
}

#[test]
fn a_sequence_of_two_tables_keeps_counting_for_the_other() {
    let shardd = Shardd::start_over_postgres();
    let mut client = shardd.client();
    client.run("CREATE SEQUENCE ids");
    client.run("CREATE TABLE orders (event_id bigint, id bigint DEFAULT nextval('ids'), PRIMARY KEY (event_id, id))");
    client.run("CREATE TABLE people (person_id bigint PRIMARY KEY DEFAULT nextval('ids'), name text)");
    let (code, told) = shardctl(&shardd, &["shard", "people", "--key", "person_id"]);
    assert!(code == Some(1) && told.contains("\"orders\""), "{code:?} {told}");
    let ids = (1..=20).map(|event| client.query(&format!("INSERT INTO orders VALUES ({event}) RETURNING id")).value());
    let ids: BTreeSet<String> = ids.collect();
    assert_eq!(ids.len(), 20, "{ids:?}");
}

/// Reference tables' rows are filled in by the first shard of their keyspace.
#[test]
fn no_sequence_fills_tables_on_shards_that_would_give_the_same_numbers() {
    let shardd = Shardd::start_over_postgres_with(
        "[[keyspaces]]\nname = 'main'\nkey_column = 'event_id'\nshards = ['s1', 's2']\n\
         [[keyspaces]]\nname = 'people'\nkey_column = 'email'\nkey_type = 'text'\nshards = ['s3']",
    );
    let mut client = shardd.client();
    client.run("CREATE SEQUENCE ids");
    client.run("CREATE TABLE letters (email text PRIMARY KEY, id bigint NOT NULL DEFAULT nextval('ids'))");
    client.run("CREATE TABLE orders (event_id bigint PRIMARY KEY, id bigint NOT NULL DEFAULT nextval('ids'))");
    // Each of their shards has numbers of its own.
    let ids = (1..=9).flat_map(|n| {
        let letter = client.query(&format!("INSERT INTO letters VALUES ('m{n}') RETURNING id")).value();
        [letter, client.query(&format!("INSERT INTO orders VALUES ({n}) RETURNING id")).value()]
    });
    let ids: BTreeSet<String> = ids.collect();
    assert_eq!(ids.len(), 18, "{ids:?}");
    assert_eq!(shardctl(&shardd, &["reference", "letters"]).0, Some(1));
    client.run("DROP TABLE orders");
    let (code, told) = shardctl(&shardd, &["reference", "letters"]);
    assert_eq!(code, Some(0), "{told}");
    client.run("CREATE TABLE venues (venue_id bigint PRIMARY KEY, id bigint)");
    let refused = |told: &str| assert!(told.contains("one sequence, public.ids"), "{told}");
    for statement in [
        "CREATE TABLE others (id bigint PRIMARY KEY DEFAULT nextval('ids'))",
        "CREATE TABLE orders (event_id bigint PRIMARY KEY, id bigint DEFAULT nextval('ids'))",
        "ALTER TABLE venues ALTER COLUMN id SET DEFAULT nextval('ids')",
    ] {
        let answer = client.query(statement);
        assert_eq!(answer.sqlstate(), "0A000", "{statement}");
        refused(answer.error.expect("refused").message());
    }
    client.run("INSERT INTO letters VALUES ('last')");
    client.run("CREATE SEQUENCE more");
    for table in ["notes (mail text", "places (place_id bigint"] {
        client.run(&format!("CREATE TABLE {table} PRIMARY KEY, id bigint DEFAULT nextval('more'))"));
    }
    let (code, told) = shardctl(&shardd, &["shard", "notes", "--key", "mail", "--keyspace", "people"]);
    assert!(code == Some(1) && told.contains("one sequence, public.more"), "{told}");
    assert_eq!(kind(&shardd, "notes"), ("reference".to_owned(), None));
}

#[test]
fn a_change_that_cannot_be_committed_leaves_the_table_as_it_was() {
    let postgres = Postgres::start_set(&["max_prepared_transactions=2"]);
    let shardd = Shardd::start_over(&postgres);
    let mut client = filled(&shardd);
    let rows = all(&mut client);
    let mut other = postgres.client_of(&shardd.shard_names()[0]);
    other.run("BEGIN");
    other.run("PREPARE TRANSACTION 'in the way'");
    let (code, told) = shardctl(&shardd, &["shard", "people", "--key", "person_id"]);
    assert!(code == Some(1) && told.contains("prepared transactions"), "{code:?} {told}");
    assert_eq!(kind(&shardd, "people"), ("reference".to_owned(), None));
    assert_eq!(all(&mut client), rows);
    other.run("ROLLBACK PREPARED 'in the way'");
    let (code, told) = shardctl(&shardd, &["shard", "people", "--key", "person_id"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(all(&mut client), rows);
}

/// shardd's role owns the table, and is bound by its policies nonetheless.
#[test]
fn rows_that_a_policy_hides_are_not_lost() {
    let postgres = Postgres::start();
    postgres.client().run("CREATE ROLE plain LOGIN");
    let shards = postgres.make_shards_with(3, "OWNER plain");
    let urls = shards.iter().map(|shard| {
        format!("[[shards]]\nname = '{shard}'\nurl = 'postgres://plain@127.0.0.1:{}/{shard}'\n", postgres.port)
    });
    let shardd = Shardd::start_with(&urls.collect::<String>());
    filled(&shardd);
    for shard in &shards {
        postgres.client_of(shard).run(
            "CREATE POLICY few ON people USING (person_id <= 200); ALTER TABLE people ENABLE ROW LEVEL SECURITY; \
             ALTER TABLE people FORCE ROW LEVEL SECURITY",
        );
    }
    let (code, told) = shardctl(&shardd, &["shard", "people", "--key", "person_id"]);
    assert!(code != Some(0) && told.contains("row-level security"), "{code:?}: {told}");
    assert_eq!(kind(&shardd, "people"), ("reference".to_owned(), None));
    for shard in &shards {
        assert_eq!(postgres.client_of(shard).query("SELECT count(*) FROM people").value(), "400", "{shard}");
    }
}
