//! Settings of Postgres shards: a shard is asked what it makes of a value, and what it has where the session has set nothing.

use std::sync::Arc;

use super::session::Session;
use super::settings::shown_everywhere;
use crate::error::{Error, Fault, Result, SqlState};
use crate::shard::ShardTransaction;
use crate::shard::postgres::{SessionSettings, quoted};

impl Session {
    /// Has a shard look at the settings of the start-up message.
    ///
    /// # Errors
    /// It refuses one.
    pub async fn check_startup(&mut self) -> Result<()> {
        let unchecked = self.settings.unchecked();
        if unchecked.is_empty() {
            return Ok(());
        }
        for (name, _) in &unchecked {
            // The value itself is in the question.
            self.settings.restore(name, None);
        }
        for (name, value) in &unchecked {
            self.apply_setting(name, value).await?;
        }
        self.settings.checked_at_startup();
        Ok(())
    }

    /// Sets, and gives the value as it is now shown.
    pub(super) async fn apply_setting(&mut self, name: &str, value: &str) -> Result<String> {
        self.settings_touched = true;
        if !self.settings.asks_shard(name) {
            return self.settings.set(name, value);
        }
        let shown = self.looked_at(name, value).await?;
        self.settings.set_checked(name, &shown)?;
        Ok(shown.to_string())
    }

    /// A value as a shard shows it.
    ///
    /// # Errors
    /// The shard's own, for a value or a name that it does not take.
    async fn looked_at(&mut self, name: &str, value: &str) -> Result<Arc<str>> {
        let key = (name.to_lowercase(), value.to_owned());
        if let Some(shown) = shown_everywhere(&key.0, value) {
            return Ok(shown.into());
        }
        let depends = self.settings.answers_depend_on_session(name);
        let known = self.engine.servers.known();
        if let Some(shown) = known.checked.get(&key).filter(|_| !depends) {
            return Ok(shown);
        }
        drop(known);
        let text = format!("SELECT pg_catalog.set_config({}, {}, true)", quoted(name), quoted(value));
        let shown: Arc<str> = self.ask(&text).await?.into();
        if !depends {
            self.engine.servers.known().checked.insert(key, Arc::clone(&shown));
        }
        Ok(shown)
    }

    /// A setting's value where the session has not set it and shardd does not know it.
    ///
    /// # Errors
    /// 42704 for a name that no server knows.
    pub(super) async fn servers_value(&mut self, name: &str) -> Result<String> {
        self.ask(&format!("SELECT pg_catalog.current_setting({})", quoted(name))).await
    }

    /// The one value that a text gives.
    async fn ask(&mut self, text: &str) -> Result<String> {
        let value = self.ask_rows(text).await?.into_iter().flatten().next().flatten();
        value.ok_or_else(|| Error::new(SqlState::INTERNAL_ERROR, "a shard gave no value for a setting"))
    }

    /// The rows that a text gives, on a shard of the open transaction or any. It leaves nothing behind.
    pub(super) async fn ask_rows(&mut self, text: &str) -> Result<Vec<Vec<Option<String>>>> {
        let settings = Arc::clone(self.settings.for_shards());
        let own = self.transaction.as_mut().and_then(|transaction| transaction.participants.first_mut());
        let rows = match own.map(|participant| &mut participant.transaction) {
            Some(ShardTransaction::Postgres(transaction)) => transaction.rows_of(text, &settings).await,
            _ => self.ask_any(text, &settings).await,
        };
        rows.map_err(Error::without_position)
    }

    /// One shard's trouble is none of what any can answer.
    async fn ask_any(&self, text: &str, settings: &Arc<SessionSettings>) -> Result<Vec<Vec<Option<String>>>> {
        let mut others = self.engine.shards.load().open.len();
        loop {
            others = others.saturating_sub(1);
            let shard = self.any_shard()?;
            let rows =
                self.engine.shard(shard)?.postgres()?.rows_with(text, settings, self.keeper(), &self.cancel).await;
            match rows {
                Err(error) if others > 0 && error.get_fault() == Fault::Shard => {}
                rows => return rows,
            }
        }
    }
}
