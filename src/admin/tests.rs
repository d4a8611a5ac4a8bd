//! The door over a socket, with a server made up for the purpose.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::*;
use crate::error::{Error, Result, SqlState};
use crate::topology::{Column, Drift, Keyspace, Schema, Shard, Table, TableKind, Topology};
use crate::types::{Epoch, KeyType, PgType, ShardId};

/// Two shards, of which the second is down.
struct MadeUp {
    topology: Arc<Topology>,
    down: Vec<ShardId>,
}

impl MadeUp {
    fn new(down: &[u16]) -> MadeUp {
        let shards: Vec<Shard> = [1, 2]
            .map(|number| Shard {
                id: ShardId(number),
                name: format!("s{number}"),
                url: format!("postgres://app:secret@host{number}/db"),
                weight: 1.0,
            })
            .to_vec();
        let keyspace = Keyspace::create("default", "event_id", KeyType::Bigint, &shards).unwrap();
        let topology = Topology {
            epoch: Epoch(7),
            shards,
            keyspaces: vec![Arc::new(keyspace)],
            schema: Arc::new(Schema { tables: tables(), ..Schema::default() }),
        };
        MadeUp { topology: Arc::new(topology), down: down.iter().map(|number| ShardId(*number)).collect() }
    }
}

fn tables() -> BTreeMap<String, Arc<Table>> {
    let table = |name: &str, kind| Table {
        oid: 16_384,
        name: name.to_owned(),
        keyspace: "default".to_owned(),
        kind,
        columns: vec![Column { not_null: true, ..Column::new("event_id", PgType::Int8) }],
        primary_key: None,
        unique_keys: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
    };
    let kinds =
        [("events", TableKind::Sharded { key_column: 0, key_type: KeyType::Bigint }), ("venues", TableKind::Reference)];
    kinds.map(|(name, kind)| (name.to_owned(), Arc::new(table(name, kind)))).into()
}

impl Control for MadeUp {
    fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.topology)
    }

    fn ping(&self, shard: ShardId) -> Pending<'_, Result<()>> {
        let down = self.down.contains(&shard);
        Box::pin(async move {
            match down {
                true => Err(Error::new(SqlState::CONNECTION_FAILURE, "connection refused")),
                false => Ok(()),
            }
        })
    }

    fn replicas(&self, _: ShardId) -> (Vec<ReplicaDescription>, u64) {
        let statistics = BTreeMap::from([("checkouts".to_owned(), 5)]);
        let replica = "db-2:5432".to_owned();
        (vec![ReplicaDescription { replica, readable: true, error: None, lag_ms: Some(40), statistics }], 2)
    }

    fn statistics(&self, _: ShardId) -> BTreeMap<String, u64> {
        BTreeMap::from([("file_bytes".to_owned(), 4096)])
    }

    fn explain(&self, statement: String) -> Pending<'_, Result<Vec<String>>> {
        Box::pin(async move { Ok(vec![format!("plan of {statement}")]) })
    }

    fn analyze(&self, texts: Vec<String>) -> Pending<'_, Result<Vec<AnalyzedStatement>>> {
        let analyzed = |statement| AnalyzedStatement {
            statement,
            kind: "single".to_owned(),
            reason: "the key is on one shard".to_owned(),
            hint: None,
        };
        Box::pin(async move { Ok(texts.into_iter().map(analyzed).collect()) })
    }

    fn schema_drift(&self) -> Pending<'_, Result<Arc<Drift>>> {
        Box::pin(async move { Ok(Arc::default()) })
    }

    fn in_doubt(&self) -> Pending<'_, Result<Vec<InDoubtDescription>>> {
        Box::pin(async move { Ok(Vec::new()) })
    }

    fn resolve_in_doubt(&self) -> Pending<'_, Result<Vec<InDoubtDescription>>> {
        Box::pin(async move { Ok(Vec::new()) })
    }

    fn verify(&self, _: VerifyRequest) -> Pending<'_, Result<Verification>> {
        Box::pin(async move { Ok(Verification { right: true, tables: 3, shards: 2, rows: 4, flaws: Vec::new() }) })
    }

    fn change_kind(&self, table: String, _: KindRequest) -> Pending<'_, Result<usize>> {
        Box::pin(async move { Err(Error::new(SqlState::UNDEFINED_TABLE, format!("no {table}"))) })
    }

    fn force_in_doubt(&self, request: ForceRequest) -> Pending<'_, Result<Forced>> {
        Box::pin(async move { Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("no {}", request.gid))) })
    }

    fn start_moves(&self, _: MoveRequest) -> Pending<'_, Result<Vec<MovePlan>>> {
        Box::pin(async move { Ok(Vec::new()) })
    }

    fn moves(&self) -> Pending<'_, Result<Vec<MoveDescription>>> {
        Box::pin(async move { Ok(Vec::new()) })
    }

    fn one_move(&self, id: i64) -> Pending<'_, Result<MoveDescription>> {
        Box::pin(async move { Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("no move {id}"))) })
    }

    fn change_move(&self, id: i64, _: MoveAction) -> Pending<'_, Result<MoveDescription>> {
        self.one_move(id)
    }

    fn set_weight(&self, shard: String, _: f64) -> Pending<'_, Result<()>> {
        Box::pin(async move { Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("no {shard}"))) })
    }

    fn throttle_moves(&self, _: u64) {}

    fn add_shard(&self, shard: NewShard) -> Pending<'_, Result<AddedShard>> {
        Box::pin(async move { Err(Error::new(SqlState::DUPLICATE_OBJECT, format!("shard {} exists", shard.shard))) })
    }
}

