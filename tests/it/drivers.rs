//! Real clients run the ticket flow: hold, confirm, an idempotent order, the best available seats, errors, reports.
//!
//! Each script runs on a plain Postgres first, which shows that the script is right, and then on shardd over SQLite shards
//! and over Postgres shards, which must give it nothing to complain about.

use std::process::{Command, Output, Stdio};

use crate::support::client::{DATABASE, USER};
use crate::support::postgres::binary;
use crate::support::{Client, Postgres, Shardd, read, root};

/// All servers, each with the empty ticket schema.
struct Servers {
    postgres: Postgres,
    shardd: Shardd,
    over_postgres: Shardd,
}

/// What ran on each.
const NAMES: [&str; 3] = ["Postgres", "shardd over SQLite", "shardd over Postgres"];

impl Servers {
    fn start() -> Servers {
        let postgres = Postgres::start();
        let over_postgres = Shardd::start_over(&postgres);
        let servers = Servers { postgres, shardd: Shardd::start(), over_postgres };
        for port in servers.ports() {
            Client::connect(port).expect("a connection").run(&read("tests/drivers/schema.sql"));
        }
        servers
    }

    fn ports(&self) -> [u16; 3] {
        [self.postgres.port, self.shardd.ports.postgres, self.over_postgres.ports.postgres]
    }

    /// Runs a command against each server, with its address in the environment, and gives the outputs.
    fn run(&self, command: impl Fn() -> Command) -> [String; 3] {
        let mut names = NAMES.into_iter();
        self.ports().map(|port| {
            let mut command = command();
            command.env("DATABASE_URL", format!("postgres://{USER}@127.0.0.1:{port}/{DATABASE}"));
            command.env("PGHOST", "127.0.0.1").env("PGPORT", port.to_string()).env("PGUSER", USER);
            command.env("PGDATABASE", DATABASE).env("PGCONNECT_TIMEOUT", "30").env("LC_ALL", "C.UTF-8");
            succeeded(
                names.next().unwrap_or_default(),
                &command.stdin(Stdio::null()).output().expect("the client runs"),
            )
        })
    }
}

fn succeeded(server: &str, output: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "on {server}:\n{stdout}\n{stderr}");
    format!("{stdout}{stderr}")
}

/// A program of the drivers' directories; they are filled by `tests/prepare`.
pub(crate) fn driver(program: &str, script: &str) -> Command {
    let path = root().join("target").join(program);
    assert!(path.exists(), "{} is missing: run tests/prepare once", path.display());
    let mut command = if program == "node" { Command::new("node") } else { Command::new(path.join("bin/python")) };
    command.arg(root().join("tests/drivers").join(script));
    command.env("SHARDD_NODE_MODULES", root().join("target/node"));
    command
}

/// shardd's answers are Postgres's to the letter.
fn agree(outputs: &[String; 3]) {
    for (output, name) in outputs.iter().zip(NAMES).skip(1) {
        assert_eq!(*output, outputs[0], "{name}'s answers (left) are not Postgres's");
    }
}

fn completes(outputs: &[String; 3]) {
    assert!(outputs.iter().all(|output| output.contains("flow complete")), "{outputs:?}");
}

#[test]
fn psycopg_runs_the_ticket_flow() {
    completes(&Servers::start().run(|| driver("python", "psycopg_flow.py")));
}

#[test]
fn asyncpg_runs_the_ticket_flow() {
    completes(&Servers::start().run(|| driver("python", "asyncpg_flow.py")));
}

#[test]
fn sqlalchemy_reads_the_schema_back_as_from_postgres() {
    let outputs = Servers::start().run(|| driver("python", "sqlalchemy_reflection.py"));
    completes(&outputs);
    agree(&outputs);
}

#[test]
fn node_postgres_runs_the_ticket_flow() {
    completes(&Servers::start().run(|| driver("node", "node_flow.mjs")));
}

#[test]
fn psql_runs_the_ticket_flow() {
    let outputs = Servers::start().run(|| {
        let mut command = Command::new("psql");
        command.arg("-X").arg("-f").arg(root().join("tests/drivers/psql_flow.sql"));
        command
    });
    completes(&outputs);
    agree(&outputs);
}

/// pgbench in each of its protocols, with several clients; afterwards every update is counted.
#[test]
fn pgbench_runs_a_keyed_script_in_every_protocol() {
    let servers = Servers::start();
    for port in servers.ports() {
        let mut client = Client::connect(port).expect("a connection");
        for event in 1..=8 {
            let rows: Vec<String> = (1..=10).map(|seat| format!("({event}, {seat})")).collect();
            client.run(&format!("INSERT INTO seats (event_id, seat_id) VALUES {}", rows.join(", ")));
        }
    }
    for protocol in ["simple", "extended", "prepared"] {
        let outputs = servers.run(|| {
            let mut command = Command::new(binary("pgbench"));
            command.args(["--no-vacuum", "--client=8", "--jobs=2", "--transactions=50", "--protocol", protocol]);
            command.arg("--file").arg(root().join("tests/drivers/keyed.pgbench"));
            command
        });
        for output in &outputs {
            assert!(output.contains("number of transactions actually processed: 400/400"), "{output}");
            assert!(output.contains("number of failed transactions: 0"), "{output}");
        }
    }
    for port in servers.ports() {
        let mut client = Client::connect(port).expect("a connection");
        assert_eq!(client.query("SELECT sum(version) FROM seats").value(), "1200");
    }
}
