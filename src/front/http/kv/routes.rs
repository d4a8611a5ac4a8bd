//! The requests on one entry, and the listing.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::key::{Key, cursor_after, parse_cursor};
use super::precondition::{Preconditions, ReadVerdict, etag};
use super::store::{Change, Done, Entry, Idempotency, Listed, Write, Written};
use crate::front::http::{Caller, Door, json_response};
use crate::web::{Problem, read_body, rfc3339};

pub(crate) const LIST_LIMIT_DEFAULT: i64 = 100;
pub(crate) const LIST_LIMIT_MAX: i64 = 1_000;
pub(crate) const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;

const CONTENT_TYPE_MAX_BYTES: usize = 255;
pub(super) const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

type KeyPath = Result<Path<String>, PathRejection>;

fn key_of(path: KeyPath) -> Result<Key, Problem> {
    let Path(text) = path.map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_key", "the key in the path is not percent-encoded UTF-8")
    })?;
    Key::new(text)
}

/// `GET /v1/kv/{key}`, and HEAD.
pub(crate) async fn get(
    State(door): State<Arc<Door>>,
    Extension(caller): Extension<Caller>,
    path: KeyPath,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let key = key_of(path)?;
    let conditions = Preconditions::from_headers(&headers)?;
    let entry = door.kv.read(&caller.user, &key).await?;
    let version = entry.as_ref().map(|entry| entry.version);
    match (conditions.read_verdict(version), entry) {
        (ReadVerdict::Failed, _) => Err(precondition_failed(version)),
        (_, None) => Err(no_entry()),
        (ReadVerdict::NotModified, Some(entry)) => Ok(not_modified(&entry)),
        (ReadVerdict::Proceed, Some(entry)) => Ok(whole(entry)),
    }
}

fn whole(entry: Entry) -> Response<Body> {
    let content_type =
        HeaderValue::from_str(&entry.content_type).unwrap_or(HeaderValue::from_static(DEFAULT_CONTENT_TYPE));
    let mut response = Response::new(Body::from(entry.value));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::ETAG, etag(entry.version));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // What somebody stored must not act as a page of this server when a browser opens it.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    response
}

fn not_modified(entry: &Entry) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(header::ETAG, etag(entry.version));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// `PUT /v1/kv/{key}`.
pub(crate) async fn put(
    State(door): State<Arc<Door>>,
    Extension(caller): Extension<Caller>,
    path: KeyPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Problem> {
    let key = key_of(path)?;
    let conditions = conditions_of_write(&door, &headers)?;
    let content_type = content_type_of(&headers)?;
    let value = read_body(body, door.settings.value_max_bytes, door.settings.body_time).await?;
    let idempotency = idempotency_of(&headers, "PUT", &key, &value)?;
    let change = Change::Put { value, content_type };
    let write = Write { key, change, conditions, idempotency };
    let written = door.kv.write(&caller.user, &write).await?;
    answer(&write.key, written)
}

/// `DELETE /v1/kv/{key}`.
pub(crate) async fn delete(
    State(door): State<Arc<Door>>,
    Extension(caller): Extension<Caller>,
    path: KeyPath,
    headers: HeaderMap,
) -> Result<Response<Body>, Problem> {
    let key = key_of(path)?;
    let conditions = conditions_of_write(&door, &headers)?;
    let idempotency = idempotency_of(&headers, "DELETE", &key, b"")?;
    let write = Write { key, change: Change::Delete, conditions, idempotency };
    let written = door.kv.write(&caller.user, &write).await?;
    answer(&write.key, written)
}

fn conditions_of_write(door: &Door, headers: &HeaderMap) -> Result<Preconditions, Problem> {
    let conditions = Preconditions::from_headers(headers)?;
    require(door, &conditions)?;
    Ok(conditions)
}

/// 428 where the configuration asks every write for a precondition and this one has none.
pub(super) fn require(door: &Door, conditions: &Preconditions) -> Result<(), Problem> {
    if !door.settings.require_preconditions || !conditions.is_empty() {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::PRECONDITION_REQUIRED,
        "precondition_required",
        "writes need a precondition here (http.require_preconditions)",
    )
    .hint("Send If-Match with the ETag that you read, or If-None-Match: * to create."))
}

fn content_type_of(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(DEFAULT_CONTENT_TYPE.to_owned()) };
    let text = value.to_str().map_err(|_| Problem::bad_request("the Content-Type is not ASCII"))?;
    check_content_type(text)?;
    Ok(text.to_owned())
}

/// # Errors
/// 400: it is too long, or cannot be sent back as a header.
pub(super) fn check_content_type(text: &str) -> Result<(), Problem> {
    if text.len() <= CONTENT_TYPE_MAX_BYTES && text.contains('/') && HeaderValue::from_str(text).is_ok() {
        return Ok(());
    }
    Err(Problem::bad_request("the content type is not of the form type/subtype, in at most 255 bytes"))
}

