//! What drivers ask and set at every connect is answered as by Postgres, and takes no connection to a shard.

use std::time::Duration;

use crate::support::client::{Answer, DATABASE, USER};
use crate::support::shardd::Request;
use crate::support::{Client, Postgres, Shardd};

/// A driver's name, its start-up settings, and the texts that it sends before and between the application's own statements.
type Driver = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const DRIVERS: &[Driver] = &[
    (
        "psycopg and Django",
        &[("client_encoding", "UTF8")],
        &["SELECT set_config('TimeZone', 'UTC', false)", "BEGIN", "ROLLBACK"],
    ),
    (
        "SQLAlchemy",
        &[],
        &[
            "BEGIN",
            "select pg_catalog.version()",
            "select current_schema()",
            "show transaction isolation level",
            "show standard_conforming_strings",
            "ROLLBACK",
        ],
    ),
    (
        "asyncpg",
        &[("client_encoding", "'utf-8'")],
        &["SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;", "SHOW server_version_num"],
    ),
    (
        "Npgsql",
        &[("client_encoding", "UTF8"), ("TimeZone", "UTC")],
        &[
            "SELECT version()",
            "DISCARD ALL",
            "SET SESSION AUTHORIZATION DEFAULT;RESET ALL;CLOSE ALL;UNLISTEN *;SELECT pg_advisory_unlock_all();DISCARD SEQUENCES;\
             DISCARD TEMP",
        ],
    ),
    (
        "ActiveRecord",
        &[],
        &[
            "SET client_min_messages TO 'warning'",
            "SET standard_conforming_strings = on",
            "SET SESSION timezone TO 'UTC'",
            "SET intervalstyle = iso_8601",
            "SHOW max_identifier_length",
            "SHOW search_path",
            "SELECT current_schema, current_schemas(false) AS all_of_them",
            "SELECT current_database()",
            "DISCARD ALL",
            "SHOW intervalstyle",
        ],
    ),
    (
        "Sequelize",
        &[],
        &[
            "SET standard_conforming_strings=on;SET client_min_messages TO warning;SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE;",
            "SHOW SERVER_VERSION",
            "SHOW TimeZone",
            "SET TIME ZONE INTERVAL '-05:30' HOUR TO MINUTE",
            "SHOW TimeZone",
            "SET TIME ZONE INTERVAL '3' HOUR",
            "SHOW TimeZone",
            "SET TIME ZONE INTERVAL '+02:00'",
            "SHOW TimeZone",
        ],
    ),
    (
        "JDBC",
        &[("DateStyle", "ISO, MDY"), ("TimeZone", "GMT"), ("extra_float_digits", "2")],
        &[
            "SET extra_float_digits = 3",
            "SET application_name = 'PostgreSQL JDBC Driver'",
            "SHOW TRANSACTION ISOLATION LEVEL",
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "SHOW TRANSACTION ISOLATION LEVEL",
            "select current_schema()",
            "SELECT current_catalog",
            "SHOW bytea_output",
        ],
    ),
    (
        "Prisma",
        &[],
        &[
            "SELECT version()",
            "SET search_path = \"public\"",
            "SELECT current_schema(), current_schemas(true)",
            "SHOW search_path",
        ],
    ),
    (
        "libpq",
        &[],
        &["SHOW transaction_read_only", "SHOW in_hot_standby", "SELECT pg_catalog.current_setting('server_version')"],
    ),
];

/// Settings that a client is told of, apart from what names the cluster.
const TOLD: [&str; 8] = [
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "server_encoding",
    "server_version",
    "standard_conforming_strings",
];

fn connect(port: u16, settings: &[(&str, &str)]) -> Client {
    let all = [&[("user", USER), ("database", DATABASE)], settings].concat();
    Client::connect_with(port, &all).expect("a client")
}

/// Each text with its answers, and the settings that the client was told of.
type Told = (Vec<(String, Vec<Answer>)>, Vec<Option<String>>);

/// All that the clients of a driver are told, text by text.
fn conversation(port: u16, settings: &[(&str, &str)], texts: &[&str]) -> Told {
    let mut client = connect(port, settings);
    let answers = texts.iter().map(|text| ((*text).to_owned(), client.simple(text))).collect();
    (answers, TOLD.iter().map(|name| client.settings.get(*name).cloned()).collect())
}

