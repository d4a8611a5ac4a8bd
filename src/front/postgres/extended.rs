//! The extended protocol: Parse, Bind, Describe, Execute, Close.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY>

use std::sync::Arc;

use bytes::BytesMut;
use tokio::time::Instant;

use super::client::{Client, Failure};
use super::portals::{Portal, State, Suspended};
use crate::engine::{
    Answer, Formats, OutputColumn, Prepared, RawParameters, RowBatch, Session, TagCount, TransactionStatus,
};
use crate::error::{Error, Result, SqlState};
use crate::types::{Format, PgType};
use crate::wire::backend::{self, Field};
use crate::wire::frontend::{Bind, FormatCodes, Oids, Target};

/// How far an Execute came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) rows: u64,
    /// The row limit was reached.
    pub(super) suspended: bool,
}

impl Client<'_> {
    pub(super) async fn parse(&mut self, name: &str, text: &str, types: Oids<'_>) -> Result<(), Failure> {
        let declared: Vec<u32> = types.iter().map(declared_type).collect();
        let deadline = self.statement_deadline();
        if name.is_empty() {
            self.unnamed = None;
        }
        let prepared = self.watched(deadline, async |session| session.prepare(text, &declared).await).await?;
        if name.is_empty() {
            self.session.remember_prepared(&prepared);
            self.unnamed = Some(prepared);
        } else {
            self.session.store_statement(name, prepared)?;
        }
        self.send_notices();
        backend::parse_complete(&mut self.connection.output);
        Ok(())
    }

    fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        if name.is_empty() {
            let unnamed =
                || Error::new(SqlState::INVALID_SQL_STATEMENT_NAME, "unnamed prepared statement does not exist");
            return self.unnamed.clone().ok_or_else(unnamed);
        }
        self.session.statement(name)
    }

    pub(super) fn bind(&mut self, bind: Bind<'_>) -> Result<()> {
        let prepared = self.prepared(bind.statement)?;
        let (formats, values) = (bind.parameter_formats.len(), bind.values.len());
        if formats > 1 && formats != values {
            let message = format!("bind message has {formats} parameter formats but {values} parameters");
            return Err(Error::new(SqlState::PROTOCOL_VIOLATION, message));
        }
        let required = prepared.parameter_count();
        if values != required {
            let name = bind.statement;
            let message = format!(
                "bind message supplies {values} parameters, but prepared statement \"{name}\" requires {required}"
            );
            return Err(Error::new(SqlState::PROTOCOL_VIOLATION, message));
        }
        let columns = self.session.columns(&prepared);
        let formats = result_formats(bind.result_formats, columns.as_deref())?;
        let parameters = RawParameters { formats: bind.parameter_formats, values: bind.values };
        self.portals.bind(bind.portal, Portal { prepared, formats, state: State::Bound(parameters) })?;
        backend::bind_complete(&mut self.connection.output);
        Ok(())
    }

    pub(super) fn describe(&mut self, target: Target, name: &str) -> Result<()> {
        let output = &mut self.connection.output;
        match target {
            Target::Statement => {
                let prepared = self.prepared(name)?;
                let output = &mut self.connection.output;
                backend::parameter_description(output, prepared.parameter_oids().into_iter());
                match prepared.row_description() {
                    Some(frame) => output.extend_from_slice(frame),
                    None => describe_rows(output, self.session.columns(&prepared).as_deref(), &Formats::AllText),
                }
            }
            Target::Portal => {
                let portal = match self.portals.get(name) {
                    Ok(portal) => portal,
                    Err(unknown) => {
                        // A SQL cursor is a portal, too.
                        let columns = self.session.cursor_columns(name).map_err(|_| unknown)?;
                        describe_rows(output, columns.as_deref(), &Formats::AllText);
                        return Ok(());
                    }
                };
                match portal.prepared.row_description() {
                    Some(frame) if portal.formats == Formats::AllText => output.extend_from_slice(frame),
                    _ => describe_rows(output, self.session.columns(&portal.prepared).as_deref(), &portal.formats),
                }
            }
        }
        Ok(())
    }

    pub(super) fn close(&mut self, target: Target, name: &str) -> Result<(), Failure> {
        match (target, name) {
            (Target::Statement, "") => self.unnamed = None,
            (Target::Statement, name) => self.session.close_statement(name),
            (Target::Portal, name) => drop(self.portals.close(name)),
        }
        backend::close_complete(&mut self.connection.output);
        Ok(())
    }

    /// Runs a portal, or goes on with it, for at most `row_limit` rows (0: all).
    pub(super) async fn execute_portal(&mut self, name: &str, mut row_limit: usize) -> Result<(), Failure> {
        let Portal { prepared, formats, mut state } = self.portals.take(name)?;
        if let State::Bound(parameters) = state {
            match self.hand_on(&prepared, parameters).await? {
                // The Sync that follows ends the portal.
                Ok(()) => return Ok(()),
                Err(parameters) => state = State::Bound(parameters),
            }
        }
        self.settle().await?;
        if prepared.is_empty() {
            backend::empty_query_response(&mut self.connection.output);
            self.portals.put_back(name, Portal { prepared, formats, state });
            return Ok(());
        }
        let deadline = self.statement_deadline();
        let before = self.session.status();
        let mut running = match state {
            State::Bound(parameters) => {
                let mut begun = self.start(&prepared, parameters, &formats, deadline).await?;
                if begun.answer.copy.is_some() {
                    // Its rows are sent at once, whatever the client asks for.
                    row_limit = 0;
                    begun.answer = self.copy(begun.answer, deadline).await?;
                }
                begun
            }
            State::Suspended(suspended) => suspended,
            State::Finished => return self.execute_again(name, prepared, formats),
        };
        let sent = self.send_rows(&mut running.answer, &mut running.held, row_limit, deadline).await?;
        if before != TransactionStatus::Idle && self.session.status() == TransactionStatus::Idle {
            self.portals.clear();
        }
        let state = if sent.suspended {
            backend::portal_suspended(&mut self.connection.output);
            State::Suspended(running)
        } else {
            self.end_copy(&running.answer);
            command_complete(&mut self.connection.output, &running.answer, sent.rows);
            State::Finished
        };
        self.portals.put_back(name, Portal { prepared, formats, state });
        Ok(())
    }

    async fn start(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: RawParameters,
        formats: &Formats,
        deadline: Option<Instant>,
    ) -> Result<Suspended, Failure> {
        let follows = self.sync_follows();
        let scope = self.scope(follows);
        let formats = formats.clone();
        let passing = self.passing.take();
        let run = async |session: &mut Session| match passing {
            Some(passing) => session.go_on(passing, prepared, parameters, formats).await,
            None => session.execute(prepared, parameters, formats, scope).await,
        };
        let answer = self.watched(deadline, run).await?;
        self.send_notices();
        Ok(Suspended { answer, held: RowBatch::default() })
    }

    /// A portal that was read to its end has no more rows; one without rows cannot run twice.
    fn execute_again(&mut self, name: &str, prepared: Arc<Prepared>, formats: Formats) -> Result<(), Failure> {
        if self.session.columns(&prepared).is_none() {
            let message = format!("portal \"{name}\" cannot be run");
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).into());
        }
        backend::command_complete(&mut self.connection.output, "SELECT", Some(0));
        self.portals.put_back(name, Portal { prepared, formats, state: State::Finished });
        Ok(())
    }

    /// Sends rows until there are no more or `limit` (0: none) is reached. Rows over the limit stay in `held`.
    pub(super) async fn send_rows(
        &mut self,
        answer: &mut Answer,
        held: &mut RowBatch,
        limit: usize,
        deadline: Option<Instant>,
    ) -> Result<Sent, Failure> {
        let mut sent = 0;
        while limit == 0 || sent < limit {
            let mut batch = std::mem::take(held);
            if batch.rows == 0 {
                let next = match answer.at_hand() {
                    Some(next) => next,
                    None => Box::pin(self.watched_rows(deadline, answer.next())).await?,
                };
                match next {
                    Some(next) => batch = next,
                    None => return Ok(Sent { rows: sent as u64, suspended: false }),
                }
            }
            if limit != 0 && batch.rows > limit - sent {
                let now = batch.split_rows(limit - sent);
                *held = std::mem::replace(&mut batch, now);
            }
            sent += batch.rows;
            self.connection.send_frames(&batch.frames).await?;
        }
        Ok(Sent { rows: sent as u64, suspended: true })
    }
}

