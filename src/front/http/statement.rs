//! A request's own session, and its statements with a deadline.
//!
//! A request that takes too long is ended through the session's cancel handle rather than by dropping it, so that the
//! client learns whether its write happened.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, timeout, timeout_at};

use crate::engine::{Answer, Engine, Formats, Identity, RawParameters, RowBatch, Scope, Session};
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::types::{Format, PgType};

/// How long a canceled statement may take to say how it ended.
const CANCEL_GRACE: Duration = Duration::from_secs(2);
/// A statement that was between two waits when it was canceled has to be told again.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

/// A typed parameter of one of shardd's own statements.
#[derive(Clone, Debug)]
pub(super) enum Parameter {
    Text(String),
    Bytea(Bytes),
    Bigint(i64),
    /// Microseconds since 2000-01-01 UTC.
    Timestamptz(i64),
}

impl Parameter {
    pub(super) fn text(value: impl Into<String>) -> Parameter {
        Parameter::Text(value.into())
    }

    fn data_type(&self) -> PgType {
        match self {
            Parameter::Text(_) => PgType::Text,
            Parameter::Bytea(_) => PgType::Bytea,
            Parameter::Bigint(_) => PgType::Int8,
            Parameter::Timestamptz(_) => PgType::Timestamptz,
        }
    }

    fn into_binary(self) -> Bytes {
        match self {
            Parameter::Text(text) => Bytes::from(text),
            Parameter::Bytea(bytes) => bytes,
            Parameter::Bigint(value) | Parameter::Timestamptz(value) => Bytes::copy_from_slice(&value.to_be_bytes()),
        }
    }
}

/// A row's values, each in the format that was asked for; `None` is NULL.
#[derive(Debug, PartialEq)]
pub(super) struct Row(pub(super) Vec<Option<Bytes>>);

impl Row {
    fn value(&self, column: usize) -> Result<&Bytes> {
        self.0.get(column).and_then(Option::as_ref).ok_or_else(|| malformed(column))
    }

    /// # Errors
    /// The column is not a bigint in binary format: a defect.
    pub(super) fn bigint(&self, column: usize) -> Result<i64> {
        let bytes = self.value(column)?.as_ref().try_into().map_err(|_| malformed(column))?;
        Ok(i64::from_be_bytes(bytes))
    }

    /// # Errors
    /// The column is not an integer in binary format: a defect.
    pub(super) fn integer(&self, column: usize) -> Result<i32> {
        let bytes = self.value(column)?.as_ref().try_into().map_err(|_| malformed(column))?;
        Ok(i32::from_be_bytes(bytes))
    }

    /// # Errors
    /// The column is not text: a defect.
    pub(super) fn text(&self, column: usize) -> Result<String> {
        String::from_utf8(self.value(column)?.to_vec()).map_err(|_| malformed(column))
    }

    /// # Errors
    /// The column is NULL: a defect.
    pub(super) fn bytes(&self, column: usize) -> Result<Bytes> {
        self.value(column).cloned()
    }
}

fn malformed(column: usize) -> Error {
    Error::internal(format!("column {column} of an answer is not what its statement asked for"))
}

/// Cuts a batch of DataRow frames into rows, without copying values.
///
/// # Errors
/// A frame is malformed: a defect.
pub(super) fn rows_of(batch: RowBatch) -> Result<Vec<Row>> {
    let mut frames = batch.frames.freeze();
    let mut rows = Vec::with_capacity(batch.rows);
    while !frames.is_empty() {
        rows.push(next_row(&mut frames).ok_or_else(|| Error::internal("a row is malformed"))?);
    }
    Ok(rows)
}

fn next_row(frames: &mut Bytes) -> Option<Row> {
    const HEAD_BYTES: usize = 5;
    if frames.len() < HEAD_BYTES || frames.get_u8() != b'D' {
        return None;
    }
    let length = usize::try_from(frames.get_i32()).ok()?.checked_sub(4).filter(|length| *length <= frames.len())?;
    let mut body = frames.split_to(length);
    let columns = usize::try_from(body.try_get_i16().ok()?).ok()?;
    let mut values = Vec::with_capacity(columns);
    for _ in 0..columns {
        let length = body.try_get_i32().ok()?;
        match usize::try_from(length) {
            Ok(length) if length <= body.len() => values.push(Some(body.split_to(length))),
            Ok(_) => return None,
            Err(_) => values.push(None),
        }
    }
    body.is_empty().then_some(Row(values))
}

/// One request's session and the time by which it has to be done.
pub(super) struct Statements {
    pub(super) session: Session,
    deadline: Instant,
    limit: Duration,
}

impl Statements {
    /// # Errors
    /// The engine refuses the session.
    pub(super) fn open(engine: &Arc<Engine>, identity: Identity, limit: Duration) -> Result<Statements> {
        // Times are told in UTC, whatever the server's zone.
        let settings = [("TimeZone".to_owned(), "UTC".to_owned())];
        let session = engine.session(identity, &settings)?;
        Ok(Statements { session, deadline: Instant::now() + limit, limit })
    }

