//! How old what a replica shows is. Pure.
//!
//! The shard's own server is asked, again and again, how far its log has come. A replica that has replayed up to a place
//! shows everything that was committed before the server was asked and gave that place, so its age is known without
//! comparing clocks or waiting for somebody to write: a server where nothing is written leaves no replica behind.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// A place in the write-ahead log, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogPlace(u64);

/// Samples that are kept.
const SAMPLES: usize = 256;
/// Samples that are older than the last one by this part of the allowed age need not be told apart.
const SPACING_PARTS: u32 = 100;
/// A page of the log, and what of its head may be counted before the first record is there.
const PAGE_BYTES: u64 = 8192;
const PAGE_HEAD_BYTES: u64 = 40;

impl LogPlace {
    /// Reads `16/B374D848`; `None` for what is none.
    pub(super) fn parse(text: &str) -> Option<LogPlace> {
        let (high, low) = text.split_once('/')?;
        let part = |text: &str| u32::from_str_radix(text, 16).ok().map(u64::from);
        Some(LogPlace(part(high)? << 32 | part(low)?))
    }

    /// The end of what was written, for the place where the next record will begin: that may be behind a page's head.
    pub(super) fn end_of_written(self) -> LogPlace {
        let into_page = self.0 % PAGE_BYTES;
        LogPlace(if into_page <= PAGE_HEAD_BYTES { self.0 - into_page } else { self.0 })
    }
}

/// What tells a server's history from another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lineage {
    pub(super) system: String,
    pub(super) timeline: u32,
}

/// What the shard's own server said.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Before it was asked.
    pub(super) asked: Instant,
    pub(super) lineage: Lineage,
    /// The end of its log; `None`: it is in recovery.
    pub(super) end: Option<LogPlace>,
}

/// What a replica said.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) lineage: Lineage,
    /// How far it has replayed; `None`: it is not in recovery.
    pub(super) replayed: Option<LogPlace>,
}

/// What is to be thought of a replica.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Judgement {
    /// Nothing is known of the shard's own server since the replica could last be read.
    Unknown,
    /// It shows everything that was committed before `shows`.
    Follows {
        shows: Instant,
        lag: Duration,
    },
    /// It shows less than can be told; it is older than this.
    Behind {
        at_least: Duration,
    },
    Unfit(&'static str),
}

/// The samples since the schema last changed.
#[derive(Debug)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    /// Counts the changes.
    pub(super) generation: u64,
    spacing: Duration,
}

impl History {
    pub(super) fn new(allowed_age: Duration) -> History {
        History { samples: VecDeque::new(), generation: 0, spacing: allowed_age / SPACING_PARTS }
    }

    /// Forgets what was before now: a replica must show this moment before it is read again.
    pub(super) fn begin_anew(&mut self) {
        self.samples.clear();
        self.generation += 1;
    }

