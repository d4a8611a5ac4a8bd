//! The HTTP door: key-value entries, and SQL, on a listener of its own.
//!
//! It decodes requests into statements of an `engine::Session` and encodes their answers. `kv` keeps values under keys,
//! `sql` runs any statement, `openapi` describes both, `auth` says who may ask. `web` holds what is the same for the
//! admin door.

mod auth;
mod kv;
mod openapi;
mod sql;
mod statement;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::routing::{MethodRouter, get, post};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::engine::Engine;
use crate::metrics::{self, Metrics};
use crate::web::{AllowedHosts, ConnectionLimits, Frame, Listener};
use auth::{Authenticator, authenticate};

pub(crate) use auth::Caller;
pub use auth::{Callers, LiveCallers, Token};
pub use kv::{CREATE_TABLES, ensure_schema};

/// How often records of idempotency keys that are past their time are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How the door behaves. Made from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database that requests are for.
    pub database: String,
    /// Without users and tokens the door is open; bind it to loopback only then.
    pub callers: Arc<LiveCallers>,
    /// Names by which the door may be called, beside loopback's, while it is open.
    pub allowed_hosts: Vec<String>,
    /// Writes to entries without a precondition are refused with 428.
    pub require_preconditions: bool,
    pub value_max_bytes: usize,
    /// Of a JSON body.
    pub body_max_bytes: usize,
    pub result_max_rows: usize,
    pub result_max_bytes: usize,
    pub max_connections: usize,
    pub max_requests_in_flight: usize,
    /// For a request's head to arrive, and for a connection to stay idle.
    pub head_time: Duration,
    pub body_time: Duration,
    /// For a request's statements.
    pub request_time: Duration,
    /// For requests that have begun when the door closes.
    pub drain_time: Duration,
    /// How long the answer to an idempotency key is kept.
    pub idempotency_time: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        const MIB: usize = 1024 * 1024;
        Settings {
            database: "tickets".to_owned(),
            callers: Arc::default(),
            allowed_hosts: Vec::new(),
            require_preconditions: false,
            value_max_bytes: MIB,
            body_max_bytes: 8 * MIB,
            result_max_rows: 10_000,
            result_max_bytes: 16 * MIB,
            max_connections: 10_000,
            max_requests_in_flight: 1_000,
            head_time: Duration::from_secs(60),
            body_time: Duration::from_secs(30),
            request_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(10),
            idempotency_time: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What all requests share.
pub(crate) struct Door {
    engine: Arc<Engine>,
    settings: Settings,
    kv: kv::Store,
}

/// The door, bound to its port.
#[derive(Debug)]
pub struct HttpDoor {
    listener: Listener,
}

impl HttpDoor {
    /// # Errors
    /// The address is in use, or not this machine's.
    pub async fn bind(address: SocketAddr) -> std::io::Result<HttpDoor> {
        Ok(HttpDoor { listener: Listener::bind(address).await? })
    }

    /// With the port that was given, when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Answers requests until `shutdown`, then those that have begun. [`ensure_schema`] comes first.
    pub async fn serve(
        self,
        engine: Arc<Engine>,
        settings: Settings,
        metrics: &Metrics,
        shutdown: impl Future<Output = ()>,
    ) {
        let limits = ConnectionLimits {
            max_connections: settings.max_connections,
            head_timeout: settings.head_time,
            drain_timeout: settings.drain_time,
        };
        let kv = kv::Store::new(
            Arc::clone(&engine),
            settings.database.clone(),
            settings.request_time,
            settings.idempotency_time,
        );
        let router_settings = settings.clone();
        let door = Arc::new(Door { engine, settings, kv });
        let router = framed(router(Arc::clone(&door)), &router_settings, self.address());
        let metrics = Arc::clone(metrics.door(metrics::Door::Http));
        let serving = self.listener.serve(router, limits, metrics, shutdown);
        tokio::select! {
            () = serving => {}
            () = sweep_for_ever(&door) => {}
        }
    }
}

fn framed(router: Router, settings: &Settings, own: SocketAddr) -> Router {
    let hosts = match settings.callers.is_open() {
        true => AllowedHosts::Local { own: own.ip(), names: settings.allowed_hosts.clone() },
        false => AllowedHosts::Any,
    };
    let in_flight = Arc::new(Semaphore::new(settings.max_requests_in_flight));
    let paths = "GET /openapi.json lists the paths. A / in a key is written %2F.";
    Frame { door: "http", paths, hosts, in_flight }.around(router)
}

async fn sweep_for_ever(door: &Door) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        match door.kv.sweep().await {
            Ok(0) => {}
            Ok(records) => tracing::debug!(records, "forgot idempotency keys that are past their time"),
            Err(error) => tracing::warn!(%error, "cannot look for idempotency keys that are past their time"),
        }
    }
}

/// The paths under which a client must say who it is, and what answers them. `openapi` must name the same.
fn routes() -> Vec<(&'static str, MethodRouter<Arc<Door>>)> {
    vec![
        ("/v1/kv", get(kv::list)),
        ("/v1/kv/{key}", get(kv::get).put(kv::put).delete(kv::delete)),
        ("/v1/kv:batch", post(kv::batch)),
        ("/v1/sql", post(sql::run)),
    ]
}

fn router(door: Arc<Door>) -> Router {
    let authenticator = Arc::new(Authenticator::new(Arc::clone(&door.settings.callers)));
    let mut router = Router::new();
    for (path, methods) in routes() {
        router = router.route(path, methods);
    }
    router
        .route_layer(axum::middleware::from_fn_with_state(authenticator, authenticate))
        .route("/openapi.json", get(openapi::document))
        .with_state(door)
}

fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
