//! Puts the house together: reads the configuration, owns the data directory, opens the catalog and the shards, finishes
//! what a crash had interrupted, opens the doors, and closes everything in order.
//!
//! Whatever can be wrong is found before a door answers: the steps of [`run`] are in that order.

mod banner;
mod control;
mod logging;
mod moves;
mod open;
#[cfg(debug_assertions)]
mod planted;
mod reload;
mod reopen;
mod settings;
mod tables;
mod user_lookup;
mod verification;
mod workers;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::admin::{self, AdminDoor, LogRing, Phase, PhaseCell};
use crate::catalog::DataDirectory;
use crate::config::{Config, Sources};
use crate::engine::Engine;
use crate::front::http::HttpDoor;
use crate::front::postgres::PostgresDoor;
use crate::metrics::{Door, Metrics};
use crate::rebalance::Rebalancer;

pub use logging::start_logging;
use open::ShardOpener;
use reload::Live;
use workers::Workers;

/// Why the server did not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot encrypt the Postgres door: {0}")]
    Tls(#[from] crate::tls::TlsError),
    #[error(
        "cannot make the Unix socket {}: {source}. {}", .path.display(),
        if source.kind() == std::io::ErrorKind::AddrInUse {
            "Another program listens there, or the file is no socket: move it away, or choose another listen.postgres_socket_dir"
        } else {
            "Let listen.postgres_socket_dir be a directory that shardd may write to, with a short path"
        }
    )]
    Socket { path: std::path::PathBuf, source: std::io::Error },
    #[error(transparent)]
    DataDirectory(#[from] crate::catalog::DataDirectoryError),
    #[error(
        "cannot listen on {address} for the {door} door: {source}. {}",
        if source.kind() == std::io::ErrorKind::AddrInUse {
            format!("Another program has the port: stop it, or choose another with {flag} or in the configuration's [listen]")
        } else {
            format!("Choose another address with {flag} or in the configuration's [listen]")
        }
    )]
    Listen { door: &'static str, flag: &'static str, address: SocketAddr, source: std::io::Error },
    #[error("{}", with_causes(.0))]
    Catalog(#[from] crate::catalog::CatalogError),
    #[error("{}{}", .0.message(), .0.get_hint().map(|hint| format!(". {hint}")).unwrap_or_default())]
    Statement(#[from] crate::error::Error),
    #[error(
        "shard \"{postgres}\" is a Postgres server and shard \"{sqlite}\" a SQLite file: the shards of a cluster are all of \
         one kind"
    )]
    MixedShards { postgres: String, sqlite: String },
    #[error("no shard can be opened:\n  {0}")]
    NoShard(String),
    #[error(
        "cannot start the threads that serve clients: {0}. Lower limits.worker_threads, or raise the limit on threads"
    )]
    Threads(std::io::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// An error and what caused it, on one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// What the doors lead to.
struct Inside<'a> {
    engine: &'a Arc<Engine>,
    metrics: &'a Arc<Metrics>,
    workers: &'a Workers,
    opener: ShardOpener,
    moves: Rebalancer,
    live: &'a Live,
}

/// The doors, bound and silent.
struct Doors {
    postgres: PostgresDoor,
    http: HttpDoor,
    admin: AdminDoor,
}

/// Runs the server until it is told to stop. `sources`: where the configuration came from, to be read again.
///
/// # Errors
/// It could not start; nothing was served then.
pub async fn run(config: Config, sources: Sources, logs: Arc<LogRing>) -> Result<(), StartError> {
    // First, so that an order to stop that comes while the shards are opened is followed when they are.
    let stop = stop_signal()?;
    let directory = DataDirectory::own(&config.data_dir)?;
    let early = reload::open(&config)?;
    let doors = Doors::bind(&config).await?;
    let metrics = Arc::new(Metrics::new());
    let (engine, opener, moves) = open::engine(&config, &directory, &metrics).await?;
    let workers = opener.workers();
    let making = tables::make(&engine, &config.database).await?;
    banner::print(&config, &doors, &engine);
    let reopening = tokio::spawn(reopen::until_all_are_open(Arc::clone(&engine), opener.clone()));
    let resolving = tokio::spawn(Arc::clone(&engine).keep_resolving());
    let moving = tokio::spawn(moves.clone().keep_moving());
    let live = reload::live(&early, &config, &engine);
    let inside = Inside { engine: &engine, metrics: &metrics, workers: &workers, opener, moves, live: &live };
    let current = reload::keep_current(early, live.clone(), sources, config.clone(), Arc::clone(&engine));
    let current = tokio::spawn(current);
    serve(doors, &config, inside, logs, stop).await;
    current.abort();
    if let Some(making) = making {
        making.abort();
    }
    reopening.abort();
    resolving.abort();
    moving.abort();
    // Ended, or aborted: no shard is let in any more.
    let _ = reopening.await;
    let _ = moving.await;
    engine.close().await;
    tracing::info!("stopped");
    Ok(())
}

