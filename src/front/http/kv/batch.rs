//! `POST /v1/kv:batch`: many reads and writes in one request, each with its own outcome.
//!
//! Items are independent: each is its own statement or transaction, and one that fails does not undo another. They run
//! in a few lanes at once, so that shards commit the writes together; items with the same key share a lane and keep
//! their order.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::key::Key;
use super::precondition::{Preconditions, Tags};
use super::routes::{DEFAULT_CONTENT_TYPE, check_content_type, idempotency, no_entry, precondition_failed, require};
use super::store::{Change, Done, Entry, Idempotency, Write};
use crate::front::http::{Caller, Door, json_response};
use crate::web::{Problem, read_json};

pub(crate) const BATCH_ITEMS_MAX: usize = 500;
const LANES: usize = 8;
const VERSIONS_MAX: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    items: Vec<Item>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Get,
    Put,
    Delete,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    op: Operation,
    key: String,
    value: Option<String>,
    value_base64: Option<String>,
    content_type: Option<String>,
    if_match: Option<Value>,
    if_none_match: Option<Value>,
    idempotency_key: Option<String>,
}

enum Action {
    Read(Key, Preconditions),
    Write(Write),
}

impl Action {
    fn key(&self) -> &Key {
        match self {
            Action::Read(key, _) => key,
            Action::Write(write) => &write.key,
        }
    }
}

/// The handler.
pub(crate) async fn batch(
    State(door): State<Arc<Door>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Problem> {
    if headers.contains_key("idempotency-key") {
        return Err(Problem::bad_request("a batch as a whole has no Idempotency-Key")
            .hint("Give each write in it an idempotency_key of its own: items may live on different shards."));
    }
    let batch: Batch = read_json(&headers, body, door.settings.body_max_bytes, door.settings.body_time).await?;
    if batch.items.is_empty() || batch.items.len() > BATCH_ITEMS_MAX {
        let detail = format!("a batch has 1 to {BATCH_ITEMS_MAX} items; this one has {}", batch.items.len());
        return Err(Problem::bad_request(detail));
    }
    let results = run(&door, &caller, batch.items).await?;
    Ok(json_response(StatusCode::OK, &json!({"items": results})))
}

async fn run(door: &Arc<Door>, caller: &Caller, items: Vec<Item>) -> Result<Vec<Value>, Problem> {
    let mut results = vec![Value::Null; items.len()];
    let mut lanes: Vec<Vec<(usize, Action)>> = (0..LANES).map(|_| Vec::new()).collect();
    for (index, item) in items.into_iter().enumerate() {
        let name = item.key.clone();
        match action_of(door, item) {
            Ok(action) => lanes[lane_of(action.key())].push((index, action)),
            Err(problem) => results[index] = failed(&name, &problem),
        }
    }
    let room = Arc::new(AtomicUsize::new(door.settings.result_max_bytes));
    let mut running = JoinSet::new();
    for lane in lanes.into_iter().filter(|lane| !lane.is_empty()) {
        let (door, user, room) = (Arc::clone(door), caller.user.clone(), Arc::clone(&room));
        running.spawn(async move {
            let mut done = Vec::with_capacity(lane.len());
            for (index, action) in lane {
                done.push((index, perform(&door, &user, &action, &room).await));
            }
            done
        });
    }
    while let Some(lane) = running.join_next().await {
        let lane = lane.map_err(|_| crate::error::Error::internal("a part of a batch ended unexpectedly"))?;
        for (index, result) in lane {
            results[index] = result;
        }
    }
    Ok(results)
}

fn lane_of(key: &Key) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0)
}

