//! What shardd knows of the Postgres servers beside their tables: their settings, and what may change a session there.
//!
//! Both can be changed on a server at any time, so they are read again when a session begins and what is known is old.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::Engine;
use super::settings::Defaults;
use crate::error::Result;
use crate::shard::ShardKind;
use crate::shard::postgres::{Hazards, PostgresShard};

/// How old what is known may be when a session begins.
const FRESH: Duration = Duration::from_secs(5);
/// Values that a shard has looked at.
const CHECKED_VALUES: usize = 1_000;

const SETTINGS: &str = "SHOW ALL; SELECT 'is_superuser', pg_catalog.current_setting('is_superuser'), ''";

#[derive(Debug)]
pub(super) struct Servers {
    known: ArcSwap<Known>,
    versions: AtomicU64,
    reading: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) defaults: Arc<Defaults>,
    pub(super) hazards: Arc<Hazards>,
    /// What a shard shows for a setting's name and value.
    pub(super) checked: quick_cache::sync::Cache<(String, String), Arc<str>>,
    /// Of the hazards.
    pub(super) version: u64,
    read: Instant,
}

impl Default for Servers {
    fn default() -> Servers {
        let known = Known::new(Arc::new(Defaults::own()), Arc::default(), 0);
        Servers { known: ArcSwap::from_pointee(known), versions: AtomicU64::new(1), reading: AtomicBool::new(false) }
    }
}

impl Known {
    fn new(defaults: Arc<Defaults>, hazards: Arc<Hazards>, version: u64) -> Known {
        let checked = quick_cache::sync::Cache::new(CHECKED_VALUES);
        Known { defaults, hazards, checked, version, read: Instant::now() }
    }
}

impl Servers {
    pub(super) fn known(&self) -> arc_swap::Guard<Arc<Known>> {
        self.known.load()
    }

    fn learn(&self, defaults: Defaults, hazards: Hazards) {
        let before = self.known.load();
        let version = match *before.hazards == hazards {
            true => before.version,
            false => self.versions.fetch_add(1, Ordering::Relaxed),
        };
        self.known.store(Arc::new(Known::new(Arc::new(defaults), Arc::new(hazards), version)));
    }
}

impl Engine {
    /// Reads the servers' settings and hazards.
    ///
    /// # Errors
    /// A shard cannot be asked.
    pub(super) async fn read_servers(&self) -> Result<()> {
        if self.kind != ShardKind::Postgres {
            return Ok(());
        }
        let (mut settings, mut catalog) = (None, Vec::new());
        for open in self.shards.load_full().open.values() {
            let shard = open.shard.postgres()?;
            catalog.extend(shard.rows_of(PostgresShard::HAZARDS).await?);
            if settings.is_none() {
                settings = Some(shard.rows_of(SETTINGS).await?);
            }
        }
        if let Some(settings) = settings {
            self.servers.learn(Defaults::of_server(&settings), Hazards::read(&catalog));
        }
        Ok(())
    }

    /// Has them read again, when what is known of them is old.
    pub(super) fn refresh_servers(self: &Arc<Self>) {
        let old = self.kind == ShardKind::Postgres && self.servers.known().read.elapsed() > FRESH;
        if !old || self.servers.reading.swap(true, Ordering::AcqRel) {
            return;
        }
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = engine.read_servers().await {
                tracing::warn!(%error, "the settings of the Postgres shards could not be read again");
            }
            engine.servers.reading.store(false, Ordering::Release);
        });
    }
}
