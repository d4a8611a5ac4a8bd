//! `/openapi.json`: the door's paths, for people and generators of clients.
//!
//! Written by hand beside the code it describes; tests hold its paths and methods to the router's and its limits to the
//! constants.
//!
//! <https://spec.openapis.org/oas/v3.1.0>

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::json_response;
use super::kv::{BATCH_ITEMS_MAX, IDEMPOTENCY_KEY_MAX_BYTES, KEY_MAX_BYTES, LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX};
use super::sql::PARAMETERS_MAX;

/// The handler.
pub(super) async fn document() -> Response<Body> {
    json_response(StatusCode::OK, &description())
}

fn description() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "shardd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Key-value entries and SQL over shards. Every error is application/problem+json.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"basic": []}, {"bearer": []}],
        "paths": {
            "/v1/kv": {"get": list()},
            "/v1/kv/{key}": {
                "parameters": [path_key()],
                "get": get(),
                "head": head(),
                "put": put(),
                "delete": delete(),
            },
            "/v1/kv:batch": {"post": batch()},
            "/v1/sql": {"post": sql()},
            "/openapi.json": {"get": {
                "operationId": "describe",
                "summary": "This document",
                "security": [],
                "responses": {"200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}}},
            }},
        },
        "components": {"schemas": schemas(), "headers": headers(), "securitySchemes": {
            "basic": {"type": "http", "scheme": "basic", "description": "The users of the Postgres door."},
            "bearer": {"type": "http", "scheme": "bearer"},
        }},
    })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

fn json_content(schema: &str) -> Value {
    json!({"application/json": {"schema": reference("schemas", schema)}})
}

/// Answers with these statuses, and the problems that any request can meet.
fn responses(own: Value, problems: &[(&str, &str)]) -> Value {
    let mut all: Map<String, Value> = own.as_object().cloned().unwrap_or_default();
    let usual = [
        ("400", "The request is malformed."),
        ("401", "Credentials are missing or wrong."),
        ("503", "Overloaded, or the shard does not answer; try again after Retry-After."),
    ];
    for (status, description) in usual.iter().chain(problems) {
        let content = json!({"application/problem+json": {"schema": reference("schemas", "Problem")}});
        all.insert((*status).to_owned(), json!({"description": description, "content": content}));
    }
    all.insert(
        "default".into(),
        json!({
            "description": "Any other error.",
            "content": {"application/problem+json": {"schema": reference("schemas", "Problem")}},
        }),
    );
    Value::Object(all)
}

fn path_key() -> Value {
    json!({
        "name": "key", "in": "path", "required": true,
        "description": "Percent-encoded UTF-8; / is written %2F. Neither . nor ..; no U+0000.",
        "schema": {"type": "string", "minLength": 1, "maxLength": KEY_MAX_BYTES},
    })
}

fn header_parameter(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "header", "description": description, "schema": {"type": "string"}})
}

fn if_match() -> Value {
    header_parameter("If-Match", "*, or ETags of which one must be the entry's.")
}

fn if_none_match() -> Value {
    header_parameter("If-None-Match", "*, or ETags of which none may be the entry's. With * a PUT only creates.")
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header",
        "description": "Makes a write happen once however often it is sent. Printable ASCII.",
        "schema": {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_MAX_BYTES},
    })
}

fn value_content() -> Value {
    json!({"*/*": {"schema": {"type": "string", "format": "binary"}}})
}

fn etag_header() -> Value {
    json!({"ETag": reference("headers", "ETag")})
}

