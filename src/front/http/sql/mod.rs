//! `POST /v1/sql`: one statement with parameters, by the same engine and the same rules as the Postgres door's.
//!
//! Every request is a session and, unless the statement needs none, a transaction of its own.

mod parameter;
mod value;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::statement::{Row, Statements, next_batch};
use super::{Caller, Door};
use crate::engine::{Answer, Formats, Identity, OutputColumn, RawParameters, Scope, Session, TransactionStatus};
use crate::error::{Error, Result, SqlState};
use crate::web::{Problem, read_json};
use parameter::{TextParameter, parameter};
use value::{write_string, write_value};

/// As in the Postgres protocol, whose Bind message counts parameters in 16 bits.
pub(super) const PARAMETERS_MAX: usize = 65_535;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    statement: String,
    #[serde(default)]
    params: Vec<Value>,
}

/// What an answer may grow to.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    rows: usize,
    bytes: usize,
}

/// The handler.
pub(super) async fn run(
    State(door): State<Arc<Door>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Problem> {
    let request: Request = read_json(&headers, body, door.settings.body_max_bytes, door.settings.body_time).await?;
    if request.params.len() > PARAMETERS_MAX {
        return Err(Problem::bad_request(format!("a statement has at most {PARAMETERS_MAX} parameters")));
    }
    let parameters: Vec<TextParameter> = request
        .params
        .iter()
        .enumerate()
        .map(|(index, value)| parameter(index + 1, value))
        .collect::<Result<_, _>>()?;
    let identity =
        Identity { user: caller.user.clone(), database: door.settings.database.clone(), door: "http", backend_pid: 0 };
    let bounds = Bounds { rows: door.settings.result_max_rows, bytes: door.settings.result_max_bytes };
    let mut statements = Statements::open(&door.engine, identity, door.settings.request_time)?;
    let body =
        statements.within_time(async |session| answer(session, &request.statement, parameters, bounds).await).await?;
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

async fn answer(session: &mut Session, text: &str, parameters: Vec<TextParameter>, bounds: Bounds) -> Result<Vec<u8>> {
    let statement = match session.split(text)?[..] {
        [one] => one.to_owned(),
        [] => return Err(Error::new(SqlState::SYNTAX_ERROR, "there is no statement in the text")),
        _ => {
            return Err(Error::new(SqlState::SYNTAX_ERROR, "a request holds one statement")
                .hint("Send each statement in a request of its own, or use the Postgres door for transactions."));
        }
    };
    let declared: Vec<u32> =
        parameters.iter().map(|parameter| parameter.data_type.map_or(0, |data_type| data_type.oid())).collect();
    let prepared = session.prepare_once(&statement, &declared).await?;
    if prepared.is_empty() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "there is no statement in the text"));
    }
    if prepared.concerns_its_session_only() {
        return Err(Error::unsupported(
            "a statement about the session over HTTP",
            "Each request is a session of its own, which ends with its answer. Use the Postgres door for SET and PREPARE.",
        ));
    }
    let (expected, given) = (prepared.parameter_count(), parameters.len());
    if expected != given {
        return Err(Error::new(
            SqlState::PROTOCOL_VIOLATION,
            format!("the statement has {expected} parameters, and params has {given} values"),
        ));
    }
    let values = parameters.into_iter().map(|parameter| parameter.text.map(Bytes::from)).collect();
    let raw = RawParameters { formats: Vec::new(), values };
    let answer = session.execute(&prepared, raw, Formats::AllText, Scope::Alone).await?;
    if session.status() != TransactionStatus::Idle {
        // The session ends with the request, and the transaction with the session.
        return Err(Error::unsupported(
            "a transaction over HTTP",
            "Each request is a transaction of its own. Use the Postgres door for BEGIN.",
        ));
    }
    let notices = session.take_notices();
    write(answer, &notices, bounds).await
}

async fn write(mut answer: Answer, notices: &[Error], bounds: Bounds) -> Result<Vec<u8>> {
    let mut writer = Writer::new(answer.columns.clone().unwrap_or_default(), bounds);
    while let Some(rows) = next_batch(&mut answer).await? {
        for row in &rows {
            writer.row(row, answer.tag)?;
        }
    }
    let tag = answer.tag(writer.rows as u64);
    Ok(writer.finish(&tag, notices))
}

/// Writes an answer as JSON while its rows come.
struct Writer {
    out: Vec<u8>,
    columns: Arc<[OutputColumn]>,
    bounds: Bounds,
    rows: usize,
}

