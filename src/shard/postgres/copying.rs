//! COPY FROM STDIN into a shard, within a transaction: rows are written as they come, and read is what the shard says
//! meanwhile, so that neither side waits for the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::call::Aftermath;
use super::conversation;
use super::exchange::{Exchange, Progress};
use super::pool::Pooled;
use crate::error::{Error, Fault, Result, Retry, SqlState};
use crate::shard::{CancelFlag, RowBatch};
use crate::wire::request;

/// Rows are sent in messages of about this size.
const MESSAGE_BYTES: usize = 64 << 10;
/// What may wait for the shard before more is taken from the client.
const AHEAD_BYTES: usize = 1 << 20;
/// And how much of it may be left when more is taken.
const AHEAD_LOW_BYTES: usize = 256 << 10;
/// How long a shard may take to give a COPY up.
const GIVE_UP_TIME: Duration = Duration::from_secs(1);

/// A COPY under way. Dropping it closes the connection, and the shard takes everything back.
#[derive(Debug)]
pub struct CopyStream {
    connection: Pooled,
    exchange: Exchange,
    cancel: CancelFlag,
    shard: Arc<str>,
    /// A message that is being filled.
    message: BytesMut,
}

/// Bytes of a message before its body.
const HEADER_BYTES: usize = 5;

impl CopyStream {
    /// Has the shard begin. An error of the shard's is in the exchange, which has ended then.
    ///
    /// # Errors
    /// The connection was lost.
    pub(super) async fn begin(
        mut connection: Pooled,
        text: &str,
        cancel: &CancelFlag,
        shard: &Arc<str>,
    ) -> Result<CopyStream> {
        request::query(&mut connection.output, text);
        let mut exchange = Exchange::new(None).taking_rows();
        conversation::send(&mut connection, cancel, shard).await?;
        conversation::until_rows_are_taken(&mut connection, &mut exchange, cancel, shard).await?;
        Ok(CopyStream {
            connection,
            exchange,
            cancel: cancel.clone(),
            shard: Arc::clone(shard),
            message: BytesMut::new(),
        })
    }

    /// Why it did not begin, and the connection.
    pub(super) fn refused(self) -> Result<CopyStream, (Pooled, Error)> {
        if !self.exchange.ended() {
            return Ok(self);
        }
        let CopyStream { connection, exchange, .. } = self;
        Err((connection, exchange.error.unwrap_or_else(|| Error::internal("a COPY ended before it began"))))
    }

    /// The connection, to be used again where it is in step.
    pub(super) fn into_connection(self) -> Pooled {
        self.connection
    }

    /// The server's process.
    pub fn process(&self) -> i32 {
        self.connection.process()
    }

    /// Adds rows. True: there are enough of them for [`CopyStream::push`].
    #[inline]
    pub fn add(&mut self, rows: &[u8]) -> bool {
        if self.message.is_empty() {
            self.message.reserve(MESSAGE_BYTES + MESSAGE_BYTES / 8);
            self.message.put_slice(b"d\0\0\0\0");
        }
        self.message.put_slice(rows);
        self.message.len() >= MESSAGE_BYTES
    }

    fn seal(&mut self) {
        if self.message.is_empty() {
            return;
        }
        let length = (self.message.len() - 1) as u32;
        self.message[1..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
        let message = self.message.split();
        if self.connection.output.is_empty() {
            self.connection.output = message;
        } else {
            self.connection.output.extend_from_slice(&message);
        }
    }

    /// Sends what the socket takes at once. True: so much is left that [`CopyStream::wait`] has to come before more rows.
    ///
    /// # Errors
    /// The shard has refused a row; or the connection was lost.
    pub fn push(&mut self) -> Result<bool> {
        self.seal();
        let flushed = self.connection.try_flush();
        flushed.map_err(|error| self.lost(&error))?;
        self.connection.read_at_once().map_err(|error| self.lost(&error))?;
        self.hear()?;
        Ok(self.connection.output.len() > AHEAD_BYTES)
    }

    /// Waits until the shard has taken most of what was sent.
    ///
    /// # Errors
    /// As [`CopyStream::push`]; or the client has given up.
    pub async fn wait(&mut self) -> Result<()> {
        self.drain(AHEAD_LOW_BYTES).await
    }

    async fn drain(&mut self, low: usize) -> Result<()> {
        let cancel = self.cancel.clone();
        while self.connection.output.len() > low {
            let moved = tokio::select! {
                biased;
                moved = self.connection.write_down_to(low) => moved,
                reason = cancel.raised() => return Err(reason),
            };
            moved.map_err(|error| self.lost(&error))?;
            self.hear()?;
        }
        Ok(())
    }

    /// Takes what the shard has said.
    fn hear(&mut self) -> Result<()> {
        // A COPY returns no rows.
        let mut none = RowBatch::default();
        match self.exchange.advance(&mut self.connection, &mut none)? {
            Progress::Ended => {
                Err(self.exchange.error.clone().unwrap_or_else(|| Error::internal("a COPY ended early")))
            }
            Progress::Going | Progress::TakesRows => match &self.exchange.error {
                Some(error) => Err(error.clone()),
                None => Ok(()),
            },
        }
    }

    /// Ends the rows, and gives how many the shard has taken, and what it has to say.
    ///
    /// # Errors
    /// The shard refused them; or the connection was lost.
    pub async fn finish(&mut self) -> Result<(u64, Vec<Error>)> {
        self.seal();
        request::copy_done(&mut self.connection.output);
        self.drain(0).await?;
        let CopyStream { connection, exchange, cancel, shard, .. } = self;
        conversation::finish_sent(connection, exchange, cancel, shard).await?;
        Ok((exchange.affected, std::mem::take(&mut exchange.notices)))
    }

    /// Takes the rows back, as far as the shard can be told so in time.
    pub async fn give_up(&mut self, reason: &Error) {
        self.message.clear();
        if !self.exchange.ended() {
            request::copy_fail(&mut self.connection.output, reason.message());
        }
        if tokio::time::timeout(GIVE_UP_TIME, self.reach_the_end()).await.is_err() {
            // It may wait for a lock, and read nothing.
            if self.connection.tell_to_cancel(GIVE_UP_TIME).await.is_ok() {
                let _ = tokio::time::timeout(GIVE_UP_TIME, self.reach_the_end()).await;
            }
        }
    }

    async fn reach_the_end(&mut self) -> Result<()> {
        let mut none = RowBatch::default();
        loop {
            if !self.exchange.ended() {
                self.exchange.advance(&mut self.connection, &mut none)?;
            }
            let moved = if !self.connection.output.is_empty() {
                self.connection.write_down_to(0).await
            } else if self.exchange.ended() {
                return Ok(());
            } else {
                self.connection.fill().await.and_then(|read| match read {
                    0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
                    _ => Ok(()),
                })
            };
            moved.map_err(|error| self.lost(&error))?;
        }
    }

    fn lost(&mut self, error: &std::io::Error) -> Error {
        // The server may have said why.
        let mut none = RowBatch::default();
        let _ = self.exchange.advance(&mut self.connection, &mut none);
        let told = self.exchange.error.as_ref().map(|told| told.message().to_owned());
        let reason = told.unwrap_or_else(|| error.to_string());
        let message = format!("the connection to shard \"{}\" was lost: {reason}", self.shard);
        Error::new(SqlState::CONNECTION_FAILURE, message)
            .fault(Fault::Shard)
            .retry(Retry::Safe)
            .hint("The transaction was rolled back: run the whole of it again.")
    }
}

/// What triggers of the table may leave behind is not known.
pub(super) const AFTERMATH: Aftermath = Aftermath::Reset;