impl Doors {
    /// Addresses by door.
    fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let mut doors = vec![
            ("postgres", self.postgres.local_addr()),
            ("http", self.http.address()),
            ("admin", self.admin.address()),
        ];
        doors.extend(self.postgres.session_addr().map(|address| ("postgres_session", address)));
        doors.into_iter().map(|(door, address)| (door.to_owned(), address)).collect()
    }

    async fn bind(config: &Config) -> Result<Doors, StartError> {
        let listen = config.listen;
        let failed = |door, flag, address| move |source| StartError::Listen { door, flag, address, source };
        let mut postgres = PostgresDoor::bind(listen.postgres).await.map_err(failed(
            "Postgres",
            "--listen-postgres",
            listen.postgres,
        ))?;
        if let Some(address) = listen.postgres_session {
            let failed = failed("Postgres session", "--listen-postgres-session", address);
            postgres.bind_for_sessions(address).await.map_err(failed)?;
        }
        if let Some(directory) = &config.postgres_socket_dir {
            let listening = postgres.listen_in(directory);
            for path in listening.map_err(|(path, source)| StartError::Socket { path, source })? {
                tracing::info!(path = %path.display(), "the Postgres door has a Unix socket");
            }
        }
        Ok(Doors {
            postgres,
            http: HttpDoor::bind(listen.http).await.map_err(failed("HTTP", "--listen-http", listen.http))?,
            admin: AdminDoor::bind(listen.admin).await.map_err(failed("admin", "--listen-admin", listen.admin))?,
        })
    }
}

/// Serves until the signal, and then until each door has let its clients go.
async fn serve(doors: Doors, config: &Config, inside: Inside<'_>, logs: Arc<LogRing>, stop: watch::Receiver<bool>) {
    let Inside { engine, metrics, workers, opener, moves, live } = inside;
    let listeners = doors.addresses();
    let stopped = || {
        let mut stop = stop.clone();
        async move {
            // The sender lives as long as the process; if it were gone, stopping is right.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    };
    let postgres = doors.postgres.serve(
        Arc::clone(engine),
        settings::postgres(config, live),
        Arc::clone(metrics.door(Door::Postgres)),
        settings::sessions(config, metrics),
        workers.handles(),
        stopped(),
    );
    let http = doors.http.serve(Arc::clone(engine), settings::http(config, live), metrics, stopped());
    // The admin door is the last to close, so that a drain can be watched.
    let (clients_gone, gone) = tokio::sync::oneshot::channel::<()>();
    let phase = Arc::new(PhaseCell::new());
    let parts = admin::Parts {
        control: Arc::new(control::EngineControl(Arc::clone(engine), opener, moves)),
        metrics: Arc::clone(metrics),
        logs,
        phase: Arc::clone(&phase),
        settings: settings::admin(config, listeners),
    };
    let admin = doors.admin.serve(parts, async {
        let _ = gone.await;
    });
    let draining = async {
        stopped().await;
        phase.set(Phase::Draining);
    };
    phase.set(Phase::Serving);
    let clients = async {
        tokio::join!(postgres, http, draining);
        let _ = clients_gone.send(());
    };
    tokio::join!(clients, admin);
}

/// Becomes true at the first SIGINT or SIGTERM; a second one ends the process at once.
fn stop_signal() -> Result<watch::Receiver<bool>, StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        for second in [false, true] {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            if second {
                tracing::warn!("{name} again: ending at once");
                std::process::exit(130);
            }
            tracing::info!("{name}: letting clients finish; send it again to end at once");
            sender.send_replace(true);
        }
    });
    Ok(receiver)
}
