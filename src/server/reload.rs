//! What changes without a restart: at SIGHUP who may come in, and what is encrypted with; certificates also when their files
//! have changed, since whoever renews them (a Kubernetes secret, say) cannot always send a signal.
//!
//! All of a configuration is taken or nothing. Who is connected stays so.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::StartError;
use super::settings;
use crate::config::{Config, Limits, Sources, needing_a_restart};
use crate::engine::Engine;
use crate::front::{http, postgres};
use crate::tls::LiveTls;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What the doors look at when somebody comes.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) tls: Option<Arc<LiveTls>>,
    pub(super) users: Arc<postgres::LiveUsers>,
    pub(super) callers: Arc<http::LiveCallers>,
}

/// The signal, and what it is for while there are no doors yet.
pub(super) struct Early {
    pub(super) tls: Option<Arc<LiveTls>>,
    hang_up: Option<Signal>,
}

/// Reads what is encrypted with, and begins to catch the signal. A server without users and certificates that runs in a
/// terminal ends with it.
pub(super) fn open(config: &Config) -> Result<Early, StartError> {
    let tls = config.tls.clone().map(LiveTls::open).transpose()?.map(Arc::new);
    let guarded = tls.is_some() || !config.users.is_empty() || !config.tokens.is_empty() || config.auth_query.is_some();
    let caught = guarded || !std::io::stderr().is_terminal();
    let hang_up = caught.then(|| signal(SignalKind::hangup())).transpose().map_err(StartError::Signals)?;
    Ok(Early { tls, hang_up })
}

/// Who may come in, to begin with.
pub(super) fn live(early: &Early, config: &Config, engine: &Arc<Engine>) -> Live {
    Live {
        tls: early.tls.clone(),
        users: Arc::new(postgres::LiveUsers::new(settings::users(config, engine))),
        callers: Arc::new(http::LiveCallers::new(settings::callers(config))),
    }
}

/// Keeps it up to date for ever.
pub(super) async fn keep_current(early: Early, live: Live, sources: Sources, mut config: Config, engine: Arc<Engine>) {
    let mut hang_up = early.hang_up;
    loop {
        let told = async {
            match &mut hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(()) = told => {
                if let Some(read) = read_again(&sources).await {
                    config = take(&live, config, read, &engine).await;
                }
            }
            () = tokio::time::sleep(LOOK_EVERY), if live.tls.is_some() => reload_tls(&live, false).await,
        }
    }
}

async fn read_again(sources: &Sources) -> Option<Config> {
    let sources = sources.clone();
    // Passwords are hashed, and the disk may take its time.
    match tokio::task::spawn_blocking(move || Config::load(&sources)).await {
        Ok(Ok(config)) => Some(config),
        Ok(Err(errors)) => {
            for problem in &errors.problems {
                tracing::error!("cannot take the new configuration: {problem}");
            }
            tracing::error!(problems = errors.problems.len(), "what held before goes on");
            None
        }
        Err(error) => {
            tracing::error!(%error, "cannot read the configuration again");
            None
        }
    }
}

/// Takes what can be taken, and gives the configuration that holds.
async fn take(live: &Live, mut before: Config, read: Config, engine: &Arc<Engine>) -> Config {
    let is_open = |config: &Config| config.users.is_empty() && config.auth_query.is_none();
    let http_is_open = |config: &Config| is_open(config) && config.tokens.is_empty();
    if (is_open(&read) && !is_open(&before)) || (http_is_open(&read) && !http_is_open(&before)) {
        tracing::error!(
            "cannot take the new configuration: a door would let everybody in, which takes a restart; what held before goes on"
        );
        return before;
    }
    reload_tls(live, true).await;
    // Its connections to the shards are kept unless something about them changed.
    let same_lookup = before.auth_query == read.auth_query
        && before.limits.auth_query_timeout_ms == read.limits.auth_query_timeout_ms
        && before.limits.auth_query_keep_ms == read.limits.auth_query_keep_ms
        && before.limits.auth_query_max_clients == read.limits.auth_query_max_clients;
    match same_lookup {
        true => live.users.replace_named(settings::accounts(&read)),
        false => live.users.replace(settings::users(&read, engine)),
    }
    live.callers.replace(settings::callers(&read));
    let restart = needing_a_restart(&before, &read);
    if !restart.is_empty() {
        tracing::warn!(keys = restart.join(", "), "settings have changed that only a restart takes");
    }
    tracing::info!(
        users = read.users.len(),
        tokens = read.tokens.len(),
        "read the configuration again; those who come from now on are judged by it"
    );
    // What needs a restart is told at every signal until there was one.
    before.limits = Limits {
        auth_query_timeout_ms: read.limits.auth_query_timeout_ms,
        auth_query_keep_ms: read.limits.auth_query_keep_ms,
        auth_query_max_clients: read.limits.auth_query_max_clients,
        ..before.limits
    };
    (before.users, before.tokens, before.auth_query) = (read.users, read.tokens, read.auth_query);
    before
}

async fn reload_tls(live: &Live, told: bool) {
    let Some(tls) = live.tls.clone() else { return };
    // The files may be on a disk that takes its time.
    let looked = tokio::task::spawn_blocking(move || (told || tls.changed()).then(|| tls.reload())).await;
    match looked {
        Ok(None) => {}
        Ok(Some(Ok(()))) => tracing::info!("read the TLS certificate and key again; new connections take them"),
        Ok(Some(Err(error))) => {
            tracing::error!(%error, "cannot take the new TLS files: the old ones stay in use until the files change");
        }
        Err(error) => tracing::error!(%error, "cannot look at the TLS files"),
    }
}
