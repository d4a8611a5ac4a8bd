//! The last log events, kept in memory for `shardctl logs`.
//!
//! A layer of tracing: it sees what the configured filter lets through. Bounded in entries and in the length of each.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::answers::{LogEntry, LogPage};

const ENTRIES_MAX: usize = 2_000;
const TEXT_MAX_BYTES: usize = 4 * 1024;
const FIELDS_MAX: usize = 16;

/// A ring of the last events.
#[derive(Debug)]
pub struct LogRing {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Kept>,
    /// The number of the entry that comes next; the first is 1.
    written: u64,
}

#[derive(Debug)]
struct Kept {
    level: Level,
    since_1970: Duration,
    target: String,
    message: String,
    fields: BTreeMap<String, String>,
    number: u64,
}

impl Default for LogRing {
    fn default() -> LogRing {
        LogRing { ring: Mutex::default(), newest: watch::Sender::new(0) }
    }
}

impl LogRing {
    pub fn new() -> Arc<LogRing> {
        Arc::default()
    }

    /// What to give to `tracing_subscriber::registry().with(...)`.
    pub fn layer<S: Subscriber>(self: &Arc<Self>) -> impl Layer<S> + use<S> {
        RingLayer(Arc::clone(self))
    }

    fn keep(&self, mut entry: Kept) {
        let number = {
            let mut ring = self.ring.lock();
            ring.written += 1;
            entry.number = ring.written;
            if ring.entries.len() == ENTRIES_MAX {
                ring.entries.pop_front();
            }
            ring.entries.push_back(entry);
            ring.written
        };
        self.newest.send_replace(number);
    }

    /// Entries at least as grave as `level` that come after the entry number `after`, the newest `limit` of them when
    /// `after` is 0 and the oldest `limit` otherwise.
    pub(super) fn page(&self, level: Level, after: u64, limit: usize) -> LogPage {
        let ring = self.ring.lock();
        let wanted = ring.entries.iter().filter(|entry| entry.number > after && entry.level <= level);
        let oldest_kept = ring.entries.front().map_or(ring.written + 1, |entry| entry.number);
        let missed = after > 0 && after + 1 < oldest_kept;
        let entries: Vec<LogEntry> = match after {
            0 => {
                let mut newest: Vec<_> = wanted.rev().take(limit).map(Kept::shown).collect();
                newest.reverse();
                newest
            }
            _ => wanted.take(limit).map(Kept::shown).collect(),
        };
        // When the page is full there may be more behind it; else everything up to now was looked at.
        let next = match entries.last() {
            Some(last) if entries.len() == limit => last.number,
            _ => ring.written.max(after),
        };
        LogPage { entries, next, missed }
    }

    /// As [`LogRing::page`], waiting for at most `wait` while there is nothing to give.
    pub(super) async fn wait_for_page(&self, level: Level, after: u64, limit: usize, wait: Duration) -> LogPage {
        let mut newest = self.newest.subscribe();
        let deadline = tokio::time::Instant::now() + wait;
        let mut seen = after;
        loop {
            let page = self.page(level, seen, limit);
            if !page.entries.is_empty() || page.missed {
                return page;
            }
            seen = page.next;
            let arrived = newest.wait_for(|number| *number > seen);
            if tokio::time::timeout_at(deadline, arrived).await.is_err() {
                return page;
            }
        }
    }
}

impl Kept {
    fn shown(&self) -> LogEntry {
        LogEntry {
            number: self.number,
            time: rfc3339(self.since_1970),
            level: self.level.as_str().to_ascii_lowercase(),
            target: self.target.clone(),
            message: self.message.clone(),
            fields: self.fields.clone(),
        }
    }
}

struct RingLayer(Arc<LogRing>);

impl<S: Subscriber> Layer<S> for RingLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.keep(Kept {
            level: *event.metadata().level(),
            since_1970: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            target: event.metadata().target().to_owned(),
            message: fields.message,
            fields: fields.others,
            number: 0,
        });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: BTreeMap<String, String>,
}

