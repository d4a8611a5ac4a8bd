//! Statements over one connection: what is sent for one, and how its answer is waited for.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

use super::backend::Backend;
use super::call::{Call, Way};
use super::exchange::{Exchange, Progress};
use super::program::Description;
use super::session_state::SessionSettings;
use super::told::{Told, tell};
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::shard::{CancelFlag, Formats, RowBatch};
use crate::types::Format;
use crate::wire::backend::Readiness;
use crate::wire::request::{self, Values};
use crate::wire::response;

/// How long a shard may take to end a statement that it was told to cancel. Past it the client is answered, and the
/// connection is given up.
const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// How long a COMMIT whose client has given up may still take: no server can take one back.
const COMMIT_GRACE: Duration = Duration::from_secs(5);

/// Makes the connection's settings the session's. Nothing is sent in the usual case.
///
/// # Errors
/// The shard refuses a setting.
pub(super) async fn attach(
    backend: &mut Backend,
    settings: &Arc<SessionSettings>,
    cancel: &CancelFlag,
    shard: &str,
) -> Result<()> {
    if let Some(text) = backend.state.changes_to(settings) {
        backend.state.is_told(settings);
        request::query(&mut backend.output, &text);
        let mut exchange = Exchange::new(None);
        finish(backend, &mut exchange, cancel, shard).await?;
    }
    backend.state.has_settings(settings);
    Ok(())
}

/// Writes what is sent for a statement, after `begin` in the same exchange.
pub(super) fn write(backend: &mut Backend, call: &Call, begin: Option<&'static str>) -> Exchange {
    let exchange = Exchange::new(Some(Arc::clone(&call.program)));
    match (&call.way, begin) {
        (Way::Simple, None) => {
            request::query(&mut backend.output, &call.text);
            exchange
        }
        (Way::Simple, Some(begin)) => {
            write_begin(backend, begin);
            request::parse(&mut backend.output, "", &call.text, &[]);
            write_run(backend, "", Values { formats: &[], values: &[] }, &call.formats, true);
            exchange.after(1)
        }
        (Way::Extended { type_oids, parameters, name }, begin) => {
            let mut exchange = exchange;
            if let Some(begin) = begin {
                write_begin(backend, begin);
                exchange = exchange.after(1);
            }
            let name = match name {
                None => {
                    request::parse(&mut backend.output, "", &call.text, type_oids);
                    ""
                }
                Some(name) => {
                    if !backend.state.has(name.number) {
                        if let Some(number) = backend.state.make_room() {
                            request::close_statement(&mut backend.output, &format!("shardd_{number}"));
                            exchange = exchange.closing(number);
                        }
                        request::parse(&mut backend.output, &name.text, &call.text, type_oids);
                        exchange = exchange.preparing(name.number);
                    }
                    name.text.as_str()
                }
            };
            let values = Values { formats: &parameters.formats, values: &parameters.values };
            let describe = call.program.described_each_time || call.program.description().is_none();
            write_run(backend, name, values, &call.formats, describe);
            exchange
        }
    }
}

/// Writes the Parse, Bind and Execute of a statement that begins transactions. There are few such, which are put into messages
/// once.
pub(super) fn write_begin(backend: &mut Backend, begin: &'static str) {
    BEGINNINGS.with_borrow_mut(|known| {
        if let Some((_, messages)) = known.iter().find(|(text, _)| std::ptr::eq(*text, begin)) {
            return backend.output.extend_from_slice(messages);
        }
        let mut messages = BytesMut::new();
        request::parse(&mut messages, "", begin, &[]);
        request::bind(&mut messages, "", Values { formats: &[], values: &[] }, &[]);
        request::execute(&mut messages);
        backend.output.extend_from_slice(&messages);
        known.push((begin, messages.freeze()));
    });
}

