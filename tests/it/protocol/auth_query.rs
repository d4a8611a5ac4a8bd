//! Users whom shardd does not know are looked for on the shards.

use std::time::{Duration, Instant};

use super::login::log_in;
use crate::support::client::USER;
use crate::support::shardd::Request;
use crate::support::{Postgres, Shardd};

/// A server with users of every kind.
fn with_users() -> Postgres {
    let postgres = Postgres::start();
    let mut client = postgres.client();
    for statement in [
        "SET password_encryption = 'scram-sha-256'",
        "CREATE ROLE alice LOGIN PASSWORD 'wonder'",
        "CREATE ROLE blank LOGIN",
        "CREATE ROLE group_only NOLOGIN PASSWORD 'wonder'",
        "CREATE ROLE expired LOGIN PASSWORD 'wonder' VALID UNTIL '2001-01-01'",
        "SET password_encryption = 'md5'",
        "CREATE ROLE aged LOGIN PASSWORD 'legacy'",
    ] {
        client.run(statement);
    }
    postgres
}

fn asking(more: &str) -> String {
    format!("[auth_query]\nuser = \"{USER}\"\n{more}")
}

/// Only that it is let in: shards may be down.
fn connect(server: &Shardd, user: &str, password: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = format!("host=127.0.0.1 port={} user={user} password='{password}' dbname=tickets", server.ports.postgres);
    let connected = runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls));
    connected.map(|_| ()).map_err(|error| match error.as_db_error() {
        Some(error) => error.code().code().to_owned(),
        None => error.to_string(),
    })
}

const IN: Result<String, String> = Ok(String::new());

fn judged(server: &Shardd, user: &str, password: &str) -> Result<String, String> {
    log_in(server, user, password).map(|_| String::new())
}

fn refused() -> Result<String, String> {
    Err("28P01".to_owned())
}

#[test]
fn users_of_the_shards_get_in_with_their_passwords_of_now_and_nobody_learns_who_exists() {
    let postgres = with_users();
    let named = format!("[[users]]\nname = \"{USER}\"\npassword_file = \"{}\"\n", {
        let path = postgres.directory().join("named");
        std::fs::write(&path, "of its own\n").expect("a file");
        path.display().to_string()
    });
    let server = Shardd::start_over_with(&postgres, &format!("{named}{}", asking("")));
    assert_eq!(judged(&server, "alice", "wonder"), IN);
    assert_eq!(judged(&server, "aged", "legacy"), IN);
    assert_eq!(judged(&server, USER, "of its own"), IN, "the configuration's users are its own");
    for user in ["alice", "aged", "blank", "group_only", "expired", "ghost", "$1", "alice;--"] {
        for password in ["wrong", "wonder "] {
            assert_eq!(judged(&server, user, password), refused(), "{user}");
        }
    }
    for user in ["blank", "group_only", "expired", "ghost"] {
        assert_eq!(judged(&server, user, "wonder"), refused(), "{user}");
    }

    // Changes are known at once.
    let mut client = postgres.client();
    client.run("SET password_encryption = 'scram-sha-256'");
    for password in ["first", "second"] {
        client.run(&format!("ALTER ROLE alice PASSWORD '{password}'"));
        assert_eq!(judged(&server, "alice", "wonder"), refused());
        assert_eq!(judged(&server, "alice", password), IN);
    }
    client.run("ALTER ROLE aged PASSWORD 'newer'");
    assert_eq!(judged(&server, "aged", "newer"), IN);
    client.run("DROP ROLE alice");
    assert_eq!(judged(&server, "alice", "second"), refused());

    // They have no password that the HTTP door could be asked with, and it is no open door.
    let login = [("authorization", "Basic YWdlZDpuZXdlcg==")];
    for headers in [&[][..], &login] {
        assert_eq!(server.http(&Request::new("GET", "/v1/kv/x", headers, b"")).status, 401);
    }
    let log = server.log();
    assert!(!log.contains("SCRAM-SHA-256$") && !log.contains("wonder") && !log.contains("newer"), "{log}");
}

