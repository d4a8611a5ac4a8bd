//! Logs: to standard error for people and collectors, and to a bounded ring for `shardctl logs`.
//!
//! `RUST_LOG` filters them; `SHARDD_LOG_FORMAT=json` makes each a JSON object.

use std::io::IsTerminal;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::admin::LogRing;

/// Installs the process's logging. Gives the ring that the admin door reads.
pub fn start_logging() -> Arc<LogRing> {
    let ring = LogRing::new();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let json = std::env::var("SHARDD_LOG_FORMAT").is_ok_and(|format| format == "json");
    let plain = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let output = if json { plain.json().boxed() } else { plain.with_ansi(std::io::stderr().is_terminal()).boxed() };
    tracing_subscriber::registry().with(filter).with(output).with(ring.layer()).init();
    ring
}
