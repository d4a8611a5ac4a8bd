//! shardctl from outside: every command, as JSON and as a table, its exit codes, and what goes to which stream.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Shardd, free_port};

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs shardctl with these arguments against this address.
fn shardctl(url: &str, arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardctl"));
    command.args(arguments).env("SHARDCTL_URL", url).env("NO_COLOR", "1").stdin(Stdio::null());
    command.current_dir(std::env::temp_dir());
    let output = command.output().expect("shardctl runs");
    Said {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A command that must succeed, as JSON.
fn json(shardd: &Shardd, arguments: &[&str]) -> Value {
    let said = shardctl(&shardd.admin_url(), &[arguments, &["-o", "json"]].concat());
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{arguments:?}: {}", said.stdout);
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", said.stdout))
}

/// A server with a sharded and a reference table, over shards of each kind.
fn serving() -> impl Iterator<Item = Shardd> {
    Shardd::of_each_kind().inspect(|shardd| {
        let mut client = shardd.client();
        client.run("CREATE TABLE venues (venue_id int PRIMARY KEY, name text)");
        client.run("CREATE TABLE seats (event_id bigint, seat_id int, status text, PRIMARY KEY (event_id, seat_id))");
        (1..=3).for_each(|event| client.run(&format!("INSERT INTO seats VALUES ({event}, 1, 'free')")));
    })
}

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().expect("a list").iter().filter_map(|item| item["shard"].as_str()).collect()
}

#[test]
fn every_command_prints_json_and_a_table() {
    for shardd in serving() {
        let status = json(&shardd, &["status"]);
        let all = shardd.shard_names();
        let count = all.len() as u64;
        assert_eq!((status["state"].as_str(), status["shards"].as_u64()), (Some("serving"), Some(count)), "{status}");

        let shards = json(&shardd, &["shards"]);
        assert_eq!(names(&shards), all.iter().map(String::as_str).collect());
        assert_eq!(names(&json(&shardd, &["list"])), names(&shards));
        assert_eq!(json(&shardd, &["describe", &all[1]])["shard"], all[1].as_str());

        let tables = json(&shardd, &["tables"]);
        let kinds: Vec<(&str, &str)> = tables
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|table| Some((table["table"].as_str()?, table["kind"].as_str()?)))
            .collect();
        assert!(kinds.contains(&("seats", "sharded")) && kinds.contains(&("venues", "reference")), "{kinds:?}");

        let version = json(&shardd, &["version"]);
        assert!(version.to_string().contains(env!("CARGO_PKG_VERSION")), "{version}");
        assert!(!json(&shardd, &["config", "show"]).as_array().expect("a list").is_empty());
        json(&shardd, &["logs"]);

        for arguments in [
            &["status"][..],
            &["shards"],
            &["describe", &all[0]],
            &["tables"],
            &["route", "seats", "1"],
            &["explain", "SELECT * FROM seats"],
            &["version"],
            &["config", "show"],
        ] {
            let said = shardctl(&shardd.admin_url(), arguments);
            assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{arguments:?}");
            assert!(!said.stdout.is_empty() && !said.stdout.contains('\u{1b}'), "{arguments:?}: {}", said.stdout);
        }
        assert!(shardctl(&shardd.admin_url(), &["shards"]).stdout.contains(&all[2]));
        let completions = shardctl(&shardd.admin_url(), &["completions", "bash"]);
        assert!(completions.code == 0 && completions.stdout.contains("add-shard"));
    }
}

/// The shard that `route` names is the one that holds the row.
#[test]
fn a_keys_route_is_where_its_rows_are() {
    for shardd in serving() {
        let mut used = BTreeSet::new();
        for key in 1..=40 {
            let route = json(&shardd, &["route", "seats", &key.to_string()]);
            assert!(route["slot"].as_u64().is_some_and(|slot| slot < 16_384), "{route}");
            assert!(route["why"].as_str().is_some_and(|why| !why.is_empty()), "{route}");
            used.insert(route["shard"].as_str().expect("a shard").to_owned());
            // One value has one canonical form, however it is written.
            assert_eq!(json(&shardd, &["route", "seats", &format!("00{key}")])["slot"], route["slot"]);
        }
        let all = shardd.shard_names();
        assert_eq!(used, all.iter().cloned().collect(), "forty keys use every shard");
        assert_eq!(json(&shardd, &["route", "seats", "-5"])["key"], "-5");
        assert!(json(&shardd, &["route", "venues", "1"])["shard"].is_null(), "a reference table is on every shard");

        let by_key = json(&shardd, &["explain", "SELECT * FROM seats WHERE event_id = 1"])["plan"].to_string();
        let owner = json(&shardd, &["route", "seats", "1"]);
        assert!(by_key.contains(owner["shard"].as_str().expect("a shard")), "{by_key}");
        let scattered = json(&shardd, &["explain", "SELECT count(*) FROM seats"])["plan"].to_string();
        assert!(all.iter().all(|shard| scattered.contains(shard)), "{scattered}");
        // What would be refused is an answer too.
        let refused = json(&shardd, &["explain", "SELEC"])["plan"].to_string();
        assert!(refused.contains("Refused") && refused.contains("syntax error"), "{refused}");
        let counted = shardd.client().query("SELECT count(*) FROM seats").value();
        assert_eq!(counted, "3", "explaining runs nothing");
    }
}