    /// Adds what the server said when it was asked in this generation.
    pub(super) fn add(&mut self, sample: Sample, generation: u64) {
        if generation != self.generation {
            return;
        }
        if self.samples.back().is_some_and(|last| last.lineage != sample.lineage) {
            self.samples.clear();
        }
        if let [.., before, last] = self.samples.make_contiguous()
            && last.asked.duration_since(before.asked) < self.spacing
        {
            self.samples.pop_back();
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    pub(super) fn judge(&self, seen: &Seen, now: Instant) -> Judgement {
        let Some(replayed) = seen.replayed else {
            return Judgement::Unfit("it is not in recovery, so it is no replica");
        };
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else { return Judgement::Unknown };
        if last.end.is_none() {
            return Judgement::Unfit("the shard's own server is in recovery itself");
        }
        if seen.lineage.system != last.lineage.system {
            return Judgement::Unfit("it is a replica of another server");
        }
        if seen.lineage.timeline != last.lineage.timeline {
            return Judgement::Unfit("it does not follow the timeline of the shard's own server");
        }
        let is_shown = |sample: &&Sample| sample.end.is_some_and(|end| end <= replayed);
        match self.samples.iter().rev().find(is_shown) {
            None => Judgement::Behind { at_least: now.duration_since(first.asked) },
            Some(shown) if std::ptr::eq(shown, last) => Judgement::Follows { shows: shown.asked, lag: Duration::ZERO },
            Some(shown) => Judgement::Follows { shows: shown.asked, lag: now.duration_since(shown.asked) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lineage() -> Lineage {
        Lineage { system: "71".to_owned(), timeline: 1 }
    }

    fn sample(asked: Instant, end: u64) -> Sample {
        Sample { asked, lineage: lineage(), end: Some(LogPlace(end)) }
    }

    fn seen(replayed: u64) -> Seen {
        Seen { lineage: lineage(), replayed: Some(LogPlace(replayed)) }
    }

    /// A server that writes 100 bytes each second, asked each second, ten times.
    fn history(begin: Instant) -> History {
        let mut history = History::new(10 * SECOND);
        (0..10).for_each(|second| history.add(sample(begin + second * SECOND, u64::from(second) * 100), 0));
        history
    }

    #[test]
    fn a_replica_is_as_old_as_the_last_moment_that_it_shows() {
        let begin = Instant::now();
        let (history, now) = (history(begin), begin + 10 * SECOND);
        let follows = |second: u32, lag| Judgement::Follows { shows: begin + second * SECOND, lag };
        assert_eq!(history.judge(&seen(900), now), follows(9, Duration::ZERO));
        assert_eq!(history.judge(&seen(1_000), now), follows(9, Duration::ZERO));
        assert_eq!(history.judge(&seen(899), now), follows(8, 2 * SECOND));
        assert_eq!(history.judge(&seen(0), now), follows(0, 10 * SECOND));
    }

    #[test]
    fn a_server_where_nothing_is_written_leaves_no_replica_behind() {
        let begin = Instant::now();
        let mut history = history(begin);
        (10..500).for_each(|second| history.add(sample(begin + second * SECOND, 900), 0));
        assert!(history.samples.len() <= SAMPLES);
        let now = begin + 500 * SECOND;
        let follows = Judgement::Follows { shows: begin + 499 * SECOND, lag: Duration::ZERO };
        assert_eq!(history.judge(&seen(900), now), follows);
        assert!(matches!(history.judge(&seen(899), now), Judgement::Behind { at_least } if at_least >= 200 * SECOND));
    }

    #[test]
    fn after_a_change_of_the_schema_a_replica_has_to_show_it() {
        let begin = Instant::now();
        let (mut history, now) = (history(begin), begin + 11 * SECOND);
        history.begin_anew();
        assert_eq!(history.judge(&seen(900), now), Judgement::Unknown);
        // What the server was asked before the change says nothing of it.
        history.add(sample(begin + 10 * SECOND, 900), 0);
        assert_eq!(history.judge(&seen(900), now), Judgement::Unknown);
        history.add(sample(begin + 10 * SECOND, 950), 1);
        assert_eq!(history.judge(&seen(900), now), Judgement::Behind { at_least: SECOND });
        assert!(matches!(history.judge(&seen(950), now), Judgement::Follows { .. }));
    }

    #[test]
    fn what_is_no_replica_of_this_server_is_unfit() {
        let begin = Instant::now();
        let (mut history, now) = (history(begin), begin + 10 * SECOND);
        let other =
            |system: &str, timeline| Seen { lineage: Lineage { system: system.to_owned(), timeline }, ..seen(900) };
        for wrong in [other("72", 1), other("71", 2), Seen { replayed: None, ..seen(0) }] {
            assert!(matches!(history.judge(&wrong, now), Judgement::Unfit(_)), "{wrong:?}");
        }
        // The server was replaced by one that has a history of its own.
        let promoted = Sample { lineage: Lineage { timeline: 2, ..lineage() }, ..sample(now, 800) };
        history.add(promoted, 0);
        assert!(matches!(history.judge(&seen(900), now), Judgement::Unfit(_)));
        assert!(matches!(history.judge(&other("71", 2), now), Judgement::Follows { .. }));
        history.add(Sample { end: None, ..sample(now, 0) }, 0);
        assert!(matches!(history.judge(&seen(900), now), Judgement::Unfit(_)));
    }

    #[test]
    fn samples_that_need_not_be_told_apart_are_not() {
        let begin = Instant::now();
        let mut history = History::new(100 * SECOND);
        (0..1_000).for_each(|tenth| history.add(sample(begin + tenth * SECOND / 10, u64::from(tenth)), 0));
        assert!((90..=110).contains(&history.samples.len()), "{}", history.samples.len());
        assert_eq!(history.samples.back().unwrap().end, Some(LogPlace(999)));
    }

    #[test]
    fn places_are_read_and_a_page_s_head_is_nothing_written() {
        assert_eq!(LogPlace::parse("1/A0"), Some(LogPlace(0x1_0000_00a0)));
        for bad in ["", "1", "x/0", "1/100000000", "-1/0"] {
            assert_eq!(LogPlace::parse(bad), None, "{bad}");
        }
        for (place, end) in [(8192, 8192), (8216, 8192), (8232, 8192), (8233, 8233), (8191, 8191)] {
            assert_eq!(LogPlace(place).end_of_written(), LogPlace(end));
        }
    }
}
