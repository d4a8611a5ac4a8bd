//! Starting and stopping: what is printed, what is refused before anything is bound, health, metrics, draining.

use std::process::Output;
use std::time::{Duration, Instant};

use crate::support::client::{DATABASE, USER};
use crate::support::shardd::{Ports, Request};
use crate::support::{Client, Shardd, signal};

/// Starts a server that must not come up, and gives what it said.
fn refused(directory: &std::path::Path, ports: Ports) -> (Output, String) {
    let output = Shardd::command(directory, ports).output().expect("shardd runs");
    let said = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned();
    assert!(!output.status.success(), "it should not have started:\n{said}");
    assert!(!said.contains("panicked") && !said.contains("stack backtrace"), "{said}");
    (output, said)
}

#[test]
fn a_first_start_prints_what_to_try_next() {
    for shardd in Shardd::of_each_kind() {
        let log = shardd.log();
        for part in [
            format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}", shardd.ports.postgres).replace(USER, ""),
            "psql".to_owned(),
            "curl".to_owned(),
            format!("http://127.0.0.1:{}", shardd.ports.http),
            format!("http://127.0.0.1:{}", shardd.ports.admin),
        ] {
            assert!(log.replace(USER, "").contains(&part) || log.contains(&part), "{part} is not in:\n{log}");
        }
        assert!(shardd.data_dir().join("catalog.db").exists());
        // Postgres shards leave nothing else there.
        let files = (1..=4).filter(|number| shardd.data_dir().join(format!("shard-{number}.db")).exists()).count();
        assert_eq!(files, if shardd.postgres().is_some() { 0 } else { 4 });
    }
}

#[test]
fn a_busy_port_is_one_clear_error() {
    let shardd = Shardd::start();
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("shardd.toml"), "").expect("a configuration");
    for busy in ["postgres", "session", "http", "admin"] {
        let mut ports = Ports::free();
        match busy {
            "postgres" => ports.postgres = shardd.ports.postgres,
            "session" => ports.session = shardd.ports.session,
            "http" => ports.http = shardd.ports.http,
            _ => ports.admin = shardd.ports.admin,
        }
        let (_, said) = refused(directory.path(), ports);
        let port = match busy {
            "postgres" => ports.postgres,
            "session" => ports.session,
            "http" => ports.http,
            _ => ports.admin,
        };
        assert!(said.contains(&port.to_string()), "{busy}: {said}");
        assert_eq!(said.to_lowercase().matches("error").count(), 1, "{busy}: {said}");
    }
}

#[test]
fn a_data_directory_has_one_owner() {
    for shardd in Shardd::of_each_kind() {
        let (_, said) = refused(shardd.directory(), Ports::free());
        assert!(said.contains("data") && said.contains(&shardd.pid().to_string()), "who has it? {said}");
        // The first goes on undisturbed.
        assert_eq!(shardd.client().query("SELECT 1").value(), "1");
    }
}

#[test]
fn every_problem_of_a_configuration_is_told_before_anything_is_bound() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("shardd.toml"), "colour = 1\n[limits]\nmax_clients = 0\n").expect("a file");
    let (_, said) = refused(directory.path(), Ports::free());
    assert!(said.contains("colour") && said.contains("max_clients"), "{said}");
    assert!(!directory.path().join("data").exists(), "nothing is made before the configuration is right");
}

#[test]
fn it_drains_and_exits_0_on_sigterm() {
    for mut shardd in Shardd::of_each_kind() {
        let mut client = shardd.client();
        client.run("CREATE TABLE t (event_id bigint PRIMARY KEY, n int)");
        client.run("INSERT INTO t VALUES (1, 1)");
        let mut busy = shardd.client();
        busy.run("BEGIN; UPDATE t SET n = 2 WHERE event_id = 1");
        signal("TERM", shardd.pid());
        // What is open may end; nobody new comes in.
        let begin = Instant::now();
        while Client::connect(shardd.ports.postgres).is_ok() {
            assert!(begin.elapsed() < Duration::from_secs(10), "it goes on accepting clients");
            std::thread::sleep(Duration::from_millis(20));
        }
        busy.run("COMMIT");
        let status = shardd.stop_waiting();
        assert!(status.success(), "{status:?}");
        // An idle client is told why its connection ended, or it just ends.
        if let Ok(answers) = client.try_simple("SELECT 1") {
            assert_eq!(answers[0].sqlstate(), "57P01");
        }
        shardd.launch();
        assert_eq!(shardd.client().query("SELECT n FROM t WHERE event_id = 1").value(), "2");
        let begin = Instant::now();
        assert!(shardd.stop().success());
        assert!(begin.elapsed() < Duration::from_secs(5), "an idle server stops at once");
    }
}