thread_local! {
    static BEGINNINGS: RefCell<Vec<(&'static str, Bytes)>> = const { RefCell::new(Vec::new()) };
}

fn write_run(backend: &mut Backend, name: &str, values: Values<'_>, formats: &Formats, describe: bool) {
    let formats: &[Format] = match formats {
        Formats::AllText => &[],
        Formats::AllBinary => &[Format::Binary],
        Formats::Each(formats) => formats,
    };
    request::bind(&mut backend.output, name, values, formats);
    if describe {
        request::describe_portal(&mut backend.output);
    }
    request::execute(&mut backend.output);
    request::sync(&mut backend.output);
}

/// Runs a plain text that returns no rows.
///
/// # Errors
/// The shard's error, or the connection was lost.
pub(super) async fn run_plain(
    backend: &mut Backend,
    text: &str,
    cancel: &CancelFlag,
    shard: &str,
) -> Result<Readiness> {
    request::query(&mut backend.output, text);
    let mut exchange = Exchange::new(None);
    finish(backend, &mut exchange, cancel, shard).await
}

/// The same, with what the shard has to say about it.
///
/// # Errors
/// As [`run_plain`].
pub(super) async fn run_told(
    backend: &mut Backend,
    text: &str,
    cancel: &CancelFlag,
    shard: &str,
) -> Result<Vec<Error>> {
    request::query(&mut backend.output, text);
    let mut exchange = Exchange::new(None);
    finish(backend, &mut exchange, cancel, shard).await?;
    Ok(exchange.notices)
}

/// Runs what ends a transaction other than by ROLLBACK, to which a server may answer that it has rolled it back all the same.
///
/// # Errors
/// The shard's error, or that it was rolled back; or the connection was lost.
pub(super) async fn run_through(
    backend: &mut Backend,
    text: &str,
    cancel: &CancelFlag,
    shard: &str,
    told: Option<&Told>,
) -> Result<()> {
    request::query(&mut backend.output, text);
    let mut exchange = Exchange::new(None);
    let status = finish(backend, &mut exchange, cancel, shard).await;
    tell(told, &mut exchange.notices);
    let status = status?;
    if exchange.rolled_back || status != Readiness::Idle {
        let message = format!("shard \"{shard}\" has rolled the transaction back");
        return Err(Error::new(SqlState::IN_FAILED_SQL_TRANSACTION, message).fault(Fault::Shard).retry(Retry::Safe));
    }
    Ok(())
}

/// Asks what a statement takes and returns.
///
/// # Errors
/// The shard cannot parse it, or the connection was lost.
pub(super) async fn describe(
    backend: &mut Backend,
    text: &str,
    type_oids: &[u32],
    cancel: &CancelFlag,
    shard: &str,
) -> Result<Description> {
    request::parse(&mut backend.output, "", text, type_oids);
    request::describe_statement(&mut backend.output, "");
    request::sync(&mut backend.output);
    let mut exchange = Exchange::new(None);
    finish(backend, &mut exchange, cancel, shard).await?;
    Ok(exchange.description())
}

/// The rows of a plain text, as texts.
///
/// # Errors
/// The shard's error, or the connection was lost.
pub(super) async fn rows_of(
    backend: &mut Backend,
    text: &str,
    cancel: &CancelFlag,
    shard: &str,
) -> Result<Vec<Vec<Option<String>>>> {
    rows_in(&mut Exchange::new(None), backend, text, cancel, shard).await
}

/// The same, of a text that is all of this exchange.
///
/// # Errors
/// As [`rows_of`].
pub(super) async fn rows_in(
    exchange: &mut Exchange,
    backend: &mut Backend,
    text: &str,
    cancel: &CancelFlag,
    shard: &str,
) -> Result<Vec<Vec<Option<String>>>> {
    request::query(&mut backend.output, text);
    let mut all = Vec::new();
    send(backend, cancel, shard).await?;
    while !exchange.ended() {
        let mut rows = RowBatch::default();
        proceed(backend, exchange, &mut rows, cancel, shard).await?;
        for frame in rows.row_frames() {
            let values = response::data_row(frame)?.into_iter();
            all.push(values.map(|value| value.map(|value| String::from_utf8_lossy(value).into_owned())).collect());
        }
    }
    match exchange.error.take() {
        Some(error) => Err(error),
        None => Ok(all),
    }
}

/// Takes an exchange to its end. Its rows are dropped.
///
/// # Errors
/// The shard's error, or the connection was lost.
async fn finish(backend: &mut Backend, exchange: &mut Exchange, cancel: &CancelFlag, shard: &str) -> Result<Readiness> {
    backend.due += 1;
    finish_sent(backend, exchange, cancel, shard).await
}

/// The same for an exchange that has begun.
///
/// # Errors
/// As [`finish`].
pub(super) async fn finish_sent(
    backend: &mut Backend,
    exchange: &mut Exchange,
    cancel: &CancelFlag,
    shard: &str,
) -> Result<Readiness> {
    let mut rows = RowBatch::default();
    send_rest(backend, cancel, shard).await?;
    while !exchange.ended() {
        proceed(backend, exchange, &mut rows, cancel, shard).await?;
        rows = RowBatch::default();
    }
    match exchange.error.take() {
        Some(error) => Err(error),
        None => Ok(exchange.status.unwrap_or(Readiness::InFailedTransaction)),
    }
}

/// Waits until the shard takes rows, or has refused to.
///
/// # Errors
/// The connection was lost.
pub(super) async fn until_rows_are_taken(
    backend: &mut Backend,
    exchange: &mut Exchange,
    cancel: &CancelFlag,
    shard: &str,
) -> Result<()> {
    let mut rows = RowBatch::default();
    while exchange.advance(backend, &mut rows)? == Progress::Going {
        fill(backend, exchange, cancel, shard).await?;
    }
    Ok(())
}

/// Waits for the answer to COMMIT, which was written. A client that gives up meanwhile is not followed at once: only the
/// answer tells what became of its work.
///
/// # Errors
/// The shard's error, or the connection was lost, or the answer is too late.
pub(super) async fn commit(
    backend: &mut Backend,
    cancel: &CancelFlag,
    shard: &str,
    told: Option<&Told>,
) -> Result<Readiness> {
    let never = CancelFlag::new();
    let committed = async {
        let mut exchange = Exchange::new(None);
        let committed = finish_sent(backend, &mut exchange, &never, shard).await;
        tell(told, &mut exchange.notices);
        committed
    };
    let given_up = async {
        let reason = cancel.raised().await;
        tokio::time::sleep(COMMIT_GRACE).await;
        unanswered(&reason, shard)
    };
    tokio::select! {
        biased;
        committed = committed => committed,
        reason = given_up => Err(reason),
    }
}

/// Sends what was written, which ends in one Sync or is one simple query.
///
/// # Errors
/// The connection was lost. The error is [`Retry::Safe`] where nothing can have been executed: the shard got none of it, or
/// too little.
pub(super) async fn send(backend: &mut Backend, cancel: &CancelFlag, shard: &str) -> Result<()> {
    backend.due += 1;
    send_rest(backend, cancel, shard).await
}

/// The same for an exchange that has begun.
///
/// # Errors
/// As [`send`].
pub(super) async fn send_rest(backend: &mut Backend, cancel: &CancelFlag, shard: &str) -> Result<()> {
    let whole = backend.output.len();
    let flushed = tokio::select! {
        biased;
        flushed = backend.flush() => flushed,
        reason = cancel.raised() => match tokio::time::timeout(CANCEL_GRACE, backend.flush()).await {
            Ok(flushed) => flushed,
            // It never got the end, and so has executed nothing that lasts.
            Err(_) => return Err(unanswered(&reason, shard).retry(Retry::Safe)),
        },
    };
    flushed.map_err(|error| {
        let unsent = backend.output.len() == whole;
        lost(shard, &error, None).retry(if unsent { Retry::Safe } else { Retry::Unknown })
    })
}

/// Waits for more of an exchange: until there are rows, or it has ended.
///
/// # Errors
/// The connection was lost or broke the protocol: it must be closed.
pub(super) async fn proceed(
    backend: &mut Backend,
    exchange: &mut Exchange,
    rows: &mut RowBatch,
    cancel: &CancelFlag,
    shard: &str,
) -> Result<()> {
    loop {
        if exchange.advance(backend, rows)? == Progress::Ended || rows.rows > 0 {
            return Ok(());
        }
        fill(backend, exchange, cancel, shard).await?;
    }
}

/// Reads once. When the client cancels meanwhile, the shard is told, and its answer is still waited for, so that the
/// connection stays in step.
async fn fill(backend: &mut Backend, exchange: &mut Exchange, cancel: &CancelFlag, shard: &str) -> Result<()> {
    let read = match exchange.give_up_at {
        None => tokio::select! {
            biased;
            read = backend.fill() => read,
            _ = cancel.raised() => {
                exchange.give_up_at = Some(Instant::now() + CANCEL_GRACE);
                if let Err(error) = backend.tell_to_cancel(CANCEL_GRACE).await {
                    tracing::warn!(shard, %error, "a statement could not be canceled");
                }
                return Ok(());
            }
        },
        Some(give_up_at) => match timeout_at(give_up_at, backend.fill()).await {
            Ok(read) => read,
            Err(_) => return Err(unanswered(&cancel.error().unwrap_or_else(canceled), shard)),
        },
    };
    match read {
        Ok(0) => Err(lost(shard, &io::ErrorKind::UnexpectedEof.into(), exchange.error.take())),
        Ok(_) => Ok(()),
        Err(error) => Err(lost(shard, &error, exchange.error.take())),
    }
}

fn canceled() -> Error {
    Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}

/// The client has given up, and the shard does not follow: its connection is given up.
fn unanswered(reason: &Error, shard: &str) -> Error {
    Error::new(SqlState::QUERY_CANCELED, reason.message())
        .detail(format!("Shard \"{shard}\" did not answer when it was told so; the connection to it is closed."))
        .fault(Fault::Shard)
        .retry(Retry::Unknown)
}

/// The connection broke while a statement was under way. Whoever knows what the statement was says what became of it.
/// `told` is what the server said last, such as that it is being shut down.
fn lost(shard: &str, error: &io::Error, told: Option<Error>) -> Error {
    let reason = match (&told, error.kind()) {
        (Some(told), _) => told.message().to_owned(),
        (None, io::ErrorKind::UnexpectedEof) => "the server closed the connection".to_owned(),
        (None, _) => error.to_string(),
    };
    let lost =
        Error::new(SqlState::CONNECTION_FAILURE, format!("the connection to shard \"{shard}\" was lost: {reason}"))
            .fault(Fault::Shard)
            .retry(Retry::Unknown);
    match told.as_ref().and_then(Error::get_detail) {
        Some(detail) => lost.detail(detail),
        None => lost,
    }
}

/// What a connection that was given up means for a statement that stood alone: a read changed nothing, a write may have.
pub(super) fn lost_alone(call: &Call, error: Error) -> Error {
    if error.get_retry() == Retry::Safe {
        return error.hint("Nothing was executed: send it again.");
    }
    if call.reads_only() {
        return error.retry(Retry::Safe).hint("It was a read, and changed nothing: send it again.");
    }
    error
        .with_sqlstate(SqlState::STATEMENT_COMPLETION_UNKNOWN)
        .fault(Fault::Shard)
        .retry(Retry::Unknown)
        .hint("The statement may have been executed: read before you send it again.")
}

/// What [`send`] failed with when nothing had left this side: it can be sent over another connection, whatever it is.
pub(super) fn never_sent(error: &Error) -> bool {
    error.sqlstate() == SqlState::CONNECTION_FAILURE && error.get_retry() == Retry::Safe
}

/// In a transaction: the shard rolls it back.
pub(super) fn lost_in_transaction(error: Error) -> Error {
    match (error.sqlstate(), error.get_retry()) {
        (SqlState::CONNECTION_FAILURE, _) | (_, Retry::Unknown) => {
            error.retry(Retry::Safe).hint("The transaction was rolled back: run the whole of it again.")
        }
        _ => error,
    }
}

/// While COMMIT was under way, on a connection that was given up.
pub(super) fn lost_in_commit(error: Error) -> Error {
    if error.get_retry() == Retry::Safe {
        return lost_in_transaction(error);
    }
    error
        .with_sqlstate(SqlState::TRANSACTION_RESOLUTION_UNKNOWN)
        .fault(Fault::Shard)
        .retry(Retry::Unknown)
        .hint("The transaction may have been committed: read before you run it again.")
}