    /// Runs one of shardd's own statements and takes all its rows, in binary.
    ///
    /// # Errors
    /// The statement failed, or the request's time is over.
    pub(super) async fn rows(&mut self, text: &str, parameters: Vec<Parameter>) -> Result<Vec<Row>> {
        let declared: Vec<_> = parameters.iter().map(|parameter| parameter.data_type().oid()).collect();
        let values = parameters.into_iter().map(|parameter| Some(parameter.into_binary())).collect();
        let raw = RawParameters { formats: vec![Format::Binary], values };
        self.within_time(async |session| {
            let prepared = session.prepare_once(text, &declared).await?;
            let mut answer = session.execute(&prepared, raw, Formats::AllBinary, Scope::Alone).await?;
            let mut rows = Vec::new();
            while let Some(batch) = answer.next().await? {
                rows.extend(rows_of(batch)?);
            }
            Ok(rows)
        })
        .await
    }

    /// Ends an open transaction without its effects. An error here changes nothing: dropping the session does the same.
    pub(super) async fn roll_back(&mut self) {
        let _ = self.rows("ROLLBACK", Vec::new()).await;
    }

    /// Runs `work`, and cancels it when the request's time is over.
    ///
    /// # Errors
    /// What `work` failed with; 57014 when it was canceled; 40003 when it did not say in time how it ended.
    pub(super) async fn within_time<T>(&mut self, work: impl AsyncFnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let (deadline, limit) = (self.deadline, self.limit);
        let handle = self.session.cancel_handle();
        let mut running = pin!(work(&mut self.session));
        if let Ok(result) = timeout_at(deadline, running.as_mut()).await {
            return result;
        }
        let result = cancel_until_ended(running.as_mut(), || handle.cancel()).await;
        match result {
            Some(Err(error)) if error.sqlstate() == SqlState::QUERY_CANCELED => Err(too_slow(limit)),
            Some(result) => result,
            None => Err(outcome_unknown(limit)),
        }
    }
}

async fn cancel_until_ended<F: Future>(mut running: std::pin::Pin<&mut F>, cancel: impl Fn()) -> Option<F::Output> {
    let give_up = Instant::now() + CANCEL_GRACE;
    while Instant::now() < give_up {
        cancel();
        if let Ok(result) = timeout(CANCEL_AGAIN, running.as_mut()).await {
            return Some(result);
        }
    }
    None
}

fn too_slow(limit: Duration) -> Error {
    Error::new(SqlState::QUERY_CANCELED, format!("the request took more than {} seconds", limit.as_secs()))
        .detail("It was canceled; it changed nothing.")
        .hint("Ask for less at once, or raise the HTTP door's request timeout in shardd's configuration.")
        .fault(Fault::Proxy)
}

fn outcome_unknown(limit: Duration) -> Error {
    Error::new(
        SqlState::STATEMENT_COMPLETION_UNKNOWN,
        format!("the request took more than {} seconds and did not end when it was canceled", limit.as_secs()),
    )
    .detail("If it wrote, it is not known whether the write happened.")
    .hint("Read before writing again, or send writes with an Idempotency-Key.")
    .fault(Fault::Shard)
    .retry(Retry::Unknown)
}

/// Takes an answer's rows one batch at a time, within the request's time.
pub(super) async fn next_batch(answer: &mut Answer) -> Result<Option<Vec<Row>>> {
    answer.next().await?.map(rows_of).transpose()
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};

    use super::*;

    fn frame(values: &[Option<&[u8]>]) -> BytesMut {
        let mut body = BytesMut::new();
        body.put_i16(i16::try_from(values.len()).unwrap());
        for value in values {
            body.put_i32(value.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap()));
            body.put_slice(value.unwrap_or_default());
        }
        let mut frame = BytesMut::new();
        frame.put_u8(b'D');
        frame.put_i32(i32::try_from(body.len() + 4).unwrap());
        frame.put_slice(&body);
        frame
    }

    #[test]
    fn frames_become_rows() {
        let mut frames = frame(&[Some(&7_i64.to_be_bytes()), None, Some(b"")]);
        frames.extend_from_slice(&frame(&[Some(b"x")]));
        let rows = rows_of(RowBatch { frames, rows: 2 }).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].bigint(0), Ok(7));
        assert_eq!(rows[0].0[1], None);
        assert_eq!(rows[0].text(2), Ok(String::new()));
        assert_eq!(rows[1].text(0), Ok("x".to_owned()));
        assert!(rows[1].bigint(0).is_err());
    }

    #[test]
    fn a_malformed_frame_is_an_error() {
        let whole = frame(&[Some(b"abc"), None]);
        for cut in 1..whole.len() {
            let frames = BytesMut::from(&whole[..cut]);
            assert!(rows_of(RowBatch { frames, rows: 1 }).is_err(), "{cut}");
        }
    }
}
