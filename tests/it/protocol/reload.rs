//! SIGHUP: others may come in, and who is there stays.

use std::time::Instant;

use postgres_protocol::password::scram_sha_256;

use super::login::log_in;
use crate::support::shardd::Request;
use crate::support::{PATIENCE, Shardd, signal};

fn write(server: &Shardd, name: &str, text: &str) -> String {
    let path = server.directory().join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// Writes another configuration, and waits until the server says `told` once more.
fn reload(server: &Shardd, configuration: &str, told: &str) {
    write(server, "shardd.toml", configuration);
    let before = server.log().matches(told).count();
    signal("HUP", server.pid());
    let begin = Instant::now();
    while server.log().matches(told).count() == before {
        assert!(begin.elapsed() < PATIENCE, "\"{told}\" is not logged");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

const TAKEN: &str = "read the configuration again";
const NOT_TAKEN: &str = "what held before goes on";

fn user(name: &str, password: &str) -> String {
    format!("[[users]]\nname = \"{name}\"\nverifier = \"{}\"\n", scram_sha_256(password.as_bytes()))
}

fn refused() -> Result<String, String> {
    Err("28P01".to_owned())
}

fn let_in() -> Result<String, String> {
    Ok("in".to_owned())
}

#[test]
fn others_may_come_in_after_a_signal_and_who_is_there_stays() {
    let server = Shardd::start_with(&user("app", "first"));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let url = format!("host=127.0.0.1 port={} user=app password=first dbname=tickets", server.ports.postgres);
    let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls)).expect("in");
    runtime.spawn(connection);
    let still_there = || runtime.block_on(client.query_one("SELECT 1", &[])).map(|_| ()).expect("it stays");

    let secret = write(&server, "secret", "of a file\n");
    let token = write(&server, "token", "a-token-of-sixteen\n");
    let filed = format!("[[users]]\nname = \"filed\"\npassword_file = \"{secret}\"\n");
    let tokens = format!("[[tokens]]\nuser = \"app\"\ntoken_file = \"{token}\"\n");
    let everybody = [user("app", "second"), filed.clone(), tokens].concat();
    let http = |headers: &[(&str, &str)]| server.http(&Request::new("GET", "/v1/kv/x", headers, b"")).status;
    let bearer = [("authorization", "Bearer a-token-of-sixteen")];
    let basic = [("authorization", "Basic YXBwOmZpcnN0")];
    assert_eq!((http(&bearer), http(&basic)), (401, 404));
    assert_eq!(log_in(&server, "filed", "of a file"), refused());

    reload(&server, &everybody, TAKEN);
    still_there();
    assert_eq!(log_in(&server, "app", "first"), refused());
    assert_eq!(log_in(&server, "app", "second"), let_in());
    assert_eq!(log_in(&server, "filed", "of a file"), let_in());
    assert_eq!((http(&bearer), http(&basic)), (404, 401), "what was right before is looked at again");

    // A password's file is read again, too.
    write(&server, "secret", "another\n");
    reload(&server, &everybody, TAKEN);
    assert_eq!(log_in(&server, "filed", "of a file"), refused());
    assert_eq!(log_in(&server, "filed", "another"), let_in());

    // What cannot be leaves all as it was: a broken file, no secret, and a door for everybody.
    for broken in ["[[users", &filed.replace(&secret, "/nowhere"), ""] {
        reload(&server, broken, NOT_TAKEN);
        assert_eq!(log_in(&server, "app", "second"), let_in(), "{broken}");
        assert_eq!((log_in(&server, "filed", "another"), http(&bearer)), (let_in(), 404));
    }
    assert!(server.log().contains("a door would let everybody in"), "{}", server.log());

    // A user is gone; what only a restart takes is told.
    let fewer = format!("{}[limits]\nmax_clients = 77\n", user("app", "second"));
    reload(&server, &fewer, "settings have changed that only a restart takes");
    assert!(server.log().contains("limits.max_clients"), "{}", server.log());
    assert_eq!(log_in(&server, "filed", "another"), refused());
    assert_eq!(http(&bearer), 401);
    still_there();
    let log = server.log();
    assert!(!log.contains("of a file") && !log.contains("SCRAM-SHA-256$"), "{log}");
}

#[test]
fn a_door_that_is_open_is_closed_by_a_signal() {
    let server = Shardd::start();
    assert_eq!(log_in(&server, "anybody", ""), let_in());
    reload(&server, &user("app", "secret"), TAKEN);
    assert_eq!(log_in(&server, "anybody", "x"), refused());
    assert_eq!(log_in(&server, "app", "secret"), let_in());
    assert_eq!(server.http(&Request::get("/v1/kv/x")).status, 401);
}
