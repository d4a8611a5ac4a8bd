//! The Postgres door's Unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use crate::support::client::{DATABASE, USER};
use crate::support::tls::{Authority, ssl_request};
use crate::support::{PATIENCE, Shardd, signal};

fn psql(directory: &Path, port: u16, options: &str) -> Result<String, String> {
    let conninfo = format!("host={} port={port} dbname={DATABASE} user={USER} {options}", directory.display());
    let mut command = Command::new("psql");
    let output = command.args(["-X", "-A", "-t", "-c", "SELECT 'in'", "-d", &conninfo]).output().expect("psql runs");
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

#[test]
fn clients_connect_by_a_socket_that_outlives_no_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut server = Shardd::start_with(&format!("[listen]\npostgres_socket_dir = '{}'\n", directory.path().display()));
    let port = server.ports.postgres;
    let file = directory.path().join(format!(".s.PGSQL.{port}"));
    assert_eq!(psql(directory.path(), port, ""), Ok("in".to_owned()));
    // Killed, it leaves the file, which the next server replaces.
    server.kill();
    assert!(file.exists());
    server.launch();
    assert_eq!(psql(directory.path(), port, ""), Ok("in".to_owned()));
    signal("TERM", server.pid());
    server.stop_waiting();
    assert!(!file.exists());
}

#[test]
fn the_socket_needs_no_encryption_and_still_asks_for_passwords() {
    let authority = Authority::new();
    authority.serve_as(&["localhost"]);
    let verifier = postgres_protocol::password::scram_sha_256(b"secret");
    let directory = tempfile::tempdir().expect("a directory");
    let server = Shardd::start_with(&format!(
        "{}required = true\n[listen]\npostgres_socket_dir = '{}'\n[[users]]\nname = '{USER}'\nverifier = '{verifier}'\n\
         require_tls = true\n",
        authority.configuration(),
        directory.path().display()
    ));
    let port = server.ports.postgres;
    assert_eq!(psql(directory.path(), port, "password=secret"), Ok("in".to_owned()));
    let refused = psql(directory.path(), port, "password=wrong").expect_err("a wrong password");
    assert!(refused.contains("password authentication failed"), "{refused}");
    // libpq does not ask for encryption here; who does is declined.
    let mut stream = UnixStream::connect(directory.path().join(format!(".s.PGSQL.{port}"))).expect("the door listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream.write_all(&ssl_request()).expect("sent");
    let mut answer = [0];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, *b"N");
}
