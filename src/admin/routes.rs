//! What answers shardctl's requests.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tracing::Level;

use super::answers::{
    Analysis, AnalyzeRequest, ExplainRequest, Explanation, ForceRequest, KindChanged, KindRequest, NewShard,
    ShardSummary, Status, VerifyRequest, VersionAnswer,
};
use super::health::{health_of_all, state};
use super::topology_view as view;
use super::{ANALYZED_MAX_BYTES, AddedShard, BODY_MAX_BYTES, BODY_TIME, Door};
use crate::metrics::CONTENT_TYPE;
use crate::topology::Severity;
use crate::web::{Problem, read_json};

const LOG_LINES_DEFAULT: usize = 200;
const LOG_LINES_MAX: usize = 2_000;
/// How long a request for logs may be held while there are none.
const LOG_WAIT_MAX: Duration = Duration::from_secs(30);

pub(super) type Answer = Result<Response, Problem>;
pub(super) type DoorState = State<Arc<Door>>;

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // The answers are plain data: writing them to memory does not fail.
    let mut response = Response::new(Body::from(serde_json::to_vec(value).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn ok(value: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, value))
}

/// `GET /v1/status`.
pub(super) async fn status(State(door): DoorState) -> Answer {
    let shards = health_of_all(&door.control).await;
    let topology = door.control.topology();
    let listeners = door.settings.listeners.iter();
    ok(&Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: state(door.phase.get(), &shards).to_owned(),
        uptime_seconds: door.started.elapsed().as_secs(),
        database: door.settings.database.clone(),
        epoch: topology.epoch.0,
        shards: shards.len(),
        shards_up: shards.iter().filter(|(_, health)| health.up).count(),
        tables: topology.schema.tables.len(),
        keyspaces: view::keyspaces(&topology),
        listeners: listeners.map(|(name, address)| (name.clone(), address.to_string())).collect(),
    })
}

async fn summaries(door: &Door) -> Vec<ShardSummary> {
    let healths = health_of_all(&door.control).await;
    let topology = door.control.topology();
    let mut summaries = Vec::with_capacity(healths.len());
    for (id, health) in healths {
        if let Some(shard) = topology.shard(id) {
            let size_bytes = view::size_of(&door.control.statistics(id));
            summaries.push(view::summary(&topology, shard, health, size_bytes));
        }
    }
    summaries
}

/// `GET /v1/shards`.
pub(super) async fn shards(State(door): DoorState) -> Answer {
    ok(&summaries(&door).await)
}

/// `GET /v1/shards/{shard}`.
pub(super) async fn describe(State(door): DoorState, Path(name): Path<String>) -> Answer {
    let topology = door.control.topology();
    let healths = health_of_all(&door.control).await;
    let found = topology.shard_named(&name).and_then(|shard| {
        let (_, health) = healths.into_iter().find(|(id, _)| *id == shard.id)?;
        Some((shard, health))
    });
    let Some((shard, health)) = found else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_shard", format!("there is no shard named {name}"))
            .hint("`shardctl shards` lists the shards."));
    };
    let (statistics, replicas) = (door.control.statistics(shard.id), door.control.replicas(shard.id));
    ok(&view::description(&topology, shard, health, statistics, replicas))
}

/// `POST /v1/shards`.
pub(super) async fn add_shard(State(door): DoorState, headers: HeaderMap, body: Body) -> Answer {
    let new: NewShard = read_json(&headers, body, BODY_MAX_BYTES, BODY_TIME).await?;
    let name = new.shard.clone();
    let AddedShard { id, warnings, copied } = door.control.add_shard(new).await?;
    tracing::info!(shard = %name, number = id.0, "a shard joined, without slots");
    match summaries(&door).await.into_iter().find(|summary| summary.shard == name) {
        Some(summary) => Ok(json(StatusCode::CREATED, &ShardSummary { warnings, copied, ..summary })),
        None => Err(crate::error::Error::internal("the shard that was added is not in the topology").into()),
    }
}

/// `GET /v1/schema/diff`: as the servers say now.
pub(super) async fn schema_diff(State(door): DoorState) -> Answer {
    let drift = door.control.schema_drift().await?;
    ok(&view::schema_diff(&drift))
}

/// `GET /v1/transactions`.
pub(super) async fn transactions(State(door): DoorState) -> Answer {
    ok(&door.control.in_doubt().await?)
}

/// `POST /v1/transactions/resolve`.
pub(super) async fn resolve_transactions(State(door): DoorState) -> Answer {
    ok(&door.control.resolve_in_doubt().await?)
}

/// `POST /v1/transactions/force`.
pub(super) async fn force_transaction(State(door): DoorState, headers: HeaderMap, body: Body) -> Answer {
    let request: ForceRequest = read_json(&headers, body, BODY_MAX_BYTES, BODY_TIME).await?;
    tracing::warn!(
        gid = request.gid, outcome = ?request.outcome, lost_shard = request.lost_shard,
        "an operator asks to force the outcome of a transaction"
    );
    ok(&door.control.force_in_doubt(request).await?)
}

