//! Pauses that grow, for what is tried again.

use std::time::Duration;

/// The pauses between attempts.
#[derive(Clone, Copy, Debug)]
pub(super) struct BackingOff {
    next: Duration,
    longest: Duration,
}

impl BackingOff {
    pub(super) fn new(first: Duration, longest: Duration) -> BackingOff {
        BackingOff { next: first, longest }
    }

    /// The next pause: twice the one before, up to the longest.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest() {
        let mut pauses = BackingOff::new(Duration::from_secs(1), Duration::from_secs(3));
        assert_eq!([pauses.next(), pauses.next(), pauses.next()].map(|pause| pause.as_secs()), [1, 2, 3]);
    }
}
