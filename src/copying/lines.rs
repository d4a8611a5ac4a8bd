//! Which of the client's lines a shard means, that counts those it was sent.

use std::collections::VecDeque;

/// How much is remembered, most of the time one byte for a line: more than can be on its way to a shard.
const REMEMBERED_BYTES: usize = 1 << 20;
/// What follows is too far from the line before for one byte.
const FAR: u8 = u8::MAX;

/// The lines that were sent to one shard, the last of them.
#[derive(Debug, Default)]
pub struct Lines {
    /// How far each line is from the one before it in the client's rows.
    steps: VecDeque<u8>,
    /// The numbers, there and in the client's rows, of the line before the first step, and of the last line.
    before: (u64, u64),
    last: (u64, u64),
}

impl Lines {
    /// `count` lines were sent, which the client has from its line `first` on.
    #[inline]
    pub fn sent(&mut self, first: u64, count: u64) {
        for line in first..first + count {
            let step = line.saturating_sub(self.last.1);
            self.last = (self.last.0 + 1, line);
            match u8::try_from(step) {
                Ok(step) if step != FAR => self.steps.push_back(step),
                _ => {
                    self.steps.push_back(FAR);
                    self.steps.extend(step.to_le_bytes());
                }
            }
            while self.steps.len() > REMEMBERED_BYTES {
                self.before.0 += 1;
                self.before.1 += take_step(&mut self.steps);
            }
        }
    }

    /// The client's number of a line that the shard counts so; `None`: it is forgotten, or none.
    pub fn client_line(&self, sent: u64) -> Option<u64> {
        let (mut number, mut line) = self.before;
        if sent <= number || sent > self.last.0 {
            return None;
        }
        let mut steps = self.steps.clone();
        while number < sent {
            number += 1;
            line += take_step(&mut steps);
        }
        Some(line)
    }
}

fn take_step(steps: &mut VecDeque<u8>) -> u64 {
    match steps.pop_front() {
        Some(FAR) => {
            let mut bytes = [0; 8];
            bytes.iter_mut().for_each(|byte| *byte = steps.pop_front().unwrap_or_default());
            u64::from_le_bytes(bytes)
        }
        step => u64::from(step.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shards_line_is_one_of_the_clients() {
        let mut lines = Lines::default();
        for (first, count) in [(1, 1), (4, 1), (5, 3), (1_000, 1), (1_255, 1), (5_000_000_000, 2)] {
            lines.sent(first, count);
        }
        let known: Vec<_> = (0..=10).map(|sent| lines.client_line(sent)).collect();
        let expected = [1, 4, 5, 6, 7, 1_000, 1_255, 5_000_000_000, 5_000_000_001].map(Some);
        assert_eq!(known, [&[None], &expected[..], &[None]].concat());
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut lines = Lines::default();
        for line in 0..2 * REMEMBERED_BYTES as u64 {
            lines.sent(3 * line + 1, 1);
        }
        assert!(lines.steps.len() <= REMEMBERED_BYTES);
        assert_eq!(lines.client_line(1), None);
        let last = 2 * REMEMBERED_BYTES as u64;
        assert_eq!(lines.client_line(last), Some(3 * last - 2));
        assert_eq!(lines.client_line(last - 5), Some(3 * last - 17));
    }
}