struct Running {
    port: u16,
    phase: Arc<PhaseCell>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

async fn start(down: &[u16], token: Option<&str>) -> Running {
    let door = AdminDoor::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let port = door.address().port();
    let phase = Arc::new(PhaseCell::new());
    phase.set(Phase::Serving);
    let parts = Parts {
        control: Arc::new(MadeUp::new(down)),
        metrics: Arc::new(Metrics::new()),
        logs: LogRing::new(),
        phase: Arc::clone(&phase),
        settings: Settings { token: token.map(Secret::new), ..Settings::default() },
    };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    tokio::spawn(door.serve(parts, async move {
        let _ = stopped.await;
    }));
    Running { port, phase, stop: Some(stop) }
}

impl Running {
    /// Status, head and body of the answer to a request with these header lines.
    async fn send(&self, request: &str, headers: &str, body: &str) -> (u16, String, String) {
        let length = body.len();
        let text =
            format!("{request} HTTP/1.1\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}");
        let port = self.port;
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            (status, head.to_ascii_lowercase(), body.to_owned())
        })
        .await
        .unwrap()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.send(&format!("GET {path}"), "host: localhost\r\n", "").await;
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }
}

#[tokio::test]
async fn one_dead_shard_degrades_and_does_not_fail() {
    let running = start(&[2], None).await;
    let (status, body) = running.get("/readyz").await;
    assert_eq!((status, &body["state"]), (200, &Value::from("degraded")));
    assert_eq!(body["shards"][1]["shard"], "s2");
    assert_eq!(body["shards"][1]["up"], false);
    assert_eq!(body["shards"][1]["error"], "connection refused");
    assert_eq!(running.get("/livez").await.0, 200);
    let (status, body) = running.get("/v1/status").await;
    assert_eq!((status, &body["shards_up"]), (200, &Value::from(1)));
}

#[tokio::test]
async fn without_any_shard_or_while_draining_it_is_not_ready() {
    let running = start(&[1, 2], None).await;
    let (status, body) = running.get("/readyz").await;
    assert_eq!((status, &body["state"]), (503, &Value::from("down")));
    let running = start(&[], None).await;
    assert_eq!(running.get("/readyz").await.0, 200);
    running.phase.set(Phase::Draining);
    let (status, body) = running.get("/readyz").await;
    assert_eq!((status, &body["ready"]), (503, &Value::from(false)));
}

#[tokio::test]
async fn a_route_says_slot_shard_and_why() {
    let running = start(&[], None).await;
    let (status, body) = running.get("/v1/route?table=events&key=007").await;
    assert_eq!(status, 200);
    assert_eq!(body["key"], "7");
    assert!(body["why"].as_str().unwrap().contains(&format!("slot {}", body["slot"])), "{body}");
    assert!(["s1", "s2"].contains(&body["shard"].as_str().unwrap()));
    let (_, again) = running.get("/v1/route?table=events&key=7").await;
    assert_eq!(again["shard"], body["shard"]);
    let (status, body) = running.get("/v1/route?table=venues&key=7").await;
    assert_eq!((status, body.get("shard")), (200, None));
    assert_eq!(running.get("/v1/route?table=nothing&key=7").await.0, 404);
    let (status, body) = running.get("/v1/route?table=events&key=x").await;
    assert_eq!((status, &body["code"]), (400, &Value::from("22P02")));
    assert_eq!(running.get("/v1/route?table=events").await.0, 400);
}

