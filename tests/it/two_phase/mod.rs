//! What is written on several shards is committed on all or none: transactions, statements, and whatever fails in between.

mod crash;
mod deadlock;

use std::time::{Duration, Instant};

use crate::support::client::USER;
use crate::support::shardd::{Request, Shardd};
use crate::support::{Client, PATIENCE, Postgres, Value};

const TABLE: &str = "CREATE TABLE accounts (event_id bigint PRIMARY KEY, total int NOT NULL DEFAULT 0)";

/// A key on each shard, with a row.
fn keys(shardd: &Shardd) -> Vec<u32> {
    shardd.client().run(TABLE);
    let keys: Vec<u32> = shardd.shard_names().iter().map(|shard| shardd.keys_on("accounts", shard, 1)[0]).collect();
    for key in &keys {
        shardd.client().run(&format!("INSERT INTO accounts VALUES ({key}, 0)"));
    }
    keys
}

fn totals(client: &mut Client) -> Vec<String> {
    let rows = client.query("SELECT total FROM accounts ORDER BY event_id").texts();
    rows.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()
}

/// What is prepared on a server, of any of its databases.
fn prepared(postgres: &Postgres) -> Vec<String> {
    let rows = postgres.client_of("postgres").query("SELECT gid FROM pg_prepared_xacts ORDER BY gid").texts();
    rows.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Nothing is left of finished commits.
fn nothing_is_left(shardd: &Shardd) {
    let Some(postgres) = shardd.postgres() else { return };
    assert_eq!(prepared(postgres), Vec::<String>::new());
    for shard in shardd.shard_names() {
        let mut client = postgres.client_of(&shard);
        until("decisions stay", || client.query("SELECT count(*) FROM shardd.decision").value() == "0");
    }
}

#[test]
fn a_transaction_over_several_shards_is_committed_on_all_or_none() {
    for shardd in Shardd::of_each_kind() {
        let keys = keys(&shardd);
        let none = vec!["0".to_owned(); keys.len()];
        let mut client = shardd.client();
        let add = |client: &mut Client| {
            for key in &keys {
                client.run(&format!("UPDATE accounts SET total = total + 1 WHERE event_id = {key}"));
            }
        };
        client.run("BEGIN");
        add(&mut client);
        assert_eq!(totals(&mut shardd.client()), none);
        client.run("ROLLBACK");
        assert_eq!(totals(&mut client), none);
        client.run("BEGIN");
        add(&mut client);
        client.run("SAVEPOINT before");
        add(&mut client);
        client.run("ROLLBACK TO SAVEPOINT before");
        client.query("COMMIT").expect_tag("COMMIT");
        assert_eq!(totals(&mut client), vec!["1"; keys.len()]);
        client.run("BEGIN");
        add(&mut client);
        assert_eq!(client.query(&format!("INSERT INTO accounts VALUES ({}, 1)", keys[0])).sqlstate(), "23505");
        client.query("COMMIT").expect_tag("ROLLBACK");
        assert_eq!(totals(&mut client), vec!["1"; keys.len()]);
        nothing_is_left(&shardd);
    }
}

#[test]
fn a_statement_over_several_shards_is_whole_and_returns_all_its_rows() {
    for shardd in Shardd::of_each_kind() {
        keys(&shardd);
        let mut client = shardd.client();
        let rows: Vec<String> = (1_000..1_040).map(|key| format!("({key}, {})", key % 7)).collect();
        let rows = rows.join(", ");
        let inserted = client.query(&format!("INSERT INTO accounts VALUES {rows} RETURNING event_id, total"));
        inserted.expect_tag("INSERT 0 40");
        let order: Vec<String> = inserted.texts().iter().map(|row| row[0].clone().expect("a key")).collect();
        assert_eq!(order, (1_000..1_040).map(|key| key.to_string()).collect::<Vec<_>>());
        // One of the rows is there already.
        let again = format!("INSERT INTO accounts VALUES {}, (1007, 1)", rows.replace("(10", "(20"));
        assert_eq!(client.query(&again).sqlstate(), "23505");
        assert_eq!(client.query("SELECT count(*) FROM accounts WHERE event_id >= 1000").value(), "40");
        let updated = client.extended(
            "UPDATE accounts SET total = total + $1 WHERE event_id >= $2 RETURNING event_id, total",
            &[Value::text(100), Value::text(1000)],
        );
        updated.expect_tag("UPDATE 40");
        assert_eq!(updated.texts().len(), 40);
        assert!(updated.texts().iter().all(|row| row[1].as_deref().is_some_and(|total| total.len() == 3)));
        let gone = client.query("DELETE FROM accounts WHERE event_id IN (1001, 1002, 1003, 1004) RETURNING event_id");
        gone.expect_tag("DELETE 4");
        assert_eq!(client.query("UPDATE accounts SET total = 1 / (event_id - 1020)").sqlstate(), "22012");
        assert_eq!(client.query("SELECT min(total) FROM accounts WHERE event_id >= 1000").value(), "100");
        client.query("DELETE FROM accounts WHERE event_id >= 1000").expect_tag("DELETE 36");
        nothing_is_left(&shardd);
    }
}

#[test]
fn statements_that_are_sent_together_are_one_transaction() {
    for shardd in Shardd::of_each_kind() {
        let keys = keys(&shardd);
        let mut client = shardd.client();
        let update = |key: u32| format!("UPDATE accounts SET total = total + 1 WHERE event_id = {key}");
        let all: Vec<String> = keys.iter().map(|key| update(*key)).collect();
        client.run(&all.join("; "));
        assert_eq!(totals(&mut client), vec!["1"; keys.len()]);
        let answers = client.simple(&format!("{}; SELECT 1 / 0", all.join("; ")));
        assert_eq!(answers.last().expect("an answer").sqlstate(), "22012");
        assert_eq!(totals(&mut client), vec!["1"; keys.len()]);
    }
}

#[test]
fn the_decision_is_shardds_whatever_role_the_client_has() {
    let shardd = Shardd::start_over_postgres();
    let keys = keys(&shardd);
    let postgres = shardd.postgres().expect("a server");
    postgres.client_of("postgres").run("CREATE ROLE alice");
    for shard in shardd.shard_names() {
        postgres.client_of(&shard).run("GRANT ALL ON accounts TO alice");
    }
    let mut client = shardd.client();
    for (number, set) in ["SET ROLE alice", "SET SESSION AUTHORIZATION alice"].into_iter().enumerate() {
        client.run(set);
        client.run("SET synchronous_commit = off");
        client.query("UPDATE accounts SET total = total + 1").expect_tag(&format!("UPDATE {}", keys.len()));
        assert_eq!(client.query("SELECT current_user::text FROM accounts LIMIT 1").value(), "alice");
        assert_eq!(totals(&mut client), vec![(number + 1).to_string(); keys.len()]);
        client.run("RESET SESSION AUTHORIZATION; RESET ROLE");
    }
    nothing_is_left(&shardd);
}

/// A constraint of one server's that is looked at when the transaction ends.
fn refuse_13(postgres: &Postgres, shard: &str, action: &str) {
    postgres.client_of(shard).run(&format!(
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.total = 13 THEN {action} END IF; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON accounts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()"
    ));
}

#[test]
fn what_one_shard_refuses_at_the_end_is_committed_on_none() {
    let shardd = Shardd::start_over_postgres();
    let keys = keys(&shardd);
    let postgres = shardd.postgres().expect("a server");
    refuse_13(postgres, "s2", "RAISE EXCEPTION 'unlucky' USING ERRCODE = '22023';");
    let mut client = shardd.client();
    // The first shard decides: once the one that refuses, once another.
    for order in [[0, 1, 2], [1, 0, 2]] {
        client.run("BEGIN");
        for key in order.map(|place| keys[place]) {
            client.run(&format!("UPDATE accounts SET total = 13 WHERE event_id = {key}"));
        }
        let refused = client.query("COMMIT");
        assert_eq!(refused.sqlstate(), "22023", "{refused:?}");
        assert_eq!(totals(&mut client), vec!["0"; keys.len()]);
    }
    nothing_is_left(&shardd);
}

/// Also where the general path ends the transaction, and where several shards do.
#[test]
fn what_deferred_triggers_tell_comes_with_the_commit() {
    let shardd = Shardd::start_over_postgres();
    let keys = keys(&shardd);
    let postgres = shardd.postgres().expect("a server");
    for shard in shardd.shard_names() {
        refuse_13(postgres, &shard, "RAISE NOTICE 'late on %', current_database();");
    }
    let update = |key: u32| format!("UPDATE accounts SET total = 13 WHERE event_id = {key}");
    let one = format!("BEGIN; {}; COMMIT", update(keys[0]));
    let several = format!("BEGIN; {}; {}; {}; COMMIT", update(keys[0]), update(keys[1]), update(keys[2]));
    let mut client = shardd.client();
    for (text, told) in [(one, 1), (several, 3)] {
        for together in [true, false] {
            let answers: Vec<_> = match together {
                true => client.simple(&text),
                false => text.split("; ").map(|statement| client.query(statement)).collect(),
            };
            let commit = answers.last().expect("an answer");
            commit.expect_tag("COMMIT");
            let late = commit.notices.iter().filter(|notice| notice.message().starts_with("late on s")).count();
            assert_eq!(late, told, "{text} (together: {together}): {answers:?}");
        }
    }
}

#[test]
fn a_connection_that_is_lost_before_the_decision_commits_nothing() {
    let shardd = Shardd::start_over_postgres();
    let keys = keys(&shardd);
    let postgres = shardd.postgres().expect("a server");
    refuse_13(postgres, "s2", "PERFORM pg_terminate_backend(pg_backend_pid());");
    let mut client = shardd.client();
    for order in [[0, 1, 2], [1, 0, 2]] {
        client.run("BEGIN");
        for key in order.map(|place| keys[place]) {
            client.run(&format!("UPDATE accounts SET total = 13 WHERE event_id = {key}"));
        }
        let lost = client.query("COMMIT");
        assert_eq!(lost.sqlstate(), "08006", "{lost:?}");
        until("it is rolled back", || totals(&mut client) == vec!["0"; keys.len()] && prepared(postgres).is_empty());
    }
}

#[test]
fn a_transaction_that_cannot_be_prepared_is_refused_and_committed_nowhere() {
    let shardd = Shardd::start_over_postgres();
    let keys = keys(&shardd);
    let postgres = shardd.postgres().expect("a server");
    refuse_13(postgres, "s2", "NOTIFY somebody;");
    let mut client = shardd.client();
    client.run("BEGIN");
    for key in &keys {
        client.run(&format!("UPDATE accounts SET total = 13 WHERE event_id = {key}"));
    }
    let refused = client.query("COMMIT");
    assert_eq!(refused.sqlstate(), "0A000", "{refused:?}");
    assert_eq!(totals(&mut client), vec!["0"; keys.len()]);
    nothing_is_left(&shardd);
}

#[test]
fn whoever_decides_first_decides() {
    let shardd = Shardd::start_over_postgres();
    let keys = keys(&shardd);
    let postgres = shardd.postgres().expect("a server");
    refuse_13(postgres, "s1", "PERFORM pg_sleep(3);");
    let port = shardd.ports.postgres;
    let own = keys.clone();
    let slow = std::thread::spawn(move || {
        let mut client = Client::connect(port).expect("a client");
        client.run("BEGIN");
        for key in own {
            client.run(&format!("UPDATE accounts SET total = 13 WHERE event_id = {key}"));
        }
        client.query("COMMIT")
    });
    until("it is prepared", || prepared(postgres).len() == keys.len() - 1);
    let name = prepared(postgres)[0].clone();
    let gid = name.rsplit_once(':').expect("a shard's number").0;
    postgres.client_of("s1").run(&format!("INSERT INTO shardd.decision (gid, outcome) VALUES ('{gid}', 'abort')"));
    let late = slow.join().expect("a client");
    assert_eq!(late.sqlstate(), "40001", "{late:?}");
    assert_eq!(totals(&mut shardd.client()), vec!["0"; keys.len()]);
    assert_eq!(prepared(postgres), Vec::<String>::new());
}

#[test]
fn without_prepared_transactions_a_second_shard_is_refused() {
    let postgres = Postgres::start_set(&["max_prepared_transactions=0"]);
    let shardd = Shardd::start_over(&postgres);
    assert!(shardd.log().contains("max_prepared_transactions = 0"), "{}", shardd.log());
    let keys = keys(&shardd);
    let mut client = shardd.client();
    client.run("CREATE TABLE notes (id bigint PRIMARY KEY, body text)");
    client.run("BEGIN");
    client.run(&format!("UPDATE accounts SET total = 1 WHERE event_id = {}", keys[0]));
    let refused = client.query(&format!("UPDATE accounts SET total = 1 WHERE event_id = {}", keys[1]));
    assert_eq!(refused.sqlstate(), "55000");
    let error = refused.error.expect("refused");
    assert!(error.hint().contains("max_prepared_transactions"), "{error:?}");
    client.run("ROLLBACK");
    for statement in ["UPDATE accounts SET total = 1", "INSERT INTO notes VALUES (1, 'a')"] {
        assert_eq!(client.query(statement).sqlstate(), "55000", "{statement}");
    }
    assert_eq!(totals(&mut client), vec!["0"; keys.len()]);
    client.run(&format!("UPDATE accounts SET total = 1 WHERE event_id = {}", keys[1]));
}

/// Three shards of one server, on which a commit over all of them takes both places.
#[test]
fn a_server_whose_places_are_taken_keeps_nobody_from_starting() {
    let postgres = Postgres::start_set(&["max_prepared_transactions=2"]);
    let shards = postgres.make_shards(3);
    let mut other = postgres.client_of(&shards[0]);
    let mut in_the_way = |is: bool| match is {
        true => other.run("BEGIN; PREPARE TRANSACTION 'in the way'"),
        false => other.run("ROLLBACK PREPARED 'in the way'"),
    };
    in_the_way(true);
    let mut shardd = Shardd::start_on(&postgres, &shards, "");
    assert!(shardd.log().contains("the HTTP door's tables cannot be made yet"), "{}", shardd.log());
    let mut client = shardd.client();
    assert_eq!(client.query("SELECT 1").value(), "1");
    let early = shardd.http(&Request::get("/v1/kv/a"));
    assert_eq!((early.status, early.header("retry-after")), (503, Some("1")), "{}", early.text());
    in_the_way(false);
    until("the tables are made", || client.query("SELECT count(*) FROM shardd_kv").error.is_none());
    until("all of them are", || shardd.log().contains("the HTTP door's tables are made"));
    drop(client);
    in_the_way(true);
    shardd.stop();
    let failures = |shardd: &Shardd| shardd.log().matches("cannot be made yet").count();
    let before = failures(&shardd);
    shardd.launch();
    assert_eq!(failures(&shardd), before, "{}", shardd.log());
    assert_eq!(shardd.client().query("SELECT count(*) FROM shardd_kv").value(), "0");
}

/// A transaction that a process has left prepared on `s2`, and that `s1` was to decide.
fn leave_prepared(shardd: &Shardd, key: u32) -> String {
    leave_prepared_by(shardd, key, 1)
}

/// The same, which the shard of this number was to decide.
fn leave_prepared_by(shardd: &Shardd, key: u32, decider: u16) -> String {
    leave_prepared_on(shardd, shardd.postgres().expect("a server"), key, decider)
}

/// The same, where the server of `s2` is this one.
fn leave_prepared_on(shardd: &Shardd, server: &Postgres, key: u32, decider: u16) -> String {
    let catalog = rusqlite::Connection::open(shardd.data_dir().join("catalog.db")).expect("the catalog");
    let cluster: String = catalog.query_row("SELECT cluster_id FROM cluster", [], |row| row.get(0)).expect("an id");
    let gid = format!("shardd:{cluster}:{decider}:{:032x}", 77);
    let mut client = server.client_of("s2");
    // As a client with SET ROLE does: another role may not end it.
    client.run("CREATE ROLE alice; GRANT ALL ON accounts TO alice; SET ROLE alice");
    client.run("BEGIN");
    client.run(&format!("UPDATE accounts SET total = 5 WHERE event_id = {key}"));
    client.run(&format!("PREPARE TRANSACTION '{gid}:2'"));
    gid
}

#[test]
fn what_was_left_prepared_is_ended_as_was_decided() {
    for (decided, total) in [(false, "0"), (true, "5")] {
        let shardd = Shardd::start_over_postgres_with("[limits]\nresolve_after_ms = 500");
        let keys = keys(&shardd);
        let postgres = shardd.postgres().expect("a server");
        if decided {
            let mut client = postgres.client_of("s1");
            let catalog = rusqlite::Connection::open(shardd.data_dir().join("catalog.db")).expect("the catalog");
            let cluster: String =
                catalog.query_row("SELECT cluster_id FROM cluster", [], |row| row.get(0)).expect("an id");
            let gid = format!("shardd:{cluster}:1:{:032x}", 77);
            client.run(&format!("INSERT INTO shardd.decision (gid, outcome) VALUES ('{gid}', 'commit')"));
        }
        leave_prepared(&shardd, keys[1]);
        until("it is ended", || prepared(postgres).is_empty());
        let found = shardd.client().query(&format!("SELECT total FROM accounts WHERE event_id = {}", keys[1]));
        assert_eq!(found.value(), total);
    }
}

fn shardctl(shardd: &Shardd, command: &str) -> String {
    let mut shardctl = std::process::Command::new(env!("CARGO_BIN_EXE_shardctl"));
    let output =
        shardctl.args(["--url", &shardd.admin_url(), "transactions", command]).output().expect("shardctl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_operator_sees_what_is_in_doubt_and_ends_it() {
    let shardd = Shardd::start_over_postgres_with("[limits]\nresolve_after_ms = 3600000");
    let keys = keys(&shardd);
    let list = |shardd: &Shardd| shardd.admin(&Request::get("/v1/transactions")).json();
    assert_eq!(list(&shardd), serde_json::json!([]));
    let gid = leave_prepared(&shardd, keys[1]);
    let listed = list(&shardd);
    assert_eq!((&listed[0]["shard"], &listed[0]["decided_by"]), (&"s2".into(), &"s1".into()), "{listed}");
    assert_eq!(listed[0]["gid"], format!("{gid}:2"));
    until("it is counted", || {
        let metrics = shardd.admin(&Request::get("/metrics")).text();
        metrics.contains("shardd_in_doubt_transactions{shard=\"s2\"} 1")
    });
    let shown = shardctl(&shardd, "list");
    assert!(shown.starts_with("SHARD") && shown.contains(&format!("{gid}:2")), "{shown}");
    assert_eq!(shardctl(&shardd, "resolve"), "No transaction is in doubt.\n");
    assert_eq!(prepared(shardd.postgres().expect("a server")), Vec::<String>::new());
    assert_eq!(totals(&mut shardd.client()), vec!["0"; keys.len()]);
}

/// `shardctl transactions resolve --force`, where nobody can be asked.
fn force(shardd: &Shardd, gid: &str, outcome: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut shardctl = std::process::Command::new(env!("CARGO_BIN_EXE_shardctl"));
    shardctl.args(["--url", &shardd.admin_url(), "transactions", "resolve", "--force", gid, outcome]);
    let output = shardctl.args(more).stdin(std::process::Stdio::null()).output().expect("shardctl runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn an_operator_ends_what_nobody_can_decide_any_more() {
    for (outcome, total) in [("--commit", "5"), ("--rollback", "0")] {
        let shardd = Shardd::start_over_postgres_with("[limits]\nresolve_after_ms = 3600000");
        let keys = keys(&shardd);
        // The shard that decides is none of the topology's any more.
        let gid = format!("{}:2", leave_prepared_by(&shardd, keys[1], 999));
        for more in [&[][..], &["--lost-shard", "s1"]] {
            let (code, told) = force(&shardd, &gid, outcome, more);
            assert!(code == Some(1) && told.contains("cannot be undone"), "{told}");
            assert!(told.contains("lost for good, name it: --lost-shard \"number 999\""), "{told}");
            assert_eq!(prepared(shardd.postgres().expect("a server")), std::slice::from_ref(&gid));
        }
        let (code, told) = force(&shardd, &gid, outcome, &["--lost-shard", "number 999"]);
        assert!(code == Some(0) && told.contains("on s2."), "{told}");
        assert_eq!(prepared(shardd.postgres().expect("a server")), Vec::<String>::new());
        let found = shardd.client().query(&format!("SELECT total FROM accounts WHERE event_id = {}", keys[1]));
        assert_eq!(found.value(), total);
        assert!(shardd.log().contains("BY FORCE"), "{}", shardd.log());
        assert_eq!(force(&shardd, &gid, outcome, &["--lost-shard", "number 999"]).0, Some(1));
    }
}

#[test]
fn a_shard_whose_server_is_gone_is_lost_only_when_it_is_named() {
    let mut gone = Postgres::start();
    let stays = Postgres::start();
    let mut configuration = "[limits]\nresolve_after_ms = 3600000\n".to_owned();
    for (name, server) in [("s1", &gone), ("s2", &stays)] {
        server.make_shards(2);
        let url = format!("postgres://{USER}@127.0.0.1:{}/{name}", server.port);
        configuration += &format!("[[shards]]\nname = \"{name}\"\nurl = \"{url}\"\n");
    }
    let mut shardd = Shardd::start_with(&configuration);
    shardd.client().run(TABLE);
    let key = shardd.keys_on("accounts", "s2", 1)[0];
    shardd.client().run(&format!("INSERT INTO accounts VALUES ({key}, 0)"));
    let gid = format!("{}:2", leave_prepared_on(&shardd, &stays, key, 1));
    gone.kill();
    // Once while it is open here, and once down from the start.
    for restart in [false, true] {
        if restart {
            shardd.stop();
            shardd.launch();
            assert!(!shardd.is_up("s1"));
        }
        let (code, told) = force(&shardd, &gid, "--commit", &[]);
        assert!(code == Some(1) && told.contains("shard \"s1\" alone knows"), "{told}");
        assert!(told.contains("--lost-shard \"s1\"") && told.contains("cannot be undone"), "{told}");
        assert_eq!(prepared(&stays), std::slice::from_ref(&gid));
    }
    let (code, told) = force(&shardd, &gid, "--commit", &["--lost-shard", "s1"]);
    assert!(code == Some(0) && told.contains("on s2."), "{told}");
    assert_eq!(stays.client_of("s2").query(&format!("SELECT total FROM accounts WHERE event_id = {key}")).value(), "5");
}

/// Down is not lost: what keeps shardd from opening it may have nothing to do with its data.
#[test]
fn a_shard_that_is_only_down_is_not_taken_for_a_lost_one() {
    let mut shardd = Shardd::start_over_postgres_with("[limits]\nresolve_after_ms = 3600000");
    let keys = keys(&shardd);
    let gid = format!("{}:2", leave_prepared(&shardd, keys[1]));
    shardd.stop();
    shardd.postgres().expect("a server").client_of("s2").run("ALTER DATABASE s1 ALLOW_CONNECTIONS false");
    shardd.launch();
    assert!(!shardd.is_up("s1"));
    let (code, told) = force(&shardd, &gid, "--rollback", &["--lost-shard", "s1"]);
    assert!(code == Some(1) && told.contains("\"s1\", which is not lost"), "{told}");
    assert_eq!(prepared(shardd.postgres().expect("a server")), std::slice::from_ref(&gid));
}

#[test]
fn nobody_forces_what_can_be_decided() {
    let shardd = Shardd::start_over_postgres_with("[limits]\nresolve_after_ms = 3600000");
    let keys = keys(&shardd);
    let gid = format!("{}:2", leave_prepared(&shardd, keys[1]));
    let body = serde_json::json!({"gid": gid, "outcome": "commit", "lost_shard": "s1"}).to_string();
    let headers = [("Content-Type", "application/json")];
    let refused = shardd.admin(&Request::new("POST", "/v1/transactions/force", &headers, body.as_bytes()));
    assert!(refused.text().contains("s1") && refused.text().contains("without --force"), "{}", refused.text());
    assert_eq!(prepared(shardd.postgres().expect("a server")), [gid]);
}

#[test]
fn a_busy_shard_is_not_taken_for_a_lost_one() {
    let shardd = Shardd::start_over_postgres_with(
        "[limits]\nresolve_after_ms = 3600000\n[pool]\nsize = 2\ncheckout_deadline_ms = 200",
    );
    let keys = keys(&shardd);
    let gid = format!("{}:2", leave_prepared(&shardd, keys[1]));
    let more = &shardd.keys_on("accounts", "s1", 3)[1..];
    let busy: Vec<Client> = more
        .iter()
        .map(|key| {
            let mut client = shardd.client();
            client.run("BEGIN");
            client.run(&format!("INSERT INTO accounts VALUES ({key}, 0)"));
            client
        })
        .collect();
    let waiting = shardd.client().query(&format!("SELECT total FROM accounts WHERE event_id = {}", keys[0]));
    assert_eq!(waiting.sqlstate(), "57014");
    let body = serde_json::json!({"gid": gid, "outcome": "commit", "lost_shard": "s1"}).to_string();
    let headers = [("Content-Type", "application/json")];
    let refused = shardd.admin(&Request::new("POST", "/v1/transactions/force", &headers, body.as_bytes()));
    assert!(refused.text().contains("s1") && refused.text().contains("without --force"), "{}", refused.text());
    assert_eq!(busy.len(), 2);
    assert_eq!(prepared(shardd.postgres().expect("a server")), [gid]);
}

#[test]
fn an_answer_to_commit_that_was_lost_is_asked_for() {
    let postgres = Postgres::start();
    let shards = postgres.make_shards(3);
    for shard in &shards[1..] {
        postgres.client_of("postgres").run(&format!("ALTER DATABASE {shard} SET synchronous_commit = local"));
    }
    let shardd = Shardd::start_on(&postgres, &shards, "");
    let keys = keys(&shardd);
    let mut operator = postgres.client_of("s2");
    // Only the decider waits for a replica that there is not, when it is committed already.
    operator.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    postgres.reload();
    let port = shardd.ports.postgres;
    let committing = std::thread::spawn(move || {
        let mut client = Client::connect(port).expect("a client");
        client.run("BEGIN");
        for key in keys {
            client.run(&format!("UPDATE accounts SET total = 1 WHERE event_id = {key}"));
        }
        client.query("COMMIT")
    });
    let waiting =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 's1' AND wait_event = 'SyncRep'";
    until("the decider commits", || operator.query(waiting).value() == "1");
    let answer = committing.join().expect("a client");
    operator.run("ALTER SYSTEM RESET synchronous_standby_names");
    postgres.reload();
    answer.expect_tag("COMMIT");
    assert_eq!(totals(&mut shardd.client()), vec!["1"; 3]);
    assert_eq!(prepared(&postgres), Vec::<String>::new());
}
