//! The HTTP door, from outside: entries and their versions, listings, batches, idempotency, SQL, problems, OpenAPI.

use serde_json::{Value, json};

use crate::support::Shardd;
use crate::support::shardd::{Request, Response};

/// One server with the calls that these tests make of it.
struct Door {
    shardd: Shardd,
}

impl Door {
    /// One in front of SQLite shards, and one in front of Postgres shards.
    fn of_each_kind() -> impl Iterator<Item = Door> {
        Shardd::of_each_kind().map(|shardd| Door { shardd })
    }

    fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.shardd.http(&Request::new(method, path, headers, body))
    }

    fn put(&self, key: &str, value: &str, headers: &[(&str, &str)]) -> Response {
        let headers = [headers, &[("content-type", "text/plain")]].concat();
        self.send("PUT", &format!("/v1/kv/{key}"), &headers, value.as_bytes())
    }

    fn post(&self, path: &str, body: &Value) -> Response {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    fn sql(&self, statement: &str, parameters: Value) -> Response {
        self.post("/v1/sql", &json!({"statement": statement, "params": parameters}))
    }
}

fn etag(response: &Response) -> String {
    response.header("etag").unwrap_or_else(|| panic!("no ETag: {response:?}")).to_owned()
}

/// Holds an error to its form, whatever it is.
fn problem(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let body = response.json();
    assert_eq!(body["status"], status);
    for member in ["type", "title", "detail", "code", "request_id"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {body}");
    }
    assert!(body["retryable"].is_boolean(), "{body}");
    body
}

#[test]
fn an_entry_is_created_read_replaced_and_deleted() {
    for door in Door::of_each_kind() {
        problem(&door.get("/v1/kv/greeting"), 404);
        let created = door.put("greeting", "hello", &[]);
        assert_eq!((created.status, created.json()["key"].as_str()), (201, Some("greeting")));
        let read = door.get("/v1/kv/greeting");
        assert_eq!(
            (read.status, read.body.as_slice(), read.header("content-type")),
            (200, b"hello".as_slice(), Some("text/plain"))
        );
        assert_eq!(etag(&read), etag(&created));
        let replaced = door.put("greeting", "hallo", &[]);
        assert_eq!(replaced.status, 200);
        assert_ne!(etag(&replaced), etag(&created));

        let head = door.send("HEAD", "/v1/kv/greeting", &[], b"");
        assert_eq!((head.status, head.body.len(), etag(&head)), (200, 0, etag(&replaced)));
        let cached = door.send("GET", "/v1/kv/greeting", &[("if-none-match", &etag(&replaced))], b"");
        assert_eq!((cached.status, cached.body.len()), (304, 0));

        assert_eq!(door.send("DELETE", "/v1/kv/greeting", &[], b"").status, 204);
        problem(&door.send("DELETE", "/v1/kv/greeting", &[], b""), 404);
        let again = door.put("greeting", "hello", &[]);
        assert_eq!(again.status, 201);
        assert_ne!(etag(&again), etag(&created), "a version must not come back after a deletion");

        let bytes: Vec<u8> = (0..=255).collect();
        let path = "/v1/kv/a%2Fb%20%C3%BC";
        assert_eq!(door.send("PUT", path, &[("content-type", "image/png")], &bytes).status, 201);
        let read = door.get(path);
        assert_eq!(
            (read.body, read.headers.iter().any(|(name, value)| name == "content-type" && value == "image/png")),
            (bytes, true)
        );
    }
}

#[test]
fn preconditions_decide_and_lose_no_update() {
    for door in Door::of_each_kind() {
        let only_new = [("if-none-match", "*")];
        let created = door.put("counter", "0", &only_new);
        assert_eq!(created.status, 201);
        let refused = door.put("counter", "1", &only_new);
        assert_eq!(problem(&refused, 412)["code"], "precondition_failed");
        assert_eq!(etag(&refused), etag(&created));
        problem(&door.put("absent", "1", &[("if-match", "*")]), 412);
        assert_eq!(door.put("counter", "1", &[("if-match", &etag(&created))]).status, 200);
        problem(&door.put("counter", "2", &[("if-match", &etag(&created))]), 412);
        problem(&door.send("DELETE", "/v1/kv/counter", &[("if-match", &etag(&created))], b""), 412);
        problem(&door.put("counter", "2", &[("if-match", "not quoted")]), 400);

        // Eight clients add one, ten times each, by compare-and-set: none is lost.
        door.put("counter", "0", &[]);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10).for_each(|_| increment(&door, "counter")));
            }
        });
        assert_eq!(door.get("/v1/kv/counter").text(), "80");
    }
}

