//! Indexes are built, dropped and built anew CONCURRENTLY on every shard by itself, and what failed goes on where it failed.

use crate::support::{Client, Shardd};

fn filled(shardd: &Shardd) -> Client {
    let mut client = shardd.client();
    client.run("CREATE TABLE seats (event_id bigint NOT NULL, seat_id int NOT NULL, note text)");
    for event in 1..=30 {
        client.run(&format!("INSERT INTO seats VALUES ({event}, 1, 'a'), ({event}, 2, 'b')"));
    }
    client
}

/// On each shard: whether the index is valid; `None` where there is none.
fn states(shardd: &Shardd, index: &str) -> Vec<Option<bool>> {
    let asked = format!("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('public.{index}')");
    let postgres = shardd.postgres().expect("Postgres shards");
    let state = |shard: String| {
        let found = postgres.client_of(&shard).query(&asked).texts();
        found.first().map(|row| row[0].as_deref() == Some("t"))
    };
    shardd.shard_names().into_iter().map(state).collect()
}

#[test]
fn an_index_is_built_and_dropped_on_every_shard() {
    let shardd = Shardd::start_over_postgres();
    let mut client = filled(&shardd);
    let create = "CREATE INDEX CONCURRENTLY by_note ON seats (event_id, note)";
    let created = client.query(create);
    created.expect_tag("CREATE INDEX");
    assert_eq!(created.notices.len(), 3, "one for each shard");
    assert_eq!(states(&shardd, "by_note"), [Some(true); 3]);
    assert_eq!(client.query(create).sqlstate(), "42P07");
    let again = client.query("CREATE INDEX CONCURRENTLY IF NOT EXISTS by_note ON seats (event_id, note)");
    again.expect_tag("CREATE INDEX");
    assert!(again.notices.iter().all(|notice| notice.message().contains("skipping")), "{:?}", again.notices);
    client.query("REINDEX INDEX CONCURRENTLY by_note").expect_tag("REINDEX");
    client.query("REINDEX TABLE CONCURRENTLY public.seats").expect_tag("REINDEX");
    assert_eq!(states(&shardd, "by_note"), [Some(true); 3]);

    let postgres = shardd.postgres().unwrap();
    postgres.client_of(&shardd.shard_names()[1]).run("DROP INDEX by_note");
    client.query(create).expect_tag("CREATE INDEX");
    assert_eq!(states(&shardd, "by_note"), [Some(true); 3]);
    postgres.client_of(&shardd.shard_names()[0]).run("DROP INDEX by_note");
    client.query("DROP INDEX CONCURRENTLY public.by_note").expect_tag("DROP INDEX");
    assert_eq!(states(&shardd, "by_note"), [None; 3]);
    assert_eq!(client.query("DROP INDEX CONCURRENTLY by_note").sqlstate(), "42704");
    client.query("DROP INDEX CONCURRENTLY IF EXISTS by_note").expect_tag("DROP INDEX");
}

#[test]
fn what_has_failed_on_one_shard_goes_on_there() {
    let shardd = Shardd::start_over_postgres();
    let mut client = filled(&shardd);
    client.run("INSERT INTO seats VALUES (7, 1, 'twice')");
    let create = "CREATE UNIQUE INDEX CONCURRENTLY only_once ON seats (event_id, seat_id)";
    let failed = client.query(create);
    assert_eq!(failed.sqlstate(), "23505");
    let error = failed.error.unwrap();
    let detail = error.detail().to_owned();
    let named = shardd.shard_names().iter().filter(|name| detail.contains(name.as_str())).count();
    assert_eq!(named, 2, "those that have it: {detail}");
    assert!(error.hint().contains("same statement again"), "{error:?}");
    let mut left = states(&shardd, "only_once");
    left.sort_unstable();
    assert_eq!(left, [Some(false), Some(true), Some(true)]);

    client.run("DELETE FROM seats WHERE event_id = 7 AND note = 'twice'");
    let done = client.query(create);
    done.expect_tag("CREATE INDEX");
    assert!(done.notices.iter().any(|notice| notice.message().contains("invalid")), "{:?}", done.notices);
    assert_eq!(states(&shardd, "only_once"), [Some(true); 3]);
    assert_eq!(client.query("INSERT INTO seats VALUES (7, 1, 'again')").sqlstate(), "23505");
}

