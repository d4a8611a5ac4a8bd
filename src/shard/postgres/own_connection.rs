//! A connection of shardd's own to one server, beside its pools: what it asks must wait for no client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::backend::Backend;
use super::conversation;
use super::exchange::Exchange;
use super::failure::unreachable;
use super::target::Target;
use crate::error::{Error, Result, SqlState};
use crate::shard::{CancelFlag, RowBatch};
use crate::wire::request::{self, Values};
use crate::wire::response;

/// Rows of texts.
pub type TextRows = Vec<Vec<Option<String>>>;

/// Made when something is asked, and kept while it works.
#[derive(Debug)]
pub struct OwnConnection {
    shard: Arc<str>,
    target: Arc<Target>,
    backend: Option<Box<Backend>>,
}

impl OwnConnection {
    pub fn new(shard: &str, target: Target) -> OwnConnection {
        OwnConnection { shard: shard.into(), target: Arc::new(target), backend: None }
    }

    /// Runs one statement with text parameters. Nothing is left of it on the connection but what the statement itself
    /// leaves. Dropping the future closes the connection.
    ///
    /// # Errors
    /// The server's, or it did not answer in `time`, or with more than `most_rows` rows. [`OwnConnection::is_open`] tells
    /// whether it answered.
    pub async fn ask(&mut self, text: &str, values: &[&str], most_rows: usize, time: Duration) -> Result<TextRows> {
        let deadline = Instant::now() + time;
        let write = |backend: &mut Backend| {
            let values: Vec<_> = values.iter().map(|value| Some(Bytes::copy_from_slice(value.as_bytes()))).collect();
            request::parse(&mut backend.output, "", text, &[]);
            request::bind(&mut backend.output, "", Values { formats: &[], values: &values }, &[]);
            request::execute(&mut backend.output);
            request::sync(&mut backend.output);
        };
        let asked = timeout_at(deadline, self.exchange(write, most_rows, time)).await;
        asked.unwrap_or_else(|_| {
            Err(unreachable(&self.target, format_args!("no answer within {} ms", time.as_millis())))
        })
    }

    /// Whether the server was there when it was last asked.
    pub fn is_open(&self) -> bool {
        self.backend.is_some()
    }

    async fn exchange(&mut self, write: impl Fn(&mut Backend), most_rows: usize, time: Duration) -> Result<TextRows> {
        let never = CancelFlag::new();
        let kept = self.backend.take().filter(|backend| backend.is_quiet());
        let reused = kept.is_some();
        let mut backend = match kept {
            Some(backend) => backend,
            None => self.connect(time).await?,
        };
        write(&mut backend);
        match conversation::send(&mut backend, &never, &self.shard).await {
            Err(error) if reused && conversation::never_sent(&error) => {
                backend = self.connect(time).await?;
                write(&mut backend);
                conversation::send(&mut backend, &never, &self.shard).await?;
            }
            sent => sent?,
        }
        let mut exchange = Exchange::new(None);
        let mut all = Vec::new();
        while !exchange.ended() {
            let mut rows = RowBatch::default();
            conversation::proceed(&mut backend, &mut exchange, &mut rows, &never, &self.shard).await?;
            if all.len() + rows.rows > most_rows {
                let message = format!("shard \"{}\" answered with more than {most_rows} rows", self.shard);
                return Err(Error::new(SqlState::CARDINALITY_VIOLATION, message));
            }
            for frame in rows.row_frames() {
                let values = response::data_row(frame)?.into_iter();
                all.push(values.map(|value| value.map(|value| String::from_utf8_lossy(value).into_owned())).collect());
            }
        }
        if backend.is_in_step() {
            self.backend = Some(backend);
        }
        exchange.error.map_or(Ok(all), Err)
    }

    async fn connect(&self, time: Duration) -> Result<Box<Backend>> {
        Backend::connect(&self.target, time).await.map(Box::new)
    }
}