fn increment(door: &Door, key: &str) {
    loop {
        let read = door.get(&format!("/v1/kv/{key}"));
        let next = read.text().parse::<u32>().expect("a number") + 1;
        let written = door.put(key, &next.to_string(), &[("if-match", &etag(&read))]);
        match written.status {
            200 => return,
            409 | 412 | 503 => {}
            other => panic!("{other}: {}", written.text()),
        }
    }
}

#[test]
fn writes_without_a_precondition_are_refused_where_configured() {
    for shardd in Shardd::of_each_kind_with("[http]\nrequire_preconditions = true\n") {
        let door = Door { shardd };
        assert_eq!(problem(&door.put("a", "1", &[]), 428)["code"], "precondition_required");
        problem(&door.send("DELETE", "/v1/kv/a", &[], b""), 428);
        assert_eq!(door.put("a", "1", &[("if-none-match", "*")]).status, 201);
        assert_eq!(door.get("/v1/kv/a").status, 200);
    }
}

#[test]
fn a_listing_pages_over_all_shards_in_key_order() {
    for door in Door::of_each_kind() {
        let keys: Vec<String> = (0..57).map(|number| format!("seat-{number:03}")).collect();
        for key in keys.iter().chain(&["other".to_owned(), "seat_100".to_owned()]) {
            assert_eq!(door.put(key, "x", &[]).status, 201);
        }
        let mut found = Vec::new();
        let mut path = "/v1/kv?prefix=seat-&limit=10".to_owned();
        loop {
            let page = door.get(&path);
            assert_eq!(page.status, 200, "{}", page.text());
            let page = page.json();
            let items = page["items"].as_array().expect("items").clone();
            assert!(items.len() <= 10);
            found.extend(items.iter().map(|item| item["key"].as_str().expect("a key").to_owned()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/v1/kv?prefix=seat-&limit=10&cursor={cursor}");
        }
        assert_eq!(found, keys);
        let all = door.get("/v1/kv").json();
        assert_eq!((all["items"].as_array().map(Vec::len), &all["next_cursor"]), (Some(59), &Value::Null));
        for bad in ["/v1/kv?limit=0", "/v1/kv?limit=x", "/v1/kv?cursor=%21", "/v1/kv?nope=1"] {
            problem(&door.get(bad), 400);
        }
    }
}

#[test]
fn a_batch_gives_every_item_its_own_outcome() {
    for door in Door::of_each_kind() {
        door.put("there", "1", &[]);
        let body = json!({"items": [
            {"op": "get", "key": "there"},
            {"op": "get", "key": "absent"},
            {"op": "put", "key": "new", "value": "2"},
            {"op": "put", "key": "there", "value": "3", "if_none_match": "*"},
            {"op": "put", "key": "bytes", "value_base64": "/w=="},
            {"op": "get", "key": "bytes"},
            {"op": "delete", "key": "there"},
            {"op": "put", "key": "", "value": "x"},
        ]});
        let answer = door.post("/v1/kv:batch", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let items = answer.json()["items"].as_array().expect("items").clone();
        let statuses: Vec<i64> = items.iter().map(|item| item["status"].as_i64().expect("a status")).collect();
        assert_eq!(statuses, [200, 404, 201, 412, 201, 200, 204, 400]);
        assert_eq!((items[0]["value"].as_str(), items[5]["value_base64"].as_str()), (Some("1"), Some("/w==")));
        assert_eq!(items[3]["error"]["code"], "precondition_failed");
        problem(&door.post("/v1/kv:batch", &json!({"items": []})), 400);
    }
}

#[test]
fn an_idempotency_key_makes_a_write_happen_once() {
    for door in Door::of_each_kind() {
        let once = [("idempotency-key", "request-1")];
        let first = door.put("order", "placed", &once);
        assert_eq!((first.status, first.header("idempotency-replayed")), (201, None));
        let again = door.put("order", "placed", &once);
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
        assert_eq!(etag(&again), etag(&first));
        problem(&door.put("order", "something else", &once), 422);

        // It is kept with the data: a restart forgets nothing.
        let mut door = door;
        door.put("order", "changed", &[]);
        door.shardd.kill();
        door.shardd.launch();
        let replayed = door.put("order", "placed", &once);
        assert_eq!((replayed.status, etag(&replayed)), (201, etag(&first)));
        assert_eq!(door.get("/v1/kv/order").text(), "changed");
    }
}

#[test]
fn sql_over_http_follows_the_same_rules() {
    for door in Door::of_each_kind() {
        let made = door.sql("CREATE TABLE seats (event_id bigint, seat_id int, price numeric(10,2), held_at timestamptz, tags jsonb, PRIMARY KEY (event_id, seat_id))", json!([]));
        assert_eq!((made.status, made.json()["tag"].as_str()), (200, Some("CREATE TABLE")), "{}", made.text());
        let insert = "INSERT INTO seats VALUES ($1, $2, $3, $4, $5) RETURNING *";
        let parameters = json!([9_007_199_254_740_993_i64, 1, "10.50", "2026-03-01T20:00:00Z", {"type": "jsonb", "value": {"vip": true}}]);
        let written = door.sql(insert, parameters).json();
        assert_eq!((written["tag"].as_str(), &written["row_count"]), (Some("INSERT 0 1"), &json!(1)), "{written}");
        // A number that JavaScript cannot hold stays exact.
        assert_eq!(written["rows"][0][0], "9007199254740993");
        assert_eq!((&written["rows"][0][2], &written["rows"][0][4]), (&json!("10.50"), &json!({"vip": true})));
        for event in 1..=8 {
            assert_eq!(
                door.sql("INSERT INTO seats (event_id, seat_id) VALUES ($1, 1), ($1, 2)", json!([event])).status,
                200
            );
        }
        let counted =
            door.sql("SELECT count(*) AS seats FROM seats WHERE event_id = ANY($1)", json!([[1, 2, 3]])).json();
        assert_eq!(counted["columns"], json!([{"name": "seats", "type": "bigint"}]));
        assert_eq!(counted["rows"], json!([["6"]]));
        let typed = door
            .sql("SELECT $1 AS x", json!([{"type": "uuid", "value": "A1B2C3D4-E5F6-4711-8899-AABBCCDDEEFF"}]))
            .json();
        assert_eq!(typed["rows"], json!([["a1b2c3d4-e5f6-4711-8899-aabbccddeeff"]]));

        let taken = problem(&door.sql("INSERT INTO seats (event_id, seat_id) VALUES (1, 1)", json!([])), 409);
        assert_eq!((&taken["code"], &taken["retryable"]), (&json!("23505"), &json!(false)));
        assert_eq!(problem(&door.sql("SELECT nope FROM seats", json!([])), 400)["code"], "42703");
        assert_eq!(problem(&door.sql("SELEC", json!([])), 400)["code"], "42601");
        assert_eq!(problem(&door.sql("SELECT 1; SELECT 2", json!([])), 400)["code"], "42601");
        assert_eq!(problem(&door.sql("BEGIN", json!([])), 422)["code"], "0A000");
        problem(&door.send("POST", "/v1/sql", &[("content-type", "application/json")], b"{"), 400);
        problem(&door.send("POST", "/v1/sql", &[("content-type", "text/plain")], b"SELECT 1"), 415);

        // The same rows through the other door.
        let mut client = door.shardd.client();
        assert_eq!(client.query("SELECT count(*) FROM seats").value(), "17");
    }
}

#[test]
fn what_ends_with_the_request_is_refused_and_what_a_statement_warns_of_is_told() {
    for door in Door::of_each_kind() {
        for statement in ["SET statement_timeout = 1", "PREPARE p AS SELECT 1", "SELECT set_config('x.y', '1', false)"]
        {
            assert_eq!(problem(&door.sql(statement, json!([])), 422)["code"], "0A000", "{statement}");
        }
        let create = "CREATE TABLE IF NOT EXISTS seats (event_id bigint PRIMARY KEY)";
        assert!(door.sql(create, json!([])).json().get("notices").is_none());
        assert_eq!(door.sql(create, json!([])).json()["notices"][0]["code"], "42P07");
    }
}

#[test]
fn a_clients_change_of_the_schema_takes_no_entries_away() {
    for door in Door::of_each_kind() {
        door.put("kept", "1", &[]);
        for statement in [
            "DROP TABLE shardd_kv",
            "ALTER TABLE shardd_kv DROP CONSTRAINT shardd_kv_pkey",
            "DROP TABLE IF EXISTS shardd_kv_idempotency",
        ] {
            assert_eq!(problem(&door.sql(statement, json!([])), 422)["code"], "0A000", "{statement}");
        }
        assert_eq!(door.get("/v1/kv/kept").text(), "1");
    }
}

/// `Authorization: Basic` of a pair.
fn basic(pair: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

#[test]
fn users_and_bearers_come_in_with_their_secrets_only() {
    let secrets = tempfile::tempdir().expect("a directory");
    let (password, token) = (secrets.path().join("password"), secrets.path().join("token"));
    std::fs::write(&password, "canary:horse\n").expect("written");
    std::fs::write(&token, "canary-token-0123456789\n").expect("written");
    let configuration = format!(
        "[[users]]\nname = \"app\"\npassword_file = \"{}\"\n[[tokens]]\nuser = \"worker\"\ntoken_file = \"{}\"\n",
        password.display(),
        token.display()
    );
    for shardd in Shardd::of_each_kind_with(&configuration) {
        let door = Door { shardd };
        let user_of = |authorization: &str| {
            let headers = [("authorization", authorization), ("content-type", "application/json")];
            door.send("POST", "/v1/sql", &headers, br#"{"statement": "SELECT current_user"}"#)
        };
        // On Postgres shards `current_user` is the role that shardd logs in with, whoever asks.
        let worker = if door.shardd.postgres().is_some() { "app" } else { "worker" };
        for _ in 0..2 {
            assert_eq!(user_of(&basic("app:canary:horse")).json()["rows"], json!([["app"]]));
            assert_eq!(user_of("Bearer canary-token-0123456789").json()["rows"], json!([[worker]]));
        }
        for wrong in [&basic("app:canary")[..], &basic("ghost:canary:horse"), "Bearer canary-token", "Basic ???", ""] {
            let refused = user_of(wrong);
            assert_eq!(problem(&refused, 401)["code"], "unauthorized", "{wrong}");
            assert!(refused.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Basic ")));
        }
        problem(&door.send("PUT", "/v1/kv/a", &[], b"x"), 401);
        problem(&door.get("/v1/kv/a"), 401);
        assert_eq!(door.get("/openapi.json").status, 200);
        // A name that was made to point here brings no credentials along; whoever has them may call the door by any name.
        let authorization = basic("app:canary:horse");
        let headers = [("authorization", authorization.as_str())];
        let named = Request::new("PUT", "/v1/kv/a", &headers, b"x").send_as("shardd.example", door.shardd.ports.http);
        assert_eq!(named.status, 201);

        let shown = door.shardd.admin(&Request::get("/v1/config")).text();
        for text in [shown, door.shardd.log()] {
            assert!(!text.contains("canary") && !text.contains(authorization.trim_start_matches("Basic ")), "{text}");
        }
    }
}

#[test]
fn a_connection_past_the_limit_is_told_so() {
    for shardd in Shardd::of_each_kind_with("[limits]\nmax_http_connections = 1\n") {
        let door = Door { shardd };
        let held = std::net::TcpStream::connect(("127.0.0.1", door.shardd.ports.http)).expect("connected");
        let refused = door.get("/v1/kv/a");
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        assert_eq!(refused.json()["code"], "overloaded");
        drop(held);
    }
}

#[test]
fn bodies_and_strangers_are_bounded() {
    for door in Door::of_each_kind() {
        let large = vec![b'x'; 2 * 1024 * 1024];
        problem(&door.send("PUT", "/v1/kv/large", &[], &large), 413);
        problem(&door.get("/v1/kv/large"), 404);
        problem(&door.get("/nowhere"), 404);
        let slash = problem(&door.send("PUT", "/v1/kv/a/b", &[], b"x"), 404);
        assert!(slash["hint"].as_str().is_some_and(|hint| hint.contains("%2F")), "{slash}");
        problem(&door.send("POST", "/v1/kv/a", &[], b""), 405);
        let long = format!("/v1/kv/{}", "k".repeat(4096));
        assert!(matches!(door.get(&long).status, 400 | 414));
        // A page of another site that got its name to point here.
        let rebound =
            Request::new("GET", "/v1/kv/a", &[("x-note", "1")], b"").send_as("evil.example", door.shardd.ports.http);
        assert!((400..500).contains(&rebound.status) && rebound.status != 404, "{}", rebound.text());
    }
}

#[test]
fn openapi_describes_exactly_what_the_door_answers() {
    for door in Door::of_each_kind() {
        let document = door.get("/openapi.json");
        assert_eq!(document.header("content-type"), Some("application/json"));
        let document = document.json();
        assert_eq!(document["openapi"].as_str().map(|version| &version[..4]), Some("3.1."));
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("methods") {
                if method == "parameters" {
                    continue;
                }
                assert!(operation["operationId"].is_string() && operation["responses"].is_object(), "{method} {path}");
                let status = door.send(&method.to_uppercase(), &path.replace("{key}", "absent"), &[], b"").status;
                assert_ne!(status, 405, "{method} {path} is described but not answered");
                operations.push(format!("{method} {path}"));
            }
            // What is not described is not answered.
            for method in ["get", "put", "post", "delete", "patch"] {
                if item.get(method).is_none() {
                    let response = door.send(&method.to_uppercase(), &path.replace("{key}", "absent"), &[], b"");
                    assert_eq!(response.status, 405, "{method} {path} is answered but not described");
                }
            }
        }
        assert!(operations.len() >= 8, "{operations:?}");
        check_references(&document, &document);
    }
}

/// Every `$ref` leads somewhere.
fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("a reference within the document");
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            members.values().for_each(|value| check_references(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(document, value)),
        _ => {}
    }
}