#[test]
fn an_applications_statements_are_looked_at() {
    for shardd in serving() {
        let file = shardd.directory().join("app.sql");
        let text = "SELECT * FROM seats WHERE event_id = 1;\nSELECT * FROM seats WHERE event_id = 2;\n\\echo done\n\
                    SELECT count(*) FROM seats;\nSELECT rank() OVER (ORDER BY seat_id) FROM seats;\n\
                    INSERT INTO seats (event_id, seat_id) VALUES (1, 9);\nBEGIN;\n";
        std::fs::write(&file, text).expect("written");
        let report = json(&shardd, &["analyze", file.to_str().expect("a path")]);
        assert_eq!((&report["statements"], &report["distinct"], &report["refused"]), (&6.into(), &5.into(), &0.into()));
        let kinds: Vec<(&str, u64)> = report["by_statement"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| (one["kind"].as_str().expect("a kind"), one["count"].as_u64().expect("a count")))
            .collect();
        assert_eq!(kinds, [("single", 2), ("scatter", 1), ("gather", 1), ("single", 1), ("local", 1)]);

        let log = shardd.directory().join("app.log");
        std::fs::write(
            &log,
            "2026-01-01 LOG:  statement: SELECT * FROM nowhere\n2026-01-01 LOG:  execute s: SELECT 1\n",
        )
        .expect("written");
        let refused = shardctl(&shardd.admin_url(), &["analyze", "--log", log.to_str().expect("a path")]);
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        let told = refused.stdout;
        assert!(told.contains("nowhere") && told.contains("50.0 % run as they are"), "{told}");
        assert_eq!(shardd.client().query("SELECT count(*) FROM seats").value(), "3", "nothing ran");
    }
}

#[test]
fn a_shard_that_is_added_joins_with_no_slots() {
    for shardd in serving() {
        let url = shardd.joining("extra");
        let count = shardd.shard_names().len();
        let before = json(&shardd, &["status"])["epoch"].as_u64();
        let added = json(&shardd, &["add-shard", "extra", &url, "--weight", "2"]);
        assert_eq!(added["shard"], "extra");
        let shards = json(&shardd, &["shards"]);
        assert_eq!(names(&shards).len(), count + 1);
        let described = json(&shardd, &["describe", "extra"]);
        let slots = described["slots"]
            .as_array()
            .expect("slots")
            .iter()
            .filter_map(|keyspace| keyspace["slots"].as_u64())
            .sum::<u64>();
        assert_eq!((slots, described["weight"].as_f64()), (0, Some(2.0)), "{described}");
        assert!(json(&shardd, &["status"])["epoch"].as_u64() > before);

        // It has the tables and the reference rows, and stays after a restart.
        let mut shardd = shardd;
        let mut client = shardd.client();
        client.run("INSERT INTO venues VALUES (1, 'Hall')");
        assert_eq!(client.query("SELECT count(*) FROM seats").value(), "3");
        assert!(shardd.stop().success());
        shardd.launch();
        assert_eq!(names(&json(&shardd, &["shards"])).len(), count + 1);

        let again = shardctl(&shardd.admin_url(), &["add-shard", "extra", &url]);
        assert_eq!((again.code, again.stdout.as_str()), (1, ""), "{}", again.stderr);
        assert!(!again.stderr.is_empty());
    }
}

#[test]
fn failures_have_their_exit_codes_and_say_what_to_do() {
    for shardd in serving() {
        let url = shardd.admin_url();
        let taken = shardd.shard_names().swap_remove(0);
        let nobody = format!("http://127.0.0.1:{}", free_port());
        for (address, arguments, code) in [
            (&url, &["describe", "nowhere"][..], 4),
            (&url, &["route", "nowhere", "1"], 4),
            (&url, &["route", "seats", "not-a-number"], 1),
            (&url, &["add-shard", "shard-9", "ftp://nowhere"], 1),
            (&url, &["add-shard", &taken, "sqlite:new.db"], 1),
            (&url, &["add-shard", "Bad Name", "sqlite:new.db"], 1),
            (&url, &["add-shard", "shard-9", "sqlite:new.db", "--weight", "NaN"], 2),
            (&url, &["nonsense"], 2),
            (&url, &["describe"], 2),
            (&nobody, &["status"], 3),
        ] {
            let said = shardctl(address, arguments);
            assert_eq!((said.code, said.stdout.as_str()), (code, ""), "{arguments:?}: {}", said.stderr);
            assert!(!said.stderr.is_empty(), "{arguments:?} fails without a word");
        }
        assert!(shardctl(&url, &["add-shard", &taken, "sqlite:new.db"]).stderr.contains("already"));
        assert!(!shardd.directory().join("new.db").exists(), "nothing is made for a shard that is refused");
        let unreachable = shardctl(&nobody, &["status"]);
        assert!(unreachable.stderr.contains(&nobody), "{}", unreachable.stderr);
    }
}

