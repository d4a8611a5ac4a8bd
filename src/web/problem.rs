//! Errors as `application/problem+json`.
//!
//! <https://www.rfc-editor.org/rfc/rfc9457>

use std::ops::{Deref, DerefMut};

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use crate::error::{Error, Retry, SqlState};

/// The content type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// After how many seconds a client may knock again when shardd is overloaded or starting.
const RETRY_AFTER_SECONDS: u64 = 1;

/// What went wrong with a request, as its client is told. One pointer wide, so that it is cheap in a `Result`.
#[derive(Clone, Debug)]
pub struct Problem(Box<ProblemFields>);

/// What a [`Problem`] says.
#[derive(Clone, Debug)]
pub struct ProblemFields {
    pub status: StatusCode,
    /// A SQLSTATE, or a word for what only HTTP knows: `precondition_failed`.
    pub code: String,
    pub title: String,
    pub detail: String,
    pub hint: Option<String>,
    /// Nothing was executed, and the same request may succeed later.
    pub retryable: bool,
    /// More members: `position`, `constraint`.
    pub extensions: Map<String, Value>,
    pub headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl Deref for Problem {
    type Target = ProblemFields;

    fn deref(&self) -> &ProblemFields {
        &self.0
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut ProblemFields {
        &mut self.0
    }
}

impl Problem {
    /// A problem of HTTP itself. `code` is one of those in `docs/errors.md`.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem(Box::new(ProblemFields {
            status,
            code: code.to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            detail: detail.into(),
            hint: None,
            retryable: false,
            extensions: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// 400, for a request that cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 503, for what was turned away before anything was done.
    pub fn overloaded(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_later()
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    #[must_use]
    pub fn extension(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// Says that the request may be sent again, after a moment.
    #[must_use]
    pub fn retry_later(mut self) -> Problem {
        self.retryable = true;
        self.header(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS))
    }

    /// What a body names: without the request's id, which the frame adds.
    pub fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("type".into(), json!(format!("urn:shardd:problem:{}", self.code)));
        body.insert("title".into(), json!(self.title));
        body.insert("status".into(), json!(self.status.as_u16()));
        body.insert("detail".into(), json!(self.detail));
        body.insert("code".into(), json!(self.code));
        if let Some(hint) = &self.hint {
            body.insert("hint".into(), json!(hint));
        }
        body.insert("retryable".into(), json!(self.retryable));
        body.extend(self.extensions.clone());
        body
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let state = error.sqlstate();
        let status = status_of(state);
        let detail = match error.get_detail() {
            Some(detail) => format!("{}\n{detail}", error.message()),
            None => error.message().to_owned(),
        };
        let mut problem = Problem::new(status, "", detail);
        problem.code = state.code().to_owned();
        problem.hint = error.get_hint().map(str::to_owned);
        problem.retryable = error.get_retry() == Retry::Safe;
        if error.get_retry() == Retry::Unknown {
            problem = problem.extension("outcome", "unknown");
        }
        let members = [
            ("position", error.get_position().map(Value::from)),
            ("table", error.get_table().map(Value::from)),
            ("column", error.get_column().map(Value::from)),
            ("constraint", error.get_constraint().map(Value::from)),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                problem = problem.extension(name, value);
            }
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            problem.header(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS))
        } else {
            problem
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        for (name, value) in &self.headers {
            response.headers_mut().insert(name, value.clone());
        }
        // The frame writes the body, when it knows the request's id.
        response.extensions_mut().insert(self);
        response
    }
}

/// The HTTP status that stands for a SQLSTATE. `docs/errors.md` shows this table; a test compares them.
pub(super) fn status_of(state: SqlState) -> StatusCode {
    match state {
        SqlState::FEATURE_NOT_SUPPORTED => StatusCode::UNPROCESSABLE_ENTITY,
        SqlState::PROTOCOL_VIOLATION => StatusCode::BAD_REQUEST,
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN | SqlState::STATEMENT_COMPLETION_UNKNOWN => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        SqlState::UNIQUE_VIOLATION | SqlState::FOREIGN_KEY_VIOLATION => StatusCode::CONFLICT,
        SqlState::DUPLICATE_TABLE | SqlState::DUPLICATE_OBJECT | SqlState::DEPENDENT_OBJECTS_STILL_EXIST => {
            StatusCode::CONFLICT
        }
        SqlState::READ_ONLY_SQL_TRANSACTION | SqlState::INSUFFICIENT_PRIVILEGE => StatusCode::FORBIDDEN,
        SqlState::CANT_CHANGE_RUNTIME_PARAM => StatusCode::BAD_REQUEST,
        SqlState::DISK_FULL => StatusCode::INSUFFICIENT_STORAGE,
        SqlState::QUERY_CANCELED => StatusCode::GATEWAY_TIMEOUT,
        other => match &other.code()[..2] {
            // 53400 is a bound of shardd's own: the same request meets it again.
            "53" if other == SqlState::CONFIGURATION_LIMIT_EXCEEDED => StatusCode::UNPROCESSABLE_ENTITY,
            "08" | "53" | "57" => StatusCode::SERVICE_UNAVAILABLE,
            "23" | "44" | "54" => StatusCode::UNPROCESSABLE_ENTITY,
            "25" | "40" | "55" => StatusCode::CONFLICT,
            "28" => StatusCode::UNAUTHORIZED,
            "58" | "XX" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    #[test]
    fn a_failed_statement_keeps_its_code_hint_and_position() {
        let error = Error::new(SqlState::UNDEFINED_COLUMN, "column \"x\" does not exist").hint("Check it.").position(8);
        let problem = Problem::from(error);
        let body = problem.body();
        assert_eq!(problem.status, StatusCode::BAD_REQUEST);
        assert_eq!(body["code"], "42703");
        assert_eq!(body["type"], "urn:shardd:problem:42703");
        assert_eq!(body["hint"], "Check it.");
        assert_eq!(body["position"], 8);
        assert_eq!(body["retryable"], false);
    }

    #[test]
    fn overload_asks_to_come_back() {
        let error = Error::new(SqlState::TOO_MANY_CONNECTIONS, "too many statements wait for shard s1")
            .fault(Fault::Shard)
            .retry(Retry::Safe);
        let problem = Problem::from(error);
        assert_eq!(problem.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(problem.retryable);
        assert!(problem.headers.iter().any(|(name, value)| name == header::RETRY_AFTER && value == "1"));
    }

    #[test]
    fn an_unknown_outcome_is_not_retryable_and_says_so() {
        let error = Error::new(SqlState::STATEMENT_COMPLETION_UNKNOWN, "lost").retry(Retry::Unknown);
        let body = Problem::from(error).body();
        assert_eq!(body["retryable"], false);
        assert_eq!(body["outcome"], "unknown");
        assert_eq!(body["status"], 500);
    }

    const REFERENCE: &str = include_str!("../../docs/errors.md");

    /// The rows of the reference's tables whose first cell is this code.
    fn rows_of(code: &str) -> Vec<Vec<&'static str>> {
        let begins = [format!("| {code} |"), format!("| `{code}` |")];
        let lines = REFERENCE.lines().filter(|line| begins.iter().any(|begin| line.starts_with(begin)));
        lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
    }

    #[test]
    fn the_reference_has_every_sqlstate_with_its_status() {
        let source = include_str!("../error.rs");
        let states = source.lines().filter_map(|line| line.trim().strip_suffix("\";")?.split_once(" = \""));
        let mut count = 0;
        for (name, code) in states {
            let rows = rows_of(code);
            assert_eq!(rows.len(), 1, "docs/errors.md should have one line for {code}");
            let status = status_of(SqlState::from_code(code)).as_u16().to_string();
            assert_eq!((rows[0][1], rows[0][2]), (name.to_lowercase().as_str(), status.as_str()), "{code}");
            count += 1;
        }
        assert!(count > 80, "{count}");
    }

    #[test]
    fn the_reference_has_every_code_of_the_http_doors() {
        let mut count = 0;
        let mut directories = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(directory) = directories.pop() {
            for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                for made in code.split("Problem::new(").skip(1) {
                    let word = made.split('"').nth(1).unwrap_or_default();
                    if made.trim_start().starts_with("status") && word.is_empty() {
                        continue;
                    }
                    assert_eq!(rows_of(word).len(), 1, "{} gives {word:?}", path.display());
                    count += 1;
                }
            }
        }
        assert!(count > 10, "{count}");
    }
}