fn action_of(door: &Door, item: Item) -> Result<Action, Problem> {
    let key = Key::new(&*item.key)?;
    let conditions = Preconditions {
        if_match: tags("if_match", item.if_match.as_ref())?,
        if_none_match: tags("if_none_match", item.if_none_match.as_ref())?,
    };
    let idempotency = idempotency_of(&item)?;
    if item.op != Operation::Put && (item.value.is_some() || item.value_base64.is_some() || item.content_type.is_some())
    {
        return Err(Problem::bad_request("only a put has a value and a content_type"));
    }
    let change = match item.op {
        Operation::Get if idempotency.is_some() => {
            return Err(Problem::bad_request("a get needs no idempotency_key"));
        }
        Operation::Get => return Ok(Action::Read(key, conditions)),
        Operation::Delete => Change::Delete,
        Operation::Put => put_of(item, door.settings.value_max_bytes)?,
    };
    require(door, &conditions)?;
    Ok(Action::Write(Write { key, change, conditions, idempotency }))
}

fn put_of(item: Item, value_max_bytes: usize) -> Result<Change, Problem> {
    let (value, default_type) = match (item.value, item.value_base64) {
        (Some(text), None) => (Bytes::from(text), "text/plain; charset=utf-8"),
        (None, Some(text)) => {
            let bytes = BASE64.decode(text).map_err(|_| Problem::bad_request("value_base64 is not base64"))?;
            (Bytes::from(bytes), DEFAULT_CONTENT_TYPE)
        }
        _ => return Err(Problem::bad_request("a put has either a value or a value_base64")),
    };
    if value.len() > value_max_bytes {
        let detail = format!("the value has {} bytes; {value_max_bytes} are allowed", value.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail));
    }
    let content_type = item.content_type.unwrap_or_else(|| default_type.to_owned());
    check_content_type(&content_type)?;
    Ok(Change::Put { value, content_type })
}

fn idempotency_of(item: &Item) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = &item.idempotency_key else { return Ok(None) };
    let whole = json!([
        "batch",
        format!("{:?}", item.op),
        item.key,
        item.value,
        item.value_base64,
        item.content_type,
        item.if_match,
        item.if_none_match,
    ]);
    idempotency(key, &[whole.to_string().as_bytes()]).map(Some)
}

/// `"*"`, a version, or a list of versions; a version is an integer, as a number or in a string.
fn tags(name: &str, value: Option<&Value>) -> Result<Option<Tags>, Problem> {
    let parsed = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text == "*" => Some(Tags::Any),
        Some(Value::Array(items)) if items.len() <= VERSIONS_MAX => {
            items.iter().map(version).collect::<Option<Vec<_>>>().map(Tags::versions)
        }
        Some(one) => version(one).map(|version| Tags::versions(vec![version])),
    };
    let wrong = || Problem::bad_request(format!("{name} is neither \"*\" nor a version nor a list of versions"));
    parsed.map(Some).ok_or_else(wrong)
}

fn version(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim_matches('"').parse().ok(),
        _ => None,
    }
}

async fn perform(door: &Door, user: &str, action: &Action, room: &AtomicUsize) -> Value {
    let result = match action {
        Action::Read(key, conditions) => read(door, user, key, conditions, room).await,
        Action::Write(write) => self::write(door, user, write).await,
    };
    result.unwrap_or_else(|problem| failed(action.key().as_str(), &problem))
}

async fn read(
    door: &Door,
    user: &str,
    key: &Key,
    conditions: &Preconditions,
    room: &AtomicUsize,
) -> Result<Value, Problem> {
    use super::precondition::ReadVerdict;
    let entry = door.kv.read(user, key).await?;
    let version = entry.as_ref().map(|entry| entry.version);
    match (conditions.read_verdict(version), entry) {
        (ReadVerdict::Failed, _) => Err(precondition_failed(version)),
        (_, None) => Err(no_entry()),
        (ReadVerdict::NotModified, Some(entry)) => {
            Ok(json!({"key": key.as_str(), "status": 304, "version": entry.version.to_string()}))
        }
        (ReadVerdict::Proceed, Some(entry)) => {
            let taken =
                room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(entry.value.len()));
            taken.map_err(|_| no_room())?;
            Ok(found(key, entry))
        }
    }
}

fn no_room() -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "result_too_large", "the values before this one fill the answer")
        .hint("Get this key in another request.")
}

