//! `/livez` and `/readyz`, and the state of all shards at once.
//!
//! A dead shard degrades the server and does not fail it: its keys fail, the others are served, and taking the whole
//! server out of a load balancer would make one shard's trouble everybody's.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::task::JoinSet;

use super::Door;
use super::answers::{Readiness, ShardHealth};
use super::control::{Control, Phase};
use super::routes::json;
use crate::types::ShardId;
use crate::web::OwnBody;

/// How long a shard may take to say that it is there.
const PING_TIME: Duration = Duration::from_secs(1);

/// `GET /livez`: the process answers.
pub(super) async fn live() -> Response {
    json(StatusCode::OK, &serde_json::json!({"live": true}))
}

/// `GET /readyz`: 503 while the server starts or drains, or when no shard answers.
pub(super) async fn ready(State(door): State<Arc<Door>>) -> Response {
    let shards = health_of_all(&door.control).await;
    let state = state(door.phase.get(), &shards);
    let ready = matches!(state, "serving" | "degraded");
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let answer =
        Readiness { ready, state: state.to_owned(), shards: shards.into_iter().map(|(_, health)| health).collect() };
    let mut response = json(status, &answer);
    response.extensions_mut().insert(OwnBody);
    response
}

/// One word for the server's state.
pub(super) fn state(phase: Phase, shards: &[(ShardId, ShardHealth)]) -> &'static str {
    let up = shards.iter().filter(|(_, health)| health.up).count();
    match phase {
        Phase::Starting => "starting",
        Phase::Draining => "draining",
        Phase::Serving if up == shards.len() => "serving",
        Phase::Serving if up == 0 => "down",
        Phase::Serving => "degraded",
    }
}

/// Asks every shard at the same time, in the order of the topology.
pub(super) async fn health_of_all(control: &Arc<dyn Control>) -> Vec<(ShardId, ShardHealth)> {
    let topology = control.topology();
    let mut pings = JoinSet::new();
    for (index, shard) in topology.shards.iter().enumerate() {
        let (control, id) = (Arc::clone(control), shard.id);
        pings.spawn(async move { (index, ping(&*control, id).await) });
    }
    let mut errors: Vec<Option<String>> = vec![Some("the check ended unexpectedly".to_owned()); topology.shards.len()];
    while let Some(pinged) = pings.join_next().await {
        if let Ok((index, error)) = pinged {
            errors[index] = error;
        }
    }
    let healths = topology.shards.iter().zip(errors);
    healths
        .map(|(shard, error)| (shard.id, ShardHealth { shard: shard.name.clone(), up: error.is_none(), error }))
        .collect()
}

async fn ping(control: &dyn Control, shard: ShardId) -> Option<String> {
    match tokio::time::timeout(PING_TIME, control.ping(shard)).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.message().to_owned()),
        Err(_) => Some(format!("no answer within {} second", PING_TIME.as_secs())),
    }
}
