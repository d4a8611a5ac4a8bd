//! How large a group the writer waits for.
//!
//! Clients that were answered come back, if they have more to write, and a group that begins without them leaves them to
//! the next. Where a commit takes longer than they need to come back, waiting for all of them is best: each commit carries
//! twice as many. Where it is shorter, waiting leaves the processors idle while the disk works, and the disk idle while
//! the clients are served; then half of the clients are committed while the other half is served.

use std::time::{Duration, Instant};

/// What the writer knows of its clients and its disk.
#[derive(Debug)]
pub(super) struct Pace {
    /// Clients that write: those that were answered last, and those that waited meanwhile.
    active: usize,
    /// What a commit takes, on average.
    commit: Duration,
    /// What all clients need to come back after they were answered, on average.
    turnaround: Duration,
    /// When the last group was answered, and the one before it.
    answered: [Option<Instant>; 2],
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { active: 1, commit: Duration::ZERO, turnaround: Duration::ZERO, answered: [None; 2] }
    }

    /// How many writes a group should have before it is committed.
    pub(super) fn wanted(&self) -> usize {
        if self.takes_turns() { self.active.div_ceil(2) } else { self.active }
    }

    /// How many it may have. Were all of them taken together once, they would come back together for ever.
    pub(super) fn most(&self) -> usize {
        if self.takes_turns() { self.wanted() } else { usize::MAX }
    }

    fn takes_turns(&self) -> bool {
        self.commit <= self.turnaround
    }

    /// How long to wait for them: some may never come.
    pub(super) fn patience(&self) -> Duration {
        self.commit
    }

    /// A group was committed. `last` is when the last of its writes arrived, `waiting` are those that came since.
    pub(super) fn committed(&mut self, group: usize, waiting: usize, last: Instant, began: Instant, now: Instant) {
        let active = group + waiting;
        // Those that are on their way are not counted: what was known fades, it is not forgotten at once.
        self.active = active.max((self.active + active) / 2);
        self.commit = blend(self.commit, now.saturating_duration_since(began));
        // They came back from the last answer that they can have had.
        if let Some(answered) = self.answered.into_iter().flatten().find(|answered| *answered <= last) {
            let of_all = (last - answered).mul_f64(self.active as f64 / group.max(1) as f64);
            // A pause of theirs says nothing, and is to be forgotten soon.
            self.turnaround = blend(self.turnaround, of_all.min(self.commit * MOST_TURNAROUND));
        }
        self.answered = [Some(now), self.answered[0]];
    }
}

/// Beyond so many commits it does not matter how much longer clients need.
const MOST_TURNAROUND: u32 = 4;

/// A moving average.
fn blend(average: Duration, new: Duration) -> Duration {
    (average * 7 + new) / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk and clients of these times, in microseconds: the sizes of the groups, once they have settled.
    fn groups(clients: usize, commit_us: u64, turnaround_us: u64) -> Vec<usize> {
        let mut pace = Pace::new();
        let mut now = Instant::now();
        let door = Duration::from_micros(turnaround_us / clients as u64);
        // When each client's write arrives. The door serves one after the other.
        let mut arrivals: Vec<Instant> = (0..clients as u32).map(|client| now + door * client).collect();
        let mut sizes = Vec::new();
        for _ in 0..200 {
            arrivals.sort();
            now = now.max(arrivals[0]);
            let deadline = now + pace.patience();
            let enough = arrivals.get(pace.wanted().min(clients) - 1).copied().unwrap_or(deadline);
            now = now.max(enough.min(deadline));
            let group = arrivals.iter().filter(|arrival| **arrival <= now).count().min(pace.most());
            let last = arrivals[group - 1];
            let began = now;
            now += Duration::from_micros(commit_us);
            let waiting = arrivals[group..].iter().filter(|arrival| **arrival <= now).count();
            pace.committed(group, waiting, last, began, now);
            let busy = arrivals[clients - 1].max(now);
            for (place, arrival) in arrivals[..group].iter_mut().enumerate() {
                *arrival = busy + door * (place as u32 + 1);
            }
            sizes.push(group);
        }
        sizes.split_off(180)
    }

    #[test]
    fn a_slow_disk_commits_all_clients_together() {
        let sizes = groups(32, 2_000, 600);
        assert!(sizes.iter().all(|size| *size == 32), "{sizes:?}");
    }

    #[test]
    fn a_fast_disk_commits_half_while_the_others_are_served() {
        let sizes = groups(32, 300, 600);
        assert!(sizes.iter().all(|size| (12..=20).contains(size)), "{sizes:?}");
    }

    #[test]
    fn a_pause_is_soon_forgotten() {
        let mut pace = Pace::new();
        let mut now = Instant::now();
        let mut commit = |pace: &mut Pace, pause_us: u64| {
            let arrived = now + Duration::from_micros(pause_us);
            now = arrived + Duration::from_micros(1_000);
            pace.committed(16, 0, arrived, arrived, now);
        };
        (0..50).for_each(|_| commit(&mut pace, 300));
        assert_eq!(pace.wanted(), 16);
        commit(&mut pace, 10_000_000);
        (0..8).for_each(|_| commit(&mut pace, 300));
        assert_eq!(pace.wanted(), 16);
    }

    #[test]
    fn one_client_waits_for_nobody() {
        let mut pace = Pace::new();
        let mut now = Instant::now();
        for _ in 0..100 {
            assert_eq!(pace.wanted(), 1);
            pace.committed(1, 0, now, now, now + Duration::from_micros(500));
            now += Duration::from_micros(600);
        }
    }

    #[test]
    fn clients_that_left_are_not_waited_for_long() {
        let mut pace = Pace::new();
        let mut now = Instant::now();
        for _ in 0..100 {
            pace.committed(32, 0, now, now, now + Duration::from_micros(2_000));
            now += Duration::from_micros(2_100);
        }
        assert_eq!(pace.wanted(), 32);
        for _ in 0..6 {
            pace.committed(1, 0, now, now, now + Duration::from_micros(2_000));
            now += Duration::from_micros(2_100);
        }
        assert_eq!(pace.wanted(), 1);
    }
}