/// A Parse's type: `unknown` leaves it to be inferred, as 0 does.
pub(super) fn declared_type(oid: u32) -> u32 {
    if oid == PgType::Unknown.oid() { 0 } else { oid }
}

fn result_formats(codes: FormatCodes<'_>, columns: Option<&[OutputColumn]>) -> Result<Formats> {
    let mut codes = codes.iter();
    let count = codes.len();
    if count > 1 {
        let columns = columns.map_or(0, <[OutputColumn]>::len);
        if count != columns {
            let message = format!("bind message has {count} result formats but query has {columns} columns");
            return Err(Error::new(SqlState::PROTOCOL_VIOLATION, message));
        }
        // Most drivers that name each column's format want the same for all.
        let each: Vec<Format> = codes.collect();
        return Ok(match each.iter().all(|format| *format == each[0]) {
            true if each[0] == Format::Binary => Formats::AllBinary,
            true => Formats::AllText,
            false => Formats::Each(each),
        });
    }
    Ok(if codes.next() == Some(Format::Binary) { Formats::AllBinary } else { Formats::AllText })
}

pub(super) fn describe_rows(output: &mut BytesMut, columns: Option<&[OutputColumn]>, formats: &Formats) {
    match columns {
        Some(columns) => row_description(output, columns, formats),
        None => backend::no_data(output),
    }
}

pub(super) fn row_description(output: &mut BytesMut, columns: &[OutputColumn], formats: &Formats) {
    let fields = columns.iter().enumerate().map(|(index, column)| Field {
        name: &column.name,
        table_oid: column.table_oid,
        attribute: column.attribute,
        type_oid: column.type_oid(),
        type_size: column.type_size(),
        modifier: column.modifier,
        format: formats.of(index),
    });
    backend::row_description(output, fields);
}

pub(super) fn command_complete(output: &mut BytesMut, answer: &Answer, returned: u64) {
    let rows = match answer.count {
        TagCount::None => None,
        TagCount::Written(written) => Some(written),
        TagCount::Returned => Some(returned),
    };
    backend::command_complete(output, answer.tag, rows);
}
