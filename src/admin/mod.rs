//! The operator's door: what shardctl calls, health checks, metrics, and a page for browsers.
//!
//! It asks the server through [`Control`] and knows no shard. Without a token it belongs on loopback, and serves only
//! requests that name a local host, since any page in a browser on the machine could send the others.

mod access;
mod answers;
mod control;
mod health;
mod logs;
mod moves;
mod page;
mod routes;
mod topology_view;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{MethodRouter, get, post};
use tokio::sync::Semaphore;

pub use answers::{
    Analysis, AnalyzeRequest, AnalyzedStatement, ConfigLine, CopiedSummary, ExplainRequest, Explanation, ForceRequest,
    Forced, ForcedOutcome, InDoubtDescription, KeyspaceSlots, KeyspaceStatus, KindChanged, KindRequest, LogEntry,
    LogPage, MoveAction, MoveDescription, MovePlan, MoveRequest, MovedSlots, NewShard, Readiness, ReplicaDescription,
    RouteAnswer, SchemaDiff, SchemaFinding, ShardDescription, ShardHealth, ShardSummary, Status, TableSummary,
    Throttle, Verification, VerificationFlaw, VerifyRequest, VersionAnswer, WeightRequest,
};
pub use control::{AddedShard, Control, Pending, Phase, PhaseCell};
pub use logs::LogRing;

use crate::metrics::{self, Metrics};
use crate::web::{AllowedHosts, ConnectionLimits, Frame, Listener, Secret};

const MAX_CONNECTIONS: usize = 256;
const MAX_REQUESTS_IN_FLIGHT: usize = 128;
const HEAD_TIME: Duration = Duration::from_secs(60);
const DRAIN_TIME: Duration = Duration::from_secs(2);
const BODY_TIME: Duration = Duration::from_secs(10);
const BODY_MAX_BYTES: usize = 1024 * 1024;
/// Of statements that are only looked at.
const ANALYZED_MAX_BYTES: usize = 16 * 1024 * 1024;

/// How the door behaves. Made from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Asked for by every path but the health checks and the empty page. Without one, bind to loopback only.
    pub token: Option<Secret>,
    /// Names by which the door may be called, beside loopback's, while it has no token.
    pub allowed_hosts: Vec<String>,
    /// The configuration as `shardctl config show` prints it, without secrets.
    pub config: Vec<ConfigLine>,
    /// What the server listens on: (door, address).
    pub listeners: Vec<(String, SocketAddr)>,
    pub database: String,
}

/// What the door serves from.
pub struct Parts {
    pub control: Arc<dyn Control>,
    pub metrics: Arc<Metrics>,
    pub logs: Arc<LogRing>,
    pub phase: Arc<PhaseCell>,
    pub settings: Settings,
}

/// What all requests share.
struct Door {
    control: Arc<dyn Control>,
    metrics: Arc<Metrics>,
    logs: Arc<LogRing>,
    phase: Arc<PhaseCell>,
    settings: Settings,
    started: Instant,
}

/// The door, bound to its port.
#[derive(Debug)]
pub struct AdminDoor {
    listener: Listener,
}

impl AdminDoor {
    /// # Errors
    /// The address is in use, or not this machine's.
    pub async fn bind(address: SocketAddr) -> std::io::Result<AdminDoor> {
        Ok(AdminDoor { listener: Listener::bind(address).await? })
    }

    /// With the port that was given, when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Answers requests until `shutdown`. Close it after the other doors, so that draining can be watched.
    pub async fn serve(self, parts: Parts, shutdown: impl Future<Output = ()>) {
        let limits =
            ConnectionLimits { max_connections: MAX_CONNECTIONS, head_timeout: HEAD_TIME, drain_timeout: DRAIN_TIME };
        let counted = Arc::clone(parts.metrics.door(metrics::Door::Admin));
        let router = framed(parts, self.address());
        self.listener.serve(router, limits, counted, shutdown).await;
    }
}

fn framed(parts: Parts, own: SocketAddr) -> Router {
    let hosts = match parts.settings.token {
        None => AllowedHosts::Local { own: own.ip(), names: parts.settings.allowed_hosts.clone() },
        Some(_) => AllowedHosts::Any,
    };
    let in_flight = Arc::new(Semaphore::new(MAX_REQUESTS_IN_FLIGHT));
    let paths = "This is the admin door: use shardctl, or open / in a browser. Data is at the HTTP door.";
    let frame = Frame { door: "admin", paths, hosts, in_flight };
    let Parts { control, metrics, logs, phase, settings } = parts;
    let door = Door { control, metrics, logs, phase, settings, started: Instant::now() };
    frame.around(router(Arc::new(door)))
}

/// What needs the token, where there is one.
fn guarded_routes() -> Vec<(&'static str, MethodRouter<Arc<Door>>)> {
    vec![
        ("/v1/status", get(routes::status)),
        ("/v1/shards", get(routes::shards).post(routes::add_shard)),
        ("/v1/shards/{shard}", get(routes::describe)),
        ("/v1/shards/{shard}/weight", post(moves::weigh)),
        ("/v1/tables", get(routes::tables)),
        ("/v1/tables/{table}/kind", post(routes::change_kind)),
        ("/v1/schema/diff", get(routes::schema_diff)),
        ("/v1/transactions", get(routes::transactions)),
        ("/v1/transactions/resolve", post(routes::resolve_transactions)),
        ("/v1/transactions/force", post(routes::force_transaction)),
        ("/v1/moves", get(moves::list).post(moves::start)),
        ("/v1/moves/{id}", get(moves::describe)),
        ("/v1/moves/{id}/{action}", post(moves::change)),
        ("/v1/throttle", post(moves::throttle)),
        ("/v1/verify", post(routes::verify)),
        ("/v1/route", get(routes::route)),
        ("/v1/explain", post(routes::explain)),
        ("/v1/analyze", post(routes::analyze)),
        ("/v1/config", get(routes::config)),
        ("/v1/logs", get(routes::logs)),
        ("/v1/version", get(routes::version)),
        ("/metrics", get(routes::metrics)),
    ]
}

fn router(door: Arc<Door>) -> Router {
    let mut router = Router::new();
    for (path, methods) in guarded_routes() {
        router = router.route(path, methods);
    }
    let token = Arc::new(door.settings.token.clone());
    router
        .route_layer(axum::middleware::from_fn_with_state(token, access::require_token))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/", get(page::page))
        .route("/console.css", get(page::style))
        .route("/console.js", get(page::script))
        .with_state(door)
}

#[cfg(test)]
mod tests;