fn found(key: &Key, entry: Entry) -> Value {
    let mut result = Map::new();
    result.insert("key".into(), json!(key.as_str()));
    result.insert("status".into(), json!(200));
    result.insert("version".into(), json!(entry.version.to_string()));
    result.insert("content_type".into(), json!(entry.content_type));
    match std::str::from_utf8(&entry.value) {
        Ok(text) => result.insert("value".into(), json!(text)),
        Err(_) => result.insert("value_base64".into(), json!(BASE64.encode(&entry.value))),
    };
    Value::Object(result)
}

async fn write(door: &Door, user: &str, write: &Write) -> Result<Value, Problem> {
    let written = door.kv.write(user, write).await?;
    let mut result = match written.done {
        Done::Created(version) | Done::Replaced(version) => {
            json!({"key": write.key.as_str(), "status": written.done.status().as_u16(), "version": version.to_string()})
        }
        Done::Deleted => json!({"key": write.key.as_str(), "status": 204}),
        Done::Missing => failed(write.key.as_str(), &no_entry()),
        Done::Failed(version) => failed(write.key.as_str(), &precondition_failed(version)),
    };
    if let (true, Value::Object(members)) = (written.replayed, &mut result) {
        members.insert("replayed".into(), json!(true));
    }
    Ok(result)
}

fn failed(key: &str, problem: &Problem) -> Value {
    json!({"key": key, "status": problem.status.as_u16(), "error": problem.body()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str) -> Item {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_items_versions_are_numbers_or_strings() {
        let one = Some(Tags::versions(vec![1025]));
        assert_eq!(tags("x", Some(&json!(1025))).unwrap(), one);
        assert_eq!(tags("x", Some(&json!("1025"))).unwrap(), one);
        assert_eq!(tags("x", Some(&json!("\"1025\""))).unwrap(), one);
        assert_eq!(tags("x", Some(&json!("*"))).unwrap(), Some(Tags::Any));
        assert_eq!(tags("x", Some(&json!([1, "2"]))).unwrap(), Some(Tags::versions(vec![1, 2])));
        assert_eq!(tags("x", Some(&Value::Null)).unwrap(), None);
        for bad in [json!(true), json!(1.5), json!("a"), json!([["1"]]), json!(vec![1; 65])] {
            assert!(tags("x", Some(&bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_put_has_exactly_one_value() {
        assert!(put_of(item(r#"{"op":"put","key":"a","value":"x"}"#), 10).is_ok());
        assert!(put_of(item(r#"{"op":"put","key":"a","value_base64":"eA=="}"#), 10).is_ok());
        assert!(put_of(item(r#"{"op":"put","key":"a"}"#), 10).is_err());
        assert!(put_of(item(r#"{"op":"put","key":"a","value":"x","value_base64":"eA=="}"#), 10).is_err());
        assert!(put_of(item(r#"{"op":"put","key":"a","value_base64":"?"}"#), 10).is_err());
        assert_eq!(put_of(item(r#"{"op":"put","key":"a","value":"12345678901"}"#), 10).unwrap_err().status, 413);
    }

    #[test]
    fn an_items_digest_covers_what_it_writes() {
        let hash = |text: &str| idempotency_of(&item(text)).unwrap().unwrap().request_hash;
        let first = hash(r#"{"op":"put","key":"a","value":"x","idempotency_key":"k"}"#);
        assert_eq!(first, hash(r#"{"key":"a","op":"put","value":"x","idempotency_key":"k"}"#));
        assert_ne!(first, hash(r#"{"op":"put","key":"a","value":"y","idempotency_key":"k"}"#));
        assert_ne!(first, hash(r#"{"op":"put","key":"a","value":"x","if_match":3,"idempotency_key":"k"}"#));
    }

    #[test]
    fn a_value_that_is_no_text_comes_as_base64() {
        let entry =
            |value: &'static [u8]| Entry { value: Bytes::from_static(value), content_type: "a/b".into(), version: 3 };
        let key = Key::new("a").unwrap();
        assert_eq!(found(&key, entry(b"hi"))["value"], "hi");
        assert_eq!(found(&key, entry(b"\xff"))["value_base64"], "/w==");
    }
}