fn list() -> Value {
    json!({
        "operationId": "listEntries",
        "summary": "Entries in the order of their keys",
        "parameters": [
            {"name": "prefix", "in": "query", "schema": {"type": "string", "maxLength": KEY_MAX_BYTES}},
            {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": LIST_LIMIT_MAX, "default": LIST_LIMIT_DEFAULT}},
            {"name": "cursor", "in": "query", "description": "next_cursor of the page before.", "schema": {"type": "string"}},
        ],
        "responses": responses(json!({"200": {"description": "A page.", "content": json_content("Page")}}), &[]),
    })
}

fn get() -> Value {
    json!({
        "operationId": "getEntry",
        "summary": "An entry's value",
        "parameters": [if_match(), if_none_match()],
        "responses": responses(
            json!({
                "200": {"description": "The value, in the content type that it was put with.", "headers": etag_header(), "content": value_content()},
                "304": {"description": "The client has this version.", "headers": etag_header()},
            }),
            &[("404", "There is no such entry."), ("412", "If-Match does not hold.")],
        ),
    })
}

fn head() -> Value {
    json!({
        "operationId": "headEntry",
        "summary": "An entry's ETag, content type and length",
        "parameters": [if_match(), if_none_match()],
        "responses": {
            "200": {"description": "There is an entry.", "headers": etag_header()},
            "304": {"description": "The client has this version.", "headers": etag_header()},
            "404": {"description": "There is no such entry."},
            "412": {"description": "If-Match does not hold."},
            "default": {"description": "Any other error, told by its status alone."},
        },
    })
}

fn write_problems() -> [(&'static str, &'static str); 5] {
    [
        ("409", "A request with this Idempotency-Key is being worked on, or the write lost to another; try again."),
        ("412", "A precondition does not hold; ETag is the entry's."),
        ("413", "The body is too large."),
        ("422", "The Idempotency-Key was used for another request."),
        ("428", "Writes need a precondition here."),
    ]
}

fn put() -> Value {
    let written = |description: &str| {
        json!({
            "description": description,
            "headers": {"ETag": reference("headers", "ETag"), "Idempotency-Replayed": reference("headers", "IdempotencyReplayed")},
            "content": json_content("Written"),
        })
    };
    json!({
        "operationId": "putEntry",
        "summary": "Create or replace an entry",
        "parameters": [if_match(), if_none_match(), idempotency_key()],
        "requestBody": {"required": true, "description": "Any content type; it is kept.", "content": value_content()},
        "responses": responses(
            json!({"200": written("The entry was replaced."), "201": written("The entry was created.")}),
            &write_problems(),
        ),
    })
}

fn delete() -> Value {
    let problems = [&[("404", "There is no such entry.")][..], &write_problems()].concat();
    json!({
        "operationId": "deleteEntry",
        "summary": "Delete an entry",
        "parameters": [if_match(), if_none_match(), idempotency_key()],
        "responses": responses(
            json!({"204": {"description": "Deleted.", "headers": {"Idempotency-Replayed": reference("headers", "IdempotencyReplayed")}}}),
            &problems,
        ),
    })
}

fn batch() -> Value {
    json!({
        "operationId": "batch",
        "summary": "Many reads and writes, each with its own outcome",
        "description": "Items are independent of each other; those with the same key run in their order.",
        "requestBody": {"required": true, "content": json_content("Batch")},
        "responses": responses(
            json!({"200": {"description": "Every item's outcome, in the order of the items.", "content": json_content("BatchResult")}}),
            &[("413", "The body is too large."), ("415", "The body is not declared as JSON.")],
        ),
    })
}

fn sql() -> Value {
    json!({
        "operationId": "runStatement",
        "summary": "Run one SQL statement",
        "description": "The same engine and rules as the Postgres door's. Each request is a transaction of its own.",
        "requestBody": {"required": true, "content": json_content("Statement")},
        "responses": responses(
            json!({"200": {"description": "The statement's answer.", "content": json_content("Result")}}),
            &[
                ("409", "A conflict with other data or another transaction."),
                ("413", "The body is too large."),
                ("415", "The body is not declared as JSON."),
                ("422", "shardd does not support the statement, a constraint forbids it, or its result is too large."),
                ("504", "The statement took too long."),
            ],
        ),
    })
}

fn headers() -> Value {
    json!({
        "ETag": {"description": "The entry's version in quotes.", "schema": {"type": "string", "examples": ["\"1025\""]}},
        "IdempotencyReplayed": {"description": "true when this is the answer of an earlier request.", "schema": {"type": "string", "const": "true"}},
    })
}

fn schemas() -> Value {
    let mut all = Map::new();
    for part in [schemas_of_entries(), schemas_of_batches(), schemas_of_sql()] {
        all.extend(part.as_object().cloned().unwrap_or_default());
    }
    all.insert("Problem".into(), problem());
    Value::Object(all)
}

fn schemas_of_entries() -> Value {
    json!({
        "Version": {"type": "string", "pattern": "^[0-9]+$", "description": "Grows with every write of the entry, also across deletion."},
        "Written": object(json!({"key": {"type": "string"}, "version": reference("schemas", "Version")}), &["key", "version"]),
        "Page": object(
            json!({
                "items": {"type": "array", "items": reference("schemas", "Listed")},
                "next_cursor": {"type": ["string", "null"], "description": "null on the last page."},
            }),
            &["items", "next_cursor"],
        ),
        "Listed": object(
            json!({
                "key": {"type": "string"},
                "version": reference("schemas", "Version"),
                "content_type": {"type": "string"},
                "size_bytes": {"type": "integer"},
                "updated_at": {"type": "string", "format": "date-time"},
            }),
            &["key", "version", "content_type", "size_bytes", "updated_at"],
        ),
    })
}

fn schemas_of_batches() -> Value {
    json!({
        "Batch": object(
            json!({"items": {"type": "array", "minItems": 1, "maxItems": BATCH_ITEMS_MAX, "items": reference("schemas", "BatchItem")}}),
            &["items"],
        ),
        "BatchItem": batch_item(),
        "BatchResult": object(json!({"items": {"type": "array", "items": reference("schemas", "BatchItemResult")}}), &["items"]),
        "BatchItemResult": object(
            json!({
                "key": {"type": "string"},
                "status": {"type": "integer", "description": "What the request alone would have been answered with."},
                "version": reference("schemas", "Version"),
                "content_type": {"type": "string"},
                "value": {"type": "string", "description": "Of a get, when it is UTF-8."},
                "value_base64": {"type": "string", "description": "Of a get, otherwise."},
                "replayed": {"type": "boolean"},
                "error": reference("schemas", "Problem"),
            }),
            &["key", "status"],
        ),
    })
}

fn schemas_of_sql() -> Value {
    json!({
        "Statement": object(
            json!({
                "statement": {"type": "string", "examples": ["SELECT * FROM events WHERE event_id = $1"]},
                "params": {"type": "array", "maxItems": PARAMETERS_MAX, "items": reference("schemas", "Parameter")},
            }),
            &["statement"],
        ),
        "Parameter": {
            "description": "A value, whose type the statement gives; or a type and a value.",
            "oneOf": [
                {"type": ["null", "boolean", "number", "string", "array"]},
                object(json!({"type": {"type": "string", "examples": ["uuid", "bigint[]"]}, "value": {}}), &["type", "value"]),
            ],
        },
        "Result": object(
            json!({
                "columns": {"type": "array", "items": object(json!({"name": {"type": "string"}, "type": {"type": "string"}}), &["name", "type"])},
                "rows": {"type": "array", "items": {"type": "array", "description": "bigint and numeric are strings; json and jsonb are JSON."}},
                "tag": {"type": "string", "examples": ["SELECT 1"]},
                "row_count": {"type": ["integer", "null"], "description": "Rows returned or written."},
                "notices": {
                    "type": "array",
                    "description": "What the statement warned of; absent when there is nothing.",
                    "items": object(json!({"code": {"type": "string"}, "message": {"type": "string"}}), &["code", "message"]),
                },
            }),
            &["columns", "rows", "tag", "row_count"],
        ),
    })
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn batch_item() -> Value {
    let condition =
        |description: &str| json!({"description": description, "type": ["string", "integer", "array", "null"]});
    object(
        json!({
            "op": {"type": "string", "enum": ["get", "put", "delete"]},
            "key": {"type": "string", "minLength": 1, "maxLength": KEY_MAX_BYTES},
            "value": {"type": "string", "description": "Of a put; stored as UTF-8."},
            "value_base64": {"type": "string", "description": "Of a put, instead of value."},
            "content_type": {"type": "string", "description": "text/plain; charset=utf-8 for value and application/octet-stream for value_base64 unless given."},
            "if_match": condition("\"*\", a version, or versions."),
            "if_none_match": condition("\"*\", a version, or versions."),
            "idempotency_key": {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_MAX_BYTES},
        }),
        &["op", "key"],
    )
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457. Some errors have more members: position, table, column, constraint, outcome.",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string", "description": "A SQLSTATE, or a word for what only HTTP knows."},
            "hint": {"type": "string"},
            "retryable": {"type": "boolean", "description": "Nothing was executed, and the same request may succeed later."},
            "request_id": {"type": "string"},
        },
        "required": ["type", "title", "status", "detail", "code", "retryable"],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::front::http::routes;

    #[test]
    fn it_names_the_routers_paths_and_no_others() {
        let document = description();
        let described: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let routed: BTreeSet<&str> = routes().iter().map(|(path, _)| *path).chain(["/openapi.json"]).collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, document: &Value, seen: &mut usize) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(target)) = members.get("$ref") {
                        let pointer = target.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{target}");
                        *seen += 1;
                    }
                    members.values().for_each(|member| walk(member, document, seen));
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, document, seen)),
                _ => {}
            }
        }
        let document = description();
        let mut seen = 0;
        walk(&document, &document, &mut seen);
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document = description();
        let mut names = BTreeSet::new();
        for operation in document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap()) {
            if let Some(name) = operation.1.get("operationId") {
                assert!(names.insert(name.as_str().unwrap().to_owned()), "{name}");
                assert!(operation.1["responses"].as_object().is_some_and(|responses| !responses.is_empty()));
            }
        }
        assert_eq!(names.len(), 8);
    }
}