impl Writer {
    fn new(columns: Arc<[OutputColumn]>, bounds: Bounds) -> Writer {
        let mut out = b"{\"columns\":[".to_vec();
        for (index, column) in columns.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{\"name\":" } else { b",{\"name\":" });
            write_string(&mut out, &column.name);
            out.extend_from_slice(b",\"type\":");
            write_string(&mut out, column.data_type.sql_name());
            out.push(b'}');
        }
        out.extend_from_slice(b"],\"rows\":[");
        Writer { out, columns, bounds, rows: 0 }
    }

    fn row(&mut self, row: &Row, tag: &str) -> Result<()> {
        if self.rows == self.bounds.rows || self.out.len() > self.bounds.bytes {
            return Err(too_large(self.bounds, tag));
        }
        self.out.extend_from_slice(if self.rows == 0 { b"[" } else { b",[" });
        for (index, (value, column)) in row.0.iter().zip(self.columns.iter()).enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write_value(&mut self.out, column.data_type, value.as_deref());
        }
        self.out.push(b']');
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self, tag: &str, notices: &[Error]) -> Vec<u8> {
        self.out.extend_from_slice(b"],\"tag\":");
        write_string(&mut self.out, tag);
        let count = row_count(tag);
        self.out.extend_from_slice(format!(",\"row_count\":{count}").as_bytes());
        if !notices.is_empty() {
            let notice = |notice: &Error| json!({"code": notice.sqlstate().code(), "message": notice.message()});
            let notices: Vec<Value> = notices.iter().map(notice).collect();
            self.out.extend_from_slice(format!(",\"notices\":{}", Value::Array(notices)).as_bytes());
        }
        self.out.push(b'}');
        self.out
    }
}

/// The number at the end of a command tag; `null` for a tag without one.
fn row_count(tag: &str) -> String {
    let number = tag.rsplit(' ').next().and_then(|word| word.parse::<u64>().ok());
    number.map_or_else(|| "null".to_owned(), |number| number.to_string())
}

fn too_large(bounds: Bounds, tag: &str) -> Error {
    let Bounds { rows, bytes } = bounds;
    let error = Error::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("the result is larger than the {rows} rows or {bytes} bytes that an answer over HTTP may have"),
    )
    .hint("Add LIMIT, ask by key, or use the Postgres door, which streams.");
    match tag {
        "SELECT" => error,
        _ => error
            .detail("The statement was executed and its effect is committed; only its rows are too many to return."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PgType;

    fn writer(bounds: Bounds) -> Writer {
        let name = "n".to_owned();
        let column =
            OutputColumn { name, data_type: PgType::Int8, modifier: -1, table_oid: 0, attribute: 0, foreign: None };
        Writer::new([column].into(), bounds)
    }

    fn row(text: &'static str) -> Row {
        Row(vec![Some(Bytes::from_static(text.as_bytes()))])
    }

    #[test]
    fn an_answer_has_columns_rows_tag_and_count() {
        let mut writer = writer(Bounds { rows: 2, bytes: 1000 });
        writer.row(&row("1"), "SELECT").unwrap();
        writer.row(&row("2"), "SELECT").unwrap();
        let json = String::from_utf8(writer.finish("SELECT 2", &[])).unwrap();
        let expected =
            r#"{"columns":[{"name":"n","type":"bigint"}],"rows":[["1"],["2"]],"tag":"SELECT 2","row_count":2}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn what_a_statement_warned_of_is_told() {
        let notices = [Error::new(SqlState::DUPLICATE_TABLE, "relation \"a\" already exists, skipping")];
        let json: Value =
            serde_json::from_slice(&writer(Bounds { rows: 1, bytes: 1000 }).finish("CREATE TABLE", &notices)).unwrap();
        assert_eq!(json["row_count"], Value::Null);
        assert_eq!(json["notices"], json!([{"code": "42P07", "message": "relation \"a\" already exists, skipping"}]));
    }

    #[test]
    fn a_result_past_its_bounds_is_an_error() {
        let mut rows = writer(Bounds { rows: 1, bytes: 1000 });
        rows.row(&row("1"), "SELECT").unwrap();
        let error = rows.row(&row("2"), "SELECT").unwrap_err();
        assert_eq!((error.sqlstate(), error.get_detail()), (SqlState::PROGRAM_LIMIT_EXCEEDED, None));
        let mut bytes = writer(Bounds { rows: 1000, bytes: 60 });
        let error = (0..100).find_map(|_| bytes.row(&row("12345678"), "SELECT").err()).unwrap();
        assert_eq!(error.sqlstate(), SqlState::PROGRAM_LIMIT_EXCEEDED);
    }

    #[test]
    fn a_write_whose_rows_are_too_many_says_that_it_happened() {
        let error = too_large(Bounds { rows: 1, bytes: 1 }, "INSERT 0");
        assert!(error.get_detail().unwrap().contains("committed"));
    }

    #[test]
    fn a_count_is_read_from_the_tag() {
        assert_eq!(row_count("INSERT 0 3"), "3");
        assert_eq!(row_count("CREATE TABLE"), "null");
    }
}
