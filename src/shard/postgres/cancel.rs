//! Asks a shard to cancel what one of its connections runs.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::dial::{Encryption, dial, timed_out};
use super::failure::unreachable;
use super::target::Target;
use crate::error::{Error, Result, SqlState};

const CANCEL_REQUEST: u32 = 1234 << 16 | 5678;

/// Names one connection to its server. Cheap to clone.
#[derive(Clone)]
pub struct CancelTarget {
    target: Arc<Target>,
    encryption: Encryption,
    process: u32,
    /// Empty where the server gave none.
    key: Bytes,
}

impl std::fmt::Debug for CancelTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelTarget({}, process {})", self.target, self.process)
    }
}

impl CancelTarget {
    pub(super) fn new(target: Arc<Target>, encryption: Encryption, process: u32, key: Bytes) -> CancelTarget {
        CancelTarget { target, encryption, process, key }
    }

    /// The server's process that serves the connection.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Sends the request and waits until the server has passed it on, which it shows by closing: a cancel that is still
    /// on its way could hit the next statement of the connection.
    ///
    /// # Errors
    /// It is not known to have been passed on. It may yet be: the connection is then to be closed, not given back.
    pub async fn send(&self, deadline: Duration) -> Result<()> {
        if self.key.is_empty() {
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "the shard gave no key to cancel with"));
        }
        let deadline = Instant::now() + deadline;
        let mut stream = dial(&self.target, self.encryption, deadline).await?;
        let mut request = BytesMut::with_capacity(12 + self.key.len());
        request.put_u32(12 + self.key.len() as u32);
        request.put_u32(CANCEL_REQUEST);
        request.put_u32(self.process);
        request.put_slice(&self.key);
        let sent = timeout_at(deadline, async {
            stream.write_all(&request).await?;
            stream.flush().await
        });
        match sent.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(unreachable(&self.target, error)),
            Err(_) => return Err(timed_out(&self.target, "sending a cancel request")),
        }
        let mut byte = [0];
        match timeout_at(deadline, stream.read(&mut byte)).await {
            Ok(Ok(0)) => Ok(()),
            // A server that closes without having read all, or without TLS's farewell.
            Ok(Err(error)) if is_close(error.kind()) => Ok(()),
            Ok(Ok(_)) => Err(unreachable(&self.target, "the server answered a cancel request")),
            Ok(Err(error)) => Err(unreachable(&self.target, error)),
            Err(_) => Err(timed_out(&self.target, "waiting for a cancel request to be passed on")),
        }
    }
}

fn is_close(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionReset | UnexpectedEof)
}