impl Fields {
    fn keep(&mut self, field: &Field, text: &str) {
        let text = cut(text);
        if field.name() == "message" {
            text.clone_into(&mut self.message);
        } else if self.others.len() < FIELDS_MAX {
            self.others.insert(field.name().to_owned(), text.to_owned());
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.keep(field, &text);
    }
}

/// A text of at most [`TEXT_MAX_BYTES`], whole characters only.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX_BYTES)]
}

fn rfc3339(since_1970: Duration) -> String {
    let microseconds = i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX);
    crate::web::rfc3339(microseconds.saturating_sub(UNIX_TO_2000_US))
}

const UNIX_TO_2000_US: i64 = 946_684_800_000_000;

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;

    fn logged(ring: &Arc<LogRing>, work: impl FnOnce()) {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(ring.layer()), work);
    }

    #[test]
    fn events_are_kept_with_their_fields() {
        let ring = LogRing::new();
        logged(&ring, || tracing::warn!(shard = "s1", attempts = 3, "shard does not answer"));
        let page = ring.page(Level::INFO, 0, 10);
        assert_eq!(page.entries.len(), 1);
        let entry = &page.entries[0];
        assert_eq!((entry.level.as_str(), entry.message.as_str()), ("warn", "shard does not answer"));
        assert_eq!((entry.fields["shard"].as_str(), entry.fields["attempts"].as_str()), ("s1", "3"));
        assert_eq!(page.next, 1);
    }

    #[test]
    fn a_level_leaves_out_what_is_less_grave() {
        let ring = LogRing::new();
        logged(&ring, || {
            tracing::info!("a");
            tracing::error!("b");
            tracing::debug!("c");
        });
        let messages =
            |level| -> Vec<String> { ring.page(level, 0, 10).entries.into_iter().map(|entry| entry.message).collect() };
        assert_eq!(messages(Level::WARN), ["b"]);
        assert_eq!(messages(Level::DEBUG), ["a", "b", "c"]);
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let ring = LogRing::new();
        logged(&ring, || (1..=7).for_each(|number| tracing::info!("{number}")));
        let newest = ring.page(Level::INFO, 0, 3);
        assert_eq!(newest.entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [5, 6, 7]);
        let first = ring.page(Level::INFO, 1, 3);
        let second = ring.page(Level::INFO, first.next, 3);
        let third = ring.page(Level::INFO, second.next, 3);
        let numbers = |page: &LogPage| page.entries.iter().map(|entry| entry.number).collect::<Vec<_>>();
        assert_eq!((numbers(&first), numbers(&second), numbers(&third)), (vec![2, 3, 4], vec![5, 6, 7], vec![]));
        assert!(!first.missed);
    }

    #[test]
    fn the_ring_is_bounded_and_says_what_was_missed() {
        let ring = LogRing::new();
        logged(&ring, || (0..ENTRIES_MAX + 5).for_each(|number| tracing::info!("{number}")));
        assert_eq!(ring.page(Level::INFO, 0, usize::MAX).entries.len(), ENTRIES_MAX);
        assert!(ring.page(Level::INFO, 2, 1).missed);
        assert!(!ring.page(Level::INFO, 5, 1).missed);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut(&"é".repeat(TEXT_MAX_BYTES)).len(), TEXT_MAX_BYTES);
        assert_eq!(cut(&format!("a{}", "é".repeat(TEXT_MAX_BYTES))).len(), TEXT_MAX_BYTES - 1);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_given_what_comes() {
        let ring = LogRing::new();
        logged(&ring, || tracing::info!("old"));
        let waiting = {
            let ring = Arc::clone(&ring);
            tokio::spawn(async move { ring.wait_for_page(Level::INFO, 1, 10, Duration::from_secs(60)).await })
        };
        tokio::task::yield_now().await;
        logged(&ring, || tracing::debug!("not this"));
        logged(&ring, || tracing::info!("new"));
        let page = waiting.await.unwrap();
        assert_eq!(page.entries.iter().map(|entry| entry.message.as_str()).collect::<Vec<_>>(), ["new"]);
        let empty = ring.wait_for_page(Level::INFO, page.next, 10, Duration::from_millis(20)).await;
        assert_eq!((empty.entries.len(), empty.next), (0, page.next));
    }
}