/// `POST /v1/tables/{table}/kind`.
pub(super) async fn change_kind(
    State(door): DoorState,
    Path(table): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let request: KindRequest = read_json(&headers, body, BODY_MAX_BYTES, BODY_TIME).await?;
    let dry_run = request.dry_run;
    let change = format!("{request:?}");
    let rows = door.control.change_kind(table.clone(), request).await?;
    if !dry_run {
        tracing::info!(table, change, rows, "a table was made another kind");
    }
    ok(&KindChanged { rows, dry_run })
}

/// `POST /v1/verify`.
pub(super) async fn verify(State(door): DoorState, headers: HeaderMap, body: Body) -> Answer {
    let request: VerifyRequest = read_json(&headers, body, BODY_MAX_BYTES, BODY_TIME).await?;
    ok(&door.control.verify(request).await.map_err(not_found)?)
}

/// `GET /v1/tables`.
pub(super) async fn tables(State(door): DoorState) -> Answer {
    ok(&view::tables(&door.control.topology()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteQuery {
    table: String,
    key: String,
}

/// `GET /v1/route`.
pub(super) async fn route(State(door): DoorState, query: Result<Query<RouteQuery>, QueryRejection>) -> Answer {
    let Query(query) = query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    ok(&view::route(&door.control.topology(), &query.table, &query.key).map_err(not_found)?)
}

/// A table that is not there is what a request for it did not find.
fn not_found(error: crate::error::Error) -> Problem {
    let unknown = error.sqlstate() == crate::error::SqlState::UNDEFINED_TABLE;
    let mut problem = Problem::from(error);
    if unknown {
        problem.status = StatusCode::NOT_FOUND;
    }
    problem
}

/// `POST /v1/explain`.
pub(super) async fn explain(State(door): DoorState, headers: HeaderMap, body: Body) -> Answer {
    let request: ExplainRequest = read_json(&headers, body, BODY_MAX_BYTES, BODY_TIME).await?;
    let plan = door.control.explain(request.statement.clone()).await?;
    ok(&Explanation { statement: request.statement, plan })
}

/// `POST /v1/analyze`.
pub(super) async fn analyze(State(door): DoorState, headers: HeaderMap, body: Body) -> Answer {
    let request: AnalyzeRequest = read_json(&headers, body, ANALYZED_MAX_BYTES, BODY_TIME).await?;
    ok(&Analysis { statements: door.control.analyze(request.texts).await? })
}

/// `GET /v1/config`.
pub(super) async fn config(State(door): DoorState) -> Answer {
    ok(&door.settings.config)
}

/// `GET /v1/version`.
pub(super) async fn version() -> Answer {
    ok(&VersionAnswer { version: env!("CARGO_PKG_VERSION").to_owned() })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogQuery {
    level: Option<String>,
    after: u64,
    limit: Option<usize>,
    wait_ms: u64,
}

/// `GET /v1/logs`.
pub(super) async fn logs(State(door): DoorState, query: Result<Query<LogQuery>, QueryRejection>) -> Answer {
    let Query(query) = query.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let level = query.level.as_deref().map_or(Ok(Level::INFO), str::parse);
    let level = level.map_err(|_| Problem::bad_request("level is error, warn, info, debug or trace"))?;
    let limit = query.limit.unwrap_or(LOG_LINES_DEFAULT);
    if !(1..=LOG_LINES_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit is a number from 1 to {LOG_LINES_MAX}")));
    }
    let wait = Duration::from_millis(query.wait_ms).min(LOG_WAIT_MAX);
    ok(&door.logs.wait_for_page(level, query.after, limit, wait).await)
}

/// `GET /metrics`.
pub(super) async fn metrics(State(door): DoorState) -> Response {
    for (id, health) in health_of_all(&door.control).await {
        door.metrics.shard(&health.shard).set_up(health.up);
        door.metrics.set_pool(&health.shard, &door.control.statistics(id));
        let (replicas, passed_over) = door.control.replicas(id);
        for replica in &replicas {
            let lag = replica.lag_ms.map(Duration::from_millis);
            door.metrics.set_replica(&health.shard, &replica.replica, replica.readable, lag, &replica.statistics);
        }
        if !replicas.is_empty() {
            door.metrics.set_replicas_passed_over(&health.shard, passed_over);
        }
    }
    let topology = door.control.topology();
    door.metrics.set_topology(topology.epoch.0, &view::slot_counts(&topology));
    for severity in Severity::ALL {
        door.metrics.set_schema_findings(severity.name(), topology.schema.drift.count(severity));
    }
    let mut response = Response::new(Body::from(door.metrics.render()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}