#[tokio::test]
async fn urls_are_shown_without_passwords() {
    let running = start(&[], None).await;
    for path in ["/v1/shards", "/v1/shards/s1"] {
        let (status, body) = running.get(path).await;
        assert_eq!(status, 200);
        assert!(!body.to_string().contains("secret"), "{body}");
    }
    let (_, body) = running.get("/v1/shards/s1").await;
    let described: ShardDescription = serde_json::from_value(body).unwrap();
    assert_eq!((described.replicas[0].replica.as_str(), described.replicas_passed_over), ("db-2:5432", Some(2)));
    let (status, body) = running.get("/v1/shards/s9").await;
    assert_eq!((status, &body["code"]), (404, &Value::from("unknown_shard")));
}

#[tokio::test]
async fn a_foreign_host_is_refused_where_there_is_no_token() {
    let running = start(&[], None).await;
    let (status, _, body) = running.send("GET /v1/status", "host: evil.example\r\n", "").await;
    assert_eq!(status, 421, "{body}");
    let (status, ..) = running.send("GET /", "host: evil.example\r\n", "").await;
    assert_eq!(status, 421);
}

#[tokio::test]
async fn a_token_guards_everything_but_the_health_checks_and_the_page() {
    let running = start(&[], Some("t0ken")).await;
    let any_host = "host: shardd.example\r\n";
    for (path, _) in guarded_routes() {
        let path = path.replace("{shard}", "s1");
        let method = if ["/v1/explain", "/v1/analyze"].contains(&path.as_str()) { "POST" } else { "GET" };
        let request = format!("{method} {path}");
        let (status, head, _) = running.send(&request, any_host, "").await;
        assert_eq!(status, 401, "{path}");
        assert!(head.contains("www-authenticate: bearer"), "{head}");
        let wrong = format!("{any_host}authorization: Bearer t0kem\r\n");
        assert_eq!(running.send(&request, &wrong, "").await.0, 401, "{path}");
        let right = format!("{any_host}authorization: Bearer t0ken\r\n");
        assert_ne!(running.send(&request, &right, "").await.0, 401, "{path}");
    }
    for path in ["/livez", "/readyz", "/", "/console.js", "/console.css"] {
        assert_eq!(running.send(&format!("GET {path}"), any_host, "").await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn metrics_tell_epoch_slots_and_who_is_up() {
    let running = start(&[2], None).await;
    let (status, body) = running.get("/metrics").await;
    let text = body.as_str().unwrap();
    assert_eq!(status, 200);
    for line in [
        "shardd_topology_epoch 7",
        "shardd_slots{keyspace=\"default\",shard=\"s1\"} 8192",
        "shardd_shard_up{shard=\"s1\"} 1",
        "shardd_shard_up{shard=\"s2\"} 0",
        "shardd_build_info{",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
}

#[tokio::test]
async fn errors_are_problems_with_the_requests_id() {
    let running = start(&[], None).await;
    let local = "host: 127.0.0.1\r\nx-request-id: abc-1\r\n";
    let (status, head, body) = running.send("GET /nowhere", local, "").await;
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &problem["code"]), (404, &Value::from("not_found")));
    assert_eq!(problem["request_id"], "abc-1");
    assert!(head.contains("x-request-id: abc-1") && head.contains("application/problem+json"), "{head}");
    let (status, head, _) = running.send("DELETE /v1/status", local, "").await;
    assert_eq!(status, 405);
    assert!(head.contains("allow: get"), "{head}");
    let json = format!("{local}content-type: application/json\r\n");
    let (status, _, body) = running.send("POST /v1/shards", &json, "{\"shard\":\"s1\",\"url\":\"sqlite:x\"}").await;
    assert_eq!(status, 409, "{body}");
    assert_eq!(running.send("POST /v1/shards", local, "{}").await.0, 415);
    assert_eq!(running.send("POST /v1/shards", &json, "{}").await.0, 400);
}

#[tokio::test]
async fn a_statement_is_explained() {
    let running = start(&[], None).await;
    let headers = "host: localhost\r\ncontent-type: application/json\r\n";
    let (status, _, body) = running.send("POST /v1/explain", headers, "{\"statement\":\"SELECT 1\"}").await;
    let explanation: Explanation = serde_json::from_str(&body).unwrap();
    assert_eq!((status, explanation.plan), (200, vec!["plan of SELECT 1".to_owned()]));
}