#[test]
fn somebody_elses_file_is_refused_as_it_is() {
    let shardd = Shardd::start();
    let file = shardd.directory().join("foreign.db");
    let foreign = rusqlite::Connection::open(&file).expect("opened");
    foreign.execute_batch("CREATE TABLE notes (text)").expect("made");
    drop(foreign);
    let before = std::fs::read(&file).expect("read");
    let said = shardctl(&shardd.admin_url(), &["add-shard", "foreign", &format!("sqlite:{}", file.display())]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{}", said.stderr);
    assert_eq!(std::fs::read(&file).expect("read"), before, "not a byte of it changed");
}

#[test]
fn a_configuration_is_checked_without_a_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("shardd.toml");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let path = file.to_str().expect("a path");
    std::fs::write(&file, "database = \"shows\"\n").expect("a file");
    let good = shardctl(&nobody, &["config", "check", "--config", path]);
    assert_eq!(good.code, 0, "{}{}", good.stdout, good.stderr);
    std::fs::write(&file, "colour = 1\n[limits]\nmax_clients = 0\n[listen]\nhttp = \"nonsense\"\n").expect("a file");
    let bad = shardctl(&nobody, &["config", "check", "--config", path]);
    assert_eq!(bad.code, 1, "{}{}", bad.stdout, bad.stderr);
    let said = format!("{}{}", bad.stdout, bad.stderr);
    for part in ["shardd.toml:1", "colour", "shardd.toml:3", "max_clients", "shardd.toml:5", "http"] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
}

#[test]
fn a_token_lets_in_whoever_has_it() {
    const TOKEN: &str = "a-token-of-some-length";
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("written");
    for shardd in Shardd::of_each_kind_with(&format!("[admin]\ntoken_file = \"{}\"\n", file.display())) {
        let refused = shardctl(&shardd.admin_url(), &["status"]);
        assert_eq!((refused.code, refused.stdout.as_str()), (5, ""), "{}", refused.stderr);
        assert!(refused.stderr.contains("SHARDCTL_TOKEN"), "{}", refused.stderr);
        let path = file.display().to_string();
        assert_eq!(json(&shardd, &["--token-file", &path, "status"])["state"], "serving");
        let by_variable = |token: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_shardctl"));
            command.args(["--url", &shardd.admin_url(), "status"]).env("SHARDCTL_TOKEN", token);
            command.output().expect("shardctl runs").status.code()
        };
        assert_eq!((by_variable(TOKEN), by_variable("another-token-of-length")), (Some(0), Some(5)));
        let shown = shardctl(&shardd.admin_url(), &["--token-file", &path, "config", "show"]).stdout;
        assert!(shown.contains("admin.token_file") && !shown.contains(TOKEN), "{shown}");
        assert!(!shardd.log().contains(TOKEN), "the token is in the log");
    }
}

#[test]
fn the_log_is_followed_line_by_line() {
    for shardd in serving() {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shardctl"));
        command.args(["--url", &shardd.admin_url(), "-o", "json", "logs", "-f"]).stdout(Stdio::piped());
        let mut following = command.spawn().expect("shardctl runs");
        let mut lines = BufReader::new(following.stdout.take().expect("stdout")).lines();
        let url = shardd.joining("late-comer");
        json(&shardd, &["add-shard", "late-comer", &url]);
        let joined = lines.any(|line| {
            let entry: Value = serde_json::from_str(&line.expect("a line")).expect("JSON on each line");
            entry["message"].is_string() && entry.to_string().contains("late-comer")
        });
        following.kill().expect("killed");
        following.wait().expect("ended");
        assert!(joined);
    }
}

#[test]
fn what_needs_no_server_says_so_to_programs_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let version = shardctl(&nobody, &["-o", "json", "version"]);
    let told: Value = serde_json::from_str(&version.stdout).expect("JSON");
    assert_eq!((version.code, &told["client"]), (3, &Value::from(env!("CARGO_PKG_VERSION"))));
    assert!(told["server"].is_null());

    let file = directory.path().join("bad.toml");
    std::fs::write(&file, "colour = 1\n[limits]\nmax_clients = 0\n").expect("written");
    let checked = shardctl(&nobody, &["-o", "json", "config", "check", "--config", file.to_str().expect("a path")]);
    let told: Value = serde_json::from_str(&checked.stdout).expect("JSON");
    assert_eq!(
        (checked.code, &told["ok"], told["problems"].as_array().map(Vec::len)),
        (1, &Value::from(false), Some(2))
    );
    let shown = shardctl(&nobody, &["config", "show", "--local"]);
    assert!(shown.code == 0 && shown.stdout.contains("listen.admin"), "{}", shown.stderr);
}

#[test]
fn another_door_is_not_taken_for_the_admin_door() {
    let shardd = Shardd::start();
    let said = shardctl(&format!("http://127.0.0.1:{}", shardd.ports.http), &["status"]);
    assert_eq!((said.code, said.stdout.as_str()), (3, ""), "{}", said.stderr);
    assert!(said.stderr.contains("8433"), "{}", said.stderr);
}
