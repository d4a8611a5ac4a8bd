//! Postgres shards that fail: servers that end, hang or are slow, clients that leave, and pools that are full.

mod answers;
mod desync;
mod dropped;
mod garbled;
mod large;
mod pools;
mod silence;

use std::time::{Duration, Instant};

pub(crate) use dropped::cancel;

use crate::support::frames::Writer;
use crate::support::{Client, PATIENCE, Postgres, Shardd, signal};

/// A shardd over databases of throw-away Postgres servers, with a table of seats on each.
struct Cluster {
    servers: Vec<Postgres>,
    shardd: Shardd,
}

const SEATS: &str = "CREATE TABLE seats (event_id bigint, seat int, status text, PRIMARY KEY (event_id, seat))";

impl Cluster {
    /// Two shards, each on a server of its own.
    fn start(configuration: &str) -> Cluster {
        Cluster::start_through(configuration, |_, port| port)
    }

    /// The same, reached through the port that `through` gives for a shard and its server's port.
    fn start_through(configuration: &str, mut through: impl FnMut(usize, u16) -> u16) -> Cluster {
        let servers = std::thread::scope(|scope| {
            let servers = [0, 1].map(|_| scope.spawn(Postgres::start));
            servers.map(|server| server.join().expect("Postgres starts"))
        });
        let mut text = configuration.to_owned();
        for (number, server) in servers.iter().enumerate() {
            let port = through(number, server.port);
            text +=
                &format!("\n[[shards]]\nname = \"pg-{number}\"\nurl = \"postgres://app@127.0.0.1:{port}/tickets\"\n");
        }
        let cluster = Cluster { servers: servers.into(), shardd: Shardd::start_with(&text) };
        let mut client = cluster.client();
        client.run(SEATS);
        for key in 1..=40 {
            client.run(&format!("INSERT INTO seats VALUES ({key}, 1, 'free')"));
        }
        cluster
    }

    fn client(&self) -> Client {
        self.shardd.client()
    }

    /// Keys whose rows are on the first shard, and on the second.
    fn keys(&self) -> [u32; 2] {
        ["pg-0", "pg-1"].map(|shard| self.shardd.keys_on("seats", shard, 1)[0])
    }

    /// What the connections of shardd to a shard do that are not idle, as its server sees it.
    fn busy(&self, shard: usize) -> Vec<String> {
        self.connections(shard, "AND state <> 'idle'").into_iter().map(|(_, query)| query).collect()
    }

    /// The processes that serve shardd, and their last statements.
    fn connections(&self, shard: usize, condition: &str) -> Vec<(u32, String)> {
        let sql = format!(
            "SELECT pid, state || ': ' || query FROM pg_stat_activity \
             WHERE application_name = 'shardd' {condition} ORDER BY pid"
        );
        let rows = self.servers[shard].client().query(&sql).texts();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        rows.iter().map(|row| (text(&row[0]).parse().expect("a process"), text(&row[1]))).collect()
    }

    /// Waits until the server does nothing for shardd any more.
    fn until_quiet(&self, shard: usize) {
        let begin = Instant::now();
        loop {
            match self.busy(shard) {
                busy if busy.is_empty() => return,
                busy => assert!(begin.elapsed() < PATIENCE, "it runs on: {busy:?}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the server runs something for shardd.
    fn until_busy(&self, shard: usize) {
        let begin = Instant::now();
        while self.connections(shard, "AND state = 'active'").is_empty() {
            assert!(begin.elapsed() < PATIENCE, "nothing runs");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the connections of shardd to a shard, from the server's side.
    fn terminate(&self, shard: usize) {
        self.servers[shard]
            .client()
            .run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shardd'");
    }

    /// Makes statements on the table wait until the client is dropped.
    fn hold(&self, shard: usize) -> Client {
        let mut holder = self.servers[shard].client();
        holder.run("BEGIN; LOCK TABLE seats IN ACCESS EXCLUSIVE MODE");
        holder
    }

    /// What a shard's pool counts.
    fn counted(&self, shard: usize, name: &str) -> u64 {
        let path = format!("/v1/shards/pg-{shard}");
        let described = self.shardd.admin(&crate::support::shardd::Request::get(&path)).json();
        described["statistics"][name].as_u64().unwrap_or_else(|| panic!("{name} is not in {described}"))
    }
}

fn send(client: &mut Client, fill: impl FnOnce(&mut Writer) -> &mut Writer) {
    let mut writer = Writer::default();
    fill(&mut writer);
    client.send(&writer).expect("sent");
}

fn send_query(client: &mut Client, sql: &str) {
    send(client, |writer| writer.query(sql));
}