/// Two that find the same invalid index would each drop what the other builds.
#[test]
fn of_two_that_build_an_index_anew_one_is_told_to_wait() {
    let shardd = Shardd::start_over_postgres();
    let mut client = filled(&shardd);
    let postgres = shardd.postgres().unwrap();
    client.run("INSERT INTO seats VALUES (7, 1, 'twice')");
    let create = "CREATE UNIQUE INDEX CONCURRENTLY only_once ON seats (event_id, seat_id)";
    assert_eq!(client.query(create).sqlstate(), "23505");
    client.run("DELETE FROM seats WHERE event_id = 7 AND note = 'twice'");
    let invalid =
        states(&shardd, "only_once").iter().position(|state| *state == Some(false)).expect("an invalid index");
    std::thread::scope(|scope| {
        // Whoever drops it waits for those that write.
        let mut writing = postgres.client_of(&shardd.shard_names()[invalid]);
        writing.run("BEGIN");
        writing.run("UPDATE seats SET note = 'held'");
        let first = scope.spawn(|| shardd.client().query(create));
        let mut looking = postgres.client_of(&shardd.shard_names()[invalid]);
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DROP INDEX CONCURRENTLY%' \
                       AND wait_event_type = 'Lock'";
        while looking.query(waiting).value() == "0" {
            assert!(!first.is_finished(), "nothing was waited for");
        }
        for statement in [create, "DROP INDEX CONCURRENTLY only_once"] {
            let second = client.query(statement);
            assert_eq!(second.sqlstate(), "55006", "{statement}: {second:?}");
        }
        writing.run("ROLLBACK");
        first.join().expect("a client").expect_tag("CREATE INDEX");
    });
    assert_eq!(states(&shardd, "only_once"), [Some(true); 3]);
    assert_eq!(client.query(create).sqlstate(), "42P07");
    client.query("DROP INDEX CONCURRENTLY only_once").expect_tag("DROP INDEX");
}

#[test]
fn what_cannot_go_well_is_refused_before_a_shard_is_touched() {
    let shardd = Shardd::start_over_postgres();
    let mut client = filled(&shardd);
    for (statement, sqlstate) in [
        ("CREATE INDEX CONCURRENTLY ON seats (note)", "0A000"),
        ("CREATE UNIQUE INDEX CONCURRENTLY alone ON seats (seat_id)", "0A000"),
        ("REINDEX TABLE seats", "0A000"),
    ] {
        assert_eq!(client.query(statement).sqlstate(), sqlstate, "{statement}");
    }
    client.run("BEGIN");
    assert_eq!(client.query("CREATE INDEX CONCURRENTLY by_note ON seats (note)").sqlstate(), "25001");
    client.run("ROLLBACK");
    let postgres = shardd.postgres().unwrap();
    postgres.client_of(&shardd.shard_names()[2]).run("CREATE INDEX by_note ON seats (seat_id)");
    let unlike = client.query("CREATE INDEX CONCURRENTLY by_note ON seats (note)");
    assert_eq!(unlike.sqlstate(), "42P07");
    assert!(unlike.error.unwrap().message().contains(&shardd.shard_names()[2]));
}

#[test]
fn sqlite_shards_take_it_for_an_ordinary_index() {
    let shardd = Shardd::start();
    let mut client = filled(&shardd);
    client.query("CREATE INDEX CONCURRENTLY by_note ON seats (note)").expect_tag("CREATE INDEX");
    client.query("DROP INDEX CONCURRENTLY IF EXISTS by_note").expect_tag("DROP INDEX");
    assert_eq!(client.query("DROP INDEX CONCURRENTLY by_note").sqlstate(), "42704");
}