#[test]
fn health_and_metrics_are_told_without_keys_or_sql() {
    for shardd in Shardd::of_each_kind() {
        let mut client = shardd.client();
        client.run("CREATE TABLE secrets (event_id bigint PRIMARY KEY, word text)");
        client.run("INSERT INTO secrets VALUES (4711471147, 'canary')");
        client.run("SELECT * FROM secrets WHERE event_id = 4711471147; SELECT count(*) FROM secrets");
        for refused in
            ["LISTEN canary", "SELEC", "SELECT canary FROM secrets WHERE event_id = 4711471147", "SELECT 1/0"]
        {
            assert!(client.query(refused).error.is_some(), "{refused}");
        }
        assert_eq!(shardd.admin(&Request::get("/livez")).status, 200);
        let ready = shardd.admin(&Request::get("/readyz"));
        assert_eq!((ready.status, ready.json()["ready"].as_bool()), (200, Some(true)));
        let metrics = shardd.admin(&Request::get("/metrics")).text();
        for name in [
            "shardd_queries_total{",
            "shardd_query_duration_seconds",
            "shardd_in_flight",
            "shardd_shard_up{",
            "shardd_slots{",
            "shardd_topology_epoch",
            "shardd_build_info{",
        ] {
            assert!(metrics.contains(name), "{name} is not in:\n{metrics}");
        }
        for line in metrics.lines().filter(|line| line.starts_with("shardd_queries_total{")) {
            for label in ["shard=", "kind=", "door=", "outcome="] {
                assert!(line.contains(label), "{line}");
            }
        }
        let counted = |outcome: &str| {
            let series = metrics.lines().filter(|line| line.starts_with("shardd_queries_total{door=\"postgres\""));
            let series = series.filter(|line| line.contains(&format!("outcome=\"{outcome}\"")));
            series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
        };
        assert_eq!(
            (counted("client_error"), counted("refused")),
            (3, 1),
            "statements that cannot be prepared count, too"
        );
        assert!(
            !metrics.contains("canary") && !metrics.contains("4711471147") && !metrics.contains("SELECT"),
            "{metrics}"
        );
        let slots = metrics.lines().filter(|line| line.starts_with("shardd_slots{") && line.contains("tickets"));
        let slots: Vec<f64> = slots.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        assert_eq!((slots.len(), slots.iter().sum::<f64>()), (shardd.shard_names().len(), 16_384.0), "{metrics}");
    }
}

/// A file that is deleted stays open: what is written to it would be answered, and gone after a restart.
#[test]
fn a_shard_whose_file_is_gone_answers_no_write_and_degrades_the_server() {
    let shardd = Shardd::start();
    let mut client = shardd.client();
    client.run("CREATE TABLE t (event_id bigint PRIMARY KEY, n int)");
    let (lost, healthy) = (shardd.keys_on("t", "shard-2", 1)[0], shardd.keys_on("t", "shard-3", 1)[0]);
    assert!(shardd.is_up("shard-2"));
    let file = shardd.data_dir().join("shard-2.db");
    std::fs::rename(&file, shardd.directory().join("elsewhere.db")).expect("moved");
    assert_eq!(client.query(&format!("INSERT INTO t VALUES ({lost}, 1)")).sqlstate(), "58030");
    client.run(&format!("INSERT INTO t VALUES ({healthy}, 1)"));
    assert_eq!((shardd.is_up("shard-2"), shardd.is_up("shard-3")), (false, true));
    assert_eq!(shardd.admin(&Request::get("/v1/status")).json()["state"], "degraded");
    let metrics = shardd.admin(&Request::get("/metrics")).text();
    assert!(metrics.contains("shardd_shard_up{shard=\"shard-2\"} 0"), "{metrics}");

    let mut shardd = shardd;
    drop(client);
    assert!(shardd.stop().success());
    shardd.launch();
    assert_eq!((shardd.is_up("shard-2"), shardd.is_up("shard-3")), (false, true));
    assert!(!file.exists(), "no empty file takes its place");
    assert!(shardd.stop().success());
    std::fs::rename(shardd.directory().join("elsewhere.db"), &file).expect("moved back");
    shardd.launch();
    assert_eq!(shardd.client().query("SELECT count(*) FROM t").value(), "1");
}

/// Health checks read a shard's file, and must not give up the locks on it: whoever looks at it from outside would take
/// itself for its last user, and delete the log.
#[test]
fn a_look_at_a_shards_file_from_outside_takes_nothing_away() {
    let mut shardd = Shardd::start();
    let mut client = shardd.client();
    client.run("CREATE TABLE t (event_id bigint PRIMARY KEY, n int)");
    for key in 1..=40 {
        client.run(&format!("INSERT INTO t VALUES ({key}, 1)"));
        if key % 10 == 0 {
            assert!(shardd.is_up("shard-2"));
            let file = rusqlite::Connection::open(shardd.data_dir().join("shard-2.db")).expect("opened");
            file.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).expect("a count");
            drop(file);
            assert!(shardd.data_dir().join("shard-2.db-wal").exists(), "the log is gone");
        }
    }
    shardd.kill();
    shardd.launch();
    assert_eq!(shardd.client().query("SELECT count(*) FROM t").value(), "40");
}

#[test]
fn a_shard_whose_file_is_damaged_degrades_the_server() {
    let shardd = Shardd::start();
    let mut client = shardd.client();
    client.run("CREATE TABLE t (event_id bigint PRIMARY KEY, n int)");
    let healthy = shardd.keys_on("t", "shard-3", 1)[0];
    let file = std::fs::OpenOptions::new().write(true).open(shardd.data_dir().join("shard-2.db")).expect("opened");
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xab; 4096], 0).expect("written");
    assert_eq!((shardd.is_up("shard-2"), shardd.is_up("shard-3")), (false, true));
    client.run(&format!("INSERT INTO t VALUES ({healthy}, 1)"));
}

#[test]
fn the_banner_counts_the_shards_that_there_are() {
    for mut shardd in Shardd::of_each_kind() {
        let count = shardd.shard_names().len();
        assert!(shardd.log().contains(&format!("is ready: {count} shards")), "{}", shardd.log());
        let url = shardd.joining("extra");
        let body = format!("{{\"shard\": \"extra\", \"url\": \"{url}\"}}");
        let headers = [("content-type", "application/json")];
        let added = shardd.admin(&Request::new("POST", "/v1/shards", &headers, body.as_bytes()));
        assert_eq!(added.status, 201, "{}", added.text());
        assert!(shardd.stop().success());
        shardd.launch();
        assert!(shardd.log().contains(&format!("is ready: {} shards", count + 1)), "{}", shardd.log());
    }
}