/// Connections to shards that were taken until now.
fn checkouts(shardd: &Shardd) -> u64 {
    let metrics = shardd.admin(&Request::get("/metrics")).text();
    let series = metrics.lines().filter(|line| line.starts_with("shardd_pool_checkouts_total{"));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// What is known of the servers is read again from time to time, when somebody connects: once it was, there is some time.
fn soon_after_reading(shardd: &Shardd, attempt: impl Fn() -> Result<(), String>) {
    let mut failures = Vec::new();
    for _ in 0..5 {
        drop(shardd.client());
        std::thread::sleep(Duration::from_millis(400));
        match attempt() {
            Ok(()) => return,
            Err(failure) => failures.push(failure),
        }
    }
    panic!("{failures:#?}");
}

#[test]
fn what_drivers_ask_is_answered_as_by_postgres() {
    let postgres = Postgres::start();
    let shardd = Shardd::start_over(&postgres);
    for (driver, settings, texts) in DRIVERS {
        let expected = conversation(postgres.port, settings, texts);
        let found = conversation(shardd.ports.postgres, settings, texts);
        assert_eq!(found, expected, "{driver}: shardd's (left) is not Postgres's");
        let [mut there, mut here] = [postgres.port, shardd.ports.postgres].map(|port| connect(port, settings));
        for text in texts.iter().filter(|text| text.to_lowercase().starts_with("se") && !text.contains(';')) {
            let expected = there.try_extended(text, &[], &[], true).expect("answered");
            assert_eq!(here.try_extended(text, &[], &[], true).expect("answered"), expected, "{driver}: {text}");
        }
    }
}

#[test]
fn what_drivers_ask_takes_no_connection_to_a_shard() {
    let shardd = Shardd::start_over_postgres();
    soon_after_reading(&shardd, || {
        // Looking takes one of each shard, to see whether it is up.
        let (first, second) = (checkouts(&shardd), checkouts(&shardd));
        for (_, settings, texts) in DRIVERS {
            conversation(shardd.ports.postgres, settings, texts);
        }
        match checkouts(&shardd) - second {
            taken if taken == second - first => Ok(()),
            taken => Err(format!("{taken} connections were taken, where looking takes {}", second - first)),
        }
    });
}

#[test]
fn a_client_connects_and_asks_while_every_connection_is_in_use() {
    let postgres = Postgres::start();
    let shardd = Shardd::start_over_with(&postgres, "[pool]\nsize = 1\n");
    shardd.client().run("CREATE TABLE t (event_id bigint PRIMARY KEY)");
    let keys: Vec<u32> = (1..=3).map(|number| shardd.keys_on("t", &format!("s{number}"), 1)[0]).collect();
    soon_after_reading(&shardd, || {
        let holders: Vec<Client> = keys
            .iter()
            .map(|key| {
                let mut holder = shardd.client();
                holder.run(&format!("BEGIN; SELECT * FROM t WHERE event_id = {key}"));
                holder
            })
            .collect();
        // What has to be asked waits: there is really no connection left.
        let mut client = shardd.client();
        client.run("SET statement_timeout = '100ms'; SET search_path = ''");
        assert_eq!(client.query("SELECT current_schema()").sqlstate(), "57014");
        let mut failed = String::new();
        for (driver, settings, texts) in DRIVERS {
            let mut client = connect(shardd.ports.postgres, settings);
            client.run("SET statement_timeout = '1s'");
            for text in *texts {
                for error in client.simple(text).iter().filter_map(|answer| answer.error.as_ref()) {
                    failed += &format!("{driver}: {text}: {error:?}\n");
                }
            }
        }
        drop(holders);
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    });
}

/// Where a session looks names up is asked of a shard where it may have changed.
#[test]
fn the_current_schema_is_the_servers() {
    const TEXTS: [&str; 4] = [
        "SELECT current_schema",
        "SELECT current_schema(), current_schemas(false)",
        "SELECT current_schemas(true)",
        "SELECT version()",
    ];
    let postgres = Postgres::start();
    let same = |shardd: &Shardd, changes: &[&str]| {
        let [mut there, mut here] = [postgres.port, shardd.ports.postgres].map(|port| connect(port, &[]));
        let end = if changes.contains(&"BEGIN") { "ROLLBACK" } else { "RESET ALL" };
        for text in changes.iter().chain(&TEXTS).chain(&[end]).chain(&TEXTS) {
            let (expected, found) = (there.simple(text), here.simple(text));
            assert_eq!(found, expected, "{changes:?}, {text}");
        }
    };
    let shardd = Shardd::start_over(&postgres);
    for changes in [
        &[][..],
        &["SET search_path = ''"],
        &["SET search_path = public"],
        &["SET search_path = pg_catalog, public"],
        &["BEGIN", "SET LOCAL search_path = ''"],
        &["BEGIN", "SELECT 1", "SET LOCAL search_path = public"],
    ] {
        same(&shardd, changes);
    }
    drop(shardd);

    // A schema with the name of the user that shardd logs in with comes before public.
    for database in [DATABASE, "s1", "s2", "s3"] {
        postgres.client_of(database).run("CREATE SCHEMA app");
    }
    let names = ["s1", "s2", "s3"].map(str::to_owned);
    let shardd = Shardd::start_on(&postgres, &names, "");
    same(&shardd, &[]);
    same(&shardd, &["SET search_path = public"]);
    assert_eq!(shardd.client().query("SELECT current_schema()").value(), "app");
}
