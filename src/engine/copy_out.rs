//! COPY TO STDOUT: the rows of a query, written as COPY writes them.
//!
//! They come by the way of all reads, so what holds for those holds here: one shard, several merged, or brought together.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::mpsc;

use super::answer::{Answer, Copying, RowBatch, Rows, TagCount};
use super::session::{Execution, Session};
use super::statement::Prepared;
use crate::copying::{Columns, Encoder, Form, Style};
use crate::error::{Error, Result, SqlState};
use crate::plan::Plan;
use crate::shard::{Formats, RawParameters};
use crate::types::Format;

/// How many batches may wait for a slow client.
const BATCHES_AHEAD: usize = 2;

impl Session {
    pub(super) async fn copy_out(&mut self, query: &str, style: &Style, execution: &Execution) -> Result<Answer> {
        let prepared = self.prepare_checked(query, &[]).map_err(Error::without_position)?;
        if !matches!(prepared.statement.planned(), Plan::Read(_)) {
            return Err(Error::unsupported(
                "COPY TO of what is no query",
                "Write the rows first, with RETURNING where they are needed, and copy a SELECT.",
            ));
        }
        let prepared = Arc::new(Prepared { describable: false, ..prepared });
        let (formats, format) = match style.form {
            Form::Binary => (Formats::AllBinary, Format::Binary),
            Form::Text | Form::Csv => (Formats::AllText, Format::Text),
        };
        let running = self.run(&prepared, RawParameters::default(), formats, execution.scope);
        let answer = Box::pin(running).await.map_err(Error::without_position)?;
        let columns = answer.columns.ok_or_else(|| Error::internal("a query has told no columns"))?;
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        if let Columns::Named(forced) = &style.force_quote
            && let Some(name) = forced.iter().find(|name| !names.contains(name))
        {
            let message = format!("FORCE_QUOTE column \"{name}\" not referenced by COPY");
            return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        let rows = encoded(answer.rows, Encoder::new(style.clone(), names));
        let copied = Answer::new(None, rows, "COPY", TagCount::Returned);
        Ok(Answer { copy: Some(Copying::Out { columns: columns.len(), format }), ..copied })
    }
}

/// Writes rows as they come.
fn encoded(mut rows: Rows, mut encoder: Encoder) -> Rows {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    tokio::spawn(async move {
        loop {
            let next = tokio::select! {
                biased;
                next = rows.next() => next,
                () = sender.closed() => return,
            };
            let mut frames = BytesMut::new();
            let (batch, last) = match next {
                Ok(Some(batch)) => {
                    let encoded = encoder.rows(&batch.frames, &mut frames);
                    let failed = encoded.is_err();
                    (encoded.map(|()| RowBatch { frames, rows: batch.rows }), failed)
                }
                Ok(None) => {
                    encoder.end(&mut frames);
                    (Ok(RowBatch { frames, rows: 0 }), true)
                }
                Err(error) => (Err(error), true),
            };
            if sender.send(batch).await.is_err() || last {
                return;
            }
        }
    });
    Rows::Stream(receiver)
}
