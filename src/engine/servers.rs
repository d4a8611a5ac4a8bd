//! What shardd knows of the Postgres servers beside their tables: their settings, what they say of themselves, and what may
//! change a session there.
//!
//! All of it can be changed on a server at any time, so it is read again when a session begins and what is known is old.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};

use super::Engine;
use super::settings::{Defaults, WRITES_VALUES};
use crate::error::{Error, Result};
use crate::shard::ShardKind;
use crate::shard::postgres::{Hazards, PostgresShard};
use crate::shard::sqlite::Whereabouts;

/// How old what is known may be when a session begins.
const FRESH: Duration = Duration::from_secs(5);
/// Values that a shard has looked at.
const CHECKED_VALUES: usize = 1_000;

const SETTINGS: &str = "SHOW ALL; SELECT 'is_superuser', pg_catalog.current_setting('is_superuser'), ''";
pub(super) const WHEREABOUTS: &str = "SELECT pg_catalog.version(), pg_catalog.current_schema(), \
    pg_catalog.to_json(pg_catalog.current_schemas(false))::text, pg_catalog.to_json(pg_catalog.current_schemas(true))::text";

#[derive(Debug)]
pub(super) struct Servers {
    known: Arc<ArcSwap<Known>>,
    versions: AtomicU64,
    reading: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) defaults: Arc<Defaults>,
    pub(super) hazards: Arc<Hazards>,
    /// What all shards say to a session that has set nothing; `None`: not the same, or not known.
    pub(super) whereabouts: Option<Arc<Whereabouts>>,
    /// What a shard shows for a setting's name and value.
    pub(super) checked: Arc<quick_cache::sync::Cache<(String, String), Arc<str>>>,
    /// Of the hazards.
    pub(super) version: u64,
    read: Instant,
}

impl Default for Servers {
    fn default() -> Servers {
        let known = Known {
            defaults: Arc::new(Defaults::own()),
            hazards: Arc::default(),
            whereabouts: None,
            checked: Arc::new(quick_cache::sync::Cache::new(CHECKED_VALUES)),
            version: 0,
            read: Instant::now(),
        };
        Servers {
            known: Arc::new(ArcSwap::from_pointee(known)),
            versions: AtomicU64::new(1),
            reading: AtomicBool::new(false),
        }
    }
}

impl Known {
    /// Whether it may be old.
    pub(super) fn is_old(&self) -> bool {
        self.read.elapsed() > FRESH
    }
}

impl Whereabouts {
    /// What a shard answers to [`WHEREABOUTS`].
    pub(super) fn read(rows: Vec<Vec<Option<String>>>) -> Result<Whereabouts> {
        match <[Option<String>; 4]>::try_from(rows.into_iter().next().unwrap_or_default()) {
            Ok([Some(version), schema, Some(schemas), Some(all_schemas)]) => {
                Ok(Whereabouts { version, schema, schemas, all_schemas })
            }
            other => Err(Error::internal(format!("a shard says of itself: {other:?}"))),
        }
    }
}

impl Servers {
    pub(super) fn known(&self) -> arc_swap::Guard<Arc<Known>> {
        self.known.load()
    }

    /// For whoever looks at it again and again.
    pub(super) fn seen(&self) -> Cache<Arc<ArcSwap<Known>>, Arc<Known>> {
        Cache::new(Arc::clone(&self.known))
    }

    fn learn(&self, defaults: Defaults, hazards: Hazards, whereabouts: Option<Arc<Whereabouts>>) {
        let before = self.known.load();
        let version = match *before.hazards == hazards {
            true => before.version,
            false => self.versions.fetch_add(1, Ordering::Relaxed),
        };
        // What these mean is the server's program's to say, and the defaults tell its version.
        let checked = if *before.defaults == defaults {
            before.checked.retain(|(name, _), _| WRITES_VALUES.contains(&name.as_str()));
            Arc::clone(&before.checked)
        } else {
            Arc::new(quick_cache::sync::Cache::new(CHECKED_VALUES))
        };
        let (defaults, hazards) = (Arc::new(defaults), Arc::new(hazards));
        self.known.store(Arc::new(Known { defaults, hazards, whereabouts, checked, version, read: Instant::now() }));
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
        let (mut settings, mut catalog, mut told) = (None, Vec::new(), Vec::new());
        for open in self.shards.load_full().open.values() {
            let shard = open.shard.postgres()?;
            catalog.extend(shard.rows_of(PostgresShard::HAZARDS).await?);
            told.push(Whereabouts::read(shard.rows_of(WHEREABOUTS).await?)?);
            if settings.is_none() {
                settings = Some(shard.rows_of(SETTINGS).await?);
            }
        }
        if let Some(settings) = settings {
            let same = told.windows(2).all(|pair| pair[0] == pair[1]);
            let whereabouts = told.pop().filter(|_| same).map(Arc::new);
            self.servers.learn(Defaults::of_server(&settings), Hazards::read(&catalog), whereabouts);
        }
        Ok(())
    }

    /// Has them read again, when what is known of them is old.
    pub(super) fn refresh_servers(self: &Arc<Self>) {
        let old = self.kind == ShardKind::Postgres && self.servers.known().is_old();
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
