//! New certificates without a restart: at SIGHUP, and when the files have changed, since whoever renews them (a Kubernetes
//! secret, say) cannot always send a signal.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::StartError;
use crate::config::Config;
use crate::tls::LiveTls;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What the configuration encrypts with, kept up to date from now on.
pub(super) fn open(config: &Config) -> Result<Option<Arc<LiveTls>>, StartError> {
    let Some(files) = &config.tls else { return Ok(None) };
    let tls = Arc::new(LiveTls::open(files.clone())?);
    let hang_up = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    tokio::spawn(keep_current(Arc::clone(&tls), hang_up));
    Ok(Some(tls))
}

async fn keep_current(tls: Arc<LiveTls>, mut hang_up: Signal) {
    loop {
        let told = tokio::select! {
            Some(()) = hang_up.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let tls = Arc::clone(&tls);
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
}
