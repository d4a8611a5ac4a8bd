//! What each door is told of the configuration.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::open::size;
use super::reload::Live;
use crate::admin::{self, ConfigLine};
use crate::config::{Config, Credential, Shown, Token};
use crate::engine::Engine;
use crate::front::{http, postgres};
use crate::metrics::{Door, Metrics};
use crate::web::Secret;
use crate::wire::scram::Verifier;

pub(super) fn users(config: &Config, engine: &Arc<Engine>) -> postgres::Users {
    postgres::Users { named: accounts(config), lookup: super::user_lookup::lookup(config, engine) }
}

pub(super) fn accounts(config: &Config) -> HashMap<String, postgres::Account> {
    let credential = |credential: &Credential| match credential.clone() {
        Credential::Password(verifier) => postgres::Credential::Password(verifier),
        Credential::Certificate(name) => postgres::Credential::Certificate(name),
        Credential::Both(verifier, name) => postgres::Credential::Both(verifier, name),
    };
    let accounts = config.users.iter().map(|user| {
        let account = postgres::Account {
            credential: credential(&user.credential),
            require_tls: user.require_tls,
            connection_limit: user.max_clients.map(size),
            read_only: user.read_only,
        };
        (user.name.clone(), account)
    });
    accounts.collect()
}

pub(super) fn callers(config: &Config) -> http::Callers {
    let tokens = config.tokens.iter().map(token).collect();
    http::Callers { users: verifiers(config), tokens, others: config.auth_query.is_some() }
}

/// At the HTTP door nobody can show a certificate. A user who has to is there, so that the door is not taken for one
/// without users, with a password that nobody knows.
fn verifiers(config: &Config) -> HashMap<String, Verifier> {
    let nobodys = rand::random();
    let verifier = |name: &str, credential: &Credential| match credential {
        Credential::Password(verifier) => verifier.clone(),
        Credential::Certificate(_) | Credential::Both(..) => Verifier::mock(name, &nobodys),
    };
    config.users.iter().map(|user| (user.name.clone(), verifier(&user.name, &user.credential))).collect()
}

fn milliseconds(limit: u64) -> Duration {
    Duration::from_millis(limit)
}

/// 0 is no limit.
fn optional(limit: u64) -> Option<Duration> {
    (limit > 0).then(|| milliseconds(limit))
}

fn token(configured: &Token) -> http::Token {
    http::Token { secret: Secret::new(configured.token.reveal()), user: configured.user.clone() }
}

pub(super) fn postgres(config: &Config, live: &Live) -> postgres::Settings {
    let limits = &config.limits;
    postgres::Settings {
        users: Arc::clone(&live.users),
        tls: live.tls.clone(),
        require_tls: config.require_tls,
        trust_network: config.allow_insecure_listener,
        client_limit: size(limits.max_clients),
        message_limit_bytes: size(limits.max_message_bytes),
        startup_timeout: milliseconds(limits.login_timeout_ms),
        statement_timeout: optional(limits.statement_timeout_ms),
        idle_in_transaction_timeout: optional(limits.idle_in_transaction_timeout_ms),
        shutdown_grace: milliseconds(limits.shutdown_grace_ms),
    }
}

pub(super) fn sessions(config: &Config, metrics: &Metrics) -> postgres::Sessions {
    let idle_timeout = optional(config.limits.idle_session_timeout_ms);
    postgres::Sessions { metrics: Arc::clone(metrics.door(Door::PostgresSession)), idle_timeout }
}

pub(super) fn http(config: &Config, live: &Live) -> http::Settings {
    let limits = &config.limits;
    http::Settings {
        database: config.database.clone(),
        callers: Arc::clone(&live.callers),
        allowed_hosts: config.allowed_hosts.clone(),
        require_preconditions: config.require_preconditions,
        value_max_bytes: size(limits.kv_value_max_bytes),
        body_max_bytes: size(limits.http_body_max_bytes),
        result_max_rows: size(limits.http_result_max_rows),
        result_max_bytes: size(limits.http_result_max_bytes),
        max_connections: size(limits.max_http_connections),
        max_requests_in_flight: size(limits.max_http_requests),
        head_time: milliseconds(limits.http_head_timeout_ms),
        body_time: milliseconds(limits.http_body_timeout_ms),
        request_time: milliseconds(limits.http_request_timeout_ms),
        drain_time: milliseconds(limits.shutdown_grace_ms),
        idempotency_time: milliseconds(limits.http_idempotency_keep_ms),
    }
}

pub(super) fn admin(config: &Config, listeners: Vec<(String, SocketAddr)>) -> admin::Settings {
    let line = |shown: Shown| ConfigLine { key: shown.key, value: shown.value, origin: shown.origin };
    admin::Settings {
        token: config.admin_token.as_ref().map(|token| Secret::new(token.reveal())),
        allowed_hosts: config.allowed_hosts.clone(),
        config: config.shown().into_iter().map(line).collect(),
        listeners,
        database: config.database.clone(),
    }
}
