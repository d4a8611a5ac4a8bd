//! The HTTP door's tables, which a cluster's first start makes. What keeps a shard from it for now keeps nobody from being served.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::engine::Engine;
use crate::error::{Result, Retry};
use crate::front::http;

/// How often it is tried.
const PAUSE: Duration = Duration::from_secs(5);

/// Makes them, or goes on trying: a task to be aborted before the engine is closed.
///
/// # Errors
/// They cannot be made, and trying again would not help.
pub(super) async fn make(engine: &Arc<Engine>, database: &str) -> Result<Option<JoinHandle<()>>> {
    match http::ensure_schema(engine, database).await {
        Ok(()) => Ok(None),
        Err(error) if error.get_retry() == Retry::Safe => {
            tracing::warn!(
                hint = error.get_hint(),
                "the HTTP door's tables cannot be made yet: {}. Keys and values are not served until they are",
                error.message()
            );
            Ok(Some(tokio::spawn(until_made(Arc::clone(engine), database.to_owned()))))
        }
        Err(error) => Err(error),
    }
}

async fn until_made(engine: Arc<Engine>, database: String) {
    loop {
        tokio::time::sleep(PAUSE).await;
        match http::ensure_schema(&engine, &database).await {
            Ok(()) => {
                tracing::info!("the HTTP door's tables are made");
                return;
            }
            Err(error) => tracing::warn!(%error, "the HTTP door's tables cannot be made yet"),
        }
    }
}