#[test]
fn the_query_s_names_mean_what_they_say_whatever_its_user_set() {
    let postgres = with_users();
    postgres.make_shards(2);
    let mut shard = postgres.client_of("s2");
    for statement in [
        "CREATE ROLE asker LOGIN PASSWORD 'ask'",
        "CREATE SCHEMA shardd_auth",
        "CREATE FUNCTION shardd_auth.user_lookup(wanted text) RETURNS TABLE (name text, verifier text) LANGUAGE sql \
         SECURITY DEFINER SET search_path = '' AS $$ SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid \
         WHERE rolname = wanted AND rolcanlogin AND NOT rolsuper $$",
        "REVOKE ALL ON FUNCTION shardd_auth.user_lookup(text) FROM public",
        "GRANT USAGE ON SCHEMA shardd_auth TO asker",
        "GRANT EXECUTE ON FUNCTION shardd_auth.user_lookup(text) TO asker",
        // A trap for names without a schema.
        "CREATE SCHEMA trap AUTHORIZATION asker",
        "CREATE VIEW trap.pg_authid AS SELECT 'alice'::name AS rolname, 'md5' || md5('mineALICE') AS rolpassword",
        "ALTER ROLE asker SET search_path = trap, pg_catalog",
    ] {
        shard.run(statement);
    }
    let shards = ["s1".to_owned(), "s2".to_owned()];
    let configuration = "[auth_query]\nuser = \"asker\"\nshards = [\"s2\"]\n\
        query = \"SELECT name, CASE pg_catalog.current_setting('search_path') WHEN '' THEN verifier END FROM \
        shardd_auth.user_lookup($1)\"\n";
    let server = Shardd::start_on(&postgres, &shards, configuration);
    assert_eq!(judged(&server, "alice", "wonder"), IN);
    assert_eq!(judged(&server, "alice", "mine"), refused());
    // A superuser, whom this function does not give away.
    assert_eq!(judged(&server, USER, ""), refused());
}

#[test]
fn an_answer_that_is_no_verifier_lets_nobody_in() {
    let postgres = with_users();
    let shards = postgres.make_shards(1);
    for (query, password, told) in [
        ("SELECT $1::text, 'wonder'", "wonder", "28P01"),
        ("SELECT $1::text, NULL::text", "wonder", "28P01"),
        ("SELECT $1::text, ''", "", "28P01"),
        ("SELECT 'mallory', rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1", "wonder", "58000"),
        ("SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1", "wonder", "58000"),
        ("SELECT $1::text, rolpassword FROM pg_catalog.pg_authid", "wonder", "58000"),
        ("SELECT * FROM nowhere WHERE name = $1", "wonder", "58000"),
    ] {
        // Whoever waits for the server's start is asked for a password.
        let verifier = postgres_protocol::password::scram_sha_256(b"x");
        let named = format!("[[users]]\nname = \"{USER}\"\nverifier = \"{verifier}\"\n");
        let configuration = named + &asking(&format!("query = \"{query}\"\n"));
        let server = Shardd::start_on(&postgres, &shards, &configuration);
        assert_eq!(judged(&server, "alice", password), Err(told.to_owned()), "{query}");
        assert!(server.log().contains("auth_query") || told == "28P01", "{}", server.log());
    }
}

#[test]
fn another_shard_is_asked_when_one_is_down_and_all_down_is_no_wrong_password() {
    let (mut first, mut second) = (with_users(), with_users());
    let mut configuration = String::new();
    for (name, postgres) in [("a", &first), ("b", &second)] {
        let url = format!("postgres://{USER}@127.0.0.1:{}/tickets", postgres.port);
        configuration += &format!("[[shards]]\nname = \"{name}\"\nurl = \"{url}\"\n");
    }
    configuration += &asking("");
    let server = Shardd::start_with(&configuration);
    assert_eq!(connect(&server, "alice", "wonder"), Ok(()));
    first.stop();
    for _ in 0..3 {
        assert_eq!(connect(&server, "alice", "wonder"), Ok(()));
        assert_eq!(connect(&server, "ghost", "wonder"), Err("28P01".to_owned()));
    }
    second.stop();
    // What was learned not long ago still holds, for who has the password.
    assert_eq!(connect(&server, "alice", "wonder"), Ok(()));
    assert_eq!(connect(&server, "alice", "wrong"), Err("28P01".to_owned()));
    let begin = Instant::now();
    assert_eq!(connect(&server, "ghost", "wonder"), Err("57P03".to_owned()));
    assert_eq!(connect(&server, "aged", "legacy"), Err("57P03".to_owned()));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    first.start_again();
    let begin = Instant::now();
    while connect(&server, "aged", "legacy") != Ok(()) {
        assert!(begin.elapsed() < Duration::from_secs(10), "the shard is back, and is not asked");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(connect(&server, "ghost", "wonder"), Err("28P01".to_owned()));
}

#[test]
fn users_who_are_found_have_their_limits_too() {
    let postgres = with_users();
    let shards = postgres.make_shards(1);
    let configuration = format!("{}[limits]\nauth_query_max_clients = 1\n", asking(""));
    let server = Shardd::start_on(&postgres, &shards, &configuration);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let url = format!("host=127.0.0.1 port={} user=alice password=wonder dbname=tickets", server.ports.postgres);
    let (_client, connection) =
        runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls)).expect("the first");
    runtime.spawn(connection);
    assert_eq!(judged(&server, "alice", "wonder"), Err("53300".to_owned()));
    assert_eq!(judged(&server, "aged", "legacy"), IN);
}