/// The request's Idempotency-Key, and the digest of everything else that makes it this request.
fn idempotency_of(headers: &HeaderMap, method: &str, key: &Key, body: &[u8]) -> Result<Option<Idempotency>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::bad_request("the header Idempotency-Key is given twice"));
    }
    let text = value.to_str().unwrap_or_default();
    let parts = [header::IF_MATCH, header::IF_NONE_MATCH, header::CONTENT_TYPE]
        .map(|name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b','));
    let [if_match, if_none_match, content_type] = &parts;
    let hashed = [method.as_bytes(), key.as_str().as_bytes(), if_match, if_none_match, content_type, body];
    idempotency(text, &hashed).map(Some)
}

/// A client's idempotency key with the digest of the request's parts.
///
/// # Errors
/// 400: the key is empty, too long, or not printable ASCII.
pub(super) fn idempotency(key: &str, parts: &[&[u8]]) -> Result<Idempotency, Problem> {
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX_BYTES || !key.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    {
        return Err(Problem::bad_request(format!(
            "an Idempotency-Key is 1 to {IDEMPOTENCY_KEY_MAX_BYTES} characters of printable ASCII"
        )));
    }
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    Ok(Idempotency { key: key.to_owned(), request_hash: digest.finalize().into() })
}

fn answer(key: &Key, written: Written) -> Result<Response<Body>, Problem> {
    let replayed = |mut headers: Vec<(HeaderName, HeaderValue)>| {
        if written.replayed {
            headers.push((IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true")));
        }
        headers
    };
    let mut problem = match written.done {
        Done::Created(version) | Done::Replaced(version) => {
            let body = json!({"key": key.as_str(), "version": version.to_string()});
            let mut response = json_response(written.done.status(), &body);
            response.headers_mut().extend(replayed(vec![(header::ETAG, etag(version))]));
            return Ok(response);
        }
        Done::Deleted => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            response.headers_mut().extend(replayed(Vec::new()));
            return Ok(response);
        }
        Done::Missing => no_entry(),
        Done::Failed(version) => precondition_failed(version),
    };
    problem.headers = replayed(std::mem::take(&mut problem.headers));
    Err(problem)
}

pub(super) fn no_entry() -> Problem {
    Problem::not_found("there is no entry with this key")
}

pub(super) fn precondition_failed(version: Option<i64>) -> Problem {
    let problem = |detail| Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail);
    match version {
        Some(version) => problem(format!("the entry's version is {version}"))
            .hint("Read the entry again and decide by its new version.")
            .header(header::ETAG, etag(version)),
        None => problem("there is no entry with this key".to_owned()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    #[serde(default)]
    prefix: String,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// `GET /v1/kv`.
pub(crate) async fn list(
    State(door): State<Arc<Door>>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response<Body>, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let limit = query.limit.unwrap_or(LIST_LIMIT_DEFAULT);
    if !(1..=LIST_LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit is a number from 1 to {LIST_LIMIT_MAX}")));
    }
    if query.prefix.contains('\0') || query.prefix.len() > super::KEY_MAX_BYTES {
        return Err(Problem::bad_request("no key can have this prefix"));
    }
    let after = query.cursor.map(|cursor| parse_cursor(&cursor, &query.prefix)).transpose()?.unwrap_or_default();
    let mut entries = door.kv.list(&caller.user, &query.prefix, &after, limit + 1).await?;
    let more = entries.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if more {
        entries.pop();
    }
    let cursor = entries.last().filter(|_| more).map(|entry| cursor_after(&entry.key));
    let items: Vec<Value> = entries.iter().map(listed).collect();
    Ok(json_response(StatusCode::OK, &json!({"items": items, "next_cursor": cursor})))
}

fn listed(entry: &Listed) -> Value {
    json!({
        "key": entry.key,
        "version": entry.version.to_string(),
        "content_type": entry.content_type,
        "size_bytes": entry.bytes,
        "updated_at": rfc3339(entry.updated_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_differ_in_any_part_have_different_digests() {
        let hash = |parts: &[&[u8]]| idempotency("k", parts).unwrap().request_hash;
        assert_eq!(hash(&[b"PUT", b"a", b""]), hash(&[b"PUT", b"a", b""]));
        assert_ne!(hash(&[b"PUT", b"ab", b""]), hash(&[b"PUT", b"a", b"b"]));
    }

    #[test]
    fn an_idempotency_key_is_short_and_printable() {
        assert!(idempotency(&"k".repeat(IDEMPOTENCY_KEY_MAX_BYTES), &[]).is_ok());
        for bad in ["", "a\tb", "é", &"k".repeat(IDEMPOTENCY_KEY_MAX_BYTES + 1)] {
            assert!(idempotency(bad, &[]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_failed_precondition_tells_the_version_that_is_there() {
        let problem = precondition_failed(Some(1025));
        assert_eq!(problem.status, 412);
        assert!(problem.headers.iter().any(|(name, value)| name == header::ETAG && value == "\"1025\""));
    }

    #[test]
    fn a_content_type_can_be_sent_back() {
        assert!(check_content_type("text/plain; charset=utf-8").is_ok());
        for bad in ["", "text", "text/plain\r\nx: y", &format!("a/{}", "b".repeat(254))] {
            assert!(check_content_type(bad).is_err(), "{bad:?}");
        }
    }
}
