//! Inputs like those that there are, and a little otherwise.

use crate::differential::random::Random;

/// Inputs stay short: what matters shows in few bytes, and many are tried.
const MOST_BYTES: usize = 4_096;

/// One of `inputs` (or two, spliced), changed in one to eight places.
pub fn mutated(inputs: &[Vec<u8>], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut bytes = inputs[random.below(inputs.len())].clone();
    if random.chance(20) {
        let other = &inputs[random.below(inputs.len())];
        bytes.truncate(random.below(bytes.len() + 1));
        bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
    }
    for _ in 0..=random.below(8) {
        change(&mut bytes, words, random);
    }
    bytes.truncate(MOST_BYTES);
    bytes
}

fn change(bytes: &mut Vec<u8>, words: &[&[u8]], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let some = random.below(bytes.len() - at + 1).min(1 + random.below(16));
    match random.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.next() as u8,
        2 => drop(bytes.drain(at..at + some)),
        3 => {
            let again = bytes[at..at + some].to_vec();
            bytes.splice(at..at, again);
        }
        4 => {
            // In the place of what is there, as a length or a count has its place.
            let word = random.pick(words);
            let end = bytes.len().min(at + word.len());
            bytes.splice(at..end, word.iter().copied());
        }
        5 => {
            bytes.splice(at..at, random.pick(words).iter().copied());
        }
        6 => bytes.truncate(at),
        _ => {
            let from = random.below(bytes.len() + 1);
            let piece = bytes[from..bytes.len().min(from + 16)].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}
