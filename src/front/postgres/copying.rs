//! COPY FROM STDIN: the client sends rows until it says that they are all, or that they are to be forgotten.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY>

use std::sync::Arc;

use tokio::time::Instant;

use super::client::{Client, Failure};
use super::connection::Ended;
use super::peers::Stage;
use crate::engine::{Answer, CopyIn, Copying};
use crate::error::{Error, Result, SqlState};
use crate::types::Format;
use crate::wire::{Frame, backend, take_frame};

impl Client<'_> {
    /// What has to be done before a COPY's answer is complete: nothing, for every other statement's. Gives the answer
    /// whose rows and tag are to be sent.
    pub(super) async fn copy(&mut self, mut answer: Answer, deadline: Option<Instant>) -> Result<Answer, Failure> {
        match answer.copy.take() {
            None => Ok(answer),
            Some(Copying::Out { columns, format }) => {
                backend::copy_out_response(&mut self.connection.output, format, columns);
                answer.copy = Some(Copying::Out { columns, format });
                Ok(answer)
            }
            Some(Copying::In(copy)) => Box::pin(self.copy_in(copy, deadline)).await,
        }
    }

    async fn copy_in(&mut self, mut copy: Box<CopyIn>, deadline: Option<Instant>) -> Result<Answer, Failure> {
        let (format, columns): (Format, usize) = (copy.format(), copy.columns());
        backend::copy_in_response(&mut self.connection.output, format, columns);
        self.connection.flush().await?;
        match self.take_rows(&mut copy, deadline).await {
            Ok(()) => self.watched(deadline, async |session| session.copy_done(copy).await).await,
            Err(Failure::Connection(ended)) => Err(Failure::Connection(ended)),
            Err(Failure::Statement(error)) => {
                let taken_back = async |session: &mut crate::engine::Session| -> Result<Error> {
                    Ok(session.copy_failed(copy, error).await)
                };
                // What is left of the rows waits until then.
                let error = self.watched(None, taken_back).await?;
                Err(Failure::Statement(error))
            }
        }
    }

    /// Takes rows up to the message that ends them.
    async fn take_rows(&mut self, copy: &mut CopyIn, deadline: Option<Instant>) -> Result<(), Failure> {
        loop {
            let frame = self.next_copy_frame(deadline).await?;
            match frame.kind {
                b'd' => {
                    let body = &frame.body;
                    self.watched(deadline, async |session| session.copy_data(copy, body).await).await?;
                }
                b'c' => return Ok(()),
                b'f' => {
                    let reason =
                        String::from_utf8_lossy(frame.body.split(|byte| *byte == 0).next().unwrap_or_default());
                    let message = format!("COPY from stdin failed: {reason}");
                    return Err(Error::new(SqlState::QUERY_CANCELED, message).into());
                }
                // Clients of the extended protocol may have sent them behind Execute.
                b'H' | b'S' => {}
                kind => {
                    let message = format!("unexpected message type 0x{kind:02X} during COPY from stdin");
                    return Err(Ended::Fatal(Error::new(SqlState::PROTOCOL_VIOLATION, message)).into());
                }
            }
        }
    }

    async fn next_copy_frame(&mut self, deadline: Option<Instant>) -> Result<Frame, Failure> {
        let limits = self.limits();
        loop {
            match take_frame(&mut self.connection.input, limits) {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(error) => return Err(Ended::Fatal(error).into()),
            }
            let peer = Arc::clone(&self.connection.peer);
            let overdue = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = peer.reached(Stage::Closing) => return Err(Ended::shutting_down().into()),
                read = self.connection.read() => read.map_err(Ended::Lost)?,
                () = overdue => {
                    let message = "canceling statement due to statement timeout";
                    return Err(Error::new(SqlState::QUERY_CANCELED, message).into());
                }
            }
        }
    }

    /// Behind the last row of a COPY TO.
    pub(super) fn end_copy(&mut self, answer: &Answer) {
        if let Some(Copying::Out { .. }) = answer.copy {
            backend::copy_done(&mut self.connection.output);
        }
    }
}
