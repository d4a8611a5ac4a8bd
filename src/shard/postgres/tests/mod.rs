//! Targets, logins, connections and pools against a server that does as it is told.

mod backends;
mod fake;
mod logins;
mod pools;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::error::Error;

/// A password that no message may show.
const CANARY: &str = "canary";
const PATIENCE: Duration = Duration::from_secs(10);

fn target(port: u16, options: &str) -> Arc<Target> {
    let url = format!("postgres://app:{CANARY}@127.0.0.1:{port}/tickets?sslmode=disable&{options}");
    Arc::new(Target::parse(&url).expect("a target"))
}

fn assert_without_secret(error: &Error) {
    assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
}
